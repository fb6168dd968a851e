--- The options of agent.http, read once when the policy is loaded.

local options = require "tidegate.agent._options"

local either, kinds = options.either, options.kinds

local M = {}

--- What the upstream is asked for, by the option `stream`.
M.accept = {
  sse = "text/event-stream",
  ndjson = "application/x-ndjson",
  json = "application/json, text/plain;q=0.9",
}

local rows = {
  url = function(value)
    return type(value) == "string" and value:find "^https?://[^/]" ~= nil, "an http or https address"
  end,
  stream = function(value)
    return M.accept[value] ~= nil, '"sse", "ndjson" or "json"'
  end,
  headers = kinds.table,
  bearer = kinds.text,
  timeout = kinds.seconds,
  connect_timeout = kinds.seconds,
  idle_timeout = kinds.seconds,
  max_event = kinds.bytes,
  retries = kinds.count,
  identity = kinds.names,
  context = kinds.names,
  circuit = kinds.circuit,
}

--- What agent.http goes by.
---@return table? settings
---@return string? err
function M.read(given)
  local wrong = options.mistake("agent.http", rows, given)
  if wrong then
    return nil, wrong
  end
  return {
    url = given.url,
    stream = given.stream or "sse",
    headers = given.headers or {},
    bearer = given.bearer,
    timeout = given.timeout,
    connect_timeout = given.connect_timeout,
    idle_timeout = given.idle_timeout,
    max_event = given.max_event or options.EVENT_BYTES,
    retries = given.retries or options.RETRIES,
    identity = either(given.identity, false),
    context = either(given.context, true),
    circuit = either(given.circuit, options.CIRCUIT),
  }
end

return M

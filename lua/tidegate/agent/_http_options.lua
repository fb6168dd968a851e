--- The options of agent.http, read once when the policy is loaded.

local M = {}

local EVENT_BYTES = 1048576
local RETRIES = 2
local CIRCUIT = { failures = 5, pause = 10 }

--- What the upstream is asked for, by the option `stream`.
M.accept = {
  sse = "text/event-stream",
  ndjson = "application/x-ndjson",
  json = "application/json, text/plain;q=0.9",
}

local function is_seconds(value)
  return type(value) == "number" and value > 0 and value <= 86400, "seconds, up to 86400,"
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value <= 10 and value % 1 == 0, "a whole number up to 10"
end

local function is_names(value)
  if type(value) == "table" then
    for _, name in ipairs(value) do
      if type(name) ~= "string" then
        return false, "names of fields"
      end
    end
  end
  return type(value) == "table" or type(value) == "boolean", "a list of fields, true or false"
end

local options = {
  url = function(value)
    return type(value) == "string" and value:find "^https?://[^/]" ~= nil, "an http or https address"
  end,
  stream = function(value)
    return M.accept[value] ~= nil, '"sse", "ndjson" or "json"'
  end,
  headers = function(value)
    return type(value) == "table", "a table"
  end,
  bearer = function(value)
    return type(value) == "string", "text"
  end,
  timeout = is_seconds,
  connect_timeout = is_seconds,
  idle_timeout = is_seconds,
  max_event = function(value)
    return type(value) == "number" and value >= 1 and value % 1 == 0, "a number of bytes"
  end,
  retries = is_count,
  identity = is_names,
  context = is_names,
  circuit = function(value)
    local good = type(value) == "table" and is_count(value.failures) and is_seconds(value.pause)
    return value == false or good and value.failures > 0, "{ failures = …, pause = seconds } or false"
  end,
}

local function wrong_option(given)
  if type(given) ~= "table" then
    return "a table expected, as in agent.http{ url = … }"
  end
  for name, value in pairs(given) do
    local check = options[name]
    if not check then
      return "there is no option " .. tostring(name)
    end
    local good, expected = check(value)
    if not good then
      return ("%s: %s expected"):format(name, expected)
    end
  end
  if given.url == nil then
    return "url is missing: where is the agent?"
  end
end

local function either(value, default)
  if value == nil then
    return default
  end
  return value
end

--- What agent.http goes by.
---@return table? settings
---@return string? err
function M.read(given)
  local wrong = wrong_option(given)
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
    max_event = given.max_event or EVENT_BYTES,
    retries = given.retries or RETRIES,
    identity = either(given.identity, false),
    context = either(given.context, true),
    circuit = either(given.circuit, CIRCUIT),
  }
end

return M

--- Agents that are models behind an OpenAI-compatible chat-completions API: what they are made of. What they
--- do is in _conversation.lua.
local conversation = require "tidegate.agent._conversation"
local history = require "tidegate.agent._history"
local tools = require "tidegate.agent._tools"

local M = {}

local REASON_BYTES = 300

--- Every option, and the kind of its value.
local options = {
  base_url = "string",
  model = "string",
  api_key = "string",
  system = "string or function",
  tools = "table",
  parameters = "table",
  headers = "table",
  history = "any",
  trim = "any",
  stream = "boolean",
  include_usage = "boolean",
  max_rounds = "count",
  max_tool_calls = "count",
  retries = "count",
  connect_timeout = "seconds",
  idle_timeout = "seconds",
}

local kinds = {
  count = function(value)
    return type(value) == "number" and value >= 0 and value <= 1000 and value == math.floor(value)
  end,
  seconds = function(value)
    return type(value) == "number" and value > 0 and value <= 86400
  end,
  any = function()
    return true
  end,
}

-- What is sent in any case; `parameters` cannot say it.
local own = { messages = true, stream = true, tools = true, model = true }

local function is_kind(value, kind)
  if kinds[kind] then
    return kinds[kind](value)
  end
  return kind:find(type(value), 1, true) ~= nil
end

local function check_options(given)
  for name, value in pairs(given) do
    local kind = options[name]
    if not kind then
      return "there is no option " .. tostring(name)
    elseif not is_kind(value, kind) then
      local wanted = kind == "count" and "a whole number" or kind
      return ("%s: %s expected, got %s"):format(name, wanted, type(value))
    end
  end
  for _, name in ipairs { "base_url", "model" } do
    if given[name] == nil or given[name] == "" then
      return name .. " is missing"
    end
  end
  if not given.base_url:find "^https?://[^/?#@%s]+/?[^?#@%s]*$" then
    return "base_url: an http or https address without a query expected, such as https://api.example/v1"
  end
  for name in pairs(given.parameters or {}) do
    if own[name] then
      return ("parameters.%s: it is set by the agent"):format(name)
    end
  end
end

local function settings_of(given)
  local why = check_options(given)
  if why then
    return nil, why
  end
  local settings = {
    url = given.base_url:gsub("/+$", "") .. "/chat/completions",
    max_rounds = given.max_rounds or 8,
    max_tool_calls = given.max_tool_calls or 32,
    retries = given.retries or 2,
  }
  settings.tools, why = tools.read(given.tools)
  if not settings.tools then
    return nil, why
  end
  settings.history, why = history.settings(given.history, given.trim)
  if settings.history == nil then
    return nil, why
  end
  if given.api_key == "" then
    return nil, "api_key: it is empty; leave it out for a server that wants none"
  end
  return settings
end

local function without_secrets(given)
  local secrets = { given.api_key }
  for _, header in pairs(given.headers or {}) do
    for _, value in ipairs(type(header) == "table" and header or { header }) do
      secrets[#secrets + 1] = type(value) == "string" and #value >= 6 and value or nil
    end
  end
  return function(text)
    text = tostring(text)
    for _, secret in ipairs(secrets) do
      text = text:gsub(secret:gsub("%p", "%%%0"), "[redacted]")
    end
    return text:sub(1, REASON_BYTES)
  end
end

--- The agent; see lua/meta/tidegate/agent.lua.
function M.new(given)
  if type(given) ~= "table" then
    error("agent.openai: a table expected, as in { base_url = …, model = … }, got " .. type(given), 2)
  end
  local settings, mistake = settings_of(given)
  if not settings then
    error("agent.openai: " .. mistake, 2)
  end
  settings.hide = without_secrets(given)
  return function(run, input)
    return conversation.hold(given, settings, run, input)
  end
end

return M

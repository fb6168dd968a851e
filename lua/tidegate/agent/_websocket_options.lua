--- The options of agent.websocket, read once when the policy is loaded.

local options = require "tidegate.agent._options"

local either, kinds = options.either, options.kinds

local M = {}

local PING_INTERVAL = 20
local HEADERS_MAX = 60

--- Headers that the upgrade sets itself, or that say how a body is sent.
local reserved = {
  connection = true,
  ["content-length"] = true,
  host = true,
  te = true,
  trailer = true,
  ["transfer-encoding"] = true,
  upgrade = true,
}

-- Nil, or what is wrong with one header.
local function wrong_header(name, value)
  if type(name) ~= "string" or name == "" or name:find "[^%w!#$%%&'*+.^_`|~-]" then
    return ("%s cannot be the name of a header"):format(tostring(name))
  elseif reserved[name:lower()] or name:lower():find "^sec%-websocket%-" then
    return name .. " is set by the agent itself"
  elseif type(value) ~= "string" and type(value) ~= "number" then
    return name .. " must be text"
  elseif tostring(value):find "[%z\1-\8\10-\31\127]" then
    return name .. " holds a control character"
  end
end

local function is_headers(value)
  if type(value) ~= "table" then
    return false, "a table"
  end
  local count = 0
  for name, text in pairs(value) do
    local wrong = wrong_header(name, text)
    count = count + 1
    if wrong or count > HEADERS_MAX then
      return false, ("%s; names and texts"):format(wrong or "too many")
    end
  end
  return true
end

local function is_url(value)
  local authority, rest = tostring(value):match "^wss?://([^/?#@%s]+)(.*)$"
  local good = type(value) == "string" and authority ~= nil and rest:find "^[/?]?[^#%s]*$" ~= nil
  return good and (rest == "" or rest:find "^[/?]" ~= nil), "a ws or wss address"
end

local rows = {
  url = is_url,
  headers = is_headers,
  bearer = function(value)
    return type(value) == "string" and value ~= "" and not value:find "[^\33-\126]", "a token without blanks"
  end,
  connect_timeout = kinds.seconds,
  idle_timeout = kinds.seconds,
  ping_interval = kinds.seconds,
  max_event = kinds.event_bytes,
  retries = kinds.count,
  identity = kinds.names,
  context = kinds.names,
  circuit = kinds.circuit,
  reuse = function(value)
    return value == false or kinds.seconds(value), "seconds or false"
  end,
}

-- Names and values in turn.
local function header_list(given)
  local list = {}
  for name, value in pairs(given.headers or {}) do
    list[#list + 1] = name
    list[#list + 1] = tostring(value)
  end
  if given.bearer then
    list[#list + 1] = "Authorization"
    list[#list + 1] = "Bearer " .. given.bearer
  end
  return list
end

local function has_authorization(headers)
  for name in pairs(headers or {}) do
    if name:lower() == "authorization" then
      return true
    end
  end
  return false
end

--- What agent.websocket goes by.
---@return table? settings
---@return string? err
function M.read(given)
  local wrong = options.mistake("agent.websocket", rows, given)
  if wrong then
    return nil, wrong
  elseif given.bearer and has_authorization(given.headers) then
    return nil, "headers.Authorization excludes bearer"
  end
  return {
    url = given.url,
    headers = header_list(given),
    link = {
      connect_timeout = given.connect_timeout,
      idle_timeout = given.idle_timeout,
      ping_interval = given.ping_interval or PING_INTERVAL,
      max_message = given.max_event or options.EVENT_BYTES,
    },
    retries = given.retries or options.RETRIES,
    identity = either(given.identity, false),
    context = either(given.context, true),
    circuit = either(given.circuit, options.CIRCUIT),
    reuse = given.reuse or nil,
  }
end

return M

--- Where a client may have put a secret, looked at in one order by all blocks that take one. Private.
--
-- The message comes first: a client that proves itself again sends one, while headers and query stay those of
-- its upgrade.
local M = {}

local function in_message(message, names)
  local data = message.data
  if type(data) ~= "table" then
    return nil
  end
  for _, name in ipairs(names) do
    if data[name] ~= nil then
      return data[name]
    end
  end
end

--- What is first found, or nil; of the message whatever it holds, also what is no text.
---@param credentials tidegate.Credentials
---@param names string[] of message.data
---@param others any[] looked at after it; 3 at most
function M.find(credentials, names, others)
  local found = credentials.message and in_message(credentials.message, names)
  if found ~= nil then
    return found
  end
  for i = 1, 3 do
    if others[i] ~= nil then
      return others[i]
    end
  end
end

--- Why a secret cannot be one, by its form alone: a text and a code; nothing when it can.
---@param secret any
---@param what string "API key"
---@param most integer bytes
function M.wrong_form(secret, what, most)
  if type(secret) ~= "string" then
    return ("the %s is no text"):format(what), "malformed"
  elseif #secret > most then
    return ("the %s is too long"):format(what), "too_large"
  elseif secret == "" or secret:find "[^\33-\126]" then
    return ("the %s is malformed"):format(what), "malformed"
  end
end

--- The first name in `options` that is not in `allowed`, or whose value is of another type, as a text.
function M.wrong_option(options, allowed)
  if type(options) ~= "table" then
    return "a table of options expected, got " .. type(options)
  end
  for name, value in pairs(options) do
    local wanted = allowed[name]
    if not wanted then
      return ("there is no option %q"):format(tostring(name))
    elseif type(value) ~= wanted then
      return ("%s must be a %s, got %s"):format(name, wanted, type(value))
    end
  end
end

return M

--- Options of agents that run elsewhere: the kinds of their values, and reading them. Private: for agents of
--- the library.

local M = {}

M.RETRIES = 2
M.EVENT_BYTES = 1048576
local EVENT_BYTES_MAX = 8388608
M.CIRCUIT = { failures = 5, pause = 10 }

--- Each tells whether a value is one of the kind, and what is expected.
local kinds = {}
M.kinds = kinds

function kinds.seconds(value)
  return type(value) == "number" and value > 0 and value <= 86400, "seconds, up to 86400,"
end

function kinds.count(value)
  return type(value) == "number" and value >= 0 and value <= 10 and value % 1 == 0, "a whole number up to 10"
end

function kinds.bytes(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0, "a number of bytes"
end

--- Of what is held whole before the script sees it, outside of script.memory.
function kinds.event_bytes(value)
  return kinds.bytes(value) and value <= EVENT_BYTES_MAX, "a number of bytes, 8 MiB at most,"
end

function kinds.text(value)
  return type(value) == "string", "text"
end

function kinds.table(value)
  return type(value) == "table", "a table"
end

function kinds.names(value)
  if type(value) == "table" then
    for _, name in ipairs(value) do
      if type(name) ~= "string" then
        return false, "names of fields"
      end
    end
  end
  return type(value) == "table" or type(value) == "boolean", "a list of fields, true or false"
end

function kinds.circuit(value)
  local good = type(value) == "table" and kinds.count(value.failures) and kinds.seconds(value.pause)
  return value == false or good and value.failures > 0, "{ failures = …, pause = seconds } or false"
end

local URL = { option = "url", example = "…", question = "where is the agent?" }

--- What is wrong with what was given for an agent `name`; nil: nothing. rows: option -> its kind. needed: the
--- option that must be there, a url by default.
function M.mistake(name, rows, given, needed)
  needed = needed or URL
  if type(given) ~= "table" then
    return ("a table expected, as in %s{ %s = %s }"):format(name, needed.option, needed.example)
  end
  for option, value in pairs(given) do
    local check = rows[option]
    if not check then
      return "there is no option " .. tostring(option)
    end
    local good, expected = check(value)
    if not good then
      return ("%s: %s expected"):format(option, expected)
    end
  end
  if given[needed.option] == nil then
    return ("%s is missing: %s"):format(needed.option, needed.question)
  end
end

--- For options that may be false.
function M.either(value, default)
  if value == nil then
    return default
  end
  return value
end

return M

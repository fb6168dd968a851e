-- Makes busted tell what the policy under test has logged when a spec fails, and closes simulated hosts
-- when the spec that made them is over. Loaded as busted's helper, before any spec.
local busted = require("busted")
local json = require("tidegate.json")
local testing = require("tidegate.testing")

local LINES_SHOWN = 48
local VALUE_SHOWN = 300

local M = {}
local first_of_test = 1

local function add_log(lines, log)
  local fields = {}
  for name, value in pairs(log.fields) do
    if name ~= "traceback" then
      local text = type(value) == "table" and json.encode(value) or ("%q"):format(tostring(value))
      fields[#fields + 1] = name .. "=" .. text:sub(1, VALUE_SHOWN)
    end
  end
  table.sort(fields)
  lines[#lines + 1] = ("  %-5s %s %s"):format(log.level, log.event, table.concat(fields, " "))
  for line in tostring(log.fields.traceback or ""):gmatch("[^\n]+") do
    lines[#lines + 1] = "    " .. line
  end
end

--- What the policies of open hosts have complained about: the end of the message of a spec that fails.
function M.report()
  local lines = {}
  for _, host in ipairs(testing._open(1)) do
    for _, log in ipairs(host:logs()) do
      if log.level == "error" or log.level == "warn" then add_log(lines, log) end
    end
  end
  if #lines == 0 then return "" end
  while #lines > LINES_SHOWN do table.remove(lines, 1) end
  return "\nthe policy's log:\n" .. table.concat(lines, "\n")
end

local function close_from(first)
  for _, host in ipairs(testing._open(first)) do host:close() end
end

function M.close_all()
  close_from(1)
end

-- Specs are loaded by this module; what it returns third rewrites the messages of failures.
local files = require("busted.modules.files.lua")
local load = files.load
files.load = function(...)
  local file, trace = load(...)
  return file, trace, function(_, message) return message .. M.report() end
end

--- Subscribers return true second, so that the others are told, too.
local function on(event, fn)
  busted.subscribe(event, function()
    fn()
    return nil, true
  end)
end

on({ "test", "start" }, function() first_of_test = testing._made() + 1 end)
on({ "test", "end" }, function() close_from(first_of_test) end)
on({ "file", "end" }, M.close_all)
return M

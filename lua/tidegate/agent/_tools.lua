--- Functions of the policy that a model may call. Private: for agents of the library.
--
-- Whatever goes wrong in a call is told to the model, which may do better in its next round; only what ends
-- the run (its budgets, a cancel) ends it here.

local json = require "tidegate.json"
local log = require "tidegate.log"
local schema = require "tidegate._schema"
local tide = require "tidegate"

local NAME_MAX = 64
local RESULT_MAX = 262144

local M = {}

local fields = { description = true, parameters = true, run = true }

local function read_tool(name, given)
  local place = "tools." .. tostring(name)
  if type(name) ~= "string" or #name > NAME_MAX or not name:find "^[%w_-]+$" then
    return nil, place .. ": a name has 1 to 64 letters, digits, _ and -"
  elseif type(given) ~= "table" then
    return nil, place .. ": a table expected, as in { description = …, parameters = …, run = … }"
  end
  for field in pairs(given) do
    if not fields[field] then
      local known = "there are description, parameters and run"
      return nil, ("%s: there is no %s; %s"):format(place, tostring(field), known)
    end
  end
  if type(given.run) ~= "function" then
    return nil, place .. ".run: a function(run, arguments) expected"
  elseif given.description ~= nil and type(given.description) ~= "string" then
    return nil, place .. ".description: a text expected"
  end
  local parameters, why = schema.read(
    given.parameters or { type = "object", properties = {} },
    place .. ".parameters"
  )
  if why then
    return nil, why
  elseif type(parameters) ~= "table" or parameters.type ~= "object" then
    return nil, place .. ".parameters.type: \"object\" expected"
  end
  return { name = name, description = given.description, parameters = parameters, run = given.run }
end

--- Tools by name, with the list that is sent as `list`; or nil and what is wrong.
function M.read(given)
  if given == nil then
    return { by_name = {} }
  elseif type(given) ~= "table" then
    return nil, "tools: a table expected, as in { name = { description = …, parameters = …, run = … } }"
  end
  local tools, names = { by_name = {} }, {}
  for name, one in pairs(given) do
    local tool, why = read_tool(name, one)
    if not tool then
      return nil, why
    end
    tools.by_name[name] = tool
    names[#names + 1] = name
  end
  table.sort(names) -- the same request each time: servers keep what they have seen
  for i, name in ipairs(names) do
    local tool = tools.by_name[name]
    tools.list = tools.list or json.array()
    tools.list[i] = {
      type = "function",
      ["function"] = { name = name, description = tool.description, parameters = tool.parameters },
    }
  end
  return tools
end

-- The call's arguments as a table, or nil and what the model did wrong.
local function arguments_of(tool, call)
  if not tool then
    return nil, ("there is no tool %q"):format(call.name)
  end
  local arguments, why = {}, nil
  if call.arguments:find "%S" then
    arguments, why = json.decode(call.arguments)
  end
  if why then
    return nil, "the arguments are no JSON: " .. why
  end
  local good
  good, why = schema.check(tool.parameters, arguments, "arguments")
  if not good then
    return nil, why
  end
  return arguments
end

-- As the client and the model may see it: one line, without the place in the policy.
local function plain(failure)
  if type(failure) ~= "string" then
    return "the tool failed"
  end
  return (failure:gsub("^[^%s:]+:%d+: ", ""):match "^[^\n]*")
end

local function result_text(result)
  local text, why = result, nil
  if type(result) ~= "string" then
    text, why = json.encode(result)
  end
  if not text then
    return nil, why
  elseif #text > RESULT_MAX then
    return nil, ("the result has %d bytes; %d are the most"):format(#text, RESULT_MAX)
  end
  return text
end

-- One call, between its two events. The text for the model.
local function answer(run, tool, call)
  local arguments, mistake = arguments_of(tool, call)
  local expected = mistake
  local function work()
    if mistake then
      error(mistake, 0)
    end
    local result, why = tool.run(run, arguments)
    if result == nil and type(why) == "string" then
      expected = why
      error(why, 0)
    end
    return result
  end
  local name = call.name:sub(1, NAME_MAX)
  local shown = arguments
  if arguments == nil then
    shown = call.arguments
  end
  local worked, result = pcall(run.tool, run, name, shown, work)
  local text, why
  if worked then
    text, why = result_text(result)
  elseif not expected or result ~= expected then
    log.warn("a tool failed", { tool = name, reason = tostring(result) })
    why = plain(result)
  else
    why = expected
  end
  return text or "Error: " .. tostring(why)
end

--- Answers all calls of a round at once. The messages for the model, in the calls' order.
function M.answer(run, tools, calls)
  local work = {}
  for i, call in ipairs(calls) do
    work[i] = function()
      return answer(run, tools.by_name[call.name], call)
    end
  end
  local texts = tide.all(work)
  local messages = {}
  for i, call in ipairs(calls) do
    messages[i] = { role = "tool", tool_call_id = call.id, content = texts[i] }
  end
  return messages
end

return M

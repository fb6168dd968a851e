--- Played processes of a simulated host: which agent that the policy starts as a process says what.
local json = require("tidegate.json")

local Processes = {}
Processes.__index = Processes

--- A pattern of a whole command, its words with a blank between, as a function of a process.
local function compile(pattern)
  local escaped = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  return function(process)
    return table.concat(process.command, " "):find("^" .. escaped .. "$") ~= nil
  end
end

function Processes:add(pattern, answer)
  if type(pattern) ~= "string" then return nil, "process: a command expected, such as \"python3 *.py\"" end
  if type(answer) ~= "table" and type(answer) ~= "function" then
    return nil, "process: an answer is a list of what it writes, or a function that returns one"
  end
  table.insert(self.routes, 1, { fits = compile(pattern), answer = answer })
  return true
end

--- All that were started so far, or those that fit.
function Processes:all(pattern)
  local fits, some = compile(pattern or "*"), {}
  for _, process in ipairs(self.started) do
    if fits(process) then some[#some + 1] = process end
  end
  return some
end

--- "argument\0…\0\0NAME=value\0…" as a list and a table.
local function words_of(data)
  local command, env, list = {}, {}, true
  for word in data:gmatch("([^%z]*)%z") do
    local name, value = word:match("^([^=]+)=(.*)$")
    if list and word == "" and #command > 0 then
      list = false
    elseif list then
      command[#command + 1] = word
    elseif name then
      env[name] = value
    end
  end
  return command, env
end

function Processes:start(number, data)
  local process = { messages = {}, running = true }
  process.command, process.env = words_of(data)
  self.started[#self.started + 1], self.by_number[number] = process, process
  for _, route in ipairs(self.routes) do
    if route.fits(process) then
      self.answers[process] = route.answer
      return
    end
  end
  self.unplayed = self.unplayed or process
  self.native.play_process(self.host, number, 0, 127)
  process.running = false
end

--- The line that a piece writes. Tables with `type` are events of the run that was asked for.
local function line_of(what, message)
  if type(what) == "string" then return what end
  local event = {}
  for name, value in pairs(what) do event[name] = value end
  if event.run_id == nil then event.run_id = message.run_id end
  return assert(json.encode(event))
end

--- A piece is a text, an event, or { text or event, delay = seconds, exit = status, signal = number }.
function Processes:play(number, process, pieces, message)
  for _, piece in ipairs(pieces) do
    if type(piece) == "string" or piece.type ~= nil then piece = { piece } end
    local delay = math.floor((piece.delay or 0) * 1000 + 0.5)
    if piece[1] ~= nil then self.native.play_process(self.host, number, delay, line_of(piece[1], message)) end
    if piece.exit or piece.signal then
      if piece[1] ~= nil then delay = 0 end
      self.native.play_process(self.host, number, delay, piece.exit or -piece.signal)
      process.running = false
      return
    end
  end
end

function Processes:take(number, text)
  local process = self.by_number[number]
  local answer = self.answers[process]
  for line in text:gmatch("[^\n]+") do
    local message = json.decode(line) or line
    process.messages[#process.messages + 1] = message
    local pieces
    if type(answer) == "function" then
      pieces = answer(message, process)
    elseif message.type == "agent_execution" then
      pieces = answer
    end
    if pieces and process.running then self:play(number, process, pieces, message) end
  end
end

--- Lets them answer what they were sent. What goes wrong in a handler reaches the spec, once nothing waits.
function Processes:answer_all()
  while true do
    local number, kind, data = self.native.next_process(self.host)
    if not number then return end
    if kind == "started" then
      self:start(number, data)
    elseif kind == "closed" then
      self.by_number[number].running = false
    elseif self.by_number[number].running then
      local ok, why = pcall(self.take, self, number, data)
      if not ok then self.problem = self.problem or why end
    end
  end
end

--- The text of an error for a command that nobody plays, or of a handler that failed; nil: all is well.
function Processes:take_unexpected()
  local process, problem = self.unplayed, self.problem
  self.unplayed, self.problem = nil, nil
  if problem then return "a function given to host:process failed: " .. tostring(problem) end
  if not process then return nil end
  return ("the policy starts %s and no host:process plays that"):format(table.concat(process.command, " "))
end

return {
  new = function(native, host)
    return setmetatable(
      { native = native, host = host, routes = {}, started = {}, by_number = {}, answers = {} }, Processes)
  end,
}

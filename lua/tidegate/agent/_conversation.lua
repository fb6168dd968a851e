--- One run of a model that speaks chat completions: rounds of question, streamed answer and calls of tools,
-- until an answer calls none. Private: for agents of the library.
--
--   load history ─> ask ─> read the stream ─[no calls]─> save history, respond
--                    ^             └─[calls]─> tools, all at once ─┐
--                    └───────────[max_rounds, max_tool_calls]──────┘
--
-- I1  What a client is told never quotes the server: its texts go to the log, without the key.
-- I2  History is written by runs that worked, and by no other.

local answers = require "tidegate.agent._chat_answer"
local chat_request = require "tidegate.agent._chat_request"
local history = require "tidegate.agent._history"
local json = require "tidegate.json"
local tools = require "tidegate.agent._tools"

local EVENT_BYTES_MAX = 4194304

local M = {}

local function first_messages(given, run, input)
  local system = given.system
  if type(system) == "function" then
    system = system(run, input)
    if system ~= nil and type(system) ~= "string" then
      error("system: the function must return a text, and returned a " .. type(system), 0)
    end
  end
  return { system and { role = "system", content = system } or nil }
end

local function body_of(given, settings, messages)
  local body = {}
  for name, value in pairs(given.parameters or {}) do
    body[name] = value
  end
  body.model, body.messages, body.tools = given.model, json.array(messages), settings.tools.list
  body.stream = given.stream ~= false
  if body.stream and given.include_usage ~= false and body.stream_options == nil then
    body.stream_options = { include_usage = true }
  end
  return body
end

-- Sums what rounds have used, name by name.
local function add_usage(sum, usage)
  for name, value in pairs(usage or {}) do
    if type(value) == "number" then
      sum[name] = (type(sum[name]) == "number" and sum[name] or 0) + value
    elseif type(value) == "table" then
      sum[name] = add_usage(type(sum[name]) == "table" and sum[name] or {}, value)
    end
  end
  return sum
end

-- What the model said, as the next request and the history repeat it.
local function message_of(answer)
  local calls
  for i, call in ipairs(answer.calls) do
    local called = { name = call.name, arguments = call.arguments }
    calls = calls or json.array()
    calls[i] = { id = call.id, type = "function", ["function"] = called }
  end
  local text = answer.text
  if calls and text == "" then
    text = nil
  end
  return { role = "assistant", content = text, tool_calls = calls }
end

local Conversation = {}
Conversation.__index = Conversation

function Conversation:add(message)
  self.messages[#self.messages + 1] = message
  self.added[#self.added + 1] = message
end

-- One round: the answer; or nil, a text for the client and a code.
function Conversation:ask()
  local given, settings = self.given, self.settings
  local response, why, code = chat_request.post(settings.url, {
    json = body_of(given, settings, self.messages),
    headers = given.headers,
    bearer = given.api_key,
    stream = true,
    max_response = EVENT_BYTES_MAX,
    connect_timeout = given.connect_timeout,
    idle_timeout = given.idle_timeout,
  }, settings.retries, self.settings.hide)
  if not response then
    return nil, why, code
  end
  local answer, reason
  answer, why, code, reason = answers.read(self.run, response)
  if not answer then
    chat_request.log_failure(code, self.settings.hide(reason or why))
  end
  return answer, why, code
end

function Conversation:round(number)
  local answer, why, code = self:ask()
  if not answer then
    return nil, why, code
  end
  add_usage(self.usage, answer.usage)
  self:add(message_of(answer))
  self.calls = self.calls + #answer.calls
  if #answer.calls == 0 then
    return answer
  elseif number >= self.settings.max_rounds or self.calls > self.settings.max_tool_calls then
    return nil, "the model calls tools again and again", "too_many_rounds"
  end
  for _, message in ipairs(tools.answer(self.run, self.settings.tools, answer.calls)) do
    self:add(message)
  end
  return false
end

function Conversation:talk()
  local number, answer, why, code = 0, false, nil, nil
  while answer == false do
    number = number + 1
    answer, why, code = self:round(number)
  end
  if not answer then
    return nil, why, code
  end
  history.save(self.run, self.settings.history, self.added)
  local details = { finish_reason = answer.finish_reason }
  details.usage = next(self.usage) and self.usage or nil
  return answer.text, details
end

--- From the client's message to the response: what an agent returns.
function M.hold(given, settings, run, input)
  local text = type(input) == "table" and input.message or input
  if type(text) ~= "string" or text == "" then
    return nil, "data.message must be a text", "bad_input"
  end
  local messages = first_messages(given, run, input)
  for _, message in ipairs(history.load(run, settings.history)) do
    messages[#messages + 1] = message
  end
  local self = {
    run = run, given = given, settings = settings, messages = messages, added = {}, usage = {}, calls = 0,
  }
  setmetatable(self, Conversation)
  self:add { role = "user", content = text }
  return self:talk()
end

return M

--- One answer of a chat-completions API, as it streams in: what is text goes on to the client at once,
-- what is a call of a tool is put together. Private: for agents of the library.
--
-- An answer is whole when the server said [DONE], or why it stopped (finish_reason). One that ends before
-- that was lost on the way, and what came of it is no answer.

local json = require "tidegate.json"
local tide = require "tidegate"
local time = require "tidegate.time"

local BYTES_MAX = 4194304 -- of text and arguments together
local CALLS_MAX = 128
local END_PAUSE, END_PAUSES = 0.001, 20 -- what it may take to the end of the body
local EVENTS_A_TURN = 32 -- then others get theirs: an event that has come takes no waiting

local Answer = {}
Answer.__index = Answer

local function text_in(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function bad(why)
  return nil, "the model's server sent " .. why, "bad_upstream_answer"
end

-- By what servers say in the middle of a stream, where there is no status.
local function failure_of(failure)
  local said = failure
  if type(failure) == "table" then
    said = ("%s %s %s"):format(tostring(failure.code), tostring(failure.type), tostring(failure.status))
  end
  said = tostring(said):lower()
  if said:find "429" or said:find "rate_?limit" or said:find "quota" then
    return "rate_limited", "the model's server is over its limit"
  elseif said:find "invalid_request" or said:find "40[013] " or said:find "context_length" then
    return "upstream_refused", "the model's server refused the request"
  end
  return "upstream_unavailable", "the model's server failed in the middle of its answer"
end

function Answer:count(bytes)
  self.bytes = self.bytes + bytes
  return self.bytes <= BYTES_MAX
end

-- A piece of a call. Pieces belong together by their index; servers that leave it out send whole calls.
function Answer:add_call(piece, position)
  local index = type(piece.index) == "number" and piece.index or position
  local id, call = text_in(piece.id), self.calls_at[index]
  if not call or (id and call.id and call.id ~= id) then
    call = { name = "", arguments = {} }
    self.calls_at[index] = call
    self.calls[#self.calls + 1] = call
  end
  call.id = call.id or id
  local called = type(piece["function"]) == "table" and piece["function"] or {}
  if call.name == "" then
    call.name = text_in(called.name) or ""
  end
  local arguments = called.arguments
  if type(arguments) == "table" and arguments ~= json.null then
    arguments = json.encode(arguments) -- some servers send the object itself
  end
  arguments = text_in(arguments) or ""
  call.arguments[#call.arguments + 1] = arguments
  return self:count(#arguments) and #self.calls <= CALLS_MAX
end

-- What the model says, in a delta or in a whole message.
function Answer:add(said)
  local run = self.run
  local thought = text_in(said.reasoning_content) or text_in(said.reasoning)
  if thought then
    run:thinking(thought)
  end
  local text = text_in(said.content) or text_in(said.refusal)
  if text then
    self.texts[#self.texts + 1] = text
    if not self:count(#text) then
      return bad "an answer that is too large"
    end
    run:delta(text)
  end
  local calls = said.tool_calls
  for i, piece in ipairs(type(calls) == "table" and calls or {}) do
    if type(piece) ~= "table" then
      return bad "a tool call that is no object"
    elseif not self:add_call(piece, i - 1) then
      return bad "tool calls that are too large or too many"
    end
  end
  return true
end

function Answer:add_choice(choice)
  if type(choice) ~= "table" or (type(choice.index) == "number" and choice.index ~= 0) then
    return bad "several choices, where one was asked for"
  end
  local said = type(choice.delta) == "table" and choice.delta or choice.message
  if type(said) == "table" then
    local good, why, code = self:add(said)
    if not good then
      return nil, why, code
    end
  end
  self.finish_reason = text_in(choice.finish_reason) or self.finish_reason
  return true
end

-- One object of the stream, or the whole answer. True, or nil, a text for the client and a code.
function Answer:take(data, kind)
  local object, why = json.decode(data)
  if type(object) ~= "table" then
    return bad(why and "something that is no JSON" or "something that is no object")
  end
  local failure = object.error
  if kind == "error" or (failure ~= nil and failure ~= json.null) then
    local code, text = failure_of(failure ~= nil and failure or object)
    self.reason = json.encode(failure) or "error"
    return nil, text, code
  end
  if type(object.usage) == "table" then
    self.usage = object.usage
  end
  local choices = type(object.choices) == "table" and object.choices or {}
  if #choices > 1 then
    return bad "several choices, where one was asked for"
  elseif choices[1] == nil then
    return true
  end
  return self:add_choice(choices[1])
end

-- How tidegate.http says that a stream was lost, as the agent says it.
function Answer:lost(reason, code)
  self.reason = reason
  if code == "timeout" then
    return nil, "the model's server stopped sending", "upstream_timeout"
  elseif code == "too_large" or code == "protocol" then
    return bad "an answer that cannot be read"
  end
  return nil, "the model's server broke off its answer", "upstream_unavailable"
end

-- The end of the body mostly comes right after [DONE], and its connection then serves the next request.
local function await_end(next_event)
  local ended = false
  local rest = tide.spawn(function()
    repeat
      ended = next_event() == nil
    until ended
  end)
  local pauses = 0
  while not ended and pauses < END_PAUSES do
    time.sleep(END_PAUSE)
    pauses = pauses + 1
  end
  rest:cancel()
end

function Answer:read_events(response)
  local events, next_event = 0, response:events()
  for event in next_event do
    if event.data:find "^%s*%[DONE%]%s*$" then
      await_end(next_event)
      return true
    end
    if event.data ~= "" then
      local good, why, code = self:take(event.data, event.event)
      if not good then
        return nil, why, code
      end
    end
    events = events + 1
    if events % EVENTS_A_TURN == 0 then
      time.sleep(0)
    end
  end
  local reason, code = response:error()
  if events == 0 and not reason then
    return bad "no answer"
  elseif not self.finish_reason then
    return self:lost(reason or "the stream ended before the answer did", code)
  end
  return true
end

function Answer:read_whole(response)
  local text, reason, code = response:read "all"
  if reason then
    return self:lost(reason, code)
  end
  return self:take(text or "")
end

-- Calls as the next request repeats them.
function Answer:finish()
  for i, call in ipairs(self.calls) do
    call.arguments = table.concat(call.arguments)
    call.id = call.id or "call_" .. i
    if call.name == "" then
      return bad "a tool call without a name"
    end
  end
  self.text = table.concat(self.texts)
  local cut = self.finish_reason == "length" or self.finish_reason == "content_filter"
  if cut and #self.calls > 0 then
    return bad "an answer that was cut off inside a tool call"
  elseif not self.finish_reason and self.text == "" and #self.calls == 0 then
    return bad "an empty answer"
  elseif self.finish_reason == "tool_calls" and #self.calls == 0 then
    return bad "no tool call, though it says so"
  end
  return true
end

local M = {}

--- Reads an answer to its end. { text, calls, finish_reason, usage }; or nil, a text for the client, a code
--- and a reason for the log.
function M.read(run, response)
  local self = setmetatable({ run = run, texts = {}, calls = {}, calls_at = {}, bytes = 0 }, Answer)
  local whole = (response.headers["content-type"] or ""):find "^application/json" ~= nil
  local good, why, code
  if whole then
    good, why, code = self:read_whole(response)
  else
    good, why, code = self:read_events(response)
  end
  if good then
    good, why, code = self:finish()
  end
  response:close()
  if not good then
    return nil, why, code, self.reason
  end
  return self
end

return M

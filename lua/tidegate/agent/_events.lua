--- Events of Tidegate's own vocabulary that somebody else sends, carried out on a run of ours.
--
-- Its run_id, seq and timestamp are never looked at: the core makes its own (where runs share a connection,
-- events of another run are ignored). What cannot be carried out ends the run with `bad_upstream_answer`; so
-- does what contradicts what came before. Members may stand in `data`, as on the wire, or beside `type`.
--
-- An ending is { response = … }, or { code, text, why }: for the client, for the client, for the log.

local json = require "tidegate.json"
local log = require "tidegate.log"
local time = require "tidegate.time"

local M = {}

local FAILED = "the upstream failed"
local EVENTS_A_TURN = 32 -- then others get theirs: an event that has come takes no waiting

--- The upstream said what it must not; here the client is told, too.
function M.bad(...)
  local text = (...):format(select(2, ...))
  return { code = "bad_upstream_answer", text = text, why = text }
end

local bad = M.bad

--- Our run has ended meanwhile: nobody listens any more.
M.OVER = {}

local OVER = M.OVER

local function send_text(method)
  return function(state, data, kind)
    if type(data.text) ~= "string" then
      return bad("%s without text", kind)
    end
    return not state.run[method](state.run, data.text) and OVER or nil
  end
end

local function id_of(data)
  local id = data.tool_call_id
  if type(id) == "string" and #id <= 256 or type(id) == "number" then
    return id
  end
end

local events = { agent_thinking = send_text "thinking", agent_delta = send_text "delta" }

function events.agent_started() end

function events.tool_executing(state, data)
  local id = id_of(data)
  if not id then
    return bad "tool_executing without tool_call_id"
  elseif state.calls[id] then
    return bad "tool_executing twice with the same tool_call_id"
  elseif type(data.name) ~= "string" or data.name == "" or #data.name > 128 then
    return bad "tool_executing without the tool's name"
  end
  local call, why = state.run:tool_started(data.name, data.arguments)
  state.calls[id] = call
  if not call then
    return why == "closed" and OVER or bad("%s", why)
  end
end

function events.tool_completed(state, data)
  local id = id_of(data)
  local call = id and state.calls[id]
  if not call then
    return bad "tool_completed without its tool_executing"
  end
  state.calls[id] = nil
  local told
  if data.error ~= nil and data.error ~= json.null then
    told = call:failed(type(data.error) == "string" and data.error or "the tool failed")
  else
    told = call:completed(data.result)
  end
  return not told and OVER or nil
end

function events.agent_completed(_, data)
  return { response = data.response }
end

--- The upstream's own code is kept when it is one.
function M.failure(data)
  local code, message = data.code, data.message
  if type(code) ~= "string" or #code > 64 or not code:find "^[a-z0-9_]+$" then
    code = "upstream_error"
  end
  return { code = code, text = type(message) == "string" and message or FAILED }
end

function events.agent_error(_, data)
  return M.failure(data)
end

--- What a run remembers of what it has been told. own_only: events that name another run are not for it.
function M.begin(run, own_only)
  return { run = run, calls = {}, count = 0, own_only = own_only }
end

--- What follows from one event; nil: it goes on. `name` is that of a server-sent event.
function M.take(state, text, name)
  state.count = state.count + 1
  if state.count % EVENTS_A_TURN == 0 then
    time.sleep(0)
  end
  local event = json.decode(text)
  if type(event) ~= "table" then
    return bad "an event is no JSON object"
  elseif state.own_only and event.run_id ~= nil and event.run_id ~= state.run.id then
    return nil
  end
  local kind = event.type
  if kind == nil and name ~= "message" then
    kind = name
  end
  if type(kind) ~= "string" then
    return bad "an event without type"
  end
  local act = events[kind]
  if not act then
    log.debug("agent: an upstream's event of unknown type is ignored", { type = kind:sub(1, 100) })
    return nil
  end
  return act(state, type(event.data) == "table" and event.data or event, kind)
end

return M

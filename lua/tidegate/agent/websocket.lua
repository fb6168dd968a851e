--- agent.websocket: an agent that runs somewhere else and tells what it does as JSON events over a WebSocket.
--
-- We are the client: each run opens a connection, or takes one that an earlier run has left (`reuse`), sends
-- one message and carries out the events that come, until the last. The core closes what a run leaves behind,
-- and says `agent_cancel` first when the run did not come to its end.
--
-- How it fails, is asked again and is left alone is in _upstream.lua.

local events = require "tidegate.agent._events"
local json = require "tidegate.json"
local options = require "tidegate.agent._websocket_options"
local request_of = require "tidegate.agent._request"
local upstream = require "tidegate.agent._upstream"
local websocket = require "tidegate._websocket"

local bad = events.bad

local KEPT_MAX = 16 -- connections that wait for another run
local BROKEN_OFF = "the upstream broke off its answer"

-- --- the end of a connection -----------------------------------------------------------------------------

-- By the code of its close frame, where that says more than that it is over.
local of_close = {
  [1000] = function()
    return bad "the upstream ended early"
  end,
}
for _, code in ipairs { 1002, 1003, 1007, 1009, 1010 } do
  of_close[code] = function(why)
    return { code = "bad_upstream_answer", text = "the upstream gave up the connection", why = why }
  end
end
for _, code in ipairs { 1008, 4400, 4401, 4403 } do
  of_close[code] = function(why)
    return { code = "upstream_refused", text = "the upstream refused the request", why = why }
  end
end
of_close[4429] = function(why)
  return { code = "rate_limited", text = "the upstream is over its limit; try again later", why = why }
end

--- Close codes of a server that goes, and may be back.
local again_after_close = { [1001] = true, [1012] = true, [1013] = true }

-- What a connection that is over means: { again, ending }. `text`: in place of "cannot be reached".
local function failure_of(why, how, number, text)
  if how == "status" then
    local ending = upstream.status_failure(number)
    if number < 400 then
      ending.text = "the upstream does not speak WebSocket"
    end
    return { again = upstream.again(nil, number), ending = ending }
  elseif how == "ended" then
    local ending = of_close[number] and of_close[number](why)
    ending = ending or upstream.outcome_failure(why, how, BROKEN_OFF)
    return { again = again_after_close[number] or false, ending = ending }
  end
  return { again = upstream.again(how), ending = upstream.outcome_failure(why, how, text) }
end

-- --- connections that are kept ---------------------------------------------------------------------------

-- The one that was used last; nil: none is left.
local function take_kept(kept)
  while #kept > 0 do
    local socket = table.remove(kept)
    if websocket.wake(socket) then
      return socket
    end
  end
end

-- Leaves a connection to later runs, if it is in order.
local function leave(settings, kept, socket, ending)
  if ending == events.OVER then
    return -- ours is over and the upstream's is not: the core says farewell
  end
  local in_order = ending.code == nil or ending.why == nil
  if settings.reuse and in_order and websocket.rest(socket, settings.reuse) then
    kept[#kept + 1] = socket
    if #kept > KEPT_MAX then
      websocket.close(table.remove(kept, 1))
    end
  else
    websocket.close(socket, in_order and 1000 or 1008)
  end
end

-- --- a run -----------------------------------------------------------------------------------------------

-- Sends the request; what comes first, or nil and a failure.
local function ask_on(socket, request, farewell)
  websocket.farewell(socket, farewell)
  local sent, why, how, number = websocket.send(socket, request)
  if sent then
    local message, is_text
    message, is_text, how, number = websocket.receive(socket)
    if message then
      return { socket = socket, message = message, is_text = is_text }
    end
    why = is_text
  end
  return nil, failure_of(why, how, number, BROKEN_OFF)
end

-- One try: a connection and the first message on it, or nil and a failure. One that was kept may have died
-- meanwhile without a word, and says nothing of whether the upstream is there.
local function try(settings, kept, request, farewell)
  local socket = take_kept(kept)
  while socket do
    local begun, failure = ask_on(socket, request, farewell)
    if begun or not (failure.again or failure.ending.code == "upstream_unavailable") then
      return begun, failure
    end
    socket = take_kept(kept)
  end
  local opened, why, how, number = websocket.open(settings.url, settings.headers, settings.link)
  if not opened then
    return nil, failure_of(why, how, number)
  end
  return ask_on(opened, request, farewell)
end

-- Carries out what comes, to the ending.
local function read(settings, run, begun)
  local state, socket = events.begin(run, settings.reuse ~= nil), begun.socket
  local message, is_text, how, number = begun.message, begun.is_text, nil, nil
  while message do
    if not is_text then
      return bad "the upstream sent a binary message"
    end
    local ending = events.take(state, message)
    if ending then
      return ending
    end
    message, is_text, how, number = websocket.receive(socket)
  end
  return failure_of(is_text, how, number, BROKEN_OFF).ending
end

local M = {}

--- An agent for `policy.agents`.
---@param given tidegate.WebsocketAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function M.new(given)
  local settings, wrong = options.read(given)
  if not settings then
    error("agent.websocket: " .. wrong, 2)
  end
  local kept = {}
  return upstream.agent("agent.websocket", settings, function(run, input)
    local request, unsendable = request_of.text_of(settings, run, input, "agent_execution")
    if not request then
      return unsendable
    end
    local farewell = json.encode { type = "agent_cancel", run_id = run.id }
    local begun, ending = upstream.attempt(settings, nil, function()
      return try(settings, kept, request, farewell)
    end)
    if not begun then
      return ending
    end
    ending = read(settings, run, begun)
    leave(settings, kept, begun.socket, ending)
    return ending
  end)
end

return M

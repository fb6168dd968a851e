--- What agents that run elsewhere have in common, whatever carries their events: how a run ends when they
--- fail, when they are asked again, and when they are left alone. Private: for agents of the library.
---
--- Each failure has a code for the client and a text for the client; what could tell of the inside (host,
--- status, the library's own words) goes to the log only.

local events = require "tidegate.agent._events"
local log = require "tidegate.log"
local retry = require "tidegate.agent._retry"
local time = require "tidegate.time"

local M = {}

local FIRST_PAUSE, LONGEST_PAUSE, LONGEST_WISH = 0.3, 10, 10

-- --- failures --------------------------------------------------------------------------------------------

local texts = {
  upstream_unavailable = "the upstream cannot be reached",
  upstream_timeout = "the upstream took too long",
  upstream_refused = "the upstream refused the request",
  rate_limited = "the upstream is over its limit; try again later",
  bad_upstream_answer = "the upstream does not speak as it should",
}

-- An end of the run; `why` is for the log only.
local function failure(code, why, text)
  return { code = code, text = text or texts[code], why = why }
end

--- What became of a request or connection without an answer. `text`: in place of "cannot be reached".
function M.outcome_failure(why, code, text)
  if code == "too_large" then
    return events.bad "the upstream sent more at once than is allowed"
  end
  local ours = retry.of_outcome(code)
  return failure(ours, why, ours == "upstream_unavailable" and text or nil)
end

--- An HTTP status that is no answer.
function M.status_failure(status)
  local code, text = retry.of_status(status), nil
  if code == "upstream_unavailable" then
    text = "the upstream failed"
  elseif code == "bad_upstream_answer" then
    text = "the upstream's answer is none"
  end
  return failure(code, "status " .. status, text)
end

-- --- once more -------------------------------------------------------------------------------------------

local again_after = { refused = true, resolve = true, connect = true, reset = true, ended = true }
local again_status = { [429] = true, [502] = true, [503] = true }

--- Whether the same may be asked again: nobody can have begun to work on it, or who did is gone.
function M.again(code, status)
  return again_status[status] or (status == nil and again_after[code]) or false
end

--- As retry.attempt; of a failure, `ending` is what the run then ends with.
function M.attempt(settings, deadline, try)
  local result, failed = retry.attempt({
    retries = settings.retries,
    first_pause = FIRST_PAUSE,
    longest_pause = LONGEST_PAUSE,
    longest_wish = LONGEST_WISH,
    deadline = deadline,
  }, try)
  return result, failed and failed.ending
end

-- --- the circuit -----------------------------------------------------------------------------------------

local counted = { upstream_unavailable = true, upstream_timeout = true }

-- While nothing comes of asking, runs end at once in place of waiting for a time-out each. What an upstream
-- says of itself (without `why`) is an answer, whatever its code.
local function note(settings, circuit, ending)
  if not settings.circuit or not ending.why or not counted[ending.code] then
    circuit.failures = 0
    return
  end
  circuit.failures = circuit.failures + 1
  if circuit.failures >= settings.circuit.failures then
    circuit.closed_until = time.monotonic() + settings.circuit.pause
  end
end

--- The agent: `execute(run, input)` returns the run's ending. `name` is for the log.
function M.agent(name, settings, execute)
  local circuit = { failures = 0, closed_until = 0 }
  return function(run, input)
    local ending
    if time.monotonic() < circuit.closed_until then
      ending = failure("upstream_unavailable", "several failures one after the other: not asked")
    else
      ending = execute(run, input)
      if ending ~= events.OVER then
        note(settings, circuit, ending)
      end
    end
    if not ending.code then
      return ending.response
    end
    if ending.why then
      log.warn(name .. ": the upstream failed", { agent = run.agent, code = ending.code, why = ending.why })
    end
    return nil, ending.text, ending.code
  end
end

return M

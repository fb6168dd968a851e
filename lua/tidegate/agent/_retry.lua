--- Asking somebody else's server again: what went wrong by which code, whether another try may help, and how
--- long it waits for its turn. Private: for agents of the library.

local time = require "tidegate.time"

local M = {}

-- code of tidegate.http, or how a WebSocket ended -> ours, and whether nothing has come of the request
local outcomes = {
  refused = { "upstream_unavailable", true },
  resolve = { "upstream_unavailable", true },
  connect = { "upstream_unavailable", true },
  reset = { "upstream_unavailable", true },
  ended = { "upstream_unavailable", true },
  timeout = { "upstream_timeout", true },
  tls = { "upstream_unavailable", false },
  forbidden = { "upstream_unavailable", false },
  invalid = { "upstream_unavailable", false },
  closed = { "upstream_unavailable", false },
  too_large = { "bad_upstream_answer", false },
  redirects = { "bad_upstream_answer", false },
  protocol = { "bad_upstream_answer", false },
}

--- Our code for what became of a request without an answer, and whether to ask again makes sense.
function M.of_outcome(code)
  local failure = outcomes[code] or outcomes.closed
  return failure[1], failure[2]
end

--- The same for an HTTP status.
function M.of_status(status)
  if status == 429 then
    return "rate_limited", true
  elseif status == 408 or status == 504 then
    return "upstream_timeout", true
  elseif status >= 500 then
    return "upstream_unavailable", status ~= 501 and status ~= 505
  elseif status >= 400 then
    return "upstream_refused", false
  end
  return "bad_upstream_answer", false
end

local months = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

-- Unix time of "Sun, 06 Nov 1994 08:49:37 GMT". Years are counted from March, so that a leap day is the last.
local function unix_time(text)
  local form = "^%a+, (%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$"
  local day, name, year, hour, minute, second = text:match(form)
  local month = months[name]
  if not month then
    return nil
  end
  year, month = tonumber(year) - (month < 3 and 1 or 0), (month + 9) % 12
  local leap_days = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  local days = 365 * year + leap_days + math.floor((153 * month + 2) / 5) + tonumber(day) - 1 - 719468
  return ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
end

--- Seconds that an answer asks to be left alone for; nil: it says nothing.
function M.wish_of(headers)
  local ms, text = tonumber(headers["retry-after-ms"]), headers["retry-after"]
  if ms then
    return math.max(ms / 1000, 0)
  elseif not text then
    return nil
  end
  local date = unix_time(text)
  local seconds = date and date - time.now() or tonumber(text)
  return seconds and seconds < math.huge and math.max(seconds, 0) or nil
end

-- Never all clients at the same moment.
local function pause_before(rules, attempt, wish)
  local pause = math.min(rules.first_pause * 2 ^ (attempt - 1), rules.longest_pause)
  pause = pause * (0.5 + math.random() / 2)
  return wish and wish + pause * 0.1 or pause
end

-- Seconds to the next try; nil: there is none.
local function next_pause(rules, attempt, failure)
  if not failure.again or attempt > rules.retries or (failure.wish or 0) > rules.longest_wish then
    return nil
  end
  local pause = pause_before(rules, attempt, failure.wish)
  return not (rules.deadline and time.now() + pause >= rules.deadline) and pause or nil
end

--- What try() returns as soon as it returns something; or nil and its last failure, { again, wish, … }.
--- rules: { retries, first_pause (doubled each time), longest_pause, longest_wish, deadline }. `note`, if
--- there is one, hears of each failure, of which try, and whether there is another.
function M.attempt(rules, try, note)
  local attempt = 1
  while true do
    local result, failure = try()
    if result then
      return result
    end
    local pause = next_pause(rules, attempt, failure)
    if note then
      note(failure, attempt, pause ~= nil)
    end
    if not pause then
      return nil, failure
    end
    time.sleep(pause)
    attempt = attempt + 1
  end
end

return M

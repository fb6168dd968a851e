--- A POST that is tried again while nothing of an answer has come: too many requests, a server that fails, a
-- connection that does. Private: for agents of the library.
--
-- Once the head of a good answer is there, nothing is tried again: the client may have seen a part of it.

local http = require "tidegate.http"
local log = require "tidegate.log"
local time = require "tidegate.time"

local FIRST_PAUSE = 0.5 -- doubled each time
local LONGEST_PAUSE = 8
local LONGEST_WISH = 60 -- of a server that says when to come again; a longer one is not waited for
local REASON_BYTES = 2048

local M = {}

-- code of tidegate.http -> ours, and whether another try may help
local failures = {
  refused = { "upstream_unavailable", true },
  resolve = { "upstream_unavailable", true },
  connect = { "upstream_unavailable", true },
  reset = { "upstream_unavailable", true },
  timeout = { "upstream_timeout", true },
  tls = { "upstream_unavailable", false },
  forbidden = { "upstream_unavailable", false },
  invalid = { "upstream_unavailable", false },
  closed = { "upstream_unavailable", false },
  too_large = { "bad_upstream_answer", false },
  redirects = { "bad_upstream_answer", false },
  protocol = { "bad_upstream_answer", false },
}

local texts = {
  upstream_unavailable = "the model's server cannot be reached",
  upstream_timeout = "the model's server does not answer",
  upstream_refused = "the model's server refused the request",
  rate_limited = "the model's server is over its limit; try again later",
  bad_upstream_answer = "the model's server sent an answer that cannot be read",
}

local function of_status(status)
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

-- Seconds that the server asks for; nil: it says nothing.
local function wish_of(response)
  local ms, text = tonumber(response.headers["retry-after-ms"]), response.headers["retry-after"]
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
local function pause_before(attempt, wish)
  local pause = math.min(FIRST_PAUSE * 2 ^ (attempt - 1), LONGEST_PAUSE) * (0.5 + math.random() / 2)
  return wish and wish + pause * 0.1 or pause
end

-- What a refusal says. All of it before anybody hides secrets in it: half of one would not be found.
local function reason_of(response)
  local pieces, bytes = {}, 0
  while bytes < REASON_BYTES do
    local piece = response:read(REASON_BYTES - bytes)
    if not piece then
      break
    end
    pieces[#pieces + 1] = piece
    bytes = bytes + #piece
  end
  response:close()
  return table.concat(pieces)
end

-- One try: the response; or nil, a failure { code, again, wish, reason, status }.
local function try(url, request)
  local response, why, code = http.post(url, request)
  if not response then
    local failure = failures[code] or failures.closed
    return nil, { code = failure[1], again = failure[2], reason = why }
  elseif response.ok then
    return response
  end
  local named, again = of_status(response.status)
  local failure = { code = named, again = again, wish = wish_of(response), status = response.status }
  failure.reason = reason_of(response)
  return nil, failure
end

--- For what goes wrong later, inside an answer.
function M.log_failure(code, reason)
  log.warn("the model's server broke its answer off", { code = code, reason = reason })
end

--- The response of an answer that begins well; or nil, a text for the client and a code. `hide` takes
--- secrets out of what the server says, for the log.
function M.post(url, request, retries, hide)
  local attempt = 1
  while true do
    local response, failure = try(url, request)
    if response then
      return response
    end
    local again = failure.again and attempt <= retries and (failure.wish or 0) <= LONGEST_WISH
    log.warn("the model's server did not answer", {
      code = failure.code,
      status = failure.status,
      reason = hide(failure.reason),
      attempt = attempt,
      again = again,
    })
    if not again then
      local text = texts[failure.code]
      if failure.code == "upstream_unavailable" and failure.status then
        text = "the model's server failed"
      end
      return nil, failure.status and ("%s (HTTP %d)"):format(text, failure.status) or text, failure.code
    end
    time.sleep(pause_before(attempt, failure.wish))
    attempt = attempt + 1
  end
end

return M

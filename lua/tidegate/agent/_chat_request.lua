--- The request of a chat-completions API, which is tried again while nothing of an answer has come: too many
-- requests, a server that fails, a connection that does. Private: for agents of the library.
--
-- Once the head of a good answer is there, nothing is tried again: the client may have seen a part of it.

local http = require "tidegate.http"
local log = require "tidegate.log"
local retry = require "tidegate.agent._retry"

local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8
local LONGEST_WISH = 60 -- of a server that says when to come again; a longer one is not waited for
local REASON_BYTES = 2048

local M = {}

local texts = {
  upstream_unavailable = "the model's server cannot be reached",
  upstream_timeout = "the model's server does not answer",
  upstream_refused = "the model's server refused the request",
  rate_limited = "the model's server is over its limit; try again later",
  bad_upstream_answer = "the model's server sent an answer that cannot be read",
}

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
    local ours, again = retry.of_outcome(code)
    return nil, { code = ours, again = again, reason = why }
  elseif response.ok then
    return response
  end
  local ours, again = retry.of_status(response.status)
  local wish = retry.wish_of(response.headers)
  local failure = { code = ours, again = again, wish = wish, status = response.status }
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
  local rules = {
    retries = retries,
    first_pause = FIRST_PAUSE,
    longest_pause = LONGEST_PAUSE,
    longest_wish = LONGEST_WISH,
  }
  local response, failure = retry.attempt(rules, function()
    return try(url, request)
  end, function(failure, attempt, again)
    log.warn("the model's server did not answer", {
      code = failure.code,
      status = failure.status,
      reason = hide(failure.reason),
      attempt = attempt,
      again = again,
    })
  end)
  if response then
    return response
  end
  local text = texts[failure.code]
  if failure.code == "upstream_unavailable" and failure.status then
    text = "the model's server failed"
  end
  return nil, failure.status and ("%s (HTTP %d)"):format(text, failure.status) or text, failure.code
end

return M

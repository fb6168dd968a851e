--- agent.http: an agent that runs somewhere else and tells what it does as JSON events over HTTP.
--
-- The upstream's events are carried out on our run, one by one (_events.lua), so everything that the core
-- promises of a run holds whatever the upstream does.
--
-- Each failure has a code for the client and a text for the client; what could tell of the inside (host,
-- status, the library's own words) goes to the log only.

local http = require "tidegate.http"
local json = require "tidegate.json"
local log = require "tidegate.log"
local options = require "tidegate.agent._http_options"
local upstream = require "tidegate.agent._events"
local time = require "tidegate.time"

local bad, OVER = upstream.bad, upstream.OVER

local RETRY_PAUSE, RETRY_PAUSE_MAX = 0.2, 10

-- --- failures --------------------------------------------------------------------------------------------

local texts = {
  upstream_unavailable = "the upstream cannot be reached",
  upstream_timeout = "the upstream took too long",
  upstream_refused = "the upstream refused the request",
  rate_limited = "the upstream is over its limit; try again later",
  bad_upstream_answer = "the upstream does not speak HTTP as it should",
}

--- Codes of tidegate.http that mean something else than `upstream_unavailable`.
local of_http = {
  timeout = "upstream_timeout",
  protocol = "bad_upstream_answer",
  redirects = "bad_upstream_answer",
}

--- An end of the run; `why` is for the log only.
local function failure(code, why, text)
  return { code = code, text = text or texts[code], why = why }
end

local function http_failure(why, code, text)
  if code == "too_large" then
    return bad "the upstream sent more at once than is allowed"
  end
  local ours = of_http[code] or "upstream_unavailable"
  return failure(ours, why, ours == "upstream_unavailable" and text)
end

local function status_failure(status)
  local why = "status " .. status
  if status == 429 then
    return failure("rate_limited", why)
  elseif status == 408 or status == 504 then
    return failure("upstream_timeout", why)
  elseif status >= 500 then
    return failure("upstream_unavailable", why, "the upstream failed")
  elseif status >= 400 then
    return failure("upstream_refused", why)
  end
  return failure("bad_upstream_answer", why, "the upstream's answer is none")
end

local readers = {}

function readers.sse(state, response)
  if not (response.headers["content-type"] or ""):lower():find("text/event-stream", 1, true) then
    return bad "the upstream's answer is no text/event-stream"
  end
  for event in response:events() do
    local ending = upstream.take(state, event.data, event.event)
    if ending then
      return ending
    end
  end
end

function readers.ndjson(state, response)
  for line in response:lines() do
    local ending = line:find "%S" and upstream.take(state, line)
    if ending then
      return ending
    end
  end
end

local function read_stream(settings, run, response)
  local ending = readers[settings.stream](upstream.begin(run), response)
  if not ending then
    local why, code = response:error()
    if why then
      ending = http_failure(why, code, "the upstream broke off its answer")
    else
      ending = bad "the upstream ended early"
    end
  end
  response:close()
  return ending
end

local function read_whole(response)
  if not (response.headers["content-type"] or ""):lower():find("json", 1, true) then
    return json.encode(response.body) and { response = response.body } or bad "the answer is not UTF-8 text"
  end
  local answer = json.decode(response.body)
  if type(answer) ~= "table" then
    return bad "the answer is no JSON object"
  elseif type(answer.error) == "table" then
    return upstream.failure(answer.error)
  elseif answer.response == nil then
    return bad "the answer has no response"
  end
  return { response = answer.response }
end

-- --- the request -----------------------------------------------------------------------------------------

--- The fields named; true: all, false: none.
local function chosen(value, fields)
  if fields == true then
    return value
  elseif not fields or value == nil then
    return nil
  end
  local some = {}
  for _, name in ipairs(fields) do
    some[name] = value[name]
  end
  return some
end

local function body_of(settings, run, input)
  local conn, message = run.conn, input
  if type(input) ~= "string" then
    message = type(input) == "table" and input.message or nil
  end
  return {
    run_id = run.id,
    agent = run.agent,
    connection_id = conn and conn.id,
    user_id = conn and conn.user_id,
    identity = conn and chosen(conn.identity, settings.identity),
    context = conn and chosen(conn.context, settings.context),
    message = message,
    input = input,
  }
end

local function headers_of(settings, run)
  local headers = { accept = options.accept[settings.stream], ["idempotency-key"] = run.id }
  for name, value in pairs(settings.headers) do
    headers[type(name) == "string" and name:lower() or name] = value
  end
  return headers
end

--- Nothing of the answer has been used, so the same may be asked again.
local retried = { refused = true, resolve = true, connect = true, reset = true }
local retried_status = { [429] = true, [502] = true, [503] = true }

--- Seconds until the next attempt; nil: there is none.
local function pause_before(settings, attempt, code, response)
  if attempt > settings.retries then
    return nil
  elseif response then
    local asked = tonumber(response.headers["retry-after"])
    if not retried_status[response.status] or asked and asked > RETRY_PAUSE_MAX then
      return nil
    elseif asked and asked >= 0 then
      return asked
    end
  elseif not retried[code] then
    return nil
  end
  return math.min(RETRY_PAUSE * 2 ^ (attempt - 1), RETRY_PAUSE_MAX) * (1 + math.random() / 2)
end

--- A response with a status of 200 to 299, or an end of the run.
local function ask(settings, run, input)
  local whole = settings.stream == "json"
  local request = {
    url = settings.url,
    method = "POST",
    headers = headers_of(settings, run),
    bearer = settings.bearer,
    json = body_of(settings, run, input),
    connect_timeout = settings.connect_timeout,
    idle_timeout = settings.idle_timeout,
    max_response = settings.max_event,
    stream = not whole,
  }
  local deadline = settings.timeout and time.now() + settings.timeout
  local attempt = 0
  while true do
    attempt = attempt + 1
    request.timeout = deadline and math.max(deadline - time.now(), 0.001)
    local response, why, code = http.request(request)
    if response and response.ok then
      return response
    end
    local pause = pause_before(settings, attempt, code, response)
    if response and not whole then
      response:close()
    end
    if not pause or deadline and time.now() + pause >= deadline then
      return nil, response and status_failure(response.status) or http_failure(why, code)
    end
    time.sleep(pause)
  end
end

-- --- the circuit -----------------------------------------------------------------------------------------

local counted = { upstream_unavailable = true, upstream_timeout = true }

--- While nothing comes of asking, runs end at once in place of waiting for a time-out each. What an upstream
--- says of itself (without `why`) is an answer, whatever its code.
local function note(settings, circuit, ending)
  if not settings.circuit or not ending.why or not counted[ending.code] then
    circuit.failures = 0
    return
  end
  circuit.failures = circuit.failures + 1
  if circuit.failures >= settings.circuit.failures then
    circuit.closed_until = time.now() + settings.circuit.pause
  end
end

local function execute(settings, circuit, run, input)
  if time.now() < circuit.closed_until then
    return failure("upstream_unavailable", "several failures one after the other: not asked")
  end
  local response, ending = ask(settings, run, input)
  if response then
    ending = settings.stream == "json" and read_whole(response) or read_stream(settings, run, response)
  end
  if ending ~= OVER then
    note(settings, circuit, ending)
  end
  return ending
end

local M = {}

--- An agent for `policy.agents`.
---@param given tidegate.HttpAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function M.new(given)
  local settings, wrong = options.read(given)
  if not settings then
    error("agent.http: " .. wrong, 2)
  end
  local circuit = { failures = 0, closed_until = 0 }
  return function(run, input)
    local ending = execute(settings, circuit, run, input)
    if not ending.code then
      return ending.response
    end
    if ending.why then
      log.warn("agent.http: the upstream failed", { agent = run.agent, code = ending.code, why = ending.why })
    end
    return nil, ending.text, ending.code
  end
end

return M

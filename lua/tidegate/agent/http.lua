--- agent.http: an agent that runs somewhere else and tells what it does as JSON events over HTTP.
--
-- The upstream's events are carried out on our run, one by one (_events.lua), so everything that the core
-- promises of a run holds whatever the upstream does.
--
-- How it fails, is asked again and is left alone is in _upstream.lua.

local events = require "tidegate.agent._events"
local http = require "tidegate.http"
local json = require "tidegate.json"
local options = require "tidegate.agent._http_options"
local request_of = require "tidegate.agent._request"
local retry = require "tidegate.agent._retry"
local time = require "tidegate.time"
local upstream = require "tidegate.agent._upstream"

local bad = events.bad

-- --- the answer ------------------------------------------------------------------------------------------

local readers = {}

function readers.sse(state, response)
  if not (response.headers["content-type"] or ""):lower():find("text/event-stream", 1, true) then
    return bad "the upstream's answer is no text/event-stream"
  end
  for event in response:events() do
    local ending = events.take(state, event.data, event.event)
    if ending then
      return ending
    end
  end
end

function readers.ndjson(state, response)
  for line in response:lines() do
    local ending = line:find "%S" and events.take(state, line)
    if ending then
      return ending
    end
  end
end

local function read_stream(settings, run, response)
  local ending = readers[settings.stream](events.begin(run), response)
  if not ending then
    local why, code = response:error()
    if why then
      ending = upstream.outcome_failure(why, code, "the upstream broke off its answer")
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
    return events.failure(answer.error)
  elseif answer.response == nil then
    return bad "the answer has no response"
  end
  return { response = answer.response }
end

-- --- the request -----------------------------------------------------------------------------------------

local function headers_of(settings, run)
  local headers = {
    accept = options.accept[settings.stream],
    ["content-type"] = "application/json",
    ["idempotency-key"] = run.id,
  }
  for name, value in pairs(settings.headers) do
    headers[type(name) == "string" and name:lower() or name] = value
  end
  return headers
end

-- One try: the response; or nil, a failure.
local function try(request)
  local response, why, code = http.request(request)
  if not response then
    return nil, { again = upstream.again(code), ending = upstream.outcome_failure(why, code) }
  elseif response.ok then
    return response
  elseif request.stream then
    response:close()
  end
  return nil, {
    again = upstream.again(nil, response.status),
    wish = retry.wish_of(response.headers),
    ending = upstream.status_failure(response.status),
  }
end

--- A response with a status of 200 to 299, or an end of the run.
local function ask(settings, run, input)
  local body, unsendable = request_of.text_of(settings, run, input)
  if not body then
    return nil, unsendable
  end
  local request = {
    url = settings.url,
    method = "POST",
    headers = headers_of(settings, run),
    bearer = settings.bearer,
    body = body,
    connect_timeout = settings.connect_timeout,
    idle_timeout = settings.idle_timeout,
    max_response = settings.max_event,
    stream = settings.stream ~= "json",
  }
  local deadline = settings.timeout and time.now() + settings.timeout
  return upstream.attempt(settings, deadline, function()
    request.timeout = deadline and math.max(deadline - time.now(), 0.001)
    return try(request)
  end)
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
  return upstream.agent("agent.http", settings, function(run, input)
    local response, ending = ask(settings, run, input)
    if not response then
      return ending
    end
    return settings.stream == "json" and read_whole(response) or read_stream(settings, run, response)
  end)
end

return M

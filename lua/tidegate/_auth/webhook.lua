--- auth.webhook: an HTTP service decides who it is. Private.
--
--   closed ──[failures in a row]──> open ──[cooldown]──> half open: one probe ──[answer]──> closed
--                                    ^                                      └──[fault]──> open
--
-- I1  Whatever is no clear yes is a no. A fault closes with 4503, so that the client comes again.
-- I2  The service gets the fields that were chosen and no others, and never a redirect's target.
-- Answers are kept by auth.cache. It and the breaker are of this worker and this version of the policy.
local tide = require "tidegate"
local http = require "tidegate.http"
local json = require "tidegate.json"
local log = require "tidegate.log"
local time = require "tidegate.time"
local presented = require "tidegate._auth.presented"

local TIMEOUT, COOLDOWN, FAILURES = 3, 30, 5
local BODY_BYTES_MAX, ANSWER_BYTES_MAX, REASON_BYTES_MAX = 16384, 65536, 100
local UNAVAILABLE, RETRY = "authentication is not available now; try again later", 503
local USER_ID_BYTES_MAX = 256

local option_types = {
  url = "string",
  send = "table",
  headers = "table",
  bearer = "string",
  timeout = "number",
  cache_ttl = "number",
  negative_ttl = "number",
  failures = "number",
  cooldown = "number",
  message = "boolean",
}

-- What may be sent, and what of it proves something. "query.token" and the like pick one of many.
local plain = { bearer = true, basic = true, api_key = true, message = true, subprotocols = true,
  client_certificate = true, remote_address = false, path = false }
local groups = { query = true, cookies = true, headers = true }
local ALL_FIELDS = "bearer, basic, api_key, message, subprotocols, client_certificate, remote_address, path, "
  .. "query.NAME, cookies.NAME, headers.NAME"

local function wrong_numbers(options)
  for _, name in ipairs { "timeout", "failures", "cooldown" } do
    if options[name] and not (options[name] > 0 and options[name] <= 86400) then
      return name .. " must be more than 0"
    end
  end
  for _, name in ipairs { "cache_ttl", "negative_ttl" } do
    if options[name] and not (options[name] >= 0 and options[name] <= 86400) then
      return name .. " must be seconds, 0 (not kept) to 86400"
    end
  end
end

-- A list of { group or nil, name, proves }, or nil and why.
local function fields_of(send)
  local fields = {}
  for i, text in ipairs(send) do
    local group, name
    if type(text) == "string" then
      group, name = text:match "^(%l+)%.(.+)$"
    end
    if group and groups[group] then
      fields[i] = { group = group, name = group == "headers" and name:lower() or name, proves = true }
    elseif type(text) == "string" and plain[text] ~= nil then
      fields[i] = { name = text, proves = plain[text] }
    else
      return nil, ("send: there is no %q; there are %s"):format(tostring(text), ALL_FIELDS)
    end
  end
  if #fields == 0 then
    return nil, "send is a list of what the service gets, such as { \"bearer\" }"
  end
  return fields
end

local function value_of(field, conn, credentials)
  if field.group == "headers" then
    return conn.request.headers[field.name]
  elseif field.group then
    return credentials[field.group][field.name]
  elseif field.name == "path" then
    return conn.request.path
  elseif field.name == "message" then
    return credentials.message and credentials.message.data
  end
  return credentials[field.name]
end

-- The body as JSON, and whether there is anything in it that proves something. Nil: it cannot be sent.
local function body_of(fields, conn, credentials)
  local body, proves = {}, false
  for _, field in ipairs(fields) do
    local value = value_of(field, conn, credentials)
    if value ~= nil then
      local into = body
      if field.group then
        body[field.group] = body[field.group] or {}
        into = body[field.group]
      end
      into[field.name] = value
      proves = proves or field.proves
    end
  end
  local good, text = pcall(json.encode, json.object(body))
  return good and text or nil, proves
end

-- --- the breaker

local Breaker = {}
Breaker.__index = Breaker

--- May the service be asked now?
function Breaker:allows()
  local now = time.monotonic()
  if not self.open_until then
    return true
  elseif now < self.open_until then
    return false
  end
  -- Half open. A probe whose connection goes away never ends, so its place is free again after a while.
  self.open_until = now + self.timeout + 1
  return true
end

function Breaker:succeeded()
  self.faults, self.open_until = 0, nil
end

function Breaker:failed()
  self.faults = self.faults + 1
  if self.faults >= self.failures then
    self.open_until = time.monotonic() + self.cooldown
  end
end

-- --- the service

local function is_identity(value)
  if type(value) ~= "table" or type(value.user_id) ~= "string" then
    return false
  end
  local user, expires_at = value.user_id, value.expires_at
  return user ~= "" and #user <= USER_ID_BYTES_MAX and not user:find "%c"
    and (expires_at == nil or type(expires_at) == "number" and expires_at > 0 and expires_at < math.huge)
end

-- What the service says of a denial: a text for the client, and a word that it is counted by.
local function denial_in(response)
  local answer = response:json()
  answer = type(answer) == "table" and answer or {}
  local reason, code = answer.reason, answer.code
  if type(reason) ~= "string" or reason == "" or #reason > REASON_BYTES_MAX then
    reason = "not authenticated"
  end
  -- "missing" and "unavailable" mean something to other blocks, which is not for the service to say.
  if type(code) ~= "string" or code == "missing" or code == "unavailable" then
    code = "denied"
  end
  return reason, code
end

-- "yes", identity | "no", reason, code | "fault", why
local function ask(options, body)
  local headers = tide.copy(options.headers or {})
  headers["content-type"] = "application/json"
  local response, why = http.post(options.url, {
    headers = headers,
    bearer = options.bearer,
    body = body,
    timeout = options.timeout or TIMEOUT,
    redirects = 0,
    max_response = ANSWER_BYTES_MAX,
  })
  if not response then
    return "fault", why
  elseif response.status == 401 or response.status == 403 then
    return "no", denial_in(response)
  elseif response.status ~= 200 then
    return "fault", "status " .. response.status
  end
  local answer = response:json()
  if type(answer) == "table" and is_identity(answer.identity) then
    return "yes", answer.identity
  end
  return "fault", "no identity in its answer"
end

local function check(options)
  local why = presented.wrong_option(options, option_types) or wrong_numbers(options)
  if not why and not (options.url or ""):find "^https?://." then
    why = "url must be an http or https address"
  end
  if why then
    return nil, why
  end
  return fields_of(options.send or { "bearer", "message" })
end

return function(options, core, auth)
  local fields, why = check(options)
  if not fields then
    error("auth.webhook: " .. why, 2)
  end
  local breaker = setmetatable({
    faults = 0,
    failures = options.failures or FAILURES,
    cooldown = options.cooldown or COOLDOWN,
    timeout = options.timeout or TIMEOUT,
  }, Breaker)

  local function consult(_, asked)
    if not breaker:allows() then
      core.count "webhook_left_alone"
      return nil, UNAVAILABLE, RETRY
    end
    local kind, what, code = ask(options, asked.body)
    if kind == "fault" then
      core.count "webhook_fault"
      log.warn("auth.webhook: the service gave no answer", { why = what })
      breaker:failed()
      return nil, UNAVAILABLE, RETRY
    end
    breaker:succeeded()
    if kind == "no" then
      return nil, what, code
    end
    return what
  end

  local ttl, negative_ttl = options.cache_ttl or 0, options.negative_ttl or 0
  if ttl > 0 or negative_ttl > 0 then
    consult = auth.cache(consult, {
      key = function(asked)
        return asked.body
      end,
      ttl = ttl,
      negative_ttl = negative_ttl,
    })
  end

  return function(conn, credentials)
    local body, proves = body_of(fields, conn, credentials)
    if not proves then
      if options.message ~= false and not credentials.message then
        return tide.need_message()
      end
      return nil, "send credentials", "missing"
    elseif not body then
      return nil, "the credentials are malformed", "malformed"
    elseif #body > BODY_BYTES_MAX then
      return nil, "the credentials are too long", "too_large"
    end
    return consult(conn, { body = body })
  end
end

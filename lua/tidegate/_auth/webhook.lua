--- auth.webhook: an HTTP service decides who it is. Private.
--
--   closed ──[failures in a row]──> open ──[cooldown]──> half open: one probe ──[answer]──> closed
--                                    ^                                      └──[fault]──> open
--
-- I1  Whatever is no clear yes is a no. A fault closes with 4503, so that the client comes again.
-- I2  The service gets the fields that were chosen and no others, and never a redirect's target.
-- I3  No credential is kept: the cache knows them by an HMAC with a key of this state.
--
-- The breaker and the cache are of this worker and this version of the policy.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local http = require "tidegate.http"
local json = require "tidegate.json"
local time = require "tidegate.time"
local presented = require "tidegate._auth.presented"

local TIMEOUT, COOLDOWN, FAILURES, CACHE_MAX = 3, 30, 5, 1000
local BODY_BYTES_MAX, ANSWER_BYTES_MAX, REASON_BYTES_MAX = 16384, 65536, 100
local UNAVAILABLE, RETRY = "authentication is not available now; try again later", 503

local option_types = {
  url = "string",
  send = "table",
  headers = "table",
  bearer = "string",
  timeout = "number",
  cache_ttl = "number",
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
  if options.cache_ttl and not (options.cache_ttl >= 0 and options.cache_ttl <= 86400) then
    return "cache_ttl must be seconds, 0 (no cache) to 86400"
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

-- --- the cache

local Cache = {}
Cache.__index = Cache

function Cache:find(name)
  local entry = self.entries[name]
  if entry and time.monotonic() < entry.until_clock
    and not (entry.identity.expires_at and time.now() >= entry.identity.expires_at) then
    return tide.copy(entry.identity)
  end
end

function Cache:put(name, identity)
  if self.count >= CACHE_MAX then
    self.entries, self.count = {}, 0
  end
  self.count = self.count + (self.entries[name] and 0 or 1)
  self.entries[name] = { identity = tide.copy(identity), until_clock = time.monotonic() + self.ttl }
end

-- --- the service

local function is_identity(value)
  return type(value) == "table" and type(value.user_id) == "string" and value.user_id ~= ""
    and #value.user_id <= 256 and (value.expires_at == nil or type(value.expires_at) == "number")
end

local function reason_in(response)
  local answer = response:json()
  local reason = type(answer) == "table" and answer.reason
  if type(reason) == "string" and reason ~= "" and #reason <= REASON_BYTES_MAX then
    return reason
  end
  return "not authenticated"
end

-- "yes", identity | "no", reason | "fault"
local function ask(options, body)
  local headers = tide.copy(options.headers or {})
  headers["content-type"] = "application/json"
  local response = http.post(options.url, {
    headers = headers,
    bearer = options.bearer,
    body = body,
    timeout = options.timeout or TIMEOUT,
    redirects = 0,
    max_response = ANSWER_BYTES_MAX,
  })
  if not response then
    return "fault"
  elseif response.status == 401 or response.status == 403 then
    return "no", reason_in(response)
  elseif response.status ~= 200 then
    return "fault"
  end
  local answer = response:json()
  if type(answer) == "table" and is_identity(answer.identity) then
    return "yes", answer.identity
  end
  return "fault"
end

return function(options)
  local why = presented.wrong_option(options, option_types)
  local fields
  if not why then
    why = wrong_numbers(options)
  end
  if not why and not (options.url or ""):find "^https?://." then
    why = "url must be an http or https address"
  end
  if not why then
    fields, why = fields_of(options.send or { "bearer", "message" })
  end
  if why then
    error("auth.webhook: " .. why, 2)
  end
  local secret = crypto.random_bytes(32)
  local cache = setmetatable({ entries = {}, count = 0, ttl = options.cache_ttl or 0 }, Cache)
  local breaker = setmetatable({
    faults = 0,
    failures = options.failures or FAILURES,
    cooldown = options.cooldown or COOLDOWN,
    timeout = options.timeout or TIMEOUT,
  }, Breaker)

  local function consult(body, name)
    if not breaker:allows() then
      return nil, UNAVAILABLE, RETRY
    end
    local kind, what = ask(options, body)
    if kind == "fault" then
      breaker:failed()
      return nil, UNAVAILABLE, RETRY
    end
    breaker:succeeded()
    if kind == "no" then
      return nil, what, "denied"
    elseif cache.ttl > 0 then
      cache:put(name, what)
    end
    return what
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
    local name = crypto.hmac_sha256(secret, body)
    local kept = cache.ttl > 0 and cache:find(name)
    if kept then
      return kept
    end
    return consult(body, name)
  end
end

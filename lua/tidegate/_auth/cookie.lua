--- auth.cookie_session and auth.sign_cookie: sessions that a web application has signed. Private.
--
--   value = payload "." signature
--   payload = base64url(JSON of the identity, with expires_at)
--   signature = base64url(HMAC-SHA-256(secret, name "=" payload))
--
-- The name is signed, too: a cookie for one thing is none for another. Browsers send cookies whichever page
-- connects, so this refuses to load without allowed_origins, by which the core refuses other sites' pages.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local json = require "tidegate.json"
local time = require "tidegate.time"

local SECRET_MIN = 32
local VALUE_MAX = 4096
local NAME = "session"

return function(core, shape)
  local M = {}

  local function check_name(who, name)
    name = name or NAME
    if not name:find "^[%w_.%-]+$" then
      shape.misuse("%s: name: a cookie's name expected (letters, digits, . _ -)", who)
    end
    return name
  end

  local function check_secret(who, secret)
    if type(secret) ~= "string" or #secret < SECRET_MIN then
      shape.misuse("%s: secret: text of %d bytes or more expected, got %s", who, SECRET_MIN,
        type(secret) == "string" and #secret .. " bytes" or core.describe(secret))
    end
    return secret
  end

  local function check_secrets(who, secret)
    local list = {}
    for i, one in ipairs(type(secret) == "table" and secret or { secret }) do
      list[i] = check_secret(who, one)
    end
    if #list == 0 then
      check_secret(who, nil)
    end
    return list
  end

  local function signature_of(secret, name, payload)
    return crypto.hmac_sha256(secret, name .. "=" .. payload)
  end

  -- All secrets are tried, whichever fits: how long it takes tells nothing.
  local function is_signed(secrets, name, payload, signature)
    local good = false
    for _, secret in ipairs(secrets) do
      good = crypto.equal(signature_of(secret, name, payload), signature) or good
    end
    return good
  end

  local function read_identity(payload)
    local text = crypto.base64url.decode(payload)
    local identity = text and json.decode(text)
    if type(identity) ~= "table" or type(identity.user_id) ~= "string"
      or type(identity.expires_at) ~= "number" then
      return nil
    end
    return identity
  end

  --- A session that somebody with the secret has signed; the newest secret comes first, old ones after it.
  function M.cookie_session(options)
    local who = "auth.cookie_session"
    shape.check_options(who, options, { secret = "string|table", name = "string" })
    local name, secrets = check_name(who, options.name), check_secrets(who, options.secret)
    if #tide.server.allowed_origins == 0 then
      shape.misuse("%s: any web page that a user visits could connect as that user: set allowed_origins", who)
    end
    return function(_, credentials)
      local value = credentials.cookies[name]
      if not value or value == "" then
        return nil, "sign in first", "missing"
      end
      if #value > VALUE_MAX then
        return nil, "the session is too long", "too_large"
      end
      local payload, signature = value:match "^([%w_-]+)%.([%w_-]+)$"
      signature = signature and crypto.base64url.decode(signature)
      if not signature then
        return nil, "the session is not valid", "malformed"
      elseif not is_signed(secrets, name, payload, signature) then
        return nil, "the session is not valid", "signature"
      end
      local identity = read_identity(payload)
      if not identity then
        return nil, "the session is not valid", "claims"
      elseif identity.expires_at <= time.now() then
        return nil, "the session has expired; sign in again", "expired"
      end
      return identity
    end
  end

  --- The value of such a cookie.
  function M.sign_cookie(identity, options)
    local who = "auth.sign_cookie"
    shape.check_options(who, options, { secret = "string", name = "string", expires_in = "number" })
    local name, secret = check_name(who, options.name), check_secret(who, options.secret)
    if type(identity) ~= "table" or type(identity.user_id) ~= "string" or identity.user_id == "" then
      shape.misuse("%s: an identity (a table with user_id) expected", who)
    end
    local made = tide.copy(identity)
    made.expires_at = math.floor(time.now() + shape.check_number(who, "expires_in", options.expires_in, 1))
    local text, why = json.encode(made)
    if not text then
      shape.misuse("%s: %s", who, why)
    end
    local payload = crypto.base64url.encode(text)
    return payload .. "." .. crypto.base64url.encode(signature_of(secret, name, payload))
  end

  return M
end

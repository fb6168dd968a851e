--- auth.api_key: long random keys, of which only the SHA-256 is in the configuration. Private.
--
-- A key is random and long, so a plain digest keeps it: there is nothing to guess. Keys are found by their
-- digest, which tells an attacker who measures nothing about any key, and then compared in constant time.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local time = require "tidegate.time"
local presented = require "tidegate._auth.presented"

local KEY_BYTES_MAX = 256
local option_types = { keys = "table", message = "boolean" }
local key_types = {
  id = "string",
  user_id = "string",
  sha256 = "string",
  not_before = "number",
  not_after = "number",
  identity = "table",
}

-- NaN is before and after nothing: such a key would never end.
local function is_no_time(value)
  return value ~= nil and not (value >= 0 and value < math.huge)
end

local function wrong_key(key)
  local why = presented.wrong_option(key, key_types)
  if why then
    return why
  elseif not key.id or key.id == "" then
    return "it has no id"
  elseif not key.user_id or key.user_id == "" or #key.user_id > 256 then
    return "user_id must be text of 1 to 256 bytes"
  elseif not key.sha256 or #key.sha256 ~= 64 or key.sha256:find "%X" then
    return "sha256 must be the 64 hexadecimal digits of the key's SHA-256"
  elseif is_no_time(key.not_before) or is_no_time(key.not_after) then
    return "not_before and not_after are unix seconds"
  elseif key.not_before and key.not_after and key.not_before >= key.not_after then
    return "not_before is not before not_after"
  end
end

-- { digest = key }, or nil and why.
local function index_of(keys)
  local by_digest, by_id = {}, {}
  for i = 1, #keys do
    local key = keys[i]
    local why = wrong_key(key)
    local id = type(key) == "table" and type(key.id) == "string" and key.id or i
    if not why and by_id[id] then
      why = "another key has the same id"
    elseif not why and by_digest[key.sha256:lower()] then
      why = "it is the same key as " .. by_digest[key.sha256:lower()].id
    end
    if why then
      return nil, ("key %s: %s"):format(id, why)
    end
    by_id[id], by_digest[key.sha256:lower()] = true, tide.copy(key)
  end
  if next(by_digest) == nil then
    return nil, "keys is a list of { id, user_id, sha256 } with one at least"
  end
  return by_digest
end

local function identity_of(key)
  local identity = tide.copy(key.identity or {})
  identity.user_id, identity.key_id = key.user_id, key.id
  identity.token_id = "key:" .. key.id
  identity.expires_at = key.not_after
  return identity
end

return function(options)
  local why = presented.wrong_option(options, option_types)
  local by_digest
  if not why then
    by_digest, why = index_of(options.keys or {})
  end
  if why then
    error("auth.api_key: " .. why, 2)
  end
  local waits = options.message ~= false

  return function(_, credentials)
    local others = { credentials.api_key, credentials.bearer }
    local found = presented.find(credentials, { "api_key", "token" }, others)
    if found == nil then
      if waits and not credentials.message then
        return tide.need_message()
      end
      return nil, "send an API key: X-API-Key: KEY, or Authorization: Bearer KEY", "missing"
    end
    local reason, code = presented.wrong_form(found, "API key", KEY_BYTES_MAX)
    if reason then
      return nil, reason, code
    end
    local digest = crypto.hex(crypto.sha256(found))
    local key = by_digest[digest]
    if not key or not crypto.equal(digest, key.sha256:lower()) then
      return nil, "the API key is unknown", "unknown"
    elseif key.not_before and time.now() < key.not_before then
      return nil, "the API key is not valid yet", "not_yet_valid"
    elseif key.not_after and time.now() >= key.not_after then
      return nil, "the API key has expired", "expired"
    end
    return identity_of(key)
  end
end

--- The Lua half of tidegate.jwt: options become rules and keys; the core verifies. Private: loaded by the
-- core, never by require.
--
-- What is wrong with options raises at the policy's line, so that `check` finds it. What is wrong with a
-- token is told by three values: nil, a text, a code.

local core, jwks = ...
local json = require "tidegate.json"
local time = require "tidegate.time"

local M = {}

local MAX_BYTES, LEAST_BYTES, MOST_BYTES = 8192, 256, 65536
local LEEWAY, LEEWAY_MAX = 30, 60
local AUDIENCES_MAX = 16
local REFRESH, REFRESH_MIN = 600, 60
local MAX_STALE = 86400
local CLAIMS_MAX = 65536

--- What makes a token good, and the kind of each value: for every verifier.
local rule_options = {
  algorithms = "algorithms",
  issuer = "text",
  audience = "audience",
  typ = "text",
  require_exp = "boolean",
  require_sub = "boolean",
  leeway = "leeway",
  max_age = "seconds",
  max_bytes = "size",
}

local function with_rules(options)
  for name, kind in pairs(rule_options) do
    options[name] = kind
  end
  return options
end

local verifier_options = with_rules({ keys = "keys" })
--- Of jwt.oidc: keys and their algorithms come from the provider.
local oidc_options = with_rules({ refresh = "refresh", max_stale = "seconds" })

local sign_options = {
  key = "keys",
  algorithm = "text",
  kid = "text",
  typ = "text",
  expires_in = "seconds",
}

local url_options = { url = "text", refresh = "refresh", max_stale = "seconds" }

local function fail(name, text, ...)
  core.raise(name .. ": " .. (select("#", ...) > 0 and text:format(...) or text))
end

local function is_text(value)
  return type(value) == "string" and value ~= "" and not value:find("\0", 1, true)
end

local function is_number(value, least, most)
  return type(value) == "number" and value >= least and value <= most
end

local checks = {
  text = function(value)
    return is_text(value), "text"
  end,
  boolean = function(value)
    return type(value) == "boolean", "true or false"
  end,
  keys = function(value)
    return type(value) == "string" or type(value) == "table", "keys (text or a table)"
  end,
  algorithms = function(value)
    return type(value) == "table" and #value > 0, 'a list such as { "RS256" }'
  end,
  audience = function(value)
    return is_text(value) or type(value) == "table" and #value > 0 and #value <= AUDIENCES_MAX,
      "text, or a list of 1 to 16 texts,"
  end,
  leeway = function(value)
    return is_number(value, 0, LEEWAY_MAX), "seconds from 0 to 60"
  end,
  seconds = function(value)
    return is_number(value, 1, 3.2e9), "a number of seconds"
  end,
  refresh = function(value)
    return is_number(value, REFRESH_MIN, 86400), "seconds from 60 to 86400"
  end,
  size = function(value)
    return is_number(value, LEAST_BYTES, MOST_BYTES) and value % 1 == 0, "bytes from 256 to 65536"
  end,
}

local function check_options(name, given, options)
  if type(given) ~= "table" then
    fail(name, "a table of options expected, got %s", core.describe(given))
  end
  for key, value in pairs(given) do
    local kind = options[key]
    if not kind then
      local near = type(key) == "string" and core.suggest(key, options)
      fail(name, "there is no option %q%s", tostring(key), near and ("; did you mean %q?"):format(near) or "")
    end
    local good, expected = checks[kind](value)
    if not good then
      fail(name, "%s: %s expected, got %s", key, expected, core.describe(value))
    end
  end
end

local function need(name, given, key, why)
  if given[key] == nil then
    fail(name, "%s is missing: %s", key, why)
  end
end

--- Bits of a list of names.
local function read_algorithms(name, list)
  local bits, seen = 0, {}
  for _, algorithm in ipairs(list) do
    local bit = core.algorithms[algorithm]
    if not bit then
      local what = tostring(algorithm)
      if what:lower() == "none" then
        fail(name, "algorithms: a token without a signature proves nothing; \"none\" does not exist here")
      elseif what == "EdDSA" or what == "Ed25519" then
        fail(name, "algorithms: EdDSA is not supported (the crypto library has none); RS, PS, ES, HS are")
      end
      local near = type(algorithm) == "string" and core.suggest(algorithm:upper(), core.algorithms)
      fail(name, "algorithms: there is no %q%s", what, near and ("; did you mean %q?"):format(near) or "")
    end
    if not seen[algorithm] then
      seen[algorithm] = true
      bits = bits + bit
    end
  end
  return bits, seen
end

local function read_audiences(name, audience)
  if audience == nil then
    return {}
  end
  local list = {}
  for i, one in ipairs(type(audience) == "table" and audience or { audience }) do
    if not is_text(one) then
      fail(name, "audience[%d]: text expected, got %s", i, core.describe(one))
    end
    list[i] = one
  end
  return list
end

local function either(value, default)
  if value == nil then
    return default
  end
  return value
end

local function read_rules(name, given, bits)
  return {
    algorithms = bits,
    issuer = given.issuer,
    audiences = read_audiences(name, given.audience),
    typ = given.typ,
    require_exp = either(given.require_exp, true),
    require_sub = either(given.require_sub, false),
    leeway = either(given.leeway, LEEWAY),
    max_age = either(given.max_age, 0),
    max_bytes = either(given.max_bytes, MAX_BYTES),
  }
end

-- --- keys ------------------------------------------------------------------------------------------

local function check_secret(name, secret)
  if type(secret) ~= "string" then
    fail(name, "keys: secret: text expected, got %s", core.describe(secret))
  end
  if secret:find "^%s*%-%-%-%-%-BEGIN" then
    fail(name, "keys: secret: this is a key or a certificate (PEM); give it as text, without { secret = … }")
  end
end

--- A text is PEM or JSON, a table is one of the forms below. Returns what adds it to keys, and its bytes.
local function form_of(name, key)
  if type(key) == "string" then
    if key:find("-----BEGIN ", 1, true) then
      return "pem", key
    elseif key:find "^%s*{" then
      return key:find '"keys"' and type((json.decode(key) or {}).keys) == "table" and "set" or "jwk", key
    end
    fail(name, "keys: a text is PEM, or a JWK or JWKS as JSON; a shared secret is { secret = text }")
  end
  if key.secret ~= nil then
    check_secret(name, key.secret)
    return "secret", key.secret
  elseif key.kty ~= nil or key.keys ~= nil then
    local text, why = json.encode(key)
    if not text then
      fail(name, "keys: %s", why)
    end
    return key.kty ~= nil and "jwk" or "set", text
  elseif type(key.file_option) == "string" then
    local text, why = core.read_option_file(key.file_option)
    if not text then
      fail(name, "keys: %s", why)
    end
    return form_of(name, text)
  end
  fail(name, "keys: a table is { secret = … }, { file_option = … }, { url = … }, a JWK, a JWKS or a list")
end

local adders = { pem = core.add_pem, jwk = core.add_jwk, set = core.add_set, secret = core.add_secret }

local function add_key(name, keys, key)
  if type(key) ~= "string" and type(key) ~= "table" then
    fail(name, "keys: text or a table expected, got %s", core.describe(key))
  end
  if type(key) == "table" and key.url ~= nil then
    fail(name, "keys: { url = … } stands alone, not in a list")
  end
  local form, text = form_of(name, key)
  local good, why = adders[form](keys, text)
  if not good then
    fail(name, "keys: %s", why)
  end
  return form
end

--- Every algorithm has a key, and every key that was given by itself has an algorithm.
local function check_fit(name, keys, allowed, all_single)
  local usable = core.usable(keys)
  for algorithm in pairs(allowed) do
    local bit = core.algorithms[algorithm]
    if math.floor(usable / bit) % 2 == 0 then
      fail(name, "algorithms: none of the keys can be used with %s", algorithm)
    end
  end
  local bits = 0
  for algorithm in pairs(allowed) do
    bits = bits + core.algorithms[algorithm]
  end
  if all_single and core.idle(keys, bits) then
    fail(name, "keys: there is one that none of the algorithms uses")
  end
end

local function read_keys(name, given, allowed)
  local keys, all_single = core.new_keys(), true
  local list = type(given) == "table" and #given > 0 and given or { given }
  for _, key in ipairs(list) do
    if add_key(name, keys, key) == "set" then
      all_single = false
    end
  end
  check_fit(name, keys, allowed, all_single)
  return keys
end

local function refuse_secrets(name, allowed)
  for algorithm in pairs(allowed) do
    if algorithm:find "^HS" then
      fail(name, "algorithms: %s needs a shared secret, and keys that are fetched are public", algorithm)
    end
  end
end

local function read_url(name, key, allowed)
  check_options(name .. ": keys", key, url_options)
  if not jwks.is_safe(key.url) then
    fail(name, "keys: url: an https address without a user expected (http on this machine only)")
  end
  refuse_secrets(name, allowed)
  return jwks.source({
    url = key.url,
    refresh = either(key.refresh, REFRESH),
    max_stale = either(key.max_stale, MAX_STALE),
  })
end

-- --- verifying -------------------------------------------------------------------------------------

local Verifier = {}
local states = setmetatable({}, { __mode = "k" }) -- verifier -> what it knows; no script gets it

local function state_of(verifier)
  local state = type(verifier) == "table" and states[verifier]
  if not state then
    fail("verifier:verify", "verifier expected, got %s (call it with a colon)", core.describe(verifier))
  end
  return state
end

--- With what a provider says that it signs with.
local function rules_for(state, bits)
  if not state.open or not bits or state.rules.algorithms == bits then
    return state.rules
  end
  local rules = {}
  for key, value in pairs(state.rules) do
    rules[key] = value
  end
  rules.algorithms = bits
  state.rules = rules
  return rules
end

local function verify_fetched(state, token)
  local keys, more = state.source:get()
  if not keys then
    return nil, more, "unavailable"
  end
  local claims, why, code = core.verify(rules_for(state, more), keys, token)
  if code == "key" and state.source:look_again(keys) then
    keys, more = state.source:get()
    if not keys then
      return nil, more, "unavailable"
    end
    return core.verify(rules_for(state, more), keys, token)
  end
  return claims, why, code
end

function Verifier:verify(token)
  local state = state_of(self)
  if state.keys then
    return core.verify(state.rules, state.keys, token)
  end
  return verify_fetched(state, token)
end

local verifier_metatable = {
  __index = Verifier,
  __metatable = false,
  __newindex = function()
    core.raise("a verifier has no fields that can be set")
  end,
  __tostring = function()
    return "verifier"
  end,
}

local function new_verifier(state)
  local verifier = setmetatable({}, verifier_metatable)
  states[verifier] = state
  return verifier
end

function M.verifier(options)
  local name = "jwt.verifier"
  check_options(name, options, verifier_options)
  need(name, options, "keys", "what are tokens verified with?")
  need(name, options, "algorithms", 'say which are allowed, as in { "RS256" }')
  local bits, allowed = read_algorithms(name, options.algorithms)
  local state = { rules = read_rules(name, options, bits) }
  if type(options.keys) == "table" and options.keys.url ~= nil then
    state.source = read_url(name, options.keys, allowed)
  else
    state.keys = read_keys(name, options.keys, allowed)
  end
  return new_verifier(state)
end

function M.oidc(options)
  local name = "jwt.oidc"
  check_options(name, options, oidc_options)
  need(name, options, "issuer", "whose tokens are these?")
  need(name, options, "audience", "whom tokens are made for; without it one for anybody would do")
  if not jwks.is_safe(options.issuer) then
    fail(name, "issuer: an https address expected (http on this machine only)")
  end
  local bits, allowed = 0, {}
  if options.algorithms then
    bits, allowed = read_algorithms(name, options.algorithms)
  end
  refuse_secrets(name, allowed)
  return new_verifier({
    rules = read_rules(name, options, bits),
    open = options.algorithms == nil,
    source = jwks.source({
      issuer = options.issuer,
      refresh = either(options.refresh, REFRESH),
      max_stale = either(options.max_stale, MAX_STALE),
    }),
  })
end

-- --- signing ---------------------------------------------------------------------------------------

local function with_times(name, claims, expires_in)
  if type(claims) ~= "table" then
    fail(name, "a table of claims expected, got %s", core.describe(claims))
  end
  local made, now = {}, math.floor(time.now())
  for key, value in pairs(claims) do
    if type(key) ~= "string" then
      fail(name, "claims have names, as in { sub = \"ada\" }")
    end
    made[key] = value
  end
  if made.iat == nil then
    made.iat = now
  end
  if expires_in then
    if made.exp ~= nil then
      fail(name, "expires_in and claims.exp exclude each other")
    end
    made.exp = now + math.floor(expires_in)
  end
  return made
end

function M.sign(claims, options)
  local name = "jwt.sign"
  check_options(name, options, sign_options)
  need(name, options, "key", "what is it signed with?")
  need(name, options, "algorithm", 'such as "HS256"')
  read_algorithms(name, { options.algorithm })
  local form, key = form_of(name, options.key)
  if form == "set" then
    fail(name, "key: one key expected, not a JWKS")
  end
  local text, why = json.encode(with_times(name, claims, options.expires_in))
  if not text then
    fail(name, "claims: %s", why)
  elseif #text > CLAIMS_MAX then
    fail(name, "claims: larger than 64 KiB")
  end
  local header = json.encode({ alg = options.algorithm, typ = options.typ or "JWT", kid = options.kid })
  local token, reason = core.sign(options.algorithm, form, key, header, text)
  if not token then
    fail(name, "key: %s", reason)
  end
  return token
end

return M

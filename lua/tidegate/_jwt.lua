--- The Lua half of tidegate.jwt: options become rules and keys; the core verifies. Private: loaded by the
-- core, never by require.
--
-- What is wrong with options raises at the policy's line, so that `check` finds it. What is wrong with a
-- token is told by three values: nil, a text, a code.

local core, jwks = ...
local json = require "tidegate.json"
local time = require "tidegate.time"
local options_of = require "tidegate._jwt_options"(core)
local keys_of = require "tidegate._jwt_keys"(core, jwks, options_of)

local M = {}

local CLAIMS_MAX = 65536

-- --- verifying -------------------------------------------------------------------------------------

local Verifier = {}
local states = setmetatable({}, { __mode = "k" }) -- verifier -> what it knows; no script gets it

local function state_of(verifier)
  local state = type(verifier) == "table" and states[verifier]
  if not state then
    local text = "verifier expected, got %s (call it with a colon)"
    options_of.fail("verifier:verify", text, core.describe(verifier))
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
  local fetches = state.source.fetches
  local keys, more = state.source:get()
  if not keys then
    return nil, more, "unavailable"
  end
  local claims, why, code = core.verify(rules_for(state, more), keys, token)
  if code == "key" and state.source:look_again(keys, fetches) then
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
  options_of.check(name, options, options_of.verifier)
  options_of.need(name, options, "keys", "what are tokens verified with?")
  options_of.need(name, options, "algorithms", 'say which are allowed, as in { "RS256" }')
  local bits, allowed = options_of.algorithms(name, options.algorithms)
  local state = { rules = options_of.rules(name, options, bits) }
  if type(options.keys) == "table" and options.keys.url ~= nil then
    state.source = keys_of.source(name, options.keys, allowed)
  else
    state.keys = keys_of.read(name, options.keys, allowed)
  end
  return new_verifier(state)
end

function M.oidc(options)
  local name = "jwt.oidc"
  options_of.check(name, options, options_of.oidc)
  options_of.need(name, options, "issuer", "whose tokens are these?")
  options_of.need(name, options, "audience", "whom tokens are made for; without it one for anybody would do")
  if not jwks.is_safe(options.issuer) then
    options_of.fail(name, "issuer: an https address expected (http on this machine only)")
  end
  local bits, allowed = 0, {}
  if options.algorithms then
    bits, allowed = options_of.algorithms(name, options.algorithms)
  end
  keys_of.refuse_secrets(name, allowed)
  return new_verifier({
    rules = options_of.rules(name, options, bits),
    open = options.algorithms == nil,
    source = jwks.source({
      issuer = options.issuer,
      refresh = options_of.either(options.refresh, keys_of.REFRESH),
      max_stale = options_of.either(options.max_stale, keys_of.MAX_STALE),
    }),
  })
end

-- --- signing ---------------------------------------------------------------------------------------

local function with_times(name, claims, expires_in)
  if type(claims) ~= "table" then
    options_of.fail(name, "a table of claims expected, got %s", core.describe(claims))
  end
  local made, now = {}, math.floor(time.now())
  for key, value in pairs(claims) do
    if type(key) ~= "string" then
      options_of.fail(name, "claims have names, as in { sub = \"ada\" }")
    end
    made[key] = value
  end
  if made.iat == nil then
    made.iat = now
  end
  if expires_in then
    if made.exp ~= nil then
      options_of.fail(name, "expires_in and claims.exp exclude each other")
    end
    made.exp = now + math.floor(expires_in)
  end
  return made
end

function M.sign(claims, options)
  local name = "jwt.sign"
  options_of.check(name, options, options_of.sign)
  options_of.need(name, options, "key", "what is it signed with?")
  options_of.need(name, options, "algorithm", 'such as "HS256"')
  options_of.algorithms(name, { options.algorithm })
  local form, key = keys_of.form_of(name, options.key)
  if form == "set" then
    options_of.fail(name, "key: one key expected, not a JWKS")
  end
  local text, why = json.encode(with_times(name, claims, options.expires_in))
  if not text then
    options_of.fail(name, "claims: %s", why)
  elseif #text > CLAIMS_MAX then
    options_of.fail(name, "claims: larger than 64 KiB")
  end
  local header = json.encode({ alg = options.algorithm, typ = options.typ or "JWT", kid = options.kid })
  local token, reason = core.sign(options.algorithm, form, key, header, text)
  if not token then
    options_of.fail(name, "key: %s", reason)
  end
  return token
end

return M

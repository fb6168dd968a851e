-- Run: tidegate run policies/jwt.lua --set options.issuer=https://id.example --set options.audience=agents
--
-- Lets in who shows a valid JSON Web Token, until the token expires. Run like this, it asks the OpenID
-- provider at that address for its keys. Without one give the keys, and say which algorithms are allowed:
--
--   options = { jwks_url = "https://id.example/jwks.json", algorithms = "RS256", audience = "agents" }
--   options = { jwks_file = "/etc/tidegate/jwks.json", algorithms = "RS256" } -- read at load
--   options = { public_key = "-----BEGIN PUBLIC KEY-----\n…", algorithms = "ES256" }
--   options = { secret = "32 bytes or more", algorithms = "HS256" } -- best given by the environment
--
-- Clients send `Authorization: Bearer TOKEN`, or the message
-- { "type": "authenticate", "data": { "token": TOKEN } }, which renews it, too: before a token expires
-- the client gets `auth_expiring`. A token with `jti` can be revoked: tidegate ctl revoke JTI. Copy it and
-- add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"
local jwt = require "tidegate.jwt"

local policy = {}

policy.options = {
  issuer = { type = "string", description = "what iss must be; without keys: an OpenID provider's address" },
  audience = { type = "string", description = "what aud must be or hold; several with commas" },
  algorithms = { type = "string", description = "RS256, ES256, …; several with commas" },
  public_key = { type = "string", description = "PEM or JWK" },
  secret = { type = "string", secret = true, description = "for HS256 to HS512" },
  jwks_url = { type = "string", description = "where the keys are, by https" },
  jwks_file = { type = "string", description = "a file with keys: JWKS, JWK or PEM" },
  user_claim = { type = "string", default = "sub", description = "the claim that is the user_id" },
  roles_claim = { type = "string", default = "roles", description = "or scope, realm_access.roles, …" },
}

-- "a, b" -> { "a", "b" }
local function list_of(text)
  local list = {}
  for word in (text or ""):gmatch "[^,%s]+" do
    list[#list + 1] = word
  end
  return #list > 0 and list or nil
end

-- Declared defaults are filled in when this file has run; here there is only what was given.
local given = tide.options
local user_claim = given.user_claim or "sub"
local roles_claim = given.roles_claim or "roles"

local sources = {}
for _, name in ipairs { "public_key", "secret", "jwks_url", "jwks_file" } do
  sources[#sources + 1] = given[name] and name
end
if #sources > 1 then
  error("keys are configured twice: of options." .. table.concat(sources, ", ") .. " give one")
end

local keys = given.public_key
  or given.secret and { secret = given.secret }
  or given.jwks_url and { url = given.jwks_url }
  or given.jwks_file and { file_option = "jwks_file" }

local verifier
if keys then
  if not list_of(given.algorithms) then
    error("say which algorithms are allowed: set options.algorithms, such as RS256")
  end
  verifier = jwt.verifier({
    keys = keys,
    algorithms = list_of(given.algorithms),
    issuer = given.issuer,
    audience = list_of(given.audience),
  })
elseif given.issuer and given.audience then
  verifier = jwt.oidc({
    issuer = given.issuer,
    audience = list_of(given.audience),
    algorithms = list_of(given.algorithms),
  })
else
  error("no key is configured: set options.issuer and options.audience, or options.public_key, secret, "
    .. "jwks_url or jwks_file")
end

-- "realm_access.roles" looks for claims.realm_access.roles. The name alone comes first: some have dots.
local function claim(claims, name)
  if claims[name] ~= nil then
    return claims[name]
  end
  local value = claims
  for part in name:gmatch "[^.]+" do
    value = type(value) == "table" and value[part] or nil
  end
  return value
end

-- A list of texts, or one text with blanks between them as `scope` has.
local function roles_of(claims)
  local value, roles = claim(claims, roles_claim), {}
  if type(value) == "string" then
    for role in value:gmatch "%S+" do
      roles[#roles + 1] = role
    end
  elseif type(value) == "table" then
    for _, role in ipairs(value) do
      if type(role) == "string" then
        roles[#roles + 1] = role
      end
    end
  end
  return roles
end

local function identity_of(token)
  local claims, why, code = verifier:verify(token)
  if not claims then
    return nil, why, code
  end
  local user = claim(claims, user_claim)
  if type(user) ~= "string" or user == "" then
    return nil, "the token does not say whose it is (" .. user_claim .. ")", "claims"
  end
  -- The core closes the connection at that time, unless another token comes before.
  return { user_id = user, roles = roles_of(claims), expires_at = claims.exp, jti = claims.jti }
end

local function token_in(message)
  return type(message.data) == "table" and message.data.token or nil
end

policy.authenticate = auth.revocable(function(conn, credentials)
  if credentials.bearer then
    return identity_of(credentials.bearer)
  elseif credentials.message then
    return identity_of(token_in(credentials.message))
  end
  return tide.need_message()
end)

policy.reauthenticate = auth.revocable(function(conn, credentials)
  local identity, why, code = identity_of(token_in(credentials.message))
  if identity and identity.user_id ~= conn.user_id then
    return nil, "the token is somebody else's", "mismatch"
  end
  return identity, why, code
end)

policy.agents = {}

return policy

-- An agent behind a JSON Web Token: who shows none that is valid does not get in, and who does stays until it
-- expires. policies/jwt.lua takes keys of every kind; this is the smallest of its sort, to build on.
--
--   tidegate run examples/jwt --set options.secret=an-example-of-32-bytes-or-more--not-for-use
--
-- Better give the secret by the environment: TIDEGATE_OPTIONS_SECRET.
-- try: --bearer "$TOKEN" --agent whoami "Who am I?"
local jwt = require "tidegate.jwt"
local tide = require "tidegate"

local policy = {}

policy.options = {
  secret = { type = "string", required = true, secret = true, description = "for HS256: 32 bytes or more" },
}

local verifier = jwt.verifier {
  keys = { secret = tide.options.secret },
  algorithms = { "HS256" },
  issuer = "example",
  audience = "agents",
  require_sub = true,
}

local function identity_of(token)
  local claims, why, code = verifier:verify(token)
  if not claims then
    return nil, why, code -- "the token has expired": the client is closed with 4401 and this reason
  end
  -- The core tells the client shortly before that time, and closes the connection then.
  return { user_id = claims.sub, roles = claims.roles or {}, expires_at = claims.exp }
end

local function token_in(message)
  return type(message.data) == "table" and message.data.token or nil
end

-- From the header `Authorization: Bearer TOKEN`, or from the first message for clients that cannot set one.
function policy.authenticate(conn, credentials)
  if credentials.bearer then
    return identity_of(credentials.bearer)
  elseif credentials.message then
    return identity_of(token_in(credentials.message))
  end
  return tide.need_message()
end

-- { "type": "authenticate", "data": { "token": … } } on an open connection: goes on with another token.
function policy.reauthenticate(conn, credentials)
  return identity_of(token_in(credentials.message))
end

policy.agents = {
  whoami = function(run, input)
    local identity = run.conn.identity
    local roles = #identity.roles > 0 and table.concat(identity.roles, ", ") or "none"
    return ("You are %s, your roles: %s."):format(run.conn.user_id, roles)
  end,
}

return policy

-- Who connects is checked, and gets an identity, a context and its services: every hook of the set-up.
local policy = {}

local keys = { ["bench-key"] = { user_id = "bench", roles = { tenant = "acme" } } }

function policy.authenticate(conn, credentials)
  local user = keys[credentials.bearer]
  if not user then
    return nil, "unknown key"
  end
  return user
end

function policy.create_context(conn, identity)
  return { tenant = identity.roles.tenant }
end

function policy.prepare(conn, context)
  return true
end

function policy.text(conn, text)
  conn:send(text)
end

return policy

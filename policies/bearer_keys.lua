-- Run: tidegate run policies/bearer_keys.lua --set options.keys.ada=k-7f3a09
--
-- Lets in who holds one of the keys that the configuration lists, and nobody else. In a configuration file:
-- options = { keys = { ada = "k-7f3a09", bob = "k-91c2ee" } }.
-- Clients send `Authorization: Bearer k-7f3a09`. Copy it and add agents.
local tide = require "tidegate"

local users = {}
for user, key in pairs(tide.options.keys or {}) do
  users[tostring(key)] = user
end
if next(users) == nil then
  error("no key is configured: set options.keys.USER to USER's key")
end

local policy = {}

function policy.authenticate(conn, credentials)
  if not credentials.bearer then
    return nil, "send a key: Authorization: Bearer KEY"
  end
  local user = users[credentials.bearer]
  if not user then
    return nil, "unknown key"
  end
  return { user_id = user }
end

policy.agents = {}

return policy

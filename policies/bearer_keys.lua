-- Run: tidegate run policies/bearer_keys.lua --set options.keys.ada=k-7f3a09
--
-- Lets in who holds one of the keys that the configuration lists, and nobody else. In a configuration file:
-- options = { keys = { ada = "k-7f3a09", bob = "k-91c2ee" } }. Clients send `Authorization: Bearer k-7f3a09`.
-- policies/api_key.lua keeps digests of keys only, and lets them end. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  keys = { type = "table", required = true, secret = true, description = "user to key" },
}

policy.authenticate = auth.keys {
  keys = tide.options.keys or {},
  from = function(credentials)
    return credentials.bearer
  end,
}

policy.agents = {}

return policy

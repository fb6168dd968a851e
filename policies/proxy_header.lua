-- Run: tidegate run policies/proxy_header.lua --set trusted_proxies=10.0.0.0/8
--
-- Lets in the user that a proxy in front (oauth2-proxy, Authelia, an identity-aware load balancer) names in a
-- header. Who connects past the proxy is refused, whatever headers it sends; the proxy must take the header
-- away from what clients send, and trusted_proxies may hold nothing but proxies. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  header = { type = "string", default = "x-forwarded-user", description = "holds the user" },
  roles_header = { type = "string", default = "x-forwarded-groups", description = "roles, with commas" },
}

policy.authenticate = auth.proxy_header {
  header = tide.options.header or "x-forwarded-user",
  roles = tide.options.roles_header or "x-forwarded-groups",
}

policy.agents = {}

return policy

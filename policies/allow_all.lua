-- Run: tidegate run policies/allow_all.lua
--
-- Lets in everybody, for trying things out on one's own machine. It does not load where `listen` has an
-- address that others can reach, unless --set options.force=true says that this is meant. Copy it and add
-- agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  user = { type = "string", default = "guest", description = "who everybody is" },
  force = { type = "boolean", default = false, description = "also where others can connect" },
}

policy.authenticate = auth.allow_all {
  user = tide.options.user,
  force = tide.options.force == true or tide.options.force == "true",
}

policy.agents = {}

return policy

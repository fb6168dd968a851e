-- Run: tidegate run policies/subprotocol_token.lua --set options.keys.ada=k-7f3a09
--
-- Lets in browsers, which cannot set headers, with a key among the subprotocols that they offer:
--
--   new WebSocket(url, ["tidegate.v1", "base64url.bearer." + base64url(key)])
--
-- The key is never sent back, and is in no log. Programs may send `Authorization: Bearer KEY` instead. Any
-- authenticator that reads credentials.bearer can stand in place of auth.keys. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  keys = { type = "table", required = true, secret = true, description = "user to key" },
}

local keys = auth.keys { keys = tide.options.keys or {} }

policy.authenticate = auth.any_of { auth.subprotocol_token(keys), keys }

policy.agents = {}

return policy

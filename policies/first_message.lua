-- Run: tidegate run policies/first_message.lua --set options.keys.ada=k-7f3a09
--
-- Lets in who sends a key in the first message, for clients that can set neither headers nor subprotocols:
--
--   { "type": "authenticate", "data": { "token": "k-7f3a09" } }
--
-- Until then the connection is open and not let in; limits.auth_timeout ends it. Any authenticator that reads
-- credentials.message can stand in place of auth.keys. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  keys = { type = "table", required = true, secret = true, description = "user to key" },
}

policy.authenticate = auth.first_message(auth.keys {
  keys = tide.options.keys or {},
  from = function(credentials)
    local data = credentials.message.data
    return type(data) == "table" and data.token or nil
  end,
})

policy.agents = {}

return policy

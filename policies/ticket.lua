-- Run: tidegate run policies/ticket.lua
--
-- Lets in who shows a ticket, once. A server of yours, which knows its users, asks for one, and hands it to
-- the page or program that is to connect:
--
--   curl -s http://127.0.0.1:9180/ticket -d '{"user_id": "ada", "origin": "https://app.example", "ttl": 60}'
--
-- or `tidegate ctl ticket ada`. The answer has `ticket` and `expires_at`. The client connects to
-- wss://…/?ticket=TICKET, sends it as a bearer token, or in the message
-- { "type": "authenticate", "data": { "ticket": TICKET } }. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  parameter = { type = "string", default = "ticket", description = "where in the query the ticket is" },
}

policy.authenticate = auth.ticket{ parameter = tide.options.parameter }

policy.agents = {}

return policy

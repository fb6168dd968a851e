-- Run: tidegate run policies/webhook.lua --set options.url=https://auth.example/check
--
-- Asks an HTTP service who it is. The service gets, as JSON, what options.send lists: bearer and message
-- unless it says otherwise. It answers 200 with { "identity": { "user_id": "ada" } }, or 401 or 403, perhaps
-- with { "reason": "text for the client", "code": "word_to_count_it_by" }. Anything else, or no answer in
-- time, denies with close code 4503, "try again later"; after options.failures such faults in a row it is
-- left alone for a while.
--
--   options = { url = …, token = "for the service", send = "bearer, cookies.sid", cache_ttl = 30 }
--
-- With cookies, set allowed_origins. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  url = { type = "string", required = true, description = "of the service" },
  token = { type = "string", secret = true, description = "the bearer token that it knows us by" },
  send = { type = "string", default = "bearer, message", description = "what it gets; several with commas" },
  timeout = { type = "number", default = 3, description = "seconds" },
  cache_ttl = { type = "number", default = 0, description = "seconds that a yes is kept; 0: none is" },
  negative_ttl = { type = "number", default = 0, description = "the same of a no" },
  failures = { type = "number", default = 5, description = "faults in a row until it is left alone" },
  cooldown = { type = "number", default = 30, description = "seconds that it is left alone" },
}

-- Declared defaults are filled in when this file has run; here there is only what was given.
local given = tide.options
local send = {}
for field in (given.send or "bearer, message"):gmatch "[^,%s]+" do
  send[#send + 1] = field
end

policy.authenticate = auth.webhook{
  url = given.url or "https://auth.invalid/", -- never asked: without one the policy is refused
  bearer = given.token,
  send = send,
  timeout = tonumber(given.timeout),
  cache_ttl = tonumber(given.cache_ttl),
  negative_ttl = tonumber(given.negative_ttl),
  failures = tonumber(given.failures),
  cooldown = tonumber(given.cooldown),
}

policy.agents = {}

return policy

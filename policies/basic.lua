-- Run: tidegate run policies/basic.lua
--   --set options.users.ada=pbkdf2-sha256:600000:ZGVtbyBzYWx0IDEy:2_kbbLwAZme2Fqr4445_OaA45iZY-eOh7fnsToxPofE
--
-- Lets in who sends a user's name and password (`Authorization: Basic …`). The configuration holds a hash of
-- each password, never the password; the one above is of "correct horse". Another one is made by
--
--   echo '= require("tidegate.crypto").password_hash("the password")' | tidegate repl examples/hello
--
-- Several users: options = { users = { ada = "pbkdf2-sha256:…", bob = "pbkdf2-sha256:…" } }. Use TLS: a
-- password is sent as it is. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  users = { type = "table", required = true, secret = true, description = "user to a hash of the password" },
  attempts = { type = "number", default = 5, description = "wrong ones of an address, and of a user" },
  per = { type = "number", default = 60, description = "in so many seconds" },
}

policy.authenticate = auth.rate_limited(auth.basic { users = tide.options.users or {} }, {
  attempts = tonumber(tide.options.attempts) or 5,
  per = tonumber(tide.options.per) or 60,
  by = { "address", "user" },
})

policy.agents = {}

return policy

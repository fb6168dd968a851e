-- Run: tidegate run policies/mtls.lua --config tls.lua
--
-- Lets in who owns a client certificate of our CA, until the certificate expires. tls.lua:
--
--   return { tls = { certificate = "server.pem", key = "server.key", client_ca = "ca.pem",
--                    client_auth = "required" } }
--
-- It does not load in a server that asks nobody for a certificate.
-- The user is the certificate's CN, or the one DNS name, address, URI … that options.user says: a certificate
-- with none or several of the kind is refused. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  user = { type = "string", default = "cn", description = "cn, subject, dns, email, uri or ip" },
  issuer = { type = "string", description = "only certificates of this issuer" },
}

policy.authenticate = auth.mtls { user = tide.options.user, issuer = tide.options.issuer }

policy.agents = {}

return policy

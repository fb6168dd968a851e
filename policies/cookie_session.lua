-- Run: tidegate run policies/cookie_session.lua --set allowed_origins=https://app.example
--   --set options.secret=at-least-32-bytes-that-nobody-can-guess
--
-- Lets in who has a session that a web application has signed, until it expires. The application and this
-- policy share the secret; the cookie's value is
--
--   payload = base64url('{"user_id":"ada","expires_at":1790000000}')
--   payload .. "." .. base64url(HMAC-SHA-256(secret, "session=" .. payload))
--
-- in base64url without padding, which `auth.sign_cookie` makes, too. Set it HttpOnly, Secure and SameSite.
-- To change the secret, set options.previous_secret to the old one until its sessions have expired. Without
-- allowed_origins this does not load: any web page could connect as its visitor. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local policy = {}

policy.options = {
  secret = { type = "string", required = true, secret = true, description = "32 bytes or more" },
  previous_secret = { type = "string", secret = true, description = "still good, signs nothing new" },
  cookie = { type = "string", default = "session", description = "the cookie's name" },
}

policy.authenticate = auth.cookie_session {
  secret = { tide.options.secret or "", tide.options.previous_secret },
  name = tide.options.cookie,
}

policy.agents = {}

return policy

-- Run: tidegate run policies/api_key.lua --set options.keys.laptop.user=ada
--   --set options.keys.laptop.sha256=c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c
--
-- Lets in who holds an API key, of which only the SHA-256 is known here; the one above is of "demo-key". To
-- make one that nobody guesses:
--
--   key=$(openssl rand -hex 32); printf %s "$key" | sha256sum
--
-- A user may have several, each under a name of its own. To change one without a gap, add the next beside it:
--
--   options = { keys = {
--     ada_2025 = { user = "ada", sha256 = "9f86…", not_after = 1767225600 },
--     ada_2026 = { user = "ada", sha256 = "60303a…", not_before = 1766620800 },
--   } }
--
-- Clients send `X-API-Key: KEY` or `Authorization: Bearer KEY`, or the message
-- { "type": "authenticate", "data": { "api_key": KEY } }. Their connections end when the key expires, or when
-- it is revoked: tidegate ctl revoke key:laptop. Copy it and add agents.
local tide = require "tidegate"
local auth = require "tidegate.auth"

local keys = {}
for id, key in pairs(tide.options.keys or {}) do
  if type(key) ~= "table" then
    error("options.keys." .. tostring(id) .. " is { user = …, sha256 = … }")
  end
  local made = tide.copy(key)
  made.id, made.user_id, made.user = id, key.user, nil
  for _, name in ipairs { "not_before", "not_after" } do
    made[name] = tonumber(key[name]) or key[name] -- what is no number is refused below: it would never end
  end
  keys[#keys + 1] = made
end
if #keys == 0 then
  error("no key is configured: set options.keys.NAME.user, and options.keys.NAME.sha256 to the key's SHA-256")
end

local policy = {}

policy.options = {
  keys = { type = "table", required = true, description = "name to { user, sha256, not_before, not_after }" },
}

policy.authenticate = auth.revocable(auth.api_key{ keys = keys })

policy.agents = {}

return policy

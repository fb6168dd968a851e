--- testing.jwt: JSON Web Tokens for specs. Private.
--
-- tidegate.jwt is at home in policies, whose sandbox specs do not run in; so a policy signs.
local options_of = require "tidegate._testing_options"

local SIGNER = [[
local jwt = require "tidegate.jwt"
return {
  authenticate = function() return { user_id = "signer" } end,
  message = function(conn, message)
    local good, text = pcall(jwt.sign, message.claims, message.options)
    conn:send({ type = good and "token" or "wrong", text = text })
  end,
}]]

--- new_host: testing.host
return function(new_host, claims, options)
  local host = new_host({ source = SIGNER })
  local client = host:connect()
  client:send({ type = "sign", claims = claims, options = options })
  local answer = client:read()
  while answer.type ~= "token" and answer.type ~= "wrong" do answer = client:read() end
  host:close()
  if answer.type == "wrong" then options_of.raise((answer.text:gsub("^init%.lua:%d+: ", ""))) end
  return answer.text
end

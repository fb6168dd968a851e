-- Run with: tidegate test examples/jwt
local testing = require "tidegate.testing"

local SECRET = ("0123456789abcdef"):rep(2)

local function sign(claims, secret)
  return testing.jwt(claims, { key = { secret = secret or SECRET }, algorithm = "HS256" })
end

describe("jwt", function()
  local host

  before_each(function()
    host = testing.host("init.lua", { options = { secret = SECRET } })
  end)

  after_each(function() host:close() end)

  local function claims(changes)
    local made = { sub = "ada", roles = { "admin" }, iss = "example", aud = "agents", exp = host:now() + 600 }
    for name, value in pairs(changes or {}) do made[name] = value end
    return made
  end

  it("lets in who has a token, and tells the agent who it is", function()
    local client = host:connect{ bearer = sign(claims()) }
    client:execute("Who am I?", "whoami")
    assert.equal("You are ada, your roles: admin.", client:expect("agent_completed").data.response)
  end)

  it("takes the token from the first message, too", function()
    local client = host:connect()
    client:authenticate(sign(claims{ sub = "ben" }))
    assert.equal("ben", client.user_id)
  end)

  it("denies everybody else, with the reason", function()
    local wrong = {
      { sign(claims{ exp = host:now() - 60 }), "expired" },
      { sign(claims{ aud = "others" }), "somebody else" },
      { sign(claims{ iss = "somebody" }), "iss" },
      { sign(claims(), ("x"):rep(32)), "not signed" },
      { "no token", "token" },
    }
    for _, case in ipairs(wrong) do
      local client = host:connect{ bearer = case[1] }
      assert.equal(4401, client.close_code)
      assert.matches(case[2], client.close_reason)
    end
  end)

  it("ends with the token, unless another one comes before", function()
    local client = host:connect{ bearer = sign(claims()) }
    host:advance(541)
    client:expect("auth_expiring")
    client:authenticate(sign(claims{ exp = host:now() + 600 }))
    client:expect("authenticated")
    host:advance(300)
    assert.is_nil(client.close_code)
    host:advance(301)
    assert.equal(4401, client.close_code)
  end)
end)

-- Run with: tidegate test policies/jwt.lua
local testing = require "tidegate.testing"

local SECRET = ("s3cret"):rep(8)

describe("jwt", function()
  local function host_with(more)
    local options = { secret = SECRET, algorithms = "HS256", audience = "agents, web" }
    for name, value in pairs(more or {}) do
      options[name] = value
    end
    return testing.host("jwt.lua", { options = options, config = { ["limits.expiry_notice"] = "60s" } })
  end

  local function token(host, claims, options)
    local made = { sub = "ada", aud = "agents", iat = host:now(), exp = host:now() + 600 }
    for name, value in pairs(claims or {}) do
      if value == false then value = nil end
      made[name] = value
    end
    return testing.jwt(made, options or { key = { secret = SECRET }, algorithm = "HS256" })
  end

  it("does not load without a key, so that nobody runs it open by accident", function()
    local rows = {
      { {}, "no key is configured" },
      { { issuer = "https://id.example" }, "no key is configured" },
      { { secret = SECRET }, "say which algorithms are allowed" },
      { { secret = "short", algorithms = "HS256" }, "the secret has 5 bytes" },
      { { secret = SECRET, jwks_url = "https://x", algorithms = "HS256" }, "secret, jwks_url give one" },
      { { jwks_file = "/nonexistent", algorithms = "RS256" }, "options.jwks_file cannot be read" },
      { { jwks_url = "http://id.example/", algorithms = "RS256" }, "an https address" },
    }
    for _, row in ipairs(rows) do
      assert.error_matches(function() testing.host("jwt.lua", { options = row[1] }) end, row[2], 1, true)
    end
  end)

  it("lets in who holds a good token, as the user that it names", function()
    local host = host_with()
    local client = host:connect{ bearer = token(host, { roles = { "admin", "dev" } }) }
    assert.equal("ada", client.user_id)
    assert.same({ "admin", "dev" }, client.identity.roles)
    assert.equal(host:now() + 600, client.identity.expires_at)
    assert.equal("bob", host:connect{ bearer = token(host, { sub = "bob", aud = { "x", "web" } }) }.user_id)
  end)

  it("finds user and roles where the options say", function()
    local host = host_with{ user_claim = "email", roles_claim = "realm_access.roles" }
    local client = host:connect{ bearer = token(host, {
      email = "ada@example.org",
      realm_access = { roles = { "admin" } },
    }) }
    assert.equal("ada@example.org", client.user_id)
    assert.same({ "admin" }, client.identity.roles)
    host = host_with{ roles_claim = "scope" }
    client = host:connect{ bearer = token(host, { scope = "read write" }) }
    assert.same({ "read", "write" }, client.identity.roles)
  end)

  it("denies everybody else and says why", function()
    local host = host_with()
    local other = { key = { secret = ("0ther!"):rep(8) }, algorithm = "HS256" }
    local rows = {
      { "nonsense", "no signed token" },
      { token(host, nil, other), "not signed by the key" },
      { token(host, { aud = "others" }), "meant for somebody else" },
      { token(host, { exp = host:now() - 31 }), "has expired" },
      { token(host, { exp = false }), "never expires" },
      { token(host, { sub = false }), "does not say whose it is (sub)" },
      { token(host, { nbf = host:now() + 60 }), "not valid yet" },
    }
    for _, row in ipairs(rows) do
      local client = host:connect{ bearer = row[1] }
      assert.equal(4401, client.close_code, row[2])
      assert.matches(row[2], client.close_reason, 1, true)
      assert.is_nil(client.user_id, row[2])
    end
  end)

  it("takes the token from a message, and a new one before the first expires", function()
    local host = host_with()
    local client = host:connect()
    assert.equal("accepted", client.state)
    client:authenticate(token(host))
    assert.equal("ada", client.user_id)
    host:advance(545)
    client:expect "auth_expiring"
    client:authenticate(token(host))
    host:advance(300)
    assert.is_false(client.over)
    client:authenticate(token(host, { sub = "bob" }))
    assert.equal(4401, client.close_code)
    assert.matches("somebody else's", client.close_reason, 1, true)
  end)

  it("ends the connection when the token expires", function()
    local host = host_with()
    local client = host:connect{ bearer = token(host) }
    host:advance(601)
    assert.equal(4401, client.close_code)
  end)
end)

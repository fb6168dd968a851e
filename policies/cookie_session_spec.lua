-- Run with: tidegate test policies/cookie_session.lua
local testing = require "tidegate.testing"

local SECRET, OLD = ("new secret "):rep(4), ("old secret "):rep(4)
local NOW = 1790000000

--- Signs inside a host, as specs have no modules but json and testing.
local function signed(identity, options)
  local client = testing.host({ source = [[
    local auth = require "tidegate.auth"
    local policy = {}
    function policy.authenticate() return { user_id = "signer" } end
    function policy.message(conn, message)
      conn:send { type = "signed", value = auth.sign_cookie(message.identity, message.options) }
    end
    return policy]], time = NOW }):connect()
  client:send { type = "sign", identity = identity, options = options }
  return client:expect("signed").value
end

describe("cookie_session", function()
  local function host_with(more)
    local options = { secret = SECRET }
    for name, value in pairs(more or {}) do options[name] = value end
    return testing.host("cookie_session.lua", {
      options = options, config = { allowed_origins = "https://app.example" }, time = NOW,
    })
  end

  local function connect(host, value, name)
    return host:connect { cookies = { [name or "session"] = value }, origin = "https://app.example" }
  end

  local function session(secret, more)
    return signed({ user_id = "ada", roles = { "dev" } },
      { secret = secret or SECRET, expires_in = more and more.expires_in or 600, name = more and more.name })
  end

  it("does not load without allowed_origins, or with a secret that is too short", function()
    assert.error_matches(function() testing.host("cookie_session.lua", { options = { secret = SECRET } }) end,
      "set allowed_origins")
    assert.error_matches(function() host_with { secret = "short" } end,
      "text of 32 bytes or more expected, got 5 bytes")
    assert.error_matches(function() host_with { previous_secret = "short" } end, "got 5 bytes")
  end)

  it("lets in who has a session that was signed, until it expires", function()
    local host = host_with()
    local client = connect(host, session())
    assert.equal("ada", client.user_id)
    assert.same({ "dev" }, client.identity.roles)
    assert.equal(NOW + 600, client.identity.expires_at)
    host:advance(601)
    assert.equal(4401, client.close_code)
    assert.equal("the session has expired; sign in again", connect(host, session()).close_reason)
  end)

  it("takes what others sign by the same rule", function()
    -- By Python's hmac, base64 and json.
    local made = "eyJ1c2VyX2lkIjogImJvYiIsICJleHBpcmVzX2F0IjogMTc5MDAwMDYwMH0"
      .. ".Qz6lcQAb5EVTO5m_mf0JhdCY9MhWufxsx6uZBxU5CbU"
    assert.equal("bob", connect(host_with(), made).user_id)
  end)

  it("takes the previous secret's, too", function()
    assert.equal("ada", connect(host_with { previous_secret = OLD }, session(OLD)).user_id)
    assert.equal("ada", connect(host_with { previous_secret = OLD }, session()).user_id)
    assert.equal("the session is not valid", connect(host_with(), session(OLD)).close_reason)
  end)

  it("denies what was changed, made up or meant for something else", function()
    local host, good = host_with(), session()
    local payload, signature = good:match "^(.*)%.(.*)$"
    local other = session(nil, { name = "admin" })
    local first = payload:sub(1, 20) == payload:sub(1, 19) .. "A" and "B" or "A"
    local rows = {
      payload .. "." .. ("A"):rep(43), payload, payload .. ".", "." .. signature, signature .. "." .. payload,
      payload:sub(1, 19) .. first .. payload:sub(21) .. "." .. signature, good .. "A", good .. "=", other,
      payload .. "." .. signature:sub(1, -2), "x.y", ("A"):rep(3000) .. "." .. signature,
      payload .. "." .. signature .. "." .. signature,
    }
    for i, value in ipairs(rows) do
      local client = connect(host, value)
      assert.equal(4401, client.close_code, i)
      assert.equal("the session is not valid", client.close_reason, i)
    end
    assert.equal("sign in first", host:connect({ bearer = good }).close_reason)
    assert.equal("ada", connect(host_with { cookie = "admin" }, other, "admin").user_id)
  end)

  it("denies pages of other sites, whoever's cookies they send", function()
    local client = host_with():connect { cookies = { session = session() }, origin = "https://evil.example" }
    assert.equal(403, client.status)
  end)
end)

-- Run with: tidegate test policies/basic.lua
local testing = require "tidegate.testing"

-- Of "correct horse" and "Zürich:1", with few iterations, as tests are to be fast.
local ADA = "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:S13Q4fgqWan862EIpfYEDfHf9VuZBhJhRf00znC_FvA"
local BOB = "pbkdf2-sha256:1000:c2FsdCBvZiBib2Ih:L_XPoLgPHwTGK3NrG64b4WDAh2l78D3zYVTYkDbWts0"

-- Of "correct horse" again, as it is in earnest, but for less time.
local STRONG = "pbkdf2-sha256:20000:c2FsdCBvZiBhZGEh:hetUcbCyPUENRR4-29zZn79apUUQ7Ncodf4MlC1CulM"

local encoded = { -- base64 of "user:password"
  ["ada:correct horse"] = "YWRhOmNvcnJlY3QgaG9yc2U=",
  ["ada:wrong"] = "YWRhOndyb25n",
  ["bob:Zürich:1"] = "Ym9iOlrDvHJpY2g6MQ==",
  ["eve:correct horse"] = "ZXZlOmNvcnJlY3QgaG9yc2U=",
  ["ada:"] = "YWRhOg==",
}

describe("basic", function()
  local function host_with(more)
    local options = { users = { ada = ADA, bob = BOB } }
    for name, value in pairs(more or {}) do options[name] = value end
    return testing.host("basic.lua", { options = options })
  end

  local function connect(host, pair, remote)
    return host:connect { headers = { authorization = "Basic " .. encoded[pair] }, remote = remote }
  end

  it("does not load without a user, or with a password in place of a hash", function()
    assert.error_matches(function() testing.host("basic.lua") end, "no user is configured")
    local function with(hash)
      return function() testing.host("basic.lua", { options = { users = { ada = hash } } }) end
    end
    local digest = ADA:match "[^:]+$"
    local rows = {
      "correct horse", "pbkdf2-sha256:1000:x", "md5:1:aa:bb", "pbkdf2-sha256:999:ZGVtbyBzYWx0IDEy:" .. digest,
      "pbkdf2-sha256:10000001:ZGVtbyBzYWx0IDEy:" .. digest, "pbkdf2-sha256:1000:ZGVtbw:" .. digest,
      "pbkdf2-sha256:1000:ZGVtbyBzYWx0IDEy:" .. digest:sub(1, -5), "pbkdf2-sha256:1000:ZGVtbyBzYWx0IDEy:",
    }
    for _, hash in ipairs(rows) do
      assert.error_matches(with(hash), "users: ada: a hash of crypto.password_hash expected")
    end
  end)

  it("lets in who knows the password", function()
    local host = host_with()
    assert.equal("ada", connect(host, "ada:correct horse").user_id)
    assert.equal("bob", connect(host, "bob:Zürich:1").user_id)
  end)

  it("denies everybody else in the same words", function()
    local host = host_with()
    for _, pair in ipairs { "ada:wrong", "eve:correct horse", "ada:" } do
      local client = connect(host, pair)
      assert.equal(4401, client.close_code, pair)
      assert.equal("wrong user name or password", client.close_reason, pair)
    end
    local client = host:connect { bearer = "correct horse" }
    assert.equal("send a user name and a password", client.close_reason)
  end)

  it("takes no more than a few wrong passwords for a user, from wherever they come", function()
    local host = host_with { attempts = 2, per = 30 }
    for i = 1, 2 do connect(host, "ada:wrong", "203.0.113." .. i .. ":1") end
    local client = connect(host, "ada:correct horse", "203.0.113.9:1")
    assert.equal(4429, client.close_code)
    assert.equal("too many attempts; retry in 30 s", client.close_reason)
    assert.equal("bob", connect(host, "bob:Zürich:1", "203.0.113.9:1").user_id)
    host:advance(31)
    assert.equal("ada", connect(host, "ada:correct horse", "203.0.113.9:1").user_id)
  end)

  it("takes its time for a strong hash, and nobody else waits for it", function()
    local host = testing.host("basic.lua", { options = { users = { ada = STRONG, bob = BOB } } })
    local slow = connect(host, "ada:correct horse")
    assert.equal("accepted", slow.state)
    assert.equal("bob", connect(host, "bob:Zürich:1").user_id)
    host:advance(1)
    assert.equal("ada", slow.user_id)
  end)
end)

-- Run with: tidegate test policies/first_message.lua
local testing = require "tidegate.testing"

describe("first_message", function()
  local function host()
    return testing.host("first_message.lua", {
      options = { keys = { ada = "k-1" } }, config = { ["limits.auth_timeout"] = "10s" },
    })
  end

  it("does not load without any key", function()
    assert.error_matches(function() testing.host("first_message.lua") end, "no key is configured")
  end)

  it("lets in who sends a key in the first message", function()
    local client = host():connect()
    assert.equal("accepted", client.state)
    client:authenticate "k-1"
    assert.equal("ada", client.user_id)
    client:expect "connection_ready"
  end)

  it("denies every other message and says why", function()
    local rows = {
      { { token = "k-2" }, "unknown key" }, { { token = "ada" }, "unknown key" }, { {}, "send a key" },
      { { token = { "k-1" } }, "the key is no text" }, { { key = "k-1" }, "send a key" },
    }
    for _, row in ipairs(rows) do
      local client = host():connect()
      client:authenticate(row[1])
      assert.equal(4401, client.close_code)
      assert.equal(row[2], client.close_reason)
    end
    local client = host():connect()
    client:send { type = "authenticate", data = "k-1" }
    assert.equal(4401, client.close_code)
  end)

  it("does not look for the key elsewhere, and does not wait for ever", function()
    local simulated = host()
    local client = simulated:connect { bearer = "k-1" }
    assert.equal("accepted", client.state)
    simulated:advance(11)
    assert.is_true(client.over)
    assert.is_nil(client.user_id)
  end)
end)

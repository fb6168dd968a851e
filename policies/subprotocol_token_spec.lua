-- Run with: tidegate test policies/subprotocol_token.lua
local testing = require "tidegate.testing"

describe("subprotocol_token", function()
  local K1, K2 = "base64url.bearer.ay0x", "base64url.bearer.ay0y" -- of k-1 and k-2

  local function connect(subprotocols, bearer)
    local host = testing.host("subprotocol_token.lua", { options = { keys = { ada = "k-1" } } })
    return host:connect { subprotocols = subprotocols, bearer = bearer }
  end

  it("does not load without any key", function()
    assert.error_matches(function() testing.host("subprotocol_token.lua") end, "no key is configured")
  end)

  it("lets in who offers a key, and never sends it back", function()
    local client = connect { "tidegate.v1", K1 }
    assert.equal("ada", client.user_id)
    assert.equal("tidegate.v1", client.headers["sec-websocket-protocol"])
    client = connect { K1 }
    assert.equal("ada", client.user_id)
    assert.is_nil(client.headers["sec-websocket-protocol"])
    assert.equal("ada", connect({ "tidegate.v1" }, "k-1").user_id)
  end)

  it("denies everybody else and says why", function()
    local rows = {
      { { "tidegate.v1" }, "send a key" }, { { K2 }, "unknown key" },
      { { "base64url.bearer." }, "malformed" }, { { "base64url.bearer.ay0x=" }, "malformed" },
      { { K1, K2 }, "malformed" }, { { "Base64url.bearer.ay0x" }, "send a key" },
      { { "base64url.bearer.k-1" }, "malformed" },
    }
    for _, row in ipairs(rows) do
      local client = connect(row[1])
      assert.equal(4401, client.close_code, row[1][1])
      assert.matches(row[2], client.close_reason, 1, true)
    end
  end)
end)

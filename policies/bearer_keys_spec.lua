-- Run with: tidegate test policies/bearer_keys.lua
local testing = require "tidegate.testing"

describe("bearer_keys", function()
  local function host_with(keys)
    return testing.host("bearer_keys.lua", { options = { keys = keys } })
  end

  it("does not load without any key, so that nobody runs it open by accident", function()
    assert.error_matches(function() testing.host("bearer_keys.lua") end, "no key is configured")
    assert.error_matches(function() host_with{ ada = "" } end, "ada: 1 to 256 visible ASCII characters")
    assert.error_matches(function() host_with{ ada = "k 1" } end, "ada: 1 to 256 visible ASCII characters")
    assert.error_matches(function() host_with{ ada = "k-1", bob = "k-1" } end, "two users have the same key")
  end)

  it("lets in who holds a key, as the user it belongs to", function()
    local host = host_with{ ada = "k-1", bob = 12345 }
    assert.equal("ada", host:connect{ bearer = "k-1" }.user_id)
    assert.equal("bob", host:connect{ bearer = "12345" }.user_id)
  end)

  it("denies everybody else and says why", function()
    local host = host_with{ ada = "k-1" }
    local rows = {
      { desc = "no key", options = {}, why = "send a key" },
      { desc = "an unknown key", options = { bearer = "k-9" }, why = "unknown key" },
      { desc = "a user's name in place of a key", options = { bearer = "ada" }, why = "unknown key" },
      { desc = "another case", options = { bearer = "K-1" }, why = "unknown key" },
      { desc = "a key that is too long", options = { bearer = ("k"):rep(300) }, why = "the key is too long" },
      { desc = "a key where none is looked for", options = { query = { key = "k-1" } }, why = "send a key" },
    }
    for _, row in ipairs(rows) do
      local client = host:connect(row.options)
      assert.equal(4401, client.close_code, row.desc)
      assert.matches(row.why, client.close_reason, 1, true, row.desc)
      assert.is_nil(client.user_id, row.desc)
    end
  end)
end)

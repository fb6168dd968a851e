-- Run with: tidegate test policies/allow_all.lua
local testing = require "tidegate.testing"

describe("allow_all", function()
  local function host_on(listen, options)
    return testing.host("allow_all.lua", { config = { listen = listen }, options = options })
  end

  it("lets in everybody while only this machine can connect", function()
    for _, listen in ipairs { "127.0.0.1:8080", "ws://127.0.0.2:1", "[::1]:8080", "unix:/tmp/t.sock" } do
      local host = host_on(listen)
      assert.equal("guest", host:connect().user_id, listen)
      assert.equal("guest", host:connect({ bearer = "x" }).user_id, listen)
    end
    assert.equal("me", host_on("127.0.0.1:1", { user = "me" }):connect().user_id)
  end)

  it("does not load where others can connect", function()
    local rows = { "0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "127.0.0.1:8080,10.0.0.1:8080" }
    for _, listen in ipairs(rows) do
      assert.error_matches(function() host_on(listen) end,
        "everybody who reaches .* could connect", nil, listen)
    end
  end)

  it("does not load without a name for everybody", function()
    assert.error_matches(function() host_on("127.0.0.1:8080", { user = "" }) end, "user: 1 to 256 bytes")
  end)

  it("does so when that is forced, and says it", function()
    local host = host_on("0.0.0.0:8080", { force = true })
    assert.equal("guest", host:connect().user_id)
    assert.matches("everybody may connect", host:logs("policy.log")[1].fields.message or "")
  end)
end)

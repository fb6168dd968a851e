-- Run with: tidegate test policies/proxy_header.lua
local testing = require "tidegate.testing"

describe("proxy_header", function()
  local function host_with(options)
    local config = { trusted_proxies = "10.0.0.0/8" }
    return testing.host("proxy_header.lua", { config = config, options = options })
  end

  local function connect(host, headers, remote)
    return host:connect { headers = headers, remote = remote or "10.0.0.1:4711" }
  end

  it("does not load when no proxy is trusted", function()
    assert.error_matches(function() testing.host("proxy_header.lua") end,
      "name the proxies in trusted_proxies")
  end)

  it("lets in the user that a trusted proxy names", function()
    local host = host_with()
    assert.equal("ada", connect(host, { ["x-forwarded-user"] = "ada" }).user_id)
    local client = connect(host, {
      ["x-forwarded-user"] = "ada", ["x-forwarded-groups"] = "dev, ops", ["x-forwarded-for"] = "203.0.113.7",
    })
    assert.same({ "dev", "ops" }, client.identity.roles)
    host = host_with { header = "X-User" }
    assert.equal("bob", connect(host, { ["x-user"] = "bob" }).user_id)
  end)

  it("believes nobody else", function()
    local host = host_with()
    local client = connect(host, { ["x-forwarded-user"] = "ada" }, "203.0.113.7:1")
    assert.equal(4403, client.close_code)
    assert.equal("connect through the proxy", client.close_reason)
    local forged = { ["x-forwarded-user"] = "ada", ["x-forwarded-for"] = "10.0.0.1" }
    client = connect(host, forged, "203.0.113.7:1")
    assert.equal(4403, client.close_code)
  end)

  it("denies when the proxy names nobody, or more than one", function()
    local host = host_with()
    local rows = {
      { {}, "names no user" }, { { ["x-forwarded-user"] = "" }, "names no user" },
      { { ["x-forwarded-user"] = { "eve", "ada" } }, "more than one user" },
      { { ["x-forwarded-user"] = "eve, ada" }, "more than one user" },
    }
    for _, row in ipairs(rows) do
      local client = connect(host, row[1])
      assert.equal(4401, client.close_code)
      assert.matches(row[2], client.close_reason, 1, true)
    end
  end)
end)

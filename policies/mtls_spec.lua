-- Run with: tidegate test policies/mtls.lua
local testing = require "tidegate.testing"

describe("mtls", function()
  local function certificate(host, more)
    local made = {
      subject = "O=Example, CN=ada", subject_cn = "ada", issuer = "CN=Our CA", serial = "01",
      sans = { dns = { "ada.example" }, email = {}, uri = { "urn:a", "urn:b" }, ip = {} },
      fingerprint_sha256 = ("ab"):rep(32), not_before = host:now() - 60, not_after = host:now() + 600,
      verified = true,
    }
    for name, value in pairs(more or {}) do made[name] = value end
    if made.subject_cn == "" then made.subject_cn = nil end
    return made
  end

  local function connect(options, more)
    local host = testing.host("mtls.lua", { options = options })
    return host:connect { tls = true, client_certificate = certificate(host, more) }, host
  end

  it("lets in the owner of a certificate until it expires", function()
    local client, host = connect()
    assert.equal("ada", client.user_id)
    assert.equal(host:now() + 600, client.identity.expires_at)
    host:advance(601)
    assert.equal(4401, client.close_code)
  end)

  it("finds the user where the options say", function()
    assert.equal("ada.example", connect({ user = "dns" }).user_id)
    assert.equal("O=Example, CN=ada", connect({ user = "subject" }).user_id)
    assert.error_matches(function() connect({ user = "name" }) end, "cn, subject, dns, email, uri, ip")
  end)

  it("denies everybody else and says why", function()
    local host = testing.host("mtls.lua")
    assert.equal("a client certificate is needed", host:connect({ tls = true }).close_reason)
    assert.equal("a client certificate is needed", host:connect({ bearer = "ada" }).close_reason)
    local rows = {
      { nil, { subject_cn = "" }, "does not say whose it is" },
      { { user = "email" }, nil, "does not say whose it is" },
      { { user = "uri" }, nil, "does not say whose it is" }, -- it has two
      { { issuer = "CN=Other CA" }, nil, "of another issuer" },
    }
    for _, row in ipairs(rows) do
      local client = connect(row[1], row[2])
      assert.equal(4401, client.close_code)
      assert.matches(row[3], client.close_reason, 1, true)
    end
    assert.equal("ada", connect({ issuer = "CN=Our CA" }).user_id)
  end)
end)

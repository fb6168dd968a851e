-- Run with: tidegate test policies/webhook.lua
local testing = require "tidegate.testing"

local URL = "https://auth.example/check"
local AGAIN = "authentication is not available now; try again later"

describe("webhook", function()
  local function host_with(more)
    local options = { url = URL, token = "s3rvice" }
    for name, value in pairs(more or {}) do
      options[name] = value
    end
    return testing.host("webhook.lua", { options = options })
  end

  local function answer(request)
    if request.json.bearer == "good" then
      return { json = { identity = { user_id = "ada", roles = { "dev" } } } }
    end
    return { status = 403, json = { reason = "no such session" } }
  end

  it("does not load without a service", function()
    assert.error_matches(function() testing.host("webhook.lua") end, "url", 1, true)
    assert.error_matches(function() host_with{ url = "ftp://x" } end, "url must be an http", 1, true)
    assert.error_matches(function() host_with{ send = "headers" } end, 'there is no "headers"', 1, true)
  end)

  it("lets in whom the service names, and denies the others with its reason", function()
    local host = host_with()
    host:http("POST " .. URL, answer)
    local client = host:connect{ bearer = "good" }
    assert.equal("ada", client.user_id)
    assert.same({ "dev" }, client.identity.roles)
    client = host:connect{ bearer = "bad" }
    assert.equal(4401, client.close_code)
    assert.equal("no such session", client.close_reason)
  end)

  it("sends what was chosen and nothing else", function()
    local host = host_with{ send = "bearer, query.device, headers.X-Tenant, remote_address" }
    host:http("POST " .. URL, answer)
    host:connect{
      bearer = "good",
      query = { device = "d1", other = "hidden" },
      remote = "203.0.113.7:4711",
      headers = { ["X-Tenant"] = "t1", ["X-Other"] = "hidden", Cookie = "sid=hidden" },
    }
    local request = host:requests()[1]
    assert.same({ bearer = "good", query = { device = "d1" }, headers = { ["x-tenant"] = "t1" },
      remote_address = "203.0.113.7:4711" }, request.json)
    assert.equal("Bearer s3rvice", request.headers.authorization)
    assert.is_nil(request.headers.cookie)
  end)

  it("waits for a message when nothing was shown, and denies an empty one without asking", function()
    local host = host_with()
    host:http("POST " .. URL, function(request)
      local good = request.json.message.token == "good"
      return good and { json = { identity = { user_id = "ada" } } } or { status = 401 }
    end)
    local client = host:connect()
    client:authenticate "good"
    assert.equal("ada", client.user_id)
    client = host:connect()
    client:send{ type = "authenticate" }
    assert.equal("send credentials", client.close_reason)
    assert.equal(1, #host:requests())
  end)

  it("denies with 'try again' whatever is no clear answer", function()
    local faults = {
      "refused", "tls", { status = 500 }, { status = 404 }, { status = 200, body = "yes" },
      { json = { user_id = "ada" } }, { json = { identity = { user_id = 7 } } },
      { json = { identity = { user_id = "" } } }, { json = { identity = { user_id = "a\nb" } } },
      { json = { identity = { user_id = "ada", expires_at = 0 } } },
      { status = 302, headers = { location = "https://auth.example/other" } },
      { status = 204 }, { delay = 60 },
    }
    for i, fault in ipairs(faults) do
      local host = host_with()
      host:http("POST " .. URL, fault)
      local client = host:connect{ bearer = "good" }
      host:advance(4)
      assert.equal(4503, client.close_code, "fault " .. i)
      assert.equal(AGAIN, client.close_reason)
      assert.is_nil(client.user_id)
      assert.equal(1, #host:requests(), "fault " .. i)
    end
  end)

  it("leaves a failing service alone, and then lets one connection try", function()
    local host = host_with{ failures = 3, cooldown = 10 }
    local well = false
    host:http("POST " .. URL, function()
      return well and { json = { identity = { user_id = "ada" } } } or "refused"
    end)
    for _ = 1, 5 do
      assert.equal(4503, host:connect{ bearer = "good" }.close_code)
    end
    assert.equal(3, #host:requests())
    host:advance(10)
    assert.equal(4503, host:connect{ bearer = "good" }.close_code) -- the probe
    assert.equal(4503, host:connect{ bearer = "good" }.close_code)
    assert.equal(4, #host:requests())
    host:advance(10)
    well = true
    assert.equal("ada", host:connect{ bearer = "good" }.user_id)
    assert.equal("ada", host:connect{ bearer = "good" }.user_id)
    assert.equal(6, #host:requests())
  end)

  it("asks with one connection only while it tries, also when that one goes away", function()
    local host = host_with{ failures = 1, cooldown = 10 }
    host:http("POST " .. URL, "refused")
    host:connect{ bearer = "good" }
    host:advance(10)
    host:http("POST " .. URL, { json = { identity = { user_id = "ada" } }, delay = 2 })
    local probe, other = host:connect{ bearer = "good" }, host:connect{ bearer = "good" }
    assert.equal(4503, other.close_code)
    probe:drop()
    assert.equal(4503, host:connect{ bearer = "good" }.close_code)
    host:advance(4)
    local last = host:connect{ bearer = "good" }
    host:advance(2)
    assert.equal("ada", last.user_id)
  end)

  it("keeps a no for as long as it is told, and asks once for those that come at once", function()
    local host = host_with{ negative_ttl = 5 }
    host:http("POST " .. URL, { status = 403, json = { reason = "over", code = "expired" }, delay = 1 })
    local clients = {}
    for i = 1, 3 do clients[i] = host:connect{ bearer = "old" } end
    host:advance(1)
    for i = 1, 3 do assert.equal("over", clients[i].close_reason) end
    host:connect{ bearer = "old" }
    assert.equal(1, #host:requests())
    assert.equal(4, host:metrics("tidegate_auth_denials_total", { reason = "expired" }))
    host:advance(5)
    host:connect{ bearer = "old" }
    assert.equal(2, #host:requests())
  end)

  it("counts faults, and whom it turned away while it leaves the service alone", function()
    local host = host_with{ failures = 2, cache_ttl = 30 }
    host:http("POST " .. URL, "refused")
    for i = 1, 5 do assert.equal(4503, host:connect{ bearer = "b" .. i }.close_code) end
    local function count(event) return host:metrics("tidegate_auth_events_total", { event = event }) end
    assert.same({ 2, 3 }, { count "webhook_fault", count "webhook_left_alone" })
    assert.equal(2, #host:logs "policy.log") -- with what was wrong
    assert.equal(5, host:metrics("tidegate_auth_denials_total", { reason = "unavailable" }))
  end)

  it("keeps a yes for a while, never beyond its own end, and no denial", function()
    local host = host_with{ cache_ttl = 30 }
    local expires_at
    host:http("POST " .. URL, function(request)
      if request.json.bearer == "bad" then return { status = 401 } end
      return { json = { identity = { user_id = "ada", expires_at = expires_at } } }
    end)
    local function asked(bearer, count)
      host:connect{ bearer = bearer }
      assert.equal(count, #host:requests())
    end
    asked("one", 1)
    asked("one", 1)
    asked("two", 2)
    asked("bad", 3)
    asked("bad", 4)
    host:advance(30)
    asked("one", 5)
    expires_at = host:now() + 10
    asked("three", 6)
    asked("three", 6)
    host:advance(10)
    expires_at = host:now() + 10
    asked("three", 7)
  end)
end)

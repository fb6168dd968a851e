-- Run with: tidegate test examples/browser
local testing = require "tidegate.testing"

describe("browser", function()
  local host

  before_each(function()
    host = testing.host("init.lua", {
      options = { lifetime = 90 }, config = { ["limits.expiry_notice"] = "60s" },
    })
  end)
  after_each(function() host:close() end)

  -- base64url of demo-key and of wrong-key
  local offers = { good = "base64url.bearer.ZGVtby1rZXk", bad = "base64url.bearer.d3Jvbmcta2V5" }

  local function ready()
    local client = host:connect()
    client:authenticate "demo-key"
    client:expect "connection_ready"
    return client
  end

  it("waits for the first message and takes its token", function()
    local client = host:connect()
    assert.equal("accepted", client.state)
    client:authenticate "other-key"
    assert.equal("bob", client.user_id)
    assert.equal("processing_ready", client.state)
    assert.equal(host:now() + 90, client.identity.expires_at)
  end)

  it("takes a token among the subprotocols without waiting", function()
    local client = host:connect{ subprotocols = { "tidegate.v1", offers.good } }
    assert.equal("ada", client.user_id)
    assert.equal(host:now() + 90, client.identity.expires_at)
  end)

  it("denies a wrong token, wherever it is, at once", function()
    local client = host:connect()
    client:authenticate "wrong-key"
    assert.same({ 4401, "unknown key" }, { client.close_code, client.close_reason })
    client = host:connect{ subprotocols = { "tidegate.v1", offers.bad } }
    assert.same({ 4401, "unknown key" }, { client.close_code, client.close_reason })
  end)

  it("ends with its identity, unless the client proves itself again", function()
    local client = ready()
    host:advance(31)
    client:expect "auth_expiring"
    client:authenticate "demo-key"
    assert.equal(host:now() + 90, client:expect("authenticated").data.expires_at)
    host:advance(60)
    assert.is_false(client.over)
    host:advance(31)
    assert.equal(4401, client.close_code)
  end)

  it("does not renew with the subprotocol when the message is wrong", function()
    local client = host:connect{ subprotocols = { "tidegate.v1", offers.good } }
    client:authenticate "wrong-key"
    assert.equal(4401, client.close_code)
  end)

  it("thinks, calls a tool and streams", function()
    local client = ready()
    local run = client:execute("good day", "guide")
    host:advance(10)
    local types, text = {}, {}
    for i, event in ipairs(client:events(run)) do
      types[i] = event.type
      if event.type == "agent_delta" then text[#text + 1] = event.data.text end
    end
    assert.same({
      "agent_started", "agent_thinking", "tool_executing", "tool_completed",
      "agent_delta", "agent_delta", "agent_delta", "agent_completed",
    }, types)
    assert.equal("Hello ada, that was 2: good day", table.concat(text))
    assert.equal(table.concat(text), client:expect("agent_completed").data.response)
  end)

  it("stops streaming when the client cancels", function()
    local client = ready()
    local run = client:execute(("word "):rep(100), "guide")
    host:advance(0.25)
    client:cancel(run)
    assert.equal("cancelled", client:expect("agent_error").data.code)
    local count = #client:events(run)
    host:advance(60)
    assert.equal(count, #client:events(run))
    assert.is_true(count < 10)
  end)

  it("has an error of its own for an empty question", function()
    local client = ready()
    client:execute("  ", "guide")
    assert.equal("bad_question", client:expect("agent_error").data.code)
  end)
end)

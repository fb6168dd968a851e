-- Run with: tidegate test examples/supervisor
local testing = require "tidegate.testing"

describe("supervisor", function()
  local host

  before_each(function() host = testing.host("init.lua") end)
  after_each(function() host:close() end)

  it("lets in who holds a key", function()
    local client = host:connect{ bearer = "ops-key" }
    assert.equal("ops", client.user_id)
    assert.same({ desk = "risk" }, client.context)
  end)

  it("denies everybody else and says why", function()
    local rows = { { nil, "send a key" }, { "wrong", "unknown key" }, { "Demo-key", "unknown key" } }
    for i = 1, #rows do
      local client = host:connect{ bearer = rows[i][1] }
      assert.equal(4401, client.close_code)
      assert.matches(rows[i][2], client.close_reason)
    end
  end)

  it("calls its tools and streams what it finds", function()
    local client = host:connect{ bearer = "demo-key" }
    local run = client:execute("Analyze the current market trends")
    local types, text = {}, {}
    for i, event in ipairs(client:events(run)) do
      types[i] = event.type
      if event.type == "agent_delta" then text[#text + 1] = event.data.text end
    end
    assert.same({
      "agent_started", "agent_thinking",
      "tool_executing", "tool_completed", "tool_executing", "tool_completed",
      "agent_delta", "agent_delta", "agent_delta", "agent_completed",
    }, types)
    local response = client:expect("agent_completed").data.response
    assert.equal(response .. "\n", table.concat(text))
    assert.matches("Contoso is falling", response, 1, true)
  end)

  it("looks at the series of the user's own desk", function()
    local client = host:connect{ bearer = "ops-key" }
    client:execute("Analyze the current market trends")
    assert.matches("Volatility index is rising", client:expect("agent_completed").data.response, 1, true)
  end)

  it("refuses an empty question", function()
    local client = host:connect{ bearer = "demo-key" }
    client:execute("")
    assert.equal("script_error", client:expect("agent_error").data.code)
    assert.equal("processing_ready", client.state)
  end)
end)

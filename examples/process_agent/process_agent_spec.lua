-- Run with: tidegate test examples/process_agent
local testing = require "tidegate.testing"

describe("process_agent", function()
  local host
  before_each(function() host = testing.host("init.lua") end)

  it("lets in who has a key and nobody else", function()
    assert.equal("ada", host:connect{ bearer = "demo-key" }.user_id)
    assert.equal(4401, host:connect{ bearer = "other" }.close_code)
    assert.equal(4401, host:connect().close_code)
  end)

  it("tells the agent who asks, and the client what it answers", function()
    host:process("python3 agent.py", {
      { type = "agent_delta", text = "two " },
      { type = "agent_completed", response = "two numbers" },
    })
    local client = host:connect{ bearer = "demo-key" }
    client:execute("1 2", "numbers")
    assert.equal("two ", client:expect("agent_delta").data.text)
    assert.equal("two numbers", client:expect("agent_completed").data.response)
    local request = host:processes()[1].messages[1]
    assert.equal("ada", request.user_id)
    assert.equal("1 2", request.message)
    assert.same({ team = "grocers" }, request.identity)
  end)

  it("tells the agent of a cancel", function()
    host:process("python3 agent.py", {})
    local client = host:connect{ bearer = "demo-key" }
    local run = client:execute("1 2", "numbers")
    client:cancel(run)
    client:expect("agent_error")
    assert.same({ type = "agent_cancel", run_id = run }, host:processes()[1].messages[2])
  end)

  it("says so when the agent ends", function()
    host:process("python3 agent.py", { { exit = 1 } })
    local client = host:connect{ bearer = "demo-key" }
    client:execute("1 2", "numbers")
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
  end)
end)

-- Run with: tidegate test examples/websocket_agent
local testing = require "tidegate.testing"

local URL = "ws://agent.example/run"

describe("websocket_agent", function()
  local function host_with(options)
    options.url = URL
    return testing.host("init.lua", { options = options })
  end

  it("lets in who has a key and nobody else", function()
    local host = host_with{}
    assert.equal("ada", host:connect{ bearer = "demo-key" }.user_id)
    assert.equal(4401, host:connect{ bearer = "other" }.close_code)
    assert.equal(4401, host:connect().close_code)
  end)

  it("tells the agent who asks, and the client what it answers, run after run", function()
    local host = host_with{ key = "s3cret" }
    host:websocket(URL, { messages = {
      { type = "agent_delta", data = { text = "4 " } },
      { type = "agent_completed", data = { response = "4 in all" } },
    } })
    local client = host:connect{ bearer = "demo-key" }
    for _ = 1, 2 do
      client:execute("1d6", "dice")
      assert.equal("4 ", client:expect("agent_delta").data.text)
      assert.equal("4 in all", client:expect("agent_completed").data.response)
    end
    local links = host:websockets()
    assert.equal(1, #links)
    assert.equal("Bearer s3cret", links[1].headers.authorization)
    assert.equal("1d6", links[1].messages[2].message)
    assert.equal("ada", links[1].messages[2].user_id)
    assert.is_nil(links[1].messages[2].identity)
  end)

  it("tells the agent when the client cancels", function()
    local host = host_with{}
    host:websocket(URL, { messages = {} })
    local client = host:connect{ bearer = "demo-key" }
    local run_id = client:execute("1d6", "dice")
    client:cancel(run_id)
    assert.equal("cancelled", client:expect("agent_error").data.code)
    assert.same({ type = "agent_cancel", run_id = run_id }, host:websockets()[1].messages[2])
  end)

  it("says so when the agent is not there", function()
    local host = host_with{}
    host:websocket(URL, "refused")
    local client = host:connect{ bearer = "demo-key" }
    client:execute("1d6", "dice")
    host:advance(5)
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
  end)
end)

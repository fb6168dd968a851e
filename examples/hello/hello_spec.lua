-- Run with: tidegate test examples/hello
local testing = require "tidegate.testing"

describe("hello", function()
  local host, client

  before_each(function()
    host = testing.host("init.lua")
    client = host:connect{ bearer = "ada" }
  end)

  after_each(function() host:close() end)

  it("lets everybody in, under the name they give", function()
    assert.equal("processing_ready", client.state)
    assert.equal("ada", client.user_id)
    assert.equal("guest", host:connect().user_id)
  end)

  it("says back what it is told", function()
    local run = client:execute("Hello", "echo")
    local thinking = client:expect("agent_thinking")
    assert.equal("Listening to ada", thinking.data.text)
    assert.equal("You said: Hello", client:expect("agent_completed").data.response)

    local types = {}
    for i, event in ipairs(client:events(run)) do
      types[i] = event.type
      assert.equal(i, event.seq)
    end
    assert.same({ "agent_started", "agent_thinking", "agent_completed" }, types)
  end)
end)

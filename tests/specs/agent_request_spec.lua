-- Run with: tidegate test tests/specs/agent_request_spec.lua
local testing = require "tidegate.testing"

local elsewhere = {
  'agent.http{ url = "http://agents.example/run" }',
  'agent.websocket{ url = "wss://agents.example/run" }',
  'agent.process{ command = { "python3", "agent.py" } }',
}

describe("agents elsewhere", function()
  for _, made in ipairs(elsewhere) do
    it("are not asked what is no JSON, and the run says so: " .. made, function()
      local host = testing.host{ source = ([[
local agent = require "tidegate.agent"
local remote = %s
return {
  authenticate = function() return { user_id = "ada" } end,
  agents = { outer = function(run) return remote(run, { message = "\255" }) end },
}]]):format(made) }
      local client = host:connect()
      client:execute("Hello", "outer")
      local failure = client:expect("agent_error").data
      assert.equal("bad_input", failure.code)
      assert.equal("the request cannot be sent", failure.message)
      assert.matches("not UTF%-8", host:logs("policy.log")[1].fields.why)
      assert.equal(0, #host:requests() + #host:websockets() + #host:processes())
    end)
  end
end)

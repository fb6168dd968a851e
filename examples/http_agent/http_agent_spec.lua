-- Run with: tidegate test examples/http_agent
local testing = require "tidegate.testing"

local URL = "http://agent.example/run"

describe("http_agent", function()
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

  it("tells the agent who asks, and the client what it answers", function()
    local host = host_with{ key = "s3cret" }
    host:http("POST " .. URL, {
      headers = { ["Content-Type"] = "text/event-stream" },
      body = 'data: {"type":"agent_delta","text":"two "}\n\n'
        .. 'data: {"type":"agent_completed","response":"two words"}\n\n',
    })
    local client = host:connect{ bearer = "demo-key" }
    client:execute("two words", "words")
    assert.equal("two ", client:expect("agent_delta").data.text)
    assert.equal("two words", client:expect("agent_completed").data.response)
    local request = host:requests()[1]
    assert.equal("Bearer s3cret", request.headers.authorization)
    assert.equal("ada", request.json.user_id)
    assert.equal("two words", request.json.message)
    assert.same({ team = "readers" }, request.json.identity)
  end)

  it("says so when the agent is not there", function()
    local host = host_with{}
    host:http("POST " .. URL, "refused")
    local client = host:connect{ bearer = "demo-key" }
    client:execute("two words", "words")
    host:advance(5)
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
  end)
end)

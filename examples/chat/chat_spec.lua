-- Run with: tidegate test examples/chat
local testing = require "tidegate.testing"
local json = require "tidegate.json"

local URL = "POST https://model.example/v1/chat/completions"

local function event(choice)
  return "data: " .. assert(json.encode({ choices = { choice } })) .. "\n\n"
end

local function says(...)
  local chunks = {}
  for i, text in ipairs { ... } do
    chunks[i] = event { index = 0, delta = { content = text } }
  end
  chunks[#chunks + 1] = event { index = 0, delta = json.object(), finish_reason = "stop" }
  chunks[#chunks + 1] = "data: [DONE]\n\n"
  return { headers = { ["content-type"] = "text/event-stream" }, chunks = chunks }
end

describe("chat", function()
  local host, client

  before_each(function()
    host = testing.host("init.lua", { options = {
      base_url = "https://model.example/v1", model = "large", api_key = "key-of-mine",
    } })
    client = host:connect()
  end)

  it("streams what the model says", function()
    host:http(URL, says("Good ", "day"))
    client:execute "Hello"
    host:advance(0.1)
    assert.equal("Good ", client:expect("agent_delta").data.text)
    assert.equal("day", client:expect("agent_delta").data.text)
    assert.equal("Good day", client:expect("agent_completed").data.response)
    local asked = host:requests()[1]
    assert.equal("Bearer key-of-mine", asked.headers.authorization)
    assert.equal("large", asked.json.model)
  end)

  it("tells the model what was said before", function()
    host:http(URL, says "Yes")
    client:execute "One"
    host:advance(0.1)
    client:execute "Two"
    host:advance(0.1)
    local roles = {}
    for i, message in ipairs(host:requests()[2].json.messages) do roles[i] = message.role end
    assert.same({ "system", "user", "assistant", "user" }, roles)
  end)

  it("says so when the model's server does not", function()
    host:http(URL, { status = 401, json = { error = { message = "wrong key: key-of-mine" } } })
    client:execute "Hello"
    local data = client:expect("agent_error").data
    assert.equal("upstream_refused", data.code)
    assert.equal("the model's server refused the request (HTTP 401)", data.message)
    assert.matches("wrong key: [redacted]", host:logs("policy.log")[1].fields.reason, 1, true)
  end)
end)

-- Run with: tidegate test examples/tools
local testing = require "tidegate.testing"
local json = require "tidegate.json"

local URL = "POST https://model.example/v1/chat/completions"

local function event(said, finish)
  local choice = { index = 0, delta = json.object(said), finish_reason = finish }
  return "data: " .. assert(json.encode({ choices = { choice } })) .. "\n\n"
end

--- A model that calls a tool, and then says what came of it.
local function model(name, arguments)
  return function(request)
    local messages, chunks = request.json.messages
    local last = messages[#messages]
    if last.role == "tool" then
      chunks = { event({ content = last.content }, "stop") }
    else
      local called = { name = name, arguments = json.encode(arguments) }
      chunks = { event({ tool_calls = { { index = 0, id = "c1", ["function"] = called } } }, "tool_calls") }
    end
    chunks[#chunks + 1] = "data: [DONE]\n\n"
    return { headers = { ["content-type"] = "text/event-stream" }, chunks = chunks }
  end
end

describe("tools", function()
  local function answer(name, arguments)
    local host = testing.host("init.lua", { options = { base_url = "https://model.example/v1" } })
    local client = host:connect()
    host:http(URL, model(name, arguments))
    client:execute "Go"
    host:advance(0.1)
    local completed = client:expect("tool_completed").data
    assert.equal(name, completed.name)
    return client:expect("agent_completed").data.response, completed
  end

  it("calculate", function()
    local rows = {
      { "17 * (3 + 4)", "119" }, { "1 - 2 - 3", "-4" }, { "2 ^ 3 ^ 2", "512" }, { "-2 * 3", "-6" },
      { " 1.5 / .5 ", "3" }, { "((2))", "2" }, { "10 / 4", "2.5" },
    }
    for _, row in ipairs(rows) do
      local response, completed = answer("calculator", { expression = row[1] })
      assert.equal(row[2], response)
      assert.equal(tonumber(row[2]), completed.result)
    end
  end)

  it("tell the model why there is no result", function()
    local rows = {
      { { expression = "1 / 0" }, "there is no such number" },
      { { expression = "(1 + 2" }, "a ) is missing" },
      { { expression = "1 +" }, "a number expected at character 4" },
      { { expression = "1 2" }, "goes on where it should end" },
      { { expression = ("("):rep(60) }, "too many parentheses" },
      { { expression = 7 }, "arguments.expression: string expected" },
      { { expression = ("1"):rep(201) }, "200 characters or less" },
      { { formula = "1" }, "arguments.expression: required" },
    }
    for _, row in ipairs(rows) do
      local response, completed = answer("calculator", row[1])
      assert.matches(row[2], response, 1, true)
      assert.matches(row[2], completed.error, 1, true)
    end
  end)

  it("count words and letters", function()
    local _, completed = answer("word_count", { text = "To be, or not to be" })
    assert.same({ words = 6, letters = 13 }, completed.result)
  end)
end)

-- agent.openai against fake model servers: what is asked, what clients see, what is kept.
local testing = require "tidegate.testing"
local json = require "tidegate.json"

local URL = "POST https://model.example/v1/chat/completions"

local function policy(options, more)
  return ([[
    local agent, tide = require "tidegate.agent", require "tidegate"
    local time = require "tidegate.time"
    local policy = {}
    %s
    function policy.authenticate() return { user_id = "ann" } end
    policy.agents = {
      bot = agent.openai({
        base_url = "https://model.example/v1/", model = "small", api_key = "sk-very-secret",
        %s
      }),
    }
    return policy]]):format(more or "", options or "")
end

local TOOLS = [[
  tools = {
    add = {
      description = "Adds",
      parameters = {
        type = "object",
        properties = { a = { type = "number" }, b = { type = "number" }, unit = { enum = { "m", "km" } } },
        required = { "a", "b" },
        additionalProperties = false,
      },
      run = function(run, arguments) return { sum = arguments.a + arguments.b } end,
    },
    slow = { run = function(run) time.sleep(2) return "slept" end },
    broken = { run = function() local x = nil; return x.y end },
    empty = { run = function() return nil, "nothing found" end },
  },]]

local function serve(options, more)
  local host = testing.host({ source = policy(options, more) })
  return host, host:connect()
end

--- A delta as an event of the stream.
local function delta(said, finish, index)
  local choice = { index = index or 0, delta = json.object(said or {}), finish_reason = finish }
  return "data: " .. assert(json.encode({ choices = { choice } })) .. "\n\n"
end

local DONE = "data: [DONE]\n\n"

local function used(tokens)
  return ('data: {"choices":[],"usage":{"total_tokens":%d}}\n\n'):format(tokens)
end

local function streamed(...)
  return { headers = { ["content-type"] = "text/event-stream" }, chunks = { ... } }
end

local function call(index, id, name, arguments)
  local called = { name = name, arguments = arguments }
  return delta({ tool_calls = { { index = index, id = id, type = "function", ["function"] = called } } })
end

--- Answers one request after the other.
local function in_turn(host, ...)
  local answers, number = { ... }, 0
  host:http(URL, function()
    number = number + 1
    return answers[number] or error("asked too often: " .. number)
  end)
end

local function types(client)
  local list = {}
  for i, event in ipairs(client:events()) do list[i] = event.type:gsub("^agent_", "") end
  return table.concat(list, " ")
end

local function ends_with(client, code)
  local data = client:expect("agent_error").data
  assert.equal(code, data.code)
  assert.is_nil(data.message:find("sk-very-secret", 1, true))
  return data.message
end

describe("agent.openai", function()
  it("asks as the API wants it and streams what comes", function()
    local host, client = serve [[system = "Be brief.", parameters = { temperature = 0.5 },]]
    host:http(URL, streamed(
      ": keep-alive\n\n", delta({ role = "assistant", content = "" }), delta({ reasoning_content = "Hm" }),
      delta({ reasoning = "!" }), delta({ content = "Hel" }), delta({ content = "lo" }), delta({}, "stop"),
      'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n', DONE
    ))
    client:execute "Hi"
    host:advance(0.1)
    assert.equal("started thinking thinking delta delta completed", types(client))
    local data = client:expect("agent_completed").data
    assert.equal("Hello", data.response)
    assert.equal("stop", data.finish_reason)
    assert.same({ prompt_tokens = 3, completion_tokens = 2, total_tokens = 5 }, data.usage)
    local asked = host:requests()[1]
    assert.equal("Bearer sk-very-secret", asked.headers.authorization)
    assert.same({
      model = "small",
      temperature = 0.5,
      stream = true,
      stream_options = { include_usage = true },
      messages = { { role = "system", content = "Be brief." }, { role = "user", content = "Hi" } },
    }, asked.json)
  end)

  it("lets others have their turn while it reads what came at once", function()
    local host = testing.host({
      source = policy "history = false,",
      config = { ["script.cpu_budget"] = "20ms", ["limits.outbox_bytes"] = "64MiB" },
    })
    local client = host:connect()
    host:http(URL, streamed(('data: {"choices":[{"delta":{"content":"x"}}]}\n\n'):rep(20000), DONE))
    client:execute "Go"
    host:advance(1)
    local data = client:expect("agent_completed").data
    assert.equal(("x"):rep(20000), data.response)
  end)

  it("takes an answer in one piece from a server that does not stream", function()
    local host, client = serve "stream = false,"
    host:http(URL, { json = {
      choices = { { index = 0, message = { content = "Whole" }, finish_reason = "length" } },
      usage = { total_tokens = 9 },
    } })
    client:execute "Hi"
    assert.equal("started delta completed", types(client))
    local data = client:expect("agent_completed").data
    assert.same({ "Whole", "length" }, { data.response, data.finish_reason })
    assert.same({ total_tokens = 9 }, data.usage)
    assert.is_false(host:requests()[1].json.stream)
    assert.is_nil(host:requests()[1].json.stream_options)
  end)

  it("runs the tools that the model calls, at once, and asks again", function()
    local host, client = serve(TOOLS)
    in_turn(
      host,
      streamed(
        delta({ content = "Let me see." }), call(0, "c1", "slow", ""), call(1, "c2", "add", '{"a":'),
        call(1, nil, nil, '1,"b"'), call(2, "c3", "slow", "{}"), call(1, nil, nil, ":2}"),
        delta({}, "tool_calls"), used(5), DONE
      ),
      streamed(delta({ content = "3" }, "stop"), used(6), DONE)
    )
    client:execute "1+2?"
    host:advance(2.1) -- both naps
    host:advance(0.1)
    assert.equal("started delta tool_executing tool_executing tool_completed tool_executing "
      .. "tool_completed tool_completed delta completed", types(client))
    local data = client:expect("agent_completed").data
    assert.equal("3", data.response)
    assert.same({ total_tokens = 11 }, data.usage)
    local asked = host:requests()
    assert.equal(2, #asked)
    local named = {}
    for i, tool in ipairs(asked[1].json.tools) do named[i] = tool["function"].name end
    assert.same({ "add", "broken", "empty", "slow" }, named)
    assert.same({ "a", "b" }, asked[1].json.tools[1]["function"].parameters.required)
    local messages = asked[2].json.messages
    assert.equal("Let me see.", messages[2].content)
    assert.equal('{"a":1,"b":2}', messages[2].tool_calls[2]["function"].arguments)
    assert.same({ role = "tool", tool_call_id = "c1", content = "slept" }, messages[3])
    assert.same({ role = "tool", tool_call_id = "c2", content = '{"sum":3}' }, messages[4])
    assert.equal("c3", messages[5].tool_call_id)
  end)

  it("tells the model what is wrong with a call, and the client too", function()
    local rows = {
      { "add", '{"a":1', "the arguments are no JSON" },
      { "add", '{"a":1}', "arguments.b: required, and not there" },
      { "add", '{"a":1,"b":"2"}', "arguments.b: number expected, got string" },
      { "add", '{"a":1,"b":2,"c":3}', "arguments.c: there is no such name" },
      { "add", '{"a":1,"b":2,"unit":"mi"}', "arguments.unit: one of \"m\", \"km\" expected" },
      { "add", "[]", "arguments: object expected, got array" },
      { "rm", "{}", "there is no tool \"rm\"" },
      { "empty", "{}", "nothing found" },
      { "broken", "{}", "attempt to index local 'x'" },
    }
    for _, row in ipairs(rows) do
      local host, client = serve(TOOLS)
      in_turn(host, streamed(call(0, "c1", row[1], row[2]), delta({}, "tool_calls"), DONE),
        streamed(delta({ content = "Oh" }, "stop"), DONE))
      client:execute "Go"
      host:advance(0.1)
      local failed = client:expect("tool_completed").data
      assert.matches(row[3], failed.error, 1, true)
      client:expect "agent_completed"
      local told = host:requests()[2].json.messages[3].content
      assert.equal("Error: ", told:sub(1, 7))
      assert.matches(row[3], told, 1, true)
      assert.is_nil(told:find("init.lua", 1, true))
      assert.equal(row[1] == "broken" and 1 or 0, #host:logs "policy.log")
      host:close()
    end
  end)

  it("ends when the model calls tools without end", function()
    local host, client = serve(TOOLS .. "max_rounds = 3,")
    host:http(URL, function() return streamed(call(0, "c", "empty", "{}"), delta({}, "tool_calls"), DONE) end)
    client:execute "Go"
    host:advance(1)
    ends_with(client, "too_many_rounds")
    assert.equal(3, #host:requests())
    assert.equal(2, select(2, types(client):gsub("tool_executing", "")))
    host, client = serve(TOOLS .. "max_tool_calls = 1,")
    host:http(URL, streamed(call(0, "c", "empty", "{}"), call(1, "d", "empty", "{}"), DONE))
    client:execute "Go"
    host:advance(1)
    ends_with(client, "too_many_rounds")
    assert.equal(1, #host:requests())
  end)

  it("names what went wrong, and tells the log what the server said", function()
    local rows = {
      { { status = 401, body = "bad key sk-very-secret" }, "upstream_refused", 1 },
      { { status = 403 }, "upstream_refused", 1 },
      { { status = 400 }, "upstream_refused", 1 },
      { { status = 429 }, "rate_limited", 3 },
      { { status = 500 }, "upstream_unavailable", 3 },
      { { status = 504 }, "upstream_timeout", 3 },
      { { status = 302, headers = { location = "https://other.example/" } }, "bad_upstream_answer", 1 },
      { "refused", "upstream_unavailable", 3 },
      { "timeout", "upstream_timeout", 3 },
      { "tls", "upstream_unavailable", 1 },
      { streamed "data: {no json}\n\n", "bad_upstream_answer", 1 },
      { streamed "data: 7\n\n", "bad_upstream_answer", 1 },
      { streamed(DONE), "bad_upstream_answer", 1 },
      { streamed(), "bad_upstream_answer", 1 },
      { { body = "<html>", headers = { ["content-type"] = "text/html" } }, "bad_upstream_answer", 1 },
      { { body = "{", headers = { ["content-type"] = "application/json" } }, "bad_upstream_answer", 1 },
      { { status = 204 }, "bad_upstream_answer", 1 },
      { streamed(delta({ content = "x" }, nil, 1)), "bad_upstream_answer", 1 },
      { streamed 'data: {"choices":[{"index":0},{"index":1}]}\n\n', "bad_upstream_answer", 1 },
      { streamed(delta({}, "tool_calls"), DONE), "bad_upstream_answer", 1 },
      { streamed(call(0, "c", "", "{}"), DONE), "bad_upstream_answer", 1 },
      { streamed(call(0, "c", "empty", "{"), delta({}, "length"), DONE), "bad_upstream_answer", 1 },
      { streamed(delta({ content = "x" })), "upstream_unavailable", 1 },
      { streamed(delta({ content = "x" }), { fault = "reset" }), "upstream_unavailable", 1 },
      { streamed(delta({ content = "x" }), { fault = "timeout" }), "upstream_timeout", 1 },
      { streamed 'data: {"error":{"message":"x","type":"server_error"}}\n\n', "upstream_unavailable", 1 },
      { streamed 'data: {"error":{"code":"rate_limit_exceeded"}}\n\n', "rate_limited", 1 },
      { streamed 'data: {"error":{"type":"invalid_request_error"}}\n\n', "upstream_refused", 1 },
      { streamed "event: error\ndata: {\"message\":\"sk-very-secret\"}\n\n", "upstream_unavailable", 1 },
      { { json = { error = "overloaded" } }, "upstream_unavailable", 1 },
    }
    for i, row in ipairs(rows) do
      local host, client = serve(TOOLS)
      host:http(URL, row[1])
      client:execute "Go"
      host:advance(20)
      local place = "row " .. i .. ": "
      local message = ends_with(client, row[2])
      assert.matches("^the model's server ", message)
      assert.equal(row[3], #host:requests(), place .. message)
      local logs = host:logs "policy.log"
      assert.equal(row[3], #logs, place .. message)
      for _, line in ipairs(logs) do
        assert.equal("warn", line.level)
        assert.is_nil(json.encode(line):find("very", 1, true))
      end
      assert.is_nil(client.session and client.session.agent_history)
      host:close()
    end
  end)

  it("hides what is in its headers, too", function()
    local host, client = serve 'headers = { ["X-Key"] = { "k-(1)-other" }, ["api-key"] = "k+third%" },'
    local pieces = { "k-(1)-other, k+third% and sk-ve", { "ry-sec", delay = 1 }, { "ret", delay = 1 } }
    host:http(URL, { status = 400, chunks = pieces })
    client:execute "Go"
    host:advance(3)
    ends_with(client, "upstream_refused")
    assert.equal("k+third%", host:requests()[1].headers["api-key"])
    local said = host:logs("policy.log")[1].fields.reason
    assert.equal("[redacted], [redacted] and [redacted]", said)
  end)

  it("tries again while nothing has come, when the server says or with growing pauses", function()
    local host, client = serve "retries = 3,"
    local good = streamed(delta({ content = "At last" }, "stop"), DONE)
    in_turn(host, { status = 429, headers = { ["retry-after"] = "7" } }, "refused", { status = 503 }, good)
    client:execute "Go"
    host:advance(6.9)
    assert.equal(1, #host:requests())
    host:advance(0.2)
    assert.equal(2, #host:requests())
    host:advance(0.3)
    assert.equal(2, #host:requests())
    host:advance(0.8)
    assert.equal(3, #host:requests())
    host:advance(2.1)
    assert.equal("At last", client:expect("agent_completed").data.response)
    assert.equal("started delta completed", types(client))
  end)

  it("knows the ways in which a server says when to come again", function()
    local leap_day = 1709164800 -- 2024-02-29, at 00:00 UTC
    local rows = {
      { ["retry-after"] = "5" },
      { ["retry-after-ms"] = "5000" },
      { ["retry-after"] = "Thu, 29 Feb 2024 00:00:05 GMT" },
    }
    for _, headers in ipairs(rows) do
      local host = testing.host({ source = policy(), time = leap_day })
      local client = host:connect()
      in_turn(host, { status = 503, headers = headers }, streamed(delta({ content = "ok" }, "stop"), DONE))
      client:execute "Go"
      host:advance(4.9)
      assert.equal(1, #host:requests())
      host:advance(0.3)
      assert.equal(2, #host:requests())
      host:close()
    end
  end)

  it("does not wait for a server that wants it to wait for long", function()
    local host, client = serve()
    host:http(URL, { status = 429, headers = { ["retry-after"] = "3600" } })
    client:execute "Go"
    ends_with(client, "rate_limited")
    assert.equal(1, #host:requests())
  end)

  it("takes a stream without [DONE] that says why it stopped", function()
    local host, client = serve()
    host:http(URL, streamed(delta({ content = "All" }), delta({}, "stop"), { fault = "reset" }))
    client:execute "Go"
    assert.equal("All", client:expect("agent_completed").data.response)
  end)

  it("takes whole calls without an index, and arguments that are an object", function()
    local host, client = serve(TOOLS)
    local calls = {
      { ["function"] = { name = "add", arguments = { a = 1, b = 1 } } },
      { ["function"] = { name = "add", arguments = '{"a":2,"b":2}' } },
    }
    in_turn(host, streamed(delta({ tool_calls = calls }, "stop"), DONE),
      streamed(delta({ content = "ok" }, "stop"), DONE))
    client:execute "Go"
    host:advance(0.1)
    client:expect "agent_completed"
    local messages = host:requests()[2].json.messages
    assert.same({ '{"sum":2}', "call_1" }, { messages[3].content, messages[3].tool_call_id })
    assert.same({ '{"sum":4}', "call_2" }, { messages[4].content, messages[4].tool_call_id })
  end)

  it("tells calls apart by their ids where a server gives all the same index", function()
    local host, client = serve(TOOLS)
    local first, second = call(0, "c1", "add", '{"a":1,"b":1}'), call(0, "c2", "add", '{"a":2,"b":2}')
    in_turn(host, streamed(first, second, DONE), streamed(delta({ content = "ok" }, "stop"), DONE))
    client:execute "Go"
    host:advance(0.1)
    client:expect "agent_completed"
    local messages = host:requests()[2].json.messages
    assert.same({ '{"sum":2}', '{"sum":4}' }, { messages[3].content, messages[4].content })
  end)

  it("refuses a request without a message", function()
    local _, client = serve()
    client:execute ""
    assert.equal("bad_input", client:expect("agent_error").data.code)
  end)

  it("is told at load what is wrong with its options", function()
    local rows = {
      { "modle = 'x',", "init.lua:7: agent.openai: there is no option modle" },
      { "model = '',", "model is missing" },
      { "base_url = 'model.example',", "base_url: an http or https address" },
      { "base_url = 'https://ann:pw@model.example',", "base_url: an http or https address" },
      { "max_rounds = 1.5,", "max_rounds: a whole number expected" },
      { "idle_timeout = 0,", "idle_timeout: seconds expected" },
      { "api_key = '',", "api_key: it is empty" },
      { "history = { mesages = 3 },", "history: there is no mesages" },
      { "parameters = { stream = true },", "parameters.stream: it is set by the agent" },
      { "tools = { ['a b'] = {} },", "tools.a b: a name has" },
      { "tools = { f = {} },", "tools.f.run: a function" },
      { "tools = { f = { run = print, parameters = { type = 'string' } } },", "parameters.type: \"object\"" },
      { "tools = { f = { run = print, parameters = { type = 'object', properties = { x = "
        .. "{ pattern = '^a' } } } } },", "tools.f.parameters.x: pattern is not checked here" },
      { "tools = { f = { run = print, parameters = { type = 'objekt' } } },", "is no type of JSON" },
    }
    for _, row in ipairs(rows) do
      assert.error_matches(function() testing.host({ source = policy(row[1]) }) end, row[2], 1, true)
    end
  end)

  describe("history", function()
    local function echo(host)
      host:http(URL, function(request)
        local messages = request.json.messages
        return streamed(delta({ content = "re " .. messages[#messages].content }, "stop"), DONE)
      end)
    end

    local function said(request)
      local list = {}
      for i, message in ipairs(request.json.messages) do
        list[i] = message.role:sub(1, 1) .. ":" .. (message.content or "")
      end
      return table.concat(list, " ")
    end

    local function ask(host, client, text)
      client:execute(text)
      host:advance(0.1)
      client:expect "agent_completed"
      local asked = host:requests()
      return said(asked[#asked])
    end

    it("is sent along with each question of the connection", function()
      local host, client = serve [[system = function(run) return "For " .. run.conn.user_id end,]]
      echo(host)
      ask(host, client, "a")
      assert.equal("s:For ann u:a a:re a u:b", ask(host, client, "b"))
      host:reload()
      assert.equal("s:For ann u:a a:re a u:b a:re b u:c", ask(host, client, "c"))
      assert.equal("s:For ann u:x", ask(host, host:connect(), "x"))
    end)

    it("can be turned off", function()
      local host, client = serve "history = false,"
      echo(host)
      ask(host, client, "a")
      assert.equal("u:b", ask(host, client, "b"))
      assert.same({}, client.session or {})
    end)

    it("drops the oldest turns, and no call without its result", function()
      local host, client = serve(TOOLS .. "history = { messages = 5 },")
      local good = streamed(delta({ content = "ok" }, "stop"), DONE)
      in_turn(host, streamed(call(0, "c", "empty", "{}"), DONE), good, good, good, good)
      ask(host, client, "a")
      assert.equal("u:a a: t:Error: nothing found a:ok u:b", ask(host, client, "b"))
      assert.equal("u:b a:ok u:c", ask(host, client, "c"))
      assert.equal("u:b a:ok u:c a:ok u:d", ask(host, client, "d"))
    end)

    it("stays within its bytes, and within what the session takes", function()
      local long = ("x"):rep(300)
      for _, options in ipairs { "history = { bytes = 900 },", "history = { bytes = 90000 }," } do
        local host = testing.host({
          source = policy(options),
          config = { ["limits.session_bytes"] = "1KiB" },
        })
        local client = host:connect()
        echo(host)
        ask(host, client, "1" .. long)
        for i = 2, 5 do
          local before = i - 1 .. long
          assert.equal(("u:%s a:re %s u:%s"):format(before, before, i .. long), ask(host, client, i .. long))
        end
        assert.is_true(#json.encode(client.session.agent_history) < 1024)
        assert.equal("started delta completed", types(client):match "started delta completed$")
        assert.equal(0, #host:logs "run.failed")
        host:close()
      end
    end)

    it("is what trim makes of it", function()
      local host, client = serve [[trim = function(messages)
        return { { role = "user", content = #messages .. " before" }, { role = "assistant", content = "!" } }
      end,]]
      echo(host)
      ask(host, client, "a")
      assert.equal("u:2 before a:! u:b", ask(host, client, "b"))
      assert.equal("u:4 before a:! u:c", ask(host, client, "c"))
    end)

    it("leaves the rest of the session alone, also when runs overlap", function()
      local host, client = serve("", [[
        function policy.message(conn) conn.session.mine = (conn.session.mine or 0) + 1 end
      ]])
      host:http(URL, function(request)
        local text = request.json.messages[#request.json.messages].content
        return streamed({ delta({ content = "re " .. text }, "stop"), delay = text == "a" and 2 or 1 }, DONE)
      end)
      client:execute "a"
      client:execute "b"
      client:send { type = "count" }
      host:advance(1.5)
      client:send { type = "count" }
      host:advance(2)
      local kept = client.session.agent_history.bot
      assert.equal(2, client.session.mine)
      assert.same({ "b", "re b", "a", "re a" },
        { kept[1].content, kept[2].content, kept[3].content, kept[4].content })
    end)
  end)
end)

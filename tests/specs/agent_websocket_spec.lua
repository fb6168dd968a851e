-- Run with: tidegate test tests/specs/agent_websocket_spec.lua
local testing = require "tidegate.testing"

local URL = "wss://agents.example/run"

--- A host whose agent `remote` is agent.websocket{ url, … }; `given` is the rest of its options, as text.
local function host_with(given, config)
  return testing.host({
    source = ([[
local agent = require "tidegate.agent"
local policy = {}
function policy.authenticate(_, credentials)
  return { user_id = "ada", team = "blue", secret = "s3cret", bearer = credentials.bearer }
end
function policy.create_context() return { tenant = "t1" } end
policy.agents = { remote = agent.websocket{ url = "%s", %s } }
return policy
]]):format(URL, given or ""),
    config = config,
  })
end

local function event(kind, members)
  members = members or {}
  members.type = kind
  return members
end

local done = event("agent_completed", { response = "hello" })

--- All events of one run, whose upstream answers so.
local function run_with(host, answer, input)
  host:websocket(URL, answer)
  local client = host:connect{ bearer = "demo-key" }
  client:execute(input or "hello", "remote")
  host:advance(60)
  return client:events(), client
end

local function kinds_of(events)
  local kinds = {}
  for i, one in ipairs(events) do kinds[i] = one.type end
  return table.concat(kinds, " ")
end

local function assert_error(host, answer, code, text)
  local events, client = run_with(host, answer)
  local last = events[#events]
  assert.equal("agent_error", last.type)
  assert.equal(code, last.data.code)
  if text then assert.equal(text, last.data.message) end
  return events, client
end

describe("agent.websocket", function()
  it("carries out what comes as events of our own run", function()
    local host = host_with()
    local events = run_with(host, { messages = {
      event("agent_started", { run_id = "theirs" }),
      event("agent_thinking", { text = "hm" }),
      event("tool_executing", { data = { tool_call_id = 1, name = "look", arguments = { a = 1 } } }),
      { event("tool_completed", { tool_call_id = 1, result = "found" }), delay = 2 },
      event("agent_delta", { text = "hel" }),
      event("of_tomorrow"),
      done,
    } })
    assert.equal("agent_started agent_thinking tool_executing tool_completed agent_delta agent_completed",
      kinds_of(events))
    assert.equal("hello", events[6].data.response)
    assert.not_equal("theirs", events[6].run_id)
    local link = host:websockets()[1]
    assert.equal(1, #host:websockets(URL))
    assert.equal(1000, link.close_code)
    assert.equal(1, #link.messages)
  end)

  it("tells the upstream who asks, and no more than it may", function()
    local host = host_with 'identity = { "team" }, bearer = "token", headers = { ["X-Own"] = 7 }'
    local events, client = run_with(host, { messages = { done } }, { message = "hi", more = { 1, 2 } })
    local link = host:websockets()[1]
    assert.equal("Bearer token", link.headers.authorization)
    assert.equal("7", link.headers["x-own"])
    assert.same({
      type = "agent_execution",
      run_id = events[1].run_id,
      agent = "remote",
      connection_id = client.id,
      user_id = "ada",
      identity = { team = "blue" },
      context = { tenant = "t1" },
      message = "hi",
      input = { message = "hi", more = { 1, 2 }, agent_type = "remote" },
    }, link.messages[1])
  end)

  it("says agent_cancel and closes when the run is cancelled, at any moment", function()
    for _, answer in ipairs {
      { messages = {} },
      { messages = { event("agent_delta", { text = "a" }) } },
      { messages = { event("tool_executing", { tool_call_id = "t", name = "slow" }) } },
    } do
      local host = host_with()
      host:websocket(URL, answer)
      local client = host:connect()
      local run_id = client:execute("hello", "remote")
      client:cancel(run_id)
      assert.equal("cancelled", client:expect("agent_error").data.code)
      local link = host:websockets()[1]
      assert.same({ type = "agent_cancel", run_id = run_id }, link.messages[2])
      assert.equal(1000, link.close_code)
    end
  end)

  it("closes without a word when the upgrade is not answered yet", function()
    local host = host_with()
    host:websocket(URL, { delay = 3 })
    local client = host:connect()
    client:cancel(client:execute("hello", "remote"))
    client:expect "agent_error"
    assert.same({}, host:websockets()[1].messages)
    assert.equal(1000, host:websockets()[1].close_code)
  end)

  it("closes when the client goes, and when the host stops", function()
    for _, leave in ipairs {
      function(_, client) client:drop() end,
      function(host) host:drain() host:advance(40) end,
    } do
      local host = host_with()
      host:websocket(URL, { messages = { event("agent_delta", { text = "a" }) } })
      local client = host:connect()
      client:execute("hello", "remote")
      leave(host, client)
      assert.equal(1000, host:websockets()[1].close_code)
      assert.equal(0, host:metrics "tidegate_upstream_websockets")
    end
  end)

  describe("ends with a code of its own for", function()
    for _, row in ipairs {
      { "a refused connection", "refused", "upstream_unavailable", "the upstream cannot be reached" },
      { "a name without an address", "resolve", "upstream_unavailable" },
      { "a certificate", "tls", "upstream_unavailable" },
      { "a forbidden address", "forbidden", "upstream_unavailable" },
      { "no answer", "timeout", "upstream_timeout", "the upstream took too long" },
      { "what is no HTTP", "protocol", "bad_upstream_answer" },
      { "401", { status = 401 }, "upstream_refused", "the upstream refused the request" },
      { "429", { status = 429 }, "rate_limited" },
      { "500", { status = 500 }, "upstream_unavailable", "the upstream failed" },
      { "504", { status = 504 }, "upstream_timeout" },
      { "200", { status = 200 }, "bad_upstream_answer", "the upstream does not speak WebSocket" },
      { "a lost connection", { messages = { { fault = "reset" } } }, "upstream_unavailable",
        "the upstream broke off its answer" },
      { "a large message", { messages = { { fault = "too_large" } } }, "bad_upstream_answer",
        "the upstream sent more at once than is allowed" },
      { "close 1000", { messages = { { close = 1000 } } }, "bad_upstream_answer",
        "the upstream ended early" },
      { "close 1011", { messages = { { close = 1011 } } }, "upstream_unavailable" },
      { "close 4401", { messages = { { close = 4401 } } }, "upstream_refused" },
      { "close 4429", { messages = { { close = 4429 } } }, "rate_limited" },
      { "its own error", { messages = { event("agent_error", { code = "no_tea", message = "none" }) } },
        "no_tea", "none" },
      { "what is no JSON", { messages = { "hello" } }, "bad_upstream_answer", "an event is no JSON object" },
      { "a binary message", { messages = { { "{}", binary = true } } }, "bad_upstream_answer",
        "the upstream sent a binary message" },
      { "a tool that never began", { messages = { event("tool_completed", { tool_call_id = 1 }) } },
        "bad_upstream_answer" },
    } do
      it(row[1], function()
        local host = host_with "retries = 0"
        assert_error(host, row[2], row[3], row[4])
        assert.equal(0, host:metrics "tidegate_upstream_websockets")
      end)
      if type(row[2]) == "table" and row[2].messages then
        it(row[1] .. " after the first event", function()
          local host = host_with "retries = 5"
          local messages = { event("agent_delta", { text = "a" }) }
          for i, piece in ipairs(row[2].messages) do messages[i + 1] = piece end
          assert_error(host, { messages = messages }, row[3], row[4])
          assert.equal(1, #host:websockets())
        end)
      end
    end
  end)

  it("gives up on silence, and on an upgrade that takes too long", function()
    local host = host_with "idle_timeout = 5, retries = 0"
    assert_error(host, { messages = { event("agent_delta", { text = "a" }) } }, "upstream_timeout")
    host = host_with "connect_timeout = 2, retries = 0"
    assert_error(host, { delay = 3, messages = { done } }, "upstream_timeout")
  end)

  it("tries again while nothing has come, with growing pauses", function()
    local answers = { "refused", { status = 503 }, { messages = { { fault = "reset" } } },
      { messages = { { close = 1012 } } }, { messages = { done } } }
    local host = host_with "retries = 4"
    local asked = {}
    local events = run_with(host, function()
      asked[#asked + 1] = host:now()
      return answers[#asked]
    end)
    assert.equal("agent_started agent_completed", kinds_of(events))
    assert.equal(5, #asked)
    for i = 3, 5 do assert.is_true(asked[i] - asked[i - 1] > (asked[i - 1] - asked[i - 2]) * 0.9) end
  end)

  it("does not try again what was refused, or has begun", function()
    for _, answer in ipairs { { status = 401 }, "tls", { messages = { { close = 4401 } } } } do
      local host = host_with()
      run_with(host, answer)
      assert.equal(1, #host:websockets())
    end
  end)

  it("leaves an upstream alone that keeps failing", function()
    local host = host_with "retries = 0, circuit = { failures = 2, pause = 100 }"
    for _ = 1, 3 do assert_error(host, "refused", "upstream_unavailable") end
    assert.equal(2, #host:websockets())
    host:advance(100)
    local events = run_with(host, { messages = { done } })
    assert.equal("agent_completed", events[#events].type)
  end)

  it("logs why, and no secret", function()
    local host = host_with 'retries = 0, bearer = "s3cret-token"'
    assert_error(host, { status = 401 }, "upstream_refused")
    local found = false
    for _, log in ipairs(host:logs()) do
      found = found or tostring(log.fields.message):find("the upstream failed", 1, true) ~= nil
      for _, value in pairs(log.fields) do
        assert.is_nil(tostring(value):find("s3cret-token", 1, true))
      end
    end
    assert.is_true(found)
  end)

  describe("with reuse", function()
    local function answer_each(message)
      if message.type == "agent_cancel" then return end
      return { event("agent_completed", { run_id = message.run_id, response = message.run_id }) }
    end

    it("asks several runs on one connection, which a pause closes", function()
      local host = host_with "reuse = 30, idle_timeout = 5"
      host:websocket(URL, { messages = answer_each })
      local client = host:connect()
      for _ = 1, 3 do
        local run_id = client:execute("hello", "remote")
        assert.equal(run_id, client:expect("agent_completed").data.response)
        host:advance(29)
      end
      assert.equal(1, #host:websockets())
      assert.is_nil(host:websockets()[1].close_code)
      host:advance(2)
      assert.equal(1000, host:websockets()[1].close_code)
    end)

    it("ignores what names another run", function()
      local host = host_with "reuse = 30"
      host:websocket(URL, { messages = function(message, link)
        local before = link.messages[#link.messages - 1]
        return { before and event("agent_delta", { run_id = before.run_id, text = "late" }) or "{}",
          answer_each(message)[1] }
      end })
      local client = host:connect()
      assert.equal("bad_upstream_answer", (function()
        client:execute("hello", "remote")
        return client:expect("agent_error").data.code
      end)())
      assert.equal(1008, host:websockets()[1].close_code)
    end)

    it("replaces a connection that has died, without counting it as a try", function()
      local host = host_with "reuse = 30, retries = 0"
      host:websocket(URL, { messages = function(message, link)
        local pieces = answer_each(message)
        pieces[2] = #link.messages == 1 and { fault = "reset", delay = 1 } or nil
        return pieces
      end })
      local client = host:connect()
      client:execute("hello", "remote")
      client:expect "agent_completed"
      host:advance(2)
      client:execute("hello", "remote")
      client:expect "agent_completed"
      assert.equal(2, #host:websockets())
    end)

    it("closes what a reload leaves behind", function()
      local host = host_with "reuse = 300"
      host:websocket(URL, { messages = answer_each })
      local client = host:connect()
      client:execute("hello", "remote")
      assert(host:reload{ source = "return { authenticate = function() return { user_id = 'a' } end }" })
      host:advance(1)
      assert.equal(1000, host:websockets()[1].close_code)
    end)
  end)

  for _, row in ipairs {
    { "agent.websocket()", "a table expected" },
    { "agent.websocket{}", "url is missing" },
    { 'agent.websocket{ url = "http://x" }', "url: a ws or wss address expected" },
    { 'agent.websocket{ url = "ws://user:pass@x" }', "url: a ws or wss address expected" },
    { 'agent.websocket{ url = "ws://x", stream = "sse" }', "there is no option stream" },
    { 'agent.websocket{ url = "ws://x", headers = { Upgrade = "h2c" } }', "Upgrade is set by the agent" },
    { 'agent.websocket{ url = "ws://x", headers = { ["sec-websocket-key"] = "x" } }', "is set by the agent" },
    { 'agent.websocket{ url = "ws://x", headers = { a = "b\\r\\nc: d" } }', "holds a control character" },
    { 'agent.websocket{ url = "ws://x", headers = { ["a b"] = "c" } }', "cannot be the name of a header" },
    { 'agent.websocket{ url = "ws://x", headers = { a = true } }', "a must be text" },
    { 'agent.websocket{ url = "ws://x", bearer = "a b" }', "bearer: a token without blanks" },
    { 'agent.websocket{ url = "ws://x", bearer = "a", headers = { authorization = "b" } }', "excludes" },
    { 'agent.websocket{ url = "ws://x", idle_timeout = 0 }', "idle_timeout: seconds" },
    { 'agent.websocket{ url = "ws://x", retries = 11 }', "retries: a whole number" },
    { 'agent.websocket{ url = "ws://x", reuse = true }', "reuse: seconds or false" },
    { 'agent.websocket{ url = "ws://x", max_event = "1" }', "max_event: a number of bytes" },
    { 'agent.websocket{ url = "ws://x", max_event = 1e300 }', "max_event: a number of bytes, 8 MiB at most" },
  } do
    it("refuses " .. row[1], function()
      local source = 'local agent = require "tidegate.agent"\nlocal a = ' .. row[1]
        .. "\nreturn { authenticate = function() end, agents = { a = a } }"
      local ok, why = pcall(testing.host, { source = source })
      assert.is_false(ok)
      assert.is_truthy(why:find("init.lua:2: agent.websocket: ", 1, true), why)
      assert.is_truthy(why:find(row[2], 1, true), why)
    end)
  end
end)

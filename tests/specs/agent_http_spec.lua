-- Run with: tidegate test tests/specs/agent_http_spec.lua
local json = require "tidegate.json"
local testing = require "tidegate.testing"

local URL = "http://agents.example/run"

--- A host whose agent `remote` is agent.http{ url, … }; `given` is the rest of its options, as text.
local function host_with(given, config)
  return testing.host{ config = config, source = ([[
local agent = require "tidegate.agent"
local policy = {}
function policy.authenticate()
  return { user_id = "ada", roles = { "admin" }, team = "blue", private = "do not send" }
end
function policy.create_context() return { tenant = "acme", plan = "gold" } end
policy.agents = { remote = agent.http{ url = "http://agents.example/run", %s } }
return policy]]):format(given or "") }
end

local function sse(...)
  local lines = {}
  for i, event in ipairs{ ... } do
    lines[i] = "data: " .. (type(event) == "table" and json.encode(event) or event) .. "\n\n"
  end
  return { headers = { ["Content-Type"] = "text/event-stream" }, body = table.concat(lines) }
end

local function ndjson(...)
  local lines = {}
  for i, event in ipairs{ ... } do
    lines[i] = (type(event) == "table" and json.encode(event) or event) .. "\n"
  end
  return { headers = { ["Content-Type"] = "application/x-ndjson" }, body = table.concat(lines) }
end

--- The events of a run that the answer leads to.
local function events_of(answer, given, config)
  local host = host_with(given, config)
  host:http("POST " .. URL, answer)
  local client = host:connect()
  local run = client:execute("Hello", "remote")
  host:advance(60)
  return client:events(run), host, client
end

local function types_of(events)
  local types = {}
  for i, event in ipairs(events) do
    types[i] = event.type
  end
  return types
end

local completed = { type = "agent_completed", response = "done" }

--- The code and the text that the run fails with.
local function failure_of(answer, given, config)
  local events, host = events_of(answer, given, config)
  local last = events[#events]
  assert.equal("agent_error", last.type)
  return last.data.code, last.data.message, host, events
end

describe("agent.http", function()
  it("asks with who, where and what, and with nothing that was not chosen", function()
    local host = host_with
      [[bearer = "s3cret", headers = { ["X-Team"] = "blue" }, identity = { "roles", "none" }]]
    host:http("POST " .. URL, sse(completed))
    local client = host:connect()
    local run = client:execute({ message = "Hello", depth = 2 }, "remote")
    local request = host:requests()[1]
    assert.same({
      run_id = run,
      agent = "remote",
      connection_id = client.id,
      user_id = "ada",
      identity = { roles = { "admin" } },
      context = { tenant = "acme", plan = "gold" },
      message = "Hello",
      input = { message = "Hello", depth = 2, agent_type = "remote" },
    }, request.json)
    assert.equal("Bearer s3cret", request.headers.authorization)
    assert.equal("text/event-stream", request.headers.accept)
    assert.equal("blue", request.headers["x-team"])
    assert.equal(run, request.headers["idempotency-key"])
  end)

  it("sends chosen fields of the context, or none", function()
    local rows = { ['context = { "plan" }'] = { plan = "gold" }, ["context = false"] = false }
    for given, expected in pairs(rows) do
      local _, host = events_of(sse(completed), given)
      assert.same(expected or nil, host:requests()[1].json.context)
    end
  end)

  for name, form in pairs{ sse = sse, ndjson = ndjson } do
    it("carries out every event: " .. name, function()
      local events = events_of(form(
        { type = "agent_started", run_id = "theirs", seq = 41 },
        { type = "agent_thinking", text = "hm", run_id = "theirs", seq = 42, timestamp = "never" },
        { type = "tool_executing",
          data = { tool_call_id = "a", name = "search", arguments = { q = 1 } } },
        { type = "tool_executing", tool_call_id = "b", name = "fetch" },
        { type = "agent_delta", data = { text = "he" } },
        { type = "tool_completed", tool_call_id = "a", result = { 1, 2 } },
        { type = "tool_completed", tool_call_id = "b", error = "no such page" },
        { type = "agent_delta", text = "llo" },
        { type = "agent_completed", response = { text = "hello" } }
      ), ('stream = "%s"'):format(name))
      assert.same({
        "agent_started", "agent_thinking", "tool_executing", "tool_executing", "agent_delta",
        "tool_completed", "tool_completed", "agent_delta", "agent_completed",
      }, types_of(events))
      assert.same({ q = 1 }, events[3].data.arguments)
      assert.equal(events[3].data.tool_call_id, events[6].data.tool_call_id)
      assert.same({ 1, 2 }, events[6].data.result)
      assert.equal("no such page", events[7].data.error)
      assert.equal("fetch", events[7].data.name)
      assert.same({ text = "hello" }, events[9].data.response)
      for i, event in ipairs(events) do
        assert.equal(i, event.seq)
        assert.not_equal("theirs", event.run_id)
        assert.not_equal("never", event.timestamp)
      end
    end)
  end

  it("takes the event's name as its type, and passes comments over", function()
    local events = events_of{
      headers = { ["Content-Type"] = "text/event-stream; charset=utf-8" },
      body = ": alive\n\nevent: agent_delta\ndata: {\"text\":\n: alive\ndata: \"hi\"}\n\n"
        .. "event: agent_completed\ndata: {\"response\":null}\n\n",
    }
    assert.same({ "agent_started", "agent_delta", "agent_completed" }, types_of(events))
    assert.equal("hi", events[2].data.text)
    assert.equal(json.null, events[3].data.response)
  end)

  it("passes over empty lines and events that it does not know", function()
    local events, host = events_of(
      ndjson("", "  ", { type = "agent_dreaming", text = "x" }, completed), 'stream = "ndjson"',
      { ["log.level"] = "debug" })
    assert.same({ "agent_started", "agent_completed" }, types_of(events))
    assert.equal(1, #host:logs "policy.log")
  end)

  it("hears nothing after the end", function()
    local events = events_of(sse(completed, { type = "agent_delta", text = "late" }, completed, "no json"))
    assert.same({ "agent_started", "agent_completed" }, types_of(events))
  end)

  it("keeps the pairs of tools that the upstream left open", function()
    local events = events_of(sse({ type = "tool_executing", tool_call_id = 7, name = "t" }, completed))
    assert.same({ "agent_started", "tool_executing", "tool_completed", "agent_completed" },
      types_of(events))
    assert.matches("run ended", events[3].data.error)
  end)

  it("passes the upstream's own errors on", function()
    local code, text = failure_of(sse{ type = "agent_error", code = "no_credit", message = "buy some" })
    assert.same({ "no_credit", "buy some" }, { code, text })
    for _, strange in ipairs{ "Has Blanks", "", ("x"):rep(65), 7, { 1 } } do
      code, text = failure_of(sse{ type = "agent_error", code = strange })
      assert.same({ "upstream_error", "the upstream failed" }, { code, text })
    end
  end)

  -- what comes -> what the client is told of it
  local wrong = {
    { { sse "{broken" }, "an event is no JSON object" },
    { { sse "[1]" }, "an event without type" },
    { { sse "3" }, "an event is no JSON object" },
    { { sse { text = "x" } }, "an event without type" },
    { { sse { type = 7 } }, "an event without type" },
    { { sse { type = "agent_delta" } }, "agent_delta without text" },
    { { sse { type = "agent_thinking", text = { 1 } } }, "agent_thinking without text" },
    { { sse { type = "tool_completed", tool_call_id = "x" } }, "tool_completed without its tool_executing" },
    { { sse { type = "tool_completed" } }, "tool_completed without its tool_executing" },
    { { sse { type = "tool_executing", name = "t" } }, "tool_executing without tool_call_id" },
    { { sse { type = "tool_executing", tool_call_id = "x" } }, "tool_executing without the tool's name" },
    { { sse { type = "tool_executing", tool_call_id = "x", name = ("n"):rep(129) } },
      "tool_executing without the tool's name" },
    { { sse({ type = "tool_executing", tool_call_id = "x", name = "t" },
      { type = "tool_executing", tool_call_id = "x", name = "t" }) },
      "tool_executing twice with the same tool_call_id" },
    { { sse({ type = "agent_delta", text = "half" }) }, "the upstream ended early" },
    { { sse() }, "the upstream ended early" },
    { { { body = "hello" } }, "the upstream's answer is no text/event-stream" },
    { { { status = 204 } }, "the upstream's answer is no text/event-stream" },
    { { { status = 302, headers = { Location = "http://o.example/" } } }, "the upstream's answer is none" },
    { { sse { type = "agent_delta", text = ("x"):rep(2000) }, "max_event = 1000" },
      "the upstream sent more at once than is allowed" },
    { { ndjson { type = "agent_delta", text = ("x"):rep(2000) }, 'stream = "ndjson", max_event = 1000' },
      "the upstream sent more at once than is allowed" },
    { { ndjson "{broken", 'stream = "ndjson"' }, "an event is no JSON object" },
    { { { body = "\255" }, 'stream = "json"' }, "the answer is not UTF-8 text" },
    { { { json = { answer = 1 } }, 'stream = "json"' }, "the answer has no response" },
    { { { body = "{", headers = { ["Content-Type"] = "application/json" } }, 'stream = "json"' },
      "the answer is no JSON object" },
  }
  for i, row in ipairs(wrong) do
    it(("ends the run with bad_upstream_answer: %d, %s"):format(i, row[2]), function()
      local code, text, host = failure_of(row[1][1], row[1][2])
      assert.same({ "bad_upstream_answer", row[2] }, { code, text })
      assert.equal(1, #host:requests(), "nothing that came is asked for again")
      assert.equal(1, #host:logs "policy.log")
    end)
  end

  it("answers with one JSON answer, or text", function()
    local events = events_of({ json = { response = { 1, 2 } } }, 'stream = "json"')
    assert.same({ 1, 2 }, events[#events].data.response)
    events = events_of({ body = "plain", headers = { ["Content-Type"] = "text/plain" } }, 'stream = "json"')
    assert.equal("plain", events[#events].data.response)
    local refusal = { json = { error = { code = "no_credit", message = "buy" } } }
    local code, text = failure_of(refusal, 'stream = "json"')
    assert.same({ "no_credit", "buy" }, { code, text })
  end)

  -- status or fault -> code, requests
  local refused = {
    { { status = 500 }, "upstream_unavailable", 1 },
    { { status = 502 }, "upstream_unavailable", 3 },
    { { status = 503 }, "upstream_unavailable", 3 },
    { { status = 503, headers = { ["Retry-After"] = "1" } }, "upstream_unavailable", 3 },
    { { status = 503, headers = { ["Retry-After"] = "3600" } }, "upstream_unavailable", 1 },
    { { status = 504 }, "upstream_timeout", 1 },
    { { status = 429 }, "rate_limited", 3 },
    { { status = 401 }, "upstream_refused", 1 },
    { "refused", "upstream_unavailable", 3 },
    { "resolve", "upstream_unavailable", 3 },
    { "reset", "upstream_unavailable", 3 },
    { "tls", "upstream_unavailable", 1 },
    { "timeout", "upstream_timeout", 1 },
    { "protocol", "bad_upstream_answer", 1 },
  }
  for i, row in ipairs(refused) do
    it(("tries again only what nothing came of: %d, %s"):format(i, row[2]), function()
      for _, given in ipairs{ "", 'stream = "ndjson"', 'stream = "json"' } do
        local code, text, host = failure_of(row[1], given)
        assert.equal(row[2], code)
        assert.not_matches("example", text)
        assert.equal(row[3], #host:requests())
      end
    end)
  end

  it("comes through in the second attempt, and retries = 0 has none", function()
    local asked = 0
    local function answer()
      asked = asked + 1
      return asked > 1 and sse(completed) or "refused"
    end
    local events = events_of(answer)
    assert.equal("agent_completed", events[#events].type)
    assert.equal(2, asked)
    local _, _, host = failure_of("refused", "retries = 0")
    assert.equal(1, #host:requests())
  end)

  it("never asks again once something came", function()
    local answer = sse{ type = "agent_delta", text = "half" }
    answer.chunks, answer.body = { answer.body, { fault = "reset", delay = 1 } }, nil
    local code, text, host, events = failure_of(answer)
    assert.same({ "upstream_unavailable", "the upstream broke off its answer" }, { code, text })
    assert.equal("half", events[2].data.text)
    assert.equal(1, #host:requests())
  end)

  it("waits no longer than its time-outs", function()
    local function silent(delay)
      local answer = sse(completed)
      answer.chunks, answer.body = { ": alive\n", { answer.body, delay = delay } }, nil
      return answer
    end
    assert.equal("upstream_timeout", (failure_of(silent(30), "idle_timeout = 5")))
    assert.equal("upstream_timeout", (failure_of(silent(30), "timeout = 5")))
    assert.equal("upstream_timeout", (failure_of({ delay = 30 }, 'stream = "json", timeout = 5')))
    assert.equal("agent_completed", (events_of(silent(4), "timeout = 5"))[2].type)
    -- the pauses between attempts count, too
    local _, _, host = failure_of("refused", "timeout = 0.1")
    assert.equal(1, #host:requests())
  end)

  it("leaves an upstream alone that keeps failing, and comes back", function()
    local host = host_with "retries = 0, circuit = { failures = 2, pause = 10 }"
    host:http("POST " .. URL, "refused")
    local client = host:connect()
    local function ask()
      local events = client:events(client:execute("x", "remote"))
      return events[#events].data
    end
    assert.equal("upstream_unavailable", ask().code)
    assert.equal("upstream_unavailable", ask().code)
    host:http("POST " .. URL, sse(completed))
    assert.equal("upstream_unavailable", ask().code)
    assert.equal(2, #host:requests())
    host:advance(10)
    host:http("POST " .. URL, sse{ type = "agent_error", code = "upstream_unavailable" })
    assert.equal("the upstream failed", ask().message)
    host:http("POST " .. URL, "refused")
    ask()
    assert.equal(4, #host:requests(), "one failure after a success is one failure")
    ask()
    ask()
    assert.equal(5, #host:requests())
  end)

  it("ends the request with its run", function()
    local host = host_with()
    local answer = sse{ type = "tool_executing", tool_call_id = "x", name = "t" }
    answer.chunks, answer.body = { answer.body, { sse(completed).body, delay = 20 } }, nil
    host:http("POST " .. URL, answer)
    local client = host:connect()
    local run = client:execute("x", "remote")
    client:cancel(run)
    host:advance(30)
    assert.same({ "agent_started", "tool_executing", "tool_completed", "agent_error" },
      types_of(client:events(run)))
    assert.equal("cancelled", client:expect("agent_error").data.code)
  end)

  it("keeps the order of events whatever comes in whatever order", function()
    local pieces = {
      { type = "agent_started" }, { type = "agent_thinking", text = "t" },
      { type = "agent_delta", text = "d" },
      { type = "tool_executing", tool_call_id = 1, name = "one" },
      { type = "tool_executing", tool_call_id = "2", name = "two", arguments = json.null },
      { type = "tool_completed", tool_call_id = 1, result = json.null },
      { type = "tool_completed", tool_call_id = "2", error = { "no text" } },
      { type = "something_else" }, "not json",
      { type = "agent_completed" }, { type = "agent_error", code = 5 },
    }
    local host = host_with 'stream = "ndjson", circuit = false'
    local client = host:connect()
    math.randomseed(7)
    for _ = 1, 200 do
      local some = {}
      for i = 1, math.random(0, 12) do
        some[i] = pieces[math.random(#pieces)]
      end
      host:http("POST " .. URL, ndjson(unpack(some)))
      local events = client:events(client:execute("x", "remote"))
      local open, last = 0, events[#events].type
      for i, event in ipairs(events) do
        open = open + (event.type == "tool_executing" and 1 or event.type == "tool_completed" and -1 or 0)
        assert.is_true(open >= 0)
        assert.equal(i == 1, event.type == "agent_started")
        assert.equal(i == #events, event.type == "agent_completed" or event.type == "agent_error")
      end
      assert.equal(0, open)
      assert.is_true(last == "agent_completed" or last == "agent_error")
    end
    assert.equal("processing_ready", client.state)
  end)

  -- options as text -> what is wrong with them
  local misuse = {
    { "agent.http()", "a table expected" },
    { "agent.http{}", "url is missing" },
    { 'agent.http{ url = "ftp://x" }', "url: an http or https address expected" },
    { 'agent.http{ url = "http://x", steam = 1 }', "there is no option steam" },
    { 'agent.http{ url = "http://x", stream = "xml" }', 'stream: "sse", "ndjson" or "json" expected' },
    { 'agent.http{ url = "http://x", timeout = 0 }', "timeout: seconds" },
    { 'agent.http{ url = "http://x", retries = 1.5 }', "retries: a whole number" },
    { 'agent.http{ url = "http://x", identity = { 1 } }', "identity: names of fields" },
    { 'agent.http{ url = "http://x", context = 1 }', "context: a list of fields" },
    { 'agent.http{ url = "http://x", circuit = { failures = 0, pause = 1 } }', "circuit: " },
    { 'agent.http{ url = "http://x", circuit = true }', "circuit: " },
    { 'agent.http{ url = "http://x", max_event = 0 }', "max_event: a number of bytes" },
  }
  for _, row in ipairs(misuse) do
    it("says at the policy's line what is wrong: " .. row[1], function()
      local source = 'local agent = require "tidegate.agent"\nlocal a = ' .. row[1]
        .. '\nreturn { authenticate = function() return { user_id = "u" } end, agents = { a = a } }'
      assert.error_matches(function() testing.host{ source = source } end,
        "init.lua:2: agent.http: " .. row[2], 1, true)
    end)
  end
end)

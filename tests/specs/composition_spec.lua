-- Agents that call agents: whatever ends them, a run's events stand inside those of the run that called it.
local testing = require "tidegate.testing"

local AGENTS = [[
local json = require "tidegate.json"
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = {}
function policy.authenticate(_, credentials) return { user_id = credentials.bearer or "u" } end
policy.agents = {
  echo = function(run, input) time.sleep(1) return input end,
  detailed = function() return "text", { usage = { tokens = 3 } } end,
  nothing = function() end,
  unlucky = function() return nil, "no luck today", "unlucky" end,
  raises = function() error("secret") end,
  spins = function() while true do end end,
  relays = function(run) return run:hand_off("echo", "third") end,
  slow = function(run) run:delta("slow") time.sleep(60) return "late" end,
  limited = { run = function() time.sleep(60) end, timeout = 2.5 },
  two_tools = { run = function(run) for i = 1, 3 do run:tool("t", i, function() end) end return "never" end,
    max_tool_calls = 2 },
  spends = function(run, input) return run:spend{ tokens = input.tokens } end,
  single = { run = function(run) time.sleep(5) return "single" end, max_concurrent_per_user = 1 },
  nests = function(run, input) if input.depth == 1 then time.sleep(60) end
    return run:call("nests", { depth = input.depth - 1 }) end,
]]

local host, client

-- A host whose agent `actor` is this code.
local function act(code, options)
  options = options or {}
  if not code:match("^{") then
    code = "function(run, input) " .. code .. "\nend"
  end
  options.source = AGENTS .. "actor = " .. code .. "\n}\nreturn policy"
  host = testing.host(options)
  client = host:connect()
  return client:execute("x", "actor")
end

-- Checks the order of everything so far; `open`: runs may be under way. Answers the last event of a run.
local function check(run_id, open)
  local phase, parents, last = {}, {}, nil
  for i, event in ipairs(client:events()) do
    assert.equal(i, event.seq)
    local id = event.run_id
    assert.equal(event.type == "agent_started" and "new" or "begun", phase[id] or "new")
    assert.equal(phase[id] == nil and event.parent_run_id or parents[id], event.parent_run_id)
    parents[id] = event.parent_run_id
    if event.parent_run_id then
      assert.equal("begun", phase[event.parent_run_id])
    end
    phase[id] = (event.type == "agent_completed" or event.type == "agent_error") and "over" or "begun"
    if id == run_id and phase[id] == "over" then last = event end
  end
  for _, value in pairs(phase) do
    assert.is_true(open or value == "over")
  end
  return last
end

local function finish(code, options)
  local run = act(code, options)
  host:advance(120)
  return check(run).data
end

describe("run:call", function()
  it("answers with the other's response, as a client sees it", function()
    assert.same({ n = { 1, 2 } }, finish('return run:call("echo", { n = { 1, 2 } })').response)
    assert.same({}, finish('return run:call("echo")').response)
    assert.same({ "text", 3 },
      finish('local text, more = run:call("detailed") return { text, more.usage.tokens }').response)
    assert.is_true(finish('return run:call("nothing") == json.null').response)
  end)

  it("answers with why there is none", function()
    local rows = {
      { "unlucky", "no luck today", "unlucky" },
      { "raises", "the agent failed", "script_error" },
      { "spins", "the agent computed too long without waiting", "cpu_budget" },
      { "limited", "the run took longer than it may", "timeout" },
      { "two_tools", "the run called more than 2 tools", "tool_budget" },
      { "nobody", 'there is no agent "nobody"', "unknown_agent" },
    }
    for _, row in ipairs(rows) do
      local code = 'local r, why, code = run:call("%s") return { r == nil, why, code }'
      local data = finish(code:format(row[1]))
      assert.same({ true, row[2], row[3] }, data.response)
    end
  end)

  it("ends the run that passes a failure on with the same", function()
    local data = finish('return run:call("unlucky")')
    assert.same({ code = "unlucky", message = "no luck today" }, data)
  end)

  it("runs several at once, and joins", function()
    local run = act([[
      local found, failed = tide.all{
        a = function() return run:call("echo", "A") end,
        b = function() return run:call("echo", "B") end,
        c = function() return run:call("unlucky") end,
      }
      return { found.a, found.b, failed.c }
    ]])
    host:advance(1)
    assert.same({ "A", "B", "no luck today" }, check(run).data.response)
  end)

  it("cancels the others when one of several raises", function()
    local data = finish([[
      local ok = pcall(tide.all, {
        function() return run:call("slow") end,
        function() time.sleep(1) error("enough") end,
      })
      time.sleep(1)
      return ok
    ]])
    assert.is_false(data.response)
    local events = client:events()
    assert.equal("the run that called it gave it up", events[#events - 1].data.message)
  end)

  it("can be cancelled with its task", function()
    local data = finish([[
      local task = tide.spawn(run.call, run, "slow")
      time.sleep(1)
      task:cancel()
      time.sleep(0.5)
      return { task:wait() }
    ]])
    assert.equal("cancelled", data.response[2])
    assert.equal(1500, data.duration_ms)
  end)

  it("works inside coroutines and tools", function()
    assert.equal("x", finish([[
      return coroutine.wrap(function()
        return run:tool("t", nil, function() return run:call("echo", "x") end)
      end)()]]).response)
  end)

  it("is for the agent of the run only, and takes plain data", function()
    for code, why in pairs{
      ['run:call()'] = "run:call: an agent's name",
      ['run:call("")'] = "run:call: an agent's name",
      ['run.call("echo")'] = "run:call: run expected, got string",
      ['run:call("echo", print)'] = "run:call: input is a function",
      ['run:hand_off("echo", { run })'] = "run:hand_off: input[1] is userdata",
      ['run:spend(3)'] = "run:spend: { tokens = NUMBER } expected",
      ['run:spend{ tokens = -1 }'] = "run:spend: { tokens = NUMBER } expected",
      ['run:spend{ tokens = 0/0 }'] = "run:spend: { tokens = NUMBER } expected",
    } do
      assert.matches(why, finish("return select(2, pcall(function() " .. code .. " end))").response, 1, true)
    end
    host = testing.host{ source = AGENTS:gsub("policy.agents = {", [[
      local kept
      function policy.message(conn)
        conn:send{ type = "why", why = select(2, pcall(kept.call, kept, "echo")) }
      end
      policy.agents = { keeps = function(run) kept = run time.sleep(60) end,]]) .. "}\nreturn policy" }
    client = host:connect()
    client:execute("x", "keeps")
    client:send{ type = "go" }
    assert.matches("run:call: only the agent whose run it is can do this", client:expect("why").why, 1, true)
  end)
end)

describe("the end of a run that has called others", function()
  it("is also theirs, when its client cancels it", function()
    local run = act('return run:call("nests", { depth = 4 })')
    client:cancel(run)
    assert.equal("cancelled", check(run).data.code)
    assert.equal(10, #client:events())
  end)

  it("is also theirs, when it takes too long", function()
    local run = act('{ timeout = 3, run = function(run) return run:call("nests", { depth = 3 }) end }')
    host:advance(3)
    assert.equal("timeout", check(run).data.code)
  end)

  it("is also theirs, when it returns, raises, computes too long or fails to be sent", function()
    local rows = {
      { "return 1" }, { "error('x')", "script_error" }, { "while true do end", "cpu_budget" },
      { "return print", "script_error" }, { "return nil, 'x'", "agent_failed" },
    }
    for i = 1, #rows do
      local data = finish("tide.spawn(run.call, run, 'slow') time.sleep(1) " .. rows[i][1])
      assert.equal(rows[i][2], data.code)
      assert.equal(5, #client:events())
    end
  end)

  it("is also theirs, when the connection is lost, wherever they are", function()
    for at = 0, 8 do
      act([[tide.all{
        function() return run:call("nests", { depth = 3 }) end,
        function() time.sleep(0.5) return run:call("echo") end,
        function() time.sleep(1) return run:hand_off("slow") end,
      }]])
      host:advance(at / 4)
      assert.is_true(host:metrics("tidegate_runs") > 0)
      client:drop()
      host:advance(0.1)
      assert.equal(0, host:metrics("tidegate_runs") or 0)
      host:close()
    end
  end)

  it("comes after theirs, when the old policy's time is up after a reload", function()
    local run = act('return run:call("nests", { depth = 3 })',
      { config = { ["reload.drain_timeout"] = "5s" } })
    assert(host:reload{ source = AGENTS .. "}\nreturn policy" })
    host:advance(6)
    assert.equal("reloaded", check(run).data.code)
  end)
end)

describe("a run under way when the policy is reloaded", function()
  it("goes on calling the agents of its own version", function()
    local run = act('time.sleep(2) return run:call("echo", "old")')
    local changed = AGENTS:gsub("return input end", 'return "new" end', 1)
    assert(host:reload{ source = changed .. "}\nreturn policy" })
    host:advance(5)
    assert.equal("old", check(run).data.response)
    local versions = {}
    for _, event in ipairs(client:events()) do versions[event.policy_version] = true end
    assert.is_nil(next(versions, next(versions)))
  end)
end)

describe("run:hand_off", function()
  it("ends the run with the other's response", function()
    local run = act('run:hand_off("echo", "theirs") run:delta("not reached") return "mine"')
    host:advance(1)
    local last = check(run)
    local events = client:events()
    assert.equal("theirs", last.data.response)
    assert.equal(events[#events - 1].run_id, last.data.handed_off_to)
    assert.equal(4, #events)
  end)

  it("ends it with the other's error", function()
    local data = finish('return run:hand_off("unlucky")')
    assert.same({ "unlucky", "no luck today" }, { data.code, data.message })
    assert.is_string(data.handed_off_to)
  end)

  it("goes on to a third", function()
    local data = finish('return run:hand_off("relays")')
    local events = client:events()
    assert.equal("third", data.response)
    assert.equal(events[#events - 1].run_id, data.handed_off_to)
    assert.equal(events[#events - 2].run_id, events[#events - 1].data.handed_off_to)
  end)

  it("cancels what else the run has called", function()
    finish('tide.spawn(run.call, run, "slow") time.sleep(1) return run:hand_off("echo", 1)')
    local events = client:events()
    assert.equal("slow", events[#events - 1].agent)
    assert.equal("cancelled", events[#events - 1].data.code)
  end)

  it("returns when the other cannot begin", function()
    assert.same({ false, 'there is no agent "nobody"', "unknown_agent" },
      finish('local r, why, code = run:hand_off("nobody") return { r ~= nil, why, code }').response)
  end)
end)

describe("budgets", function()
  it("bound how deep and how many", function()
    assert.equal("too_deep", finish('return run:call("nests", { depth = 9 })').code)
    local data = finish([[
      local codes = {}
      local calls = {}
      for i = 1, 5 do calls[i] = function() codes[i] = select(3, run:call("echo", i)) or "ok" end end
      tide.all(calls)
      return codes
    ]], { config = { ["runs.max_children"] = 3 } })
    table.sort(data.response)
    assert.same({ "ok", "ok", "ok", "too_many_runs", "too_many_runs" }, data.response)
  end)

  it("tell what is left of tokens, and end the run that spends more", function()
    assert.same({ 90, 40 }, finish([[{ max_tokens = 100, run = function(run)
      return { run:spend{ tokens = 10 }, (run:call("spends", { tokens = 49.5 })) } end }]]).response)
    assert.is_true(finish("return run:spend{ tokens = 5 } == math.huge").response)
    local data = finish('{ max_tokens = 100, run = function(run) run:call("spends", { tokens = 101 }) end }')
    assert.same({ code = "token_budget", message = "the run used more than 100 tokens" }, data)
  end)

  it("end a run over its tools", function()
    assert.equal("tool_budget", finish('return run:call("two_tools")').code)
  end)

  it("bound an agent's runs by user", function()
    local data = finish([[
      local codes = {}
      tide.all{ function() codes[1] = select(3, run:call("single")) or "ok" end,
        function() codes[2] = select(3, run:call("single")) or "ok" end }
      table.sort(codes)
      return codes
    ]])
    assert.same({ "ok", "too_many_runs" }, data.response)
    client = host:connect()
    local other, stranger = host:connect(), host:connect{ bearer = "stranger" }
    client:execute("x", "single")
    other:execute("x", "single")
    stranger:execute("x", "single")
    host:advance(6)
    assert.equal("too_many_runs", other:expect("error").data.code)
    assert.equal("single", client:expect("agent_completed").data.response)
    assert.equal("single", stranger:expect("agent_completed").data.response)
  end)

  it("bound all runs of a user, on all connections", function()
    act("time.sleep(5) return 1", { config = { ["runs.max_per_user"] = 2 } })
    local other, stranger = host:connect(), host:connect{ bearer = "stranger" }
    other:execute("x", "actor")
    other:execute("x", "actor")
    stranger:execute("x", "actor")
    assert.equal("too_many_runs", other:expect("error").data.code)
    host:advance(6)
    assert.is_string(other:execute("x", "actor"))
    assert.equal(1, stranger:expect("agent_completed").data.response)
  end)
end)

describe("an agent's table", function()
  it("is refused for what it cannot be", function()
    for code, why in pairs{
      ["{ run = 1 }"] = "a table without a function run",
      ["{ timeout = 3 }"] = "a table without a function run",
      ["{ run = print, timeout = 0 }"] = "timeout of the agent actor must be a number of seconds over 0",
      ["{ run = print, max_tokens = 1.5 }"] = "max_tokens of the agent actor must be a whole number",
      ["{ run = print, max_tokns = 1 }"] = 'did you mean "max_tokens"?',
      ["{ run = print, colour = 1 }"] = "it may have run, timeout",
    } do
      local ok, err = pcall(act, code)
      assert.is_false(ok)
      assert.matches(why, tostring(err), 1, true)
    end
  end)
end)

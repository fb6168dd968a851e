-- Run with: tidegate test tests/specs/agent_process_spec.lua
local testing = require "tidegate.testing"

--- A host whose agent `child` is agent.process{ command = { "python3", "agent.py" }, … }; `given` is the rest
--- of its options, as text.
local function host_with(given, config)
  return testing.host{ config = config, source = ([[
local agent = require "tidegate.agent"
local policy = {}
function policy.authenticate()
  return { user_id = "ada", roles = { "admin" }, private = "do not send" }
end
function policy.create_context() return { tenant = "acme", plan = "gold" } end
policy.agents = { child = agent.process{ command = { "python3", "agent.py" }, %s } }
return policy]]):format(given or "") }
end

local COMMAND = "python3 agent.py"
local completed = { type = "agent_completed", response = "done" }

--- The events of a run that the process answers so.
local function events_of(pieces, given)
  local host = host_with(given)
  host:process(COMMAND, pieces)
  local client = host:connect()
  local run = client:execute("Hello", "child")
  host:advance(100)
  return client:events(run), host, client
end

local function failure_of(pieces, given)
  local events, host = events_of(pieces, given)
  local last = events[#events]
  assert.equal("agent_error", last.type)
  return last.data.code, last.data.message, host, events
end

local function mistake_of(given)
  local ok, why = pcall(host_with, given)
  assert.is_false(ok)
  return why
end

--- The types of what the process was sent.
local function sent_to(process)
  local types = {}
  for i, message in ipairs(process.messages) do
    types[i] = message.type
  end
  return types
end

describe("agent.process", function()
  it("asks with who, where and what, and with nothing that was not chosen", function()
    local host = host_with [[identity = { "roles" }, context = { "tenant" },
      env = { MODEL = "small", PYTHONUTF8 = "1" }]]
    host:process(COMMAND, { completed })
    local client = host:connect()
    local run = client:execute({ message = "Hello", depth = 2 }, "child")
    local process = host:processes()[1]
    assert.same({
      type = "agent_execution",
      run_id = run,
      agent = "child",
      connection_id = client.id,
      user_id = "ada",
      identity = { roles = { "admin" } },
      context = { tenant = "acme" },
      message = "Hello",
      input = { message = "Hello", depth = 2, agent_type = "child" },
    }, process.messages[1])
    assert.same({ "python3", "agent.py" }, process.command)
    assert.equal("small", process.env.MODEL)
    assert.equal("1", process.env.PYTHONUTF8)
    assert.equal("1", process.env.PYTHONUNBUFFERED)
    assert.equal("done", client:expect("agent_completed").data.response)
  end)

  it("keeps its process for the next runs, and answers several at once", function()
    local host = host_with()
    host:process(COMMAND, function(message)
      if message.type == "agent_execution" then
        return {
          { { type = "agent_delta", text = message.message }, delay = 1 },
          { type = "agent_completed", response = message.message },
        }
      end
    end)
    local clients = { host:connect(), host:connect() }
    for i, client in ipairs(clients) do
      client:execute("w" .. i, "child")
    end
    host:advance(2)
    for i, client in ipairs(clients) do
      assert.equal("w" .. i, client:expect("agent_delta").data.text)
      assert.equal("w" .. i, client:expect("agent_completed").data.response)
    end
    assert.equal(1, #host:processes())
  end)

  it("lets lines pass that are for nobody", function()
    local events, host = events_of{
      "print() was here", "[]", "7", "", '{"type":"agent_delta","text":"no run"}',
      { type = "agent_delta", run_id = "run_of_another", text = "x" }, completed,
    }
    assert.equal("agent_completed", events[#events].type)
    assert.equal(2, #events)
    local dropped = host:logs "process.line_dropped"
    assert.equal("print() was here", dropped[1].fields.text)
    assert.equal("it is no JSON object", dropped[1].fields.why)
  end)

  it("ends a run whose events cannot be carried out, and says so to the process", function()
    local code, text, host = failure_of{ { type = "agent_delta" } }
    assert.equal("bad_upstream_answer", code)
    assert.equal("agent_delta without text", text)
    assert.same({ "agent_execution", "agent_cancel" }, sent_to(host:processes()[1]))
  end)

  it("hands on the agent's own error", function()
    local code, text, host = failure_of{ { type = "agent_error", code = "no_idea", message = "Ask again." } }
    assert.equal("no_idea", code)
    assert.equal("Ask again.", text)
    assert.same({ "agent_execution" }, sent_to(host:processes()[1]))
  end)

  it("cancels what is silent", function()
    local late = { { type = "agent_delta", text = "a" }, delay = 4 }
    local code, _, host = failure_of({ late }, "idle_timeout = 5")
    assert.equal("upstream_timeout", code)
    assert.same({ "agent_execution", "agent_cancel" }, sent_to(host:processes()[1]))
  end)

  it("cancels what takes too long, though it is not silent", function()
    local pieces = {}
    for i = 1, 20 do
      pieces[i] = { { type = "agent_delta", text = "a" }, delay = 1 }
    end
    local code, _, _, events = failure_of(pieces, "idle_timeout = 5, timeout = 10")
    assert.equal("upstream_timeout", code)
    assert.is_true(#events > 8 and #events < 13)
  end)

  it("tells the process of a cancel and of a client that goes", function()
    local host = host_with()
    host:process(COMMAND, {})
    local client = host:connect()
    local run = client:execute("Hello", "child")
    client:cancel(run)
    assert.equal("cancelled", client:expect("agent_error").data.code)
    local other = client:execute("Hello", "child")
    client:drop()
    host:advance(1)
    local messages = host:processes()[1].messages
    assert.same({ type = "agent_cancel", run_id = run }, messages[2])
    assert.same({ type = "agent_cancel", run_id = other }, messages[4])
  end)

  it("waits longer before each start of a process that ends at once, and then leaves it alone", function()
    local host = host_with "circuit = { failures = 4, pause = 20 }"
    host:process(COMMAND, { { exit = 1 } })
    local client = host:connect()
    local starts = {}
    for i = 1, 4 do
      local began = host:now()
      client:execute("Hello", "child")
      while #client:events() < 2 * i do
        host:advance(0.05)
      end
      starts[i] = math.floor((host:now() - began) * 10 + 0.5) / 10
      assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
    end
    assert.same({ 0.0, 0.1, 0.2, 0.4 }, starts)
    client:execute("Hello", "child")
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
    assert.equal(4, #host:processes())
    assert.equal(1, #host:logs "process.left_alone")
    host:advance(21)
    host:process(COMMAND, { completed })
    client:execute("Hello", "child")
    assert.equal("done", client:expect("agent_completed").data.response)
  end)

  it("asks the next one once when a process that works has ended without a word", function()
    local host, asked = host_with(), 0
    host:process(COMMAND, function()
      asked = asked + 1
      return asked == 1 and { completed } or { { exit = 0 } }
    end)
    local client = host:connect()
    client:execute("Hello", "child")
    client:expect "agent_completed"
    client:execute("Hello", "child")
    host:advance(10)
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
    assert.equal(2, #host:processes())
    assert.equal(3, asked)
  end)

  it("does not ask again for a run of which something has come", function()
    local host, asked = host_with(), 0
    host:process(COMMAND, function()
      asked = asked + 1
      return asked == 1 and { completed } or { { { type = "agent_delta", text = "a" }, exit = 0 } }
    end)
    local client = host:connect()
    client:execute("Hello", "child")
    client:execute("Hello", "child")
    host:advance(10)
    assert.equal("upstream_unavailable", client:expect("agent_error").data.code)
    assert.equal(1, #host:processes())
  end)

  it("leaves runs with the process of their version", function()
    local host = host_with()
    host:process(COMMAND, { { completed, delay = 5 } })
    local client = host:connect()
    client:execute("Hello", "child")
    local source = [[
local agent = require "tidegate.agent"
return {
  authenticate = function() return { user_id = "ada" } end,
  agents = { child = agent.process{ command = { "python3", "new.py" } } },
}]]
    assert(host:reload{ source = source })
    host:process("python3 new.py", { completed })
    local other = host:connect()
    other:execute("Hello", "child")
    other:expect "agent_completed"
    local old = host:processes(COMMAND)[1]
    assert.is_true(old.running)
    host:advance(6)
    client:expect "agent_completed"
    assert.is_false(old.running)
    assert.is_true(host:processes("python3 new.py")[1].running)
  end)

  it("names what is wrong with its options, at the policy's line", function()
    local function refused(options)
      local ok, why = pcall(testing.host, { source = ([[
local agent = require "tidegate.agent"
local policy = { authenticate = function() end }
policy.agents = { a = agent.process(%s) }
return policy]]):format(options) })
      assert.is_false(ok)
      assert.matches("init%.lua:3: agent%.process: ", why)
      return why
    end
    assert.matches("command is missing", refused "{}")
    assert.matches("a table expected", refused '"python3"')
    assert.matches("command: a list such as", refused '{ command = "python3 agent.py" }')
    assert.matches("command: a list such as", refused "{ command = {} }")
    assert.matches("command: a list such as", refused '{ command = { "a", 7 } }')
    assert.matches("command: a list such as", refused '{ command = { "a", "b\\0c" } }')
    assert.matches("env: names .* and texts", refused '{ command = { "a" }, env = { ["A=B"] = "c" } }')
    for _, name in ipairs { "LD_PRELOAD", "PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "BASH_ENV",
      "NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "LUA_INIT", "GCONV_PATH", "OPENSSL_CONF",
      "JAVA_TOOL_OPTIONS" } do
      local why = refused(('{ command = { "a" }, env = { %s = "x" } }'):format(name))
      assert.matches("env: .*none of LD_.*which bring other code", why)
    end
    assert.matches("max_event: a number of bytes", refused '{ command = { "a" }, max_event = 1e9 }')
    assert.matches("there is no option shell", refused '{ command = { "a" }, shell = true }')
  end)

  it("is declared once, and not for each run", function()
    local host = testing.host{ source = [[
local agent = require "tidegate.agent"
return {
  authenticate = function() return { user_id = "ada" } end,
  agents = { a = function() return agent.process{ command = { "python3" } } end },
}]] }
    local client = host:connect()
    client:execute("Hello", "a")
    assert.equal("script_error", client:expect("agent_error").data.code)
    assert.matches("top of the file", host:logs("run.failed")[1].fields.message)
  end)

  it("fails a spec that plays nothing", function()
    local host = host_with()
    local client = host:connect()
    local ok, why = pcall(client.execute, client, "Hello", "child")
    assert.is_false(ok)
    assert.matches("starts python3 agent%.py and no host:process plays that", why)
    assert.matches("no option nothing", mistake_of "nothing = true")
  end)
end)

-- policy.services: checks that make a connection degraded while something is missing.
local testing = require "tidegate.testing"

local function host_with(lines, options)
  options = options or {}
  options.source = [[
local json = require "tidegate.json"
local kv = require "tidegate.kv"
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = {}
function policy.authenticate(conn) return { user_id = "u", before = next(conn.services) == nil } end
function policy.create_context() return { tenant = "t" } end
policy.agents = {
  tell = function(run) return tide.copy(run.conn.services) end,
  writes = function(run) run.conn.services.a = true end,
}
function policy.message(_, message)
  if message.data then kv.set(message.type, message.data) else kv.delete(message.type) end
end
]] .. lines .. "\nreturn policy"
  return testing.host(options)
end

-- Missing while kv says why.
local KEYED = [[
local function keyed(name) return function() local why = kv.get(name) return why == nil, why end end
]]

local function told(client)
  client:execute("x", "tell")
  local events = client:events()
  return events[#events].data.response
end

describe("services", function()
  it("that are all there let a connection become ready", function()
    local client = host_with([[
      policy.services = {
        a = function(conn, context) return conn.user_id == "u" and context.tenant == "t" end,
        b = function() return true end }]]):connect()
    assert.equal("connecting accepted authenticated services_ready processing_ready",
      table.concat(client:states(), " "))
    assert.same({ a = true, b = true }, told(client))
    assert.is_true(client.identity.before)
  end)

  it("that are missing are named, each with its reason", function()
    local host = host_with([[
      policy.services = { b = function() return nil, "no route" end, a = function() return nil end,
        c = function() return false, "off" end, d = function() return true end }]])
    local client = host:connect()
    assert.equal("degraded", client.state)
    assert.equal("a: missing; b: no route; c: off", client:expect("connection_ready").data.reason)
    assert.same({ a = "missing", b = "no route", c = "off", d = true }, told(client))
  end)

  it("are asked again until they are there", function()
    local host = host_with(KEYED .. "policy.services = { a = keyed 'a', b = keyed 'b' }")
    local other = host:connect()
    other:send{ type = "a", data = "down" }
    local client = host:connect()
    assert.equal("degraded", client.state)
    host:advance(3)
    assert.equal("degraded", client.state)
    assert.same({ a = "down", b = true }, told(client))
    other:send{ type = "a" }
    host:advance(8)
    assert.equal("processing_ready", client.state)
    assert.same({ a = true, b = true }, told(client))
    assert.matches("degraded reconnecting degraded .*reconnecting processing_ready",
      table.concat(client:states(), " "))
  end)

  it("that go away later are asked again until they are back", function()
    local host = host_with(KEYED .. [[
      policy.services = { a = keyed "a" }
      policy.agents.asks = function(run)
        time.sleep(1)
        if kv.get "a" then run.conn:degrade("a went away") end
        return tostring(run.conn:degrade("again"))
      end
      policy.binary = function(conn, bytes) conn:send { type = "said", data = { conn:degrade(bytes) } } end]])
    local other, client = host:connect(), host:connect()
    assert.equal("processing_ready", client:expect("connection_ready").data.state)
    other:send { type = "a", data = "down" }
    -- During a run it waits for the run's end.
    client:execute("x", "asks")
    host:advance(1)
    assert.equal("degraded", client.state)
    assert.equal("true", client:expect("agent_completed").data.response)
    local ready = client:expect("connection_ready").data
    assert.same({ "degraded", "a went away" }, { ready.state, ready.reason })
    host:advance(3)
    assert.equal("degraded", client.state)
    assert.same({ a = "down" }, told(client))
    other:send { type = "a" }
    host:advance(8)
    assert.equal("processing_ready", client:expect("connection_ready").data.state)
    assert.same({ a = true }, told(client))
    -- Without a run it is so at once.
    client:send_binary "gone"
    assert.equal("degraded", client.state)
    assert.same({ true }, client:expect("said").data)
    host:advance(2)
    assert.equal("processing_ready", client.state)
    assert.matches("processing_ready degraded reconnecting processing_ready$",
      table.concat(client:states(), " "))
  end)

  it("cannot be said to be missing during setup, by nobody, or without a word", function()
    local host = host_with [[
      function policy.prepare(conn)
        local ok, why = conn:degrade("x")
        return nil, tostring(ok) .. " " .. why
      end]]
    assert.equal("nil not ready", host:connect().close_reason)
    host = host_with [[
      policy.binary = function(conn) conn:degrade() end
      policy.closed = function(conn) require("tidegate.kv").set("late", { conn:degrade("x") }) end]]
    local client = host:connect()
    client:send_binary "x"
    assert.equal(1011, client.close_code)
    local logged = host:logs("hook.failed")[1].fields
    assert.matches("a text that says what is missing expected, got nothing", logged.message, 1, true)
  end)

  it("are asked all at once, and one that hangs is missing", function()
    local host = host_with([[
      policy.services = {
        a = function() time.sleep(3) return true end,
        b = function() time.sleep(3) return true end,
        hangs = function() time.sleep(100) end }]])
    local client = host:connect()
    host:advance(4.9)
    assert.equal("authenticated", client.state)
    host:advance(0.2)
    assert.equal("degraded", client.state)
    assert.same({ a = true, b = true, hangs = "took too long to answer" }, told(client))
  end)

  it("come after the policy's own prepare, when that says yes", function()
    local rows = {
      { "return true", "processing_ready", true },
      { "return tide.degraded('mine')", "degraded" },
      { "return nil, 'no'", "failed" },
      { "return true, 'but no'", "failed" },
      { "return true, nil, 3", "failed" },
      { "return", "failed" },
      { "error('x')", "failed" },
    }
    for i = 1, #rows do
      local host = host_with("function policy.prepare(conn, context) " .. rows[i][1] .. " end\n"
        .. "policy.services = { a = function() kv.set('asked', true) return true end }\n"
        .. "policy.agents.asked = function() return kv.get('asked') == true end")
      local client = host:connect()
      assert.equal(rows[i][2], client.state)
      if client.state ~= "failed" then
        client:execute("x", "asked")
        assert.equal(rows[i][3] == true, client:expect("agent_completed").data.response)
      end
      host:close()
    end
  end)

  it("never let anybody in by a fault", function()
    for _, code in ipairs{
      "return 'yes'", "return {}", "return 1", "error('x')", "while true do end", "return nil, {}",
      "conn.id = 'x'",
    } do
      local host = host_with("policy.services = { a = function(conn) " .. code .. " end }")
      assert.equal("failed", host:connect().state)
      host:close()
    end
  end)

  it("cannot be written by agents", function()
    local client = host_with("policy.services = { a = function() return true end }"):connect()
    client:execute("x", "writes")
    assert.equal("failed", client.state)
  end)

  it("need not be there", function()
    local host = host_with("")
    local client = host:connect()
    assert.equal("processing_ready", client.state)
    assert.same({}, told(client))
  end)

  it("that a reload takes away are not missing any more", function()
    local host = host_with("policy.services = { a = function() return nil end }")
    local client = host:connect()
    assert.equal("degraded", client.state)
    assert(host:reload{ source = "return { authenticate = function() end }" })
    host:advance(5)
    assert.equal("processing_ready", client.state)
  end)

  it("must be functions with names", function()
    for code, why in pairs{
      ["5"] = "services is a number, not a table",
      ["{ a = 1 }"] = "the service a is a number; it must be a function(conn, context)",
      ["{ print }"] = "services have names",
    } do
      local ok, err = pcall(host_with, "policy.services = " .. code)
      assert.is_false(ok)
      assert.matches(why, tostring(err), 1, true)
    end
  end)
end)

local testing = require "tidegate.testing"

local function source(lines)
  return [[
local tide = require "tidegate"
local policy = { agents = {} }
function policy.authenticate(conn, credentials) return { user_id = "u" } end
]] .. lines .. "\nreturn policy"
end

local function told(version)
  return source(("function policy.agents.tell(run) return %q end"):format(version))
end

describe("options", function()
  it("that are misspelt are warned of", function()
    local declaring = [[
      return {
        options = { issuer = { type = "string" }, keys = { type = "table" },
          up = { url = { type = "string" } } },
        authenticate = function() return { user_id = "u" } end,
      }]]
    local function warned(options)
      local lines = testing.host({ source = declaring, options = options }):logs "policy.option_unknown"
      return lines[1] and lines[1].fields.option .. " " .. lines[1].fields.did_you_mean
    end
    assert.equal("isuer issuer", warned { isuer = "x" })
    assert.equal("up.ulr up.url", warned { up = { ulr = "x" } })
    assert.is_nil(warned { issuer = "x", keys = { isuer = "k" }, up = { url = "x" }, other = "x" })
  end)
end)

describe("a host", function()
  it("does not start with a policy that does not load", function()
    assert.error_matches(function() testing.host{ source = "return {}" } end, "authenticate")
    assert.error_matches(function() testing.host{ source = "local = 1" } end, "init.lua:1:")
    assert.error_matches(function() testing.host "no_such_policy.lua" end, "no_such_policy.lua")
    assert.error_matches(function() testing.host{} end, "a policy is a path")
    assert.error_matches(function() testing.host{ source = source "", option = {} } end,
      "there is no option option")
  end)

  it("takes a policy of several files", function()
    local host = testing.host{ files = {
      ["init.lua"] = 'local store = require "users.store" ' .. source
        "function policy.agents.tell() return store.name end",
      ["users/store.lua"] = "return { name = 'from the store' }",
    } }
    local client = host:connect()
    client:execute("x", "tell")
    assert.equal("from the store", client:expect("agent_completed").data.response)
  end)

  it("has the options and the configuration that it is given", function()
    local host = testing.host{
      source = source [[
        policy.options = { greeting = { type = "string", required = true } }
        function policy.agents.tell() return tide.options.greeting .. tide.options.deep.level end]],
      options = { greeting = "Hi", deep = { level = 2 } },
      config = { ["limits.max_message"] = "1KiB" },
    }
    local client = host:connect()
    client:execute("x", "tell")
    assert.equal("Hi2", client:expect("agent_completed").data.response)
    client:send(("x"):rep(2000))
    assert.equal(1009, client.close_code)
  end)

  it("says which value of the configuration is wrong", function()
    assert.error_matches(function()
      testing.host{ source = source "", config = { ["limits.max_mesage"] = 1 } }
    end, "limits.max_message")
  end)

  it("takes a new version without dropping anybody, and goes back", function()
    local host = testing.host{ source = told "one" }
    local client = host:connect()
    local first = host:version()
    assert.equal(first, client.policy_version)
    assert.is_string(host:reload{ source = told "two" })
    assert.not_equal(first, host:version())
    client:execute("x", "tell")
    assert.equal("two", client:expect("agent_completed").data.response)
    assert.equal(first, host:rollback())
    client:execute("x", "tell")
    assert.equal("one", client:expect("agent_completed").data.response)
    assert.equal("processing_ready", client.state)
  end)

  it("goes on with the old version when a new one does not load", function()
    local host = testing.host{ source = told "one" }
    local version, why = host:reload{ source = "return 7" }
    assert.is_nil(version)
    assert.matches("init.lua", why)
    local client = host:connect()
    client:execute("x", "tell")
    assert.equal("one", client:expect("agent_completed").data.response)
    local nothing
    nothing, why = host:rollback()
    assert.is_nil(nothing)
    assert.matches("no earlier version", why)
  end)

  it("stops in order", function()
    local host = testing.host{ source = source [[
      function policy.agents.slow() require("tidegate.time").sleep(5) return "done" end]] }
    local idle, busy, stuck = host:connect(), host:connect(), host:connect()
    busy:execute("x", "slow")
    stuck:execute("x", "slow")
    stuck:execute("x", "slow")
    host:drain()
    assert.equal(1001, idle.close_code)
    assert.equal("processing", busy.state)
    host:advance(6)
    assert.equal("done", busy:expect("agent_completed").data.response)
    assert.equal(1001, busy.close_code)
  end)

  it("counts as a server does", function()
    local host = testing.host{ source = source "function policy.message() error('oops') end" }
    host:connect()
    host:connect():send{ type = "x" }
    assert.equal(2, host:metrics "tidegate_connections_opened_total")
    assert.equal(1, host:metrics("tidegate_hook_outcomes_total", { hook = "message", outcome = "error" }))
    assert.is_nil(host:metrics "tidegate_no_such_metric")
  end)

  it("counts what scripts share", function()
    local host = testing.host{ source = source [[
      function policy.message() require("tidegate.kv").set("a", 1) end]] }
    host:connect():send{ type = "x" }
    assert.equal(1, host:metrics "tidegate_kv_entries")
    assert.equal(1, host:metrics("tidegate_kv_operations_total", { operation = "set" }))
  end)

  it("keeps the log, with tracebacks", function()
    local host = testing.host{ source = source [[
      function policy.message(conn) local function deep() error("the roof leaks") end deep() end]] }
    local client = host:connect()
    client:send{ type = "x" }
    assert.equal(1011, client.close_code)
    local failure = host:logs("hook.failed")[1]
    assert.equal("error", failure.level)
    assert.equal(client.id, failure.fields.id)
    local text = require("tidegate.json").encode(failure.fields)
    assert.matches("the roof leaks", text, 1, true)
    assert.matches("traceback", text, 1, true)
    assert.matches("the roof leaks", require("tidegate._busted").report(), 1, true)
  end)

  it("kills a script that never ends, and lives on", function()
    local host = testing.host{ source = source [[
      function policy.message() while true do end end
      function policy.agents.loop() while true do pcall(function() while true do end end) end end
      function policy.agents.fine() return "fine" end]] }
    local hostile = host:connect()
    hostile:send{ type = "x" }
    assert.equal(1011, hostile.close_code)
    local client = host:connect()
    client:execute("x", "loop")
    assert.equal("cpu_budget", client:expect("agent_error").data.code)
    client:execute("x", "fine")
    assert.equal("fine", client:expect("agent_completed").data.response)
    assert.error_matches(function()
      testing.host{ source = "while true do end" }
    end, "script.cpu_budget")
  end)

  it("keeps a script in its sandbox", function()
    local host = testing.host{ source = source [[
      function policy.message(conn)
        conn:send{ type = "seen", io = tostring(pcall(function() return io.open end)) }
      end]] }
    local client = host:connect()
    client:send{ type = "x" }
    assert.equal("false", client:expect("seen").io)
    assert.error_matches(function()
      testing.host{ source = 'require "tidegate.testing" ' .. source "" }
    end, "tidegate test")
  end)

  it("can be closed twice, and is of no use then", function()
    local host = testing.host{ source = source "" }
    local client = host:connect()
    host:close()
    host:close()
    assert.error_matches(function() return client.state end, "the host is closed")
    assert.error_matches(function() host:advance(1) end, "the host is closed")
  end)

  it("goes when the spec has lost hold of it", function()
    local descriptors = function()
      local count = 0
      for _ in require("lfs").dir("/proc/self/fd") do count = count + 1 end
      return count
    end
    local before = descriptors()
    for _ = 1, 100 do testing.host{ source = source "" }:connect() end
    collectgarbage()
    assert.is_true(descriptors() <= before)
  end)

  it("does not share anything with another", function()
    local one = testing.host{ source = told "one", time = 1700000000 }
    local two = testing.host{ source = told "two", time = 1800000000 }
    one:advance(10)
    assert.equal(1800000000, two:now())
    local a, b = one:connect(), two:connect()
    a:execute("x", "tell")
    b:execute("x", "tell")
    assert.equal("one", a:expect("agent_completed").data.response)
    assert.equal("two", b:expect("agent_completed").data.response)
  end)
end)

local testing = require "tidegate.testing"

local function host_with(lines, options)
  options = options or {}
  options.source = [[
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = { agents = {} }
function policy.authenticate(conn, credentials)
  return { user_id = "u", expires_at = tonumber(credentials.query.expires) }
end
]] .. lines .. "\nreturn policy"
  return testing.host(options)
end

describe("the clock of a host", function()
  it("stands still until it is moved", function()
    local host = host_with("", { time = 1700000000 })
    assert.equal(1700000000, host:now())
    host:connect()
    assert.equal(1700000000, host:now())
    assert.equal(1700000090.5, host:advance(90.5))
  end)

  it("goes on for thirty years and says when that is not enough", function()
    local host = host_with([[
      function policy.agents.sleeper(run, input)
        time.sleep(input.seconds)
        return input.seconds
      end]], { time = 1700000000 })
    assert.equal(2600000000, host:advance(9e8))
    assert.has_error(function()
      host:advance(2e8)
    end, "advance: a host's clock goes on for 1e9 seconds in all; make another host")
    assert.has_error(function()
      host:advance(0 / 0)
    end, "advance: seconds expected, 0 or more")
    local client = host:connect()
    client:execute({ message = "sleep", seconds = 5 }, "sleeper")
    host:advance(4.9)
    assert.equal(1, #client:events())
    host:advance(0.1)
    assert.equal(5, client:expect("agent_completed").data.response)
  end)

  it("is the one that scripts read", function()
    local host = host_with([[
      function policy.message(conn)
        conn:send{ type = "time", now = time.now(), os = os.time(), date = os.date("!%Y-%m-%d %H:%M:%S") }
      end]], { time = 1700000000 })
    local client = host:connect()
    client:send{ type = "now" }
    local answer = client:expect "time"
    assert.same({ 1700000000, 1700000000, "2023-11-14 22:13:20" }, { answer.now, answer.os, answer.date })
    host:advance(3600)
    client:send{ type = "now" }
    answer = client:expect "time"
    assert.same({ 1700003600, 1700003600, "2023-11-14 23:13:20" }, { answer.now, answer.os, answer.date })
  end)

  it("wakes what sleeps, in order", function()
    local host = host_with [[
      function policy.agents.sleeper(run, input)
        time.sleep(input.seconds)
        return input.seconds
      end]]
    local client = host:connect()
    for _, seconds in ipairs{ 3, 1, 2 } do
      client:execute({ message = "sleep", seconds = seconds }, "sleeper")
    end
    host:advance(0.5)
    assert.equal(3, #client:events())
    host:advance(10)
    local order = {}
    for _, event in ipairs(client:events()) do
      if event.type == "agent_completed" then order[#order + 1] = event.data.response end
    end
    assert.same({ 1, 2, 3 }, order)
  end)

  it("times what a run takes", function()
    local host = host_with [[
      function policy.agents.sleeper(run) time.sleep(2.5) return true end]]
    local client = host:connect()
    client:execute("x", "sleeper")
    host:advance(5)
    assert.equal(2500, client:expect("agent_completed").data.duration_ms)
  end)

  it("ends identities when their time is up", function()
    local host = host_with("", { time = 1700000000 })
    local client = host:connect{ query = { expires = 1700000100 } }
    assert.is_nil(select(2, pcall(client.expect, client, "auth_expiring")).type)
    host:advance(45)
    client:expect "auth_expiring"
    host:advance(54)
    assert.equal("idle", client.state)
    host:advance(2)
    assert.equal(4401, client.close_code)
  end)

  it("makes a silent client idle, and pings it", function()
    local host = host_with("", { config = { limits = { idle_after = "10s", ping_interval = "30s" } } })
    local client = host:connect()
    host:advance(11)
    assert.equal("idle", client.state)
    host:advance(60)
    assert.equal("idle", client.state)
    client:stall()
    host:advance(60)
    assert.equal("failed", client.state)
  end)

  it("ends hooks and runs that take too long", function()
    local host = host_with([[
      function policy.message() time.sleep(80000) end
      function policy.agents.slow() time.sleep(80000) end]],
      { config = { ["script.wall_budget"] = "10s", ["runs.timeout"] = "20s" } })
    local client = host:connect()
    client:execute("x", "slow")
    host:advance(21)
    assert.equal("timeout", client:expect("agent_error").data.code)
    client:send{ type = "x" }
    host:advance(11)
    assert.equal(1011, client.close_code)
  end)

  it("is that of kv and of timers", function()
    local host = host_with [[
      local kv, timer = require "tidegate.kv", require "tidegate.timer"
      timer.every(60, function() kv.incr("ticks") end)
      function policy.message(conn, message)
        if message.type == "set" then kv.set("short", "here", { ttl = 30 }) end
        conn:send{ type = "seen", short = kv.get("short"), ticks = kv.get("ticks") }
      end]]
    local client = host:connect()
    client:send{ type = "set" }
    assert.same({ type = "seen", short = "here" }, client:expect "seen")
    host:advance(29)
    client:send{ type = "get" }
    assert.equal("here", client:expect("seen").short)
    host:advance(211)
    client:send{ type = "get" }
    assert.same({ type = "seen", ticks = 4 }, client:expect "seen")
  end)

  it("retries a degraded service with growing pauses", function()
    local host = host_with [[
      local tries = 0
      function policy.prepare()
        tries = tries + 1
        if tries < 3 then return tide.degraded("no database") end
        return true
      end]]
    local client = host:connect()
    assert.equal("degraded", client.state)
    host:advance(1)
    assert.equal("degraded", client.state)
    host:advance(2)
    assert.equal("processing_ready", client.state)
  end)
end)

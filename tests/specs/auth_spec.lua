--- The blocks of tidegate.auth: every outcome of what is inside, in every block.
local testing = require "tidegate.testing"

local head = [[
local tide = require "tidegate"
local auth = require "tidegate.auth"
local crypto = require "tidegate.crypto"
local kv = require "tidegate.kv"
local time = require "tidegate.time"
local function count(block)
  return function(conn, credentials)
    kv.incr("asked")
    return block(conn, credentials)
  end
end
local yes = count(function() return { user_id = "ada", from = "yes" } end)
local yes2 = count(function() return { user_id = "ada", from = "yes2", extra = 1 } end)
local other = function() return { user_id = "bob" } end
local no = count(function() return nil, "no" end)
local no2 = function() return nil, "no2" end
local missing = function() return nil, "nothing there", "missing" end
local forbidden = function() return nil, "forbidden", 403 end
local rejected = function() return tide.reject(429, "slow down") end
local wait = count(function(_, credentials)
  if credentials.message then return { user_id = "late" } end
  return tide.need_message()
end)
local raises = count(function() error "boom" end)
local wrong = count(function() return true end)
local function answers(...)
  local values, n = { ... }, select("#", ...)
  return count(function() return unpack(values, 1, n) end)
end
local policy = { agents = {} }
function policy.message(conn, message)
  if message.type == "asked" then conn:send { type = "asked", n = kv.get "asked" or 0 } end
end
]]

local function host_for(authenticate, more)
  local options = { source = head .. "policy.authenticate = " .. authenticate .. "\nreturn policy" }
  for name, value in pairs(more or {}) do options[name] = value end
  return testing.host(options)
end

--- "user", "4401 reason", or "wait".
local function outcome(client)
  if client.close_code then return client.close_code .. " " .. client.close_reason end
  return client.user_id or client.state == "accepted" and "wait" or client.state
end

local function result_of(authenticate)
  return outcome(host_for(authenticate):connect())
end

local function check_rows(rows)
  for _, row in ipairs(rows) do
    assert.equal(row[2], result_of(row[1]), row[1])
  end
end

local FAULT = "1011 policy error"

describe("tidegate.auth", function()
  it("any_of: the first that admits; a fault is never skipped", function()
    check_rows {
      { "auth.any_of { yes }", "ada" }, { "auth.any_of { no }", "4401 no" },
      { "auth.any_of { wait }", "wait" }, { "auth.any_of { raises }", FAULT },
      { "auth.any_of { wrong }", FAULT },
      { "auth.any_of { yes, no }", "ada" }, { "auth.any_of { yes, raises }", "ada" },
      { "auth.any_of { yes, wrong }", "ada" }, { "auth.any_of { yes, wait }", "ada" },
      { "auth.any_of { yes, other }", "ada" }, { "auth.any_of { no, yes }", "ada" },
      { "auth.any_of { no, no2 }", "4401 no" }, { "auth.any_of { no, wait }", "wait" },
      { "auth.any_of { no, raises }", FAULT }, { "auth.any_of { no, wrong }", FAULT },
      { "auth.any_of { wait, yes }", "ada" }, { "auth.any_of { wait, no }", "wait" },
      { "auth.any_of { wait, wait }", "wait" }, { "auth.any_of { wait, raises }", FAULT },
      { "auth.any_of { wait, wrong }", FAULT },
      { "auth.any_of { raises, yes }", FAULT }, { "auth.any_of { raises, no }", FAULT },
      { "auth.any_of { raises, wait }", FAULT }, { "auth.any_of { wrong, yes }", FAULT },
      { "auth.any_of { wrong, no }", FAULT }, { "auth.any_of { wrong, wait }", FAULT },
      { "auth.any_of { missing, no, no2 }", "4401 no" }, { "auth.any_of { missing }", "4401 nothing there" },
      { "auth.any_of { rejected, no }", "4429 slow down" }, { "auth.any_of { forbidden }", "4403 forbidden" },
      { "auth.any_of { auth.any_of { no, raises }, yes }", FAULT },
    }
  end)

  it("all_of: all must admit the same user, up to the first that does not", function()
    check_rows {
      { "auth.all_of { yes }", "ada" }, { "auth.all_of { no }", "4401 no" },
      { "auth.all_of { wait }", "wait" }, { "auth.all_of { raises }", FAULT },
      { "auth.all_of { wrong }", FAULT },
      { "auth.all_of { yes, yes2 }", "ada" },
      { "auth.all_of { yes, other }", "4401 credentials of different users" },
      { "auth.all_of { yes, no }", "4401 no" }, { "auth.all_of { yes, wait }", "wait" },
      { "auth.all_of { yes, raises }", FAULT }, { "auth.all_of { yes, wrong }", FAULT },
      { "auth.all_of { no, yes }", "4401 no" }, { "auth.all_of { no, raises }", "4401 no" },
      { "auth.all_of { wait, no }", "wait" }, { "auth.all_of { wait, yes }", "wait" },
      { "auth.all_of { raises, yes }", FAULT }, { "auth.all_of { wrong, yes }", FAULT },
      { "auth.all_of { forbidden, yes }", "4403 forbidden" },
      { "auth.all_of { auth.any_of { no, wait }, yes }", "wait" },
    }
  end)

  it("all_of merges: the first to say something, roles of both, the earliest expiry", function()
    local function merged(first, second, options)
      return host_for(("auth.all_of({ answers(%s), answers(%s) }%s)"):format(first, second, options or ""),
        { time = 1e9 }):connect().identity
    end
    assert.same({ user_id = "u", a = 1, b = 2, expires_at = 1e9 + 60 }, merged(
      "{ user_id = 'u', a = 1, expires_at = 1e9 + 90 }",
      "{ user_id = 'u', a = 9, b = 2, expires_at = 1e9 + 60 }"))
    assert.equal(1e9 + 60, merged("{ user_id = 'u' }", "{ user_id = 'u', expires_at = 1e9 + 60 }").expires_at)
    local one, two = "{ user_id = 'u', roles = { 'a', 'b' } }", "{ user_id = 'u', roles = { 'b', 'c' } }"
    assert.same({ "b" }, merged(one, two).roles)
    assert.same({ "a", "b", "c" }, merged(one, two, ", { roles = 'union' }").roles)
    assert.same({ "a", "b" }, merged(one, "{ user_id = 'u' }").roles)
    assert.same({ "b", "c" }, merged("{ user_id = 'u' }", two).roles)
    assert.equal(FAULT,
      result_of "auth.all_of { yes, answers { user_id = 'ada', roles = { admin = true } } }")
  end)

  it("first_message asks nobody before the message", function()
    for block, after in pairs { yes = "ada", no = "4401 no", raises = FAULT, wrong = FAULT, wait = "late" } do
      local client = host_for("auth.first_message(" .. block .. ")"):connect()
      assert.equal("wait", outcome(client), block)
      client:authenticate "t"
      assert.equal(after, outcome(client), block)
    end
  end)

  it("map changes who is admitted and nothing else", function()
    check_rows {
      { "auth.map(yes, function(i) i.user_id = 'x-' .. i.user_id return i end)", "x-ada" },
      { "auth.map(yes, function() return nil, 'not you', 403 end)", "4403 not you" },
      { "auth.map(yes, function() return tide.need_message() end)", "wait" },
      { "auth.map(yes, function() end)", FAULT }, { "auth.map(yes, function() error 'x' end)", FAULT },
      { "auth.map(no, function() return { user_id = 'x' } end)", "4401 no" },
      { "auth.map(wait, function() return { user_id = 'x' } end)", "wait" },
      { "auth.map(raises, function() return { user_id = 'x' } end)", FAULT },
      { "auth.map(wrong, function() return { user_id = 'x' } end)", FAULT },
    }
  end)

  it("map gives its function an identity of its own", function()
    local host = host_for [[auth.map((function()
      local same = { user_id = "u", n = 1 }
      return function() return same end
    end)(), function(identity) identity.n = identity.n + 1 return identity end)]]
    for _ = 1, 3 do assert.equal(2, host:connect().identity.n) end
  end)

  it("roles asks for one of those that are needed and translates", function()
    local NONE = "4403 none of the roles that are needed"
    local function roles(list, options)
      local block = "answers { user_id = 'u', roles = " .. list .. " }"
      return host_for("auth.roles(" .. block .. ", " .. options .. ")"):connect()
    end
    assert.equal("u", outcome(roles("{ 'a', 'b' }", "{ require_any = { 'b' } }")))
    assert.equal(NONE, outcome(roles("{ 'a' }", "{ require_any = { 'b' } }")))
    assert.equal(NONE, outcome(roles("nil", "{ require_any = { 'b' } }")))
    assert.same({ "x", "y" }, roles("{ 'a', 'b', 'c' }",
      "{ map = { a = 'x', b = { 'y', 'x' } } }").identity.roles)
    assert.same({ "A" }, roles("{ 'a' }", "{ map = string.upper }").identity.roles)
    assert.equal(NONE,
      outcome(roles("{ 'b' }", "{ require_any = { 'b' }, map = { b = 'c' } }")))
    assert.equal(FAULT, outcome(roles("'admin'", "{ require_any = { 'admin' } }")))
    assert.equal(FAULT, outcome(roles("{ admin = true }", "{ require_any = { 'admin' } }")))
    check_rows {
      { "auth.roles(no, { require_any = { 'b' } })", "4401 no" },
      { "auth.roles(wait, { require_any = { 'b' } })", "wait" },
      { "auth.roles(raises, { require_any = { 'b' } })", FAULT },
      { "auth.roles(wrong, { require_any = { 'b' } })", FAULT },
    }
  end)

  it("takes nothing but the four outcomes from a block", function()
    local wrongs = {
      "", "nil", "nil, nil, 403", "nil, 42", "nil, {}", "nil, 'no', 200", "nil, 'no', 403.5", "nil, 'no', {}",
      "nil, 'no', 403, 1", "false, 'no'", "'ada'", "1", "print", "{}", "{ user_id = '' }", "{ user_id = 7 }",
      "{ user_id = ('u'):rep(257) }", "{ user_id = 'u' }, 'but'", "{ user_id = 'u' }, nil, 1",
      "setmetatable({}, { __index = { user_id = 'u' } })", "{ user_id = 'u', expires_at = '9' }",
      "{ user_id = 'u', expires_at = 1/0 }", "tide.need_message(), 'x'", "tide.reject(403), 'x'",
      "tide.degraded 'x'", "{ user_id = 'u' }, nil, nil, 1",
    }
    for _, values in ipairs(wrongs) do
      assert.equal(FAULT, result_of("auth.any_of { answers(" .. values .. "), yes }"), values)
    end
    assert.equal("4401 no", result_of "answers(nil, 'no', 'expired')")
    assert.equal("4403 no", result_of "answers(nil, 'no', 403)")
    assert.equal("u", result_of "auth.any_of { answers({ user_id = 'u' }, nil, nil, nil) }")
  end)

  it("raises what is wrong with its arguments at the policy's line", function()
    local rows = {
      { "auth.any_of {}", "auth.any_of: a list of authenticators expected" },
      { "auth.any_of { yes, 'x' }", "block 2: an authenticator %(function%) expected, got string" },
      { "auth.any_of { yes, roles = 1 }", "has no field" },
      { "auth.all_of({ yes }, { roles = 'x' })", '"intersect" or "union" expected' },
      { "auth.all_of({ yes }, { rolls = 'x' })", 'there is no option "rolls"' },
      { "auth.first_message()", "an authenticator %(function%) expected, got nil" },
      { "auth.cache(yes, {})", "key is missing" },
      { "auth.cache(yes, { key = print, ttl = -1 })", "ttl: a number of 0 or more" },
      { "auth.cache(yes, { key = print, ttl = '1' })", "ttl: number expected, got string" },
      { "auth.rate_limited(yes, { by = 'ip' })", '"address" or "user" expected' },
      { "auth.rate_limited(yes, { attempts = 0 })", "attempts: a number of 1 or more" },
      { "auth.roles(yes, {})", "say require_any, or map, or both" },
      { "auth.map(yes)", "auth.map: a function expected" },
    }
    for _, row in ipairs(rows) do
      assert.error_matches(function() host_for(row[1]) end, row[2])
      assert.error_matches(function() host_for(row[1]) end, "init.lua:%d+:", nil, row[1])
    end
  end)
end)

describe("auth.cache", function()
  local function cached(block, options)
    return ("auth.cache(%s, { key = function(c) return c.bearer end%s })"):format(block, options or "")
  end

  local function asks(host)
    local client = host:connect { bearer = "spy" }
    client:send { type = "asked" }
    return client:expect("asked").n
  end

  -- Everybody with the bearer "spy" is admitted beside the block, so that counters can be read.
  local function host_with(block, options)
    return host_for(
      "auth.any_of { function(_, c) if c.bearer == 'spy' then return other() end return nil, 'x' end, "
        .. cached(block, options) .. " }")
  end

  it("asks once while an answer is kept, for each key, and again when it is old", function()
    local host = host_with("yes", ", ttl = 10")
    for _ = 1, 3 do assert.equal("ada", outcome(host:connect { bearer = "a" })) end
    assert.equal(1, asks(host))
    host:connect { bearer = "b" }
    assert.equal(2, asks(host))
    host:advance(11)
    host:connect { bearer = "a" }
    assert.equal(3, asks(host))
  end)

  it("keeps denials for their own time", function()
    local host = host_with("answers(nil, 'expired', 403)", ", negative_ttl = 3, ttl = 60")
    for _ = 1, 3 do assert.matches("^4401 x", outcome(host:connect { bearer = "a" })) end
    assert.equal(1, asks(host))
    host:advance(4)
    host:connect { bearer = "a" }
    assert.equal(2, asks(host))
    assert.equal("4403 expired", result_of(("auth.cache(answers(nil, 'expired', 403), { key = %s })")
      :format "function() return 'k' end"))
  end)

  it("keeps no fault, no wait, no answer that is not final, and nothing without a key", function()
    local rows = {
      raises = "raises", wrong = "wrong", wait = "wait", busy = "answers(nil, 'busy', 503)",
      limited = "answers(nil, 'slow', 429)", unavailable = "answers(nil, 'gone', 'unavailable')",
      rejected = "answers(tide.reject(503, 'x'))", named = "answers { user_id = 'u', connection_id = 'x' }",
    }
    for name, block in pairs(rows) do
      local host = host_with(block)
      host:connect { bearer = "a" }
      host:connect { bearer = "a" }
      assert.equal(2, asks(host), name)
    end
    local host = host_with "yes"
    host:connect()
    host:connect()
    assert.equal(2, asks(host))
    host = host_with("yes", ", ttl = 0")
    host:connect { bearer = "a" }
    host:connect { bearer = "a" }
    assert.equal(2, asks(host))
  end)

  it("counts what it kept, asked for and shared", function()
    local host = host_for(cached "function(_, c) time.sleep(1) return { user_id = c.bearer } end")
    for _ = 1, 3 do host:connect { bearer = "a" } end
    host:advance(1)
    host:connect { bearer = "a" }
    local function events(name)
      return host:metrics("tidegate_auth_events_total", { event = "cache_" .. name })
    end
    assert.same({ 1, 2, 1 }, { events "miss", events "shared", events "hit" })
  end)

  it("holds nothing of clients that leave while it asks", function()
    local host = host_for(cached "function(_, c) time.sleep(9) return { user_id = c.bearer } end")
    local function drop_many(round, count)
      for i = 1, count do host:connect({ bearer = round .. ":" .. i }):drop() end
      return host:metrics "tidegate_script_memory_bytes"
    end
    local before = drop_many(1, 400)
    assert.is_true(drop_many(2, 1000) - before < 250000)
  end)

  it("keeps nothing beyond the identity's expiry", function()
    local host = host_with("count(function() return { user_id = 'u', expires_at = time.now() + 5 } end)")
    host:connect { bearer = "a" }
    host:advance(4)
    host:connect { bearer = "a" }
    assert.equal(1, asks(host))
    host:advance(2)
    host:connect { bearer = "a" }
    assert.equal(2, asks(host))
  end)

  it("gives each its own copy", function()
    local host = host_for(
      "auth.map(" .. cached "answers { user_id = 'u', n = { 1 } }"
        .. ", function(i) i.n[1] = i.n[1] + 1 return i end)")
    for _ = 1, 3 do assert.same({ 2 }, host:connect({ bearer = "a" }).identity.n) end
  end)

  it("is bounded, and keeps what is used", function()
    local host = host_with("yes", ", max = 4")
    for key in ("abacadaeafa"):gmatch "." do host:connect { bearer = key } end
    assert.equal(6, asks(host)) -- a was never asked again
    host:connect { bearer = "b" }
    assert.equal(7, asks(host)) -- b was dropped
  end)

  local slow = "count(function() time.sleep(5) %s end)"

  it("asks once for all that come meanwhile", function()
    local host = host_with(slow:format "return { user_id = 'u' }")
    local clients = {}
    for i = 1, 5 do clients[i] = host:connect { bearer = "a" } end
    host:advance(5)
    for i = 1, 5 do assert.equal("u", outcome(clients[i])) end
    assert.equal(1, asks(host))
  end)

  it("gives a fault and a busy service's answer to all that wait, and asks anew after it", function()
    for code, why in pairs { ["error 'boom'"] = FAULT, ["return nil, 'busy', 503"] = "4503 busy" } do
      local host = host_for(cached(slow:format(code)))
      local one, two = host:connect { bearer = "a" }, host:connect { bearer = "a" }
      host:advance(5)
      assert.equal(why, outcome(one))
      assert.equal(why, outcome(two))
      local three = host:connect { bearer = "a" }
      assert.equal("wait", outcome(three))
      host:advance(5)
      assert.equal(why, outcome(three))
    end
  end)

  it("lets the next ask when the one that asks is cancelled", function()
    local host = host_with(slow:format "return { user_id = 'u' }")
    local one, two = host:connect { bearer = "a" }, host:connect { bearer = "a" }
    local three = host:connect { bearer = "a" }
    host:advance(2)
    one:drop()
    host:advance(4)
    assert.equal("wait", outcome(two))
    host:advance(1)
    assert.equal("u", outcome(two))
    assert.equal("u", outcome(three))
    assert.equal(2, asks(host))
  end)

  it("is not left waiting by one that is stopped for computing too long", function()
    local host = host_for(cached "function() time.sleep(1) while true do end end")
    local one, two = host:connect { bearer = "a" }, host:connect { bearer = "a" }
    host:advance(1)
    assert.equal("1011 policy computed too long", outcome(one))
    host:advance(1)
    assert.equal("1011 policy computed too long", outcome(two))
    assert.is_nil(host:metrics("tidegate_script_rebuilds_total"))
  end)

  it("keeps answers apart that come meanwhile for other keys", function()
    local host = host_for(cached("function(_, c) time.sleep(1) return { user_id = c.bearer } end"))
    local one, two = host:connect { bearer = "a" }, host:connect { bearer = "b" }
    host:advance(1)
    assert.equal("a", outcome(one))
    assert.equal("b", outcome(two))
  end)

  it("denies when its key function fails or answers something else", function()
    assert.equal(FAULT, result_of "auth.cache(yes, { key = function() error 'x' end })")
    assert.equal(FAULT, result_of "auth.cache(yes, { key = function() return 7 end })")
  end)
end)

describe("auth.rate_limited", function()
  local by_bearer = "function(_, c) if c.bearer == 'good' then return yes() end return nil, 'bad' end"

  local function host_with(options, block)
    return host_for(("auth.rate_limited(%s, { attempts = 3, per = 60%s })")
      :format(block or by_bearer, options or ""))
  end

  it("denies after so many failures, without asking, and says when to come again", function()
    local host = host_with()
    for _ = 1, 3 do assert.equal("4401 bad", outcome(host:connect { bearer = "x" })) end
    host:advance(10)
    assert.equal("4429 too many attempts; retry in 50 s", outcome(host:connect { bearer = "good" }))
    host:advance(51)
    assert.equal("ada", outcome(host:connect { bearer = "good" }))
  end)

  it("counts each address, of IPv6 each network, and no Unix socket", function()
    local function blocked(first, second)
      local host = host_with()
      for _ = 1, 3 do host:connect { remote = first } end
      return host:connect({ remote = second, bearer = "good" }).close_code == 4429
    end
    assert.is_true(blocked("203.0.113.7:1", "203.0.113.7:2"))
    assert.is_false(blocked("203.0.113.7:1", "203.0.113.8:1"))
    assert.is_true(blocked("[2001:db8::1]:1", "[2001:db8:0:0:9::2]:7"))
    assert.is_false(blocked("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"))
    assert.is_false(blocked("unix", "unix"))
  end)

  it("counts each claimed user, from wherever", function()
    local host = host_with ", by = 'user'"
    local function basic(user)
      return { authorization = "Basic " .. ({ ada = "YWRhOng=", bob = "Ym9iOng=" })[user] }
    end
    for i = 1, 3 do host:connect { headers = basic "ada", remote = "203.0.113." .. i .. ":1" } end
    assert.equal(4429, host:connect({ headers = basic "ada", remote = "203.0.113.9:1" }).close_code)
    assert.equal(4401, host:connect({ headers = basic "bob" }).close_code)
    assert.equal(4401, host:connect({}).close_code)
  end)

  it("counts no success, no wait, nothing missing, no fault and nobody's absence", function()
    local blocks = {
      yes = "ada", missing = "4401 nothing there", raises = FAULT, wrong = FAULT, wait = "wait",
      ["answers(nil, 'gone', 'unavailable')"] = "4503 gone", rejected = "4429 slow down",
    }
    for block, expected in pairs(blocks) do
      local host = host_with(nil, block)
      for _ = 1, 5 do assert.equal(expected, outcome(host:connect()), block) end
    end
    local host = host_with(nil, "no")
    for _ = 1, 3 do assert.equal("4401 no", outcome(host:connect())) end
    assert.equal(4429, host:connect().close_code)
  end)

  it("lets no more be under way than may fail, and counts who leaves meanwhile", function()
    local host = host_with(nil, "function() time.sleep(1) return nil, 'bad' end")
    local clients = {}
    for i = 1, 5 do clients[i] = host:connect() end
    for i = 1, 3 do clients[i]:drop() end
    host:advance(2)
    assert.equal(4429, clients[4].close_code)
    assert.equal(4429, clients[5].close_code)
    assert.equal(4429, host:connect().close_code)
  end)

  it("gives back what was none: refused by another limit, not asked, let in", function()
    local host = host_with(", by = { 'address', 'user' }, user = function(c) return c.query.user end", "no")
    local function try(user, address)
      return outcome(host:connect { query = { user = user }, remote = address })
    end
    for _ = 1, 3 do assert.equal("4401 no", try("ada", "203.0.113.1:1")) end
    for _ = 1, 4 do assert.matches("^4429", try("ada", "203.0.113.2:1")) end
    assert.equal("4401 no", try("bob", "203.0.113.2:1"))

    host = host_with(nil, "function() time.sleep(1) return { user_id = 'u' } end")
    local clients = {}
    for i = 1, 8 do clients[i] = host:connect() end
    host:advance(1)
    assert.equal("u", outcome(clients[3]))
    assert.equal(4429, clients[4].close_code)
    assert.equal("wait", outcome(host:connect()))
  end)

  it("forgives nothing when an attempt outlasts its window", function()
    local host = host_for [[auth.rate_limited(function(_, credentials)
      if credentials.bearer then return nil, "bad" end
      time.sleep(5)
      return { user_id = "u" }
    end, { attempts = 1, per = 2 })]]
    local slow = host:connect()
    host:advance(5)
    assert.equal("u", outcome(slow))
    assert.equal("4401 bad", outcome(host:connect { bearer = "x" }))
    assert.equal(4429, host:connect({ bearer = "x" }).close_code)
  end)
end)

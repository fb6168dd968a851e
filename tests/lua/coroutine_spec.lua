-- lua/tidegate/_coroutine.lua on a plain Lua: what the core hands it is handed to it here.
local WAIT = {}

local function fresh()
  local parents = setmetatable({}, { __mode = "kv" })
  local base = { error = error, type = type, xpcall = xpcall, setmetatable = setmetatable }
  base.coroutine = coroutine
  local function guard(handler)
    return handler
  end
  return (assert(loadfile "lua/tidegate/_coroutine.lua")(base, WAIT, parents, guard))
end

--- Runs fn as a call of the host; answers each wait with the next of `answers`. Returns what fn returned.
local function run(fn, answers)
  local host = coroutine.create(fn)
  local asked = 0
  local results = { coroutine.resume(host) }
  while coroutine.status(host) ~= "dead" do
    assert(results[2] == WAIT, "the host was yielded something that is no wait")
    asked = asked + 1
    results = { coroutine.resume(host, answers[asked]) }
  end
  assert(results[1], results[2])
  return asked, unpack(results, 2)
end

local function wait()
  return coroutine.yield(WAIT)
end

describe("_coroutine", function()
  it("passes a wait inside a coroutine to the host and the answer back down", function()
    local library = fresh()
    local asked, first, second = run(function()
      local co = library.create(function(a)
        local answer = wait()
        return a, answer
      end)
      local _, a, answer = library.resume(co, "argument")
      return a, answer
    end, { "slept" })
    assert.equal(1, asked)
    assert.equal("argument", first)
    assert.equal("slept", second)
  end)

  it("does so through several coroutines and wrap", function()
    local library = fresh()
    local asked, result = run(function()
      local outer = library.wrap(function()
        local inner = library.wrap(function()
          return wait() + wait()
        end)
        return inner() * 10
      end)
      return outer()
    end, { 1, 2 })
    assert.equal(2, asked)
    assert.equal(30, result)
  end)

  it("leaves a script's own yields to the script", function()
    local library = fresh()
    local asked, a, b, status = run(function()
      local co = library.create(function()
        library.yield("one")
        return "two"
      end)
      local _, first = library.resume(co)
      local _, second = library.resume(co)
      return first, second, library.status(co)
    end, {})
    assert.equal(0, asked)
    assert.same({ "one", "two", "dead" }, { a, b, status })
  end)

  it("raises what a wrapped function raised", function()
    local library = fresh()
    local _, ok, why = run(function()
      local f = library.wrap(function()
        error("broken", 0)
      end)
      return pcall(f)
    end, {})
    assert.is_false(ok)
    assert.equal("broken", why)
  end)

  it("refuses what is no function and what is no coroutine", function()
    local library = fresh()
    assert.error_matches(function() library.create(1) end, "function expected, got number")
    assert.error_matches(function() library.wrap(nil) end, "function expected, got nil")
    assert.error_matches(function() library.resume({}) end, "coroutine expected, got table")
  end)
end)

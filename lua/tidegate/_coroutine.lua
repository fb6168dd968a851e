--- What policies get as `coroutine` and `xpcall`. Private: loaded by the core, never by require.
--
-- A wait for the host inside a script's coroutine arrives here as a yield of WAIT. It is yielded on, up
-- to the call's own coroutine, and what the host answers is handed down. So sleep and HTTP work inside
-- coroutines without their makers knowing.
--
-- parents[co] is who resumed co, until co yields, ends or fails. A coroutine of the host is never a key,
-- which is how `running` keeps it from scripts: one of them could resume it in place of the host.

local base, WAIT, parents, guard = ...
local error, raw_type, raw_xpcall = base.error, base.type, base.xpcall
local raw = base.coroutine
local create, resume, yield, status, running = raw.create, raw.resume, raw.yield, raw.status, raw.running

-- How deep coroutines may resume each other: each takes some of the thread's own stack, which LuaJIT does
-- not count. level[co] is how deep co was when it was resumed last.
local LEVEL_MAX = 180
local level = base.setmetatable({}, { __mode = "k" })

local M = {}

local function settle(co, ...)
  local ok, first = ...
  if ok and first == WAIT then
    return settle(co, resume(co, yield(WAIT)))
  end
  parents[co] = nil
  return ...
end

local function check(co, name)
  if raw_type(co) ~= "thread" then
    error("bad argument #1 to '" .. name .. "' (coroutine expected, got " .. raw_type(co) .. ")", 3)
  end
end

function M.create(f)
  if raw_type(f) ~= "function" then
    error("bad argument #1 to 'create' (function expected, got " .. raw_type(f) .. ")", 2)
  end
  return create(f)
end

function M.resume(co, ...)
  check(co, "resume")
  if parents[co] then
    return false, "cannot resume non-suspended coroutine"
  end
  local parent = running()
  local depth = (parent and level[parent] or 0) + 1
  if depth > LEVEL_MAX then
    return false, "coroutines resume each other more than " .. LEVEL_MAX .. " deep"
  end
  level[co] = depth
  parents[co] = parent or true
  return settle(co, resume(co, ...))
end

local function unwrap(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

function M.wrap(f)
  if raw_type(f) ~= "function" then
    error("bad argument #1 to 'wrap' (function expected, got " .. raw_type(f) .. ")", 2)
  end
  local co = create(f)
  return function(...)
    return unwrap(M.resume(co, ...))
  end
end

function M.yield(...)
  local co = running()
  if not (co and parents[co]) then
    error("attempt to yield outside a coroutine (to wait, use a function that waits, such as tide.sleep)", 2)
  end
  return yield(...)
end

function M.status(co)
  check(co, "status")
  local state = status(co)
  if state == "suspended" and parents[co] then
    return "normal" -- it waits for the host
  end
  return state
end

function M.running()
  local co = running()
  if co and parents[co] then
    return co
  end
  return nil
end

function M.isyieldable()
  return M.running() ~= nil
end

local function xpcall(f, handler, ...)
  if raw_type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. raw_type(handler) .. ")", 2)
  end
  return raw_xpcall(f, guard(handler), ...)
end

return M, xpcall

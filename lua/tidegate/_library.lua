--- Functions of `table` and `string` that must know read-only tables or need a bound. Private: loaded by
-- the core, never by require.
--
-- In Lua and not in C because LuaJIT's functions are tail-called from here: what they raise names the
-- caller's line, as without us.

local base, table, string, core = ...
local type, getmetatable = base.type, base.getmetatable
local is_read_only, refuse, readable, too_large, refuse_size =
  core.is_read_only, core.refuse, core.readable, core.too_large, core.refuse_size

-- insert, remove and sort write without asking a metatable.
local function guarded(original)
  return function(t, ...)
    if (type(t) ~= "table" or getmetatable(t) ~= nil) and is_read_only(t) then
      return refuse(t)
    end
    return original(t, ...)
  end
end

table.insert = guarded(table.insert)
table.remove = guarded(table.remove)
table.sort = guarded(table.sort)

local concat = table.concat
-- The elements are text and numbers, so the table behind may be read. Its size is bounded by the memory
-- of the state.
function table.concat(t, ...)
  if (type(t) ~= "table" or getmetatable(t) ~= nil) and is_read_only(t) then
    return concat(readable(t), ...)
  end
  return concat(t, ...)
end

local rep = string.rep
function string.rep(s, ...)
  if too_large(s, ...) then
    return refuse_size()
  end
  return rep(s, ...)
end

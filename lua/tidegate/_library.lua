--- Functions of `table`, `string` and `os` that must know read-only tables or need a bound. Private: loaded
-- by the core, never by require.
--
-- A hook of the budget does not interrupt a function that is written in C. So whatever could run long in one
-- goes through here: in Lua, in pieces, or refused above a size. What calls a function of the script is in
-- Lua, too: it may wait, and calls within calls use no stack of the thread.
--
-- LuaJIT's functions are tail-called from here, and errors raised two levels up: what they say names the
-- caller's line, as without us.

local base, table, string, os, core, make_sort = ...
local error, type, getmetatable, tonumber = base.error, base.type, base.getmetatable, base.tonumber
local is_read_only, refuse, readable = core.is_read_only, core.refuse, core.readable

local function is_guarded(t)
  return (type(t) ~= "table" or getmetatable(t) ~= nil) and is_read_only(t)
end

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
table.sort = guarded(make_sort(base, table.sort, core.comparable))

-- --- table.concat

local concat = table.concat
local CONCAT_PART = 4096

-- A list of so many elements that LuaJIT would be at it for long.
local function concat_parts(t, separator, first, last)
  local parts, count = {}, 0
  for low = first, last, CONCAT_PART do
    local high = low + CONCAT_PART - 1
    count = count + 1
    parts[count] = concat(t, separator, low, high < last and high or last)
  end
  return concat(parts, separator)
end

-- The elements are text and numbers, so the table behind may be read.
function table.concat(t, separator, first, last)
  if is_guarded(t) then
    t = readable(t)
  end
  if type(t) == "table" then
    local low, high = tonumber(first or 1), tonumber(last or #t)
    if low and high and high - low >= CONCAT_PART then
      return concat_parts(t, separator, low, high)
    end
  end
  return concat(t, separator, first, last)
end

-- --- string

local rep = string.rep
function string.rep(s, ...)
  if core.too_large(s, ...) then
    return core.refuse_size()
  end
  return rep(s, ...)
end

-- The one function of LuaJIT that calls the script from C: __tostring.
local format, check_nesting = string.format, core.check_nesting
function string.format(...)
  check_nesting()
  return format(...)
end

string.find, string.match, string.gmatch = core.find, core.match, core.gmatch

local find = core.find
local gsub, gsub_begin, gsub_step = core.gsub, core.gsub_begin, core.gsub_step

local function gsub_function(state, s, pattern, replace, more, ...)
  if not more then
    return ...
  end
  return gsub_function(state, s, pattern, replace, gsub_step(state, s, pattern, (replace(...))))
end

local function gsub_table(state, s, pattern, replacements, more, first, ...)
  if not more then
    return first, ...
  end
  return gsub_table(state, s, pattern, replacements, gsub_step(state, s, pattern, replacements[first]))
end

local function is_text(value)
  return type(value) == "string" or type(value) == "number"
end

function string.gsub(s, pattern, replacement, n)
  local kind = type(replacement)
  if kind == "userdata" and is_read_only(replacement) then
    kind = "table"
  end
  local calls = (kind == "function" or kind == "table") and is_text(s) and is_text(pattern)
  if calls and (n == nil or tonumber(n)) then
    local step = kind == "function" and gsub_function or gsub_table
    local state = gsub_begin(n)
    return step(state, s, pattern, replacement, gsub_step(state, s, pattern))
  end
  return gsub(s, pattern, replacement, n)
end

-- --- os

local DATE_MAX = 1000

local date = os.date
function os.date(format_text, ...)
  if type(format_text) == "string" and #format_text > DATE_MAX then
    error("os.date: the format is longer than " .. DATE_MAX .. " bytes", 2)
  end
  return date(format_text, ...)
end

-- LuaJIT would ask a metatable from C.
local time = os.time
function os.time(t)
  if type(t) == "table" and getmetatable(t) ~= nil then
    t = {
      year = t.year,
      month = t.month,
      day = t.day,
      hour = t.hour,
      min = t.min,
      sec = t.sec,
      isdst = t.isdst,
    }
  end
  return time(t)
end

-- --- load

-- All of it at once: LuaJIT would call the function from its parser.
local function read(reader)
  local pieces, count, size = {}, 0, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then
      return concat(pieces)
    end
    if type(piece) == "number" then
      piece = piece .. ""
    elseif type(piece) ~= "string" then
      return nil, "reader function must return a string"
    end
    count, size = count + 1, size + #piece
    pieces[count] = piece
    if size > core.chunk_max then
      return nil, core.chunk_too_large
    end
    if count == 1 and find(piece, "^\27") then
      return piece -- bytecode, which is refused without the rest
    end
  end
end

--- `load` from one that takes only text.
return function(load)
  return function(chunk, name, ...)
    if type(chunk) ~= "function" then
      return load(chunk, name, ...)
    end
    local text, why = read(chunk)
    if not text then
      return nil, why
    end
    return load(text, name or "=(load)", ...)
  end
end

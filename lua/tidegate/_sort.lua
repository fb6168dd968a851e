--- table.sort, in Lua: the budget can stop it at any comparison, and a comparison may wait. Private: loaded
-- by the core, never by require.
--
-- With a function: LuaJIT's own quicksort step by step, so that the same lists come out in the same order
-- and the same functions are found invalid; what it splits too badly goes to heapsort. Without: LuaJIT's
-- sort for runs that are short enough, which are merged here.
--
-- A table with a metatable is sorted as a copy, since elements are to be read and written raw.

local base, sort, comparable = ...
local error, type, getmetatable = base.error, base.type, base.getmetatable
local rawset, rawget = base.rawset, base.rawget

-- What LuaJIT's sort does in a few milliseconds at worst (it is quadratic then): so many elements, which are
-- numbers or strings of so many bytes.
local RUN, LONGEST = 1000, 256

local INVALID = "invalid order function for sorting"

local function sift(list, before, root, count, less)
  local value = list[before + root]
  local child = root * 2
  while child <= count do
    if child < count and less(list[before + child], list[before + child + 1]) then
      child = child + 1
    end
    if not less(value, list[before + child]) then
      break
    end
    list[before + root] = list[before + child]
    root, child = child, child * 2
  end
  list[before + root] = value
end

local function heapsort(list, low, high, less)
  local before, count = low - 1, high - low + 1
  for root = (count - count % 2) / 2, 1, -1 do
    sift(list, before, root, count, less)
  end
  for last = count, 2, -1 do
    list[low], list[before + last] = list[before + last], list[low]
    sift(list, before, 1, last - 1, less)
  end
end

-- Puts the lowest, the middle and the highest element in order. Returns the middle one's place.
local function order_three(list, low, high, less)
  if less(list[high], list[low]) then
    list[low], list[high] = list[high], list[low]
  end
  local middle = (low + high - (low + high) % 2) / 2
  if high - low == 1 then
    return middle
  end
  if less(list[middle], list[low]) then
    list[middle], list[low] = list[low], list[middle]
  elseif less(list[high], list[middle]) then
    list[middle], list[high] = list[high], list[middle]
  end
  return middle
end

-- low < high, sorted at the ends and in the middle. Returns where the two parts meet; nil: invalid function.
local function partition(list, low, middle, high, less)
  local pivot = list[middle]
  list[middle], list[high - 1] = list[high - 1], pivot
  local i, j = low, high - 1
  while true do
    i = i + 1
    while less(list[i], pivot) do
      if i >= high then
        return nil
      end
      i = i + 1
    end
    j = j - 1
    while less(pivot, list[j]) do
      if j <= low then
        return nil
      end
      j = j - 1
    end
    if j < i then
      list[high - 1], list[i] = list[i], list[high - 1]
      return i
    end
    list[i], list[j] = list[j], list[i]
  end
end

-- Parts that wait are kept in `waiting` as low, high and how many splits they may still take. `target`: a
-- table that the sorted elements go to.
local function quicksort(list, count, less, target)
  local splits, size = 0, count
  while size > 1 do
    size, splits = size / 2, splits + 3
  end
  local waiting, top = { 1, count, splits }, 3
  while top > 0 do
    local low, high
    low, high, splits = waiting[top - 2], waiting[top - 1], waiting[top]
    top = top - 3
    while low < high do
      if splits == 0 then
        heapsort(list, low, high, less)
        break
      end
      local middle = order_three(list, low, high, less)
      if high - low <= 2 then
        break
      end
      middle = partition(list, low, middle, high, less)
      if not middle then
        error(INVALID, 2)
      end
      splits = splits - 1
      if middle - low < high - middle then
        waiting[top + 1], waiting[top + 2], waiting[top + 3] = middle + 1, high, splits
        high = middle - 1
      else
        waiting[top + 1], waiting[top + 2], waiting[top + 3] = low, middle - 1, splits
        low = middle + 1
      end
      top = top + 3
    end
  end
  if target then
    for i = 1, count do
      rawset(target, i, list[i])
    end
  end
end

-- Merges the sorted parts low…middle and middle+1…high of `from` into `to`.
local function merge(from, to, low, middle, high)
  local i, j, a, b = low, middle + 1, from[low], from[middle + 1]
  for k = low, high do
    if j > high or i <= middle and a <= b then
      to[k] = a
      i = i + 1
      a = from[i]
    else
      to[k] = b
      j = j + 1
      b = from[j]
    end
  end
end

local function sort_runs(list, count)
  local run = {}
  for low = 1, count, RUN do
    local size = low + RUN - 1 <= count and RUN or count - low + 1
    for i = size + 1, #run do
      run[i] = nil
    end
    for i = 1, size do
      run[i] = list[low + i - 1]
    end
    sort(run)
    for i = 1, size do
      list[low + i - 1] = run[i]
    end
  end
end

local function mergesort(list, count)
  sort_runs(list, count)
  local from, to, size = list, {}, RUN
  while size < count do
    for low = 1, count, 2 * size do
      local middle, high = low + size - 1, low + 2 * size - 1
      if middle >= count then
        middle, high = count, count
      elseif high > count then
        high = count
      end
      merge(from, to, low, middle, high)
    end
    from, to, size = to, from, 2 * size
  end
  if from ~= list then
    for i = 1, count do
      list[i] = from[i]
    end
  end
end

-- What `<` does, with an error that is raised where table.sort was called: three functions are between.
local function natural(a, b)
  if not comparable(a, b) then
    local left, right = type(a), type(b)
    if left == right then
      error("attempt to compare two " .. left .. " values", 4)
    end
    error("attempt to compare " .. left .. " with " .. right, 4)
  end
  return a < b
end

-- "number" or "string" when all elements are that, and how many bytes the longest string has.
local function kind_of(list, count)
  local kind, longest = type(list[1]), 0
  if kind ~= "number" and kind ~= "string" then
    return nil
  end
  for i = 1, count do
    local value = list[i]
    if type(value) ~= kind or value ~= value then
      return nil
    end
    if kind == "string" and #value > longest then
      longest = #value
    end
  end
  return kind, longest
end

local function sort_plain(list, count, less)
  if less then
    return quicksort(list, count, less)
  end
  local kind, longest = kind_of(list, count)
  if not kind or longest > LONGEST then
    return quicksort(list, count, natural)
  end
  if count <= RUN then
    return sort(list)
  end
  return mergesort(list, count)
end

return function(t, less)
  if type(t) ~= "table" or less ~= nil and type(less) ~= "function" then
    return sort(t, less) -- which says what is wrong
  end
  local count = #t
  if getmetatable(t) == nil then
    return sort_plain(t, count, less)
  end
  local copy = {}
  for i = 1, count do
    copy[i] = rawget(t, i)
  end
  return quicksort(copy, count, less or natural, t)
end

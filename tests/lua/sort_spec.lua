-- lua/tidegate/_sort.lua on a plain Lua, against table.sort.

local function comparable(a, b)
  local kind = type(a)
  return kind == type(b) and (kind == "number" or kind == "string")
end

local sort = assert(loadfile "lua/tidegate/_sort.lua")(_G, table.sort, comparable)

local function copy(list)
  local new = {}
  for i = 1, #list do
    new[i] = list[i]
  end
  return new
end

--- An order that is made up while the list is sorted, so that quicksort with the median of three splits off
-- next to nothing each time (M. D. McIlroy, A Killer Adversary for Quicksort). Returns how many comparisons
-- were needed.
local function comparisons_against_an_adversary(count)
  local gas, solid, candidate, asked = count + 1, 0, 1, 0
  local value, list = {}, {}
  for i = 1, count do
    value[i], list[i] = gas, i
  end
  sort(list, function(x, y)
    asked = asked + 1
    if value[x] == gas and value[y] == gas then
      value[x == candidate and x or y] = solid
      solid = solid + 1
    end
    if value[x] == gas then
      candidate = x
    elseif value[y] == gas then
      candidate = y
    end
    return value[x] < value[y]
  end)
  return asked
end

describe("table.sort of the sandbox", function()
  it("gives the order that table.sort gives, of equal elements, too", function()
    math.randomseed(1)
    for _ = 1, 500 do
      local list = {}
      for i = 1, math.random(0, 70) do
        list[i] = { math.random(9), i }
      end
      local wanted = copy(list)
      local function less(a, b)
        return a[1] < b[1]
      end
      table.sort(wanted, less)
      sort(list, less)
      assert.same(wanted, list)
    end
  end)

  it("sorts long lists without a function", function()
    for _, count in ipairs { 1, 999, 1000, 1001, 2000, 2001, 4500 } do
      local numbers, strings, long = {}, {}, {}
      for i = 1, count do
        numbers[i] = (i * 7919) % 5003
        strings[i] = "k" .. numbers[i]
        long[i] = ("x"):rep(300) .. numbers[i]
      end
      for _, list in ipairs { numbers, strings, long } do
        local wanted = copy(list)
        table.sort(wanted)
        sort(list)
        assert.same(wanted, list)
      end
    end
  end)

  it("sorts what is sorted, reversed, or all the same", function()
    local up, down, same = {}, {}, {}
    for i = 1, 3000 do
      up[i], down[i], same[i] = i, 3001 - i, 7
    end
    local function more(a, b)
      return a > b
    end
    sort(up, more)
    assert.equal(3000, up[1])
    sort(down, more)
    assert.equal(3000, down[1])
    sort(same, more)
    assert.equal(3000, #same)
  end)

  it("needs n log n comparisons whatever the order is", function()
    assert.is_true(comparisons_against_an_adversary(2000) < 150000)
    assert.is_true(comparisons_against_an_adversary(20000) < 2000000)
  end)

  it("does not lose elements when not-a-number is among them", function()
    local list = {}
    for i = 1, 3000 do
      list[i] = i % 7 == 0 and 0 / 0 or i
    end
    pcall(sort, list)
    assert.equal(3000, #list)
  end)

  it("may be left and entered again by a comparison", function()
    local list = { 5, 3, 9, 1, 7 }
    local co = coroutine.wrap(function()
      sort(list, function(a, b)
        coroutine.yield()
        return a < b
      end)
      return "sorted"
    end)
    local steps = 0
    while co() ~= "sorted" do
      steps = steps + 1
    end
    assert.same({ 1, 3, 5, 7, 9 }, list)
    assert.is_true(steps > 4)
  end)
end)

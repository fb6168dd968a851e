-- lua/tidegate/_schema.lua on a plain Lua; JSON's marks of arrays are a table of these.
local arrays = setmetatable({}, { __mode = "k" })

local stub = { null = io.stdout } -- any value that is nothing else

function stub.array(list)
  list = list or {}
  arrays[list] = true
  return list
end

function stub.object(object)
  return object or {}
end

function stub.encode(value)
  if type(value) == "table" then
    return (arrays[value] or #value > 0) and "[]" or "{}"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

local null, array = stub.null, stub.array

describe("schema", function()
  local schema

  setup(function()
    local preload, loaded = package.preload["tidegate.json"], package.loaded["tidegate.json"]
    package.loaded["tidegate.json"] = stub
    package.loaded["tidegate._schema"] = nil
    schema = require "tidegate._schema"
    package.loaded["tidegate._schema"] = nil
    package.preload["tidegate.json"], package.loaded["tidegate.json"] = preload, loaded
  end)

  -- A schema, values that fit, and values that do not, each with what is said of it.
  local rows = {
    { { type = "string" }, { "", "x" }, { { 1, "v: string expected, got number" }, { null, "got null" } } },
    { { type = "integer" }, { 1, -2, 0 }, { { 1.5, "integer expected, got number" }, { 1 / 0, "integer" } } },
    { { type = "number" }, { 1, 1.5 }, { { "1", "number expected, got string" } } },
    { { type = "boolean" }, { true, false }, { { 0, "boolean expected" } } },
    { { type = "null" }, { null }, { { false, "null expected, got boolean" } } },
    { { type = "array" }, { array(), { 1 } }, { { {}, "array expected, got object" } } },
    { { type = "object" }, { {}, { a = 1 } }, { { array(), "object expected, got array" } } },
    { { type = { "string", "null" } }, { "x", null }, { { 1, "string or null expected" } } },
    { { enum = { "a", 2 } }, { "a", 2 }, { { "b", 'one of "a", 2 expected' } } },
    {
      { enum = { { a = { 1 } } } },
      { { a = { 1 } } },
      { { { a = { 2 } }, "one of" }, { { a = { 1 }, b = 1 }, "one of" } },
    },
    { { const = 7 }, { 7 }, { { 8, "7 expected" } } },
    { { required = { "a" } }, { { a = false }, "no object" }, { { { b = 1 }, "v.a: required" } } },
    {
      { properties = { a = { properties = { b = { type = "number" } } } } },
      { {}, { a = {} }, { a = { b = 1 }, c = 1 } },
      { { { a = { b = "x" } }, "v.a.b: number expected" } },
    },
    {
      { properties = { a = {} }, additionalProperties = false },
      { {}, { a = 1 } },
      { { { b = 1 }, "v.b: there is no such" } },
    },
    {
      { additionalProperties = { type = "number" } },
      { { x = 1 } },
      { { { x = "1" }, "v.x: number expected" } },
    },
    { { items = { type = "number" } }, { { 1, 2 }, "x" }, { { { 1, "2" }, "v[2]: number expected" } } },
    { { minimum = 1, maximum = 3 }, { 1, 3, "x" }, { { 0, "1 or more" }, { 4, "3 or less" } } },
    { { exclusiveMinimum = 1, exclusiveMaximum = 3 }, { 2 }, { { 1, "more than 1" }, { 3, "less than 3" } } },
    { { minLength = 2 }, { "äö" }, { { "ä", "2 characters or more" } } },
    { { maxLength = 3 }, { "äöü" }, { { "abcd", "3 characters or less" } } },
    { { minItems = 1 }, { { 1 } }, { { array(), "1 elements or more" } } },
    { { maxItems = 2 }, { { 1 } }, { { { 1, 2, 3 }, "2 elements or less" } } },
    { { anyOf = { { type = "string" }, { minimum = 3 } } }, { "x", 4 }, { { 1, "none of the forms" } } },
    { { oneOf = { { minimum = 1 }, { minimum = 3 } } }, { 2 }, { { 4, "fits 2" }, { 0, "fits 0" } } },
    { { allOf = { { minimum = 1 }, { maximum = 3 } } }, { 2 }, { { 4, "3 or less" } } },
    { { ["not"] = { type = "string" } }, { 1 }, { { "x", "must not be of this form" } } },
    { { properties = { a = false, b = true } }, { { b = 1 } }, { { { a = 1 }, "v.a: not allowed" } } },
  }

  it("tells what fits from what does not, and says where", function()
    for i, row in ipairs(rows) do
      local read = assert(schema.read(row[1], "s"))
      for _, value in ipairs(row[2]) do
        assert.is_true(schema.check(read, value, "v"), "row " .. i)
      end
      for _, case in ipairs(row[3]) do
        local good, why = schema.check(read, case[1], "v")
        assert.is_nil(good, "row " .. i)
        assert.matches(case[2], why, 1, true)
      end
    end
  end)

  it("refuses what it would not check", function()
    local refused = {
      { { pattern = "^a" }, "s: pattern is not checked here" },
      { { properties = { a = { ["$ref"] = "#/x" } } }, "s.a: $ref is not checked here" },
      { { items = { { type = "string" } } }, "s.items: 1 is not checked here" },
      { { type = "strin" }, "s.type: \"strin\" is no type of JSON" },
      { { required = "a" }, "s.required: a list expected" },
      { { minimum = "1" }, "s.minimum: a number expected" },
      { { properties = { a = 1 } }, "s.a: a schema (a table) expected, got number" },
      { { anyOf = { { type = "x" } } }, "s.anyOf[1].type" },
      { "string", "s: a schema" },
    }
    for _, row in ipairs(refused) do
      local read, why = schema.read(row[1], "s")
      assert.is_nil(read)
      assert.matches(row[2], why, 1, true)
    end
  end)

  it("answers a copy whose lists stay lists when they are empty", function()
    local given = { type = "object", properties = {}, required = {}, description = "d" }
    local read = schema.read(given, "s")
    assert.are_not.equal(given, read)
    assert.same(given, read)
    assert.is_true(arrays[read.required])
    assert.is_nil(arrays[given.required])
  end)
end)

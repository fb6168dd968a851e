--- Is a value what a JSON schema says? The part of JSON Schema that describes the arguments of tools.
--
-- What is not checked is refused when the schema is read, never passed over: whoever writes a pattern into a
-- schema relies on it.

local json = require "tidegate.json"

local M = {}

local annotations = {
  title = true,
  description = true,
  default = true,
  examples = true,
  format = true,
  deprecated = true,
  readOnly = true,
  writeOnly = true,
  ["$schema"] = true,
  ["$id"] = true,
  ["$comment"] = true,
}

local types = {
  object = true,
  array = true,
  string = true,
  number = true,
  integer = true,
  boolean = true,
  null = true,
}

local function is_array(value)
  return #value > 0 or (next(value) == nil and json.encode(value) == "[]")
end

local function type_of(value)
  if value == json.null or value == nil then
    return "null"
  elseif type(value) == "table" then
    return is_array(value) and "array" or "object"
  end
  return type(value)
end

local function is_whole(value)
  return value == math.floor(value) and value > -math.huge and value < math.huge
end

local function is_of_type(value, wanted)
  if wanted == "integer" then
    return type(value) == "number" and is_whole(value)
  end
  local kind = type_of(value)
  return kind == wanted
end

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not equal(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local function characters(text)
  local _, count = text:gsub("[^\128-\191]", "")
  return count
end

local function shown(value)
  return json.encode(value) or tostring(value)
end

local function list_text(values)
  local texts = {}
  for i, value in ipairs(values) do
    texts[i] = shown(value)
  end
  return table.concat(texts, ", ")
end

-- --- checks: word of the schema -> function(wanted, value, schema, below); answers what is wrong, and where
-- below the value

local checks = {}

function checks.type(wanted, value)
  if type(wanted) == "string" then
    wanted = { wanted }
  end
  for _, one in ipairs(wanted) do
    if is_of_type(value, one) then
      return nil
    end
  end
  return table.concat(wanted, " or ") .. " expected, got " .. type_of(value)
end

function checks.enum(wanted, value)
  for _, one in ipairs(wanted) do
    if equal(one, value) then
      return nil
    end
  end
  return "one of " .. list_text(wanted) .. " expected"
end

function checks.const(wanted, value)
  if not equal(wanted, value) then
    return shown(wanted) .. " expected"
  end
end

function checks.required(wanted, value)
  if type_of(value) == "object" then
    for _, name in ipairs(wanted) do
      if value[name] == nil then
        return "required, and not there", "." .. name
      end
    end
  end
end

function checks.properties(wanted, value, _, below)
  if type_of(value) == "object" then
    for name, schema in pairs(wanted) do
      if value[name] ~= nil then
        local why, place = below(schema, value[name])
        if why then
          return why, "." .. name .. place
        end
      end
    end
  end
end

function checks.additionalProperties(wanted, value, schema, below)
  if wanted == true or type_of(value) ~= "object" then
    return nil
  end
  local known = schema.properties or {}
  for name, one in pairs(value) do
    if known[name] == nil then
      local why, place = "there is no such name", ""
      if wanted then
        why, place = below(wanted, one)
      end
      if why then
        return why, "." .. tostring(name) .. place
      end
    end
  end
end

function checks.items(wanted, value, _, below)
  if type_of(value) == "array" then
    for i, one in ipairs(value) do
      local why, place = below(wanted, one)
      if why then
        return why, "[" .. i .. "]" .. place
      end
    end
  end
end

local function bound(applies, measure, holds, text)
  return function(wanted, value)
    if applies(value) and not holds(measure(value), wanted) then
      return text:format(shown(wanted))
    end
  end
end

local function is_number(value)
  return type(value) == "number"
end

local function is_text(value)
  return type(value) == "string"
end

local function is_list(value)
  return type_of(value) == "array"
end

local function itself(value)
  return value
end

local function length(value)
  return #value
end

local function at_least(a, b)
  return a >= b
end

local function at_most(a, b)
  return a <= b
end

checks.minimum = bound(is_number, itself, at_least, "%s or more expected")
checks.maximum = bound(is_number, itself, at_most, "%s or less expected")
checks.exclusiveMinimum = bound(is_number, itself, function(a, b)
  return a > b
end, "more than %s expected")
checks.exclusiveMaximum = bound(is_number, itself, function(a, b)
  return a < b
end, "less than %s expected")
checks.minLength = bound(is_text, characters, at_least, "%s characters or more expected")
checks.maxLength = bound(is_text, characters, at_most, "%s characters or less expected")
checks.minItems = bound(is_list, length, at_least, "%s elements or more expected")
checks.maxItems = bound(is_list, length, at_most, "%s elements or less expected")

function checks.anyOf(wanted, value, _, below)
  local first
  for _, schema in ipairs(wanted) do
    local why = below(schema, value)
    if not why then
      return nil
    end
    first = first or why
  end
  return "fits none of the forms that are allowed (" .. tostring(first) .. ", …)"
end

function checks.oneOf(wanted, value, _, below)
  local fits = 0
  for _, schema in ipairs(wanted) do
    fits = fits + (below(schema, value) and 0 or 1)
  end
  if fits ~= 1 then
    return "must fit exactly one of the forms that are allowed, and fits " .. fits
  end
end

checks["not"] = function(wanted, value, _, below)
  if not below(wanted, value) then
    return "must not be of this form"
  end
end

function checks.allOf(wanted, value, _, below)
  for _, schema in ipairs(wanted) do
    local why, place = below(schema, value)
    if why then
      return why, place
    end
  end
end

-- A type first: what else is said is clearer once that is right.
local order = {
  "type", "enum", "const", "required", "additionalProperties", "properties", "items", "minimum", "maximum",
  "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "anyOf", "oneOf",
  "allOf", "not",
}

local function check(schema, value)
  if schema == true then
    return nil
  elseif schema == false then
    return "not allowed", ""
  end
  for _, word in ipairs(order) do
    if schema[word] ~= nil then
      local why, place = checks[word](schema[word], value, schema, check)
      if why then
        return why, place or ""
      end
    end
  end
end

-- --- reading a schema

local lists = { required = true, enum = true, anyOf = true, oneOf = true, allOf = true }
local schema_lists = { anyOf = true, oneOf = true, allOf = true }
local schemas = { items = true, ["not"] = true, additionalProperties = true }
local counts = {
  minimum = true, maximum = true, exclusiveMinimum = true, exclusiveMaximum = true, minLength = true,
  maxLength = true, minItems = true, maxItems = true,
}

local read

-- A copy of the word's value that is fit to be sent, or nil and what is wrong with it.
local function read_word(word, value, place)
  if word == "type" then
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      if not types[one] then
        return nil, ("%s.type: %s is no type of JSON"):format(place, shown(one))
      end
    end
    return type(value) == "table" and json.array({ unpack(value) }) or value
  elseif word == "properties" then
    if type(value) ~= "table" then
      return nil, place .. ".properties: a table expected"
    end
    local copy = json.object()
    for name, schema in pairs(value) do
      local why
      copy[name], why = read(schema, place .. "." .. tostring(name))
      if why then
        return nil, why
      end
    end
    return copy
  elseif schemas[word] then
    return read(value, place .. "." .. word)
  elseif lists[word] then
    if type(value) ~= "table" then
      return nil, ("%s.%s: a list expected"):format(place, word)
    end
    local copy = json.array()
    for i, one in ipairs(value) do
      local why
      copy[i] = one
      if schema_lists[word] then
        copy[i], why = read(one, ("%s.%s[%d]"):format(place, word, i))
      end
      if why then
        return nil, why
      end
    end
    return copy
  elseif counts[word] and type(value) ~= "number" then
    return nil, ("%s.%s: a number expected"):format(place, word)
  end
  return value
end

function read(schema, place)
  if type(schema) == "boolean" then
    return schema
  elseif type(schema) ~= "table" then
    return nil, place .. ": a schema (a table) expected, got " .. type(schema)
  end
  local copy = json.object()
  for word, value in pairs(schema) do
    if not checks[word] and not annotations[word] then
      return nil, ("%s: %s is not checked here; leave it out, and check it where the value is used"):format(
        place,
        tostring(word)
      )
    end
    local read_value, why = read_word(word, value, place)
    if why then
      return nil, why
    end
    copy[word] = read_value
  end
  return copy
end

--- A copy of a schema that can be sent as JSON and given to `check`; or nil and what is wrong with it. `name`
--- is what errors call it.
function M.read(schema, name)
  return read(schema, name)
end

--- True, or nil and what is wrong: "arguments.city: string expected, got number".
function M.check(schema, value, name)
  local why, place = check(schema, value)
  if why then
    return nil, name .. place .. ": " .. why
  end
  return true
end

return M

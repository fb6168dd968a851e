--- The Lua half of tidegate.http: options become a request, and loops over a streamed answer. Private:
-- loaded by the core, never by require.
--
-- Options are read here and not in C, because everything in Lua is answerable to the CPU budget, and what
-- waits inside a loop has to be Lua. `core` raises at the line of the policy, however deep it is asked.

local core = ...
local json = require "tidegate.json"

local start, wait, take = core.start, core.wait, core.take

local SECONDS_MAX = 86400
local REDIRECTS = 5

--- Every option, and the kind of its value.
local options = {
  url = "text",
  method = "text",
  headers = "table",
  query = "table",
  body = "text",
  json = "any",
  form = "table",
  bearer = "text",
  basic = "table",
  timeout = "seconds",
  connect_timeout = "seconds",
  idle_timeout = "seconds",
  redirects = "count",
  max_response = "bytes",
  stream = "boolean",
}

--- Headers that say where a message ends or belong to the connection.
local reserved = {
  connection = true,
  ["content-length"] = true,
  expect = true,
  ["http2-settings"] = true,
  ["keep-alive"] = true,
  ["proxy-authorization"] = true,
  ["proxy-connection"] = true,
  te = true,
  trailer = true,
  ["transfer-encoding"] = true,
  upgrade = true,
}

--- Methods that come with a function of their own.
local methods = { get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE", head = "HEAD" }

--- Raises at the line of the policy: what was wrong with a call of `name`.
local function fail(name, text, ...)
  if select("#", ...) > 0 then
    text = text:format(...)
  end
  core.raise(name .. ": " .. text)
end

local function is_whole(value, least)
  return type(value) == "number" and value >= least and value < 2 ^ 53 and value % 1 == 0
end

local checks = {
  any = function()
    return true
  end,
  text = function(value)
    return type(value) == "string", "text"
  end,
  table = function(value)
    return type(value) == "table", "a table"
  end,
  boolean = function(value)
    return type(value) == "boolean", "true or false"
  end,
  seconds = function(value)
    return type(value) == "number" and value > 0 and value <= SECONDS_MAX, "seconds, up to 86400,"
  end,
  count = function(value)
    return is_whole(value, 0) and value <= 20, "a whole number from 0 to 20"
  end,
  bytes = function(value)
    return is_whole(value, 1), "a number of bytes"
  end,
}

local function check_options(name, given)
  for key, value in pairs(given) do
    local kind = options[key]
    if not kind then
      core.unknown_option(name, options, key)
    end
    local good, expected = checks[kind](value)
    if not good then
      fail(name, "%s: %s expected, got %s", key, expected, core.describe(value))
    end
  end
  local body, structured, form = given.body ~= nil, given.json ~= nil, given.form ~= nil
  if body and structured or body and form or structured and form then
    fail(name, "body, json and form exclude each other")
  end
  if given.bearer and given.basic then
    fail(name, "bearer and basic exclude each other")
  end
end

local function percent(byte)
  return ("%%%02X"):format(byte:byte())
end

local function encode(name, what, value)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then
    value = tostring(value)
  elseif kind ~= "string" then
    fail(name, "%s: text, a number, true, false, or a list expected, got %s", what, core.describe(value))
  end
  return (value:gsub("[^%w%-._~]", percent))
end

--- "a=1&b=2", in the order of the names.
local function encode_pairs(name, what, values)
  local keys, parts = {}, {}
  for key in pairs(values) do
    if type(key) ~= "string" then
      fail(name, "%s: names expected, as in { name = value }, got %s", what, core.describe(key))
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local value, left = values[key], encode(name, what, key) .. "="
    if type(value) == "table" then
      for _, item in ipairs(value) do
        parts[#parts + 1] = left .. encode(name, what .. "." .. key, item)
      end
    else
      parts[#parts + 1] = left .. encode(name, what .. "." .. key, value)
    end
  end
  return table.concat(parts, "&")
end

local function with_query(name, url, query)
  local text = query and encode_pairs(name, "query", query) or ""
  if text == "" then
    return url
  end
  local before, fragment = url:match "^([^#]*)(.*)$"
  local glue = not before:find("?", 1, true) and "?" or before:find "[?&]$" and "" or "&"
  return before .. glue .. text .. fragment
end

local function add_header(name, list, key, value)
  if type(value) == "number" then
    value = tostring(value)
  elseif type(value) ~= "string" then
    fail(name, "headers: the value of %s must be text, got %s", key, core.describe(value))
  end
  if value:find "[%z\1-\8\10-\31\127]" then
    fail(name, "headers: the value of %s holds a control character", key)
  end
  list[#list + 1] = key
  list[#list + 1] = value
end

--- Fills `list` with names and values in turn; returns the names in lower case as a set.
local function add_headers(name, list, headers)
  local seen = {}
  for key, value in pairs(headers) do
    if type(key) ~= "string" or key == "" or key:find "[^%w!#$%%&'*+.^_`|~-]" then
      fail(name, "headers: %s cannot be the name of a header", core.describe(key))
    end
    local lower = key:lower()
    if reserved[lower] then
      fail(name, "headers: %s is set by the client itself", key)
    end
    seen[lower] = true
    if type(value) == "table" then
      for _, item in ipairs(value) do
        add_header(name, list, key, item)
      end
    else
      add_header(name, list, key, value)
    end
  end
  return seen
end

local function authorization(name, given)
  if given.bearer then
    if given.bearer == "" or given.bearer:find "[^\33-\126]" then
      fail(name, "bearer: a token without blanks expected")
    end
    return "Bearer " .. given.bearer
  end
  local basic = given.basic
  if not basic then
    return nil
  end
  local user, password = basic.user or basic[1], basic.password or basic[2] or ""
  if type(user) ~= "string" or type(password) ~= "string" or user:find(":", 1, true) then
    fail(name, "basic: { user, password } expected, the user without a colon")
  end
  return "Basic " .. core.base64(user .. ":" .. password)
end

--- The body and its type; nil: none.
local function body_of(name, given)
  if given.json ~= nil then
    local text, err = json.encode(given.json)
    if not text then
      fail(name, "json: %s", err)
    end
    return text, "application/json"
  end
  if given.form then
    return encode_pairs(name, "form", given.form), "application/x-www-form-urlencoded"
  end
  return given.body, nil
end

local function send(name, method, url, given)
  local list = {}
  local seen = add_headers(name, list, given.headers or {})
  local credentials = authorization(name, given)
  if credentials then
    if seen.authorization then
      fail(name, "headers.Authorization excludes bearer and basic")
    end
    add_header(name, list, "Authorization", credentials)
  end
  local body, content_type = body_of(name, given)
  if body and (method == "GET" or method == "HEAD") then
    fail(name, "%s has no body; use query, or http.post", method)
  end
  if content_type and not seen["content-type"] then
    add_header(name, list, "Content-Type", content_type)
  end
  return start(name, method, with_query(name, url, given.query), list, body, {
    timeout = given.timeout,
    connect_timeout = given.connect_timeout,
    idle_timeout = given.idle_timeout,
    redirects = given.redirects or REDIRECTS,
    max_response = given.max_response,
    stream = given.stream,
  })
end

local function check_url(name, url)
  if type(url) ~= "string" then
    fail(name, "a URL (text) expected, got %s", core.describe(url))
  end
end

local M = {}

for short, method in pairs(methods) do
  local name = "http." .. short
  M[short] = function(url, given)
    check_url(name, url)
    if given ~= nil and type(given) ~= "table" then
      fail(name, "a table of options expected as second argument, got %s", core.describe(given))
    end
    given = given or {}
    check_options(name, given)
    if given.url or given.method then
      fail(name, "url and method are options of http.request")
    end
    return send(name, method, url, given)
  end
end

function M.request(given)
  local name = "http.request"
  if type(given) ~= "table" then
    fail(name, "a table expected, as in { url = …, method = … }, got %s", core.describe(given))
  end
  check_options(name, given)
  check_url(name, given.url)
  local method = given.method or "GET"
  if #method > 15 or method:find "[^A-Z]" or method == "" or method == "CONNECT" then
    fail(name, "method: a method such as GET or POST expected, got %s", core.describe(method))
  end
  return send(name, method, given.url, given)
end

--- What responses can do that waits.
local response = {}

function response.read(self, max)
  if max ~= nil and max ~= "all" and not is_whole(max, 1) then
    fail("response:read", "a number of bytes or \"all\" expected, got %s", core.describe(max))
  end
  core.claim(self, "response:read", "bytes")
  while true do
    local bytes, err, code = take(self, max)
    if bytes ~= false then
      return bytes, err, code
    end
    wait(self)
  end
end

local function each(self, name, kind, take_one)
  core.claim(self, name, kind)
  return function()
    while true do
      local one = take_one(self)
      if one ~= false then
        return one
      end
      wait(self)
    end
  end
end

function response.lines(self)
  return each(self, "response:lines", "lines", core.take_line)
end

function response.events(self)
  return each(self, "response:events", "events", core.take_event)
end

function response.json(self)
  local text = core.text(self)
  if text == nil then
    local rest, failure = response.read(self, "all")
    if failure then
      return nil, failure
    end
    text = rest or ""
  end
  local value, why = json.decode(text)
  if why then
    return nil, "the body is no JSON: " .. why
  end
  return value
end

return M, response

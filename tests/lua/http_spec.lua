-- lua/tidegate/_http.lua on a plain Lua: what the core does for it is done by the tables below.
local started

local core = {
  raise = function(text)
    error(text, 0)
  end,
  unknown_option = function(name, known, key)
    error(("%s: unknown %s, of %s"):format(name, key, known.url), 0)
  end,
  describe = tostring,
  base64 = function(bytes)
    return "<" .. bytes .. ">"
  end,
  start = function(name, method, url, headers, body, settings)
    started =
      { name = name, method = method, url = url, headers = headers, body = body, settings = settings }
    return "response"
  end,
  claim = function() end,
  wait = function()
    coroutine.yield()
  end,
}

local function fresh()
  package.preload["tidegate.json"] = function()
    return {
      encode = function(value)
        if type(value) == "function" then
          return nil, "value is a function"
        end
        return "json:" .. tostring(value)
      end,
      decode = function(text)
        if text == "bad" then
          return nil, "not good"
        end
        return "decoded:" .. text
      end,
    }
  end
  package.loaded["tidegate.json"] = nil
  return assert(loadfile "lua/tidegate/_http.lua")(core)
end

describe("_http", function()
  local http, response = fresh()

  local function headers_of(options)
    assert.equal("response", http.post("http://x/", options))
    local found = {}
    for i = 1, #started.headers, 2 do
      local name = started.headers[i]:lower()
      found[name] = found[name] and found[name] .. "|" .. started.headers[i + 1] or started.headers[i + 1]
    end
    return found
  end

  it("has a function for each method, and one for all", function()
    for name, method in pairs { get = "GET", put = "PUT", delete = "DELETE", patch = "PATCH" } do
      http[name] "http://x/"
      assert.equal(method, started.method)
      assert.equal("http." .. name, started.name)
    end
    http.request { url = "http://x/", method = "OPTIONS" }
    assert.equal("OPTIONS", started.method)
  end)

  it("adds the query in the order of its names, encoded, before the fragment", function()
    local rows = {
      { "http://x", { b = 1, a = "x y" }, "http://x?a=x%20y&b=1" },
      { "http://x/?c=d", { a = true }, "http://x/?c=d&a=true" },
      { "http://x/?", { a = "&=%" }, "http://x/?a=%26%3D%25" },
      { "http://x/?c&", { a = "" }, "http://x/?c&a=" },
      { "http://x/#f?g", { ["ä"] = { "1", 2 } }, "http://x/?%C3%A4=1&%C3%A4=2#f?g" },
      { "http://x/", {}, "http://x/" },
      { "http://x/", { a = {} }, "http://x/" },
    }
    for _, row in ipairs(rows) do
      http.get(row[1], { query = row[2] })
      assert.equal(row[3], started.url)
    end
  end)

  it("makes bodies, and says what they are unless told", function()
    assert.equal("application/json", headers_of({ json = 5 })["content-type"])
    assert.equal("json:5", started.body)
    local typed = { json = false, headers = { ["CONTENT-type"] = "text/x" } }
    assert.equal("text/x", headers_of(typed)["content-type"])
    assert.equal("json:false", started.body)
    local form = { form = { b = 2, a = "+" } }
    assert.equal("application/x-www-form-urlencoded", headers_of(form)["content-type"])
    assert.equal("a=%2B&b=2", started.body)
    assert.is_nil(headers_of({ body = "plain" })["content-type"])
    assert.equal("plain", started.body)
  end)

  it("makes credentials", function()
    assert.equal("Bearer abc", headers_of({ bearer = "abc" }).authorization)
    assert.equal("Basic <ada:pw>", headers_of({ basic = { "ada", "pw" } }).authorization)
    assert.equal("Basic <ada:pw>", headers_of({ basic = { user = "ada", password = "pw" } }).authorization)
    assert.equal("Basic <ada:>", headers_of({ basic = { "ada" } }).authorization)
  end)

  it("hands on each value of a header", function()
    local headers = { ["X-A"] = { 1, "two" }, ["X-B"] = 3 }
    assert.same({ ["x-a"] = "1|two", ["x-b"] = "3" }, headers_of { headers = headers })
  end)

  it("refuses what would be another request than the one meant", function()
    local rows = {
      { { headers = { ["X-A"] = "a\nb" } }, "control character" },
      { { headers = { ["X-A"] = "a\0b" } }, "control character" },
      { { headers = { ["X-A"] = { "a", "b\r" } } }, "control character" },
      { { headers = { ["X-A: b"] = "a" } }, "name of a header" },
      { { headers = { [""] = "a" } }, "name of a header" },
      { { headers = { [1] = "a" } }, "name of a header" },
      { { headers = { Host2 = {}, ["transfer-ENCODING"] = "chunked" } }, "set by the client" },
      { { headers = { Authorization = "x" }, bearer = "y" }, "excludes bearer" },
      { { headers = "x" }, "headers: a table expected" },
      { { bearer = "a\r\nb" }, "without blanks" },
      { { bearer = "" }, "without blanks" },
      { { basic = { "a:b", "c" } }, "without a colon" },
      { { basic = {} }, "without a colon" },
      { { body = "a", json = 1 }, "exclude each other" },
      { { json = print }, "json: value is a function" },
      { { form = { "a" } }, "form: names expected" },
      { { query = { a = print } }, "query.a" },
      { { timeout = -1 }, "timeout: seconds" },
      { { timeout = 1 / 0 }, "timeout: seconds" },
      { { timeout = 0 / 0 }, "timeout: seconds" },
      { { redirects = 21 }, "redirects: a whole number" },
      { { max_response = 0.5 }, "max_response: a number of bytes" },
      { { stream = 1 }, "stream: true or false" },
      { { unknown = 1 }, "unknown unknown" },
      { { method = "GET" }, "options of http.request" },
    }
    for _, row in ipairs(rows) do
      local ok, err = pcall(http.post, "http://x/", row[1])
      assert.is_false(ok, row[2])
      assert.matches(row[2], err, 1, true)
    end
    for _, method in ipairs { "get", "G T", "CONNECT", "", ("A"):rep(16) } do
      assert.is_false((pcall(http.request, { url = "http://x/", method = method })))
    end
    assert.is_false((pcall(http.get, "http://x/", { body = "b" })))
  end)

  it("waits until there is something to read", function()
    local pieces = { false, false, "one", false, nil }
    local at = 0
    core.take = function()
      at = at + 1
      return pieces[at], at == 5 and "lost" or nil, at == 5 and "reset" or nil
    end
    local reading = coroutine.wrap(function()
      local _, again = fresh()
      local first = again.read {}
      return first, again.read {}
    end)
    assert.is_nil(reading())
    assert.is_nil(reading())
    assert.is_nil(reading())
    assert.same({ "one", nil, "lost", "reset" }, { reading() })
  end)

  it("loops over lines until the end, waiting between them", function()
    local pieces = { "a", false, "", "b", nil }
    local at, waits = 0, 0
    core.take_line = function()
      at = at + 1
      return pieces[at]
    end
    core.wait = function()
      waits = waits + 1
    end
    local _, again = fresh()
    local lines = {}
    for line in again.lines {} do
      lines[#lines + 1] = line
    end
    assert.same({ "a", "", "b" }, lines)
    assert.equal(1, waits)
  end)

  it("decodes a body, whole or streamed", function()
    core.text = function(self)
      return self.whole
    end
    core.take = function(self)
      return self.rest, self.err
    end
    local _, again = fresh()
    assert.equal("decoded:x", again.json { whole = "x" })
    assert.equal("decoded:y", again.json { rest = "y" })
    assert.same({ nil, "lost" }, { again.json { err = "lost" } })
    assert.same({ nil, "the body is no JSON: not good" }, { again.json { whole = "bad" } })
    assert.is_function(response.json)
  end)
end)

-- What `tidegate check` reads out of a policy's text: names, places, and what `route` can say.
local parser = require "tidegate._check.parser"
local resolve = require "tidegate._check.resolve"
local lexer = require "tidegate._check.lexer"
local jit_util = require "jit.util"
local scan = require "tidegate._check"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- --- globals, as LuaJIT itself sees them -----------------------------------------------------------------

-- Numbers of instructions change between versions of LuaJIT: they are found by compiling one of each.
local function opcode(code)
  return bit.band(jit_util.funcbc(assert(loadstring(code)), 1), 0xff)
end
local GGET = opcode "local x = y"
local GSET = bit.band(jit_util.funcbc(assert(loadstring "y = 1"), 2), 0xff)

local function globals_of_bytecode(f, out)
  local i = 1
  local ins = jit_util.funcbc(f, i)
  while ins do
    local op = bit.band(ins, 0xff)
    if op == GGET or op == GSET then
      out[#out + 1] = (op == GSET and "set " or "get ") .. jit_util.funck(f, -bit.rshift(ins, 16) - 1)
    end
    i = i + 1
    ins = jit_util.funcbc(f, i)
  end
  local n = -1
  local k = jit_util.funck(f, n)
  while k ~= nil do
    if type(k) == "proto" then
      globals_of_bytecode(k, out)
    end
    n = n - 1
    k = jit_util.funck(f, n)
  end
  table.sort(out)
  return out
end

local function globals_of_text(text)
  local out = {}
  parser.walk(assert(parser.parse(text)).chunk, function(node)
    if node.tag == "Global" then
      out[#out + 1] = (node.written and "set " or "get ") .. node.name
    end
  end)
  table.sort(out)
  return out
end

describe("the parser", function()
  local texts = {
    "local a = a; local function f(b, ...) return a, b, c, f, ... end d = f",
    "local function f(b, ...) local e = ... return b, e end return b, e, self",
    "function t:m(b) return self, b, t end return self, b",
    "for i = i, n do x = i end for k, v in pairs(t) do y[k] = v end i = k",
    "repeat local done = step() until done; done = 1",
    "local t = { a = a, [b] = b; c, function(self) return self, z end } t.x.y:m 'q' { t }",
    "function a.b.c:d(x) self.x = x; e.f = a end local function r() return r end",
    "do local x = 1 end x = x if p then local q = p elseif q then q = 2 else r() end",
    "goto done; u() ::done:: local g = goto_ while w do break end return (v)",
    "local s = [==[ x = y ]] ]==] --[[ u = 1\n]] local n = 0x1p4 + 1e-3 + 2ULL + .5 u = 'a\\\n b\\z\n  c'",
    "#!/usr/bin/env luajit\nx = not a == -b ^ c .. d .. #e and f or g",
    "local function o() local a = 1 return function() a = a + b return function() return a, c end end end",
  }
  for i, text in ipairs(texts) do
    it("resolves the names of text " .. i .. " as LuaJIT does", function()
      local f = assert(loadstring((text:gsub("^#[^\n]*", ""))))
      assert.same(globals_of_bytecode(f, {}), globals_of_text(text))
    end)
  end

  it("resolves the names of every Lua file of this tree as LuaJIT does", function()
    local files = assert(io.popen "find lua policies examples tests -name '*.lua'")
    local count = 0
    for path in files:lines() do
      local text = read(path)
      local f = loadstring(text, "@" .. path)
      if f then
        count = count + 1
        assert.same(globals_of_bytecode(f, {}), globals_of_text(text), path)
      end
    end
    files:close()
    assert.is_true(count > 20)
  end)

  it("knows line and column of every name", function()
    local places = {}
    local tree = assert(parser.parse "local a = 1\r\n--[[ two\nlines ]] b = a\n\tc[ [[\n]] ].d()")
    parser.walk(tree.chunk, function(node)
      if node.tag == "Global" or node.tag == "Index" then
        places[#places + 1] = (node.name or node[2].value) .. " " .. node.line .. ":" .. node.column
      end
    end)
    assert.same({ "b 3:10", "d 5:6", " 4:3", "c 4:2" }, places)
  end)

  it("counts reads and writes of locals", function()
    local tree = assert(parser.parse "local a, b = 1, 2; a = b; local function f() return a + b end b = f")
    local counts = {}
    for _, var in ipairs(tree.vars) do
      counts[var.name] = { var.reads, var.writes }
    end
    assert.same({ a = { 1, 1 }, b = { 2, 1 }, f = { 1, 0 } }, counts)
  end)
end)

describe("the lexer", function()
  it("reads strings as LuaJIT does", function()
    for _, quoted in ipairs {
      [["a\65b\x41\u{20AC}\u{10FFFF}\u{7ff}\u{80}\n\r\t\\\"\'\z  x"]],
      [['\0\1\0012\a\b\f\v']], "'a\\\nb'", "''",
      "[[\nfirst]]", "[==[ ]] ]=] ]==]", '"\\z\n\n  end"',
    } do
      local reader = lexer.read(quoted)
      assert.equal("string", reader.kind)
      assert.equal(assert(loadstring("return " .. quoted))(), reader.value)
      reader:next()
      assert.equal("eof", reader.kind)
    end
  end)
end)

-- --- what an expression stands for ------------------------------------------------------------------------

local function path_of(text)
  local tree = assert(parser.parse(text))
  local path = resolve.path(tree.returns[#tree.returns][1])
  return path and path.kind .. " " .. tostring(path.root.name or path.root) .. " " .. table.concat(path, ".")
end

describe("a path", function()
  it("goes through locals that never change", function()
    assert.equal("global os execute", path_of "local o = os; local run = o.execute return run")
    assert.equal("module tidegate.crypto base64.encode",
      path_of "local c = require 'tidegate.crypto' local b = c.base64 return b.encode")
    assert.equal("module tidegate options.a", path_of "return require('tidegate').options['a']")
    assert.equal("param conn session", path_of "local function f(conn) return conn.session end")
  end)

  it("ends where a text does not tell", function()
    assert.is_nil(path_of "local o = os; o = io return o.execute")
    assert.is_nil(path_of "return os[name]")
    assert.is_nil(path_of "return f().x")
    assert.is_nil(path_of "return require(name)")
  end)
end)

-- --- rules ------------------------------------------------------------------------------------------------

local function first_line(text, what)
  local line = 1
  for part in (text .. "\n"):gmatch "(.-)\n" do
    if part:find(what, 1, true) then
      return line
    end
    line = line + 1
  end
end

-- Scans one file as a policy with the agents one and two, whose route begins on the line with "route".
-- Answers "code line" of each finding.
local function findings(text)
  local found = {}
  local line = first_line(text, "route")
  local tree = assert(parser.parse(text))
  local hooks = {}
  for _, func in ipairs(tree.functions) do
    if func.line == line then
      hooks.route = { path = "p.lua", line = line, last = func.last }
    end
  end
  scan({
    loaded = true, folder = false, has_origins = false, declared = {}, given = {}, fields = {},
    modules = { [""] = { path = "p.lua", text = text, used = true } },
    hooks = hooks, services = {},
    agents = { one = { path = "p.lua", line = 0 }, two = { path = "p.lua", line = 0 } },
    signatures = { route = { "conn", "message" }, agent = { "run", "input" } },
  }, {
    globals = setmetatable({}, { __index = _G }), require = function() error "none" end,
    file = function() end, line_of_key = function() return 0 end, suggest = function() return nil end,
    compile = function(code, path)
      return select(2, loadstring(code, "@" .. path))
    end,
    report = function(_, code, _, at)
      found[#found + 1] = code .. " " .. at
    end,
  })
  table.sort(found)
  return found
end

local BOTH = { "unreachable-agent 0", "unreachable-agent 0" }
local TWO = { "unreachable-agent 0" }

describe("the agents that route can name", function()
  local cases = {
    { "all of them", "if m then return 'one' end return 'two'", {} },
    { "one of two", "return 'one'", TWO },
    { "one of two, or nobody", "if m then return nil, 'no' end return 'one'", TWO },
    { "a choice", "return m.x and 'one' or 'two'", {} },
    { "a choice with a condition of text", "return m.x == 'two' and 'one' or 'one'", TWO },
    { "a local that never changes", "local name = 'one' return name", TWO },
    { "a local that changes", "local name = 'one' name = m.name return name", {} },
    { "a field", "return m.data.agent_type or 'one'", {} },
    { "a call", "return pick(m)", {} },
    { "a function inside is not route's", "local f =\nfunction() return 'x' end f() return 'one'", TWO },
    { "nobody", "return nil, 'closed'", BOTH },
    { "somebody who does not exist", "return 'three'", { "unknown-agent 1" } },
    { "somebody who does not exist, among others", "return m.x or 'three'", { "unknown-agent 1" } },
    { "in brackets", "return ((('one')))", TWO },
    { "as what a call is given", "return 'one' end function run() return start('two')", {} },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.same(case[3], findings("function route(c, m) " .. case[2] .. " end"))
    end)
  end
end)

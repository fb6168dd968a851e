"""Scripts that try to keep their worker, and how each must end.

A row is (name, outcome, body). Outcomes: `budget` (stopped when its CPU budget was used up), `memory`,
`error` (it raised, by itself or because the sandbox refused), `ok` (it was bounded all along). A body finds
`conn` (nil at load time), `megabyte` (of the letter a), `deep(n, f)` and what the sandbox has. One long C call is put
into a loop, so that its end is known and its length shows in the wait of others.
"""

HEAD = """
local tide = require "tidegate"
local json = require "tidegate.json"
local crypto = require "tidegate.crypto"
local log = require "tidegate.log"
local megabyte = string.rep("a", 2^20)
local function deep(n, f) if n == 0 then return f() end return (deep(n - 1, f)) end
"""

BUDGET, MEMORY, ERROR, OK = "budget", "memory", "error", "ok"

SCRIPTS = [
    # Plain loops.
    ("while", BUDGET, "while true do end"),
    ("repeat", BUDGET, "repeat until false"),
    ("numeric for", BUDGET, "for i = 1, math.huge do end"),
    ("goto", BUDGET, "::again:: goto again"),
    ("tail call", BUDGET, "local function f() return f() end f()"),
    ("allocation", BUDGET, "local t = {} while true do t = { t and 1 } end"),
    ("string numbers", BUDGET, "local i = 0 while true do i = i + 1 local _ = 'k' .. i end"),
    # Shields.
    ("pcall", BUDGET, "while true do pcall(function() while true do end end) end"),
    ("pcall chain", BUDGET, "local function f() return pcall(f) end while true do f() end"),
    ("pcall error", BUDGET, "while true do pcall(error) end"),
    ("xpcall handler", BUDGET, "while true do xpcall(error, function() while true do end end) end"),
    ("handler in handler", BUDGET, "local function f(e) xpcall(error, f, e) end while true do xpcall(error, f) end"),
    ("error in handler", BUDGET, "while true do xpcall(error, error) end"),
    ("coroutine", BUDGET, "coroutine.wrap(function() while true do end end)()"),
    (
        "coroutines and pcall",
        BUDGET,
        "while true do coroutine.resume(coroutine.create(function()"
        " while true do pcall(function() while true do end end) end end)) end",
    ),
    ("coroutine nest", BUDGET, "local function f() coroutine.wrap(f)() end while true do pcall(f) end"),
    ("coroutine crowd", BUDGET, "while true do coroutine.wrap(function() coroutine.yield() end)() end"),
    (
        "coroutine in handler in sort",
        BUDGET,
        "while true do pcall(table.sort, {3, 2, 1}, function() xpcall(error, function()"
        " coroutine.wrap(function() while true do end end)() end) end) end",
    ),
    ("__index", BUDGET, "return setmetatable({}, { __index = function() while true do end end }).x"),
    (
        "__index chain",
        BUDGET,
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end"
        " while true do pcall(function() return t[1] end) end",
    ),
    (
        "__newindex",
        ERROR,
        "local t = setmetatable({}, { __newindex = function(t, k, v) t[k] = v end }) t.x = 1",
    ),
    ("__lt in sort", BUDGET, "local m = {} m.__lt = function() while true do end end\n"
     "table.sort({ setmetatable({}, m), setmetatable({}, m) })"),
    ("__concat", BUDGET, "local m = {} m.__concat = function(a, b) return a .. b end\n"
     "while true do pcall(function() return setmetatable({}, m) .. 'x' end) end"),
    ("__tostring", BUDGET, "print(setmetatable({}, { __tostring = function() while true do end end }))"),
    (
        "__tostring in print in __tostring",
        BUDGET,
        "local t t = setmetatable({}, { __tostring = function() print(t) return '' end })"
        " while true do pcall(print, t) end",
    ),
    (
        "__tostring in format in __tostring",
        BUDGET,
        "local t t = setmetatable({}, { __tostring = function() return ('%s'):format(t) .. '' end })"
        " while true do pcall(tostring, t) end",
    ),
    (
        "__index in os.time in __index",
        BUDGET,
        "local t t = setmetatable({}, { __index = function() return os.time(t) + 1 end })"
        " while true do pcall(os.time, t) end",
    ),
    (
        "error object",
        ERROR,
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
    ),
    ("__gc", BUDGET, "while true do setmetatable({}, { __gc = function() while true do end end }) end"),
    # Depth.
    ("recursion", ERROR, "local function f() return 1 + f() end return f()"),
    ("recursion again", BUDGET, "local function f() return 1 + f() end while true do pcall(f) end"),
    ("arguments", ERROR, "local function f(...) return (f(1, ...)) end return f()"),
    ("traceback", BUDGET, "deep(10000, function() while true do debug.traceback() end end)"),
    ("traceback handler", BUDGET, "while true do xpcall(deep, debug.traceback, 1e6) end"),
    ("require", BUDGET, "deep(10000, function() while true do pcall(require, 'nope') end end)"),
    ("error levels", BUDGET, "deep(10000, function() while true do pcall(error, 'x', 9999) end end)"),
    # Patterns.
    ("find", BUDGET, "megabyte:find('a*a*a*a*a*b')"),
    ("match", BUDGET, "megabyte:match('.-.-.-.-b')"),
    ("gmatch", BUDGET, "for _ in megabyte:gmatch('a-a-a-b') do end"),
    ("gsub", BUDGET, "megabyte:gsub('(a*)*b', '%1')"),
    ("pattern and pcall", BUDGET, "while true do pcall(string.find, megabyte, 'a*a*a*a*b') end"),
    ("%b", BUDGET, "('('):rep(2^20):find('%b()')"),
    ("%1", BUDGET, "megabyte:find('(a*)%1b')"),
    ("%f", BUDGET, "while true do megabyte:find('%f[b]') end"),
    ("large set", BUDGET, "('x'):rep(2^20):find('[' .. megabyte .. ']')"),
    ("plain find", BUDGET, "local half = ('a'):rep(2^19) .. 'b' while true do megabyte:find(half, 1, true) end"),
    ("gsub function", BUDGET, "megabyte:gsub('a', function() while true do end end)"),
    ("gsub table", BUDGET, "megabyte:gsub('a', setmetatable({}, { __index = function() while true do end end }))"),
    ("gsub growth", BUDGET, "while true do pcall(string.gsub, megabyte, 'a', ('%0'):rep(1000)) end"),
    ("gsub template", BUDGET, "while true do pcall(string.gsub, megabyte, '', ('%1'):rep(2^19)) end"),
    # The library's C functions on large values.
    ("rep", BUDGET, "while true do pcall(string.rep, 'x', 2^24) end"),
    ("rep refused", ERROR, "return ('x'):rep(1e9)"),
    ("upper, lower, reverse", BUDGET, "local t = megabyte:rep(4) while true do pcall(string.upper, t)"
     " pcall(string.lower, t) pcall(string.reverse, t) end"),
    ("format", BUDGET, "local t = megabyte:rep(4) while true do pcall(string.format, '%q', t) end"),
    ("format widths", BUDGET, "local f = ('%99.99f'):rep(200) local t = {} for i = 1, 200 do t[i] = 1e308 end"
     " while true do f:format(unpack(t)) end"),
    ("tonumber", BUDGET, "local t = ('9'):rep(2^23) while true do tonumber(t) tonumber(t, 36) end"),
    ("comparison", BUDGET, "local a, b = megabyte .. 'a', megabyte .. 'b' while true do local _ = a < b end"),
    ("date", BUDGET, "local f = ('%c'):rep(499) while true do os.date(f) end"),
    ("date refused", ERROR, "os.date(('%c'):rep(1e6))"),
    ("doubling", BUDGET, "while true do pcall(function() local x = 'x' while true do x = x .. x end end) end"),
    ("large string", MEMORY, "local x = ('x'):rep(2^23) return x .. x .. x"),
    ("sort", BUDGET, "while true do local t = {} for i = 1, 20000 do t[i] = -i end table.sort(t) end"),
    ("sort function", BUDGET, "table.sort({ 3, 2, 1 }, function() while true do end end)"),
    ("sort invalid", BUDGET, "local t = {} for i = 1, 99 do t[i] = i end"
     " while true do pcall(table.sort, t, function() return true end) end"),
    ("sort long strings", BUDGET, "local t = {} for i = 1, 20 do t[i] = megabyte .. i end"
     " while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end"),
    ("concat", BUDGET, "local t = {} for i = 1, 1e5 do t[i] = i + 0.1 end while true do table.concat(t, ',') end"),
    ("insert in front", BUDGET, "local t = {} for i = 1, 2e5 do t[i] = i end while true do table.insert(t, 1, 0) end"),
    ("remove in front", BUDGET, "local t = {} for i = 1, 2e5 do t[i] = i end"
     " while true do t[#t + 1] = table.remove(t, 1) end"),
    ("move", BUDGET, "local t = { 1 } while true do table.move(t, 1, 1e6, 2) end"),
    ("unpack", BUDGET, "local t = {} for i = 1, 7000 do t[i] = i end while true do select('#', unpack(t)) end"),
    ("next", BUDGET, "local t = {} for i = 1, 5e4 do t['k' .. i] = 1 end for k in pairs(t) do t[k] = nil end"
     " while true do next(t) end"),
    ("rehash", BUDGET, "while true do local t = {} for i = 1, 1e5 do t['k' .. i] = i end end"),
    ("many strings", BUDGET, "local t = {} for i = 1, 1e9 do t[i % 3e5] = 'k' .. i end"),
    ("weak tables", BUDGET, "local t = setmetatable({}, { __mode = 'kv' }) for i = 1, 1e9 do t[i % 1e5] = {} end"),
    ("load", BUDGET, "local c = ('x=1 '):rep(60000) while true do load(c) end"),
    ("load jumps", BUDGET, "local c = 'local a return ' .. ('a or '):rep(2400) .. 'a' while true do load(c) end"),
    ("load refused", ERROR, "assert(load('local a return ' .. ('a or '):rep(50000) .. 'a'))"),
    ("load reader", BUDGET, "while true do load(function() return ' ' end) end"),
    ("load in load", BUDGET, "local function f() return load(f) end while true do pcall(f) end"),
    # Ours.
    ("json encode", BUDGET, "local t = {} for i = 1, 1e4 do t[i] = { a = i / 7 } end while true do json.encode(t) end"),
    ("json sparse", BUDGET, "local e = {} for i = 1, 5e4 do e['k' .. i] = 1 end for k in pairs(e) do e[k] = nil end"
     " local t = {} for i = 1, 1e4 do t[i] = e end while true do json.encode(t) end"),
    ("json decode", BUDGET, "local t = '[' .. ('[1.5],'):rep(1e5) .. '0]' while true do json.decode(t) end"),
    ("json text", BUDGET, "local t = '\"' .. ('\\\\u0041'):rep(1e5) .. '\"' while true do json.decode(t) end"),
    ("copy", BUDGET, "local t = {} for i = 1, 1e4 do t[i] = { i } end while true do tide.copy(t) end"),
    ("sha256", BUDGET, "local t = megabyte:rep(4) while true do crypto.sha256(t) end"),
    ("hmac", BUDGET, "local t = megabyte:rep(4) while true do crypto.hmac_sha256(t, t) end"),
    ("base64", BUDGET, "local t = megabyte:rep(4) while true do pcall(crypto.base64.encode, t) end"),
    ("log", BUDGET, "local t = megabyte:rep(4) while true do log.debug(t, { field = t }) end"),
    ("session", BUDGET, "if not conn then while true do end end"
     " while true do conn.session.n = (conn.session.n or 0) + 1 end"),
    ("tide.all", BUDGET, "if not conn then while true do end end"
     " while true do pcall(tide.all, { function() while true do pcall(function() while true do end end) end end }) end"),
    ("tide.spawn", BUDGET, "if not conn then while true do end end"
     " local t = tide.spawn(function() while true do end end) while true do pcall(t.wait, t) end"),
    (
        "coroutine in gsub in sort in handler",
        BUDGET,
        "xpcall(error, function() table.sort({ 3, 2, 1 }, function() return megabyte:gsub('a', coroutine.wrap(function()"
        " while true do pcall(coroutine.yield) end end)) end) end)",
    ),
]

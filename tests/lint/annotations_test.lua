--- The reader of annotations notices what it is there to notice: luajit annotations_test.lua ROOT
package.path = ... .. "/cmake/?.lua;" .. package.path
local annotations = require "annotations"

local HEAD = "---@meta m\n\n--- A module.\n---@class m\nlocal m = {}\n\n"
local good = HEAD .. [[
--- One of two.
---@alias m.Kind
---| "a"
---| "b"

--- A type.
---@class m.T: m.Base
---@field a? string|nil what
---@field b { x: number, ["y"]: m.Kind[] }
--- Called.
---@field c fun(x: m.T, ...: any): boolean, string?
---@field [string] table<string, (fun(): m.T)|false>

---@class m.Base

--- Does it.
--- Where: hooks.
---@generic K
---@param one K
---@param ... m.Kind|"c"
---@return K? value
---@return string? err why
function m.f(one, ...) end

return m
]]

local failed = 0
local function expect(text, wanted)
  local file = annotations.read("m.lua", text)
  local problems = table.concat(annotations.check { file }, "\n")
  local ok = wanted == "" and problems == "" or wanted ~= "" and problems:find(wanted, 1, true)
  if not ok then
    failed = failed + 1
    io.stderr:write(("%s\nshould give: %s\nand gives: %s\n"):format(text, wanted, problems))
  end
  return file
end

local file = expect(good, "")
assert(#file.classes == 3 and #file.aliases == 1 and #file.functions == 1)
assert(file.functions[1].where == "hooks" and file.functions[1].returns[2].doc == "why")
assert(file.classes[2].fields[3].type == "fun(x: m.T, ...: any): boolean, string?")
assert(file.classes[2].fields[3].doc[1] == "Called.")
assert(file.module == file.classes[1])

for _, case in ipairs {
  { "--- X.\n---@param a strng\nfunction m.f(a) end\n", "m.lua:8: the type strng is not defined" },
  { "--- X.\n---@param b string\nfunction m.f(a) end\n", "are (a), and what is declared is (b)" },
  { "--- X.\nfunction m.f(a) end\n", "the parameters are (a)" },
  { "--- X.\n---@param a string\n---@param b string\nfunction m.f(b, a) end\n", "declared is (a, b)" },
  { "---@param a string\nfunction m.f(a) end\n", "m.f: a sentence is missing" },
  { "--- X.\n---@parm a string\nfunction m.f() end\n", "m.lua:8: unknown tag @parm" },
  { "--- X.\n---@param a table<string\nfunction m.f(a) end\n", "expected in the type" },
  { "--- X.\n---@return fun(\nfunction m.f() end\n", "expected" },
  { "---@class m.T: m.Nobody\n", "the type m.Nobody is not defined" },
  { "---@class m.T\n---@field a string\n---@field a number\n", "the field a twice" },
  { "---@class m.T\n\n---@class m.T\n", "m.T is defined twice" },
  { "---@field a string\n", "a field outside a class" },
  { "--- X.\nfunction n.f() end\n", "n is no class" },
  { "---@return string\n\n", "parameters or results of no function" },
  { "--- Nobody's text.\n\n", "text that belongs to nothing" },
  { "local x = 1\n", "not understood" },
} do
  expect(HEAD .. case[1], case[2])
end
expect("---@class m\nlocal m = {}\n\nreturn m\n", "no @meta")

if failed > 0 then
  os.exit(1)
end
print "annotations_test: every problem was noticed"

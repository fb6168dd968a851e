--- Reads the annotations of lua/meta (LuaLS) into tables, and is strict about their form: what an editor
--- would silently pass over is a problem here.
--
-- A file of the name "_" is no module: it has types only, which stand with those of `tidegate`.
--
-- read(path, text) gives { path, name, doc, items, classes, aliases, functions, problems }, where
--   item      { kind = "section" | "class" | "alias" | "function", line, … } in the order of the file
--   class     { name, parents, doc, fields = { name, optional, type, doc }, methods, exact }
--   function  { name, owner (a class), colon, params, returns, generics, doc, where, line }
--   doc       lines of prose; where: what follows "Where:" in it
local read_type = require "annotation_types"

local M = {}

local BUILTIN = {}
local builtin = "nil boolean number integer string table function thread userdata lightuserdata any unknown "
  .. "true false self"
for name in builtin:gmatch "%a+" do
  BUILTIN[name] = true
end

-- --- one file -------------------------------------------------------------------------------------------

local File = {}
File.__index = File

function File:problem(text)
  self.problems[#self.problems + 1] = ("%s:%d: %s"):format(self.path, self.line, text)
end

-- Notes the names of the type for the check at the end.
function File:type_of(text)
  local type_text, names, rest = read_type(text)
  if not type_text then
    self:problem(names)
    return "any", ""
  end
  local block = self.block
  for _, name in ipairs(names) do
    block.mentions[#block.mentions + 1] = { name = name, line = self.line }
  end
  return type_text, rest
end

local TAGS = {}

function TAGS.meta(file, text)
  file.name = text
end

function TAGS.class(file, text)
  local block = file.block
  text = text:gsub("^%(exact%)%s*", "")
  local name, parents = text:match "^([%a_][%w_.]*)%s*:?%s*(.*)$"
  if not name then
    return file:problem "a class needs a name"
  end
  local class = { kind = "class", name = name, parents = {}, doc = block.doc, fields = {}, methods = {} }
  class.line = file.line
  for parent in parents:gmatch "[%a_][%w_.]*" do
    class.parents[#class.parents + 1] = parent
    block.mentions[#block.mentions + 1] = { name = parent, line = file.line }
  end
  block.doc = {}
  block.class = class
  file.classes[#file.classes + 1] = class
  file.items[#file.items + 1] = class
end

function TAGS.field(file, text)
  local block = file.block
  if not block.class then
    return file:problem "a field outside a class"
  end
  local name, optional, rest = text:match "^([%a_][%w_]*)(%??)%s+(.+)$"
  if not name then
    name, optional, rest = text:match "^(%b[])(%??)%s+(.+)$"
  end
  if not name then
    return file:problem "a field needs a name and a type"
  end
  local doc = block.doc
  block.doc = {}
  local type_text, after = file:type_of(rest)
  if after ~= "" then
    doc[#doc + 1] = after
  end
  local fields = block.class.fields
  for _, other in ipairs(fields) do
    if other.name == name then
      file:problem(("the field %s twice"):format(name))
    end
  end
  fields[#fields + 1] = { name = name, optional = optional == "?", type = type_text, doc = doc }
end

function TAGS.alias(file, text)
  local name, rest = text:match "^([%a_][%w_.]*)%s*(.*)$"
  if not name then
    return file:problem "an alias needs a name"
  end
  local alias = { kind = "alias", name = name, doc = file.block.doc, values = {}, line = file.line }
  file.block.doc = {}
  if rest ~= "" then
    alias.type = file:type_of(rest)
  end
  file.block.alias = alias
  file.aliases[#file.aliases + 1] = alias
  file.items[#file.items + 1] = alias
end

function TAGS.param(file, text)
  local name, optional, rest = text:match "^([%a_.][%w_.]*)(%??)%s+(.+)$"
  if not name then
    return file:problem "a parameter needs a name and a type"
  end
  local params = file.block.params
  local type_text, doc = file:type_of(rest)
  params[#params + 1] = { name = name, optional = optional == "?", type = type_text, doc = doc }
end

TAGS["return"] = function(file, text)
  local type_text, rest = file:type_of(text)
  local name, doc = rest:match "^([%a_][%w_]*)%s*(.*)$"
  if not name then
    name, doc = rest:match "^(%.%.%.)%s*(.*)$"
  end
  local returns = file.block.returns
  returns[#returns + 1] = { type = type_text, name = name, doc = doc or rest }
end

function TAGS.generic(file, text)
  for name in text:gmatch "[%a_][%w_]*" do
    file.block.generics[name] = true
  end
end

function TAGS.overload(file, text)
  file:type_of(text)
end

function TAGS.deprecated() end
function TAGS.nodiscard() end

local function new_block()
  return { doc = {}, params = {}, returns = {}, generics = {}, mentions = {} }
end

function File:close_block()
  local block = self.block
  for _, mention in ipairs(block.mentions) do
    mention.generics = block.generics
    self.mentions[#self.mentions + 1] = mention
  end
  if #block.params + #block.returns > 0 then
    self:problem "parameters or results of no function"
  end
  if #block.doc > 0 and not block.class and not block.alias then
    if #self.items == 0 and #self.doc == 0 then
      self.doc = block.doc
    else
      self:problem "text that belongs to nothing"
    end
  end
  self.block = new_block()
end

local function take_where(doc)
  for i, line in ipairs(doc) do
    local where = line:match "^Where: (.-)%.?$"
    if where then
      table.remove(doc, i)
      return where
    end
  end
  return nil
end

function File:check_params(names, block)
  local declared = {}
  for i, param in ipairs(block.params) do
    declared[i] = param.name
  end
  if table.concat(declared, ", ") ~= names then
    local text = "the parameters are (%s), and what is declared is (%s)"
    self:problem(text:format(names, table.concat(declared, ", ")))
  end
end

function File:take_function(owner_name, colon, name, params)
  local block = self.block
  local owner = self.vars[owner_name]
  if not owner then
    return self:problem(("%s is no class"):format(owner_name))
  end
  params = params:gsub("%s+", " ")
  self:check_params(params, block)
  local where = take_where(block.doc)
  if #block.doc == 0 then
    self:problem(("%s%s%s: a sentence is missing that says what it does"):format(owner_name, colon, name))
  end
  local func = {
    kind = "function", name = name, owner = owner, owner_name = owner_name, colon = colon == ":",
    line = self.line, params = block.params, returns = block.returns, doc = block.doc, where = where,
  }
  block.params, block.returns, block.doc, block.alias = {}, {}, {}, nil
  owner.methods[#owner.methods + 1] = func
  self.functions[#self.functions + 1] = func
  self.items[#self.items + 1] = func
  self:close_block()
end

function File:take_code(line)
  local name = line:match "^local ([%a_][%w_]*) = {}$"
  if name then
    self.vars[name] = self.block.class
    if not self.block.class then
      self:problem(("the local %s has no class"):format(name))
    end
    return self:close_block()
  end
  local owner, colon, method, params = line:match "^function ([%a_][%w_]*)([.:])([%a_][%w_]*)%((.-)%) end$"
  if owner then
    return self:take_function(owner, colon, method, params)
  end
  name = line:match "^return ([%a_][%w_]*)$"
  if name then
    self.module = self.vars[name]
    return self:close_block()
  end
  self:problem("not understood: " .. line)
end

function File:take_comment(text)
  local tag, rest = text:match "^@(%a+)%s*(.-)%s*$"
  local value = text:match "^|%s*(.+)$"
  if tag then
    if TAGS[tag] then
      TAGS[tag](self, rest)
    else
      self:problem("unknown tag @" .. tag)
    end
  elseif value then
    local alias = self.block.alias
    if alias then
      alias.values[#alias.values + 1] = self:type_of(value)
    else
      self:problem "a value of no alias"
    end
  else
    self.block.doc[#self.block.doc + 1] = (text:gsub("^ ", ""))
  end
end

function File:take_line(line)
  if line:find "^%-%-%-+$" and #line > 3 then
    self.after_rule = true
  elseif line:find "^%-%-%-" then
    self:take_comment(line:sub(4))
  elseif line:find "^%-%- " then
    if self.after_rule then
      self.items[#self.items + 1] = { kind = "section", text = line:sub(4), line = self.line }
    end
    self.after_rule = false
  elseif line == "" then
    self:close_block()
  else
    self:take_code(line)
  end
end

function M.read(path, text)
  local file = setmetatable({
    path = path, line = 0, doc = {}, items = {}, classes = {}, aliases = {}, functions = {}, vars = {},
    problems = {}, mentions = {}, block = new_block(),
  }, File)
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do
    file.line = file.line + 1
    file:take_line(line)
  end
  file:close_block()
  if not file.name then
    file:problem "no @meta"
  end
  return file
end

--- Problems that show only over all files: types that nobody defines, names that are defined twice.
function M.check(files)
  local known, problems = {}, {}
  for _, file in ipairs(files) do
    for _, list in ipairs { file.classes, file.aliases } do
      for _, item in ipairs(list) do
        if known[item.name] then
          problems[#problems + 1] = ("%s:%d: %s is defined twice"):format(file.path, item.line, item.name)
        end
        known[item.name] = true
      end
    end
  end
  for _, file in ipairs(files) do
    for _, problem in ipairs(file.problems) do
      problems[#problems + 1] = problem
    end
    for _, mention in ipairs(file.mentions) do
      if not (known[mention.name] or BUILTIN[mention.name] or mention.generics[mention.name]) then
        local text = "%s:%d: the type %s is not defined"
        problems[#problems + 1] = text:format(file.path, mention.line, mention.name)
      end
    end
  end
  return problems
end

-- "tidegate.lua", then files without a module, then modules by their name.
local function is_before(a, b)
  local types_a, types_b = a.name == "_", b.name == "_"
  if types_a ~= types_b and a.name ~= "tidegate" and b.name ~= "tidegate" then
    return types_a
  end
  return a.path < b.path
end

--- The files of a folder below the root: "tidegate.lua", its types, and then "tidegate/crypto.lua".
function M.read_folder(root, folder)
  local paths, files = {}, {}
  local find = assert(io.popen(("cd '%s' && find %s -name '*.lua'"):format(root, folder)))
  for path in find:lines() do
    paths[#paths + 1] = path
  end
  find:close()
  table.sort(paths)
  for i, path in ipairs(paths) do
    local stream = assert(io.open(root .. "/" .. path, "rb"))
    files[i] = M.read(path, stream:read "*a")
    stream:close()
  end
  table.sort(files, is_before)
  return files
end

return M

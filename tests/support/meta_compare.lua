--- Compares the annotations in lua/meta with what there is, both ways. Given: the root of the tree, and what
--- the program exports:
---   modules: name -> { field -> "function" | another type | such a table }, of those that a policy can load
---   classes: "tidegate.Conn" -> { member -> true }
---   hooks: name -> "name(parameters)"
---   files: the public Lua files below lua/; private: the others, where the library's types may be
--- Answers a list of differences.
local root, exports = ...
package.path = root .. "/cmake/?.lua;" .. root .. "/lua/?.lua;" .. package.path
local annotations = require "annotations"
local parser = require "tidegate._check.parser"

local differences = {}
local function differ(...)
  differences[#differences + 1] = (...):format(select(2, ...))
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Both maps have the same names.
local function compare(what, declared, there)
  for _, name in ipairs(sorted(declared)) do
    if there[name] == nil then
      differ("%s: %s is declared in lua/meta and does not exist", what, name)
    end
  end
  for _, name in ipairs(sorted(there)) do
    if declared[name] == nil then
      differ("%s: %s exists and is not declared in lua/meta", what, name)
    end
  end
end

local files = annotations.read_folder(root, "lua/meta")
local modules, classes = {}, {}
for _, file in ipairs(files) do
  modules[file.name] = file
  for _, class in ipairs(file.classes) do
    classes[class.name] = class
  end
end

local function members_of(class)
  local members = {}
  for _, field in ipairs(class.fields) do
    members[field.name] = field
  end
  for _, method in ipairs(class.methods) do
    members[method.name] = method
  end
  return members
end

-- --- modules ----------------------------------------------------------------------------------------------

local function compare_table(what, class, there)
  local declared = members_of(class)
  compare(what, declared, there)
  for name, kind in pairs(there) do
    local member = declared[name]
    local is_function = member and (member.kind == "function" or member.type:find "^fun%(" ~= nil)
    if member and is_function ~= (kind == "function") then
      local is = type(kind) == "table" and "table" or kind
      differ("%s: %s is a %s, and not what lua/meta says", what, name, is)
    elseif member and type(kind) == "table" and classes[member.type] then
      compare_table(what .. "." .. name, classes[member.type], kind)
    end
  end
end

for _, name in ipairs(sorted(exports.modules)) do
  local file = modules[name]
  if not file or not file.module then
    differ("lua/meta has no file that returns %s", name)
  else
    compare_table(name, file.module, exports.modules[name])
  end
end

-- --- modules written in Lua, by their text ----------------------------------------------------------------

-- The functions that the file sets in its own tables: table's name -> { function -> true }; which of these
-- tables have methods, and which is what the file returns.
local function functions_of(path)
  local stream = assert(io.open(root .. "/lua/" .. path, "rb"))
  local tree = assert(parser.parse(stream:read "*a"))
  stream:close()
  local owners, methods, returned = {}, {}, nil
  for _, node in ipairs(tree.returns) do
    if node.func == tree.chunk and node[1] and node[1].tag == "Name" then
      returned = node[1].name
    end
  end
  parser.walk(tree.chunk, function(node)
    for i, target in ipairs(node.tag == "Assign" and node.targets or {}) do
      local owner = target.tag == "Index" and target[1].tag == "Name" and target[1].name
      if owner and node[i] and node[i].tag == "Function" and target[2].tag == "String" then
        local name = target[2].value
        owners[owner] = owners[owner] or {}
        owners[owner][name] = name:sub(1, 1) ~= "_" or nil
        methods[owner] = methods[owner] or node[i].self
      end
    end
  end)
  return owners, methods, returned
end

-- The class of the file that has the most methods in common.
local function nearest_class(file, functions)
  local best, best_count = nil, 0
  for _, class in ipairs(file.classes) do
    local count = 0
    for _, method in ipairs(class.methods) do
      count = count + (functions[method.name] and 1 or 0)
    end
    if class ~= file.module and count > best_count then
      best, best_count = class, count
    end
  end
  return best
end

local function methods_of(class)
  local names = {}
  for _, method in ipairs(class.methods) do
    names[method.name] = true
  end
  return names
end

local matched = {} -- classes

local function compare_text(path)
  local name = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  local file = modules[name]
  if not file then
    return differ("lua/meta has no file for %s", name)
  end
  local owners, methods, returned = functions_of(path)
  if not exports.modules[name] and file.module then
    compare(name, methods_of(file.module), owners[returned] or {})
  end
  for _, owner in ipairs(sorted(owners)) do
    if owner ~= returned and methods[owner] then
      local class = nearest_class(file, owners[owner])
      if class then
        matched[class] = true
        compare(class.name, methods_of(class), owners[owner])
      else
        differ("%s: the methods of %s are not declared in lua/meta", name, owner)
      end
    end
  end
end

for _, path in ipairs(exports.files) do
  compare_text(path)
end

-- --- types of C -------------------------------------------------------------------------------------------

for _, name in ipairs(sorted(exports.classes)) do
  if classes[name] then
    compare(name, members_of(classes[name]), exports.classes[name])
  else
    differ("%s is not declared in lua/meta", name)
  end
end

-- --- types in private Lua files ---------------------------------------------------------------------------

-- The table of methods in them that has the most in common with what is declared.
local function nearest_methods(declared)
  local best, best_count = nil, 0
  for _, path in ipairs(exports.private) do
    local owners, methods = functions_of(path)
    for owner in pairs(methods) do
      local count = 0
      for name in pairs(declared) do
        count = count + (owners[owner][name] and 1 or 0)
      end
      if count > best_count then
        best, best_count = owners[owner], count
      end
    end
  end
  return best
end

for _, file in ipairs(files) do
  for _, class in ipairs(file.classes) do
    local compared = class == file.module or matched[class] or exports.classes[class.name]
    if #class.methods > 0 and not compared then
      local there = nearest_methods(methods_of(class))
      if there then
        compare(class.name, methods_of(class), there)
      else
        differ("%s: nothing has the methods of %s", file.name, class.name)
      end
    end
  end
end

-- --- hooks ------------------------------------------------------------------------------------------------

local hooks = {}
for _, field in ipairs(classes["tidegate.Policy"].fields) do
  local params = field.type:match "^fun(%b())"
  if params then
    hooks[field.name] = field.name .. params:gsub(":[^,)]*", "")
  end
end
compare("tidegate.Policy", hooks, exports.hooks)
for name, signature in pairs(exports.hooks) do
  if hooks[name] and hooks[name] ~= signature then
    differ("the hook %s is %s, and lua/meta says %s", name, signature, hooks[name])
  end
end

return differences

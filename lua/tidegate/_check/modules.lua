--- Which files belong to a policy, and what they require. Private: for `tidegate check`.
local parser = require "tidegate._check.parser"
local resolve = require "tidegate._check.resolve"

local M = {}

-- The requires of a file: { name, node, guarded, asked }; name "" when it is computed. guarded: an error is
-- caught; asked: pcall(require, "x") asks whether there is one.
local function requires_of(file)
  local list = {}
  parser.walk(file.tree.chunk, function(node, parent)
    local name, asked = resolve.required(node)
    if name then
      list[#list + 1] = { name = name, node = node, asked = asked, guarded = resolve.guarded(file, node) }
    end
    -- require itself handed on: to whom and with what is not known, but pcall(require, "x") is seen above.
    if node.tag == "Global" and node.name == "require" and parent.tag ~= "Local" then
      local known = parent.tag == "Call" and (parent[1] == node or resolve.required(parent) ~= nil)
      if not known then
        list[#list + 1] = { name = "", node = node, guarded = true }
      end
    end
  end)
  return list
end

--- The files that the policy consists of: its entry, what was loaded, and what any of them requires.
function M.reach(scan)
  local files, seen = {}, {}
  local function add(module)
    if seen[module] or not scan.facts.modules[module] then
      return
    end
    seen[module] = true
    local file = scan:file(module)
    if not file then
      return
    end
    files[#files + 1] = file
    file.requires = requires_of(file)
    for _, required in ipairs(file.requires) do
      add(required.name ~= "" and required.name or module)
    end
  end
  add ""
  local names = {}
  for name, module in pairs(scan.facts.modules) do
    if module.used then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add(name)
  end
  scan.reached = seen
  return files
end

local function is_library(name)
  return name == "tidegate" or name:find "^tidegate%." ~= nil
end

local function check_require(scan, file, required)
  local name, node = required.name, required.node
  local own = not is_library(name) and scan.facts.modules[name]
  if own then
    if scan.facts.loaded and not own.used and not required.asked and node.func.tag == "Function" then
      scan:error("late-require", file, node,
        ('module "%s" is required for the first time while the policy runs; '):format(name)
          .. "require it at the top of the file")
    end
    return
  end
  local why = not required.asked and scan.raised(scan.tools.require, name)
  if why and required.guarded then
    scan:warn("unknown-module", file, node, why)
  elseif why then
    scan:error("unknown-module", file, node, why)
  end
end

-- Specs themselves are no part of a policy; what they require is told by its name only.
local function is_for_tests(name)
  name = name:lower()
  return name:find "spec" or name:find "test" or name:find "helper" or name:find "fixture"
end

-- Only when every require is known, and only in a folder: beside a single file stand other policies.
local function check_unused(scan)
  for _, file in ipairs(scan.files) do
    for _, required in ipairs(file.requires) do
      if required.name == "" then
        return
      end
    end
  end
  for name, module in pairs(scan.facts.modules) do
    if not scan.reached[name] and not is_for_tests(name) then
      scan:warn("unused-file", module, {},
        ('nothing requires the module "%s"; remove the file, or require it'):format(name))
    end
  end
end

function M.check(scan)
  for _, file in ipairs(scan.files) do
    for _, required in ipairs(file.requires) do
      if required.name ~= "" then
        check_require(scan, file, required)
      end
    end
  end
  if scan.facts.folder and scan.facts.loaded then
    check_unused(scan)
  end
end

return M

--- Options that are read or given, and that the policy does not declare. Private: for `tidegate check`.
local resolve = require "tidegate._check.resolve"

-- Is one of them the other, or a group that holds it?
local function related(a, b)
  return a == b or a:sub(1, #b + 1) == b .. "." or b:sub(1, #a + 1) == a .. "."
end

local function any_related(path, list)
  for _, other in ipairs(list) do
    if related(path, other) then
      return true
    end
  end
  return false
end

-- A name from the environment cannot tell dots from underscores.
local function plain(path)
  return (path:gsub("%.", "_"):lower())
end

local function is_declared(option, declared, types)
  for _, name in ipairs(declared) do
    local member = types[name] == "table" and option.path:sub(1, #name + 1) == name .. "."
    if member or name == option.path or option.from_text and plain(name) == plain(option.path) then
      return true
    end
  end
  return false
end

-- The reads of tide.options, { path, node, file, defaulted }; and whether the whole table goes somewhere.
local function reads_of(scan)
  local reads, whole = {}, false
  scan:each_node(function(node, parent, file)
    if node.tag ~= "Index" then
      return
    end
    local path = resolve.path(node)
    if not path or path.kind ~= "module" or path.root ~= "tidegate" or path[1] ~= "options" then
      return
    end
    local longer = parent.tag == "Index" and parent[1] == node and resolve.string(parent[2])
    if #path == 1 and not longer and parent.tag ~= "Local" then
      whole = true
    elseif #path > 1 and not longer then
      local read = { path = table.concat(path, ".", 2), node = node, file = file }
      read.defaulted = parent.tag == "Binary" and parent.op == "or" and parent[1] == node
      reads[#reads + 1] = read
    end
  end)
  return reads, whole
end

local function paths(list)
  local out = {}
  for i, item in ipairs(list) do
    out[i] = item.path
  end
  return out
end

local function check_reads(scan, reads, declared)
  local given = paths(scan.facts.given)
  for _, read in ipairs(reads) do
    if not any_related(read.path, declared) and not any_related(read.path, given) then
      local near = scan.tools.suggest(read.path, declared)
      if near or not read.defaulted then
        local text = "tide.options." .. read.path .. " is read, and policy.options does not declare it"
        scan:warn("undeclared-option", read.file, read.node, scan:with_near(text, read.path, declared))
      end
    end
  end
end

local function check_given(scan, reads, whole, declared)
  local entry = scan.facts.modules[""]
  local line = scan.tools.line_of_key(entry.text, "options")
  for _, option in ipairs(scan.facts.given) do
    local near = scan.tools.suggest(option.path, declared)
    local read = any_related(option.path, paths(reads))
    if not is_declared(option, declared, scan.facts.declared) and not read and (near or not whole) then
      local text = "the option " .. option.path .. " is given, and policy.options does not declare it"
      scan:warn("unknown-option", entry, { line = line }, scan:with_near(text, option.path, declared))
    end
  end
end

return function(scan)
  local declared = {}
  for path in pairs(scan.facts.declared) do
    declared[#declared + 1] = path
  end
  if not scan.facts.loaded or #declared == 0 then
    return
  end
  table.sort(declared)
  local reads, whole = reads_of(scan)
  check_reads(scan, reads, declared)
  check_given(scan, reads, whole, declared)
end

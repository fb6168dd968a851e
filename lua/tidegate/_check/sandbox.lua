--- Names that a policy does not have, and fields that its libraries do not have, also in functions that have
--- not run. Private: for `tidegate check`.
--
-- There is no list here: what is missing is found, and worded, by reading it from the policy's own globals.
local resolve = require "tidegate._check.resolve"

local function get(t, key)
  return t[key]
end

local function set(t, key, value)
  t[key] = value
end

-- Does what is done with the value end in an error when it is nil?
local function is_needed(node, parent)
  return (parent.tag == "Call" or parent.tag == "Index" or parent.tag == "Method") and parent[1] == node
end

local function names_of(t)
  local names = {}
  for name in pairs(t) do
    if type(name) == "string" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

local function check_global(scan, file, node, name)
  local why
  if node.written then
    local is_function = node.assigned and node.assigned.tag == "Function"
    why = scan.raised(set, scan.tools.globals, name, is_function and set or true)
  else
    why = scan.raised(get, scan.tools.globals, name)
  end
  if not why then
    return
  end
  local code = why:find("is not available", 1, true) and "unavailable" or "undefined-global"
  if node.written then
    code = "global-write"
  end
  scan:report(resolve.guarded(file, node) and "warning" or "error", code, file, node, why)
end

-- The table that a path begins at, its name, and how many fields of the path lead there.
local function root_of(scan, path)
  if path.kind == "module" then
    if path.root ~= "tidegate" and not path.root:find "^tidegate%." then
      return nil
    end
    local why, module = scan.raised(scan.tools.require, path.root)
    return not why and module or nil, path.root
  elseif path.kind == "global" and path.root ~= "_G" then
    local why, library = scan.raised(get, scan.tools.globals, path.root)
    return not why and library or nil, path.root
  end
  return nil
end

-- Follows the path but for its last field.
local function holder_of(scan, path)
  local holder, name = root_of(scan, path)
  for i = 1, #path - 1 do
    if type(holder) ~= "table" or (name == "tidegate" and path[i] == "options") then
      return nil
    end
    local why
    why, holder = scan.raised(get, holder, path[i])
    name = name .. "." .. path[i]
    if why then
      return nil
    end
  end
  return type(holder) == "table" and holder or nil, name
end

local function path_key(path)
  return path.kind .. ":" .. path.root .. "." .. table.concat(path, ".")
end

-- Fields that a file asks for without needing them: it looks whether they are there.
local function note_asked(scan)
  scan:each_node(function(node, parent, file)
    file.asked = file.asked or {}
    if node.tag == "Index" and not node.written and not is_needed(node, parent) and parent.tag ~= "Local" then
      local path = resolve.path(node)
      if path and path.kind ~= "param" then
        file.asked[path_key(path)] = true
      end
    end
  end)
end

local function check_field(scan, file, node, parent)
  local path = resolve.path(node)
  if not path or #path == 0 or path.kind == "param" then
    return
  end
  if path.kind == "global" and path.root == "_G" then
    if #path == 1 then
      check_global(scan, file, node, path[1])
    end
    return
  end
  local holder, name = holder_of(scan, path)
  if not holder then
    return
  end
  local key = path[#path]
  if node.written then
    local why = scan.raised(set, holder, key, true)
    if why then
      scan:error("read-only", file, node, why)
    end
    return
  end
  local why, value = scan.raised(get, holder, key)
  if why then
    scan:report(resolve.guarded(file, node) and "warning" or "error", "unavailable", file, node, why)
  elseif value == nil and is_needed(node, parent) and not file.asked[path_key(path)] then
    local text = ('%s has no field "%s"'):format(name, key)
    scan:error("unknown-field", file, node, scan:with_near(text, key, names_of(holder)))
  end
end

-- crypto:sha256(x) gives the module as x.
local function check_colon(scan, file, node)
  local path = resolve.path(node[1])
  if path and #path == 0 and path.kind == "module" and root_of(scan, path) then
    local text = "%s.%s is called with a colon, so that its first argument is the module; write a dot"
    scan:warn("signature", file, node, text:format(path.root, node.name))
  end
end

return function(scan)
  note_asked(scan)
  scan:each_node(function(node, parent, file)
    if node.tag == "Global" then
      check_global(scan, file, node, node.name)
    elseif node.tag == "Index" then
      check_field(scan, file, node, parent)
    elseif node.tag == "Method" then
      check_colon(scan, file, node)
    end
  end)
end

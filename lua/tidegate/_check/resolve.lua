--- What an expression stands for, as far as its text tells: a global, a module, and a path of fields below.
--- Private: for `tidegate check`.
local M = {}

local DEPTH_MAX = 20

--- The text of a constant string, through locals that never change; or nil.
function M.string(node, depth)
  depth = depth or 0
  if node.tag == "String" then
    return node.value
  elseif node.tag == "Paren" then
    return M.string(node[1], depth)
  elseif node.tag == "Name" and node.var.writes == 0 and node.var.value and depth < DEPTH_MAX then
    return M.string(node.var.value, depth + 1)
  end
  return nil
end

--- The name of the module that a call requires; "" when that is computed, nil when it is no require.
function M.required(node)
  if node.tag ~= "Call" then
    return nil
  end
  local callee = M.path(node[1])
  if not callee or callee.kind ~= "global" then
    return nil
  end
  if callee.root == "require" and #callee == 0 then
    return node[2] and M.string(node[2]) or ""
  end
  if (callee.root == "pcall" or callee.root == "xpcall") and #callee == 0 and node[2] then
    local inner = M.path(node[2])
    if inner and inner.kind == "global" and inner.root == "require" and #inner == 0 then
      local argument = node[callee.root == "pcall" and 3 or 4]
      return argument and M.string(argument) or "", true
    end
  end
  return nil
end

--- { kind = "global" | "module" | "param", root = name or variable, field, … } or nil. Locals that never
--- change stand for what they began with.
function M.path(node, depth)
  depth = depth or 0
  if depth > DEPTH_MAX then
    return nil
  end
  if node.tag == "Global" then
    return { kind = "global", root = node.name }
  elseif node.tag == "Paren" then
    return M.path(node[1], depth + 1)
  elseif node.tag == "Name" then
    local var = node.var
    if var.writes > 0 then
      return nil
    elseif var.kind == "param" or var.kind == "self" then
      return { kind = "param", root = var }
    end
    return var.value and M.path(var.value, depth + 1)
  elseif node.tag == "Index" then
    local key = M.string(node[2])
    local path = key and M.path(node[1], depth + 1)
    if path then
      path[#path + 1] = key
    end
    return path
  elseif node.tag == "Call" then
    local name, guarded = M.required(node)
    return name and name ~= "" and not guarded and { kind = "module", root = name } or nil
  end
  return nil
end

--- Is an error in this node caught, because its function or one around it is what pcall is given?
function M.guarded(file, node)
  local func = node.func
  while func and func.tag == "Function" do
    if file.guarded[func] then
      return true
    end
    func = func.func
  end
  return false
end

return M

--- Which agents `route` can name. Private: for `tidegate check`.
local resolve = require "tidegate._check.resolve"

-- Adds the constants that the expression may give: { text, node }. True when it can be nothing else but
-- these and nil.
local function constants(node, out)
  local text = resolve.string(node)
  if text then
    out[#out + 1] = { text = text, node = node }
    return true
  elseif node.tag == "Nil" or node.tag == "False" then
    return true
  elseif node.tag == "Paren" then
    return constants(node[1], out)
  elseif node.tag == "Binary" and node.op == "or" then
    local left = constants(node[1], out)
    return constants(node[2], out) and left
  elseif node.tag == "Binary" and node.op == "and" then
    -- What stands before `and` is the result only when it is nil or false.
    return constants(node[2], out)
  end
  return false
end

-- The constants of all returns, and whether there is nothing else.
local function named_by(file, func)
  local out, certain = {}, true
  for _, node in ipairs(file.tree.returns) do
    if node.func == func and node[1] then
      certain = constants(node[1], out) and certain
    end
  end
  return out, certain
end

-- Names that anything else of the policy mentions: a text that a call is given, a field that is read.
local function mentioned(scan)
  local names = {}
  scan:each_node(function(node, parent)
    if node.tag == "String" and (parent.tag == "Call" or parent.tag == "Method") then
      names[node.value] = true
    elseif node.tag == "Index" and not node.written then
      local key = resolve.string(node[2])
      if key then
        names[key] = true
      end
    end
  end)
  return names
end

local function check_reach(scan, reached)
  local other = mentioned(scan)
  local names = {}
  for name in pairs(scan.facts.agents) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local place = scan.facts.agents[name]
    if not reached[name] and not other[name] then
      scan:warn("unreachable-agent", place, { line = place.line },
        ('the agent "%s" is never chosen: route names others only; name it there, or remove it'):format(name))
    end
  end
end

return function(scan)
  local place = scan.facts.hooks.route
  local func, file
  if place then
    func, file = scan:func(place)
  end
  if not func then
    return
  end
  local names, count = {}, 0
  for name in pairs(scan.facts.agents) do
    names[#names + 1] = name
    count = count + 1
  end
  local found, certain = named_by(file, func)
  local reached, wrong = {}, false
  for _, constant in ipairs(found) do
    reached[constant.text] = true
    if not scan.facts.agents[constant.text] then
      wrong = true
      local text = ('route names the agent "%s", and there is none'):format(constant.text)
      scan:error("unknown-agent", file, constant.node, scan:with_near(text, constant.text, names))
    end
  end
  -- A route that names nobody gets the only agent there is; one that misspells a name means one of these.
  if certain and count > 1 and not wrong then
    check_reach(scan, reached)
  end
end

--- What hooks and agents take, and what they do with it. Private: for `tidegate check`.
local parser = require "tidegate._check.parser"

-- Other names under which people know what a hook is given.
local SAME = {
  connection = "conn", creds = "credentials", cred = "credentials",
  msg = "message", ctx = "context", req = "request",
}

local function meaning(name)
  name = name:gsub("^_+", ""):lower()
  return SAME[name] or name
end

local function position(names, name)
  for i, candidate in ipairs(names) do
    if meaning(candidate) == meaning(name) then
      return i
    end
  end
  return nil
end

local function sentence(what, expected)
  return what .. "(" .. table.concat(expected, ", ") .. ")"
end

-- The first parameter whose name says that it is taken for another.
local function shifted(params, expected)
  for i, param in ipairs(params) do
    local meant = position(expected, param.name)
    if meant and meant ~= i and not (expected[i] and meaning(expected[i]) == meaning(param.name)) then
      return param, i
    end
  end
  return nil
end

local function check_signature(scan, file, func, what, expected)
  local right = sentence(what, expected)
  if func.self then
    scan:warn("signature", file, func,
      ("%s is written with a colon, so that it takes the %s as self; write function policy.%s"):format(
        func.name or what, expected[1], right))
    return
  end
  local param, at = shifted(func.params, expected)
  if param then
    scan:warn("signature", file, param,
      ('parameter %d of %s is "%s", but what comes there is the %s; the signature is %s'):format(
        at, what, param.name, expected[at] or "nothing", right))
  elseif #func.params > #expected then
    param = func.params[#expected + 1]
    if param.name ~= "_" then
      scan:warn("signature", file, param,
        ('%s is given %d value%s, so "%s" is always nil; the signature is %s'):format(
          what, #expected, #expected == 1 and "" or "s", param.name, right))
    end
  end
end

-- --- authenticate that lets everybody in -----------------------------------------------------------------

local function asks_request(func)
  local found = false
  parser.walk(func, function(node)
    found = found or node.tag == "Index" and node[2].tag == "String" and node[2].value == "request"
  end)
  return found
end

local function always_identity(file, func)
  local identities = 0
  for _, node in ipairs(file.tree.returns) do
    if node.func == func then
      if not node[1] or node[1].tag ~= "Table" then
        return false
      end
      identities = identities + 1
    end
  end
  return identities > 0
end

local function check_open(scan, file, func, what)
  local credentials = func.params[2]
  if not credentials or credentials.reads > 0 or credentials.name:find "^_" or func.vararg then
    return
  end
  if always_identity(file, func) and not asks_request(func) then
    scan:warn("open-door", file, func,
      ("%s never looks at %s and refuses nobody: everybody may connect; "):format(what, credentials.name)
        .. "if that is meant, leave the parameter out")
  end
end

-- --- what is given, by its fields ------------------------------------------------------------------------

-- conn and run refuse what they do not have; of the others, which are data, it is nil.
local REFUSES = { conn = true, run = true }

local function check_read(scan, file, node, kind, name)
  local names = scan.facts.fields[kind]
  for _, known in ipairs(names) do
    if known == name then
      return
    end
  end
  local text = scan:with_near(('%s has no field "%s"'):format(kind, name), name, names)
  scan:report(REFUSES[kind] and "error" or "warning", "unknown-field", file, node, text)
end

local function check_write(scan, file, node, kind, name)
  if kind ~= "conn" or name ~= "session" then
    local hint = kind == "conn" and "; keep data of your own in conn.session" or ""
    scan:error("read-only", file, node, ("%s.%s cannot be set: it is read-only%s"):format(kind, name, hint))
  end
end

local function check_fields(scan, file, func, param, kind)
  if not param or param.writes > 0 then
    return
  end
  parser.walk(func, function(node)
    local object = node[1]
    if not object or object.tag ~= "Name" or object.var ~= param then
      return
    end
    local name = node.tag == "Method" and node.name
    if node.tag == "Index" then
      name = node[2].tag == "String" and node[2].value
    end
    if node.tag == "Index" and node.written then
      check_write(scan, file, node, kind, name or "…")
    elseif name then
      check_read(scan, file, node, kind, name)
    end
  end)
end

local function check_given(scan, file, func, expected)
  if func.self or shifted(func.params, expected) then
    return
  end
  for i, kind in ipairs(expected) do
    if scan.facts.fields[kind] then
      check_fields(scan, file, func, func.params[i], kind)
    end
  end
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return function(scan)
  local facts = scan.facts
  for _, hook in ipairs(sorted(facts.hooks)) do
    local func, file = scan:func(facts.hooks[hook])
    local expected = facts.signatures[hook]
    if func and expected then
      check_signature(scan, file, func, hook, expected)
      if hook == "authenticate" then
        check_open(scan, file, func, hook)
      end
      check_given(scan, file, func, expected)
    end
  end
  for kind, signature in pairs{ agents = facts.signatures.agent, services = facts.signatures.service } do
    for _, name in ipairs(sorted(facts[kind])) do
      local func, file = scan:func(facts[kind][name])
      if func then
        check_signature(scan, file, func, name, signature)
        check_given(scan, file, func, signature)
      end
    end
  end
end

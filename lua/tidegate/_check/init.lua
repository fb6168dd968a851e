--- Looks at the text of a policy's files for what running them once does not show. Private: for
--- `tidegate check`, in a state of its own in which nothing of the policy runs.
--
-- scan(facts, tools), where facts are
--   folder (is the policy one?), has_origins, loaded (did it load?),
--   modules: name -> { path, text, used }; the entry's name is ""
--   hooks, agents, services: name -> { path, line, last } of the function, in a policy that loaded
--   signatures: hook -> names of what it is given; for agents, "agent"; for services, "service"
--   fields: "conn", "run", "request", "credentials" -> the names that it has
--   declared: path -> its type; given: list of { path, from_text }, the policy's options
-- and tools
--   globals, require: what policy code has; compile(text, path): nil, or why not
--   suggest(name, names): the nearest, or nil; line_of_key(text, key)
--   file(path): one of the files that the policy consists of, entry first
--   report(severity, code, path, line, column, text): "what; and what to do"
local parser = require "tidegate._check.parser"
local resolve = require "tidegate._check.resolve"
local modules = require "tidegate._check.modules"

local RULES = {
  require "tidegate._check.sandbox",
  require "tidegate._check.hooks",
  require "tidegate._check.route",
  require "tidegate._check.options",
  require "tidegate._check.habits",
}

local Scan = {}
Scan.__index = Scan

function Scan:report(severity, code, file, node, text)
  self.tools.report(severity, code, file.path, node.line or 0, node.column or 0, text)
end

function Scan:error(code, file, node, text)
  self:report("error", code, file, node, text)
end

function Scan:warn(code, file, node, text)
  self:report("warning", code, file, node, text)
end

--- `text`, and the nearest of the names as a hint.
function Scan:with_near(text, name, names)
  local near = self.tools.suggest(name, names)
  return near and ('%s; did you mean "%s"?'):format(text, near) or text
end

--- What a read or call raises, without the place where it did; nil when it does not. Then its result.
function Scan.raised(f, ...)
  local ok, result = pcall(f, ...)
  if ok then
    return nil, result
  end
  return (tostring(result):gsub("^[^\n]-:%d+: ", "", 1))
end

-- Which functions pcall is given, so that an error in them ends nothing.
local function find_guarded(file)
  file.guarded = {}
  parser.walk(file.tree.chunk, function(node)
    if node.tag == "Call" and node[2] and node[2].tag == "Function" then
      local callee = resolve.path(node[1])
      local is_global = callee and callee.kind == "global" and #callee == 0
      if is_global and (callee.root == "pcall" or callee.root == "xpcall") then
        file.guarded[node[2]] = true
      end
    end
  end)
end

--- The file of a module with its tree; nil when it has none (the mistake is reported, once).
function Scan:file(module)
  local known = self.known[module]
  if known ~= nil then
    return known or nil
  end
  local from = self.facts.modules[module]
  local file = { module = module, path = from.path, text = from.text, used = from.used }
  local why = self.tools.compile(from.text, from.path)
  local tree = not why and parser.parse(from.text) or nil
  if why then
    self:error("syntax", file, { line = tonumber(why:match ":(%d+): ") }, why:gsub("^.-:%d+: ", "", 1))
  end
  file.tree = tree
  self.known[module] = tree and file or false
  if tree then
    find_guarded(file)
  end
  return tree and file or nil
end

--- The function of a hook or an agent, and its file; nil when it is not one of the policy's own texts, or
--- when two stand on its lines.
function Scan:func(place)
  local found
  for _, file in ipairs(self.files) do
    for _, func in ipairs(file.path == place.path and file.tree.functions or {}) do
      if func.line == place.line and func.last == place.last then
        if found then
          return nil
        end
        found = { func, file }
      end
    end
  end
  if found then
    return found[1], found[2]
  end
  return nil
end

--- Calls visit(node, parent, file) for every node of every file.
function Scan:each_node(visit)
  for _, file in ipairs(self.files) do
    parser.walk(file.tree.chunk, function(node, parent)
      return visit(node, parent, file)
    end)
  end
end

return function(facts, tools)
  local scan = setmetatable({ facts = facts, tools = tools, known = {} }, Scan)
  scan.files = modules.reach(scan)
  for _, file in ipairs(scan.files) do
    tools.file(file.path)
  end
  modules.check(scan)
  for _, rule in ipairs(RULES) do
    rule(scan)
  end
end

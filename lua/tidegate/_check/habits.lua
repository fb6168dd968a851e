--- What runs, and should be written otherwise: waiting by computing, cookies that any page can use. Private:
--- for `tidegate check`.
local parser = require "tidegate._check.parser"
local resolve = require "tidegate._check.resolve"

local CLOCKS = {
  ["global:os.time"] = true, ["global:os.clock"] = true,
  ["module:tidegate.time.now"] = true, ["module:tidegate.time.monotonic"] = true,
}

local function is_clock(node)
  local path = node.tag == "Call" and resolve.path(node[1])
  if not path or path.kind == "param" then
    return false
  end
  return CLOCKS[path.kind .. ":" .. path.root .. "." .. table.concat(path, ".")] or false
end

-- What a loop does: calls (other than asking what time it is), asks a clock, can end by itself.
local function look_into(node, seen)
  seen = seen or { calls = false, clock = false, leaves = false }
  parser.walk(node, function(inner)
    if is_clock(inner) then
      seen.clock = true
    elseif inner.tag == "Call" or inner.tag == "Method" then
      seen.calls = true
    elseif inner.tag == "Break" or inner.tag == "Return" or inner.tag == "Goto" then
      seen.leaves = true
    end
    return inner.tag ~= "Function"
  end)
  return seen
end

local ALWAYS = { True = true, Number = true, String = true, Table = true }

local function check_loop(scan, file, node)
  local is_while = node.tag == "While"
  local condition, block = node[is_while and 1 or 2], node[is_while and 2 or 1]
  local in_condition, in_block = look_into(condition), look_into(block)
  if in_condition.calls or in_block.calls then
    return
  end
  if in_condition.clock then
    scan:warn("busy-wait", file, node,
      "this loop waits by computing, and is stopped when script.cpu_budget is used up; "
        .. "use time.sleep of tidegate.time")
    return
  end
  local never = condition.tag == "False" or condition.tag == "Nil"
  local endless = is_while and ALWAYS[condition.tag] or not is_while and never
  if endless and not in_block.leaves then
    scan:warn("endless-loop", file, node,
      "this loop never ends and never waits: script.cpu_budget will stop it; give it a condition or a break")
  end
end

local function names_cookies(node)
  local name = node.tag == "Method" and node.name or node.tag == "Index" and resolve.string(node[2])
  return name == "cookies" or name == "cookie"
end

return function(scan)
  local cookies
  scan:each_node(function(node, _, file)
    if node.tag == "While" or node.tag == "Repeat" then
      check_loop(scan, file, node)
    elseif not cookies and names_cookies(node) then
      cookies = { file, node }
    end
  end)
  if cookies and not scan.facts.has_origins then
    scan:warn("open-origins", cookies[1], cookies[2],
      "cookies are used and allowed_origins is not set: any web page that a user visits could connect as "
        .. "that user (cross-site WebSocket hijacking); set allowed_origins")
  end
end

--- What runs in place of `prepare` for a policy with services: its own `prepare`, and when that says yes all
-- checks at once. Private: loaded by the core, never by require.
--
-- A check that does not end in time is a service that is missing, not a hook that took too long.

local lib, tide, time, keep, seconds, services, prepare = ...
local error, select, type = lib.error, lib.select, lib.type
local concat, sort = lib.table.concat, lib.table.sort

local names = {}
for name in lib.pairs(services) do
  names[#names + 1] = name
end
sort(names)

local function ask(name, conn, context)
  local answer, why = services[name](conn, context)
  if answer == true then
    return true
  end
  if (answer ~= nil and answer ~= false) or (why ~= nil and type(why) ~= "string") then
    error("the service " .. name .. " must answer true, or nil and why it is missing; it answered "
      .. type(answer) .. (why == nil and "" or " and " .. type(why)), 0)
  end
  return nil, why or "missing"
end

local function check(conn, context)
  local tasks, late = {}, false
  for i = 1, #names do
    tasks[i] = tide.spawn(ask, names[i], conn, context)
  end
  local deadline = tide.spawn(function()
    time.sleep(seconds)
    late = true
    for i = 1, #tasks do
      tasks[i]:cancel()
    end
  end)
  local found, missing = {}, {}
  for i, name in lib.ipairs(names) do
    local answer, why = tasks[i]:wait()
    if not answer then
      if late and why == "cancelled" then
        why = "took too long to answer"
      end
      missing[#missing + 1] = name .. ": " .. why
    end
    found[name] = answer or why
  end
  deadline:cancel()
  keep(conn, found)
  if #missing > 0 then
    return tide.degraded(concat(missing, "; "))
  end
  return true
end

-- What is no clear yes goes to the core as it is.
local function after_prepare(conn, context, ...)
  local answer, why = ...
  if answer ~= true or why ~= nil or select("#", ...) > 2 then
    return ...
  end
  return check(conn, context)
end

return function(conn, context)
  if prepare then
    return after_prepare(conn, context, prepare(conn, context))
  end
  return check(conn, context)
end

--- task:wait and tide.all: what is raised inside a task is raised on where it is waited for. Private:
-- loaded by the core, never by require.
--
-- In Lua because what a wait returns cannot raise, and an error that the core raised then could not be
-- caught by the script.

local error, raw_wait, raw_all = ...

local function settle(ok, ...)
  if ok == false then
    error((...), 0)
  end
  if ok then
    return ...
  end
  return nil, ... -- cancelled
end

local function wait(task)
  return settle(raw_wait(task))
end

local function all(functions)
  return settle(raw_all(functions))
end

return wait, all

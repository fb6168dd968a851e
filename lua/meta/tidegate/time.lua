---@meta tidegate.time
--- Clocks, and a way to wait. `os.time` and `os.date` are there, too.

---@class tidegate.time
local time = {}

--- The time: unix seconds with a fraction.
---@return number
function time.now() end

--- Seconds from some start; never set back. For durations.
---@return number
function time.monotonic() end

--- Waits. Suspends this hook, agent or timer, never the worker.
--- Where: hooks, agents, timers.
---@param seconds number 0 to 86400
function time.sleep(seconds) end

return time

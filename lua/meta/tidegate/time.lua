---@meta tidegate.time

---@class tidegate.time
local time = {}

--- Unix seconds with a fraction.
---@return number
function time.now() end

--- Seconds from some start; never set back. For durations.
---@return number
function time.monotonic() end

--- Suspends this hook or agent, never the worker.
---@param seconds number 0 to 86400
function time.sleep(seconds) end

return time

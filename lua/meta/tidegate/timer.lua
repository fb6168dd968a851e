---@meta tidegate.timer

--- Work that the policy does by itself. Set timers at the top of a file, or anywhere else. They begin when
--- this version of the policy begins to serve and stop when another takes its place; a callback under
--- way then ends as other calls do.
---
--- Every worker runs its own. What one worker should do for all:
---
---     timer.every(60, function()
---       if kv.add("cleanup", true, { ttl = 55 }) then clean_up() end
---     end)
---
--- A callback has the budgets of a hook and no connection; it may wait, and reach connections with
--- `tide.send`. Its error is logged (`timer.failed`) and ends nothing else.
---@class tidegate.timer
local timer = {}

---@class tidegate.Timer
local Timer = {}

--- No more callbacks; one under way goes on.
---@return boolean was_set false: it was over already
function Timer:cancel() end

--- Once, so many seconds from now (at load time: from when this version begins to serve).
---@param seconds number 0 to a year
---@param fn fun(timer: tidegate.Timer)
---@return tidegate.Timer? timer
---@return string? err "too many timers" (1,000 at a time), "reloaded": another version serves
function timer.after(seconds, fn) end

--- Again and again. A callback that is still under way at the next tick lets that tick pass.
---@param seconds number 0.01 to a year
---@param fn fun(timer: tidegate.Timer)
---@return tidegate.Timer? timer
---@return string? err as above
function timer.every(seconds, fn) end

return timer

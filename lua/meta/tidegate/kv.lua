---@meta tidegate.kv

--- A small store that all workers of this process share: plain data under text keys (1 to 256 bytes). It
--- survives reloads, not the process. Memory is bounded (`kv.memory`): when it is full, what was used
--- longest ago goes, so keep here what can be made again. Never waits. Works everywhere, also while the
--- policy is loaded; what a version writes then stays when it is refused in the end. `tidegate check`
--- works on a store of its own.
---@class tidegate.kv
local kv = {}

--- What `set`, `add`, `incr` and `cas` take besides.
---@class tidegate.KvOptions
---@field ttl? number seconds (fractions, too) until the entry goes by itself

--- A copy of the value under a key.
---@param key string
---@return any value nil: there is none
function kv.get(key) end

--- Keeps a value, in place of what was there, its time to live included.
---@param key string
---@param value any plain data, not nil
---@param options? tidegate.KvOptions
---@return true? ok
---@return string? err "too large" (`kv.max_value`), "out of memory"; the old value stays
function kv.set(key, value, options) end

--- Sets only where there is nothing: a lock, or "once in so many seconds".
---@param key string
---@param value any plain data, not nil
---@param options? tidegate.KvOptions
---@return true? ok
---@return string? err "exists", "too large", "out of memory"
function kv.add(key, value, options) end

--- Adds to the number there; makes it from 0. The time to live is that of the beginning: given options count
--- only when this makes the entry. Exact, however many workers count at once.
---@param key string
---@param by? number 1 by default
---@param options? tidegate.KvOptions
---@return number? result
---@return string? err "not a number", "out of memory"
function kv.incr(key, by, options) end

--- Removes the entry.
---@param key string
---@return boolean existed
function kv.delete(key) end

--- Compare and set: sets if the value is still `expected` (nil: if there is none). Tables are equal when
--- they hold the same, in whatever order.
---@param key string
---@param expected any
---@param value any plain data, not nil
---@param options? tidegate.KvOptions as for set
---@return true? ok
---@return string? err "changed", "too large", "out of memory"
function kv.cas(key, expected, value, options) end

--- Seconds until the entry goes by itself.
---@param key string
---@return number? seconds math.huge: it stays; nil: there is none
function kv.ttl(key) end

return kv

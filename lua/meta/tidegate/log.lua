---@meta tidegate.log
--- One line each, with connection, run and policy version. Fields named like a secret (token, password,
--- secret, authorization, api_key, cookie, bearer) are written as "(redacted)". At most 16 fields.

---@class tidegate.log
local log = {}

--- For whoever looks for a mistake; not written unless `log.level` is debug.
---@param message string
---@param fields? table<string, string|number|boolean>
function log.debug(message, fields) end

--- What happens as it should.
---@param message string
---@param fields? table<string, string|number|boolean>
function log.info(message, fields) end

--- Something is worse than it should be, and goes on.
---@param message string
---@param fields? table<string, string|number|boolean>
function log.warn(message, fields) end

--- Somebody must act.
---@param message string
---@param fields? table<string, string|number|boolean>
function log.error(message, fields) end

return log

---@meta tidegate.log
--- One line each, with connection, run and policy version. Fields named like a secret (token, password,
--- secret, authorization, api_key, cookie, bearer) are written as "(redacted)". At most 16 fields.

---@class tidegate.log
local log = {}

---@param message string
---@param fields? table<string, string|number|boolean>
function log.debug(message, fields) end

---@param message string
---@param fields? table<string, string|number|boolean>
function log.info(message, fields) end

---@param message string
---@param fields? table<string, string|number|boolean>
function log.warn(message, fields) end

---@param message string
---@param fields? table<string, string|number|boolean>
function log.error(message, fields) end

return log

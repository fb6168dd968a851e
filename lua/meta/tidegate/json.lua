---@meta tidegate.json
--- JSON as clients and servers write it.

---@class tidegate.json
---@field null lightuserdata what `null` decodes to; is true in a condition
local json = {}

--- JSON of a value. A table with text keys becomes an object, one with keys 1…n an array, an empty one
--- `{}`. A mixture, functions, NaN and text that is not UTF-8 are refused. Read-only tables are fine.
---@param value any
---@return string? text
---@return string? err names the place: "value.users[3].name is not UTF-8 text"
function json.encode(value) end

--- The value of a JSON text. Strict (RFC 8259), to a depth of 64. Arrays stay arrays when they are encoded
--- again, also empty ones (they carry a mark, a metatable that cannot be replaced).
---@param text string
---@return any value
---@return string? err
function json.decode(text) end

--- Marks a table (a new one by default) as an array, so that it is `[]` when it is empty.
---@param list? table
---@return table list the same table
function json.array(list) end

--- Marks a table (a new one by default) as an object; number keys are written as text.
---@param object? table
---@return table object the same table
function json.object(object) end

return json

---@meta tidegate.crypto
--- Input is at most 4 MiB at once.

---@class tidegate.crypto
---@field base64 tidegate.crypto.Encoding RFC 4648 §4, padded; strict
---@field base64url tidegate.crypto.Encoding RFC 4648 §5, without padding; strict
local crypto = {}

---@class tidegate.crypto.Encoding
---@field encode fun(bytes: string): string
---@field decode fun(text: string): string?, string?

--- From the system's generator.
---@param n integer 1 to 65536
---@return string bytes
function crypto.random_bytes(n) end

---@param n integer bytes; the text is twice as long
---@return string
function crypto.random_hex(n) end

---@param bytes string
---@return string
function crypto.hex(bytes) end

---@param bytes string
---@return string digest 32 bytes; see `hex`
function crypto.sha256(bytes) end

---@param key string
---@param bytes string
---@return string digest 32 bytes; see `hex`
function crypto.hmac_sha256(key, bytes) end

--- In the same time wherever they differ: for secrets.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

return crypto

---@meta tidegate.crypto
--- Digests, random bytes and encodings. Input is at most 4 MiB at once.

---@class tidegate.crypto
---@field base64 tidegate.crypto.Encoding RFC 4648 §4, padded; strict
---@field base64url tidegate.crypto.Encoding RFC 4648 §5, without padding; strict
local crypto = {}

--- Bytes as text and back.
---@class tidegate.crypto.Encoding
--- Any bytes.
---@field encode fun(bytes: string): string
--- Nil and a reason for what is not exactly that encoding.
---@field decode fun(text: string): string?, string?

--- Bytes that nobody can guess, from the system's generator.
---@param n integer 1 to 65536
---@return string bytes
function crypto.random_bytes(n) end

--- The same, written in hexadecimal.
---@param n integer bytes; the text is twice as long
---@return string
function crypto.random_hex(n) end

--- Bytes in hexadecimal, with small letters.
---@param bytes string
---@return string
function crypto.hex(bytes) end

--- SHA-256, for what everybody may compute. It is no way to keep passwords.
---@param bytes string
---@return string digest 32 bytes; see `hex`
function crypto.sha256(bytes) end

--- HMAC with SHA-256: who does not know the key can neither make nor change it. Compare with `equal`.
---@param key string
---@param bytes string
---@return string digest 32 bytes; see `hex`
function crypto.hmac_sha256(key, bytes) end

--- Whether two texts are the same, in the same time wherever they differ: for secrets.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- A password as it may be kept: `pbkdf2-sha256:ITERATIONS:SALT:HASH`, with a salt of its own each time.
--- Waits while it is made, a slice at a time; the CPU budget is not used.
--- Where: hooks, agents, timers.
---@param password string at most 1,024 bytes, none of them zero
---@param iterations? integer 1,000 to 10,000,000; 600,000 by default
---@return string? hash
---@return string? err
function crypto.password_hash(password, iterations) end

--- Whether it is that password. Waits as `password_hash` does.
--- Where: hooks, agents, timers.
---@param password string
---@param hash string of `password_hash`
---@return boolean? good
---@return string? err when it is no such hash
function crypto.password_verify(password, hash) end

return crypto

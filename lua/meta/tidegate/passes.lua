---@meta tidegate.passes

--- Tickets that are good once, and tokens that are good no more: what `auth.ticket`, `auth.revocable` and
--- `auth.revoke` stand on. All workers share them; they survive reloads, not the process. Only digests of
--- tickets and of tokens' IDs are kept, where no other module can read or fill them.
---@class tidegate.passes
local passes = {}

---@class tidegate.TicketOrder
---@field identity tidegate.Identity what the ticket stands for; 4 KiB as JSON at most
---@field origin? string good only for pages of this origin: "https://app.example"
---@field ttl? number seconds, 300 at most; 60 by default

--- A ticket: 256 random bits, as text of 43 characters. Who shows it first is let in, once.
--- Where: hooks, agents, timers.
---@param order tidegate.TicketOrder
---@return string? ticket
---@return number|string expires_at unix seconds; without a ticket why: "too large", "too many", "out of memory"
function passes.issue(order) end

--- Uses a ticket up. Of many who show the same one, on whatever worker, exactly one gets its identity.
--- A ticket that another origin shows has leaked, and is void from then on.
--- Where: hooks, agents, timers.
---@param ticket string
---@param origin? string the `Origin` of who shows it
---@return tidegate.Identity? identity
---@return "unknown"|"expired"|"replayed"|"foreign"|nil why
function passes.take(ticket, origin) end

--- Remembers that a token is good no more, and closes the connections whose `identity.token_id` or `identity.jti`
--- it is, on all workers, with 4401. For longer than before, never for less. Waits for the other workers.
--- Where: hooks, agents, timers.
---@param token_id string 1 to 1024 bytes
---@param ttl number seconds: as long as the token would have been good
---@return integer? closed connections
---@return string? err "too many", "out of memory": it is not revoked
function passes.revoke(token_id, ttl) end

--- Has a token been revoked? `auth.revocable` asks.
---@param token_id string
---@return boolean
function passes.is_revoked(token_id) end

return passes

---@meta tidegate.agent.websocket

--- What `agent.websocket` takes: `require "tidegate.agent"`. Nothing else here is for policies.
---@class tidegate.agent.websocket
local websocket = {}

--- As `agent.websocket`.
---@param options tidegate.WebsocketAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function websocket.new(options) end

--- Which servers may be reached, and whose certificates count, is configured with `http.*`, for WebSockets as
--- for HTTP.
---@class tidegate.WebsocketAgentOptions
---@field url string ws:// or wss://
---@field headers? table<string, string|number> more headers of the upgrade request
---@field bearer? string the token of an Authorization header
---@field identity? string[]|boolean which fields of `conn.identity` are sent; none by default, true: all
---@field context? string[]|boolean which fields of `conn.context` are sent; all by default
--- Seconds to an open connection: the name's address, TLS, and the answer to the upgrade (http.connect_timeout).
---@field connect_timeout? number
--- Longest silence, in seconds (http.idle_timeout). A message or a ping of the upstream ends it, a pong does not.
---@field idle_timeout? number
--- After so many seconds without a byte we ping, and after as many again the upstream counts as lost; 20 by
--- default.
---@field ping_interval? number
---@field max_event? integer bytes of one message; 1 MiB by default, 8 MiB at most
---@field retries? integer more tries while nothing of an answer has come, 2 by default, 10 at most
--- Seconds that a connection may wait for another run after a run that ended well; false, the default: each run
--- has its own. The events of such an upstream should carry the `run_id` of the request: those of another run
--- are ignored.
---@field reuse? number|false
--- After so many runs one after the other that found nobody, the next ones of this worker end at once, for so
--- many seconds; { failures = 5, pause = 10 } by default. false: every run asks.
---@field circuit? { failures: integer, pause: number }|false

return websocket

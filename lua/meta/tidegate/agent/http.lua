---@meta tidegate.agent.http

--- What `agent.http` takes: `require "tidegate.agent"`. Nothing else here is for policies.
---@class tidegate.agent.http
local http = {}

--- As `agent.http`.
---@param options tidegate.HttpAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function http.new(options) end

---@class tidegate.HttpAgentOptions
---@field url string that is sent a POST for each run
--- How the answer comes. "sse", the default: text/event-stream, one JSON event in each `data`. "ndjson": one
--- in each line. "json": one answer in one piece, `{ "response": … }`, `{ "error": { "code", "message" } }`,
--- or text.
---@field stream? "sse"|"ndjson"|"json"
---@field headers? table<string, string|number> more headers
---@field bearer? string the token of an Authorization header
---@field identity? string[]|boolean which fields of `conn.identity` are sent; none by default, true: all
---@field context? string[]|boolean which fields of `conn.context` are sent; all by default
---@field timeout? number seconds for the whole run; without it there are the others, and `runs.timeout`
---@field connect_timeout? number seconds to a connection (http.connect_timeout)
---@field idle_timeout? number longest silence, in seconds (http.idle_timeout); a comment or empty line ends it
---@field max_event? integer bytes of one event, or of a whole JSON answer; 1 MiB by default
---@field retries? integer more tries while nothing of an answer has come, 2 by default, 10 at most
--- After so many runs one after the other that found nobody, the next ones of this worker end at once, for so
--- many seconds; { failures = 5, pause = 10 } by default. false: every run asks.
---@field circuit? { failures: integer, pause: number }|false

return http

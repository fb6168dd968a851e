---@meta tidegate
--- What policies get from `require "tidegate"`, and the shapes of everything that hooks and agents see.
--- Read by editors only.

--- Anything that can be kept apart from the script: no functions, coroutines or userdata inside.
---@alias tidegate.Plain nil|boolean|number|string|table

---@alias tidegate.AuthResult tidegate.Identity|tidegate.NeedMessage|tidegate.Rejection|nil
---@alias tidegate.ContextResult table|tidegate.Rejection|nil
---@alias tidegate.PrepareResult boolean|tidegate.Degradation|tidegate.Rejection|nil

---@alias tidegate.State
---| "connecting"
---| "accepted"
---| "authenticated"
---| "services_ready"
---| "processing_ready"
---| "processing"
---| "idle"
---| "degraded"
---| "reconnecting"
---| "closing"
---| "closed"
---| "failed"

--- An answer that only the module can make.
---@class tidegate.Rejection
---@class tidegate.NeedMessage
---@class tidegate.Degradation

-------------------------------------------------------------------------------------------------
-- The policy: a table of hooks, returned by policy.lua or init.lua.

--- In `upgrade`, `authenticate`, `reauthenticate`, `create_context` and `prepare` an error, a time-out
--- or a result of another shape means no.
---@class tidegate.Policy
---@field name? string
---@field version? string
---@field description? string
--- What the policy takes from the configuration.
---@field options? table<string, tidegate.OptionDeclaration|table>
--- Before 101: nothing lets the request go on.
---@field upgrade? fun(request: tidegate.Request): tidegate.Rejection?
--- Who it is. Required: there is no default.
---@field authenticate fun(conn: tidegate.Conn, c: tidegate.Credentials): tidegate.AuthResult, string?
--- When the client sends `authenticate` again. May extend, never change `user_id`. Without it
--- `authenticate` is asked.
---@field reauthenticate? fun(conn: tidegate.Conn, c: tidegate.Credentials): tidegate.AuthResult, string?
--- What belongs to this connection, from now on `conn.context`.
---@field create_context? fun(conn: tidegate.Conn, id: tidegate.Identity): tidegate.ContextResult, string?
--- Are the services there? `tide.degraded(why)`: yes, but something is missing; asked again later.
---@field prepare? fun(conn: tidegate.Conn, c: table?): tidegate.PrepareResult, string?
--- Which agent answers, and instead of `message.data` with what input. `nil` alone: the only agent there is.
---@field route? fun(conn: tidegate.Conn, message: tidegate.Message): string?, any
--- Any other JSON message.
---@field message? fun(conn: tidegate.Conn, message: tidegate.Message)
---@field binary? fun(conn: tidegate.Conn, bytes: string)
--- Instead of `route` and `message`: raw text, a protocol of your own.
---@field text? fun(conn: tidegate.Conn, text: string)
--- Once for each connection that was asked to authenticate, after every other hook.
---@field closed? fun(conn: tidegate.Conn, info: tidegate.CloseInfo)
---@field agents? table<string, fun(run: tidegate.Run, input: any): any>

---@class tidegate.OptionDeclaration
---@field type "string"|"number"|"boolean"
---@field default? string|number|boolean
---@field required? boolean
---@field secret? boolean never shown
---@field description? string

-------------------------------------------------------------------------------------------------
-- What hooks are given. All of it is read-only; `tide.copy` makes a table of your own.

---@class tidegate.Request
---@field method string
---@field path string as sent, not decoded
---@field query table<string, string> decoded; the first of equal keys
---@field headers table<string, string> names in lower case; repeated ones joined with ", "
---@field remote_address string "203.0.113.7:51234"
---@field tls tidegate.Tls|boolean true: a trusted proxy says that its client speaks TLS

---@class tidegate.Tls
---@field version string "TLSv1.2", "TLSv1.3"
---@field cipher string its IANA name
---@field server_name? string that the client asked for

--- What is absent or malformed is nil.
---@class tidegate.Credentials
---@field bearer? string `Authorization: Bearer …`, or the subprotocol `bearer.…`
---@field basic? { username: string, password: string }
---@field api_key? string the header `X-API-Key`, or `api_key` in the query
---@field query table<string, string>
---@field cookies table<string, string>
---@field subprotocols string[]
---@field message? tidegate.Message the client's `authenticate` message, when there was one
---@field remote_address string
---@field client_certificate? tidegate.ClientCertificate verified against `tls.client_ca`; else nil

---@class tidegate.ClientCertificate
---@field subject string "O=Example, CN=ada"
---@field subject_cn? string the CN, when there is exactly one
---@field issuer string
---@field serial string hex
---@field sans { dns: string[], email: string[], uri: string[], ip: string[] }
---@field fingerprint_sha256 string hex, of the whole certificate
---@field not_before integer unix seconds
---@field not_after integer unix seconds
---@field verified true

--- Plain data of your choice around `user_id`.
---@class tidegate.Identity
---@field user_id string 1 to 256 bytes; text, also when your database has numbers
---@field expires_at? number unix seconds; the core asks the client to authenticate again shortly before
---@field [string] any

--- A message from the client: its decoded JSON, a table of your own. `null` is `json.null`.
---@class tidegate.Message
---@field type string
---@field id? string|number
---@field data? any
---@field [string] any

---@class tidegate.CloseInfo
---@field code integer
---@field reason string
---@field clean boolean both sides said goodbye
---@field state tidegate.State where it was when it began to end

-------------------------------------------------------------------------------------------------
-- conn

--- A connection. Safe to keep: after its end fields are nil (but `id`) and methods return `nil, "closed"`.
--- Writing to a field other than `session` fails the connection.
---@class tidegate.Conn
---@field id string assigned by the core on accept; never another
---@field state tidegate.State
---@field user_id? string from `authenticated` on
---@field identity? tidegate.Identity read-only
---@field context? table read-only
---@field request tidegate.Request read-only
---@field connected_at number unix seconds
---@field policy_version string
--- Plain data of your own, kept by the core across hooks and reloads. Written back when the call that
--- read it waits or ends; keep `conn`, not `conn.session`, beyond that.
---@field session table
local Conn = {}

--- Sends a table as JSON, or text as it is (UTF-8). Waits, the script and not the worker, while the
--- client has too much unread already.
---@param message table|string
---@return true? ok
---@return string? err "closed"; "limit exceeded" when too much waits for the client and it is ended
function Conn:send(message) end

---@param bytes string
---@return true? ok
---@return string? err
function Conn:send_binary(bytes) end

---@param code? integer 1000 by default; 3000 to 4999 are yours
---@param reason? string short; shown to the client
---@return true? ok
---@return string? err "closed"
function Conn:close(code, reason) end

-------------------------------------------------------------------------------------------------
-- run

--- One run of an agent. What the agent function returns is the response.
---@class tidegate.Run
---@field id string
---@field agent string
---@field conn tidegate.Conn
local Run = {}

--- Event `agent_thinking`.
---@param text string
---@return true? ok
---@return string? err "closed"
function Run:thinking(text) end

--- Event `agent_delta`: a streamed piece of the answer.
---@param text string
---@return true? ok
---@return string? err "closed"
function Run:delta(text) end

--- Calls `fn(arguments)` between `tool_executing` and `tool_completed`. `fn` may wait. Its error is
--- reported to the client without file and line, and raised on.
---@generic A, R
---@param name string
---@param arguments A anything that JSON can say
---@param fn fun(arguments: A): R, ...
---@return R result what `fn` returns; nil when the run is over
---@return any ...
function Run:tool(name, arguments, fn) end

--- True once the run is over for a reason from outside (cancelled, timed out, connection lost).
---@return boolean
function Run:cancelled() end

-------------------------------------------------------------------------------------------------
-- What clients receive.

---@alias tidegate.EventType
---| "agent_started"
---| "agent_thinking"
---| "agent_delta"
---| "tool_executing"
---| "tool_completed"
---| "agent_completed"
---| "agent_error"

---@class tidegate.Event
---@field type tidegate.EventType
---@field run_id string
---@field seq integer per connection, from 1, without gaps
---@field timestamp string RFC 3339, UTC, milliseconds
---@field agent string
---@field data tidegate.EventData

---@class tidegate.EventData
---@field request_id? string|number agent_started
---@field text? string agent_thinking, agent_delta
---@field tool_call_id? string tool_executing, tool_completed
---@field name? string tool_executing, tool_completed
---@field arguments? any tool_executing
---@field result? any tool_completed
---@field error? string tool_completed
---@field duration_ms? integer tool_completed, agent_completed
---@field response? any agent_completed
---@field code? string agent_error
---@field message? string agent_error

-------------------------------------------------------------------------------------------------
-- The module.

---@class tidegate
---@field options table the configuration's `options`; read-only
---@field version string
local tide = {}

--- `upgrade`'s no, with an HTTP status from 400 to 599. In later hooks 4000 is added to make it a close
--- code: `tide.reject(403, "…")` closes with 4403.
---@param status integer
---@param reason? string shown to the client
---@return tidegate.Rejection
function tide.reject(status, reason) end

--- `authenticate`'s answer when it must see the client's `authenticate` message first.
---@return tidegate.NeedMessage
function tide.need_message() end

--- `prepare`'s answer when it works, but something is missing.
---@param why string shown to the client
---@return tidegate.Degradation
function tide.degraded(why) end

--- Sends to any connection of this process. Waits when another worker has it.
---@param connection_id string
---@param message table|string
---@return true? ok
---@return string? err "closed", also for an ID that never was
function tide.send(connection_id, message) end

--- Closes any connection of this process. Waits when another worker has it.
---@param connection_id string
---@param code? integer
---@param reason? string
---@return true? ok
---@return string? err
function tide.close(connection_id, code, reason) end

--- A deep copy that is yours to change, of anything read-only.
---@generic T
---@param value T
---@return T
function tide.copy(value) end

return tide

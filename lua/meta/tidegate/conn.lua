---@meta _

-------------------------------------------------------------------------------------------------
-- What hooks are given. All of it is read-only; `tide.copy` makes a table of your own.

--- The request that asked for the WebSocket.
---@class tidegate.Request
---@field method string "GET"
---@field path string as sent, not decoded
---@field query table<string, string> decoded; the first of equal keys
---@field headers table<string, string> names in lower case; repeated ones joined with ", "
---@field remote_address string "203.0.113.7:51234"
---@field tls tidegate.Tls|boolean true: a trusted proxy says that its client speaks TLS
---@field via_proxy boolean it came from one of `trusted_proxies`; else its headers are the client's own words

--- How the connection is encrypted.
---@class tidegate.Tls
---@field version string "TLSv1.2", "TLSv1.3"
---@field cipher string its IANA name
---@field server_name? string that the client asked for
--- Why the certificate that the client gave counts as none: "not_trusted" (by another CA), "expired",
--- "not_yet_valid", "invalid". Only with `tls.client_auth` = "optional".
---@field client_certificate_error? string

--- What is absent or malformed is nil.
---@class tidegate.Credentials
---@field bearer? string `Authorization: Bearer …`, or the subprotocol `bearer.…`
---@field basic? { username: string, password: string } `Authorization: Basic …`
---@field api_key? string the header `X-API-Key`, or `api_key` in the query
---@field query table<string, string> as in the request
---@field cookies table<string, string> set `allowed_origins`, or any web page can send them
---@field subprotocols string[] that the client offers
---@field message? tidegate.Message the client's `authenticate` message, when there was one
---@field remote_address string as in the request
---@field client_certificate? tidegate.ClientCertificate verified against `tls.client_ca`; else nil

--- The certificate that the client has proved to own.
---@class tidegate.ClientCertificate
---@field subject string "O=Example, CN=ada"
---@field subject_cn? string the CN, when there is exactly one
---@field issuer string as subject
---@field serial string hex
---@field sans { dns: string[], email: string[], uri: string[], ip: string[] } its alternative names
---@field fingerprint_sha256 string hex, of the whole certificate
---@field not_before integer unix seconds
---@field not_after integer unix seconds
---@field verified true one that is not never gets here

--- Plain data of your choice around `user_id`.
---@class tidegate.Identity
---@field user_id string 1 to 256 bytes; text, also when your database has numbers. It never changes
---@field expires_at? number unix seconds; the core asks the client to authenticate again shortly before
---@field [string] any

--- A message from the client: its decoded JSON, a table of your own. `null` is `json.null`.
---@class tidegate.Message
---@field type string
---@field id? string|number
---@field data? any
---@field [string] any

--- How a connection ended.
---@class tidegate.CloseInfo
---@field code integer of the close frame; 1006 when there was none
---@field reason string what was said with it
---@field clean boolean both sides said goodbye
---@field state tidegate.State where it was when it began to end

-------------------------------------------------------------------------------------------------
-- conn: what a script sees of a connection.

--- A connection. Safe to keep: after its end fields are nil (but `id`) and methods return `nil, "closed"`.
--- Writing to a field other than `session` fails the connection.
---@class tidegate.Conn
---@field id string assigned by the core on accept; never another
---@field state tidegate.State where it is now
---@field user_id? string from `authenticated` on
---@field identity? tidegate.Identity what `authenticate` returned; read-only
---@field context? table what `create_context` returned; read-only
---@field request tidegate.Request read-only
--- What was found when `policy.services` were asked last: true, or why it is missing; read-only.
---@field services table<string, true|string>
---@field connected_at number unix seconds
---@field policy_version string of the policy that serves it now
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

--- Sends a binary frame. Waits as `conn:send` does.
---@param bytes string
---@return true? ok
---@return string? err as of `conn:send`
function Conn:send_binary(bytes) end

--- Begins to end the connection. What was sent before still arrives; `closed` runs when it is over.
---@param code? integer 1000 by default; 3000 to 4999 are yours
---@param reason? string short; shown to the client
---@return true? ok
---@return string? err "closed"
function Conn:close(code, reason) end

--- Says that a service which was there is missing now: when an agent's request to it fails, say. The connection is
--- degraded at once, or when its last run has ended; the client gets `connection_ready` with that state and the
--- reason; and `prepare` and `policy.services` are asked again, with back-off, until all is well.
---@param why string for the client: short, no secrets
---@return true? ok also when it is degraded already
---@return string? err "closed"; "not ready" during setup, where `prepare` answers
function Conn:degrade(why) end

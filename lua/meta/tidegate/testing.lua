---@meta tidegate.testing

--- For specs, which `tidegate test` runs: hosts that serve a policy as a server does, in memory and with a
--- clock that stands still until the spec moves it. Everything that can happen at a moment has happened
--- when a function returns; what needs time happens in `host:advance`.
---
---     local testing = require "tidegate.testing"
---     it("greets", function()
---       local client = testing.host("greeter.lua"):connect{ bearer = "demo-key" }
---       client:execute("World", "greeter")
---       assert.equal("Hello World", client:expect("agent_completed").data.response)
---     end)
---
--- Hosts that a test makes are closed after it, all others after their file. When a spec fails, its message
--- ends with what the policy has logged.
---@class tidegate.testing
local testing = {}

--- A policy as text.
---@class tidegate.TestPolicy
---@field source? string one file
---@field files? table<string, string> several, "init.lua" among them

---@class tidegate.TestHostOptions: tidegate.TestPolicy
---@field options? table the policy's own: tide.options
---@field config? table keys of the configuration, nested or with dots: { ["limits.max_message"] = "1KiB" }
---@field time? number unix time at the start, in seconds; now by default

--- A host that serves the policy. Raises when that does not load.
---@param policy string|tidegate.TestHostOptions a path, from the spec's folder or the current one; or texts
---@param options? tidegate.TestHostOptions
---@return tidegate.TestHost
function testing.host(policy, options) end

--- A JSON Web Token, as `jwt.sign` makes it, for policies that ask for one:
---
---     local token = testing.jwt({ sub = "ada", aud = "agents", exp = host:now() + 600 },
---       { key = { secret = SECRET }, algorithm = "HS256" })
---
--- `iat` and `expires_in` are counted from the time of this machine, as hosts' clocks are that were given none.
---@param claims table<string, any>
---@param options tidegate.JwtSignOptions
---@return string token
function testing.jwt(claims, options) end

---@class tidegate.TestHost
local Host = {}

---@class tidegate.TestConnectOptions
---@field path? string "/" by default
---@field query? table<string, string|number>|string
---@field headers? table<string, string|string[]>
---@field bearer? string
---@field cookies? table<string, string>
---@field origin? string
---@field subprotocols? string[] { "tidegate.v1" } by default
---@field remote? string address of the client, such as "203.0.113.7:4711" or "unix"
---@field tls? boolean as if over TLS
---@field client_certificate? table as in credentials.client_certificate; over TLS
---@field compress? boolean offers permessage-deflate

--- A client, connected as far as the policy lets it.
---@param options? tidegate.TestConnectOptions
---@return tidegate.TestClient
function Host:connect(options) end

--- Lets time pass, 1e9 seconds in all: timers fire, scripts wake, identities expire, each at its moment and in order.
---@param seconds number
---@return number now
function Host:advance(seconds) end

--- Lets everything happen that needs no time. All other functions do so by themselves.
function Host:run_until_idle() end

--- Unix time by the host's clock, which its scripts read.
---@return number seconds
function Host:now() end

---@class tidegate.TestRequest
---@field method string
---@field url string
---@field headers table<string, string> names in lower case
---@field body? string
---@field json? any the body decoded, if it says that it is JSON
---@field timeout? number seconds

---@class tidegate.TestAnswer
---@field status? integer 200 by default
---@field headers? table<string, string>
---@field body? string
---@field json? any sent as JSON
---@field delay? number seconds until the head
---@field fault? tidegate.HttpCode in place of an answer
---@field chunks? (string|tidegate.TestChunk)[] the body piece by piece

---@class tidegate.TestChunk
---@field [1]? string
---@field delay? number seconds since the piece before
---@field fault? tidegate.HttpCode ends the answer

---@alias tidegate.TestAnswerer fun(request: tidegate.TestRequest): tidegate.TestAnswer|tidegate.HttpCode|nil

--- How an upstream answers: with the same each time, with what the function says, or with a fault. What was
--- given last is looked at first. A request that nothing answers fails the spec.
---@param pattern string "https://api.example/v1/*", "POST https://…"; without a query: any query
---@param answer tidegate.TestAnswer|tidegate.HttpCode|tidegate.TestAnswerer
function Host:http(pattern, answer) end

--- What the policy has asked upstreams for, oldest first.
---@param pattern? string as in http
---@return tidegate.TestRequest[]
function Host:requests(pattern) end

--- A WebSocket that the policy has opened to another server.
---@class tidegate.TestLink
---@field url string
---@field headers table<string, string> names in lower case
---@field messages (table|string)[] what the policy has sent, oldest first; JSON objects as tables
---@field close_code? integer with which the policy has closed it

--- What an upstream sends: a text; a table with `type`, which goes as JSON; or one of these with more to say.
---@class tidegate.TestLinkPiece
---@field [1]? string|table
---@field delay? number seconds since the piece before
---@field binary? boolean
---@field close? integer the upstream closes, with this code
---@field fault? tidegate.HttpCode ends the connection

---@alias tidegate.TestLinkPieces (string|table|tidegate.TestLinkPiece)[]

---@alias tidegate.TestLinkReply fun(message: table|string, link: tidegate.TestLink): tidegate.TestLinkPieces?

---@class tidegate.TestLinkAnswer
---@field status? integer of a refusal; without it the upgrade is accepted
---@field delay? number seconds until then
---@field fault? tidegate.HttpCode in place of an answer
--- What is answered to each message of the policy.
---@field messages? tidegate.TestLinkPieces|tidegate.TestLinkReply

---@alias tidegate.TestLinkAnswerer fun(link: tidegate.TestLink): tidegate.TestLinkAnswer|tidegate.HttpCode|nil

--- How an upstream that speaks WebSocket behaves: always the same, as the function says, or with a fault. What
--- was given last is looked at first. A connection that nothing accepts fails the spec.
---
---     host:websocket("wss://agents.example/*", { messages = {
---       { type = "agent_delta", text = "Hel" }, { { type = "agent_completed", response = "Hello" }, delay = 1 },
---     } })
---@param pattern string "wss://agents.example/*"; without a query: any query
---@param answer tidegate.TestLinkAnswer|tidegate.HttpCode|tidegate.TestLinkAnswerer
function Host:websocket(pattern, answer) end

--- The WebSockets that the policy has opened, oldest first.
---@param pattern? string as in websocket
---@return tidegate.TestLink[]
function Host:websockets(pattern) end

--- An agent that the policy has started as a process, and the spec plays: nothing is really run, and anything may
--- be, whatever `agents.processes` says.
---@class tidegate.TestProcess
---@field command string[] the program and its arguments
---@field env table<string, string>
---@field messages (table|string)[] what it was sent, oldest first, decoded
---@field running boolean

--- What a process writes: a text; a table with `type`, which goes as an event of the run that was asked for (unless
--- it has a `run_id` of its own); or one of these with more to say.
---@class tidegate.TestProcessPiece
---@field [1]? string|table
---@field delay? number seconds since the piece before
---@field exit? integer it ends with that status
---@field signal? integer it is killed by that signal

---@alias tidegate.TestProcessPieces (string|table|tidegate.TestProcessPiece)[]
---@alias tidegate.TestPlayer fun(message: table|string, process: tidegate.TestProcess): tidegate.TestProcessPieces?

--- How an agent behaves that is a process: what it writes for each run, or what the function says for each message,
--- `agent_cancel` as well. What was given last is looked at first. A command that nothing plays fails the spec.
---
---     host:process("python3 agent.py", {
---       { type = "agent_delta", text = "Hel" }, { { type = "agent_completed", response = "Hello" }, delay = 1 },
---     })
---@param pattern string of the whole command: "python3 *.py"
---@param answer tidegate.TestProcessPieces|tidegate.TestPlayer
function Host:process(pattern, answer) end

--- The processes that the policy has started, oldest first.
---@param pattern? string as in process
---@return tidegate.TestProcess[]
function Host:processes(pattern) end

--- Takes the policy anew, or another. A version that does not load changes nothing.
---@param policy? string|tidegate.TestPolicy
---@return string? version
---@return string? err
function Host:reload(policy) end

--- Back to the version before the last reload.
---@return string? version
---@return string? err
function Host:rollback() end

--- Of the policy that serves.
---@return string
function Host:version() end

--- Stops the host in order, as SIGTERM stops a server; drain_timeout counts on its clock.
function Host:drain() end

--- The sum of a metric's samples that have these labels; nil: there are none. Without a name, all as
--- Prometheus text.
---@param name? string
---@param labels? table<string, string>
---@return number|string|nil
function Host:metrics(name, labels) end

---@class tidegate.TestLog
---@field time string
---@field level "error"|"warn"|"info"|"debug"
---@field event string
---@field fields table<string, any>

--- The log so far, or the lines of one event.
---@param event? string "hook.failed", "policy.log"
---@return tidegate.TestLog[]
function Host:logs(event) end

--- Drops everything. It is done by itself after the test, or the file.
function Host:close() end

--- A client's view, and what the server knows of its connection.
---@class tidegate.TestClient
---@field state tidegate.State|"refused" refused: it never became a connection
---@field id? string
---@field user_id? string
---@field identity? table
---@field context? any
---@field session? table
---@field policy_version? string
---@field over boolean the client has seen the end
---@field close_code? integer that the client got
---@field close_reason? string
---@field status? integer HTTP status of the answer to the upgrade
---@field headers table<string, string> of that answer
---@field body? string of a refusal
---@field messages any[] all that came, as `read` gives them
local Client = {}

--- A table goes as JSON, text as it is.
---@param message table|string
function Client:send(message) end

--- Sends a binary frame.
---@param bytes string
function Client:send_binary(bytes) end

--- Sends an `authenticate` message.
---@param data string|table the token, or all of `data`
function Client:authenticate(data) end

--- Sends an `agent_execution`.
---@param message string|table data.message, or all of `data`
---@param agent? string
---@param id? string the request's
---@return string? run_id nil when no run has started (yet)
function Client:execute(message, agent, id) end

--- Sends an `agent_cancel`.
---@param run_id string
function Client:cancel(run_id) end

--- The next message that has come; nil: none.
---@return table|string|nil message JSON objects as tables
---@return "json"|"text"|"binary"|nil kind
function Client:read() end

--- The same, as it was sent.
---@return string? data
---@return "text"|"binary"|nil kind
function Client:read_raw() end

--- The next message of a type; those before it are passed over. Raises when there is none, with what came.
---@param type string
---@return table
function Client:expect(type) end

--- All agent events so far, or those of one run, whether they were read or not.
---@param run_id? string
---@return table[]
function Client:events(run_id) end

--- An orderly end.
---@param code? integer 1000 by default
---@param reason? string
function Client:close(code, reason) end

--- The connection is lost without a word.
function Client:drop() end

--- The client reads nothing any more.
---@param bytes? integer what the network takes for it; 0 by default
function Client:stall(bytes) end

--- It reads again.
function Client:resume() end

---@class tidegate.TestTransition
---@field from tidegate.State
---@field to tidegate.State
---@field reason string
---@field at string RFC 3339
---@field time number unix seconds

--- The connection's last moves, oldest first.
---@return tidegate.TestTransition[]
function Client:transitions() end

--- The states that it was in, in order.
---@return tidegate.State[]
function Client:states() end

return testing

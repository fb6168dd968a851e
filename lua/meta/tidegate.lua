---@meta tidegate
--- What policies get from `require "tidegate"`, and the shapes of everything that hooks and agents see.

-------------------------------------------------------------------------------------------------
-- The policy: a table of hooks, returned by policy.lua or init.lua.

--- In `upgrade`, `authenticate`, `reauthenticate`, `create_context` and `prepare` an error, a time-out
--- or a result of another shape means no.
---@class tidegate.Policy
---@field name? string what the policy is called
---@field version? string for people; the version that counts is made of the files' content
---@field description? string for people
--- What the policy takes from the configuration.
---@field options? table<string, tidegate.OptionDeclaration|table>
--- Before 101, with the request as it came. Returning nothing lets it go on; `tide.reject(status, why)` answers
--- it with that HTTP status.
---@field upgrade? fun(request: tidegate.Request): tidegate.Rejection?
--- Who it is. Required: there is no default. A reason that is returned beside nil is shown to the client, whose
--- connection closes with 4401; or, with an HTTP status as third value, with 4000 more: `nil, "no", 403`. A word
--- as third value, `nil, "the key has expired", "expired"`, is what the denial is counted by.
---@field authenticate fun(conn: tidegate.Conn, credentials: tidegate.Credentials): tidegate.AuthResult, string?, any
--- When the client sends `authenticate` again. May extend, never change `user_id`. Without it
--- `authenticate` is asked.
---@field reauthenticate? fun(conn: tidegate.Conn, credentials: tidegate.Credentials): tidegate.AuthResult, string?, any
--- What belongs to this connection, from now on `conn.context`.
---@field create_context? fun(conn: tidegate.Conn, identity: tidegate.Identity): tidegate.ContextResult, string?
--- Are the services there? `tide.degraded(why)`: yes, but something is missing; asked again later.
---@field prepare? fun(conn: tidegate.Conn, context: table?): tidegate.PrepareResult, string?
--- Which agent answers, and instead of `message.data` with what input. `nil` alone: the only agent there is.
---@field route? fun(conn: tidegate.Conn, message: tidegate.Message): string?, any
--- Any JSON message whose `type` is not one of Tidegate's own.
---@field message? fun(conn: tidegate.Conn, message: tidegate.Message)
--- A binary frame, as it came.
---@field binary? fun(conn: tidegate.Conn, bytes: string)
--- Instead of `route` and `message`: raw text, a protocol of your own.
---@field text? fun(conn: tidegate.Conn, text: string)
--- Before the first hook or run of a connection under another version of the policy than served it before,
--- also after a rollback: bring its session into this version's form. May wait; what came meanwhile waits
--- behind it. Cancelled while it waits, it begins anew before the next hook.
---@field migrate? fun(conn: tidegate.Conn, session: table, from_version: string)
--- Once for each connection that was asked to authenticate, after every other hook.
---@field closed? fun(conn: tidegate.Conn, info: tidegate.CloseInfo)
--- The agents by name; `input` is `message.data`, or what `route` gave in its place. What a function returns is
--- the response; a table as second result (`{ usage = … }`) is put beside it in the data of
--- `agent_completed`. `nil, "why", "code"` ends the run with `agent_error`, shown to the client as they are;
--- without a code it is "agent_failed".
---@field agents? table<string, tidegate.AgentFunction|tidegate.AgentDeclaration>
--- What a connection needs, by name: asked all at once when `prepare` has said yes, or when there is none. What
--- is missing makes the connection degraded, and is asked again later. True: it is there; nil or false, and
--- why: it is not. One that takes longer than 5 seconds (or half of `script.wall_budget`) is missing.
---@field services? table<string, fun(conn: tidegate.Conn, context: table?): boolean?, string?>

--- An agent. What it returns is the response.
---@alias tidegate.AgentFunction fun(run: tidegate.Run, input: any): any, any, string?

--- An agent and what each of its runs may use. What is left out has no limit but the configuration's.
---@class tidegate.AgentDeclaration
---@field run tidegate.AgentFunction
---@field timeout? number seconds, all that it calls included; then `agent_error` `timeout`. `runs.timeout` holds, too
---@field max_tool_calls? integer one more ends the run with `tool_budget`
---@field max_tokens? integer that it and the runs below it may spend; more ends it with `token_budget`
---@field max_concurrent_per_user? integer runs of it that one user has at a time; one more is refused: `too_many_runs`

--- One option in `policy.options`. A table without `type` is a group of options, and dots in a name make
--- groups, too.
---@class tidegate.OptionDeclaration
--- A value from a flag or the environment is read as this. The members of a table have the names that are given
--- (`options.keys.ada=…`), and are not read as anything.
---@field type "string"|"number"|"boolean"|"table"
---@field default? string|number|boolean|table of that type; without one, and not given, the option is nil
---@field required? boolean without a value the policy is refused
---@field secret? boolean its value is in no text, log or answer
---@field description? string for people

-------------------------------------------------------------------------------------------------
-- Types that others are made of.

--- Anything that can be kept apart from the script: no functions, coroutines or userdata inside.
---@alias tidegate.Plain nil|boolean|number|string|table

--- An identity: yes. `tide.need_message()`: not before the client's `authenticate` message. Nil and a
--- reason, or `tide.reject`: no.
---@alias tidegate.AuthResult tidegate.Identity|tidegate.NeedMessage|tidegate.Rejection|nil
--- Plain data: what the core keeps as `conn.context`. Nil and a reason, or `tide.reject`: no.
---@alias tidegate.ContextResult table|tidegate.Rejection|nil
--- True: everything is there. `tide.degraded`: something is missing, and it works without. Nil or false
--- and a reason, or `tide.reject`: no.
---@alias tidegate.PrepareResult boolean|tidegate.Degradation|tidegate.Rejection|nil

--- Where a connection is in its life; the README says what moves there are.
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

--- What `tide.reject` makes.
---@class tidegate.Rejection
--- What `tide.need_message` makes.
---@class tidegate.NeedMessage
--- What `tide.degraded` makes.
---@class tidegate.Degradation

-------------------------------------------------------------------------------------------------
-- What clients receive.

--- The order of a run's events: `agent_started` first, one of the last two at the end, the rest in between.
---@alias tidegate.EventType
---| "agent_started"
---| "agent_thinking"
---| "agent_delta"
---| "tool_executing"
---| "tool_completed"
---| "agent_completed"
---| "agent_error"

--- What the client gets of a run. Agents make events by what they do; the core writes them.
---@class tidegate.Event
---@field type tidegate.EventType
---@field run_id string of the run
---@field parent_run_id? string of the run that called it (`run:call`, `run:hand_off`)
---@field seq integer per connection, from 1, without gaps
---@field timestamp string RFC 3339, UTC, milliseconds
---@field agent string whose run it is
---@field policy_version string of the policy that executes the run
---@field data tidegate.EventData

--- What an event tells; which of it there is depends on the type.
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
---@field handed_off_to? string agent_completed, agent_error: the run whose end this is (`run:hand_off`)
---@field usage? any agent_completed, when the agent tells what it used
---@field finish_reason? string agent_completed, when the agent tells why its answer ended: "stop", "length"
---@field code? string agent_error
---@field message? string agent_error

-------------------------------------------------------------------------------------------------
-- The module tidegate.

--- What a policy may know of the server's configuration when it is loaded. Read-only.
---@class tidegate.Server
---@field listen string[] the addresses, as configured: "127.0.0.1:8080", "wss://…", "unix:…", "systemd"
---@field allowed_origins string[]
---@field trusted_proxies string[]
--- `tls.client_auth`; nil where nobody listens: `check`, `test`, `repl`
---@field client_auth? "none"|"optional"|"required"

---@class tidegate
---@field server tidegate.Server
---@field options table the configuration's `options`; read-only
---@field version string of the program
---@field worker integer which worker this is, from 1; 0 where a policy is only checked
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
--- Where: hooks, agents, timers.
---@param connection_id string
---@param message table|string
---@return true? ok
---@return string? err "closed", also for an ID that never was
function tide.send(connection_id, message) end

--- Closes any connection of this process. Waits when another worker has it.
--- Where: hooks, agents, timers.
---@param connection_id string
---@param code? integer as of `conn:close`
---@param reason? string as of `conn:close`
---@return true? ok
---@return string? err "closed", also for an ID that never was
function tide.close(connection_id, code, reason) end

--- Closes all connections of a user, on all workers, and waits for their number.
--- Where: hooks, agents, timers.
---@param user_id string
---@param code? integer as of `conn:close`
---@param reason? string as of `conn:close`
---@return integer? closed connections; those that are closing already do not count
---@return string? err "out of memory"
function tide.close_user(user_id, code, reason) end

--- Begins `fn(...)` beside what runs here; it gets its first turn when this waits. It has the same conn
--- and run, the same wall budget and a CPU budget of its own between two waits; exceeding that, or the
--- memory, ends the whole hook, agent or timer. An error that nobody waits for is logged (`task.failed`).
--- 1,000 tasks at a time.
---@param fn fun(...): any
---@param ... any 16 at most
---@return tidegate.Task
function tide.spawn(fn, ...) end

--- Runs all functions at once and waits for all. When one raises, the others are cancelled and its error is
--- raised here. A function that returns nil puts nothing under its key; its second value, if any, is
--- what went wrong: `nil, "why"`.
---@generic K
---@param functions table<K, fun(): any, any>
---@return table<K, any> results each function's first result under its key
---@return table<K, any>? errors second results of those that returned nil first; nil when there are none
function tide.all(functions) end

--- A deep copy that is yours to change, of anything read-only.
---@generic T
---@param value T
---@return T
function tide.copy(value) end

return tide

---@meta _

-------------------------------------------------------------------------------------------------
-- run: what an agent sees of its run.

--- One run of an agent. What the agent function returns is the response.
---@class tidegate.Run
---@field id string in every event of the run
---@field agent string its name
---@field conn tidegate.Conn for which it runs
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
---@param name string of the tool, as the client sees it
---@param arguments A anything that JSON can say
---@param fn fun(arguments: A): R, ...
---@return R result what `fn` returns; nil when the run is over
---@return any ...
function Run:tool(name, arguments, fn) end

--- For a tool that somebody else executes: `tool_executing` now, and `tool_completed` when the call that is
--- returned is given its result. The end of the run closes what is still open. At most 256 are open at a time.
---@param name string of the tool, as the client sees it
---@param arguments? any anything that JSON can say
---@return tidegate.ToolCall? call
---@return string? err "closed", "too many tool calls are open"
function Run:tool_started(name, arguments) end

--- Runs another agent of the policy as a run below this one: with a run_id of its own, events of its own that carry
--- `parent_run_id`, and the limits of its agent. Waits for its end; `tide.all` has several run at once. It ends
--- when this run does. 8 deep; `runs.max_children` at a time below a client's run.
---@param agent string
---@param input? any plain data
---@return any response as the client sees it (`json.null` for nil); nil when it failed
---@return any details what the agent returned beside its response, if anything; or why it failed
---@return string? code of its `agent_error`; "unknown_agent", "too_many_runs", "too_deep" when it did not begin
function Run:call(agent, input) end

--- Calls another agent, and leaves the rest to it: this run ends with that one's response or error, and says so with
--- `handed_off_to`. Does not return then; write `return run:hand_off(…)`.
---@param agent string
---@param input? any plain data
---@return nil
---@return string message why the other did not begin
---@return string code as of `run:call`
function Run:hand_off(agent, input) end

--- Counts tokens against `max_tokens` of this run and of those above it. The outermost that is over its limit ends
--- with `token_budget`, and this one with it.
---@param cost { tokens: number }
---@return number? left under all these limits; `math.huge` without any
---@return string? err "closed"
function Run:spend(cost) end

--- True once the run is over for a reason from outside (cancelled, timed out, connection lost).
---@return boolean
function Run:cancelled() end

--- A tool call that waits for its one answer.
---@class tidegate.ToolCall
local ToolCall = {}

--- Event `tool_completed` with a result.
---@param result any anything that JSON can say
---@return true? ok
---@return string? err "closed"
function ToolCall:completed(result) end

--- Event `tool_completed` with an error. The client sees its first 120 bytes, without file and line.
---@param err string
---@return true? ok
---@return string? err "closed"
function ToolCall:failed(err) end

-------------------------------------------------------------------------------------------------
-- Tasks.

--- Work that goes on beside the hook, agent or timer that began it, and ends with it at the latest: when
--- that returns, fails, is cancelled or takes too long, its tasks are cancelled where they wait.
---@class tidegate.Task
local Task = {}

--- Waits until it has ended. An error inside is raised here, as it was; waiting again gives the same.
--- Only the hook, agent or timer it works for can wait for it, and other tasks of that.
---@return any ... what the function returned (16 values at most); `nil, "cancelled"` when it was cancelled
function Task:wait() end

--- Ends it where it waits; what it waits for is cancelled, too.
---@return boolean under_way false: it had ended already
function Task:cancel() end

---@meta tidegate.agent

--- Agents that others answer. Each function returns one for `policy.agents`. They end a run that went wrong
--- with `agent_error` and one of these codes, besides those of the core; texts of the other side go to the
--- log, not to the client.
---
---     policy.agents = {
---       assistant = agent.openai({
---         base_url = tide.options.base_url,
---         api_key = tide.options.api_key,
---         model = tide.options.model,
---         system = "Answer in one sentence.",
---       }),
---     }
---@class tidegate.agent
local agent = {}

--- Not reachable, or lost in the middle; too slow; it says no (400, 401, 403 …); over its limit (429); nothing
--- that can be read; it failed without a code of its own; a model that calls tools without end; a request without
--- `data.message`.
---@alias tidegate.AgentCode
---| "upstream_unavailable"
---| "upstream_timeout"
---| "upstream_refused"
---| "rate_limited"
---| "bad_upstream_answer"
---| "upstream_error"
---| "too_many_rounds"
---| "bad_input"

--- A model behind an OpenAI-compatible chat-completions API. What it says becomes `agent_delta`, what it thinks
--- (`reasoning_content`, `reasoning`) `agent_thinking`, and tools that it calls run at once, each as a pair of
--- events. The response is the text of its last round; `agent_completed` has `usage`, summed over the rounds,
--- and `finish_reason` beside it.
---
--- What was said is kept in `conn.session.agent_history`, for each agent by its name. 429, 5xx and lost
--- connections are tried again, with growing pauses or when the server says (60 s at most), until the first
--- byte of an answer; `runs.timeout` ends it all.
---@param options tidegate.OpenaiOptions
---@return fun(run: tidegate.Run, input: any): string?, table|string|nil, string?
function agent.openai(options) end

--- An agent of yours that runs elsewhere, as a web service in any language. Each run is one POST of JSON with
--- `run_id`, `agent`, `connection_id`, `user_id`, `identity`, `context`, `message` and `input`; `Idempotency-Key` is
--- the run's ID. What it answers is a stream of the agent events of Tidegate's own protocol, their members in
--- `data` or beside `type`:
---
---     {"type": "agent_thinking", "text": …}        {"type": "agent_delta", "text": …}
---     {"type": "tool_executing", "tool_call_id": …, "name": …, "arguments": …}
---     {"type": "tool_completed", "tool_call_id": …, "result": …}            or with "error": text
---     {"type": "agent_completed", "response": …}   {"type": "agent_error", "code": …, "message": …}
---
--- The first terminal event ends the run, with the upstream's own code (lower-case letters, digits and _; else
--- `upstream_error`) and message. `run_id`, `seq` and `timestamp` are the core's, whatever it sends; events of
--- other types are ignored. A stream that breaks the order, is no JSON or ends early ends the run with
--- `bad_upstream_answer`. A cancelled run closes the request. 429, 502, 503 and failing connections are tried again.
---@param options tidegate.HttpAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function agent.http(options) end

return agent

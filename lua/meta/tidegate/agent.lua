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

--- An agent of yours that runs elsewhere and speaks WebSocket. Each run opens a connection to it and sends one
--- text message, the JSON of `agent.http`'s POST with `"type": "agent_execution"`; the text messages that come
--- back are the same events, carried out by the same rules. After the last one the connection is closed, or
--- kept for the next run (`reuse`).
---
--- A run that is cancelled, or ends in another way before its upstream has said so, sends
--- `{"type": "agent_cancel", "run_id": …}` and closes. A connection that ends before the last event ends the run:
--- 1000 with `bad_upstream_answer`, 1008, 4400, 4401 and 4403 with `upstream_refused`, 4429 with `rate_limited`,
--- others, and the lack of a close frame, with `upstream_unavailable`. Until the first event, failing
--- connections, 429, 502, 503 and close codes 1001, 1012 and 1013 are tried again.
---
--- While nobody takes its events (the client reads slowly) the upstream is not read either, and its pings wait,
--- too: one that pings should wait longer for the answer than its clients may be slow.
---@param options tidegate.WebsocketAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function agent.websocket(options) end

--- An agent of yours that is a child process of the server: for trying things out, and for programs that are no
--- service. It reads lines of JSON on its standard input, and writes lines on its standard output. Each run is a
--- line with `"type": "agent_execution"` and what `agent.http` sends; each line that it writes is one of the events
--- of `agent.http`, with the `run_id` of its run:
---
---     {"type": "agent_execution", "run_id": "run_…", "agent": …, "user_id": …, "message": …, "input": …}
---     {"type": "agent_cancel", "run_id": "run_…"}        nobody waits for this run any more
---
---     {"run_id": "run_…", "type": "agent_delta", "text": …}
---     {"run_id": "run_…", "type": "agent_completed", "response": …}
---
--- Declare it at the top of the file. The operator must allow the program (`agents.processes`), else the policy does
--- not load. Each worker starts a process of its own with its first run, in the policy's folder, and gives it all
--- runs, several at a time. A process whose output is not taken has to wait; what it writes to standard error is
--- logged (`process.says`), and so are lines that are for no run (`process.line_dropped`).
---
--- One that ends fails its runs with `upstream_unavailable`, but for a run that nothing has come of when it had
--- answered others: that one is asked again, once. The next run starts it anew, at once or, when it keeps ending,
--- after a pause. After a reload the old process goes on with the runs of its version and ends with the last of
--- them. To end it, its input is closed; a second later it gets SIGTERM, two seconds later SIGKILL, with all that it
--- has started. When the server is killed it only reads the end of its input.
---@param options tidegate.ProcessAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function agent.process(options) end

return agent

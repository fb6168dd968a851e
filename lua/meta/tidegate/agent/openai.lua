---@meta tidegate.agent.openai

--- What `agent.openai` takes: `require "tidegate.agent"`. Nothing else here is for policies.
---@class tidegate.agent.openai
local openai = {}

--- As `agent.openai`.
---@param options tidegate.OpenaiOptions
---@return fun(run: tidegate.Run, input: any): string?, table|string|nil, string?
function openai.new(options) end

--- A function of yours that the model may call.
---@class tidegate.OpenaiTool
---@field description? string tells the model what it is good for
--- JSON schema of an object: what the arguments are checked against before `run` sees them. `type`, `enum`,
--- `const`, `required`, `properties`, `additionalProperties`, `items`, the bounds (`minimum` …), `anyOf`,
--- `oneOf`, `allOf` and `not` are checked; other words that restrict (`pattern`, `$ref`) are refused.
---@field parameters? table
--- Called between `tool_executing` and `tool_completed`, at once with the other calls of the same answer. A text
--- goes to the model as it is, anything else as JSON. `nil, "why"`, or an error, is told to the model.
---@field run fun(run: tidegate.Run, arguments: table): any, string?

--- What is kept of a conversation, at most; by default 40 messages and 32 KiB.
---@class tidegate.OpenaiHistory
---@field messages? integer
---@field bytes? integer about; stay below `limits.session_bytes`, less is kept where it does not fit

--- One message, as the API has it.
---@class tidegate.OpenaiMessage
---@field role "user"|"assistant"|"tool"
---@field content? string
---@field tool_calls? table[]
---@field tool_call_id? string

---@class tidegate.OpenaiOptions
---@field base_url string "https://api.openai.com/v1", "http://127.0.0.1:11434/v1"
---@field model string
---@field api_key? string sent as a bearer token, and nowhere else
---@field system? string|fun(run: tidegate.Run, input: any): string? the first message of every request
---@field tools? table<string, tidegate.OpenaiTool>
---@field parameters? table more of the request: `{ temperature = 0.2, max_tokens = 500 }`
---@field headers? table<string, string> more headers; their values appear in no log
---@field history? boolean|tidegate.OpenaiHistory false: every run begins anew
--- What of a conversation is kept, asked after each run that worked. By default the oldest turns go when
--- there are too many, never a call without its result; that is seen to afterwards, too.
---@field trim? fun(messages: tidegate.OpenaiMessage[]): tidegate.OpenaiMessage[]
---@field stream? boolean false: ask for the answer in one piece
---@field include_usage? boolean false: for servers that refuse `stream_options`
---@field max_rounds? integer requests of one run, 8 by default
---@field max_tool_calls? integer calls of one run, 32 by default
---@field retries? integer more tries while nothing of an answer has come, 2 by default
---@field connect_timeout? number seconds (http.connect_timeout)
---@field idle_timeout? number longest silence of the server, in seconds (http.idle_timeout)

return openai

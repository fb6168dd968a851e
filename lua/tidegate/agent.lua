--- Agents that others answer: each function here returns one, a function(run, input) for policy.agents.
--- What they need is loaded when first asked for.
local M = {}

--- A model behind an OpenAI-compatible API.
function M.openai(options)
  return require("tidegate.agent.openai").new(options)
end

--- An agent that runs elsewhere and sends its events over HTTP.
function M.http(options)
  return require("tidegate.agent.http").new(options)
end

--- An agent that runs elsewhere and sends its events over a WebSocket that we open to it.
function M.websocket(options)
  return require("tidegate.agent.websocket").new(options)
end

--- An agent that is a child process of the server and speaks lines of JSON.
function M.process(options)
  return require("tidegate.agent.process").new(options)
end

return M

-- An agent that speaks WebSocket, here agent.py: the gate opens a connection, the agent answers run by run.
--
-- Run: python3 examples/websocket_agent/agent.py
-- Run: tidegate run examples/websocket_agent
--
-- try: --bearer demo-key --agent dice 3d6
local tide = require "tidegate"
local agent = require "tidegate.agent"

local policy = {}

policy.options = {
  url = { type = "string", default = "ws://127.0.0.1:8091/run", description = "where the agent is" },
  key = { type = "string", secret = true, description = "what the agent wants as a bearer token" },
}

local keys = { ["demo-key"] = { user_id = "ada", team = "players" } }

function policy.authenticate(conn, credentials)
  local user = keys[credentials.bearer or ""]
  if not user then
    return nil, "send a key: Authorization: Bearer demo-key"
  end
  return user
end

policy.agents = {
  dice = agent.websocket({
    url = tide.options.url or policy.options.url.default,
    bearer = tide.options.key,
    idle_timeout = 20,
    reuse = 60, -- a connection serves the next run, too
  }),
}

return policy

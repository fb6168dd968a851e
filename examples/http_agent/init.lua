-- An agent that is a web service of its own, here agent.py: the gate knows who asks, the agent answers.
--
-- Run: python3 examples/http_agent/agent.py
-- Run: tidegate run examples/http_agent
--
-- try: --bearer demo-key --agent words "the cat and the dog and the bird"
local tide = require "tidegate"
local agent = require "tidegate.agent"

local policy = {}

policy.options = {
  url = { type = "string", default = "http://127.0.0.1:8090/run", description = "where the agent is" },
  key = { type = "string", secret = true, description = "what the agent wants as a bearer token" },
}

local keys = { ["demo-key"] = { user_id = "ada", team = "readers" } }

function policy.authenticate(conn, credentials)
  local user = keys[credentials.bearer or ""]
  if not user then
    return nil, "send a key: Authorization: Bearer demo-key"
  end
  return user
end

policy.agents = {
  words = agent.http({
    url = tide.options.url or policy.options.url.default,
    bearer = tide.options.key,
    identity = { "team" }, -- of all that authenticate returned
    idle_timeout = 20,
  }),
}

return policy

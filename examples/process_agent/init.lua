-- An agent that is a child process of the server, here agent.py: nothing to start, nothing to listen on.
--
-- Run: tidegate run examples/process_agent --set agents.processes=/usr/bin/python3
--
-- try: --bearer demo-key --agent numbers "3 apples, 1 pear and 4.5 plums"
local agent = require "tidegate.agent"

local policy = {}

local keys = { ["demo-key"] = { user_id = "ada", team = "grocers" } }

function policy.authenticate(conn, credentials)
  local user = keys[credentials.bearer or ""]
  if not user then
    return nil, "send a key: Authorization: Bearer demo-key"
  end
  return user
end

policy.agents = {
  numbers = agent.process({
    command = { "python3", "agent.py" }, -- in this folder; the operator must allow the program
    name = "numbers",
    identity = { "team" }, -- of all that authenticate returned
    idle_timeout = 20,
  }),
}

return policy

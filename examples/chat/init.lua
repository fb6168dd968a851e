-- A chat with a model behind an OpenAI-compatible API: answers stream, and each connection remembers what was
-- said.
--
-- Run: TIDEGATE_OPTIONS_API_KEY=… tidegate run examples/chat
--   --set options.base_url=https://api.openai.com/v1 --set options.model=gpt-4o-mini
--
-- try: --agent assistant "Hello"
local agent = require "tidegate.agent"
local tide = require "tidegate"

local policy = {}

local DEFAULT_URL = "http://127.0.0.1:8000/v1"
local DEFAULT_MODEL = "stand-in"
local DEFAULT_SYSTEM = "Answer briefly and in plain text."

policy.options = {
  base_url = { type = "string", default = DEFAULT_URL, description = "of the API, up to and with /v1" },
  model = { type = "string", default = DEFAULT_MODEL, description = "as the API calls it" },
  api_key = { type = "string", secret = true, description = "for servers that want one" },
  system = { type = "string", default = DEFAULT_SYSTEM, description = "what the model is told first" },
}

function policy.authenticate(conn, credentials)
  -- Everybody may use your key: fine while the server listens on loopback only.
  return { user_id = credentials.bearer or "guest" }
end

-- Declared defaults are filled in when this file has run; here there is only what was given.
local given = tide.options

policy.agents = {
  assistant = agent.openai({
    base_url = given.base_url or DEFAULT_URL,
    model = given.model or DEFAULT_MODEL,
    api_key = given.api_key,
    system = given.system or DEFAULT_SYSTEM,
    history = { messages = 20 },
  }),
}

return policy

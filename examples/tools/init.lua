-- A model that may call two functions of this policy: it calculates and counts words, which models do badly.
--
-- Run: TIDEGATE_OPTIONS_API_KEY=… tidegate run examples/tools
--   --set options.base_url=https://api.openai.com/v1 --set options.model=gpt-4o-mini
--
-- try: --agent assistant "What is 17 * (3 + 4)?"
local agent = require "tidegate.agent"
local calculator = require "calculator"
local tide = require "tidegate"

local policy = {}

local DEFAULT_URL = "http://127.0.0.1:8000/v1"
local DEFAULT_MODEL = "stand-in"

policy.options = {
  base_url = { type = "string", default = DEFAULT_URL, description = "of the API, up to and with /v1" },
  model = { type = "string", default = DEFAULT_MODEL, description = "one that can call tools" },
  api_key = { type = "string", secret = true, description = "for servers that want one" },
}

function policy.authenticate(conn, credentials)
  -- Everybody may use your key: fine while the server listens on loopback only.
  return { user_id = credentials.bearer or "guest" }
end

local tools = {}

tools.calculator = {
  description = "Calculates: + - * / ^, parentheses and decimal numbers.",
  parameters = {
    type = "object",
    properties = {
      expression = { type = "string", maxLength = 200, description = "such as 17 * (3 + 4)" },
    },
    required = { "expression" },
    additionalProperties = false,
  },
  -- The model is told why when there is no result, and may try again.
  run = function(run, arguments)
    return calculator.value(arguments.expression)
  end,
}

tools.word_count = {
  description = "Counts words and letters of a text.",
  parameters = {
    type = "object",
    properties = { text = { type = "string" } },
    required = { "text" },
    additionalProperties = false,
  },
  run = function(run, arguments)
    local _, words = arguments.text:gsub("%S+", "")
    local _, letters = arguments.text:gsub("%a", "")
    return { words = words, letters = letters }
  end,
}

-- Declared defaults are filled in when this file has run; here there is only what was given.
local given = tide.options

policy.agents = {
  assistant = agent.openai({
    base_url = given.base_url or DEFAULT_URL,
    model = given.model or DEFAULT_MODEL,
    api_key = given.api_key,
    system = "Use the tools for every calculation and every count.",
    tools = tools,
    max_rounds = 5,
  }),
}

return policy

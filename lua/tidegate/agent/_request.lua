--- What an agent elsewhere is told of a run, whatever carries it there.

local json = require "tidegate.json"

local M = {}

--- The fields named; true: all, false: none.
local function chosen(value, fields)
  if fields == true then
    return value
  elseif not fields or value == nil then
    return nil
  end
  local some = {}
  for _, name in ipairs(fields) do
    some[name] = value[name]
  end
  return some
end

-- Who asks, where and what. Of `settings`, `identity` and `context` say which of their fields may be told.
local function body_of(settings, run, input)
  local conn, message = run.conn, input
  if type(input) ~= "string" then
    message = type(input) == "table" and input.message or nil
  end
  return {
    run_id = run.id,
    agent = run.agent,
    connection_id = conn and conn.id,
    user_id = conn and conn.user_id,
    identity = conn and chosen(conn.identity, settings.identity),
    context = conn and chosen(conn.context, settings.context),
    message = message,
    input = input,
  }
end

--- The same as text, `kind` being its type, if it has one. Nil and an end of the run: what another agent asks
--- may be no JSON.
function M.text_of(settings, run, input, kind)
  local body = body_of(settings, run, input)
  body.type = kind
  local text, why = json.encode(body)
  if not text then
    return nil, { code = "bad_input", text = "the request cannot be sent", why = why }
  end
  return text
end

return M

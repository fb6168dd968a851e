-- A supervisor agent that calls two tools, streams its answer and returns a report. Clients need a
-- key.
--
-- try: --bearer demo-key --agent supervisor "Analyze the current market trends"
local market = require "market"

-- Who holds which key. A real policy would look these up, and would not keep them in its source.
local keys = {
  ["demo-key"] = { id = "demo", desk = "equities" },
  ["ops-key"] = { id = "ops", desk = "risk" },
}

local policy = {}

function policy.authenticate(conn, credentials)
  if not credentials.bearer then
    return nil, "send a key: Authorization: Bearer demo-key"
  end
  local user = keys[credentials.bearer]
  if not user then
    return nil, "unknown key"
  end
  return { user_id = user.id, desk = user.desk }
end

function policy.create_context(conn, identity)
  return { desk = identity.desk }
end

function policy.route(conn, message)
  return message.data.agent_type or "supervisor"
end

policy.agents = {
  supervisor = function(run, input)
    if type(input.message) ~= "string" or input.message == "" then
      error("data.message must be a text: the question to answer", 0)
    end
    run:thinking("Planning: fetch quotes, then look for trends.")
    local quotes = run:tool("fetch_quotes", { desk = run.conn.context.desk }, function()
      return market.quotes(run.conn.context.desk)
    end)
    local trends = run:tool("find_trends", { series = #quotes }, function()
      return market.trends(quotes)
    end)

    local report = {}
    for _, trend in ipairs(trends) do
      local line = string.format(
        "%s is %s: %+.1f%% over %d days, last at %.2f.",
        trend.name, trend.direction, trend.change, trend.days, trend.last
      )
      run:delta(line .. "\n")
      report[#report + 1] = line
    end
    return table.concat(report, "\n")
  end,
}

return policy

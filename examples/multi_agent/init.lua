-- Run: tidegate run examples/multi_agent --set options.search_url=http://127.0.0.1:9400
-- try: --bearer demo-key --agent supervisor "tides"
--
-- A supervisor that asks two agents at once, joins what they found, and hands the rest over to a third. The
-- search engine is a service that may be missing: connections are degraded then, and get well by themselves.
local http = require "tidegate.http"
local tide = require "tidegate"

local policy = {}

policy.options = {
  search_url = {
    type = "string",
    default = "http://127.0.0.1:9400",
    description = "A search engine that answers GET /health and GET /search?q=… with { results = { texts } }",
  },
}

local keys = { ["demo-key"] = "demo" }

-- What the archive knows; a real one would be asked over the network.
local archive = {
  tides = { "Tide tables were first printed in 1668." },
  gates = { "The Thames Barrier opened in 1984." },
}

function policy.authenticate(_, credentials)
  local user = keys[credentials.bearer or ""]
  if not user then
    return nil, "unknown key"
  end
  return { user_id = user }
end

policy.services = {
  search = function()
    local response, why = http.get(tide.options.search_url .. "/health", { timeout = 2 })
    if not response then
      return nil, why
    end
    if not response.ok then
      return nil, "status " .. response.status
    end
    return true
  end,
}

policy.agents = {
  supervisor = {
    timeout = 60,
    max_concurrent_per_user = 4,
    run = function(run, input)
      local ask = { archivist = function() return run:call("archivist", { topic = input.message }) end }
      if run.conn.services.search == true then
        ask.searcher = function() return run:call("searcher", { topic = input.message }) end
      end
      run:thinking("Asking everybody who is there.")
      local found, failed = tide.all(ask)
      if next(found) == nil then
        return nil, "nobody knows: " .. (failed.archivist or failed.searcher), "nothing_found"
      end
      return run:hand_off("writer", { topic = input.message, found = found })
    end,
  },

  searcher = {
    timeout = 10,
    max_tool_calls = 3,
    run = function(run, input)
      local answer = run:tool("search", { q = input.topic }, function(arguments)
        local response, why = http.get(tide.options.search_url .. "/search", { query = arguments })
        if response and response.ok then
          return response:json()
        end
        why = why or "status " .. response.status
        run.conn:degrade("search: " .. why) -- the core asks policy.services until it is back
        return { failed = why }
      end)
      if not answer.results then
        return nil, "the search failed"
      end
      return answer.results
    end,
  },

  archivist = function(_, input)
    local texts = archive[input.topic]
    if not texts then
      return nil, "the archive has nothing about it", "not_archived"
    end
    return texts
  end,

  writer = function(run, input)
    local lines = { "About " .. input.topic .. ":" }
    for _, who in ipairs{ "archivist", "searcher" } do
      for _, text in ipairs(input.found[who] or {}) do
        lines[#lines + 1] = "- " .. text .. " (" .. who .. ")"
      end
    end
    for _, line in ipairs(lines) do
      run:delta(line .. "\n")
    end
    return table.concat(lines, "\n")
  end,
}

return policy

-- Run: tidegate run examples/browser
-- Try: open examples/browser/index.html in a browser, with the token demo-key
--
-- What a web page needs. A page cannot set headers, so the token comes in the first message, or among the
-- subprotocols. It admits for a short while only; the page proves itself again when it is told to.
local auth = require "tidegate.auth"
local tide = require "tidegate"
local time = require "tidegate.time"

local policy = {}

policy.options = {
  lifetime = { type = "number", default = 90, description = "Seconds that an identity is good for" },
}

-- User to token. A real policy would check tokens of a login service, for example with tidegate.jwt.
local keys = { ada = "demo-key", bob = "other-key" }

-- An authenticator that reads the token, and whose identities end.
local tokens = auth.map(auth.keys { keys = keys }, function(identity)
  identity.expires_at = time.now() + tide.options.lifetime
  return identity
end)

local by_message = auth.first_message(tokens)
local by_subprotocol = auth.subprotocol_token(tokens)

function policy.authenticate(conn, credentials)
  local identity, why, code = by_subprotocol(conn, credentials)
  if code == "missing" then
    return by_message(conn, credentials)
  end
  return identity, why, code
end

-- Only what the page sends now counts: the subprotocol is as old as the connection.
policy.reauthenticate = by_message

policy.agents = {
  guide = function(run, input)
    if type(input.message) ~= "string" or not input.message:find "%S" then
      return nil, "write at least one word", "bad_question"
    end
    run:thinking("Counting the words first.")
    local counted = run:tool("count_words", { text = input.message }, function(arguments)
      local _, words = arguments.text:gsub("%S+", "")
      return { words = words }
    end)

    local pieces = { ("Hello %s, that was %d:"):format(run.conn.user_id, counted.words) }
    for word in input.message:gmatch "%S+" do
      pieces[#pieces + 1] = " " .. word
    end
    for _, piece in ipairs(pieces) do
      run:delta(piece)
      time.sleep(0.1) -- as slow as a model; a cancel ends the run here
    end
    return table.concat(pieces)
  end,
}

return policy

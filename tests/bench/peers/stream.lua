-- An agent that says a hundred numbered pieces: at once, or with a pause after each, so that others speak.
local time = require "tidegate.time"

local PIECES = 100
local policy = {}

function policy.authenticate(conn, credentials)
  return { user_id = "bench" }
end

function policy.route(conn, message)
  return "speaker"
end

policy.agents = {
  speaker = function(run, input)
    for piece = 1, PIECES do
      run:delta("piece " .. piece)
      if input.pause then
        time.sleep(input.pause)
      end
    end
    return "done"
  end,
}

return policy

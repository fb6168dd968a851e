-- The smallest useful policy: everybody on this machine may connect, and one agent says back what it
-- is told.
--
-- try: --agent echo "Hello"
local policy = {}

function policy.authenticate(conn, credentials)
  -- No check at all, said in so many words: fine while the server listens on loopback only.
  return { user_id = credentials.bearer or "guest" }
end

policy.agents = {
  echo = function(run, input)
    run:thinking("Listening to " .. run.conn.user_id)
    return "You said: " .. tostring(input.message)
  end,
}

return policy

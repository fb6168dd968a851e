-- What comes in goes back: a Lua hook on every message.
local policy = {}

function policy.authenticate(conn, credentials)
  return { user_id = "bench" }
end

function policy.text(conn, text)
  conn:send(text)
end

return policy

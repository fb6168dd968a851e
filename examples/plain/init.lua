-- Plain WebSocket without Tidegate's messages: a policy with `text` speaks a protocol of its own. This
-- one sends everything back.
local policy = {}

function policy.authenticate()
  -- Everybody may connect: fine while the server listens on loopback only.
  return { user_id = "guest" }
end

function policy.text(conn, text)
  conn:send(text)
end

function policy.binary(conn, bytes)
  conn:send_binary(bytes)
end

return policy

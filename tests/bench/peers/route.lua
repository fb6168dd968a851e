-- An object comes in, its `type` picks what answers, an object goes out.
local policy = {}

function policy.authenticate(conn, credentials)
  return { user_id = "bench" }
end

local answers = {
  get_price = function(message)
    return { type = "price", id = message.id, amount = message.data.quantity * 3 }
  end,
}

function policy.message(conn, message)
  conn:send(answers[message.type](message))
end

return policy

-- What nginx serves: echo and route on lua-resty-websocket, and a check of who connects.
local server = require "nginx.websocket.server"
local cjson = require "cjson"

local M = {}

local keys = { ["bench-key"] = { user_id = "bench", roles = { tenant = "acme" } } }

-- access_by_lua: who does not hold a key does not get in.
function M.access()
  local header = ngx.req.get_headers()["authorization"]
  local user = header and keys[header:match "^Bearer (.+)$"]
  if not user then
    return ngx.exit(401)
  end
  ngx.ctx.user = user
  ngx.ctx.context = { tenant = user.roles.tenant }
end

local function serve(answer)
  local socket = assert(server:new { max_payload_len = 2 * 1024 * 1024, timeout = 300000 })
  while true do
    local data, kind = socket:recv_frame()
    if not data or kind == "close" then
      socket:send_close(1000)
      return
    elseif kind == "text" then
      socket:send_text(answer(data))
    elseif kind == "binary" then
      socket:send_binary(answer(data))
    elseif kind == "ping" then
      socket:send_pong(data)
    end
  end
end

function M.echo()
  serve(function(data)
    return data
  end)
end

local answers = {
  get_price = function(message)
    return { type = "price", id = message.id, amount = message.data.quantity * 3 }
  end,
}

function M.route()
  serve(function(data)
    local message = cjson.decode(data)
    return cjson.encode(answers[message.type](message))
  end)
end

return M

-- golden.lua URL KEY REQUEST - sends one request with lua-http and prints every message that comes, one
-- a line, until the run has ended.
local websocket = require "http.websocket"

local url, key, request = arg[1], arg[2], arg[3]
local timeout = 20

local ws = websocket.new_from_uri(url)
ws.request.headers:upsert("authorization", "Bearer " .. key)
assert(ws:connect(timeout))

local function receive()
  local text, kind = assert(ws:receive(timeout))
  assert(kind == "text", "a frame of type " .. tostring(kind))
  io.write(text, "\n")
  return text
end

assert(receive():find('"connection_ready"', 1, true), "the first message is no connection_ready")
assert(ws:send(request, "text", timeout))
repeat
  local text = receive()
until text:find('"type":"agent_completed"', 1, true) or text:find('"type":"agent_error"', 1, true)
ws:close(1000, "done", timeout)

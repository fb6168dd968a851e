--- Fake upstreams of a simulated host that speak WebSocket: who accepts which connection, and what is
--- answered to each message.
local json = require("tidegate.json")
local upstreams = require("tidegate._testing_http")

local Websockets = {}
Websockets.__index = Websockets

function Websockets:add(pattern, answer)
  if type(pattern) ~= "string" then
    return nil, "websocket: a URL expected, such as wss://agents.example/*"
  end
  local kind = type(answer)
  if kind == "string" and not upstreams.faults[answer] then
    return nil, ("websocket: there is no fault %q"):format(answer)
  elseif kind ~= "string" and kind ~= "table" and kind ~= "function" then
    return nil, "websocket: an answer is a function, a table or the name of a fault"
  end
  table.insert(self.routes, 1, { fits = upstreams.compile(pattern), answer = answer })
  return true
end

--- All connections so far, or those that fit.
function Websockets:opened(pattern)
  local fits = pattern and upstreams.compile(pattern) or function() return true end
  local found = {}
  for _, link in ipairs(self.links) do
    if fits(link) then found[#found + 1] = link end
  end
  return found
end

local function milliseconds(seconds)
  return math.floor((seconds or 0) * 1000 + 0.5)
end

function Websockets:fail(number, delay, fault)
  self.native.answer_websocket(self.host, number, delay, "done", fault)
end

--- A piece is a text, a table with `type` (sent as JSON), { what, delay = seconds, binary = true }, or
--- { close = code } and { fault = name }, which end the connection.
function Websockets:send_piece(number, piece)
  if type(piece) == "string" or piece.type ~= nil then piece = { piece } end
  local delay, what = milliseconds(piece.delay), piece[1]
  if piece.fault then return self:fail(number, delay, piece.fault) end
  if piece.close then
    self.native.answer_websocket(self.host, number, delay, "done", "ok", piece.close)
    return
  end
  if type(what) == "table" then what = assert(json.encode(what)) end
  self.native.answer_websocket(self.host, number, delay, "data", what or "", piece.binary == true)
end

function Websockets:find_answer(link)
  for _, route in ipairs(self.routes) do
    if route.fits(link) then
      local answer = route.answer
      if type(answer) == "function" then answer = answer(link) end
      return answer == nil and {} or answer
    end
  end
end

local news = {}

function news.opened(self, number, link)
  local headers = {}
  for name, value in pairs(link.headers) do headers[name:lower()] = value end
  link.headers, link.messages = headers, {}
  self.links[#self.links + 1] = link
  self.by_number[number] = link
  local answer = self:find_answer(link)
  if answer == nil then
    self.unexpected = self.unexpected or link
    answer = "refused"
  end
  self.answers[number] = answer
  if type(answer) == "string" then return self:fail(number, 0, answer) end
  local delay = milliseconds(answer.delay)
  if answer.fault then return self:fail(number, delay, answer.fault) end
  self.native.answer_websocket(self.host, number, delay, "head", answer.status or 101, {})
end

function news.sent(self, number, message, is_text)
  local link, answer = self.by_number[number], self.answers[number]
  local value = is_text and message:find("^%s*{") and json.decode(message) or message
  link.messages[#link.messages + 1] = value
  local pieces = answer.messages
  if type(pieces) == "function" then pieces = pieces(value, link) end
  for _, piece in ipairs(pieces or {}) do self:send_piece(number, piece) end
end

function news.closed(self, number, code)
  self.by_number[number].close_code = code
end

--- Answers what waits. What goes wrong in a handler reaches the spec, once nothing waits any more.
function Websockets:answer_all()
  while true do
    local number, kind, what, more = self.native.next_websocket(self.host)
    if not number then return end
    local ok, why = pcall(news[kind], self, number, what, more)
    if not ok then
      self:fail(number, 0, "closed")
      self.problem = self.problem or why
    end
  end
end

--- The text of an error for a connection that nobody accepts, or of a handler that failed; nil: all is well.
function Websockets:take_unexpected()
  local link, problem = self.unexpected, self.problem
  self.unexpected, self.problem = nil, nil
  if problem then return "a function given to host:websocket failed: " .. tostring(problem) end
  if not link then return nil end
  return ("the policy opened a WebSocket to %s and no host:websocket accepts that"):format(link.url)
end

return {
  new = function(native, host)
    local self = { native = native, host = host, routes = {}, links = {}, by_number = {}, answers = {} }
    return setmetatable(self, Websockets)
  end,
}

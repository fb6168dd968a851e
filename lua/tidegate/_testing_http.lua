--- Fake upstreams of a simulated host: who answers which request, and with what.
local json = require("tidegate.json")

local Upstreams = {}
Upstreams.__index = Upstreams

--- Ways in which a request can fail, as tidegate.http names them.
local faults = {
  refused = true, resolve = true, connect = true, timeout = true, tls = true, too_large = true,
  redirects = true, forbidden = true, protocol = true, reset = true, closed = true,
}

--- "POST https://api.example/v1/*" as a method (or nil) and a Lua pattern; a URL without a query stands for
--- any query.
local function compile(pattern)
  local method, url = pattern:match("^(%u+) (.+)$")
  url = url or pattern
  local escaped = url:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  local any_query = not url:find("?", 1, true) and url:sub(-1) ~= "*"
  return function(request)
    local asked = any_query and request.url:gsub("%?.*$", "") or request.url
    return (method == nil or method == request.method) and asked:find("^" .. escaped .. "$") ~= nil
  end
end

function Upstreams:add(pattern, answer)
  if type(pattern) ~= "string" then return nil, "http: a URL expected, such as https://api.example/v1/*" end
  local kind = type(answer)
  if kind == "string" and not faults[answer] then
    local names = {}
    for name in pairs(faults) do names[#names + 1] = name end
    table.sort(names)
    return nil, ("http: there is no fault %q; there are %s"):format(answer, table.concat(names, ", "))
  end
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then
    return nil, "http: an answer is a function, a table or the name of a fault"
  end
  table.insert(self.routes, 1, { fits = compile(pattern), answer = answer })
  return true
end

--- All requests so far, or those that fit.
function Upstreams:asked(pattern)
  if pattern == nil then return self.requests end
  local fits, some = compile(pattern), {}
  for _, request in ipairs(self.requests) do
    if fits(request) then some[#some + 1] = request end
  end
  return some
end

local function milliseconds(seconds)
  return math.floor((seconds or 0) * 1000 + 0.5)
end

function Upstreams:send_headers(number, delay, answer, body)
  local list, typed = {}, false
  for name, value in pairs(answer.headers or {}) do
    typed = typed or name:lower() == "content-type"
    list[#list + 1] = { name:lower(), tostring(value) }
  end
  if answer.json ~= nil and not typed then list[#list + 1] = { "content-type", "application/json" } end
  if body then list[#list + 1] = { "content-length", tostring(#body) } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  self.native.answer(self.host, number, delay, "head", answer.status or 200, list)
end

--- A chunk is a text, { data, delay = seconds } or { fault = name, delay = seconds }. True: the answer has
--- ended with it.
function Upstreams:send_chunk(number, chunk)
  if type(chunk) == "string" then chunk = { chunk } end
  if chunk.fault then
    self.native.answer(self.host, number, milliseconds(chunk.delay), "done", chunk.fault)
    return true
  end
  self.native.answer(self.host, number, milliseconds(chunk.delay), "data", chunk[1] or "")
end

function Upstreams:send(number, answer)
  local native, host = self.native, self.host
  if type(answer) == "string" then return native.answer(host, number, 0, "done", answer) end
  if type(answer) ~= "table" then
    error("an answer is a table or the name of a fault, not " .. type(answer), 0)
  end
  local delay = milliseconds(answer.delay)
  if answer.fault then return native.answer(host, number, delay, "done", answer.fault) end
  local body = answer.body
  if answer.json ~= nil then body = assert(json.encode(answer.json)) end
  self:send_headers(number, delay, answer, not answer.chunks and (body or "") or nil)
  if body and body ~= "" then native.answer(host, number, 0, "data", body) end
  for _, chunk in ipairs(answer.chunks or {}) do
    if self:send_chunk(number, chunk) then return end
  end
  native.answer(host, number, 0, "done", "ok")
end

--- As a handler sees it: header names in lower case, a JSON body decoded.
local function complete(request)
  local headers = {}
  for name, value in pairs(request.headers) do headers[name:lower()] = value end
  request.headers = headers
  if request.body and (headers["content-type"] or ""):find("json", 1, true) then
    request.json = json.decode(request.body)
  end
  return request
end

--- What the first route that fits says; nil: there is none.
function Upstreams:find_answer(request)
  for _, route in ipairs(self.routes) do
    if route.fits(request) then
      local answer = route.answer
      if type(answer) == "function" then answer = answer(request) end
      return answer == nil and {} or answer
    end
  end
end

--- Where an answer sends a request that follows redirects.
local function redirect_of(answer, request)
  if type(answer) ~= "table" or (request.method ~= "GET" and request.method ~= "HEAD") then return nil end
  local status = answer.status or 200
  if status < 301 or status > 308 or status == 304 then return nil end
  for name, value in pairs(answer.headers or {}) do
    if name:lower() == "location" then
      return value:sub(1, 1) == "/" and request.url:match("^%w+://[^/]+") .. value or value
    end
  end
end

function Upstreams:answer_one(number, request)
  local left, answer = request.redirects, self:find_answer(request)
  local to = left > 0 and redirect_of(answer, request)
  while to do
    if left == 0 then
      answer = "redirects"
      break
    end
    left = left - 1
    request = setmetatable({ url = to }, { __index = request })
    self.requests[#self.requests + 1] = request
    answer = self:find_answer(request)
    to = redirect_of(answer, request)
  end
  if answer == nil then
    self.unexpected = self.unexpected or request
    answer = "refused"
  end
  self:send(number, answer)
end

--- Answers what waits. What goes wrong in a handler reaches the spec, once nothing waits any more.
function Upstreams:answer_all()
  while true do
    local number, request = self.native.next_fetch(self.host)
    if not number then return end
    self.requests[#self.requests + 1] = complete(request)
    local ok, why = pcall(self.answer_one, self, number, request)
    if not ok then
      self.native.answer(self.host, number, 0, "done", "closed")
      self.problem = self.problem or why
    end
  end
end

--- The text of an error for a request that nobody answers, or of a handler that failed; nil: all is well.
function Upstreams:take_unexpected()
  local request, problem = self.unexpected, self.problem
  self.unexpected, self.problem = nil, nil
  if problem then return "a function given to host:http failed: " .. tostring(problem) end
  if not request then return nil end
  return ("the policy asked for %s %s and no host:http answers that"):format(request.method, request.url)
end

return {
  faults = faults,
  compile = compile,
  new = function(native, host)
    return setmetatable({ native = native, host = host, routes = {}, requests = {} }, Upstreams)
  end,
}

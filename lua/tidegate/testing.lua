--- Simulated hosts for specs: policies run as they do in a server, without sockets and with a clock that
--- stands still until it is moved. Run specs with `tidegate test`.
---
--- Everything that can happen at a moment has happened when a function here returns. What needs time happens
--- in host:advance.
local found, native = pcall(require, "tidegate._simulation")
if not found then
  error("tidegate.testing is for specs (files named *_spec.lua); run them with `tidegate test`", 0)
end
local json = require("tidegate.json")
local upstreams = require("tidegate._testing_http")
local options_of = require("tidegate._testing_options")
local request_upgrade = require("tidegate._testing_request")

local raise = options_of.raise

local M = {}

local Host = {}
Host.__index = Host
local methods = {} -- of clients
local Client = {}

-- By the order of their making. Hosts that a spec has lost hold of (made anew before each test) go with the
-- next collection, which is asked for now and then: most of what they hold is no memory of this state.
local open_hosts = setmetatable({}, { __mode = "v" })
local hosts_made = 0
local COLLECT_EVERY = 32

-- Time ----------------------------------------------------------------------------------------------

--- Lets everything happen that is due within ms; answers the policy's HTTP requests on the way.
local function drive(host, ms)
  local rest
  repeat
    rest, ms = native.advance(host._native, ms)
    if rest == "restless" then
      raise("the policy never comes to rest: something goes on for ever without letting time pass")
    end
    if rest == "http" then host._upstreams:answer_all() end
  until rest == "quiet"
  local unexpected = host._upstreams:take_unexpected()
  if unexpected then raise(unexpected) end
end

-- Hosts -----------------------------------------------------------------------------------------------

local host_options = { options = true, config = true, time = true, source = true, files = true }

--- Brings a host up. True, or nil and why not.
local function start(host, options)
  local handle = host._native
  local config = options_of.option(options, "config", "table", "host") or {}
  local own = options_of.option(options, "options", "table", "host") or {}
  local ok, why = options_of.configure(native, handle, "", config)
  if ok then ok, why = options_of.configure(native, handle, "options.", own) end
  if ok then ok, why = native.start(handle) end
  if ok then ok, why = options_of.load_policy(native, handle, host._policy) end
  return ok, why
end

--- A host that serves the policy.
function M.host(policy, options)
  options = options or (type(policy) == "table" and policy or {})
  options_of.check_policy(policy, "host")
  options_of.check_names(options, host_options, "host")
  local handle, why = native.create(options_of.option(options, "time", "number", "host") or 0)
  if not handle then raise(why) end
  local host = setmetatable({ _native = handle, _policy = policy }, Host)
  host._upstreams = upstreams.new(native, handle)
  hosts_made = hosts_made + 1
  host._place = hosts_made
  open_hosts[hosts_made] = host
  if hosts_made % COLLECT_EVERY == 0 then collectgarbage() end
  local ok
  ok, why = start(host, options)
  if not ok then
    host:close()
    raise(why)
  end
  return host
end

function Host:advance(seconds)
  if type(seconds) ~= "number" or seconds < 0 then raise("advance: seconds expected, 0 or more") end
  drive(self, math.floor(seconds * 1000 + 0.5))
  return self:now()
end

function Host:run_until_idle()
  drive(self, 0)
end

--- Unix time of the host's clock, in seconds.
function Host:now()
  return native.now(self._native)
end

function Host:version()
  return native.version(self._native)
end

--- Takes the policy anew, or another one. A version that does not load changes nothing: nil and why.
function Host:reload(policy)
  if policy ~= nil then options_of.check_policy(policy, "reload") end
  local version, why = options_of.load_policy(native, self._native, policy or self._policy)
  if version and policy then self._policy = policy end
  drive(self, 0)
  return version, why
end

--- Back to the version before the last reload.
function Host:rollback()
  local version, why = native.rollback(self._native)
  drive(self, 0)
  return version, why
end

function Host:drain()
  native.drain(self._native)
  drive(self, 0)
end

function Host:close()
  native.close(self._native)
  open_hosts[self._place] = nil
end

--- Says how an upstream answers: see lua/meta/tidegate/testing.lua.
function Host:http(pattern, answer)
  local ok, why = self._upstreams:add(pattern, answer)
  if not ok then raise(why) end
end

function Host:requests(pattern)
  return self._upstreams:asked(pattern)
end

--- All log lines so far, or those of one event.
function Host:logs(event)
  local logs = {}
  for i = 1, math.huge do
    local line = native.log_line(self._native, i)
    if not line then return logs end
    local fields = json.decode(line) or {}
    local entry = { time = fields.time, level = fields.level, event = fields.event, fields = fields }
    fields.time, fields.level, fields.event = nil, nil, nil
    if event == nil or entry.event == event then logs[#logs + 1] = entry end
  end
end

local function labels_of(text)
  local labels = {}
  for name, value in text:gmatch('([%w_]+)="([^"]*)"') do labels[name] = value end
  return labels
end

--- The sum of a metric's samples that have these labels; nil when there is no such metric.
function Host:metrics(name, labels)
  local text, sum = native.metrics(self._native), nil
  if name == nil then return text end
  for line in text:gmatch("[^\n]+") do
    local metric, inner, value = line:match("^([%w_]+)(%b{}) (%S+)$")
    if not metric then
      inner, metric, value = "", line:match("^([%w_]+) (%S+)$")
    end
    if metric == name then
      local has, fits = labels_of(inner), true
      for label, wanted in pairs(labels or {}) do fits = fits and has[label] == wanted end
      if fits then sum = (sum or 0) + tonumber(value) end
    end
  end
  return sum
end

-- Clients -----------------------------------------------------------------------------------------------

--- A client, connected as far as the policy lets it.
function Host:connect(options)
  local number, why = request_upgrade(native, self._native, options)
  if not number then raise("connect: " .. why) end
  local client = setmetatable({
    _host = self, _number = number, _unread = {}, _first_unread = 1, _ids = 0, messages = {},
  }, Client)
  drive(self, 0)
  return client
end

local function facts(client)
  return native.facts(client._host._native, client._number)
end

local function headers(client)
  local all = {}
  for i = 1, math.huge do
    local name, value = native.header(client._host._native, client._number, i)
    if not name then return all end
    all[name] = all[name] and all[name] .. ", " .. value or value
  end
end

local fact_names = {
  state = true, id = true, user_id = true, identity = true, context = true, session = true, over = true,
  status = true, body = true, close_code = true, close_reason = true, policy_version = true,
}

function Client.__index(client, name)
  if methods[name] then return methods[name] end
  if name == "headers" then return headers(client) end
  if fact_names[name] then return facts(client)[name] end
  if type(name) == "string" and name:sub(1, 1) ~= "_" then
    raise(("a client has no %s"):format(name))
  end
end

--- Takes over what has come: JSON objects as tables, other text and bytes as they are.
local function collect(client)
  while true do
    local kind, data = native.take(client._host._native, client._number)
    if not kind then return end
    local value = kind == "text" and data:find("^%s*{") and json.decode(data) or nil
    local message = { kind = value and "json" or kind, value = value or data, raw = data }
    client._unread[#client._unread + 1] = message
    client.messages[#client.messages + 1] = message.value
  end
end

local function next_message(client)
  drive(client._host, 0)
  collect(client)
  local message = client._unread[client._first_unread]
  if message then client._first_unread = client._first_unread + 1 end
  return message
end

--- The next message, and its kind: "json", "text" or "binary". Nil: there is none yet.
function methods:read()
  local message = next_message(self)
  if not message then return nil end
  return message.value, message.kind
end

--- The next message as it was sent.
function methods:read_raw()
  local message = next_message(self)
  if not message then return nil end
  return message.raw, message.kind == "binary" and "binary" or "text"
end

local function clip(text)
  return #text <= 300 and text or text:sub(1, 300) .. "…"
end

local function short(value)
  return clip(type(value) == "table" and json.encode(value) or ("%q"):format(tostring(value)))
end

local function standing(client)
  local now = facts(client)
  local text = "the connection is " .. now.state
  if now.close_code then
    text = text .. (", closed with %d %s"):format(now.close_code, now.close_reason or "")
  end
  if now.status and now.status ~= 101 then text = text .. (", refused with HTTP %d"):format(now.status) end
  return text
end

--- The next message of a type; those before it are passed over.
function methods:expect(wanted)
  local passed = {}
  while true do
    local message = next_message(self)
    if not message then break end
    if message.kind == "json" and message.value.type == wanted then return message.value end
    passed[#passed + 1] = "  " .. (message.kind == "binary" and short(message.raw) or clip(message.raw))
  end
  local came = #passed == 0 and "nothing came" or "there came\n" .. table.concat(passed, "\n")
  raise(("expected %s; %s\n%s"):format(wanted, came, standing(self)))
end

--- All agent events so far, or those of one run, read or not.
function methods:events(run_id)
  drive(self._host, 0)
  collect(self)
  local events = {}
  for _, message in ipairs(self.messages) do
    if type(message) == "table" and message.run_id and (run_id == nil or message.run_id == run_id) then
      events[#events + 1] = message
    end
  end
  return events
end

local function send(client, text, data)
  if not native.send(client._host._native, client._number, text, data) then
    raise("the client cannot send: " .. standing(client))
  end
  drive(client._host, 0)
end

--- A table goes as JSON, text as it is.
function methods:send(message)
  if type(message) == "table" then
    local text, why = json.encode(message)
    if not text then raise("send: " .. why) end
    message = text
  elseif type(message) ~= "string" then
    raise("send: a table or a text expected")
  end
  send(self, true, message)
end

function methods:send_binary(bytes)
  if type(bytes) ~= "string" then raise("send_binary: a text expected") end
  send(self, false, bytes)
end

function methods:authenticate(data)
  if type(data) ~= "table" then data = { token = data } end
  send(self, true, assert(json.encode({ type = "authenticate", data = json.object(data) })))
end

--- Asks an agent. The id of the run, or nil when none has started (yet).
function methods:execute(message, agent, id)
  local data = type(message) == "table" and message or { message = message }
  self._ids = self._ids + 1
  id = id or "request-" .. self._ids
  local all = { agent_type = agent }
  for name, value in pairs(data) do all[name] = value end
  local before = #self.messages
  send(self, true, assert(json.encode({ type = "agent_execution", id = id, data = json.object(all) })))
  collect(self)
  for i = before + 1, #self.messages do
    local event = self.messages[i]
    if type(event) == "table" and event.type == "agent_started" and event.data.request_id == id then
      return event.run_id
    end
  end
end

function methods:cancel(run_id)
  send(self, true, assert(json.encode({ type = "agent_cancel", data = { run_id = run_id } })))
end

--- An orderly end.
function methods:close(code, reason)
  native.leave(self._host._native, self._number, code or 1000, reason or "")
  drive(self._host, 0)
end

--- The connection is lost without a word.
function methods:drop()
  native.drop(self._host._native, self._number)
  drive(self._host, 0)
end

--- From now on the client reads nothing; the network takes `bytes` (0) for it.
function methods:stall(bytes)
  native.stall(self._host._native, self._number, bytes or 0)
end

function methods:resume()
  native.resume(self._host._native, self._number)
  drive(self._host, 0)
end

--- The moves between states, oldest first: { from, to, reason, at, time }.
function methods:transitions()
  return facts(self).transitions or {}
end

--- The names of the states it has been in, in order.
function methods:states()
  local states = { "connecting" }
  for _, move in ipairs(self:transitions()) do
    if #states == 1 then states[1] = move.from end
    states[#states + 1] = move.to
  end
  return states
end

--- For the runner: those that are open, the last one made first, down to the one with this number.
function M._open(from)
  local hosts = {}
  for i = hosts_made, from, -1 do hosts[#hosts + 1] = open_hosts[i] end
  return hosts
end

function M._made()
  return hosts_made
end

return M

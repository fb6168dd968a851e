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
local websockets = require("tidegate._testing_websocket")
local processes = require("tidegate._testing_process")
local options_of = require("tidegate._testing_options")
local clients = require("tidegate._testing_client")
local sign_jwt = require("tidegate._testing_jwt")
local request_upgrade = require("tidegate._testing_request")

local raise = options_of.raise

local M = {}

local Host = {}
Host.__index = Host

-- By the order of their making. Hosts that a spec has lost hold of (made anew before each test) go with the
-- next collection, which is asked for now and then: most of what they hold is no memory of this state.
local open_hosts = setmetatable({}, { __mode = "v" })
local hosts_made = 0
local COLLECT_EVERY = 32

-- Seconds that a host's clock goes on for in all, some thirty years: timers have room for a few more.
local ADVANCED_MAX = 1e9

-- Time ----------------------------------------------------------------------------------------------

--- Lets everything happen that is due within ms; answers what the policy asks of upstreams on the way.
local function drive(host, ms)
  local rest
  repeat
    rest, ms = native.advance(host._native, ms)
    if rest == "restless" then
      raise("the policy never comes to rest: something goes on for ever without letting time pass")
    end
    if rest == "http" then
      host._upstreams:answer_all()
      host._websockets:answer_all()
      host._processes:answer_all()
    end
  until rest == "quiet"
  local unexpected = host._upstreams:take_unexpected() or host._websockets:take_unexpected()
    or host._processes:take_unexpected()
  if unexpected then raise(unexpected) end
end

local new_client = clients(native, drive)

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
  local host = setmetatable({ _native = handle, _policy = policy, _advanced = 0 }, Host)
  host._upstreams = upstreams.new(native, handle)
  host._websockets = websockets.new(native, handle)
  host._processes = processes.new(native, handle)
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

--- A token that tidegate.jwt has signed.
function M.jwt(claims, options)
  return sign_jwt(M.host, claims, options)
end

function Host:advance(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    raise("advance: seconds expected, 0 or more")
  end
  if seconds > ADVANCED_MAX - self._advanced then
    raise("advance: a host's clock goes on for 1e9 seconds in all; make another host")
  end
  self._advanced = self._advanced + seconds
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

--- The same for upstreams that speak WebSocket.
function Host:websocket(pattern, answer)
  local ok, why = self._websockets:add(pattern, answer)
  if not ok then raise(why) end
end

function Host:websockets(pattern)
  return self._websockets:opened(pattern)
end

--- The same for agents that are processes: none is really started.
function Host:process(pattern, answer)
  local ok, why = self._processes:add(pattern, answer)
  if not ok then raise(why) end
end

function Host:processes(pattern)
  return self._processes:all(pattern)
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
  local client = new_client(self, number)
  drive(self, 0)
  return client
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

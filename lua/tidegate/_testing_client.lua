--- What a spec does as a client of a simulated host, and what it sees. Private.
local json = require "tidegate.json"
local options_of = require "tidegate._testing_options"

local raise = options_of.raise

--- native: the simulation; drive: lets time pass on a host. Answers what makes the client of a connection.
return function(native, drive)
  local methods = {}
  local Client = {}

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

  --- number: of its connection
  return function(host, number)
    return setmetatable({
      _host = host, _number = number, _unread = {}, _first_unread = 1, _ids = 0, messages = {},
    }, Client)
  end
end

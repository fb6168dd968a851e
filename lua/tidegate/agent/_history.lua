--- What was said before, kept in conn.session: a list of messages for each agent. Private: for agents of the
-- library.
--
-- I1  What is kept begins with a message of the user, and no call of a tool is parted from its result: only
--     whole turns are dropped, from one message of the user to the next.
-- I2  It is written once, at the end of a run that worked, and what does not fit never makes that run fail.

local KEY = "agent_history"
local MESSAGES = 40
local BYTES = 32768

local M = {}

local limits = { messages = MESSAGES, bytes = BYTES }

--- Settings of `history = …`: false for none, or nil and what is wrong.
function M.settings(history, trim)
  if trim ~= nil and type(trim) ~= "function" then
    return nil, "trim: a function(messages) expected"
  end
  if history == false then
    return false
  elseif history ~= nil and history ~= true and type(history) ~= "table" then
    return nil, "history: false, or a table such as { messages = 40, bytes = 32768 } expected"
  end
  local settings = { messages = MESSAGES, bytes = BYTES, trim = trim }
  for name, value in pairs(type(history) == "table" and history or {}) do
    if not limits[name] then
      return nil, ("history: there is no %s; there are messages and bytes"):format(tostring(name))
    elseif type(value) ~= "number" or value < 1 then
      return nil, ("history.%s: a number of 1 or more expected"):format(name)
    end
    settings[name] = value
  end
  return settings
end

--- A list of one's own with what was said before.
function M.load(run, settings)
  local messages = {}
  local session = settings and run.conn and run.conn.session
  local kept = session and session[KEY] and session[KEY][run.agent]
  for i, message in ipairs(kept or {}) do
    messages[i] = message
  end
  return messages
end

-- About what it takes in the session; that is no text, so nothing is longer there than it is here.
local function bytes_of(value)
  if type(value) == "string" then
    return #value + 8
  elseif type(value) ~= "table" then
    return 12
  end
  local bytes = 8
  for key, one in pairs(value) do
    bytes = bytes + bytes_of(key) + bytes_of(one)
  end
  return bytes
end

-- The latest turns that fit, and their bytes.
local function fit(messages, count, bytes)
  local first, used, kept = #messages + 1, 0, 0
  for i = #messages, 1, -1 do
    used = used + bytes_of(messages[i])
    if #messages - i >= count or used > bytes then
      break
    elseif messages[i].role == "user" then
      first, kept = i, used
    end
  end
  local latest = {}
  for i = first, #messages do
    latest[#latest + 1] = messages[i]
  end
  return latest, kept
end

local function with(session, agent, messages)
  local all, histories = {}, {}
  for name, value in pairs(session) do
    all[name] = value
  end
  for name, value in pairs(session[KEY] or {}) do
    histories[name] = value
  end
  histories[agent] = #messages > 0 and messages or nil
  all[KEY] = next(histories) and histories or nil
  return all
end

-- The policy's own data may leave less room than `bytes`.
local function keep(run, settings, messages)
  local conn, bytes = run.conn, settings.bytes
  while conn and conn.session do
    local latest, used = fit(messages, settings.messages, bytes)
    local session = with(conn.session, run.agent, latest)
    local kept = pcall(function()
      conn.session = session
    end)
    if kept or #latest == 0 then
      return
    end
    messages, bytes = latest, used / 2
  end
end

--- Adds what was said in this run: `added`, a list that begins with the user's message.
function M.save(run, settings, added)
  if not settings then
    return
  end
  local messages = M.load(run, settings) -- anew: other runs may have added theirs meanwhile
  for _, message in ipairs(added) do
    messages[#messages + 1] = message
  end
  if settings.trim then
    messages = settings.trim(messages)
    if type(messages) ~= "table" then
      error("trim: it must return a list of messages, and returned a " .. type(messages), 0)
    end
  end
  keep(run, settings, messages)
end

return M

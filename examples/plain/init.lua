-- Chat rooms in plain WebSocket, without Tidegate's messages: a policy with `text` speaks a protocol of
-- its own. Whoever connects to the same /room/NAME gets what anybody says there, the speaker included. On
-- any other path one is alone: an echo.
local kv = require "tidegate.kv"
local tide = require "tidegate"

local MEMBERS_MAX = 500

local policy = {}

-- The IDs of those in a room, whichever worker they are on: in the store that all workers share. Changes
-- with `edit`, which returns another list, or nil and why not; again when somebody was quicker.
local function change_members(room, edit)
  while true do
    local members = kv.get(room)
    local changed, why = edit(members or {})
    if not changed then
      return nil, why
    end
    local options = #changed == 0 and { ttl = 1 } or nil -- an empty room goes by itself
    local ok, err = kv.cas(room, members, changed, options)
    if ok or err ~= "changed" then
      return ok, err
    end
  end
end

-- Where its members are kept; nil on a path that is no room.
local function room_of(conn)
  local name = conn.request.path:match "^/room/(.+)$"
  return name and "room:" .. name:sub(1, 200)
end

local function without(members, id)
  local others = {}
  for _, member in ipairs(members) do
    if member ~= id then
      others[#others + 1] = member
    end
  end
  return others
end

function policy.authenticate()
  -- Everybody may connect: fine while the server listens on loopback only.
  return { user_id = "guest" }
end

-- Joins the room.
function policy.prepare(conn)
  local room = room_of(conn)
  if not room then
    return true
  end
  return change_members(room, function(members)
    if #members == MEMBERS_MAX then
      return nil, "the room is full"
    end
    local more = without(members, conn.id)
    more[#more + 1] = conn.id
    return more
  end)
end

function policy.text(conn, text)
  conn:send(text)
  local room = room_of(conn)
  for _, id in ipairs(room and without(kv.get(room) or {}, conn.id) or {}) do
    tide.send(id, text) -- one who has gone meanwhile gets nothing, and that is all
  end
end

-- Bytes go back to whoever sent them.
function policy.binary(conn, bytes)
  conn:send_binary(bytes)
end

function policy.closed(conn)
  local room = room_of(conn)
  if room then
    change_members(room, function(members)
      return without(members, conn.id)
    end)
  end
end

return policy

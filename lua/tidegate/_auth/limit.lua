--- auth.rate_limited: who fails too often is not asked for a while. Private.
--
-- An attempt is counted before the block is asked and given back when it was none: so many that are under way
-- at once cannot be more than `attempts`, and one whose client leaves meanwhile stays counted. The counters
-- are in tidegate.kv, where all workers see them, under digests: no address, no name.
local crypto = require "tidegate.crypto"
local kv = require "tidegate.kv"

local option_types = {
  attempts = "number", per = "number", by = "string|table", user = "function", name = "string",
}

-- "203.0.113.7:51234" -> "203.0.113.7"; of IPv6 the /64, as the core's limits do; nil: a Unix socket has none
local function address_of(conn)
  local remote = conn.request.remote_address
  local inner = remote:match "^%[(.*)%]:%d+$"
  if not inner then
    return remote:match "^(%d+%.%d+%.%d+%.%d+):?%d*$" or remote:find(":", 1, true) and remote or nil
  end
  local mapped = inner:match "^::[fF][fF][fF][fF]:(%d+%.%d+%.%d+%.%d+)$"
  if mapped then
    return mapped
  end
  local head, tail = inner:match "^(.-)::(.*)$"
  local groups = {}
  for group in (head or inner):gmatch "%x+" do
    groups[#groups + 1] = group
  end
  local after = 0
  for _ in (tail or ""):gmatch "%x+" do
    after = after + 1
  end
  while tail and #groups < 4 and #groups + after < 8 do
    groups[#groups + 1] = "0"
  end
  for group in (tail or ""):gmatch "%x+" do
    groups[#groups + 1] = group
  end
  for i = 1, 4 do
    groups[i] = ("%x"):format(tonumber(groups[i] or "0", 16))
  end
  return table.concat(groups, ":", 1, 4)
end

-- Whom the client says that it is.
local function claimed_user(credentials)
  if credentials.basic then
    return credentials.basic.username
  end
  local data = type(credentials.message) == "table" and credentials.message.data
  local user = type(data) == "table" and (data.username or data.user)
  return type(user) == "string" and user or nil
end

return function(core, shape)
  local M = {}
  local limiters = 0

  local function read_by(by)
    local list = type(by) == "table" and by or { by or "address" }
    shape.check_texts("auth.rate_limited", "by", list)
    for i = 1, #list do
      if list[i] ~= "address" and list[i] ~= "user" then
        shape.misuse('auth.rate_limited: by: "address" or "user" expected, got %q', list[i])
      end
    end
    return list
  end

  -- False: over the limit, and not counted.
  local function take(key, limit)
    local count, why = kv.incr(key, 1, { ttl = limit.per })
    if not count then
      error("auth.rate_limited: " .. why, 0)
    end
    if count > limit.attempts then
      kv.incr(key, -1, { ttl = limit.per })
      return false
    end
    return true
  end

  -- When the entry went meanwhile, -1 would be one attempt too many.
  local function give_back(keys, count, limit)
    for i = 1, count do
      if (kv.incr(keys[i], -1, { ttl = limit.per }) or 0) < 0 then
        kv.cas(keys[i], -1, 0, { ttl = limit.per })
      end
    end
  end

  local function keys_for(limit, conn, credentials)
    local keys = {}
    for i, by in ipairs(limit.by) do
      local who
      if by == "address" then
        who = address_of(conn)
      else
        who = limit.user(credentials)
        if who ~= nil and type(who) ~= "string" then
          error("auth.rate_limited: user must return text or nil; it returned " .. core.describe(who), 0)
        end
      end
      if who then
        keys[#keys + 1] = ("auth:%s:%d:%s"):format(limit.name, i, crypto.hex(crypto.sha256(who)))
      end
    end
    return keys
  end

  function M.rate_limited(inner, options)
    local who = "auth.rate_limited"
    shape.check_block(who, inner)
    shape.check_options(who, options, option_types)
    limiters = limiters + 1
    local limit = {
      attempts = shape.check_number(who, "attempts", options.attempts or 10, 1),
      per = shape.check_number(who, "per", options.per or 60, 1),
      by = read_by(options.by),
      user = options.user or claimed_user,
      name = options.name or tostring(limiters),
    }
    if #limit.name > 64 then
      shape.misuse("%s: name: 64 bytes at most", who)
    end

    return function(conn, credentials)
      local keys = keys_for(limit, conn, credentials)
      for i = 1, #keys do
        if not take(keys[i], limit) then
          local left = kv.ttl(keys[i])
          give_back(keys, i - 1, limit)
          core.count "rate_limited"
          local seconds = math.max(1, math.ceil(left and left < math.huge and left or limit.per))
          return nil, ("too many attempts; retry in %d s"):format(seconds), 429
        end
      end
      local ok, kind, first, code = pcall(shape.ask, who, inner, conn, credentials)
      local failed = ok and kind == "no" and code ~= "missing" and shape.is_final(code)
      if not failed then
        give_back(keys, #keys, limit)
      end
      if not ok then
        error(kind, 0)
      end
      return shape.give(kind, first, code)
    end
  end

  return M
end

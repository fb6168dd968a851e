--- auth.cache: the answers of a block that is slow or costs something. Private.
--
--   none ─[ask: a flight begins]─> asked ─[yes, no]─> kept until it is too old
--                                        ─[error, unavailable]─> none; who waited gets the same
--                                        ─["wait", or its hook was cancelled]─> the next that waited asks
--
-- I1  No credential is kept: entries are found by an HMAC with a key of this state.
-- I2  Nothing is kept beyond the identity's own expiry.
-- I3  At most `max` answers: half of them young, half old; an old one that is used is young again.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local time = require "tidegate.time"

local TTL, NEGATIVE_TTL, MAX = 60, 5, 10000
local WAIT = 60 -- seconds; the hook's own wall budget is shorter
local TURNS = 100

local option_types = { ttl = "number", negative_ttl = "number", max = "number", key = "function" }

return function(core, shape)
  local M = {}

  local Store = {}
  Store.__index = Store

  function Store:find(name)
    local entry = self.young[name] or self.old[name]
    if not entry then
      return nil
    end
    local over = time.monotonic() >= entry.until_clock
    if over or entry.expires_at and time.now() >= entry.expires_at then
      self.young[name], self.old[name] = nil, nil
      return nil
    end
    if not self.young[name] then
      self:put(name, entry)
    end
    return entry
  end

  function Store:put(name, entry)
    if self.count >= self.half then
      self.old, self.young, self.count = self.young, {}, 0
    end
    if not self.young[name] then
      self.count = self.count + 1
    end
    self.young[name] = entry
  end

  -- May those who wait have this answer, too?
  local function is_shared(kind, first)
    return kind == "no" or kind == "yes" and rawget(first, "connection_id") == nil
  end

  local function entry_for(kind, first, code)
    if kind == "yes" then
      return { kind = kind, first = tide.copy(first), expires_at = rawget(first, "expires_at") }
    end
    return { kind = kind, first = first, code = code }
  end

  local function answer(entry)
    -- A copy: what the policy does with an identity is not to reach the next connection.
    return shape.give(entry.kind, entry.kind == "yes" and tide.copy(entry.first) or entry.first, entry.code)
  end

  function M.cache(inner, options)
    local who = "auth.cache"
    shape.check_block(who, inner)
    shape.check_options(who, options, option_types)
    local key_of = options.key
    if not key_of then
      shape.misuse("%s: key is missing: function(credentials), what answers are kept by", who)
    end
    local ttl = shape.check_number(who, "ttl", options.ttl or TTL, 0)
    local negative_ttl = shape.check_number(who, "negative_ttl", options.negative_ttl or NEGATIVE_TTL, 0)
    local max = shape.check_number(who, "max", options.max or MAX, 2)
    local secret = crypto.random_bytes(32)
    local store = setmetatable({ young = {}, old = {}, count = 0, half = math.floor(max / 2) }, Store)
    -- Who asks holds the flight: when a hook is cancelled on the way, and nobody waits, its entry goes.
    local flights = setmetatable({}, { __mode = "v" })

    local function keep(name, entry)
      local lasts = entry.kind == "yes" and ttl or negative_ttl
      entry.until_clock = time.monotonic() + lasts
      local final = entry.kind == "yes" or shape.is_final(entry.code)
      if lasts > 0 and final and not (entry.expires_at and entry.expires_at <= time.now()) then
        store:put(name, entry)
      end
    end

    -- This call asks, for all that wait.
    local function lead(name, flight, conn, credentials)
      local ok, kind, first, code = pcall(shape.ask, who, inner, conn, credentials)
      local shared
      if ok and is_shared(kind, first) then
        ok, shared = pcall(entry_for, kind, first, code)
        kind = ok and kind or shared
      end
      if shared and ok then
        keep(name, shared)
      end
      flight.shared = ok and shared or nil
      flight.failed = not ok
      flights[name] = nil
      core.land(flight.flight)
      if not ok then
        error(kind, 0)
      end
      return shape.give(kind, first, code)
    end

    local function ask(name, conn, credentials)
      for _ = 1, TURNS do
        local entry = store:find(name)
        if entry then
          core.count "cache_hit"
          return answer(entry)
        end
        local flight = flights[name]
        if not flight then
          flight = { flight = core.new_flight() }
          flights[name] = flight
        end
        if core.begin(flight.flight) then
          core.count "cache_miss"
          return lead(name, flight, conn, credentials)
        end
        core.wait(flight.flight, WAIT)
        if flight.failed then
          error(who .. ": the block that was asked for all who wait has failed", 0)
        elseif flight.shared then
          core.count "cache_shared"
          return answer(flight.shared)
        end
      end
      error(who .. ": no answer", 0)
    end

    return function(conn, credentials)
      local key = key_of(credentials)
      if key == nil then
        return shape.give(shape.ask(who, inner, conn, credentials))
      elseif type(key) ~= "string" then
        error(("%s: key must return text or nil; it returned %s"):format(who, core.describe(key)), 0)
      end
      return ask(crypto.hmac_sha256(secret, key), conn, credentials)
    end
  end

  return M
end

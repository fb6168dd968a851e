--- Keys that are fetched: kept for this generation of this worker, one set for each address. Private: loaded
-- by the core, never by require.
--
--   none ─[first asked for]─> fetched ─[older than refresh, or a token names a key that is not there]─> again
--
-- Whoever needs keys first fetches them, inside its own hook; others that have none wait for that one.
-- While a set is refreshed, and when that fails, the old one serves, until it is max_stale old: keys that
-- were withdrawn end, even when their server does not answer.

local core = ...
local json = require "tidegate.json"
local log = require "tidegate.log"
local http = require "tidegate.http"
local time = require "tidegate.time"

local Source = {}
Source.__index = Source

local M = {}

local TIMEOUT = 4 -- seconds for one answer: two of them, as discovery needs, are within script.wall_budget
local WAIT = 2 * TIMEOUT + 1
local RESPONSE_BYTES = 262144
local UNKNOWN_KEY_FETCHES = 3 -- because of keys that are not there, one right after the other
local UNKNOWN_KEY_PAUSE = 20 -- seconds until there may be one more of these
local FAILURE_PAUSE = 5 -- after a fetch that failed

local sources = {} -- by what they fetch

local function get(url)
  local response, why = http.get(url, {
    headers = { accept = "application/json" },
    timeout = TIMEOUT,
    max_response = RESPONSE_BYTES,
    redirects = 0,
  })
  if not response then
    return nil, why
  end
  if response.status ~= 200 then
    return nil, "status " .. response.status
  end
  return response.body
end

local function get_json(url)
  local body, why = get(url)
  if not body then
    return nil, why
  end
  local value = json.decode(body)
  if type(value) ~= "table" then
    return nil, "the answer is no JSON object"
  end
  return value, nil, body
end

--- Anybody on the way could put keys of their own into an answer that is not encrypted; on this machine
-- there is nobody on the way.
function M.is_safe(url)
  if type(url) ~= "string" or url:find "[%s%c]" then
    return false
  end
  if url:find "^https://[^/@]+" then
    return not url:find "^https://[^/]*@"
  end
  local host = url:match "^http://(%[[^%]/]*%])[:/]" or url:match "^http://([^/:@%[]+)"
  return (host == "127.0.0.1" or host == "localhost" or host == "[::1]") and not url:find "^http://[^/]*@"
end

--- Where an OpenID provider has its keys, and what it signs with.
local function discover(issuer)
  local found, why = get_json((issuer:gsub("/$", "")) .. "/.well-known/openid-configuration")
  if not found then
    return nil, why
  end
  if found.issuer ~= issuer then
    return nil, "its configuration is that of another issuer"
  end
  if not M.is_safe(found.jwks_uri) then
    return nil, "its configuration has no https address of keys (jwks_uri)"
  end
  local names = found.id_token_signing_alg_values_supported
  local bits = 0
  for _, name in ipairs(type(names) == "table" and names or { "RS256" }) do
    local bit = type(name) == "string" and not name:find "^HS" and core.algorithms[name] or 0
    if bit > 0 and math.floor(bits / bit) % 2 == 0 then
      bits = bits + bit
    end
  end
  if bits == 0 then
    return nil, "it signs with no algorithm that is supported"
  end
  return found.jwks_uri, bits
end

--- New keys, or nil and why; with bits of the algorithms where a provider says which.
function Source:fetch()
  local url, bits = self.url, nil
  if self.issuer then
    url, bits = discover(self.issuer)
    if not url then
      return nil, bits
    end
  end
  local body, why = get(url)
  if not body then
    return nil, why
  end
  local keys = core.new_keys()
  local good, reason = core.add_set(keys, body)
  if not good then
    return nil, reason
  end
  return keys, bits
end

--- Fetches now, unless it is under way already. Afterwards `self.keys` tells how it went.
function Source:refresh()
  if not core.begin(self.flight) then
    return false
  end
  self.fetches = self.fetches + 1
  local keys, more = self:fetch()
  if keys then
    self.keys, self.bits = keys, more
    self.fetched_at = time.monotonic()
    self.due_at = self.fetched_at + self.refresh_after
  else
    local source = (self.issuer or self.url):gsub("[?#].*", "")
    log.warn("jwt: keys cannot be fetched", { source = source, why = more })
    self.due_at = time.monotonic() + FAILURE_PAUSE
  end
  core.land(self.flight)
  return true
end

function Source:serves()
  return self.keys ~= nil and time.monotonic() - self.fetched_at < self.max_stale
end

--- The first keys, or new ones in place of a set that is too old to serve.
function Source:wait_for_keys()
  for _ = 1, 3 do
    if self.due_at and time.monotonic() < self.due_at then
      return
    end
    if not self:refresh() then
      core.wait(self.flight, WAIT)
    end
    if self:serves() then
      return
    end
  end
end

--- Keys, and bits of algorithms or nil; or nil and a text that clients may see: where keys are, and what is
--- wrong there, is for the log.
function Source:get()
  if not self:serves() then
    self:wait_for_keys()
  elseif time.monotonic() >= self.due_at then
    self:refresh()
  end
  if not self:serves() then
    return nil, "the keys of tokens cannot be had now; try again later"
  end
  return self.keys, self.bits
end

--- Anybody can make up keys that are not there: so often may they be looked for.
function Source:may_look()
  local now = time.monotonic()
  local saved = self.looks + (now - self.looked_at) / UNKNOWN_KEY_PAUSE
  self.looks, self.looked_at = math.min(saved, UNKNOWN_KEY_FETCHES), now
  if self.looks < 1 then
    return false
  end
  self.looks = self.looks - 1
  return true
end

--- For a token whose key is not there: true when there may be others now. `fetches` is how many had begun
--- when the token came: after one that began later there is nothing new.
function Source:look_again(keys, fetches)
  if self.keys == keys then
    core.wait(self.flight, WAIT) -- at once when none is under way
  end
  if self.keys == keys and self.fetches == fetches and self:may_look() then
    self:refresh()
  end
  return self.keys ~= keys
end

--- The source of { url, issuer, refresh, max_stale }: the same one for all that want the same.
function M.source(wanted)
  local name = table.concat({
    wanted.issuer and "issuer" or "url",
    wanted.issuer or wanted.url,
    wanted.refresh,
    wanted.max_stale,
  }, " ")
  local source = sources[name]
  if not source then
    source = setmetatable({
      url = wanted.url,
      issuer = wanted.issuer,
      refresh_after = wanted.refresh,
      max_stale = wanted.max_stale,
      flight = core.new_flight(),
      fetches = 0,
      looks = UNKNOWN_KEY_FETCHES,
      looked_at = 0,
    }, Source)
    sources[name] = source
  end
  return source
end

return M

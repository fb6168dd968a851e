-- auth.revocable and auth.revoke, in simulated hosts.
local testing = require "tidegate.testing"

local policy = [[
local tide = require "tidegate"
local auth = require "tidegate.auth"
local policy = {}
local inner = {
  wait = function() return tide.need_message() end,
  no = function() return nil, "no such key", 403 end,
  fault = function() error "broken" end,
}
policy.authenticate = auth.revocable(function(conn, credentials)
  local kind, id = credentials.bearer:match "^([%a_]+):?(.*)$"
  if inner[kind] then return inner[kind]() end
  return { user_id = "ada", [kind] = tonumber(id) or id }
end)
function policy.message(conn, message)
  local closed, why = auth.revoke(message.id, message.ttl)
  conn:send{ type = "done", closed = closed, why = why }
end
return policy]]

describe("auth.revocable", function()
  local host

  before_each(function() host = testing.host{ source = policy } end)

  local function revoke(id, ttl)
    local client = host:connect{ bearer = "other:" }
    client:send{ type = "revoke", id = id, ttl = ttl }
    local done = client:expect "done"
    client:close()
    return done.closed
  end

  it("passes on what the block inside answers", function()
    assert.equal("ada", host:connect{ bearer = "token_id:t1" }.user_id)
    assert.equal("ada", host:connect{ bearer = "other:t1" }.user_id)
    assert.equal("ada", host:connect{ bearer = "jti:7" }.user_id) -- no text: nothing that could be revoked
    assert.equal("accepted", host:connect{ bearer = "wait" }.state)
    local denied = host:connect{ bearer = "no" }
    assert.equal(4403, denied.close_code)
    assert.equal("no such key", denied.close_reason)
    assert.equal(1011, host:connect{ bearer = "fault" }.close_code)
  end)

  it("denies a revoked token, by either name, and ends what it has open, until its time is over", function()
    local one, two = host:connect{ bearer = "token_id:t1" }, host:connect{ bearer = "jti:t1" }
    local other = host:connect{ bearer = "jti:t2" }
    assert.equal(2, revoke("t1", 60))
    local three, four = host:connect{ bearer = "token_id:t1" }, host:connect{ bearer = "jti:t1" }
    for _, client in ipairs{ one, two, three, four } do
      assert.equal(4401, client.close_code)
      assert.equal("the token has been revoked", client.close_reason)
    end
    assert.is_false(other.over)
    assert.equal("ada", host:connect{ bearer = "other:t1" }.user_id)
    host:advance(60)
    assert.equal("ada", host:connect{ bearer = "token_id:t1" }.user_id)
  end)

  it("is misused loudly", function()
    for code, why in pairs{
      ["auth.revocable()"] = "init.lua:2: auth.revocable: an authenticator (a function) expected, got nil",
      ["auth.ticket{ paramter = 'x' }"] = 'init.lua:2: auth.ticket: there is no option "paramter"',
      ["auth.api_key{ keys = { {} } }"] = "init.lua:2: auth.api_key: key 1: it has no id",
      ["auth.webhook{ url = 'x' }"] = "init.lua:2: auth.webhook: url must be an http or https address",
    } do
      local source = 'local auth = require "tidegate.auth"\n' .. code .. "\nreturn {}"
      assert.error_matches(function() testing.host{ source = source } end, why, 1, true)
    end
  end)
end)

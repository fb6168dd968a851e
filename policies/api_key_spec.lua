-- Run with: tidegate test policies/api_key.lua
local testing = require "tidegate.testing"

local ONE, TWO, THREE -- digests of "key-one", "key-two", "key-three"

--- Specs themselves have no modules but json and testing.
local digester = [[
local crypto = require "tidegate.crypto"
local policy = {}
function policy.authenticate() return { user_id = "digester" } end
function policy.message(conn, message)
  conn:send({ type = "digest", text = crypto.hex(crypto.sha256(message.text)) })
end
return policy]]

local function digest(text)
  local client = testing.host({ source = digester }):connect()
  client:send({ type = "digest", text = text })
  return client:expect("digest").text
end

describe("api_key", function()
  local time = 1750000000

  setup(function()
    ONE, TWO, THREE = digest "key-one", digest "key-two", digest "key-three"
  end)

  local function host()
    return testing.host("api_key.lua", {
      time = time,
      options = {
        keys = {
          old = { user = "ada", sha256 = ONE, not_after = time + 100 },
          new = { user = "ada", sha256 = TWO:upper(), not_before = time + 50 },
          bob = { user = "bob", sha256 = THREE },
        },
      },
    })
  end

  it("does not load without a key, or with one that is no digest", function()
    local rows = {
      { nil, "no key is configured" },
      { { a = "plain" }, "options.keys.a is { user = …, sha256 = … }" },
      { { a = { user = "ada", sha256 = "key-one" } }, "key a: sha256 must be the 64 hexadecimal digits" },
      { { a = { sha256 = ONE } }, "key a: user_id must be text" },
      {
        { a = { user = "ada", sha256 = ONE }, b = { user = "bob", sha256 = ONE:upper() } },
        "it is the same key as",
      },
      {
        { a = { user = "ada", sha256 = ONE, not_before = 5, not_after = 5 } },
        "not_before is not before not_after",
      },
      -- What is not understood would be a key that never ends.
      { { a = { user = "ada", sha256 = ONE, not_after = "never" } }, "must be a number, got string" },
      { { a = { user = "ada", sha256 = ONE, not_after = "nan" } }, "not_after are unix seconds" },
      { { a = { user = "ada", sha256 = ONE, not_after = "inf" } }, "not_after are unix seconds" },
      { { a = { user = "ada", sha256 = ONE, not_atfer = 5 } }, 'there is no option "not_atfer"' },
    }
    for _, row in ipairs(rows) do
      assert.error_matches(function()
        testing.host("api_key.lua", { options = { keys = row[1] } })
      end, row[2], 1, true)
    end
  end)

  it("lets in who holds a key, wherever it is", function()
    local h = host()
    local client = h:connect{ headers = { ["X-API-Key"] = "key-one" } }
    assert.equal("ada", client.user_id)
    assert.equal("old", client.identity.key_id)
    assert.equal("key:old", client.identity.token_id)
    assert.equal("bob", h:connect{ bearer = "key-three" }.user_id)
    client = h:connect()
    assert.equal("accepted", client.state)
    client:authenticate{ api_key = "key-three" }
    assert.equal("bob", client.user_id)
  end)

  it("denies everybody else and says why", function()
    local h = host()
    local rows = {
      { "key-four", "the API key is unknown" },
      { ONE, "the API key is unknown" },
      { "KEY-ONE", "the API key is unknown" },
      { "key-two", "the API key is not valid yet" },
      { ("x"):rep(257), "the API key is too long" },
    }
    for _, row in ipairs(rows) do
      local client = h:connect{ bearer = row[1] }
      assert.equal(4401, client.close_code, row[2])
      assert.equal(row[2], client.close_reason)
    end
    for data, why in pairs{ [{}] = "send an API key", [{ api_key = 7 }] = "is no text",
      [{ api_key = "ké" }] = "is malformed" } do
      local client = h:connect()
      client:authenticate(data)
      assert.equal(4401, client.close_code, why)
      assert.matches(why, client.close_reason, 1, true)
    end
  end)

  it("changes from one key to the next without a gap, and ends connections when theirs expires", function()
    local h = host()
    local old = h:connect{ bearer = "key-one" }
    h:advance(50)
    assert.equal("ada", h:connect{ bearer = "key-one" }.user_id)
    local new = h:connect{ bearer = "key-two" }
    assert.equal("ada", new.user_id)
    h:advance(51)
    assert.equal(4401, old.close_code)
    assert.is_false(new.over)
    assert.equal("the API key has expired", h:connect{ bearer = "key-one" }.close_reason)
  end)
end)

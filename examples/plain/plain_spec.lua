-- Run with: tidegate test examples/plain
local testing = require "tidegate.testing"

describe("plain", function()
  local host, client

  before_each(function()
    host = testing.host("init.lua")
    client = host:connect()
  end)

  after_each(function() host:close() end)

  it("sends text back as it came, JSON or not", function()
    for _, text in ipairs{ "hello", "", "not { json", '{"type":"ping"}' } do
      client:send(text)
      assert.same({ text, "text" }, { client:read_raw() })
    end
  end)

  it("sends bytes back", function()
    client:send_binary("\0\255")
    assert.same({ "\0\255", "binary" }, { client:read_raw() })
  end)

  it("tells everybody in the room, and nobody else", function()
    local ann, ben = host:connect{ path = "/room/lobby" }, host:connect{ path = "/room/lobby" }
    local zoe = host:connect{ path = "/room/elsewhere" }
    ann:send("good morning")
    assert.equal("good morning", (ann:read_raw()))
    assert.equal("good morning", (ben:read_raw()))
    assert.is_nil(zoe:read_raw())
    assert.is_nil(client:read_raw())
  end)

  it("is an echo for each who is in no room", function()
    local other = host:connect()
    client:send("hello")
    assert.equal("hello", (client:read_raw()))
    assert.is_nil(other:read_raw())
  end)

  it("forgets who has left", function()
    local ann, ben = host:connect{ path = "/room/lobby" }, host:connect{ path = "/room/lobby" }
    ben:close()
    ann:send("anybody?")
    assert.equal("anybody?", (ann:read_raw()))
    ann:drop()
    local later = host:connect{ path = "/room/lobby" }
    later:send("hello")
    assert.equal("hello", (later:read_raw()))
    assert.equal(0, #host:logs("hook.failed"))
  end)

  it("lets in no more than a room holds", function()
    for _ = 1, 500 do
      assert.equal("processing_ready", host:connect{ path = "/room/full" }.state)
    end
    local late = host:connect{ path = "/room/full" }
    assert.equal(1011, late.close_code)
  end)

  it("gets nothing from the core", function()
    assert.is_nil(client:read())
    assert.equal("processing_ready", client.state)
  end)
end)

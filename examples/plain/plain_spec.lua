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

  it("gets nothing from the core", function()
    assert.is_nil(client:read())
    assert.equal("processing_ready", client.state)
  end)
end)

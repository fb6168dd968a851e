local testing = require "tidegate.testing"

local head = [[
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = { agents = {} }
function policy.authenticate(conn, credentials)
  return { user_id = credentials.bearer or "guest" }
end
]]

--- A host whose policy lets everybody in and has these lines.
local function open_host(body, options)
  options = options or {}
  options.source = head .. body .. "\nreturn policy"
  return testing.host(options)
end

describe("a client", function()
  it("passes through every state of the setup", function()
    local host = open_host ""
    local client = host:connect()
    assert.same(
      { "connecting", "accepted", "authenticated", "services_ready", "processing_ready" },
      client:states()
    )
    local ready = client:expect "connection_ready"
    assert.equal(client.id, ready.data.connection_id)
    assert.equal(client.id, client.headers["tidegate-connection-id"])
    assert.equal("tidegate.v1", client.headers["sec-websocket-protocol"])
    assert.equal(101, client.status)
    assert.matches("^ws_%d+_%x+_%x+$", client.id)
    assert.is_nil(client:read())
  end)

  it("sends what a browser or a program would send", function()
    local host = testing.host{ source = [[
      local policy = {}
      function policy.authenticate(conn, credentials)
        local request = conn.request
        return { user_id = "u", path = request.path, page = credentials.query.page,
          cookie = credentials.cookies.sid, origin = request.headers.origin,
          first = credentials.subprotocols[1], custom = request.headers["x-custom"],
          remote = request.remote_address, bearer = credentials.bearer }
      end
      return policy]] }
    local client = host:connect{
      path = "/chat", query = { page = "a b" }, cookies = { sid = "s1" }, origin = "https://app.example",
      subprotocols = { "chat" }, headers = { ["X-Custom"] = "yes" }, remote = "203.0.113.7:4711",
      bearer = "token-1",
    }
    local identity = client.identity
    assert.same({
      user_id = "u", path = "/chat", page = "a b", cookie = "s1", origin = "https://app.example",
      first = "chat", custom = "yes", remote = "203.0.113.7:4711", bearer = "token-1",
    }, identity)
  end)

  it("may prove a certificate", function()
    local host = testing.host{ source = [[
      local policy = {}
      function policy.authenticate(conn, credentials)
        local certificate = credentials.client_certificate
        if not certificate then return nil, "a certificate is needed" end
        return { user_id = certificate.subject_cn, tls = conn.request.tls.version }
      end
      return policy]] }
    local client = host:connect{ client_certificate = { subject_cn = "ann", verified = true } }
    assert.equal("ann", client.user_id)
    assert.equal("TLSv1.3", client.identity.tls)
    assert.equal(4401, host:connect{ tls = true }.close_code)
  end)

  it("sees why it is denied", function()
    local host = testing.host{ source = [[
      local policy = {}
      function policy.authenticate() return nil, "unknown key" end
      return policy]] }
    local client = host:connect{ bearer = "x" }
    assert.equal(4401, client.close_code)
    assert.equal("unknown key", client.close_reason)
    assert.equal("failed", client.state)
    assert.is_true(client.over)
    assert.is_nil(client.user_id)
    assert.same({ "connecting", "accepted", "closing", "failed" }, client:states())
    assert.error_matches(function() client:send{ type = "ping" } end,
      "cannot send: the connection is failed, closed with 4401")
  end)

  it("sees the answer to an upgrade that is refused", function()
    local host = testing.host{ source = [[
      local tide = require "tidegate"
      return {
        upgrade = function(request)
          if request.path ~= "/ws" then return tide.reject(403, "only /ws") end
        end,
        authenticate = function() return { user_id = "u" } end,
      }]] }
    local refused = host:connect{ path = "/other" }
    assert.equal(403, refused.status)
    assert.matches("only /ws", refused.body)
    assert.is_nil(refused.close_code)
    assert.equal("u", host:connect{ path = "/ws" }.user_id)
  end)

  it("may prove itself by a message", function()
    local host = testing.host{ source = [[
      local tide = require "tidegate"
      local policy = {}
      function policy.authenticate(conn, credentials)
        if not credentials.message then return tide.need_message() end
        return { user_id = credentials.message.data.token }
      end
      return policy]] }
    local client = host:connect()
    assert.equal("accepted", client.state)
    client:authenticate "ann"
    assert.equal("ann", client.user_id)

    local late = host:connect()
    host:advance(60)
    assert.equal(4408, late.close_code)
  end)

  it("speaks any protocol of its own with a policy that does", function()
    local host = testing.host "../../examples/plain/init.lua"
    local client = host:connect()
    client:send "hello"
    client:send_binary "\0\1\255"
    client:send '{"type":"ping"}'
    local text, kind = client:read()
    assert.same({ "hello", "text" }, { text, kind })
    text, kind = client:read()
    assert.same({ "\0\1\255", "binary" }, { text, kind })
    text, kind = client:read_raw()
    assert.same({ '{"type":"ping"}', "text" }, { text, kind })
  end)

  it("is told by expect what came instead", function()
    local host = open_host ""
    local client = host:connect()
    local ok, why = pcall(client.expect, client, "agent_started")
    assert.is_false(ok)
    assert.matches("expected agent_started; there came", why, 1, true)
    assert.matches('"type":"connection_ready"', why, 1, true)
    assert.matches("the connection is processing_ready", why, 1, true)
  end)

  it("leaves in order, or is lost", function()
    local host = open_host [[
      function policy.closed(conn, info)
        require("tidegate.log").info("left", { code = info.code, clean = info.clean })
      end]]
    local polite = host:connect()
    polite:close(4000, "bye")
    assert.equal("closed", polite.state)
    local lost = host:connect()
    lost:drop()
    assert.equal("failed", lost.state)
    local seen = {}
    for _, line in ipairs(host:logs "policy.log") do
      seen[#seen + 1] = { line.fields.code, line.fields.clean }
    end
    assert.same({ { 4000, true }, { 1006, false } }, seen)
  end)

  it("that does not read is closed, and its agent waits before that", function()
    local host = open_host([[
      function policy.agents.flood(run)
        for i = 1, 1000 do run:delta(("x"):rep(4096)) end
        return "done"
      end]], { config = { ["limits.outbox_bytes"] = "256KiB", ["limits.outbox_timeout"] = "10s" } })
    local client = host:connect()
    client:stall()
    client:execute("go", "flood")
    assert.equal("processing", client.state)
    host:advance(9)
    assert.equal("processing", client.state)
    host:advance(2)
    client:resume()
    assert.equal(1008, client.close_code)

    local slow = host:connect()
    slow:stall()
    slow:execute("go", "flood")
    host:advance(5)
    slow:resume()
    assert.equal("done", slow:expect("agent_completed").data.response)
  end)

  it("has a session that its policy keeps", function()
    local host = open_host [[
      function policy.message(conn, message)
        conn.session.count = (conn.session.count or 0) + 1
      end
      function policy.create_context(conn, identity) return { tenant = "acme" } end]]
    local client = host:connect()
    client:send{ type = "note" }
    client:send{ type = "note" }
    assert.same({ count = 2 }, client.session)
    assert.same({ tenant = "acme" }, client.context)
    assert.is_nil(host:connect().session)
  end)

  it("may be one of many", function()
    local host = open_host([[
      function policy.agents.echo(run, input) return input.message end]])
    local clients = {}
    for i = 1, 200 do clients[i] = host:connect{ bearer = "user-" .. i } end
    for i, client in ipairs(clients) do client:execute("m" .. i, "echo") end
    for i, client in ipairs(clients) do
      assert.equal("user-" .. i, client.user_id)
      assert.equal("m" .. i, client:expect("agent_completed").data.response)
    end
    assert.equal(200, host:metrics("tidegate_connections", { state = "processing_ready" }))
  end)

  it("is turned away over a limit, by its address", function()
    local host = open_host("", { config = { limits = { max_connections_per_ip = 1 } } })
    assert.equal(101, host:connect{ remote = "203.0.113.7:1" }.status)
    assert.equal(429, host:connect{ remote = "203.0.113.7:2" }.status)
    assert.equal(101, host:connect{ remote = "203.0.113.8:1" }.status)
  end)

  it("may come through a proxy that is believed, and is not believed itself", function()
    local host = open_host([[
      function policy.create_context(conn) return { remote = conn.request.remote_address } end]],
      { config = { trusted_proxies = { "10.0.0.0/8" } } })
    local headers = { ["X-Forwarded-For"] = "203.0.113.9" }
    local function seen_from(remote)
      return host:connect{ remote = remote, headers = headers }.context.remote
    end
    assert.equal("203.0.113.9", seen_from "10.1.2.3:4")
    assert.equal("198.51.100.1:5", seen_from "198.51.100.1:5")
  end)

  it("gets compressed messages when both sides agree", function()
    local host = open_host([[
      function policy.agents.echo(run, input) return input.message end]],
      { config = { compression = { enabled = true, min_size = 0 } } })
    local client = host:connect{ compress = true }
    assert.matches("permessage-deflate", client.headers["sec-websocket-extensions"], 1, true)
    client:execute(("z"):rep(5000), "echo")
    assert.equal(5000, #client:expect("agent_completed").data.response)
  end)

  it("names its fields, and raises for others", function()
    local client = open_host(""):connect()
    assert.error_matches(function() return client.usr_id end, "a client has no usr_id")
    assert.error_matches(function() open_host(""):connect{ beare = "x" } end,
      "connect: there is no option beare")
  end)
end)

-- Run with: tidegate test policies/ticket.lua
local testing = require "tidegate.testing"

--- A server's admin interface issues tickets; a simulated host has none, so a policy does it. Tickets survive
--- reloads.
local issuer = [[
local passes = require "tidegate.passes"
local policy = {}
function policy.authenticate() return { user_id = "issuer" } end
function policy.message(conn, message)
  conn:send({ type = "ticket", ticket = passes.issue(message.order) })
end
return policy]]

describe("ticket", function()
  local host

  before_each(function()
    host = testing.host({ source = issuer })
  end)

  -- One ticket for each order; from then on the host serves the policy.
  local function tickets(...)
    local client, list = host:connect(), {}
    for i, order in ipairs{ ... } do
      client:send({ type = "issue", order = order })
      list[i] = client:expect("ticket").ticket
    end
    client:close()
    assert(host:reload("ticket.lua"))
    return unpack(list)
  end

  local ada = { identity = { user_id = "ada", roles = { "dev" } } }

  it("lets in who shows a ticket, wherever it is, as whom it stands for", function()
    local one, two, three = tickets(ada, ada, ada)
    local client = host:connect{ query = { ticket = one } }
    assert.equal("ada", client.user_id)
    assert.same({ "dev" }, client.identity.roles)
    assert.equal("ada", host:connect{ bearer = two }.user_id)
    client = host:connect()
    assert.equal("accepted", client.state)
    client:authenticate{ ticket = three }
    assert.equal("ada", client.user_id)
  end)

  it("denies a second use, and counts it", function()
    local ticket = tickets(ada)
    assert.equal("ada", host:connect{ query = { ticket = ticket } }.user_id)
    for _ = 1, 2 do
      local client = host:connect{ query = { ticket = ticket } }
      assert.equal(4401, client.close_code)
      assert.equal("the ticket has been used already; ask for another", client.close_reason)
    end
    assert.equal(2, host:metrics("tidegate_tickets_total", { outcome = "replayed" }))
    assert.equal(1, host:metrics("tidegate_tickets_total", { outcome = "used" }))
  end)

  it("holds a ticket to its origin, and voids it when another shows it", function()
    local bound = { identity = { user_id = "ada" }, origin = "https://app.example" }
    local one, two = tickets(bound, bound)
    assert.equal("ada", host:connect{ query = { ticket = one }, origin = "https://app.example" }.user_id)
    assert.equal("the ticket is for another origin",
      host:connect{ query = { ticket = two }, origin = "https://evil.example" }.close_reason)
    assert.matches("used already",
      host:connect{ query = { ticket = two }, origin = "https://app.example" }.close_reason)
  end)

  it("denies everything else and says why", function()
    local ticket = tickets({ identity = { user_id = "ada" }, ttl = 5 })
    local rows = {
      { ("x"):rep(43), "the ticket is unknown" },
      { ("x"):rep(44), "the ticket is too long" },
      { "é", "the ticket is malformed" },
      { "", "the ticket is malformed" },
    }
    for _, row in ipairs(rows) do
      assert.equal(row[2], host:connect{ query = { ticket = row[1] } }.close_reason)
    end
    local client = host:connect()
    client:authenticate{ hello = "there" }
    assert.equal("send a ticket: ?ticket=TICKET", client.close_reason)
    host:advance(5)
    client = host:connect{ query = { ticket = ticket } }
    assert.equal(4401, client.close_code)
    assert.equal("the ticket has expired; ask for another", client.close_reason)
  end)
end)

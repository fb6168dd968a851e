-- Run with: tidegate test examples/multi_agent
local testing = require "tidegate.testing"

local URL = "https://search.example"

describe("multi_agent", function()
  local host, healthy

  before_each(function()
    healthy = true
    host = testing.host("init.lua", { options = { search_url = URL } })
    host:http(URL .. "/health", function() return { status = healthy and 200 or 503 } end)
    local results = { json = { results = { "Spring tides come with a full moon." } } }
    host:http(URL .. "/search", function() return healthy and results or { status = 503 } end)
  end)
  after_each(function() host:close() end)

  -- Type and agent of each event, in order.
  local function story(client)
    local told = {}
    for i, event in ipairs(client:events()) do
      told[i] = event.type:gsub("^agent_", "") .. " " .. event.agent
    end
    return told
  end

  it("asks two agents at once, joins them and hands off", function()
    local client = host:connect{ bearer = "demo-key" }
    assert.equal("processing_ready", client.state)
    client:execute("tides", "supervisor")
    local told = story(client)
    assert.equal("started supervisor", told[1])
    assert.equal("thinking supervisor", told[2])
    local started = { [told[3]] = true, [told[4]] = true }
    assert.same({ ["started archivist"] = true, ["started searcher"] = true }, started)
    assert.equal("completed writer", told[#told - 1])
    assert.equal("completed supervisor", told[#told])

    local events = client:events()
    local first, last, writer = events[1], events[#events], events[#events - 1]
    for i, event in ipairs(events) do
      assert.equal(i, event.seq)
      assert.equal(event.agent ~= "supervisor" and first.run_id or nil, event.parent_run_id)
    end
    assert.equal(writer.run_id, last.data.handed_off_to)
    assert.equal(writer.data.response, last.data.response)
    assert.matches("printed in 1668. (archivist)", last.data.response, 1, true)
    assert.matches("full moon. (searcher)", last.data.response, 1, true)
  end)

  it("answers what it can while the search is missing, and all once it is back", function()
    healthy = false
    local client = host:connect{ bearer = "demo-key" }
    assert.equal("degraded", client.state)
    client:execute("tides", "supervisor")
    local events = client:events()
    local response = events[#events].data.response
    assert.matches("archivist", response, 1, true)
    assert.is_nil(response:find("searcher", 1, true))

    healthy = true
    host:advance(60)
    assert.equal("processing_ready", client.state)
    client:execute("tides", "supervisor")
    events = client:events()
    assert.matches("full moon. (searcher)", events[#events].data.response, 1, true)
  end)

  it("notices when the search goes away, and when it returns", function()
    local client = host:connect{ bearer = "demo-key" }
    assert.equal("processing_ready", client.state)
    healthy = false
    client:execute("tides", "supervisor")
    local events = client:events()
    assert.matches("archivist", events[#events].data.response, 1, true)
    assert.equal("degraded", client.state)
    healthy = true
    host:advance(60)
    assert.equal("processing_ready", client.state)
  end)

  it("tells why when nobody knows", function()
    healthy = false
    local client = host:connect{ bearer = "demo-key" }
    client:execute("volcanoes", "supervisor")
    local events = client:events()
    assert.same({ code = "nothing_found", message = "nobody knows: the archive has nothing about it" },
      events[#events].data)
  end)

  it("denies who has no key", function()
    assert.equal(4401, host:connect{ bearer = "wrong" }.close_code)
  end)
end)

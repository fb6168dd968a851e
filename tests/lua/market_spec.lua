package.path = "examples/supervisor/?.lua;" .. package.path
local market = require "market"

describe("market", function()
  describe("quotes", function()
    it("has series for the desks that the example knows", function()
      assert.equal(3, #market.quotes("equities"))
      assert.equal(1, #market.quotes("risk"))
    end)

    it("has none for a desk that it does not know", function()
      assert.same({}, market.quotes("nobody"))
      assert.same({}, market.quotes(nil))
    end)
  end)

  describe("trends", function()
    local rows = {
      { desc = "a rise", closes = { 100, 104 }, direction = "rising", change = 4 },
      { desc = "a fall", closes = { 100, 90 }, direction = "falling", change = -10 },
      { desc = "a small move", closes = { 100, 101 }, direction = "flat", change = 1 },
      { desc = "a move that came back", closes = { 50, 80, 50 }, direction = "flat", change = 0 },
    }
    for _, row in ipairs(rows) do
      it("names " .. row.desc, function()
        local trend = market.trends({ { name = "X", closes = row.closes } })[1]
        assert.equal("X", trend.name)
        assert.equal(row.direction, trend.direction)
        assert.near(row.change, trend.change, 1e-9)
        assert.equal(#row.closes, trend.days)
        assert.equal(row.closes[#row.closes], trend.last)
      end)
    end

    it("keeps the order of the series", function()
      local trends = market.trends(market.quotes("equities"))
      assert.same({ "Northwind", "Contoso", "Fabrikam" }, { trends[1].name, trends[2].name, trends[3].name })
    end)
  end)
end)

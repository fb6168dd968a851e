--- Made-up closing prices and the plainest analysis of them: where other programs ask a data service.
local M = {}

local series = {
  equities = {
    { name = "Northwind", closes = { 41.2, 41.9, 42.4, 43.8, 44.1 } },
    { name = "Contoso", closes = { 18.0, 17.6, 17.7, 16.9, 16.4 } },
    { name = "Fabrikam", closes = { 95.5, 95.4, 95.7, 95.3, 95.6 } },
  },
  risk = {
    { name = "Volatility index", closes = { 14.1, 15.0, 15.8, 17.2, 18.3 } },
  },
}

--- The closing prices that a desk follows, oldest first.
function M.quotes(desk)
  return series[desk] or {}
end

--- Direction and change in percent of each series.
function M.trends(quotes)
  local trends = {}
  for _, quote in ipairs(quotes) do
    local first, last = quote.closes[1], quote.closes[#quote.closes]
    local change = (last - first) / first * 100
    local direction = "flat"
    if change > 1 then
      direction = "rising"
    elseif change < -1 then
      direction = "falling"
    end
    trends[#trends + 1] =
      { name = quote.name, direction = direction, change = change, days = #quote.closes, last = last }
  end
  return trends
end

return M

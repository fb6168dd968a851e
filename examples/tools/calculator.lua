--- The value of an expression such as 17 * (3 + 4), by recursive descent.
local M = {}

local DEPTH_MAX = 50

local Parser = {}
Parser.__index = Parser

function Parser:skip(pattern)
  local found, last = self.text:match("^%s*(" .. pattern .. ")()", self.at)
  if found then
    self.at = last
  end
  return found
end

function Parser:atom()
  self.depth = self.depth + 1
  if self.depth > DEPTH_MAX then
    error({ why = "too many parentheses" })
  end
  local value
  if self:skip "%(" then
    value = self:sum()
    if not self:skip "%)" then
      error({ why = "a ) is missing" })
    end
  elseif self:skip "%-" then
    value = -self:power()
  else
    value = tonumber(self:skip "%d+%.?%d*" or self:skip "%.%d+")
    if not value then
      error({ why = "a number expected at character " .. self.at })
    end
  end
  self.depth = self.depth - 1
  return value
end

function Parser:power()
  local base = self:atom()
  if self:skip "%^" then
    return base ^ self:power()
  end
  return base
end

function Parser:product()
  local value = self:power()
  while true do
    local sign = self:skip "[*/]"
    if not sign then
      return value
    end
    local other = self:power()
    value = sign == "*" and value * other or value / other
  end
end

function Parser:sum()
  local value = self:product()
  while true do
    local sign = self:skip "[+-]"
    if not sign then
      return value
    end
    local other = self:product()
    value = sign == "+" and value + other or value - other
  end
end

--- A number; or nil and why there is none.
function M.value(expression)
  local parser = setmetatable({ text = expression, at = 1, depth = 0 }, Parser)
  local worked, value = pcall(parser.sum, parser)
  if not worked then
    return nil, type(value) == "table" and value.why or "this is no expression"
  elseif parser:skip "%S" then
    return nil, "the expression goes on where it should end: " .. expression:sub(parser.at - 1)
  elseif value ~= value or value == math.huge or value == -math.huge then
    return nil, "there is no such number"
  end
  return value
end

return M

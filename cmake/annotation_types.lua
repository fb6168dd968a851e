--- Reads the type that a text begins with, in the notation of LuaLS: answers it, the names that it
--- mentions, and what follows it; or nil and what is wrong with it.
local Type = {}
Type.__index = Type

function Type:skip()
  self.at = self.text:match("^%s*()", self.at)
end

function Type:take(literal)
  self:skip()
  if self.text:sub(self.at, self.at + #literal - 1) == literal then
    self.at = self.at + #literal
    return true
  end
  return false
end

function Type:expect(literal)
  if not self:take(literal) then
    error(("%q expected in the type at %q"):format(literal, self.text:sub(self.at)), 0)
  end
end

function Type:list(close, item)
  if self:take(close) then
    return
  end
  repeat
    item()
  until not self:take ","
  self:expect(close)
end

function Type:param()
  if not self:take "..." then
    self:skip()
    local stop = self.text:match("^[%a_][%w_]*%??()", self.at)
    if not stop then
      error("a parameter's name expected at " .. self.text:sub(self.at), 0)
    end
    self.at = stop
  end
  if self:take ":" then
    self:union()
  end
end

function Type:field()
  if self:take "[" then
    self:union()
    self:expect "]"
  else
    self:skip()
    local stop = self.text:match("^[%a_][%w_]*%??()", self.at)
    if not stop then
      error("a field's name expected at " .. self.text:sub(self.at), 0)
    end
    self.at = stop
  end
  self:expect ":"
  self:union()
end

function Type:fun()
  self:expect "("
  self:list(")", function() self:param() end)
  if self:take ":" then
    repeat
      if not self:take "..." then
        self:union()
      end
    until not self:take ","
  end
end

function Type:primary()
  self:skip()
  local quoted = self.text:match('^"[^"]*"()', self.at) or self.text:match("^%-?%d+()", self.at)
  local name, after = self.text:match("^([%a_][%w_.]*)()", self.at)
  if quoted then
    self.at = quoted
  elseif self:take "(" then
    self:union()
    self:expect ")"
  elseif self:take "{" then
    self:list("}", function() self:field() end)
  elseif not name then
    error("a type expected at " .. self.text:sub(self.at), 0)
  else
    self.at = after
    if name == "fun" then
      return self:fun()
    end
    self.names[#self.names + 1] = name
    if self.text:sub(after, after) == "<" then
      self.at = after + 1
      self:list(">", function() self:union() end)
    end
  end
end

function Type:union()
  repeat
    self:primary()
    while self.text:sub(self.at, self.at + 1) == "[]" or self.text:sub(self.at, self.at) == "?" do
      self.at = self.at + (self.text:sub(self.at, self.at) == "?" and 1 or 2)
    end
  until not self:take "|"
end

return function(text)
  local reader = setmetatable({ text = text, at = 1, names = {} }, Type)
  reader:skip()
  local from = reader.at
  local ok, why = pcall(reader.union, reader)
  if not ok then
    return nil, why
  end
  local found, rest = text:sub(from, reader.at - 1), text:sub(reader.at)
  return (found:gsub("%s+$", "")), reader.names, (rest:gsub("^%s+", ""))
end

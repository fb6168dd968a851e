--- The expressions half of the parser: nodes, names and scopes, functions, operators. Private: for
--- `tidegate check`; what nodes and variables are is said in parser.lua.
local Parser = {}
Parser.__index = Parser

local BINARY = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 },
  ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 },
  [">="] = { 3, 3 }, ["~="] = { 3, 3 }, ["=="] = { 3, 3 },
  [".."] = { 5, 4 }, ["+"] = { 6, 6 }, ["-"] = { 6, 6 },
  ["*"] = { 7, 7 }, ["/"] = { 7, 7 }, ["%"] = { 7, 7 }, ["^"] = { 10, 9 },
}
local UNARY_PRIORITY = 8
local UNARY = { ["not"] = true, ["-"] = true, ["#"] = true }

function Parser:node(tag, ...)
  return { tag = tag, line = self.reader.line, column = self.reader.column, func = self.func, ... }
end

function Parser:is(kind)
  return self.reader.kind == kind
end

function Parser:take(kind)
  if self.reader.kind ~= kind then
    return false
  end
  self.reader:next()
  return true
end

-- Only for texts that LuaJIT would have refused, too.
function Parser:expect(kind)
  if not self:take(kind) then
    error({ line = self.reader.line, text = kind .. " expected near " .. tostring(self.reader.value) }, 0)
  end
end

function Parser:name()
  local name = self.reader.value
  self:expect("name")
  return name
end

-- --- variables ----------------------------------------------------------------------------------------

function Parser:open_scope()
  self.scope = { outer = self.scope }
end

function Parser:close_scope()
  self.scope = self.scope.outer
end

function Parser:variable(name, kind, line, column)
  return { name = name, kind = kind, line = line, column = column, func = self.func, reads = 0, writes = 0 }
end

function Parser:declare(var)
  self.scope[var.name .. "\0"] = var
  self.vars[#self.vars + 1] = var
  return var
end

function Parser:resolve(name)
  local scope = self.scope
  while scope do
    local var = scope[name .. "\0"]
    if var then
      return var
    end
    scope = scope.outer
  end
  return nil
end

function Parser:name_node()
  local node = self:node("Name")
  local name = self:name()
  node.name = name
  node.var = self:resolve(name)
  if node.var then
    node.var.reads = node.var.reads + 1
  else
    node.tag = "Global"
  end
  return node
end

-- --- expressions --------------------------------------------------------------------------------------

function Parser:params(func)
  func.params = {}
  self:expect "("
  while self:is "name" do
    local var = self:variable(self.reader.value, "param", self.reader.line, self.reader.column)
    self.reader:next()
    func.params[#func.params + 1] = self:declare(var)
    if not self:take "," then
      break
    end
  end
  func.vararg = self:take "..."
  self:expect ")"
end

-- What follows the word function and its name.
function Parser:body(func, is_method)
  local outer = self.func
  self.func = func
  self.functions[#self.functions + 1] = func
  self:open_scope()
  local self_var = is_method and self:declare(self:variable("self", "self", func.line, func.column)) or nil
  self:params(func)
  if self_var then
    table.insert(func.params, 1, self_var)
    func.self = true
  end
  func[1] = self:block()
  self:close_scope()
  func.last = self.reader.line
  self:expect "end"
  self.func = outer
  return func
end

function Parser:constructor()
  local node = self:node "Table"
  self:expect "{"
  while not self:is "}" and not self:is "eof" do
    local item = self:node "Pair"
    if self:take "[" then
      item[1] = self:expression()
      self:expect "]"
      self:expect "="
      item[2] = self:expression()
    elseif self:is "name" and self.reader:peek() == "=" then
      item[1] = self:node("String")
      item[1].value = self:name()
      self:expect "="
      item[2] = self:expression()
    else
      item.tag = "Item"
      item[1] = self:expression()
    end
    node[#node + 1] = item
    if not self:take "," and not self:take ";" then
      break
    end
  end
  self:expect "}"
  return node
end

local SIMPLE = {
  ["nil"] = "Nil", ["true"] = "True", ["false"] = "False", ["..."] = "Vararg",
  number = "Number", string = "String",
}

function Parser:simple()
  local tag = SIMPLE[self.reader.kind]
  if tag then
    local node = self:node(tag)
    node.value = self.reader.value
    self.reader:next()
    return node
  end
  if self:is "{" then
    return self:constructor()
  end
  if self:is "function" then
    local node = self:node "Function"
    self.reader:next()
    return self:body(node, false)
  end
  return self:suffixed()
end

function Parser:arguments(node)
  if self:is "string" or self:is "{" then
    node[#node + 1] = self:simple()
    return node
  end
  self:expect "("
  if not self:is ")" then
    self:expressions(node)
  end
  self:expect ")"
  return node
end

function Parser:primary()
  if not self:is "(" then
    return self:name_node()
  end
  local node = self:node "Paren"
  self.reader:next()
  node[1] = self:expression()
  self:expect ")"
  return node
end

function Parser:suffixed()
  local left = self:primary()
  while true do
    local node
    if self:take "." then
      node = self:node("Index", left)
      node[2] = self:node "String"
      node[2].value = self:name()
    elseif self:is "[" then
      node = self:node("Index", left)
      self.reader:next()
      node[2] = self:expression()
      self:expect "]"
    elseif self:take ":" then
      node = self:node("Method", left)
      node.name = self:name()
      self:arguments(node)
    elseif self:is "(" or self:is "string" or self:is "{" then
      node = self:arguments(self:node("Call", left))
    else
      return left
    end
    left = node
  end
end

function Parser:expression(limit)
  limit = limit or 0
  local left
  if UNARY[self.reader.kind] then
    left = self:node "Unary"
    left.op = self.reader.kind
    self.reader:next()
    left[1] = self:expression(UNARY_PRIORITY)
  else
    left = self:simple()
  end
  local priority = BINARY[self.reader.kind]
  while priority and priority[1] > limit do
    local node = self:node("Binary", left)
    node.op = self.reader.kind
    self.reader:next()
    node[2] = self:expression(priority[2])
    left = node
    priority = BINARY[self.reader.kind]
  end
  return left
end

function Parser:expressions(into)
  repeat
    into[#into + 1] = self:expression()
  until not self:take ","
  return into
end

return Parser

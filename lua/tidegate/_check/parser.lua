--- The tree of a Lua text that LuaJIT has compiled, with every name resolved. Private: for `tidegate check`.
--
-- A node is a table: tag, line, column, func (the Function or Chunk that it stands in), its children in the
-- array part, and what else its tag says:
--
--   Chunk, Function{params, vararg, last, self, name}: one child, the Block
--   Block, Do, While{cond, block}, Repeat{block, cond}, If{cond, block, …, block?}, For, ForIn
--   Local{vars}: the values · Assign{targets}: the values · LocalFunction{var} · Return · Break · Goto
--   Label
--   Nil True False Number String{value} Vararg Table Pair Item Name{var} Global{name} Index Paren
--   Call: the function and its arguments · Method{name}: the object and its arguments
--   Binary{op} · Unary{op}
--
-- A variable: name, line, column, kind ("local", "param", "self", "loop", "function"), func (the Function
-- whose it is), value (the node that it begins with, when that is one), reads, writes.
local Parser = require "tidegate._check.expressions"
local lexer = require "tidegate._check.lexer"

local M = {}

local BLOCK_END = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, eof = true }
local MULTIPLE = { Call = true, Method = true, Vararg = true }

local function give_values(vars, values)
  for i, var in ipairs(vars) do
    local value = values[i]
    if value and not (i == #values and MULTIPLE[value.tag] and #vars > i) then
      var.value = value
    end
  end
end

function Parser:local_statement()
  local node = self:node "Local"
  self.reader:next()
  if self:take "function" then
    node.tag = "LocalFunction"
    local func = self:node "Function"
    local reader = self.reader
    local var = self:declare(self:variable(reader.value, "function", reader.line, reader.column))
    self:name()
    func.name = var.name
    var.value = func
    node.var = var
    node[1] = self:body(func, false)
    return node
  end
  node.vars = {}
  repeat
    local var = self:variable(self.reader.value, "local", self.reader.line, self.reader.column)
    self:name()
    node.vars[#node.vars + 1] = var
  until not self:take ","
  if self:take "=" then
    self:expressions(node)
  end
  give_values(node.vars, node)
  for _, var in ipairs(node.vars) do
    self:declare(var)
  end
  return node
end

-- Counts as written what a name that was read before turns out to be.
local function written(target, value)
  if target.tag == "Name" then
    target.var.reads = target.var.reads - 1
    target.var.writes = target.var.writes + 1
  end
  target.written = true
  target.assigned = value
end

function Parser:function_statement()
  local node = self:node "Assign"
  self.reader:next()
  local target, is_method = self:name_node(), false
  local name = target.name
  while self:is "." or self:is ":" do
    is_method = self:is ":"
    self.reader:next()
    target = self:node("Index", target)
    target[2] = self:node "String"
    target[2].value = self:name()
    name = name .. (is_method and ":" or ".") .. target[2].value
  end
  local func = { tag = "Function", line = node.line, column = node.column, func = self.func, name = name }
  node.targets = { target }
  written(target, func)
  node[1] = self:body(func, is_method)
  return node
end

function Parser:expression_statement()
  local node = self:node "Assign"
  local first = self:suffixed()
  if not self:is "=" and not self:is "," then
    return first
  end
  node.targets = { first }
  while self:take "," do
    node.targets[#node.targets + 1] = self:suffixed()
  end
  self:expect "="
  self:expressions(node)
  for i, target in ipairs(node.targets) do
    written(target, node[i])
  end
  return node
end

function Parser:if_statement()
  local node = self:node "If"
  repeat
    self.reader:next()
    node[#node + 1] = self:expression()
    self:expect "then"
    node[#node + 1] = self:scoped_block()
  until not self:is "elseif"
  if self:take "else" then
    node[#node + 1] = self:scoped_block()
  end
  self:expect "end"
  return node
end

function Parser:for_statement()
  local node = self:node "For"
  self.reader:next()
  local vars = {}
  repeat
    vars[#vars + 1] = self:variable(self.reader.value, "loop", self.reader.line, self.reader.column)
    self:name()
  until not self:take ","
  if not self:take "=" then
    self:expect "in"
    node.tag = "ForIn"
  end
  self:expressions(node)
  self:expect "do"
  self:open_scope()
  for _, var in ipairs(vars) do
    self:declare(var)
  end
  node[#node + 1] = self:block()
  self:close_scope()
  self:expect "end"
  return node
end

function Parser:while_statement()
  local node = self:node "While"
  self.reader:next()
  node[1] = self:expression()
  self:expect "do"
  node[2] = self:scoped_block()
  self:expect "end"
  return node
end

-- The condition sees the block's locals.
function Parser:repeat_statement()
  local node = self:node "Repeat"
  self.reader:next()
  self:open_scope()
  node[1] = self:block()
  self:expect "until"
  node[2] = self:expression()
  self:close_scope()
  return node
end

function Parser:return_statement()
  local node = self:node "Return"
  self.reader:next()
  if not BLOCK_END[self.reader.kind] and not self:is ";" then
    self:expressions(node)
  end
  self:take ";"
  self.returns[#self.returns + 1] = node
  return node
end

function Parser:do_statement()
  local node = self:node "Do"
  self.reader:next()
  node[1] = self:scoped_block()
  self:expect "end"
  return node
end

local STATEMENTS = {
  ["local"] = Parser.local_statement, ["function"] = Parser.function_statement, ["if"] = Parser.if_statement,
  ["for"] = Parser.for_statement, ["while"] = Parser.while_statement, ["repeat"] = Parser.repeat_statement,
  ["return"] = Parser.return_statement, ["do"] = Parser.do_statement,
}

function Parser:statement()
  local parse = STATEMENTS[self.reader.kind]
  if parse then
    return parse(self)
  end
  local node = self:node "Break"
  if self:take "break" then
    return node
  end
  if self:take "::" then
    node.tag = "Label"
    self:name()
    self:expect "::"
    return node
  end
  if self:is "name" and self.reader.value == "goto" and self.reader:peek() == "name" then
    node.tag = "Goto"
    self.reader:next()
    self:name()
    return node
  end
  return self:expression_statement()
end

function Parser:block()
  local node = self:node "Block"
  while not BLOCK_END[self.reader.kind] do
    if not self:take ";" then
      node[#node + 1] = self:statement()
    end
  end
  return node
end

function Parser:scoped_block()
  self:open_scope()
  local node = self:block()
  self:close_scope()
  return node
end

--- The tree, or nil and a reason: { chunk, functions, vars, returns }.
function M.parse(text)
  local chunk = { tag = "Chunk", line = 1, column = 1, params = {}, vararg = true }
  local parser = setmetatable({ reader = lexer.read(text), func = chunk }, Parser)
  parser.functions, parser.vars, parser.returns = {}, {}, {}
  parser:open_scope()
  local ok, err = pcall(function()
    chunk[1] = parser:block()
    parser:expect "eof"
  end)
  if not ok then
    return nil, type(err) == "table" and err.line .. ": " .. err.text or tostring(err)
  end
  return { chunk = chunk, functions = parser.functions, vars = parser.vars, returns = parser.returns }
end

local function push_reversed(nodes, parent, stack, parents, top)
  for i = #nodes, 1, -1 do
    top = top + 1
    stack[top], parents[top] = nodes[i], parent
  end
  return top
end

--- Calls visit(node, parent) for the node and all below it, outer nodes first; targets of assignments before
--- values. What visit answers false for is not entered. Not recursive: a long sum is a deep tree.
function M.walk(root, visit)
  local stack, parents, top = { root }, {}, 1
  while top > 0 do
    local node, parent = stack[top], parents[top]
    top = top - 1
    if visit(node, parent) ~= false then
      top = push_reversed(node, node, stack, parents, top)
      top = push_reversed(node.targets or {}, node, stack, parents, top)
    end
  end
end

return M

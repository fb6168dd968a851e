--- Cuts a Lua text that LuaJIT has compiled into tokens. Private: for `tidegate check`.
--
-- A token is kind, value, line, column. Kinds: "name", "string", "number", "eof", and for keywords and
-- symbols the word itself. Texts that LuaJIT refuses never come here, so nothing is diagnosed: what is not
-- understood is a token of its own character.
local M = {}

local KEYWORDS = {}
local words = "and break do else elseif end false for function if in local nil not or repeat return "
  .. "then true until while"
for word in words:gmatch "%a+" do
  KEYWORDS[word] = word
end

local ESCAPES = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v" }

local function utf8_char(code)
  if code < 0x80 then
    return string.char(code)
  end
  local tail, first = {}, 0x3f
  repeat
    table.insert(tail, 1, string.char(0x80 + code % 0x40))
    code = math.floor(code / 0x40)
    first = math.floor(first / 2)
  until code <= first
  return string.char((0xfe - first * 2) + code) .. table.concat(tail)
end

--- The text of a quoted string from what stands between its quotes.
function M.unescape(raw)
  if not raw:find("\\", 1, true) then
    return raw
  end
  local out, at = {}, 1
  while at <= #raw do
    local slash = raw:find("\\", at, true)
    if not slash then
      break
    end
    out[#out + 1] = raw:sub(at, slash - 1)
    local c = raw:sub(slash + 1, slash + 1)
    local digits = raw:match("^%d%d?%d?", slash + 1)
    at = slash + 2
    if ESCAPES[c] then
      out[#out + 1] = ESCAPES[c]
    elseif digits then
      out[#out + 1] = string.char(tonumber(digits) % 256)
      at = slash + 1 + #digits
    elseif c == "x" then
      out[#out + 1] = string.char(tonumber(raw:match("^%x%x", at) or "3f", 16))
      at = at + 2
    elseif c == "u" then
      local hex = raw:match("^{(%x+)}", at) or "3f"
      out[#out + 1] = utf8_char(tonumber(hex, 16))
      at = at + #hex + 2
    elseif c == "z" then
      at = raw:match("^%s*()", at)
    else
      out[#out + 1] = c
    end
  end
  out[#out + 1] = raw:sub(at)
  return table.concat(out)
end

local Reader = {}
Reader.__index = Reader

--- A reader over the text; `next` moves to the next token, whose parts are its fields.
function M.read(text)
  local reader = setmetatable({ text = text, at = 1, line_count = 1, line_start = 1 }, Reader)
  if text:find("^\239\187\191") then
    reader.at = 4
  end
  if text:find("^#", reader.at) then
    reader.at = text:find("\n", reader.at, true) or #text + 1
  end
  reader:next()
  return reader
end

-- Counts the lines up to `to`; "\r\n" is one end of line. Looks no further than that: a line may be long.
function Reader:skip_to(to)
  local passed, at = self.text:sub(self.at, to - 1), 1
  while true do
    local nl = passed:find("[\r\n]", at)
    if not nl then
      break
    end
    at = passed:match("^\r\n()", nl) or passed:match("^\n\r()", nl) or nl + 1
    self.line_count = self.line_count + 1
    self.line_start = self.at + at - 1
  end
  self.at = to
end

-- The end of a long bracket that opens at `at`, and what is in it; nil when none does.
local function long_bracket(text, at)
  local equals, from = text:match("^%[(=*)%[()", at)
  if not equals then
    return nil
  end
  local first, last = text:find("]" .. equals .. "]", from, true)
  if not first then
    return #text + 1, text:sub(from)
  end
  return last + 1, text:sub(from, first - 1)
end

function Reader:skip_blank()
  local text = self.text
  while true do
    self:skip_to(text:match("^[ \t\r\n\v\f]*()", self.at))
    if text:sub(self.at, self.at + 1) ~= "--" then
      return
    end
    local after = long_bracket(text, self.at + 2)
    self:skip_to(after or text:find("[\r\n]", self.at) or #text + 1)
  end
end

local function quoted_end(text, at)
  local quote = text:sub(at, at)
  local from = at + 1
  while true do
    local stop = text:find("[\\" .. quote .. "]", from)
    if not stop then
      return #text + 1
    end
    if text:sub(stop, stop) == quote then
      return stop
    end
    -- \z takes the white space after it, line ends and all; "\r\n" after a backslash is one.
    from = text:match("^\\\r\n()", stop) or text:match("^\\z%s*()", stop) or stop + 2
  end
end

local function number_end(text, at)
  if text:find("^0[xX]", at) then
    return text:match("^0[xX][%x.]*()", at), "[pP]"
  end
  if text:find("^0[bB][01]", at) then
    return text:match("^0[bB][01]+()", at), "[pP]"
  end
  return text:match("^[%d.]+()", at), "[eE]"
end

local function read_number(text, at)
  local stop, exponent = number_end(text, at)
  stop = text:match("^" .. exponent .. "[+-]?%d+()", stop) or stop
  return text:match("^[uUlLiI]*()", stop)
end

local SYMBOLS = { "...", "..", "==", "~=", "<=", ">=", "::" }

local function symbol(text, at)
  for _, s in ipairs(SYMBOLS) do
    if text:sub(at, at + #s - 1) == s then
      return s
    end
  end
  return text:sub(at, at)
end

function Reader:scan()
  local text, at = self.text, self.at
  local c = text:sub(at, at)
  if c == "" then
    return "eof", nil, at
  end
  local word = text:match("^[%a_\128-\255][%w_\128-\255]*", at)
  if word then
    return KEYWORDS[word] or "name", word, at + #word
  end
  if c == '"' or c == "'" then
    local stop = quoted_end(text, at)
    return "string", M.unescape(text:sub(at + 1, stop - 1)), stop + 1
  end
  local after, inside = long_bracket(text, at)
  if after then
    return "string", (inside:gsub("^\r?\n", "")), after
  end
  if text:find("^%.?%d", at) then
    local stop = read_number(text, at)
    return "number", text:sub(at, stop - 1), stop
  end
  local s = symbol(text, at)
  return s, s, at + #s
end

function Reader:next()
  self:skip_blank()
  self.line = self.line_count
  self.column = self.at - self.line_start + 1
  local kind, value, stop = self:scan()
  self.kind, self.value = kind, value
  self:skip_to(math.min(stop, #self.text + 1))
end

--- The kind of the token after this one.
function Reader:peek()
  local saved = {}
  for key, value in pairs(self) do
    saved[key] = value
  end
  self:next()
  local kind = self.kind
  for key, value in pairs(saved) do
    self[key] = value
  end
  return kind
end

return M

--- What a block of authentication may answer, read as strictly as the core reads a hook. Private.
--
-- Four outcomes: "yes" (an identity), "no" (a reason, a code or nil), "wait" (tide.need_message()), and an
-- error for everything else: that is raised on and ends the hook, which denies.
local tide = require "tidegate"

local USER_ID_BYTES_MAX = 256
local EXPECTED = "a table with user_id, or nil and a reason, or tide.need_message()"

return function(core)
  local M = {}

  --- Misuse: raises at the policy's line.
  function M.misuse(text, ...)
    return core.raise(text:format(...))
  end

  local function fault(who, text)
    error(("%s: a block must return %s; it returned %s"):format(who, EXPECTED, text), 0)
  end

  --- Raises unless it is an identity. Raw, as the core looks at it: metatables take no part in a decision.
  function M.check_identity(who, identity)
    local user, expires_at = rawget(identity, "user_id"), rawget(identity, "expires_at")
    if type(user) ~= "string" or user == "" or #user > USER_ID_BYTES_MAX then
      fault(who, "a table whose user_id is no text of 1 to 256 bytes")
    end
    local is_time = type(expires_at) == "number" and expires_at > 0 and expires_at < math.huge
    if expires_at ~= nil and not is_time then
      fault(who, "a table whose expires_at is no number of unix seconds")
    end
  end

  local function is_code(code)
    if type(code) == "number" then
      return code >= 400 and code <= 599 and code % 1 == 0
    end
    return code == nil or type(code) == "string"
  end

  local function read(who, count, first, second, third, ...)
    for i = 4, count do
      if (select(i - 3, ...)) ~= nil then
        fault(who, "more than three values")
      end
    end
    if first == nil and type(second) == "string" and is_code(third) then
      return "no", second, third
    end
    if second ~= nil or third ~= nil then
      fault(who, ("%s, %s and %s"):format(core.describe(first), core.describe(second), core.describe(third)))
    end
    if type(first) == "table" then
      M.check_identity(who, first)
      return "yes", first
    end
    local kind, status, reason = core.marker(first)
    if kind == "need_message" then
      return "wait"
    elseif kind == "reject" then
      return "no", reason, status
    end
    return fault(who, core.describe(first))
  end

  local function counted(who, ...)
    return read(who, select("#", ...), ...)
  end

  --- Asks a block: "yes", identity | "no", reason, code | "wait". Raises what the block raises.
  function M.ask(who, block, conn, credentials)
    return counted(who, block(conn, credentials))
  end

  --- The same for any function.
  M.read = counted

  --- What a block returns for an outcome.
  function M.give(kind, first, code)
    if kind == "yes" then
      return first
    elseif kind == "wait" then
      return tide.need_message()
    elseif code == nil then
      return nil, first
    end
    return nil, first, code
  end

  --- Is this the client's fault, and stays so? Not: too many attempts, a service that does not answer.
  function M.is_final(code)
    if type(code) == "number" then
      return code < 500 and code ~= 429 and code ~= 408
    end
    return code ~= "unavailable"
  end

  -- --- options ---------------------------------------------------------------------------------------------

  function M.check_block(who, block)
    if type(block) ~= "function" then
      M.misuse("%s: an authenticator (function) expected, got %s", who, core.describe(block))
    end
  end

  --- Options by name: types is { name = "number", … }; a type may be "string|table".
  function M.check_options(who, options, types)
    if type(options) ~= "table" then
      M.misuse("%s: a table of options expected, got %s", who, core.describe(options))
    end
    for name, value in pairs(options) do
      local wanted = types[name]
      if not wanted then
        local known = {}
        for key in pairs(types) do
          known[#known + 1] = key
        end
        table.sort(known)
        M.misuse("%s: there is no option %q; there are %s", who, tostring(name), table.concat(known, ", "))
      elseif not ("|" .. wanted .. "|"):find("|" .. type(value) .. "|", 1, true) then
        M.misuse("%s: %s: %s expected, got %s", who, name, wanted, core.describe(value))
      end
    end
    return options
  end

  function M.check_number(who, name, value, least)
    if not (type(value) == "number" and value >= least and value < math.huge) then
      M.misuse("%s: %s: a number of %s or more expected", who, name, least)
    end
    return value
  end

  --- A list of texts, of which there is one at least.
  function M.check_texts(who, name, list)
    if type(list) ~= "table" or #list == 0 then
      M.misuse("%s: %s: a list of texts expected", who, name)
    end
    for i = 1, #list do
      if type(list[i]) ~= "string" or list[i] == "" then
        M.misuse("%s: %s[%d]: text expected, got %s", who, name, i, core.describe(list[i]))
      end
    end
    return list
  end

  return M
end

--- Options of tidegate.jwt: which there are, what they may be, and the rules that they make. Private.
--
-- What is wrong raises at the policy's line, so that `check` finds it.
local MAX_BYTES, LEAST_BYTES, MOST_BYTES = 8192, 256, 65536
local LEEWAY, LEEWAY_MAX = 30, 60
local AUDIENCES_MAX = 16
local REFRESH_MIN = 60

--- What makes a token good, and the kind of each value: for every verifier.
local rule_options = {
  algorithms = "algorithms",
  issuer = "text",
  audience = "audience",
  typ = "text",
  require_exp = "boolean",
  require_sub = "boolean",
  leeway = "leeway",
  max_age = "seconds",
  max_bytes = "size",
}

local function with_rules(options)
  for name, kind in pairs(rule_options) do
    options[name] = kind
  end
  return options
end

local verifier_options = with_rules({ keys = "keys" })
--- Of jwt.oidc: keys and their algorithms come from the provider.
local oidc_options = with_rules({ refresh = "refresh", max_stale = "seconds" })

local url_options = { url = "text", refresh = "refresh", max_stale = "seconds" }

local sign_options = {
  key = "keys",
  algorithm = "text",
  kid = "text",
  typ = "text",
  expires_in = "seconds",
}

local function is_text(value)
  return type(value) == "string" and value ~= "" and not value:find("\0", 1, true)
end

local function is_number(value, least, most)
  return type(value) == "number" and value >= least and value <= most
end

local checks = {
  text = function(value)
    return is_text(value), "text"
  end,
  boolean = function(value)
    return type(value) == "boolean", "true or false"
  end,
  keys = function(value)
    return type(value) == "string" or type(value) == "table", "keys (text or a table)"
  end,
  algorithms = function(value)
    return type(value) == "table" and #value > 0, 'a list such as { "RS256" }'
  end,
  audience = function(value)
    return is_text(value) or type(value) == "table" and #value > 0 and #value <= AUDIENCES_MAX,
      "text, or a list of 1 to 16 texts,"
  end,
  leeway = function(value)
    return is_number(value, 0, LEEWAY_MAX), "seconds from 0 to 60"
  end,
  seconds = function(value)
    return is_number(value, 1, 3.2e9), "a number of seconds"
  end,
  refresh = function(value)
    return is_number(value, REFRESH_MIN, 86400), "seconds from 60 to 86400"
  end,
  size = function(value)
    return is_number(value, LEAST_BYTES, MOST_BYTES) and value % 1 == 0, "bytes from 256 to 65536"
  end,
}

return function(core)
  local M = { verifier = verifier_options, oidc = oidc_options, sign = sign_options, url = url_options }

  function M.fail(name, text, ...)
    core.raise(name .. ": " .. (select("#", ...) > 0 and text:format(...) or text))
  end

  function M.check(name, given, options)
    if type(given) ~= "table" then
      M.fail(name, "a table of options expected, got %s", core.describe(given))
    end
    for key, value in pairs(given) do
      local kind = options[key]
      if not kind then
        local near = type(key) == "string" and core.suggest(key, options)
        local hint = near and ("; did you mean %q?"):format(near) or ""
        M.fail(name, "there is no option %q%s", tostring(key), hint)
      end
      local good, expected = checks[kind](value)
      if not good then
        M.fail(name, "%s: %s expected, got %s", key, expected, core.describe(value))
      end
    end
  end

  function M.need(name, given, key, why)
    if given[key] == nil then
      M.fail(name, "%s is missing: %s", key, why)
    end
  end

  --- Bits of a list of names.
  function M.algorithms(name, list)
    local bits, seen = 0, {}
    for _, algorithm in ipairs(list) do
      local bit = core.algorithms[algorithm]
      if not bit then
        local what = tostring(algorithm)
        if what:lower() == "none" then
          M.fail(name, "algorithms: a token without a signature proves nothing; \"none\" does not exist here")
        elseif what == "EdDSA" or what == "Ed25519" then
          M.fail(name, "algorithms: EdDSA is not supported (the crypto library has none); RS, PS, ES, HS are")
        end
        local near = type(algorithm) == "string" and core.suggest(algorithm:upper(), core.algorithms)
        M.fail(name, "algorithms: there is no %q%s", what, near and ("; did you mean %q?"):format(near) or "")
      end
      if not seen[algorithm] then
        seen[algorithm] = true
        bits = bits + bit
      end
    end
    return bits, seen
  end

  local function read_audiences(name, audience)
    if audience == nil then
      return {}
    end
    local list = {}
    for i, one in ipairs(type(audience) == "table" and audience or { audience }) do
      if not is_text(one) then
        M.fail(name, "audience[%d]: text expected, got %s", i, core.describe(one))
      end
      list[i] = one
    end
    return list
  end

  function M.either(value, default)
    if value == nil then
      return default
    end
    return value
  end

  function M.rules(name, given, bits)
    return {
      algorithms = bits,
      issuer = given.issuer,
      audiences = read_audiences(name, given.audience),
      typ = given.typ,
      require_exp = M.either(given.require_exp, true),
      require_sub = M.either(given.require_sub, false),
      leeway = M.either(given.leeway, LEEWAY),
      max_age = M.either(given.max_age, 0),
      max_bytes = M.either(given.max_bytes, MAX_BYTES),
    }
  end

  return M
end

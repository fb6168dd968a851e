--- Keys of tidegate.jwt: every form in which a policy may give them. Private.
local json = require "tidegate.json"

local REFRESH, MAX_STALE = 600, 86400

return function(core, jwks, options_of)
  local fail = options_of.fail
  local M = { REFRESH = REFRESH, MAX_STALE = MAX_STALE }

  local function check_secret(name, secret)
    if type(secret) ~= "string" then
      fail(name, "keys: secret: text expected, got %s", core.describe(secret))
    end
    if secret:find "^%s*%-%-%-%-%-BEGIN" then
      fail(name, "keys: secret: this is a key or certificate (PEM); give it as text, without { secret = … }")
    end
  end

  --- A text is PEM or JSON, a table is one of the forms below. Returns what adds it to keys, and its bytes.
  function M.form_of(name, key)
    if type(key) == "string" then
      if key:find("-----BEGIN ", 1, true) then
        return "pem", key
      elseif key:find "^%s*{" then
        return key:find '"keys"' and type((json.decode(key) or {}).keys) == "table" and "set" or "jwk", key
      end
      fail(name, "keys: a text is PEM, or a JWK or JWKS as JSON; a shared secret is { secret = text }")
    end
    if key.secret ~= nil then
      check_secret(name, key.secret)
      return "secret", key.secret
    elseif key.kty ~= nil or key.keys ~= nil then
      local text, why = json.encode(key)
      if not text then
        fail(name, "keys: %s", why)
      end
      return key.kty ~= nil and "jwk" or "set", text
    elseif type(key.file_option) == "string" then
      local text, why = core.read_option_file(key.file_option)
      if not text then
        fail(name, "keys: %s", why)
      end
      return M.form_of(name, text)
    end
    fail(name, "keys: a table is { secret = … }, { file_option = … }, { url = … }, a JWK, a JWKS or a list")
  end

  local adders = { pem = core.add_pem, jwk = core.add_jwk, set = core.add_set, secret = core.add_secret }

  local function add_key(name, keys, key)
    if type(key) ~= "string" and type(key) ~= "table" then
      fail(name, "keys: text or a table expected, got %s", core.describe(key))
    end
    if type(key) == "table" and key.url ~= nil then
      fail(name, "keys: { url = … } stands alone, not in a list")
    end
    local form, text = M.form_of(name, key)
    local good, why = adders[form](keys, text)
    if not good then
      fail(name, "keys: %s", why)
    end
    return form
  end

  --- Every algorithm has a key, and every key that was given by itself has an algorithm.
  local function check_fit(name, keys, allowed, all_single)
    local usable = core.usable(keys)
    for algorithm in pairs(allowed) do
      local bit = core.algorithms[algorithm]
      if math.floor(usable / bit) % 2 == 0 then
        fail(name, "algorithms: none of the keys can be used with %s", algorithm)
      end
    end
    local bits = 0
    for algorithm in pairs(allowed) do
      bits = bits + core.algorithms[algorithm]
    end
    if all_single and core.idle(keys, bits) then
      fail(name, "keys: there is one that none of the algorithms uses")
    end
  end

  function M.read(name, given, allowed)
    local keys, all_single = core.new_keys(), true
    local list = type(given) == "table" and #given > 0 and given or { given }
    for _, key in ipairs(list) do
      if add_key(name, keys, key) == "set" then
        all_single = false
      end
    end
    check_fit(name, keys, allowed, all_single)
    return keys
  end

  function M.refuse_secrets(name, allowed)
    for algorithm in pairs(allowed) do
      if algorithm:find "^HS" then
        local text = "algorithms: %s needs a shared secret, and keys that are fetched are public"
        fail(name, text, algorithm)
      end
    end
  end

  function M.source(name, key, allowed)
    options_of.check(name .. ": keys", key, options_of.url)
    if not jwks.is_safe(key.url) then
      fail(name, "keys: url: an https address without a user expected (http on this machine only)")
    end
    M.refuse_secrets(name, allowed)
    return jwks.source({
      url = key.url,
      refresh = options_of.either(key.refresh, REFRESH),
      max_stale = options_of.either(key.max_stale, MAX_STALE),
    })
  end

  return M
end

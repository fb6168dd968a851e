--- auth.basic: user name and password. Private.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"

local NAME_BYTES_MAX, PASSWORD_BYTES_MAX = 256, 1024
local ITERATIONS_MIN, ITERATIONS_MAX = 1000, 10000000
local SALT_MIN, SALT_MAX, DIGEST_BYTES = 8, 64, 32

-- Of a password that nobody has: who is not known takes as long to refuse as who is.
local NOBODY = "pbkdf2-sha256:%d:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

return function(_, shape)
  local M = {}

  local function hash_of(entry)
    return type(entry) == "table" and rawget(entry, "hash") or entry
  end

  -- What crypto.password_verify takes: found here, it is a mistake that is named at load; found there, a
  -- fault that tells an attacker which users there are.
  local function iterations_of(hash)
    local iterations, salt, digest
    if type(hash) == "string" then
      iterations, salt, digest = hash:match "^pbkdf2%-sha256:([1-9]%d*):([%w_-]+):([%w_-]+)$"
    end
    iterations = tonumber(iterations)
    if not iterations or iterations < ITERATIONS_MIN or iterations > ITERATIONS_MAX then
      return nil
    end
    salt, digest = crypto.base64url.decode(salt), crypto.base64url.decode(digest)
    local good = salt and #salt >= SALT_MIN and #salt <= SALT_MAX and digest and #digest == DIGEST_BYTES
    return good and iterations or nil
  end

  -- Iterations of the strongest hash among those known, for users that are not.
  local function check_users(who, users)
    local most, any = ITERATIONS_MIN, false
    for name, entry in pairs(users) do
      local iterations = iterations_of(hash_of(entry))
      if type(name) ~= "string" or name == "" or not iterations then
        shape.misuse("%s: users: %s: a hash of crypto.password_hash expected, or { hash = …, roles = … }",
          who, tostring(name))
      end
      most, any = math.max(most, iterations), true
    end
    if not any then
      shape.misuse("%s: users: no user is configured", who)
    end
    return NOBODY:format(most)
  end

  --- User name and password; passwords are kept as crypto.password_hash makes them.
  function M.basic(options)
    local who = "auth.basic"
    shape.check_options(who, options, { users = "table|function" })
    local find, nobody = options.users, NOBODY:format(600000)
    if type(options.users) == "table" then
      local users = tide.copy(options.users)
      nobody = check_users(who, users)
      find = function(name)
        return users[name]
      end
    elseif not find then
      shape.misuse("%s: users is missing: { name = hash, … }, or a function(name)", who)
    end
    return function(conn, credentials)
      local basic = credentials.basic
      if not basic and (conn.request.headers.authorization or ""):lower():find "^basic%s" then
        return nil, "the user name or the password is malformed", "malformed"
      elseif not basic then
        return nil, "send a user name and a password", "missing"
      elseif #basic.username > NAME_BYTES_MAX or #basic.password > PASSWORD_BYTES_MAX then
        return nil, "the user name or the password is too long", "too_large"
      elseif (basic.username .. basic.password):find "%c" then
        return nil, "the user name or the password is malformed", "malformed"
      end
      local entry = find(basic.username)
      local good, why = crypto.password_verify(basic.password, entry and hash_of(entry) or nobody)
      if good == nil then
        error(("%s: %s"):format(who, why), 0)
      elseif not entry or not good then
        return nil, "wrong user name or password", "unknown"
      end
      return { user_id = basic.username, roles = type(entry) == "table" and tide.copy(entry.roles) or nil }
    end
  end

  return M
end

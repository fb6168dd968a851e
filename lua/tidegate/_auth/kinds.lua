--- Authenticators for one kind of credential each. Private.
--
-- The code "missing" says that there was no such credential, so that any_of can tell what was
-- wrong with another.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local log = require "tidegate.log"

-- Of a password that nobody has: who is not known takes as long to refuse as who is.
local NOBODY = "pbkdf2-sha256:%d:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

return function(_, shape)
  local M = {}

  local function token_of(credentials)
    local data = type(credentials.message) == "table" and credentials.message.data
    if type(data) == "table" and type(data.token) == "string" then
      return data.token
    end
    return credentials.bearer
  end

  -- --- keys ------------------------------------------------------------------------------------------------

  local key_options = { keys = "table", from = "function" }

  --- Keys that are known beforehand: user -> key. Looked up by a keyed digest: no time tells how
  --- much fits.
  function M.keys(options)
    local who = "auth.keys"
    shape.check_options(who, options, key_options)
    local secret, users, count = crypto.random_bytes(32), {}, 0
    for user, key in pairs(options.keys or {}) do
      local kind = type(key)
      if type(user) ~= "string" or kind ~= "string" and kind ~= "number" or tostring(key) == "" then
        shape.misuse("%s: keys: { user = key, … } expected", who)
      end
      local digest = crypto.hmac_sha256(secret, tostring(key))
      if users[digest] then
        shape.misuse("%s: keys: two users have the same key", who)
      end
      users[digest], count = user, count + 1
    end
    if count == 0 then
      shape.misuse("%s: keys: no key is configured", who)
    end
    local from = options.from or token_of
    return function(_, credentials)
      local key = from(credentials)
      if type(key) ~= "string" or key == "" then
        return nil, "send a key", "missing"
      end
      local user = users[crypto.hmac_sha256(secret, key)]
      if not user then
        return nil, "unknown key"
      end
      return { user_id = user }
    end
  end

  -- --- basic -----------------------------------------------------------------------------------------------

  local function hash_of(entry)
    return type(entry) == "table" and rawget(entry, "hash") or entry
  end

  -- Iterations of the strongest hash among those known, for users that are not.
  local function check_users(who, users)
    local most, any = 1000, false
    for name, entry in pairs(users) do
      local hash = hash_of(entry)
      local iterations = type(hash) == "string" and hash:match "^pbkdf2%-sha256:(%d+):[%w_-]+:[%w_-]+$"
      if type(name) ~= "string" or name == "" or not iterations then
        shape.misuse("%s: users: %s: a hash of crypto.password_hash expected, or { hash = …, roles = … }",
          who, tostring(name))
      end
      most, any = math.max(most, tonumber(iterations)), true
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
    return function(_, credentials)
      local basic = credentials.basic
      if not basic then
        return nil, "send a user name and a password", "missing"
      end
      local entry = find(basic.username)
      local good, why = crypto.password_verify(basic.password, entry and hash_of(entry) or nobody)
      if good == nil then
        error(("%s: %s"):format(who, why), 0)
      elseif not entry or not good then
        return nil, "wrong user name or password"
      end
      return { user_id = basic.username, roles = type(entry) == "table" and tide.copy(entry.roles) or nil }
    end
  end

  -- --- subprotocol -----------------------------------------------------------------------------------------

  local TOKEN_PREFIX = "base64url.bearer."

  --- A token in a subprotocol, for browsers: the block gets it as credentials.bearer. The core never
  --- echoes it.
  function M.subprotocol_token(inner, options)
    local who = "auth.subprotocol_token"
    shape.check_block(who, inner)
    local prefix = shape.check_options(who, options or {}, { prefix = "string" }).prefix or TOKEN_PREFIX
    if prefix == "" then
      shape.misuse("%s: prefix: text expected", who)
    end
    return function(conn, credentials)
      local token
      for _, name in ipairs(credentials.subprotocols) do
        if name:sub(1, #prefix) == prefix then
          local decoded = crypto.base64url.decode(name:sub(#prefix + 1))
          if not decoded or decoded == "" or token then
            return nil, "the token in the subprotocol is malformed"
          end
          token = decoded
        end
      end
      if not token then
        return nil, "send a token as a subprotocol", "missing"
      end
      local given = { bearer = token }
      for name, value in pairs(credentials) do
        if name ~= "bearer" then
          given[name] = value
        end
      end
      return shape.give(shape.ask(who, inner, conn, given))
    end
  end

  -- --- proxy header ----------------------------------------------------------------------------------------

  --- The user that a trusted proxy names in a header.
  function M.proxy_header(options)
    local who = "auth.proxy_header"
    shape.check_options(who, options, { header = "string", roles = "string" })
    local header = options.header
    if not header or not header:find "^[%w%-_]+$" then
      shape.misuse("%s: header: the name of a header expected, such as x-forwarded-user", who)
    end
    local roles_header = options.roles and options.roles:lower()
    header = header:lower()
    if #tide.server.trusted_proxies == 0 then
      shape.misuse("%s: anybody could send %s: name the proxies in trusted_proxies", who, header)
    end
    return function(conn)
      local request = conn.request
      if not request.via_proxy then
        return nil, "connect through the proxy", 403
      end
      local user = request.headers[header]
      if not user or user == "" then
        return nil, "the proxy names no user", "missing"
      elseif user:find(",", 1, true) then
        -- Two headers of that name arrive as one, with a comma: one of them may be the client's.
        return nil, "the proxy names more than one user"
      end
      local roles
      if roles_header then
        roles = {}
        for role in (request.headers[roles_header] or ""):gmatch "[^,%s]+" do
          roles[#roles + 1] = role
        end
      end
      return { user_id = user, roles = roles }
    end
  end

  -- --- client certificate ----------------------------------------------------------------------------------

  local certificate_users = {
    cn = function(certificate)
      return certificate.subject_cn
    end,
    subject = function(certificate)
      return certificate.subject
    end,
  }
  for _, kind in ipairs { "dns", "email", "uri", "ip" } do
    certificate_users[kind] = function(certificate)
      local names = certificate.sans[kind]
      return #names == 1 and names[1] or nil
    end
  end

  --- The owner of a verified client certificate, while it is valid.
  function M.mtls(options)
    local who = "auth.mtls"
    shape.check_options(who, options or {}, { user = "string|function", issuer = "string" })
    local user, issuer = options and options.user or "cn", options and options.issuer
    local user_of = type(user) == "function" and user or certificate_users[user]
    if not user_of then
      shape.misuse("%s: user: cn, subject, dns, email, uri, ip or a function expected, got %q", who, user)
    end
    return function(_, credentials)
      local certificate = credentials.client_certificate
      if not certificate then
        return nil, "a client certificate is needed", "missing"
      elseif issuer and certificate.issuer ~= issuer then
        return nil, "the client certificate is of another issuer"
      end
      local name = user_of(certificate)
      if type(name) ~= "string" or name == "" then
        return nil, "the client certificate does not say whose it is"
      end
      return { user_id = name, expires_at = certificate.not_after }
    end
  end

  -- --- everybody -------------------------------------------------------------------------------------------

  local function is_local(address)
    local host = address:gsub("^wss?://", "")
    return host:find "^unix:" ~= nil or host:find "^127%.%d+%.%d+%.%d+:%d+$" ~= nil
      or host:find "^%[::1%]:%d+$" ~= nil or host:find "^localhost:%d+$" ~= nil
  end

  --- Everybody, while only this machine can connect.
  function M.allow_all(options)
    local who = "auth.allow_all"
    shape.check_options(who, options or {}, { user = "string", force = "boolean" })
    local user, force = options and options.user or "guest", options and options.force
    for _, address in ipairs(tide.server.listen) do
      if not is_local(address) and not force then
        shape.misuse("%s: everybody who reaches %s could connect; listen on 127.0.0.1, or set force",
          who, address)
      end
    end
    if force then
      log.warn "auth.allow_all: everybody may connect"
    end
    return function()
      return { user_id = user }
    end
  end

  return M
end

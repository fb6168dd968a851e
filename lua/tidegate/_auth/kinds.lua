--- Authenticators for one kind of credential each. Private.
--
-- The code "missing" says that there was no such credential, so that any_of can tell what was
-- wrong with another. All denials have a code, by which they are counted.
local tide = require "tidegate"
local crypto = require "tidegate.crypto"
local json = require "tidegate.json"
local log = require "tidegate.log"
local presented = require "tidegate._auth.presented"

local KEY_BYTES_MAX, NAME_BYTES_MAX = 256, 256

return function(_, shape)
  local M = {}

  local function token_of(credentials)
    return presented.find(credentials, { "token" }, { credentials.bearer })
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
      if type(user) ~= "string" or kind ~= "string" and kind ~= "number" then
        shape.misuse("%s: keys: { user = key, … } expected", who)
      elseif presented.wrong_form(tostring(key), "key", KEY_BYTES_MAX) then
        shape.misuse("%s: keys: %s: 1 to %d visible ASCII characters expected", who, user, KEY_BYTES_MAX)
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
      if key == nil then
        return nil, "send a key", "missing"
      end
      local reason, code = presented.wrong_form(key, "key", KEY_BYTES_MAX)
      if reason then
        return nil, reason, code
      end
      local user = users[crypto.hmac_sha256(secret, key)]
      if not user then
        return nil, "unknown key", "unknown"
      end
      return { user_id = user }
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
            return nil, "the token in the subprotocol is malformed", "malformed"
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
        return nil, "the proxy names more than one user", "malformed"
      elseif #user > NAME_BYTES_MAX then
        return nil, "the user that the proxy names is too long", "too_large"
      elseif not json.encode(user) or user:find "%c" then
        return nil, "the user that the proxy names is no text", "malformed"
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

  --- What the TLS layer found in a certificate that it did not take: a text and a code.
  local certificate_problems = {
    not_trusted = { "the client certificate is not of a CA that is known here", "issuer" },
    expired = { "the client certificate has expired", "expired" },
    not_yet_valid = { "the client certificate is not valid yet", "not_yet_valid" },
    invalid = { "the client certificate cannot be used", "malformed" },
  }

  --- The owner of a verified client certificate, while it is valid.
  function M.mtls(options)
    local who = "auth.mtls"
    shape.check_options(who, options or {}, { user = "string|function", issuer = "string" })
    local user, issuer = options and options.user or "cn", options and options.issuer
    local user_of = type(user) == "function" and user or certificate_users[user]
    if not user_of then
      shape.misuse("%s: user: cn, subject, dns, email, uri, ip or a function expected, got %q", who, user)
    end
    if tide.server.client_auth == "none" then
      shape.misuse("%s: clients are not asked for certificates: set tls.client_ca, and tls.client_auth to "
        .. "optional or required", who)
    end
    return function(conn, credentials)
      local certificate = credentials.client_certificate
      if not certificate then
        local tls = conn.request.tls
        local problem = certificate_problems[type(tls) == "table" and tls.client_certificate_error or ""]
        if problem then
          return nil, problem[1], problem[2]
        end
        return nil, "a client certificate is needed", "missing"
      elseif issuer and certificate.issuer ~= issuer then
        return nil, "the client certificate is of another issuer", "issuer"
      end
      local name = user_of(certificate)
      if type(name) ~= "string" or name == "" then
        return nil, "the client certificate does not say whose it is", "claims"
      elseif #name > NAME_BYTES_MAX then
        return nil, "the name in the client certificate is too long", "too_large"
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
    if user == "" or #user > NAME_BYTES_MAX then
      shape.misuse("%s: user: 1 to %d bytes expected", who, NAME_BYTES_MAX)
    end
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

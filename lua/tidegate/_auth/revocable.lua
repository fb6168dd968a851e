--- auth.revocable: what another block lets in, unless its token has been revoked. Private.
local passes = require "tidegate.passes"

local REASON = "the token has been revoked"

local function is_revoked(id)
  return type(id) == "string" and passes.is_revoked(id)
end

return function(inner)
  if type(inner) ~= "function" then
    error("auth.revocable: an authenticator (a function) expected, got " .. type(inner), 2)
  end
  return function(conn, credentials)
    local identity, reason, code = inner(conn, credentials)
    if type(identity) == "table" and (is_revoked(identity.token_id) or is_revoked(identity.jti)) then
      return nil, REASON, "revoked"
    end
    return identity, reason, code
  end
end

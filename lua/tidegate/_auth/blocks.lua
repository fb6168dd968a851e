--- any_of, all_of, first_message, map, roles: what makes one authenticator of others. Private.
local tide = require "tidegate"

return function(core, shape)
  local M = {}

  local function check_blocks(who, blocks)
    if type(blocks) ~= "table" or #blocks == 0 then
      shape.misuse("%s: a list of authenticators expected, got %s", who,
        type(blocks) == "table" and "an empty table" or core.describe(blocks))
    end
    local copy = {}
    for i = 1, #blocks do
      shape.check_block(("%s: block %d"):format(who, i), blocks[i])
      copy[i] = blocks[i]
    end
    for key in pairs(blocks) do
      if copy[key] == nil then
        shape.misuse("%s: a list of authenticators has no field %q", who, tostring(key))
      end
    end
    return copy
  end

  --- The first that admits; a plain denial goes on to the next.
  function M.any_of(blocks)
    blocks = check_blocks("auth.any_of", blocks)
    return function(conn, credentials)
      local waits, reason, code, told = false, nil, nil, false
      for i = 1, #blocks do
        local kind, first, its_code = shape.ask("auth.any_of", blocks[i], conn, credentials)
        if kind == "yes" then
          return first
        elseif kind == "wait" then
          waits = true
        elseif not told then
          -- "There is no such credential" says less than what is wrong with another one.
          reason, code = first, its_code
          told = its_code ~= "missing"
        end
      end
      if waits then
        return tide.need_message()
      end
      return shape.give("no", reason, code)
    end
  end

  local function roles_of(who, identity)
    local roles = rawget(identity, "roles")
    if roles == nil then
      return nil
    end
    if type(roles) ~= "table" then
      error(("%s: identity.roles is no list of texts"):format(who), 0)
    end
    local count = 0
    for _ in pairs(roles) do
      count = count + 1
    end
    local list = {}
    for i = 1, count do
      list[i] = roles[i]
      if type(list[i]) ~= "string" then
        error(("%s: identity.roles is no list of texts"):format(who), 0)
      end
    end
    return list
  end

  local function as_set(list)
    local set = {}
    for _, name in ipairs(list) do
      set[name] = true
    end
    return set
  end

  local combine = {}

  function combine.intersect(mine, theirs)
    local set, roles = as_set(theirs), {}
    for _, role in ipairs(mine) do
      if set[role] then
        roles[#roles + 1] = role
      end
    end
    return roles
  end

  function combine.union(mine, theirs)
    local set, roles = as_set(mine), {}
    for _, role in ipairs(mine) do
      roles[#roles + 1] = role
    end
    for _, role in ipairs(theirs) do
      if not set[role] then
        set[role] = true
        roles[#roles + 1] = role
      end
    end
    return roles
  end

  -- What an earlier block says stays; roles are combined, and the earliest expiry counts.
  local function merge(merged, identity, how)
    local roles, expires_at = roles_of("auth.all_of", identity), rawget(identity, "expires_at")
    if not merged then
      merged = {}
      for key, value in pairs(identity) do
        merged[key] = value
      end
      merged.roles = roles
      return merged
    end
    for key, value in pairs(identity) do
      if merged[key] == nil and key ~= "roles" then
        merged[key] = value
      end
    end
    if merged.roles and roles then
      merged.roles = combine[how](merged.roles, roles)
    else
      merged.roles = merged.roles or roles
    end
    if expires_at and expires_at < merged.expires_at then
      merged.expires_at = expires_at
    end
    return merged
  end

  --- All must admit, and the same user. Asked in order, up to the first that does not admit.
  function M.all_of(blocks, options)
    blocks = check_blocks("auth.all_of", blocks)
    local how = shape.check_options("auth.all_of", options or {}, { roles = "string" }).roles or "intersect"
    if not combine[how] then
      shape.misuse('auth.all_of: roles: "intersect" or "union" expected, got %q', how)
    end
    return function(conn, credentials)
      local merged
      for i = 1, #blocks do
        local kind, first, code = shape.ask("auth.all_of", blocks[i], conn, credentials)
        if kind ~= "yes" then
          return shape.give(kind, first, code)
        end
        if merged and merged.user_id ~= rawget(first, "user_id") then
          return nil, "credentials of different users", "mismatch"
        end
        merged = merge(merged, first, how)
      end
      return merged
    end
  end

  --- Asks for the client's `authenticate` message, then the block.
  function M.first_message(inner)
    shape.check_block("auth.first_message", inner)
    return function(conn, credentials)
      if credentials.message == nil then
        return tide.need_message()
      end
      return shape.give(shape.ask("auth.first_message", inner, conn, credentials))
    end
  end

  --- Changes the identity of a block that admits; fn may deny, as a block does.
  function M.map(inner, fn)
    shape.check_block("auth.map", inner)
    if type(fn) ~= "function" then
      shape.misuse("auth.map: a function expected, got %s", core.describe(fn))
    end
    return function(conn, credentials)
      local kind, first, code = shape.ask("auth.map", inner, conn, credentials)
      if kind == "yes" then
        kind, first, code = shape.read("auth.map", fn(tide.copy(first), conn, credentials))
      end
      return shape.give(kind, first, code)
    end
  end

  local function read_map(map)
    if map == nil or type(map) == "function" then
      return map
    end
    local copy = tide.copy(map)
    for role, to in pairs(copy) do
      if type(role) ~= "string" or type(to) ~= "string" and type(to) ~= "table" then
        shape.misuse("auth.roles: map: a role to a role, or to a list of roles, expected")
      end
    end
    return function(role)
      return copy[role]
    end
  end

  -- Roles that the map does not know are dropped: what is not said is not granted.
  local function mapped(roles, map)
    local list = {}
    for _, role in ipairs(roles) do
      local to = map(role)
      for _, name in ipairs(type(to) == "table" and to or { to }) do
        if type(name) ~= "string" then
          error("auth.roles: map made a role that is no text", 0)
        end
        list[#list + 1] = name
      end
    end
    return combine.union({}, list)
  end

  --- Translates roles and asks for some.
  function M.roles(inner, options)
    shape.check_block("auth.roles", inner)
    shape.check_options("auth.roles", options, { require_any = "table", map = "table|function" })
    local required = options.require_any
      and as_set(shape.check_texts("auth.roles", "require_any", options.require_any))
    local map = read_map(options.map)
    if not required and not map then
      shape.misuse("auth.roles: say require_any, or map, or both")
    end
    return function(conn, credentials)
      local kind, first, code = shape.ask("auth.roles", inner, conn, credentials)
      if kind ~= "yes" then
        return shape.give(kind, first, code)
      end
      local identity, roles = {}, roles_of("auth.roles", first) or {}
      for key, value in pairs(first) do
        identity[key] = value
      end
      identity.roles = map and mapped(roles, map) or roles
      for _, role in ipairs(identity.roles) do
        if not required or required[role] then
          return identity
        end
      end
      if required then
        return nil, "none of the roles that are needed", 403
      end
      return identity
    end
  end

  return M
end

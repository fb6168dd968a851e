--- What simulated hosts are made of: options, policies, the configuration. And errors that name the line of
--- the spec, whichever function of the library found the mistake.
local M = {}

--- Raises at the line of whoever called the library.
function M.raise(text)
  local level = 2
  while true do
    local info = debug.getinfo(level, "S")
    if not info or (info.what ~= "C" and not info.source:find("^@tidegate/")) then break end
    level = level + 1
  end
  error(text, level)
end
local raise = M.raise

--- One value of an option table, checked; nil where it is missing.
function M.option(options, name, kind, where)
  local value = options[name]
  if value ~= nil and type(value) ~= kind then
    raise(("%s: %s must be a %s, not a %s"):format(where, name, kind, type(value)))
  end
  return value
end

--- names: name -> true, of all options that there are.
function M.check_names(options, names, where)
  if type(options) ~= "table" then
    raise(where .. ": a table of options expected, not a " .. type(options))
  end
  for name in pairs(options) do
    if not names[name] then
      local known = {}
      for one in pairs(names) do known[#known + 1] = one end
      table.sort(known)
      local text = "%s: there is no option %s; there are %s"
      raise(text:format(where, tostring(name), table.concat(known, ", ")))
    end
  end
end

-- Policies ------------------------------------------------------------------------------------------

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

--- The folder of the spec that called the library.
local function caller_folder()
  for level = 2, 100 do
    local info = debug.getinfo(level, "S")
    if not info then return "" end
    local source = info.source
    if info.what ~= "C" and source:sub(1, 1) == "@" and not source:find("^@tidegate/") then
      return source:sub(2):match("^(.*/)") or ""
    end
  end
end

--- A path in a spec counts from the spec's folder, or from the current one.
local function find_policy(path)
  if path:sub(1, 1) == "/" then return path end
  local beside = caller_folder() .. path
  return exists(beside) and beside or path
end

--- version | nil, why
function M.load_policy(native, handle, policy)
  if type(policy) == "string" then return native.load(handle, find_policy(policy)) end
  local files = policy.source and { ["init.lua"] = policy.source } or policy.files
  local names, texts = {}, {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    if type(files[name]) ~= "string" then raise("the file " .. tostring(name) .. " is no text") end
    texts[i] = files[name]
  end
  return native.load_files(handle, "policy", names, texts)
end

function M.check_policy(policy, where)
  if type(policy) == "string" then return end
  if type(policy) ~= "table" or (policy.source == nil) == (policy.files == nil) then
    raise(where .. ": a policy is a path, { source = text } or { files = { [\"init.lua\"] = text, … } }")
  end
end

-- Configuration ---------------------------------------------------------------------------------------

local function is_list(value)
  return #value > 0 or next(value) == nil
end

--- Sets values of the configuration, nested or with dots in their names. True, or nil and why not.
function M.configure(native, handle, prefix, values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value, key = values[name], prefix .. tostring(name)
    local ok, why = true, nil
    if type(value) == "table" and next(value) ~= nil and is_list(value) then
      for i, item in ipairs(value) do
        ok, why = native.set(handle, key, i, item, "config")
        if not ok then break end
      end
    elseif type(value) == "table" then
      ok, why = M.configure(native, handle, key .. ".", value)
    else
      ok, why = native.set(handle, key, 0, value, "config")
    end
    if not ok then return nil, why end
  end
  return true
end

return M

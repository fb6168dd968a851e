--- The upgrade request that a simulated client sends.
local json = require("tidegate.json")
local options_of = require("tidegate._testing_options")

local option = options_of.option
local names = {
  path = true, query = true, headers = true, bearer = true, cookies = true, origin = true,
  subprotocols = true, remote = true, tls = true, client_certificate = true, compress = true,
}

local function encoded(text)
  return (tostring(text):gsub("[^%w%-_.~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return ipairs(keys)
end

local function target_of(options)
  local path = option(options, "path", "string", "connect") or "/"
  local query = options.query
  if query == nil then return path end
  if type(query) == "string" then return path .. "?" .. query end
  local parts = {}
  for _, name in sorted(query) do parts[#parts + 1] = encoded(name) .. "=" .. encoded(query[name]) end
  return path .. "?" .. table.concat(parts, "&")
end

local function headers_of(options)
  local lines = {}
  local function add(name, value)
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, tostring(value))
  end
  local headers = option(options, "headers", "table", "connect") or {}
  for _, name in sorted(headers) do
    local value = headers[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do add(name, one) end
  end
  if options.bearer then add("Authorization", "Bearer " .. options.bearer) end
  if options.origin then add("Origin", options.origin) end
  local cookies = {}
  for _, name in sorted(option(options, "cookies", "table", "connect") or {}) do
    cookies[#cookies + 1] = name .. "=" .. options.cookies[name]
  end
  if #cookies > 0 then add("Cookie", table.concat(cookies, "; ")) end
  return table.concat(lines)
end

--- The number of the client, or nil and why there is none.
return function(native, handle, options)
  options = options or {}
  options_of.check_names(options, names, "connect")
  local subprotocols = option(options, "subprotocols", "table", "connect") or { "tidegate.v1" }
  local certificate = option(options, "client_certificate", "table", "connect")
  return native.connect(
    handle, target_of(options), headers_of(options),
    #subprotocols > 0 and table.concat(subprotocols, ", ") or nil, options.remote,
    options.tls == true or certificate ~= nil, certificate and assert(json.encode(certificate)),
    options.compress == true
  )
end

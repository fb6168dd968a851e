-- Runs busted on specs: finds them, hands busted its arguments, and turns its end into an exit status.
-- Runs in the state of core/script/testing/spec_state.c, where the standard libraries are.
local paths, arguments = ...

--- What busted does at its end, and a spec must not do in between.
local Exit = {}
Exit.__index = Exit
Exit.__tostring = function() return "os.exit was called" end
os.exit = function(code) -- luacheck: ignore 122
  if code == nil or code == true then code = 0 elseif code == false then code = 1 end
  error(setmetatable({ code = code }, Exit), 0)
end

local function complain(text)
  io.stderr:write("tidegate test: ", text, "\n")
  return 1
end

local skipped_folders = { build = true, node_modules = true }

--- Adds the specs below a folder, in the order of their names.
local function add_folder(found, lfs, folder)
  local names = {}
  for name in lfs.dir(folder) do
    if name:sub(1, 1) ~= "." then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local path = folder == "." and name or folder:gsub("/+$", "") .. "/" .. name
    local mode = lfs.attributes(path, "mode")
    if mode == "directory" and not skipped_folders[name] then
      add_folder(found, lfs, path)
    elseif mode == "file" and name:find("_spec%.lua$") then
      found[#found + 1] = path
    end
  end
end

--- The specs that the words of the command line stand for. A policy stands for the spec beside it.
local function find_specs(lfs)
  local found = {}
  for _, path in ipairs(#paths > 0 and paths or { "." }) do
    local before = #found
    if lfs.attributes(path, "mode") == "directory" then
      add_folder(found, lfs, path)
    elseif path:find("_spec%.lua$") then
      found[#found + 1] = path
    else
      local beside = path:gsub("%.lua$", "") .. "_spec.lua"
      if lfs.attributes(beside, "mode") == "file" then found[#found + 1] = beside end
    end
    if #found == before then
      return nil, "there is no spec for " .. path .. " (specs are files named *_spec.lua)"
    end
  end
  return found
end

local has_busted, run = pcall(require, "busted.runner")
if not has_busted then
  if tostring(run):find("module 'busted.runner' not found", 1, true) then
    return complain("busted is not installed; install the Debian package lua-busted")
  end
  return complain("busted cannot be loaded (Debian package lua-busted): " .. tostring(run))
end
local specs, why = find_specs(require("lfs"))
if not specs then return complain(why) end

local all = { [0] = "tidegate test", "--ignore-lua", "--helper=tidegate._busted" }
for _, argument in ipairs(arguments) do all[#all + 1] = argument end
for _, path in ipairs(specs) do all[#all + 1] = path end
_G.arg = all

local ended, outcome = pcall(run, { standalone = false })
for _, host in ipairs(require("tidegate.testing")._open(1)) do host:close() end
if ended then return 0 end
if getmetatable(outcome) == Exit then return outcome.code == 0 and 0 or 1 end
return complain(tostring(outcome))

--- Writes lua/API.md from the annotations in lua/meta; with --check it only tells whether the page is what it
--- would write, and what is wrong with the annotations.
---
---     luajit cmake/api_page.lua ROOT [--check]
local root, mode = ...
package.path = root .. "/cmake/?.lua;" .. package.path
local annotations = require "annotations"

local PAGE = "lua/API.md"

local out = {}
local function write(...)
  out[#out + 1] = table.concat { ... }
end

-- --- text -----------------------------------------------------------------------------------------------

local function code(text)
  return "`" .. text .. "`"
end

-- In a table a bar ends the cell, also inside code.
local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function paragraph(lines)
  if #lines > 0 then
    write(table.concat(lines, "\n"), "\n")
  end
end

-- conn:send, and not Conn:send: what scripts write.
local function full_name(func)
  return func.owner_name:lower() .. (func.colon and ":" or ".") .. func.name
end

local function signature(func)
  local params, returns = {}, {}
  for i, param in ipairs(func.params) do
    params[i] = param.name .. (param.optional and "?" or "") .. ": " .. param.type
  end
  for i, result in ipairs(func.returns) do
    returns[i] = result.type .. (result.name == "..." and "..." or "")
  end
  local results = #returns > 0 and " -> " .. table.concat(returns, ", ") or ""
  return full_name(func) .. "(" .. table.concat(params, ", ") .. ")" .. results
end

local function heading(func)
  local names = {}
  for i, param in ipairs(func.params) do
    names[i] = param.name
  end
  return full_name(func) .. "(" .. table.concat(names, ", ") .. ")"
end

-- --- items ----------------------------------------------------------------------------------------------

local function write_function(func)
  write("#### ", code(heading(func)), "\n")
  write("```text\n", signature(func), "\n```\n")
  paragraph(func.doc)
  local lines = {}
  for _, param in ipairs(func.params) do
    if param.doc ~= "" then
      lines[#lines + 1] = "- " .. code(param.name) .. ": " .. param.doc
    end
  end
  for _, result in ipairs(func.returns) do
    if result.doc ~= "" then
      local name = result.name and code(result.name) .. " " or ""
      lines[#lines + 1] = "- returns " .. name .. "(" .. code(result.type) .. "): " .. result.doc
    end
  end
  if func.where then
    lines[#lines + 1] = "- may be used in " .. func.where .. ", not while the policy is loaded"
  end
  if #lines > 0 then
    write(table.concat(lines, "\n"), "\n")
  end
end

-- fun(conn: tidegate.Conn): string? of the field route -> route(conn: tidegate.Conn) -> string?
local function write_field_function(field)
  local params, results = field.type:match "^fun(%b())%s*:?%s*(.*)$"
  local names = params:gsub(":[^,)]*", "")
  write("#### ", code(field.name .. names), field.optional and "" or " (required)", "\n")
  write("```text\n", field.name, params, results ~= "" and " -> " .. results or "", "\n```\n")
  paragraph(field.doc)
end

local function write_fields(class)
  local rows, functions = {}, {}
  for _, field in ipairs(class.fields) do
    if field.type:find "^fun%(" then
      functions[#functions + 1] = field
    else
      local name = code(field.name .. (field.optional and "?" or ""))
      local meaning = cell(table.concat(field.doc, " "))
      rows[#rows + 1] = ("| %s | %s | %s |"):format(name, cell(code(field.type)), meaning)
    end
  end
  if #rows > 0 then
    write("| field | type | |\n| --- | --- | --- |\n", table.concat(rows, "\n"), "\n")
  end
  for _, field in ipairs(functions) do
    write_field_function(field)
  end
end

local function write_class(class)
  write("### ", code(class.name), "\n")
  paragraph(class.doc)
  for _, parent in ipairs(class.parents) do
    write("Has all that ", code(parent), " has.\n")
  end
  write_fields(class)
end

local function write_alias(alias)
  write("### ", code(alias.name), "\n")
  paragraph(alias.doc)
  local values = {}
  for i, value in ipairs(alias.values) do
    values[i] = code(value)
  end
  write(alias.type and "Is " .. code(alias.type) or "One of " .. table.concat(values, ", "), ".\n")
end

-- "The policy: a table of hooks." -> the heading and a sentence.
local function write_section(item)
  local title, rest = item.text:match "^(.-)[:.]%s+(.+)$"
  write("## ", (title or item.text):gsub("%.$", ""), "\n")
  if rest then
    write(rest:sub(1, 1):upper(), rest:sub(2), "\n")
  end
end

local WRITERS = {
  section = write_section, class = write_class, alias = write_alias, ["function"] = write_function,
}

local function write_file(file)
  if file.name ~= "tidegate" and file.name ~= "_" then
    write("## ", code(file.name), "\n")
  end
  paragraph(file.doc)
  for _, item in ipairs(file.items) do
    if item == file.module then
      -- Its heading stands above already.
      paragraph(item.doc)
      write_fields(item)
    else
      WRITERS[item.kind](item)
    end
  end
end

local INTRODUCTION = [[
What a policy is, what its hooks and agents are given, and what `require` finds. An editor with the Lua
language server (LuaLS) shows the same while you write; `.luarc.json` tells it where to look.

A type that ends in `?` may be nil. Functions that can fail in a way that is to be expected return nil and a
reason; wrong use raises an error at the line of the call. What waits suspends the hook, agent or timer that
called it, and nothing else.
]]

local function write_page(files)
  write("<!-- Written by `./dev docs` from the annotations in lua/meta: edit those. -->\n")
  write("# Policy API\n")
  write(INTRODUCTION)
  local links = {}
  for _, file in ipairs(files) do
    if file.name ~= "tidegate" and file.name ~= "_" then
      links[#links + 1] = ("[%s](#%s)"):format(file.name, file.name:gsub("%.", ""))
    end
  end
  write("Modules: `tidegate`, whose parts come first; ", table.concat(links, ", "), ".\n")
  for _, file in ipairs(files) do
    write_file(file)
  end
  return table.concat(out, "\n")
end

-- --- where functions may be used: the core's word ----------------------------------------------------------

local WORDS = { TG_IN_LOAD = "load", TG_IN_HOOK = "hooks", TG_IN_RUN = "agents", TG_IN_TIMER = "timers" }
local ORDER = { "load", "hooks", "agents", "timers" }

local function read_all(path)
  local stream = assert(io.open(root .. "/" .. path, "rb"))
  local text = stream:read "*a"
  stream:close()
  return text
end

local function words_of(flags)
  local found, words = {}, {}
  for flag in flags:gmatch "TG_IN_%u+" do
    found[WORDS[flag] or ""] = true
  end
  for _, word in ipairs(ORDER) do
    words[#words + 1] = found[word] and word or nil
  end
  return table.concat(words, ", ")
end

-- "tide.send" -> "hooks, agents, timers", of every call of tg_api_contexts with a constant name.
local function contexts_of_core()
  local all = read_all("core/script/call/call.h"):match "TG_IN_CALL = ([^\n]+)"
  local contexts = {}
  local find = assert(io.popen(("cd '%s' && find core/script -name '*.c'"):format(root)))
  for path in find:lines() do
    for name, flags in read_all(path):gmatch 'tg_api_contexts%(L,%s*"([^"]+)",%s*([^)]+)%)' do
      contexts[name] = words_of((flags:gsub("TG_IN_CALL", all)))
    end
  end
  find:close()
  return contexts
end

local function check_contexts(files, problems)
  local contexts = contexts_of_core()
  for _, file in ipairs(files) do
    for _, func in ipairs(file.functions) do
      local name = full_name(func)
      local expected = contexts[name]
      if expected and func.where ~= expected then
        local text = '%s:%d: %s needs a line "Where: %s."'
        problems[#problems + 1] = text:format(file.path, func.line, name, expected)
      end
      contexts[name] = nil
    end
  end
  for name in pairs(contexts) do
    problems[#problems + 1] = ("%s is declared nowhere in lua/meta"):format(name)
  end
end

-- --- what is asked for -------------------------------------------------------------------------------------

local files = annotations.read_folder(root, "lua/meta")
local problems = annotations.check(files)
check_contexts(files, problems)
for _, problem in ipairs(problems) do
  io.stderr:write(problem, "\n")
end
local page = write_page(files)
if mode == "--check" then
  if read_all(PAGE) ~= page then
    io.stderr:write(PAGE, " is not what the annotations say; run ./dev docs\n")
    os.exit(1)
  end
else
  local stream = assert(io.open(root .. "/" .. PAGE, "wb"))
  stream:write(page)
  stream:close()
end
os.exit(#problems == 0 and 0 or 1)

--- agent.process: an agent that is a child process of the server and tells what it does as lines of JSON.
--
-- Each run is a line to its standard input; each line of its standard output that has the run's `run_id` is
-- an event of that run, carried out by _events.lua. Several runs share the process of their worker. What the
-- core does for this (when a process starts, whose line it is, what its end means) is in C.

local core = require "tidegate._process"
local events = require "tidegate.agent._events"
local options = require "tidegate.agent._options"
local request_of = require "tidegate.agent._request"
local time = require "tidegate.time"
local upstream = require "tidegate.agent._upstream"

local either, kinds = options.either, options.kinds

local IDLE_SECONDS = 60
local WORDS_MAX, WORD_BYTES_MAX = 100, 4096

-- --- options ---------------------------------------------------------------------------------------------

local function is_word(value)
  return type(value) == "string" and #value <= WORD_BYTES_MAX and not value:find "%z"
end

local function is_command(value)
  local good = type(value) == "table" and value[1] ~= nil and value[1] ~= "" and #value <= WORDS_MAX
  for place, word in pairs(good and value or {}) do
    good = good and type(place) == "number" and place <= #value and is_word(word)
  end
  return good, 'a list such as { "python3", "agent.py" }, the program first,'
end

-- What loaders, shells and languages read before the first line of a program that is allowed: each of these
-- could make another program of it, such as PATH for a script that begins with "#!/usr/bin/env python3".
local code_prefixes = {
  "^LD_", "^PYTHON", "^PERL", "^RUBY", "^LUA_", "^BASH", "^OPENSSL_", "^JAVA_", "^_JAVA_", "^JDK_",
}
local code_names = {}
for name in ([[PATH HOME IFS ENV CDPATH SHELLOPTS PS4 ZDOTDIR FPATH GCONV_PATH GLIBC_TUNABLES LOCPATH NLSPATH
  NODE_OPTIONS NODE_PATH CLASSPATH DOTNET_STARTUP_HOOKS PHPRC PHP_INI_SCAN_DIR]]):gmatch "%S+" do
  code_names[name] = true
end
local harmless = {
  PYTHONHASHSEED = true,
  PYTHONIOENCODING = true,
  PYTHONUNBUFFERED = true,
  PYTHONUTF8 = true,
}

local function brings_code(name)
  for _, prefix in ipairs(code_prefixes) do
    if name:find(prefix) then
      return not harmless[name]
    end
  end
  return code_names[name] or false
end

local function is_variable(name)
  return type(name) == "string" and name:find "^[%a_][%w_]*$" and not brings_code(name)
end

local function is_environment(value)
  local good, count = type(value) == "table", 0
  for name, text in pairs(good and value or {}) do
    count = count + 1
    good = good and is_variable(name) and is_word(text)
  end
  return good and count <= WORDS_MAX, "names (none of LD_*, PATH, HOME, PYTHONPATH and the like, "
    .. "which bring other code) and texts, as in { MODEL = \"small\" },"
end

local rows = {
  command = is_command,
  env = is_environment,
  name = function(value)
    return is_word(value) and #value <= 60 and value ~= "", "a short text"
  end,
  identity = kinds.names,
  context = kinds.names,
  timeout = kinds.seconds,
  idle_timeout = kinds.seconds,
  max_event = kinds.event_bytes,
  circuit = kinds.circuit,
}

local COMMAND = {
  option = "command",
  example = '{ "python3", "agent.py" }',
  question = "which program is the agent?",
}

local function settings_of(given)
  local wrong = options.mistake("agent.process", rows, given, COMMAND)
  if wrong then
    return nil, wrong
  end
  return {
    timeout = given.timeout,
    idle_timeout = given.idle_timeout or IDLE_SECONDS,
    identity = either(given.identity, false),
    context = either(given.context, true),
    circuit = false, -- a process that keeps ending is left alone by the core
  }
end

local function declare(given)
  local environment = {}
  for name, text in pairs(given.env or {}) do
    environment[#environment + 1] = name .. "=" .. text
  end
  local circuit = either(given.circuit, options.CIRCUIT)
  return core.new {
    command = given.command,
    env = environment,
    name = given.name,
    max_event = given.max_event or options.EVENT_BYTES,
    failures = circuit and circuit.failures or 0,
    rest = circuit and circuit.pause or 0,
  }
end

-- --- a run -----------------------------------------------------------------------------------------------

local function too_slow(why)
  return { code = "upstream_timeout", text = "the upstream took too long", why = why }
end

--- Waits for the next line. Nothing; or an end of the run.
local function await(settings, exchange, deadline)
  local idle = settings.idle_timeout
  local left = deadline and deadline - time.monotonic() or idle
  if left > 0 and core.wait(exchange, math.min(left, idle)) then
    return nil
  elseif left < idle then
    return too_slow(("it did not end within %g s"):format(settings.timeout))
  end
  return too_slow(("nothing came of it for %g s"):format(idle))
end

--- The ending, and whether the process knows of it.
local function read(settings, run, exchange)
  local state = events.begin(run)
  local deadline = settings.timeout and time.monotonic() + settings.timeout
  while true do
    local line, code, text, why = core.take(exchange)
    local ending
    if line == nil then
      return { code = code, text = text, why = why }, false
    elseif not line or deadline and time.monotonic() >= deadline then
      ending = await(settings, exchange, deadline)
    else
      ending = events.take(state, line)
    end
    if ending then
      return ending, ending ~= events.OVER and not ending.why
    end
  end
end

local function execute(settings, process, run, input)
  local line, unsendable = request_of.text_of(settings, run, input, "agent_execution")
  if not line then
    return unsendable
  end
  local exchange = core.ask(process, run.id, line)
  local ending, told = read(settings, run, exchange)
  core.close(exchange, told)
  return ending
end

local M = {}

--- An agent for `policy.agents`.
---@param given tidegate.ProcessAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function M.new(given)
  local settings, wrong = settings_of(given)
  if not settings then
    error("agent.process: " .. wrong, 2)
  end
  local process, refused = declare(given)
  if not process then
    error("agent.process: " .. refused, 2)
  end
  return upstream.agent("agent.process", settings, function(run, input)
    return execute(settings, process, run, input)
  end)
end

return M

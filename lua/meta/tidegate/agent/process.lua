---@meta tidegate.agent.process

--- What `agent.process` takes: `require "tidegate.agent"`. Nothing else here is for policies.
---@class tidegate.agent.process
local process = {}

--- As `agent.process`.
---@param options tidegate.ProcessAgentOptions
---@return fun(run: tidegate.Run, input: any): any, string?, string?
function process.new(options) end

---@class tidegate.ProcessAgentOptions
--- The program and its arguments; no shell sees them. A program without a slash is that of `agents.processes` with
--- this name; one with a slash is a path, from the policy's folder on if it is relative. `agents.processes` must
--- name it in any case.
---@field command string[]
--- More variables of its environment. Of the server's it has PATH, HOME, USER, LOGNAME, LANG, LC_*, TZ and
--- TMPDIR, and besides them PYTHONUNBUFFERED=1, so that what Python prints comes at once. What could bring other
--- code into the program may not be set: LD_*, PATH, HOME, PYTHONPATH, NODE_OPTIONS and the like.
---@field env? table<string, string>
---@field name? string for the log; the program's name by default
---@field identity? string[]|boolean which fields of `conn.identity` are sent; none by default, true: all
---@field context? string[]|boolean which fields of `conn.context` are sent; all by default
---@field timeout? number seconds for the whole run; without it there are `idle_timeout` and `runs.timeout`
---@field idle_timeout? number longest silence of a run, in seconds; 60 by default
---@field max_event? integer bytes of one line; 1 MiB by default, 8 MiB at most
--- After so many ends one after the other, each within 10 seconds and without an answer, the process is left alone
--- for so many seconds, and runs end at once; { failures = 5, pause = 10 } by default. false: never.
---@field circuit? { failures: integer, pause: number }|false

return process

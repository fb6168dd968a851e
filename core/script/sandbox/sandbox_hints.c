/* sandbox_hints.c - what Lua programmers look for and do not find, and what to use in its place.
 */
#include "script/sandbox/sandbox_internal.h"

#include <stddef.h>
#include <string.h>

#define NO_STATE "a policy cannot look into running code"
#define NO_ENVIRONMENT "functions keep the globals they were loaded with; load takes an environment"
#define NO_PROCESS "a policy cannot act on the process it runs in"
#define NO_FILES "a policy has no files; keep data in tidegate.kv or in a Lua module of the policy"

static const struct {
    const char *name;
    const char *hint;
} rows[] = {
    {"arg", "give values with --set options.NAME=… and read tide.options"},
    {"collectgarbage", "the host looks after memory (script.memory)"},
    {"debug.debug", NO_STATE},
    {"debug.getfenv", NO_ENVIRONMENT},
    {"debug.gethook", NO_STATE},
    {"debug.getinfo", NO_STATE "; debug.traceback is there for errors"},
    {"debug.getlocal", NO_STATE},
    {"debug.getmetatable", "use getmetatable, which obeys __metatable"},
    {"debug.getregistry", NO_STATE},
    {"debug.getupvalue", NO_STATE},
    {"debug.getuservalue", NO_STATE},
    {"debug.setfenv", NO_ENVIRONMENT},
    {"debug.sethook", NO_STATE},
    {"debug.setlocal", NO_STATE},
    {"debug.setmetatable", "use setmetatable, on your own tables"},
    {"debug.setupvalue", NO_STATE},
    {"debug.setuservalue", NO_STATE},
    {"debug.upvalueid", NO_STATE},
    {"debug.upvaluejoin", NO_STATE},
    {"dofile", "use require for the policy's own files"},
    {"ffi", "a policy cannot call C; use the tidegate.* modules"},
    {"gcinfo", "the host looks after memory (script.memory)"},
    {"getfenv", NO_ENVIRONMENT},
    {"io", "use tidegate.log to write and tidegate.http to fetch"},
    {"jit", "policies run in the interpreter, so that their time can be limited"},
    {"loadfile", "use require for the policy's own files"},
    {"math.randomseed", "math.random is seeded by the system; for secrets use tidegate.crypto"},
    {"module", "let the file return a table"},
    {"newproxy", "use setmetatable on a table"},
    {"ngx", "this is Tidegate; see require \"tidegate\""},
    {"os.execute", NO_PROCESS},
    {"os.exit", NO_PROCESS "; to end a connection use conn:close"},
    {"os.getenv",
     "give values with --set options.NAME=… or TIDEGATE_OPTIONS_NAME and read tide.options"},
    {"os.remove", NO_FILES},
    {"os.rename", NO_FILES},
    {"os.setlocale", NO_PROCESS},
    {"os.tmpname", NO_FILES},
    {"package", "require finds the policy's own files and tidegate.*"},
    {"rawlen", "use #"},
    {"setfenv", NO_ENVIRONMENT},
    {"string.dump", "bytecode cannot be loaded again; pass the source text"},
    {"string.gfind", "use string.gmatch"},
    {"table.foreach", "use for … in pairs(…)"},
    {"table.foreachi", "use for … in ipairs(…)"},
    {"table.getn", "use #"},
    {"table.pack", "use {n = select(\"#\", …), …}"},
    {"table.setn", "use #"},
    {"table.unpack", "use unpack"},
    {"utf8", "LuaJIT has no utf8 library; strings are bytes"},
};

const char *tg__sandbox_hint(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].hint;
    }
    return NULL;
}

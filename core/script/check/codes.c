/* codes.c - the codes of findings: stable names for editors, CI and `tidegate check --codes`. */
#include "script/check/codes.h"

#define ERROR TG_SEVERITY_ERROR
#define WARNING TG_SEVERITY_WARNING

static const struct tg_check_code rows[] = {
    {"syntax", ERROR, "a file is not Lua"},
    {"load-failed", ERROR, "running the files once raised an error"},
    {"cpu-budget", ERROR, "loading computed for longer than script.cpu_budget"},
    {"memory", ERROR, "loading took more than script.memory"},
    {"no-hooks", ERROR, "the entry file does not return a table of hooks"},
    {"no-authenticate", ERROR, "the hook authenticate is missing"},
    {"unknown-hook", ERROR, "a function of the policy is no hook"},
    {"bad-hook", ERROR, "a hook is not a function"},
    {"hook-beside-text", ERROR, "route or message stand beside text"},
    {"bad-agent", ERROR,
     "agents is not a table of named functions, or of tables with run and limits"},
    {"bad-service", ERROR, "services is not a table of named functions"},
    {"unknown-key", ERROR, "a table of the policy has a misspelt name"},
    {"bad-key", ERROR, "name, version or description is not text"},
    {"option-declaration", ERROR, "policy.options declares something wrongly"},
    {"option-value", ERROR, "an option was given a value of the wrong type"},
    {"missing-option", ERROR, "a required option was not given"},
    {"undefined-global", ERROR, "a global that does not exist is read"},
    {"unavailable", ERROR, "something that the sandbox withholds is used"},
    {"global-write", ERROR, "a global is set"},
    {"read-only", ERROR, "something that is read-only is set"},
    {"unknown-field", ERROR, "a library, conn or run has no such field"},
    {"unknown-module", ERROR, "a module that does not exist is required"},
    {"late-require", ERROR, "an own module would be loaded only while the policy runs"},
    {"unknown-agent", ERROR, "route names an agent that does not exist"},
    {"unreachable-agent", WARNING, "nothing can choose an agent"},
    {"signature", WARNING, "a hook, agent or library function gets other values than it takes"},
    {"open-door", WARNING, "authenticate lets everybody in without looking"},
    {"open-origins", WARNING, "cookies are used without allowed_origins"},
    {"undeclared-option", WARNING, "an option is read that policy.options does not declare"},
    {"unknown-option", WARNING, "an option is given that policy.options does not declare"},
    {"unused-file", WARNING, "nothing requires a file of the policy's folder"},
    {"busy-wait", WARNING, "a loop waits by asking the clock"},
    {"endless-loop", WARNING, "a loop never ends and never waits"},
};

const struct tg_check_code *tg_check_codes(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

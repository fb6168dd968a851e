/* hook_args.h - what each hook is called with. */
#ifndef TG_SCRIPT_HOOK_ARGS_H
#define TG_SCRIPT_HOOK_ARGS_H

#include "connection/hooks.h"

struct lua_State;
struct tg_call;
struct tg_conn;

/* Borrowed until tg_hook_args_build returns. */
struct tg_hook_args {
    struct tg_conn *conn;
    enum tg_hook hook;
    const struct tg_hook_input *input;
    int function_ref; /* the hook, in the registry */
    /* migrate only */
    struct tg_call *call;
    const char *from_version;
};

/* A builder for tg_call_start; its ud is a struct tg_hook_args. */
int tg_hook_args_build(struct lua_State *L);

#endif

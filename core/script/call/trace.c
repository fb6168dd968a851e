/* trace.c - where a script is, as text, without asking its state for memory. */
#include "script/call/trace.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lua.h>

#include "script/call/coroutine.h"

/* Frames shown at either end of a deep stack. */
#define INNER_FRAMES 12
#define OUTER_FRAMES 10
/* Frames at either end looked at for a line of the policy, and coroutines followed outward. */
#define PLACE_FRAMES 64
#define COROUTINES_MAX 8

struct writer {
    char *out;
    size_t size;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(w->out + w->used, w->size - w->used, format, args);
    va_end(args);
    if (len > 0)
        w->used += (size_t)len < w->size - w->used ? (size_t)len : w->size - w->used - 1;
}

static bool is_library(const lua_Debug *ar)
{
    return strncmp(ar->short_src, "tidegate/", strlen("tidegate/")) == 0;
}

/* To reach a level costs as much as it is deep, so the depth is found by doubling and halving. */
static int depth_of(lua_State *L)
{
    lua_Debug ar;
    int low = 0, high = 1;

    while (lua_getstack(L, high, &ar) != 0) {
        low = high;
        high *= 2;
    }
    while (low + 1 < high) {
        int middle = low + (high - low) / 2;
        if (lua_getstack(L, middle, &ar) != 0)
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

/* The innermost Lua frame of this coroutine alone; with `own`, of the policy's code. */
static bool find_place_in(lua_State *L, int from, int to, bool own, char *out, size_t size)
{
    lua_Debug ar;

    for (int level = from; level < to && lua_getstack(L, level, &ar) != 0; level++) {
        if (lua_getinfo(L, "Sl", &ar) == 0 || ar.currentline <= 0 || (own && is_library(&ar)))
            continue;
        (void)snprintf(out, size, "%s:%d", ar.short_src, ar.currentline);
        return true;
    }
    return false;
}

/* The same, at either end of the stack: in between may be thousands of frames. */
static bool find_place(lua_State *L, bool own, char *out, size_t size)
{
    if (find_place_in(L, 0, PLACE_FRAMES, own, out, size))
        return true;
    int depth = depth_of(L);
    int from = depth - PLACE_FRAMES > PLACE_FRAMES ? depth - PLACE_FRAMES : PLACE_FRAMES;
    return find_place_in(L, from, depth, own, out, size);
}

void tg_trace_place(struct lua_State *L, char *out, size_t size)
{
    lua_State *chain[COROUTINES_MAX];
    int count = tg_coroutine_chain(L, chain, COROUTINES_MAX);

    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (find_place(chain[i], true, out, size))
            return;
    }
    (void)find_place(L, false, out, size);
}

void tg_trace_own_place(struct lua_State *L, char *out, size_t size)
{
    out[0] = '\0';
    if (!find_place(L, true, out, size))
        (void)find_place(L, false, out, size);
}

static bool is_public_library(const lua_Debug *ar)
{
    return is_library(ar) && strstr(ar->short_src, "/_") == NULL;
}

bool tg_trace_in_library(struct lua_State *L)
{
    lua_Debug ar;
    lua_State *chain[COROUTINES_MAX];
    int count = tg_coroutine_chain(L, chain, COROUTINES_MAX);

    for (int i = 0; i < count; i++) {
        for (int level = 0; level < PLACE_FRAMES && lua_getstack(chain[i], level, &ar) != 0;
             level++) {
            if (lua_getinfo(chain[i], "S", &ar) != 0 && is_public_library(&ar))
                return true;
        }
    }
    return false;
}

static void put_frame(struct writer *w, lua_State *L, lua_Debug *ar)
{
    if (lua_getinfo(L, "nSl", ar) == 0)
        return;
    put(w, "\n\t%s:", ar->short_src);
    if (ar->currentline > 0)
        put(w, "%d:", ar->currentline);
    if (*ar->namewhat != '\0')
        put(w, " in function '%s'", ar->name);
    else if (*ar->what == 'm')
        put(w, " in main chunk");
    else if (*ar->what == 'C')
        put(w, " in a function of the library");
    else
        put(w, " in function <%s:%d>", ar->short_src, ar->linedefined);
}

static void put_stack(struct writer *w, lua_State *L)
{
    lua_Debug ar;
    int depth = depth_of(L);
    bool cut = depth > INNER_FRAMES + OUTER_FRAMES;

    for (int level = 0; level < depth; level++) {
        if (cut && level == INNER_FRAMES) {
            put(w, "\n\t...");
            level = depth - OUTER_FRAMES;
        }
        if (lua_getstack(L, level, &ar) != 0)
            put_frame(w, L, &ar);
    }
}

void tg_trace_write(struct lua_State *L, char *out, size_t size)
{
    struct writer w = {.out = out, .size = size};
    lua_State *chain[COROUTINES_MAX];
    int count = tg_coroutine_chain(L, chain, COROUTINES_MAX);

    for (int i = 0; i < count; i++) {
        put(&w, i == 0 ? "stack traceback:" : "\nresumed by:");
        put_stack(&w, chain[i]);
    }
}

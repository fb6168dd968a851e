/* native_process.c - the processes that a policy starts, and what the spec lets them do. */
#include "script/testing/native_internal.h"

/* next_process(host) -> number, "started" | "written" | "closed", bytes | nil */
static int l_next_process(lua_State *L)
{
    static const char *const kinds[] = {
        [TG_SIM_PROCESS_STARTED] = "started",
        [TG_SIM_PROCESS_WRITTEN] = "written",
        [TG_SIM_PROCESS_CLOSED] = "closed",
    };
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_process_news news;

    if (!host->backend->next_process(host->sim, &news))
        return 0;
    lua_pushinteger(L, (lua_Integer)news.number);
    lua_pushstring(L, kinds[news.kind]);
    lua_pushlstring(L, news.data == NULL ? "" : news.data, news.len);
    return 3;
}

/* play_process(host, number, delay ms, line | status); a status below 0 is that of a signal */
static int l_play_process(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_act act = {.delay_ms = (uint64_t)luaL_checknumber(L, 3)};

    if (lua_type(L, 4) == LUA_TSTRING)
        act.line = lua_tolstring(L, 4, &act.len);
    else
        act.status = (int)luaL_checkinteger(L, 4);
    if (host->backend->play_process(host->sim, (size_t)luaL_checkinteger(L, 2), &act) != TG_ERR_OK)
        return luaL_error(L, "out of memory");
    return 0;
}

const luaL_Reg tg__testing_process_functions[] = {
    {"next_process", l_next_process},
    {"play_process", l_play_process},
    {NULL, NULL},
};

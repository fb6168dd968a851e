/* library.c - the list of modules that C provides to scripts: one row each. */
#include "script/policy/library.h"

#include "script/api/auth.h"
#include "script/api/conn.h"
#include "script/api/crypto.h"
#include "script/api/http.h"
#include "script/api/http_response.h"
#include "script/api/json.h"
#include "script/api/jwt.h"
#include "script/api/kv.h"
#include "script/api/log.h"
#include "script/api/passes.h"
#include "script/api/process.h"
#include "script/api/run.h"
#include "script/api/session.h"
#include "script/api/task.h"
#include "script/api/tide.h"
#include "script/api/time.h"
#include "script/api/timer.h"
#include "script/api/websocket.h"
#include "script/hooks/view.h"

static const struct tg_library_module modules[] = {
    {"tidegate", tg_tide_open},
    {"tidegate.auth", tg_lua_auth_open},
    {"tidegate.crypto", tg_crypto_open},
    {"tidegate.http", tg_http_open},
    {"tidegate.json", tg_lua_json_open},
    {"tidegate.log", tg_log_open},
    {"tidegate.time", tg_time_open},
    {"tidegate.jwt", tg_lua_jwt_open},
    {"tidegate.kv", tg_lua_kv_open},
    {"tidegate.passes", tg_lua_passes_open},
    {"tidegate.timer", tg_lua_timer_open},
    {"tidegate._process", tg_lua_process_open},
    {"tidegate._websocket", tg_websocket_open},
};

size_t tg_library_modules(const struct tg_library_module **rows)
{
    *rows = modules;
    return sizeof modules / sizeof modules[0];
}

void tg_library_open_types(struct lua_State *L)
{
    tg_lua_json_open_types(L);
    tg_view_open(L);
    tg_conn_open_type(L);
    tg_session_open_type(L);
    tg_tide_open_types(L);
    tg_run_open_type(L);
    tg_http_response_open_type(L);
    tg_task_open_type(L);
    tg_lua_jwt_open_types(L);
    tg_lua_kv_open_type(L);
    tg_lua_timer_open_type(L);
    tg_lua_process_open_types(L);
    tg_websocket_open_type(L);
}

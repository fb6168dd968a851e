/* version.c - `tidegate version`: the program, its build, and the libraries as they are loaded. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "app/commands.h"
#include "app/version.h"
#include "base/hash.h"
#include "proto/http.h"
#include "proto/websocket.h"
#include "script/version.h"

const char *tg_build_text(void)
{
    return TG_BUILD;
}

int tg_command_version(int argc, char **argv)
{
    char luajit[64];
    char mbedtls[TG_HASH_VERSION_SIZE];
    const char *number;

    if (argc > 1)
        return tg_command_usage_error(argv[0], "takes no arguments");
    tg_script_luajit_version(luajit, sizeof luajit);
    number = strncmp(luajit, "LuaJIT ", 7) == 0 ? luajit + 7 : luajit;
    tg_hash_library_version(mbedtls);
    printf("tidegate %s\n", TG_VERSION);
    printf("build    %s\n", tg_build_text());
    printf("LuaJIT   %s\n", number);
    printf("libuv    %s\n", uv_version_string());
    printf("llhttp   %s\n", tg_http_parser_version());
    printf("wslay    %s\n", tg_ws_library_version());
    printf("mbedTLS  %s\n", mbedtls);
    return TG_EXIT_OK;
}

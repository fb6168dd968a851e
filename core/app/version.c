/* version.c - `tidegate version`: the program, its build, and the libraries as they are loaded. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "app/commands.h"
#include "app/version.h"
#include "base/hash.h"
#include "net/http_client.h"
#include "proto/deflate.h"
#include "proto/http.h"
#include "proto/websocket.h"
#include "script/policy/version.h"

const char *tg_build_text(void)
{
    return TG_BUILD;
}

void tg_version_each_library(void (*fn)(void *ctx, const char *name, const char *version),
                             void *ctx)
{
    char luajit[64];
    char mbedtls[TG_HASH_VERSION_SIZE];

    tg_script_luajit_version(luajit, sizeof luajit);
    tg_hash_library_version(mbedtls);
    fn(ctx, "luajit", strncmp(luajit, "LuaJIT ", 7) == 0 ? luajit + 7 : luajit);
    fn(ctx, "libuv", uv_version_string());
    fn(ctx, "llhttp", tg_http_parser_version());
    fn(ctx, "wslay", tg_ws_library_version());
    fn(ctx, "mbedtls", mbedtls);
    fn(ctx, "zlib", tg_deflate_library_version());
    fn(ctx, "libcurl", tg_http_client_library_version());
}

static void print_library(void *ctx, const char *name, const char *version)
{
    (void)ctx;
    printf("%-8s %s\n", name, version);
}

int tg_command_version(int argc, char **argv)
{
    if (argc > 1)
        return tg_command_usage_error(argv[0], "takes no arguments");
    printf("tidegate %s\n", TG_VERSION);
    printf("build    %s\n", tg_build_text());
    tg_version_each_library(print_library, NULL);
    return TG_EXIT_OK;
}

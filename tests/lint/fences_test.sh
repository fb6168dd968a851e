#!/bin/sh
# fences_test.sh - fences.sh must notice each kind of crossing, and pass a tree without one.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

fresh() {
    rm -rf "${tree:?}"/*
    for folder in base net proto client connection agent script/api ops app; do
        mkdir -p "$tree/core/$folder"
    done
    mkdir "$tree/lua" "$tree/policies" "$tree/examples" "$tree/tests" "$tree/cmake"
    touch "$tree/CMakeLists.txt"
    echo '#include <stdio.h>' >"$tree/core/base/log.c"
}

# expect RESULT FILE LINE: with LINE in FILE the tree passes (0) or not (1).
expect() {
    printf '%s\n' "$3" >>"$tree/$2"
    sh "$here/fences.sh" "$tree" >/dev/null 2>&1
    result=$?
    if [ "$result" -ne "$1" ]; then
        echo "fences_test: $2 with '$3' gave $result, expected $1" >&2
        failed=1
    fi
}

one() {
    fresh
    expect "$@"
}

one 0 core/app/run.c '#include "script/call/call.h"'
one 0 core/script/host.c '#include "agent/run.h"'
one 0 core/connection/inbox.c '#include "proto/http.h"'
one 0 core/ops/admin.c '#include "net/stream.h"'
one 0 core/client/client.c '#include "net/stream.h"'
one 0 core/script/api/websocket.c '#include "client/ws_client.h"'
one 0 core/script/api/conn.c '#include <lua.h>'
one 0 core/net/timer.c '#include <uv.h>'
one 0 core/net/tls.c '#include <mbedtls/ssl.h>'
one 0 core/base/hash.c '#include <mbedtls/sha1.h>'
one 0 core/base/crypto_library.h '#include <mbedtls/pk.h>'
one 0 core/base/mac.c '#include "base/crypto_library.h"'
one 0 core/proto/http.c '#include <llhttp.h>'
one 0 core/net/http_client_curl_url.c '#include <curl/curl.h>'
one 0 core/base/log.c '#include "base/clock.h"'

one 1 core/base/log.c '#include "net/timer.h"'
one 1 core/net/stream.c '#include "proto/http.h"'
one 1 core/proto/http.c '#include "net/stream.h"'
one 1 core/connection/state.c '#include "agent/run.h"'
one 1 core/agent/run.h '  #  include "script/call.h"'
one 1 core/ops/admin.c '#include "connection/state.h"'
one 1 core/ops/admin.c '#include "client/client.h"'
one 1 core/client/client.c '#include "connection/state.h"'
one 1 core/client/client.c '#include <uv.h>'
one 1 core/ops/config.c '#include "script/config_file.h"'
one 1 core/connection/state.c '#include "ops/health.h"'
one 1 core/script/host.c '#include "app/server/server.h"'
one 1 core/app/run.c '#include <lua.h>'
one 1 core/connection/hooks.h '#include <lauxlib.h>'
one 1 core/script/host.c '#include <uv.h>'
one 1 core/net/http_fetch.c '#include <curl/curl.h>'
one 1 core/proto/upgrade.c '#include <mbedtls/sha1.h>'
one 1 core/base/mac.c '#include <mbedtls/md.h>'
one 1 core/proto/jwt.c '#include "base/crypto_library.h"'
one 1 core/base/log.c "/* TO""DO: more */"
one 1 lua/a.lua "-- FIX""ME"

fresh
echo '#include <zlib.h>' >"$tree/core/proto/deflate.c"
expect 1 core/proto/websocket.c '#include <zlib.h>'
fresh
echo '#include <wslay/wslay.h>' >"$tree/core/proto/websocket.c"
expect 1 core/proto/deflate.c '#include <wslay/wslayver.h>'
fresh
mkdir "$tree/core/extra"
expect 1 core/extra/a.c '#include "base/log.h"'
fresh
rm "$tree/core/base/log.c"
expect 1 lua/a.lua '-- nothing in core'

[ "$failed" -eq 0 ] && echo "fences_test: every crossing was noticed"
exit $failed

#!/bin/sh
# headers.sh CORE COMPILER FLAGS... - each header of core/ must compile on its own.
set -u
core=$1
compiler=$2
shift 2

failed=0
checked=0
for header in $(find "$core" -name '*.h' | sort); do
    name=${header#"$core"/}
    if ! printf '#include "%s"\n#include "%s"\n' "$name" "$name" |
        "$compiler" -std=gnu11 -Wall -Wextra -Wundef -Werror -fsyntax-only "$@" -x c -; then
        echo "headers: $name does not compile on its own" >&2
        failed=1
    fi
    checked=$((checked + 1))
done
[ "$checked" -gt 0 ] || { echo "headers: none found in $core" >&2; exit 1; }
echo "headers: $checked checked"
exit $failed

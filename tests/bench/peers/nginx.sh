#!/usr/bin/env bash
# nginx.sh FOLDER: nginx with Lua and lua-resty-websocket, from Debian's packages, unpacked into FOLDER.
#
# Unpacked and not installed: an installed nginx starts serving port 80, and on Debian 12 its Lua module
# wants OpenResty's LuaJIT package, which excludes the one that Tidegate is built with. Exit code 1, with
# a word, where the packages are not to be had or do not fit together.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
folder=$(realpath -m "$1")
packages=(nginx libnginx-mod-http-ndk libnginx-mod-http-lua lua-resty-core lua-resty-lrucache
    lua-nginx-websocket libluajit2-5.1-2 libpcre3 lua-cjson)

[[ ! -e $folder/complete ]] || exit 0
rm -rf "$folder"
mkdir -p "$folder/packages"
cd "$folder/packages"
wanted=()
for package in "${packages[@]}"; do
    # Debian 13 has neither libpcre3 nor OpenResty's LuaJIT, and needs neither.
    if [[ $(apt-cache policy "$package") =~ Candidate:\ [^\(] ]]; then wanted+=("$package"); fi
done
if ! apt-get -qq -o APT::Sandbox::User=root download "${wanted[@]}" >download.log 2>&1; then
    printf 'nginx: the packages are not to be had: %s\n' "$(tail -n 1 download.log)" >&2
    exit 1
fi
for package in *.deb; do dpkg -x "$package" ..; done
cd ..
if ! /usr/bin/python3 "$here/nginx.py" "$folder" --try; then
    printf 'nginx: the packages do not fit together here\n' >&2
    exit 1
fi
touch complete

#!/usr/bin/env bash
# uws.sh FOLDER: uWebSockets as Node calls it, unpacked into FOLDER from the npm package that carries its binaries.
#
# The makers publish theirs elsewhere; this one is another project's build of it (plain connections only). It is a
# binary that nobody here has built, so nothing but the file whose checksum stands here is run. Exit code 1, with a
# word, where npm is not installed, the package is not to be had, or Node is of another generation.
set -euo pipefail
folder=$(realpath -m "$1")
package='@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0'
sum=ef051312b6eca704b273ff47462f220298d91bb46425e0f0168412cc822d0661

[[ ! -e $folder/complete ]] || exit 0
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    printf 'uWebSockets: its binaries come through npm, which is not installed\n' >&2
    exit 1
fi
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
if ! npm pack --silent "$package" >pack.log 2>&1; then
    printf 'uWebSockets: the package is not to be had: %s\n' "$(tail -n 1 pack.log)" >&2
    exit 1
fi
if ! sha256sum --quiet -c <<<"$sum  $(echo ./*.tgz)"; then
    printf 'uWebSockets: the package is not the one that was looked at\n' >&2
    exit 1
fi
binary=$(node -p '`uws_${process.platform}_${process.arch}_${process.versions.modules}.node`')
if ! tar -xzf ./*.tgz --strip-components=2 "package/dist/$binary" 2>tar.log || ! node -e "require('./$binary')"; then
    printf 'uWebSockets: the package has no binary for this Node\n' >&2
    exit 1
fi
mv "$binary" uws.node
rm -f ./*.tgz
touch complete

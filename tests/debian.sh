#!/usr/bin/env bash
# Runs the tests on a Debian release: debian.sh RELEASE FOLDER TREE.tar [arguments of ./dev test]
#
# `./dev test --debian RELEASE` starts this, as root and in mount and process namespaces of its own.
# So nothing has to be undone: however this ends, the kernel unmounts what was mounted, ends what
# was started, and the host never saw either. FOLDER keeps the system, made by debootstrap, for the
# next time; the tree in it is made anew. Packages are installed as root, the tests run as a user.
set -euo pipefail

release=$1
system=$2
tree=$3
shift 3

say() { printf '== %s\n' "$*" >&2; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

((EUID == 0 && $$ == 1)) || die "tests/debian.sh is started by ./dev test --debian RELEASE"

# Where apt gets Debian itself from on this machine, as opposed to its security updates or others.
mirror() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|//p' | head -n 1
}

# Settings of apt that decide whether it reaches its mirror from here, as lines of a configuration.
apt_settings() {
    apt-config dump --format '%F "%v";%n' Acquire |
        grep -E '^Acquire::((https?|ftp)::|ForceIPv|Retries |Check-Valid-Until |Check-Date )' || true
}

# debootstrap fetches without apt, so apt's proxy has to be put into words that it knows.
export_proxy() {
    local proxy
    proxy=$(apt-config dump --format '%F=%v%n' Acquire::http | sed -n 's/^Acquire::http::Proxy=//p')
    if [[ -z ${http_proxy:-} && -n $proxy && $proxy != DIRECT ]]; then export http_proxy=$proxy; fi
}

make_system() {
    local from=${DEBIAN_MIRROR:-}
    if [[ -z $from ]]; then from=$(mirror); fi
    if [[ -z $from ]]; then
        apt-get -qq update
        from=$(mirror)
    fi
    [[ -n $from ]] || die "apt has no source of Debian here; set DEBIAN_MIRROR to the URL of one"
    say "making a Debian $release in $system"
    export_proxy
    rm -rf --one-file-system "$system.new"
    debootstrap --variant=minbase "$release" "$system.new" "$from" >&2 ||
        die "debootstrap failed; $system.new/debootstrap/debootstrap.log may say more"
    chroot "$system.new" useradd --create-home --shell /bin/bash tester
    mv "$system.new" "$system"
}

# What a host lends to the system: the kernel's file systems, name service, the way to the mirror.
prepare_system() {
    mount -t proc proc "$system/proc"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$system/dev/pts"
    ln -sf pts/ptmx "$system/dev/ptmx"
    mount -t tmpfs -o mode=1777 tmpfs "$system/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$system/tmp"
    local file
    for file in /etc/resolv.conf /etc/hosts; do
        rm -f "$system$file"
        if [[ -e $file ]]; then cp --dereference "$file" "$system$file"; fi
    done
    rm -f "$system/etc/apt/apt.conf.d/90host"
    (umask 077 && apt_settings >"$system/etc/apt/apt.conf.d/90host")
}

copy_tree() {
    rm -rf --one-file-system "$system/home/tester/tree"
    mkdir "$system/home/tester/tree"
    tar -x --no-same-owner -f "$tree" -C "$system/home/tester/tree"
    chroot "$system" chown -R tester: /home/tester/tree
}

[[ -d $system ]] || make_system
prepare_system
copy_tree
chroot "$system" /home/tester/tree/dev packages
say "running ./dev test on Debian $(<"$system/etc/debian_version")"
chroot "$system" runuser -u tester -- env -i HOME=/home/tester LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/bin:/usr/bin:/bin /home/tester/tree/dev test "$@"

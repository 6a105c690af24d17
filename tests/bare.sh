#!/bin/bash
# bare.sh - tries the README's two commands in a Debian that has only git and make.
#
#   tests/bare.sh [RELEASE]      bookworm by default; needs root and debootstrap
#
# Installs a minimal system into build/bare, clones the last commit of this checkout into it and
# runs `make reproduce` and `make check` there, so that a set-up step which only works on a
# developer's machine is found.  Packages come from where this system is configured to get its
# own.  There is no GPU and no CUDA inside.  KEEP=1 leaves the tree for a look.
set -u
cd "$(dirname "$0")/.." || exit 1
release=${1:-bookworm}
root=$PWD/build/bare
log=$PWD/build/bare.log

die() {
    echo "bare: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || die 'needs root'
mkdir -p build
command -v debootstrap > /dev/null || apt-get -q -y install debootstrap > "$log" 2>&1 ||
    die "debootstrap is missing and could not be installed (log: $log)"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | grep -v '^ *#' |
    grep -oE '[a-z]+:/[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ')
[ -n "$mirror" ] || die "no Debian package source in /etc/apt"

echo "bare: installing a minimal $release (log: $log)"
rm -rf --one-file-system "$root"
debootstrap --variant=minbase --include=git,make,ca-certificates "$release" "$root" "$mirror" \
    > "$log" 2>&1 || die "debootstrap failed (log: $log)"
cp -L /etc/resolv.conf "$root/etc/" 2> /dev/null
# A proxy that packages must come through here is needed inside too.
grep -ls '^ *Acquire::[a-z]*::proxy' /etc/apt/apt.conf /etc/apt/apt.conf.d/* 2> /dev/null |
    xargs -r -I{} cp {} "$root/etc/apt/apt.conf.d/"
git -c safe.directory='*' clone -q --no-hardlinks . "$root/root/claimbench" || die 'clone failed'

inside() {
    # A mount name space of its own: nothing stays mounted in the tree, however this ends.
    unshare --mount --pid --fork sh -c '
        mount -t proc proc "$0/proc" &&
            exec chroot "$0" env -i HOME=/root LANG=C.UTF-8 \
                PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                sh -c "cd /root/claimbench && $1"' "$root" "$1" < /dev/null
}

passed=0 failed=0
for command in 'make reproduce' 'make check'; do
    echo "bare: $command"
    if inside "$command" > "$log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "bare: $command failed"
    fi
    tail -n 15 "$log" | sed 's/^/    /'
    mv "$log" "${log%.log}-${command#make }.log"
done
[ "${KEEP:-0}" = 1 ] || rm -rf --one-file-system "$root"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

#!/bin/bash
# check.sh - tries a package as an evaluator without a GPU would.
#
#   tools/artifact/check.sh PACKAGE.tar.gz [FOLDER]
#
# Unpacks into an empty folder and runs there, in an empty environment and without network where
# the system lets one do without: checksums, smoke test, expected tables.  FOLDER is where
# (default: a new one, removed at the end).  CLAIMBENCH names a program to use instead of
# building the package's own.
set -u
package=$(realpath "${1:?which package?}") || exit 1
folder=${2:-$(mktemp -d)} start=$SECONDS failed=0
[ -n "${2-}" ] || trap 'rm -rf "$folder"' EXIT
[ -z "$(ls -A "$folder")" ] || { echo "artifact-check: $folder is not empty" >&2; exit 2; }
tar -C "$folder" -xzf "$package" || exit 1
cd "$folder"/* || exit 1

# Without root a user name space gives a network name space; some systems forbid both.
alone=()
if unshare --net true 2> /dev/null; then
    alone=(unshare --net)
elif unshare --user --map-root-user --net true 2> /dev/null; then
    alone=(unshare --user --map-root-user --net)
else
    echo 'SKIP artifact-check: the network stays reachable, unshare is not permitted here'
fi
inside() {
    env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$folder" LANG=C.UTF-8 TMPDIR="${TMPDIR:-/tmp}" \
        CUDA_VISIBLE_DEVICES= CLAIMBENCH="${CLAIMBENCH:-}" CLAIMBENCH_LOCKS="$folder" \
        "${alone[@]}" "$@" < /dev/null
}
step() { # what, command...
    local what=$1 at=$SECONDS
    shift
    if inside "$@"; then
        echo "artifact-check: $what: fine, $((SECONDS - at)) s"
    else
        echo "artifact-check: $what: failed"
        failed=1
    fi
}
[ ${#alone[@]} = 0 ] ||
    step 'no network' bash -c '! tail -n +2 /proc/net/route | grep -q .'
step 'checksums' sha256sum --quiet -c SHA256SUMS
step 'no file beside them' bash -c \
    'diff <(cut -c 67- SHA256SUMS | sort) <(find . -type f ! -name SHA256SUMS | sed "s,^\./,," | sort)'
[ $failed = 0 ] && step 'smoke test' ./smoke.sh
[ $failed = 0 ] && step 'expected tables' ./expected.sh
echo "artifact-check: $([ $failed = 0 ] && echo passed || echo FAILED), $((SECONDS - start)) s"
exit $failed

#!/bin/sh
# stamp.sh - says what a binary is built from.
#
#   stamp.sh header FILE    FILE becomes a C header of macros; untouched when nothing changed
#   stamp.sh keep FILE      FILE becomes the git part, for a copy of the tree without .git
#
# Flags and compilers come from the Makefile through the environment.  In a tree without .git
# the git part is read from .stamp, which `make stamp` or `make bundle` wrote; without that too
# the commit is empty, which says that it is not known.
set -u
cd "$(dirname "$0")/.." || exit 1

# The owner of a mounted checkout may be another user: that is no reason to lose the commit.
git() { command git -c safe.directory='*' "$@" 2> /dev/null; }

sum() { sha256sum | cut -d ' ' -f 1; }

tree_sum() { LC_ALL=C sort | tr '\n' '\0' | xargs -0 -r sha256sum | sum; }

# Results are outputs: recording one must not make the next binary another one.
from_git() {
    set -- . ':!results' ':!.stamp'
    commit=$(git rev-parse HEAD) || return
    echo "commit $commit"
    echo "describe $(git describe --always --tags)"
    if [ -z "$(git status --porcelain -- "$@")" ]; then
        echo 'dirty 0'
        return
    fi
    echo 'dirty 1'
    {
        git diff HEAD -- "$@"
        git ls-files --others --exclude-standard -z -- "$@" | xargs -0 -r sha256sum
    } | sed 's/^/ /' | sum | sed 's/^/diff_sha256 /'
}

state() {
    if [ -e .git ] && from_git; then
        return
    fi
    cat .stamp 2> /dev/null || echo 'dirty 0'
}

value() { printf '%s\n' "$state" | sed -n "s/^$1 //p"; }

string() { # macro, value
    printf '#define %s "%s"\n' "$1" "$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')"
}

case ${1-} in
keep)
    kept=$(state) && printf '%s\n' "$kept" > "$2"
    ;;
header)
    state=$(state)
    {
        echo '/* Written by tools/stamp.sh: what this build is made of. */'
        string CB_VERSION "${VERSION-}"
        string CB_COMMIT "$(value commit)"
        string CB_DESCRIBE "$(value describe)"
        echo "#define CB_DIRTY $(value dirty)"
        string CB_DIFF_SHA256 "$(value diff_sha256)"
        string CB_CONFIGS_SHA256 "$(find configs -type f | tree_sum)"
        string CB_SUITES_SHA256 "$(find suites -type f ! -name '*.[ch]' | tree_sum)"
        string CB_CC_VERSION "$(${CC:-gcc} --version | head -n 1)"
        string CB_CFLAGS "${STAMP_CFLAGS-}"
        string CB_NVCC_VERSION "$(${NVCC:-true} --version | sed -n 's/.*\(release.*\)/\1/p')"
        string CB_NVCC_FLAGS "${STAMP_NVCCFLAGS-}"
        string CB_SM "${SM-}"
    } > "$2.new"
    cmp -s "$2.new" "$2" && rm "$2.new" || mv "$2.new" "$2"
    ;;
*)
    echo 'usage: stamp.sh header|keep FILE' >&2
    exit 2
    ;;
esac

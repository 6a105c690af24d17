#!/bin/bash
# artifact.sh - makes the artifact package of a paper, or tries one.
#
#   tools/artifact.sh make PAPER...      build/artifact/claimbench-VERSION-PAPER.tar.gz
#   tools/artifact.sh check PAPER...     unpacks those elsewhere and tries them
#
# The sources are those of the last commit; a checkout with changes is refused unless
# ALLOW_DIRTY=1, which packs the working tree and says so in the package.  The same commit and
# the same results give the same archive but for how long the smoke test took.
set -u
cd "$(dirname "$0")/.." || exit 1
program=$(realpath "${CLAIMBENCH:-build/claimbench}")
out=${ARTIFACTS:-build/artifact}
export CLAIMBENCH_HOME=$PWD

die() {
    echo "artifact: $*" >&2
    exit 1
}
git() { command git -c safe.directory='*' "$@"; }
name_of() { echo "claimbench-${VERSION:-0}-$1"; }

# Names of Debian packages that a group of tools/deps.sh stands for.
eval "$(sed -n '/^packages_of() {/,/^}/p' tools/deps.sh)"

sources() { # folder
    if [ "$dirty" = 0 ]; then
        git archive HEAD -- . ':!results' | tar -x -C "$1"
    else
        git ls-files -z --cached --others --exclude-standard -- . ':!results' |
            while IFS= read -r -d '' file; do
                [ ! -e "$file" ] || printf '%s\0' "$file"
            done | tar --null -T - -c | tar -x -C "$1"
    fi
    tools/stamp.sh keep "$1/.stamp"
}

make_one() { # paper
    local paper=$1 name folder reference gpu results=() smoke
    [ -f "suites/$paper/experiments.json" ] || die "no paper '$paper' in suites/"
    name=$(name_of "$paper")
    folder=$out/$name
    rm -rf "$folder" "$folder.tar.gz"
    mkdir -p "$folder"/{src,configs,data,results/reference,results/new,expected,appendix,env}
    sources "$folder/src" || die 'the sources could not be copied'
    cp LICENSE CITATION.cff "$folder/"
    cp -r "$folder/src/configs/." "$folder/configs/"
    [ ! -d configs/data ] || cp -r "$folder/src/configs/data/." "$folder/data/"
    echo "$paper" > "$folder/paper"
    for reference in results/*/"$paper"; do
        [ -f "$reference/recorded" ] || continue
        gpu=${reference#results/} gpu=${gpu%%/*}
        mkdir -p "$folder/results/reference/$gpu/$paper"
        cp -r "$reference/recorded" "$reference/$(cat "$reference/recorded")" \
            "$folder/results/reference/$gpu/$paper/"
        results+=("$folder/results/reference/$gpu/$paper")
        "$program" tables "${results[-1]}" -o "$folder/expected/$gpu/tables" > /dev/null &&
            "$program" plots "${results[-1]}" -o "$folder/expected/$gpu/figures" > /dev/null ||
            die "$reference: no tables"
    done
    [ ${#results[@]} != 0 ] || echo "artifact: $paper: no recorded result; expected/ stays empty" >&2
    # the program of the package looks for recorded results beside its sources
    ln -s ../results/reference "$folder/src/results"
    : > "$folder/results/new/.keep"
    cp tools/artifact/{program,smoke,expected,measure,compare}.sh "$folder/"
    sed "s/@PACKAGES@/$(echo $(packages_of build) $(packages_of plot))/" \
        tools/artifact/Containerfile > "$folder/env/Containerfile"
    {
        echo "# Debian packages that build and draw it, with the versions of the machine it was packed on"
        for package in $(packages_of build) $(packages_of plot) $(packages_of data); do
            echo "$package $(dpkg-query -W -f '${Version}' "$package" 2> /dev/null || echo '(not installed there)')"
        done
    } > "$folder/env/packages.txt"
    # how long the smoke test takes is measured by taking it
    smoke=$(mktemp -d)
    "$program" run --paper "$paper" --profile smoke --devices host -q -o "$smoke/run" > /dev/null ||
        case $? in 4 | 6) ;; *) rm -rf "$smoke"; die "$paper: the smoke test fails" ;; esac
    "$program" artifact --paper "$paper" "${results[@]}" "$smoke/run" -o "$folder" > /dev/null ||
        die "$paper: not described"
    rm -rf "$smoke"
    (cd "$folder" && find . -type f ! -name SHA256SUMS | sed 's,^\./,,' | LC_ALL=C sort |
        tr '\n' '\0' | xargs -0 sha256sum > SHA256SUMS) || die "$folder: no checksums"
    tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -cf - "$name" |
        gzip -n > "$folder.tar.gz" || die "$folder.tar.gz: not written"
    du -sb "$folder.tar.gz" | awk '{ printf "%s: %.1f MB\n", $2, $1 / 1e6 }'
}

verb=${1-}
[ $# -gt 1 ] || die 'make PAPER... or check PAPER...'
shift
case $verb in
make)
    git rev-parse -q --verify HEAD > /dev/null 2>&1 || die 'packages are made from a git checkout'
    when=$(git log -1 --format=%ct)
    dirty=0
    if [ -n "$(git status --porcelain -- . ':!results')" ]; then
        [ "${ALLOW_DIRTY:-0}" = 1 ] ||
            die 'the checkout has changes: commit them (ALLOW_DIRTY=1 packs them, not for publication)'
        dirty=1
        echo 'artifact: made from a tree with changes: not for publication' >&2
    fi
    for paper in "$@"; do
        make_one "$paper"
    done
    ;;
check)
    code=0
    for paper in "$@"; do
        [ -f "$out/$(name_of "$paper").tar.gz" ] || die "make artifact PAPER=$paper comes first"
        # the package builds its own program
        env -u CLAIMBENCH ${CHECK_PROGRAM:+CLAIMBENCH="$CHECK_PROGRAM"} \
            tools/artifact/check.sh "$out/$(name_of "$paper").tar.gz" || code=1
    done
    exit $code
    ;;
*) die 'make PAPER... or check PAPER...' ;;
esac

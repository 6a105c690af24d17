#!/bin/sh
# test_readme.sh - tables of the README are those that recorded results give, and what it links to
# is there.
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

check() { # what, command...
    what=$1
    shift
    if "$@" > "$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "test_readme.sh: failed: $what"
        head -5 "$work/out"
    fi
}
refused() { ! "$@"; }

cp README.md "$work/README.md"
check 'table of perplexities made' tools/accuracy_table.sh -w "$work/README.md" results/host
for suite in awq qserve; do
    check "table of layers of $suite made" tools/layers_table.sh $suite -w "$work/README.md" results/h200
done
for suite in qserve torchsparsepp flatformer; do
    check "table of times of $suite made" tools/times_table.sh $suite -w "$work/README.md" results/h200
done
check 'tables are as recorded' diff README.md "$work/README.md"

# A figure changed by hand is seen.
sed '/^<!-- awq-layers/,/^<!-- .awq-layers/s/^\(| Llama-2-70B | 1 | \)[0-9]*/\1129/' README.md > "$work/README.md"
check 'planted figure' refused cmp -s README.md "$work/README.md"
tools/layers_table.sh awq -w "$work/README.md" results/h200
check 'planted figure is replaced' cmp README.md "$work/README.md"
check 'nothing recorded' refused tools/layers_table.sh awq "$work"
check 'nothing recorded of a suite' refused tools/times_table.sh flatformer "$work"
check 'a suite without cases' refused tools/times_table.sh accuracy
check 'a suite without layers' refused tools/layers_table.sh daspmm
echo text > "$work/other"
check 'no place for a table' refused tools/into.sh "$work/other" layers
check 'such a file stays' grep -qx text "$work/other"

grep -o '](\([a-z][^)#]*\)' README.md | cut -c3- | grep -v '^http' | sort -u > "$work/links"
while read -r link; do
    check "link $link" test -e "$link"
done < "$work/links"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

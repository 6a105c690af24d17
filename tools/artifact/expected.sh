#!/bin/bash
# expected.sh - makes tables and data of figures from results/reference again and compares them
# with expected/, byte for byte.  Needs no GPU.  NEW names a folder for what was made.
cd "$(dirname "$0")" || exit 1
. ./program.sh
new=${NEW:-$(mktemp -d)} failed=0 compared=0
for reference in results/reference/*/"$paper"; do
    [ -d "$reference" ] || continue
    gpu=${reference#results/reference/} gpu=${gpu%%/*}
    "$CLAIMBENCH" tables "$reference" -o "$new/$gpu/tables" > /dev/null &&
        "$CLAIMBENCH" plots "$reference" -o "$new/$gpu/figures" > /dev/null || failed=1
    # pictures depend on the version of gnuplot; what they are drawn from does not
    while read -r file; do
        compared=$((compared + 1))
        cmp "expected/$file" "$new/$file" || failed=1
    done < <(cd expected && find "$gpu" -type f ! -name '*.svg' ! -name '*.png' | sort)
    while read -r file; do
        [ -e "expected/$file" ] || { echo "$file: not in expected/"; failed=1; }
    done < <(cd "$new" && find "$gpu" -type f ! -name '*.svg' ! -name '*.png' | sort)
done
[ -n "${NEW:-}" ] || rm -rf "$new"
[ $compared != 0 ] || echo 'expected: no recorded result in this package'
[ $failed = 0 ] && [ $compared != 0 ] && echo "expected: $compared files made again, all the same"
exit $failed

#!/bin/bash
# smoke.sh - does it work here?  Builds, runs the small problems, checks what came out.
cd "$(dirname "$0")" || exit 1
. ./program.sh
new=results/new/smoke
rm -rf "$new"
"$CLAIMBENCH" run --paper "$paper" --profile smoke --devices $devices -o "$new" -q > /dev/null
code=$?
case $code in
0 | 6) ;; # 6: a claim was not reproduced, which small problems say nothing about
4) "$CLAIMBENCH" wrong "$new" || exit 4 ;; # wrong as published is no failure
*) echo "smoke: the run ended with exit code $code" >&2; exit "$code" ;;
esac
(cd "$new" && sha256sum --quiet -c SHA256SUMS) || exit 1
"$CLAIMBENCH" tables "$new" > /dev/null && "$CLAIMBENCH" claims "$new" > "$new/claims.txt"
case $? in 0 | 6) ;; *) exit 1 ;; esac
echo "smoke: $(grep -c '"status":"ok"' "$new/journal.jsonl") cases measured and checked, $new"

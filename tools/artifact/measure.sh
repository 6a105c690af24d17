#!/bin/bash
# measure.sh - measures one experiment, or `all`: tables, figures and claims in results/new/NAME.
#
#   ./measure.sh NAME [options of `claimbench run`]
cd "$(dirname "$0")" || exit 1
. ./program.sh
name=${1:?which experiment? README.md lists them; all: every one}
shift
new=results/new/$name only=()
[ "$name" = all ] || only=(--experiment "$name")
# some experiments belong to the profile full alone
[ "$profile" = smoke ] || [ "$name" = all ] ||
    "$CLAIMBENCH" plan --paper "$paper" --profile "$profile" "${only[@]}" > /dev/null 2>&1 || profile=full
if [ -e "$new/run.json" ]; then
    where=(--resume "$new")
else
    where=(-o "$new")
fi
"$CLAIMBENCH" run --paper "$paper" --profile "$profile" --devices $devices "${only[@]}" "$@" "${where[@]}"
code=$?
case $code in
0 | 4 | 6) ;;
*) exit $code ;;
esac
"$CLAIMBENCH" tables "$new" && "$CLAIMBENCH" plots "$new" && "$CLAIMBENCH" claims "$new"
case $? in 0 | 6) ;; *) exit 1 ;; esac
[ $code != 4 ] || "$CLAIMBENCH" wrong "$new"

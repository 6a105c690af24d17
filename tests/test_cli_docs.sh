#!/bin/bash
# test_cli_docs.sh - the manual page and completion name what --help names, no more, no less.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/common.bash

same() { # what, two lists
    check "$1" [ "$2" = "$3" ]
    [ "$2" = "$3" ] || diff <(echo "$2") <(echo "$3")
}

"$program" --help > "$work/help" || exit 1
verbs=$(sed -n 's/^  \([a-z]*\) .*/\1/p' "$work/help")
check 'help names at least fifteen verbs' [ "$(echo "$verbs" | wc -l)" -ge 15 ]

# "verb option" of every verb, from its own help
for verb in $verbs; do
    "$program" "$verb" --help | sed -n "s/^    \(--*[a-z-]*\) .*/$verb \1/p"
done | LC_ALL=C sort > "$work/from_help"

check 'man succeeds' "$program" man > "$work/claimbench.1"
unescape() { sed 's/\\-/-/g; s/\\fB//g; s/\\fI//g; s/\\fR//g; s/\\&//g; s/\\e/\\/g'; }
part() { sed -n "/^\.SH $1/,/^\.SH /p" "$work/claimbench.1" | unescape; }
same 'verbs of the manual page' "$(part VERBS | sed -n '/^\.TP/{n;s/ .*//;p}')" "$verbs"
part OPTIONS | awk -v verbs="$verbs" '
    /^\.TP/ { getline; option = $1; getline; next }
    /^\.SH/ || option == "" { next }
    {
        gsub(/[(),]/, "")
        if ($0 == "all") {
            n = split(verbs, each, "\n")
            for (i = 1; i <= n; i++) print each[i], option
        } else {
            print $1, option
        }
    }' | LC_ALL=C sort > "$work/from_man"
same 'options of the manual page' "$(cat "$work/from_man")" "$(cat "$work/from_help")"
codes=$(sed -n '/^Exit codes:/,$p' "$work/help" | tr '\n' ' ' |
    sed 's/^Exit codes: //; s/\. *$//; s/, /\n/g' | sed 's/ .*//')
same 'exit codes' "$(part 'EXIT STATUS' | sed -n '/^\.TP/{n;p}')" "$(echo "$codes" | grep '^[0-9]')"

if command -v mandoc > /dev/null; then
    check 'mandoc finds nothing' [ -z "$(mandoc -T lint -W warning "$work/claimbench.1" 2>&1)" ]
else
    skipped=$((skipped + 1))
    echo 'SKIP test_cli_docs: mandoc is not installed'
fi
if command -v man > /dev/null && man --version > /dev/null 2>&1; then
    check 'man shows the page without a warning' \
        [ -z "$(LC_ALL=C.UTF-8 man --warnings -l "$work/claimbench.1" 2>&1 > /dev/null)" ]
else
    skipped=$((skipped + 1))
    echo 'SKIP test_cli_docs: man is not installed'
fi

check 'completion succeeds' "$program" completion bash > "$work/completion"
check 'another shell is refused' eval '! "$program" completion csh 2> /dev/null'
check 'completion is correct bash' bash -n "$work/completion"
. "$work/completion"
complete_at() { # words of the command line; the last is completed
    COMP_WORDS=(claimbench "$@") COMP_CWORD=$#
    _claimbench
    printf '%s\n' "${COMPREPLY[@]}"
}
same 'verbs of completion' "$(complete_at '' | grep -v '^--')" "$verbs"
same 'a verb begun' "$(complete_at pla)" plan
for verb in $verbs; do
    complete_at "$verb" - | sed "s/^/$verb /"
done | LC_ALL=C sort > "$work/from_completion"
same 'options of completion' "$(cat "$work/from_completion")" "$(cat "$work/from_help")"
same 'an option begun' "$(complete_at run --prof)" --profile
same 'a file is left to the shell' "$(complete_at tables results/)" ''

# A verb or option of the documentation that the program does not take.
while read -r verb option; do
    "$program" "$verb" --help | grep -q -- "^    $option " || echo "$verb $option"
done < "$work/from_man" > "$work/unknown"
check 'every documented option is one' [ ! -s "$work/unknown" ]

end

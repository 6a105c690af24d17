# table_out.sh - what the scripts that make tables of the README share; sourced by them.
#
# Takes [-w FILE] [RESULTS] from the arguments: results (by default results/h200), into (empty: print).
# put NAME: the lines on stdin go to stdout, or into FILE between <!-- NAME --> and <!-- /NAME -->;
# a table of head alone means that nothing is recorded, and fails.
cd "$(dirname "$0")/.."
into=
[ "${1-}" != -w ] || { into=$2; shift 2; }
results=${1:-results/h200}

put() { # name of the table
    made=$(cat)
    if [ "$(printf '%s\n' "$made" | wc -l)" -lt 3 ]; then
        echo "$(basename "$0" .sh): nothing is recorded for it in $results" >&2
        exit 1
    fi
    if [ -n "$into" ]; then
        printf '%s\n' "$made" | tools/into.sh "$into" "$1"
    else
        printf '%s\n' "$made"
    fi
}

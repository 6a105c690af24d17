# common.bash - what tests of the command line share: a folder for their files, counting,
# comparing, calling the program.  Sourced from the root of the checkout.
#
# Gives $program, absolute, and $work, a folder that the test removes itself; the last output
# of the program is in $work/out and $work/err.  A test ends with `end`.
program=$(realpath "${CLAIMBENCH:-build/claimbench}")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0

check() { # what, command...
    local what=$1 file
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "${0##*/}: failed: $what: $*"
        for file in "$work/err" "$work/out"; do
            [ -s "$file" ] && tail -n 20 "$file" | sed 's/^/    /'
        done
    fi
}
equal() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
says() { grep -sqF -- "$1" "$work/err" "$work/out" || { echo "not said: $1"; return 1; }; }
claimbench() { # arguments...
    timeout 120 "$program" "$@" > "$work/out" 2> "$work/err" < /dev/null
}
expect() { # code, what, command...
    local code=$1 what=$2
    shift 2
    "$@"
    check "$what: exit code" equal $? "$code"
}
end() {
    [ "$skipped" = 0 ] && echo "$passed passed, $failed failed" ||
        echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}

# A small suite with its profile in $work/home: $cases cases, $lines lines of a journal.
tiny_home() { # longest sampling of a case, seconds
    mkdir -p "$work/home/configs/profiles" "$work/home/suites/tiny"
    cat > "$work/home/configs/profiles/smoke.json" << END
{ "name": "smoke", "invocations": 2, "warmup_first_s": 0, "warmup_max_s": 0.01,
  "warmup_case_s": 0, "rounds_discarded": 0, "rounds_min": 6, "rounds_max": 2000,
  "samples_per_round": 1, "eps": 1e-6, "t_max_s": $1, "window_us": 100, "executions_max": 64,
  "delta": 0.01, "flush_l2": 3, "rotate_l2": 2 }
END
    cat > "$work/home/suites/tiny/experiments.json" << 'END'
{ "suite": "tiny", "title": "Tiny",
  "experiments": [
   { "id": "one", "title": "One", "op": "spmm", "metric": "speedup", "baseline": "host_rb",
     "implementations": ["host_rb", "host_eb"],
     "problems": { "smoke": [{"matrix": "gen:uniform,m=256,mean=4", "n": ["1:8:*2"]}] } },
   { "id": "two", "title": "Two", "op": "spmm", "metric": "time", "baseline": "host_rb",
     "aa": "host_rb", "implementations": ["host_rb"],
     "problems": { "smoke": [{"matrix": "gen:uniform,m=256,mean=8", "n": [1, 2]}] } },
   { "id": "count", "title": "Count", "op": "matrix_stats", "metric": "figure:nnz",
     "implementations": ["stats"],
     "problems": { "smoke": [{"matrix": "gen:uniform,m=256,mean=4"}] } } ] }
END
    echo '{ "tables": [] }' > "$work/home/suites/tiny/reported.json"
    cases=7 lines=13 # six timed cases twice, one that is not timed once
}
# "id #invocation" of every line of a journal
ids() {
    sed -n 's/^{"key":[^,]*,"id":"\([^"]*\)".*"invocation":\([0-9]*\),.*/\1 #\2/p' "$1/journal.jsonl"
}

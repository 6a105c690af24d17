#!/bin/sh
# sanitizer.sh - the tests that need a GPU under compute-sanitizer, a part of their cases.
#
#   tests/sanitizer.sh PROGRAM...
#
# SANITIZERS: tools, memcheck and racecheck by default; TEST_EVERY: of so many cases one is run
# (memcheck 7, racecheck 31); TEST_LIMIT_S: of one program under one tool, 900 by default.
# Kernels of cuSPARSE and cuBLAS are left out of racecheck: what it says of them is not ours to
# mend. Ends with "N passed, N failed", a program under a tool counts one.
set -u
cd "$(dirname "$0")/.." || exit 1
tool=$(command -v compute-sanitizer) || tool=/usr/local/cuda/bin/compute-sanitizer
[ -x "$tool" ] || {
    echo 'SKIP sanitizer: compute-sanitizer is not installed'
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0
for check in ${SANITIZERS:-memcheck racecheck}; do
    case $check in
    racecheck) every=31 leave='--kernel-name-exclude kns=cusparse,kns=cublas,kns=xmma,kns=cutlass,kns=16816gemm' ;;
    *) every=7 leave='--report-api-errors no' ;;
    esac
    for program in "$@"; do
        name=${program#skip:}
        name=$check:${name##*/}
        case $program in
        skip:*)
            echo "SKIP $name: no GPU"
            skipped=$((skipped + 1))
            continue
            ;;
        esac
        start=$(date +%s)
        # shellcheck disable=SC2086 # a list of options
        TEST_EVERY=${TEST_EVERY:-$every} timeout "${TEST_LIMIT_S:-900}" "$tool" --tool "$check" $leave \
            --error-exitcode 99 "$program" > "$output" 2>&1
        code=$?
        took=$(($(date +%s) - start))
        if [ $code = 0 ]; then
            passed=$((passed + 1))
            echo "$name: $(grep -E '^[0-9]+ passed' "$output" | tail -1), $took s"
        else
            failed=$((failed + 1))
            [ $code = 124 ] && echo "$name: not ended in $took s, at: $(tail -1 "$output")"
            grep -A 12 -m 3 -E '=========|failed:' "$output"
            echo "$name: failed with exit code $code after $took s"
        fi
    done
done
[ $skipped = 0 ] && echo "$passed passed, $failed failed" || echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]

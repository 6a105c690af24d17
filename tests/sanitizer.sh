#!/bin/sh
# sanitizer.sh - the tests that need a GPU under compute-sanitizer, on their smallest problems.
#
#   tests/sanitizer.sh [PROGRAM...]
#
# Programs run with TEST_TINY (tests/tiny.h): every row that is ours, on small shapes of every
# kind.  Without PROGRAMs, those of the folder TESTS, where built ones have been copied to.
#
# SANITIZERS: tools, memcheck and racecheck by default.  JOBS: programs at a time, 4 by default.
# PARTS: processes that share a program's problems, 1 by default.  A process gets its share of the
# processors: teams of threads that spin would keep each other from going on.
# TEST_LIMIT_S: of one program under one tool, 120 by default.  LOGS: folder that keeps all that
# they print; without it, of a failure a part is shown.
#
# Kernels of cuSPARSE, cuBLAS and cuDNN are left out of racecheck: what it says of them is not ours
# to mend.  A line for each program under each tool as it ends: what failed, what the tool found,
# seconds; the last one is "N passed, N failed".
set -u

# As a child: one program under one tool.  Passed if both say so.
if [ "${1:-}" = --one ]; then
    tool=$2 logs=$3 check=${4%%:*} program=${4#*:}
    part=${program%%:*} program=${program#*:}
    name=$check.${program##*/} limit=${TEST_LIMIT_S:-120}
    [ "$part" = 0/1 ] || name=$name.${part%/*}
    log=$logs/$name.log
    case $check in
    racecheck) options='--kernel-name-exclude kns=cusparse,kns=cublas,kns=cudnn,kns=xmma,kns=cutlass,kns=16816gemm,kns=nvjet,kns=gemmSN,kns=gemvx' ;;
    memcheck) options='--report-api-errors no' ;;
    *) options= ;;
    esac
    start=$(date +%s)
    # shellcheck disable=SC2086 # a list of options
    TEST_TINY=$part timeout -k 10 "$limit" "$tool" --tool "$check" $options --error-exitcode 99 \
        "$program" > "$log" 2>&1 < /dev/null
    code=$?
    took=$(($(date +%s) - start))
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    found=$(grep -E '^=+ .*SUMMARY' "$log" | tail -n 1)
    last=$(grep -v '^=====' "$log" | tail -n 1)
    # Known: the published W4A8 kernels copy each tile of weights twice, the same bytes to the same
    # place (kernels/gemm/qserve_stage.cuh), which is as they are; and where threads meet at a
    # barrier of their block before one of them arrives at another block's, the tool does not
    # order what the others wrote (store_split; a minimum of that pattern is reported as well, and
    # is not where every thread arrives itself).
    known='copy_async_if.* in qserve_mma.cuh|(cluster_load|store_split<).* in (mbarrier|w4a16_large).cuh'
    if [ $check = racecheck ] && [ $code = 99 ] &&
        expr "$counts" : '[1-9][0-9]* passed, 0 failed' > /dev/null &&
        ! grep 'Race reported' "$log" | grep -qvE "$known"; then
        code=0
    fi
    verdict=FAILED
    if [ $code = 0 ] && [ -n "$counts" ]; then
        verdict=passed
        : > "$logs/$name.passed"
    elif expr "$counts" : '0 passed, 0 failed, .* skipped' > /dev/null; then
        verdict=skipped # the tool fails a program that calls for no kernel
        : > "$logs/$name.skipped"
    fi
    case $code in
    124 | 137) echo "$name: $verdict: did not end in $took s, at: $last" ;;
    *) echo "$name: $verdict: ${counts:-no counts}; ${found#========= }; exit code $code; $took s" ;;
    esac
    [ $verdict != FAILED ] || grep -E -A 12 -m 3 '^========= [A-Z].*(rror|azard|ace|nvalid|ninit)|failed:' "$log"
    exit 0
fi

cd "$(dirname "$0")/.." || exit 1
tool=$(command -v compute-sanitizer) || tool=/usr/local/cuda/bin/compute-sanitizer
[ -x "$tool" ] || {
    echo 'SKIP sanitizer: compute-sanitizer is not installed'
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}
if [ $# = 0 ]; then
    for program in "${TESTS:?no programs, and no folder TESTS}"/gpu_*; do
        [ -f "$program" ] && [ -x "$program" ] && set -- "$@" "$program"
    done
fi
if [ -n "${LOGS:-}" ]; then
    logs=$LOGS
    mkdir -p "$logs" && rm -f "$logs"/*.log "$logs"/*.passed "$logs"/*.skipped || exit 1
else
    logs=$(mktemp -d) || exit 1
    trap 'rm -rf "$logs"' EXIT
fi
trap 'exit 130' INT TERM

count=0 skipped=0
for check in ${SANITIZERS:-memcheck racecheck}; do
    for program in "$@"; do
        case $program in
        skip:*)
            echo "SKIP $check.${program##*/}: no GPU, or a build without CUDA"
            skipped=$((skipped + 1))
            ;;
        *)
            part=0
            while [ $part -lt "${PARTS:-1}" ]; do
                printf '%s\0' "$check:$part/${PARTS:-1}:$program" >> "$logs/list"
                part=$((part + 1)) count=$((count + 1))
            done
            ;;
        esac
    done
done
jobs=${JOBS:-4} cores=$(nproc)
: "${OMP_NUM_THREADS:=$((cores > jobs ? cores / jobs : 1))}"
export OMP_NUM_THREADS OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS
[ $count = 0 ] || xargs -0 -P "$jobs" -n 1 tests/sanitizer.sh --one "$tool" "$logs" < "$logs/list"
rm -f "$logs/list"
passed=$(find "$logs" -name '*.passed' | wc -l)
without=$(find "$logs" -name '*.skipped' | wc -l)
rm -f "$logs"/*.passed "$logs"/*.skipped
failed=$((count - passed - without)) skipped=$((skipped + without))
[ $skipped = 0 ] && echo "$passed passed, $failed failed" ||
    echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]

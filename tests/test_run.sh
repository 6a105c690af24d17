#!/bin/bash
# test_run.sh - runs that are killed, stopped, cut off, refused, merged, recorded.
# Everything runs on the host, on a small suite of its own in a temporary home.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/common.bash
background=
cleanup() {
    [ -n "$background" ] && kill -9 "$background" 2> /dev/null
    rm -rf "$work"
}
trap cleanup EXIT
export CLAIMBENCH_HOME=$work/home CLAIMBENCH_LOCKS=$work/locks OMP_NUM_THREADS=2
mkdir -p "$work/locks"

# One run of the small suite; what follows comes last.  `expect CODE run ...`
run() {
    claimbench run --paper tiny --profile smoke --devices host --no-ceilings "$@"
}
tiny_home 0.05

count() { # whole lines of a journal so far
    [ -f "$1/journal.jsonl" ] && grep -c '}$' "$1/journal.jsonl" || echo 0
}
# Complete, every case and invocation there once: nothing lost, nothing doubled.
whole() { # folder
    equal "$(grep -c '"status": "complete"' "$1/result.json")" 1 &&
        equal "$(ids "$1" | sort -u | wc -l) $(ids "$1" | wc -l)" "$lines $lines" &&
        equal "$(grep -c '^   "key"' "$1/result.json")" $cases &&
        (cd "$1" && sha256sum --quiet -c SHA256SUMS)
}
# Starts a run and waits until its journal has some lines.
start() { # lines, arguments...
    local folder=${*: -1} n=$1 i
    shift
    "$program" run --paper tiny --profile smoke --devices host --no-ceilings "$@" \
        > "$work/out" 2> "$work/err" < /dev/null &
    background=$!
    for i in $(seq 600); do
        [ "$(count "$folder")" -ge "$n" ] && return
        sleep 0.05
    done
    echo "no line of $folder within 30 s"
}
finish() { # expected exit code
    wait "$background" 2> /dev/null
    check 'background run: exit code' equal $? "$1"
    background=
}
dead() { ! grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2> /dev/null; }
# Without procps, which a minimal system lacks.
child_of() {
    grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2> /dev/null | head -n 1 | cut -d / -f 3
}

# ---- a run, and again where one is ----
expect 0 'plain run' run -o "$work/plain"
check 'plain run' whole "$work/plain"
check 'plain run' says "$work/plain/result.json"
expect 2 'a run in a folder that has one' run -o "$work/plain"
check 'folder in use' says 'there is a run already (--resume goes on with it)'
cp "$work/plain/journal.jsonl" "$work/before"
expect 0 'resume of a complete run' run --resume "$work/plain"
check 'resume of a complete run' cmp "$work/before" "$work/plain/journal.jsonl"
check 'resume of a complete run' whole "$work/plain"

# ---- kill -9 of the parent ----
start 4 -o "$work/killed"
child=$(child_of "$background")
kill -9 "$background"
finish 137
sleep 0.3
check 'the child goes with its parent' dead "${child:-none}"
check 'no result of a killed run' test ! -e "$work/killed/result.json"
cp "$work/killed/journal.jsonl" "$work/before"
check 'killed in the middle' test "$(wc -l < "$work/before")" -lt $lines
expect 0 'resume after kill -9' run --resume "$work/killed"
check 'resume after kill -9' whole "$work/killed"
check 'what was there is kept' cmp -n "$(stat -c %s "$work/before")" "$work/before" "$work/killed/journal.jsonl"

# ---- signals ----
for signal in INT TERM; do
    folder=$work/stopped_$signal
    start 3 -o "$folder"
    kill -$signal "$background"
    finish 130
    check "SIG$signal" grep -q '"status": "interrupted"' "$folder/result.json"
    check "SIG$signal" says "$folder/result.json"
    check "SIG$signal: before the end" test "$(count "$folder")" -lt $lines
    expect 0 "resume after SIG$signal" run --resume "$folder"
    check "resume after SIG$signal" whole "$folder"
done

# ---- a journal that was cut off ----
mkdir -p "$work/cut/log"
cp "$work/plain/run.json" "$work/cut"
size=$(stat -c %s "$work/plain/journal.jsonl")
head -c $((size * 2 / 3)) "$work/plain/journal.jsonl" > "$work/cut/journal.jsonl"
expect 0 'resume of a journal that was cut off' run --resume "$work/cut"
check 'resume of a journal that was cut off' whole "$work/cut"
sed -i '2s/,/,,/' "$work/cut/journal.jsonl"
expect 1 'a broken line in the middle' run --resume "$work/cut"
check 'a broken line in the middle' says 'journal.jsonl:2: '

# ---- a child that dies or stops ----
start 2 -o "$work/crash"
kill -9 "$(child_of "$background")"
finish 5
check 'killed child' grep -q '"status":"crashed","reason":"ended by signal 9 (Killed)"' "$work/crash/journal.jsonl"
check 'the others are there' equal "$(ids "$work/crash" | wc -l) $(grep -c '"status":"ok"' "$work/crash/journal.jsonl")" \
    "$lines $((lines - 1))"
check 'a crash is in the result' grep -q '"status": "crashed"' "$work/crash/result.json"
expect 0 'resume after a crash' run --resume "$work/crash"
check 'only the lost case ran again' equal "$(ids "$work/crash" | wc -l) $(ids "$work/crash" | sort -u | wc -l)" \
    "$((lines + 1)) $lines"
check 'nothing crashed any more' equal "$(grep -c '"status": "crashed"' "$work/crash/result.json")" 0

start 2 --timeout 4 -o "$work/hang"
kill -STOP "$(child_of "$background")"
finish 5
check 'stopped child' grep -q '"status":"timeout","reason":"no answer in time"' "$work/hang/journal.jsonl"
check 'the others are there' equal "$(grep -c '"status":"ok"' "$work/hang/journal.jsonl")" $((lines - 1))

# ---- resume with other options ----
expect 2 'other policy' run --resume "$work/plain" --t-max 0.2
check 'other policy' says 'cannot go on: the policy differs (--allow-mixed goes on and records it)'
expect 2 'other seed' run --resume "$work/plain" --seed 3
check 'other seed' says 'the seed differs'
expect 2 'other cases' run --resume "$work/plain" --case '*/two/*'
check 'other cases' says 'it holds other cases than these options select'
expect 2 'no run to go on with' run --resume "$work/nothing"
check 'no run to go on with' test ! -e "$work/nothing"
expect 0 'allowed' run --resume "$work/plain" --t-max 0.2 --allow-mixed
check 'allowed' grep -q '"mixed"' "$work/plain/result.json"

# ---- two runs on one device ----
start 1 --t-max 0.3 -o "$work/first"
expect 3 'second run on a device' run -o "$work/second"
check 'second run on a device' says 'device host is being measured by another run'
check 'second run on a device' test ! -e "$work/second/run.json"
expect 0 'waiting run' run --wait --experiment count -o "$work/second"
check 'the first was done' test -e "$work/first/result.json"
finish 0
start 1 --t-max 0.3 -o "$work/third"
"$program" run --paper tiny --profile smoke --devices host --wait -o "$work/fourth" > /dev/null 2>&1 &
waiting=$!
sleep 0.7
kill -TERM $waiting
wait $waiting
check 'SIGTERM while waiting: exit code' equal $? 130
kill -TERM "$background"
finish 130

# ---- no room, no way ----
for folder in "$work/before/run" /dev/null/run; do
    expect 1 'a folder below a file' run -o "$folder"
    check 'a folder below a file' says 'Not a directory'
done
limited() { # size in KiB, arguments...
    local size=$1
    shift
    (ulimit -f "$size" && run "$@")
}
expect 1 'a file-size limit in run.json' limited 1 -o "$work/small"
check 'a file-size limit in run.json' says 'not written whole: File too large'
check 'a file-size limit in run.json' test ! -e "$work/small/run.json"
size=$(($(stat -c %s "$work/killed/run.json") / 1024 + 2))
journal=$(($(stat -c %s "$work/killed/journal.jsonl") / 1024))
if [ "$journal" -gt "$size" ]; then
    expect 1 'a file-size limit in the journal' limited $size -o "$work/limited"
    check 'a file-size limit in the journal' says 'journal.jsonl: not written whole: File too large'
    expect 0 'resume with room' run --resume "$work/limited"
    check 'resume with room' whole "$work/limited"
else
    echo "SKIP test_run: journal smaller than run.json"
fi
mkdir "$work/full"
if [ -w /dev/full ]; then
    ln -s /dev/full "$work/full/result.json.new"
    expect 1 'a full disk' run --experiment count -o "$work/full"
    check 'a full disk' says 'result.json: not written whole: No space left on device'
    check 'a full disk' test ! -e "$work/full/result.json"
    expect 0 'resume with room' run --resume "$work/full" --experiment count
    check 'resume with room' grep -q '"status": "complete"' "$work/full/result.json"
else
    echo 'SKIP test_run: no /dev/full'
fi

# ---- standard descriptors closed by the caller ----
timeout 120 "$program" run --paper tiny --profile smoke --devices host --no-ceilings \
    -o "$work/closed" 0<&- 1>&- 2>&-
check 'closed descriptors: exit code' equal $? 0
check 'closed descriptors' whole "$work/closed"

# ---- pieces of a run ----
expect 0 'piece' run --experiment one --case '*,n=[12],*' -o "$work/piece1"
expect 0 'piece' run --experiment one --case '*,n=[48],*' -o "$work/piece2"
expect 0 'piece' run --experiment '[ct]*' -o "$work/piece3"
expect 0 'merge' claimbench merge "$work/piece1" "$work/piece2" "$work/piece3" -o "$work/merged"
check 'merged' whole "$work/merged"
planned() { sed -n '/"planned": \[/,/\]/p' "$1/result.json" | tr -d ' ,' | sort; }
check 'merged: the same cases are planned' equal "$(planned "$work/merged")" "$(planned "$work/killed")"
check 'merged: the same keys' equal "$(grep '^   "key"' "$work/merged/result.json" | sort)" \
    "$(grep '^   "key"' "$work/killed/result.json" | sort)"
expect 1 'merge into a run' claimbench merge "$work/piece1" "$work/piece2" -o "$work/merged"
check 'merge into a run' says 'there is a run already'
expect 0 'merge of a part' claimbench merge "$work/piece1" -o "$work/part"
expect 0 'piece of another policy' run --case '*,n=4,*' --t-max 0.06 -o "$work/piece4"
expect 1 'merge of another policy' claimbench merge "$work/piece1" "$work/piece4" -o "$work/mixed"
check 'merge of another policy' says 'is no piece of the same run: the policy differs'
expect 0 'merge into what was refused before' claimbench merge "$work/piece2" -o "$work/mixed"
check 'of that only' equal "$(ids "$work/mixed" | sort)" "$(ids "$work/piece2" | sort)"
expect 0 'piece of more invocations' run --case '*,n=4,*' --invocations 3 -o "$work/piece5"
expect 1 'merge of other invocations' claimbench merge "$work/piece1" "$work/piece5" -o "$work/mixed3"
expect 0 'merge of so many of each' claimbench merge "$work/piece1" "$work/piece5" --invocations 1 \
    -o "$work/mixed3"
check 'so many of each' grep -q '"status": "complete"' "$work/mixed3/result.json"
check 'so many of each: not mixed' equal "$(grep -c '"mixed"' "$work/mixed3/result.json")" 0
expect 1 'merge of nothing' claimbench merge "$work/nothing" -o "$work/mixed2"
sed -i '2,$d' "$work/piece2/journal.jsonl"
expect 0 'a stopped piece' claimbench merge "$work/piece1" "$work/piece2" -o "$work/incomplete"
check 'a stopped piece' grep -q '"status": "incomplete"' "$work/incomplete/result.json"

# ---- validate and record ----
# The result of a clean build whose A/A control held: neither can be counted on here.
as_clean() { # folder
    sed -i -e 's/"git_dirty": true/"git_dirty": false/' -e '/^  "aa": {/,/^  }/s/"ok": false/"ok": true/' \
        -e 's/"git_commit": .*,$/"git_commit": "0123456789012345678901234567890123456789",/' "$1/result.json"
    (cd "$1" && sha256sum $(cut -c 67- SHA256SUMS) > new && mv new SHA256SUMS)
}
as_clean "$work/merged"
expect 0 'validate' claimbench validate "$work/merged"
expect 0 'record' claimbench record "$work/merged" --results "$work/results"
recorded=$(cat "$work/out")
check 'record' test -e "$recorded/result.json" -a -e "$recorded/log.tar.gz" -a -e "$recorded/samples.f64le.gz"
check 'record' equal "$(cd "$work/results" && echo host/tiny/*_01234567)" "${recorded#"$work/results/"}"
check 'record' equal "$(cat "$(dirname "$recorded")/recorded")" "$(basename "$recorded")"
expect 0 'validate what was recorded' claimbench validate "$recorded"
expect 1 'record twice' claimbench record "$work/merged" --results "$work/results"
check 'record twice' says 'exists already; results are never replaced'
as_clean "$work/incomplete"
expect 1 'record of a part' claimbench record "$work/incomplete" --results "$work/results"
check 'record of a part' says 'is not complete: incomplete'
sed -i 's/"git_dirty": false/"git_dirty": true/' "$work/merged/result.json"
expect 1 'record of a changed tree' claimbench record "$work/merged" --results "$work/results"
check 'record of a changed tree' says 'was not made from a clean commit'
expect 1 'validate of a changed file' claimbench validate "$work/merged"
check 'validate of a changed file' says 'result.json: has another sum'
expect 1 'validate of a part' claimbench validate "$work/incomplete"

# ---- exit codes of what came out ----
expect 7 'strict' run --strict --experiment two --rounds-max 6 -o "$work/strict"
# a wrong row that an earlier session of the run left behind
mkdir -p "$work/wrong/log"
cp "$work/killed/run.json" "$work/wrong"
sed -e '1,12!d' -e '3s/"status":"ok","reason":null/"status":"wrong","reason":"host_eb: bad"/g' \
    "$work/killed/journal.jsonl" > "$work/wrong/journal.jsonl"
expect 4 'wrong' run --resume "$work/wrong"
expect 4 'verb wrong' claimbench wrong "$work/wrong"
check 'verb wrong' says 'bad'
expect 0 'verb wrong of a right result' claimbench wrong "$work/killed"

# a claim, judged when the result is written: 256 rows of 4 entries are about 1024
claim() { # entries that are more than enough
    cat > "$work/home/suites/tiny/claims.json" << END
{ "suite": "tiny", "gpus": {}, "aggregates": [], "claims": [
  { "id": "tiny.nnz", "claim": "entries", "locator": "text", "provenance": "paper",
    "metric": ["figure:count/stats/nnz"], "reported": $1, "unit": "", "gpu": null,
    "statistic": "min", "hardware": false,
    "rules": { "same": { "type": "less_than", "value": $1 } }, "unknowns": [] } ] }
END
}
claim 100000
expect 0 'a claim that holds' run --experiment count -o "$work/claim"
claim 10
expect 6 'a claim that does not' run --resume "$work/claim" --experiment count
expect 6 'verb claims' claimbench claims "$work/claim"
check 'verb claims' says NOT_REPRODUCED
echo '{' > "$work/home/suites/tiny/claims.json"
expect 1 'claims that cannot be read' run --resume "$work/claim" --experiment count
check 'claims that cannot be read' says 'claims.json:'

end

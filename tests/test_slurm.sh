#!/bin/bash
# test_slurm.sh - a plan in parts: cut, merged, refused; then through a Slurm of its own.
#
# Starts munged, slurmctld and slurmd in a temporary folder, on one node that says it has two
# GPUs of different types (character devices that every system has stand for them; the host is
# measured).  Skipped aloud where these programs are missing or the node does not come up.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/common.bash
background= hurry=
cleanup() {
    local file
    kill $background $hurry 2> /dev/null
    [ -e "$work/slurm/slurmctld.pid" ] && scancel --state=RUNNING --state=PENDING --user="$(id -un)" 2> /dev/null
    for file in slurmd slurmctld munged; do
        [ -e "$work/slurm/$file.pid" ] && kill "$(cat "$work/slurm/$file.pid")" 2> /dev/null
    done
    sleep 1
    rm -rf "$work"
}
trap cleanup EXIT
export CLAIMBENCH=$program CLAIMBENCH_HOME=$work/home CLAIMBENCH_LOCKS=$work/locks OMP_NUM_THREADS=1
mkdir -p "$work/locks" "$work/slurm" "$work/runs"

tiny_home 0.4

plan_of() { # ids in the order of the plan
    sed -n '/"planned": \[/,/\]/s/^ *"\(tiny[^"]*\)".*/\1/p' "$1/result.json"
}
whole() { # folder: complete, every case and invocation there once, where it ran is known
    equal "$(grep -c '^  "status": "complete"' "$1/result.json")" 1 &&
        equal "$(ids "$1" | sort -u | wc -l) $(ids "$1" | wc -l)" "$lines $lines" &&
        equal "$(plan_of "$1")" "$plan" &&
        equal "$(grep -c '"machine":{"node":"[^"]*","gpu":null,"uuid":null}' "$1/journal.jsonl")" $lines &&
        grep -q '"machines": \[' "$1/result.json" &&
        (cd "$1" && sha256sum --quiet -c SHA256SUMS)
}

# ---- parts of a plan, without Slurm ----
claimbench plan --paper tiny --profile smoke
plan=$(sed -n 's/^\(tiny[^ ]*\)  .*/\1/p' "$work/out")
check 'the plan' equal "$(wc -l <<< "$plan")" $cases
for i in 1 2 3; do
    claimbench plan --paper tiny --profile smoke --shard $i/3
    check "part $i has a case" grep -q '^tiny' "$work/out"
    sed -n 's/^\(tiny[^ ]*\)  .*/\1/p' "$work/out" >> "$work/dealt"
done
check 'parts together are the plan' equal "$(sort "$work/dealt")" "$(sort <<< "$plan")"
expect 2 'no such part' claimbench plan --paper tiny --profile smoke --shard 4/3
check 'no such part' says "--shard '4/3'"
expect 2 'more parts than cases' claimbench plan --paper tiny --profile smoke --shard 9/9
check 'more parts than cases' says 'has no case: the plan has 7'
run() {
    claimbench run --paper tiny --profile smoke --devices host --no-ceilings --t-max 0.02 "$@"
}
for i in 1 2 3; do
    expect 0 "part $i" run --shard $i/3 -o "$work/part$i"
done
expect 2 'another part of a piece' run --shard 2/3 --resume "$work/part1"
check 'another part of a piece' says 'it holds other cases'
expect 0 'merge' claimbench merge "$work/part3" "$work/part1" "$work/part2" -o "$work/merged"
check 'merged' whole "$work/merged"
check 'merged: no longer a part' equal "$(grep -c '"shard"' "$work/merged/result.json")" 0
expect 0 'merge without a part' claimbench merge "$work/part1" "$work/part3" -o "$work/lacking"
check 'a part that is not there is missed' grep -q '^  "status": "incomplete"' "$work/lacking/result.json"
check 'a part that is not there is planned' equal "$(plan_of "$work/lacking")" "$plan"
expect 0 'part of another plan' run --experiment one --shard 1/2 -o "$work/other"
expect 1 'merge of another plan' claimbench merge "$work/part1" "$work/other" -o "$work/refused"
check 'merge of another plan' says 'is a part of another plan'
doctored() { # what, sed command: a piece that is changed is refused
    rm -rf "$work/changed" "$work/refused"
    cp -r "$work/part2" "$work/changed"
    sed -i "$2" "$work/changed/run.json"
    expect 1 "mixed: $1" claimbench merge "$work/part1" "$work/changed" -o "$work/refused"
    check "mixed: $1" says "the $1 differs"
}
doctored commit 's/"git_commit": .*,/"git_commit": "0123456789012345678901234567890123456789",/'
doctored commit '/"suite": {/,/}/s/"git_dirty": .*/"git_dirty": 17/'
doctored binary 's/"claimbench": "sha256:.*"/"claimbench": "sha256:00"/'
doctored processor 's/"cpu": ".*"/"cpu": "another"/'
doctored driver 's/"driver": .*,/"driver": "1.0",/'
doctored GPU 's/"gpu": \[\]/"gpu": [{"name": "NVIDIA X"}]/'

# ---- a Slurm of its own ----
skip() {
    echo "SKIP test_slurm: $*"
    skipped=$((skipped + 1))
    end
}
PATH=$PATH:/usr/sbin:/sbin
for tool in munged slurmctld slurmd sbatch squeue scontrol sinfo; do
    command -v $tool > /dev/null || skip "$tool is not installed (Debian: slurm-wlm, munge)"
done
slurm=$work/slurm host=$(hostname -s)
port=$((20000 + $$ % 20000))
mkdir -p "$slurm/state" "$slurm/spool"
chmod 755 "$work" "$slurm"
(umask 077 && head -c 128 /dev/urandom > "$slurm/key")
cat > "$slurm/slurm.conf" << END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.socket
CredType=cred/munge
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) Gres=gpu:one:1,gpu:two:1
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
printf 'Name=gpu Type=one File=/dev/null\nName=gpu Type=two File=/dev/zero\n' > "$slurm/gres.conf"
export SLURM_CONF=$slurm/slurm.conf
daemon() { # command...
    timeout 20 "$@" > "$slurm/start.log" 2>&1 < /dev/null ||
        skip "$1 does not start: $(tail -n 1 "$slurm/start.log")"
}
daemon munged --force --key-file="$slurm/key" --socket="$slurm/munge.socket" \
    --pid-file="$slurm/munged.pid" --log-file="$slurm/munged.log" --seed-file="$slurm/munged.seed"
daemon slurmctld -c
daemon slurmd
for i in $(seq 40); do
    [ "$(timeout 5 sinfo -h -o %T 2> /dev/null)" = idle ] && break
    sleep 0.5
done
[ "$(timeout 5 sinfo -h -o %T 2> /dev/null)" = idle ] ||
    skip "the node does not come up: $(grep -i error "$slurm/slurmctld.log" | tail -n 1)"

export RUNS=$work/runs SLURM_POLL_S=1 DEVICES=host SLURM_OPTS='--cpus-per-task=1 --time=20'
count() { cat "$1"/journal.jsonl 2> /dev/null | grep -c '}$'; }
until_lines() { # folder, lines
    local i
    for i in $(seq 1200); do
        [ "$(count "$1")" -ge "$2" ] && return
        sleep 0.05
    done
    echo "no line of $1 within 60 s"
    return 1
}

# A task is killed outright, another is taken off its node by Slurm; both go on.
SHARDS=2 GPU_TYPES=any tools/slurm.sh run tiny smoke > "$work/out" 2> "$work/err" < /dev/null &
background=$!
for i in $(seq 200); do
    folder=$(echo "$work"/runs/*.slurm/any)
    [ -d "$folder/1" ] || [ -d "$folder/2" ] && break
    sleep 0.1
done
# one device: the parts take turns, either may be first
for i in $(seq 600); do
    first=
    for part in 1 2; do
        [ "$(count "$folder/$part/host")" -ge 2 ] && first=$part && break 2
    done
    sleep 0.05
done
check 'a task measures' test -n "$first"
pid=$(grep -lazE "^--shard$" /proc/[0-9]*/cmdline 2> /dev/null | cut -d / -f 3 | while read -r p; do
    tr '\0' ' ' 2> /dev/null < "/proc/$p/cmdline" |
        grep -q "run --paper tiny .*--shard $first/2 .*-o $folder/$first/host" && echo "$p"
done | head -n 1)
kill -9 "$pid"
had=$(count "$folder/$first/host")
check 'killed in the middle' test "$had" -lt 7
second=$((3 - first))
check 'the other task measures' until_lines "$folder/$second/host" 1
job=$(sed -n 's/.*: job \([0-9]*\),.*/\1/p' "$work/err")
check 'requeued by Slurm' scontrol requeue "${job}_$second"
# Slurm lets two minutes pass before a second start; here it may come at once.
(
    trap 'exit 0' TERM
    while :; do
        for part in 1 2; do
            scontrol update "JobId=${job}_$part" StartTime=now > /dev/null 2>&1
        done
        sleep 1
    done
) &
hurry=$!
wait "$background"
check 'slurm.sh run: exit code' equal $? 0
kill $hurry 2> /dev/null
hurry=
background=
result=$(sed -n 's/^result: //p' "$work/out")
check 'one result' equal "$(wc -w <<< "$result")" 1
check 'whole after two interruptions' whole "$result"
for part in 1 2; do
    check "part $part was started again" grep -q "part $part of 2, start 2, node" "$folder/$part.log"
done
check 'the killed one asked for it' grep -q 'exit code 137; to be started again' "$folder/$first.log"
claimbench tables "$result" -o "$work/tables"
check 'tables of the joined result' test -s "$work/tables/one.md"

# Every GPU type measures the whole plan and has its own result; a new program in between is seen.
SHARDS=1 GPU_TYPES='one two' timeout 180 tools/slurm.sh run tiny smoke > "$work/out" 2> "$work/err" < /dev/null
check 'two GPU types: exit code' equal $? 0
results=$(sed -n 's/^result: //p' "$work/out")
check 'two GPU types, two results' equal "$(sed 's/.*Z_//' <<< "$results" | tr '\n' ' ')" \
    'host-one_tiny host-two_tiny '
for result in $results; do
    check 'each is whole' whole "$result"
done
folder=$(sed -n 's/.*: job [0-9]*, \(.*\)\/one$/\1/p' "$work/err")
sed -i 's/"git_commit": .*,/"git_commit": "0123456789012345678901234567890123456789",/' "$folder/two/1/host/run.json"
cp -r "$folder/one/1" "$folder/two/2"
expect 1 'pieces of two commits' eval 'tools/slurm.sh collect "$folder" > "$work/out" 2> "$work/err"'
check 'pieces of two commits' says 'the commit differs'
check 'the other type is joined all the same' equal "$(grep -c '^result: .*_host-one_tiny$' "$work/out")" 1

expect 2 'no folder of a submission' eval 'tools/slurm.sh collect / > "$work/out" 2> "$work/err"'
check 'no folder of a submission' says 'is not the folder of a submission'

# The README's command, on a suite of that name in the folder above.
sed 's/tiny/selfcheck/; s/Tiny/Selfcheck/' "$work/home/suites/tiny/experiments.json" > "$work/selfcheck.json"
mkdir -p "$work/home/suites/selfcheck"
mv "$work/selfcheck.json" "$work/home/suites/selfcheck/experiments.json"
echo '{ "tables": [] }' > "$work/home/suites/selfcheck/reported.json"
PAPER=selfcheck PROFILE=smoke LAUNCHER=slurm SHARDS=2 timeout 180 tools/reproduce.sh run tables \
    > "$work/out" 2> "$work/err" < /dev/null
check 'reproduce.sh: exit code' equal $? 0
check 'reproduce.sh: tables of what came back' test -s "$(echo "$work"/runs/*_host_selfcheck/tables/one.md)"

# A type that the cluster does not have.
GPU_TYPES=three timeout 60 tools/slurm.sh run tiny smoke > "$work/out" 2> "$work/err" < /dev/null
check 'no such type: exit code' equal $? 2
check 'no such type' says "no GPU of type 'three'"
end

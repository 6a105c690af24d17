#!/bin/bash
# slurm.sh - measures a paper on the GPUs of a Slurm cluster.
#
#   tools/slurm.sh run PAPER PROFILE     submit, wait, join
#   tools/slurm.sh collect FOLDER        only join what the pieces of a run have so far
#
# `make reproduce LAUNCHER=slurm` calls the first.  The plan is dealt into parts of equal cost,
# one task of an array and one GPU each; every GPU type of the partition gets an array with the
# whole plan.  Tasks write below one folder, which all nodes must see; `claimbench merge` joins
# them to one result a GPU type.  From the environment:
#
#   SLURM_OPTS   more options for sbatch (partition, account, time ...)
#   GPU_TYPES    types to take instead of those that sinfo names; "any": whatever comes
#   SHARDS       parts; by default as many as there are GPUs of the type
#   SLURM_RUN    the folder of an earlier submission, to go on with
#   DEVICES      what a task measures (default cuda:0; host measures without a GPU)
#
# Prints "result: FOLDER" for every joined result.  Exit code 0; 1 something failed; 2 usage;
# 3 no Slurm; 5 parts are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
program=${CLAIMBENCH:-build/claimbench}
runs=${RUNS:-runs}
poll=${SLURM_POLL_S:-10}
read -r -a options <<< "${SLURM_OPTS:-}"

say() { echo "slurm: $*" >&2; }
die() { # code, text
    say "$2"
    exit "$1"
}

# What SLURM_OPTS or the environment of sbatch says of the partition, for sinfo.
partition() {
    local i name=${SBATCH_PARTITION:-}
    for ((i = 0; i < ${#options[@]}; i++)); do
        case ${options[i]} in
        --partition=*) name=${options[i]#*=} ;;
        -p | --partition) name=${options[i + 1]-} ;;
        -p?*) name=${options[i]#-p} ;;
        esac
    done
    [ -z "$name" ] || echo "--partition=$name"
}

# "TYPE COUNT" of every GPU type; a type without a name is "any".
gpus() {
    sinfo -h -N $(partition) -o '%N %G' | sort -u | cut -d ' ' -f 2- | tr ',' '\n' |
        sed -nE 's/^gpu:([^:(]+:)?([0-9]+)(\(.*)?$/\1 \2/p' | awk '
            { type = NF == 2 ? $1 : "any"; sub(/:$/, "", type); n[type] += $NF }
            END { for (t in n) print t, n[t] }' | sort
}

submit() { # folder, paper, profile, type, parts
    local gres=()
    case $4 in
    host) ;;
    any) gres=(--gres=gpu:1) ;;
    *) gres=("--gres=gpu:$4:1") ;;
    esac
    sbatch --parsable --job-name="claimbench-$2" --array="1-$5" --output="$1/$4/%a.log" \
        "${gres[@]}" "${options[@]}" configs/slurm/shard.sbatch "$1/$4" "$2" "$3" "$5" |
        cut -d ';' -f 1
}

lines() { cat "$1"/*/*/*/journal.jsonl 2> /dev/null | wc -l; }

# Until none of the jobs is waiting or running.
follow() { # folder, jobs
    local states last='' now
    while states=$(squeue -h -r -j "$2" -o %T 2> /dev/null) && [ -n "$states" ]; do
        now="$(lines "$1") cases measured; tasks: $(sort <<< "$states" | uniq -c |
            awk '{ printf "%s%d %s", (NR > 1 ? ", " : ""), $1, tolower($2) }')"
        [ "$now" = "$last" ] || say "$now"
        last=$now
        sleep "$poll"
    done
}

# One result a GPU type and product.
collect() { # folder
    local piece name paper out code=0 utc stem
    declare -A pieces=()
    utc=$(date -u +%Y%m%dT%H%M%SZ)
    paper=$(cat "$1/paper" 2> /dev/null)
    [ -n "$paper" ] || die 2 "'$1' is not the folder of a submission"
    for piece in "$1"/*/*/*/run.json; do
        [ -f "$piece" ] || die 5 "$1: no task has begun"
        piece=${piece%/run.json}
        name=${piece#"$1"/} # TYPE/PART/PRODUCT
        pieces[${piece##*/}/${name%%/*}]+=" $piece"
    done
    for name in $(printf '%s\n' "${!pieces[@]}" | sort); do
        stem=${name%%/*}
        # a product that came under two names of the cluster has two results
        [ "$(printf '%s\n' "${!pieces[@]}" | grep -c "^$stem/")" = 1 ] ||
            stem=${name%%/*}-${name#*/}
        out=$runs/${utc}_${stem}_$paper
        while [ -e "$out" ]; do # joined twice within a second
            utc+=+ out=$runs/${utc}_${stem}_$paper
        done
        if ! "$program" merge ${pieces[$name]} -o "$out" >&2; then
            say "$name: not joined"
            code=1
            continue
        fi
        echo "result: $out"
        if ! grep -q '^  "status": "complete"' "$out/result.json"; then
            say "$out: incomplete; SLURM_RUN=$1 goes on with it"
            [ $code != 0 ] || code=5
        fi
    done
    return $code
}

run() { # paper, profile
    local folder types type count cases job jobs=()
    command -v sbatch > /dev/null || die 3 'no sbatch here'
    cases=$("$program" plan --paper "$1" --profile "$2" | sed -n '$s/^\([0-9]*\) cases.*/\1/p')
    [ -n "$cases" ] || exit 2
    if [ "${DEVICES:-}" = host ] && [ -z "${GPU_TYPES:-}" ]; then
        types="host ${SHARDS:-1}"
    else
        types=$(gpus)
        [ -n "$types" ] || die 3 "sinfo names no GPU: partition $(partition)?"
        if [ -n "${GPU_TYPES:-}" ]; then
            types=$(for type in $GPU_TYPES; do
                awk -v t="$type" '$1 == t || t == "any" { n += $2 } END { print t, n + 0 }' \
                    <<< "$types"
            done)
        fi
    fi
    folder=${SLURM_RUN:-$runs/$(date -u +%Y%m%dT%H%M%SZ)_$1.slurm}
    mkdir -p "$folder" || exit 1
    echo "$1" > "$folder/paper"
    while read -r type count; do
        [ "$count" -gt 0 ] || die 2 "the cluster has no GPU of type '$type'"
        mkdir -p "$folder/$type"
        if [ -f "$folder/$type/parts" ]; then # the same as before
            count=$(cat "$folder/$type/parts")
        else
            count=${SHARDS:-$count}
            [ "$count" -le "$cases" ] || count=$cases
            echo "$count" > "$folder/$type/parts"
        fi
        job=$(submit "$folder" "$1" "$2" "$type" "$count")
        [ -n "$job" ] || die 1 "$type: not submitted"
        say "$1: $cases cases in $count parts on GPUs of type $type: job $job, $folder/$type"
        jobs+=("$job")
    done <<< "$types"
    trap 'say "the jobs go on; tools/slurm.sh collect $folder joins what they leave"; exit 130' INT
    follow "$folder" "$(IFS=,; echo "${jobs[*]}")"
    collect "$folder"
}

case ${1-} in
run) [ $# = 3 ] || die 2 'run takes a paper and a profile'; run "$2" "$3" ;;
collect) [ $# = 2 ] || die 2 'collect takes a folder'; collect "${2%/}" ;;
*) die 2 'run PAPER PROFILE, or collect FOLDER' ;;
esac

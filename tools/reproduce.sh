#!/bin/bash
# reproduce.sh - measures papers and draws what was measured.
#
#   tools/reproduce.sh [run] [tables] [plots] [claims]
#
# From the environment: PAPER (names), PROFILE, LAUNCHER; `make reproduce` sets them; DEVICES
# (all: every GPU of this host, one worker each) and what tools/slurm.sh reads.  With a GPU and a
# program that was built for it the profile is "reproduce"; without, the small problems of
# "smoke" run on the host, and PROFILE=reproduce takes what is not timed, at its own size.
# Tables, figures and claims are then made from every recorded result and from the new runs; with
# the claims also build/html, where all of it can be read in a browser.
#
# A claim that was not reproduced is a finding, not a failure of the command (exit code 6 of
# the program); so is a wrong result of a row that is known to be wrong as published.
set -u
cd "$(dirname "$0")/.." || exit 1
program=${CLAIMBENCH:-build/claimbench}
launcher=${LAUNCHER:-local}
read -r -a papers <<< "${PAPER:-}"
failed=0

fail() {
    echo "reproduce: $*" >&2
    failed=1
}

newest_run() { ls -dt runs/*_"$1" 2> /dev/null | head -n 1; }

# What is shown of a paper: what is recorded of any GPU, and the run just made.
results_of() {
    ls -d results/*/"$1" 2> /dev/null
    [ -z "${measured[$1]-}" ] || printf '%s\n' "${measured[$1]}"
}
declare -A measured

# Without a GPU the sizes of a larger profile are for what is not timed: perplexities and the like.
cases_of() { # paper
    local untimed='*/untimed'
    if [ "$devices" = host ] && [ "$profile" != smoke ] &&
        "$program" plan --paper "$1" --profile "$profile" --case "$untimed" > /dev/null 2>&1; then
        echo "$untimed"
    else
        echo '*'
    fi
}

measure() { # paper
    local before after code
    before=$(newest_run "$1")
    case $launcher in
    local)
        "$program" run --paper "$1" --profile "$profile" --devices "$devices" \
            --case "$(cases_of "$1")"
        ;;
    slurm) measure_on_cluster "$1"; return ;;
    *) echo "reproduce: LAUNCHER is local or slurm, not '$launcher'" >&2; exit 2 ;;
    esac
    code=$?
    after=$(newest_run "$1")
    [ "$after" = "$before" ] || measured[$1]=$after
    case $code in
    0) ;;
    6) echo "reproduce: $1: a claim was not reproduced; see its table" ;;
    4)
        if [ "$after" = "$before" ] || ! "$program" wrong "$after"; then
            fail "$1: wrong results"
        else
            echo "reproduce: $1: wrong only where the published code is known to be"
        fi
        ;;
    130) exit 130 ;;
    *) fail "$1: run ended with exit code $code" ;;
    esac
}

# One result for each GPU type; what came out wrong is said of each.
measure_on_cluster() { # paper
    local said code folder
    said=$(DEVICES=$devices tools/slurm.sh run "$1" "$profile")
    code=$?
    [ $code != 130 ] || exit 130
    measured[$1]=$(sed -n 's/^result: //p' <<< "$said")
    [ $code = 0 ] || fail "$1: Slurm: exit code $code"
    for folder in ${measured[$1]}; do
        "$program" wrong "$folder" || fail "$folder: wrong results"
    done
}

show() { # verb, paper
    local folder code
    for folder in $(results_of "$2"); do
        "$program" "$1" "$folder"
        code=$?
        case $code in
        0 | 6) ;;
        *) fail "$1 $folder: exit code $code" ;;
        esac
    done
}

# Where several results of a paper are at hand: what differs, and a figure with one series each.
side_by_side() { # paper
    local results out=build/compare/$1
    mapfile -t results < <(results_of "$1")
    [ ${#results[@]} -gt 1 ] || return
    [ ${#results[@]} -le 8 ] || results=("${results[@]:0:8}")
    mkdir -p "$out"
    if "$program" compare "${results[@]}" --format md -o "$out" > "$out/compare.md"; then
        echo "$out/compare.md"
    else
        fail "compare: $1"
    fi
}

# One page a result and one for all of them.
pages() {
    local paper index results=()
    for paper in "${papers[@]}"; do
        mapfile -t -O ${#results[@]} results < <(results_of "$paper")
    done
    [ ${#results[@]} -gt 0 ] || return
    if index=$("$program" html "${results[@]}" -o build/html); then
        echo "== to read in a browser: $index"
    else
        fail "html: not written"
    fi
}

[ ${#papers[@]} -gt 0 ] || { echo 'reproduce: suites/ holds no paper' >&2; exit 2; }
for paper in "${papers[@]}"; do
    [ -f "suites/$paper/experiments.json" ] && continue
    echo "reproduce: no paper '$paper' in suites/" >&2
    exit 2
done

# The launcher's machines have the GPU when it is not this one.
if [ "$launcher" = slurm ]; then
    profile=${PROFILE:-reproduce} devices=${DEVICES:-cuda:0}
    [ "${CUDA:-1}" = 1 ] || [ "$devices" = host ] ||
        echo 'reproduce: built without CUDA: DEVICES=host measures without a GPU' >&2
elif [ "${CUDA:-1}" = 1 ] && nvidia-smi -L 2> /dev/null | grep -q '^GPU'; then
    profile=${PROFILE:-reproduce} devices=${DEVICES:-auto}
else
    profile=${PROFILE:-smoke} devices=host
fi

for verb in "$@"; do
    if [ "$verb" = run ]; then
        echo "== measuring: ${papers[*]} (profile $profile, device $devices)"
    fi
    for paper in "${papers[@]}"; do
        case $verb in
        run) measure "$paper" ;;
        tables | plots | claims)
            show "$verb" "$paper"
            [ "$verb" != plots ] || side_by_side "$paper"
            ;;
        *) echo "reproduce: no step '$verb'" >&2; exit 2 ;;
        esac
    done
    [ "$verb" != claims ] || pages
done
exit "$failed"

#!/bin/bash
# test_cli.sh - the command line: verbs, options, help, config files, exit codes.
set -u
cd "$(dirname "$0")/.." || exit 1
program=$(realpath "${CLAIMBENCH:-build/claimbench}")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export CLAIMBENCH_LOCKS=$work CLAIMBENCH_HOME=$work/home OMP_NUM_THREADS=2
# a home with one suite of nine cases
mkdir -p "$work/home/suites/tiny" "$work/home/configs"
cp -r configs/profiles "$work/home/configs"
cat > "$work/home/suites/tiny/experiments.json" << 'END'
{ "suite": "tiny", "title": "Tiny",
  "experiments": [
   { "id": "one", "title": "One", "op": "spmm", "metric": "time", "implementations": ["host_rb"],
     "problems": { "smoke": [{"matrix": ["a.mtx", "b.mtx", "c.mtx"], "n": [1, 4, 32]}] } } ] }
END
passed=0 failed=0

fail() {
    failed=$((failed + 1))
    echo "test_cli.sh: failed: $*"
    sed 's/^/    /' "$work/out" "$work/err" | head -n 20
}
# gives CODE TEXT ARGUMENTS...: the exit code, and a part of what is printed.
gives() {
    local code=$1 text=$2
    shift 2
    timeout 120 "$program" "$@" > "$work/out" 2> "$work/err" < /dev/null
    local got=$?
    if [ $got != "$code" ]; then
        fail "claimbench $*: exit code $got, not $code"
    elif ! grep -qF -- "$text" "$work/out" "$work/err"; then
        fail "claimbench $*: does not say '$text'"
    elif [ "$code" != 0 ] && [ "$code" != 2 ] && [ ! -s "$work/err" ]; then
        fail "claimbench $*: says nothing on standard error"
    else
        passed=$((passed + 1))
    fi
}

# ---- help ----
gives 0 'Exit codes: 0 fine, 1 internal error, 2 usage' --help
gives 0 'claimbench VERB --help' help
gives 2 'claimbench VERB --help'
gives 0 'claimbench ' --version
"$program" --help > "$work/help"
verbs=$(sed -n 's/^  \([a-z]*\) .*/\1/p' "$work/help")
[ "$(echo $verbs | wc -w)" -ge 15 ] || fail "too few verbs: $verbs"

# Every option that any verb names, tried on every verb: one that its help names is taken,
# one that it does not name is refused.
for verb in $verbs; do
    "$program" "$verb" --help > "$work/help_$verb" || fail "$verb --help"
    head -n 1 "$work/help_$verb" | grep -q "^claimbench $verb" || fail "$verb --help: no head"
done
named() { sed -n 's/^    \(-[-a-z]*\) .*/\1/p' "$1"; }
options=$(for verb in $verbs; do named "$work/help_$verb"; done | sort -u)
[ "$(echo $options | wc -w)" -ge 25 ] || fail "too few options: $options"
for verb in $verbs; do
    for option in $options; do
        # an unknown option behind it and its value ends the matter before anything is done
        "$program" "$verb" "$option" x --no-such-option > "$work/out" 2> "$work/err" < /dev/null
        code=$?
        taken=1
        grep -qF "has no option '$option'" "$work/err" && taken=0
        if named "$work/help_$verb" | grep -qx -- "$option"; then want=1; else want=0; fi
        if [ $code = 2 ] && [ $taken = $want ]; then
            passed=$((passed + 1))
        else
            fail "$verb $option: exit code $code, taken $taken, in its help $want"
        fi
    done
done

# ---- usage ----
gives 2 "there is no verb 'rum'" rum
gives 2 "run has no option '--papr'" run --papr tiny
gives 2 "list has no option '--paper'" list --paper tiny
gives 2 '--paper needs a value: NAME' run --paper
gives 2 '--once takes no value' run --once=1
gives 2 '--paper is needed' run
gives 2 '--paper is needed' plan
gives 2 'suites/nothing/experiments.json: cannot be opened' plan --paper nothing
gives 2 'configs/profiles/quick.json: cannot be opened' plan --paper tiny --profile quick
gives 2 'no case of tiny matches' plan --paper tiny --case '*nothing*'
gives 2 'no case of tiny matches' run --paper tiny --experiment nothing -o "$work/run"
gives 2 "--eps 'x': a number above 0 is meant" plan --paper tiny --eps x
gives 2 "--eps '0': a number above 0 is meant" plan --paper tiny --eps=0
gives 2 "--eps '': a number above 0 is meant" plan --paper tiny --eps=
gives 2 "'eps' = 2 is not in" plan --paper tiny --eps 2
gives 2 "--eps 'nan': a number above 0 is meant" plan --paper tiny --eps nan
gives 2 "--invocations '1.5': a whole number from 1 is meant" plan --paper tiny --invocations 1.5
gives 2 "--invocations '-1': a whole number from 1 is meant" plan --paper tiny --invocations -1
gives 2 "--seed '99999999999999999999': a whole number from 1 is meant" run --paper tiny --seed 99999999999999999999
gives 2 'rounds_max 7 is below rounds_min' plan --paper tiny --profile smoke --rounds-max 7
gives 2 '--progress is line, json or none' run --paper tiny --progress loud
gives 2 'record takes one run folder' record
gives 2 'merge takes run folders and -o DIR' merge "$work"
gives 2 'validate takes result folders or files' validate
gives 2 'claims takes result folders or files' claims
gives 2 'tables takes one result folder or file' tables
gives 2 'plots takes one result folder or file' plots a b
gives 2 'compare takes two or more' compare a
gives 2 '--fail-on takes slower or slower:PCT' compare a b --fail-on faster
gives 2 '--fail-on slower:PCT needs a number above 0' compare a b --fail-on slower:x
gives 2 'wrong takes one result folder or file' wrong
gives 2 'stability takes a paper and a number of runs' stability tiny 1
gives 2 'convert takes one matrix and -o FILE.csrb' convert uni_16k_d10
gives 2 'pack takes -o DIR' pack
gives 2 'more than 300 arguments' validate $(seq 301)
gives 2 'no plan on standard input' worker
gives 2 "--devices 'gpu': auto, all, host, cuda:N or a list of them is meant" \
    run --paper tiny --profile smoke --devices gpu -o "$work/run"
for list in '' , host, cuda: cuda:x host,,host; do
    gives 2 'a list of them is meant' run --paper tiny --profile smoke --devices "$list" -o "$work/run"
done

# ---- what is not there, or no result ----
gives 1 'cannot be opened' record "$work/nothing"
gives 1 'cannot be opened' merge "$work/nothing" -o "$work/merged"
gives 1 'nothing' validate "$work/nothing"
gives 2 'nothing' claims "$work/nothing"
gives 2 'nothing' compare "$work/nothing" "$work/nothing"
gives 1 'nothing' tables "$work/nothing"
gives 1 'nothing' convert "$work/nothing.mtx" -o "$work/x.csrb"
echo '{}' > "$work/empty.json"
for verb in validate tables plots claims wrong; do
    timeout 60 "$program" $verb "$work/empty.json" > "$work/out" 2> "$work/err" < /dev/null
    code=$?
    if [ $code = 1 ] || [ $code = 2 ]; then passed=$((passed + 1)); else fail "$verb of {}: exit code $code"; fi
done

# ---- no device ----
if [ -z "${GPU_CC:-}" ]; then
    gives 3 'cuda' run --paper tiny --profile smoke --devices cuda:7 -o "$work/run"
    gives 3 'cuda' env --devices cuda:7
    gives 3 'cuda' ceilings --devices cuda
    gives 3 'cuda' selftest --devices cuda:0
else
    echo 'SKIP test_cli: no device: this machine has a GPU'
fi

# ---- a full disk behind standard output ----
if [ -w /dev/full ]; then
    "$program" list > /dev/full 2> "$work/err"
    code=$?
    : > "$work/out"
    if [ $code = 1 ] && grep -q 'No space left on device' "$work/err"; then
        passed=$((passed + 1))
    else
        fail "list > /dev/full: exit code $code"
    fi
    ln -s /dev/full "$work/full.csrb" # not the device itself: a piece of a file is removed
    gives 1 'full.csrb' convert gen:uniform,m=256,mean=4 -o "$work/full.csrb"
else
    echo 'SKIP test_cli: no /dev/full'
fi
gives 1 'Not a directory' convert gen:uniform,m=256,mean=4 -o "$work/empty.json/x.csrb"
gives 1 'Not a directory' merge "$work/nothing" -o "$work/empty.json/x"

# ---- plan: selection, config file ----
gives 0 '1 cases, ' plan --paper tiny --profile smoke --experiment one --case '*a.mtx,n=4,*'
gives 0 '1 cases, 5 invocations' plan --paper tiny --profile smoke --experiment one --case '*a.mtx,n=4,*' --invocations=5
gives 2 "no experiment has a parameter 'model'" plan --paper tiny --model /somewhere
gives 0 '1 cases, ' run --dry-run --paper tiny --profile smoke --experiment one --case '*a.mtx,n=4,*'
[ ! -e runs/nothing ] || fail 'a dry run made a folder'
cat > "$work/config.json" << 'END'
{ "paper": "tiny", "profile": "smoke", "experiment": "one", "case": "*a.mtx*",
  "invocations": 4, "eps": 0.25 }
END
gives 0 '3 cases, 4 invocations' plan --config "$work/config.json"
gives 0 '3 cases, 2 invocations' plan --config "$work/config.json" --invocations 2
gives 0 '3 cases, 2 invocations' plan --invocations 2 --config="$work/config.json"
gives 0 '1 cases, 4 invocations' plan --case '*b.mtx,n=1,*' --config "$work/config.json"
config() { # text, error
    printf '%s\n' "$1" > "$work/bad.json"
    gives 2 "$2" plan --config "$work/bad.json"
}
config '{ "papr": "daspmm" }' "bad.json: plan has no option 'papr'"
config '{ "paper": "tiny", "once": true }' "bad.json: plan has no option 'once'"
config '{ "config": "x" }' "bad.json: plan has no option 'config'"
config '{ "paper": 1 }' "bad.json: 'paper' has the wrong type"
config '{ "eps": "0.1" }' "bad.json: 'eps' has the wrong type"
config '{ "eps": -1 }' "bad.json: --eps '-1': a number above 0 is meant"
config '{ "invocations": 1.5 }' "bad.json: --invocations '1.5': a whole number from 1 is meant"
config '[]' 'bad.json: must be an object'
config '{ "paper": "tiny", }' "bad.json:1: string or '}' expected near '}'"
config '{ "eps": 0.1, "eps": 0.2 }' 'bad.json:1: duplicate object key'
gives 2 'nothing.json: cannot be opened' plan --config "$work/nothing.json"
# a flag of a config file that is false is not set
printf '{ "paper": "tiny", "profile": "smoke", "experiment": "one", "dry-run": true, "once": false }' > "$work/bad.json"
gives 0 '9 cases' run --config "$work/bad.json"

# ---- what needs nothing ----
gives 0 'spmm: ' list
gives 0 '"libs"' env --devices host

echo "$passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/bash
# test_artifact.sh - a package is made of a small paper in a tree of its own, tried, and
# damaged in several ways.  The program is the one under test; .ci/run tries a package that
# builds its own.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/common.bash

version=$(sed -n 's/^VERSION := //p' Makefile)
check 'the version of .zenodo.json' grep -q "\"version\": \"$version\"" .zenodo.json
check 'the version of CITATION.cff' grep -qx "version: $version" CITATION.cff
if ! git -c safe.directory='*' rev-parse -q --verify HEAD > /dev/null 2>&1; then
    echo 'SKIP test_artifact: not a git checkout'
    skipped=1
    end
fi

# ---- a tree with one small paper that has a recorded result ----
tree=$work/tree
mkdir "$tree"
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard -- . ':!results' |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -c | tar -x -C "$tree"
mkdir -p "$tree/suites/tiny" "$work/locks"
export CLAIMBENCH=$program CLAIMBENCH_HOME=$tree CLAIMBENCH_LOCKS=$work/locks OMP_NUM_THREADS=2 VERSION=$version
cat > "$tree/configs/profiles/reproduce.json" << 'END'
{ "name": "reproduce", "invocations": 2, "warmup_first_s": 0, "warmup_max_s": 0.01,
  "warmup_case_s": 0, "rounds_discarded": 0, "rounds_min": 6, "rounds_max": 2000,
  "samples_per_round": 1, "eps": 1e-6, "t_max_s": 0.05, "window_us": 100, "executions_max": 64,
  "delta": 0.01, "flush_l2": 3, "rotate_l2": 2 }
END
sed -e 's/"reproduce"/"smoke"/' -e 's/"invocations": 2/"invocations": 1/' \
    "$tree/configs/profiles/reproduce.json" > "$tree/configs/profiles/smoke.json"
cat > "$tree/suites/tiny/experiments.json" << 'END'
{ "suite": "tiny", "title": "Tiny & <odd> 100 % of a_b", "arxiv": "0000.00000",
  "experiments": [
   { "id": "one", "title": "One", "where": "Figure 1", "op": "spmm", "metric": "speedup",
     "baseline": "host_rb", "figure": "bars", "aa": "host_rb", "implementations": ["host_rb", "host_eb"],
     "problems": { "smoke": [{"matrix": "gen:uniform,m=256,mean=4", "n": [1, 2]}],
                   "reproduce": [{"matrix": "gen:uniform,m=256,mean=4", "n": [1, 2, 4]}] } },
   { "id": "count", "title": "Count", "op": "matrix_stats", "metric": "figure:nnz",
     "implementations": ["stats"],
     "problems": { "smoke": [{"matrix": "gen:uniform,m=256,mean=4"}],
                   "reproduce": [{"matrix": "gen:uniform,m=256,mean=4"}] } } ] }
END
echo '{ "rows": [ { "experiment": "one", "problem": {}, "impl": "host_eb", "metric": "speedup",
  "unit": "x", "value": 1.5, "gpu": "GPU Z", "where": "Table 1", "table": "t" },
  { "experiment": null, "problem": {}, "impl": null, "metric": "us", "unit": "us", "value": 777,
    "gpu": null, "where": "Table 2", "table": "u" } ] }' > "$tree/suites/tiny/reported.json"
cat > "$tree/suites/tiny/claims.json" << 'END'
{ "suite": "tiny", "gpus": {}, "aggregates": [], "claims": [
  { "id": "tiny.nnz", "claim": "entries", "locator": "text", "provenance": "paper",
    "metric": ["figure:count/stats/nnz"], "reported": 1000, "unit": "entries", "gpu": null,
    "statistic": "min", "hardware": false,
    "rules": { "same": { "type": "ratio_within", "x": 0.15 } }, "unknowns": [] } ] }
END
echo '# Tiny' > "$tree/suites/tiny/README.md"
"$program" run --paper tiny --profile reproduce --devices host --no-ceilings -q -o "$work/run" > "$work/out" 2>&1
check 'a run to record' test -s "$work/run/result.json"
# that of a clean build whose A/A control held: neither can be counted on here
sed -i -e 's/"git_dirty": true/"git_dirty": false/' -e '/^  "aa": {/,/^  }/s/"ok": false/"ok": true/' \
    -e 's/"git_commit": .*,$/"git_commit": "0123456789012345678901234567890123456789",/' "$work/run/result.json"
(cd "$work/run" && sha256sum $(cut -c 67- SHA256SUMS) > new && mv new SHA256SUMS)
"$program" record "$work/run" --results "$tree/results" > "$work/out" 2>&1
check 'recorded' test -s "$tree/results/host/tiny/recorded"
cd "$tree" || exit 1
rm -rf .git
commit() {
    git add -A && git -c user.name=t -c user.email=t@example.org commit -q -m t
}
git init -q . && commit
check 'a commit' git rev-parse -q --verify HEAD > /dev/null

# ---- the package ----
tool() { # arguments...; both outputs in $work/out
    CHECK_PROGRAM=$program timeout 300 tools/artifact.sh "$@" > "$work/out" 2>&1 < /dev/null
}
export ARTIFACTS=$work/artifact
expect 0 make tool make tiny
name=claimbench-$version-tiny folder=$work/artifact/claimbench-$version-tiny
for file in README.md LICENSE CITATION.cff .zenodo.json SHA256SUMS smoke.sh expected.sh measure.sh \
    compare.sh src/Makefile src/.stamp src/suites/tiny/experiments.json configs/profiles/reproduce.json \
    data/inputs.tsv expected/claims.tsv expected/host/tables/one.md expected/host/tables/claims.md \
    appendix/ae.md appendix/ae.tex env/Containerfile env/packages.txt env/environment.json \
    results/reference/host/tiny/recorded results/new/.keep; do
    check "holds $file" test -s "$folder/$file" -o "${file##*/}" = .keep
done
check 'sources of the commit' equal "$(sed -n 's/^commit //p;s/^dirty //p' "$folder/src/.stamp" | tr '\n' ' ')" \
    "$(git rev-parse HEAD) 0 "
check 'results are not there twice' test -L "$folder/src/results"
check 'nothing of this machine' eval '! grep -rIlF -e "$work" -e "$(hostname)x" "$folder"'
check 'tolerances' grep -q "^host	tiny.nnz	text	1000	entries	.*	REPRODUCED	within 15 % of reported	-	-$" \
    "$folder/expected/claims.tsv"
check 'inputs with their sums' grep -qE '^A	uniform,m=256,mean=4.*	[0-9a-f]{64}$' "$folder/data/inputs.tsv"
check 'a command for each experiment' equal "$(grep -c '^- `./measure.sh ' "$folder/README.md")" 2
check 'with its time' grep -q '`./measure.sh one`: One (Figure 1). [0-9]* s on one host for 3 cases.' "$folder/README.md"
check 'the smoke test was timed' grep -q 'it took [0-9]* s on host' "$folder/README.md"
check 'names of packages' grep -q 'libjansson-dev' "$folder/env/Containerfile"
headings='Abstract
Artifact check-list (meta-information)
Description
How to access
Hardware dependencies
Software dependencies
Data sets
Models
Installation
Experiment workflow
Evaluation and expected results
Experiment customization
Notes
Methodology'
check 'headings in Markdown' equal "$(sed -n 's/^##* //p' "$folder/appendix/ae.md" | tail -n +2)" "$headings"
check 'headings in LaTeX' equal "$(sed -n 's/^\\sub[sub]*section{\(.*\)}/\1/p' "$folder/appendix/ae.tex")" "$headings"
fields=$(sed -n '/^## Artifact check-list/,/^## Description/s/^- \*\*\([^*]*\)\*\*.*/\1/p' "$folder/appendix/ae.md")
check 'fields of the check-list' equal "$(wc -l <<< "$fields")" 22
check 'LaTeX is escaped' grep -qF 'Tiny \& \textless{}odd\textgreater{} 100 \% of a\_b' "$folder/appendix/ae.tex"
check 'LaTeX is balanced' equal "$(grep -c '\\begin{' "$folder/appendix/ae.tex")" "$(grep -c '\\end{' "$folder/appendix/ae.tex")"
check 'fields are filled' eval '! grep -qE "\(null\)|nan|\*\* *$" "$folder/appendix/ae.md" "$folder/README.md"'

expect 0 'check' tool check tiny
check 'check' says 'expected tables: fine'
check 'check' says 'artifact-check: passed'

# the same again: all but what tells how long the smoke test took
cp -r "$folder" "$work/before"
expect 0 'make again' tool make tiny
check 'the same again' equal "$(diff -rq "$work/before" "$folder" | sed 's/^Files .* and .*\/\([^/]*\) differ$/\1/' |
    grep -vxE 'README.md|SHA256SUMS|ae.md|ae.tex')" ''

# ---- packages that were changed on their way ----
damaged() { # what is said, command in the package's folder
    rm -rf "$work/damaged"
    mkdir -p "$work/damaged"
    cp -r "$folder" "$work/damaged/"
    (cd "$work/damaged/$name" && eval "$2") > /dev/null
    tar -C "$work/damaged" -czf "$work/damaged.tar.gz" "$name"
    CLAIMBENCH=$program timeout 300 tools/artifact/check.sh "$work/damaged.tar.gz" > "$work/out" 2>&1
    check "$2: exit code" equal $? 1
    check "$2" says "artifact-check: $1: failed"
}
resum='find . -type f ! -name SHA256SUMS | sed "s,^\./,," | LC_ALL=C sort | xargs sha256sum > SHA256SUMS'
damaged checksums 'sed -i "s/1/2/" expected/host/tables/one.md'
damaged 'no file beside them' 'echo x > src/kernels/extra.c'
damaged 'expected tables' "sed -i 's/1/2/' expected/host/tables/one.md; $resum"
damaged 'expected tables' "echo more > expected/host/tables/more.md; $resum"
damaged 'expected tables' "sed -i 's/777/778/' src/suites/tiny/reported.json; $resum"
damaged 'smoke test' "sed -i 's/host_eb/host_xx/' src/suites/tiny/experiments.json; $resum"

# ---- what cannot be packed ----
echo >> README.md
expect 1 'a tree with changes' tool make tiny
check 'a tree with changes' says 'the checkout has changes'
ALLOW_DIRTY=1 expect 0 'changes that are allowed' tool make tiny
check 'changes that are allowed' says 'not for publication'
check 'the changes are packed' cmp README.md "$folder/src/README.md"
check 'the changes are stamped' grep -q '^dirty 1' "$folder/src/.stamp"
expect 1 'no such paper' env ALLOW_DIRTY=1 CHECK_PROGRAM= tools/artifact.sh make nothing > "$work/out" 2>&1
check 'no such paper' says "no paper 'nothing'"
rm -rf results && commit
expect 0 'a paper without a result' tool make tiny
check 'a paper without a result' says 'no recorded result'
expect 0 'check of it' tool check tiny
end

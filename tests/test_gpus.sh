#!/bin/bash
# test_gpus.sh - the recorded GPU, a made-up one and a run on this host side by side: text,
# formats, the figure with one series each.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/common.bash
has() { grep -qE -- "$1" "$work/out" || { echo "not there: $1"; return 1; }; }
if [ ! -d results/h200/daspmm ]; then
    echo 'SKIP test_gpus: results/h200/daspmm is not here'
    skipped=1
    end
fi
export CLAIMBENCH_LOCKS=$work OMP_NUM_THREADS=2
"$program" run --paper daspmm --profile smoke --experiment spmm --case '*=uni_16k_d10,n=4,*' \
    --devices host --no-ceilings --t-max 0.1 -q -o "$work/host" > /dev/null 2> "$work/err"
check 'a run on this host' test -s "$work/host/result.json"
results=(results/h200/daspmm tests/data/compare/synthetic "$work/host")
compare() { "$program" compare "${results[@]}" "$@" > "$work/out" 2> "$work/err"; }

check 'text' compare --experiment spmm -o "$work/figures"
check 'every run is named' equal "$(grep -c '^[ABC]: ' "$work/out")" 3
check 'other hardware is called so' has '^C: host \(other hardware\), rows only here: [1-9]'
check 'made up is called so' has '^B: Synthetic GPU 1 \(synthetic, not measured\) \(other hardware\)'
for what in env.driver env.cuda_runtime env.libs.cusparse env.gpu.0.power_limit_w \
    env.gpu.0.max_sm_clock_mhz env.host.cpu run.profile run.synthetic 'clock while measuring'; do
    check 'what differs' has "^$what "
done
check 'differences come first' test "$(grep -n '^circumstance' "$work/out" | cut -d : -f 1)" -lt 15
check 'a speedup on every GPU' has '^spmm hot +published8 / cusparse_best +[1-9] +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +- +-$'
check 'of the host over the host' has '^spmm hot +host_eb / host_rb +1 +- +- +- +- +[0-9.]+ '
check 'ranks' has '^spmm +B +[0-9]+ +0\.[0-9]+$'
check 'only on one side' has '^A +spmm +[0-9]+ +[0-9]+ '
check 'and why' has '^C +spmm .* (skipped: runs on the host only|case not measured)$'
check 'no verdict across hardware' eval '! grep -qE "FASTER|SLOWER|SAME" "$work/out"'
check 'within 100 columns' equal "$(awk 'length($0) > 100' "$work/out")" ''
head -n 1 "$work/figures/daspmm_gpus_speedup.tsv" > "$work/out"
check 'series of the figure' has '^what	NVIDIA H200	low	high	Synthetic GPU 1 \(synthetic\)	low	high	reported, '
check 'groups of the figure' equal "$(cut -f 1 "$work/figures/daspmm_gpus_sol.tsv" | tail -n +2 | cut -d : -f 1 | tr '\n' ' ')" \
    'spmm hot spmm cold '
if command -v gnuplot > /dev/null; then
    check 'drawn' test -s "$work/figures/daspmm_gpus.svg" -a -s "$work/figures/daspmm_gpus.png"
    check 'names are in it' grep -q 'Synthetic GPU 1 (synthetic)' "$work/figures/daspmm_gpus.svg"
    check 'the paper is in it' grep -q 'reported, average over the best cuSPARSE' "$work/figures/daspmm_gpus.svg"
fi
sum=$(cat "$work"/figures/*.tsv "$work"/figures/*.gp | sha256sum)
compare --experiment spmm -o "$work/figures"
check 'the same again' equal "$(cat "$work"/figures/*.tsv "$work"/figures/*.gp | sha256sum)" "$sum"
for format in md csv tex json; do
    check "$format" compare --format $format
    check "$format is not empty" test "$(wc -l < "$work/out")" -gt 60
done
results=(results/h200/daspmm "$work/host")
check 'nothing in common' compare --experiment spmm_odd_n -o "$work/empty"
check 'nothing in common is no figure' test ! -e "$work/empty/daspmm_gpus.svg"

end

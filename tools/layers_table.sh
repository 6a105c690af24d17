#!/bin/sh
# layers_table.sh - times of the four linear layers of a decoder layer together, for the README.
#
#   tools/layers_table.sh SUITE [RESULTS]           prints it; SUITE: awq or qserve; RESULTS: folder
#                                                   of one GPU, by default results/h200
#   tools/layers_table.sh SUITE -w FILE [RESULTS]   puts it into FILE, between the lines
#                                                   <!-- SUITE-layers --> and <!-- /SUITE-layers -->
#
# From tables/layers_*.tsv of the suite's two models, weights cold: for each m the sum of the medians
# of four layers, of rows that have all four.  Fails where nothing is recorded.
set -eu
suite=${1:?a suite}
shift
. "$(dirname "$0")/table_out.sh"
case $suite in
awq)
    rows='w4a16_pdl w4a16 w4a16_awq2024_gemv w4a16_awq2024_gemm w4a16_awq2023_gemm w4a16_gptq cublaslt_f16_best cublaslt_fp8'
    models='Llama-2-7B Llama-2-70B' ;;
qserve)
    rows='w4a8_channel_own w4a8_group_own w4a8_channel w4a8_group w8a8 w4a16 cublas_f16 cublaslt_fp8 cublaslt_int8'
    models='Llama-3-8B Llama-2-70B' ;;
*) echo "layers_table: no layers are chosen for $suite" >&2; exit 2 ;;
esac

sums() { # model, table
    [ -f "$2" ] || return 0
    awk -F '\t' -v model="$1" -v rows="$rows" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["cache"] == "coldw" && $at["status"] == "ok" {
        m = $1; sub(/.*[\/,]m=/, "", m); m += 0
        if (!(m in seen)) { seen[m] = 1; order[++count] = m }
        us[m, $at["row"]] += $at["us"]
        layers[m, $at["row"]]++
    }
    END {
        for (i = 2; i <= count; i++)
            for (j = i; j > 1 && order[j] < order[j - 1]; j--) {
                m = order[j]; order[j] = order[j - 1]; order[j - 1] = m
            }
        n = split(rows, row, " ")
        for (i = 1; i <= count; i++) {
            printf "| %s | %d |", model, order[i]
            for (k = 1; k <= n; k++) {
                key = order[i] SUBSEP row[k]
                if (layers[key] != 4) printf " |"
                else printf (us[key] < 100 ? " %.1f |" : " %.0f |"), us[key]
            }
            print ""
        }
    }' "$2"
}

table() {
    printf '| model | m |'
    for row in $rows; do printf ' `%s` |' "$row"; done
    printf '\n| --- | ---: |'
    for row in $rows; do printf ' ---: |'; done
    echo
    for model in $models; do
        name=$(echo "$model" | tr 'A-Z' 'a-z' | sed 's/-//; s/-/_/')
        sums "$model" "$results/$suite/tables/layers_$name.tsv"
    done
}

table | put "$suite-layers"

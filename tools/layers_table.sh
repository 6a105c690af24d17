#!/bin/sh
# layers_table.sh - times of the four linear layers of a decoder layer together, for the README.
#
#   tools/layers_table.sh [RESULTS]           prints it; RESULTS: folder of one GPU, by default
#                                             results/h200
#   tools/layers_table.sh -w FILE [RESULTS]   puts it into FILE, between the lines
#                                             <!-- layers --> and <!-- /layers -->
#
# From tables/layers_llama2_{7b,70b}.tsv of awq, weights cold: for each m the sum of the medians of
# four layers, of rows that have all four.  Fails where nothing is recorded.
set -eu
. "$(dirname "$0")/table_out.sh"
rows='w4a16_pdl w4a16 w4a16_awq2024_gemv w4a16_awq2024_gemm w4a16_awq2023_gemm w4a16_gptq cublaslt_f16_best cublaslt_fp8'

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
    sums Llama-2-7B "$results/awq/tables/layers_llama2_7b.tsv"
    sums Llama-2-70B "$results/awq/tables/layers_llama2_70b.tsv"
}

table | put layers

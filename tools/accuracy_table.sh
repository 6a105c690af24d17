#!/bin/sh
# accuracy_table.sh - one table of perplexities for the README, from recorded tables.
#
#   tools/accuracy_table.sh [RESULTS]           prints it; RESULTS: a folder of one GPU or of the
#                                               host, by default results/h200
#   tools/accuracy_table.sh -w FILE [RESULTS]   puts it into FILE, between the lines
#                                               <!-- accuracy --> and <!-- /accuracy -->
#
# Rows come from tables/{weights,int2}.tsv of awq and {ladder,methods}.tsv of qserve; of several
# problems with the same bits and group those with the most windows count, and of groups 128 (64 at
# 2 bits).  Fails where nothing is recorded.
set -eu
. "$(dirname "$0")/table_out.sh"

lines() { # experiment, bits, group, table
    [ -f "$4" ] || return 0
    awk -F '\t' -v what="$1" -v bits="$2" -v group="$3" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["status"] == "ok" && index($1, ",bits=" bits ",group=" group ",") {
        windows = $1; sub(/.*,windows=/, "", windows); windows += 0
        length_of = $1; sub(/.*,length=/, "", length_of); length_of += 0
        size = windows * (length_of ? length_of : 1e6)
        if (size > most) { most = size; n = 0 }
        if (size < most) next
        n++
        ppl[n] = kl[n] = delta[n] = "-"
        count = split($at["figures"], figure, " ")
        for (i = 1; i <= count; i++) {
            if (figure[i] ~ /^perplexity=/) ppl[n] = substr(figure[i], 12)
            if (figure[i] ~ /^kl=/) kl[n] = substr(figure[i], 4)
            if (figure[i] ~ /^delta=/) delta[n] = substr(figure[i], 7)
        }
        name[n] = $at["row"]
        told[n] = $at["reported"]
        gsub(/[^0-9.]/, "", told[n])
    }
    END {
        for (i = 1; i <= n; i++)
            printf "| %s | `%s` | %.3f | %.4f | %+.4f | %s |\n", what, name[i], ppl[i], kl[i], delta[i],
                   told[i] == "" ? "" : told[i]
    }' "$4"
}

table() {
    echo "| weights | method | perplexity | KL to FP32 | loss over FP32's | reported, larger model |"
    echo '| --- | --- | ---: | ---: | ---: | ---: |'
    lines '4 bits, groups of 128' 4 128 "$results/awq/tables/weights.tsv"
    lines '3 bits, groups of 128' 3 128 "$results/awq/tables/weights.tsv"
    lines '2 bits, groups of 64' 2 64 "$results/awq/tables/int2.tsv"
    lines 'QoQ step by step' 4 128 "$results/qserve/tables/ladder.tsv"
    lines 'activations and cache too' 4 128 "$results/qserve/tables/methods.tsv"
}

table | put accuracy

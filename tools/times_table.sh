#!/bin/sh
# times_table.sh - the times of a suite's main cases in one table for the README.
#
#   tools/times_table.sh SUITE [RESULTS]            prints it; RESULTS: folder of one GPU, by default
#                                                   results/h200
#   tools/times_table.sh SUITE -w FILE [RESULTS]    puts it into FILE, between the lines
#                                                   <!-- SUITE --> and <!-- /SUITE -->
#
# A line a case, in microseconds: the fastest published row, the fastest of what it is compared with,
# ours.  Medians from the tables of the recorded run; fails where nothing is recorded.
set -eu
suite=${1:?a suite}
shift
. "$(dirname "$0")/table_out.sh"

line() { # what, experiment, state of the cache, part of the case's name, published | others | ours
    file=$results/$suite/tables/$2.tsv
    [ -f "$file" ] || return 0
    awk -F '\t' -v what="$1" -v cache="$3" -v part="$4" -v groups="$5" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["cache"] == cache && $at["status"] == "ok" && index($1, part) {
        us[$at["row"]] = $at["us"]
        if (whose != "" && whose != $1) twice = 1
        whose = $1
    }
    END {
        if (twice) {
            print "times_table: " part " is in two cases" > "/dev/stderr"
            exit 1
        }
        if (whose == "") exit 0
        printf "| %s |", what
        n = split(groups, group, "|")
        for (g = 1; g <= n; g++) {
            best = ""
            count = split(group[g], row, " ")
            for (k = 1; k <= count; k++)
                if (row[k] in us && (best == "" || us[row[k]] + 0 < us[best] + 0)) best = row[k]
            if (best == "") printf " |"
            else printf (us[best] < 100 ? " %.1f" : " %.0f") " `%s` |", us[best], best
        }
        print ""
    }' "$file"
}

flatformer() {
    encoder='flatformer flatformer_unfused|sst sst_unfused sst_flash windows_flash cublas_flash cublas_unfused|own_fit'
    for pillars in 18400 60000; do
        for group in window=13,group=144 window=9,group=69; do
            line "eight layers, $pillars pillars, groups of ${group##*=}" encoder hot \
                "pillars=$pillars,$group," "$encoder"
        done
    done
    line 'four orders of a frame' flatten_frames hot 'frames=1,' 'sort64|sort32 sort_once|rank rank_cluster'
    for group in window=13,group=144 window=9,group=69; do
        line "attention of 60000 pillars, groups of ${group##*=}" group_attn hot "pillars=60000,$group," \
            '|flash cublas_unfused|own own_sm90 own_even'
    done
    line 'pillars of a frame and their features' pillar_net hot 'frames=1,' 'pillar_scatter||pillar_tiles pillar_units'
    line 'backbone and head on the map from above' bev hot 'frames=1,' \
        '|bev_cudnn bev_cudnn_legacy bev_cublas|bev_tiles bev_rows'
}

case $suite in
flatformer) ;;
*) echo "times_table: no cases are chosen for $suite" >&2; exit 2 ;;
esac
{
    echo '| microseconds | published | fastest of the others | ours |'
    echo '| --- | ---: | ---: | ---: |'
    "$suite"
} | put "$suite"

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
            '|flash cublas_unfused|own own_sm90 own_even own_staged'
    done
    line 'pillars of a frame and their features' pillar_net hot 'frames=1,' 'pillar_scatter||pillar_tiles pillar_units'
    line 'backbone and head on the map from above' bev hot 'frames=1,' \
        '|bev_cudnn bev_cudnn_legacy bev_cublas|bev_tiles bev_rows'
}

qserve() {
    attention='kv4_published kv4_naive|kv16_split kv16_cublas|kv4_own'
    line 'KV4 attention, Llama-2-7B, 64 sequences of 1024' attention_table coldw \
        'batch=64,heads=32,kv_heads=32,head_dim=128,length=1024,' "$attention"
    line 'KV4 attention, Llama-3-8B, 256 sequences of 1280' attention_models coldw \
        'batch=256,heads=32,kv_heads=8,head_dim=128,length=1280,' "$attention"
    line 'KV4 attention, Llama-2-70B, 96 sequences of 1280' attention_models coldw \
        'batch=96,heads=64,kv_heads=8,head_dim=128,length=1280,' "$attention"
    line 'KV4 attention, Llama-3-8B, one sequence of 8000' attention_long coldw \
        'batch=1,heads=32,kv_heads=8,head_dim=128,length=8000,' "$attention"
    glue='quant_published|quant_unfused|quant_own'
    for m in 1 256 4096; do
        tokens="$m tokens"
        [ $m != 1 ] || tokens='a token'
        line "RMSNorm and quantisation, $tokens of 4096" glue_norm cold "kernel=norm,m=$m,n=4096," "$glue"
        line "SiLU, product and quantisation, $tokens of 14336" glue_silu cold \
            "kernel=silu,m=$m,n=14336," "$glue"
    done
    line 'RoPE and 4-bit keys and values, 4096 tokens, 32/8 heads' glue_rope cold \
        'm=4096,n=0,heads=32,kv_heads=8,head_dim=128,bits=4,' "$glue"
}

torchsparsepp() {
    maps='hash_fly||search octree grid'
    line 'map of neighbours, SemanticKITTI' maps_one hot 'scan=semantickitti_000000,maps=k3s1,' "$maps"
    line 'all maps of MinkUNet, SemanticKITTI' maps_network hot \
        'scan=semantickitti_000000,maps=minkunet,' "$maps"
    implicit='implicit_s0 implicit_s1 implicit_s2 implicit_s3 implicit_s4 fetch fetch_tap'
    gather='gather_grouped gather_fused gather_tap'
    for layer in stride=1,batch=1,cin=64 stride=4,batch=1,cin=128 stride=8,batch=1,cin=256; do
        line "convolution ${layer##*=} > ${layer##*=}, SemanticKITTI" conv_layers hot \
            "scan=semantickitti_000000,network=minkunet_1x,layer=same,$layer," "$implicit|$gather|own"
    done
    nets='autotuned implicit_s0 implicit_s1 implicit_s2 implicit_s3 fetch|gather_grouped gather_tap|own own_tuned'
    line 'MinkUNet-1x, SemanticKITTI' networks hot 'scan=semantickitti_000000,network=minkunet_1x,' "$nets"
    line 'MinkUNet-1x, nuScenes key frame' networks hot 'scan=nuscenes_keyframe,network=minkunet_1x,' "$nets"
    line 'CenterPoint, nuScenes 10 frames' networks hot 'scan=nuscenes_10f,network=centerpoint,' "$nets"
    line 'CenterPoint, Waymo' networks hot 'scan=waymo_1f,network=centerpoint,' "$nets"
    train='train_published train_sorted|train_gather_grouped train_gather_scatter|train_own'
    line 'training step of MinkUNet-1x, two SemanticKITTI scans' networks_train hot \
        'scan=semantickitti_1f,network=minkunet_1x,' "$train"
}

case $suite in
flatformer | qserve | torchsparsepp) ;;
*) echo "times_table: no cases are chosen for $suite" >&2; exit 2 ;;
esac
{
    echo '| microseconds | published | fastest of the others | ours |'
    echo '| --- | ---: | ---: | ---: |'
    "$suite"
} | put "$suite"

/* perplexity_rows.c - the methods that the operator perplexity compares; see perplexity_rows.h. */
#include "perplexity_rows.h"

#define ROW(row_name, row_title, row_origin, row_role, ...)                                 \
    { .base = { .name = row_name, .title = row_title, .origin = row_origin, .role = row_role, \
                .sm_min = 0, .sm_max = 999 },                                               \
      .recipe = { __VA_ARGS__ } }
#define GPTQ_PAPER "GPTQ, arXiv 2210.17323"
#define AWQ_PAPER "AWQ, arXiv 2306.00978"
#define QOQ_PAPER "QServe, arXiv 2405.04532"
/* What QoQ's steps add up to. */
#define S_ROTATE (QUANT_WEIGHTS | QUANT_ROTATE)
#define S_CLIP (S_ROTATE | QUANT_QOQ_CLIP)
#define S_KEYS (S_CLIP | QUANT_SMOOTH_KEYS)

const struct perplexity_row perplexity_rows[] = {
    ROW("fp32", "FP32", "definition", OP_REFERENCE, 0),
    ROW("fp16", "FP16 weights", "definition", OP_BASELINE, .flags = QUANT_WEIGHTS | QUANT_HALF),
    ROW("rtn", "RTN", "round to nearest", OP_BASELINE, .flags = QUANT_WEIGHTS),
    ROW("gptq", "GPTQ", GPTQ_PAPER, OP_BASELINE, .flags = QUANT_WEIGHTS | QUANT_GPTQ),
    ROW("gptq_r", "GPTQ, reordered", GPTQ_PAPER, OP_BASELINE,
        .flags = QUANT_WEIGHTS | QUANT_GPTQ | QUANT_GPTQ_ORDER),
    ROW("awq_scale", "AWQ, scales only", AWQ_PAPER ", section 3", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ),
    ROW("awq", "AWQ", AWQ_PAPER ", section 3 and its code", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_AWQ_CLIP),
    ROW("awq_linear", "AWQ, scales by each set's own output",
        AWQ_PAPER ", its objective as printed", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_LINEAR_LOSS),
    ROW("awq_gptq", "AWQ with GPTQ", AWQ_PAPER ", table of INT2", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_AWQ_CLIP | QUANT_GPTQ),
    ROW("awq_scale_gptq", "AWQ's scales, then GPTQ", AWQ_PAPER ", without clipping", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_GPTQ),
    ROW("awq_clip_gptq", "AWQ's clipping in GPTQ", AWQ_PAPER ", without scales", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ_CLIP | QUANT_GPTQ),
    ROW("keep_input", "channels of the largest inputs kept", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_INPUT),
    ROW("keep_weight", "channels of the largest weights kept", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_WEIGHT),
    ROW("keep_random", "channels kept at random", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_CHANCE),
    ROW("scale_share", "channels of the largest inputs scaled", AWQ_PAPER ", table 2", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_SCALE_SHARE, .rank = QUANT_BY_INPUT),
    ROW("smoothquant_w8a8", "SmoothQuant W8A8KV8", "SmoothQuant, arXiv 2211.10438", OP_BASELINE,
        .flags = QUANT_WEIGHTS | QUANT_SMOOTH, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_1_w8a8", "W8A8KV8", QOQ_PAPER ", ablation, start", OP_PAPER, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_2_w4", "+ 4-bit weights per channel", QOQ_PAPER ", ablation", OP_PAPER,
        .flags = QUANT_WEIGHTS, .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_3_rotate", "+ rotation", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_ROTATE,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_4_clip", "+ clipping", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_CLIP,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_5_kv4", "+ KV4", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_CLIP,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_6_keys", "+ SmoothAttention", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_KEYS,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_7_groups", "+ progressive groups", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_KEYS,
        .integer = QUANT_PROGRESSIVE, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_8_order", "+ reordering", QOQ_PAPER ", ablation", OP_PAPER,
        .flags = S_KEYS | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE, .act_bits = 8,
        .kv_bits = 4),
    ROW("qoq_channel", "QoQ W4A8KV4", QOQ_PAPER, OP_PAPER, .flags = S_KEYS | QUANT_SMOOTH_OUT,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_group", "QoQ W4A8KV4, grouped", QOQ_PAPER, OP_PAPER,
        .flags = S_KEYS | QUANT_SMOOTH_OUT | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE,
        .act_bits = 8, .kv_bits = 4),
    ROW("rtn_w4a8kv4", "RTN W4A8KV4", "round to nearest", OP_BASELINE, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("rtn_w4a8kv4_group", "RTN W4A8KV4, progressive groups", "round to nearest", OP_BASELINE,
        .flags = QUANT_WEIGHTS, .integer = QUANT_PROGRESSIVE, .act_bits = 8, .kv_bits = 4),
    ROW("quarot_w4a4", "rotated W4A4KV4", "after QuaRot, arXiv 2404.00456; weights by RTN",
        OP_BASELINE, .flags = S_ROTATE | QUANT_ROTATE_INSIDE, .integer = QUANT_W4_ROW,
        .act_bits = 4, .kv_bits = 4),
    ROW("atom_w4a4", "grouped W4A4KV4, 4 % of channels INT8",
        "after Atom, arXiv 2310.19102; weights by RTN", OP_BASELINE, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W4_GROUPS, .act_bits = 4, .kv_bits = 4),
};

/* table.c - the operator table: one line an operator. */
#include "../suite.h"
#include "ops.h"

const struct cb_op *const suite_ops[] = {
    &op_spmm,
    &op_gemm,
    &op_executed,
    &op_gemm_ladder,
    &op_matrix_stats,
    &op_spmm_select,
    &op_reported_table,
    &op_perplexity,
    &op_training,
    &op_quant,
    &op_spconv,
    &op_quant_error,
    &op_attn,
    &op_attn_smooth,
    &op_attn_prefill,
    &op_gnn,
    &op_rgcn,
    &op_kmap,
    &op_scan_stats,
    &op_flatten,
    &op_group_stats,
    &op_group_attn,
    &op_encoder,
    &op_sparse_net,
    &op_pillar_net,
    &op_bev,
    NULL,
};

/* table.c - the operator table: one line an operator. */
#include "../suite.h"
#include "ops.h"

const struct cb_op *const suite_ops[] = {
    &op_spmm, &op_gemm, &op_gemm_ladder, &op_matrix_stats, &op_spmm_select, &op_reported_table,
    &op_perplexity, &op_training, &op_quant_error, &op_quant, &op_attn, &op_attn_smooth,
    &op_attn_prefill, &op_gnn, &op_kmap, &op_scan_stats, &op_spconv, &op_rgcn, &op_flatten,
    &op_group_stats, NULL,
};

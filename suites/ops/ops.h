/* ops.h - the operators, one per file of this folder; and what two of them share. */
#ifndef SUITES_OPS_H
#define SUITES_OPS_H

#include "../../harness/bench.h"
#include "../data/matrix.h"

extern const struct cb_op op_spmm;         /* spmm.c */
extern const struct cb_op op_gemm;         /* gemm.c */
extern const struct cb_op op_executed;     /* executed.c */
extern const struct cb_op op_gemm_ladder;  /* gemm_ladder.c */
extern const struct cb_op op_matrix_stats; /* matrix_stats.c */
extern const struct cb_op op_spmm_select;  /* spmm_select.c */
extern const struct cb_op op_spmm_choice, op_spmm_confusion; /* spmm_choice.c */
extern const struct cb_op op_reported_table; /* reported_table.c */
extern const struct cb_op op_perplexity;   /* perplexity.c */
extern const struct cb_op op_training;     /* training.c */
extern const struct cb_op op_quant;        /* quant.c */
extern const struct cb_op op_spconv;       /* spconv.c */
extern const struct cb_op op_quant_error;  /* quant_error.c */
extern const struct cb_op op_attn;         /* attn.c */
extern const struct cb_op op_attn_smooth;  /* attn_smooth.c */
extern const struct cb_op op_attn_prefill; /* attn_prefill.c */
extern const struct cb_op op_gnn;          /* gnn.c */
extern const struct cb_op op_rgcn;         /* rgcn.c */
extern const struct cb_op op_kmap;         /* kmap.c */
extern const struct cb_op op_scan_stats;   /* scan_stats.c */
extern const struct cb_op op_flatten;      /* flatten.c */
extern const struct cb_op op_group_stats;  /* group_stats.c */
extern const struct cb_op op_group_attn;   /* group_attn.c */
extern const struct cb_op op_encoder;      /* encoder.c */
extern const struct cb_op op_sparse_net;   /* sparse_net.c */
extern const struct cb_op op_tuned_groups; /* tuned_groups.c */
extern const struct cb_op op_pillar_net;   /* pillar_net.c */
extern const struct cb_op op_bev;          /* bev.c */
extern const struct cb_op op_boxes;        /* boxes.c */

/* Rows, columns, nnz and row lengths of a matrix; returns the number written. */
int matrix_figures(const struct matrix *m, struct cb_figure *out);

/* Makes the shipped models those of the rows that select (spmm.c).  A generated matrix is judged by
 * the published model that has not seen its family.  0 or -1. */
int spmm_use_models(const struct matrix *m);

#endif

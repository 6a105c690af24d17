/* spmm_edges.h - products edge by edge, for the table in spmm.c. */
#ifndef BASELINES_SPMM_EDGES_H
#define BASELINES_SPMM_EDGES_H

#include "../kernels/spmm/spmm.h"

OP_BEGIN

/* State: NULL, or the buffer of messages [nnz][n]. */
extern spmm_run_fn spmm_edges;
extern spmm_setup_fn spmm_edges_messages_setup;

OP_END
#endif

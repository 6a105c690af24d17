/* rows.h - what a network does between its layers, on the device.  All enqueue. */
#ifndef KERNELS_SPARSE_NET_ROWS_H
#define KERNELS_SPARSE_NET_ROWS_H

#include "../spconv/own_plan.h"

OP_BEGIN

/* Rows of `channels` half, an even number, `step` elements apart (even). */
struct net_rows {
    void *at;
    int step;
};

/* to[i] = from[row[i]] for i < n; row NULL: i.  spread: to[row[i]] = from[i]. */
enum op_status net_copy_rows(struct net_rows from, struct net_rows to, int channels, int n,
                             const int32_t *row, int spread, op_stream s);

/* y = relu(y + bias + residual) [n][channels] half; residual may be NULL. */
enum op_status net_finish_rows(void *y, const float *bias, const void *residual, int n,
                               int channels, int relu, op_stream s);

/* The plan, opened with one tap and one range, of a layer that meets every row with itself.
 * count: rows, on the device. */
enum op_status net_plan_same(const struct own_plan *plan, const int32_t *count, op_stream s);

/* A copy of host memory; waits. */
enum op_status net_upload(void *to, const void *from, size_t bytes, op_stream s);

OP_END
#endif

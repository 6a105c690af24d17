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

/* to += from, [n][channels]. */
enum op_status net_add_rows(struct net_rows from, struct net_rows to, int channels, int n,
                            op_stream s);
/* g = 0 where y is not above 0; count even. */
enum op_status net_mask_rows(void *g, const void *y, size_t count, op_stream s);
/* to [to_rows][taps] = the transpose of table, whose rows from *count (or n) on are not read. */
enum op_status net_transpose_table(const int32_t *table, const int32_t *count, int n, int taps,
                                   int32_t *to, int to_rows, op_stream s);

/* Plans, opened with one tap and one range, of layers that meet every row with itself, by level;
 * rows of a level that has none NULL.  count [levels]: rows, on the device. */
enum op_status net_plans_same(const struct own_plan *plan, int levels, const int32_t *count,
                              op_stream s);

/* A copy of host memory; waits. */
enum op_status net_upload(void *to, const void *from, size_t bytes, op_stream s);

OP_END
#endif

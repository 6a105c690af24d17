/*
 * sums.h - rows of a result as scaled sums of rows of a buffer.
 *
 *     y_i = sum over the entries of row i of  scale * from[slot]
 *
 * Long rows are cut into chunks, which add with atomics; chunks of equal length stand together,
 * so that the lanes of a warp end together.
 */
#ifndef KERNELS_RGCN_SUMS_H
#define KERNELS_RGCN_SUMS_H

#include "rgcn.h"

OP_BEGIN

enum { RGCN_CHUNK = 64 }; /* entries */

/* Device memory. */
struct rgcn_sums {
    int rows, chunks;
    int clear;         /* rows are empty or cut: y starts as zeros */
    const void *chunk; /* int4 [chunks]: row, first entry, past the last, whether cut */
    const void *entry; /* int2 [entries]: slot, bits of the scale */
};

/* Row i has the items item[row_ptr[i]] ...; an item's slot is slot[item] or, slot NULL, itself,
 * its scale scale[item] or 1.  All on the host. */
enum op_status rgcn_sums_make(int rows, const int32_t *row_ptr, const int32_t *item,
                              const int32_t *slot, const float *scale,
                              const struct op_memory *memory, op_stream s, struct rgcn_sums *out);
/* The same for items in order of their number: of nodes[item]. */
enum op_status rgcn_sums_of(int rows, int items, const int32_t *node, const int32_t *slot,
                            const float *scale, const struct op_memory *memory, op_stream s,
                            struct rgcn_sums *out);

/* The transpose, without sums: to[slot] = scale * x_i for every entry of row i, x [rows][width];
 * relu: of max(x, 0).  Enqueues. */
enum op_status rgcn_spread_run(const struct rgcn_sums *t, int width, const float *x, int relu,
                               float *to, op_stream s);

/* max(x, 0) in place; count a multiple of 4; enqueues. */
enum op_status rgcn_relu(size_t count, float *x, op_stream s);

/* y [rows][width] from `from` [slots][width]; enqueues. */
enum op_status rgcn_sums_run(const struct rgcn_sums *t, int width, const float *from, float *y,
                             op_stream s);

OP_END
#endif

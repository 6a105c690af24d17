/* forms.h - orders and pairs of a map on the device, from its table. */
#ifndef KERNELS_KMAP_FORMS_H
#define KERNELS_KMAP_FORMS_H

#include "kmap.h"

OP_BEGIN

/* A row-major table on the device. */
struct kmap_source {
    const int32_t *table; /* [rows][taps]; rows from n on are not read */
    const uint32_t *mask; /* [rows] or NULL: taken from the table */
    const int32_t *count; /* n on the device; NULL: n is exact */
    int n, rows, taps;    /* n: upper bound where count is given; rows: n padded to KMAP_PAD */
};

/* Device memory for the arrays of struct kmap_order, in its layout, and for the work. */
struct kmap_order_memory {
    int32_t *row;        /* [splits][rows] */
    uint32_t *mask;      /* [splits][rows] */
    uint32_t *tile_mask; /* [splits][rows / tile] */
    int32_t *table;      /* [splits][rows][ceil(taps / splits)] */
    uint32_t *unsorted;  /* [rows], scratch */
    int32_t *place;      /* [rows], scratch */
    void *temp;          /* temp_bytes, scratch: kmap_sort_bytes(rows) */
    size_t temp_bytes;
};

/* As kmap_host_order.  tile: 32, 64 or 128.  Enqueues; can be captured. */
enum op_status kmap_order_cuda(const struct kmap_source *m, int splits, int tile,
                               const struct kmap_order_memory *to, op_stream s);

enum { KMAP_LISTS_MAX = 16 };

/* As kmap_host_pairs; device memory. */
struct kmap_list {
    struct kmap_source source;
    int32_t *start, *padded; /* [taps + 1] */
    int32_t *in, *out;       /* [pairs, at most n x taps] */
    int32_t *scratch;        /* [taps][rows / KMAP_PAD] */
};
/* Of `count` maps, at most KMAP_LISTS_MAX, in three launches.  Enqueues; can be captured. */
enum op_status kmap_pairs_cuda(const struct kmap_list *list, int count, op_stream s);

OP_END
#endif

/*
 * kmap.h - kernel maps of sparse convolution: which input meets which weight in which output.
 *
 * Voxels have coordinates (batch, x, y, z).  An output q, a tap t of the kernel and an input p
 * meet where, per axis,
 *
 *     p = stride * q - pad + t,      0 <= t < kernel
 *
 * and a map is the set of all such (row of p, row of q, index of t).  Taps are numbered as the
 * weight tensor [K][C_in][C_out] is: kernels with only odd sizes with x fastest,
 * (tz * ky + ty) * kx + tx, others with z fastest, (tx * ky + ty) * kz + tz.
 *
 * Forms of one map (N = n_out, K = taps):
 *
 *     table    [rows][K] int32: row of the input, or -1; output-stationary (implicit GEMM).
 *              rows = N rounded up to KMAP_PAD; rows N and up hold -1.  Element (k, d) lies at
 *              k * row_step + d * tap_step: (K, 1) as published, (1, rows) tap-major.
 *     pairs    two lists in[] and out[], tap after tap, inside a tap by ascending output
 *              (gather-scatter, fetch-on-demand); those of tap d are start[d] .. start[d+1]-1.
 *     order    per split of the taps, rows sorted by which taps they have (sorted implicit GEMM).
 *
 * The transpose of a map swaps inputs and outputs under the same taps: inverse convolution, and
 * the gradient of the input.
 *
 * Source: TorchSparse++ (arXiv 2311.12862), sections on kernel maps and implicit GEMM.
 */
#ifndef KERNELS_KMAP_KMAP_H
#define KERNELS_KMAP_KMAP_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

enum {
    KMAP_PAD = 128,      /* rows of tables and orders are a multiple: tiles need no row check */
    KMAP_TAPS_MAX = 32,  /* a mask of all taps is one uint32 */
    KMAP_SPLITS_MAX = 4
};

/* Which outputs there are. */
enum kmap_rule {
    KMAP_SAME,   /* stride 1, odd kernel, pad (kernel - 1) / 2: the inputs, in their rows */
    KMAP_SPCONV, /* every q in [0, size of the output) that meets an input */
    KMAP_FLOOR   /* floor(p / stride) of every input, whatever the kernel */
};

/* Outputs other than KMAP_SAME are in ascending order of (batch, x, y, z) in this library's
 * reference; a builder may number them otherwise and then says so through kmap.out_coord. */
struct kmap_shape {
    enum kmap_rule rule;
    int kernel[3], stride[3], pad[3]; /* x y z */
    int size[3];                      /* coordinates of inputs lie in [0, size) */
    int batch;                        /* and their batch in [0, batch) */
};

struct kmap_coord {
    int32_t b, x, y, z;
};

struct kmap_table {
    int rows;               /* multiple of KMAP_PAD */
    int row_step, tap_step; /* element (k, d) is index[k * row_step + d * tap_step]; size_t */
    const int32_t *index;   /* -1: no input */
};

struct kmap_pairs {
    const int32_t *start;  /* [K+1], start[K] = all pairs */
    const int32_t *padded; /* [K+1], the same with every tap rounded up to KMAP_PAD pairs */
    const int32_t *in, *out;
};

/* The K taps in `splits` ranges of `taps` = ceil(K / splits), the last one shorter.  In range s
 * bit d of a row's mask says that tap s * taps + d has an input.  Rows are sorted by mask,
 * descending as unsigned numbers, equal ones by row; padding rows come last and have mask 0.
 * table: per split one after another, [splits][rows x taps], rows in the order of the split, the
 * missing taps of a shorter last range -1; step between splits: (size_t)rows * taps. */
struct kmap_order {
    int splits, taps, tile; /* tile: rows under one tile mask, 128 as published */
    int rows;
    const int32_t *row;        /* [splits][rows] output row at each place, -1: padding */
    const uint32_t *mask;      /* [splits][rows] */
    const uint32_t *tile_mask; /* [splits][rows / tile] masks of a tile, or-ed */
    struct kmap_table table;   /* of split 0; rows, row_step and tap_step hold for each */
};

/* One map; all pointers host or all device, never mixed.  Forms that were not asked for are
 * NULL.  Counts that only the device knows: n_in and n_out are upper bounds here, and count
 * points to the true { n_in, n_out } on the device; else count is NULL. */
struct kmap {
    struct kmap_shape shape;
    int taps;                           /* K */
    int n_in, n_out;
    long pairs_total;                   /* -1 where only the device knows */
    const int32_t *count;
    const struct kmap_coord *out_coord; /* [n_out]; NULL for KMAP_SAME: those of the inputs */
    struct kmap_table table;
    struct kmap_pairs pairs;
    struct kmap_order order;
};

/* ---- what follows from a shape ---- */

int kmap_taps(const struct kmap_shape *s);
/* Coordinates of the outputs lie in [0, out). */
void kmap_out_size(const struct kmap_shape *s, int out[3]);
/* Index of tap (tx, ty, tz) and back. */
int kmap_tap_index(const struct kmap_shape *s, int tx, int ty, int tz);
void kmap_tap_at(const struct kmap_shape *s, int index, int t[3]);
/* OP_OK, or OP_EINVAL: sizes <= 0, KMAP_SAME with a stride or an even kernel, more than
 * KMAP_TAPS_MAX taps. */
enum op_status kmap_shape_check(const struct kmap_shape *s);
/* The shapes the networks use: odd kernel k at stride 1; kernel 2 stride 2 (KMAP_FLOOR). */
struct kmap_shape kmap_same(int k, const int size[3], int batch);
struct kmap_shape kmap_half(const int size[3], int batch);

/* ---- reference, on the host ---- */

/* What kmap_host_* allocated; free with kmap_host_free, which accepts an all-zero one. */
struct kmap_host {
    struct kmap map;
    void *memory[12];
};

/* Table (row-major) of the definition above; coordinates must be unique and inside the shape.
 * OP_EINVAL: a bad shape, a coordinate outside or twice; OP_ENOMEM. */
enum op_status kmap_host_build(const struct kmap_shape *s, const struct kmap_coord *in, int n_in,
                               struct kmap_host *h);
/* Adds pairs to a map that has a table. */
enum op_status kmap_host_pairs(struct kmap_host *h);
/* Adds an order; tile divides KMAP_PAD.  Replaces an earlier one. */
enum op_status kmap_host_order(struct kmap_host *h, int splits, int tile);
/* The transpose, with a table: n_in and n_out swapped, same taps. */
enum op_status kmap_host_transpose(const struct kmap *m, struct kmap_host *t);
void kmap_host_free(struct kmap_host *h);

/* Executed over useful multiplications: sum over splits and tiles of tile x set bits of the tile
 * mask, over all pairs; without an order, of the rows as they are (tile masks or-ed over 128).
 * Needs pairs_total and a host map. */
double kmap_redundancy(const struct kmap *m);

OP_END
#endif

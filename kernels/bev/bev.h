/*
 * bev.h - what stands behind the encoder of a pillar detector: pillars scattered to a map seen from
 * above, a dense backbone of two scales, and a head of seven branches.
 *
 *     map      S x S x 128, zero where there is no pillar
 *     stage 0  conv 128 > 64, three conv 64 > 64                       at S
 *     stage 1  conv 64 > 128 with stride 2, three conv 128 > 128       at S / 2
 *     neck     stage 0: 1 x 1, 64 > 128; stage 1: transposed 2 x 2 with stride 2, 128 > 128;
 *              together 256 channels at S
 *     head     conv 256 > 64; seven conv 64 > 64, as one 64 > 448; of each conv 64 > 2 1 3 2 2 1 3:
 *              offset, height, size, rotation, velocity, IoU, heat map
 *
 * CenterPoint's, behind its sparse convolutions, has the same form with other numbers:
 *
 *     map      S x S x 256: two heights of 128 beside each other; a row is of one height, its x is
 *              2 * column + height
 *     stage 0  conv 256 > 128, five conv 128 > 128; stage 1 conv 128 > 256, five conv 256 > 256
 *     neck     1 x 1, 128 > 256; transposed 2 x 2, 256 > 256; together 512
 *     head     conv 512 > 64; five conv 64 > 64; of each conv 64 > 2 1 3 2 3: offset, height, size,
 *              rotation, heat map; nothing is added behind a relu
 *
 * conv: 3 x 3, zeros around the map, normalisation folded into weights and bias, relu (not in the
 * last); where input and output have one shape the input is added behind the relu.  Maps are
 * channels-last: [row y][column x][channel].
 *
 * Source: FlatFormer (arXiv 2301.08739), its published configuration; CenterPoint's for Waymo.
 */
#ifndef KERNELS_BEV_BEV_H
#define KERNELS_BEV_BEV_H

#include <stdint.h>

#include "../common/half.h"
#include "../flatten/flatten.h"
#include "../op.h"

OP_BEGIN

/* Of FlatFormer; those of CenterPoint are fewer but for the layers. */
enum { BEV_IN = 128, BEV_OUT = 14, BEV_LAYERS = 13, BEV_BRANCHES = 7, BEV_BRANCH_ROWS = 8 };
enum { BEV_LAYERS_MAX = 17 };

enum bev_net { BEV_FLATFORMER, BEV_CENTERPOINT, BEV_NETS };

struct bev_problem {
    int side;    /* of the map in cells: even, 2 .. 2048 */
    int pillars; /* 1 .. side * side * heights */
    enum bev_net net;
};

/* Maps between layers. */
enum bev_map {
    BEV_CANVAS, /* S x S x 128 */
    BEV_A0, BEV_A1, /* S x S x 64 */
    BEV_B0, BEV_B1, /* S/2 x S/2 x 128 */
    BEV_NECK,   /* S x S x 256 */
    BEV_SHARED, /* S x S x 64 */
    BEV_BRANCH, /* S x S x 448 */
    BEV_RESULT, /* S x S x 14 */
    BEV_MAPS
};
/* Channels of a map, of FlatFormer; how many cells of the input's side one of its cells spans. */
struct bev_map_shape {
    int channels, scale;
};
extern const struct bev_map_shape bev_maps[BEV_MAPS];

/*
 * A layer: rows of weights [rows][kernel][kernel][cin].
 *
 *     up       row (2 dy + dx) rows / 4 + o is output o of cell (2 y + dy, 2 x + dx)
 *     groups   > 1: rows 8 g + o, o < 8, read channels 64 g .. and are zero from the branch's number
 *              of outputs on
 */
struct bev_layer {
    const char *name;
    enum bev_map from, to;
    int cin, rows, kernel, stride;
    int at;  /* first channel written */
    int up, groups, residual, relu;
};
/* Those of FlatFormer from 0 on, of CenterPoint behind them; a network ends before a layer of no
 * name. */
extern const struct bev_layer bev_layers[];
/* Outputs of a branch, and its first channel of the result; of FlatFormer. */
extern const int bev_branch_out[BEV_BRANCHES], bev_branch_at[BEV_BRANCHES];

/* What differs between networks. */
struct bev_shape {
    const char *name;
    int first, end;                  /* of bev_layers */
    const struct bev_map_shape *map; /* [BEV_MAPS] */
    int heights;                     /* rows of BEV_IN that a cell of the canvas holds */
    int branches, out;               /* out: of all branches */
    const int *branch_out, *branch_at;
};
extern const struct bev_shape bev_shapes[BEV_NETS];
static inline const struct bev_shape *bev_shape_of(const struct bev_problem *p)
{
    return &bev_shapes[p->net];
}

/* Elements of weights and biases in front of a layer of its network; layer `end`: of all. */
size_t bev_weight_at(int layer);
size_t bev_bias_at(int layer);
size_t bev_map_size(const struct bev_problem *p, enum bev_map m); /* elements */
double bev_flops(const struct bev_problem *p); /* of the definition */

/* Host or device memory, whichever the implementation is for. */
struct bev_args {
    const half_bits *x;              /* [pillars][BEV_IN] */
    const struct flatten_cell *cell; /* [pillars], different; x < side * heights, y < side */
    const half_bits *w;              /* [bev_weight_at(end)]; 16-byte aligned, as x is */
    const float *b;                  /* [bev_bias_at(end)] */
    half_bits *y;                    /* [side][side][out] */
};

typedef enum op_status bev_run_fn(const struct bev_problem *, const struct bev_args *, void *state,
                                  op_stream);
typedef enum op_status bev_setup_fn(const struct bev_problem *, const struct bev_args *,
                                    const struct op_memory *, op_stream, void **state);

struct bev_impl {
    struct op_impl base; /* first */
    int nets;            /* networks that it covers: bit n is enum bev_net n; 0: FlatFormer's */
    /* OP_OK, or OP_EUNSUPPORTED and *why a constant text; NULL: all. */
    enum op_status (*supports)(const struct bev_problem *, const char **why);
    bev_setup_fn *setup;           /* for these weights; NULL: none */
    void (*teardown)(void *state); /* accepts NULL */
    bev_run_fn *run;               /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct bev_impl bev_references[]; /* ref.c: host memory */
extern const struct bev_impl bev_impls[];      /* impls.c: device memory */

/* OP_OK or OP_EINVAL. */
enum op_status bev_check(const struct bev_problem *p);
/* OP_OK, or OP_EUNSUPPORTED and *why a constant text. */
enum op_status bev_covers(const struct bev_impl *impl, const struct bev_problem *p,
                          const char **why);

/* Result in double, want [side][side][out]; host memory.  OP_EINVAL also for cells outside the
 * map; OP_ENOMEM. */
enum op_status bev_reference(const struct bev_problem *p, const struct bev_args *a, double *want);
/* The same on the device, where maps are taken from memory (ref_f64.cu). */
enum op_status bev_reference_cuda(const struct bev_problem *p, const struct bev_args *a,
                                  const struct op_memory *memory, double *want, op_stream s);

OP_END
#endif

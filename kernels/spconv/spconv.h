/*
 * spconv.h - sparse convolution over points, and its two gradients.
 *
 *     forward   Y [out][cout]          y_k  = sum over (j, k, d) of x_j W_d
 *     dgrad     DX [in][cin]           dx_j = sum over (j, k, d) of g_k W_d^T
 *     wgrad     DW [taps][cin][cout]   dW_d = sum over (j, k, d) of x_j^T g_k
 *
 *     X [in][cin]   W [taps][cin][cout]   G [out][cout]   row-major
 *
 * A map is the set of all (input j, output k, tap d).  A dataflow is an order to
 * walk it, and implementations differ in dataflow:
 *
 *     gather-scatter   tap by tap, or all taps at once: gather rows, GEMM, scatter rows
 *     fetch-on-demand  the same without buffers; outputs meet in atomic sums
 *     implicit GEMM    output by output: a GEMM whose A is fetched through the map;
 *                      skips a tap where no row of a tile has it
 *
 * Source: TorchSparse++ (arXiv 2311.12862).
 */
#ifndef KERNELS_SPCONV_H
#define KERNELS_SPCONV_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

enum spconv_dtype {
    SPCONV_F16,  /* half operands and results, float sums */
    SPCONV_TF32, /* float, multiplied as TF32 */
    SPCONV_F32   /* float throughout */
};

enum spconv_pass { SPCONV_FORWARD, SPCONV_DGRAD, SPCONV_WGRAD };

enum {
    SPCONV_TAPS_MAX = 32,  /* taps of a row are a 32-bit mask */
    SPCONV_SPLITS_MAX = 4,
    SPCONV_TILE = 128      /* rows of a tile; lists of rows are padded to it */
};

struct spconv_problem {
    int in, out;   /* points, >= 1 */
    int cin, cout; /* channels, >= 1 */
    int taps;      /* 1 .. SPCONV_TAPS_MAX */
    long pairs;    /* of the map, < 2^31 */
    int same;      /* 1: outputs are the inputs and the middle tap pairs each with itself */
    enum spconv_pass pass;
    enum spconv_dtype dtype;
};

/* The forms of one map; all host or all device pointers, never mixed. */
struct spconv_map {
    const int32_t *by_out;            /* [out][taps] input, or -1 */
    const int32_t *by_in;             /* [in][taps] output, or -1: the transposed map */
    const int32_t *start;             /* [taps+1] first pair of each tap */
    const int32_t *pair_in, *pair_out; /* [pairs] by tap, then by output */
};

/* Operands of one launch, 256-byte aligned, on the device that runs it.  A pass
 * reads two of x, w, g and writes y: the result of the pass.  Everything is in the
 * dtype, but y of wgrad, which is float. */
struct spconv_args {
    struct spconv_map map;
    const void *x, *w, *g;
    void *y;
};

/* Enqueues one pass; what y held before does not matter.  state is what set-up
 * stored. */
typedef enum op_status spconv_run_fn(const struct spconv_problem *, const struct spconv_args *,
                                     void *state, op_stream);

/* What a layer does with sums of forward or dgrad, in float, before they are rounded:
 * relu(sums + bias + residual), 0 where mask is not above 0; what is NULL or 0 left out. */
struct spconv_rest {
    const float *bias;    /* [columns of y] */
    const void *residual; /* as y, which it may be */
    int relu;
    const void *mask;     /* as y, which it may not be: the rows that a ReLU gave */
};
typedef enum op_status spconv_run_with_fn(const struct spconv_problem *, const struct spconv_args *,
                                          const struct spconv_rest *, void *state, op_stream);

/* What is done once for a map: sorting, lists, workspace.  host: the map in host
 * memory.  May synchronise; timed as set-up.  On failure *state is NULL. */
typedef enum op_status spconv_setup_fn(const struct spconv_problem *, const struct spconv_map *host,
                                       const struct spconv_args *, const struct op_memory *,
                                       op_stream, void **state);

/* Set-up of another layer on the same map in the same pass: what follows from the map alone is that
 * of like, a state of the same row, which must stay as long. */
typedef enum op_status spconv_setup_like_fn(const struct spconv_problem *, const void *like,
                                            const struct op_memory *, op_stream, void **state);

/* Another way of those that a tuner may choose among, 1 .. settings; 0: what set-up chose.  Changes
 * a state that set-up made of the same problem and arguments; waits. */
typedef enum op_status spconv_adjust_fn(const struct spconv_problem *,
                                        const struct spconv_map *host, const struct spconv_args *,
                                        int setting, op_stream, void *state);

/* Whether two settings run the same on a map, of which start alone is read.  Builds without CUDA
 * have it too. */
typedef int spconv_same_setting_fn(const struct spconv_problem *, const struct spconv_map *host,
                                   int a, int b);

/* What an implementation executes, beside what the problem asks for. */
struct spconv_counts {
    double slots;       /* pairs multiplied, absent ones included; pairs where none is */
    double extra_bytes; /* buffers between steps, indices, atomic sums */
};

struct spconv_impl {
    struct op_impl base; /* first: a pointer to it is a pointer to the whole */
    /* OP_OK, or OP_EUNSUPPORTED and *why set to a constant text. */
    enum op_status (*supports)(const struct spconv_problem *, const char **why);
    spconv_setup_fn *setup;        /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    spconv_run_fn *run;            /* NULL where the build has no CUDA */
    /* NULL: pairs, and no extra bytes. */
    void (*counts)(const struct spconv_problem *, const void *state, struct spconv_counts *);
    spconv_run_with_fn *run_with; /* run with a rest; NULL: none */
    int half_sums; /* sums or parts of them pass through half: judged with its unit roundoff */
    int settings;             /* that adjust knows; 0: none */
    spconv_adjust_fn *adjust;
    spconv_same_setting_fn *same_setting; /* NULL: never */
    spconv_setup_like_fn *setup_like;     /* NULL: none */
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct spconv_impl spconv_references[]; /* ref.c: host */
extern const struct spconv_impl spconv_kernels[];    /* impls.c */
extern const struct spconv_impl spconv_baselines[];  /* baselines/spconv.c */

/* The row of that name in any of the three tables; NULL: none. */
const struct spconv_impl *spconv_find(const char *name);

/* Rows and columns of the result, and of the operands of the product behind it: a
 * result is rows x columns, each a sum over taps x inner. */
struct spconv_size {
    long rows, columns;
};
struct spconv_size spconv_result(const struct spconv_problem *p);

/* The result in double precision, want and bound as in spmm.h: u_acc is the unit
 * roundoff of float, and in loose [rows][columns] that of half, for rows whose sums
 * are half; of TF32, products are bounded by its unit roundoff.  spconv_ref works on
 * host pointers, spconv_ref_cuda on device pointers and enqueues; there bound and loose may
 * both be NULL. */
enum op_status spconv_ref(const struct spconv_problem *p, const struct spconv_args *a, double *want,
                          float *bound, float *loose);
enum op_status spconv_ref_cuda(const struct spconv_problem *p, const struct spconv_args *a,
                               double *want, float *bound, float *loose, op_stream s);

OP_END
#endif

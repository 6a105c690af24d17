/*
 * rgcn.h - scores of the nodes of a graph whose edges have kinds: two layers of relational
 * graph convolution.
 *
 *     H = relu(layer(X, W1))     Y = layer(H, W2)
 *     layer(X, W)_i = sum over relations r, over edges j -> i of r, of c_ir x_j W_r
 *
 *     X [nodes][in]   W1 [relations][in][hidden]   W2 [relations][hidden][out]   Y [nodes][out]
 *     row-major floats; c_ir = 1 / (edges of r into i)
 *
 * It is sparse convolution with relations for taps, but uneven ones, and with many inputs of one
 * tap at one output.  With U pairs (r, i) that have an edge and V pairs (r, j), a layer is
 *
 *     sum first       Z [U][in] = means of X; products Z W_r; sums over the relations of i
 *     product first   M [V][out] = x_j W_r; sums of c M over the edges of i
 *
 * Sources: Schlichtkrull et al. (arXiv 1703.06103); widths, norm and graphs as TorchSparse++
 * (arXiv 2311.12862) and Graphiler measure inference.
 */
#ifndef KERNELS_RGCN_H
#define KERNELS_RGCN_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

enum { RGCN_WIDTH_MAX = 256 };

struct rgcn_problem {
    int nodes, relations;
    long edges;          /* < 2^31 */
    int in, hidden, out; /* multiples of 4, <= RGCN_WIDTH_MAX */
};

/* Edges by relation, in it by target, then by source; all host or all device pointers. */
struct rgcn_graph {
    const int32_t *start;     /* [relations+1] first edge of each relation */
    const int32_t *src, *dst; /* [edges] */
    const float *norm;        /* [edges] c of the edge */
};

/* Operands of one launch, 256-byte aligned, on the device that runs it. */
struct rgcn_args {
    struct rgcn_graph graph;
    const float *x, *w1, *w2;
    float *y;
};

/* Enqueues both layers; what y held before does not matter.  state is what set-up stored. */
typedef enum op_status rgcn_run_fn(const struct rgcn_problem *, const struct rgcn_args *,
                                   void *state, op_stream);

/* What is done once for a graph.  host: the graph in host memory.  May synchronise.  The
 * addresses in args are those of the run.  On failure *state is NULL. */
typedef enum op_status rgcn_setup_fn(const struct rgcn_problem *, const struct rgcn_graph *host,
                                     const struct rgcn_args *, const struct op_memory *,
                                     op_stream, void **state);

/* What an implementation executes. */
struct rgcn_counts {
    double rows;        /* multiplied by a weight matrix, of both layers, padding included */
    double extra_bytes; /* buffers between steps, and indices */
};

struct rgcn_impl {
    struct op_impl base; /* first */
    /* OP_OK, or OP_EUNSUPPORTED and *why a constant text; NULL: every problem. */
    enum op_status (*supports)(const struct rgcn_problem *, const char **why);
    rgcn_setup_fn *setup;          /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    rgcn_run_fn *run;              /* NULL where the build has no CUDA */
    void (*counts)(const struct rgcn_problem *, const void *state, struct rgcn_counts *);
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct rgcn_impl rgcn_references[]; /* ref.c: host */
extern const struct rgcn_impl rgcn_kernels[];    /* impls.c */
extern const struct rgcn_impl rgcn_baselines[];  /* baselines/rgcn.c */

/* OP_OK; OP_EINVAL for sizes that are not positive, or widths that rgcn_problem forbids. */
enum op_status rgcn_check(const struct rgcn_problem *p);

/* c of every edge: norm [edges]. */
void rgcn_norms(const struct rgcn_problem *p, const struct rgcn_graph *g, float *norm);

/* The scores in double on host pointers: want [nodes][out], and bound, how far a float may lie
 * from each: rounding of both layers, that of the first carried through the second.
 * OP_OK, OP_EINVAL, OP_ENOMEM. */
enum op_status rgcn_ref(const struct rgcn_problem *p, const struct rgcn_args *a, double *want,
                        float *bound);

/* ---- one layer of a problem ---- */

struct rgcn_layer {
    int in, out;
    const float *x, *w;
    float *y;
    int relu; /* of what is read: max(x, 0), for a layer before leaves its sums as they are */
};

/* Layer l, 0 or 1; hidden [nodes][p->hidden] lies between them. */
struct rgcn_layer rgcn_layer_of(const struct rgcn_problem *p, const struct rgcn_args *a,
                                float *hidden, int l);

/* ---- parts of a graph, made on the host (parts.c) ---- */

/* Pairs of a relation and a node that it touches, by relation, then by node. */
struct rgcn_pairs {
    int count;
    int32_t *first; /* [relations+1] first pair of each relation */
    int32_t *node;  /* [count] */
    int32_t *edge;  /* [count+1] first edge: of targets only */
    int32_t *of;    /* [edges] pair of each edge: of sources only */
};
enum op_status rgcn_targets(const struct rgcn_problem *p, const struct rgcn_graph *g,
                            struct rgcn_pairs *out);
enum op_status rgcn_sources(const struct rgcn_problem *p, const struct rgcn_graph *g,
                            struct rgcn_pairs *out);
void rgcn_pairs_free(struct rgcn_pairs *t); /* accepts { 0 } */

/* Items 0 .. count - 1 by a node that each has: row_ptr [nodes+1], item [count] ascending in a
 * row.  The caller frees both.  OP_OK or OP_ENOMEM. */
enum op_status rgcn_rows(int nodes, int count, const int32_t *node, int32_t **row_ptr,
                         int32_t **item);

/* Floating-point operations of the cheaper order of each layer, and bytes: operands once, and
 * with the hidden layer and an access of the narrower side for every edge. */
void rgcn_work(const struct rgcn_problem *p, int targets, int sources, double *flops,
               double *least, double *model);

OP_END
#endif

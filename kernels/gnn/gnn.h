/*
 * gnn.h - one step of a graph neural network on a whole graph.
 *
 * Every node has `features` numbers; two layers turn them into scores for
 * `classes` classes.  A layer multiplies by weights and adds up over the
 * neighbours.  With A [nodes][nodes] sparse, X [nodes][in], d the row lengths:
 *
 *   GCN    Y = A X W + b              A = D_in^-1/2 (G + I) D_out^-1/2
 *   SAGE   Y = X V + A X W + b        A = D^-1 G, the mean over the neighbours
 *   GIN    Y = relu(A X W + b) U + c  A = G + I, a sum; epsilon is 0
 *
 * G is the pattern of the graph.  Between layers there is a ReLU.  GIN's two
 * matrices count as two layers here, of which one aggregates.
 *
 * A step of training is: forward, mean cross entropy of the softmax over all
 * nodes, gradients of all weights and biases, one step of gradient descent.
 * It reads the weights and writes new ones elsewhere, so it can be repeated.
 *
 * A (X W) = (A X) W: a layer multiplies first where that makes the aggregation
 * narrower, in > out, and aggregates first otherwise.  `mid` is what lies between.
 *
 *   in > out     mid = X W     Y = A mid
 *                dmid = A' dY  dW = X' dmid   dX = dmid W'
 *   otherwise    mid = A X     Y = mid W
 *                dW = mid' dY  dmid = dY W'   dX = A' dmid
 *   SAGE also    Y += X V      dV = X' dY     dX += dY V'
 *
 * Sources: Kipf and Welling (arXiv 1609.02907), Hamilton et al. (arXiv 1706.02216),
 * Xu et al. (arXiv 1810.00826); the order of product and aggregation is that of
 * DGL's layers.  DA-SpMM (arXiv 2202.08556) speeds up the aggregations.
 */
#ifndef KERNELS_GNN_H
#define KERNELS_GNN_H

#include "../op.h"

OP_BEGIN

enum gnn_model { GNN_GCN, GNN_SAGE, GNN_GIN };
enum gnn_pass {
    GNN_TRAIN,  /* the whole step */
    GNN_FORWARD /* scores only */
};

enum {
    GNN_LAYERS_MAX = 4,
    GNN_WIDTH_MAX = 1024,  /* of hidden layers */
    GNN_CLASSES_MAX = 128,
    GNN_BLOCKS_MAX = 528   /* parts that sums over nodes are made of */
};

struct gnn_problem {
    int nodes;
    int features, hidden, classes; /* multiples of 4 */
    enum gnn_model model;
    enum gnn_pass pass;
    float rate;                    /* of gradient descent */
};

/* Y = [A] X W + b, and X V too where v is not -1. */
struct gnn_layer {
    int in, out;
    int aggregates;    /* 0: dense */
    int product_first; /* in > out */
    long w, v;         /* [in][out], offsets into the parameters; v -1: none */
    long b;            /* [out] */
};

/* All weights, then all biases: b of the layers follow one another. */
struct gnn_net {
    int nodes, layers;
    enum gnn_pass pass;
    float rate;
    struct gnn_layer layer[GNN_LAYERS_MAX];
    long weights, biases; /* weights: elements before the first bias */
};

/* OP_OK; OP_EINVAL for sizes that are not positive or no multiples of 4;
 * OP_EUNSUPPORTED beyond the limits above. */
enum op_status gnn_net_of(const struct gnn_problem *p, struct gnn_net *net);

/* Parts that sums over the nodes are made of; part t has rows gnn_part_begin(t) .. (t + 1) on
 * the host, and every so many rows on the device. */
int gnn_parts(int nodes);

/* Elements: of all weights and biases; of what a step writes; of partial sums. */
long gnn_parameters(const struct gnn_net *net);
long gnn_result_size(const struct gnn_net *net);
long gnn_partial_size(const struct gnn_net *net);

/* A training step writes { loss, 0, 0, 0, gradients, new parameters }, a forward
 * pass the scores [nodes][classes]. */
enum { GNN_LOSS = 0, GNN_GRADIENT = 4 };
static inline long gnn_updated_at(const struct gnn_net *net)
{
    return GNN_GRADIENT + gnn_parameters(net);
}

/* Buffers of a step, all on one device, 256-byte aligned, elements of `size` bytes: 4 float,
 * 8 double.  Row-major without gaps. */
struct gnn_buffers {
    size_t size;
    const void *x;         /* [nodes][features] */
    const int *label;      /* [nodes], 0 .. classes - 1 */
    const void *parameter; /* [gnn_parameters] */
    void *act[GNN_LAYERS_MAX]; /* [nodes][out], after ReLU; of the last layer: scores, then
                                * their gradient; a forward pass has `result` there */
    void *mid[GNN_LAYERS_MAX]; /* [nodes][in or out], NULL for a dense layer */
    void *gradient[2];     /* [nodes][hidden]; training only, like the rest */
    void *gradient_mid;    /* [nodes][widest aggregation backward] */
    void *partial;         /* [gnn_partial_size] */
    void *result;          /* [gnn_result_size] */
};

/* Elements of each buffer; 0: it is not needed.  x, label, parameter and result aside. */
struct gnn_sizes {
    size_t act[GNN_LAYERS_MAX], mid[GNN_LAYERS_MAX], gradient[2], gradient_mid, partial;
};
struct gnn_sizes gnn_sizes_of(const struct gnn_net *net);

/* ---- the steps, as one device does them ---- */

/* An aggregation: backward takes the transpose of A. */
struct gnn_aggregation {
    int layer, backward;
    int width;
    const void *from; /* [nodes][width] */
    void *to;
};

/* A member that is NULL leaves steps of that kind out: a walk that only looks at
 * the aggregations.  All enqueue. */
struct gnn_ops {
    /* C [m][n] = op(A) op(B), or added to C; op transposes where at, bt are set. */
    enum op_status (*product)(void *context, int at, int bt, int m, int n, int k, const void *a,
                              const void *b, int add, void *c);
    enum op_status (*aggregate)(void *context, const struct gnn_aggregation *);
    /* y [nodes][width] += b, and max(0, y) if relu. */
    enum op_status (*bias)(void *context, int width, int relu, const void *b, void *y);
    /* g = 0 where act is 0; sums of g over the nodes into partial [parts][width]. */
    enum op_status (*relu_back)(void *context, int width, const void *act, void *g, void *partial);
    /* z + b [nodes][width] are scores: their gradient into z, its sums over the nodes into
     * partial [parts][width], sums of the loss into loss [parts]. */
    enum op_status (*loss)(void *context, int width, const void *b, void *z, void *partial,
                           void *loss);
    /* Gradients of the biases and the loss from partial sums, new parameters from gradients. */
    enum op_status (*finish)(void *context);
};

/* All steps of the net in order; stops at the first fault. */
enum op_status gnn_step(const struct gnn_net *net, const struct gnn_buffers *b,
                        const struct gnn_ops *ops, void *context);

/* What every element of a step needs; the context of the functions below starts with it. */
struct gnn_context {
    const struct gnn_net *net;
    const struct gnn_buffers *b;
    op_stream stream;
};

/* host.c: float, with OpenMP and OpenBLAS; aggregate is left to the caller. */
extern const struct gnn_ops gnn_host_ops;
/* gnn_ops.product without a context, elements of `size` bytes: rows of C to threads of OpenMP, one
 * thread of OpenBLAS to each, for threads of both at once would wait for each other's cores. */
void gnn_host_product(size_t size, int at, int bt, int m, int n, int k, const void *a,
                      const void *b, int add, void *c);

/* elementwise.cu: bias, relu_back, loss and finish; float or double by the size in b. */
enum op_status gnn_cuda_bias(void *context, int width, int relu, const void *b, void *y);
enum op_status gnn_cuda_relu_back(void *context, int width, const void *act, void *g,
                                  void *partial);
enum op_status gnn_cuda_loss(void *context, int width, const void *b, void *z, void *partial,
                             void *loss);
enum op_status gnn_cuda_finish(void *context);

/* ---- references ---- */

/* A, host or device, never mixed. */
struct gnn_graph {
    const int *row_ptr, *col; /* CSR */
    const float *val;
};

/* The step by its definition in double on the host, in no order but that of the formulas:
 * always A X before the product.  result as a step writes it, [gnn_result_size].
 * OP_OK, OP_EINVAL, OP_ENOMEM. */
enum op_status gnn_ref(const struct gnn_net *net, const struct gnn_graph *a,
                       const struct gnn_graph *transposed, const float *x, const int *label,
                       const float *parameter, double *result);

/* ref_f64.cu: Y [nodes][width] = A X in double, and doubles from floats; enqueue. */
enum op_status gnn_cuda_aggregate_f64(int nodes, const struct gnn_graph *a, int width,
                                      const double *x, double *y, op_stream s);
enum op_status gnn_cuda_widen(size_t n, const float *from, double *to, op_stream s);

/* ---- implementations: the same step with different aggregations ---- */

struct gnn_impl {
    struct op_impl base; /* first */
    /* Names of rows of spmm, ended by NULL: those that cover an aggregation are tried at
     * set-up and the fastest stays; `otherwise`, or NULL, where none does. */
    const char *const *aggregate, *const *otherwise;
};

/* Ended by an entry whose base.name is NULL. */
extern const struct gnn_impl gnn_rows[]; /* impls.c */

/* Floating-point operations of a step, and bytes: of operands and results once, and with every
 * buffer between the steps written and read. */
void gnn_work(const struct gnn_net *net, long edges, double *flops, double *least, double *model);

/* ---- dense products on the GPU (baselines/gnn_cublas.c) ---- */

struct gnn_dense;
/* A cuBLAS handle on the stream; workspace from memory.  NULL: refused. */
struct gnn_dense *gnn_dense_open(const struct op_memory *memory, op_stream s);
void gnn_dense_close(struct gnn_dense *d); /* accepts NULL */
/* gnn_ops.product without a context: size 4 float (no TF32), 8 double. */
enum op_status gnn_dense_product(struct gnn_dense *d, size_t size, int at, int bt, int m, int n,
                                 int k, const void *a, const void *b, int add, void *c);
/* C [count][m][n] = A [m][k] times each of B [count][k][n]; float. */
enum op_status gnn_dense_batch(struct gnn_dense *d, int count, int m, int n, int k, const float *a,
                               const float *b, float *c);

OP_END
#endif

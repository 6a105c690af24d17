/*
 * sparse_net.h - whole networks of sparse convolutions: maps and layers of one scan.
 *
 *     tensor   rows of half of one level, `channels` wide; it may be columns of a wider tensor, so
 *              that a concatenation is two layers that write side by side
 *     layer    y = relu(conv(x) + bias + residual); bias and weights have the norm folded in
 *
 * MinkUNet: stem, four times down (kernel 2 stride 2, two residual blocks), four times up (its
 * transpose, concatenation with the level's rows, two blocks), linear head.  CenterPoint: the
 * encoder, three strided stages and a (1,3,1) layer.  A block is conv3, ReLU, conv3, plus its
 * input (through a 1x1x1 where channels differ), ReLU.
 *
 * A training step is a forward run that keeps all rows, then from a gradient G of the output
 *
 *     G masked where the layer's ReLU gave 0       also added to the gradient of its residual
 *     DW [taps][channels][columns] float           of every layer
 *     DX                                           added to the gradient of its input
 *
 * Gradients of rows are half.  Biases stand for folded norms and stay as they are.
 *
 * Source: TorchSparse++ (arXiv 2311.12862) and the authors' code of its workloads.
 */
#ifndef KERNELS_SPARSE_NET_H
#define KERNELS_SPARSE_NET_H

#include "../kmap/build.h"
#include "../spconv/spconv.h"

OP_BEGIN

enum sparse_net_kind { SPARSE_NET_MINKUNET_1X, SPARSE_NET_MINKUNET_05X, SPARSE_NET_CENTERPOINT };

enum {
    SPARSE_NET_LAYERS_MAX = 64,
    SPARSE_NET_TENSORS_MAX = 72,
    SPARSE_NET_SLOTS_MAX = SPARSE_NET_TENSORS_MAX,
    SPARSE_NET_FLOWS_MAX = 64,
    SPARSE_NET_CLASSES = 32 /* scores of a voxel: 19 or 32 classes, filled up */
};

struct sparse_tensor {
    int level, channels;
    int whole, at; /* columns at .. at + channels - 1 of tensor `whole`; itself and 0: its own */
    int member, column; /* what whole and at were before sparse_net_separate; -1 and 0: no part */
    int slot;      /* memory of a whole tensor; tensors that are never needed at once share it */
};

struct sparse_layer {
    int step;                 /* of the plan of maps; -1: 1x1x1 */
    int taps, channels, columns;
    int from, to, residual;   /* tensors; residual -1: none */
    int join;                 /* tensor that is put together of its members after it; -1: none */
    int relu;
    int last;                 /* the second of a block: its weights are drawn half as large */
    size_t w, b;              /* offsets into weights and biases: elements, multiples of 128 */
};

struct sparse_net {
    int tensors, layers, slots;
    struct sparse_tensor tensor[SPARSE_NET_TENSORS_MAX];
    struct sparse_layer layer[SPARSE_NET_LAYERS_MAX];
    int input, output; /* tensors; the input is never part of another */
    size_t weights, biases;
};

/* Rows of a tensor and elements from one of its rows to the next. */
static inline int sparse_net_pitch(const struct sparse_net *net, int tensor)
{
    return net->tensor[net->tensor[tensor].whole].channels;
}

/* The layers of a network with `features` numbers a voxel on maps of kmap_plan_minkunet (with
 * inverse) or kmap_plan_centerpoint.  OP_EINVAL: another plan, features odd or < 2. */
enum op_status sparse_net_of(enum sparse_net_kind kind, const struct kmap_plan *maps, int features,
                             struct sparse_net *net);
/* For layers that write rows without gaps: parts get memory of their own and are joined by copies. */
void sparse_net_separate(struct sparse_net *net);
/* The same, and no tensor shares memory: slot t is tensor t. */
void sparse_net_keep(struct sparse_net *net);
/* Bytes of a slot of memory with so many rows on each level. */
size_t sparse_net_slot_bytes(const struct sparse_net *net, const int rows[KMAP_LEVELS_MAX],
                             int slot);
/* The layer as a problem of spconv; its pass is forward. */
struct spconv_problem sparse_net_layer_problem(const struct sparse_net *net,
                                               const struct kmap_plan *plan,
                                               const struct kmap_host_net *maps, int layer);
/* Pairs of a layer; floating-point operations of all layers, by definition. */
long sparse_net_pairs(const struct sparse_net *net, const struct kmap_host_net *maps, int layer);
double sparse_net_flops(const struct sparse_net *net, const struct kmap_host_net *maps);

/* One network on one scan.  Half rows: x by the caller's rows of level 0.  y: of a network that
 * ends on level 0 by those rows too, else in ascending order of (batch, x, y, z). */
struct sparse_net_problem {
    const struct sparse_net *net;
    const struct kmap_plan *maps;     /* cap: rows of every level, exact */
    const struct kmap_host_net *host; /* the same maps in host memory */
    int train;                        /* 1: a training step */
};

/* Memory of the device that runs it. */
struct sparse_net_args {
    const struct kmap_coord *coord; /* [n_in] */
    const void *x;                  /* [n_in][features] half */
    const void *w;                  /* [weights] half: of a layer [taps][channels][columns] */
    const float *b;                 /* [biases] */
    void *y;                        /* [rows][channels of the output] half */
    const void *g;                  /* training: gradient of y, as y */
    float *dw;                      /* training: [weights], gradient of w; gaps not written */
};

/* Parts of a run, or-ed: the rest of a run is copies of rows. */
enum sparse_net_part {
    SPARSE_NET_MAPS = 1,   /* coordinates to tables */
    SPARSE_NET_ORDERS = 2, /* tables to the forms that convolutions read */
    SPARSE_NET_LAYERS = 4, /* training: forward */
    SPARSE_NET_BACK = 8,   /* training: gradients */
    SPARSE_NET_ALL = 15
};

/* Or-ed to parts but SPARSE_NET_MAPS: of one group of layers alone, on maps and rows that a run
 * before left; for its time, what it computes is of no use.  Rows with `alone`. */
enum { SPARSE_NET_GROUP_SHIFT = 8 };
static inline int sparse_net_part_of_group(int group)
{
    return (group + 1) << SPARSE_NET_GROUP_SHIFT;
}

/* One way to do the layers of a group: those that share a map and its transpose. */
struct sparse_net_flow {
    const char *name;  /* short, as a tuner lists it */
    const char *layer; /* row of spconv; NULL: the row's own way */
    int splits;        /* ranges of taps in the orders that are made in a run; 0: none, or as
                        * many as the layer likes */
    int pairs;         /* lists of pairs are made in a run */
    const char *dgrad, *wgrad; /* rows of spconv; NULL: for inference only */
    int back, wback;   /* ranges in orders of the transposed map, of dgrad and of wgrad */
    int shape, most;   /* own: enum own_shape, taps of a part (own_layer.h) */
    int setting;       /* of the row `layer` where that has several; 0: its own choice */
    int refines;       /* 1 + an earlier flow, which a tuner chooses first; 0: none */
};
enum { SPARSE_NET_OWN_FLOWS = 8 }; /* of this suite's own layers */

struct sparse_net_impl {
    struct op_impl base; /* first */
    const char *maps[2]; /* builders of kmap by name, the first that covers the plan */
    const struct sparse_net_flow *flow; /* the first is what it runs unless told otherwise */
    int flows;                          /* <= SPARSE_NET_FLOWS_MAX */
    int alone;           /* run takes one group alone */
    int fused;           /* training: products add and mask gradients of rows (back.h) */
    int half_sums;       /* more values are rounded to half than the layers' results */
    enum op_status (*supports)(const struct sparse_net_impl *, const struct sparse_net_problem *,
                               const char **why);
    /* memory is kept: its context must outlive the state. */
    enum op_status (*setup)(const struct sparse_net_impl *, const struct sparse_net_problem *,
                            const struct sparse_net_args *, const struct op_memory *, op_stream,
                            void **state);
    void (*teardown)(void *state); /* accepts NULL */
    /* Training: rows of a tensor that the last run kept, without gaps, on the device; else NULL. */
    const void *(*rows)(const void *state, int tensor);
    /* From now on group g is done by flow[g]; takes memory for what was not chosen before.  NULL
     * where there is one flow. */
    enum op_status (*choose)(void *state, const int *flow, op_stream);
    /* Enqueues; parts: SPARSE_NET_ALL for a whole run. */
    enum op_status (*run)(const struct sparse_net_problem *, const struct sparse_net_args *,
                          void *state, int parts, op_stream);
};

/* Ended by a NULL name; the first, on the host, is the reference. */
extern const struct sparse_net_impl sparse_net_rows[]; /* impls.c */

/* Groups of layers: maps and their transposes, in the order in which the network meets them; that
 * of a step of the plan; whether a flow covers all layers of a group. */
int sparse_net_groups(const struct kmap_plan *maps);
int sparse_net_group(const struct kmap_plan *maps, int step);
/* Whether parts hold a step of the plan, -1: a 1x1x1 layer, which is of no group. */
static inline int sparse_net_has_step(int parts, const struct kmap_plan *maps, int step)
{
    const int group = (parts >> SPARSE_NET_GROUP_SHIFT) - 1;
    return group < 0 || (step >= 0 && sparse_net_group(maps, step) == group);
}
int sparse_net_flow_fits(const struct sparse_net_flow *flow, const struct sparse_net_problem *p,
                         int group);

/* Whether two flows are the same for all layers of a group. */
int sparse_net_flows_same(const struct sparse_net_flow *a, const struct sparse_net_flow *b,
                          const struct sparse_net_problem *p, int group);

/* The builder of a row for a plan; NULL: none. */
const struct kmap_impl *sparse_net_builder(const struct sparse_net_impl *impl,
                                           const struct kmap_plan *maps);

/* ref.c: by definition on the host, sums in double; rows between layers rounded to half as they
 * are stored.  All pointers host, coord not read; y as double [rows][channels]. */
enum op_status sparse_net_ref(const struct sparse_net_problem *p, const struct sparse_net_args *a,
                              double *y);
/* The same; act[t] [rows][channels], of every tensor, gets its rows. */
enum op_status sparse_net_ref_keep(const struct sparse_net_problem *p,
                                   const struct sparse_net_args *a, double *y,
                                   uint16_t *const act[SPARSE_NET_TENSORS_MAX]);
/* ref_train.c: gradients of a run that kept these rows.  Sums in double, gradients of rows rounded
 * to half where they are stored: masks of ReLU follow from act, so that a run is compared with the
 * gradients of its own rows.  dw [weights]; gaps between layers are 0. */
enum op_status sparse_net_ref_train(const struct sparse_net_problem *p,
                                    const struct sparse_net_args *a,
                                    uint16_t *const act[SPARSE_NET_TENSORS_MAX], double *dw);

/* ref_cuda.c: the two on the GPU.  Pointers of a, act, y and dw are of the device, maps of the
 * host; memory for rows and maps is the caller's to free once the stream is through.  coord is not
 * read. */
enum op_status sparse_net_ref_cuda(const struct sparse_net_problem *p,
                                   const struct sparse_net_args *a, const struct op_memory *memory,
                                   double *y, op_stream s);
enum op_status sparse_net_ref_train_cuda(const struct sparse_net_problem *p,
                                         const struct sparse_net_args *a,
                                         const void *const act[SPARSE_NET_TENSORS_MAX],
                                         const struct op_memory *memory, double *dw, op_stream s);
/* Bounds of gradients dw, device pointers, [weights]: a sum over many pairs carries the errors of
 * its terms, so that they follow the mean square of the tap and that of the layer.  Of an element
 * 8 limit (root of that of its tap + root of that of its layer); 0 in gaps.  Enqueues. */
enum op_status sparse_net_ref_bounds_cuda(const struct sparse_net *net, const double *dw,
                                          double limit, float *bound, op_stream s);

OP_END
#endif

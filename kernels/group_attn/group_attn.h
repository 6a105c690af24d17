/*
 * group_attn.h - attention inside groups of equal size, and the encoder layer around it.
 *
 * Rows of x (n x C) are gathered by the slots of an order (kernels/flatten), C = heads x d; slots
 * are a multiple of the group. With e the positional embedding of a row:
 *
 *     q = Wq (x + e) + bq      k = Wk (x + e) + bk      v = Wv x + bv
 *     o = softmax(q k^T / sqrt(d)) v        per head, over the keys of the row's group
 *     u = LN1(x + Wo o + bo)
 *     y = LN2(u + W2 gelu(W1 u + c1) + c2)  gelu exact (erf); LN over C, eps 1e-5
 *
 * Rows of the first n slots go back to the rows they came from; later slots repeat rows as keys and
 * are dropped.  Every matrix is [out][in], row-major.
 *
 * Embedding, of the cell (x, y) of a row: the first C / 2 numbers of x, the others of y, with
 * f(i) = 10000^(2 floor(i / 2) / (C / 2)): sin(x / f(i)) for even i, cos for odd i.
 *
 * Two operators: group_attn, attention alone (o of q, k, v), and encoder, all layers.  The encoder
 * has two schemes, which give different results and have a reference each: rows attend to their
 * group, or to all rows of their window, as earlier methods have it.
 *
 * Source: FlatFormer (arXiv 2301.08739), its published code.
 */
#ifndef KERNELS_GROUP_ATTN_GROUP_ATTN_H
#define KERNELS_GROUP_ATTN_GROUP_ATTN_H

#include <stdint.h>

#include "../flatten/flatten.h"
#include "../op.h"

OP_BEGIN

#define GROUP_ATTN_EPS 1e-5

struct group_attn_problem {
    int n, slots, group;      /* rows, slots: a multiple of group, n <= slots */
    int heads, head, hidden;  /* head: channels of one; hidden: of the feed-forward network */
};

/* One layer, host memory, C = heads x head. */
struct encoder_weights {
    const float *qkv, *qkv_bias;   /* [3][C][C] q k v, [3][C] */
    const float *out, *out_bias;   /* [C][C], [C] */
    const float *norm1, *norm2;    /* [2][C] factors, then what is added */
    const float *fc1, *fc1_bias;   /* [hidden][C], [hidden] */
    const float *fc2, *fc2_bias;   /* [C][hidden], [C] */
};

/* OP_OK, or OP_EINVAL: sizes < 1, slots not a multiple of group or below n, odd C / 2. */
enum op_status group_attn_check(const struct group_attn_problem *p);

/* Reference in double.  q, k, v, o: [slots][C], already in the order of slots.
 * OP_EINVAL; OP_ENOMEM. */
enum op_status group_attn_ref(const struct group_attn_problem *p, const double *q, const double *k,
                              const double *v, double *o);

/* Embedding of a cell: e [channels], channels a multiple of 4. */
void encoder_embed(struct flatten_cell c, int channels, double *e);

/* A layer: y [n][C] of x [n][C]; cell [n]; slot [slots] rows of x.  y may be x.
 * OP_EINVAL also for a slot outside [0, n) or a row that is no query; OP_ENOMEM. */
enum op_status encoder_layer_ref(const struct group_attn_problem *p,
                                 const struct encoder_weights *w, const struct flatten_cell *cell,
                                 const int32_t *slot, const double *x, double *y);

/* ---- operator group_attn: half operands, float sums ---- */

struct group_attn_args {
    const void *qkv; /* half [slots][3][C]: q, k, v of a slot */
    void *o;         /* half [slots][C]; rows of slots >= n may be written, none looks at them */
};

typedef enum op_status group_attn_run_fn(const struct group_attn_problem *,
                                         const struct group_attn_args *, void *state, op_stream);

struct group_attn_impl {
    struct op_impl base; /* first */
    /* OP_OK, or OP_EUNSUPPORTED and *why a constant text. */
    enum op_status (*supports)(const struct group_attn_problem *, const char **why);
    /* May be NULL, then state is NULL.  May wait for the stream. */
    enum op_status (*setup)(const struct group_attn_problem *, const struct op_memory *, op_stream,
                            void **state);
    void (*teardown)(void *state); /* NULL: nothing to do; accepts NULL */
    group_attn_run_fn *run;        /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct group_attn_impl group_attn_references[]; /* rows_ref.c: host memory */
extern const struct group_attn_impl group_attn_own[];        /* own_impls.c */
extern const struct group_attn_impl group_attn_baselines[];  /* baselines/group_attn.c: published
                                                              * forms too */

/* ---- operator encoder ---- */

enum { ENCODER_LAYERS_MAX = 16 };

enum encoder_scheme {
    ENCODER_GROUPS,  /* layer l takes order l % FLATTEN_ORDERS of the frame */
    ENCODER_WINDOWS, /* layer l: windows, shifted by half a side for odd l; group and slots
                      * do not matter */
    ENCODER_SCHEMES
};

struct encoder_problem {
    struct group_attn_problem layer;
    int layers; /* 1 .. ENCODER_LAYERS_MAX */
    int side;   /* of the grid: cells have coordinates below it */
    int window; /* side of a window of ENCODER_WINDOWS in cells; groups: see frame */
};

/* Host or device memory. */
struct encoder_frame {
    const struct flatten_cell *cell; /* [n] */
    const int32_t *slot;             /* [FLATTEN_ORDERS][slots], as flatten gives them */
    const int32_t *rank;             /* [FLATTEN_ORDERS][n]: slot[order][rank[order][i]] = i */
};

/* What set-up may look at, in host memory.  Its values are numbers that half has. */
struct encoder_host {
    struct encoder_frame frame;
    const struct encoder_weights *weights; /* [layers] */
};

/* Device memory (the reference: host), 256-byte aligned. */
struct encoder_args {
    struct encoder_frame frame;
    const void *weight; /* half [layers][count] as of encoder_offsets_of */
    const void *x;      /* half [n][C] */
    void *y;            /* half [n][C], not x */
};

typedef enum op_status encoder_run_fn(const struct encoder_problem *, const struct encoder_args *,
                                      void *state, op_stream);

struct encoder_impl {
    struct op_impl base; /* first */
    enum encoder_scheme scheme;
    enum op_status (*supports)(const struct encoder_problem *, const char **why);
    /* Once for each operand set: frames and addresses differ, values of weights do not.  *state is
     * NULL for the first set and the first one's state for the others, which may borrow from it:
     * sets run one after another.  May wait for the stream. */
    enum op_status (*setup)(const struct encoder_problem *, const struct encoder_host *,
                            const struct encoder_args *, const struct op_memory *, op_stream,
                            void **state);
    void (*teardown)(void *state); /* accepts NULL; the first set's is called first */
    encoder_run_fn *run;           /* can be captured; NULL where the build has no CUDA */
};

extern const struct encoder_impl encoder_references[]; /* rows_ref.c: host memory */
extern const struct encoder_impl encoder_own[];        /* own_impls.c */
extern const struct encoder_impl encoder_baselines[];  /* baselines/group_attn.c: published too */

/* OP_OK, or OP_EINVAL. */
enum op_status encoder_check(const struct encoder_problem *p);

/* Where the numbers of one layer begin in an array of `count`: in the order of encoder_weights,
 * without gaps. */
struct encoder_offsets {
    size_t qkv, qkv_bias, out, out_bias, norm1, norm2, fc1, fc1_bias, fc2, fc2_bias, count;
};
struct encoder_offsets encoder_offsets_of(const struct group_attn_problem *p);
/* Pointers into such an array. */
struct encoder_weights encoder_weights_at(const struct group_attn_problem *p, const float *base);

/* Embedding of all coordinates, table [side][C / 2]: of a cell it is row x, then row y. */
void encoder_embed_table(int side, int channels, float *table);

/* All layers in double on the host.  half x; y [n][C].  OP_EINVAL, OP_ENOMEM. */
enum op_status encoder_ref(const struct encoder_problem *p, enum encoder_scheme scheme,
                           const struct encoder_host *h, const uint16_t *x, double *y);
/* ref_f64.cu: the same on the device; y there.  Takes memory, waits for the stream. */
enum op_status encoder_ref_cuda(const struct encoder_problem *p, enum encoder_scheme scheme,
                                const struct encoder_host *h, const struct encoder_args *a,
                                const struct op_memory *memory, double *y, op_stream s);

/* Attention alone: want and bound [n][C] of the halves in a, how far rounding may move o; 0 for
 * all if exact.  group_attn_wanted: host memory.  The other one enqueues. */
enum op_status group_attn_wanted(const struct group_attn_problem *p,
                                 const struct group_attn_args *a, int exact, double *want,
                                 float *bound);
enum op_status group_attn_wanted_cuda(const struct group_attn_problem *p,
                                      const struct group_attn_args *a, int exact, double *want,
                                      float *bound, op_stream s);

/* ---- how the rows of a layer are cut into parts that attend ---- */

/* Arrays in one piece at `slot`, freed with encoder_parts_free. */
struct encoder_parts {
    int slots, count;     /* slots in all, parts */
    int32_t *slot;        /* [slots] rows */
    int32_t *begin;       /* [count + 1] first slot of each part */
};
/* Groups or windows of layer l.  Slots of windows: each row once, by window. */
enum op_status encoder_parts_of(const struct encoder_problem *p, enum encoder_scheme scheme,
                                const struct encoder_frame *host, int layer,
                                struct encoder_parts *out);
void encoder_parts_free(struct encoder_parts *p); /* accepts { 0 } */

OP_END
#endif

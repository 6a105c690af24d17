/*
 * llama.h - the forward pass of a Llama-family model on the host, in FP32.
 *
 *     x = embedding[token]
 *     per layer:  h = rmsnorm(x);  q, k, v = Wq h, Wk h, Wv h (+ biases), q and k rotated
 *                 x += Wo attention(q, keys, values)
 *                 h = rmsnorm(x);  x += Wdown (silu(Wgate h) * Wup h)
 *     logits = Woutput rmsnorm(x)
 *
 * Every product with a weight goes through a struct llama_linear, whose apply a
 * caller may replace, matrix by matrix: by quantised weights, by quantised inputs,
 * by one that looks at the inputs.  after_rope does the same for queries, keys and
 * values.  Weights stay in their file and are decoded in pieces at each use, unless
 * they are FP32 already or are made resident.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_LLAMA_H
#define SUITES_MODELS_LLAMA_H

#include "../data/checkpoint.h"

struct llama_linear {
    int n, k;             /* output and input channels */
    struct tensor w;      /* [n][k], as stored */
    const float *dense;   /* [n][k] FP32 in memory, or NULL: decode w at each use */
    float *own;           /* what to free: dense after llama_dense */
    float *bias;          /* [n], or NULL */
    /* y [m][n] = x [m][k] W^T + bias.  llama_apply unless replaced. */
    int (*apply)(const struct llama_linear *l, const float *x, int m, float *y);
    void *context;        /* of a replaced apply */
};

struct llama_layer {
    float *attn_norm, *ffn_norm; /* [dim] */
    struct llama_linear linear[SLOTS]; /* SLOT_Q ... SLOT_DOWN; the others are empty */
};

struct llama_machine; /* llama_machine.h */

struct llama {
    struct llama_config config;
    const struct checkpoint *checkpoint; /* the caller's */
    struct llama_layer *layer;           /* [layers] */
    struct llama_linear output;          /* [vocab][dim] */
    float *embedding;                    /* [vocab][dim], freed; NULL: the checkpoint's */
    float *norm;                         /* [dim] */
    double *frequency;                   /* [head_dim/2]: radians per position */
    /* NULL, or called once q [m][heads][head_dim] and k, v [m][kv_heads][head_dim] of a
     * layer are final, before keys and values are kept: it may change them. */
    int (*after_rope)(void *context, int layer, int m, float *q, float *k, float *v);
    void *context;
    /* NULL, or shown the inputs x [m][k] of linear layers, of Q (for K and V too), O, GATE (for
     * UP too) and DOWN, and keys and values, [m][kv_heads][head_dim], after after_rope.  It
     * returns 0, -1 after cb_error, or 1 for enough seen: what is run a layer at a time then
     * leaves out the rest of the layer for these rows, whose outputs are not written. */
    int (*watch)(void *context, enum checkpoint_slot slot, const float *x, int m);
    void *watch_context;
    /* NULL: the host computes.  Else this does, with the weights that it was last told of by
     * llama_refresh; products and after_rope only as published and as quant_int.h has them. */
    struct llama_machine *machine;
};

/* The checkpoint stays the caller's and must outlive the model.  resident: decode
 * all weights of the layers to FP32 once; up to 8 times the file in memory, but fast. */
int llama_open(const struct checkpoint *c, bool resident, struct llama *out);
void llama_close(struct llama *m); /* accepts NULL and { 0 } */

/* A machine takes over what a layer is now; layer = config.layers: the matrices behind the
 * layers.  After every change, before anything runs.  Nothing to do for the host. */
int llama_refresh(const struct llama *m, int layer);
int llama_refresh_all(const struct llama *m);

/* The product as published.  Any apply may call it. */
int llama_apply(const struct llama_linear *l, const float *x, int m, float *y);
/* Makes a matrix resident and returns it [n][k], to be changed in place, as for
 * planting outliers or folding scales; NULL after cb_error. */
float *llama_dense(struct llama_linear *l);

/* ---- a sequence in progress ---- */

struct llama_state;

/* capacity: tokens that it can take.  Beyond the model's context is refused. */
struct llama_state *llama_begin(const struct llama *m, int capacity);
void llama_end(struct llama_state *s); /* accepts NULL */
void llama_rewind(struct llama_state *s); /* back to no tokens */
int llama_position(const struct llama_state *s);

/* Takes n tokens.  logits, if not NULL, is [vocab]: those after the last. */
int llama_feed(struct llama_state *s, const int *token, int n, float *logits);

/* Takes n tokens and calls see with the logits after each, position counted from
 * the start of the sequence.  A return other than 0 ends it, and is returned. */
typedef int llama_see(void *context, int position, const float *logits);
int llama_each(struct llama_state *s, const int *token, int n, llama_see *see, void *context);

/* The same on a machine that looks at the logits itself: sums over the tokens but the first of
 * their losses and, with a reference at that machine, [n-1][vocab] log probabilities, of their
 * divergence from it; fill: the reference is written. */
int llama_losses_of(struct llama_state *s, const int *token, int n, float *reference, bool fill,
                    double *loss, double *kl);

/* ---- a layer at a time, for what changes a model layer by layer ---- */

/* What the first layer takes, x [n][dim].  The tokens must be of the vocabulary. */
void llama_embed(const struct llama *m, const int *token, int n, float *x);
/* A layer on n tokens of one sequence from its start, x [n][dim] in place, n up to
 * the state's capacity.  The state forgets its tokens, before and after. */
int llama_run_layer(struct llama_state *s, int layer, float *x, int n);
/* Its parts alone, from normed inputs h [n][dim], without the sum: y [n][dim]. */
int llama_run_attention(struct llama_state *s, int layer, const float *h, int n, float *y);
int llama_run_ffn(struct llama_state *s, int layer, const float *h, int n, float *y);

/* ---- what is measured ---- */

/* The natural logarithm of what softmax of logits [vocab] gives a token. */
double llama_log_prob(const float *logits, int vocab, int token);

/* One sequence from its start: log_prob[t] of token[t] after those before it;
 * log_prob[0] is 0, since nothing predicts it. */
int llama_score(const struct llama *m, const int *token, int n, double *log_prob);

/* The most probable continuation: feeds the n tokens and writes count more.  The
 * lowest token wins a tie. */
int llama_greedy(const struct llama *m, const int *token, int n, int count, int *out);

#endif

/*
 * quant_model.h - a whole model quantised by a recipe, ready to be evaluated; and its
 * evaluation.
 *
 * Weight-only recipes leave rounded FP32 weights.  Recipes of the integer kind quantise
 * activations and keys and values in the forward pass too, and multiply integers.
 * Embedding and output matrix stay as they are.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_QUANT_MODEL_H
#define SUITES_MODELS_QUANT_MODEL_H

#include "calibrate.h"
#include "quant.h"
#include "quant_fold.h"
#include "quant_int.h"

enum quant_flag {
    QUANT_WEIGHTS = 1 << 0,
    /* weight-only, by the options' grid */
    QUANT_AWQ = 1 << 1,          /* scale search */
    QUANT_LINEAR_LOSS = 1 << 2,  /* judged by the set's own outputs, not the module's; O too */
    QUANT_AWQ_CLIP = 1 << 3,     /* with QUANT_GPTQ: where it fits a group's grid, Q and K too */
    QUANT_GPTQ = 1 << 4,
    QUANT_GPTQ_ORDER = 1 << 5,
    QUANT_KEEP = 1 << 6,         /* a share of the input channels is not quantised */
    QUANT_SCALE_SHARE = 1 << 7,  /* a share of them is scaled by the options' factor */
    /* integers */
    QUANT_SMOOTH = 1 << 8,       /* SmoothQuant: inputs of QKV and of gate, up; alpha 0.5 */
    QUANT_ROTATE = 1 << 9,       /* the residual stream */
    QUANT_ROTATE_INSIDE = 1 << 10, /* inputs of O and down, queries and keys, as they come */
    QUANT_SMOOTH_KEYS = 1 << 11, /* SmoothAttention, alpha 0.5 */
    QUANT_SMOOTH_OUT = 1 << 12,  /* inputs of O and down, alpha 0.05 */
    QUANT_QOQ_CLIP = 1 << 13,
    QUANT_QOQ_ORDER = 1 << 14,   /* groups formed in descending order of max|x| */
    QUANT_HALF = 1 << 15         /* not quantised: linear layers rounded to half */
};

enum quant_integer {
    QUANT_FLOAT,       /* products in FP32 */
    QUANT_W8,          /* INT8 symmetric per row */
    QUANT_W4,          /* UINT4 with a zero point per row */
    QUANT_W4_ROW,      /* INT4 symmetric per row */
    QUANT_PROGRESSIVE, /* UINT4 per group on INT8 per row */
    QUANT_W4_GROUPS    /* INT4 symmetric per group; 4 % of the channels in INT8 */
};

struct quant_recipe {
    unsigned flags;          /* enum quant_flag, or-ed */
    enum quant_integer integer;
    int act_bits;            /* integers: of the activations */
    int kv_bits;             /* 0: as they are */
    enum quant_rank rank;    /* QUANT_KEEP: which channels */
};

struct quant_options {
    struct quant_grid grid;  /* group: also of the integer recipes that have groups */
    double share, factor;    /* QUANT_KEEP, QUANT_SCALE_SHARE */
    unsigned long seed;      /* of channels kept by chance, and of rotations */
    double outlier_share, outlier_factor; /* planted first, by fold_outliers; factor 1: none */
    bool outlier_kv;
    unsigned long outlier_seed;
    /* NULL, or the r of AWQ's searches, [layers][FOLD_SETS]: NAN are searched and written, the
     * others taken as found by the same search, on the same model and tokens. */
    double *ratios;
    struct llama_machine *machine; /* that calibrates and evaluates; NULL: the host */
};

struct quantised {
    struct llama model;
    struct int_linear **integer; /* [integers] */
    int integers;
    struct kv_rounding kv;
    double ratio;  /* AWQ: mean of the r chosen; else NAN */
    struct quant_steps steps; /* QUANT_SCALE_SHARE: of all matrices; else 0 */
};

/* The checkpoint must outlive *out; t: to calibrate on.  *out is NULL on failure. */
int quantised_open(const struct checkpoint *c, const struct quant_recipe *r,
                   const struct quant_options *o, const struct token_set *t,
                   struct quantised **out);
void quantised_close(struct quantised *q); /* accepts NULL */

/* ---- evaluation ---- */

/* Distributions that another model is compared with: log probabilities of the first
 * `sequences` windows, as many as fit into a limit of memory. */
struct quant_reference {
    float *log_prob; /* [sequences][length - 1][vocab], where the model runs */
    int sequences, length, vocab;
    struct cb_device *device; /* NULL: the host's memory */
};
int quant_reference_new(const struct llama *m, const struct token_set *t, size_t bytes_max,
                        struct quant_reference *out);
void quant_reference_free(struct quant_reference *r); /* accepts { 0 } */

/* loss [t->count]: mean of -log p of tokens 1 ... length-1 of each window, context only
 * the window's own.  With a reference that is filled, kl [t->count] are means over a window's
 * positions of KL(reference || model), NAN where it has no window; with fill, the reference
 * is written instead, and they are 0.  kl may be NULL. */
int quant_evaluate(const struct llama *m, const struct token_set *t, struct quant_reference *ref,
                   bool fill, double *loss, double *kl);

#endif

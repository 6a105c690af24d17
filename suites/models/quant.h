/*
 * quant.h - quantisers of weights: round to nearest, GPTQ, AWQ's two searches, and
 * the two levels of QoQ.
 *
 * A matrix is w [n][k] in FP32: n output channels, k input channels.  Quantisers that
 * only round leave the values that the codes stand for ("fake" quantisation) in w.
 *
 *     grid      w ~ scale (code - zero), one scale and zero point per `group`
 *               neighbouring input channels of one output channel
 *     H [k][k]  mean over tokens of x x^T, x the inputs of the layer: with E the error
 *               of the weights, the mean squared error of an output is E H E^T
 *
 * Sources: AWQ, arXiv 2306.00978; GPTQ, arXiv 2210.17323; QServe, arXiv 2405.04532.
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_QUANT_H
#define SUITES_MODELS_QUANT_H

#include <math.h>
#include <stdbool.h>

/* ---- grids: quant_grid.c ---- */

enum quant_range {
    QUANT_MIN_MAX,  /* from the least to the greatest of the group, zero point clamped */
    QUANT_WITH_ZERO, /* the same, 0 always inside: GPTQ's */
    QUANT_SYMMETRIC /* -max ... max, no zero point */
};

struct quant_grid {
    int bits;  /* 2 ... 8 */
    int group; /* input channels; 0: the whole row.  The last may be shorter */
    enum quant_range range;
};

/* Codes are low ... high; w ~ scale (code - zero). */
struct quant_step {
    float scale;
    int zero, low, high;
};

/* Plain comparisons, which compilers make part of a loop, unlike calls of fmaxf and fminf. */
static inline float quant_larger(float a, float b)
{
    return b > a ? b : a;
}

static inline float quant_within(float x, float bound) /* -bound ... bound */
{
    return x < -bound ? -bound : x > bound ? bound : x;
}

/* The nearest integer, the even one of two, as lrintf; any |x| beyond 2^22 only roughly, but on
 * its side of it.  Added, the number leaves no bits behind the point. */
static inline float quant_nearest(float x)
{
    return x + 0x1.8p23f - 0x1.8p23f;
}

/* Largest |x|; 0 of none. */
static inline float quant_top_abs(const float *x, int n)
{
    enum { LANES = 8 };
    float lane[LANES] = { 0 }, top = 0;
    int at = 0;
    for (; at + LANES <= n; at += LANES)
        for (int i = 0; i < LANES; i++)
            lane[i] = quant_larger(lane[i], fabsf(x[at + i]));
    for (; at < n; at++)
        lane[0] = quant_larger(lane[0], fabsf(x[at]));
    for (int i = 0; i < LANES; i++)
        top = quant_larger(top, lane[i]);
    return top;
}

struct quant_step quant_fit(const struct quant_grid *g, const float *w, int count);
/* The nearest code; what it stands for. */
int quant_code(const struct quant_step *s, float w);
float quant_value(const struct quant_step *s, float w);

int quant_groups(const struct quant_grid *g, int k); /* per row */
/* Round to nearest, in place: w [n][k]; one row. */
void quant_round(const struct quant_grid *g, float *w, int n, int k);
void quant_round_row(const struct quant_grid *g, float *w, int k);

/* Steps of the groups of w [n][k] and of the same weights with columns scaled. */
struct quant_steps {
    double groups, changed, ratio; /* groups; of them with another step; sum of new / old */
};
void quant_compare_steps(const struct quant_grid *g, const float *w, const float *scaled, int n,
                         int k, struct quant_steps *sum); /* adds */

/* ---- statistics of inputs ---- */

/* x [rows][k]: mean of |x| per channel; largest |x|; H as above. */
void quant_mean_abs(const float *x, int rows, int k, double *mean);
void quant_max_abs(const float *x, int rows, int k, float *most);
int quant_gram(const float *x, int rows, int k, float *h);
/* Sum over the rows of e [n][k] of e H e^T, H symmetric; per [n], if not NULL, gets the single
 * ones. */
int quant_energy(const float *e, int n, int k, const float *h, double *sum, double *per);

/* ---- GPTQ: quant_gptq.c ---- */

enum quant_gptq_how {
    QUANT_REORDERED = 1, /* in descending order of the diagonal of h ("act-order"), groups
                            formed in that order */
    QUANT_CLIPPED = 2    /* a group's range by AWQ's search for clipping, below, on what the columns
                            before have left of its weights, errors weighted by h's diagonal */
};

/* Rounds the columns of w one after another and lets those to come make up for the error, of
 * clipping too; how: or-ed.  The range is QUANT_WITH_ZERO unless it is symmetric or clipped. */
int quant_gptq(const struct quant_grid *g, const float *h, unsigned how, float *w, int n, int k);

/* ---- AWQ: quant_awq.c ---- */

struct quant_matrix {
    float *w;
    int n, k;
};

/* What the matrices of a set, changed in place, do to the output. */
typedef int quant_loss(void *context, double *loss);

/* Tries scale = mean^r, r = 0, 0.05, ..., 0.95, over matrices that share an input and
 * keeps the r of the least loss: *ratio; scale [k].  The matrices come back unchanged.
 * losses: [AWQ_GRID], or NULL. */
enum { AWQ_GRID = 20 };
int awq_search(const struct quant_grid *g, const struct quant_matrix *set, int count,
               const double *mean, quant_loss *loss, void *context, float *scale, double *ratio);
/* The scale [k] of one r. */
void awq_scale(const double *mean, int k, double r, float *scale);
/* w[:,p] *= scale[p], or divided by it. */
void quant_scale_columns(float *w, int n, int k, const float *scale, bool divide);
/* The bounds that clipping tries: AWQ_CLIPS parts of a group's largest magnitude, 1 ... 0.55. */
enum { AWQ_CLIPS = 10 };
static inline float awq_clip_part(int i)
{
    return 1 - (float)i / 20;
}
/* Clips every group to the bound with the least error of the group's part of the output;
 * x [rows][k], of which about 512 are used. */
int awq_clip(const struct quant_grid *g, float *w, int n, int k, const float *x, int rows);

/* ---- channels kept or scaled by hand ---- */

enum quant_rank { QUANT_BY_INPUT, QUANT_BY_WEIGHT, QUANT_BY_CHANCE };

/* Marks a share of the k channels, at least one: those of the largest mean |x|, of the
 * largest norm of the matrices' columns, or any. */
int quant_mark(const struct quant_matrix *set, int count, const double *mean, double share,
               enum quant_rank rank, unsigned long seed, bool *marked);

/* ---- QoQ: quant_qoq.c ---- */

/* Two levels: INT8 per row within +-119, then UINT4 codes with integer scale and zero
 * per group of those.  out [n][k]: the INT8 values that the codes stand for, scale [n];
 * w ~ scale out.  order: the channels in the order in which groups are formed, or NULL. */
int qoq_progressive(const float *w, int n, int k, int group, const int *order, signed char *out,
                    float *scale);
/* Shrinks the range of every row by the factor, of 21 between 1 and 0.2, with the least
 * error of its output, and clips w to it.  progressive: judged after both levels. */
int qoq_clip(const struct quant_grid *g, bool progressive, const int *order, const float *h,
             float *w, int n, int k);
/* The orthogonal matrix of rotations, applied to rows of x [n][k] in place: Hadamard
 * matrices of the largest power of two that divides k, side by side, over the root of
 * their size, signs of channels drawn from the seed; and its inverse. */
void qoq_rotate(float *x, int n, int k, unsigned long seed);
void qoq_rotate_back(float *x, int n, int k, unsigned long seed);
/* The parts of that matrix: signs [k] of the channels, returned the size of a Hadamard matrix. */
int qoq_rotation(int k, unsigned long seed, float *sign);

#endif

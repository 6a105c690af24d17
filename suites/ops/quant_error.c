/*
 * quant_error.c - quantisers on made-up layers: an experiment that is not timed and needs
 * no model.
 *
 *     W [512][1024] ~ N(0, 0.02^2)
 *     x = (A u / 4 + v) sigma   u ~ N(0, I of 64), v ~ N(0, I), A [1024][64] ~ 0.5 N(0, 1),
 *                               sigma = exp(0.6 N(0, 1)) per channel; 1 % of the channels,
 *                               the outliers, times exp(uniform between ln 10 and ln 50)
 *
 * A quantiser calibrates on `tokens` inputs and is judged on 1024 others: squared error of
 * the output over the squared output, on the same distribution and on a shifted one, where
 * all but W and the choice of outliers is drawn again.  Value: mean over the seeds; interval:
 * least and greatest of them.
 *
 * Follows the protocol that the suite's notes on AWQ (arXiv 2306.00978) set for machines
 * without a model.
 */
#include <cblas.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "../models/quant.h"
#include "bind.h"
#include "ops.h"

enum { N = 512, K = 1024, HIDDEN = 64, TEST = 1024, SEEDS_MAX = 64 };

struct quant_params {
    int bits, group, tokens, seeds, seed;
    double share, factor;
};

#define INTEGER(name, fallback, low, high, help) \
    { #name, CB_INT, offsetof(struct quant_params, name), fallback, low, high, NULL, false, help }
#define REAL(name, fallback, low, high, help) \
    { #name, CB_REAL, offsetof(struct quant_params, name), fallback, low, high, NULL, false, help }

static const struct cb_param params[] = {
    INTEGER(bits, 4, 2, 8, "of weights"),
    INTEGER(group, 128, 0, K, "input channels per scale; 0: all"),
    INTEGER(tokens, 4096, 1, 1 << 16, "to calibrate on"),
    INTEGER(seeds, 4, 1, SEEDS_MAX, "layers to take the mean of"),
    INTEGER(seed, 1, 0, 1 << 30, "of the first of them"),
    REAL(share, 0.01, 0, 1, "of channels that rows keep_* and scale_share treat apart"),
    REAL(factor, 2, 1, 1024, "by which scale_share scales them"),
    { 0 },
};

enum method { RTN, KEEP_INPUT, KEEP_WEIGHT, SCALE_SHARE, AWQ_SCALE, AWQ, GPTQ, GPTQ_R, METHODS };

#define ROW(row_name, row_title, row_origin, row_role)                                       \
    { .name = row_name, .title = row_title, .origin = row_origin, .role = row_role, .sm_min = 0, \
      .sm_max = 999 }
#define AWQ_PAPER "AWQ, arXiv 2306.00978"
#define GPTQ_PAPER "GPTQ, arXiv 2210.17323"
static const struct op_impl rows[METHODS] = {
    [RTN] = ROW("rtn", "RTN", "round to nearest", OP_BASELINE),
    [KEEP_INPUT] = ROW("keep_input", "channels of the largest inputs kept", AWQ_PAPER ", table 1",
                       OP_PAPER),
    [KEEP_WEIGHT] = ROW("keep_weight", "channels of the largest weights kept",
                        AWQ_PAPER ", table 1", OP_PAPER),
    [SCALE_SHARE] = ROW("scale_share", "channels of the largest inputs scaled",
                        AWQ_PAPER ", table 2", OP_PAPER),
    [AWQ_SCALE] = ROW("awq_scale", "AWQ, scales only", AWQ_PAPER ", section 3", OP_PAPER),
    [AWQ] = ROW("awq", "AWQ", AWQ_PAPER ", section 3 and its code", OP_PAPER),
    [GPTQ] = ROW("gptq", "GPTQ", GPTQ_PAPER, OP_BASELINE),
    [GPTQ_R] = ROW("gptq_r", "GPTQ, reordered", GPTQ_PAPER, OP_BASELINE),
};

static const struct op_impl *impl_at(int i)
{
    return i < METHODS ? &rows[i] : NULL;
}

/* ---- a layer and its inputs ---- */

/* Tensors of the random stream. */
enum { WEIGHTS, OUTLIERS, MIX, SIGMA, HEIGHT, INNER, OUTER };
enum { SAME, SHIFTED };

static double uniform(uint64_t seed, uint32_t tensor, uint32_t stream, uint64_t i)
{
    uint32_t word[4];
    philox_words(seed, tensor, stream, i, word);
    return ((double)word[0] + 0.5) * 0x1p-32;
}

/* Two of the normal distribution, tails and all, which ranges of groups depend on. */
static void normal_pair(uint64_t seed, uint32_t tensor, uint32_t stream, uint64_t i, double *a,
                        double *b)
{
    uint32_t word[4];
    philox_words(seed, tensor, stream, i, word);
    const double r = sqrt(-2 * log(((double)word[0] + 0.5) * 0x1p-32));
    const double angle = 2 * acos(-1) * ((double)word[1] + 0.5) * 0x1p-32;
    *a = r * cos(angle);
    *b = r * sin(angle);
}

/* count is even. */
static void normals(uint64_t seed, uint32_t tensor, uint32_t stream, double spread, float *out,
                    size_t count)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count / 2; i++) {
        double a, b;
        normal_pair(seed, tensor, stream, i, &a, &b);
        out[2 * i] = (float)(spread * a);
        out[2 * i + 1] = (float)(spread * b);
    }
}

struct layer {
    float *w;          /* [N][K] */
    float *x;          /* [tokens][K] to calibrate on */
    float *h;          /* [K][K] of x */
    float *test[2];    /* [K][K] of unseen inputs, SAME and SHIFTED */
    double mean[K], output[2]; /* mean |x| of x; squared output */
};

static void layer_free(struct layer *l)
{
    free(l->w);
    free(l->x);
    free(l->h);
    free(l->test[SAME]);
    free(l->test[SHIFTED]);
}

/* Inputs first ... first + count - 1 of a distribution, into x [count][K]. */
static int draw_inputs(uint64_t seed, uint32_t which, const bool *outlier, int first, int count,
                       float *x)
{
    const size_t inner = (size_t)count * HIDDEN, outer = (size_t)count * K;
    float *a = malloc((size_t)K * HIDDEN * sizeof *a), *u = malloc(inner * sizeof *u);
    float sigma[K];
    if (!a || !u) {
        free(a);
        free(u);
        return cb_error("no memory for %d inputs", count);
    }
    normals(seed, MIX, which, 0.5, a, (size_t)K * HIDDEN);
    normals(seed, SIGMA, which, 0.6, sigma, K);
    /* every token has a stream of its own, so that more of them do not change the first */
    for (int i = 0; i < count; i++) {
        normals(seed, INNER, 2 * (uint32_t)(first + i) + which, 1, u + (size_t)i * HIDDEN, HIDDEN);
        normals(seed, OUTER, 2 * (uint32_t)(first + i) + which, 1, x + (size_t)i * K, K);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, K, HIDDEN, 0.25f, u, HIDDEN, a,
                HIDDEN, 1, x, K);
    for (int p = 0; p < K; p++) {
        const double between = uniform(seed, HEIGHT, which, (uint64_t)p);
        sigma[p] = (float)(exp((double)sigma[p]) *
                           (outlier[p] ? exp(log(10) + between * log(5)) : 1));
    }
    for (size_t i = 0; i < outer; i++)
        x[i] *= sigma[i % K];
    free(a);
    free(u);
    return 0;
}

static int layer_make(const struct quant_params *p, int index, struct layer *l)
{
    const uint64_t seed = (uint64_t)p->seed + (uint64_t)index;
    const struct quant_matrix none = { NULL, 0, K };
    const size_t square = (size_t)K * K;
    bool outlier[K];
    float *x = malloc((size_t)TEST * K * sizeof *x);
    int status = -1;
    *l = (struct layer){ .w = malloc((size_t)N * K * sizeof(float)) };
    l->x = malloc((size_t)p->tokens * K * sizeof(float));
    l->h = malloc(square * sizeof(float));
    l->test[SAME] = malloc(square * sizeof(float));
    l->test[SHIFTED] = malloc(square * sizeof(float));
    if (!x || !l->w || !l->x || !l->h || !l->test[SAME] || !l->test[SHIFTED]) {
        cb_error("no memory for a layer of %d x %d", N, K);
        goto done;
    }
    normals(seed, WEIGHTS, 0, 0.02, l->w, (size_t)N * K);
    if (quant_mark(&none, 1, NULL, 0.01, QUANT_BY_CHANCE, seed, outlier) ||
        draw_inputs(seed, SAME, outlier, TEST, p->tokens, l->x) ||
        quant_gram(l->x, p->tokens, K, l->h))
        goto done;
    quant_mean_abs(l->x, p->tokens, K, l->mean);
    for (uint32_t which = SAME; which <= SHIFTED; which++)
        if (draw_inputs(seed, which, outlier, 0, TEST, x) ||
            quant_gram(x, TEST, K, l->test[which]) ||
            quant_energy(l->w, N, K, l->test[which], &l->output[which], NULL))
            goto done;
    status = 0;
done:
    free(x);
    if (status)
        layer_free(l);
    return status;
}

/* ---- quantisers ---- */

struct searching {
    const struct layer *l;
    float *w, *e;
};

static int output_error(void *context, double *loss)
{
    const struct searching *s = context;
    for (size_t i = 0; i < (size_t)N * K; i++)
        s->e[i] = s->w[i] - s->l->w[i];
    return quant_energy(s->e, N, K, s->l->h, loss, NULL);
}

struct result {
    double error[2], ratio;
    struct quant_steps steps;
};

static int quantise_awq(const struct quant_params *p, const struct layer *l, bool clip, float *w,
                        float *e, double *ratio)
{
    const struct quant_grid g = { p->bits, p->group, QUANT_MIN_MAX };
    const struct quant_matrix set = { w, N, K };
    struct searching s = { l, w, e };
    float scale[K], *x = NULL;
    int status = awq_search(&g, &set, 1, l->mean, output_error, &s, scale, ratio);
    if (status)
        return -1;
    quant_scale_columns(w, N, K, scale, false);
    if (clip) {
        const size_t count = (size_t)p->tokens * K;
        if (!(x = malloc(count * sizeof *x)))
            return cb_error("no memory for %d inputs", p->tokens);
        memcpy(x, l->x, count * sizeof *x);
        quant_scale_columns(x, p->tokens, K, scale, true);
        status = awq_clip(&g, w, N, K, x, p->tokens);
        free(x);
    }
    quant_round(&g, w, N, K);
    quant_scale_columns(w, N, K, scale, true);
    return status;
}

static int quantise_marked(const struct quant_params *p, const struct layer *l, enum method method,
                           float *w, struct quant_steps *steps)
{
    const struct quant_grid g = { p->bits, p->group, QUANT_MIN_MAX };
    const struct quant_matrix set = { w, N, K };
    bool marked[K];
    float scale[K];
    if (quant_mark(&set, 1, l->mean, p->share,
                   method == KEEP_WEIGHT ? QUANT_BY_WEIGHT : QUANT_BY_INPUT, 0, marked))
        return -1;
    for (int k = 0; k < K; k++)
        scale[k] = marked[k] && method == SCALE_SHARE ? (float)p->factor : 1;
    quant_scale_columns(w, N, K, scale, false);
    if (method == SCALE_SHARE)
        quant_compare_steps(&g, l->w, w, N, K, steps);
    quant_round(&g, w, N, K);
    quant_scale_columns(w, N, K, scale, true);
    for (size_t i = 0; i < (size_t)N * K && method != SCALE_SHARE; i++)
        if (marked[i % K])
            w[i] = l->w[i];
    return 0;
}

static int quantise(const struct quant_params *p, const struct layer *l, enum method method,
                    struct result *out)
{
    const struct quant_grid g = { p->bits, p->group, QUANT_MIN_MAX };
    const size_t bytes = (size_t)N * K * sizeof(float);
    float *w = malloc(bytes), *e = malloc(bytes);
    int status = w && e ? 0 : cb_error("no memory for a layer of %d x %d", N, K);
    *out = (struct result){ .ratio = NAN };
    if (!status)
        memcpy(w, l->w, bytes);
    if (!status && method == RTN)
        quant_round(&g, w, N, K);
    else if (!status && (method == AWQ || method == AWQ_SCALE))
        status = quantise_awq(p, l, method == AWQ, w, e, &out->ratio);
    else if (!status && (method == GPTQ || method == GPTQ_R))
        status = quant_gptq(&g, l->h, method == GPTQ_R ? QUANT_REORDERED : 0, w, N, K);
    else if (!status)
        status = quantise_marked(p, l, method, w, &out->steps);
    for (size_t i = 0; !status && i < (size_t)N * K; i++)
        e[i] = w[i] - l->w[i];
    for (int which = SAME; !status && which <= SHIFTED; which++) {
        status = quant_energy(e, N, K, l->test[which], &out->error[which], NULL);
        out->error[which] /= l->output[which];
    }
    free(w);
    free(e);
    return status;
}

/* ---- the operator ---- */

struct instance {
    struct quant_params given;
    struct layer layer; /* the one last made */
    int made;           /* its index; -1: none */
    struct result result[METHODS][SEEDS_MAX];
};

static int open_layers(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = in;
    if (!in)
        return cb_error("no memory for layers");
    in->given = *(const struct quant_params *)given;
    in->made = -1;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "W", .dtype = "f32", .shape = { N, K } };
    out[1] = (struct cb_input){ .name = "X", .dtype = "f32", .shape = { in->given.tokens, K } };
    snprintf(out[0].gen, sizeof out[0].gen, "normal, Philox 4x32-10, %d seeds from %d",
             in->given.seeds, in->given.seed);
    snprintf(out[1].gen, sizeof out[1].gen, "64 factors, 1 %% outlier channels of 10 to 50");
    for (int i = 0; i < 2; i++)
        snprintf(out[i].source, sizeof out[i].source, "generated");
    return 2;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    (void)c;
    return op_bind_row(instance, i, rows, sizeof *rows, bound);
}

static int run(void *bound, int weights, int activations)
{
    const struct op_row *b = bound;
    struct instance *in = b->in;
    /* forwards, then backwards: the next row begins with the layer that is there */
    const bool back = in->made > 0;
    (void)weights, (void)activations;
    for (int n = 0; n < in->given.seeds; n++) {
        const int i = back ? in->given.seeds - 1 - n : n;
        if (in->made != i) {
            if (in->made >= 0)
                layer_free(&in->layer);
            in->made = -1;
            if (layer_make(&in->given, i, &in->layer))
                return -1;
        }
        if (quantise(&in->given, &in->layer, b->row, &in->result[b->row][i]))
            return -1;
        in->made = i;
    }
    return 0;
}

static double value_of(const struct result *r, int what)
{
    switch (what) {
    case 0: return r->error[SAME];
    case 1: return r->error[SHIFTED];
    case 2: return r->ratio;
    case 3: return r->steps.groups > 0 ? 100 * r->steps.changed / r->steps.groups : NAN;
    default: return r->steps.groups > 0 ? r->steps.ratio / r->steps.groups : NAN;
    }
}

static int figures(void *bound, struct cb_figure *out)
{
    static const struct {
        const char *name, *unit;
    } what[] = { { "error", "" }, { "error_shifted", "" }, { "ratio", "" }, { "changed", "%" },
                 { "step_ratio", "" } };
    const struct op_row *b = bound;
    struct instance *in = b->in;
    const int seeds = in->given.seeds;
    int n = 0;
    for (int w = 0; w < 5; w++) {
        struct cb_figure f = { .value = 0, .low = INFINITY, .high = -INFINITY };
        for (int i = 0; i < seeds; i++) {
            const double v = value_of(&in->result[b->row][i], w);
            f.value += v / seeds;
            f.low = fmin(f.low, v);
            f.high = fmax(f.high, v);
        }
        snprintf(f.name, sizeof f.name, "%s", what[w].name);
        snprintf(f.unit, sizeof f.unit, "%s", what[w].unit);
        if (isfinite(f.value))
            out[n++] = f;
    }
    return n;
}

static void close_layers(void *instance)
{
    struct instance *in = instance;
    if (in && in->made >= 0)
        layer_free(&in->layer);
    free(in);
}

const struct cb_op op_quant_error = {
    .name = "quant_error", .title = "output error of quantised layers", .params = params,
    .params_size = sizeof(struct quant_params), .untimed = true, .impl = impl_at,
    .open = open_layers, .inputs = inputs, .ready = op_ready_always, .bind = bind, .run = run,
    .figures = figures, .unbind = free, .close = close_layers,
};

/*
 * attn_smooth.c - what SmoothAttention does to attention over a quantised cache: an experiment
 * that is not timed and needs no model.
 *
 *     X  [length][hidden] ~ N(0, 1)          Wq, Wk, Wv ~ N(0, 1 / hidden)
 *     rows of Wk of a `share` of the channels of each KV head, times 10
 *     Q = X Wq^T, K = X Wk^T, both turned by their position (RoPE, element d with d + D/2)
 *
 * The last `queries` tokens ask all of them.  SmoothAttention multiplies rows of Wq by lambda
 * and divides those of Wk by it,
 *
 *     lambda_d = lambda_{d + D/2} = max(max|K_d|, max|K_{d + D/2}|)^alpha
 *
 * found on as many other tokens: equal in the two that RoPE turns, so that it commutes with
 * RoPE and leaves Q K^T as it is.  A row folds its lambda into the weights in half, makes the
 * cache of its scheme and attends in double.  error: Frobenius norm of the difference to
 * attention over the halves without lambda, over that one's.  smooth_kv16 shows that nothing
 * but rounding changes, unpaired_kv16 what a lambda of its own for each channel would do.
 * Value: mean over the seeds; interval: least and greatest of them.
 *
 * Follows QServe (arXiv 2405.04532).
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "../../kernels/attn/attn.h"
#include "bind.h"
#include "ops.h"

enum { SEEDS_MAX = 32, PAGE = 64 };

struct smooth_params {
    int heads, kv_heads, head_dim, hidden, length, queries, seeds, seed;
    double share, alpha;
};

#define INTEGER(name, fallback, low, high, help) \
    { #name, CB_INT, offsetof(struct smooth_params, name), fallback, low, high, NULL, false, help }
#define REAL(name, fallback, low, high, help) \
    { #name, CB_REAL, offsetof(struct smooth_params, name), fallback, low, high, NULL, false, help }

static const struct cb_param params[] = {
    INTEGER(heads, 8, 1, 128, "query heads"),
    INTEGER(kv_heads, 2, 1, 128, "heads of keys and values"),
    INTEGER(head_dim, 128, 32, 256, "elements of a head"),
    INTEGER(hidden, 512, 1, 8192, "elements of a token before the projections"),
    INTEGER(length, 512, 1, 1 << 16, "tokens"),
    INTEGER(queries, 32, 1, 1 << 16, "of them that ask"),
    INTEGER(seeds, 4, 1, SEEDS_MAX, "layers to take the mean of"),
    INTEGER(seed, 1, 0, 1 << 30, "of the first of them"),
    REAL(share, 0.02, 0, 1, "of a head's channels whose keys are outliers"),
    REAL(alpha, 0.5, 0, 1, "how much of an outlier moves to the query"),
    { 0 },
};

/* ---- rows ---- */

enum lambda { NONE, PAIRED, UNPAIRED };

struct row {
    struct op_impl impl;
    enum attn_scheme scheme;
    enum lambda lambda;
};

#define ROW(row_name, text, row_role, kind, how)                                               \
    { .impl = { .name = row_name, .title = text, .role = row_role,                             \
                .origin = "SmoothAttention, QServe, arXiv 2405.04532", .sm_min = 0,            \
                .sm_max = 999 },                                                               \
      .scheme = kind, .lambda = how }

static const struct row rows[] = {
    ROW("rtn_kv16", "KV16", OP_BASELINE, ATTN_KV16, NONE),
    ROW("rtn_kv8", "KV8", OP_BASELINE, ATTN_KV8, NONE),
    ROW("rtn_kv4", "KV4", OP_BASELINE, ATTN_KV4, NONE),
    ROW("smooth_kv16", "KV16, smoothed", OP_PAPER, ATTN_KV16, PAIRED),
    ROW("smooth_kv8", "KV8, smoothed", OP_PAPER, ATTN_KV8, PAIRED),
    ROW("smooth_kv4", "KV4, smoothed", OP_PAPER, ATTN_KV4, PAIRED),
    ROW("unpaired_kv16", "KV16, each channel by itself", OP_PAPER, ATTN_KV16, UNPAIRED),
    ROW("unpaired_kv4", "KV4, each channel by itself", OP_PAPER, ATTN_KV4, UNPAIRED),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct op_impl *impl_at(int i)
{
    return i < ROWS ? &rows[i].impl : NULL;
}

/* ---- a layer ---- */

enum { INPUTS, QUERIES, KEYS, VALUES, PLACES }; /* tensors of the random stream */

static double uniform(uint64_t seed, uint32_t tensor, uint64_t i, int which)
{
    uint32_t word[4];
    philox_words(seed, tensor, 0, i, word);
    return ((double)word[which] + 0.5) * 0x1p-32;
}

static void draw(uint64_t seed, uint32_t tensor, size_t count, double size, float *x)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(size * sqrt(-2 * log(uniform(seed, tensor, i, 0))) *
                       cos(2 * acos(-1) * uniform(seed, tensor, i, 1)));
}

/* ---- work space ---- */

struct space {
    float *x, *wq, *wk, *wv;           /* x [2 length][hidden]: to judge on, to calibrate on */
    float *q, *k, *v;                  /* projections */
    float *lambda;                     /* [kv_heads][head_dim] */
    half_bits *query;                  /* [queries][heads][head_dim] */
    unsigned char *halves[2], *pages[2];
    const void **table;
    int *length;
    struct attn_wanted want, got;
};

static size_t page_count(const struct smooth_params *p)
{
    return ((size_t)p->length + PAGE - 1) / PAGE;
}

static void space_free(struct space *s)
{
    void *const all[] = { s->x, s->wq, s->wk, s->wv, s->q, s->k, s->v, s->lambda, s->query,
                          s->halves[0], s->halves[1], s->pages[0], s->pages[1], s->table,
                          s->length, s->want.want, s->want.spread, s->want.offset, s->want.score,
                          s->got.want };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static int space_make(const struct smooth_params *p, struct space *s)
{
    const size_t hidden = (size_t)p->hidden, dims = (size_t)p->head_dim;
    const size_t wide = (size_t)p->heads * dims, narrow = (size_t)p->kv_heads * dims;
    const size_t tokens = (size_t)p->length, asked = (size_t)p->queries;
    const size_t pages =
        page_count(p) * attn_page_bytes(ATTN_KV16, p->kv_heads, p->head_dim, PAGE);
    *s = (struct space){
        .x = malloc(2 * tokens * hidden * sizeof(float)),
        .wq = malloc(wide * hidden * sizeof(float)),
        .wk = malloc(narrow * hidden * sizeof(float)),
        .wv = malloc(narrow * hidden * sizeof(float)),
        .q = malloc(asked * wide * sizeof(float)),
        .k = malloc(tokens * narrow * sizeof(float)),
        .v = malloc(tokens * narrow * sizeof(float)),
        .lambda = malloc(narrow * sizeof(float)),
        .query = malloc(asked * wide * sizeof(half_bits)),
        .halves = { calloc(pages, 1), calloc(pages, 1) },
        .pages = { malloc(pages), malloc(pages) },
        .table = malloc(asked * 2 * (page_count(p) + 1) * sizeof(void *)),
        .length = malloc(asked * sizeof(int)),
        .want = { malloc(asked * wide * sizeof(double)), malloc(asked * wide * sizeof(double)),
                  malloc(asked * (size_t)p->heads * sizeof(double)),
                  malloc(asked * (size_t)p->heads * tokens * sizeof(double)) },
        .got = { .want = malloc(asked * wide * sizeof(double)) },
    };
    s->got = (struct attn_wanted){ s->got.want, s->want.spread, s->want.offset, s->want.score };
    if (!s->x || !s->wq || !s->wk || !s->wv || !s->q || !s->k || !s->v || !s->lambda ||
        !s->query || !s->halves[0] || !s->halves[1] || !s->pages[0] || !s->pages[1] ||
        !s->table || !s->length || !s->want.want || !s->want.spread || !s->want.offset ||
        !s->want.score || !s->got.want)
        return cb_error("no memory for a layer of %d heads", p->heads);
    for (size_t b = 0; b < asked; b++)
        s->length[b] = p->length;
    return 0;
}

/* ---- projections ---- */

static void round_to_half(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = half_to_float(half_from_float(x[i]));
}

/* y [tokens][width] = x w^T */
static void project(const struct smooth_params *p, const float *x, int tokens, const float *w,
                    int width, float *y)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, width, p->hidden, 1, x, p->hidden,
                w, p->hidden, 0, y, width);
}

/* Token i stands at position first + i. */
static void turn(const struct smooth_params *p, float *x, int tokens, int heads, int first)
{
    const int half = p->head_dim / 2;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < tokens * heads; i++) {
        float *const row = x + (size_t)i * (size_t)p->head_dim;
        for (int d = 0; d < half; d++) {
            const double angle =
                (first + i / heads) * pow(10000, -2.0 * d / p->head_dim);
            const double a = row[d], b = row[d + half];
            row[d] = (float)(a * cos(angle) - b * sin(angle));
            row[d + half] = (float)(b * cos(angle) + a * sin(angle));
        }
    }
}

/* Largest keys of the tokens to calibrate on, to the power of alpha. */
static void find_lambda(const struct smooth_params *p, enum lambda how, struct space *s)
{
    const int dims = p->head_dim, half = dims / 2, width = p->kv_heads * dims;
    project(p, s->x + (size_t)p->length * (size_t)p->hidden, p->length, s->wk, width, s->k);
    turn(p, s->k, p->length, p->kv_heads, 0);
    for (int i = 0; i < width; i++) {
        float most = 1e-4f;
        for (int t = 0; t < p->length; t++) {
            const float *const row = s->k + (size_t)t * (size_t)width;
            const int other = i % dims < half ? i + half : i - half;
            most = fmaxf(most, fabsf(row[i]));
            if (how == PAIRED)
                most = fmaxf(most, fabsf(row[other]));
        }
        s->lambda[i] = powf(most, (float)p->alpha);
    }
}

static void fold(const struct smooth_params *p, struct space *s)
{
    const int dims = p->head_dim, ratio = p->heads / p->kv_heads, hidden = p->hidden;
    for (int i = 0; i < p->kv_heads * dims; i++)
        for (int c = 0; c < hidden; c++)
            s->wk[(size_t)i * (size_t)hidden + (size_t)c] /= s->lambda[i];
    for (int i = 0; i < p->heads * dims; i++)
        for (int c = 0; c < hidden; c++)
            s->wq[(size_t)i * (size_t)hidden + (size_t)c] *=
                s->lambda[i / dims / ratio * dims + i % dims];
}

/* Queries, keys and values of the layer as it stands; keys and values into pages. */
static void make_cache(const struct smooth_params *p, struct space *s)
{
    const int dims = p->head_dim, wide = p->heads * dims, narrow = p->kv_heads * dims;
    const int first = p->length - p->queries;
    const size_t bytes = attn_page_bytes(ATTN_KV16, p->kv_heads, dims, PAGE);
    round_to_half(s->wq, (size_t)wide * (size_t)p->hidden);
    round_to_half(s->wk, (size_t)narrow * (size_t)p->hidden);
    project(p, s->x + (size_t)first * (size_t)p->hidden, p->queries, s->wq, wide, s->q);
    project(p, s->x, p->length, s->wk, narrow, s->k);
    project(p, s->x, p->length, s->wv, narrow, s->v);
    turn(p, s->q, p->queries, p->heads, first);
    turn(p, s->k, p->length, p->kv_heads, 0);
    for (size_t i = 0; i < (size_t)p->queries * (size_t)wide; i++)
        s->query[i] = half_from_float(s->q[i]);
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < p->length * p->kv_heads; i++) {
            const int t = i / p->kv_heads, head = i % p->kv_heads;
            const float *const x = (which ? s->v : s->k) + (size_t)i * (size_t)dims;
            half_bits *const to =
                (half_bits *)(s->halves[which] + (size_t)(t / PAGE) * bytes +
                              attn_data_at(ATTN_KV16, dims, PAGE, head, t % PAGE));
            for (int d = 0; d < dims; d++)
                to[d] = half_from_float(x[d]);
        }
}

/* Attention of all queries over the pages as the scheme stores them. */
static int attend(const struct smooth_params *p, enum attn_scheme scheme, struct space *s,
                  const struct attn_wanted *out)
{
    const struct attn_problem a = { p->queries, p->heads, p->kv_heads, p->head_dim, p->length, PAGE,
                                    (double)p->queries * p->length };
    const size_t width = page_count(p) + 1;
    const size_t bytes = attn_page_bytes(scheme, p->kv_heads, p->head_dim, PAGE);
    const struct attn_args args = { s->query, NULL, s->length, s->table, NULL };
    for (int which = 0; which < 2; which++) {
        const unsigned char *const pages =
            scheme == ATTN_KV16 ? s->halves[which] : s->pages[which];
        if (scheme != ATTN_KV16 &&
            op_result(attn_quantise(&a, scheme, s->halves[which], (int)page_count(p), NULL, which,
                                    s->pages[which]),
                      "cache", "codes"))
            return -1;
        for (size_t b = 0; b < (size_t)p->queries; b++)
            for (size_t i = 0; i < width; i++)
                s->table[(b * 2 + (size_t)which) * width + i] =
                    pages + (i < width - 1 ? i : width - 2) * bytes;
    }
    return op_result(attn_ref(&a, scheme, &args, out), "attention", "reference");
}

static int evaluate(const struct smooth_params *p, const struct row *r, uint64_t seed,
                    struct space *s, double *error)
{
    const size_t hidden = (size_t)p->hidden, narrow = (size_t)p->kv_heads * (size_t)p->head_dim;
    const double size = 1 / sqrt(p->hidden);
    double difference = 0, whole = 0;
    draw(seed, INPUTS, 2 * (size_t)p->length * hidden, 1, s->x);
    draw(seed, QUERIES, (size_t)p->heads * (size_t)p->head_dim * hidden, size, s->wq);
    draw(seed, KEYS, narrow * hidden, size, s->wk);
    draw(seed, VALUES, narrow * hidden, size, s->wv);
    round_to_half(s->x, 2 * (size_t)p->length * hidden);
    for (size_t i = 0; i < narrow; i++)
        if (uniform(seed, PLACES, i, 0) < p->share)
            for (size_t c = 0; c < hidden; c++)
                s->wk[i * hidden + c] *= 10;
    make_cache(p, s);
    if (attend(p, ATTN_KV16, s, &s->want))
        return -1;
    if (r->lambda != NONE) {
        find_lambda(p, r->lambda, s);
        fold(p, s);
        make_cache(p, s);
    }
    if (attend(p, r->scheme, s, &s->got))
        return -1;
    for (size_t i = 0; i < (size_t)p->queries * (size_t)p->heads * (size_t)p->head_dim; i++) {
        difference += pow(s->got.want[i] - s->want.want[i], 2);
        whole += pow(s->want.want[i], 2);
    }
    *error = sqrt(difference / whole);
    return 0;
}

/* ---- the operator ---- */

struct instance {
    struct smooth_params given;
    double error[ROWS][SEEDS_MAX];
};

static int open_layers(struct cb_context *c, const void *given, void **out)
{
    const struct smooth_params *p = given;
    struct instance *in;
    (void)c;
    *out = NULL;
    if (p->heads % p->kv_heads || p->head_dim % 32 || p->queries > p->length)
        return cb_error("kv_heads must divide heads, 32 head_dim, and queries be among the tokens");
    *out = in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for layers");
    in->given = *p;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct smooth_params *p = &((struct instance *)instance)->given;
    out[0] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "normal, Philox 4x32-10",
                                .source = "generated", .shape = { p->length, p->hidden } };
    out[1] = (struct cb_input){ .name = "Wk", .dtype = "f16", .source = "generated",
                                .shape = { p->kv_heads * p->head_dim, p->hidden } };
    snprintf(out[1].gen, sizeof out[1].gen, "normal, %.3g %% of rows times 10", 100 * p->share);
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
    const struct smooth_params *p = &in->given;
    struct space s;
    int status = space_make(p, &s);
    (void)weights, (void)activations;
    for (int i = 0; i < p->seeds && !status; i++)
        status = evaluate(p, &rows[b->row], (uint64_t)p->seed + (uint64_t)i, &s,
                          &in->error[b->row][i]);
    space_free(&s);
    return status;
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct op_row *b = bound;
    struct instance *in = b->in;
    const int seeds = in->given.seeds;
    struct cb_figure f = { .name = "error", .low = INFINITY, .high = -INFINITY };
    for (int i = 0; i < seeds; i++) {
        const double v = in->error[b->row][i];
        f.value += v / seeds;
        f.low = fmin(f.low, v);
        f.high = fmax(f.high, v);
    }
    out[0] = f;
    return 1;
}

const struct cb_op op_attn_smooth = {
    .name = "attn_smooth", .title = "error of attention over a quantised cache, smoothed or not",
    .params = params, .params_size = sizeof(struct smooth_params), .untimed = true,
    .impl = impl_at, .open = open_layers, .inputs = inputs, .ready = op_ready_always, .bind = bind,
    .run = run, .figures = figures, .unbind = free, .close = free,
};

/*
 * gemm_ladder.c - what each step of QoQ does to the output of a layer: an experiment that
 * is not timed and needs no model.
 *
 *     W [n][k] ~ N(0, 0.02^2), 0.1 % of the weights times 5 to 10
 *     X [m][k] ~ N(0, 1), `share` of the channels, the same for every token, times 10 to
 *              100, uniform in the logarithm
 *
 * A row applies its steps to W and X in half, quantises both by the codes of its scheme as
 * gemm.h has them, and multiplies those in double: what a kernel without rounding of its
 * own would give.  error: Frobenius norm of the difference to the product of the halves as
 * they were, over that product's.  Clipping and the order of channels are found on m other
 * tokens.  Value: mean over the seeds; interval: least and greatest of them.
 *
 * Steps in the order of the ablation of QServe (arXiv 2405.04532); rotation stands for all
 * linear layers, which in a model has them for the inputs of attention and MLP only.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "../../kernels/gemm/quantise.h"
#include "../models/quant.h"
#include "bind.h"
#include "ops.h"

enum { SEEDS_MAX = 32 };

struct ladder_params {
    int m, n, k, group, seeds, seed;
    double share;
};

#define INTEGER(name, fallback, low, high, help) \
    { #name, CB_INT, offsetof(struct ladder_params, name), fallback, low, high, NULL, false, help }

static const struct cb_param params[] = {
    INTEGER(m, 256, 1, 1 << 14, "tokens"),
    INTEGER(n, 256, 1, 1 << 14, "output channels"),
    INTEGER(k, 1024, 2, 1 << 14, "input channels"),
    INTEGER(group, 128, 1, 1 << 14, "input channels per scale"),
    INTEGER(seeds, 4, 1, SEEDS_MAX, "layers to take the mean of"),
    INTEGER(seed, 1, 0, 1 << 30, "of the first of them"),
    { "share", CB_REAL, offsetof(struct ladder_params, share), 0.01, 0, 1, NULL, false,
      "of the channels that carry outliers" },
    { 0 },
};

/* ---- rows ---- */

enum { ROTATE = 1, CLIP = 2, REORDER = 4, UNPROTECTED = 8 };

struct row {
    struct op_impl impl;
    enum gemm_scheme scheme;
    int steps;
};

#define PAPER "QServe, arXiv 2405.04532"
#define ROW(row_name, text, from, row_role, kind, done)                                        \
    { .impl = { .name = row_name, .title = text, .origin = from, .role = row_role,             \
                .sm_min = 0, .sm_max = 999 },                                                  \
      .scheme = kind, .steps = done }
#define LADDER(row_name, text, kind, done) ROW(row_name, text, PAPER, OP_PAPER, kind, done)

/* Names are not those of kernels of the same schemes, which stand in the same results. */
static const struct row rows[] = {
    ROW("rtn_w8a8", "W8A8", "round to nearest", OP_BASELINE, GEMM_W8A8, 0),
    ROW("rtn_w4a16", "W4A16, groups", "round to nearest", OP_BASELINE, GEMM_W4A16, 0),
    LADDER("rtn_w4a8_channel", "W4A8 per channel", GEMM_W4A8_CHANNEL, 0),
    LADDER("rot_w4a8_channel", "the same, rotated", GEMM_W4A8_CHANNEL, ROTATE),
    LADDER("clip_w4a8_channel", "the same, rotated, clipped", GEMM_W4A8_CHANNEL, ROTATE | CLIP),
    LADDER("clip_w4a8_group", "the same in groups", GEMM_W4A8_GROUP, ROTATE | CLIP),
    LADDER("order_w4a8_group", "the same in groups, reordered", GEMM_W4A8_GROUP,
           ROTATE | CLIP | REORDER),
    LADDER("rtn_w4a8_group", "W4A8 per group", GEMM_W4A8_GROUP, 0),
    LADDER("rtn_order_w4a8_group", "W4A8 per group, reordered", GEMM_W4A8_GROUP, REORDER),
    LADDER("wrap_w4a8_group", "W4A8 per group, range not protected", GEMM_W4A8_GROUP, UNPROTECTED),
    ROW("rtn_w4a4_group", "W4A4 per group", "Atom, arXiv 2310.19102, all channels in 4 bits",
        OP_BASELINE, GEMM_W4A4_GROUP, 0),
    ROW("rtn_order_w4a4_group", "W4A4 per group, reordered",
        "Atom, arXiv 2310.19102, all channels in 4 bits", OP_BASELINE, GEMM_W4A4_GROUP, REORDER),
    ROW("rtn_w4a4_channel", "W4A4 per channel", "round to nearest", OP_BASELINE,
        GEMM_W4A4_CHANNEL, 0),
    ROW("rot_w4a4_channel", "W4A4 per channel, rotated", "QuaRot, arXiv 2404.00456", OP_BASELINE,
        GEMM_W4A4_CHANNEL, ROTATE),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct op_impl *impl_at(int i)
{
    return i < ROWS ? &rows[i].impl : NULL;
}

/* ---- a layer ---- */

enum { WEIGHTS, INPUTS, PLACES, HEIGHTS }; /* tensors of the random stream */

static double uniform(uint64_t seed, uint32_t tensor, uint64_t i, int which)
{
    uint32_t word[4];
    philox_words(seed, tensor, 0, i, word);
    return ((double)word[which] + 0.5) * 0x1p-32;
}

static double normal(uint64_t seed, uint32_t tensor, uint64_t i)
{
    return sqrt(-2 * log(uniform(seed, tensor, i, 0))) *
           cos(2 * acos(-1) * uniform(seed, tensor, i, 1));
}

/* w [n][k], x [2 m][k]: to judge on, then to calibrate on. */
static void draw(const struct ladder_params *p, uint64_t seed, float *w, float *x)
{
    const size_t k = (size_t)p->k, weights = (size_t)p->n * k, inputs = 2 * (size_t)p->m * k;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < weights; i++) {
        double far = 1;
        if (uniform(seed, WEIGHTS, i, 2) < 1e-3)
            far = 5 + 5 * uniform(seed, WEIGHTS, i, 3);
        w[i] = (float)(0.02 * far * normal(seed, WEIGHTS, i));
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < inputs; i++) {
        const uint64_t c = i % k;
        const double height = uniform(seed, PLACES, c, 0) < p->share
                                  ? exp(log(10) * (1 + uniform(seed, HEIGHTS, c, 0)))
                                  : 1;
        x[i] = (float)(height * normal(seed, INPUTS, i));
    }
}

/* ---- work space ---- */

struct space {
    float *w, *x, *h, *moved;    /* W and X after the steps; X^T X; one row */
    half_bits *half_w, *half_x, *w_scale, *x_scale, *x_sum, *scaled_zero;
    unsigned char *code, *zero, *scale;
    signed char *x_code, *w_code;
    double *want, *got;          /* [m][n] */
    float *size;
    int *row, *code_sum;
};

static void space_free(struct space *s)
{
    void *const all[] = { s->w,     s->x,    s->h,     s->moved,  s->half_w, s->half_x,
                          s->w_scale, s->x_scale, s->x_sum, s->scaled_zero, s->code, s->zero,
                          s->scale, s->x_code, s->w_code, s->want, s->got, s->size,
                          s->row,   s->code_sum };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static int space_make(const struct ladder_params *p, struct space *s)
{
    const size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k;
    const size_t x = m * k, w = n * k, y = m * n;
    *s = (struct space){
        .w = malloc(w * sizeof(float)),       .x = malloc(2 * x * sizeof(float)),
        .h = malloc(k * k * sizeof(float)),   .moved = malloc(k * sizeof(float)),
        .half_w = malloc(2 * w),              .half_x = malloc(2 * x),
        .w_scale = malloc(2 * w),             .x_scale = malloc(2 * x),
        .x_sum = malloc(2 * m),               .scaled_zero = malloc(2 * n),
        .code = malloc(w),                    .zero = malloc(w),
        .scale = malloc(w),                   .x_code = malloc(x),
        .w_code = malloc(w),                  .want = malloc(y * sizeof(double)),
        .got = malloc(y * sizeof(double)),    .size = malloc(y * sizeof(float)),
        .row = malloc(m * sizeof(int)),       .code_sum = malloc(m * sizeof(int)),
    };
    if (!s->w || !s->x || !s->h || !s->moved || !s->half_w || !s->half_x || !s->w_scale ||
        !s->x_scale || !s->x_sum || !s->scaled_zero || !s->code || !s->zero || !s->scale ||
        !s->x_code || !s->w_code || !s->want || !s->got || !s->size || !s->row || !s->code_sum)
        return cb_error("no memory for a layer of %d x %d", p->n, p->k);
    for (int i = 0; i < p->m; i++)
        s->row[i] = i;
    return 0;
}

/* ---- steps ---- */

struct channel {
    float most;
    int at;
};

static int by_most(const void *a, const void *b)
{
    const struct channel *x = a, *y = b;
    return x->most != y->most ? (x->most < y->most) - (x->most > y->most) : x->at - y->at;
}

static void permute(const struct channel *order, float *x, int count, int k, float *moved)
{
    for (int i = 0; i < count; i++) {
        float *row = x + (size_t)i * (size_t)k;
        for (int q = 0; q < k; q++)
            moved[q] = row[order[q].at];
        memcpy(row, moved, (size_t)k * sizeof *moved);
    }
}

/* Channels of the largest inputs first, so that they share groups. */
static int reorder(const struct ladder_params *p, struct space *s)
{
    struct channel *order = malloc((size_t)p->k * sizeof *order);
    float *most = malloc((size_t)p->k * sizeof *most);
    int status = order && most ? 0 : cb_error("no memory for %d channels", p->k);
    if (!status) {
        quant_max_abs(s->x + (size_t)p->m * (size_t)p->k, p->m, p->k, most);
        for (int q = 0; q < p->k; q++)
            order[q] = (struct channel){ most[q], q };
        qsort(order, (size_t)p->k, sizeof *order, by_most);
        permute(order, s->w, p->n, p->k, s->moved);
        permute(order, s->x, 2 * p->m, p->k, s->moved);
    }
    free(order);
    free(most);
    return status;
}

static int apply_steps(const struct ladder_params *p, const struct row *r, uint64_t seed,
                       struct space *s)
{
    const bool groups = r->scheme == GEMM_W4A8_GROUP;
    const struct quant_grid g = { 4, groups ? p->group : 0, QUANT_WITH_ZERO };
    if (r->steps & ROTATE) {
        qoq_rotate(s->w, p->n, p->k, (unsigned long)seed);
        qoq_rotate(s->x, 2 * p->m, p->k, (unsigned long)seed);
    }
    if (r->steps & REORDER && reorder(p, s))
        return -1;
    if (!(r->steps & CLIP))
        return 0;
    return quant_gram(s->x + (size_t)p->m * (size_t)p->k, p->m, p->k, s->h) ||
                   qoq_clip(&g, groups, NULL, s->h, s->w, p->n, p->k)
               ? -1
               : 0;
}

/* Level 1 up to the largest code of 8 bits; what leaves them in level 2 comes back at the
 * other end.  Its 8-bit weights multiply like those of W8A8. */
static long unprotected(const struct ladder_params *p, struct space *s)
{
    const size_t k = (size_t)p->k, group = (size_t)p->group;
    long over = 0;
#pragma omp parallel for schedule(static) reduction(+ : over)
    for (size_t j = 0; j < (size_t)p->n; j++) {
        signed char *code = s->w_code + j * k;
        for (size_t first = 0; first < k; first += group) {
            int low = 0, high = 0;
            for (size_t q = first; q < first + group; q++) {
                low = code[q] < low ? code[q] : low;
                high = code[q] > high ? code[q] : high;
            }
            const struct progressive_group g = progressive_group_of(low, high);
            for (size_t q = first; q < first + group; q++) {
                const int back = (progressive_code(code[q], g) - g.zero) * g.scale;
                over += back < -128 || back > 127;
                code[q] = (signed char)(((back + 128) & 255) - 128);
            }
        }
    }
    return over;
}

static enum op_status quantise(const struct ladder_params *p, const struct row *r, struct space *s,
                               struct gemm_args *a, enum gemm_scheme *scheme, long *over)
{
    const struct gemm_problem g = { p->m, p->n, p->k, p->group };
    const struct int_x_sums sums = { s->x_sum, s->code_sum, NULL };
    enum op_status status = OP_OK;
    *a = (struct gemm_args){ .x = s->half_x, .w = s->half_w };
    *scheme = r->steps & UNPROTECTED ? GEMM_W8A8 : r->scheme;
    *over = 0;
    if (*scheme == GEMM_W4A16) {
        a->w4 = (struct gemm_w4){ s->code, s->w_scale, s->zero };
        return gemm_quantise_w4(&g, s->half_w, 0, s->code, s->w_scale, s->zero);
    }
    status = gemm_quantise_int_x(&g, *scheme, s->half_x, s->x_code, s->x_scale, sums);
    a->int_x = (struct gemm_int_x){ .code = s->x_code, .scale = s->x_scale, .sum = s->x_sum };
    if (status)
        return status;
    if (*scheme == GEMM_W4A8_CHANNEL) {
        a->w4_channel = (struct gemm_w4_channel){ s->code, s->w_scale, s->scaled_zero, s->zero };
        return gemm_quantise_w4_channel(&g, s->half_w, s->code, s->w_scale, s->scaled_zero,
                                        s->zero);
    }
    if (*scheme == GEMM_W4A8_GROUP) {
        a->w4_progressive =
            (struct gemm_w4_progressive){ s->code, s->w_scale, s->scale, s->zero };
        return gemm_quantise_w4_progressive(&g, s->half_w, s->code, s->w_scale, s->scale, s->zero);
    }
    a->int_w = (struct gemm_int_w){ s->w_code, s->w_scale };
    status = gemm_quantise_int_w(&g, *scheme, s->half_w, s->w_code, s->w_scale);
    if (!status && r->steps & UNPROTECTED)
        *over = unprotected(p, s);
    return status;
}

static void to_half(const float *from, size_t count, half_bits *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        to[i] = half_from_float(from[i]);
}

struct outcome {
    double error, over; /* over: weights that wrapped, of a million */
};

static int evaluate(const struct ladder_params *p, const struct row *r, uint64_t seed,
                    struct space *s, struct outcome *out)
{
    const struct gemm_problem g = { p->m, p->n, p->k, p->group };
    const size_t weights = (size_t)p->n * (size_t)p->k, inputs = (size_t)p->m * (size_t)p->k;
    struct gemm_args a = { .x = s->half_x, .w = s->half_w };
    enum gemm_scheme scheme;
    double difference = 0, whole = 0;
    long over;
    draw(p, seed, s->w, s->x);
    to_half(s->w, weights, s->half_w);
    to_half(s->x, inputs, s->half_x);
    if (op_result(gemm_ref_rows(&g, GEMM_F16, &a, s->row, p->m, s->want, s->size, NULL),
                  r->impl.name, "reference") ||
        apply_steps(p, r, seed, s))
        return -1;
    to_half(s->w, weights, s->half_w);
    to_half(s->x, inputs, s->half_x);
    if (op_result(quantise(p, r, s, &a, &scheme, &over), r->impl.name, "codes") ||
        op_result(gemm_ref_rows(&g, scheme, &a, s->row, p->m, s->got, s->size, NULL),
                  r->impl.name, "product"))
        return -1;
    for (size_t i = 0; i < (size_t)p->m * (size_t)p->n; i++) {
        difference += (s->got[i] - s->want[i]) * (s->got[i] - s->want[i]);
        whole += s->want[i] * s->want[i];
    }
    *out = (struct outcome){ sqrt(difference / whole), 1e6 * (double)over / (double)weights };
    return 0;
}

/* ---- the operator ---- */

struct instance {
    struct ladder_params given;
    struct outcome outcome[ROWS][SEEDS_MAX];
};

static int open_layers(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = in;
    if (!in)
        return cb_error("no memory for layers");
    in->given = *(const struct ladder_params *)given;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct ladder_params *p = &((struct instance *)instance)->given;
    out[0] = (struct cb_input){ .name = "W", .dtype = "f16", .source = "generated",
                                .shape = { p->n, p->k } };
    out[1] = (struct cb_input){ .name = "X", .dtype = "f16", .source = "generated",
                                .shape = { p->m, p->k } };
    snprintf(out[0].gen, sizeof out[0].gen, "normal, 0.1 %% times 5 to 10, Philox 4x32-10");
    snprintf(out[1].gen, sizeof out[1].gen, "normal, %.3g %% of channels times 10 to 100",
             100 * p->share);
    return 2;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct ladder_params *p = &((struct instance *)instance)->given;
    (void)i;
    *why = p->k % p->group ? "group does not divide k" : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
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
    const struct ladder_params *p = &in->given;
    struct space s;
    int status = space_make(p, &s);
    (void)weights, (void)activations;
    for (int i = 0; i < p->seeds && !status; i++)
        status = evaluate(p, &rows[b->row], (uint64_t)p->seed + (uint64_t)i, &s,
                          &in->outcome[b->row][i]);
    space_free(&s);
    return status;
}

static double value_of(const struct outcome *o, int what)
{
    return what == 0 ? o->error : what == 1 ? -20 * log10(o->error) : o->over;
}

static int figures(void *bound, struct cb_figure *out)
{
    static const struct {
        const char *name, *unit;
    } what[] = { { "error", "" }, { "sqnr", "dB" }, { "overflows", "of 1e6" } };
    const struct op_row *b = bound;
    struct instance *in = b->in;
    const int seeds = in->given.seeds;
    int n = 0;
    for (int w = 0; w < (rows[b->row].steps & UNPROTECTED ? 3 : 2); w++) {
        struct cb_figure f = { .value = 0, .low = INFINITY, .high = -INFINITY };
        for (int i = 0; i < seeds; i++) {
            const double v = value_of(&in->outcome[b->row][i], w);
            f.value += v / seeds;
            f.low = fmin(f.low, v);
            f.high = fmax(f.high, v);
        }
        snprintf(f.name, sizeof f.name, "%s", what[w].name);
        snprintf(f.unit, sizeof f.unit, "%s", what[w].unit);
        out[n++] = f;
    }
    return n;
}

const struct cb_op op_gemm_ladder = {
    .name = "gemm_ladder", .title = "output error of quantised layers, step by step",
    .params = params, .params_size = sizeof(struct ladder_params), .untimed = true,
    .impl = impl_at, .open = open_layers, .inputs = inputs, .ready = ready, .bind = bind,
    .run = run, .figures = figures, .unbind = free, .close = free,
};

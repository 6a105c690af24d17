/*
 * ref.c - Y = X W^T in double precision on the host.
 *
 * Operands of any scheme are widened to what they stand for and multiplied by
 * the BLAS, a panel of output channels at a time, so that the widened W never
 * exists as a whole.
 *
 * Sums of products of codes have at most 53 bits with both scales: those of the
 * integer schemes are exact.  What W4A8_CHANNEL takes off is one more input channel:
 * X has cx.sum there, W has -scaled_zero.
 */
#include <math.h>
#include <stdlib.h>

#include <cblas.h>

#include "../common/fp8.h"
#include "bound.h"

enum { PANEL = 256 }; /* output channels at a time */

double gemm_weight_bytes(const struct gemm_problem *p, enum gemm_scheme scheme)
{
    const double weights = (double)p->n * p->k, groups = weights / p->group;
    switch (scheme) {
    case GEMM_F16:
        return 2 * weights;
    case GEMM_FP8:
        return weights + sizeof(float);
    case GEMM_W4A16:
        return weights / 2 + 2.5 * groups;
    case GEMM_W4A16_SYM:
        return weights / 2 + 2 * groups;
    case GEMM_W8A8:
        return weights + 2.0 * p->n;
    case GEMM_W4A8_CHANNEL:
        return weights / 2 + 4.0 * p->n;
    case GEMM_W4A8_GROUP:
        return weights / 2 + 2 * groups + 2.0 * p->n;
    case GEMM_W4A4_GROUP:
        return weights / 2 + 2 * groups;
    case GEMM_W4A4_CHANNEL:
        return weights / 2 + 2.0 * p->n;
    }
    return 0;
}

/* ---- what operands stand for ---- */

/* Input channels of the widened operands. */
static int depth(const struct gemm_problem *p, enum gemm_scheme s)
{
    return p->k + (s == GEMM_W4A8_CHANNEL);
}

static void widen(const half_bits *from, size_t n, double *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        to[i] = half_to_float(from[i]);
}

static void widen_fp8(const unsigned char *from, size_t n, double scale, double *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        to[i] = scale * e4m3_to_float(from[i]);
}

static void widen_w4(const struct gemm_problem *p, const struct gemm_w4 *w, int j, int channels,
                     double *to)
{
    const size_t group = (size_t)p->group, first = (size_t)j * p->k / group;
    const size_t groups = (size_t)channels * p->k / group;
    const half_bits *scale = w->scale;
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < group; i++)
            to[g * group + i] = half_to_float(scale[first + g]) *
                                (w->code[(first + g) * group + i] - w->zero[first + g]);
}

/* Rows of codes from `first` on, a scale for each `length` of them. */
static void widen_codes(const signed char *code, const half_bits *scale, size_t first, size_t rows,
                        size_t k, size_t length, double *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = first * k; i < (first + rows) * k; i++)
        to[i - first * k] = (double)half_to_float(scale[i / length]) * code[i];
}

/* With the sum of X after each row. */
static void widen_x_sum(const struct gemm_problem *p, const struct gemm_int_x *x, size_t first,
                        size_t rows, double *to)
{
    const size_t k = (size_t)p->k;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r++) {
        const double scale = half_to_float(((const half_bits *)x->scale)[first + r]);
        for (size_t q = 0; q < k; q++)
            to[r * (k + 1) + q] = scale * x->code[(first + r) * k + q];
        to[r * (k + 1) + k] = half_to_float(((const half_bits *)x->sum)[first + r]);
    }
}

static void widen_w4_channel(const struct gemm_problem *p, const struct gemm_w4_channel *w, int j,
                             int channels, double *to)
{
    const size_t k = (size_t)p->k;
#pragma omp parallel for schedule(static)
    for (int c = 0; c < channels; c++) {
        double *row = to + (size_t)c * (k + 1);
        const size_t at = (size_t)(j + c);
        for (size_t q = 0; q < k; q++)
            row[q] = (double)half_to_float(((const half_bits *)w->scale)[at]) *
                     w->code[at * k + q];
        row[k] = -(double)half_to_float(((const half_bits *)w->scaled_zero)[at]);
    }
}

static void widen_w4_progressive(const struct gemm_problem *p, const struct gemm_w4_progressive *w,
                                 int j, int channels, double *to)
{
    const size_t k = (size_t)p->k, group = (size_t)p->group, first = (size_t)j * k;
#pragma omp parallel for schedule(static)
    for (size_t i = first; i < first + (size_t)channels * k; i++) {
        const int w8 = (w->code[i] - w->zero[i / group]) * w->scale[i / group];
        to[i - first] = (double)half_to_float(((const half_bits *)w->channel_scale)[i / k]) * w8;
    }
}

static void widen_x(const struct gemm_problem *p, enum gemm_scheme s, const struct gemm_args *a,
                    size_t i, size_t rows, double *to)
{
    const size_t k = (size_t)p->k, length = s == GEMM_W4A4_GROUP ? (size_t)p->group : k;
    switch (s) {
    case GEMM_F16:
    case GEMM_W4A16:
    case GEMM_W4A16_SYM:
        widen((const half_bits *)a->x + i * k, rows * k, to);
        break;
    case GEMM_FP8:
        widen_fp8((const unsigned char *)a->x8 + i * k, rows * k, *a->x8_scale, to);
        break;
    case GEMM_W4A8_CHANNEL:
        widen_x_sum(p, &a->int_x, i, rows, to);
        break;
    case GEMM_W8A8:
    case GEMM_W4A8_GROUP:
    case GEMM_W4A4_GROUP:
    case GEMM_W4A4_CHANNEL:
        widen_codes(a->int_x.code, a->int_x.scale, i, rows, k, length, to);
        break;
    }
}

/* Output channels from j on. */
static void widen_w(const struct gemm_problem *p, enum gemm_scheme s, const struct gemm_args *a,
                    int j, int channels, double *to)
{
    const size_t k = (size_t)p->k, length = s == GEMM_W4A4_GROUP ? (size_t)p->group : k;
    const size_t first = (size_t)j * k, count = (size_t)channels * k;
    switch (s) {
    case GEMM_F16:
        widen((const half_bits *)a->w + first, count, to);
        break;
    case GEMM_W4A16:
    case GEMM_W4A16_SYM:
        widen_w4(p, &a->w4, j, channels, to);
        break;
    case GEMM_FP8:
        widen_fp8((const unsigned char *)a->w8 + first, count, *a->w8_scale, to);
        break;
    case GEMM_W4A8_CHANNEL:
        widen_w4_channel(p, &a->w4_channel, j, channels, to);
        break;
    case GEMM_W4A8_GROUP:
        widen_w4_progressive(p, &a->w4_progressive, j, channels, to);
        break;
    case GEMM_W8A8:
    case GEMM_W4A4_GROUP:
    case GEMM_W4A4_CHANNEL:
        widen_codes(a->int_w.code, a->int_w.scale, (size_t)j, (size_t)channels, k, length, to);
        break;
    }
}

/* scale * zero of every weight. */
static void widen_zeros(const struct gemm_problem *p, const struct gemm_w4 *w, int j, int channels,
                        double *to)
{
    const size_t group = (size_t)p->group, first = (size_t)j * p->k / group;
    const half_bits *scale = w->scale;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < (size_t)channels * p->k; i++) {
        const size_t g = first + i / group;
        to[i] = half_to_float(scale[g]) * w->zero[g];
    }
}

static void absolute(double *x, size_t n)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        x[i] = fabs(x[i]);
}

/* y [rows][ldy] = x [rows][k] times the transpose of w [channels][k] */
static void product(int rows, int channels, int k, const double *x, const double *w, double *y,
                    int ldy)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, channels, k, 1, x, k, w, k, 0, y,
                ldy);
}

static int panel_at(const struct gemm_problem *p, int j)
{
    return p->n - j < PANEL ? p->n - j : PANEL;
}

static int meaningless(const struct gemm_problem *p, enum gemm_scheme s)
{
    return p->m < 1 || p->n < 1 || p->k < 1 ||
           (gemm_has_groups(s) && (p->group < 1 || p->k % p->group));
}

/* ---- chosen rows ---- */

/* A panel as floats into the columns from j on of a result [rows][n]. */
static void put(const struct gemm_problem *p, const double *panel, int rows, int j, int channels,
                float *to)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < channels; c++)
            to[(size_t)r * p->n + j + c] = (float)panel[(size_t)r * PANEL + c];
}

enum op_status gemm_ref_rows(const struct gemm_problem *p, enum gemm_scheme scheme,
                             const struct gemm_args *a, const int *row, int rows, double *want,
                             float *size, float *zeros)
{
    const int all = depth(p, scheme);
    const size_t k = (size_t)all, least = rows ? (size_t)rows : 1;
    if (meaningless(p, scheme) || rows < 0)
        return OP_EINVAL;
    double *x = malloc(least * k * sizeof *x), *abs_x = malloc(least * k * sizeof *abs_x);
    double *w = malloc(PANEL * k * sizeof *w), *sums = malloc(least * PANEL * sizeof *sums);
    enum op_status status = OP_ENOMEM;
    if (!x || !abs_x || !w || !sums)
        goto done;
    for (int r = 0; r < rows; r++) {
        widen_x(p, scheme, a, (size_t)row[r], 1, x + (size_t)r * k);
        widen_x(p, scheme, a, (size_t)row[r], 1, abs_x + (size_t)r * k);
    }
    absolute(abs_x, (size_t)rows * k);
    for (int j = 0; rows && j < p->n; j += PANEL) {
        const int channels = panel_at(p, j);
        widen_w(p, scheme, a, j, channels, w);
        product(rows, channels, all, x, w, want + j, p->n);
        absolute(w, (size_t)channels * k);
        product(rows, channels, all, abs_x, w, sums, PANEL);
        put(p, sums, rows, j, channels, size);
        if (scheme != GEMM_W4A16 || !zeros)
            continue;
        widen_zeros(p, &a->w4, j, channels, w);
        product(rows, channels, p->k, abs_x, w, sums, PANEL);
        put(p, sums, rows, j, channels, zeros);
    }
    status = OP_OK;
done:
    free(x);
    free(abs_x);
    free(w);
    free(sums);
    return status;
}

/* ---- Freivalds ---- */

/* u[q] += the column q of a panel, with signs or (NULL) absolute. */
static void add_columns(const double *w, int channels, int k, const signed char *sign, double *u)
{
#pragma omp parallel for schedule(static)
    for (int q = 0; q < k; q++) {
        double sum = 0;
        for (int c = 0; c < channels; c++)
            sum += sign ? sign[c] * w[(size_t)c * k + q] : fabs(w[(size_t)c * k + q]);
        u[q] += sum;
    }
}

enum op_status gemm_ref_freivalds(const struct gemm_problem *p, enum gemm_scheme scheme,
                                  const struct gemm_args *a, const signed char *sign, double *sum,
                                  double *size, double *zeros)
{
    const int all = depth(p, scheme);
    const size_t k = (size_t)all;
    const int with_zeros = scheme == GEMM_W4A16 && zeros;
    if (meaningless(p, scheme))
        return OP_EINVAL;
    double *w = malloc(PANEL * k * sizeof *w), *u = calloc(3 * k, sizeof *u);
    double *x = malloc(k * sizeof *x);
    enum op_status status = OP_ENOMEM;
    if (!w || !u || !x)
        goto done;
    for (int j = 0; j < p->n; j += PANEL) {
        const int channels = panel_at(p, j);
        widen_w(p, scheme, a, j, channels, w);
        add_columns(w, channels, all, sign + j, u);
        add_columns(w, channels, all, NULL, u + k);
        if (with_zeros) {
            widen_zeros(p, &a->w4, j, channels, w);
            add_columns(w, channels, all, NULL, u + 2 * k);
        }
    }
    for (int i = 0; i < p->m; i++) {
        double s = 0, magnitude = 0, z = 0;
        widen_x(p, scheme, a, (size_t)i, 1, x);
        for (size_t q = 0; q < k; q++) {
            s += x[q] * u[q];
            magnitude += fabs(x[q]) * u[k + q];
            z += fabs(x[q]) * u[2 * k + q];
        }
        sum[i] = s;
        size[i] = magnitude;
        if (with_zeros)
            zeros[i] = z;
    }
    status = OP_OK;
done:
    free(w);
    free(u);
    free(x);
    return status;
}

enum op_status gemm_ref_signed(const struct gemm_problem *p, const void *y,
                               const signed char *sign, double *sum, double *size)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < p->m; i++) {
        double s = 0, magnitude = 0;
        for (int j = 0; j < p->n; j++) {
            const double v = half_to_float(((const half_bits *)y)[(size_t)i * p->n + j]);
            s += sign[j] * v;
            magnitude += fabs(v);
        }
        sum[i] = s;
        size[i] = magnitude;
    }
    return OP_OK;
}

/* ---- the reference as an implementation ---- */

/* Widened operands and one panel of Y. */
struct wide {
    double *x, *w, *y;
};

static enum op_status setup(const struct gemm_problem *p, const struct gemm_args *args,
                            const struct op_memory *memory, op_stream s, void **state)
{
    struct wide *v = calloc(1, sizeof *v);
    (void)args, (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    const size_t k = (size_t)p->k + 1; /* of any scheme */
    v->x = memory->take(memory->context, (size_t)p->m * k * sizeof *v->x);
    v->w = memory->take(memory->context, (size_t)PANEL * k * sizeof *v->w);
    v->y = memory->take(memory->context, (size_t)p->m * PANEL * sizeof *v->y);
    if (!v->x || !v->w || !v->y) {
        free(v);
        return OP_ENOMEM;
    }
    *state = v;
    return OP_OK;
}

static enum op_status run(const struct gemm_problem *p, enum gemm_scheme scheme,
                          const struct gemm_args *args, const struct wide *v)
{
    half_bits *y = args->y;
    if (meaningless(p, scheme))
        return OP_EINVAL;
    widen_x(p, scheme, args, 0, (size_t)p->m, v->x);
    for (int j = 0; j < p->n; j += PANEL) {
        const int channels = panel_at(p, j);
        widen_w(p, scheme, args, j, channels, v->w);
        product(p->m, channels, depth(p, scheme), v->x, v->w, v->y, PANEL);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < p->m; i++)
            for (int c = 0; c < channels; c++)
                y[(size_t)i * p->n + j + c] =
                    half_from_float((float)v->y[(size_t)i * PANEL + c]);
    }
    return OP_OK;
}

#define RUN(name, scheme)                                                                         \
    static enum op_status name(const struct gemm_problem *p, const struct gemm_args *args,        \
                               void *state, op_stream s)                                          \
    {                                                                                             \
        (void)s;                                                                                  \
        return run(p, scheme, args, state);                                                       \
    }
RUN(run_f16, GEMM_F16)
RUN(run_w4a16, GEMM_W4A16)
RUN(run_fp8, GEMM_FP8)
RUN(run_w8a8, GEMM_W8A8)
RUN(run_w4a8_channel, GEMM_W4A8_CHANNEL)
RUN(run_w4a8_group, GEMM_W4A8_GROUP)
RUN(run_w4a4_group, GEMM_W4A4_GROUP)
RUN(run_w4a4_channel, GEMM_W4A4_CHANNEL)

/* The sums of an integer scheme are exact: Y is off by its rounding alone. */
#define INTEGER_ROW(what, text, kind)                                                             \
    { .base = { .name = "ref_" #what, .title = text " in double",                                 \
                .origin = "definition, through BLAS", .role = OP_REFERENCE },                     \
      .scheme = kind, .accumulate = GEMM_ACC_S32, .setup = setup, .teardown = free,               \
      .run = run_##what }

const struct gemm_impl gemm_references[] = {
    { .base = { .name = "ref_f16", .title = "FP16 in double", .origin = "definition, through BLAS",
                .role = OP_REFERENCE },
      .scheme = GEMM_F16, .setup = setup, .teardown = free, .run = run_f16 },
    { .base = { .name = "ref_w4a16", .title = "W4A16 in double",
                .origin = "definition, through BLAS", .role = OP_REFERENCE },
      .scheme = GEMM_W4A16, .setup = setup, .teardown = free, .run = run_w4a16 },
    { .base = { .name = "ref_w4a16_sym", .title = "W4A16 symmetric in double",
                .origin = "definition, through BLAS", .role = OP_REFERENCE },
      .scheme = GEMM_W4A16_SYM, .setup = setup, .teardown = free, .run = run_w4a16 },
    { .base = { .name = "ref_fp8", .title = "FP8 in double", .origin = "definition, through BLAS",
                .role = OP_REFERENCE },
      .scheme = GEMM_FP8, .setup = setup, .teardown = free, .run = run_fp8 },
    INTEGER_ROW(w8a8, "W8A8", GEMM_W8A8),
    INTEGER_ROW(w4a8_channel, "W4A8 per channel", GEMM_W4A8_CHANNEL),
    INTEGER_ROW(w4a8_group, "W4A8 per group", GEMM_W4A8_GROUP),
    INTEGER_ROW(w4a4_group, "W4A4 per group", GEMM_W4A4_GROUP),
    INTEGER_ROW(w4a4_channel, "W4A4 per channel", GEMM_W4A4_CHANNEL),
    { .base = { .name = NULL } },
};

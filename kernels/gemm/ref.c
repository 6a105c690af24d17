/*
 * ref.c - Y = X W^T in double precision on the host.
 *
 * Operands of any scheme are widened to what they stand for and multiplied by
 * the BLAS, a panel of output channels at a time, so that the widened W never
 * exists as a whole.
 */
#include <math.h>
#include <stdlib.h>

#include <cblas.h>

#include "../common/fp8.h"
#include "gemm.h"

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
    }
    return 0;
}

/* ---- what operands stand for ---- */

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

static void widen_x(const struct gemm_problem *p, enum gemm_scheme s, const struct gemm_args *a,
                    size_t i, size_t rows, double *to)
{
    const size_t k = (size_t)p->k;
    if (s == GEMM_FP8)
        widen_fp8((const unsigned char *)a->x8 + i * k, rows * k, *a->x8_scale, to);
    else
        widen((const half_bits *)a->x + i * k, rows * k, to);
}

/* Output channels from j on. */
static void widen_w(const struct gemm_problem *p, enum gemm_scheme s, const struct gemm_args *a,
                    int j, int channels, double *to)
{
    const size_t first = (size_t)j * p->k, count = (size_t)channels * p->k;
    if (s == GEMM_F16)
        widen((const half_bits *)a->w + first, count, to);
    else if (s == GEMM_FP8)
        widen_fp8((const unsigned char *)a->w8 + first, count, *a->w8_scale, to);
    else
        widen_w4(p, &a->w4, j, channels, to);
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
    const int grouped = s == GEMM_W4A16 || s == GEMM_W4A16_SYM;
    return p->m < 1 || p->n < 1 || p->k < 1 || (grouped && (p->group < 1 || p->k % p->group));
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
    const size_t k = (size_t)p->k, least = rows ? (size_t)rows : 1;
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
        product(rows, channels, p->k, x, w, want + j, p->n);
        absolute(w, (size_t)channels * k);
        product(rows, channels, p->k, abs_x, w, sums, PANEL);
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
    const size_t k = (size_t)p->k;
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
        add_columns(w, channels, p->k, sign + j, u);
        add_columns(w, channels, p->k, NULL, u + k);
        if (with_zeros) {
            widen_zeros(p, &a->w4, j, channels, w);
            add_columns(w, channels, p->k, NULL, u + 2 * k);
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
    v->x = memory->take(memory->context, (size_t)p->m * p->k * sizeof *v->x);
    v->w = memory->take(memory->context, (size_t)PANEL * p->k * sizeof *v->w);
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
        product(p->m, channels, p->k, v->x, v->w, v->y, PANEL);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < p->m; i++)
            for (int c = 0; c < channels; c++)
                y[(size_t)i * p->n + j + c] =
                    half_from_float((float)v->y[(size_t)i * PANEL + c]);
    }
    return OP_OK;
}

static enum op_status run_f16(const struct gemm_problem *p, const struct gemm_args *args,
                              void *state, op_stream s)
{
    (void)s;
    return run(p, GEMM_F16, args, state);
}

static enum op_status run_w4a16(const struct gemm_problem *p, const struct gemm_args *args,
                                void *state, op_stream s)
{
    (void)s;
    return run(p, GEMM_W4A16, args, state);
}

static enum op_status run_fp8(const struct gemm_problem *p, const struct gemm_args *args,
                              void *state, op_stream s)
{
    (void)s;
    return run(p, GEMM_FP8, args, state);
}

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
    { .base = { .name = NULL } },
};

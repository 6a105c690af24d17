/*
 * ref.c - Y = X W^T in double precision on the host.
 *
 * Half operands are widened and multiplied by the BLAS, a panel of output
 * channels at a time, so that the widened W never exists as a whole.
 */
#include <math.h>
#include <stdlib.h>

#include <cblas.h>

#include "../common/bound.h"
#include "../common/half.h"
#include "gemm.h"

enum { PANEL = 256 }; /* output channels at a time */

static void widen(const half_bits *from, size_t n, double *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        to[i] = half_to_float(from[i]);
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

enum op_status gemm_ref_rows(const struct gemm_problem *p, const void *x, const void *w,
                             const int *row, int rows, double *want, float *bound)
{
    const size_t k = (size_t)p->k;
    if (p->m < 1 || p->n < 1 || p->k < 1 || rows < 0)
        return OP_EINVAL;
    double *wide_x = malloc((rows ? (size_t)rows : 1) * k * sizeof *wide_x);
    double *abs_x = malloc((rows ? (size_t)rows : 1) * k * sizeof *abs_x);
    double *wide_w = malloc(PANEL * k * sizeof *wide_w);
    double *magnitude = malloc((rows ? (size_t)rows : 1) * PANEL * sizeof *magnitude);
    enum op_status status = OP_ENOMEM;
    if (!wide_x || !abs_x || !wide_w || !magnitude)
        goto done;
    for (int r = 0; r < rows; r++) {
        widen((const half_bits *)x + (size_t)row[r] * k, k, wide_x + (size_t)r * k);
        widen((const half_bits *)x + (size_t)row[r] * k, k, abs_x + (size_t)r * k);
    }
    absolute(abs_x, (size_t)rows * k);
    for (int j = 0; rows && j < p->n; j += PANEL) {
        const int channels = panel_at(p, j);
        widen((const half_bits *)w + (size_t)j * k, (size_t)channels * k, wide_w);
        product(rows, channels, p->k, wide_x, wide_w, want + j, p->n);
        absolute(wide_w, (size_t)channels * k);
        product(rows, channels, p->k, abs_x, wide_w, magnitude, PANEL);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < channels; c++) {
                const size_t at = (size_t)r * p->n + j + c;
                bound[at] = bound_of_sum(1, p->k, want[at], magnitude[(size_t)r * PANEL + c]);
            }
    }
    status = OP_OK;
done:
    free(wide_x);
    free(abs_x);
    free(wide_w);
    free(magnitude);
    return status;
}

/* ---- the reference as an implementation ---- */

/* Widened operands and one panel of Y. */
struct wide {
    double *x, *w, *y;
};

static enum op_status setup_f16(const struct gemm_problem *p, const struct gemm_args *args,
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

static enum op_status run_f16(const struct gemm_problem *p, const struct gemm_args *args,
                              void *state, op_stream s)
{
    const struct wide *v = state;
    half_bits *y = args->y;
    (void)s;
    widen(args->x, (size_t)p->m * p->k, v->x);
    for (int j = 0; j < p->n; j += PANEL) {
        const int channels = panel_at(p, j);
        widen((const half_bits *)args->w + (size_t)j * p->k, (size_t)channels * p->k, v->w);
        product(p->m, channels, p->k, v->x, v->w, v->y, PANEL);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < p->m; i++)
            for (int c = 0; c < channels; c++)
                y[(size_t)i * p->n + j + c] =
                    half_from_float((float)v->y[(size_t)i * PANEL + c]);
    }
    return OP_OK;
}

const struct gemm_impl gemm_references[] = {
    { .base = { .name = "ref_f16", .title = "FP16 in double", .origin = "definition, through BLAS",
                .role = OP_REFERENCE },
      .scheme = GEMM_F16, .setup = setup_f16, .teardown = free, .run = run_f16 },
    { .base = { .name = NULL } },
};

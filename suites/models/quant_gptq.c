/*
 * quant_gptq.c - GPTQ, with and without reordering and clipping.
 *
 * With U the upper Cholesky factor of the inverse of H, columns in order, by blocks:
 *
 *     code of column i  ->  e = (w_i - rounded w_i) / U[i][i]
 *     the rest of the block   -= e U[i][i+1 ...]      at once
 *     all columns behind it   -= E U[block][...]      once a block, as one product
 *
 * A group's scale and zero point are fitted to what its weights have become when its first column
 * comes; with clipping, of the bounds that AWQ tries to the one whose rounding costs least.
 *
 * Rows do not see each other, so that each goes through a block alone.  In double: the
 * factor of an inverse is what FP32 loses first.
 */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "quant.h"

/* LAPACK as OpenBLAS exports it; its header is a package of its own. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);

enum {
    BLOCK = 128, /* columns */
    ROWS = 32    /* at a time in one thread */
};
static const double damping = 0.01; /* of the mean of the diagonal, added to it */

/* Column-major upper U: U(i, j) = u[j*k + i]; equally the rows of its transpose. */
static int factor(double *u, int k)
{
    int info;
    dpotrf_("U", &k, u, &k, &info, 1);
    if (!info)
        dpotri_("U", &k, u, &k, &info, 1);
    if (!info)
        dpotrf_("U", &k, u, &k, &info, 1);
    return info ? cb_error("GPTQ: the inputs' second moments have no Cholesky factor") : 0;
}

/* What all rows share. */
struct plan {
    struct quant_grid g;
    int k;
    bool clip;
    double *u;     /* see factor */
    float *weight; /* [k] diagonal of H, in the order of the columns */
};

struct by_size {
    double size;
    int column;
};

static int descending(const void *a, const void *b)
{
    const struct by_size *x = a, *y = b;
    return x->size != y->size ? (x->size < y->size) - (x->size > y->size) : x->column - y->column;
}

/* The order of the columns, and H in it with dead channels and damping seen to. */
static int prepare(const float *h, bool reorder, int *order, bool *dead, struct plan *to)
{
    const int k = to->k;
    struct by_size *size = malloc((size_t)k * sizeof *size);
    double mean = 0;
    if (!size)
        return cb_error("no memory for %d channels", k);
    for (int p = 0; p < k; p++)
        size[p] = (struct by_size){ (double)h[(size_t)p * (size_t)k + (size_t)p], p };
    if (reorder)
        qsort(size, (size_t)k, sizeof *size, descending);
    for (int p = 0; p < k; p++) {
        order[p] = size[p].column;
        dead[p] = !(size[p].size > 0);
        mean += (dead[p] ? 1 : size[p].size) / k;
        to->weight[p] = (float)size[p].size;
    }
    for (int p = 0; p < k; p++)
        for (int q = 0; q < k; q++)
            to->u[(size_t)p * (size_t)k + (size_t)q] =
                p == q ? (dead[p] ? 1 : size[p].size) + damping * mean
                       : (double)h[(size_t)order[p] * (size_t)k + (size_t)order[q]];
    free(size);
    return 0;
}

/* The step of a group whose first column is `from`, weights w. */
static struct quant_step fit(const struct plan *o, const float *w, int from, int count)
{
    struct quant_step best = quant_fit(&o->g, w, count);
    double least = INFINITY;
    float low = w[0], high = w[0];
    for (int c = 1; o->clip && c < count; c++) {
        low = w[c] < low ? w[c] : low;
        high = w[c] > high ? w[c] : high;
    }
    const float most = quant_larger(-low, high);
    for (int i = 0; o->clip && i < AWQ_CLIPS; i++) {
        const float bound = most * awq_clip_part(i);
        const float ends[2] = { quant_within(low, bound), quant_within(high, bound) };
        const struct quant_step s = quant_fit(&o->g, ends, 2); /* all that a grid hangs on */
        double error = 0;
        for (int c = 0; c < count; c++) {
            const double off = (double)(quant_value(&s, w[c]) - w[c]);
            error += (double)o->weight[from + c] * off * off;
        }
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

/* One row through columns b0 ... b1-1, whose part of U is u [BLOCK][BLOCK], by rows. */
static void row_block(const struct plan *o, const double *u, int b0, int b1,
                      struct quant_step *step, double *w, float *rounded, double *e)
{
    const int k = o->k, size = o->g.group > 0 ? o->g.group : k;
    for (int i = b0; i < b1; i++) {
        if (i % size == 0) {
            /* rounded of the columns to come is still free */
            const int count = k - i < size ? k - i : size;
            for (int c = i; c < i + count; c++)
                rounded[c] = (float)w[c];
            *step = fit(o, rounded + i, i, count);
        }
        rounded[i] = quant_value(step, (float)w[i]);
        const double *row = u + (i - b0) * BLOCK; /* from column b0 */
        const double error = (w[i] - (double)rounded[i]) / row[i - b0];
        e[i - b0] = error;
#pragma omp simd
        for (int c = i; c < b1; c++)
            w[c] -= error * row[c - b0];
    }
}

/* A few rows through all columns. */
static void rows_through(const struct plan *o, int n, struct quant_step *step, double *v,
                         float *rounded, double *e)
{
    const int k = o->k;
    const double *u = o->u;
    double part[BLOCK * BLOCK];
    for (int b0 = 0; b0 < k; b0 += BLOCK) {
        const int b1 = b0 + BLOCK < k ? b0 + BLOCK : k, width = b1 - b0;
        for (int c = 0; c < width; c++)
            for (int i = 0; i <= c; i++)
                part[i * BLOCK + c] = u[(size_t)(b0 + c) * (size_t)k + (size_t)(b0 + i)];
        for (int j = 0; j < n; j++)
            row_block(o, part, b0, b1, &step[j], v + (size_t)j * (size_t)k,
                      rounded + (size_t)j * (size_t)k, e + (size_t)j * (size_t)width);
        if (b1 < k)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, k - b1, width, -1, e, width,
                        u + (size_t)b1 * (size_t)k + b0, k, 1, v + b1, k);
    }
}

int quant_gptq(const struct quant_grid *g, const float *h, unsigned how, float *w, int n, int k)
{
    const size_t kk = (size_t)k * (size_t)k, nk = (size_t)n * (size_t)k;
    struct plan o = { .g = *g, .k = k, .clip = how & QUANT_CLIPPED };
    double *v = malloc(nk * sizeof *v);
    double *e = malloc((size_t)n * BLOCK * sizeof *e);
    float *rounded = malloc(nk * sizeof *rounded);
    int *order = malloc((size_t)k * sizeof *order);
    bool *dead = malloc((size_t)k * sizeof *dead);
    struct quant_step *step = calloc((size_t)n, sizeof *step);
    int status = -1;
    if (o.g.range == QUANT_MIN_MAX && !o.clip)
        o.g.range = QUANT_WITH_ZERO;
    o.u = malloc(kk * sizeof *o.u);
    o.weight = malloc((size_t)k * sizeof *o.weight);
    if (!o.u || !o.weight || !v || !e || !rounded || !order || !dead || !step) {
        cb_error("no memory for GPTQ of %d x %d", n, k);
        goto done;
    }
    if (prepare(h, how & QUANT_REORDERED, order, dead, &o) || factor(o.u, k))
        goto done;
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++)
            v[(size_t)j * (size_t)k + (size_t)p] =
                dead[p] ? 0 : (double)w[(size_t)j * (size_t)k + (size_t)order[p]];
    const int blas = openblas_get_num_threads();
    openblas_set_num_threads(1); /* rows are shared out instead */
#pragma omp parallel for schedule(dynamic)
    for (int j0 = 0; j0 < n; j0 += ROWS)
        rows_through(&o, n - j0 < ROWS ? n - j0 : ROWS, step + j0,
                     v + (size_t)j0 * (size_t)k, rounded + (size_t)j0 * (size_t)k,
                     e + (size_t)j0 * BLOCK);
    openblas_set_num_threads(blas);
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++)
            w[(size_t)j * (size_t)k + (size_t)order[p]] =
                rounded[(size_t)j * (size_t)k + (size_t)p];
    status = 0;
done:
    free(o.u);
    free(o.weight);
    free(v);
    free(e);
    free(rounded);
    free(order);
    free(dead);
    free(step);
    return status;
}

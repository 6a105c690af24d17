/* quant_grid.c - grids of scale and zero point, and statistics of inputs. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "quant.h"

/* Without, a group of equal weights would have no scale. */
#define RANGE_MIN 1e-5

static int clamp(long x, int low, int high)
{
    return x < low ? low : x > high ? high : (int)x;
}

struct quant_step quant_fit(const struct quant_grid *g, const float *w, int count)
{
    struct quant_step s = { 1, 0, 0, (1 << g->bits) - 1 };
    double low = w[0], high = w[0];
    for (int i = 1; i < count; i++) {
        low = (double)w[i] < low ? (double)w[i] : low;
        high = (double)w[i] > high ? (double)w[i] : high;
    }
    if (g->range == QUANT_SYMMETRIC) {
        const double most = fmax(fmax(-low, high), RANGE_MIN);
        s.high = (1 << (g->bits - 1)) - 1;
        s.low = -s.high;
        s.scale = (float)(most / s.high);
        return s;
    }
    if (g->range == QUANT_WITH_ZERO) {
        low = fmin(low, 0);
        high = fmax(high, 0);
        if (high - low <= 0) {
            low = -1;
            high = 1;
        }
    }
    s.scale = (float)(fmax(high - low, RANGE_MIN) / s.high);
    s.zero = clamp(lrint(-low / (double)s.scale), 0, s.high);
    return s;
}

int quant_code(const struct quant_step *s, float w)
{
    return clamp(lrintf(w / s->scale) + s->zero, s->low, s->high);
}

float quant_value(const struct quant_step *s, float w)
{
    return s->scale * (float)(quant_code(s, w) - s->zero);
}

int quant_groups(const struct quant_grid *g, int k)
{
    return g->group > 0 ? (k + g->group - 1) / g->group : 1;
}

void quant_round(const struct quant_grid *g, float *w, int n, int k)
{
    const int size = g->group > 0 ? g->group : k;
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p += size) {
            const int count = k - p < size ? k - p : size;
            float *part = w + (size_t)j * (size_t)k + (size_t)p;
            const struct quant_step s = quant_fit(g, part, count);
            for (int i = 0; i < count; i++)
                part[i] = quant_value(&s, part[i]);
        }
}

void quant_compare_steps(const struct quant_grid *g, const float *w, const float *scaled, int n,
                         int k, struct quant_steps *sum)
{
    const int size = g->group > 0 ? g->group : k;
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p += size) {
            const int count = k - p < size ? k - p : size;
            const size_t at = (size_t)j * (size_t)k + (size_t)p;
            const double before = (double)quant_fit(g, w + at, count).scale;
            const double after = (double)quant_fit(g, scaled + at, count).scale;
            sum->groups++;
            sum->changed += fabs(after - before) > 0;
            sum->ratio += after / before;
        }
}

/* ---- statistics of inputs ---- */

void quant_mean_abs(const float *x, int rows, int k, double *mean)
{
    for (int p = 0; p < k; p++)
        mean[p] = 0;
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < k; p++)
            mean[p] += (double)fabsf(x[(size_t)i * (size_t)k + (size_t)p]);
    for (int p = 0; p < k; p++)
        mean[p] /= rows;
}

void quant_max_abs(const float *x, int rows, int k, float *most)
{
    memset(most, 0, (size_t)k * sizeof *most);
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < k; p++)
            most[p] = quant_larger(most[p], fabsf(x[(size_t)i * (size_t)k + (size_t)p]));
}

/* Products are shared out among OpenMP's threads by rows of the result, each piece a
 * single-threaded product: no second pool of threads, and the same sums for any number. */
enum { PIECE = 64, LEAST = 32 };

/* Rows of a piece: the other operand is copied for each, so few, but two for each thread. */
static int piece_of(int n)
{
    const int pieces = 2 * (omp_in_parallel() ? 1 : omp_get_max_threads());
    return ((n + pieces - 1) / pieces + LEAST - 1) / LEAST * LEAST;
}

int quant_gram(const float *x, int rows, int k, float *h)
{
    const int blas = openblas_get_num_threads();
    if (rows < 1)
        return cb_error("no inputs to learn from");
    openblas_set_num_threads(1);
#pragma omp parallel for schedule(dynamic)
    for (int p = 0; p < k; p += PIECE)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k - p < PIECE ? k - p : PIECE, k - p,
                    rows, 1.0f / (float)rows, x + p, k, x + p, k, 0,
                    h + (size_t)p * (size_t)k + (size_t)p, k);
    openblas_set_num_threads(blas);
    for (int p = 0; p < k; p++)
        for (int q = 0; q < p; q++)
            h[(size_t)p * (size_t)k + (size_t)q] = h[(size_t)q * (size_t)k + (size_t)p];
    return 0;
}

int quant_energy(const float *e, int n, int k, const float *h, double *sum, double *per)
{
    float *eh = malloc((size_t)n * (size_t)k * sizeof *eh);
    double *each = per ? per : malloc((size_t)n * sizeof *each);
    if (!eh || !each) {
        free(eh);
        if (!per)
            free(each);
        return cb_error("no memory for an error of %d x %d", n, k);
    }
    const int blas = openblas_get_num_threads();
    const int piece = piece_of(n);
    openblas_set_num_threads(1);
#pragma omp parallel for schedule(dynamic)
    for (int j = 0; j < n; j += piece) {
        const int count = n - j < piece ? n - j : piece;
        const float *from = e + (size_t)j * (size_t)k;
        float *to = eh + (size_t)j * (size_t)k;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, k, k, 1, from, k, h, k, 0, to,
                    k);
        for (int i = 0; i < count; i++) {
            each[j + i] = 0;
            for (int p = 0; p < k; p++) {
                const size_t at = (size_t)i * (size_t)k + (size_t)p;
                each[j + i] += (double)from[at] * (double)to[at];
            }
        }
    }
    openblas_set_num_threads(blas);
    *sum = 0;
    for (int j = 0; j < n; j++)
        *sum += each[j];
    free(eh);
    if (!per)
        free(each);
    return 0;
}

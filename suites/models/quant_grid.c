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

/* Least and greatest of w [count], count >= 1, in lanes. */
static void range_of(const float *w, int count, double *low, double *high)
{
    enum { LANES = 8 };
    float least[LANES], most[LANES];
    int at = 0;
    for (int i = 0; i < LANES; i++)
        least[i] = most[i] = w[0];
    for (; at + LANES <= count; at += LANES)
        for (int i = 0; i < LANES; i++) {
            least[i] = w[at + i] < least[i] ? w[at + i] : least[i];
            most[i] = w[at + i] > most[i] ? w[at + i] : most[i];
        }
    for (; at < count; at++) {
        least[0] = w[at] < least[0] ? w[at] : least[0];
        most[0] = w[at] > most[0] ? w[at] : most[0];
    }
    for (int i = 1; i < LANES; i++) {
        least[0] = least[i] < least[0] ? least[i] : least[0];
        most[0] = most[i] > most[0] ? most[i] : most[0];
    }
    *low = (double)least[0];
    *high = (double)most[0];
}

struct quant_step quant_fit(const struct quant_grid *g, const float *w, int count)
{
    struct quant_step s = { 1, 0, 0, (1 << g->bits) - 1 };
    double low, high;
    range_of(w, count, &low, &high);
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

/* quant_value of all of w [count], in place; codes are small, so floats hold them. */
static void round_group(const struct quant_step *s, float *w, int count)
{
    const float scale = s->scale, zero = (float)s->zero, low = (float)s->low,
                high = (float)s->high;
#pragma omp simd
    for (int i = 0; i < count; i++) {
        const float code = quant_nearest(w[i] / scale) + zero;
        w[i] = scale * ((code < low ? low : code > high ? high : code) - zero);
    }
}

int quant_groups(const struct quant_grid *g, int k)
{
    return g->group > 0 ? (k + g->group - 1) / g->group : 1;
}

void quant_round_row(const struct quant_grid *g, float *w, int k)
{
    const int size = g->group > 0 ? g->group : k;
    for (int p = 0; p < k; p += size) {
        const int count = k - p < size ? k - p : size;
        const struct quant_step s = quant_fit(g, w + p, count);
        round_group(&s, w + p, count);
    }
}

void quant_round(const struct quant_grid *g, float *w, int n, int k)
{
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++)
        quant_round_row(g, w + (size_t)j * (size_t)k, k);
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

/* Adds factor times the products of e's columns q ... q+width-1 with (e H) there, of which only
 * what channels p ... p+depth-1 give is taken. */
static void add_energy(const float *e, int count, int k, const float *h, int p, int depth, int q,
                       int width, double factor, float *eh, double *each)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, width, depth, 1, e + p, k,
                h + (size_t)p * (size_t)k + (size_t)q, k, 0, eh, width);
    for (int i = 0; i < count; i++) {
        const float *a = e + (size_t)i * (size_t)k + (size_t)q, *b = eh + (size_t)i * (size_t)width;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < width; c++)
            sum += (double)a[c] * (double)b[c];
        each[i] += factor * sum;
    }
}

/* H is symmetric: what lies above its diagonal blocks counts twice, what lies below not. */
int quant_energy(const float *e, int n, int k, const float *h, double *sum, double *per)
{
    enum { WIDTH = 128 };
    const int piece = piece_of(n), size = k > WIDTH ? WIDTH : (k + 1) / 2;
    float *eh = malloc((size_t)n * (size_t)size * sizeof *eh);
    double *each = per ? per : malloc((size_t)n * sizeof *each);
    if (!eh || !each) {
        free(eh);
        if (!per)
            free(each);
        return cb_error("no memory for an error of %d x %d", n, k);
    }
    const int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
#pragma omp parallel for schedule(dynamic)
    for (int j = 0; j < n; j += piece) {
        const int count = n - j < piece ? n - j : piece;
        const float *from = e + (size_t)j * (size_t)k;
        float *to = eh + (size_t)j * (size_t)size;
        for (int i = 0; i < count; i++)
            each[j + i] = 0;
        for (int q = 0; q < k; q += size) {
            const int width = k - q < size ? k - q : size;
            if (q)
                add_energy(from, count, k, h, 0, q, q, width, 2, to, each + j);
            add_energy(from, count, k, h, q, width, q, width, 1, to, each + j);
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

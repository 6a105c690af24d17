/*
 * quant_awq.c - AWQ's search for scales and for clipping, and channels kept by hand.
 *
 *     scale  s[p] = mean|x_p|^r, normed to sqrt(max min) = 1;  W' = Q(W diag(s)) diag(1/s)
 *            r of the least loss; r = 0 is round to nearest
 *     clip   per output channel and group: bound m = (1 - i/20) max|w|, i = 0 ... 9, with the
 *            least mean of (x (Q(clamp(w, -m, m)) - w))^2 over the group's channels alone,
 *            which is d H d^T with d the change and H the group's second moments
 */
#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "quant.h"

enum { CLIP_ROWS = 512 };

static float *copy_of(const float *w, size_t count)
{
    float *c = malloc((count ? count : 1) * sizeof *c);
    if (c)
        memcpy(c, w, count * sizeof *c);
    else
        cb_error("no memory for %zu weights", count);
    return c;
}

void quant_scale_columns(float *w, int n, int k, const float *scale, bool divide)
{
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++) {
            float *at = &w[(size_t)j * (size_t)k + (size_t)p];
            *at = divide ? *at / scale[p] : *at * scale[p];
        }
}

void awq_scale(const double *mean, int k, double r, float *scale)
{
    double low = DBL_MAX, high = 0;
    for (int p = 0; p < k; p++) {
        const double s = fmax(pow(mean[p], r), 1e-4);
        scale[p] = (float)s;
        low = fmin(low, s);
        high = fmax(high, s);
    }
    for (int p = 0; p < k; p++)
        scale[p] = (float)((double)scale[p] / sqrt(low * high));
}

int awq_search(const struct quant_grid *g, const struct quant_matrix *set, int count,
               const double *mean, quant_loss *loss, void *context, float *scale, double *ratio)
{
    const int k = set[0].k;
    float *kept[8] = { NULL }, *tried = malloc((size_t)k * sizeof *tried);
    double best = INFINITY;
    int status = tried ? 0 : cb_error("no memory for %d scales", k);
    for (int i = 0; !status && i < count; i++)
        if (!(kept[i] = copy_of(set[i].w, (size_t)set[i].n * (size_t)k)))
            status = -1;
    for (int step = 0; !status && step < AWQ_GRID; step++) {
        const double r = (double)step / AWQ_GRID;
        double is;
        awq_scale(mean, k, r, tried);
        for (int i = 0; i < count; i++) {
            quant_scale_columns(set[i].w, set[i].n, k, tried, false);
            quant_round(g, set[i].w, set[i].n, k);
            quant_scale_columns(set[i].w, set[i].n, k, tried, true);
        }
        status = loss(context, &is);
        if (!status && is < best) {
            best = is;
            *ratio = r;
            memcpy(scale, tried, (size_t)k * sizeof *scale);
        }
        for (int i = 0; i < count; i++)
            memcpy(set[i].w, kept[i], (size_t)set[i].n * (size_t)k * sizeof *kept[i]);
    }
    if (!status && isinf(best))
        status = cb_error("AWQ: no scale gives a finite loss");
    for (int i = 0; i < count; i++)
        free(kept[i]);
    free(tried);
    return status;
}

/* One group of all rows: w + p, row stride k. */
static int clip_group(const struct quant_grid *g, float *w, int n, int k, int width,
                      const float *h)
{
    const size_t count = (size_t)n * (size_t)width;
    float *d = malloc(count * sizeof *d);
    float *bound = malloc((size_t)n * sizeof *bound), *most = malloc((size_t)n * sizeof *most);
    double *best = malloc((size_t)n * sizeof *best), *error = malloc((size_t)n * sizeof *error);
    double sum;
    int status = -1;
    if (!d || !bound || !most || !best || !error) {
        cb_error("no memory for clipping %d rows", n);
        goto done;
    }
    for (int j = 0; j < n; j++) {
        most[j] = 0;
        best[j] = INFINITY;
        for (int p = 0; p < width; p++)
            most[j] = quant_larger(most[j], fabsf(w[(size_t)j * (size_t)k + (size_t)p]));
        bound[j] = most[j];
    }
    for (int i = 0; i < AWQ_CLIPS; i++) {
        const float shrink = awq_clip_part(i);
#pragma omp parallel for schedule(static)
        for (int j = 0; j < n; j++) {
            float *to = d + (size_t)j * (size_t)width;
            const float *from = w + (size_t)j * (size_t)k, m = most[j] * shrink;
            for (int p = 0; p < width; p++)
                to[p] = quant_within(from[p], m);
            const struct quant_step s = quant_fit(g, to, width);
            for (int p = 0; p < width; p++)
                to[p] = quant_value(&s, to[p]) - from[p];
        }
        if (quant_energy(d, n, width, h, &sum, error))
            goto done;
        for (int j = 0; j < n; j++)
            if (error[j] < best[j]) {
                best[j] = error[j];
                bound[j] = most[j] * shrink;
            }
    }
    for (int j = 0; j < n; j++)
        for (int p = 0; p < width; p++) {
            float *at = &w[(size_t)j * (size_t)k + (size_t)p];
            *at = quant_within(*at, bound[j]);
        }
    status = 0;
done:
    free(d);
    free(bound);
    free(most);
    free(best);
    free(error);
    return status;
}

int awq_clip(const struct quant_grid *g, float *w, int n, int k, const float *x, int rows)
{
    const int size = g->group > 0 ? g->group : k, every = rows >= CLIP_ROWS ? rows / CLIP_ROWS : 1;
    const int taken = (rows + every - 1) / every;
    float *part = malloc((size_t)taken * (size_t)size * sizeof *part);
    float *h = malloc((size_t)size * (size_t)size * sizeof *h);
    int status = part && h ? 0 : cb_error("no memory for clipping groups of %d", size);
    for (int p = 0; !status && p < k; p += size) {
        const int width = k - p < size ? k - p : size;
        for (int i = 0; i < taken; i++)
            memcpy(part + (size_t)i * (size_t)width,
                   x + (size_t)i * (size_t)every * (size_t)k + (size_t)p,
                   (size_t)width * sizeof *part);
        status = quant_gram(part, taken, width, h) || clip_group(g, w + p, n, k, width, h) ? -1 : 0;
    }
    free(part);
    free(h);
    return status;
}

/* ---- channels kept or scaled by hand ---- */

struct ranked {
    double value;
    int channel;
};

static int descending(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value) - (x->value > y->value)
                                : x->channel - y->channel;
}

int quant_mark(const struct quant_matrix *set, int count, const double *mean, double share,
               enum quant_rank rank, unsigned long seed, bool *marked)
{
    const int k = set[0].k, most = (int)lrint(share * k) < 1 ? 1 : (int)lrint(share * k);
    struct ranked *r = malloc((size_t)k * sizeof *r);
    if (!r)
        return cb_error("no memory for %d channels", k);
    for (int p = 0; p < k; p++) {
        r[p] = (struct ranked){ 0, p };
        if (rank == QUANT_BY_INPUT)
            r[p].value = mean[p];
        else if (rank == QUANT_BY_CHANCE)
            r[p].value = (double)philox_element(CB_UNIFORM, seed, 0, 0, (uint64_t)p);
        else
            for (int i = 0; i < count; i++)
                for (int j = 0; j < set[i].n; j++) {
                    const double v = (double)set[i].w[(size_t)j * (size_t)k + (size_t)p];
                    r[p].value += v * v;
                }
    }
    qsort(r, (size_t)k, sizeof *r, descending);
    memset(marked, 0, (size_t)k * sizeof *marked);
    for (int i = 0; i < most && i < k; i++)
        marked[r[i].channel] = true;
    free(r);
    return 0;
}

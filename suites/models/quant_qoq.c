/*
 * quant_qoq.c - the weight side of QoQ (QServe): progressive groups with a protective
 * range, clipping by the output, rotation.
 *
 *     level 1   s0 = max|w| / 119 per row          q8 = round(w / s0), -119 ... 119
 *     level 2   s1 = round((max - min) / 15) >= 1  q4 = round(q8 / s1) + z, 0 ... 15
 *               z = round(-min / s1)               q8' = (q4 - z) s1, within -128 ... 127
 *
 * min and max of level 2 include 0, so that z is a code.  119 is the largest bound for
 * which q8' never leaves INT8: rounding overshoots by half of s1, and s1 <= 16.
 */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "quant.h"

enum { PROTECTED = 119, CLIP_STEPS = 21 };

static long bounded(long x, long low, long high)
{
    return x < low ? low : x > high ? high : x;
}

/* Level 2 of one group of level 1's integers, in place.  Quotients of such small integers are
 * rounded in floats as they would be in doubles. */
static void second_level(float *q, int count)
{
    float low = 0, high = 0;
    for (int i = 0; i < count; i++) {
        low = q[i] < low ? q[i] : low;
        high = q[i] > high ? q[i] : high;
    }
    const float scale = (float)bounded(lrint((double)(high - low) / 15), 1, 255);
    const float zero = (float)lrint((double)-low / (double)scale);
#pragma omp simd
    for (int i = 0; i < count; i++) {
        const float code = quant_nearest(q[i] / scale) + zero;
        q[i] = ((code < 0 ? 0 : code > 15 ? 15 : code) - zero) * scale;
    }
}

/* Both levels of a row w [k] in the order of the groups: its scale, and the integers in q. */
static float progressive_row(const float *w, int k, int group, float *q)
{
    const float scale = quant_larger(1e-5f, quant_top_abs(w, k)) / PROTECTED;
#pragma omp simd
    for (int p = 0; p < k; p++)
        q[p] = quant_within(quant_nearest(w[p] / scale), PROTECTED);
    for (int p = 0; p < k; p += group)
        second_level(q + p, k - p < group ? k - p : group);
    return scale;
}

int qoq_progressive(const float *w, int n, int k, int group, const int *order, signed char *out,
                    float *scale)
{
    int lost = 0;
    const int size = group > 0 ? group : k;
#pragma omp parallel reduction(+ : lost)
    {
        float *q = malloc(2 * (size_t)k * sizeof *q), *ordered = q ? q + k : NULL;
#pragma omp for schedule(static)
        for (int j = 0; j < n; j++) {
            const float *row = w + (size_t)j * (size_t)k;
            signed char *to = out + (size_t)j * (size_t)k;
            if (!q)
                continue;
            for (int p = 0; p < k; p++)
                ordered[p] = row[order ? order[p] : p];
            scale[j] = progressive_row(ordered, k, size, q);
            for (int p = 0; p < k; p++)
                to[order ? order[p] : p] = (signed char)q[p];
        }
        lost += !q;
        free(q);
    }
    return lost ? cb_error("no memory for a row of %d weights", k) : 0;
}

/* The change d [k] that clipping a row to the bound and rounding it make, in the order of the
 * groups; scratch [2 k]. */
static void changed_row(const struct quant_grid *g, bool progressive, const float *w, int k,
                        float bound, float *scratch, float *d)
{
    const int size = g->group > 0 ? g->group : k;
    float *clipped = scratch, *q = scratch + k;
    for (int p = 0; p < k; p++)
        clipped[p] = quant_within(w[p], bound);
    if (progressive) {
        const float scale = progressive_row(clipped, k, size, q);
        for (int p = 0; p < k; p++)
            d[p] = scale * q[p] - w[p];
        return;
    }
    quant_round_row(g, clipped, k);
    for (int p = 0; p < k; p++)
        d[p] = clipped[p] - w[p];
}

/* The same of all rows, each clipped to its top times the factor; d [n][k] in the order of h. */
static int changes(const struct quant_grid *g, bool progressive, const int *order, const float *w,
                   int n, int k, const float *top, float factor, float *d)
{
    int lost = 0;
#pragma omp parallel reduction(+ : lost)
    {
        float *ordered = malloc(4 * (size_t)k * sizeof *ordered);
        float *change = ordered ? ordered + k : NULL, *scratch = ordered ? ordered + 2 * k : NULL;
#pragma omp for schedule(static)
        for (int j = 0; j < n; j++) {
            const float *row = w + (size_t)j * (size_t)k;
            float *to = d + (size_t)j * (size_t)k;
            if (!ordered)
                continue;
            if (!order || !progressive) {
                changed_row(g, progressive, row, k, top[j] * factor, scratch, to);
                continue;
            }
            for (int p = 0; p < k; p++)
                ordered[p] = row[order[p]];
            changed_row(g, progressive, ordered, k, top[j] * factor, scratch, change);
            for (int p = 0; p < k; p++)
                to[order[p]] = change[p];
        }
        lost += !ordered;
        free(ordered);
    }
    return lost ? cb_error("no memory for a row of %d weights", k) : 0;
}

int qoq_clip(const struct quant_grid *g, bool progressive, const int *order, const float *h,
             float *w, int n, int k)
{
    float *d = malloc((size_t)n * (size_t)k * sizeof *d);
    float *top = malloc((size_t)n * sizeof *top), *bound = malloc((size_t)n * sizeof *bound);
    double *best = malloc((size_t)n * sizeof *best), *error = malloc((size_t)n * sizeof *error);
    double sum;
    int status = -1;
    if (!d || !top || !bound || !best || !error) {
        cb_error("no memory for clipping %d x %d", n, k);
        goto done;
    }
    for (int j = 0; j < n; j++) {
        best[j] = INFINITY;
        bound[j] = top[j] = quant_top_abs(w + (size_t)j * (size_t)k, k);
    }
    for (int i = 0; i < CLIP_STEPS; i++) {
        const float factor = (float)(1 - 0.8 * i / (CLIP_STEPS - 1));
        if (changes(g, progressive, order, w, n, k, top, factor, d) ||
            quant_energy(d, n, k, h, &sum, error))
            goto done;
        for (int j = 0; j < n; j++)
            if (error[j] < best[j]) {
                best[j] = error[j];
                bound[j] = top[j] * factor;
            }
    }
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++) {
            float *at = &w[(size_t)j * (size_t)k + (size_t)p];
            *at = quant_within(*at, bound[j]);
        }
    status = 0;
done:
    free(d);
    free(top);
    free(bound);
    free(best);
    free(error);
    return status;
}

/* ---- rotation ---- */

static float sign_of(unsigned long seed, int p)
{
    return philox_element(CB_UNIFORM, seed, 1, 0, (uint64_t)p) < 0 ? -1 : 1;
}

int qoq_rotation(int k, unsigned long seed, float *sign)
{
    for (int p = 0; p < k; p++)
        sign[p] = sign_of(seed, p);
    return k & -k;
}

static void hadamard(float *x, int size)
{
    for (int half = 1; half < size; half *= 2)
        for (int i = 0; i < size; i += 2 * half)
            for (int j = i; j < i + half; j++) {
                const float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    const float norm = (float)(1 / sqrt(size));
    for (int i = 0; i < size; i++)
        x[i] *= norm;
}

static void rotate(float *x, int n, int k, unsigned long seed, bool back)
{
    const int size = k & -k;
    float *sign = malloc((size_t)k * sizeof *sign);
    for (int p = 0; sign && p < k; p++)
        sign[p] = sign_of(seed, p);
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++) {
        float *row = x + (size_t)j * (size_t)k;
        for (int p = 0; !back && p < k; p++)
            row[p] *= sign ? sign[p] : sign_of(seed, p);
        for (int p = 0; p < k; p += size)
            hadamard(row + p, size);
        for (int p = 0; back && p < k; p++)
            row[p] *= sign ? sign[p] : sign_of(seed, p);
    }
    free(sign);
}

void qoq_rotate(float *x, int n, int k, unsigned long seed)
{
    rotate(x, n, k, seed, false);
}

void qoq_rotate_back(float *x, int n, int k, unsigned long seed)
{
    rotate(x, n, k, seed, true);
}

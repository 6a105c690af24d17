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
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "quant.h"

enum { PROTECTED = 119, CLIP_STEPS = 21 };

static long bounded(long x, long low, long high)
{
    return x < low ? low : x > high ? high : x;
}

/* Level 2 of one group of level 1's integers, in place. */
static void second_level(long *q, int count)
{
    long low = 0, high = 0;
    for (int i = 0; i < count; i++) {
        low = q[i] < low ? q[i] : low;
        high = q[i] > high ? q[i] : high;
    }
    const long scale = bounded(lrint((double)(high - low) / 15), 1, 255);
    const long zero = lrint((double)-low / (double)scale);
    for (int i = 0; i < count; i++)
        q[i] = (bounded(lrint((double)q[i] / (double)scale) + zero, 0, 15) - zero) * scale;
}

static void progressive_row(const float *w, int k, int group, const int *order, long *q,
                            signed char *out, float *scale)
{
    float most = 1e-5f;
    for (int p = 0; p < k; p++)
        most = quant_larger(most, fabsf(w[p]));
    *scale = most / PROTECTED;
    for (int p = 0; p < k; p++)
        q[p] = bounded(lrintf(w[order ? order[p] : p] / *scale), -PROTECTED, PROTECTED);
    for (int p = 0; p < k; p += group)
        second_level(q + p, k - p < group ? k - p : group);
    for (int p = 0; p < k; p++)
        out[order ? order[p] : p] = (signed char)q[p];
}

int qoq_progressive(const float *w, int n, int k, int group, const int *order, signed char *out,
                    float *scale)
{
    int lost = 0;
    const int size = group > 0 ? group : k;
#pragma omp parallel reduction(+ : lost)
    {
        long *q = malloc((size_t)k * sizeof *q);
#pragma omp for schedule(static)
        for (int j = 0; j < n; j++)
            if (q)
                progressive_row(w + (size_t)j * (size_t)k, k, size, order, q,
                                out + (size_t)j * (size_t)k, &scale[j]);
        lost += !q;
        free(q);
    }
    return lost ? cb_error("no memory for a row of %d weights", k) : 0;
}

/* The change that clipping by a factor and rounding make. */
static int changed(const struct quant_grid *g, bool progressive, const int *order, const float *w,
                   int n, int k, double factor, float *clipped, signed char *code, float *scale,
                   float *d)
{
#pragma omp parallel for schedule(static)
    for (int j = 0; j < n; j++) {
        const float *from = w + (size_t)j * (size_t)k;
        float most = 0;
        for (int p = 0; p < k; p++)
            most = quant_larger(most, fabsf(from[p]));
        most *= (float)factor;
        for (int p = 0; p < k; p++)
            clipped[(size_t)j * (size_t)k + (size_t)p] = quant_within(from[p], most);
    }
    if (progressive) {
        if (qoq_progressive(clipped, n, k, g->group, order, code, scale))
            return -1;
#pragma omp parallel for schedule(static)
        for (int j = 0; j < n; j++)
            for (int p = 0; p < k; p++) {
                const size_t at = (size_t)j * (size_t)k + (size_t)p;
                d[at] = scale[j] * code[at] - w[at];
            }
        return 0;
    }
    memcpy(d, clipped, (size_t)n * (size_t)k * sizeof *d);
    quant_round(g, d, n, k);
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        d[i] -= w[i];
    return 0;
}

int qoq_clip(const struct quant_grid *g, bool progressive, const int *order, const float *h,
             float *w, int n, int k)
{
    const size_t count = (size_t)n * (size_t)k;
    float *clipped = malloc(count * sizeof *clipped), *d = malloc(count * sizeof *d);
    float *out = malloc(count * sizeof *out), *scale = malloc((size_t)n * sizeof *scale);
    signed char *code = malloc(count);
    double *best = malloc((size_t)n * sizeof *best), *error = malloc((size_t)n * sizeof *error);
    double sum;
    int status = -1;
    if (!clipped || !d || !out || !scale || !code || !best || !error) {
        cb_error("no memory for clipping %d x %d", n, k);
        goto done;
    }
    for (int j = 0; j < n; j++)
        best[j] = INFINITY;
    for (int i = 0; i < CLIP_STEPS; i++) {
        if (changed(g, progressive, order, w, n, k, 1 - 0.8 * i / (CLIP_STEPS - 1), clipped, code,
                    scale, d) ||
            quant_energy(d, n, k, h, &sum, error))
            goto done;
        for (int j = 0; j < n; j++)
            if (error[j] < best[j]) {
                best[j] = error[j];
                memcpy(out + (size_t)j * (size_t)k, clipped + (size_t)j * (size_t)k,
                       (size_t)k * sizeof *out);
            }
    }
    memcpy(w, out, count * sizeof *w);
    status = 0;
done:
    free(clipped);
    free(d);
    free(out);
    free(scale);
    free(code);
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

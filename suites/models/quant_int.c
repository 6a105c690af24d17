/*
 * quant_int.c - see quant_int.h.
 *
 * Codes are multiplied as floats, by OpenBLAS: of at most EXACT channels at a time, whose sums
 * of products stay below 2^24 in any order of summing, so that they are the integers.  2^31 is
 * not reached before k = 2^31 / 2^14.
 */
#include "quant_int.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "llama_part.h"
#include "quant.h"

enum {
    EXACT = 1024, /* channels: 1024 x 128 x 127 < 2^24 */
    TOKENS = 256, /* of one product */
    BLOCK = 128,  /* most output channels of one product */
    LEAST = 32
};

static float as_half(float x)
{
    return half_to_float(half_from_float(x));
}

void int_linear_free(struct int_linear *l)
{
    if (!l)
        return;
    free(l->start);
    free(l->act_bits);
    free(l->code);
    free(l->scale);
    free(l->offset);
    free(l->order);
    free(l);
}

struct int_linear *int_linear_new(int n, int k, int groups, int act_bits, bool offset, bool order)
{
    struct int_linear *l = calloc(1, sizeof *l);
    if (l) {
        l->n = n;
        l->k = k;
        l->groups = groups;
        l->start = calloc((size_t)groups + 1, sizeof *l->start);
        l->act_bits = calloc((size_t)groups, sizeof *l->act_bits);
        l->code = malloc((size_t)n * (size_t)k * sizeof *l->code);
        l->scale = malloc((size_t)n * (size_t)groups * sizeof *l->scale);
        l->offset = offset ? malloc((size_t)n * sizeof *l->offset) : NULL;
        l->order = order ? malloc((size_t)k * sizeof *l->order) : NULL;
    }
    if (!l || !l->start || !l->act_bits || !l->code || !l->scale || (offset && !l->offset) ||
        (order && !l->order)) {
        int_linear_free(l);
        cb_error("no memory for %d x %d codes", n, k);
        return NULL;
    }
    l->start[groups] = k;
    for (int g = 0; g < groups; g++)
        l->act_bits[g] = act_bits;
    return l;
}

/* Codes, scales per group and sum of one token. */
static void quantise_token(const struct int_linear *l, const float *x, float *q, float *scale,
                           float *total)
{
    double all = 0; /* so that the order of the sum, which a GPU changes, hardly matters */
    for (int p = 0; p < l->k; p++)
        all += (double)x[p];
    *total = as_half((float)all);
    for (int g = 0; g < l->groups; g++) {
        float most = 0;
        const int top = (1 << (l->act_bits[g] - 1)) - 1;
        for (int p = l->start[g]; p < l->start[g + 1]; p++)
            most = quant_larger(most, fabsf(x[l->order ? l->order[p] : p]));
        const float per = most > 0 ? (float)top / most : 0;
        for (int p = l->start[g]; p < l->start[g + 1]; p++)
            q[p] = (float)lrintf(x[l->order ? l->order[p] : p] * per);
        scale[g] = as_half(most / (float)top);
    }
}

/* What one thread works with. */
struct scratch {
    float w[BLOCK * EXACT]; /* codes of the block's channels */
    float part[TOKENS * BLOCK];
    int sum[TOKENS * BLOCK];
};

/* Integers of one group: sum [m][count] over its channels of q and the codes from channel j. */
static void group_sums(const struct int_linear *l, int g, const float *q, int m, int j, int count,
                       struct scratch *s)
{
    memset(s->sum, 0, (size_t)m * (size_t)count * sizeof *s->sum);
    for (int p = l->start[g], width; p < l->start[g + 1]; p += width) {
        width = l->start[g + 1] - p < EXACT ? l->start[g + 1] - p : EXACT;
        for (int c = 0; c < count; c++) {
            const short *code = l->code + (size_t)(j + c) * (size_t)l->k + (size_t)p;
            for (int i = 0; i < width; i++)
                s->w[c * width + i] = code[i];
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, count, width, 1, q + p, l->k, s->w,
                    width, 0, s->part, count);
        for (int i = 0; i < m * count; i++)
            s->sum[i] += (int)s->part[i];
    }
}

/* Channels j ... j + count - 1 of y for m tokens. */
static void outputs(const struct int_linear *l, const float *q, const float *scale,
                    const float *total, int m, int j, int count, const float *bias, float *y,
                    struct scratch *s)
{
    for (int i = 0; i < m; i++)
        for (int c = 0; c < count; c++)
            y[(size_t)i * (size_t)l->n + (size_t)(j + c)] = bias ? bias[j + c] : 0;
    for (int g = 0; g < l->groups; g++) {
        group_sums(l, g, q, m, j, count, s);
        for (int i = 0; i < m; i++)
            for (int c = 0; c < count; c++)
                y[(size_t)i * (size_t)l->n + (size_t)(j + c)] +=
                    l->scale[(size_t)(j + c) * (size_t)l->groups + (size_t)g] *
                    scale[(size_t)i * (size_t)l->groups + (size_t)g] *
                    (float)s->sum[i * count + c];
    }
    for (int i = 0; l->offset && i < m; i++)
        for (int c = 0; c < count; c++)
            y[(size_t)i * (size_t)l->n + (size_t)(j + c)] -= l->offset[j + c] * total[i];
}

static void product(const struct int_linear *l, const float *q, const float *scale,
                    const float *total, int m, const float *bias, float *y, struct scratch *s)
{
    const int each = l->n / (2 * omp_get_max_threads()) / LEAST * LEAST;
    const int block = each < LEAST ? LEAST : each < BLOCK ? each : BLOCK;
    const int blas = llama_one_blas_thread();
#pragma omp parallel for schedule(dynamic)
    for (int j = 0; j < l->n; j += block)
        for (int i = 0; i < m; i += TOKENS)
            outputs(l, q + (size_t)i * (size_t)l->k, scale + (size_t)i * (size_t)l->groups,
                    total + i, m - i < TOKENS ? m - i : TOKENS, j,
                    l->n - j < block ? l->n - j : block, bias, y + (size_t)i * (size_t)l->n,
                    s + omp_get_thread_num());
    openblas_set_num_threads(blas);
}

int int_linear_apply(const struct llama_linear *linear, const float *x, int m, float *y)
{
    const struct int_linear *l = linear->context;
    const size_t k = (size_t)l->k, threads = (size_t)omp_get_max_threads();
    float *q = malloc((size_t)m * k * sizeof *q);
    float *scale = malloc((size_t)m * (size_t)l->groups * sizeof *scale);
    float *total = malloc((size_t)m * sizeof *total);
    float *turned = l->rotate ? malloc((size_t)m * k * sizeof *turned) : NULL;
    struct scratch *s = malloc(threads * sizeof *s);
    int status = q && scale && total && s && (turned || !l->rotate)
                     ? 0
                     : cb_error("no memory for %d quantised tokens", m);
    if (!status && turned) {
        memcpy(turned, x, (size_t)m * k * sizeof *turned);
        qoq_rotate(turned, m, l->k, l->seed);
        x = turned;
    }
    if (!status) {
#pragma omp parallel for schedule(static)
        for (int i = 0; i < m; i++)
            quantise_token(l, x + (size_t)i * k, q + (size_t)i * k,
                           scale + (size_t)i * (size_t)l->groups, &total[i]);
        product(l, q, scale, total, m, linear->bias, y, s);
    }
    free(q);
    free(scale);
    free(total);
    free(turned);
    free(s);
    return status;
}

void kv_round(int bits, float *x, int count)
{
    const float top = (float)((1 << bits) - 1);
    float low = x[0], high = x[0];
    for (int i = 1; i < count; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    if (!(high > low)) { /* one value: the published kernel divides by zero here */
        for (int i = 0; i < count; i++)
            x[i] = as_half(x[i]);
        return;
    }
    const float scale = as_half((high - low) / top), zero = as_half(-top * low / (high - low));
    for (int i = 0; i < count; i++) {
        const float q = rintf(x[i] * top / (high - low) + zero);
        x[i] = ((q < 0 ? 0 : q > top ? top : q) - zero) * scale;
    }
}

int kv_after_rope(void *context, int layer, int m, float *q, float *k, float *v)
{
    const struct kv_rounding *r = context;
    const int size = r->config->head_dim, kv = m * r->config->kv_heads;
    (void)layer;
    if (r->rotate) {
        qoq_rotate(q, m * r->config->heads, size, 0);
        qoq_rotate(k, kv, size, 0);
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < kv; i++) {
        kv_round(r->bits, k + (size_t)i * (size_t)size, size);
        kv_round(r->bits, v + (size_t)i * (size_t)size, size);
    }
    return 0;
}

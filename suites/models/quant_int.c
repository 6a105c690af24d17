/* quant_int.c - see quant_int.h. */
#include "quant_int.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "int_sums.h"
#include "quant.h"

enum { TOKENS = 64 }; /* of one product */

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

/* Channels of a group's codes in memory: whole pairs. */
static int padded(const struct int_linear *l, int g)
{
    return (l->start[g + 1] - l->start[g] + 1) / 2 * 2;
}

static int padded_all(const struct int_linear *l)
{
    int sum = 0;
    for (int g = 0; g < l->groups; g++)
        sum += padded(l, g);
    return sum;
}

/* Codes, scales per group and sum of one token, x [k] in the order of the groups. */
static void quantise_token(const struct int_linear *l, const float *x, short *q, float *scale,
                           float *total)
{
    double all = 0; /* so that the order of the sum, which a GPU changes, hardly matters */
#pragma omp simd reduction(+ : all)
    for (int p = 0; p < l->k; p++)
        all += (double)x[p];
    *total = as_half((float)all);
    for (int g = 0; g < l->groups; g++) {
        const int count = l->start[g + 1] - l->start[g], top = (1 << (l->act_bits[g] - 1)) - 1;
        const float most = quant_top_abs(x, count), per = most > 0 ? (float)top / most : 0;
        for (int p = 0; p < count; p++)
            q[p] = (short)quant_nearest(x[p] * per);
        if (count % 2)
            q[count] = 0;
        scale[g] = as_half(most / (float)top);
        q += padded(l, g);
        x += count;
    }
}

/* What one thread works with. */
struct scratch {
    short *packed; /* codes of a block's channels, group after group */
    float *x;      /* [k] a token in order */
    int sum[TOKENS * SUMS_CHANNELS];
};

/* Channels j ... j + count - 1 of y for m tokens. */
static void outputs(const struct int_linear *l, const short *q, size_t width, const float *scale,
                    const float *total, int m, int j, int count, const float *bias, float *y,
                    struct scratch *s)
{
    const short *packed = s->packed;
    for (int i = 0; i < m; i++)
        for (int c = 0; c < count; c++)
            y[(size_t)i * (size_t)l->n + (size_t)(j + c)] = bias ? bias[j + c] : 0;
    for (int g = 0; g < l->groups; g++) {
        float of_row[SUMS_CHANNELS];
        int_sums_best()(q, width, m, padded(l, g) / 2, packed, s->sum);
        for (int c = 0; c < count; c++)
            of_row[c] = l->scale[(size_t)(j + c) * (size_t)l->groups + (size_t)g];
        for (int i = 0; i < m; i++) {
            const float of_token = scale[(size_t)i * (size_t)l->groups + (size_t)g];
            float *to = y + (size_t)i * (size_t)l->n + (size_t)j;
            for (int c = 0; c < count; c++)
                to[c] += of_row[c] * of_token * (float)s->sum[i * SUMS_CHANNELS + c];
        }
        q += padded(l, g);
        packed += (size_t)padded(l, g) * SUMS_CHANNELS;
    }
    for (int i = 0; l->offset && i < m; i++)
        for (int c = 0; c < count; c++)
            y[(size_t)i * (size_t)l->n + (size_t)(j + c)] -= l->offset[j + c] * total[i];
}

/* Blocks of output channels, given out to threads: each packs its codes once for all tokens. */
static void product(const struct int_linear *l, const short *q, const float *scale,
                    const float *total, int m, const float *bias, float *y, struct scratch *all)
{
    const size_t width = (size_t)padded_all(l);
#pragma omp parallel for schedule(dynamic)
    for (int j = 0; j < l->n; j += SUMS_CHANNELS) {
        const int count = l->n - j < SUMS_CHANNELS ? l->n - j : SUMS_CHANNELS;
        struct scratch *s = all + omp_get_thread_num();
        short *packed = s->packed;
        for (int g = 0; g < l->groups; g++) {
            int_sums_pack(l->code + (size_t)j * (size_t)l->k + (size_t)l->start[g], (size_t)l->k,
                          count, l->start[g + 1] - l->start[g], packed);
            packed += (size_t)padded(l, g) * SUMS_CHANNELS;
        }
        for (int i = 0; i < m; i += TOKENS)
            outputs(l, q + (size_t)i * width, width, scale + (size_t)i * (size_t)l->groups,
                    total + i, m - i < TOKENS ? m - i : TOKENS, j, count, bias,
                    y + (size_t)i * (size_t)l->n, s);
    }
}

static void quantise_tokens(const struct int_linear *l, const float *x, int m, short *q,
                            float *scale, float *total, struct scratch *all)
{
    const size_t k = (size_t)l->k, width = (size_t)padded_all(l);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < m; i++) {
        const float *token = x + (size_t)i * k;
        float *ordered = all[omp_get_thread_num()].x;
        for (int p = 0; l->order && p < l->k; p++)
            ordered[p] = token[l->order[p]];
        quantise_token(l, l->order ? ordered : token, q + (size_t)i * width,
                       scale + (size_t)i * (size_t)l->groups, &total[i]);
    }
}

static void free_scratch(struct scratch *s, int threads)
{
    for (int t = 0; s && t < threads; t++) {
        free(s[t].packed);
        free(s[t].x);
    }
    free(s);
}

static struct scratch *new_scratch(const struct int_linear *l, int threads)
{
    const size_t width = (size_t)padded_all(l);
    struct scratch *s = calloc((size_t)threads, sizeof *s);
    bool whole = s != NULL;
    for (int t = 0; s && t < threads; t++) {
        s[t].packed = malloc(width * SUMS_CHANNELS * sizeof *s[t].packed);
        s[t].x = malloc((size_t)l->k * sizeof *s[t].x);
        whole = whole && s[t].packed && s[t].x;
    }
    if (whole)
        return s;
    free_scratch(s, threads);
    return NULL;
}

int int_linear_apply(const struct llama_linear *linear, const float *x, int m, float *y)
{
    const struct int_linear *l = linear->context;
    const size_t k = (size_t)l->k, width = (size_t)padded_all(l);
    const int threads = omp_get_max_threads();
    short *q = malloc((size_t)m * width * sizeof *q);
    float *scale = malloc((size_t)m * (size_t)l->groups * sizeof *scale);
    float *total = malloc((size_t)m * sizeof *total);
    float *turned = l->rotate ? malloc((size_t)m * k * sizeof *turned) : NULL;
    struct scratch *s = new_scratch(l, threads);
    const int status = q && scale && total && s && (turned || !l->rotate)
                           ? 0
                           : cb_error("no memory for %d quantised tokens", m);
    if (!status && turned) {
        memcpy(turned, x, (size_t)m * k * sizeof *turned);
        qoq_rotate(turned, m, l->k, l->seed);
        x = turned;
    }
    if (!status) {
        quantise_tokens(l, x, m, q, scale, total, s);
        product(l, q, scale, total, m, linear->bias, y, s);
    }
    free(q);
    free(scale);
    free(total);
    free(turned);
    free_scratch(s, threads);
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

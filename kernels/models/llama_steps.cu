/*
 * llama_steps.cu - see llama_steps.h.
 *
 * All are bound by bytes, and small beside the products: plain loops, one block a row where a
 * row is reduced.
 */
#include "../common/half.h"
#include "llama_steps.cuh"

/* ---- rows ---- */

static __global__ void rmsnorm(const float *x, const float *gain, double eps, int dim, float *y)
{
    const float *row = x + (size_t)blockIdx.x * dim;
    double sum = 0;
    for (int c = threadIdx.x; c < dim; c += THREADS)
        sum += (double)row[c] * (double)row[c];
    const float scale = (float)(1 / sqrt(block_sum(sum) / dim + eps));
    for (int c = threadIdx.x; c < dim; c += THREADS)
        y[(size_t)blockIdx.x * dim + c] = row[c] * scale * gain[c];
}

/* Block x: a row i of one head's scores. */
static __global__ void softmax(int rows, int ld, int position, int tokens, int window,
                               float *scores)
{
    const int i = blockIdx.x;
    float *row = scores + ((size_t)blockIdx.y * rows + i) * ld;
    const int end = position + i + 1, start = window && end > window ? end - window : 0;
    float top = -INFINITY, sum = 0;
    for (int j = start + (int)threadIdx.x; j < end; j += THREADS)
        top = fmaxf(top, row[j]);
    top = block_max(top);
    for (int j = start + (int)threadIdx.x; j < end; j += THREADS) {
        const float e = expf(row[j] - top);
        row[j] = e;
        sum += e;
    }
    const float scale = 1 / block_sum(sum);
    for (int j = threadIdx.x; j < tokens; j += THREADS)
        row[j] = j >= start && j < end ? row[j] * scale : 0;
}

static __global__ void losses(const float *logits, const int *next, int vocab, float *reference,
                              int fill, double *loss, double *kl)
{
    const size_t at = (size_t)blockIdx.x * vocab;
    const float *row = logits + at;
    float top = -INFINITY;
    double sum = 0, apart = 0;
    for (int i = threadIdx.x; i < vocab; i += THREADS)
        top = fmaxf(top, row[i]);
    top = block_max(top);
    for (int i = threadIdx.x; i < vocab; i += THREADS)
        sum += (double)expf(row[i] - top);
    sum = block_sum(sum);
    const float norm = top + (float)log(sum);
    for (int i = threadIdx.x; reference && i < vocab; i += THREADS) {
        const float q = row[i] - norm;
        if (fill)
            reference[at + i] = q;
        else
            apart += (double)(expf(reference[at + i]) * (reference[at + i] - q));
    }
    apart = block_sum(apart);
    if (threadIdx.x == 0) {
        loss[blockIdx.x] = (double)top + log(sum) - (double)row[next[blockIdx.x]];
        kl[blockIdx.x] = apart;
    }
}

/* ---- elements ---- */

static __global__ void rope(const float *cosine, const float *sine, size_t count, int heads,
                            int size, int step, int apart, float *x)
{
    const int pairs = size / 2;
    for (size_t e = first_element(); e < count; e += all_threads()) {
        const int p = (int)(e % pairs);
        const size_t head = e / pairs, token = head / heads;
        float *a = x + head * size + (size_t)p * step, *b = a + apart;
        const float c = cosine[token * pairs + p], n = sine[token * pairs + p];
        const float a0 = *a, b0 = *b;
        *a = __fsub_rn(__fmul_rn(a0, c), __fmul_rn(b0, n)); /* unfused, as on the host */
        *b = __fadd_rn(__fmul_rn(a0, n), __fmul_rn(b0, c));
    }
}

static __global__ void keep(const float *x, size_t count, int heads, int size, int capacity,
                            int position, float *cache)
{
    for (size_t e = first_element(); e < count; e += all_threads()) {
        const size_t c = e % size, h = e / size % heads, i = e / size / heads;
        cache[(h * capacity + position + i) * size + c] = x[e];
    }
}

static __global__ void silu_times(const float *up, size_t count, float *gate)
{
    for (size_t e = first_element(); e < count; e += all_threads())
        gate[e] = gate[e] / (1 + expf(-gate[e])) * up[e];
}

static __global__ void add(const float *y, size_t count, float *x)
{
    for (size_t e = first_element(); e < count; e += all_threads())
        x[e] += y[e];
}

static __global__ void add_bias(const float *bias, size_t count, int n, float *y)
{
    for (size_t e = first_element(); e < count; e += all_threads())
        y[e] += bias[e % n];
}

static __global__ void to_half(const float *x, size_t count, half_bits *y)
{
    for (size_t e = first_element(); e < count; e += all_threads())
        y[e] = half_from_float(fminf(fmaxf(x[e], -65504.f), 65504.f));
}

/* ---- launchers ---- */

OP_BEGIN

enum op_status llama_rmsnorm(const float *x, const float *gain, double eps, int m, int dim,
                             float *y, op_stream s)
{
    if (m < 1 || dim < 1)
        return OP_EINVAL;
    rmsnorm<<<m, THREADS, 0, s>>>(x, gain, eps, dim, y);
    return launched();
}

enum op_status llama_rope(const float *cosine, const float *sine, int m, int heads, int size,
                          int halves, float *x, op_stream s)
{
    const size_t count = (size_t)m * heads * (size / 2);
    if (m < 1 || heads < 1 || size < 2 || size % 2)
        return OP_EINVAL;
    rope<<<blocks_for(count), THREADS, 0, s>>>(cosine, sine, count, heads, size, halves ? 1 : 2,
                                               halves ? size / 2 : 1, x);
    return launched();
}

enum op_status llama_keep(const float *x, int m, int heads, int size, int capacity, int position,
                          float *cache, op_stream s)
{
    const size_t count = (size_t)m * heads * size;
    if (m < 1 || heads < 1 || size < 1 || position < 0 || position > capacity - m)
        return OP_EINVAL;
    keep<<<blocks_for(count), THREADS, 0, s>>>(x, count, heads, size, capacity, position, cache);
    return launched();
}

enum op_status llama_softmax(int heads, int rows, int ld, int m, int position, int tokens,
                             int window, float *scores, op_stream s)
{
    if (heads < 1 || m < 1 || m > rows || tokens != position + m || tokens > ld || window < 0)
        return OP_EINVAL;
    if (heads > 65535)
        return OP_EUNSUPPORTED;
    softmax<<<dim3((unsigned)m, (unsigned)heads), THREADS, 0, s>>>(rows, ld, position, tokens,
                                                                   window, scores);
    return launched();
}

enum op_status llama_silu_times(const float *up, size_t count, float *gate, op_stream s)
{
    silu_times<<<blocks_for(count), THREADS, 0, s>>>(up, count, gate);
    return launched();
}

enum op_status llama_add(const float *y, size_t count, float *x, op_stream s)
{
    add<<<blocks_for(count), THREADS, 0, s>>>(y, count, x);
    return launched();
}

enum op_status llama_add_bias(const float *bias, int m, int n, float *y, op_stream s)
{
    const size_t count = (size_t)m * n;
    add_bias<<<blocks_for(count), THREADS, 0, s>>>(bias, count, n, y);
    return launched();
}

enum op_status llama_to_half(const float *x, size_t count, uint16_t *y, op_stream s)
{
    to_half<<<blocks_for(count), THREADS, 0, s>>>(x, count, y);
    return launched();
}

enum op_status llama_losses(const float *logits, const int *next, int m, int vocab,
                            float *reference, int fill, double *loss, double *kl, op_stream s)
{
    if (m < 1 || vocab < 1)
        return OP_EINVAL;
    losses<<<m, THREADS, 0, s>>>(logits, next, vocab, reference, fill, loss, kl);
    return launched();
}

OP_END

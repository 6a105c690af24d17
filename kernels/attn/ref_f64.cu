/*
 * ref_f64.cu - on the GPU what ref.c does on the host: codes of the cache, to the same bits,
 * and decode attention in double precision.  Written to be read; not timed.
 */
#include <cuda_runtime.h>

#include "value.h"

constexpr int THREADS = 256;

/* ---- codes: a thread makes a row ---- */

struct Pages {
    struct attn_problem p;
    enum attn_scheme scheme;
    const unsigned char *from;
    unsigned char *to;
    const float *scale; /* NULL: none */
    size_t rows, from_bytes, to_bytes;
};

static __global__ void __launch_bounds__(THREADS) quantise(Pages g)
{
    const size_t row = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= g.rows)
        return;
    const int dims = g.p.head_dim, levels = attn_levels(g.scheme);
    const int token = (int)(row % g.p.page), head = (int)(row / g.p.page % g.p.kv_heads);
    const size_t page = row / g.p.page / g.p.kv_heads;
    const half_bits *const x =
        (const half_bits *)(g.from + page * g.from_bytes +
                            attn_data_at(ATTN_KV16, dims, g.p.page, head, token));
    unsigned char *const to = g.to + page * g.to_bytes, *const data =
                                                            to + attn_data_at(g.scheme, dims,
                                                                              g.p.page, head,
                                                                              token);
    if (g.scheme == ATTN_KV8_STATIC) {
        for (int d = 0; d < dims; d++)
            data[d] = (unsigned char)attn_code_static(half_to_float(x[d]), *g.scale);
        return;
    }
    float low = half_to_float(x[0]), high = low;
    for (int d = 1; d < dims; d++) {
        low = fminf(low, half_to_float(x[d]));
        high = fmaxf(high, half_to_float(x[d]));
    }
    const struct attn_row made = attn_row_of(low, high, levels);
    *(half_bits *)(to + attn_scale_at(g.scheme, g.p.kv_heads, dims, g.p.page, head, token)) =
        made.scale;
    *(half_bits *)(to + attn_zero_at(g.scheme, g.p.kv_heads, dims, g.p.page, head, token)) =
        made.zero;
    if (g.scheme == ATTN_KV8)
        for (int d = 0; d < dims; d++)
            data[d] = (unsigned char)attn_code(&made, half_to_float(x[d]), levels);
    else
        for (int d = 0; d < dims; d += 2)
            data[d / 2] = (unsigned char)(attn_code(&made, half_to_float(x[d]), levels) |
                                          attn_code(&made, half_to_float(x[d + 1]), levels) << 4);
}

/* ---- attention: a block makes a query head ---- */

/* Over the threads; all of them get it. */
template <class Join> static __device__ double block_join(double v, Join join)
{
    __shared__ double part[THREADS];
    __syncthreads();
    part[threadIdx.x] = v;
    for (int step = THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < step)
            part[threadIdx.x] = join(part[threadIdx.x], part[threadIdx.x + step]);
    }
    __syncthreads();
    return part[0];
}

static __global__ void __launch_bounds__(THREADS)
    attend(struct attn_problem p, enum attn_scheme s, struct attn_args a, struct attn_wanted w)
{
    const int b = blockIdx.x / p.heads, h = blockIdx.x % p.heads;
    const int length = a.length[b], dims = p.head_dim, head = h / (p.heads / p.kv_heads);
    const half_bits *const q = (const half_bits *)a.q + (size_t)blockIdx.x * dims;
    double *const score = w.score + (size_t)blockIdx.x * p.length;
    double most = -INFINITY, sum = 0;
    for (int t = threadIdx.x; t < length; t += THREADS) {
        const struct attn_vector k = attn_vector_at(&p, s, attn_page_of(&p, &a, b, 0, t), head,
                                                    t % p.page, a.scale ? a.scale[0] : 1);
        double x = 0;
        for (int d = 0; d < dims; d++)
            x += half_to_float(q[d]) * attn_element(&k, s, d);
        score[t] = x / sqrt((double)dims);
        most = fmax(most, score[t]);
    }
    most = block_join(most, [](double x, double y) { return fmax(x, y); });
    for (int t = threadIdx.x; t < length; t += THREADS)
        sum += score[t] = exp(score[t] - most);
    sum = block_join(sum, [](double x, double y) { return x + y; });
    for (int d = threadIdx.x; d < dims; d += THREADS) {
        double out = 0, squares = 0, offset = 0;
        for (int t = 0; t < length; t++) {
            const struct attn_vector v = attn_vector_at(&p, s, attn_page_of(&p, &a, b, 1, t), head,
                                                        t % p.page, a.scale ? a.scale[1] : 1);
            const double weight = score[t] / sum, term = weight * attn_element(&v, s, d);
            const double shift = weight * attn_shift(&v, s);
            out += term;
            squares += term * term;
            offset += shift * shift;
        }
        w.want[(size_t)blockIdx.x * dims + d] = out;
        w.spread[(size_t)blockIdx.x * dims + d] = sqrt(squares);
        if (d == 0)
            w.offset[blockIdx.x] = sqrt(offset);
    }
}

static enum op_status launched()
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN

enum op_status attn_quantise_cuda(const struct attn_problem *p, enum attn_scheme s,
                                  const void *halves, int count, const float *scale, int which,
                                  void *pages, op_stream stream)
{
    if (attn_meaningless(p) || s == ATTN_KV16)
        return OP_EINVAL;
    const size_t rows = (size_t)count * p->kv_heads * p->page;
    const Pages g = { *p,
                      s,
                      (const unsigned char *)halves,
                      (unsigned char *)pages,
                      scale ? scale + which : NULL,
                      rows,
                      attn_page_bytes(ATTN_KV16, p->kv_heads, p->head_dim, p->page),
                      attn_page_bytes(s, p->kv_heads, p->head_dim, p->page) };
    if (count)
        quantise<<<(unsigned)((rows + THREADS - 1) / THREADS), THREADS, 0, stream>>>(g);
    return launched();
}

enum op_status attn_ref_cuda(const struct attn_problem *p, enum attn_scheme s,
                             const struct attn_args *a, const struct attn_wanted *w,
                             op_stream stream)
{
    if (attn_meaningless(p))
        return OP_EINVAL;
    attend<<<p->batch * p->heads, THREADS, 0, stream>>>(*p, s, *a, *w);
    return launched();
}

OP_END

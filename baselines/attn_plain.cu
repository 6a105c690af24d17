/* attn_plain.cu - the kernels beside cuBLAS's: pages to plain order, softmax. */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../kernels/attn/value.h"
#include "attn_cublas.h"

constexpr int THREADS = 256;

static __global__ void __launch_bounds__(THREADS)
    gather(struct attn_problem p, struct attn_args a, int which, half *to)
{
    const int t = blockIdx.x, head = blockIdx.y, b = blockIdx.z;
    const unsigned char *const page = (const unsigned char *)attn_page_of(&p, &a, b, which, t);
    const half *const from =
        (const half *)(page + attn_data_at(ATTN_KV16, p.head_dim, p.page, head, t % p.page));
    half *const row = to + (((size_t)b * p.kv_heads + head) * p.length + t) * p.head_dim;
    for (int d = threadIdx.x; d < p.head_dim; d += blockDim.x)
        row[d] = t < a.length[b] ? from[d] : __float2half(0);
}

/* A block makes a row. */
template <bool Max> static __device__ float join(float v)
{
    __shared__ float part[THREADS / 32];
    for (int d = 16; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(0xffffffff, v, d);
        v = Max ? fmaxf(v, other) : v + other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    v = part[0];
    for (int i = 1; i < THREADS / 32; i++)
        v = Max ? fmaxf(v, part[i]) : v + part[i];
    return v;
}

static __global__ void __launch_bounds__(THREADS)
    softmax(int heads, int stride, float unit, const int *lengths, const float *scores,
            half *weights)
{
    const int length = lengths[blockIdx.x / heads];
    const float *const score = scores + (size_t)blockIdx.x * stride;
    half *const weight = weights + (size_t)blockIdx.x * stride;
    float most = -INFINITY, sum = 0;
    for (int t = threadIdx.x; t < length; t += THREADS)
        most = fmaxf(most, score[t]);
    most = join<true>(most);
    for (int t = threadIdx.x; t < length; t += THREADS)
        sum += exp2f((score[t] - most) * unit);
    sum = join<false>(sum);
    for (int t = threadIdx.x; t < stride; t += THREADS)
        weight[t] = __float2half(t < length ? exp2f((score[t] - most) * unit) / sum : 0);
}

static enum op_status launched()
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN

enum op_status attn_gather(const struct attn_problem *p, const struct attn_args *a, int which,
                           void *to, op_stream s)
{
    gather<<<dim3(p->length, p->kv_heads, p->batch), 64, 0, s>>>(*p, *a, which, (half *)to);
    return launched();
}

enum op_status attn_softmax(const struct attn_problem *p, const struct attn_args *a,
                            const float *score, void *weight, op_stream s)
{
    const float unit = 1.4426950408889634f / sqrtf((float)p->head_dim);
    softmax<<<p->batch * p->heads, THREADS, 0, s>>>(p->heads, p->length, unit, a->length, score,
                                                    (half *)weight);
    return launched();
}

OP_END

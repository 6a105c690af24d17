/*
 * gemm_dequant.cu - 4-bit W packed, and expanded to half in memory.
 *
 * Bound by bytes: half a byte read and two written per weight.  A thread takes
 * eight weights, one 32-bit word:
 *
 *   bits   31-28 ... 7-4   3-0
 *   code     7        1     0      of eight neighbours along k
 *
 * group is a multiple of 8, so that the eight have one scale.
 */
#include <cuda_fp16.h>

#include "gemm_cublas.h"

constexpr int THREADS = 256;

static __global__ __launch_bounds__(THREADS) void pack(const uint2 *code, unsigned count,
                                                       unsigned *packed)
{
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    const uint2 eight = code[i];
    unsigned word = 0;
#pragma unroll
    for (int b = 0; b < 4; b++) {
        word |= (eight.x >> 8 * b & 15) << 4 * b;
        word |= (eight.y >> 8 * b & 15) << 4 * (b + 4);
    }
    packed[i] = word;
}

static __device__ unsigned bits_of(half2 h)
{
    return *(unsigned *)&h;
}

static __global__ __launch_bounds__(THREADS) void expand(const unsigned *packed, unsigned count,
                                                         unsigned words_per_group,
                                                         const half *scale,
                                                         const unsigned char *zero, uint4 *w)
{
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    const unsigned word = packed[i], g = i / words_per_group;
    const float s = __half2float(scale[g]);
    const int z = zero[g];
    unsigned pair[4];
#pragma unroll
    for (int b = 0; b < 4; b++) /* exact in float, so rounded once */
        pair[b] = bits_of(__floats2half2_rn(s * (float)((int)(word >> 8 * b & 15) - z),
                                            s * (float)((int)(word >> (8 * b + 4) & 15) - z)));
    w[i] = make_uint4(pair[0], pair[1], pair[2], pair[3]);
}

static enum op_status eights(const struct gemm_problem *p, unsigned *count)
{
    const size_t words = (size_t)p->n * p->k / 8;
    *count = (unsigned)words;
    return p->group % 8 || p->k % p->group || words > 0xffffffffu - THREADS ? OP_EUNSUPPORTED
                                                                            : OP_OK;
}

OP_BEGIN

enum op_status gemm_dequant_pack(const struct gemm_problem *p, const unsigned char *code,
                                 void *packed, op_stream s)
{
    unsigned count;
    if (eights(p, &count))
        return OP_EUNSUPPORTED;
    pack<<<(count + THREADS - 1) / THREADS, THREADS, 0, s>>>((const uint2 *)code, count,
                                                             (unsigned *)packed);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status gemm_dequant_expand(const struct gemm_problem *p, const void *packed,
                                   const void *scale, const unsigned char *zero, void *w,
                                   op_stream s)
{
    unsigned count;
    if (eights(p, &count))
        return OP_EUNSUPPORTED;
    expand<<<(count + THREADS - 1) / THREADS, THREADS, 0, s>>>(
        (const unsigned *)packed, count, (unsigned)p->group / 8, (const half *)scale, zero,
        (uint4 *)w);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END

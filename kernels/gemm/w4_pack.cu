/*
 * w4_pack.cu - see w4_pack.h.
 *
 * A thread makes one word of codes, or one of zero points, or one scale: it
 * asks the format what lies there.  Most reads are scattered bytes; the second
 * cache keeps the rows that neighbouring words come back to.
 */
#include <cuda_fp16.h>
#include <stdlib.h>

#include "awq_layout.h"
#include "w4_pack.h"

constexpr int BLOCK = 256;

/* ---- what lies where ---- */

template <w4_format F>
static __device__ w4_code code_at(const gemm_problem &p, size_t word, int nibble)
{
    if constexpr (F == W4_AWQ2023)
        return awq2023_code(p.n, word, nibble);
    else if constexpr (F == W4_AWQ2023_GEMV)
        return awq2023_gemv_code(p.k, word, nibble);
    else if constexpr (F == W4_AWQ2024)
        return awq2024_code(p.k, word, nibble);
    else
        return gptq_code(p.n, word, nibble);
}

/* Groups that a row of scales has room for: those past k/group are padding. */
template <w4_format F> static __host__ __device__ int room(const gemm_problem &p)
{
    return F == W4_AWQ2023_GEMV || F == W4_AWQ2024 ? 8 * awq_zero_words(p.k, p.group)
                                                   : p.k / p.group;
}

/* p of the result is a group. */
template <w4_format F>
static __device__ w4_code zero_at(const gemm_problem &p, size_t word, int nibble)
{
    if constexpr (F == W4_AWQ2023)
        return awq2023_code(p.n, word, nibble);
    else if constexpr (F == W4_AWQ2023_GEMV)
        return awq2023_gemv_code(room<F>(p), word, nibble);
    else
        return gptq_zero_code(p.n, word, nibble);
}

template <w4_format F> static __device__ w4_code scale_at(const gemm_problem &p, size_t at)
{
    const int columns = F == W4_AWQ2023_GEMV ? room<F>(p) : p.n;
    const int row = (int)(at / columns), column = (int)(at % columns);
    return F == W4_AWQ2023_GEMV ? w4_code{ row, column } : w4_code{ column, row };
}

/* ---- kernels ---- */

template <w4_format F>
static __global__ void pack_codes(gemm_problem p, const unsigned char *code, const int *order,
                                  uint32_t *out)
{
    const size_t word = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    uint32_t value = 0;
    if (word >= (size_t)p.n * p.k / 8)
        return;
    for (int t = 0; t < 8; t++) {
        const w4_code c = code_at<F>(p, word, t);
        const int from = order ? order[c.p] : c.p;
        value |= (uint32_t)code[(size_t)c.j * p.k + from] << 4 * t;
    }
    out[word] = value;
}

template <w4_format F>
static __global__ void pack_zeros(gemm_problem p, const unsigned char *zero, uint32_t *out)
{
    const size_t word = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    const int groups = p.k / p.group;
    uint32_t value = 0;
    if (word >= (size_t)p.n * room<F>(p) / 8)
        return;
    for (int t = 0; t < 8; t++) {
        const w4_code c = zero_at<F>(p, word, t);
        const unsigned z = c.p < groups ? zero[(size_t)c.j * groups + c.p] : 0;
        value |= (F == W4_GPTQ ? gptq_zero_stored(z) : z) << 4 * t;
    }
    out[word] = value;
}

/* shift: NULL, or -scale*zero rounded to half; negative zero where zero is 0 */
template <w4_format F>
static __global__ void pack_scales(gemm_problem p, const half *scale, const unsigned char *zero,
                                   half *out, half *shift)
{
    const size_t at = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    const int groups = p.k / p.group;
    if (at >= (size_t)p.n * room<F>(p))
        return;
    const w4_code c = scale_at<F>(p, at);
    const size_t from = (size_t)c.j * groups + c.p;
    const bool padding = c.p >= groups;
    const float s = padding ? 0 : __half2float(scale[from]);
    out[at] = __float2half_rn(s);
    if (shift)
        shift[at] = __float2half_rn(padding ? 0 : -s * zero[from]);
}

/* group[q] of row q of the packed codes */
static __global__ void pack_group(gemm_problem p, const int *order, int *group)
{
    const int q = blockIdx.x * BLOCK + threadIdx.x;
    if (q < p.k)
        group[q] = (order ? order[q] : q) / p.group;
}

/* ---- host ---- */

static unsigned blocks(size_t threads)
{
    return (unsigned)((threads + BLOCK - 1) / BLOCK);
}

/* F: W4_GPTQ for W4_GPTQ_R too, which differs by out->order. */
template <w4_format F>
static enum op_status pack(const gemm_problem *p, const gemm_args *a, const op_memory *memory,
                           op_stream s, w4_packed *out)
{
    const size_t words = (size_t)p->n * p->k / 8, scales = (size_t)p->n * room<F>(*p);
    const half *scale = (const half *)a->w4.scale;
    out->code = (uint32_t *)memory->take(memory->context, words * 4);
    out->scale = memory->take(memory->context, scales * 2);
    if (!out->code || !out->scale)
        return OP_ENOMEM;
    pack_codes<F><<<blocks(words), BLOCK, 0, s>>>(*p, a->w4.code, out->order, out->code);
    if constexpr (F == W4_AWQ2024) {
        out->shift = memory->take(memory->context, scales * 2);
        if (!out->shift)
            return OP_ENOMEM;
    } else {
        out->zero = (uint32_t *)memory->take(memory->context, scales / 8 * 4);
        if (!out->zero)
            return OP_ENOMEM;
        pack_zeros<F><<<blocks(scales / 8), BLOCK, 0, s>>>(*p, a->w4.zero, out->zero);
    }
    pack_scales<F><<<blocks(scales), BLOCK, 0, s>>>(*p, scale, a->w4.zero, (half *)out->scale,
                                                    (half *)out->shift);
    if constexpr (F == W4_GPTQ) {
        out->group = (int *)memory->take(memory->context, p->k * sizeof(int));
        if (!out->group)
            return OP_ENOMEM;
        pack_group<<<blocks(p->k), BLOCK, 0, s>>>(*p, out->order, out->group);
    }
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* The order of W4_GPTQ_R, made on the host. */
static enum op_status upload_order(int k, const op_memory *memory, op_stream s, int **out)
{
    const size_t bytes = k * sizeof(int);
    int *host = (int *)malloc(bytes), *device = (int *)memory->take(memory->context, bytes);
    enum op_status status = host && device ? OP_OK : OP_ENOMEM;
    if (!status) {
        gptq_order(k, host);
        if (cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, s) != cudaSuccess ||
            cudaStreamSynchronize(s) != cudaSuccess)
            status = OP_EDEVICE;
    }
    free(host);
    *out = device;
    return status;
}

OP_BEGIN
enum op_status w4_pack(enum w4_format f, const struct gemm_problem *p, const struct gemm_args *a,
                       const struct op_memory *memory, op_stream s, void **state)
{
    struct w4_packed *w = (struct w4_packed *)calloc(1, sizeof *w);
    enum op_status status = OP_OK;
    *state = NULL;
    if (!w)
        return OP_ENOMEM;
    if (f == W4_GPTQ_R)
        status = upload_order(p->k, memory, s, &w->order);
    if (!status)
        switch (f) {
        case W4_AWQ2023:
            status = pack<W4_AWQ2023>(p, a, memory, s, w);
            break;
        case W4_AWQ2023_GEMV:
            status = pack<W4_AWQ2023_GEMV>(p, a, memory, s, w);
            break;
        case W4_AWQ2024:
            status = pack<W4_AWQ2024>(p, a, memory, s, w);
            break;
        case W4_GPTQ:
        case W4_GPTQ_R:
            status = pack<W4_GPTQ>(p, a, memory, s, w);
            break;
        }
    if (status) {
        w4_packed_free(w);
        return status;
    }
    *state = w;
    return OP_OK;
}

void w4_packed_free(void *packed)
{
    free(packed);
}
OP_END

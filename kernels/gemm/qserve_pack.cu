/*
 * qserve_pack.cu - see qserve_pack.h.
 *
 * A thread makes one word of codes, or one scale: it asks the layout what lies
 * there.
 */
#include <cuda_fp16.h>
#include <stdint.h>
#include <stdlib.h>

#include "qserve_kernels.h"
#include "qserve_layout.h"
#include "qserve_pack.h"

constexpr int BLOCK = 256;

/* ---- kernels ---- */

static __global__ void pack_tiles(size_t words, int k, const unsigned char *code, uint32_t *out)
{
    const size_t word = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    uint32_t value = 0;
    if (word >= words)
        return;
    for (int t = 0; t < 8; t++) {
        const qserve_code c = qserve_code_at(k, word * 4 + t / 2, t % 2);
        value |= (uint32_t)code[(size_t)c.j * k + c.p] << 4 * t;
    }
    out[word] = value;
}

static __global__ void pack_groups(size_t count, int n, int groups, const unsigned char *scale,
                                   const unsigned char *zero, unsigned char *out,
                                   unsigned char *subtrahend)
{
    const size_t at = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (at >= count)
        return;
    const size_t from = (size_t)qserve_group_channel((int)(at % n)) * groups + at / n;
    out[at] = scale[from];
    subtrahend[at] = qserve_subtrahend(scale[from], zero[from]);
}

/* Rows of codes in two's complement, eight to a word. */
static __global__ void pack_int4(size_t words, const signed char *code, uint32_t *out)
{
    const size_t word = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    uint32_t value = 0;
    if (word >= words)
        return;
    for (int t = 0; t < 8; t++)
        value |= ((uint32_t)code[word * 8 + t] & 15) << 4 * t;
    out[word] = value;
}

/* [rows][groups] to [groups][room]; of_x: in X's order, padded with zeros. */
static __global__ void pack_scales(size_t count, int rows, int room, int groups, bool of_x,
                                   const half *scale, half *out)
{
    const size_t at = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (at >= count)
        return;
    const int column = (int)(at % room), row = of_x ? w4a4_scale_token(column) : column;
    out[at] = row < rows ? scale[(size_t)row * groups + at / room] : __float2half_rn(0);
}

/* ---- host ---- */

static unsigned blocks(size_t threads)
{
    return (unsigned)((threads + BLOCK - 1) / BLOCK);
}

static void *take(const op_memory *memory, size_t bytes)
{
    return memory->take(memory->context, bytes);
}

static enum op_status tiles(const gemm_problem *p, const unsigned char *code,
                            const op_memory *memory, op_stream s, qserve_packed *out)
{
    const size_t words = (size_t)p->n * p->k / 8;
    out->code = (unsigned char *)take(memory, words * 4);
    if (!out->code)
        return OP_ENOMEM;
    pack_tiles<<<blocks(words), BLOCK, 0, s>>>(words, p->k, code, (uint32_t *)out->code);
    return OP_OK;
}

static enum op_status int4_rows(const gemm_problem *p, const gemm_args *a, const op_memory *memory,
                                op_stream s, qserve_packed *out)
{
    const size_t x_words = (size_t)p->m * p->k / 8, w_words = (size_t)p->n * p->k / 8;
    out->x = (unsigned char *)take(memory, x_words * 4);
    out->code = (unsigned char *)take(memory, w_words * 4);
    if (!out->x || !out->code)
        return OP_ENOMEM;
    pack_int4<<<blocks(x_words), BLOCK, 0, s>>>(x_words, a->int_x.code, (uint32_t *)out->x);
    pack_int4<<<blocks(w_words), BLOCK, 0, s>>>(w_words, a->int_w.code, (uint32_t *)out->code);
    return OP_OK;
}

typedef enum op_status pack_fn(const gemm_problem *, const gemm_args *, const op_memory *,
                               op_stream, qserve_packed *);

static enum op_status w4a8_channel(const gemm_problem *p, const gemm_args *a,
                                   const op_memory *memory, op_stream s, qserve_packed *out)
{
    return tiles(p, a->w4_channel.code, memory, s, out);
}

static enum op_status w4a8_group(const gemm_problem *p, const gemm_args *a, const op_memory *memory,
                                 op_stream s, qserve_packed *out)
{
    const gemm_w4_progressive *w = &a->w4_progressive;
    const int groups = p->k / p->group;
    const size_t count = (size_t)p->n * groups;
    out->scale = (unsigned char *)take(memory, 2 * count);
    if (!out->scale)
        return OP_ENOMEM;
    out->subtrahend = out->scale + count;
    pack_groups<<<blocks(count), BLOCK, 0, s>>>(count, p->n, groups, w->scale, w->zero, out->scale,
                                                out->subtrahend);
    return tiles(p, w->code, memory, s, out);
}

static enum op_status w4a4_group(const gemm_problem *p, const gemm_args *a, const op_memory *memory,
                                 op_stream s, qserve_packed *out)
{
    const int groups = p->k / p->group, room = w4a4_room(p->m);
    const size_t x_count = (size_t)groups * room, w_count = (size_t)groups * p->n;
    out->x_scale = take(memory, x_count * 2);
    out->w_scale = take(memory, w_count * 2);
    if (!out->x_scale || !out->w_scale)
        return OP_ENOMEM;
    pack_scales<<<blocks(x_count), BLOCK, 0, s>>>(
        x_count, p->m, room, groups, true, (const half *)a->int_x.scale, (half *)out->x_scale);
    pack_scales<<<blocks(w_count), BLOCK, 0, s>>>(
        w_count, p->n, p->n, groups, false, (const half *)a->int_w.scale, (half *)out->w_scale);
    return int4_rows(p, a, memory, s, out);
}

static enum op_status w4a4_channel(const gemm_problem *p, const gemm_args *a,
                                   const op_memory *memory, op_stream s, qserve_packed *out)
{
    out->sum = (int *)take(memory, (size_t)p->m * p->n * sizeof(int));
    return out->sum ? int4_rows(p, a, memory, s, out) : OP_ENOMEM;
}

static enum op_status set_up(pack_fn *pack, const gemm_problem *p, const gemm_args *a,
                             const op_memory *memory, op_stream s, void **state)
{
    qserve_packed *out = (qserve_packed *)calloc(1, sizeof *out);
    enum op_status status = out ? pack(p, a, memory, s, out) : OP_ENOMEM;
    if (!status && cudaGetLastError() != cudaSuccess)
        status = OP_EDEVICE;
    if (status) {
        free(out);
        out = NULL;
    }
    *state = out;
    return status;
}

OP_BEGIN
#define SETUP(name)                                                                                \
    enum op_status gemm_##name##_setup(const struct gemm_problem *p, const struct gemm_args *a,    \
                                       const struct op_memory *memory, op_stream s, void **state)  \
    {                                                                                              \
        return set_up(name, p, a, memory, s, state);                                               \
    }
SETUP(w4a8_channel)
SETUP(w4a8_group)
SETUP(w4a4_group)
SETUP(w4a4_channel)

void qserve_packed_free(void *packed)
{
    free(packed);
}
OP_END

/*
 * w4a8_pack.cu - plain codes to the order of w4a8_layout.h, on the device.
 *
 * One block a strip and group, one thread a word of eight codes.  Set-up work:
 * read once, written once, not tuned.
 */
#include <cuda_runtime.h>

#include "w4a8.h"
#include "w4a8_layout.h"

/* scale, zero: NULL per channel */
static __global__ __launch_bounds__(W4A8_WORDS) void pack(const unsigned char *code,
                                                          const unsigned char *scale,
                                                          const unsigned char *zero, int n, int k,
                                                          unsigned char *packed)
{
    const int groups = w4a8_div_up(k, W4A8_GROUP), thread = threadIdx.x;
    const int strip = blockIdx.x / groups, group = blockIdx.x % groups;
    const size_t at = w4a8_strip_at(strip, group, groups);
    unsigned word = 0;
    for (int nibble = 0; nibble < 8; nibble++) {
        int channel, p;
        w4a8_place(thread, nibble, &channel, &p);
        const int j = strip * W4A8_STRIP + channel;
        p += group * W4A8_GROUP;
        if (j < n && p < k)
            word |= (code[(size_t)j * k + p] & 15u) << 4 * nibble;
    }
    ((unsigned *)packed)[at * W4A8_WORDS + thread] = word;
    if (!scale || thread >= W4A8_STRIP / 2)
        return;
    int of[2][2] = {}; /* channels r, r+8: scale, zero */
    for (int i = 0; i < 2; i++) {
        const int j = strip * W4A8_STRIP + thread + 8 * i;
        const size_t of_group = (size_t)j * groups + group;
        if (j < n)
            of[i][0] = scale[of_group], of[i][1] = zero[of_group];
    }
    unsigned *scales = (unsigned *)(packed + w4a8_strips(n, k) * W4A8_CODES);
    scales[at * (W4A8_STRIP / 2) + thread] =
        w4a8_scales(of[0][0], of[0][1], of[1][0], of[1][1]);
}

/* One block a strip, one thread a word of a fragment of shifts, and pairs of scales. */
static __global__ __launch_bounds__(W4A8_SHIFTS / 4) void
pack_on_sums(const unsigned char *scale, const unsigned char *zero, int n, int groups,
             unsigned char *pairs, unsigned *shifts)
{
    const int strip = blockIdx.x, thread = threadIdx.x, chunks = w4a8_chunks(groups);
    for (int i = thread; i < groups * W4A8_PAIRS; i += W4A8_SHIFTS / 4) {
        const int group = i / W4A8_PAIRS, at = i % W4A8_PAIRS;
        const int j = strip * W4A8_STRIP + w4a8_pair_channel(at);
        pairs[w4a8_pairs_at(strip, group, groups) + at] =
            j < n ? scale[(size_t)j * groups + group] : 0;
    }
    for (int chunk = 0; chunk < chunks; chunk++) {
        unsigned word = 0;
        for (int byte = 0; byte < 4; byte++) {
            int channel, group;
            w4a8_shift_place(thread, byte, &channel, &group);
            const int j = strip * W4A8_STRIP + channel;
            group += chunk * W4A8_CHUNK;
            const size_t of_group = (size_t)j * groups + group;
            if (j < n && group < groups)
                word |= (unsigned)w4a8_shift(scale[of_group], zero[of_group]) << 8 * byte;
        }
        shifts[((size_t)strip * chunks + chunk) * (W4A8_SHIFTS / 4) + thread] = word;
    }
}

OP_BEGIN
unsigned char *w4a8_packed(const struct gemm_problem *p, const struct gemm_args *a, int grouped,
                           const struct op_memory *m, op_stream s, enum op_status *status)
{
    unsigned char *packed =
        (unsigned char *)m->take(m->context, w4a8_packed_bytes(p->n, p->k, grouped));
    if (!packed) {
        *status = OP_ENOMEM;
        return NULL;
    }
    const int strips = w4a8_div_up(p->n, W4A8_STRIP * W4A8_NEAR) * W4A8_NEAR;
    const long blocks = (long)strips * w4a8_div_up(p->k, W4A8_GROUP);
    pack<<<blocks, W4A8_WORDS, 0, s>>>(grouped ? a->w4_progressive.code : a->w4_channel.code,
                                       grouped ? a->w4_progressive.scale : NULL,
                                       grouped ? a->w4_progressive.zero : NULL, p->n, p->k,
                                       packed);
    *status = cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    return *status == OP_OK ? packed : NULL;
}

unsigned char *w4a8_packed_on_sums(const struct gemm_problem *p, const struct gemm_args *a,
                                   const struct op_memory *m, op_stream s, enum op_status *status)
{
    const size_t codes = w4a8_strips(p->n, p->k) * W4A8_CODES;
    const size_t pairs = w4a8_pair_bytes(p->n, p->k);
    const int groups = w4a8_div_up(p->k, W4A8_GROUP);
    unsigned char *packed =
        (unsigned char *)m->take(m->context, w4a8_on_sums_bytes(p->n, p->k));
    if (!packed) {
        *status = OP_ENOMEM;
        return NULL;
    }
    const long blocks = (long)w4a8_strips(p->n, p->k);
    pack<<<blocks, W4A8_WORDS, 0, s>>>(a->w4_progressive.code, NULL, NULL, p->n, p->k, packed);
    pack_on_sums<<<blocks / groups, W4A8_SHIFTS / 4, 0, s>>>(
        a->w4_progressive.scale, a->w4_progressive.zero, p->n, groups, packed + codes,
        (unsigned *)(packed + codes + pairs));
    *status = cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    return *status == OP_OK ? packed : NULL;
}
OP_END

/*
 * w4a16_pack.cu - plain codes to the order of w4a16_layout.h, on the device.
 *
 * One block a strip and group, one thread a word of eight codes.  Set-up work:
 * read once, written once, not tuned.
 */
#include <cuda_fp16.h>

#include "w4a16.h"
#include "w4a16_layout.h"

static __global__ __launch_bounds__(W4_WORDS) void pack(struct gemm_w4 w, int n, int k,
                                                        int symmetric, struct w4_cut cut,
                                                        unsigned char *packed)
{
    const int groups = k / W4_GROUP, thread = threadIdx.x;
    const int strip = blockIdx.x / groups, group = blockIdx.x % groups;
    unsigned char *to =
        packed + w4_cut_at(cut, strip, group, groups) * w4_strip_bytes(symmetric);
    unsigned word = 0;
    for (int nibble = 0; nibble < 8; nibble++) {
        int channel, p;
        w4_place(thread, nibble, &channel, &p);
        const int j = strip * W4_STRIP + channel;
        if (j < n)
            word |= (w.code[(size_t)j * k + group * W4_GROUP + p] & 15u) << 4 * nibble;
    }
    ((unsigned *)to)[thread] = word;
    if (thread >= W4_STRIP)
        return;
    /* thread 2 r + i: channel r + 8 i */
    const int j = strip * W4_STRIP + thread / 2 + thread % 2 * 8;
    const size_t at = (size_t)j * groups + group;
    ((half *)(to + W4_CODES))[thread] = j < n ? ((const half *)w.scale)[at] : __float2half(0);
    if (!symmetric)
        to[W4_CODES + W4_SCALES + thread] = j < n ? w.zero[at] << thread % 2 * 4 : 0;
}

OP_BEGIN
unsigned char *w4a16_packed_cut(const struct gemm_problem *p, const struct gemm_args *a,
                                int symmetric, int strips, struct w4_cut cut,
                                const struct op_memory *m, op_stream s, enum op_status *status)
{
    const long blocks = (long)strips * (p->k / W4_GROUP);
    unsigned char *packed =
        (unsigned char *)m->take(m->context, (size_t)blocks * w4_strip_bytes(symmetric));
    if (!packed) {
        *status = OP_ENOMEM;
        return NULL;
    }
    pack<<<blocks, W4_WORDS, 0, s>>>(a->w4, p->n, p->k, symmetric, cut, packed);
    *status = cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    return *status == OP_OK ? packed : NULL;
}

unsigned char *w4a16_packed(const struct gemm_problem *p, const struct gemm_args *a, int symmetric,
                            int near, const struct op_memory *m, op_stream s,
                            enum op_status *status)
{
    const int strips = w4_strips(p->n, near);
    return w4a16_packed_cut(p, a, symmetric, strips, w4_cut_of(strips, strips / near), m, s,
                            status);
}
OP_END

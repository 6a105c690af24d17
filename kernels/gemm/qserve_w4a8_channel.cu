/*
 * qserve_w4a8_channel.cu - Y = X W^T, 8-bit X with a scale per token, 4-bit W
 * with a scale and a zero point per output channel.
 *
 * QServe's published kernel (arXiv 2405.04532 and its code), the loop of
 * qserve_gemm.cuh.  Codes 0 .. 15 enter the products as they are, three logic
 * operations for eight; the zero points are an outer product taken off at the
 * end, with the sum of the row of X before its quantisation.
 *
 *   tokens       tile        warp      stages
 *   .. 127     32x64x128   32x32x64      3     two slices of k
 *   .. 256     64x64x64    32x32x64      4
 *   more      128x128x64   64x32x64      3
 *
 * Blocks that the order of blocks leaves outside Y work like the others, as
 * published.
 */
#include "qserve_gemm.cuh"
#include "qserve_kernels.h"
#include "qserve_pack.h"

template <op_stage Only>
static enum op_status choose(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    constexpr qserve_form F = FORM_W4A8_CHANNEL;
    const qserve_packed *w = (const qserve_packed *)state;
    qserve_operands o = {};
    o.x = (const unsigned char *)a->int_x.code;
    o.w = w->code;
    o.x_scale = (const half *)a->int_x.scale;
    o.w_scale = (const half *)a->w4_channel.scale;
    o.x_sum = (const half *)a->int_x.sum;
    o.w_zero = (const half *)a->w4_channel.scaled_zero;
    o.y = (half *)a->y;
    if (p->m < 128)
        return qserve_launch<QserveShape<32, 64, 128, 32, 32, 3>, F, Only>(p, o, s);
    if (p->m <= 256)
        return qserve_launch<QserveShape<64, 64, 64, 32, 32, 4>, F, Only>(p, o, s);
    return qserve_launch<QserveShape<128, 128, 64, 64, 32, 3>, F, Only>(p, o, s);
}

OP_BEGIN
#define LAUNCHER(name, stage)                                                                      \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return choose<stage>(p, a, state, s);                                                      \
    }
LAUNCHER(gemm_w4a8_channel, OP_COMPLETE)
LAUNCHER(gemm_w4a8_channel_nodeq, OP_NODEQ)
LAUNCHER(gemm_w4a8_channel_loadonly, OP_LOADONLY)
LAUNCHER(gemm_w4a8_channel_mmaonly, OP_MMAONLY)
LAUNCHER(gemm_w4a8_channel_deqonly, OP_DEQONLY)
OP_END

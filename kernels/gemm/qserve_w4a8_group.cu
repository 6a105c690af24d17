/*
 * qserve_w4a8_group.cu - Y = X W^T, 8-bit X with a scale per token, 4-bit W of
 * progressive groups of 128.
 *
 * QServe's published kernels (arXiv 2405.04532 and its code), the loop of
 * qserve_gemm.cuh.  Codes are made 8-bit integers in registers, four at a time:
 * three logic operations for eight of them, then for each four a multiplication
 * by the group's scale and a byte-wise addition of -(zero * scale).  Sums are
 * integers over all of k; a scale per channel and one per token follow.
 *
 *   tokens               tile        warp      stages
 *   .. 127             32x64x128   32x32x64      3     two slices of k
 *   128, k <= 4096     64x64x64    32x32x64      4
 *   128, k more        64x64x128   32x32x64      3     two slices of k
 *   more              128x128x64   64x32x64      3
 *
 * The copy of the kernels in the authors' later OmniServe (w4a8_group_v2) has
 * for more than 128 tokens tiles 128x64x64 in four stages, and its blocks
 * outside Y leave at once, whereas those of the first work like the others.
 */
#include "qserve_gemm.cuh"
#include "qserve_kernels.h"
#include "qserve_pack.h"

template <op_stage Only, bool Later, qserve_form F = FORM_W4A8_GROUP>
static enum op_status choose(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    const qserve_packed *w = (const qserve_packed *)state;
    qserve_operands o = {};
    o.x = (const unsigned char *)a->int_x.code;
    o.w = w->code;
    o.scale = w->scale;
    o.subtrahend = w->subtrahend;
    o.x_scale = (const half *)a->int_x.scale;
    o.w_scale = (const half *)a->w4_progressive.channel_scale;
    o.y = (half *)a->y;
    o.no_idle = Later;
    if (p->m < 128)
        return qserve_launch<QserveShape<32, 64, 128, 32, 32, 3>, F, Only>(p, o, s);
    if (p->m == 128 && p->k <= 4096)
        return qserve_launch<QserveShape<64, 64, 64, 32, 32, 4>, F, Only>(p, o, s);
    if (p->m == 128)
        return qserve_launch<QserveShape<64, 64, 128, 32, 32, 3>, F, Only>(p, o, s);
    if constexpr (Later)
        return qserve_launch<QserveShape<128, 64, 64, 64, 32, 4>, F, Only>(p, o, s);
    else
        return qserve_launch<QserveShape<128, 128, 64, 64, 32, 3>, F, Only>(p, o, s);
}

OP_BEGIN
#define LAUNCHER(name, ...)                                                                        \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return choose<__VA_ARGS__>(p, a, state, s);                                                \
    }
LAUNCHER(gemm_w4a8_group, OP_COMPLETE, false)
LAUNCHER(gemm_w4a8_group_v2, OP_COMPLETE, true)
LAUNCHER(gemm_w4a8_group_nodeq, OP_NODEQ, false)
LAUNCHER(gemm_w4a8_group_noscale, OP_NODEQ, false, FORM_W4A8_UNSCALED)
LAUNCHER(gemm_w4a8_group_loadonly, OP_LOADONLY, false)
LAUNCHER(gemm_w4a8_group_mmaonly, OP_MMAONLY, false)
LAUNCHER(gemm_w4a8_group_deqonly, OP_DEQONLY, false)
OP_END

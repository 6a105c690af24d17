/*
 * qserve_w4a4.cu - Y = X W^T, 4-bit X and W: what QServe compares with,
 * emulated.
 *
 * Compute capability 9.0 has no tensor-core products of 4-bit integers, so that
 * codes are stored in 4 bits and made bytes in registers, three instructions for
 * eight (qserve_dequant.h), and a product m16n8k64 becomes two m16n8k32: the even
 * codes and the odd ones.  The loop is that of qserve_gemm.cuh.
 *
 *   w4a4_group     in the manner of Atom (arXiv 2310.19102): a scale per group of
 *                  128 of each operand.  Tiles 128x128x128, warps 64x32, four
 *                  stages; after every group its integer sums are converted,
 *                  scaled and added in float.  Without Atom's 128 outlier
 *                  channels in 8 bits, and with the product of the two scales in
 *                  float, where Atom rounds it to half
 *   w4a4_channel   in the manner of QuaRot (arXiv 2404.00456): a scale per token
 *                  and one per output channel.  Tiles 128x256x128, warps 64x64,
 *                  three stages, which are CUTLASS's defaults for such types; the
 *                  integer sums go to memory and a second kernel scales them.
 *                  Without the rotation of X
 */
#include "qserve_gemm.cuh"
#include "qserve_kernels.h"
#include "qserve_pack.h"

using AtomShape = QserveShape<128, 128, 64, 64, 32, 4>;
using QuarotShape = QserveShape<128, 256, 64, 64, 64, 3>;

template <op_stage Only>
static enum op_status group(const gemm_problem *p, const gemm_args *a, const void *state,
                            op_stream s)
{
    const qserve_packed *packed = (const qserve_packed *)state;
    qserve_operands o = {};
    o.x = packed->x;
    o.w = packed->code;
    o.x_scale = (const half *)packed->x_scale;
    o.w_scale = (const half *)packed->w_scale;
    o.y = (half *)a->y;
    o.no_idle = true;
    return qserve_launch<AtomShape, FORM_W4A4_GROUP, Only>(p, o, s);
}

/* ---- QuaRot's second kernel: two outputs a thread ---- */

constexpr int BLOCK = 256;

static __global__ __launch_bounds__(BLOCK) void scale_sums(size_t pairs, int n, const int2 *sum,
                                                           const half *x_scale,
                                                           const half2 *w_scale, half2 *y)
{
    const size_t at = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (at >= pairs)
        return;
    const float x = __half2float(x_scale[at / (n / 2)]) * INT4_UNIT;
    const float2 w = __half22float2(w_scale[at % (n / 2)]);
    const int2 c = sum[at];
    y[at] = __floats2half2_rn((float)c.x * (x * w.x), (float)c.y * (x * w.y));
}

OP_BEGIN
enum op_status gemm_w4a4_channel(const struct gemm_problem *p, const struct gemm_args *a,
                                 void *state, op_stream s)
{
    const qserve_packed *packed = (const qserve_packed *)state;
    const size_t pairs = (size_t)p->m * p->n / 2;
    qserve_operands o = {};
    o.x = packed->x;
    o.w = packed->code;
    o.sum = packed->sum;
    o.no_idle = true;
    const enum op_status status =
        qserve_launch<QuarotShape, FORM_W4A4_CHANNEL, OP_COMPLETE>(p, o, s);
    if (status)
        return status;
    scale_sums<<<(unsigned)((pairs + BLOCK - 1) / BLOCK), BLOCK, 0, s>>>(
        pairs, p->n, (const int2 *)packed->sum, (const half *)a->int_x.scale,
        (const half2 *)a->int_w.scale, (half2 *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

#define LAUNCHER(name, stage)                                                                      \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return group<stage>(p, a, state, s);                                                       \
    }
LAUNCHER(gemm_w4a4_group, OP_COMPLETE)
LAUNCHER(gemm_w4a4_group_nodeq, OP_NODEQ)
LAUNCHER(gemm_w4a4_group_loadonly, OP_LOADONLY)
LAUNCHER(gemm_w4a4_group_mmaonly, OP_MMAONLY)
LAUNCHER(gemm_w4a4_group_deqonly, OP_DEQONLY)
OP_END

/*
 * qserve_w8a8.cu - Y = X W^T, 8-bit X with a scale per token, 8-bit W with a
 * scale per output channel.
 *
 * QServe's published kernel (arXiv 2405.04532 and its code), the loop of
 * qserve_gemm.cuh.  W is row-major and comes by ldmatrix, like X.
 *
 *   tokens       tile        warp      stages
 *   .. 128     64x64x64    32x32x64      6
 *   more      128x256x64  128x32x64      3
 */
#include "qserve_gemm.cuh"
#include "qserve_kernels.h"

OP_BEGIN
enum op_status gemm_w8a8(const struct gemm_problem *p, const struct gemm_args *a, void *,
                         op_stream s)
{
    qserve_operands o = {};
    o.x = (const unsigned char *)a->int_x.code;
    o.w = (const unsigned char *)a->int_w.code;
    o.x_scale = (const half *)a->int_x.scale;
    o.w_scale = (const half *)a->int_w.scale;
    o.y = (half *)a->y;
    if (p->m <= 128)
        return qserve_launch<QserveShape<64, 64, 64, 32, 32, 6>, FORM_W8A8, OP_COMPLETE>(p, o, s);
    return qserve_launch<QserveShape<128, 256, 64, 128, 32, 3>, FORM_W8A8, OP_COMPLETE>(p, o, s);
}
OP_END

/* impls.c - the ways to run the detector behind the encoder. */
#include <stdlib.h>

#include "kernels.h"

enum { ALL = 1 << BEV_FLATFORMER | 1 << BEV_CENTERPOINT };

static void teardown(void *state)
{
    free(state); /* device memory belongs to whoever gave it */
}

#ifndef WITH_CUDA
void bev_cudnn_teardown(void *state)
{
    (void)state; /* no state without CUDA */
}

void bev_legacy_teardown(void *state)
{
    (void)state;
}

void bev_cublas_teardown(void *state)
{
    (void)state;
}

enum op_status bev_cudnn_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    *why = "built without CUDA";
    return OP_EUNSUPPORTED;
}

enum op_status bev_legacy_supports(const struct bev_problem *p, const char **why)
{
    return bev_cudnn_supports(p, why);
}
#endif

const struct bev_impl bev_impls[] = {
    { .base = { .name = "bev_cudnn", .title = "scatter, cuDNN graphs", .role = OP_BASELINE,
                .origin = "cuDNN 9, backend graphs: convolution, bias, relu and sum in one plan, the "
                          "fastest of its heuristics; neck and outputs by kernels of their own",
                .sm_min = 80, .sm_max = 999 },
      .nets = ALL, .supports = bev_cudnn_supports, .setup = OP_CUDA(bev_cudnn_setup),
      .teardown = bev_cudnn_teardown, .run = OP_CUDA(bev_cudnn) },
    { .base = { .name = "bev_cudnn_legacy", .title = "scatter, cuDNN legacy calls",
                .role = OP_BASELINE,
                .origin = "cuDNN's fixed call for convolution, bias and relu, the fastest of its "
                          "algorithms; sums, neck and outputs by kernels of their own",
                .sm_min = 80, .sm_max = 999 },
      .nets = ALL, .supports = bev_legacy_supports, .setup = OP_CUDA(bev_legacy_setup),
      .teardown = bev_legacy_teardown, .run = OP_CUDA(bev_legacy) },
    { .base = { .name = "bev_cublas", .title = "scatter, unfolded, cuBLASLt", .role = OP_BASELINE,
                .origin = "cuBLASLt, bias in its epilogue, on maps whose neighbours are laid side by "
                          "side; for machines without cuDNN",
                .sm_min = 80, .sm_max = 999 },
      .nets = ALL, .setup = OP_CUDA(bev_cublas_setup), .teardown = bev_cublas_teardown,
      .run = OP_CUDA(bev_cublas) },
    { .base = { .name = "bev_tiles", .title = "implicit GEMM, mma.sync", .role = OP_OWN,
                .origin = "cells with their rim held for nine taps; first layer through an index of "
                          "the pillars, no scatter",
                .sm_min = 80, .sm_max = 999, .symbol = "bev_conv" },
      .nets = ALL, .setup = OP_CUDA(bev_own_setup), .teardown = teardown, .run = OP_CUDA(bev_own) },
    { .base = { .name = "bev_rows", .title = "rows of cells, wgmma", .role = OP_OWN,
                .origin = "layers of stride 1: rows of 64 cells times the taps of a row, put "
                          "together behind the product; the other two as bev_tiles",
                .sm_min = 90, .sm_max = 90, .symbol = "bev_rows_conv" },
      .setup = OP_CUDA(bev_rows_setup), .teardown = teardown, .run = OP_CUDA(bev_rows) },
    { .base = { .name = NULL } },
};

/* w4a16_strips_sm90.cu - set-up and launch of w4a16_strips.cuh. */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_strips.cuh"

typedef void (*StripsKernel)(W4Strips);

struct Strips {
    const unsigned char *packed;
    StripsKernel kernel;
    struct w4_strips_plan plan;
};

/* Of `each` strips, which is at most Most. */
template <int Tokens, int Across, bool Symmetric, int Most> static StripsKernel kernel_of(int each)
{
    if constexpr (Most > 1)
        if (each < Most)
            return kernel_of<Tokens, Across, Symmetric, Most - 1>(each);
    return w4a16_strips<Tokens, Across, Most, Symmetric>;
}

template <bool Symmetric> static StripsKernel kernel_of(int tokens, int across, int each)
{
    if (tokens == 8)
        return kernel_of<8, 1, Symmetric, W4_STRIPS_EACH_8>(each);
    return across == 1 ? kernel_of<16, 1, Symmetric, W4_STRIPS_EACH_16>(each)
                       : kernel_of<16, 2, Symmetric, W4_STRIPS_EACH_16>(each);
}

/* Launches that overlap must not ask for different amounts of L1 cache. */
static bool allow(StripsKernel kernel, int shared)
{
    return !cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 shared) &&
           !cudaFuncSetAttribute((const void *)kernel,
                                 cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
}

/* Clusters of so many blocks that have a multiprocessor each; 0: the device has not the size. */
static int count_clusters(StripsKernel kernel, int cluster, int sms, int shared)
{
    int clusters = sms;
    if (cluster == 1)
        return sms;
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = { (unsigned)cluster, 1, 1 };
    cudaLaunchConfig_t config = {};
    config.gridDim = cluster;
    config.blockDim = W4_STRIPS_WARPS * 32;
    config.dynamicSmemBytes = shared;
    config.attrs = &attribute;
    config.numAttrs = 1;
    if (cudaOccupancyMaxActiveClusters(&clusters, (const void *)kernel, &config)) {
        cudaGetLastError();
        clusters = 0;
    }
    return clusters;
}

template <bool Symmetric>
static enum op_status prepare(const struct gemm_problem *p, struct w4_strips_shape shape,
                              Strips *state)
{
    int device, sms, shared, sm_shared, reserved;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&sm_shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) ||
        cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device))
        return OP_EDEVICE;
    /* any of the kernels: what is asked for fills a multiprocessor */
    const StripsKernel any = kernel_of<Symmetric>(16, 1, 1);
    if (!allow(any, shared))
        return OP_EDEVICE;
    const int clusters = count_clusters(any, shape.cluster, sms, shared);
    const int half = sm_shared / 2 - reserved; /* the rest is for the next launch's block */
    if (w4_strips_plan(p, Symmetric, shape, clusters, half < shared ? half : shared, &state->plan))
        return OP_EUNSUPPORTED;
    state->kernel = kernel_of<Symmetric>(state->plan.tokens, state->plan.across, state->plan.each);
    return allow(state->kernel, shared) ? OP_OK : OP_EDEVICE;
}

template <bool Symmetric>
static enum op_status strips_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                   struct w4_strips_shape shape, const struct op_memory *memory,
                                   op_stream s, void **out)
{
    Strips *state = (Strips *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    enum op_status status = prepare<Symmetric>(p, shape, state);
    if (status == OP_OK)
        state->packed = w4a16_packed_cut(p, a, Symmetric, w4_div_up(p->n, W4_STRIP),
                                         state->plan.cut, memory, s, &status);
    /* W is loaded without waiting for the kernel before, which may be the packing */
    if (status == OP_OK && cudaStreamSynchronize(s))
        status = OP_EDEVICE;
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

OP_BEGIN
gemm_setup_fn gemm_w4a16_strips_setup, gemm_w4a16_strips_sym_setup;
gemm_run_fn gemm_w4a16_strips;

enum op_status gemm_w4a16_strips_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                        int symmetric, struct w4_strips_shape shape,
                                        const struct op_memory *m, op_stream s, void **state)
{
    return (symmetric ? strips_setup<true> : strips_setup<false>)(p, a, shape, m, s, state);
}

enum op_status gemm_w4a16_strips_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                       const struct op_memory *m, op_stream s, void **state)
{
    return strips_setup<false>(p, a, w4_strips_row(p).shape, m, s, state);
}

enum op_status gemm_w4a16_strips_sym_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                           const struct op_memory *m, op_stream s, void **state)
{
    return strips_setup<true>(p, a, w4_strips_row(p).shape, m, s, state);
}

enum op_status gemm_w4a16_strips(const struct gemm_problem *p, const struct gemm_args *a,
                                 void *state, op_stream s)
{
    const Strips *strips = (const Strips *)state;
    const struct w4_strips_plan &plan = strips->plan;
    const W4Strips work = {
        strips->packed, (const half *)a->x, (half *)a->y, p->m, p->n, p->k, plan
    };
    return launch_early_shared(strips->kernel, dim3(plan.clusters * plan.cluster),
                               W4_STRIPS_WARPS * 32, plan.cluster, plan.bytes, s, work);
}

void gemm_w4a16_strips_teardown(void *state)
{
    free(state);
}
OP_END

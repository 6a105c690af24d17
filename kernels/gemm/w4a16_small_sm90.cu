/* w4a16_small_sm90.cu - w4a16_small.cuh with bulk copies and clusters. */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_small.cuh"

typedef void (*SmallKernel)(W4Small);

constexpr int SMALL_WARPS = 8;

struct Small {
    W4Small work;
    SmallKernel kernel;
};

template <int Tokens, int Across, bool Symmetric, class Stages>
static constexpr SmallKernel KERNEL =
    w4a16_small<Tokens, SMALL_WARPS, Across, Symmetric, Stages, W4Bulk>;

/* NULL: this combination is not compiled. */
template <bool Symmetric, class Stages> static SmallKernel kernel_of(int tokens, int across)
{
    switch (tokens * 16 + across) {
    case 8 * 16 + 1: return KERNEL<8, 1, Symmetric, Stages>;
    case 8 * 16 + 2: return KERNEL<8, 2, Symmetric, Stages>;
    case 16 * 16 + 2: return KERNEL<16, 2, Symmetric, Stages>;
    case 16 * 16 + 4: return KERNEL<16, 4, Symmetric, Stages>;
    case 32 * 16 + 4: return KERNEL<32, 4, Symmetric, Stages>;
    default: return NULL;
    }
}

static cudaLaunchConfig_t config_of(const struct w4_small_plan &plan, cudaLaunchAttribute *cluster,
                                    op_stream s)
{
    cudaLaunchConfig_t c = {};
    c.gridDim = plan.clusters * plan.cluster;
    c.blockDim = plan.warps * 32;
    c.dynamicSmemBytes = plan.bytes;
    c.stream = s;
    if (plan.cluster > 1) {
        cluster->id = cudaLaunchAttributeClusterDimension;
        cluster->val.clusterDim = { (unsigned)plan.cluster, 1, 1 };
        c.attrs = cluster;
        c.numAttrs = 1;
    }
    return c;
}

/* Tiling and kernel; clusters only as many as are resident at a time. */
template <bool Symmetric, class Stages>
static enum op_status small_prepare(const struct gemm_problem *p, struct w4_small_shape shape,
                              Small *state)
{
    int device, sms, shared;
    struct w4_small_plan &plan = state->work.plan;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device))
        return OP_EDEVICE;
    int clusters = sms / shape.cluster;
    for (int again = 0; again < 2; again++) {
        if (w4_small_plan(p, Symmetric, SMALL_WARPS, shape.across, shape.cluster, clusters, 1,
                          shared, shape.stages, &plan))
            return OP_EUNSUPPORTED;
        state->kernel = kernel_of<Symmetric, Stages>(plan.tokens, shape.across);
        if (!state->kernel)
            return OP_EUNSUPPORTED;
        if (cudaFuncSetAttribute((const void *)state->kernel,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, shared))
            return OP_EDEVICE;
        if (shape.cluster == 1)
            break;
        cudaLaunchAttribute attribute;
        const cudaLaunchConfig_t config = config_of(plan, &attribute, NULL);
        int resident;
        if (cudaOccupancyMaxActiveClusters(&resident, (const void *)state->kernel, &config))
            return OP_EDEVICE;
        if (resident >= clusters)
            break;
        clusters = resident;
    }
    return OP_OK;
}

template <bool Symmetric, class Stages>
static enum op_status setup(const struct gemm_problem *p, const struct gemm_args *a,
                            struct w4_small_shape shape, const struct op_memory *memory,
                            op_stream s, void **out)
{
    if (p->group != W4_GROUP || p->m > W4_SMALL_TOKENS || p->n % 8)
        return OP_EUNSUPPORTED;
    Small *state = (Small *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    enum op_status status = small_prepare<Symmetric, Stages>(p, shape, state);
    if (status == OP_OK)
        state->work.packed = w4a16_packed(p, a, Symmetric, memory, s, &status);
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

OP_BEGIN
#define SETUP(name, Symmetric, Stages)                                                         \
    gemm_setup_fn name;                                                                        \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a,               \
                        const struct op_memory *m, op_stream s, void **state)                  \
    {                                                                                          \
        return setup<Symmetric, Stages>(p, a, w4_small_shape(p), m, s, state);                 \
    }
SETUP(gemm_w4a16_small_setup, false, W4Full)
SETUP(gemm_w4a16_small_sym_setup, true, W4Full)
SETUP(gemm_w4a16_small_nodeq_setup, false, W4NoDeq)
SETUP(gemm_w4a16_small_loadonly_setup, false, W4LoadOnly)
SETUP(gemm_w4a16_small_mmaonly_setup, false, W4MmaOnly)
SETUP(gemm_w4a16_small_deqonly_setup, false, W4DeqOnly)
#undef SETUP

gemm_run_fn gemm_w4a16_small;

enum op_status gemm_w4a16_small(const struct gemm_problem *p, const struct gemm_args *a,
                                void *state, op_stream s)
{
    const Small *small = (const Small *)state;
    W4Small work = small->work;
    work.x = (const half *)a->x;
    work.y = (half *)a->y;
    work.m = p->m;
    work.n = p->n;
    work.k = p->k;
    cudaLaunchAttribute cluster;
    const cudaLaunchConfig_t config = config_of(work.plan, &cluster, s);
    void *parameters[] = { &work };
    return cudaLaunchKernelExC(&config, (const void *)small->kernel, parameters) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

void gemm_w4a16_small_teardown(void *state)
{
    free(state);
}
OP_END

/* w4a16_large_sm90.cu - set-up and launch of w4a16_large.cuh. */
#include <stdlib.h>
#include <string.h>

#include "w4a16.h"
#include "w4a16_large.cuh"

typedef void (*LargeKernel)(CUtensorMap, W4Large);

struct Large {
    W4Large work;
    LargeKernel kernel;
    CUtensorMap x_map;
    const void *x;
    bool overlap; /* begins while the launch before it ends */
};

template <int Tokens, bool Fine, bool Symmetric, class Stages>
static LargeKernel large_kernel_wide(int blocks_64)
{
    return blocks_64 == 2 ? w4a16_large<2, Tokens, Fine, Symmetric, Stages>
                          : w4a16_large<1, Tokens, Fine, Symmetric, Stages>;
}

template <bool Fine, bool Symmetric, class Stages>
static LargeKernel large_kernel_fine(struct w4_large_shape shape)
{
    switch (shape.tokens) {
    case 16:
        return large_kernel_wide<16, Fine, Symmetric, Stages>(shape.blocks_64);
    case 32:
        return large_kernel_wide<32, Fine, Symmetric, Stages>(shape.blocks_64);
    case 64:
        return large_kernel_wide<64, Fine, Symmetric, Stages>(shape.blocks_64);
    case 128:
        return large_kernel_wide<128, Fine, Symmetric, Stages>(shape.blocks_64);
    default:
        return w4a16_large<1, 256, Fine, Symmetric, Stages>;
    }
}

template <bool Symmetric, class Stages>
static LargeKernel large_kernel_of(struct w4_large_shape shape)
{
    return shape.fine ? large_kernel_fine<true, Symmetric, Stages>(shape)
                      : large_kernel_fine<false, Symmetric, Stages>(shape);
}

static cudaLaunchConfig_t large_config(const struct w4_large_plan &plan, bool overlap,
                                       cudaLaunchAttribute attributes[2], op_stream s)
{
    cudaLaunchConfig_t c = {};
    const int together = plan.shape.cluster * plan.shape.share;
    c.gridDim = plan.clusters * together;
    c.blockDim = LARGE_THREADS;
    c.dynamicSmemBytes = plan.bytes;
    c.stream = s;
    c.attrs = attributes;
    if (together > 1) {
        cudaLaunchAttribute &cluster = attributes[c.numAttrs++];
        cluster.id = cudaLaunchAttributeClusterDimension;
        cluster.val.clusterDim = { (unsigned)together, 1, 1 };
    }
    if (overlap) {
        cudaLaunchAttribute &early = attributes[c.numAttrs++];
        early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        early.val.programmaticStreamSerializationAllowed = 1;
    }
    return c;
}

/* How many clusters of a tiling are resident at a time, of blocks that fill a
 * multiprocessor's shared memory. */
static int count_clusters(LargeKernel kernel, struct w4_large_shape shape, int sms, int shared)
{
    struct w4_large_plan plan = {};
    cudaLaunchAttribute attributes[2];
    int clusters = sms;
    if (shape.cluster * shape.share == 1)
        return sms;
    plan.shape = shape;
    plan.clusters = 1;
    plan.bytes = shared;
    const cudaLaunchConfig_t config = large_config(plan, false, attributes, NULL);
    if (cudaOccupancyMaxActiveClusters(&clusters, (const void *)kernel, &config)) {
        cudaGetLastError(); /* a size that the device has not */
        clusters = 0;
    }
    return clusters;
}

/* The plan of a tiling and its kernel. */
template <bool Symmetric, class Stages>
static enum op_status large_prepare(const struct gemm_problem *p, struct w4_large_shape shape,
                                    Large *state)
{
    int device, sms, shared;
    const LargeKernel kernel = large_kernel_of<Symmetric, Stages>(shape);
    /* kernels that overlap must not ask for different amounts of L1 cache */
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             shared) ||
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared))
        return OP_EDEVICE;
    const int clusters = count_clusters(kernel, shape, sms, shared);
    state->kernel = kernel;
    return w4_large_plan(p, Symmetric, shape, clusters, shared, &state->work.plan)
               ? OP_EUNSUPPORTED
               : OP_OK;
}

/* Memory for partial sums and counts, the same for all sets of operands: their
 * launches follow one another.  Counts are cleared even if there are none: a launch
 * may overlap a kernel before it, which must not be the one that packs its weights. */
static enum op_status large_workspace(const struct op_memory *memory, op_stream s,
                                      const Large *first, Large *state)
{
    const struct w4_large_plan &plan = state->work.plan;
    const int share = plan.shape.share;
    const size_t counts = (plan.shared_tiles * share * 2 + 1) * sizeof(int);
    if (first) {
        state->work.partial = first->work.partial;
        state->work.arrived = first->work.arrived;
    } else {
        const size_t partial =
            plan.clusters * share * 2 * w4_partial(plan.shape) * sizeof(float);
        state->work.arrived = (int *)memory->take(memory->context, counts);
        if (plan.shared_tiles)
            state->work.partial = (float4 *)memory->take(memory->context, partial);
        if (!state->work.arrived || (plan.shared_tiles && !state->work.partial))
            return OP_ENOMEM;
    }
    return cudaMemsetAsync(state->work.arrived, 0, counts, s) ? OP_EDEVICE : OP_OK;
}

template <bool Symmetric, class Stages>
static enum op_status large_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                  struct w4_large_shape shape, const struct op_memory *memory,
                                  op_stream s, void **out)
{
    if (p->group != W4_GROUP || p->k % W4_GROUP || p->n % 8)
        return OP_EUNSUPPORTED;
    Large *state = (Large *)aligned_alloc(alignof(Large), sizeof *state); /* the map: to 64 bytes */
    if (!state)
        return OP_ENOMEM;
    memset((void *)state, 0, sizeof *state);
    enum op_status status = large_prepare<Symmetric, Stages>(p, shape, state);
    if (status == OP_OK &&
        !tma_map_half(&state->x_map, a->x, p->m, p->k, w4_large_box(shape)))
        status = OP_EDEVICE;
    if (status == OP_OK)
        state->work.packed = w4a16_packed(p, a, Symmetric, W4_LARGE_NEAR, memory, s,
                                            &status);
    if (status == OP_OK)
        status = large_workspace(memory, s, (const Large *)*out, state);
    if (status != OP_OK) {
        free(state);
        return status;
    }
    state->x = a->x;
    state->overlap = true;
    state->work.m = p->m;
    state->work.n = p->n;
    state->work.k = p->k;
    *out = state;
    return OP_OK;
}

OP_BEGIN
#define SETUP(name, Symmetric, Stages)                                                             \
    gemm_setup_fn name;                                                                            \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a,                   \
                        const struct op_memory *m, op_stream s, void **state)                      \
    {                                                                                              \
        return large_setup<Symmetric, Stages>(p, a, w4_large_shape(p), m, s, state);               \
    }
SETUP(gemm_w4a16_large_setup, false, W4Full)
SETUP(gemm_w4a16_large_sym_setup, true, W4Full)
SETUP(gemm_w4a16_large_nodeq_setup, false, W4NoDeq)
SETUP(gemm_w4a16_large_loadonly_setup, false, W4LoadOnly)
SETUP(gemm_w4a16_large_mmaonly_setup, false, W4MmaOnly)
SETUP(gemm_w4a16_large_deqonly_setup, false, W4DeqOnly)
#undef SETUP

enum op_status gemm_w4a16_large_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                       int symmetric, struct w4_large_shape shape,
                                       const struct op_memory *m, op_stream s, void **state)
{
    return symmetric ? large_setup<true, W4Full>(p, a, shape, m, s, state)
                     : large_setup<false, W4Full>(p, a, shape, m, s, state);
}

gemm_run_fn gemm_w4a16_large;

/* X is that of the set-up: its map was made there. */
enum op_status gemm_w4a16_large(const struct gemm_problem *p, const struct gemm_args *a,
                                void *state, op_stream s)
{
    Large *large = (Large *)state;
    W4Large work = large->work;
    if (a->x != large->x || p->m != work.m)
        return OP_EINVAL;
    work.y = (half *)a->y;
    cudaLaunchAttribute attributes[2];
    const cudaLaunchConfig_t config = large_config(work.plan, large->overlap, attributes, s);
    void *parameters[] = { &large->x_map, &work };
    return cudaLaunchKernelExC(&config, (const void *)large->kernel, parameters) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

void gemm_w4a16_large_teardown(void *state)
{
    free(state);
}
OP_END

/* w4a8_sm90.cu - set-up and launch of w4a8_own.cuh. */
#include <stdlib.h>
#include <string.h>

#include "w4a8.h"
#include "w4a8_own.cuh"

typedef void (*OwnKernel)(CUtensorMap, W4A8);

struct Own {
    W4A8 work;
    OwnKernel kernel;
    CUtensorMap x_map;
    const void *x;
    bool overlap; /* begins while the launch before it ends */
};

/* NULL: this tiling is not compiled. */
template <bool Grouped, class Stages> static OwnKernel kernel_of(struct w4a8_shape shape)
{
    switch (shape.tokens * 10 + shape.blocks_64 + (shape.slices ? 10000 : 0)) {
    case 81: case 10081: return w4a8_own<1, 8, Grouped, Stages, true>;
    case 82: case 10082: return w4a8_own<2, 8, Grouped, Stages, true>;
    case 161: case 10161: return w4a8_own<1, 16, Grouped, Stages, true>;
    case 162: case 10162: return w4a8_own<2, 16, Grouped, Stages, true>;
    case 321: case 10321: return w4a8_own<1, 32, Grouped, Stages, true>;
    case 322: return w4a8_own<2, 32, Grouped, Stages, false>;
    case 641: case 10641: return w4a8_own<1, 64, Grouped, Stages, true>;
    case 642: return w4a8_own<2, 64, Grouped, Stages, false>;
    case 1281: return w4a8_own<1, 128, Grouped, Stages, false>;
    case 1282: return w4a8_own<2, 128, Grouped, Stages, false>;
    case 2561: return w4a8_own<1, 256, Grouped, Stages, false>;
    /* apart: what slices need would cost the others registers */
    case 10642: return w4a8_own<2, 64, Grouped, Stages, true>;
    case 11281: return w4a8_own<1, 128, Grouped, Stages, true>;
    default: return NULL;
    }
}

static cudaLaunchConfig_t config_of(const struct w4a8_plan &plan, bool overlap,
                                    cudaLaunchAttribute attributes[2], op_stream s)
{
    const bool wide = w4a8_wide(plan.shape.tokens, plan.shape.blocks_64);
    cudaLaunchConfig_t c = {};
    c.gridDim = plan.clusters * plan.shape.cluster;
    c.blockDim = W4A8_CONSUMERS + (wide ? 128 : 32);
    c.dynamicSmemBytes = plan.bytes;
    c.stream = s;
    c.attrs = attributes;
    const int together = plan.shape.slices ? plan.shape.slices : plan.shape.cluster;
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

/* Shared memory of a block of a tiling, and how many clusters are resident. */
static bool resources(OwnKernel kernel, struct w4a8_shape shape, size_t *shared, int *clusters)
{
    int device, sms, most, sm_shared, reserved;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&sm_shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) ||
        cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device))
        return false;
    /* launches that overlap must not ask for different amounts of L1 cache */
    if (cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             most) ||
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared))
        return false;
    *shared = w4a8_wide(shape.tokens, shape.blocks_64) ? most : sm_shared / 2 - reserved;
    *clusters = sms * shape.each;
    if (shape.cluster == 1)
        return true;
    struct w4a8_plan plan = {};
    cudaLaunchAttribute attributes[2];
    plan.shape = shape;
    plan.clusters = 1;
    plan.bytes = *shared;
    const cudaLaunchConfig_t config = config_of(plan, false, attributes, NULL);
    if (cudaOccupancyMaxActiveClusters(clusters, (const void *)kernel, &config)) {
        cudaGetLastError(); /* a size that the device has not */
        *clusters = 0;
    }
    return true;
}

/* Memory for partial sums and counts, the same for all sets of operands: their
 * launches follow one another.  Counts are cleared even if there are none: a launch
 * may overlap a kernel before it, which must not be the one that packs its weights. */
static enum op_status workspace(const struct op_memory *memory, op_stream s, const Own *first,
                                Own *state)
{
    const struct w4a8_plan &plan = state->work.plan;
    const size_t blocks = (size_t)plan.clusters * plan.shape.cluster;
    const size_t counts = ((size_t)plan.spread_tiles * plan.shape.cluster * 2 + 1) * sizeof(int);
    if (first) {
        state->work.partial = first->work.partial;
        state->work.arrived = first->work.arrived;
    } else {
        state->work.arrived = (int *)memory->take(memory->context, counts);
        if (plan.spread_tiles)
            state->work.partial = (int4 *)memory->take(memory->context,
                                                       blocks * w4a8_partial_bytes(plan.shape));
        if (!state->work.arrived || (plan.spread_tiles && !state->work.partial))
            return OP_ENOMEM;
    }
    return cudaMemsetAsync(state->work.arrived, 0, counts, s) ? OP_EDEVICE : OP_OK;
}

template <bool Grouped, class Stages>
static enum op_status own_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                struct w4a8_shape shape, const struct op_memory *memory,
                                op_stream s, void **out)
{
    if (!w4a8_covers(p, Grouped))
        return OP_EUNSUPPORTED;
    Own *state = (Own *)aligned_alloc(alignof(Own), sizeof *state); /* the map: to 64 bytes */
    if (!state)
        return OP_ENOMEM;
    memset((void *)state, 0, sizeof *state);
    size_t shared;
    int clusters;
    enum op_status status = OP_OK;
    state->kernel = kernel_of<Grouped, Stages>(shape);
    if (!state->kernel)
        status = OP_EUNSUPPORTED;
    else if (!resources(state->kernel, shape, &shared, &clusters))
        status = OP_EDEVICE;
    else if (w4a8_plan(p, Grouped, shape, clusters, shared, &state->work.plan))
        status = OP_EUNSUPPORTED;
    else if (!tma_map_bytes(&state->x_map, a->int_x.code, p->m, p->k,
                            shape.tokens / shape.cluster))
        status = OP_EDEVICE;
    (W4A8Operands &)state->work = w4a8_operands(p, a, Grouped);
    if (status == OP_OK)
        state->work.packed = w4a8_packed(p, a, Grouped, memory, s, &status);
    if (status == OP_OK)
        status = workspace(memory, s, (const Own *)*out, state);
    if (status != OP_OK) {
        free(state);
        return status;
    }
    state->x = a->int_x.code;
    state->overlap = true;
    *out = state;
    return OP_OK;
}

OP_BEGIN
#define SETUP(name, Grouped, Stages)                                                               \
    gemm_setup_fn name;                                                                            \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a,                   \
                        const struct op_memory *m, op_stream s, void **state)                      \
    {                                                                                              \
        const int sms = w4a8_multiprocessors();                                                    \
        return sms ? own_setup<Grouped, Stages>(p, a, w4a8_best(p, sms), m, s, state) : OP_EDEVICE; \
    }
#define SETUPS(suffix, Stages)                                                                     \
    SETUP(gemm_w4a8_channel_tiles##suffix##_setup, false, Stages)                                    \
    SETUP(gemm_w4a8_group_tiles##suffix##_setup, true, Stages)
SETUPS(, W4A8Full)
SETUPS(_nodeq, W4A8NoDeq)
SETUPS(_loadonly, W4A8LoadOnly)
SETUPS(_mmaonly, W4A8MmaOnly)
SETUPS(_deqonly, W4A8DeqOnly)
#undef SETUPS
#undef SETUP

enum op_status gemm_w4a8_own_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                    int grouped, struct w4a8_shape shape,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return grouped ? own_setup<true, W4A8Full>(p, a, shape, m, s, state)
                   : own_setup<false, W4A8Full>(p, a, shape, m, s, state);
}


/* X is that of the set-up: its map was made there. */
enum op_status gemm_w4a8_tiles(const struct gemm_problem *p, const struct gemm_args *a,
                               void *state, op_stream s)
{
    Own *own = (Own *)state;
    W4A8 work = own->work;
    if (a->int_x.code != own->x || p->m != work.m)
        return OP_EINVAL;
    work.y = (half *)a->y;
    cudaLaunchAttribute attributes[2];
    const cudaLaunchConfig_t config = config_of(work.plan, own->overlap, attributes, s);
    void *parameters[] = { &own->x_map, &work };
    return cudaLaunchKernelExC(&config, (const void *)own->kernel, parameters) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

void gemm_w4a8_tiles_teardown(void *state)
{
    free(state);
}
OP_END

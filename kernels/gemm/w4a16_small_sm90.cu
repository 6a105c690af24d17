/* w4a16_small_sm90.cu - w4a16_small.cuh with bulk copies. */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_small.cuh"

typedef void (*SmallKernel)(W4Small);

struct Small {
    W4Small work;
    SmallKernel kernel;
    int symmetric;
    int overlap; /* with the kernel before */
};

template <int Tokens, int Warps, int Across, int Strips, bool Symmetric, class Stages>
static constexpr SmallKernel KERNEL =
    w4a16_small<Tokens, Warps, Across, Strips, Symmetric, Stages, W4Bulk>;

/* NULL: this combination is not compiled. */
template <bool Symmetric, class Stages>
static SmallKernel kernel_of(int tokens, struct w4_small_shape shape)
{
    switch ((tokens * 100 + shape.warps) * 100 + shape.across * 10 + shape.strips) {
    case 8 * 10000 + 812: return KERNEL<8, 8, 1, 2, Symmetric, Stages>;
    case 8 * 10000 + 814: return KERNEL<8, 8, 1, 4, Symmetric, Stages>;
    case 8 * 10000 + 824: return KERNEL<8, 8, 2, 4, Symmetric, Stages>;
    case 8 * 10000 + 1212: return KERNEL<8, 12, 1, 2, Symmetric, Stages>;
    case 8 * 10000 + 1214: return KERNEL<8, 12, 1, 4, Symmetric, Stages>;
    case 8 * 10000 + 1612: return KERNEL<8, 16, 1, 2, Symmetric, Stages>;
    case 16 * 10000 + 824: return KERNEL<16, 8, 2, 4, Symmetric, Stages>;
    case 16 * 10000 + 844: return KERNEL<16, 8, 4, 4, Symmetric, Stages>;
    case 32 * 10000 + 842: return KERNEL<32, 8, 4, 2, Symmetric, Stages>;
    case 32 * 10000 + 882: return KERNEL<32, 8, 8, 2, Symmetric, Stages>;
    default: return NULL;
    }
}

/* Tiling, kernel and workspace. */
template <bool Symmetric, class Stages>
static enum op_status prepare(const struct gemm_problem *p, struct w4_small_shape shape,
                              const struct op_memory *memory, op_stream s, Small *state)
{
    int device, sms, shared, sm_shared, reserved;
    struct w4_small_plan &plan = state->work.plan;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&sm_shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) ||
        cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device))
        return OP_EDEVICE;
    const int room = sm_shared / shape.room - reserved;
    if (w4_small_plan(p, Symmetric, shape, sms * shape.blocks, 0,
                      room < shared ? room : shared, W4_STAGES, &plan))
        return OP_EUNSUPPORTED;
    state->kernel = kernel_of<Symmetric, Stages>(plan.tokens, shape);
    if (!state->kernel)
        return OP_EUNSUPPORTED;
    /* kernels that overlap must not ask for different amounts of L1 cache */
    if (cudaFuncSetAttribute((const void *)state->kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, shared) ||
        cudaFuncSetAttribute((const void *)state->kernel,
                             cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared))
        return OP_EDEVICE;
    if (!plan.counters)
        return OP_OK;
    state->work.workspace = (float4 *)memory->take(memory->context, plan.workspace_bytes);
    state->work.counters = (int *)memory->take(memory->context, plan.counters * sizeof(int));
    if (!state->work.workspace || !state->work.counters)
        return OP_ENOMEM;
    return cudaMemsetAsync(state->work.counters, 0, plan.counters * sizeof(int), s) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

template <bool Symmetric, class Stages>
static enum op_status setup(const struct gemm_problem *p, const struct gemm_args *a,
                            struct w4_small_shape shape, int overlap,
                            const struct op_memory *memory, op_stream s, void **out)
{
    if (p->group != W4_GROUP || p->m > W4_SMALL_TOKENS || p->n % 8)
        return OP_EUNSUPPORTED;
    Small *state = (Small *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    state->symmetric = Symmetric;
    state->overlap = overlap;
    enum op_status status = prepare<Symmetric, Stages>(p, shape, memory, s, state);
    if (status == OP_OK)
        state->work.packed = w4a16_packed(p, a, Symmetric, W4_NEAR, memory, s, &status);
    /* W is loaded without waiting for the kernel before, which may be the packing */
    if (status == OP_OK && overlap && cudaStreamSynchronize(s))
        status = OP_EDEVICE;
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

/* The same with the tiling of the table. */
template <bool Symmetric, class Stages>
static enum op_status setup_by_table(const struct gemm_problem *p, const struct gemm_args *a,
                                     int overlap, const struct op_memory *m, op_stream s,
                                     void **state)
{
    int device, sms;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device))
        return OP_EDEVICE;
    const struct w4_small_shape shape = w4_small_shape(p, sms, overlap);
    return setup<Symmetric, Stages>(p, a, shape, overlap, m, s, state);
}

OP_BEGIN
#define SETUP(name, Symmetric, Stages, overlap)                                                \
    gemm_setup_fn name;                                                                        \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a,               \
                        const struct op_memory *m, op_stream s, void **state)                  \
    {                                                                                          \
        return setup_by_table<Symmetric, Stages>(p, a, overlap, m, s, state);                  \
    }
SETUP(gemm_w4a16_small_setup, false, W4Full, 0)
SETUP(gemm_w4a16_small_sym_setup, true, W4Full, 0)
SETUP(gemm_w4a16_small_pdl_setup, false, W4Full, 1)
SETUP(gemm_w4a16_small_pdl_sym_setup, true, W4Full, 1)
SETUP(gemm_w4a16_small_nodeq_setup, false, W4NoDeq, 0)
SETUP(gemm_w4a16_small_loadonly_setup, false, W4LoadOnly, 0)
SETUP(gemm_w4a16_small_mmaonly_setup, false, W4MmaOnly, 0)
SETUP(gemm_w4a16_small_deqonly_setup, false, W4DeqOnly, 0)
#undef SETUP

gemm_run_fn gemm_w4a16_small;

enum op_status gemm_w4a16_small(const struct gemm_problem *p, const struct gemm_args *a,
                                void *state, op_stream s)
{
    const Small *small = (const Small *)state;
    W4Small work = small->work;
    work.packed_end = work.packed + w4_packed_bytes(p->n, p->k, small->symmetric, W4_NEAR);
    work.x = (const half *)a->x;
    work.y = (half *)a->y;
    work.m = p->m;
    work.n = p->n;
    work.k = p->k;
    cudaLaunchAttribute overlap;
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = work.plan.blocks;
    config.blockDim = work.plan.warps * 32;
    config.dynamicSmemBytes = work.plan.bytes;
    config.stream = s;
    config.attrs = &overlap;
    config.numAttrs = small->overlap ? 1 : 0;
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

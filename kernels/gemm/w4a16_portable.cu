/*
 * w4a16_portable.cu - w4a16_small.cuh with cp.async: compute capability 8.0 and
 * later, any number of tokens.
 *
 * Blocks take whole tiles, so that no workspace is needed.  Tokens beyond 32 are
 * further tiles in grid y, each of which reads W again.
 */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_small.cuh"

typedef void (*PortableKernel)(W4Small);

/* four warps, each with a ring of four slots */
constexpr int PORTABLE_WARPS = 4, PORTABLE_STAGES = 4;
constexpr struct w4_small_shape PORTABLE_SHAPE = { 1, 4, 1, 1, PORTABLE_WARPS };

struct Portable {
    W4Small work;
    PortableKernel kernel;
    int symmetric;
};

template <int Tokens, bool Symmetric>
static bool fits(const struct gemm_problem *p, int blocks, size_t shared, Portable *state)
{
    struct gemm_problem tile = *p;
    tile.m = Tokens;
    state->kernel = w4a16_small<Tokens, PORTABLE_WARPS, 1, 4, Symmetric, W4Full,
                                W4Async<PORTABLE_STAGES>>;
    return !w4_small_plan(&tile, Symmetric, PORTABLE_SHAPE, blocks, 1, shared,
                          PORTABLE_STAGES, &state->work.plan) &&
           state->work.plan.stages == PORTABLE_STAGES;
}

/* The widest tile of tokens that pays; two blocks to a multiprocessor if they fit. */
template <bool Symmetric>
static enum op_status prepare(const struct gemm_problem *p, Portable *state)
{
    int device, sms, shared, sm_shared, reserved;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&sm_shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) ||
        cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device))
        return OP_EDEVICE;
    const size_t half = sm_shared / 2 - reserved;
    if (!(p->m > 16 && fits<32, Symmetric>(p, 2 * sms, half, state)) &&
        !(p->m > 16 && fits<32, Symmetric>(p, sms, shared, state)) &&
        !(p->m > 8 && fits<16, Symmetric>(p, 2 * sms, half, state)) &&
        !(p->m > 8 && fits<16, Symmetric>(p, sms, shared, state)) &&
        !fits<8, Symmetric>(p, 2 * sms, half, state) && !fits<8, Symmetric>(p, sms, shared, state))
        return OP_EUNSUPPORTED;
    return cudaFuncSetAttribute((const void *)state->kernel,
                                cudaFuncAttributeMaxDynamicSharedMemorySize, shared)
               ? OP_EDEVICE
               : OP_OK;
}

template <bool Symmetric>
static enum op_status setup(const struct gemm_problem *p, const struct gemm_args *a,
                            const struct op_memory *memory, op_stream s, void **out)
{
    if (p->group != W4_GROUP || p->n % 8)
        return OP_EUNSUPPORTED;
    Portable *state = (Portable *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    state->symmetric = Symmetric;
    enum op_status status = prepare<Symmetric>(p, state);
    if (status == OP_OK)
        state->work.packed = w4a16_packed(p, a, Symmetric, W4_NEAR, memory, s, &status);
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

OP_BEGIN
gemm_setup_fn gemm_w4a16_portable_setup, gemm_w4a16_portable_sym_setup;
gemm_run_fn gemm_w4a16_portable;

enum op_status gemm_w4a16_portable_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                         const struct op_memory *m, op_stream s, void **state)
{
    return setup<false>(p, a, m, s, state);
}

enum op_status gemm_w4a16_portable_sym_setup(const struct gemm_problem *p,
                                             const struct gemm_args *a, const struct op_memory *m,
                                             op_stream s, void **state)
{
    return setup<true>(p, a, m, s, state);
}

enum op_status gemm_w4a16_portable(const struct gemm_problem *p, const struct gemm_args *a,
                                   void *state, op_stream s)
{
    const Portable *portable = (const Portable *)state;
    W4Small work = portable->work;
    work.packed_end = work.packed + w4_packed_bytes(p->n, p->k, portable->symmetric, W4_NEAR);
    work.x = (const half *)a->x;
    work.y = (half *)a->y;
    work.m = p->m;
    work.n = p->n;
    work.k = p->k;
    const struct w4_small_plan &plan = work.plan;
    const dim3 grid(plan.blocks, w4_div_up(p->m, plan.tokens));
    portable->kernel<<<grid, plan.warps * 32, plan.bytes, s>>>(work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void gemm_w4a16_portable_teardown(void *state)
{
    free(state);
}
OP_END

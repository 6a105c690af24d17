/*
 * w4a16_portable.cu - w4a16_small.cuh with cp.async: compute capability 8.0 and
 * later, any number of tokens.
 *
 * No clusters, so a block takes all of k, and X travels with the strips because
 * it need not fit otherwise.  Tokens beyond 32 are further tiles in grid y, each
 * of which reads W again.
 */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_small.cuh"

typedef void (*PortableKernel)(W4Small);

/* four warps and two or four slots each fit into 99 kB (8.9) up to 16 tokens */
constexpr int PORTABLE_WARPS = 4;

struct Portable {
    W4Small work;
    PortableKernel kernel;
};

template <int Tokens, int Stages, bool Symmetric>
static bool fits(const struct gemm_problem *p, int blocks, size_t shared, Portable *state)
{
    struct gemm_problem tile = *p;
    tile.m = Tokens;
    state->kernel = w4a16_small<Tokens, PORTABLE_WARPS, 1, Symmetric, W4Full, W4Async<Stages>>;
    return !w4_small_plan(&tile, Symmetric, PORTABLE_WARPS, 1, 1, blocks, 0, shared, Stages,
                          &state->work.plan) &&
           state->work.plan.stages == Stages;
}

template <bool Symmetric>
static enum op_status prepare(const struct gemm_problem *p, Portable *state)
{
    int device, sms, shared, resident;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device))
        return OP_EDEVICE;
    for (int blocks = sms, again = 0; again < 2; again++, blocks = sms * resident) {
        if (!(p->m > 16 && fits<32, 2, Symmetric>(p, blocks, shared, state)) &&
            !(p->m > 8 && fits<16, 2, Symmetric>(p, blocks, shared, state)) &&
            !fits<8, 4, Symmetric>(p, blocks, shared, state))
            return OP_EUNSUPPORTED;
        if (cudaFuncSetAttribute((const void *)state->kernel,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, shared) ||
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, (const void *)state->kernel,
                                                          PORTABLE_WARPS * 32,
                                                          state->work.plan.bytes) ||
            !resident)
            return OP_EDEVICE;
    }
    return OP_OK;
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
    enum op_status status = prepare<Symmetric>(p, state);
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
    work.x = (const half *)a->x;
    work.y = (half *)a->y;
    work.m = p->m;
    work.n = p->n;
    work.k = p->k;
    const struct w4_small_plan &plan = work.plan;
    const dim3 grid(plan.clusters, w4_div_up(p->m, plan.tokens));
    portable->kernel<<<grid, plan.warps * 32, plan.bytes, s>>>(work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void gemm_w4a16_portable_teardown(void *state)
{
    free(state);
}
OP_END

/* w4a8_strips_sm90.cu - set-up and launch of w4a8_strips.cuh. */
#include <stdlib.h>

#include "w4a8.h"
#include "w4a8_strips.cuh"

typedef void (*StripsKernel)(W4A8Strips);

struct Strips {
    const unsigned char *packed;
    StripsKernel kernel;
    int across, threads, stages, bytes;
    bool grouped;
};

template <int Across, bool Grouped, class Stages> static void take(Strips *state)
{
    state->kernel = w4a8_strips<Across, Grouped, Stages>;
    state->threads = StripsForm<Across, Grouped>::THREADS;
}

template <bool Grouped, class Stages> static void take_strips(int strips, Strips *state)
{
    switch (strips) {
    case 2: take<2, Grouped, Stages>(state); break;
    case 3: take<3, Grouped, Stages>(state); break;
    case 4: take<4, Grouped, Stages>(state); break;
    case 5: take<5, Grouped, Stages>(state); break;
    case 6: take<6, Grouped, Stages>(state); break;
    case 7: take<7, Grouped, Stages>(state); break;
    case 8: take<8, Grouped, Stages>(state); break;
    case 10: take<10, Grouped, Stages>(state); break;
    case 12: take<12, Grouped, Stages>(state); break;
    case 14: take<14, Grouped, Stages>(state); break;
    case 16: take<16, Grouped, Stages>(state); break;
    }
}

/* Launches that overlap must not ask for different amounts of L1 cache. */
static bool prepare(const Strips *state)
{
    const void *kernel = (const void *)state->kernel;
    return !cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, state->bytes) &&
           !cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
}

template <bool Grouped, class Stages>
static enum op_status strips_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                   const struct op_memory *memory, op_stream s, void **out)
{
    const int sms = w4a8_multiprocessors();
    if (!sms)
        return OP_EDEVICE;
    if (!w4a8_strips_take(p, Grouped, sms))
        return OP_EUNSUPPORTED;
    if (Grouped && !a->int_x.group_sum)
        return OP_EINVAL;
    Strips *state = (Strips *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    state->grouped = Grouped;
    state->across = w4a8_strips_of(p->n, sms);
    take_strips<Grouped, Stages>(state->across, state);
    const int fit = w4a8_strips_stages(p->m, p->k, state->across, Grouped);
    const int rounds = w4a8_div_up(w4a8_div_up(p->k, W4A8_GROUP),
                                   w4a8_strips_behind(state->across));
    state->stages = fit < rounds ? fit : rounds;
    state->bytes = state->stages * w4a8_strips_stage(state->across) +
                   w4a8_strips_beside(p->m, p->k, state->across, Grouped);
    enum op_status status = state->kernel && prepare(state) ? OP_OK : OP_EDEVICE;
    if (status == OP_OK)
        state->packed = Grouped ? w4a8_packed_on_sums(p, a, memory, s, &status)
                                : w4a8_packed(p, a, false, memory, s, &status);
    /* a launch may overlap the one before it, which must not be that of the packing */
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
#define SETUP(name, Grouped, Stages)                                                               \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a,                   \
                        const struct op_memory *m, op_stream s, void **state)                      \
    {                                                                                              \
        return strips_setup<Grouped, Stages>(p, a, m, s, state);                                   \
    }
#define SETUPS(suffix, Stages)                                                                     \
    SETUP(gemm_w4a8_channel_strips##suffix##_setup, false, Stages)                                 \
    SETUP(gemm_w4a8_group_strips##suffix##_setup, true, Stages)
SETUPS(, W4A8Full)
SETUPS(_nodeq, W4A8NoDeq)
SETUPS(_loadonly, W4A8LoadOnly)
SETUPS(_mmaonly, W4A8MmaOnly)
SETUPS(_deqonly, W4A8DeqOnly)
#undef SETUPS
#undef SETUP

enum op_status gemm_w4a8_strips(const struct gemm_problem *p, const struct gemm_args *a,
                                void *state, op_stream s)
{
    const Strips *strips = (const Strips *)state;
    W4A8Strips work;
    (W4A8Operands &)work = w4a8_operands(p, a, strips->grouped);
    work.packed = strips->packed;
    work.x = a->int_x.code;
    work.group_sum = a->int_x.group_sum;
    work.shifts = strips->packed + work.code_bytes + w4a8_pair_bytes(p->n, p->k);
    work.k = p->k;
    work.strips = (int)(w4a8_strips(p->n, p->k) / work.groups);
    work.stages = strips->stages;
    const dim3 grid(w4a8_div_up(w4a8_div_up(p->n, W4A8_STRIP), strips->across));
    return launch_early_shared(strips->kernel, grid, strips->threads, 1, strips->bytes, s, work);
}

void gemm_w4a8_strips_teardown(void *state)
{
    free(state);
}
OP_END

/* w4a8_stream_sm90.cu - set-up and launch of w4a8_stream.cuh. */
#include <stdlib.h>
#include <string.h>

#include "w4a8.h"
#include "w4a8_stream.cuh"

typedef void (*StreamKernel)(CUtensorMap, W4A8Stream);

struct Stream {
    W4A8Stream work;
    StreamKernel kernel;
    CUtensorMap x_map;
    const void *x;
};

/* Launches that overlap must not ask for different amounts of L1 cache. */
static bool prepare(const Stream *state)
{
    const void *kernel = (const void *)state->kernel;
    return !cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 W4A8_STREAM_SHARED) &&
           !cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
}

template <bool Grouped, class Stages>
static enum op_status stream_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                   const struct op_memory *memory, op_stream s, void **out)
{
    struct w4a8_stream plan;
    const int sms = w4a8_multiprocessors();
    if (!sms)
        return OP_EDEVICE;
    if (w4a8_stream_plan(p, Grouped, sms, &plan))
        return OP_EUNSUPPORTED;
    Stream *state = (Stream *)aligned_alloc(alignof(Stream), sizeof *state); /* the map: to 64 */
    if (!state)
        return OP_ENOMEM;
    memset((void *)state, 0, sizeof *state);
    (W4A8Operands &)state->work = w4a8_operands(p, a, Grouped);
    state->work.plan = plan;
    state->kernel = w4a8_stream<Grouped, Stages>;
    state->x = a->int_x.code;
    enum op_status status = OP_OK;
    if (!prepare(state) || !tma_map_bytes(&state->x_map, state->x, p->m, p->k, W4A8_STREAM_TOKENS))
        status = OP_EDEVICE;
    if (status == OP_OK)
        state->work.packed = w4a8_packed(p, a, Grouped, memory, s, &status);
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
        return stream_setup<Grouped, Stages>(p, a, m, s, state);                                   \
    }
#define SETUPS(suffix, Stages)                                                                     \
    SETUP(gemm_w4a8_channel_stream##suffix##_setup, false, Stages)                                 \
    SETUP(gemm_w4a8_group_stream##suffix##_setup, true, Stages)
SETUPS(, W4A8Full)
SETUPS(_nodeq, W4A8NoDeq)
SETUPS(_loadonly, W4A8LoadOnly)
SETUPS(_mmaonly, W4A8MmaOnly)
SETUPS(_deqonly, W4A8DeqOnly)
#undef SETUPS
#undef SETUP

/* X is that of the set-up: its map was made there. */
enum op_status gemm_w4a8_stream(const struct gemm_problem *p, const struct gemm_args *a,
                                void *state, op_stream s)
{
    const Stream *stream = (const Stream *)state;
    W4A8Stream work = stream->work;
    if (a->int_x.code != stream->x || p->m != work.m)
        return OP_EINVAL;
    work.y = (half *)a->y;
    return launch_early_shared(stream->kernel, dim3(work.plan.tiles * work.plan.slices),
                               STREAM_THREADS, work.plan.slices, work.plan.bytes, s, stream->x_map,
                               work);
}

void gemm_w4a8_stream_teardown(void *state)
{
    free(state);
}
OP_END

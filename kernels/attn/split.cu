/* split.cu - launches of split.cuh, and the room they need. */
#include <cuda_runtime.h>
#include <stdlib.h>

#include "kernels.h"
#include "split_state.h"

/* Shapes with the blocks of each that the device runs at once. */
static enum op_status slots_of(const SplitKind (&kind)[SPLIT_SHAPES],
                               struct split_shape (&shape)[SPLIT_SHAPES])
{
    int device, sms, room, most = 0;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, device))
        return OP_EDEVICE;
    for (int k = 0; k < SPLIT_SHAPES; k++) {
        const void *const kernel = (const void *)kind[k].kernel;
        int blocks;
        shape[k] = kind[k].plan;
        shape[k].slots = 0;
        if (kind[k].shared > room)
            continue;
        if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 kind[k].shared) ||
            cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared) ||
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 32 * kind[k].plan.warps,
                                                          kind[k].shared))
            return OP_EDEVICE;
        shape[k].slots = sms * blocks;
        most = shape[k].slots > most ? shape[k].slots : most;
    }
    return most ? OP_OK : OP_EUNSUPPORTED;
}

enum op_status split_room(const struct attn_problem *p, enum attn_scheme scheme,
                          const SplitKind (&kind)[SPLIT_SHAPES], const struct split_choice *given,
                          const SplitState *first, const struct op_memory *memory, op_stream s,
                          SplitState *v)
{
    struct split_shape shape[SPLIT_SHAPES];
    const enum op_status status = slots_of(kind, shape);
    if (status)
        return status;
    SplitWork &w = v->work;
    w.p = *p;
    w.plan = split_plan_of(p, scheme, shape, given);
    if (!w.plan.splits)
        return OP_EUNSUPPORTED;
    const SplitKind &chosen = kind[w.plan.shape];
    const int items = p->kv_heads * w.plan.groups;
    v->kernel = chosen.kernel;
    v->threads = 32 * chosen.plan.warps;
    v->shared = chosen.shared;
    v->grid = dim3(w.plan.splits, items, p->batch);
    if (first) {
        w.part = first->work.part;
        w.stat = first->work.stat;
        w.count = first->work.count;
        return OP_OK;
    }
    const size_t parts = split_parts(p, &w.plan), counts = (size_t)p->batch * items;
    if (!parts)
        return OP_OK;
    w.part = (float *)memory->take(memory->context, parts * p->head_dim * sizeof *w.part);
    w.stat = (float2 *)memory->take(memory->context, parts * sizeof *w.stat);
    w.count = (int *)memory->take(memory->context, counts * sizeof *w.count);
    if (!w.part || !w.stat || !w.count)
        return OP_ENOMEM;
    return cudaMemsetAsync(w.count, 0, counts * sizeof *w.count, s) == cudaSuccess ? OP_OK
                                                                                   : OP_EDEVICE;
}

OP_BEGIN

enum op_status attn_split(const struct attn_problem *p, const struct attn_args *a, void *state,
                          op_stream s)
{
    (void)p;
    const SplitState *const v = (const SplitState *)state;
    SplitWork w = v->work;
    w.a = *a;
    v->kernel<<<v->grid, v->threads, v->shared, s>>>(w);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void attn_split_teardown(void *state)
{
    free(state);
}

OP_END

/* split.cu - launches of split.cuh, and the room they need. */
#include <cuda_runtime.h>
#include <stdlib.h>

#include "kernels.h"
#include "split_state.h"

enum op_status split_room(const struct attn_problem *p, const SplitState *first,
                          const struct op_memory *memory, op_stream s, SplitState *v)
{
    int device, sms, blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, (const void *)v->kernel, v->threads,
                                                      v->shared))
        return OP_EDEVICE;
    if (blocks < 1)
        return OP_EUNSUPPORTED;
    SplitWork &w = v->work;
    w.p = *p;
    const int slots = sms * blocks;
    w.plan = v->stream ? stream_plan_of(p, v->step) : split_plan_of(p, slots, v->step);
    const int items = p->kv_heads * w.plan.groups;
    v->grid = v->stream ? dim3(slots) : dim3(w.plan.splits, items, p->batch);
    if (first) {
        w.part = first->work.part;
        w.stat = first->work.stat;
        w.count = first->work.count;
        return OP_OK;
    }
    /* stream.cuh: the two ends of each block's share */
    const size_t parts = v->stream ? (size_t)slots * 2 * w.plan.columns : split_parts(p, &w.plan);
    const size_t counts = v->stream ? (size_t)slots : (size_t)p->batch * items;
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

/* As on a GPU with 132 multiprocessors: the plan depends on the device, the sum hardly does. */
double attn_stream_extra_bytes(const struct attn_problem *p)
{
    return 2.0 * 264 * 2 * (p->heads / p->kv_heads) * 4 * (p->head_dim + 2);
}

double attn_split_extra_bytes(const struct attn_problem *p)
{
    const struct split_plan plan = split_plan_of(p, 264, 256);
    return 2.0 * (double)split_parts(p, &plan) * 4 * (p->head_dim + 2);
}

OP_END

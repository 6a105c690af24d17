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
    w.plan = split_plan_of(p, sms * blocks, v->step);
    if (first) {
        w.part = first->work.part;
        w.stat = first->work.stat;
        w.count = first->work.count;
        return OP_OK;
    }
    const size_t items = (size_t)p->batch * p->kv_heads * w.plan.groups;
    const size_t parts = split_parts(p, &w.plan);
    if (!parts)
        return OP_OK;
    w.part = (float *)memory->take(memory->context, parts * p->head_dim * sizeof *w.part);
    w.stat = (float2 *)memory->take(memory->context, parts * sizeof *w.stat);
    w.count = (int *)memory->take(memory->context, items * sizeof *w.count);
    if (!w.part || !w.stat || !w.count)
        return OP_ENOMEM;
    return cudaMemsetAsync(w.count, 0, items * sizeof *w.count, s) == cudaSuccess ? OP_OK
                                                                                  : OP_EDEVICE;
}

OP_BEGIN

enum op_status attn_split(const struct attn_problem *p, const struct attn_args *a, void *state,
                          op_stream s)
{
    const SplitState *const v = (const SplitState *)state;
    const dim3 grid(v->work.plan.splits, p->kv_heads * v->work.plan.groups, p->batch);
    SplitWork w = v->work;
    w.a = *a;
    v->kernel<<<grid, v->threads, v->shared, s>>>(w);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void attn_split_teardown(void *state)
{
    free(state);
}

/* As on a GPU with 132 multiprocessors: the plan depends on the device, the sum hardly does. */
double attn_split_extra_bytes(const struct attn_problem *p)
{
    const struct split_plan plan = split_plan_of(p, 264, 256);
    return 2.0 * (double)split_parts(p, &plan) * 4 * (p->head_dim + 2);
}

OP_END

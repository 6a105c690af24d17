/* split_kv16.cu - split.cuh on a cache of halves. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv16_setup(const struct attn_problem *p, const struct attn_args *a,
                               const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV16, false>(p, a, memory, s, state);
}

enum op_status attn_kv16_stream_setup(const struct attn_problem *p, const struct attn_args *a,
                                      const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV16, true>(p, a, memory, s, state);
}

OP_END

/* split_kv8.cu - split.cuh on a cache of 8-bit codes. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv8_setup(const struct attn_problem *p, const struct attn_args *a,
                              const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV8, false>(p, a, memory, s, state);
}

enum op_status attn_kv8_stream_setup(const struct attn_problem *p, const struct attn_args *a,
                                     const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV8, true>(p, a, memory, s, state);
}

OP_END

/* split_kv4.cu - split.cuh on a cache of 4-bit codes. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv4_setup(const struct attn_problem *p, const struct attn_args *a,
                              const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV4, false>(p, a, memory, s, state);
}

enum op_status attn_kv4_stream_setup(const struct attn_problem *p, const struct attn_args *a,
                                     const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV4, true>(p, a, memory, s, state);
}

OP_END

/* split_kv8_static.cu - split.cuh on a cache of 8-bit codes, one scale. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv8_static_setup(const struct attn_problem *p, const struct attn_args *a,
                                     const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV8_STATIC>(p, a, NULL, memory, s, state);
}

enum op_status attn_kv8_static_setup_as(const struct attn_problem *p, const struct attn_args *a,
                                        const struct split_choice *choice,
                                        const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV8_STATIC>(p, a, choice, memory, s, state);
}

double attn_kv8_static_extra_bytes(const struct attn_problem *p)
{
    return split_extra_bytes<ATTN_KV8_STATIC>(p);
}

OP_END

/* split_kv4.cu - split.cuh on a cache of 4-bit codes. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv4_setup(const struct attn_problem *p, const struct attn_args *a,
                              const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV4>(p, a, NULL, memory, s, state);
}

enum op_status attn_kv4_setup_as(const struct attn_problem *p, const struct attn_args *a,
                                 const struct split_choice *choice, const struct op_memory *memory,
                                 op_stream s, void **state)
{
    return split_setup<ATTN_KV4>(p, a, choice, memory, s, state);
}

double attn_kv4_extra_bytes(const struct attn_problem *p)
{
    return split_extra_bytes<ATTN_KV4>(p);
}

OP_END

/* split_kv16.cu - split.cuh on a cache of halves. */
#include "kernels.h"
#include "split_launch.cuh"

OP_BEGIN

enum op_status attn_kv16_setup(const struct attn_problem *p, const struct attn_args *a,
                               const struct op_memory *memory, op_stream s, void **state)
{
    return split_setup<ATTN_KV16>(p, a, NULL, memory, s, state);
}

enum op_status attn_kv16_setup_as(const struct attn_problem *p, const struct attn_args *a,
                                  const struct split_choice *choice, const struct op_memory *memory,
                                  op_stream s, void **state)
{
    return split_setup<ATTN_KV16>(p, a, choice, memory, s, state);
}

double attn_kv16_extra_bytes(const struct attn_problem *p)
{
    return split_extra_bytes<ATTN_KV16>(p);
}

OP_END

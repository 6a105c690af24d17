/* own_portable.cu - our own rows by mma.sync and cp.async. */
#include "own_ampere.cuh"
#include "own_launch.cuh"

OP_BEGIN

enum op_status group_attn_own_setup(const struct group_attn_problem *p, const struct op_memory *,
                                    op_stream, void **state)
{
    *state = NULL;
    return prepare_attention<false, WholeParts>(p->group);
}

enum op_status group_attn_own_run(const struct group_attn_problem *p,
                                  const struct group_attn_args *a, void *, op_stream s)
{
    return attend<false, WholeParts>(p, 0, (const half *)a->qkv, (half *)a->o, s);
}

enum op_status encoder_own_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                 const struct encoder_args *, const struct op_memory *memory,
                                 op_stream s, void **state)
{
    return setup_encoder<Ampere, false, WholeParts>(p, h, memory, s, state);
}

enum op_status encoder_own_run(const struct encoder_problem *p, const struct encoder_args *a,
                               void *state, op_stream s)
{
    return run_encoder<Ampere, false, WholeParts>(p, a, (const OwnState *)state, s);
}

OP_END

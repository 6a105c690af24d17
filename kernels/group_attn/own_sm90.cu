/*
 * own_sm90.cu - our own rows by wgmma and bulk copies, launches overlapping: attention with a group
 * to a block or spread evenly, keys by threads or by the copy engine; the rest of a layer in long
 * or in brief code, of three or of four tiles of rows at a time.
 */
#include "own_hopper.cuh"
#include "own_launch.cuh"
#include "own_staged.cuh"

OP_BEGIN

/* ---- attention ---- */

enum op_status group_attn_own_sm90_setup(const struct group_attn_problem *p,
                                         const struct op_memory *, op_stream, void **state)
{
    *state = NULL;
    return prepare_attention<true, WholeParts>(p->group);
}

enum op_status group_attn_own_sm90_run(const struct group_attn_problem *p,
                                       const struct group_attn_args *a, void *, op_stream s)
{
    return attend<true, WholeParts>(p, 0, (const half *)a->qkv, (half *)a->o, s);
}

enum op_status group_attn_own_even_setup(const struct group_attn_problem *p,
                                         const struct op_memory *, op_stream, void **state)
{
    return setup_shares<true, EvenParts>(p->group, state);
}

enum op_status group_attn_own_even_run(const struct group_attn_problem *p,
                                       const struct group_attn_args *a, void *state, op_stream s)
{
    return attend<true, EvenParts>(p, *(const int *)state, (const half *)a->qkv, (half *)a->o, s);
}

enum op_status group_attn_own_staged_setup(const struct group_attn_problem *p,
                                           const struct op_memory *, op_stream, void **state)
{
    return setup_shares<true, StagedParts>(p->group, state);
}

enum op_status group_attn_own_staged_run(const struct group_attn_problem *p,
                                         const struct group_attn_args *a, void *state, op_stream s)
{
    return attend<true, StagedParts>(p, *(const int *)state, (const half *)a->qkv, (half *)a->o, s);
}

/* ---- encoder ---- */

enum op_status encoder_own_sm90_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                      const struct encoder_args *, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return setup_encoder<Hopper, true, WholeParts>(p, h, memory, s, state);
}

enum op_status encoder_own_sm90_run(const struct encoder_problem *p, const struct encoder_args *a,
                                    void *state, op_stream s)
{
    return run_encoder<Hopper, true, WholeParts>(p, a, (const OwnState *)state, s);
}

enum op_status encoder_own_even_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                      const struct encoder_args *, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return setup_encoder<Hopper, true, EvenParts>(p, h, memory, s, state);
}

enum op_status encoder_own_even_run(const struct encoder_problem *p, const struct encoder_args *a,
                                    void *state, op_stream s)
{
    return run_encoder<Hopper, true, EvenParts>(p, a, (const OwnState *)state, s);
}

enum op_status encoder_own_wide_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                      const struct encoder_args *, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return setup_encoder<HopperWide, true, EvenParts>(p, h, memory, s, state);
}

enum op_status encoder_own_wide_run(const struct encoder_problem *p, const struct encoder_args *a,
                                    void *state, op_stream s)
{
    return run_encoder<HopperWide, true, EvenParts>(p, a, (const OwnState *)state, s);
}

enum op_status encoder_own_lean_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                      const struct encoder_args *, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return setup_encoder<HopperLean, true, WholeParts>(p, h, memory, s, state);
}

enum op_status encoder_own_lean_run(const struct encoder_problem *p, const struct encoder_args *a,
                                    void *state, op_stream s)
{
    return run_encoder<HopperLean, true, WholeParts>(p, a, (const OwnState *)state, s);
}

enum op_status encoder_own_staged_setup(const struct encoder_problem *p,
                                        const struct encoder_host *h, const struct encoder_args *,
                                        const struct op_memory *memory, op_stream s, void **state)
{
    return setup_encoder<HopperLean, true, StagedParts>(p, h, memory, s, state);
}

enum op_status encoder_own_staged_run(const struct encoder_problem *p, const struct encoder_args *a,
                                      void *state, op_stream s)
{
    return run_encoder<HopperLean, true, StagedParts>(p, a, (const OwnState *)state, s);
}

static enum own_form fitting(const struct encoder_problem *p, int multiprocessors)
{
    return own_fitting(p->layer.n, p->layer.group, multiprocessors);
}

enum op_status encoder_own_fit_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                     const struct encoder_args *a, const struct op_memory *memory,
                                     op_stream s, void **state)
{
    int count = 0;
    *state = NULL;
    if (count_multiprocessors(&count) != OP_OK)
        return OP_EDEVICE;
    switch (fitting(p, count)) {
    case OWN_EVEN: return encoder_own_even_setup(p, h, a, memory, s, state);
    case OWN_WIDE: return encoder_own_wide_setup(p, h, a, memory, s, state);
    case OWN_STAGED: return encoder_own_staged_setup(p, h, a, memory, s, state);
    default: return encoder_own_lean_setup(p, h, a, memory, s, state);
    }
}

enum op_status encoder_own_fit_run(const struct encoder_problem *p, const struct encoder_args *a,
                                   void *state, op_stream s)
{
    switch (fitting(p, ((const OwnState *)state)->multiprocessors)) {
    case OWN_EVEN: return encoder_own_even_run(p, a, state, s);
    case OWN_WIDE: return encoder_own_wide_run(p, a, state, s);
    case OWN_STAGED: return encoder_own_staged_run(p, a, state, s);
    default: return encoder_own_lean_run(p, a, state, s);
    }
}

OP_END

/* w4a16.cu - w4a16_small or w4a16_large, by the number of tokens. */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_shapes.h"

struct W4Choice {
    bool small;
    void *state; /* of the one chosen */
};

static enum op_status choose(const struct gemm_problem *p, const struct gemm_args *a,
                             gemm_setup_fn *small, gemm_setup_fn *large, const struct op_memory *m,
                             op_stream s, void **out)
{
    const W4Choice *first = (const W4Choice *)*out;
    W4Choice *choice = (W4Choice *)calloc(1, sizeof *choice);
    if (!choice)
        return OP_ENOMEM;
    enum op_status status = OP_EUNSUPPORTED;
    if (first ? first->small : w4_small_best(p)) {
        choice->small = true;
        choice->state = first ? first->state : NULL;
        status = small(p, a, m, s, &choice->state);
    }
    /* W may have more parts than the small one can count */
    if (status == OP_EUNSUPPORTED && !(first && first->small)) {
        choice->small = false;
        choice->state = first ? first->state : NULL;
        status = large(p, a, m, s, &choice->state);
    }
    if (status != OP_OK) {
        free(choice);
        return status;
    }
    *out = choice;
    return OP_OK;
}

OP_BEGIN
gemm_setup_fn gemm_w4a16_setup, gemm_w4a16_sym_setup;
gemm_setup_fn gemm_w4a16_pdl_setup, gemm_w4a16_pdl_sym_setup;
gemm_run_fn gemm_w4a16;

enum op_status gemm_w4a16_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_small_setup, gemm_w4a16_large_setup, m, s, state);
}

enum op_status gemm_w4a16_sym_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_small_sym_setup, gemm_w4a16_large_sym_setup, m, s, state);
}

enum op_status gemm_w4a16_pdl_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_small_pdl_setup, gemm_w4a16_large_setup, m, s, state);
}

enum op_status gemm_w4a16_pdl_sym_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                        const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_small_pdl_sym_setup, gemm_w4a16_large_sym_setup, m, s,
                  state);
}

enum op_status gemm_w4a16(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                          op_stream s)
{
    const W4Choice *choice = (const W4Choice *)state;
    return (choice->small ? gemm_w4a16_small : gemm_w4a16_large)(p, a, choice->state, s);
}

void gemm_w4a16_teardown(void *state)
{
    W4Choice *choice = (W4Choice *)state;
    if (choice)
        (choice->small ? gemm_w4a16_small_teardown : gemm_w4a16_large_teardown)(choice->state);
    free(choice);
}
OP_END

/* w4a16.cu - w4a16_small, w4a16_large or w4a16_strips, by the number of tokens. */
#include <stdlib.h>

#include "w4a16.h"
#include "w4a16_shapes.h"

enum kind { STRIPS, SMALL, LARGE };

struct W4Choice {
    enum kind kind;
    void *state; /* of the one chosen */
};

static enum kind kind_of(const struct gemm_problem *p, bool overlap)
{
    if (overlap && w4_strips_best(p))
        return STRIPS;
    return w4_small_best(p) ? SMALL : LARGE;
}

/* strips: NULL where launches do not overlap. */
static enum op_status choose(const struct gemm_problem *p, const struct gemm_args *a,
                             gemm_setup_fn *strips, gemm_setup_fn *small, gemm_setup_fn *large,
                             const struct op_memory *m, op_stream s, void **out)
{
    gemm_setup_fn *const setup[] = { strips, small, large };
    const W4Choice *first = (const W4Choice *)*out;
    W4Choice *choice = (W4Choice *)calloc(1, sizeof *choice);
    if (!choice)
        return OP_ENOMEM;
    choice->kind = first ? first->kind : kind_of(p, strips != NULL);
    choice->state = first ? first->state : NULL;
    enum op_status status = setup[choice->kind](p, a, m, s, &choice->state);
    /* W may have more parts than the small one can count */
    if (status == OP_EUNSUPPORTED && !first && choice->kind != LARGE) {
        choice->kind = LARGE;
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
    return choose(p, a, NULL, gemm_w4a16_small_setup, gemm_w4a16_large_setup, m, s, state);
}

enum op_status gemm_w4a16_sym_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, NULL, gemm_w4a16_small_sym_setup, gemm_w4a16_large_sym_setup, m, s, state);
}

enum op_status gemm_w4a16_pdl_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_strips_setup, gemm_w4a16_small_pdl_setup,
                  gemm_w4a16_large_setup, m, s, state);
}

enum op_status gemm_w4a16_pdl_sym_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                        const struct op_memory *m, op_stream s, void **state)
{
    return choose(p, a, gemm_w4a16_strips_sym_setup, gemm_w4a16_small_pdl_sym_setup,
                  gemm_w4a16_large_sym_setup, m, s, state);
}

enum op_status gemm_w4a16(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                          op_stream s)
{
    const W4Choice *choice = (const W4Choice *)state;
    gemm_run_fn *const run[] = { gemm_w4a16_strips, gemm_w4a16_small, gemm_w4a16_large };
    return run[choice->kind](p, a, choice->state, s);
}

void gemm_w4a16_teardown(void *state)
{
    static void (*const teardown[])(void *) = { gemm_w4a16_strips_teardown,
                                                gemm_w4a16_small_teardown,
                                                gemm_w4a16_large_teardown };
    W4Choice *choice = (W4Choice *)state;
    if (choice)
        teardown[choice->kind](choice->state);
    free(choice);
}
OP_END

/* chosen.c - runs the row that a set-up chose. */
#include "chosen.h"

#include <stdlib.h>

struct chosen {
    const struct spmm_impl *impl;
    void *state; /* of impl */
};

enum op_status spmm_chosen_setup(const struct spmm_impl *impl, const struct spmm_problem *p,
                                 const struct spmm_matrix *host, const struct spmm_args *args,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    enum op_status status = OP_OK;
    struct chosen *c = calloc(1, sizeof *c);
    *state = NULL;
    if (!c)
        return OP_ENOMEM;
    c->impl = impl;
    if (impl->setup)
        status = impl->setup(p, host, args, memory, s, &c->state);
    if (status) {
        free(c);
        return status;
    }
    *state = c;
    return OP_OK;
}

void spmm_chosen_teardown(void *state)
{
    struct chosen *c = state;
    if (c && c->impl->teardown)
        c->impl->teardown(c->state);
    free(c);
}

const char *spmm_chosen_name(const void *state)
{
    const struct chosen *c = state;
    return c ? c->impl->base.name : NULL;
}

enum op_status spmm_chosen_run(const struct spmm_problem *p, const struct spmm_args *args,
                               void *state, op_stream s)
{
    const struct chosen *c = state;
    return c->impl->run(p, args, c->state, s);
}

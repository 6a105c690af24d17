/* select.c - evaluates a selector, and the row that runs what it chooses. */
#include "select.h"

#include <stdlib.h>

int spmm_select(const struct spmm_selector *s, const struct spmm_problem *p)
{
    const double x[SPMM_SELECT_FEATURES] = { (double)p->nnz, (double)p->m * p->k, p->row_sd, p->n };
    int i = 0;
    while (s->feature[i] >= 0)
        i = x[s->feature[i]] <= s->threshold[i] ? i + 1 : s->next[i];
    return s->next[i];
}

/* ---- the row ---- */

static const struct spmm_selector *model;

/* What a set-up chose: it holds when another model comes into use. */
struct chosen {
    const struct spmm_impl *impl;
    void *state; /* of impl */
};

void spmm_select_use(const struct spmm_selector *s)
{
    model = s;
}

static const struct spmm_impl *choose(const struct spmm_problem *p)
{
    return model->row[spmm_select(model, p)];
}

enum op_status spmm_select_supports(const struct spmm_problem *p, const char **why)
{
    const struct spmm_impl *impl;
    if (!model) {
        *why = "no model loaded";
        return OP_EUNSUPPORTED;
    }
    impl = choose(p);
    if (impl->supports)
        return impl->supports(p, why);
    if (p->dtype == SPMM_F32)
        return OP_OK;
    *why = "float only";
    return OP_EUNSUPPORTED;
}

enum op_status spmm_select_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                 const struct spmm_args *args, const struct op_memory *memory,
                                 op_stream s, void **state)
{
    enum op_status status = OP_OK;
    struct chosen *c;
    *state = NULL;
    if (!model)
        return OP_EUNSUPPORTED;
    c = calloc(1, sizeof *c);
    if (!c)
        return OP_ENOMEM;
    c->impl = choose(p);
    if (c->impl->setup)
        status = c->impl->setup(p, host, args, memory, s, &c->state);
    if (status) {
        free(c);
        return status;
    }
    *state = c;
    return OP_OK;
}

void spmm_select_teardown(void *state)
{
    struct chosen *c = state;
    if (c && c->impl->teardown)
        c->impl->teardown(c->state);
    free(c);
}

const char *spmm_select_choice(const void *state)
{
    const struct chosen *c = state;
    return c ? c->impl->base.name : NULL;
}

enum op_status spmm_select_run(const struct spmm_problem *p, const struct spmm_args *args,
                               void *state, op_stream s)
{
    const struct chosen *c = state;
    return c->impl->run(p, args, c->state, s);
}

double spmm_select_extra_bytes(const struct spmm_problem *p)
{
    const struct spmm_impl *impl = model ? choose(p) : NULL;
    return impl && impl->extra_bytes ? impl->extra_bytes(p) : 0;
}

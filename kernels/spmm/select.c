/* select.c - evaluates a selector, and the row that runs what it chooses. */
#include "select.h"

#include "chosen.h"

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
    if (p->dtype != SPMM_F16)
        return OP_OK;
    *why = "float only";
    return OP_EUNSUPPORTED;
}

enum op_status spmm_select_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                 const struct spmm_args *args, const struct op_memory *memory,
                                 op_stream s, void **state)
{
    *state = NULL;
    if (!model)
        return OP_EUNSUPPORTED;
    return spmm_chosen_setup(choose(p), p, host, args, memory, s, state);
}

double spmm_select_extra_bytes(const struct spmm_problem *p)
{
    const struct spmm_impl *impl = model ? choose(p) : NULL;
    return impl && impl->extra_bytes ? impl->extra_bytes(p) : 0;
}

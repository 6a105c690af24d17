/* choose.c - traits of a matrix, the model of choose.h, and the row that runs its choice. */
#include "choose.h"

#include <string.h>

#include "chosen.h"

const char *const spmm_trait_names[SPMM_TRAITS + 1] = {
    [SPMM_M] = "m",           [SPMM_K] = "k",           [SPMM_NNZ] = "nnz",
    [SPMM_N] = "n",           [SPMM_MEAN] = "mean",     [SPMM_CV] = "cv",
    [SPMM_MAX] = "max",       [SPMM_EMPTY] = "empty",   [SPMM_LONG] = "long",
    [SPMM_SPREAD] = "spread", [SPMM_NEAR] = "near",     [SPMM_NEXT] = "next",
    [SPMM_SHARED] = "shared", [SPMM_B_BYTES] = "b_bytes", [SPMM_WORK] = "work",
};

static double share_of_long(const struct spmm_problem *p, const int *row_ptr)
{
    const double longest = 8 * p->row_mean > 256 ? 8 * p->row_mean : 256;
    long entries = 0;
    if (p->row_max <= longest)
        return 0;
    for (int i = 0; i < p->m; i++) {
        const int length = row_ptr[i + 1] - row_ptr[i];
        entries += length > longest ? length : 0;
    }
    return (double)entries / (double)p->nnz;
}

void spmm_traits(const struct spmm_problem *p, const struct spmm_matrix *host, double *x)
{
    struct spmm_locality l;
    const double mean = p->row_mean > 0 ? p->row_mean : 1;
    spmm_locality_of(p, host, &l);
    x[SPMM_M] = p->m;
    x[SPMM_K] = p->k;
    x[SPMM_NNZ] = (double)p->nnz;
    x[SPMM_N] = p->n;
    x[SPMM_MEAN] = p->row_mean;
    x[SPMM_CV] = p->row_sd / mean;
    x[SPMM_MAX] = p->row_max / mean;
    x[SPMM_EMPTY] = (double)p->empty_rows / p->m;
    x[SPMM_LONG] = share_of_long(p, host->row_ptr);
    x[SPMM_SPREAD] = l.spread;
    x[SPMM_NEAR] = l.near;
    x[SPMM_NEXT] = l.next;
    x[SPMM_SHARED] = l.shared;
    x[SPMM_B_BYTES] = 4.0 * p->k * p->n;
    x[SPMM_WORK] = (double)p->nnz * p->n;
}

/* ---- the model ---- */

static const double NONE = 1e30; /* predicted for a row that cannot run */

int spmm_choosable(const struct spmm_impl *i, const struct spmm_problem *p)
{
    const char *why;
    if (!i->run || p->dtype == SPMM_F16)
        return 0;
    return !i->supports || i->supports(p, &why) == OP_OK;
}

/* Sum over the trees of the row. */
double spmm_choose_predict(const struct spmm_chooser *c, int r, const float *x)
{
    double sum = 0;
    for (int t = c->first[r]; t < c->first[r + 1]; t++) {
        const struct spmm_choice_node *at = c->node + c->tree[t];
        for (int step = 0; step < c->depth; step++)
            at += x[at->trait] <= at->number ? at->left : at->right;
        sum += at->number;
    }
    return sum;
}

/* Index of the least; -1: none is below NONE. */
static int least(const double *predicted, int rows)
{
    double most = NONE;
    int best = -1;
    for (int r = 0; r < rows; r++)
        if (predicted[r] < most) {
            most = predicted[r];
            best = r;
        }
    return best;
}

int spmm_choose(const struct spmm_chooser *c, const struct spmm_problem *p, const double *x,
                double *predicted)
{
    float f[SPMM_TRAITS];
    double mine[SPMM_CHOOSE_ROWS], *of = predicted ? predicted : mine;
    for (int i = 0; i < SPMM_TRAITS; i++)
        f[i] = (float)x[i];
    for (int r = 0; r < c->rows; r++)
        of[r] = spmm_choosable(c->row[r], p) ? spmm_choose_predict(c, r, f) : NONE;
    return least(of, c->rows);
}

/* ---- the rows ---- */

static const struct spmm_chooser *model;

void spmm_choose_use(const struct spmm_chooser *c)
{
    model = c;
}

enum op_status spmm_choose_supports(const struct spmm_problem *p, const char **why)
{
    if (!model) {
        *why = "no model loaded";
        return OP_EUNSUPPORTED;
    }
    for (int r = 0; r < model->rows; r++)
        if (spmm_choosable(model->row[r], p))
            return OP_OK;
    *why = "no row of the model covers it";
    return OP_EUNSUPPORTED;
}

/* Of the rows whose names begin so, the `most` least that are not taken yet; returns how many rows
 * are in out. */
static int take_least(double *predicted, const char *begin, int most, const struct spmm_impl **out,
                      int count)
{
    double of[SPMM_CHOOSE_ROWS];
    for (int r = 0; r < model->rows; r++)
        of[r] = strncmp(model->row[r]->base.name, begin, strlen(begin)) ? NONE : predicted[r];
    for (int i = 0; i < most; i++) {
        const int row = least(of, model->rows);
        if (row < 0)
            break;
        out[count++] = model->row[row];
        of[row] = predicted[row] = NONE;
    }
    return count;
}

int spmm_choose_few(const struct spmm_problem *p, const struct spmm_matrix *host,
                    const struct spmm_impl **out)
{
    double x[SPMM_TRAITS], predicted[SPMM_CHOOSE_ROWS];
    const struct spmm_impl *stage = spmm_find("own_stage");
    int count = 0;
    if (!model)
        return 0;
    spmm_traits(p, host, x);
    spmm_choose(model, p, x, predicted);
    count = take_least(predicted, "", 3, out, count);
    count = take_least(predicted, "cusparse_", 2, out, count);
    for (int i = 0; stage && i < count; i++)
        if (out[i] == stage)
            stage = NULL;
    if (stage && spmm_choosable(stage, p))
        out[count++] = stage;
    return count;
}

enum op_status spmm_choose_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                 const struct spmm_args *args, const struct op_memory *memory,
                                 op_stream s, void **state)
{
    double x[SPMM_TRAITS], predicted[SPMM_CHOOSE_ROWS];
    enum op_status status = OP_EUNSUPPORTED;
    int row;
    *state = NULL;
    if (!model)
        return OP_EUNSUPPORTED;
    spmm_traits(p, host, x);
    row = spmm_choose(model, p, x, predicted);
    /* some rows know only from the matrix whether they cover it: then the next best */
    while (row >= 0 && status == OP_EUNSUPPORTED) {
        status = spmm_chosen_setup(model->row[row], p, host, args, memory, s, state);
        predicted[row] = NONE;
        row = least(predicted, model->rows);
    }
    return status;
}

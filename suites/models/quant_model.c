/* quant_model.c - see quant_model.h. */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "quant_work.h"

float quant_as_half(float x)
{
    return half_to_float(half_from_float(x));
}

float *quant_room(size_t n)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    if (!p)
        cb_error("no memory for %zu numbers", n);
    return p;
}

struct llama_linear *quant_linear(struct work *w, int layer, enum checkpoint_slot slot)
{
    return &w->q->model.layer[layer].linear[slot];
}

int quant_set(struct work *w, int layer, enum fold_set set, struct quant_matrix *out)
{
    for (int i = 0; i < folds[set].slots; i++) {
        struct llama_linear *l = quant_linear(w, layer, folds[set].slot[i]);
        out[i] = (struct quant_matrix){ llama_dense(l), l->n, l->k };
        if (!out[i].w)
            return -1;
    }
    return 0;
}

int quant_set_width(struct work *w, int layer, enum fold_set set)
{
    return quant_linear(w, layer, folds[set].slot[0])->k;
}

int quant_each_layer(struct work *w, int (*act)(struct work *, int layer))
{
    int status = calibration_begin(&w->q->model, w->tokens, &w->c);
    for (int i = 0; !status && i < w->q->model.config.layers; i++)
        status = act(w, i);
    calibration_end(&w->c);
    return status;
}

int quantised_open(const struct checkpoint *c, const struct quant_recipe *r,
                   const struct quant_options *o, const struct token_set *t,
                   struct quantised **out)
{
    struct quantised *q = calloc(1, sizeof *q);
    struct work w = { .q = q, .r = r, .o = o, .tokens = t };
    *out = NULL;
    if (!q)
        return cb_error("no memory for a model");
    q->ratio = NAN;
    int status = llama_open(c, true, &q->model);
    q->model.machine = o->machine;
    if (!status && o->outlier_factor > 0 && fabs(o->outlier_factor - 1) > 0)
        status = fold_outliers(&q->model, o->outlier_share, o->outlier_factor, o->outlier_kv,
                               o->outlier_seed);
    if (!status && (r->flags & QUANT_WEIGHTS))
        status = r->integer ? quantise_integers(&w) : quantise_weights(&w);
    if (status) {
        quantised_close(q);
        return -1;
    }
    *out = q;
    return 0;
}

void quantised_close(struct quantised *q)
{
    if (!q)
        return;
    llama_close(&q->model);
    for (int i = 0; i < q->integers; i++)
        int_linear_free(q->integer[i]);
    free(q->integer);
    free(q);
}


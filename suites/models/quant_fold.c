/* quant_fold.c - see quant_fold.h. */
#include "quant_fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "quant.h"

const struct fold folds[FOLD_SETS] = {
    [FOLD_QKV] = { SLOT_Q, { SLOT_Q, SLOT_K, SLOT_V }, 3 },
    [FOLD_O] = { SLOT_O, { SLOT_O }, 1 },
    [FOLD_FFN] = { SLOT_GATE, { SLOT_GATE, SLOT_UP }, 2 },
    [FOLD_DOWN] = { SLOT_DOWN, { SLOT_DOWN }, 1 },
};

bool fold_possible(const struct llama_config *c, enum fold_set set)
{
    return set != FOLD_O || c->heads == c->kv_heads;
}

/* Rows of a matrix and its bias times (or divided by) factor [n]. */
static int scale_rows(struct llama_linear *l, const float *factor, bool divide)
{
    float *w = llama_dense(l);
    if (!w)
        return -1;
    for (int j = 0; j < l->n; j++) {
        const float f = divide ? 1 / factor[j] : factor[j];
        for (int p = 0; p < l->k; p++)
            w[(size_t)j * (size_t)l->k + (size_t)p] *= f;
        if (l->bias)
            l->bias[j] *= f;
    }
    return 0;
}

int fold_scale(struct llama *m, int layer, enum fold_set set, const float *scale)
{
    const struct llama_config *c = &m->config;
    struct llama_layer *l = &m->layer[layer];
    for (int i = 0; i < folds[set].slots; i++) {
        struct llama_linear *linear = &l->linear[folds[set].slot[i]];
        float *w = llama_dense(linear);
        if (!w)
            return -1;
        quant_scale_columns(w, linear->n, linear->k, scale, false);
    }
    if (set == FOLD_DOWN)
        return scale_rows(&l->linear[SLOT_UP], scale, true);
    if (set == FOLD_O) { /* row j of V feeds the same element of each of its query heads */
        const int share = c->heads / c->kv_heads, size = c->head_dim;
        float *rows = malloc((size_t)c->kv_heads * (size_t)size * sizeof *rows);
        if (!rows)
            return cb_error("no memory for scales");
        for (int j = 0; j < c->kv_heads * size; j++)
            rows[j] = scale[j / size * share * size + j % size];
        const int status = scale_rows(&l->linear[SLOT_V], rows, true);
        free(rows);
        return status;
    }
    float *gain = set == FOLD_QKV ? l->attn_norm : l->ffn_norm;
    for (int p = 0; p < c->dim; p++)
        gain[p] /= scale[p];
    return 0;
}

void fold_pair(const struct llama_config *c, int p, int *a, int *b)
{
    *a = c->rope_halves ? p : 2 * p;
    *b = c->rope_halves ? p + c->head_dim / 2 : 2 * p + 1;
}

int fold_keys(struct llama *m, int layer, const float *lambda)
{
    const struct llama_config *c = &m->config;
    const int share = c->heads / c->kv_heads, size = c->head_dim;
    float *rows = malloc((size_t)c->heads * (size_t)size * sizeof *rows);
    if (!rows)
        return cb_error("no memory for scales");
    for (int j = 0; j < c->heads * size; j++)
        rows[j] = lambda[j / size / share * size + j % size];
    const int status = scale_rows(&m->layer[layer].linear[SLOT_Q], rows, false) ||
                               scale_rows(&m->layer[layer].linear[SLOT_K], lambda, true)
                           ? -1
                           : 0;
    free(rows);
    return status;
}

/* ---- rotation ---- */

/* Into the matrices behind a gain, which becomes 1; and their inputs turned. */
static int turn_inputs(struct llama_linear *l, const float *gain, unsigned long seed)
{
    float *w = llama_dense(l);
    if (!w)
        return -1;
    quant_scale_columns(w, l->n, l->k, gain, false);
    qoq_rotate(w, l->n, l->k, seed);
    return 0;
}

static int turn_outputs(struct llama_linear *l, unsigned long seed)
{
    const size_t n = (size_t)l->n, k = (size_t)l->k;
    float *w = llama_dense(l), *t = malloc(n * k * sizeof *t);
    if (!w || !t) {
        free(t);
        return w ? cb_error("no memory for %d x %d weights", l->n, l->k) : -1;
    }
    for (size_t j = 0; j < n; j++)
        for (size_t p = 0; p < k; p++)
            t[p * n + j] = w[j * k + p];
    qoq_rotate(t, l->k, l->n, seed);
    for (size_t j = 0; j < n; j++)
        for (size_t p = 0; p < k; p++)
            w[j * k + p] = t[p * n + j];
    free(t);
    return 0;
}

static void set_to_one(float *gain, int n)
{
    for (int i = 0; i < n; i++)
        gain[i] = 1;
}

int fold_rotation(struct llama *m, unsigned long seed)
{
    const struct llama_config *c = &m->config;
    const size_t count = (size_t)c->vocab * (size_t)c->dim;
    if (!m->embedding) {
        if (!(m->embedding = malloc(count * sizeof *m->embedding)))
            return cb_error("no memory for the embedding");
        tensor_rows(&m->checkpoint->embedding, 0, c->vocab, m->embedding);
    }
    qoq_rotate(m->embedding, c->vocab, c->dim, seed);
    for (int i = 0; i < c->layers; i++) {
        struct llama_layer *l = &m->layer[i];
        if (turn_inputs(&l->linear[SLOT_Q], l->attn_norm, seed) ||
            turn_inputs(&l->linear[SLOT_K], l->attn_norm, seed) ||
            turn_inputs(&l->linear[SLOT_V], l->attn_norm, seed) ||
            turn_inputs(&l->linear[SLOT_GATE], l->ffn_norm, seed) ||
            turn_inputs(&l->linear[SLOT_UP], l->ffn_norm, seed) ||
            turn_outputs(&l->linear[SLOT_O], seed) || turn_outputs(&l->linear[SLOT_DOWN], seed))
            return -1;
        set_to_one(l->attn_norm, c->dim);
        set_to_one(l->ffn_norm, c->dim);
    }
    if (turn_inputs(&m->output, m->norm, seed))
        return -1;
    set_to_one(m->norm, c->dim);
    return 0;
}

/* ---- outliers ---- */

/* 1 / factor for a share of count channels drawn at random, else 1. */
static int draw(int count, double share, double factor, unsigned long seed, float *scale)
{
    const struct quant_matrix none = { NULL, 0, count };
    bool *marked = malloc((size_t)count * sizeof *marked);
    int status = marked ? quant_mark(&none, 1, NULL, share, QUANT_BY_CHANCE, seed, marked)
                        : cb_error("no memory for %d channels", count);
    for (int p = 0; !status && p < count; p++)
        scale[p] = marked[p] ? (float)(1 / factor) : 1;
    free(marked);
    return status;
}

/* Of keys whole pairs, of values single rows, both per kv head. */
static int plant_kv(struct llama *m, int layer, double share, double factor, unsigned long seed,
                    float *scale, float *wide)
{
    const struct llama_config *c = &m->config;
    const int size = c->head_dim, pairs = c->kv_heads * size / 2, group = c->heads / c->kv_heads;
    if (draw(pairs, share, factor, seed, scale))
        return -1;
    for (int i = 0; i < pairs; i++) {
        int a, b;
        fold_pair(c, i % (size / 2), &a, &b);
        wide[i / (size / 2) * size + a] = wide[i / (size / 2) * size + b] = scale[i];
    }
    if (fold_keys(m, layer, wide) || draw(c->kv_heads * size, share, factor, seed + 1, scale))
        return -1;
    for (int j = 0; j < c->heads * size; j++)
        wide[j] = scale[j / size / group * size + j % size];
    return fold_scale(m, layer, FOLD_O, wide);
}

int fold_outliers(struct llama *m, double share, double factor, bool kv, unsigned long seed)
{
    const struct llama_config *c = &m->config;
    int most = c->dim > c->hidden ? c->dim : c->hidden, status = 0;
    if (c->heads * c->head_dim > most)
        most = c->heads * c->head_dim;
    float *scale = malloc(2 * (size_t)most * sizeof *scale);
    if (!scale)
        return cb_error("no memory for scales");
    for (int i = 0; !status && i < c->layers; i++) {
        const unsigned long own = seed + 8ul * (unsigned long)i;
        status = draw(c->dim, share, factor, own, scale) || fold_scale(m, i, FOLD_QKV, scale) ||
                         draw(c->dim, share, factor, own + 1, scale) ||
                         fold_scale(m, i, FOLD_FFN, scale) ||
                         draw(c->hidden, share, factor, own + 2, scale) ||
                         fold_scale(m, i, FOLD_DOWN, scale) ||
                         (kv && plant_kv(m, i, share, factor, own + 3, scale, scale + most))
                     ? -1
                     : 0;
    }
    free(scale);
    return status;
}

/* quant_integer.c - recipes that multiply integers: smoothing and rotation first, then codes
 * in the place of the weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "quant_work.h"

/* ---- smoothing ---- */

/* scale = max|x|^alpha / max|w|^(1-alpha), never 0. */
static int smooth_set(struct work *w, int layer, enum fold_set set, const float *x, int rows,
                      double alpha)
{
    const struct llama_config *c = &w->q->model.config;
    struct quant_matrix m[3];
    const int k = quant_set_width(w, layer, set);
    float *most = quant_room((size_t)k), *weight = quant_room((size_t)k);
    float *one = quant_room((size_t)k);
    int status = most && weight && one ? quant_set(w, layer, set, m) : -1;
    if (!status) {
        quant_max_abs(x, rows, k, most);
        memset(weight, 0, (size_t)k * sizeof *weight);
        for (int i = 0; i < folds[set].slots; i++) {
            quant_max_abs(m[i].w, m[i].n, k, one);
            for (int p = 0; p < k; p++)
                weight[p] = fmaxf(weight[p], one[p]);
        }
        if (set == FOLD_O) { /* query heads of a kv head share their scales */
            const int share = c->heads / c->kv_heads, size = c->head_dim;
            for (int p = 0; p < k; p++) {
                const int first = p / size / share * share * size + p % size;
                for (int h = 0; h < share; h++) { /* the first has all, the others its */
                    most[p] = fmaxf(most[p], most[first + h * size]);
                    weight[p] = fmaxf(weight[p], weight[first + h * size]);
                }
            }
        }
        for (int p = 0; p < k; p++)
            one[p] = fmaxf(powf(fmaxf(most[p], 1e-5f), (float)alpha) /
                               powf(fmaxf(weight[p], 1e-5f), (float)(1 - alpha)),
                           1e-4f);
        status = fold_scale(&w->q->model, layer, set, one);
    }
    free(most);
    free(weight);
    free(one);
    return status;
}

static int smooth_keys(struct work *w, int layer, const float *keys, int rows)
{
    const struct llama_config *c = &w->q->model.config;
    const int width = c->kv_heads * c->head_dim;
    float *most = quant_room((size_t)width);
    if (!most)
        return -1;
    quant_max_abs(keys, rows, width, most);
    for (int h = 0; h < c->kv_heads; h++)
        for (int p = 0; p < c->head_dim / 2; p++) {
            float *head = most + (size_t)h * (size_t)c->head_dim;
            int a, b;
            fold_pair(c, p, &a, &b);
            head[a] = head[b] = sqrtf(fmaxf(fmaxf(head[a], head[b]), 1e-4f));
        }
    const int status = fold_keys(&w->q->model, layer, most);
    free(most);
    return status;
}

static int smooth_layer(struct work *w, int layer)
{
    struct layer_inputs in;
    const unsigned f = w->r->flags;
    if (calibration_inputs(&w->c, layer, true, &in))
        return -1;
    int status = 0;
    if (f & QUANT_SMOOTH)
        status = smooth_set(w, layer, FOLD_QKV, in.x[SLOT_Q], in.rows, 0.5) ||
                         smooth_set(w, layer, FOLD_FFN, in.x[SLOT_GATE], in.rows, 0.5)
                     ? -1
                     : 0;
    if (!status && (f & QUANT_SMOOTH_OUT))
        status = smooth_set(w, layer, FOLD_O, in.x[SLOT_O], in.rows, 0.05) ||
                         smooth_set(w, layer, FOLD_DOWN, in.x[SLOT_DOWN], in.rows, 0.05)
                     ? -1
                     : 0;
    if (!status && (f & QUANT_SMOOTH_KEYS))
        status = smooth_keys(w, layer, in.x[SLOT_K], in.rows);
    layer_inputs_free(&in);
    return status;
}

/* ---- codes ---- */

/* A row or group with one scale, whose half is what multiplies. */
static void code_part(const struct quant_grid *g, const float *w, const int *order, int count,
                      short *code, float *scale, float *offset, float *scratch)
{
    for (int p = 0; p < count; p++)
        scratch[p] = w[order ? order[p] : p];
    struct quant_step s = quant_fit(g, scratch, count);
    s.scale = quant_as_half(s.scale) > 0 ? quant_as_half(s.scale) : s.scale;
    for (int p = 0; p < count; p++)
        code[p] = (short)quant_code(&s, scratch[p]);
    *scale = s.scale;
    if (offset)
        *offset = quant_as_half((float)s.zero * s.scale);
}

static int code_progressive(const float *w, const struct quant_options *o, const int *order,
                            struct int_linear *l)
{
    signed char *out = malloc((size_t)l->n * (size_t)l->k);
    int status = out ? qoq_progressive(w, l->n, l->k, o->grid.group, order, out, l->scale)
                     : cb_error("no memory for %d x %d codes", l->n, l->k);
    for (size_t i = 0; !status && i < (size_t)l->n * (size_t)l->k; i++)
        l->code[i] = out[i];
    for (int j = 0; !status && j < l->n; j++)
        l->scale[j] = quant_as_half(l->scale[j]);
    free(out);
    return status;
}

/* Groups in the given order, the first of them 4 % of the channels in INT8. */
static struct int_linear *code_groups(const float *w, int n, int k, const struct quant_options *o,
                                      int act_bits, const int *order)
{
    const int size = o->grid.group > 0 ? o->grid.group : k;
    const int wide = lrint(0.04 * k) < 1 ? 1 : (int)lrint(0.04 * k);
    const int groups = 1 + (k - wide + size - 1) / size;
    struct int_linear *l = int_linear_new(n, k, groups, act_bits, false, true);
    float *scratch = quant_room((size_t)k);
    if (!l || !scratch) {
        int_linear_free(l);
        free(scratch);
        return NULL;
    }
    memcpy(l->order, order, (size_t)k * sizeof *order);
    l->act_bits[0] = 8;
    for (int g = 1; g < groups; g++)
        l->start[g] = wide + (g - 1) * size;
    for (int j = 0; j < n; j++)
        for (int g = 0; g < groups; g++) {
            const struct quant_grid grid = { g ? 4 : 8, 0, QUANT_SYMMETRIC };
            code_part(&grid, w + (size_t)j * (size_t)k, order + l->start[g],
                      l->start[g + 1] - l->start[g],
                      l->code + (size_t)j * (size_t)k + (size_t)l->start[g],
                      &l->scale[(size_t)j * (size_t)groups + (size_t)g], NULL, scratch);
        }
    free(scratch);
    return l;
}

static struct int_linear *code_rows(const float *w, int n, int k, enum quant_integer kind,
                                    int act_bits)
{
    const bool zero = kind == QUANT_W4;
    const struct quant_grid grid = { kind == QUANT_W8 ? 8 : 4, 0,
                                     zero ? QUANT_MIN_MAX : QUANT_SYMMETRIC };
    struct int_linear *l = int_linear_new(n, k, 1, act_bits, zero, false);
    float *scratch = quant_room((size_t)k);
    for (int j = 0; l && scratch && j < n; j++)
        code_part(&grid, w + (size_t)j * (size_t)k, NULL, k, l->code + (size_t)j * (size_t)k,
                  &l->scale[j], zero ? &l->offset[j] : NULL, scratch);
    if (!scratch) {
        int_linear_free(l);
        l = NULL;
    }
    free(scratch);
    return l;
}

struct channel {
    float most;
    int at;
};

static int descending(const void *a, const void *b)
{
    const struct channel *x = a, *y = b;
    return x->most != y->most ? (x->most < y->most) - (x->most > y->most) : x->at - y->at;
}

static int by_input(const float *x, int rows, int k, int *order)
{
    struct channel *c = malloc((size_t)k * sizeof *c);
    float *most = quant_room((size_t)k);
    if (c && most) {
        quant_max_abs(x, rows, k, most);
        for (int p = 0; p < k; p++)
            c[p] = (struct channel){ most[p], p };
        qsort(c, (size_t)k, sizeof *c, descending);
        for (int p = 0; p < k; p++)
            order[p] = c[p].at;
    }
    const bool done = c && most;
    free(c);
    free(most);
    return done ? 0 : cb_error("no memory for %d channels", k);
}

/* One matrix into integers, which take its place in the model. */
static int to_integers(struct work *w, struct llama_linear *l, enum checkpoint_slot slot,
                       const int *order, const float *h, bool turn)
{
    const struct quant_recipe *r = w->r;
    const bool progressive = r->integer == QUANT_PROGRESSIVE;
    const struct quant_grid grid = { 4, progressive ? w->o->grid.group : 0, QUANT_MIN_MAX };
    float *weight = llama_dense(l);
    struct int_linear *codes = NULL;
    if (!weight)
        return -1;
    if (turn)
        qoq_rotate(weight, l->n, l->k, w->o->seed);
    /* what Q and K do shows behind the softmax only, so their own output is no judge */
    if ((r->flags & QUANT_QOQ_CLIP) && slot != SLOT_Q && slot != SLOT_K &&
        qoq_clip(&grid, progressive, order, h, weight, l->n, l->k))
        return -1;
    if (progressive) {
        codes = int_linear_new(l->n, l->k, 1, r->act_bits, false, false);
        if (codes && code_progressive(weight, w->o, order, codes)) {
            int_linear_free(codes);
            codes = NULL;
        }
    } else if (r->integer == QUANT_W4_GROUPS) {
        codes = code_groups(weight, l->n, l->k, w->o, r->act_bits, order);
    } else {
        codes = code_rows(weight, l->n, l->k, r->integer, r->act_bits);
    }
    if (!codes)
        return -1;
    codes->rotate = turn;
    codes->seed = w->o->seed;
    w->q->integer[w->q->integers++] = codes;
    l->apply = int_linear_apply;
    l->context = codes;
    return 0;
}

static int integer_layer(struct work *w, int layer)
{
    struct layer_inputs in;
    int status = calibration_inputs(&w->c, layer, true, &in);
    if (status)
        return -1;
    for (int s = 0; !status && s < FOLD_SETS; s++) {
        const int k = quant_set_width(w, layer, s);
        float *x = in.x[folds[s].input];
        const bool turn = (w->r->flags & QUANT_ROTATE_INSIDE) && (s == FOLD_O || s == FOLD_DOWN);
        const bool sorted = (w->r->flags & QUANT_QOQ_ORDER) || w->r->integer == QUANT_W4_GROUPS;
        int *order = malloc((size_t)k * sizeof *order);
        float *h = quant_room((size_t)k * (size_t)k);
        status = order && h ? 0 : cb_error("no memory for %d channels", k);
        if (!status && turn)
            qoq_rotate(x, in.rows, k, w->o->seed);
        if (!status && (by_input(x, in.rows, k, order) || quant_gram(x, in.rows, k, h)))
            status = -1;
        for (int i = 0; !status && i < folds[s].slots; i++)
            status = to_integers(w, quant_linear(w, layer, folds[s].slot[i]), folds[s].slot[i],
                                 sorted ? order : NULL, h, turn);
        free(order);
        free(h);
    }
    layer_inputs_free(&in);
    return status;
}

int quantise_integers(struct work *w)
{
    struct quantised *q = w->q;
    const unsigned f = w->r->flags;
    q->integer = calloc((size_t)q->model.config.layers * LINEARS, sizeof *q->integer);
    if (!q->integer)
        return cb_error("no memory for %d layers", q->model.config.layers);
    if ((f & QUANT_ROTATE) && fold_rotation(&q->model, w->o->seed))
        return -1;
    if ((f & (QUANT_SMOOTH | QUANT_SMOOTH_KEYS | QUANT_SMOOTH_OUT)) &&
        quant_each_layer(w, smooth_layer))
        return -1;
    if (quant_each_layer(w, integer_layer))
        return -1;
    if (w->r->kv_bits) {
        q->kv = (struct kv_rounding){ &q->model.config, w->r->kv_bits,
                                      (f & QUANT_ROTATE_INSIDE) != 0 };
        q->model.after_rope = kv_after_rope;
        q->model.context = &q->kv;
    }
    return 0;
}

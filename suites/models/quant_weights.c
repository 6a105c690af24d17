/* quant_weights.c - recipes that round the weights of a model: RTN, GPTQ, AWQ, channels
 * treated apart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "quant_work.h"

static const enum checkpoint_slot linears[] = { SLOT_Q,    SLOT_K,  SLOT_V,   SLOT_O,
                                                SLOT_GATE, SLOT_UP, SLOT_DOWN };

/* ---- what a scale search looks at ---- */

/* Output of attention or of the feed-forward part. */
struct module_loss {
    struct work *w;
    int layer;
    int (*run)(struct llama_state *, int layer, const float *h, int n, float *y);
    const float *x;
    float *want;   /* [rows][dim] */
    double *apart; /* [sequences] sum of squared differences; NULL: want is written */
};

static int run_module(void *context, struct llama_state *s, int sequence)
{
    const struct module_loss *m = context;
    const int length = m->w->tokens->length;
    const size_t row = (size_t)length * (size_t)m->w->q->model.config.dim;
    const size_t at = (size_t)sequence * row;
    float *y = m->apart ? quant_room(row) : m->want + at;
    int status = y ? m->run(s, m->layer, m->x + at, length, y) : -1;
    double sum = 0;
    if (!m->apart)
        return status;
    for (size_t j = 0; !status && j < row; j++)
        sum += (double)(m->want[at + j] - y[j]) * (double)(m->want[at + j] - y[j]);
    m->apart[sequence] = sum;
    free(y);
    return status;
}

static int of_module(void *context, double *loss)
{
    struct module_loss *m = context;
    const struct token_set *t = m->w->tokens;
    if (llama_refresh(&m->w->q->model, m->layer) || calibration_each(&m->w->c, run_module, m))
        return -1;
    *loss = 0;
    for (int i = 0; i < t->count; i++)
        *loss += m->apart[i];
    *loss /= (double)t->count * t->length * m->w->q->model.config.dim;
    return 0;
}

/* Outputs of the matrices themselves. */
struct linear_loss {
    struct quant_matrix set[3];
    const float *before[3]; /* copies of the weights */
    float *h, *e;
    int count;
};

static int of_linear(void *context, double *loss)
{
    struct linear_loss *l = context;
    double sum = 0, channels = 0;
    for (int i = 0; i < l->count; i++) {
        const size_t size = (size_t)l->set[i].n * (size_t)l->set[i].k;
        double one;
        for (size_t j = 0; j < size; j++)
            l->e[j] = l->set[i].w[j] - l->before[i][j];
        if (quant_energy(l->e, l->set[i].n, l->set[i].k, l->h, &one, NULL))
            return -1;
        sum += one;
        channels += l->set[i].n;
    }
    *loss = sum / channels;
    return 0;
}

static int search_module(struct work *w, int layer, enum fold_set set,
                         const struct quant_matrix *m, const float *x, const double *mean,
                         float *scale, double *ratio)
{
    const size_t rows = (size_t)w->tokens->length * (size_t)w->tokens->count;
    struct module_loss loss = { .w = w, .layer = layer, .x = x,
                                .run = set == FOLD_QKV ? llama_run_attention : llama_run_ffn };
    double *apart = malloc((size_t)w->tokens->count * sizeof *apart);
    loss.want = quant_room(rows * (size_t)w->q->model.config.dim);
    int status = loss.want && apart ? llama_refresh(&w->q->model, layer)
                                    : cb_error("no memory for the output of a module");
    if (!status)
        status = calibration_each(&w->c, run_module, &loss);
    loss.apart = apart;
    if (!status)
        status = awq_search(&w->o->grid, m, folds[set].slots, mean, of_module, &loss, scale, ratio);
    free(loss.want);
    free(apart);
    return status;
}

static int search_linear(struct work *w, enum fold_set set, const struct quant_matrix *m,
                         const float *x, int rows, const double *mean, float *scale,
                         double *ratio)
{
    const int count = folds[set].slots, k = m[0].k;
    struct linear_loss loss = { .count = count };
    float *copy[3] = { NULL };
    size_t most = 0;
    int status = 0;
    for (int i = 0; !status && i < count; i++) {
        const size_t size = (size_t)m[i].n * (size_t)k;
        most = size > most ? size : most;
        loss.set[i] = m[i];
        loss.before[i] = copy[i] = quant_room(size);
        if (copy[i])
            memcpy(copy[i], m[i].w, size * sizeof(float));
        else
            status = -1;
    }
    loss.h = quant_room((size_t)k * (size_t)k);
    loss.e = quant_room(most);
    if (!loss.h || !loss.e)
        status = -1;
    if (!status)
        status = quant_gram(x, rows, k, loss.h) ||
                         awq_search(&w->o->grid, m, count, mean, of_linear, &loss, scale, ratio)
                     ? -1
                     : 0;
    for (int i = 0; i < count; i++)
        free(copy[i]);
    free(loss.h);
    free(loss.e);
    return status;
}

/* ---- AWQ ---- */

static int divide_rows(float *x, int rows, int k, const float *scale)
{
    quant_scale_columns(x, rows, k, scale, true);
    return 0;
}

/* Scales of the sets of one layer, searched on its unscaled inputs, then applied all.
 * Scales that nothing before can absorb stay with the inputs of O: the weights are
 * scaled, rounded and scaled back, which is the same product. */
static int awq_scales(struct work *w, int layer, struct layer_inputs *in, float *held)
{
    const bool linear = w->r->flags & QUANT_LINEAR_LOSS;
    float *scale[FOLD_SETS] = { NULL };
    int status = 0;
    for (int s = 0; !status && s < FOLD_SETS; s++) {
        struct quant_matrix m[3];
        const int k = quant_set_width(w, layer, s);
        const float *x = in->x[folds[s].input];
        double *mean, ratio = 0;
        if (!fold_possible(&w->q->model.config, s) && !linear)
            continue;
        mean = malloc((size_t)k * sizeof *mean);
        scale[s] = quant_room((size_t)k);
        status = mean && scale[s] ? quant_set(w, layer, s, m) : cb_error("no memory for scales");
        double *known = w->o->ratios ? &w->o->ratios[layer * FOLD_SETS + s] : &ratio;
        const bool search = !w->o->ratios || isnan(*known);
        if (!status) {
            quant_mean_abs(x, in->rows, k, mean);
            if (!search)
                awq_scale(mean, k, *known, scale[s]);
            else if (!linear && (s == FOLD_QKV || s == FOLD_FFN))
                status = search_module(w, layer, s, m, x, mean, scale[s], known);
            else
                status = search_linear(w, s, m, x, in->rows, mean, scale[s], known);
            ratio = *known;
        }
        w->ratios += ratio;
        w->searches++;
        free(mean);
    }
    for (int s = 0; !status && s < FOLD_SETS; s++) {
        if (!scale[s])
            continue;
        const int k = quant_set_width(w, layer, s);
        if (fold_possible(&w->q->model.config, s)) {
            status = fold_scale(&w->q->model, layer, s, scale[s]);
        } else {
            struct llama_linear *l = quant_linear(w, layer, SLOT_O);
            memcpy(held, scale[s], (size_t)k * sizeof *held);
            quant_scale_columns(llama_dense(l), l->n, l->k, held, false);
        }
        if (!status)
            status = divide_rows(in->x[folds[s].input], in->rows, k, scale[s]);
    }
    for (int s = 0; s < FOLD_SETS; s++)
        free(scale[s]);
    return status;
}

static int awq_layer(struct work *w, int layer)
{
    struct layer_inputs in;
    const bool gptq = w->r->flags & QUANT_GPTQ; /* which clips and rounds in its turn */
    const int k = quant_set_width(w, layer, FOLD_O);
    float *held = quant_room((size_t)k);
    int status = held ? calibration_inputs(&w->c, layer, true, &in) : -1;
    if (status) {
        free(held);
        return -1;
    }
    for (int p = 0; p < k; p++)
        held[p] = 1;
    status = awq_scales(w, layer, &in, held);
    for (int s = 0; !status && s < FOLD_SETS; s++)
        for (int i = 0; !status && i < folds[s].slots; i++) {
            const enum checkpoint_slot slot = folds[s].slot[i];
            struct llama_linear *l = quant_linear(w, layer, slot);
            float *weight = llama_dense(l);
            if (!weight)
                status = -1;
            else if ((w->r->flags & QUANT_AWQ_CLIP) && !gptq && slot != SLOT_Q && slot != SLOT_K)
                status = awq_clip(&w->o->grid, weight, l->n, l->k, in.x[folds[s].input], in.rows);
            if (!status && !gptq)
                quant_round(&w->o->grid, weight, l->n, l->k);
        }
    if (!status) {
        struct llama_linear *l = quant_linear(w, layer, SLOT_O);
        quant_scale_columns(llama_dense(l), l->n, l->k, held, true);
    }
    free(held);
    layer_inputs_free(&in);
    return status;
}

/* ---- GPTQ, and round to nearest with some channels treated apart ---- */

static int gptq_layer(struct work *w, int layer)
{
    const unsigned how = (w->r->flags & QUANT_GPTQ_ORDER ? QUANT_REORDERED : 0) |
                         (w->r->flags & QUANT_AWQ_CLIP ? QUANT_CLIPPED : 0);
    int status = 0;
    for (int s = 0; !status && s < FOLD_SETS; s++) {
        struct quant_matrix m[3];
        const int k = quant_set_width(w, layer, s);
        float *h = quant_room((size_t)k * (size_t)k);
        status = h ? 0 : -1;
        if (!status)
            status = quant_set(w, layer, s, m) ||
                             calibration_gram(&w->c, layer, folds[s].input, h)
                         ? -1
                         : 0;
        for (int i = 0; !status && i < folds[s].slots; i++)
            status = quant_gptq(&w->o->grid, h, how, m[i].w, m[i].n, k);
        free(h);
    }
    return status ? status : calibration_layer(&w->c, layer, true, NULL, NULL);
}

/* Rounds a set; marked channels are kept, or scaled while the others are rounded. */
static int round_marked(struct work *w, const struct quant_matrix *m, int count,
                        const bool *marked)
{
    const bool keep = w->r->flags & QUANT_KEEP;
    const int k = m[0].k;
    float *scale = quant_room((size_t)k);
    int status = scale ? 0 : -1;
    for (int p = 0; !status && p < k; p++)
        scale[p] = marked[p] ? (float)w->o->factor : 1;
    for (int i = 0; !status && i < count; i++) {
        const size_t size = (size_t)m[i].n * (size_t)k;
        float *before = quant_room(size);
        if (!before) {
            status = -1;
            break;
        }
        memcpy(before, m[i].w, size * sizeof *before);
        if (!keep) {
            quant_scale_columns(m[i].w, m[i].n, k, scale, false);
            quant_compare_steps(&w->o->grid, before, m[i].w, m[i].n, k, &w->q->steps);
        }
        quant_round(&w->o->grid, m[i].w, m[i].n, k);
        if (!keep)
            quant_scale_columns(m[i].w, m[i].n, k, scale, true);
        for (size_t j = 0; keep && j < size; j++)
            if (marked[j % (size_t)k])
                m[i].w[j] = before[j];
        free(before);
    }
    free(scale);
    return status;
}

static int marked_layer(struct work *w, int layer)
{
    struct layer_inputs in;
    if (calibration_inputs(&w->c, layer, true, &in))
        return -1;
    int status = 0;
    for (int s = 0; !status && s < FOLD_SETS; s++) {
        struct quant_matrix m[3];
        const int k = quant_set_width(w, layer, s);
        double *mean = malloc((size_t)k * sizeof *mean);
        bool *marked = malloc((size_t)k * sizeof *marked);
        status = mean && marked ? quant_set(w, layer, s, m) : cb_error("no memory for %d marks", k);
        if (!status) {
            quant_mean_abs(in.x[folds[s].input], in.rows, k, mean);
            status = quant_mark(m, folds[s].slots, mean, w->o->share, w->r->rank,
                                w->o->seed + (unsigned long)(FOLD_SETS * layer + s), marked) ||
                             round_marked(w, m, folds[s].slots, marked)
                         ? -1
                         : 0;
        }
        free(mean);
        free(marked);
    }
    layer_inputs_free(&in);
    return status;
}

static int round_layer(struct work *w, int layer)
{
    for (int i = 0; i < LINEARS; i++) {
        struct llama_linear *l = quant_linear(w, layer, linears[i]);
        float *weight = llama_dense(l);
        if (!weight)
            return -1;
        if (w->r->flags & QUANT_HALF)
            for (size_t j = 0; j < (size_t)l->n * (size_t)l->k; j++)
                weight[j] = quant_as_half(weight[j]);
        else
            quant_round(&w->o->grid, weight, l->n, l->k);
    }
    return 0;
}

int quantise_weights(struct work *w)
{
    const unsigned f = w->r->flags;
    if ((f & QUANT_AWQ) && quant_each_layer(w, awq_layer))
        return -1;
    if (w->searches)
        w->q->ratio = w->ratios / w->searches;
    if (f & QUANT_GPTQ)
        return quant_each_layer(w, gptq_layer);
    if (f & (QUANT_KEEP | QUANT_SCALE_SHARE))
        return quant_each_layer(w, marked_layer);
    for (int i = 0; !(f & QUANT_AWQ) && i < w->q->model.config.layers; i++)
        if (round_layer(w, i))
            return -1;
    return 0;
}

/* ref_train.c - gradients of a network by their definition on the host; see sparse_net.h. */
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "../common/half.h"
#include "sparse_net.h"

enum { PAIRS = 512 }; /* that a thread takes at a time */

struct back {
    const struct sparse_net_problem *p;
    const struct sparse_net_args *a;
    struct sparse_net net; /* with concatenations as copies */
    uint16_t *const *act;
    half_bits *grad[SPARSE_NET_TENSORS_MAX];
    int seen[SPARSE_NET_TENSORS_MAX]; /* its gradient has a first term */
    double *dx;                       /* [rows of the longest level][widest] */
    double *dw;
};

static size_t count_of(const struct back *b, int tensor)
{
    const struct sparse_tensor *t = &b->net.tensor[tensor];
    return (size_t)b->p->host->n[t->level] * (size_t)t->channels;
}

/* Adds a term to the gradient of a tensor. */
static void add_element(struct back *b, int tensor, size_t i, float term)
{
    half_bits *g = &b->grad[tensor][i];
    const float rounded = half_to_float(half_from_float(term));
    *g = half_from_float(b->seen[tensor] ? half_to_float(*g) + rounded : rounded);
}

/* Of a pair of a layer: rows with themselves where it has no map. */
static int in_of(const struct kmap *m, long e) { return m ? m->pairs.in[e] : (int)e; }
static int out_of(const struct kmap *m, long e) { return m ? m->pairs.out[e] : (int)e; }

static void fetch_rows(const half_bits *rows, int channels, const struct kmap *m, int by_out,
                       long first, int count, double *to)
{
    for (int i = 0; i < count; i++) {
        const int row = by_out ? out_of(m, first + i) : in_of(m, first + i);
        for (int c = 0; c < channels; c++)
            to[(size_t)i * (size_t)channels + (size_t)c] =
                half_to_float(rows[(size_t)row * (size_t)channels + (size_t)c]);
    }
}

static void tap_pairs(const struct back *b, const struct sparse_layer *l, int d, long *first,
                      long *end)
{
    const struct kmap *m = l->step < 0 ? NULL : &b->p->host->map[l->step].map;
    *first = m ? m->pairs.start[d] : 0;
    *end = m ? m->pairs.start[d + 1] : b->p->host->n[b->net.tensor[l->to].level];
}

/* DW of a layer: a thread a tap. */
static int weight_gradient(const struct back *b, const struct sparse_layer *l)
{
    const struct kmap *m = l->step < 0 ? NULL : &b->p->host->map[l->step].map;
    const size_t of_tap = (size_t)l->channels * (size_t)l->columns;
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (int d = 0; d < l->taps; d++) {
        double *x = malloc((size_t)PAIRS * (size_t)(l->channels + l->columns) * sizeof *x);
        double *g = x + (size_t)PAIRS * (size_t)l->channels, *dw = b->dw + l->w + (size_t)d * of_tap;
        long first, end;
        failed |= !x;
        memset(dw, 0, of_tap * sizeof *dw);
        for (tap_pairs(b, l, d, &first, &end); x && first < end; first += PAIRS) {
            const int count = end - first < PAIRS ? (int)(end - first) : PAIRS;
            fetch_rows(b->act[l->from], l->channels, m, 0, first, count, x);
            fetch_rows(b->grad[l->to], l->columns, m, 1, first, count, g);
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, l->channels, l->columns, count, 1,
                        x, l->channels, g, l->columns, 1, dw, l->columns);
        }
        free(x);
    }
    return failed;
}

/* Adds to dx what one tap gives; its inputs are different rows. */
static int input_gradient_tap(const struct back *b, const struct sparse_layer *l, int d,
                              const double *w)
{
    const struct kmap *m = l->step < 0 ? NULL : &b->p->host->map[l->step].map;
    int failed = 0;
    long begin, end;
    tap_pairs(b, l, d, &begin, &end);
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (long first = begin; first < end; first += PAIRS) {
        const int count = end - first < PAIRS ? (int)(end - first) : PAIRS;
        double *g = malloc((size_t)PAIRS * (size_t)(l->channels + l->columns) * sizeof *g);
        double *y = g + (size_t)PAIRS * (size_t)l->columns;
        failed |= !g;
        if (!g)
            continue;
        fetch_rows(b->grad[l->to], l->columns, m, 1, first, count, g);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, l->channels, l->columns, 1, g,
                    l->columns, w, l->columns, 0, y, l->channels);
        for (int i = 0; i < count; i++) {
            double *row = b->dx + (size_t)in_of(m, first + i) * (size_t)l->channels;
            for (int c = 0; c < l->channels; c++)
                row[c] += y[(size_t)i * (size_t)l->channels + (size_t)c];
        }
        free(g);
    }
    return failed;
}

static int input_gradient(struct back *b, const struct sparse_layer *l)
{
    const size_t of_tap = (size_t)l->channels * (size_t)l->columns, n = count_of(b, l->from);
    double *w = malloc(of_tap * sizeof *w);
    int failed = !w;
    memset(b->dx, 0, n * sizeof *b->dx);
    for (int d = 0; !failed && d < l->taps; d++) {
        for (size_t i = 0; i < of_tap; i++)
            w[i] = half_to_float(((const half_bits *)b->a->w)[l->w + (size_t)d * of_tap + i]);
        failed = input_gradient_tap(b, l, d, w);
    }
    for (size_t i = 0; !failed && i < n; i++)
        add_element(b, l->from, i, (float)b->dx[i]);
    b->seen[l->from] = 1;
    free(w);
    return failed;
}

/* A whole's gradient to those that were put together in it. */
static void part_join(struct back *b, int whole)
{
    for (int t = 0; t < b->net.tensors; t++) {
        const struct sparse_tensor *x = &b->net.tensor[t];
        const size_t channels = (size_t)x->channels, n = count_of(b, t);
        const size_t pitch = (size_t)b->net.tensor[whole].channels;
        if (x->member != whole)
            continue;
        for (size_t i = 0; i < n; i++)
            add_element(b, t, i,
                        half_to_float(b->grad[whole][i / channels * pitch + (size_t)x->column +
                                                     i % channels]));
        b->seen[t] = 1;
    }
}

static int back_layer(struct back *b, const struct sparse_layer *l)
{
    half_bits *g = b->grad[l->to];
    const size_t n = count_of(b, l->to);
    if (l->join >= 0)
        part_join(b, l->join);
    for (size_t i = 0; l->relu && i < n; i++)
        if (!(half_to_float(b->act[l->to][i]) > 0))
            g[i] = 0;
    if (l->residual >= 0) {
        for (size_t i = 0; i < n; i++)
            add_element(b, l->residual, i, half_to_float(g[i]));
        b->seen[l->residual] = 1;
    }
    return weight_gradient(b, l) || (l->from != b->net.input && input_gradient(b, l));
}

enum op_status sparse_net_ref_train(const struct sparse_net_problem *p,
                                    const struct sparse_net_args *a,
                                    uint16_t *const act[SPARSE_NET_TENSORS_MAX], double *dw)
{
    struct back b = { .p = p, .a = a, .net = *p->net, .act = act, .dw = dw };
    const int kept = openblas_get_num_threads();
    size_t most = 0;
    int failed = 0;
    sparse_net_keep(&b.net);
    for (int t = 0; t < b.net.tensors; t++) {
        const size_t n = count_of(&b, t);
        most = n > most ? n : most;
        b.grad[t] = calloc(n, sizeof *b.grad[t]);
        failed |= !b.grad[t];
    }
    b.dx = malloc(most * sizeof *b.dx);
    failed |= !b.dx;
    memset(dw, 0, p->net->weights * sizeof *dw);
    openblas_set_num_threads(1);
    if (!failed)
        memcpy(b.grad[b.net.output], a->g, 2 * count_of(&b, b.net.output));
    for (int i = b.net.layers - 1; !failed && i >= 0; i--)
        failed = back_layer(&b, &b.net.layer[i]);
    openblas_set_num_threads(kept);
    for (int t = 0; t < b.net.tensors; t++)
        free(b.grad[t]);
    free(b.dx);
    return failed ? OP_ENOMEM : OP_OK;
}

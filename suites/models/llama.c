/*
 * llama.c - the forward pass of a Llama-family model on the host, in FP32.
 *
 * Tokens go through the layers in pieces of up to CHUNK, so that scratch memory does
 * not grow with the sequence.  Products are OpenBLAS's with one thread each; OpenMP
 * gives out blocks of output channels, and heads.  That way weights are decoded right
 * before their use, by who uses them, no result depends on the number of threads, and
 * no second pool of threads waits beside OpenMP's.  Bound by sgemm for pieces, by
 * reading the weights once per token for single tokens.
 *
 * Keys and values of a layer lie by head, so that a head's are one matrix:
 *
 *     key, value   [layer][kv_head][capacity][head_dim]
 *
 * and the queries of one kv head's group of heads are rows of one product:
 *
 *     scores [m][capacity] = q [m][head_dim] keys^T, per head, then masked
 */
#include "llama.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "llama_machine.h"
#include "llama_part.h"

enum {
    CHUNK = 256,       /* tokens at a time: enough rows for sgemm to run at its speed */
    LOGITS = 1 << 22   /* logits at a time, 16 MB */
};

/* ---- state ---- */

struct llama_state {
    const struct llama *model;
    struct llama_run *run; /* of the model's machine; NULL: the host computes */
    int capacity, position;
    int chunk;            /* tokens at a time */
    int rows;             /* of logits at a time */
    float *key, *value;   /* [layers][kv_heads][capacity][head_dim] */
    int angles;           /* positions whose cosine and sine are there */
    float *cosine, *sine; /* [capacity][head_dim/2] */
    float *x, *h;         /* [chunk][dim] */
    float *q, *mixed;     /* [chunk][heads][head_dim] */
    float *k, *v;         /* [chunk][kv_heads][head_dim] */
    float *gate, *up;     /* [chunk][hidden] */
    int threads;
    float *scores;        /* [threads][chunk][capacity] */
    float *logits;        /* [rows][vocab] */
};

void llama_end(struct llama_state *s)
{
    if (!s)
        return;
    float *all[] = { s->key, s->value, s->cosine, s->sine, s->x,      s->h,     s->q,
                     s->mixed, s->k,   s->v,      s->gate, s->up, s->scores, s->logits };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    if (s->run)
        s->model->machine->end(s->run);
    free(s);
}

static int logit_rows(const struct llama_state *s)
{
    const int fit = LOGITS / s->model->config.vocab;
    return fit < 1 ? 1 : fit < s->chunk ? fit : s->chunk;
}

/* Where a machine computes: embedded tokens, and logits for the host. */
static int begin_run(struct llama_state *s)
{
    const struct llama *m = s->model;
    if (m->machine->begin(m->machine, m, s->capacity, &s->run, &s->chunk))
        return -1;
    s->rows = logit_rows(s);
    s->x = llama_take((size_t)s->chunk * (size_t)m->config.dim, sizeof(float));
    s->logits = llama_take((size_t)s->rows * (size_t)m->config.vocab, sizeof(float));
    return s->x && s->logits ? 0 : -1;
}

static int begin_host(struct llama_state *s)
{
    const struct llama_config *c = &s->model->config;
    const size_t q = (size_t)c->heads * (size_t)c->head_dim;
    const size_t kv = (size_t)c->kv_heads * (size_t)c->head_dim;
    s->chunk = s->capacity < CHUNK ? s->capacity : CHUNK;
    s->threads = omp_get_max_threads() < c->heads ? omp_get_max_threads() : c->heads;
    s->rows = logit_rows(s);
    const size_t n = (size_t)s->chunk, capacity = (size_t)s->capacity;
    const size_t kept = (size_t)c->layers * capacity * kv, pairs = (size_t)c->head_dim / 2;
    const struct {
        float **to;
        size_t count;
    } rooms[] = { { &s->key, kept },       { &s->value, kept },
                  { &s->cosine, capacity * pairs }, { &s->sine, capacity * pairs },
                  { &s->x, n * (size_t)c->dim }, { &s->h, n * (size_t)c->dim },
                  { &s->q, n * q },        { &s->mixed, n * q },
                  { &s->k, n * kv },       { &s->v, n * kv },
                  { &s->gate, n * (size_t)c->hidden }, { &s->up, n * (size_t)c->hidden },
                  { &s->scores, (size_t)s->threads * n * capacity },
                  { &s->logits, (size_t)s->rows * (size_t)c->vocab } };
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (!(*rooms[i].to = llama_take(rooms[i].count, sizeof(float))))
            return -1;
    return 0;
}

struct llama_state *llama_begin(const struct llama *m, int capacity)
{
    const struct llama_config *c = &m->config;
    if (capacity < 1 || capacity > c->context) {
        cb_error("%s: a sequence of %d tokens; the model takes 1 to %d", m->checkpoint->name,
                 capacity, c->context);
        return NULL;
    }
    struct llama_state *s = calloc(1, sizeof *s);
    if (!s) {
        cb_error("no memory");
        return NULL;
    }
    s->model = m;
    s->capacity = capacity;
    if (m->machine ? begin_run(s) : begin_host(s)) {
        llama_end(s);
        return NULL;
    }
    return s;
}

void llama_rewind(struct llama_state *s)
{
    s->position = 0;
}

int llama_position(const struct llama_state *s)
{
    return s->position;
}

/* ---- the parts of a layer ---- */

/* y = x / sqrt(mean(x^2) + eps) * gain, row by row. */
static void rmsnorm(const float *x, const float *gain, double eps, int m, int dim, float *y)
{
#pragma omp parallel for if ((long)m * dim > 1 << 16)
    for (int i = 0; i < m; i++) {
        const float *row = x + (size_t)i * (size_t)dim;
        float *to = y + (size_t)i * (size_t)dim;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < dim; c++)
            sum += (double)row[c] * (double)row[c];
        const float scale = (float)(1 / sqrt(sum / dim + eps));
        for (int c = 0; c < dim; c++)
            to[c] = row[c] * scale * gain[c];
    }
}

static void set_angles(struct llama_state *s, int m)
{
    const int pairs = s->model->config.head_dim / 2;
    for (; s->angles < s->position + m; s->angles++)
        for (int p = 0; p < pairs; p++) {
            const double angle = s->angles * s->model->frequency[p];
            s->cosine[(size_t)s->angles * (size_t)pairs + (size_t)p] = (float)cos(angle);
            s->sine[(size_t)s->angles * (size_t)pairs + (size_t)p] = (float)sin(angle);
        }
}

static void rotate(const struct llama_state *s, float *x, int m, int heads)
{
    const int size = s->model->config.head_dim, pairs = size / 2;
    const bool halves = s->model->config.rope_halves;
    const int step = halves ? 1 : 2, apart = halves ? pairs : 1;
#pragma omp parallel for if ((long)m * heads * size > 1 << 16)
    for (int i = 0; i < m; i++) {
        const float *c = s->cosine + (size_t)(s->position + i) * (size_t)pairs;
        const float *n = s->sine + (size_t)(s->position + i) * (size_t)pairs;
        for (int h = 0; h < heads; h++) {
            float *head = x + ((size_t)i * (size_t)heads + (size_t)h) * (size_t)size;
            for (int p = 0; p < pairs; p++) {
                float *a = head + p * step, *b = a + apart;
                const float a0 = *a, b0 = *b;
                *a = a0 * c[p] - b0 * n[p];
                *b = a0 * n[p] + b0 * c[p];
            }
        }
    }
}

static float *kept(const struct llama_state *s, float *cache, int layer, int head)
{
    const struct llama_config *c = &s->model->config;
    return cache + ((size_t)layer * (size_t)c->kv_heads + (size_t)head) * (size_t)s->capacity *
                       (size_t)c->head_dim;
}

static void keep(const struct llama_state *s, int layer, int m)
{
    const struct llama_config *c = &s->model->config;
    const size_t size = (size_t)c->head_dim, bytes = size * sizeof(float);
    for (int h = 0; h < c->kv_heads; h++)
        for (int i = 0; i < m; i++) {
            const size_t from = ((size_t)i * (size_t)c->kv_heads + (size_t)h) * size;
            const size_t to = (size_t)(s->position + i) * size;
            memcpy(kept(s, s->key, layer, h) + to, s->k + from, bytes);
            memcpy(kept(s, s->value, layer, h) + to, s->v + from, bytes);
        }
}

/* Softmax over what row i sees; what it does not see becomes 0. */
static void softmax_seen(const struct llama_state *s, float *row, int i, int tokens)
{
    const int window = s->model->config.window;
    const int end = s->position + i + 1, start = window && end > window ? end - window : 0;
    const float top = llama_top(row + start, end - start);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int j = start; j < end; j++)
        sum += row[j] = llama_exp(row[j] - top);
    const float share = 1 / sum;
    for (int j = start; j < end; j++)
        row[j] *= share;
    memset(row, 0, (size_t)start * sizeof *row);
    memset(row + end, 0, (size_t)(tokens - end) * sizeof *row);
}

static void attend_head(const struct llama_state *s, int layer, int h, int m, float *scores)
{
    const struct llama_config *c = &s->model->config;
    const int size = c->head_dim, width = c->heads * size, tokens = s->position + m;
    const int kv = h / (c->heads / c->kv_heads);
    const float *key = kept(s, s->key, layer, kv), *value = kept(s, s->value, layer, kv);
    const size_t at = (size_t)h * (size_t)size;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, tokens, size,
                (float)(1 / sqrt(size)), s->q + at, width, key, size, 0, scores, s->capacity);
    for (int i = 0; i < m; i++)
        softmax_seen(s, scores + (size_t)i * (size_t)s->capacity, i, tokens);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, size, tokens, 1, scores,
                s->capacity, value, size, 0, s->mixed + at, width);
}

static void attend(const struct llama_state *s, int layer, int m)
{
    const size_t part = (size_t)s->chunk * (size_t)s->capacity;
    const int blas = llama_one_blas_thread();
#pragma omp parallel for schedule(dynamic) num_threads(s->threads)
    for (int h = 0; h < s->model->config.heads; h++)
        attend_head(s, layer, h, m, s->scores + (size_t)omp_get_thread_num() * part);
    openblas_set_num_threads(blas);
}

static void add_to(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void silu_times(float *gate, const float *up, size_t n)
{
#pragma omp parallel for simd if (parallel : n > 1 << 14)
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + llama_exp(-gate[i])) * up[i];
}

static int apply(const struct llama_linear *l, const float *x, int m, float *y)
{
    return l->apply(l, x, m, y);
}

static int watch(const struct llama_state *s, enum checkpoint_slot slot, const float *x, int m)
{
    const struct llama *model = s->model;
    return model->watch ? model->watch(model->watch_context, slot, x, m) : 0;
}

/* Normed inputs in h become what is to be added, in h.  What watch says but 0 is returned. */
static int run_attention(struct llama_state *s, int layer, int m)
{
    const struct llama *model = s->model;
    const struct llama_config *c = &model->config;
    const struct llama_linear *w = model->layer[layer].linear;
    int seen = watch(s, SLOT_Q, s->h, m);
    if (seen)
        return seen;
    if (apply(&w[SLOT_Q], s->h, m, s->q) || apply(&w[SLOT_K], s->h, m, s->k) ||
        apply(&w[SLOT_V], s->h, m, s->v))
        return -1;
    rotate(s, s->q, m, c->heads);
    rotate(s, s->k, m, c->kv_heads);
    if (model->after_rope && model->after_rope(model->context, layer, m, s->q, s->k, s->v))
        return -1;
    if ((seen = watch(s, SLOT_K, s->k, m)) || (seen = watch(s, SLOT_V, s->v, m)))
        return seen;
    keep(s, layer, m);
    attend(s, layer, m);
    seen = watch(s, SLOT_O, s->mixed, m);
    return seen ? seen : apply(&w[SLOT_O], s->mixed, m, s->h);
}

static int run_ffn(struct llama_state *s, int layer, int m)
{
    const struct llama_linear *w = s->model->layer[layer].linear;
    int seen = watch(s, SLOT_GATE, s->h, m);
    if (seen)
        return seen;
    if (apply(&w[SLOT_GATE], s->h, m, s->gate) || apply(&w[SLOT_UP], s->h, m, s->up))
        return -1;
    silu_times(s->gate, s->up, (size_t)m * (size_t)s->model->config.hidden);
    seen = watch(s, SLOT_DOWN, s->gate, m);
    return seen ? seen : apply(&w[SLOT_DOWN], s->gate, m, s->h);
}

static int run_layer(struct llama_state *s, int layer, int m)
{
    const struct llama_config *c = &s->model->config;
    const struct llama_layer *l = &s->model->layer[layer];
    const size_t n = (size_t)m * (size_t)c->dim;
    int status;
    rmsnorm(s->x, l->attn_norm, c->norm_eps, m, c->dim, s->h);
    if ((status = run_attention(s, layer, m)))
        return status;
    add_to(s->x, s->h, n);
    rmsnorm(s->x, l->ffn_norm, c->norm_eps, m, c->dim, s->h);
    if ((status = run_ffn(s, layer, m)))
        return status;
    add_to(s->x, s->h, n);
    return 0;
}

void llama_embed(const struct llama *m, const int *token, int n, float *x)
{
    const size_t dim = (size_t)m->config.dim;
    for (int i = 0; i < n; i++)
        if (m->embedding)
            memcpy(x + (size_t)i * dim, m->embedding + (size_t)token[i] * dim,
                   dim * sizeof *x);
        else
            tensor_rows(&m->checkpoint->embedding, token[i], 1, x + (size_t)i * dim);
}

/* Up to a chunk of tokens, whose last hidden states, normed, are left in h, or with the
 * machine. */
static int run(struct llama_state *s, const int *token, int m)
{
    const struct llama *model = s->model;
    const struct llama_config *c = &model->config;
    llama_embed(model, token, m, s->x);
    if (s->run) {
        const int status = model->machine->tokens(s->run, s->position, m, s->x);
        s->position += m;
        return status;
    }
    set_angles(s, m);
    for (int l = 0; l < c->layers; l++)
        if (run_layer(s, l, m))
            return -1;
    rmsnorm(s->x, model->norm, c->norm_eps, m, c->dim, s->h);
    s->position += m;
    return 0;
}

static int check(const struct llama_state *s, const int *token, int n)
{
    const char *name = s->model->checkpoint->name;
    if (n < 1 || n > s->capacity - s->position)
        return cb_error("%s: %d tokens after %d, but room for %d", name, n, s->position,
                        s->capacity);
    for (int i = 0; i < n; i++)
        if (token[i] < 0 || token[i] >= s->model->config.vocab)
            return cb_error("%s: token %d at %d; the vocabulary has %d", name, token[i], i,
                            s->model->config.vocab);
    return 0;
}

/* Of the last tokens that run took. */
static int make_logits(struct llama_state *s, int first, int rows, float *out)
{
    if (s->run)
        return s->model->machine->logits(s->run, first, rows, out);
    return apply(&s->model->output, s->h + (size_t)first * (size_t)s->model->config.dim, rows, out);
}

int llama_feed(struct llama_state *s, const int *token, int n, float *logits)
{
    if (check(s, token, n))
        return -1;
    int m = 0;
    for (int at = 0; at < n; at += m) {
        m = n - at < s->chunk ? n - at : s->chunk;
        if (run(s, token + at, m))
            return -1;
    }
    return logits ? make_logits(s, m - 1, 1, logits) : 0;
}

int llama_each(struct llama_state *s, const int *token, int n, llama_see *see, void *context)
{
    const struct llama_config *c = &s->model->config;
    if (check(s, token, n))
        return -1;
    for (int at = 0, m; at < n; at += m) {
        const int before = s->position;
        m = n - at < s->chunk ? n - at : s->chunk;
        if (run(s, token + at, m))
            return -1;
        for (int i = 0, rows; i < m; i += rows) {
            rows = m - i < s->rows ? m - i : s->rows;
            if (make_logits(s, i, rows, s->logits))
                return -1;
            for (int r = 0; r < rows; r++) {
                const int status =
                    see(context, before + i + r, s->logits + (size_t)r * (size_t)c->vocab);
                if (status)
                    return status;
            }
        }
    }
    return 0;
}

int llama_losses_of(struct llama_state *s, const int *token, int n, float *reference, bool fill,
                    double *loss, double *kl)
{
    const size_t vocab = (size_t)s->model->config.vocab;
    *loss = *kl = 0;
    if (check(s, token, n))
        return -1;
    if (!s->run)
        return cb_error("%s: no machine to look at logits", s->model->checkpoint->name);
    for (int at = 0, m; at < n; at += m) {
        m = n - at < s->chunk ? n - at : s->chunk;
        const int with_next = at + m < n ? m : m - 1;
        if (run(s, token + at, m) ||
            s->model->machine->losses(s->run, 0, with_next, token + at + 1,
                                      reference ? reference + (size_t)at * vocab : NULL, fill, loss,
                                      kl))
            return -1;
    }
    return 0;
}

/* ---- a layer at a time ---- */

/* Pieces of x [n][dim] through a part of a layer, by way of the state's x or h.  A piece of
 * which enough was seen is left where it is. */
static int in_pieces(struct llama_state *s, int layer, const float *x, int n, float *y,
                     enum llama_part what)
{
    static int (*const parts[])(struct llama_state *, int, int) = {
        [LLAMA_LAYER] = run_layer, [LLAMA_ATTENTION] = run_attention, [LLAMA_FFN] = run_ffn
    };
    const size_t dim = (size_t)s->model->config.dim;
    float *through = what == LLAMA_LAYER ? s->x : s->h;
    int status = 0;
    if (n < 1 || n > s->capacity)
        return cb_error("%s: %d tokens, but room for %d", s->model->checkpoint->name, n,
                        s->capacity);
    s->position = 0;
    for (int m; status >= 0 && s->position < n; s->position += m) {
        m = n - s->position < s->chunk ? n - s->position : s->chunk;
        const size_t at = (size_t)s->position * dim, bytes = (size_t)m * dim * sizeof *x;
        if (s->run) {
            status = s->model->machine->part(s->run, what, layer, s->position, m, x + at, y + at);
            continue;
        }
        memcpy(through, x + at, bytes);
        set_angles(s, m);
        status = parts[what](s, layer, m);
        memcpy(y + at, through, bytes);
    }
    s->position = 0;
    return status < 0 ? -1 : 0;
}

int llama_run_layer(struct llama_state *s, int layer, float *x, int n)
{
    return in_pieces(s, layer, x, n, x, LLAMA_LAYER);
}

int llama_run_attention(struct llama_state *s, int layer, const float *h, int n, float *y)
{
    return in_pieces(s, layer, h, n, y, LLAMA_ATTENTION);
}

int llama_run_ffn(struct llama_state *s, int layer, const float *h, int n, float *y)
{
    return in_pieces(s, layer, h, n, y, LLAMA_FFN);
}

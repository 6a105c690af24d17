/* calibrate.c - see calibrate.h. */
#include "calibrate.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/philox.h"
#include "../../harness/sha.h"
#include "../data/alloc.h"
#include "../data/tokenizer.h"
#include "quant.h"

enum { TOKENS_MAX = 1 << 28 };

/* ---- tokens ---- */

void token_set_free(struct token_set *t)
{
    if (!t)
        return;
    free(t->token);
    *t = (struct token_set){ 0 };
}

/* Hash and largest token, once the tokens are there. */
static int finish(struct token_set *t)
{
    const size_t n = (size_t)t->count * (size_t)t->length;
    unsigned char *bytes = malloc(4 * n + 1);
    if (!bytes)
        return cb_error("no memory for %zu tokens", n);
    t->vocab_min = 0;
    for (size_t i = 0; i < n; i++)
        t->vocab_min = t->token[i] >= t->vocab_min ? t->token[i] + 1 : t->vocab_min;
    const size_t width = t->vocab_min > 65536 ? 4 : 2;
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < width; b++)
            bytes[width * i + b] = (unsigned char)(t->token[i] >> 8 * b);
    const int status = cb_sha256(bytes, width * n, t->sha256);
    free(bytes);
    return status;
}

static int read_whole(const char *path, char **out, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    size_t used = 0, room = 0;
    if (!f)
        return cb_error("not available: %s", path);
    for (size_t got = 1; got; used += got) {
        if (room - used < 1 << 16) {
            room = room ? 2 * room : 1 << 20;
            char *more = room <= TOKENS_MAX ? realloc(data, room) : NULL;
            if (!more) {
                free(data);
                fclose(f);
                return cb_error("%s: no memory, or larger than %d bytes", path, TOKENS_MAX);
            }
            data = more;
        }
        got = fread(data + used, 1, room - used, f);
    }
    const bool bad = ferror(f);
    fclose(f);
    *out = data;
    *size = used;
    if (!bad)
        return 0;
    free(data);
    return cb_error("%s: cannot be read", path);
}

/* count tokens into windows. */
static int cut(const char *path, const int *token, int count, int length, int most,
               struct token_set *out)
{
    out->length = length;
    out->count = count / length;
    if (most > 0 && out->count > most)
        out->count = most;
    if (out->count < 1)
        return cb_error("%s: %d tokens are no window of %d", path, count, length);
    const size_t n = (size_t)out->count * (size_t)length;
    if (!(out->token = malloc(n * sizeof *out->token)))
        return cb_error("%s: no memory for %zu tokens", path, n);
    memcpy(out->token, token, n * sizeof *token);
    return finish(out);
}

int token_set_load(const char *path, const char *tokenizer, int length, int most,
                   struct token_set *out)
{
    const char *base = strrchr(path, '/');
    const size_t end = strlen(path);
    struct tokenizer t = { 0 };
    char *data = NULL;
    int *token = NULL, count = 0, status = -1;
    size_t size = 0;
    *out = (struct token_set){ .source = "user" };
    snprintf(out->name, sizeof out->name, "%.63s", base ? base + 1 : path);
    if (length < 2)
        return cb_error("%s: windows of %d tokens", path, length);
    if (read_whole(path, &data, &size))
        return -1;
    if (end > 4 && !strcmp(path + end - 4, ".u16")) {
        if (size % 2) {
            cb_error("%s: %zu bytes are no uint16 tokens", path, size);
            goto done;
        }
        count = (int)(size / 2);
        if (!(token = data_malloc((size_t)count + 1, sizeof *token))) {
            cb_error("%s: no memory for %d tokens", path, count);
            goto done;
        }
        for (int i = 0; i < count; i++)
            token[i] = (unsigned char)data[2 * i] | (unsigned char)data[2 * i + 1] << 8;
    } else {
        if (!tokenizer || !*tokenizer) {
            cb_error("%s: a text needs a tokenizer", path);
            goto done;
        }
        if (tokenizer_load(tokenizer, &t) || tokenizer_encode(&t, data, size, true, &token, &count))
            goto done;
    }
    status = cut(path, token, count, length, most, out);
done:
    free(data);
    data_free(token);
    tokenizer_free(&t);
    if (status)
        token_set_free(out);
    return status;
}

int token_set_skip(struct token_set *t, int windows)
{
    if (!windows)
        return 0;
    if (windows >= t->count)
        return cb_error("%s: %d windows, all of them evaluated on: none to calibrate on", t->name,
                        t->count);
    t->count -= windows;
    memmove(t->token, t->token + (size_t)windows * (size_t)t->length,
            (size_t)t->count * (size_t)t->length * sizeof *t->token);
    return finish(t);
}

/* The token whose share of the probability holds u, 0 <= u < 1. */
static int draw(const float *logits, int vocab, double u)
{
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < vocab; i++)
        top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)(logits[i] - top));
    u *= sum;
    for (int i = 0; i < vocab; i++)
        if ((u -= exp((double)(logits[i] - top))) < 0)
            return i;
    return vocab - 1;
}

/* One sequence; row[0] is there. */
static int sample(struct llama_state *s, int vocab, unsigned long seed, int sequence, int length,
                  float *logits, int *row)
{
    llama_rewind(s);
    for (int t = 1; t < length; t++) {
        uint32_t word[4];
        philox_words(seed, (uint32_t)sequence, 0, (uint64_t)t, word);
        if (llama_feed(s, &row[t - 1], 1, logits))
            return -1;
        row[t] = draw(logits, vocab, ((double)word[0] + 0.5) * 0x1p-32);
    }
    return 0;
}

int token_set_sample(const struct llama *m, int start, int count, int length, unsigned long seed,
                     struct token_set *out)
{
    const int vocab = m->config.vocab;
    char failure[256] = "";
    *out = (struct token_set){ .source = "generated", .count = count, .length = length };
    snprintf(out->name, sizeof out->name, "sampled from the model, seed %lu", seed);
    if (count < 1 || length < 2 || (long)count * length > TOKENS_MAX || start < 0 || start >= vocab)
        return cb_error("cannot sample %d sequences of %d tokens from token %d", count, length,
                        start);
    if (!(out->token = malloc((size_t)count * (size_t)length * sizeof *out->token)))
        return cb_error("no memory for %d sequences", count);
    /* single tokens are too little for more than one thread: sequences side by side */
    const int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
#pragma omp parallel if (!m->machine)
    {
        struct llama_state *s = llama_begin(m, length);
        float *logits = malloc((size_t)vocab * sizeof *logits);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < count; i++) {
            int *row = out->token + (size_t)i * (size_t)length;
            row[0] = start;
            if (!s || !logits || sample(s, vocab, seed, i, length, logits, row))
#pragma omp critical
                snprintf(failure, sizeof failure, "%s", logits ? cb_error_text() : "no memory");
        }
        free(logits);
        llama_end(s);
    }
    openblas_set_num_threads(blas);
    if (!*failure && !finish(out))
        return 0;
    token_set_free(out);
    return *failure ? cb_error("%s", failure) : -1;
}

/* ---- a layer at a time ---- */

int calibration_rows(const struct calibration *c)
{
    return c->tokens->count * c->tokens->length;
}

bool calibration_small(const struct llama_config *c)
{
    return (double)c->dim * c->hidden < 1 << 21;
}

int calibration_threads(const struct llama *m, int sequences)
{
    const int threads = omp_get_max_threads();
    const bool even = sequences >= 2 * threads || sequences % threads == 0;
    return !m->machine && calibration_small(&m->config) && even ? threads : 1;
}

int calibration_begin(struct llama *m, const struct token_set *t, struct calibration *out)
{
    const size_t dim = (size_t)m->config.dim, row = (size_t)t->length * dim;
    *out = (struct calibration){ .model = m, .tokens = t };
    if (t->vocab_min > m->config.vocab)
        return cb_error("%s: token %d; the vocabulary has %d", t->name, t->vocab_min - 1,
                        m->config.vocab);
    const int states = calibration_threads(m, t->count);
    out->state = calloc((size_t)states, sizeof *out->state);
    out->x = malloc((size_t)t->count * row * sizeof *out->x);
    if (!out->x || !out->state) {
        calibration_end(out);
        return cb_error("no memory for %d sequences of hidden states", t->count);
    }
    for (; out->states < states; out->states++)
        if (!(out->state[out->states] = llama_begin(m, t->length))) {
            calibration_end(out);
            return -1;
        }
    llama_embed(m, t->token, t->count * t->length, out->x);
    return 0;
}

void calibration_end(struct calibration *c)
{
    for (int i = 0; i < c->states; i++)
        llama_end(c->state[i]);
    free(c->state);
    free(c->x);
    *c = (struct calibration){ 0 };
}

int calibration_each(struct calibration *c, calibration_act *act, void *context)
{
    char failure[256] = "";
    const int blas = openblas_get_num_threads();
    if (c->states > 1)
        openblas_set_num_threads(1); /* threads that set and restore it find what they leave */
#pragma omp parallel for schedule(dynamic) num_threads(c->states) if (c->states > 1)
    for (int i = 0; i < c->tokens->count; i++)
        if (act(context, c->state[omp_get_thread_num()], i))
#pragma omp critical
            snprintf(failure, sizeof failure, "%s", cb_error_text()); /* one per thread */
    openblas_set_num_threads(blas);
    return *failure ? cb_error("%s", failure) : 0;
}

/* How far the sequence of this thread is, slot by slot. */
static _Thread_local int seen_rows[SLOTS];

static int take_rows(enum checkpoint_slot slot, int rows)
{
    const int first = seen_rows[slot];
    seen_rows[slot] += rows;
    return first;
}

struct watching {
    calibration_see *see;
    void *context;
};

static int look(void *context, enum checkpoint_slot slot, const float *x, int m)
{
    const struct watching *w = context;
    return w->see(w->context, slot, take_rows(slot, m), x, m);
}

struct passing {
    struct calibration *c;
    int layer;
    bool advance;
};

static int pass(void *context, struct llama_state *s, int sequence)
{
    const struct passing *p = context;
    const int length = p->c->tokens->length;
    const size_t row = (size_t)length * (size_t)p->c->model->config.dim;
    float *x = p->c->x + (size_t)sequence * row, *scratch = NULL;
    for (int i = 0; i < SLOTS; i++)
        seen_rows[i] = sequence * length;
    if (!p->advance) {
        if (!(scratch = malloc(row * sizeof *scratch)))
            return cb_error("no memory for a sequence of hidden states");
        x = memcpy(scratch, x, row * sizeof *x);
    }
    const int status = llama_run_layer(s, p->layer, x, length);
    free(scratch);
    return status;
}

int calibration_layer(struct calibration *c, int layer, bool advance, calibration_see *see,
                      void *context)
{
    struct passing passing = { c, layer, advance };
    struct watching watching = { see, context };
    if (llama_refresh(c->model, layer))
        return -1;
    c->model->watch = see ? look : NULL;
    c->model->watch_context = &watching;
    const int status = calibration_each(c, pass, &passing);
    c->model->watch = NULL;
    c->model->watch_context = NULL;
    return status;
}

/* ---- what is kept ---- */

static int width_of(const struct llama *m, enum checkpoint_slot slot)
{
    int rows, cols;
    checkpoint_slot_shape(&m->config, slot, &rows, &cols);
    return slot == SLOT_K || slot == SLOT_V ? rows : cols;
}

struct keeping {
    const struct llama *model;
    struct layer_inputs *in; /* of the slots that have room */
    enum checkpoint_slot last; /* behind it nothing is looked at */
};

static int keep(void *context, enum checkpoint_slot slot, int first, const float *x, int rows)
{
    const struct keeping *k = context;
    const size_t width = (size_t)width_of(k->model, slot);
    if (k->in->x[slot])
        memcpy(k->in->x[slot] + (size_t)first * width, x, (size_t)rows * width * sizeof *x);
    return slot == k->last;
}

void layer_inputs_free(struct layer_inputs *i)
{
    for (int s = 0; s < SLOTS; s++)
        free(i->x[s]);
    *i = (struct layer_inputs){ 0 };
}

int calibration_inputs(struct calibration *c, int layer, bool advance, struct layer_inputs *out)
{
    static const enum checkpoint_slot kept[] = { SLOT_Q, SLOT_K,    SLOT_V,
                                                 SLOT_O, SLOT_GATE, SLOT_DOWN };
    struct keeping k = { .model = c->model, .in = out, .last = SLOTS };
    *out = (struct layer_inputs){ .rows = calibration_rows(c) };
    int status = 0;
    for (size_t i = 0; !status && i < sizeof kept / sizeof *kept; i++) {
        const size_t count = (size_t)out->rows * (size_t)width_of(c->model, kept[i]);
        if (!(out->x[kept[i]] = malloc(count * sizeof(float))))
            status = cb_error("no memory for the inputs of layer %d", layer);
    }
    if (!status)
        status = calibration_layer(c, layer, advance, keep, &k);
    if (status)
        layer_inputs_free(out);
    return status;
}

int calibration_gram(struct calibration *c, int layer, enum checkpoint_slot slot, float *h)
{
    const int k = width_of(c->model, slot);
    struct layer_inputs in = { .rows = calibration_rows(c) };
    struct keeping keeping = { c->model, &in, slot };
    in.x[slot] = malloc((size_t)in.rows * (size_t)k * sizeof(float));
    int status = in.x[slot] ? calibration_layer(c, layer, false, keep, &keeping)
                            : cb_error("no memory for the inputs of layer %d", layer);
    if (!status)
        status = quant_gram(in.x[slot], in.rows, k, h);
    layer_inputs_free(&in);
    return status;
}

/*
 * encoder_cublas.c - the encoder as dense products by cuBLASLt with kernels between them.
 *
 * Two structures.  As published: rows are float between the products and half in them, each step
 * is a kernel of its own.  FlatFormer gathers rows twice, by order and by group, and keeps them so
 * through the layer; SST pads windows for attention alone:
 *
 *   FlatFormer   x, e by order, then by group; x + e; stack; cast; q, k, v; attention; out; add;
 *                norm; cast; fc1; gelu; fc2; add; norm; by row; back to order
 *   SST          x by window; x + e; stack; cast; q, k, v; attention; out; by row; add; norm;
 *                cast; fc1; gelu; fc2; add; norm                   e by window once a frame
 *
 * Fewer: half everywhere, one gather a layer that also adds the embedding, q and k in one product,
 * additions within the norms, the first of which writes rows back:
 *
 *   take; qk, v; attention; out; add, norm and put back; fc1; gelu; fc2; add and norm
 *
 * The latter runs over groups, padded windows or exact windows: they differ by their tokens alone.
 * Products before that have as many rows as there are tokens, padding included.
 */
#include "encoder_cublas.h"

#include <stdlib.h>

#include "../kernels/common/half.h"
#include "attend_cublas.h"
#include "linear_cublas.h"

enum { C = ENCODER_CHANNELS, HALVES = 6, WIDE = 6 };

struct form {
    enum encoder_scheme scheme;
    int published, padded, flash;
};

/* Whether rows stay in groups until the end of a layer. */
static int keeps_groups(const struct form *f)
{
    return f->published && !f->padded;
}

/* Bytes of each are at least what the set needs. */
struct buffers {
    size_t tokens, score_bytes; /* for so many */
    void *half;  /* [HALVES][tokens][C]: x, xe and o, qkv; later a, hidden; published: three
                  * operands, qkv */
    void *row;   /* [n][C], half or float: x between layers */
    void *split, *score; /* attention by batched products */
    float *embedding, *wide; /* published: [n][C]; [WIDE][tokens][C] */
    float *padded[2];        /* and SST: embedding [tokens][C] of windows, of shifted ones */
};

/* Layers of one kind: of the same order, or with the same windows. */
struct kind {
    struct encoder_tokens tokens; /* counts and buckets; its arrays are freed */
    struct encoder_on_device device;
    const int32_t *token; /* SST: [n] of each row */
    struct linear qk, v, out, fc1, fc2; /* published: qk is q, k or v alone */
};

struct state {
    struct form form;
    int owner; /* of the library and the handle */
    struct linear_library library;
    cublasHandle_t handle;
    int kinds;
    struct kind kind[FLATTEN_ORDERS];
    struct buffers b;
    const void *table;         /* half [side][C / 2] */
    const int32_t *pad, *keep; /* published: [slots] place in the order, [n] slot */
};

void encoder_cublas_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    for (int i = 0; i < v->kinds; i++) {
        encoder_tokens_free(&v->kind[i].tokens);
        linear_close(&v->kind[i].qk);
        linear_close(&v->kind[i].v);
        linear_close(&v->kind[i].out);
        linear_close(&v->kind[i].fc1);
        linear_close(&v->kind[i].fc2);
    }
    if (v->owner && v->handle)
        cublasDestroy(v->handle);
    if (v->owner)
        linear_library_close(&v->library);
    free(v);
}

/* ---- memory ---- */

static void *take(const struct op_memory *m, size_t bytes, enum op_status *status)
{
    void *p = *status ? NULL : m->take(m->context, bytes);
    if (!p && !*status)
        *status = OP_ENOMEM;
    return p;
}

/* Those of the first set where they are large enough. */
static enum op_status buffers_open(const struct encoder_problem *p, const struct state *first,
                                   const struct op_memory *m, struct state *v)
{
    const size_t n = (size_t)p->layer.n;
    struct buffers *b = &v->b;
    enum op_status status = OP_OK;
    size_t tokens = 0, score = 0;
    for (int i = 0; i < v->kinds; i++) {
        const struct encoder_tokens *t = &v->kind[i].tokens;
        const size_t bytes = v->form.flash ? 0 : attend_score_bytes(t);
        tokens = (size_t)t->tokens > tokens ? (size_t)t->tokens : tokens;
        score = bytes > score ? bytes : score;
    }
    if (first && first->b.tokens >= tokens && first->b.score_bytes >= score) {
        *b = first->b;
        return OP_OK;
    }
    b->tokens = tokens;
    b->score_bytes = score;
    b->half = take(m, 2 * HALVES * tokens * C, &status);
    b->row = take(m, (v->form.published ? sizeof(float) : 2) * n * C, &status);
    if (!v->form.flash) {
        b->split = take(m, 2 * 3 * tokens * C, &status);
        b->score = take(m, score, &status);
    }
    if (v->form.published) {
        b->embedding = take(m, n * C * sizeof(float), &status);
        b->wide = take(m, WIDE * tokens * C * sizeof(float), &status);
        for (int i = 0; i < 2 && v->form.padded; i++)
            b->padded[i] = take(m, tokens * C * sizeof(float), &status);
    }
    return status;
}

/* Part i of the half buffer. */
static void *half_at(const struct state *v, int i)
{
    return (uint16_t *)v->b.half + (size_t)i * v->b.tokens * C;
}

static float *wide_at(const struct state *v, int i)
{
    return v->b.wide + (size_t)i * v->b.tokens * C;
}

static const void *weight_at(const struct encoder_args *a, size_t layer_at, size_t at)
{
    return (const uint16_t *)a->weight + layer_at + at;
}

/* ---- set-up ---- */

static enum op_status table_of(const struct encoder_problem *p, const struct op_memory *m,
                               op_stream s, struct state *v)
{
    const size_t count = (size_t)p->side * (C / 2);
    float *table = malloc(count * sizeof *table);
    half_bits *half = malloc(count * sizeof *half);
    enum op_status status = table && half ? OP_OK : OP_ENOMEM;
    if (!status) {
        encoder_embed_table(p->side, C, table);
        for (size_t i = 0; i < count; i++)
            half[i] = half_from_float(table[i]);
    }
    v->table = attend_copy(half, count * sizeof *half, m, s, &status);
    free(table);
    free(half);
    return status;
}

/* Published code first cuts the n rows of an order into groups, and later joins them. */
static enum op_status padding_of(const struct group_attn_problem *p, const struct op_memory *m,
                                 op_stream s, struct state *v)
{
    const size_t slots = (size_t)p->slots;
    int32_t *place = malloc(2 * slots * sizeof *place);
    enum op_status status = place ? OP_OK : OP_ENOMEM;
    for (int i = 0; place && i < p->slots; i++) {
        place[i] = i < p->n ? i : i - p->group;
        place[slots + (size_t)i] = i;
    }
    v->pad = attend_copy(place, slots * sizeof *place, m, s, &status);
    v->keep = attend_copy(place ? place + slots : NULL, slots * sizeof *place, m, s, &status);
    free(place);
    return status;
}

/* The products of a kind, chosen on whatever the buffers hold. */
static enum op_status products_of(const struct encoder_problem *p, const struct encoder_args *a,
                                  const struct kind *like, op_stream s, struct state *v,
                                  struct kind *k)
{
    const struct encoder_offsets at = encoder_offsets_of(&p->layer);
    const int rows = k->tokens.tokens, h = p->layer.hidden, q = v->form.published ? C : 2 * C;
    const int after = keeps_groups(&v->form) ? rows : p->layer.n; /* of the network at the end */
    const struct linear_shape qk = { rows, q, C, 3 * C }, values = { rows, C, C, 3 * C };
    const struct linear_shape out = { rows, C, C, C }, fc1 = { after, h, C, h },
                              fc2 = { after, C, h, C };
    const struct linear_library *l = &v->library;
    const void *x = half_at(v, 0);
    void *y = half_at(v, 2);
    if (like && like->tokens.tokens != rows)
        like = NULL;
    enum op_status status =
        linear_open(l, &qk, like ? &like->qk : NULL, weight_at(a, 0, at.qkv),
                    weight_at(a, 0, at.qkv_bias), x, y, s, &k->qk);
    if (!status && !v->form.published)
        status = linear_open(l, &values, like ? &like->v : NULL, weight_at(a, 0, at.qkv),
                             weight_at(a, 0, at.qkv_bias), x, y, s, &k->v);
    if (!status)
        status = linear_open(l, &out, like ? &like->out : NULL, weight_at(a, 0, at.out),
                             weight_at(a, 0, at.out_bias), x, y, s, &k->out);
    if (!status)
        status = linear_open(l, &fc1, like ? &like->fc1 : NULL, weight_at(a, 0, at.fc1),
                             weight_at(a, 0, at.fc1_bias), x, y, s, &k->fc1);
    if (!status)
        status = linear_open(l, &fc2, like ? &like->fc2 : NULL, weight_at(a, 0, at.fc2),
                             weight_at(a, 0, at.fc2_bias), x, y, s, &k->fc2);
    return status;
}

/* Where each row is among the tokens. */
static enum op_status places_of(const struct encoder_problem *p, const struct encoder_tokens *t,
                                const struct op_memory *m, op_stream s, struct kind *k)
{
    const size_t bytes = (size_t)p->layer.n * sizeof(int32_t);
    int32_t *token = malloc(bytes);
    enum op_status status = token ? OP_OK : OP_ENOMEM;
    for (int i = 0; token && i < t->tokens; i++)
        if (t->to[i] >= 0)
            token[t->to[i]] = i;
    k->token = attend_copy(token, bytes, m, s, &status);
    free(token);
    return status;
}

static enum op_status kinds_of(const struct encoder_problem *p, const struct encoder_host *h,
                               const struct op_memory *m, op_stream s, struct state *v)
{
    const int cycle = v->form.scheme == ENCODER_GROUPS ? FLATTEN_ORDERS : 2;
    enum op_status status = OP_OK;
    v->kinds = p->layers < cycle ? p->layers : cycle;
    for (int i = 0; !status && i < v->kinds; i++) {
        struct encoder_tokens *t = &v->kind[i].tokens;
        status = v->form.padded ? encoder_tokens_padded(p, &h->frame, i, t)
                                : encoder_tokens_of(p, v->form.scheme, &h->frame, i, t);
        if (!status)
            status = attend_upload(t, m, s, &v->kind[i].device);
        if (!status && v->form.published && v->form.padded)
            status = places_of(p, t, m, s, &v->kind[i]);
        encoder_tokens_strip(t);
    }
    return status;
}

static enum op_status library_of(const struct state *first, const struct op_memory *m, op_stream s,
                                 struct state *v)
{
    enum op_status status = OP_OK;
    if (first) {
        v->library = first->library;
        v->handle = first->handle;
        return OP_OK;
    }
    v->owner = 1;
    status = linear_library_open(m, &v->library);
    if (!status && !v->form.flash) {
        v->handle = attend_handle(v->library.workspace, LINEAR_WORKSPACE, s);
        status = v->handle ? OP_OK : OP_EDEVICE;
    }
    return status;
}

static enum op_status open_state(const struct form *form, const struct encoder_problem *p,
                                 const struct encoder_host *h, const struct encoder_args *a,
                                 const struct op_memory *m, op_stream s, void **state)
{
    const struct state *first = *state;
    struct state *v = calloc(1, sizeof *v);
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->form = *form;
    enum op_status status = library_of(first, m, s, v);
    if (!status)
        status = kinds_of(p, h, m, s, v);
    if (!status)
        status = buffers_open(p, first, m, v);
    for (int i = 0; !status && i < v->kinds; i++) {
        const struct kind *like = i ? &v->kind[0] : first ? &first->kind[0] : NULL;
        status = products_of(p, a, like, s, v, &v->kind[i]);
    }
    if (!status && keeps_groups(form))
        status = padding_of(&p->layer, m, s, v);
    if (!status && !form->published)
        status = table_of(p, m, s, v);
    if (status) {
        encoder_cublas_teardown(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

/* ---- a run ---- */

/* What the steps of a layer need. */
struct layer {
    const struct encoder_problem *p;
    const struct encoder_args *a;
    const struct state *v;
    const struct kind *k;
    struct encoder_offsets at;
    size_t weights; /* of the layer's first number */
    op_stream s;
    enum op_status status; /* of the first step that failed */
};

/* y = x W^T + b, W at `w`, b at `b` of the layer's numbers. */
static void product(struct layer *l, const struct linear *of, size_t w, size_t b, const void *x,
                    void *y)
{
    if (!l->status)
        l->status = linear_run(of, weight_at(l->a, l->weights, w), weight_at(l->a, l->weights, b),
                               x, y, l->s);
}

static void attention(struct layer *l, const void *qkv, void *o)
{
    const struct encoder_tokens *t = &l->k->tokens;
    const struct attend_batched batched = { l->v->handle, l->v->b.split, l->v->b.score };
    if (l->status)
        return;
    l->status = l->v->form.flash
                    ? encoder_pass_flash(t->items, l->k->device.item, qkv, o, l->s)
                    : attend_batched_run(&batched, t, &l->k->device, qkv, o, l->s);
}

/* Steps behind one that failed are enqueued in vain: they touch only memory of the state. */
static void step(struct layer *l, enum op_status s)
{
    if (!l->status)
        l->status = s;
}

/* x [n][C] to y [n][C]; half. */
static void lean_layer(struct layer *l, const void *from, void *to)
{
    const struct state *v = l->v;
    const struct encoder_on_device *d = &l->k->device;
    const int rows = l->k->tokens.tokens, n = l->p->layer.n;
    const size_t square = (size_t)C * C;
    void *x = half_at(v, 0), *xe = half_at(v, 1), *qkv = half_at(v, 2);
    void *o = xe, *a = qkv, *u = xe, *hidden = half_at(v, 3), *f = x; /* over what is not needed */
    step(l, encoder_pass_take(rows, d->from, l->a->frame.cell, v->table, from, x, xe, l->s));
    product(l, &l->k->qk, l->at.qkv, l->at.qkv_bias, xe, qkv);
    product(l, &l->k->v, l->at.qkv + 2 * square, l->at.qkv_bias + 2 * C, x,
            (uint16_t *)qkv + 2 * C);
    attention(l, qkv, o);
    product(l, &l->k->out, l->at.out, l->at.out_bias, o, a);
    step(l, encoder_pass_add_norm(rows, d->to, weight_at(l->a, l->weights, l->at.norm1), x, a, u,
                                  l->s));
    product(l, &l->k->fc1, l->at.fc1, l->at.fc1_bias, u, hidden);
    step(l, encoder_pass_gelu((size_t)n * (size_t)l->p->layer.hidden, hidden, l->s));
    product(l, &l->k->fc2, l->at.fc2, l->at.fc2_bias, hidden, f);
    step(l, encoder_pass_add_norm(n, NULL, weight_at(l->a, l->weights, l->at.norm2), u, f, to,
                                  l->s));
}

/* Rows of `from` [n] by order and by group into to [slots]; room [n]. */
static void gather_twice(struct layer *l, const int32_t *order, const float *from, float *room,
                         float *to)
{
    step(l, encoder_pass_gather(l->p->layer.n, order, from, room, l->s));
    step(l, encoder_pass_gather(l->p->layer.slots, l->v->pad, room, to, l->s));
}

/* wide: 0 room, 1 x of tokens, 2 e of slots, then u; 3-5 stacked.  half: 0-2 operands of q, k, v,
 * later o and results of products; 3-5 qkv, later hidden. */

/* o of x and x + e, which is in room. */
static void published_attention(struct layer *l, const float *x, void *a)
{
    const struct state *v = l->v;
    const size_t all = (size_t)l->k->tokens.tokens * C, square = (size_t)C * C;
    float *stacked = wide_at(v, 3);
    uint16_t *cast = half_at(v, 0), *qkv = half_at(v, 3), *o = cast;
    step(l, encoder_pass_stack(all, wide_at(v, 0), x, stacked, l->s));
    step(l, encoder_pass_to_half(3 * all, stacked, cast, l->s));
    for (size_t i = 0; i < 3; i++)
        product(l, &l->k->qk, l->at.qkv + i * square, l->at.qkv_bias + i * C, cast + i * all,
                qkv + i * C);
    attention(l, qkv, o);
    product(l, &l->k->out, l->at.out, l->at.out_bias, o, a);
}

/* y [rows] of x and what attention adds to it, a; float, half.  u: room for what lies between. */
static void published_network(struct layer *l, int rows, const float *x, const void *a, float *u,
                              float *y)
{
    const struct state *v = l->v;
    const size_t all = (size_t)rows * C;
    float *room = wide_at(v, 0);
    void *cast = half_at(v, 0), *hidden = half_at(v, 3), *f = half_at(v, 2);
    step(l, encoder_pass_add_half(all, x, a, room, l->s));
    step(l, encoder_pass_norm(rows, weight_at(l->a, l->weights, l->at.norm1), room, u, l->s));
    step(l, encoder_pass_to_half(all, u, cast, l->s));
    product(l, &l->k->fc1, l->at.fc1, l->at.fc1_bias, cast, hidden);
    step(l, encoder_pass_gelu((size_t)rows * (size_t)l->p->layer.hidden, hidden, l->s));
    product(l, &l->k->fc2, l->at.fc2, l->at.fc2_bias, hidden, f);
    step(l, encoder_pass_add_half(all, u, f, room, l->s));
    step(l, encoder_pass_norm(rows, weight_at(l->a, l->weights, l->at.norm2), room, y, l->s));
}

static void flatformer_layer(struct layer *l, const int32_t *order)
{
    const struct state *v = l->v;
    const int n = l->p->layer.n, rows = l->p->layer.slots;
    float *room = wide_at(v, 0), *x = wide_at(v, 1), *u = wide_at(v, 2), *y = wide_at(v, 3);
    void *a = half_at(v, 1);
    gather_twice(l, order, v->b.row, room, x);
    gather_twice(l, order, v->b.embedding, room, u);
    step(l, encoder_pass_add((size_t)rows * C, x, u, room, l->s));
    published_attention(l, x, a);
    published_network(l, rows, x, a, u, y);
    step(l, encoder_pass_gather(n, v->keep, y, room, l->s));
    step(l, encoder_pass_scatter(n, order, room, v->b.row, l->s));
}

static void sst_layer(struct layer *l, const float *e)
{
    const struct state *v = l->v;
    const int n = l->p->layer.n, rows = l->k->tokens.tokens;
    float *x = wide_at(v, 1), *u = wide_at(v, 2);
    void *a = half_at(v, 1), *a_row = half_at(v, 2);
    step(l, encoder_pass_gather(rows, l->k->device.from, v->b.row, x, l->s));
    step(l, encoder_pass_add((size_t)rows * C, x, e, wide_at(v, 0), l->s));
    published_attention(l, x, a);
    step(l, encoder_pass_gather_half(n, l->k->token, a, a_row, l->s));
    published_network(l, n, v->b.row, a_row, u, v->b.row);
}

static enum op_status run_published(const struct encoder_problem *p, const struct encoder_args *a,
                                    struct layer *l)
{
    const struct state *v = l->v;
    const size_t count = (size_t)p->layer.n * C;
    step(l, encoder_pass_to_float(count, a->x, v->b.row, l->s));
    step(l, encoder_pass_embed(p->layer.n, a->frame.cell, v->b.embedding, l->s));
    for (int i = 0; i < v->kinds && v->form.padded; i++)
        step(l, encoder_pass_gather(v->kind[i].tokens.tokens, v->kind[i].device.from,
                                    v->b.embedding, v->b.padded[i], l->s));
    for (int i = 0; i < p->layers; i++) {
        const size_t order = (size_t)(i % FLATTEN_ORDERS) * (size_t)p->layer.slots;
        l->k = &v->kind[i % v->kinds];
        l->weights = (size_t)i * l->at.count;
        if (v->form.padded)
            sst_layer(l, v->b.padded[i % v->kinds]);
        else
            flatformer_layer(l, a->frame.slot + order);
    }
    step(l, encoder_pass_to_half(count, v->b.row, a->y, l->s));
    return l->status;
}

enum op_status encoder_cublas_run(const struct encoder_problem *p, const struct encoder_args *a,
                                  void *state, op_stream s)
{
    const struct state *v = state;
    struct layer l = { .p = p, .a = a, .v = v, .at = encoder_offsets_of(&p->layer), .s = s };
    if (v->form.published)
        return run_published(p, a, &l);
    for (int i = 0; i < p->layers; i++) {
        l.k = &v->kind[i % v->kinds];
        l.weights = (size_t)i * l.at.count;
        lean_layer(&l, i ? v->b.row : a->x, i == p->layers - 1 ? a->y : v->b.row);
    }
    return l.status;
}

/* ---- forms ---- */

enum op_status encoder_published_setup(const struct encoder_problem *p,
                                       const struct encoder_host *h, const struct encoder_args *a,
                                       const struct op_memory *m, op_stream s, void **state)
{
    const struct form f = { ENCODER_GROUPS, .published = 1, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_published_unfused_setup(const struct encoder_problem *p,
                                               const struct encoder_host *h,
                                               const struct encoder_args *a,
                                               const struct op_memory *m, op_stream s,
                                               void **state)
{
    const struct form f = { ENCODER_GROUPS, .published = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_groups_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                    const struct encoder_args *a, const struct op_memory *m,
                                    op_stream s, void **state)
{
    const struct form f = { ENCODER_GROUPS, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_groups_unfused_setup(const struct encoder_problem *p,
                                            const struct encoder_host *h,
                                            const struct encoder_args *a,
                                            const struct op_memory *m, op_stream s, void **state)
{
    const struct form f = { ENCODER_GROUPS };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_sst_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                 const struct encoder_args *a, const struct op_memory *m,
                                 op_stream s, void **state)
{
    const struct form f = { ENCODER_WINDOWS, .published = 1, .padded = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_padded_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                    const struct encoder_args *a, const struct op_memory *m,
                                    op_stream s, void **state)
{
    const struct form f = { ENCODER_WINDOWS, .padded = 1, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_padded_unfused_setup(const struct encoder_problem *p,
                                            const struct encoder_host *h,
                                            const struct encoder_args *a,
                                            const struct op_memory *m, op_stream s, void **state)
{
    const struct form f = { ENCODER_WINDOWS, .padded = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_windows_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                     const struct encoder_args *a, const struct op_memory *m,
                                     op_stream s, void **state)
{
    const struct form f = { ENCODER_WINDOWS, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

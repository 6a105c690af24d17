/*
 * encoder_run_cublas.c - the encoder as dense products by cuBLASLt with kernels between them.
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
#include "encoder_part_cublas.h"

/* What the steps of a layer need. */
struct layer {
    const struct encoder_problem *p;
    const struct encoder_args *a;
    const struct encoder_state *v;
    const struct encoder_kind *k;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = l->v;
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
    const struct encoder_state *v = state;
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

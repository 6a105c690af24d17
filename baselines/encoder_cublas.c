/*
 * encoder_cublas.c - set-up of the encoder with cuBLAS: tokens, memory, products; see
 * encoder_run_cublas.c for what is done with them.
 */
#include "encoder_part_cublas.h"

#include <stdlib.h>

#include "../kernels/common/half.h"

void encoder_cublas_teardown(void *state)
{
    struct encoder_state *v = state;
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
static enum op_status buffers_open(const struct encoder_problem *p,
                                   const struct encoder_state *first, const struct op_memory *m,
                                   struct encoder_state *v)
{
    const size_t n = (size_t)p->layer.n;
    struct encoder_buffers *b = &v->b;
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

/* ---- set-up ---- */

static enum op_status table_of(const struct encoder_problem *p, const struct op_memory *m,
                               op_stream s, struct encoder_state *v)
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
                                 op_stream s, struct encoder_state *v)
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
                                  const struct encoder_kind *like, op_stream s,
                                  struct encoder_state *v, struct encoder_kind *k)
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
                                const struct op_memory *m, op_stream s, struct encoder_kind *k)
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
                               const struct op_memory *m, op_stream s, struct encoder_state *v)
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

static enum op_status library_of(const struct encoder_state *first, const struct op_memory *m,
                                 op_stream s, struct encoder_state *v)
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

static enum op_status open_state(const struct encoder_form *form, const struct encoder_problem *p,
                                 const struct encoder_host *h, const struct encoder_args *a,
                                 const struct op_memory *m, op_stream s, void **state)
{
    const struct encoder_state *first = *state;
    struct encoder_state *v = calloc(1, sizeof *v);
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
        const struct encoder_kind *like = i ? &v->kind[0] : first ? &first->kind[0] : NULL;
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

/* ---- forms ---- */

enum op_status encoder_published_setup(const struct encoder_problem *p,
                                       const struct encoder_host *h, const struct encoder_args *a,
                                       const struct op_memory *m, op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_GROUPS, .published = 1, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_published_unfused_setup(const struct encoder_problem *p,
                                               const struct encoder_host *h,
                                               const struct encoder_args *a,
                                               const struct op_memory *m, op_stream s,
                                               void **state)
{
    const struct encoder_form f = { ENCODER_GROUPS, .published = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_groups_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                    const struct encoder_args *a, const struct op_memory *m,
                                    op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_GROUPS, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_groups_unfused_setup(const struct encoder_problem *p,
                                            const struct encoder_host *h,
                                            const struct encoder_args *a,
                                            const struct op_memory *m, op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_GROUPS };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_sst_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                 const struct encoder_args *a, const struct op_memory *m,
                                 op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_WINDOWS, .published = 1, .padded = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_padded_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                    const struct encoder_args *a, const struct op_memory *m,
                                    op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_WINDOWS, .padded = 1, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_padded_unfused_setup(const struct encoder_problem *p,
                                            const struct encoder_host *h,
                                            const struct encoder_args *a,
                                            const struct op_memory *m, op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_WINDOWS, .padded = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

enum op_status encoder_windows_setup(const struct encoder_problem *p, const struct encoder_host *h,
                                     const struct encoder_args *a, const struct op_memory *m,
                                     op_stream s, void **state)
{
    const struct encoder_form f = { ENCODER_WINDOWS, .flash = 1 };
    return open_state(&f, p, h, a, m, s, state);
}

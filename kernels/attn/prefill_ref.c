/* prefill_ref.c - prefill attention by its definition, on the host, and its row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prefill_at.h"
#include "value.h"

static void attend(const struct attn_problem *p, const struct prefill_rows *r, double *score,
                   double *want, double *spread)
{
    double most = -INFINITY, sum = 0;
    for (int t = 0; t < r->keys; t++) {
        score[t] = prefill_score(r, p->head_dim, t);
        most = fmax(most, score[t]);
    }
    for (int t = 0; t < r->keys; t++)
        sum += score[t] = exp(score[t] - most);
    for (int d = 0; d < p->head_dim; d++)
        want[d] = spread[d] = 0;
    for (int t = 0; t < r->keys; t++)
        for (int d = 0; d < p->head_dim; d++) {
            const double term =
                score[t] / sum * half_to_float(r->v[(size_t)t * r->stride + (size_t)d]);
            want[d] += term;
            spread[d] += term * term;
        }
    for (int d = 0; d < p->head_dim; d++)
        spread[d] = sqrt(spread[d]);
}

enum op_status prefill_ref(const struct attn_problem *p, const struct prefill_args *a,
                           const int *token, int tokens, const struct attn_wanted *w)
{
    if (attn_meaningless(p))
        return OP_EINVAL;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < tokens * p->heads; i++) {
        const struct prefill_rows r = prefill_rows_at(p, a, token[i / p->heads], i % p->heads);
        const size_t at = (size_t)i * (size_t)p->head_dim;
        attend(p, &r, w->score + (size_t)i * (size_t)p->length, w->want + at, w->spread + at);
    }
    return OP_OK;
}

/* ---- the reference as an implementation ---- */

struct room {
    int *token;
    struct attn_wanted w;
    unsigned char *halves; /* one page */
};

static enum op_status setup(const struct attn_problem *p, const struct prefill_args *args,
                            const struct op_memory *memory, op_stream s, void **state)
{
    const size_t tokens = (size_t)p->batch * (size_t)p->length, rows = tokens * (size_t)p->heads;
    const size_t out = rows * (size_t)p->head_dim * sizeof(double);
    struct room *v = calloc(1, sizeof *v);
    (void)args, (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->token = memory->take(memory->context, tokens * sizeof *v->token);
    v->w.want = memory->take(memory->context, out);
    v->w.spread = memory->take(memory->context, out);
    v->w.score = memory->take(memory->context, rows * (size_t)p->length * sizeof(double));
    v->halves = memory->take(memory->context,
                             attn_page_bytes(ATTN_KV16, p->kv_heads, p->head_dim, p->page));
    if (!v->token || !v->w.want || !v->w.spread || !v->w.score || !v->halves) {
        free(v);
        return OP_ENOMEM;
    }
    for (size_t i = 0; i < tokens; i++)
        v->token[i] = (int)i;
    *state = v;
    return OP_OK;
}

/* The page's tokens as halves, then as codes. */
static enum op_status fill_page(const struct attn_problem *p, enum attn_scheme s,
                                const half_bits *x, int first, unsigned char *halves, void *page)
{
    const size_t row = (size_t)p->head_dim * 2;
    for (int t = 0; t < p->page; t++)
        for (int head = 0; head < p->kv_heads; head++)
            memcpy(halves + attn_data_at(ATTN_KV16, p->head_dim, p->page, head, t),
                   (const char *)x +
                       ((size_t)(first + t) * (size_t)p->kv_heads + (size_t)head) * row,
                   row);
    if (s != ATTN_KV16)
        return attn_quantise(p, s, halves, 1, NULL, 0, page);
    memcpy(page, halves, attn_page_bytes(s, p->kv_heads, p->head_dim, p->page));
    return OP_OK;
}

static enum op_status run(const struct attn_problem *p, enum attn_scheme s,
                          const struct prefill_args *a, const struct room *v)
{
    const int tokens = p->batch * p->length, width = attn_table_pages(p);
    const size_t out = (size_t)tokens * (size_t)p->heads * (size_t)p->head_dim;
    enum op_status status = prefill_ref(p, a, v->token, tokens, &v->w);
    for (size_t i = 0; !status && i < out; i++)
        ((half_bits *)a->out)[i] = half_from_float((float)v->w.want[i]);
    for (int b = 0; b < p->batch; b++)
        for (int which = 0; which < 2; which++)
            for (int i = 0; !status && i < p->length / p->page; i++)
                status = fill_page(p, s, which ? a->v : a->k, b * p->length + i * p->page,
                                   v->halves, a->page[(b * 2 + which) * width + i]);
    return status;
}

#define RUN(what, kind)                                                                           \
    static enum op_status run_##what(const struct attn_problem *p, const struct prefill_args *a,  \
                                     void *state, op_stream s)                                    \
    {                                                                                             \
        (void)s;                                                                                  \
        return run(p, kind, a, state);                                                            \
    }
RUN(kv16, ATTN_KV16)
RUN(kv8, ATTN_KV8)
RUN(kv4, ATTN_KV4)

#define ROW(what, text, kind)                                                                     \
    { .base = { .name = "ref_prefill_" #what, .title = "prefill, " text ", in double",            \
                .origin = "definition", .role = OP_REFERENCE },                                   \
      .scheme = kind, .setup = setup, .teardown = free, .run = run_##what }

const struct prefill_impl prefill_references[] = {
    ROW(kv16, "KV16", ATTN_KV16),
    ROW(kv8, "KV8", ATTN_KV8),
    ROW(kv4, "KV4", ATTN_KV4),
    { .base = { .name = NULL } },
};

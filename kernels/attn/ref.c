/* ref.c - decode attention by its definition, on the host; codes of the cache; rows of both. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

double attn_cache_bytes(const struct attn_problem *p, enum attn_scheme s)
{
    return 2 * p->tokens * p->kv_heads *
           ((double)attn_row_bytes(s, p->head_dim) + (attn_has_scales(s) ? 4 : 0));
}

/* ---- codes ---- */

static void quantise_row(const struct attn_problem *p, enum attn_scheme s, const half_bits *x,
                         float given, unsigned char *page, int head, int token)
{
    unsigned char *const data = page + attn_data_at(s, p->head_dim, p->page, head, token);
    if (s == ATTN_KV8_STATIC) {
        for (int d = 0; d < p->head_dim; d++)
            data[d] = (unsigned char)attn_code_static(half_to_float(x[d]), given);
        return;
    }
    const int levels = attn_levels(s);
    float low = half_to_float(x[0]), high = low;
    for (int d = 1; d < p->head_dim; d++) {
        const float v = half_to_float(x[d]);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    const struct attn_row row = attn_row_of(low, high, levels);
    *(half_bits *)(page + attn_scale_at(s, p->kv_heads, p->head_dim, p->page, head, token)) =
        row.scale;
    *(half_bits *)(page + attn_zero_at(s, p->kv_heads, p->head_dim, p->page, head, token)) =
        row.zero;
    for (int d = 0; d < p->head_dim; d += s == ATTN_KV4 ? 2 : 1) {
        const int code = attn_code(&row, half_to_float(x[d]), levels);
        if (s == ATTN_KV4)
            data[d / 2] = (unsigned char)(code | attn_code(&row, half_to_float(x[d + 1]), levels)
                                                     << 4);
        else
            data[d] = (unsigned char)code;
    }
}

enum op_status attn_quantise(const struct attn_problem *p, enum attn_scheme s, const void *halves,
                             int count, const float *scale, int which, void *pages)
{
    const size_t from = attn_page_bytes(ATTN_KV16, p->kv_heads, p->head_dim, p->page);
    const size_t to = attn_page_bytes(s, p->kv_heads, p->head_dim, p->page);
    if (attn_meaningless(p) || s == ATTN_KV16)
        return OP_EINVAL;
    const float given = s == ATTN_KV8_STATIC ? scale[which] : 1;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++)
        for (int head = 0; head < p->kv_heads; head++)
            for (int t = 0; t < p->page; t++) {
                const unsigned char *const page = (const unsigned char *)halves + (size_t)i * from;
                quantise_row(p, s,
                             (const half_bits *)(page + attn_data_at(ATTN_KV16, p->head_dim,
                                                                     p->page, head, t)),
                             given, (unsigned char *)pages + (size_t)i * to, head, t);
            }
    return OP_OK;
}

/* ---- attention ---- */

/* Of one query head. */
static void attend(const struct attn_problem *p, enum attn_scheme s, const struct attn_args *a,
                   int b, int h, const struct attn_wanted *w)
{
    const size_t row = (size_t)b * (size_t)p->heads + (size_t)h;
    double *const score = w->score + row * (size_t)p->length;
    double *const want = w->want + row * (size_t)p->head_dim;
    double *const spread = w->spread + row * (size_t)p->head_dim;
    const int length = a->length[b], dims = p->head_dim, head = h / (p->heads / p->kv_heads);
    const half_bits *const q = (const half_bits *)a->q + row * (size_t)dims;
    double most = -INFINITY, sum = 0, offset = 0;
    for (int t = 0; t < length; t++) {
        const struct attn_vector k =
            attn_vector_at(p, s, attn_page_of(p, a, b, 0, t), head, t % p->page,
                           a->scale ? a->scale[0] : 1);
        score[t] = 0;
        for (int d = 0; d < dims; d++)
            score[t] += half_to_float(q[d]) * attn_element(&k, s, d);
        score[t] /= sqrt(dims);
        most = fmax(most, score[t]);
    }
    for (int t = 0; t < length; t++)
        sum += score[t] = exp(score[t] - most);
    for (int d = 0; d < dims; d++)
        want[d] = spread[d] = 0;
    for (int t = 0; t < length; t++) {
        const struct attn_vector v =
            attn_vector_at(p, s, attn_page_of(p, a, b, 1, t), head, t % p->page,
                           a->scale ? a->scale[1] : 1);
        const double weight = score[t] / sum;
        offset += pow(weight * attn_shift(&v, s), 2);
        for (int d = 0; d < dims; d++) {
            const double term = weight * attn_element(&v, s, d);
            want[d] += term;
            spread[d] += term * term;
        }
    }
    for (int d = 0; d < dims; d++)
        spread[d] = sqrt(spread[d]);
    w->offset[row] = sqrt(offset);
}

enum op_status attn_ref(const struct attn_problem *p, enum attn_scheme s,
                        const struct attn_args *a, const struct attn_wanted *w)
{
    if (attn_meaningless(p))
        return OP_EINVAL;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < p->batch * p->heads; i++)
        attend(p, s, a, i / p->heads, i % p->heads, w);
    return OP_OK;
}

/* ---- the reference as an implementation ---- */

static enum op_status setup(const struct attn_problem *p, const struct attn_args *args,
                            const struct op_memory *memory, op_stream s, void **state)
{
    const size_t rows = (size_t)p->batch * (size_t)p->heads, out = rows * (size_t)p->head_dim;
    struct attn_wanted *v = calloc(1, sizeof *v);
    (void)args, (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->score = memory->take(memory->context, rows * (size_t)p->length * sizeof *v->score);
    v->want = memory->take(memory->context, out * sizeof *v->want);
    v->spread = memory->take(memory->context, out * sizeof *v->spread);
    v->offset = memory->take(memory->context, rows * sizeof *v->offset);
    if (!v->score || !v->want || !v->spread || !v->offset) {
        free(v);
        return OP_ENOMEM;
    }
    *state = v;
    return OP_OK;
}

static enum op_status run(const struct attn_problem *p, enum attn_scheme s,
                          const struct attn_args *a, const struct attn_wanted *v)
{
    const enum op_status status = attn_ref(p, s, a, v);
    const size_t out = (size_t)p->batch * (size_t)p->heads * (size_t)p->head_dim;
    for (size_t i = 0; !status && i < out; i++)
        ((half_bits *)a->out)[i] = half_from_float((float)v->want[i]);
    return status;
}

#define RUN(name, scheme)                                                                         \
    static enum op_status name(const struct attn_problem *p, const struct attn_args *a,           \
                               void *state, op_stream s)                                          \
    {                                                                                             \
        (void)s;                                                                                  \
        return run(p, scheme, a, state);                                                          \
    }
RUN(run_kv16, ATTN_KV16)
RUN(run_kv8, ATTN_KV8)
RUN(run_kv8_static, ATTN_KV8_STATIC)
RUN(run_kv4, ATTN_KV4)

#define ROW(what, text, kind)                                                                     \
    { .base = { .name = "ref_" #what, .title = text " in double", .origin = "definition",         \
                .role = OP_REFERENCE },                                                           \
      .scheme = kind, .setup = setup, .teardown = free, .run = run_##what }

const struct attn_impl attn_references[] = {
    ROW(kv16, "KV16", ATTN_KV16),
    ROW(kv8, "KV8", ATTN_KV8),
    ROW(kv8_static, "KV8, one scale a tensor", ATTN_KV8_STATIC),
    ROW(kv4, "KV4", ATTN_KV4),
    { .base = { .name = NULL } },
};

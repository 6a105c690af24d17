/* ref.c - the definitions of quant.h: in double for one row, and as an implementation of the host.
 */
#include <math.h>
#include <stdlib.h>

#include "../attn/page.h"
#include "../gemm/quantise.h"
#include "cache.h"
#include "quant.h"

enum op_status quant_valid(const struct quant_problem *p)
{
    if (p->m < 1 || p->n < 1)
        return OP_EINVAL;
    if (p->kernel != QUANT_ROPE_KV)
        return OP_OK;
    if (p->heads < 1 || p->kv_heads < 1 || p->heads % p->kv_heads)
        return OP_EINVAL;
    if (p->head_dim < 1 || p->head_dim % 32 || p->head_dim > QUANT_HEAD_MAX)
        return OP_EINVAL;
    if (p->length < 1 || p->m % p->length || p->page < 1 || p->page % 16)
        return OP_EINVAL;
    if (p->bits != 4 && p->bits != 8)
        return OP_EINVAL;
    return p->n == (p->heads + 2 * p->kv_heads) * p->head_dim ? OP_OK : OP_EINVAL;
}

static int quantises(const struct quant_problem *p)
{
    return p->kernel != QUANT_ADD && p->kernel != QUANT_ROPE_KV;
}

static int keeps(const struct quant_problem *p)
{
    return p->kernel == QUANT_ADD || p->kernel == QUANT_ADD_NORM;
}

static int norms(const struct quant_problem *p)
{
    return p->kernel == QUANT_NORM || p->kernel == QUANT_ADD_NORM;
}

double quant_read_bytes(const struct quant_problem *p)
{
    const double row = 2.0 * p->n * (p->kernel == QUANT_SILU || keeps(p) ? 2 : 1);
    const double angles = p->kernel == QUANT_ROPE_KV ? 4.0 * p->length * p->head_dim : 0;
    return row * p->m + (norms(p) ? 2.0 * p->n : 0) + angles;
}

double quant_written_bytes(const struct quant_problem *p)
{
    double row = keeps(p) ? 2.0 * p->n : 0;
    if (quantises(p))
        row += p->n + 8.0; /* codes, scale and two sums */
    if (p->kernel == QUANT_ROPE_KV)
        row = 2.0 * (p->heads + p->kv_heads) * p->head_dim +
              2.0 * p->kv_heads * (p->head_dim * p->bits / 8 + 4);
    return row * p->m;
}

static double at(const void *halves, size_t i)
{
    return (double)half_to_float(((const half_bits *)halves)[i]);
}

/* float holds the sum of two halves well enough: rounding it again gives what rounding the sum
 * itself does */
static half_bits added(const struct quant_args *a, size_t i)
{
    return half_from_float((float)(at(a->x, i) + at(a->residual, i)));
}

void quant_ref_row(const struct quant_problem *p, const struct quant_args *a, int i, double *v)
{
    const size_t n = (size_t)p->n, first = (size_t)i * n;
    double squares = 0;
    for (size_t j = 0; j < n; j++) {
        switch (p->kernel) {
        case QUANT_SILU: {
            const double gate = at(a->x, 2 * first + j);
            v[j] = gate / (1 + exp(-gate)) * at(a->x, 2 * first + n + j);
            break;
        }
        case QUANT_ADD:
        case QUANT_ADD_NORM:
            v[j] = (double)half_to_float(added(a, first + j));
            break;
        default:
            v[j] = at(a->x, first + j);
        }
        squares += v[j] * v[j];
    }
    for (size_t j = 0; norms(p) && j < n; j++)
        v[j] *= at(a->gain, j) / sqrt(squares / (double)n + (double)QUANT_EPS);
    for (int h = 0; p->kernel == QUANT_ROPE_KV && h < p->heads + p->kv_heads; h++) {
        const int half = p->head_dim / 2;
        const float *turn = a->rotation + (size_t)(i % p->length) * (size_t)p->head_dim;
        for (int d = 0; d < half; d++) {
            double *head = v + (size_t)h * (size_t)p->head_dim;
            const double x = head[d], y = head[d + half], c = turn[2 * d], s = turn[2 * d + 1];
            head[d] = x * c - y * s;
            head[d + half] = x * s + y * c;
        }
    }
}

/* ---- the reference as an implementation ---- */

static void quantise_row(const struct quant_problem *p, const struct quant_args *a, size_t i,
                         const double *v)
{
    const size_t n = (size_t)p->n;
    long long units = 0;
    float most = 0;
    int codes = 0;
    for (size_t j = 0; j < n; j++) {
        const half_bits h = half_from_float((float)v[j]);
        most = fmaxf(most, fabsf(half_to_float(h)));
        units += half_units(h);
    }
    for (size_t j = 0; j < n; j++) {
        const float x = half_to_float(half_from_float((float)v[j]));
        a->code[i * n + j] = int_x_code(x, most, W8_TOP);
        codes += a->code[i * n + j];
    }
    ((half_bits *)a->scale)[i] = int_scale(most, W8_TOP);
    ((half_bits *)a->sum)[i] = half_of_units(units);
    a->code_sum[i] = codes;
}

static void store_head(const struct quant_problem *p, const struct quant_args *a, int i, int which,
                       int head, const double *v)
{
    const int token = i % p->length;
    void *page =
        a->page[((size_t)(i / p->length) * 2 + (size_t)which) * (size_t)quant_table_pages(p) +
                (size_t)(token / p->page)];
    float x[QUANT_HEAD_MAX] = { 0 };
    for (int d = 0; d < p->head_dim; d++)
        x[d] = half_to_float(half_from_float((float)v[d]));
    quant_cache_head(p, 0, x, head, token % p->page, page);
}

static enum op_status run(const struct quant_problem *p, const struct quant_args *a, void *state,
                          op_stream s)
{
    const size_t n = (size_t)p->n, rotated = (size_t)((p->heads + p->kv_heads) * p->head_dim);
    int failed = 0;
    (void)state, (void)s;
    if (quant_valid(p) != OP_OK)
        return OP_EINVAL;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < p->m; i++) {
        double *v = malloc(n * sizeof *v);
        if (!v) {
#pragma omp atomic write
            failed = 1;
            continue;
        }
        quant_ref_row(p, a, i, v);
        for (size_t j = 0; keeps(p) && j < n; j++)
            ((half_bits *)a->y)[(size_t)i * n + j] = added(a, (size_t)i * n + j);
        if (quantises(p))
            quantise_row(p, a, (size_t)i, v);
        if (p->kernel == QUANT_ROPE_KV) {
            for (size_t j = 0; j < rotated; j++)
                ((half_bits *)a->y)[(size_t)i * rotated + j] = half_from_float((float)v[j]);
            for (int h = 0; h < 2 * p->kv_heads; h++)
                store_head(p, a, i, h >= p->kv_heads, h % p->kv_heads,
                           v + (size_t)(p->heads + h) * (size_t)p->head_dim);
        }
        free(v);
    }
    return failed ? OP_ENOMEM : OP_OK;
}

static enum op_status all(const struct quant_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

const struct quant_impl quant_references[] = {
    { .base = { .name = "quant_ref",
                .title = "rows in double",
                .origin = "definition",
                .role = OP_REFERENCE },
      .code_sums = 1,
      .supports = all,
      .run = run },
    { .base = { .name = NULL } },
};

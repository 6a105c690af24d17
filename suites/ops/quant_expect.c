/*
 * quant_expect.c - what rows of quant should hold, and the comparison with it.
 *
 * A value in float may differ from the exact one in its last bits, by the order of a sum or by
 * an approximation of exp; what follows it, rounding to half, the largest value, the codes, is
 * defined to the bit.  So each exact value is taken with that much to both sides, both ends go
 * through the definition, and the result must lie between what comes out.  For nearly every
 * element the ends agree and there is one right code; where nothing rounds there is always.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/gemm/quantise.h"
#include "../../kernels/quant/cache.h"
#include "quant_part.h"

enum { ROWS_CHECKED = 64 };
#define WHOLE_MAX 4e6 /* elements */

int quant_expectation_open(struct quant_expectation *e, struct cb_device *d,
                           const struct quant_problem *p, uint64_t seed)
{
    uint64_t state = seed ^ 0x51A7;
    const bool whole = (double)p->m * p->n <= WHOLE_MAX || p->m <= ROWS_CHECKED;
    *e = (struct quant_expectation){ .device = d, .p = *p, .rows = whole ? p->m : ROWS_CHECKED };
    const size_t count = (size_t)e->rows * (size_t)p->n;
    e->row = malloc((size_t)e->rows * sizeof *e->row);
    e->v = malloc(2 * count * sizeof *e->v);
    e->x = malloc(2 * count * sizeof *e->x);
    if (!e->row || !e->v || !e->x)
        return cb_error("no memory for the reference");
    e->up = e->v + count;
    e->sum = e->x + count;
    for (int r = 0; r < e->rows; r++)
        e->row[r] =
            whole
                ? r
                : (int)(((long)r * p->m + (long)(cb_splitmix(&state) % (uint64_t)p->m)) / e->rows);
    if (p->kernel != QUANT_ROPE_KV)
        return 0;
    e->page_bytes =
        attn_page_bytes(p->bits == 4 ? ATTN_KV4 : ATTN_KV8, p->kv_heads, p->head_dim, p->page);
    e->set_pages = 2 * (size_t)(p->m / p->length) * (size_t)quant_pages(p);
    e->pool_bytes = e->set_pages * e->page_bytes;
    e->pages = malloc(2 * e->pool_bytes);
    return e->pages ? 0 : cb_error("no memory for the reference");
}

void quant_expectation_close(struct quant_expectation *e)
{
    free(e->row);
    free(e->v);
    free(e->x);
    free(e->pages);
    *e = (struct quant_expectation){ 0 };
}

/* ---- the reference ---- */

static bool keeps(const struct quant_problem *p)
{
    return p->kernel == QUANT_ADD || p->kernel == QUANT_ADD_NORM;
}

static bool norms(const struct quant_problem *p)
{
    return p->kernel == QUANT_NORM || p->kernel == QUANT_ADD_NORM;
}

/* Row i of `width` halves. */
static int download_row(struct cb_device *d, uint16_t *to, const void *from, int i, size_t width)
{
    return cb_download(d, to, (const char *)from + (size_t)i * width * 2, width * 2);
}

int quant_expectation_compute(struct quant_expectation *e, const struct quant_args *a)
{
    const struct quant_problem *p = &e->p;
    const size_t n = (size_t)p->n, width = p->kernel == QUANT_SILU ? 2 * n : n;
    const size_t angles = p->kernel == QUANT_ROPE_KV ? (size_t)(p->length * p->head_dim) : 0;
    uint16_t *x = malloc(4 * n * sizeof *x);
    float *rotation = malloc((angles + 1) * sizeof *rotation);
    int status = x && rotation ? 0 : cb_error("no memory for the reference");
    uint16_t *residual = x ? x + 2 * n : NULL, *gain = x ? x + 3 * n : NULL;
    if (!status && norms(p))
        status = cb_download(e->device, gain, a->gain, n * 2);
    if (!status && angles)
        status = cb_download(e->device, rotation, a->rotation, angles * sizeof *rotation);
    for (int r = 0; !status && r < e->rows; r++) {
        const size_t first = (size_t)r * n;
        const int i = e->row[r];
        struct quant_problem one = *p;
        status = download_row(e->device, x, a->x, i, width);
        if (!status && keeps(p))
            status = download_row(e->device, residual, a->residual, i, n);
        if (status)
            break;
        one.m = one.length = 1;
        struct quant_args row = { .x = x, .residual = residual, .gain = gain };
        if (angles)
            row.rotation = rotation + (size_t)(i % p->length) * (size_t)p->head_dim;
        quant_ref_row(&one, &row, 0, e->v + first);
        for (size_t j = 0; j < n; j++) {
            if (p->kernel == QUANT_SILU)
                e->up[first + j] = (double)half_to_float(x[n + j]);
            if (keeps(p))
                e->sum[first + j] =
                    half_from_float(half_to_float(x[j]) + half_to_float(residual[j]));
        }
        memcpy(e->x + first, x, n * sizeof *x);
    }
    free(x);
    free(rotation);
    return status;
}

/* ---- what may come out ---- */

struct range {
    float low, high;
};

static float half_near(double x)
{
    return half_to_float(half_from_float((float)x));
}

/* Of a value before it is rounded to half. */
static struct range around(double v, double error)
{
    return (struct range){ (float)(v - error), (float)(v + error) };
}

/* Relative: sums of squares of up to 2^15 elements and a root; exp2 of a number that is rounded. */
static double error_of(const struct quant_problem *p, double v)
{
    return norms(p) ? 0x1p-19 * fabs(v) : p->kernel == QUANT_SILU ? 0x1p-17 * fabs(v) : 0;
}

/* Element j of row r as a half; exact: not rounded. */
static struct range value_range(const struct quant_expectation *e, unsigned arithmetic, int r,
                                size_t j, bool exact)
{
    const size_t at = (size_t)r * (size_t)e->p.n + j;
    const double v = e->v[at], error = error_of(&e->p, v), up = e->up[at];
    struct range f = around(v, error);
    if (exact)
        return f;
    if (e->p.kernel == QUANT_SILU && arithmetic & QUANT_SILU_TWICE && up != 0) {
        const double active = v / up, off = error / fabs(up);
        const float a = half_near(half_near(active - off) * up);
        const float b = half_near(half_near(active + off) * up);
        return (struct range){ fminf(a, b), fmaxf(a, b) };
    }
    return (struct range){ half_near((double)f.low), half_near((double)f.high) };
}

/* The largest value as the quotient has it: 0 where a row of nothing divides by it. */
static float least_of(const struct quant_problem *p, unsigned arithmetic, float largest)
{
    if (!(arithmetic & QUANT_NO_LEAST))
        return int_range(largest);
    return norms(p) ? fmaxf(largest, half_near(1e-6)) : largest;
}

static int code_of(float v, float largest)
{
    const float code = largest > 0 ? rintf(v * ((float)W8_TOP / largest)) : 0;
    return (int)fminf(fmaxf(code, -128), W8_TOP);
}

/* got lies in [low, high]; otherwise it is as far off as it is from the middle. */
static void within(struct cb_accuracy *r, long index, double got, double low, double high)
{
    const double middle = (low + high) / 2, width = (high - low) / 2;
    cb_accuracy_add(r, index, got, middle, width > 0 ? width * (1 + 1e-9) : 0);
}

/* ---- rows of codes ---- */

struct got {
    const signed char *code;
    double scale, sum;
    int code_sum;
};

static void check_row(const struct quant_expectation *e, const struct quant_impl *i, int r,
                      const struct got *got, struct cb_accuracy *r1, struct cb_accuracy *r2)
{
    const struct quant_problem *p = &e->p;
    const size_t n = (size_t)p->n, first = (size_t)r * n;
    const long index = (long)e->row[r] * p->n, behind = (long)p->m * p->n + 3L * e->row[r];
    float most_low = 0, most_high = 0;
    double sum_low = 0, sum_high = 0, size = 0;
    int codes = 0;
    for (size_t j = 0; j < n; j++) {
        const struct range v = value_range(e, i->arithmetic, r, j, false);
        const float least = v.low <= 0 && v.high >= 0 ? 0 : fminf(fabsf(v.low), fabsf(v.high));
        most_low = fmaxf(most_low, least);
        most_high = fmaxf(most_high, fmaxf(fabsf(v.low), fabsf(v.high)));
        sum_low += (double)v.low;
        sum_high += (double)v.high;
        size += (double)fmaxf(fabsf(v.low), fabsf(v.high));
    }
    const struct range a = { least_of(p, i->arithmetic, most_low),
                             least_of(p, i->arithmetic, most_high) };
    const bool exact = norms(p) && i->arithmetic & QUANT_CODES_OF_FLOAT;
    for (size_t j = 0; j < n; j++) {
        const struct range v = value_range(e, i->arithmetic, r, j, exact);
        within(r1, index + (long)j, got->code[j], code_of(v.low, v.low < 0 ? a.low : a.high),
               code_of(v.high, v.high < 0 ? a.high : a.low));
        cb_accuracy_add(r2, index + (long)j, got->code[j] * got->scale, e->v[first + j], INFINITY);
        codes += got->code[j];
    }
    const bool in_half = norms(p) && i->arithmetic & QUANT_SUMS_HALF;
    const double off =
        in_half ? ceil((double)n / 1024) * 0x1p-11 * size : 4 * 0x1p-24 * sqrt((double)n) * size;
    within(r1, behind, got->scale, (double)half_near((double)(a.low / W8_TOP)),
           (double)half_near((double)(a.high / W8_TOP)));
    within(r1, behind + 1, got->sum, (double)half_near(sum_low - off),
           (double)half_near(sum_high + off));
    if (i->code_sums)
        within(r1, behind + 2, got->code_sum, codes, codes);
}

static int check_codes(const struct quant_expectation *e, const struct quant_impl *i,
                       const struct quant_args *a, struct cb_accuracy *r1, struct cb_accuracy *r2)
{
    const size_t n = (size_t)e->p.n, m = (size_t)e->p.m, rows = (size_t)e->rows;
    signed char *code = malloc(rows * n);
    uint16_t *scale = malloc(2 * m * sizeof *scale);
    int *code_sum = malloc(m * sizeof *code_sum);
    struct cb_accuracy *part = calloc(2 * rows, sizeof *part);
    int status = code && scale && code_sum && part ? 0 : cb_error("no memory for a comparison");
    if (!status)
        status = cb_download(e->device, scale, a->scale, 2 * m) ||
                         cb_download(e->device, scale + m, a->sum, 2 * m) ||
                         cb_download(e->device, code_sum, a->code_sum, m * sizeof *code_sum)
                     ? -1
                     : 0;
    if (!status && rows == m)
        status = cb_download(e->device, code, a->code, m * n);
    for (size_t r = 0; !status && rows != m && r < rows; r++)
        status = cb_download(e->device, code + r * n, a->code + (size_t)e->row[r] * n, n);
    if (!status) {
#pragma omp parallel for schedule(static)
        for (int r = 0; r < e->rows; r++) {
            const int at = e->row[r];
            const struct got got = { code + (size_t)r * n, (double)half_to_float(scale[at]),
                                     (double)half_to_float(scale[m + (size_t)at]), code_sum[at] };
            part[2 * r].worst = part[2 * r + 1].worst = -1;
            check_row(e, i, r, &got, &part[2 * r], &part[2 * r + 1]);
        }
        for (size_t r = 0; r < rows; r++) {
            cb_accuracy_join(r1, &part[2 * r]);
            cb_accuracy_join(r2, &part[2 * r + 1]);
        }
    }
    free(code);
    free(scale);
    free(code_sum);
    free(part);
    return status;
}

/* ---- halves ---- */

/* Of ROPE_KV, a turned pair may be off in the direction of the turn. */
static struct range turned_range(const struct quant_expectation *e, unsigned arithmetic, int r,
                                 size_t j)
{
    const int dim = e->p.head_dim, token = e->row[r] % e->p.length;
    const size_t at = (size_t)r * (size_t)e->p.n + j;
    const size_t pair =
        j % (size_t)dim < (size_t)dim / 2 ? at + (size_t)dim / 2 : at - (size_t)dim / 2;
    const double angle = arithmetic & QUANT_ANGLES ? token * 0x1p-22 + 0x1p-20 : 0;
    const struct range f = around(e->v[at], (0x1p-22 + angle) * hypot(e->v[at], e->v[pair]));
    return (struct range){ half_near((double)f.low), half_near((double)f.high) };
}

/* y of row r, which is downloaded to got [width]. */
static void check_halves(const struct quant_expectation *e, const struct quant_impl *i, int r,
                         const uint16_t *got, size_t width, struct cb_accuracy *r1)
{
    for (size_t j = 0; j < width; j++) {
        const double y = (double)half_to_float(got[j]);
        const long index = (long)e->row[r] * (long)width + (long)j;
        if (e->p.kernel == QUANT_ROPE_KV) {
            const struct range want = turned_range(e, i->arithmetic, r, j);
            within(r1, index, y, (double)want.low, (double)want.high);
        } else {
            const double want = (double)half_to_float(e->sum[(size_t)r * (size_t)e->p.n + j]);
            within(r1, index, y, want, want);
        }
    }
}

/* Keys and values of row r as pages must hold them: keys from those the row itself turned. */
static void want_pages(const struct quant_expectation *e, const struct quant_impl *i, int r,
                       const uint16_t *y, unsigned char *pages)
{
    const struct quant_problem *p = &e->p;
    const size_t dim = (size_t)p->head_dim;
    const int token = e->row[r] % p->length, sequence = e->row[r] / p->length;
    for (int h = 0; h < 2 * p->kv_heads; h++) {
        const int which = h >= p->kv_heads, head = h - which * p->kv_heads;
        const uint16_t *from = which ? e->x + (size_t)r * (size_t)p->n : y;
        const size_t page = ((size_t)sequence * 2 + (size_t)which) * (size_t)quant_pages(p) +
                            (size_t)(token / p->page);
        float x[QUANT_HEAD_MAX];
        for (size_t d = 0; d < dim; d++)
            x[d] = half_to_float(from[(size_t)(p->heads + h) * dim + d]);
        quant_cache_head(p, (i->arithmetic & QUANT_CACHE_AS_STORED) != 0, x, head, token % p->page,
                         pages + page * e->page_bytes);
    }
}

/* Rows that are not compared: what was written there stands. */
static void spare(const struct quant_expectation *e, const unsigned char *got, unsigned char *want)
{
    const struct quant_problem *p = &e->p;
    const enum attn_scheme s = p->bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const size_t bytes = attn_row_bytes(s, p->head_dim);
    for (int i = 0; e->rows < p->m && i < p->m; i++)
        for (int h = 0; h < 2 * p->kv_heads; h++) {
            const int which = h >= p->kv_heads, head = h - which * p->kv_heads;
            const int token = i % p->length, local = token % p->page;
            const size_t page =
                ((size_t)(i / p->length) * 2 + (size_t)which) * (size_t)quant_pages(p) +
                (size_t)(token / p->page);
            const size_t at[3] = { attn_data_at(s, p->head_dim, p->page, head, local),
                                   attn_scale_at(s, p->kv_heads, p->head_dim, p->page, head, local),
                                   attn_zero_at(s, p->kv_heads, p->head_dim, p->page, head,
                                                local) };
            for (int part = 0; part < 3; part++)
                memcpy(want + page * e->page_bytes + at[part],
                       got + page * e->page_bytes + at[part], part ? 2 : bytes);
        }
}

/* Bytes from index `first` on.  Where all are right, as almost all are, integers are summed
 * instead: the same sums. */
static void compare_bytes(struct cb_accuracy *r, long first, const unsigned char *got,
                          const unsigned char *want, size_t count)
{
    if (memcmp(got, want, count)) {
        for (size_t b = 0; b < count; b++)
            within(r, first + (long)b, got[b], want[b], want[b]);
        return;
    }
    uint64_t squares = 0;
    unsigned char most = 0;
    for (size_t b = 0; b < count; b++) {
        squares += (uint64_t)want[b] * want[b];
        most = want[b] > most ? want[b] : most;
    }
    r->compared += (long)count;
    r->sum_want2 += (double)squares;
    r->sum_got2 += (double)squares;
    r->sum_dot += (double)squares;
    r->max_want = fmax(r->max_want, most);
}

/* The pool against what it should hold; index of its first byte: behind all of y. */
static int compare_pool(const struct quant_expectation *e, size_t behind, struct cb_accuracy *r1)
{
    enum { PIECE = 1 << 16 };
    const unsigned char *got = e->pages, *want = got + e->pool_bytes;
    const long pieces = (long)((e->pool_bytes + PIECE - 1) / PIECE);
    struct cb_accuracy *part = calloc((size_t)pieces, sizeof *part);
    if (!part)
        return cb_error("no memory for a comparison");
#pragma omp parallel for schedule(static)
    for (long k = 0; k < pieces; k++) {
        const size_t at = (size_t)k * PIECE, left = e->pool_bytes - at;
        part[k].worst = -1;
        compare_bytes(&part[k], (long)(behind + at), got + at, want + at,
                      left < PIECE ? left : PIECE);
    }
    for (long k = 0; k < pieces; k++)
        cb_accuracy_join(r1, &part[k]);
    free(part);
    return 0;
}

int quant_expectation_check(struct quant_expectation *e, const struct quant_impl *i,
                            const struct quant_args *a, void *pool, struct cb_accuracy *r1,
                            struct cb_accuracy *r2)
{
    const struct quant_problem *p = &e->p;
    const bool rotates = p->kernel == QUANT_ROPE_KV;
    const size_t width = rotates ? (size_t)((p->heads + p->kv_heads) * p->head_dim) : (size_t)p->n;
    uint16_t *y = malloc(width * sizeof *y);
    unsigned char *want = e->pages + e->pool_bytes;
    int status = y ? 0 : cb_error("no memory for a comparison");
    if (!status && rotates)
        status = cb_download(e->device, e->pages, pool, e->pool_bytes);
    if (!status && rotates) {
        memset(want, QUANT_POISON, e->pool_bytes);
        spare(e, e->pages, want);
    }
    for (int r = 0; !status && (rotates || keeps(p)) && r < e->rows; r++) {
        status = download_row(e->device, y, a->y, e->row[r], width);
        if (status)
            break;
        check_halves(e, i, r, y, width, r1);
        if (rotates)
            want_pages(e, i, r, y, want);
    }
    if (!status && rotates)
        status = compare_pool(e, (size_t)p->m * width, r1) ||
                         cb_fill(e->device, pool, QUANT_POISON, e->pool_bytes)
                     ? -1
                     : 0;
    if (!status && !rotates && p->kernel != QUANT_ADD)
        status = check_codes(e, i, a, r1, r2);
    free(y);
    cb_accuracy_finish(r1);
    if (r2->compared)
        cb_accuracy_finish(r2);
    return status;
}

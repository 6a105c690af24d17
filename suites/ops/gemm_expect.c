/*
 * gemm_expect.c - what Y should be, and the comparison with it.
 *
 * Small outputs are compared whole.  Of large ones 64 random rows are (each
 * holds every column), and every row enters a Freivalds check: Y v against
 * X (W^T v) for a random vector v of +-1.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/gemm/bound.h"
#include "gemm_part.h"

enum { ROWS_CHECKED = 64, EXACT_K = 2048 /* most of which half holds sums of exact operands */ };

#ifdef WITH_CUDA
static bool on_gpu(const struct gemm_expectation *e)
{
    return cb_device_info(e->device)->sm > 0;
}
#endif

int gemm_expectation_open(struct gemm_expectation *e, struct cb_device *d,
                          const struct gemm_problem *p, uint64_t seed, double whole_max)
{
    uint64_t state = seed ^ 0x6E6Du;
    bool whole = (double)p->m * p->n * p->k <= whole_max || p->m <= ROWS_CHECKED;
    *e = (struct gemm_expectation){ .device = d, .p = *p };
    e->rows = whole ? p->m : ROWS_CHECKED;
    e->row = malloc((size_t)e->rows * sizeof *e->row);
    e->y = malloc((size_t)e->rows * (size_t)p->n * sizeof *e->y);
    e->sign = whole ? NULL : malloc((size_t)p->n);
    if (!e->row || !e->y || (!whole && !e->sign))
        return cb_error("no memory for the reference");
    for (int r = 0; r < e->rows; r++) /* one random row of each of 64 equal parts */
        e->row[r] = whole ? r
                          : (int)(((long)r * p->m + (long)(cb_splitmix(&state) % (uint64_t)p->m)) /
                                  e->rows);
    for (int j = 0; !whole && j < p->n; j++)
        e->sign[j] = cb_splitmix(&state) >> 63 ? 1 : -1;
    return 0;
}

static int open_wanted(const struct gemm_expectation *e, struct gemm_wanted *w)
{
    const size_t out = (size_t)e->rows * (size_t)e->p.n, m = (size_t)e->p.m;
    w->want = malloc(out * sizeof *w->want);
    w->size = malloc(out * sizeof *w->size);
    w->zeros = malloc(out * sizeof *w->zeros);
    w->sum = malloc(3 * m * sizeof *w->sum);
    if (!w->want || !w->size || !w->zeros || !w->sum)
        return cb_error("no memory for the reference");
    w->sum_size = w->sum + m;
    w->sum_zeros = w->sum + 2 * m;
    return 0;
}

int gemm_expectation_prepare(struct gemm_expectation *e, unsigned schemes)
{
    const size_t out = (size_t)e->rows * (size_t)e->p.n, rows = (size_t)e->rows * sizeof *e->row;
    e->schemes = schemes | 1u << GEMM_F16;
    for (int s = 0; s < GEMM_SCHEMES; s++)
        if (e->schemes & 1u << s && open_wanted(e, &e->wanted[s]))
            return -1;
    if (cb_alloc(e->device, rows, &e->row_device) ||
        cb_upload(e->device, e->row_device, e->row, rows) ||
        cb_alloc(e->device, out * sizeof *e->want_device, (void **)&e->want_device) ||
        cb_alloc(e->device, out * sizeof *e->size_device, (void **)&e->size_device) ||
        cb_alloc(e->device, out * sizeof *e->zeros_device, (void **)&e->zeros_device))
        return -1;
    if (!e->sign)
        return 0;
    size_t work = 256;
#ifdef WITH_CUDA
    if (on_gpu(e))
        work = gemm_freivalds_bytes(&e->p);
#endif
    if (cb_alloc(e->device, 3 * (size_t)e->p.m * sizeof *e->sum_device, (void **)&e->sum_device) ||
        cb_alloc(e->device, (size_t)e->p.n, &e->sign_device) ||
        cb_upload(e->device, e->sign_device, e->sign, (size_t)e->p.n))
        return -1;
    return cb_alloc(e->device, work, &e->work);
}

void gemm_expectation_close(struct gemm_expectation *e)
{
    for (int s = 0; s < GEMM_SCHEMES; s++) {
        free(e->wanted[s].want);
        free(e->wanted[s].size);
        free(e->wanted[s].zeros);
        free(e->wanted[s].sum);
    }
    if (e->device) {
        cb_free(e->device, e->row_device);
        cb_free(e->device, e->sign_device);
        cb_free(e->device, e->work);
        cb_free(e->device, e->want_device);
        cb_free(e->device, e->sum_device);
        cb_free(e->device, e->size_device);
        cb_free(e->device, e->zeros_device);
    }
    free(e->row);
    free(e->sign);
    free(e->y);
    *e = (struct gemm_expectation){ 0 };
}

/* ---- the reference ---- */

/* Enqueues the reference of a scheme into the arrays of the device. */
static enum op_status reference(struct gemm_expectation *e, enum gemm_scheme scheme,
                                const struct gemm_args *a)
{
    const size_t m = (size_t)e->p.m;
    enum op_status s;
#ifdef WITH_CUDA
    if (on_gpu(e)) {
        op_stream stream = cb_device_stream(e->device);
        s = gemm_ref_rows_cuda(&e->p, scheme, a, e->row_device, e->rows, e->want_device,
                               e->size_device, e->zeros_device, stream);
        if (s == OP_OK && e->sign)
            s = gemm_ref_freivalds_cuda(&e->p, scheme, a, e->sign_device, e->sum_device,
                                        e->sum_device + m, e->sum_device + 2 * m, e->work, stream);
        return s;
    }
#endif
    s = gemm_ref_rows(&e->p, scheme, a, e->row_device, e->rows, e->want_device, e->size_device,
                      e->zeros_device);
    if (s == OP_OK && e->sign)
        s = gemm_ref_freivalds(&e->p, scheme, a, e->sign_device, e->sum_device, e->sum_device + m,
                               e->sum_device + 2 * m);
    return s;
}

int gemm_expectation_compute(struct gemm_expectation *e, const struct gemm_operands *o,
                             int weights, int inputs)
{
    const size_t out = (size_t)e->rows * (size_t)e->p.n, m = (size_t)e->p.m;
    for (int s = 0; s < GEMM_SCHEMES; s++) {
        struct gemm_wanted *w = &e->wanted[s];
        if (!(e->schemes & 1u << s))
            continue;
        struct gemm_args a = gemm_operands_at(o, (enum gemm_scheme)s, weights, inputs);
        if (op_result(reference(e, (enum gemm_scheme)s, &a), "reference", "launch") ||
            cb_sync(e->device) ||
            cb_download(e->device, w->want, e->want_device, out * sizeof *w->want) ||
            cb_download(e->device, w->size, e->size_device, out * sizeof *w->size))
            return -1;
        if (s == GEMM_W4A16 &&
            cb_download(e->device, w->zeros, e->zeros_device, out * sizeof *w->zeros))
            return -1;
        if (e->sign &&
            cb_download(e->device, w->sum, e->sum_device, 3 * m * sizeof *w->sum))
            return -1;
    }
    return 0;
}

/* ---- the comparison ---- */

static int download_rows(struct gemm_expectation *e, const void *y)
{
    const size_t bytes = (size_t)e->p.n * sizeof *e->y;
    if (!e->sign)
        return cb_download(e->device, e->y, y, (size_t)e->rows * bytes);
    for (int r = 0; r < e->rows; r++)
        if (cb_download(e->device, e->y + (size_t)r * (size_t)e->p.n,
                        (const char *)y + (size_t)e->row[r] * bytes, bytes))
            return -1;
    return 0;
}

/* The half next to the exact value: sums and scales of exact operands lose nothing in float, so
 * that storing Y rounds, once, and only where it has more bits than a half. */
static double half_of(double x)
{
    return (double)cb_half_to_float(cb_half_from_float((float)x));
}

/* Rows are compared side by side and joined in order: no sum depends on the threads. */
static int compare_rows(const struct gemm_expectation *e, const struct gemm_impl *i, bool equal,
                        struct cb_accuracy *r1, struct cb_accuracy *r2)
{
    const struct gemm_wanted *w = &e->wanted[i->scheme], *plain = &e->wanted[GEMM_F16];
    const size_t n = (size_t)e->p.n;
    const bool zeros = i->rounds_zero && i->scheme == GEMM_W4A16;
    struct cb_accuracy *part = calloc(2 * (size_t)e->rows, sizeof *part);
    if (!part)
        return cb_error("no memory for a comparison");
#pragma omp parallel for schedule(static)
    for (int r = 0; r < e->rows; r++) {
        part[2 * r].worst = part[2 * r + 1].worst = -1;
        for (size_t at = (size_t)r * n; at < (size_t)(r + 1) * n; at++) {
            const long element = (long)e->row[r] * (long)n + (long)(at - (size_t)r * n);
            const double got = (double)cb_half_to_float(e->y[at]);
            const double bound = equal ? 0
                                       : gemm_bound(i, e->p.k, w->want[at], (double)w->size[at],
                                                    zeros ? (double)w->zeros[at] : 0);
            const double want = equal ? half_of(w->want[at]) : w->want[at];
            cb_accuracy_add(&part[2 * r], element, got, want, bound);
            if (i->scheme != GEMM_F16 && !equal)
                cb_accuracy_add(&part[2 * r + 1], element, got, plain->want[at], INFINITY);
        }
    }
    for (int r = 0; r < e->rows; r++) {
        cb_accuracy_join(r1, &part[2 * r]);
        cb_accuracy_join(r2, &part[2 * r + 1]);
    }
    free(part);
    return 0;
}

static int compare_sums(struct gemm_expectation *e, const struct gemm_impl *i, const void *y,
                        bool equal, struct cb_accuracy *sums)
{
    const struct gemm_wanted *w = &e->wanted[i->scheme];
    const size_t m = (size_t)e->p.m;
    const bool zeros = i->rounds_zero && i->scheme == GEMM_W4A16;
    double *got = malloc(2 * m * sizeof *got);
    enum op_status s;
    equal = equal && !gemm_is_int(i->scheme) && e->p.k <= EXACT_K; /* else Y is rounded */
    if (!got)
        return cb_error("no memory for a comparison");
#ifdef WITH_CUDA
    if (on_gpu(e))
        s = gemm_ref_signed_cuda(&e->p, y, e->sign_device, e->sum_device, e->sum_device + m,
                                 cb_device_stream(e->device));
    else
#endif
        s = gemm_ref_signed(&e->p, y, e->sign_device, e->sum_device, e->sum_device + m);
    int status = op_result(s, "reference", "launch") || cb_sync(e->device) ||
                         cb_download(e->device, got, e->sum_device, 2 * m * sizeof *got)
                     ? -1
                     : 0;
    for (size_t r = 0; !status && r < m; r++)
        cb_accuracy_add(sums, (long)r * e->p.n, got[r], w->sum[r],
                        equal ? 0
                              : gemm_bound_freivalds(i, e->p.k, e->p.n, got[m + r], w->sum_size[r],
                                                     zeros ? w->sum_zeros[r] : 0));
    free(got);
    return status;
}

int gemm_expectation_check(struct gemm_expectation *e, const struct gemm_impl *i, const void *y,
                           bool equal, struct cb_accuracy *r1, struct cb_accuracy *r2)
{
    struct cb_accuracy sums = { .worst = -1 };
    if (download_rows(e, y) || compare_rows(e, i, equal, r1, r2) ||
        (e->sign && compare_sums(e, i, y, equal, &sums)))
        return -1;
    r1->bad += sums.bad;
    r1->nonfinite += sums.nonfinite;
    cb_accuracy_finish(r1);
    if (r2->compared)
        cb_accuracy_finish(r2);
    return 0;
}

/* attn_expect.c - what attention should give, and how far from it a result may lie. */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "attn_part.h"

int attn_expectation_open(struct attn_expectation *e, const struct attn_operands *o,
                          unsigned schemes)
{
    const size_t out = attn_out_count(&o->p);
    e->device = o->device;
    e->schemes = schemes | 1u << ATTN_KV16;
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        if (!(e->schemes & 1u << s))
            continue;
        e->want[s] = malloc(out * sizeof(double));
        e->spread[s] = malloc(out * sizeof(double));
        if (!e->want[s] || !e->spread[s])
            return cb_error("no memory for the reference");
    }
    return cb_alloc(e->device,
                    (size_t)o->p.batch * (size_t)o->p.heads * (size_t)o->p.length * sizeof(double),
                    &e->score) ||
                   cb_alloc(e->device, out * sizeof(double), &e->want_device) ||
                   cb_alloc(e->device, out * sizeof(double), &e->spread_device)
               ? -1
               : 0;
}

static enum op_status reference(const struct attn_expectation *e, const struct attn_operands *o,
                                enum attn_scheme s, const struct attn_args *a)
{
#ifdef WITH_CUDA
    if (cb_device_info(e->device)->sm)
        return attn_ref_cuda(&o->p, s, a, e->score, e->want_device, e->spread_device,
                             cb_device_stream(e->device));
#endif
    return attn_ref(&o->p, s, a, e->score, e->want_device, e->spread_device);
}

int attn_expectation_compute(struct attn_expectation *e, const struct attn_operands *o,
                             int weights, int inputs)
{
    const size_t bytes = attn_out_count(&o->p) * sizeof(double);
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        if (!(e->schemes & 1u << s))
            continue;
        const struct attn_args a = attn_operands_at(o, (enum attn_scheme)s, weights, inputs);
        if (op_result(reference(e, o, (enum attn_scheme)s, &a), "reference", "launch") ||
            cb_sync(e->device) || cb_download(e->device, e->want[s], e->want_device, bytes) ||
            cb_download(e->device, e->spread[s], e->spread_device, bytes))
            return -1;
    }
    return 0;
}

/*
 * Terms of the sum err independently of one another: by the rounding of their weights to half
 * (twice for what a weight and a scale make), or by that of scores and keys in half, some four
 * times as much.  spread is the root of the sum of their squares.
 */
static double bound(const struct attn_impl *i, double want, double spread)
{
    const double size = fmax(fabs(want), 0x1p-14);
    return 4 * 0x1p-11 * (size + (i->rounding == ATTN_ROUNDS_P ? 2 : 8) * spread);
}

double attn_limit(const struct attn_impl *i)
{
    return i->rounding == ATTN_ROUNDS_P ? 2e-3 : 1e-2;
}

int attn_expectation_check(const struct attn_expectation *e, const struct attn_operands *o,
                           const struct attn_impl *i, int inputs, struct cb_accuracy *r1,
                           struct cb_accuracy *r2)
{
    const size_t out = attn_out_count(&o->p);
    uint16_t *const got = malloc(out * sizeof *got);
    if (!got)
        return cb_error("no memory for a result");
    const int status = cb_download(e->device, got, o->out.set[inputs % o->out.count], 2 * out);
    const double *const want = e->want[i->scheme], *const spread = e->spread[i->scheme];
    for (size_t k = 0; !status && k < out; k++) {
        const double y = half_to_float(got[k]);
        cb_accuracy_add(r1, (long)k, y, want[k], bound(i, want[k], spread[k]));
        if (i->scheme != ATTN_KV16)
            cb_accuracy_add(r2, (long)k, y, e->want[ATTN_KV16][k], INFINITY);
    }
    cb_accuracy_finish(r1);
    if (r2->compared)
        cb_accuracy_finish(r2);
    free(got);
    return status;
}

void attn_expectation_close(struct attn_expectation *e)
{
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        free(e->want[s]);
        free(e->spread[s]);
    }
    cb_free(e->device, e->score);
    cb_free(e->device, e->want_device);
    cb_free(e->device, e->spread_device);
    *e = (struct attn_expectation){ 0 };
}

/* attn_expect.c - what attention should give, and how far from it a result may lie. */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "attn_part.h"

static size_t row_count(const struct attn_problem *p)
{
    return (size_t)p->batch * (size_t)p->heads;
}

int attn_expectation_open(struct attn_expectation *e, const struct attn_operands *o,
                          unsigned schemes)
{
    const size_t out = attn_out_count(&o->p), rows = row_count(&o->p);
    e->device = o->device;
    e->schemes = schemes | 1u << ATTN_KV16;
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        if (!(e->schemes & 1u << s))
            continue;
        struct attn_wanted *const w = &e->wanted[s];
        w->want = malloc(out * sizeof(double));
        w->spread = malloc(out * sizeof(double));
        w->offset = malloc(rows * sizeof(double));
        if (!w->want || !w->spread || !w->offset)
            return cb_error("no memory for the reference");
    }
    struct attn_wanted *const d = &e->on_device;
    return cb_alloc(e->device, rows * (size_t)o->p.length * sizeof(double), (void **)&d->score) ||
                   cb_alloc(e->device, out * sizeof(double), (void **)&d->want) ||
                   cb_alloc(e->device, out * sizeof(double), (void **)&d->spread) ||
                   cb_alloc(e->device, rows * sizeof(double), (void **)&d->offset)
               ? -1
               : 0;
}

static enum op_status reference(const struct attn_expectation *e, const struct attn_operands *o,
                                enum attn_scheme s, const struct attn_args *a)
{
#ifdef WITH_CUDA
    if (cb_device_info(e->device)->sm)
        return attn_ref_cuda(&o->p, s, a, &e->on_device, cb_device_stream(e->device));
#endif
    return attn_ref(&o->p, s, a, &e->on_device);
}

int attn_expectation_compute(struct attn_expectation *e, const struct attn_operands *o, int weights,
                             int inputs)
{
    const size_t bytes = attn_out_count(&o->p) * sizeof(double);
    const struct attn_wanted *const d = &e->on_device;
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        if (!(e->schemes & 1u << s))
            continue;
        const struct attn_args a = attn_operands_at(o, (enum attn_scheme)s, weights, inputs);
        if (op_result(reference(e, o, (enum attn_scheme)s, &a), "reference", "launch") ||
            cb_sync(e->device) || cb_download(e->device, e->wanted[s].want, d->want, bytes) ||
            cb_download(e->device, e->wanted[s].spread, d->spread, bytes) ||
            cb_download(e->device, e->wanted[s].offset, d->offset,
                        row_count(&o->p) * sizeof(double)))
            return -1;
    }
    return 0;
}

/*
 * Terms of the sum err independently of one another: by the rounding of their weights to half
 * (twice for what a weight and a scale make), or by that of scores and keys in half, some four
 * times as much, and of what the zero point makes of a value.  spread is the root of the sum of
 * their squares.
 */
static double bound(const struct attn_impl *i, double want, double spread, double offset)
{
    const double size = fmax(fabs(want), 0x1p-14);
    const double terms = i->rounding == ATTN_ROUNDS_P ? 2 * spread : 8 * spread + offset;
    return 4 * 0x1p-11 * (size + terms);
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
    const struct attn_wanted *const w = &e->wanted[i->scheme];
    for (size_t k = 0; !status && k < out; k++) {
        const double y = half_to_float(got[k]);
        cb_accuracy_add(r1, (long)k, y, w->want[k],
                        bound(i, w->want[k], w->spread[k], w->offset[k / (size_t)o->p.head_dim]));
        if (i->scheme != ATTN_KV16)
            cb_accuracy_add(r2, (long)k, y, e->wanted[ATTN_KV16].want[k], INFINITY);
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
        free(e->wanted[s].want);
        free(e->wanted[s].spread);
        free(e->wanted[s].offset);
    }
    cb_free(e->device, e->on_device.score);
    cb_free(e->device, e->on_device.want);
    cb_free(e->device, e->on_device.spread);
    cb_free(e->device, e->on_device.offset);
    *e = (struct attn_expectation){ 0 };
}

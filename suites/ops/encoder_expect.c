/*
 * encoder_expect.c - what the encoder has to give, and how far from it a result may be.
 *
 * Halves between the steps move every row a little, and each layer passes on what came before;
 * norms keep rows at one size.  Bounds are therefore relative to the row, beside a part of all rows
 * for those that happen to be small, and the error of the whole is judged as well.
 */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "encoder_part.h"

static const double ELEMENT = 2e-2;  /* of the root of the mean square of its row */
const double encoder_limit = 2e-3;

void encoder_bounds(int n, int c, const double *want, float *bound)
{
    const size_t width = (size_t)c, count = (size_t)n * width;
    double all = 0;
#pragma omp parallel for reduction(+ : all)
    for (size_t i = 0; i < count; i++)
        all += want[i] * want[i];
    all = sqrt(all / (double)count);
#pragma omp parallel for
    for (int i = 0; i < n; i++) {
        const double *row = want + (size_t)i * width;
        double own = 0;
        for (size_t j = 0; j < width; j++)
            own += row[j] * row[j];
        own = sqrt(own / c);
        for (size_t j = 0; j < width; j++)
            bound[(size_t)i * width + j] = (float)(ELEMENT * (own + 0.1 * all));
    }
}

int encoder_expectation_open(struct encoder_expectation *e, const struct encoder_operands *o,
                             unsigned schemes)
{
    const size_t count = encoder_operands_rows(o);
    e->device = o->device;
    e->schemes = schemes;
    for (int s = 0; s < ENCODER_SCHEMES; s++)
        if (schemes & 1u << s &&
            (cb_alloc(e->device, count * sizeof(double), (void **)&e->want[s]) ||
             cb_alloc(e->device, count * sizeof(float), (void **)&e->bound[s])))
            return -1;
    return 0;
}

void encoder_expectation_close(struct encoder_expectation *e)
{
    for (int s = 0; s < ENCODER_SCHEMES; s++) {
        cb_free(e->device, e->want[s]);
        cb_free(e->device, e->bound[s]);
    }
    *e = (struct encoder_expectation){ 0 };
}

static enum op_status reference(const struct encoder_operands *o, enum encoder_scheme s, int set,
                                const struct op_memory *memory, double *want)
{
    const struct encoder_host h = encoder_operands_host(o, set);
    const struct encoder_args a = encoder_operands_at(o, set);
#ifdef WITH_CUDA
    if (cb_device_info(o->device)->sm)
        return encoder_ref_cuda(&o->p, s, &h, &a, memory, want, cb_device_stream(o->device));
#endif
    (void)memory;
    return encoder_ref(&o->p, s, &h, a.x, want);
}

static int compute(struct encoder_expectation *e, const struct encoder_operands *o,
                   enum encoder_scheme s, int set, double *host, float *bound)
{
    const size_t count = encoder_operands_rows(o);
    struct op_pool pool = { .device = o->device };
    const struct op_memory memory = op_pool_memory(&pool);
    int status = op_result(reference(o, s, set, &memory, e->want[s]), "encoder", "reference");
    if (!status)
        status = cb_sync(o->device);
    op_pool_free(&pool);
    if (!status)
        status = cb_download(o->device, host, e->want[s], count * sizeof *host);
    if (status)
        return -1;
    encoder_bounds(o->p.layer.n, o->p.layer.heads * o->p.layer.head, host, bound);
    return cb_upload(o->device, e->bound[s], bound, count * sizeof *bound) || cb_sync(o->device)
               ? -1
               : 0;
}

int encoder_expectation_compute(struct encoder_expectation *e, const struct encoder_operands *o,
                                int set)
{
    const size_t count = encoder_operands_rows(o);
    double *host = malloc(count * sizeof *host);
    float *bound = malloc(count * sizeof *bound);
    int status = host && bound ? 0 : cb_error("no memory for the reference");
    for (int s = 0; !status && s < ENCODER_SCHEMES; s++)
        if (e->schemes & 1u << s)
            status = compute(e, o, (enum encoder_scheme)s, set, host, bound);
    free(host);
    free(bound);
    return status;
}

int encoder_expectation_check(const struct encoder_expectation *e, const struct encoder_operands *o,
                              enum encoder_scheme s, int set, struct cb_accuracy *a, double *limit)
{
    const struct cb_view got = { o->y.set[set], CB_F16, o->p.layer.n,
                                 o->p.layer.heads * o->p.layer.head, false };
    *limit = encoder_limit;
    return cb_compare(o->device, &got, e->want[s], e->bound[s], a);
}

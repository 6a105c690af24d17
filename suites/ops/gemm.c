/*
 * gemm.c - dense products with prepared weights, bound to the harness.
 *
 * Small outputs are compared whole.  Of large ones 64 random rows are (each
 * holds every column), and every row enters a Freivalds check: Y v against
 * X (W^T v) for a random vector v of +-1.
 */
#include "../../kernels/gemm/gemm.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "bind.h"
#include "ops.h"

enum { TENSOR_X = 1, TENSOR_W = 2, ROWS_CHECKED = 64 };
#define WHOLE_MAX 1e9 /* m n k up to which all rows are compared */

struct gemm_params {
    int m, n, k, group;
};

static const struct cb_param params[] = {
    { "m", CB_INT, offsetof(struct gemm_params, m), 0, 1, 1 << 20, NULL, true, "tokens" },
    { "n", CB_INT, offsetof(struct gemm_params, n), 0, 1, 1 << 20, NULL, true, "output channels" },
    { "k", CB_INT, offsetof(struct gemm_params, k), 0, 1, 1 << 20, NULL, true, "input channels" },
    { "group", CB_INT, offsetof(struct gemm_params, group), 128, 1, 1 << 20, NULL, false,
      "input channels per scale; schemes without groups ignore it" },
    { 0 },
};

struct instance {
    struct gemm_problem p;
    struct cb_device *device;
    uint64_t seed;
    bool exact;
    struct op_sets x, w, y;
    int rows;          /* compared in full */
    int *row;          /* [rows] on the host */
    void *row_device;  /* the same on the device */
    double *want, *want_device; /* [rows][n] */
    float *bound, *bound_device;
    double *sum, *sum_bound;    /* [m] Freivalds; NULL where all rows are compared */
    signed char *sign;          /* [n] +-1 */
    void *y_host;
};

struct bound {
    struct instance *in;
    const struct gemm_impl *impl;
    struct gemm_args *args; /* [states.count] */
    struct op_states states;
};

static const struct op_impl *impl_at(int i)
{
    const struct gemm_impl *const table[] = { gemm_references, gemm_kernels, gemm_baselines };
    for (int t = 0; t < 3; t++)
        for (int k = 0; table[t][k].base.name; k++)
            if (i-- == 0)
                return &table[t][k].base;
    return NULL;
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->x);
    op_sets_close(in->device, &in->w);
    op_sets_close(in->device, &in->y);
    cb_free(in->device, in->row_device);
    cb_free(in->device, in->want_device);
    cb_free(in->device, in->bound_device);
    free(in->row);
    free(in->want);
    free(in->bound);
    free(in->sum);
    free(in->sum_bound);
    free(in->sign);
    free(in->y_host);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct gemm_params *q = given;
    struct instance *in = calloc(1, sizeof *in);
    uint64_t state = c->seed ^ 0x6E6Du;
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->p = (struct gemm_problem){ q->m, q->n, q->k, q->group };
    in->device = c->device;
    in->seed = c->seed;
    in->exact = c->exact;
    bool whole = (double)q->m * q->n * q->k <= WHOLE_MAX || q->m <= ROWS_CHECKED;
    in->rows = whole ? q->m : ROWS_CHECKED;
    size_t out_n = (size_t)in->rows * (size_t)q->n;
    in->row = malloc((size_t)in->rows * sizeof *in->row);
    in->want = malloc(out_n * sizeof *in->want);
    in->bound = malloc(out_n * sizeof *in->bound);
    in->y_host = malloc((size_t)q->m * (size_t)q->n * 2);
    if (!whole) {
        in->sum = malloc((size_t)q->m * sizeof *in->sum);
        in->sum_bound = malloc((size_t)q->m * sizeof *in->sum_bound);
        in->sign = malloc((size_t)q->n);
    }
    if (!in->row || !in->want || !in->bound || !in->y_host ||
        (!whole && (!in->sum || !in->sum_bound || !in->sign))) {
        close_instance(in);
        return cb_error("no memory for the reference");
    }
    for (int r = 0; r < in->rows; r++) /* one random row of each of 64 equal parts */
        in->row[r] = whole ? r : (int)(((long)r * q->m + (long)(cb_splitmix(&state) % (uint64_t)q->m)) / in->rows);
    for (int j = 0; !whole && j < q->n; j++)
        in->sign[j] = cb_splitmix(&state) >> 63 ? 1 : -1;
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { in->p.m, in->p.k }, .tensor_id = TENSOR_X };
    out[1] = (struct cb_input){ .name = "W", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { in->p.n, in->p.k }, .tensor_id = TENSOR_W };
    return 2;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct gemm_impl *impl = (const struct gemm_impl *)i;
    *why = NULL;
    if (!impl->run) {
        *why = "not built";
        return OP_EUNSUPPORTED;
    }
    return impl->supports ? impl->supports(&in->p, why) : OP_OK;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct gemm_problem *p = &((struct instance *)instance)->p;
    *weights = 2.0 * p->n * p->k;
    *ins = 2.0 * p->m * p->k;
    *outs = 2.0 * p->m * p->n;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct gemm_problem *p = &((struct instance *)instance)->p;
    struct cb_work w = { .flops = 2.0 * p->m * p->n * p->k, .peak = "tensor_fp16", .accumulate = CB_F32 };
    double weights, ins, outs;
    (void)i;
    set_bytes(instance, &weights, &ins, &outs);
    w.bytes_min = w.bytes_model = weights + ins + outs;
    w.weight_bytes = weights;
    w.tensor_ops = w.flops;
    return w;
}

static int make(struct instance *in, struct op_sets *t, int count, uint32_t tensor, int rows, int cols)
{
    if (op_sets_open(t, count))
        return -1;
    for (int s = 0; s < count; s++) {
        if (cb_alloc(in->device, (size_t)rows * (size_t)cols * 2, &t->set[s]))
            return -1;
        if (tensor && cb_random(in->device, t->set[s], CB_F16, in->exact ? CB_EXACT : CB_NORMAL,
                                in->seed, tensor, (uint32_t)s, rows, cols, false))
            return -1;
    }
    return 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    size_t out = (size_t)in->rows * (size_t)in->p.n, rows = (size_t)in->rows * sizeof *in->row;
    (void)c;
    if (make(in, &in->x, input_sets, TENSOR_X, in->p.m, in->p.k) ||
        make(in, &in->w, weight_sets, TENSOR_W, in->p.n, in->p.k) ||
        make(in, &in->y, input_sets, 0, in->p.m, in->p.n) ||
        cb_alloc(in->device, rows, &in->row_device) ||
        cb_upload(in->device, in->row_device, in->row, rows) ||
        cb_alloc(in->device, out * sizeof *in->want, (void **)&in->want_device) ||
        cb_alloc(in->device, out * sizeof *in->bound, (void **)&in->bound_device))
        return -1;
    return cb_sync(in->device);
}

static void unbind(void *bound)
{
    struct bound *b = bound;
    if (!b)
        return;
    op_states_close(&b->states);
    free(b->args);
    free(b);
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct instance *in = instance;
    struct bound *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return cb_error("no memory to bind %s", i->name);
    b->in = in;
    b->impl = (const struct gemm_impl *)i;
    int sets = in->w.count > in->x.count ? in->w.count : in->x.count;
    int status = op_states_open(&b->states, c->device, sets, b->impl->teardown);
    b->args = calloc((size_t)sets, sizeof *b->args);
    if (!b->args)
        status = cb_error("no memory to bind %s", i->name);
    for (int s = 0; !status && s < sets; s++) {
        struct op_memory memory = op_pool_memory(&b->states.pool);
        b->args[s] = (struct gemm_args){ in->x.set[s % in->x.count], in->w.set[s % in->w.count],
                                         in->y.set[s % in->y.count] };
        if (b->impl->setup)
            status = op_result(b->impl->setup(&in->p, &b->args[s], &memory,
                                              cb_device_stream(c->device), &b->states.state[s]),
                               i->name, "set-up");
    }
    if (status) {
        unbind(b);
        return -1;
    }
    *out = b;
    return 0;
}

static int run(void *bound, int weights, int ins)
{
    const struct bound *b = bound;
    int s = weights > ins ? weights : ins;
    return op_result(b->impl->run(&b->in->p, &b->args[s], b->states.state[s],
                                  cb_device_stream(b->in->device)),
                     b->impl->base.name, "launch");
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct bound *b = bound;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ b->in->y.set[ins], (size_t)b->in->p.m * (size_t)b->in->p.n * 2 };
    return 1;
}

/* sum = X (W^T v) and how far Y v may lie from it. */
static int freivalds(struct instance *in, int weights, int ins)
{
    const struct gemm_problem *p = &in->p;
    size_t xn = (size_t)p->m * (size_t)p->k, wn = (size_t)p->n * (size_t)p->k;
    uint16_t *x = malloc(xn * 2), *w = malloc(wn * 2);
    double *u = calloc((size_t)p->k, sizeof *u), *size = calloc((size_t)p->k, sizeof *size);
    int status = x && w && u && size ? 0 : cb_error("no memory for the reference");
    if (!status)
        status = cb_download(in->device, x, in->x.set[ins], xn * 2) ||
                 cb_download(in->device, w, in->w.set[weights], wn * 2);
    if (!status) {
#pragma omp parallel for schedule(static)
        for (int q = 0; q < p->k; q++)
            for (int j = 0; j < p->n; j++) {
                double v = (double)cb_half_to_float(w[(size_t)j * (size_t)p->k + (size_t)q]);
                u[q] += in->sign[j] * v;
                size[q] += fabs(v);
            }
#pragma omp parallel for schedule(static)
        for (int i = 0; i < p->m; i++) {
            double sum = 0, magnitude = 0;
            for (int q = 0; q < p->k; q++) {
                double v = (double)cb_half_to_float(x[(size_t)i * (size_t)p->k + (size_t)q]);
                sum += v * u[q];
                magnitude += fabs(v) * size[q];
            }
            in->sum[i] = sum;
            in->sum_bound[i] = 4 * 0x1p-24 * sqrt(p->k) * magnitude;
        }
    }
    free(x);
    free(w);
    free(u);
    free(size);
    return status ? -1 : 0;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    size_t out = (size_t)in->rows * (size_t)in->p.n;
    enum op_status s;
#ifdef WITH_CUDA
    if (cb_device_info(c->device)->sm)
        s = gemm_ref_rows_cuda(&in->p, in->x.set[ins], in->w.set[weights], in->row_device, in->rows,
                               in->want_device, in->bound_device, cb_device_stream(c->device));
    else
#endif
        s = gemm_ref_rows(&in->p, in->x.set[ins], in->w.set[weights], in->row, in->rows,
                          in->want_device, in->bound_device);
    if (op_result(s, "reference", "launch") || cb_sync(c->device) ||
        cb_download(in->device, in->want, in->want_device, out * sizeof *in->want) ||
        cb_download(in->device, in->bound, in->bound_device, out * sizeof *in->bound))
        return -1;
    return in->sum ? freivalds(in, weights, ins) : 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((const struct bound *)bound)->in;
    const long n = in->p.n;
    const uint16_t *y = in->y_host;
    (void)weights, (void)r2;
    if (cb_download(c->device, in->y_host, in->y.set[ins], (size_t)in->p.m * (size_t)n * 2))
        return -1;
    *limit = 1e-3;
    for (int r = 0; r < in->rows; r++)
        for (long j = 0; j < n; j++) {
            long e = (long)in->row[r] * n + j;
            cb_accuracy_add(r1, e, (double)cb_half_to_float(y[e]), in->want[r * n + j],
                            in->exact ? 0 : (double)in->bound[r * n + j]);
        }
    struct cb_accuracy sums = { .worst = -1 };
    for (int i = 0; in->sum && i < in->p.m; i++) {
        double sum = 0, size = 0;
        for (long j = 0; j < n; j++) {
            double v = (double)cb_half_to_float(y[i * n + j]);
            sum += in->sign[j] * v;
            size += fabs(v);
        }
        cb_accuracy_add(&sums, i * n, sum, in->sum[i], 4 * 0x1p-11 * size + in->sum_bound[i]);
    }
    r1->bad += sums.bad;
    r1->nonfinite += sums.nonfinite;
    cb_accuracy_finish(r1);
    return 0;
}

const struct cb_op op_gemm = {
    .name = "gemm", .title = "dense product with prepared weights",
    .params = params, .params_size = sizeof(struct gemm_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .ready = ready, .work = work,
    .set_bytes = set_bytes, .prepare = prepare, .bind = bind, .run = run, .outputs = outputs,
    .expect = expect, .check = check, .unbind = unbind, .close = close_instance,
};

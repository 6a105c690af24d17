/*
 * quant.c - normalise, activate, rotate, add and quantise rows of activations, bound to the
 * harness.
 *
 * Every operand but the gains is that of an earlier kernel and counts as an input.  Gains are
 * normal around 1 with a channel of 64 eight times as large, so that rows have the outliers
 * that quantisation is about.
 */
#include "../../kernels/quant/quant.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/attn/page.h"
#include "../../kernels/common/half.h"
#include "bind.h"
#include "ops.h"
#include "quant_part.h"

enum { TENSOR_X = 1, TENSOR_RESIDUAL = 2, TENSOR_GAIN = 3 };

struct quant_params {
    int kernel, m, n, heads, kv_heads, head_dim, bits, page, length;
};

static const char *const kernel_names[] = { "plain", "norm",    "add_norm", "silu",
                                            "add",   "rope_kv", NULL };
static const struct cb_param params[] = {
    { "kernel", CB_CHOICE, offsetof(struct quant_params, kernel), 0, 0, 0, kernel_names, true,
      "what happens to a row before it is quantised" },
    { "m", CB_INT, offsetof(struct quant_params, m), 0, 1, 1 << 20, NULL, true, "tokens" },
    { "n", CB_INT, offsetof(struct quant_params, n), 0, 0, 1 << 17, NULL, false,
      "channels; rope_kv: those of its heads" },
    { "heads", CB_INT, offsetof(struct quant_params, heads), 0, 0, 1024, NULL, false,
      "rope_kv: heads of queries" },
    { "kv_heads", CB_INT, offsetof(struct quant_params, kv_heads), 0, 0, 1024, NULL, false,
      "rope_kv: heads of keys and of values" },
    { "head_dim", CB_INT, offsetof(struct quant_params, head_dim), 128, 32, QUANT_HEAD_MAX, NULL,
      false, "rope_kv: channels of a head" },
    { "bits", CB_INT, offsetof(struct quant_params, bits), 4, 4, 8, NULL, false,
      "rope_kv: of the cache, 4 or 8" },
    { "page", CB_INT, offsetof(struct quant_params, page), 64, 16, 1 << 16, NULL, false,
      "rope_kv: tokens of a page" },
    { "length", CB_INT, offsetof(struct quant_params, length), 1, 1, 1 << 20, NULL, false,
      "rope_kv: tokens of each sequence, divides m" },
    { 0 },
};

struct instance {
    struct quant_problem p;
    struct cb_device *device;
    struct quant_expectation expectation;
    bool exact;
    uint64_t seed;
    struct op_sets x, residual, gain, y, code, scale, sum, code_sum; /* [input sets] */
    struct op_sets rotation, table, pool;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { quant_references, quant_kernels };
    return op_row_at(table, 2, sizeof(struct quant_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    struct op_sets *all[] = { &in->x,        &in->residual, &in->gain, &in->y,
                              &in->code,     &in->scale,    &in->sum,  &in->code_sum,
                              &in->rotation, &in->table,    &in->pool };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        op_sets_close(in->device, all[i]);
    quant_expectation_close(&in->expectation);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct quant_params *q = given;
    const bool rotates = q->kernel == QUANT_ROPE_KV;
    const int width = (q->heads + 2 * q->kv_heads) * q->head_dim;
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->device = c->device;
    in->exact = c->exact;
    in->seed = c->seed;
    in->p = (struct quant_problem){ .kernel = (enum quant_kernel)q->kernel, .m = q->m, .n = q->n };
    if (rotates)
        in->p = (struct quant_problem){ QUANT_ROPE_KV, q->m,        q->n ? q->n : width,
                                        q->heads,      q->kv_heads, q->head_dim,
                                        q->bits,       q->page,     q->length };
    if (quant_valid(&in->p) != OP_OK) {
        free(in);
        return cb_error(rotates ? "heads, kv_heads, n, m, length, page and bits do not fit together"
                                : "n is missing");
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct quant_problem *p = &((struct instance *)instance)->p;
    const long width = p->kernel == QUANT_SILU ? 2L * p->n : p->n;
    int count = 0;
    out[count++] = (struct cb_input){ .name = "X",
                                      .dtype = "f16",
                                      .gen = "normal",
                                      .source = "generated",
                                      .shape = { p->m, width },
                                      .tensor_id = TENSOR_X };
    if (p->kernel == QUANT_ADD || p->kernel == QUANT_ADD_NORM)
        out[count++] = (struct cb_input){ .name = "residual",
                                          .dtype = "f16",
                                          .gen = "normal",
                                          .source = "generated",
                                          .shape = { p->m, p->n },
                                          .tensor_id = TENSOR_RESIDUAL };
    if (p->kernel == QUANT_NORM || p->kernel == QUANT_ADD_NORM)
        out[count++] = (struct cb_input){ .name = "gain",
                                          .dtype = "f16",
                                          .gen = "normal around 1, 1 of 64 times 8",
                                          .source = "generated",
                                          .shape = { p->n },
                                          .tensor_id = TENSOR_GAIN };
    return count;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct quant_impl *impl = (const struct quant_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports(&in->p, why);
}

/* Multiplications and additions of the definition, an exp or a root as one. */
static double operations(const struct quant_problem *p)
{
    static const double each[] = { [QUANT_PLAIN] = 3, [QUANT_NORM] = 7, [QUANT_ADD_NORM] = 8,
                                   [QUANT_SILU] = 7,  [QUANT_ADD] = 1,  [QUANT_ROPE_KV] = 4 };
    return each[p->kernel] * p->m * p->n;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct quant_problem *p = &((struct instance *)instance)->p;
    const struct quant_impl *impl = (const struct quant_impl *)i;
    struct cb_work w = { .flops = operations(p), .peak = "fp32_fma", .accumulate = CB_F32 };
    w.bytes_min = quant_read_bytes(p) + quant_written_bytes(p);
    w.bytes_model = w.bytes_min + (impl->extra_bytes ? impl->extra_bytes(p) : 0);
    w.core_ops = w.flops;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct quant_problem *p = &((struct instance *)instance)->p;
    *weights = 0;
    *ins = quant_read_bytes(p);
    *outs = quant_written_bytes(p);
}

/* ---- operands ---- */

/* Halves of rows for which nothing rounds.  NORM: +-2^e with e of the row, of ADD_NORM the sum;
 * the root of their mean square is 2^-e, and gains are what codes become.  SILU: gates at which
 * the activation is the gate or 0. */
static float exact_value(const struct instance *in, uint32_t tensor, size_t index)
{
    const float x = cb_random_at(CB_EXACT, in->seed, tensor, 0, index); /* +-1, +-2 */
    const size_t row = index / (size_t)in->p.n;
    switch (in->p.kernel) {
    case QUANT_NORM:
        return ldexpf(x < 0 ? -1.0f : 1.0f, (int)(row % 5));
    case QUANT_ADD_NORM: /* both have one sign: 1 + 3 or 3 + 1 times 2^e */
        return ldexpf((tensor == TENSOR_X) == ((index ^ row) % 2 == 0) ? 1.0f : 3.0f,
                      (int)(row % 5));
    case QUANT_SILU:
        if (index % (2 * (size_t)in->p.n) < (size_t)in->p.n)
            return x < 0 ? -48.0f : 24.0f * x;
        return x;
    default:
        return x;
    }
}

/* Every code from -127 to 127, whose largest is in the row. */
static float exact_gain(size_t channel)
{
    return channel ? (float)((int)(channel * 89 % 255) - 127) * 0.0625f : 127 * 0.0625f;
}

static float plain_gain(uint64_t seed, size_t channel)
{
    const float g = 1 + 0.1f * cb_random_at(CB_NORMAL, seed, TENSOR_GAIN, 0, channel);
    return channel % 64 == 37 ? 8 * g : g;
}

static int upload_halves(struct instance *in, void *to, uint32_t tensor, size_t count)
{
    uint16_t *host = malloc(count * sizeof *host);
    if (!host)
        return cb_error("no memory for operands");
    for (size_t i = 0; i < count; i++)
        host[i] = half_from_float(tensor != TENSOR_GAIN ? exact_value(in, tensor, i)
                                  : in->exact           ? exact_gain(i)
                                                        : plain_gain(in->seed, i));
    int status = cb_upload(in->device, to, host, count * sizeof *host);
    free(host);
    return status;
}

static int make_halves(struct instance *in, void **to, uint32_t tensor, int set, long rows,
                       long cols)
{
    const size_t count = (size_t)rows * (size_t)cols;
    if (cb_alloc(in->device, 2 * count, to))
        return -1;
    if (in->exact || tensor == TENSOR_GAIN)
        return upload_halves(in, *to, tensor, count);
    return cb_random(in->device, *to, CB_F16, CB_NORMAL, in->seed, tensor, (uint32_t)set, rows,
                     cols, false);
}

/* Cosine and sine of each position and pair of channels into set 0, copies of it into others. */
static int make_rotation(struct instance *in, int set)
{
    const size_t half = (size_t)in->p.head_dim / 2, count = 2 * half * (size_t)in->p.length;
    void **to = &in->rotation.set[set];
    if (cb_alloc(in->device, count * sizeof(float), to))
        return -1;
    if (set)
        return cb_copy(in->device, *to, in->rotation.set[0], count * sizeof(float));
    float *host = malloc(count * sizeof *host);
    if (!host)
        return cb_error("no memory for angles");
    for (size_t i = 0; i < count / 2; i++) {
        const double angle =
            (double)(i / half) / pow((double)QUANT_ROPE_BASE, (double)(i % half) / (double)half);
        host[2 * i] = (float)cos(angle);
        host[2 * i + 1] = (float)sin(angle);
    }
    const int status = cb_upload(in->device, *to, host, count * sizeof *host);
    free(host);
    return status;
}

/* A pool of pages in the order of sequences, keys before values; the last entry of each table
 * repeats the one before it. */
static int make_pages(struct instance *in, int set)
{
    const struct quant_expectation *e = &in->expectation;
    const struct quant_problem *p = &in->p;
    const size_t entries = (size_t)quant_table_pages(p), pages = (size_t)quant_pages(p);
    const size_t rows = 2 * (size_t)(p->m / p->length);
    void **host = malloc(rows * entries * sizeof *host);
    if (!host)
        return cb_error("no memory for a table of pages");
    int status = cb_alloc(in->device, e->pool_bytes, &in->pool.set[set]) ||
                         cb_fill(in->device, in->pool.set[set], QUANT_POISON, e->pool_bytes) ||
                         cb_alloc(in->device, rows * entries * sizeof *host, &in->table.set[set])
                     ? -1
                     : 0;
    for (size_t i = 0; !status && i < rows * entries; i++) {
        const size_t page = i % entries < pages ? i % entries : pages - 1;
        host[i] = (char *)in->pool.set[set] + (i / entries * pages + page) * e->page_bytes;
    }
    if (!status)
        status = cb_upload(in->device, in->table.set[set], host, rows * entries * sizeof *host);
    free(host);
    return status;
}

static int make_set(struct instance *in, int set)
{
    const struct quant_problem *p = &in->p;
    const bool rotates = p->kernel == QUANT_ROPE_KV, adds = p->kernel == QUANT_ADD;
    const bool norm = p->kernel == QUANT_NORM || p->kernel == QUANT_ADD_NORM;
    const bool keeps = adds || p->kernel == QUANT_ADD_NORM;
    const size_t m = (size_t)p->m, n = (size_t)p->n;
    const size_t y = rotates ? (size_t)((p->heads + p->kv_heads) * p->head_dim) : keeps ? n : 0;
    struct cb_device *d = in->device;
    if (make_halves(in, &in->x.set[set], TENSOR_X, set, p->m,
                    p->kernel == QUANT_SILU ? 2L * p->n : p->n) ||
        (keeps && make_halves(in, &in->residual.set[set], TENSOR_RESIDUAL, set, p->m, p->n)) ||
        (norm && make_halves(in, &in->gain.set[set], TENSOR_GAIN, set, 1, p->n)) ||
        (y && cb_alloc(d, 2 * m * y, &in->y.set[set])))
        return -1;
    if (rotates)
        return make_rotation(in, set) || make_pages(in, set) ? -1 : 0;
    return !adds && (cb_alloc(d, m * n, &in->code.set[set]) ||
                     cb_alloc(d, 2 * m, &in->scale.set[set]) ||
                     cb_alloc(d, 2 * m, &in->sum.set[set]) ||
                     cb_alloc(d, 4 * m, &in->code_sum.set[set]))
               ? -1
               : 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct op_sets *all[] = { &in->x,        &in->residual, &in->gain, &in->y,
                              &in->code,     &in->scale,    &in->sum,  &in->code_sum,
                              &in->rotation, &in->table,    &in->pool };
    (void)weight_sets;
    if (quant_expectation_open(&in->expectation, c->device, &in->p, c->seed))
        return -1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (op_sets_open(all[i], input_sets))
            return -1;
    for (int s = 0; s < input_sets; s++)
        if (make_set(in, s))
            return -1;
    return cb_sync(in->device);
}

static struct quant_args args_at(const struct instance *in, int set)
{
    return (struct quant_args){
        .x = in->x.set[set],
        .residual = in->residual.set[set],
        .gain = in->gain.set[set],
        .y = in->y.set[set],
        .code = in->code.set[set],
        .scale = in->scale.set[set],
        .sum = in->sum.set[set],
        .code_sum = in->code_sum.set[set],
        .rotation = in->rotation.set[set],
        .page = in->table.set[set],
    };
}

/* ---- an implementation ---- */

/* Sets after the first share what the first got, unless set-up gives them their own. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct quant_impl *impl = b->impl;
    const struct quant_args a = args_at(in, set);
    (void)args;
    *state = b->states.state[0];
    return impl->setup ? impl->setup(&in->p, &a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, ((struct instance *)instance)->x.count, 0, set_up, NULL, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct quant_impl *impl = b->impl;
    const struct quant_args a = args_at(in, ins);
    (void)weights;
    return op_launched(b, impl->run(&in->p, &a, b->states.state[ins], b->stream));
}

/* Pages are poisoned and compared by the expectation: not every byte of them is written. */
static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct quant_impl *impl = b->impl;
    const struct quant_problem *p = &in->p;
    const struct quant_args a = args_at(in, ins);
    const size_t m = (size_t)p->m, n = (size_t)p->n;
    const size_t y =
        p->kernel == QUANT_ROPE_KV ? (size_t)((p->heads + p->kv_heads) * p->head_dim) : n;
    int count = 0;
    (void)weights, (void)max;
    if (a.y)
        out[count++] = (struct cb_region){ a.y, 2 * m * y };
    if (a.code) {
        out[count++] = (struct cb_region){ a.code, m * n };
        out[count++] = (struct cb_region){ a.scale, 2 * m };
        out[count++] = (struct cb_region){ a.sum, 2 * m };
        if (impl->code_sums)
            out[count++] = (struct cb_region){ a.code_sum, 4 * m };
    }
    return count;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct quant_args a = args_at(in, ins);
    (void)c, (void)weights;
    return quant_expectation_compute(&in->expectation, &a);
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    struct instance *in = b->in;
    const struct quant_args a = args_at(in, ins);
    (void)c, (void)weights;
    *limit = 2e-2;
    return quant_expectation_check(&in->expectation, b->impl, &a, in->pool.set[ins], r1, r2);
}

const struct cb_op op_quant = {
    .name = "quant",
    .title = "between the products: normalise, activate, rotate, quantise",
    .params = params,
    .params_size = sizeof(struct quant_params),
    .impl = impl_at,
    .open = open_problem,
    .inputs = inputs,
    .ready = ready,
    .work = work,
    .set_bytes = set_bytes,
    .prepare = prepare,
    .bind = bind,
    .run = run,
    .outputs = outputs,
    .expect = expect,
    .check = check,
    .unbind = op_unbind,
    .close = close_instance,
};

/*
 * gemm.c - dense products with prepared weights, bound to the harness.
 *
 * Every scheme's operands are made from the same X and W, those of schemes that
 * some row of the case uses.
 */
#include "../../kernels/gemm/gemm.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "../../kernels/gemm/bound.h"
#include "gemm_part.h"
#include "ops.h"

const struct cb_param gemm_params[] = {
    { "m", CB_INT, offsetof(struct gemm_params, m), 0, 1, 1 << 20, NULL, true, "tokens" },
    { "n", CB_INT, offsetof(struct gemm_params, n), 0, 1, 1 << 20, NULL, true, "output channels" },
    { "k", CB_INT, offsetof(struct gemm_params, k), 0, 1, 1 << 20, NULL, true, "input channels" },
    { "group", CB_INT, offsetof(struct gemm_params, group), 128, 1, 1 << 20, NULL, false,
      "input channels per scale; schemes without groups ignore it" },
    { 0 },
};

struct instance {
    struct gemm_operands operands; /* with the problem and the device */
    struct gemm_expectation expectation;
    unsigned schemes; /* bits of those that a row of the case uses */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { gemm_references, gemm_kernels, gemm_baselines };
    return op_row_at(table, 3, sizeof(struct gemm_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    gemm_operands_close(&in->operands);
    gemm_expectation_close(&in->expectation);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct gemm_params *q = given;
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->operands.p = (struct gemm_problem){ q->m, q->n, q->k, q->group };
    in->operands.device = c->device;
    in->operands.seed = c->seed;
    in->operands.exact = c->exact;
    if (gemm_expectation_open(&in->expectation, c->device, &in->operands.p, c->seed,
                              GEMM_WHOLE_MAX)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct gemm_problem *p = &((struct instance *)instance)->operands.p;
    out[0] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { p->m, p->k }, .tensor_id = GEMM_TENSOR_X };
    out[1] = (struct cb_input){ .name = "W", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { p->n, p->k }, .tensor_id = GEMM_TENSOR_W };
    return 2;
}

/* Also notes which schemes are used: the harness asks about every row of a case
 * before it asks for sizes and operands. */
static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    struct instance *in = instance;
    const struct gemm_problem *p = &in->operands.p;
    const struct gemm_impl *impl = (const struct gemm_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    if (gemm_has_groups(impl->scheme) && p->k % p->group) {
        *why = "group does not divide k";
        return OP_EUNSUPPORTED;
    }
    enum op_status status = impl->supports ? impl->supports(p, why) : OP_OK;
    if (status == OP_OK)
        in->schemes |= 1u << impl->scheme;
    return status;
}

/* The fewest bytes that a row reads as W: sets rotate often enough for all. */
static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    const struct gemm_problem *p = &in->operands.p;
    *weights = gemm_weight_bytes(p, GEMM_F16);
    for (int s = 0; s < GEMM_SCHEMES; s++)
        if (in->schemes & 1u << s)
            *weights = fmin(*weights, gemm_weight_bytes(p, (enum gemm_scheme)s));
    *ins = 2.0 * p->m * p->k;
    *outs = 2.0 * p->m * p->n;
}

/* Scales and sums of X are left out: a few bytes a token. */
static double x_bytes(const struct gemm_problem *p, enum gemm_scheme s)
{
    const double count = (double)p->m * p->k;
    if (s == GEMM_W4A4_GROUP || s == GEMM_W4A4_CHANNEL)
        return count / 2;
    return s == GEMM_FP8 || gemm_is_int(s) ? count : 2 * count;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct gemm_problem *p = &((struct instance *)instance)->operands.p;
    const struct gemm_impl *impl = (const struct gemm_impl *)i;
    struct cb_work w = { .flops = 2.0 * p->m * p->n * p->k,
                         .peak = impl->scheme == GEMM_FP8    ? "tensor_fp8"
                                 : gemm_is_int(impl->scheme) ? "tensor_int8"
                                                             : "tensor_fp16",
                         .accumulate = gemm_is_int(impl->scheme)           ? CB_I32
                                       : impl->accumulate == GEMM_ACC_F16 ? CB_F16
                                                                          : CB_F32 };
    w.weight_bytes = impl->weight_bytes ? impl->weight_bytes(p)
                                        : gemm_weight_bytes(p, impl->scheme);
    w.bytes_min = w.weight_bytes + x_bytes(p, impl->scheme) + 2.0 * p->m * p->n;
    w.bytes_model = w.bytes_min + (impl->extra_bytes ? impl->extra_bytes(p) : 0);
    w.tensor_ops = w.flops;
    return w;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)c;
    if (gemm_operands_open(&in->operands, in->schemes, weight_sets, input_sets) ||
        gemm_expectation_prepare(&in->expectation, in->schemes))
        return -1;
    return cb_sync(in->operands.device);
}

/* Sets after the first see what the first got; one that is left as it was has no
 * state of its own. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct gemm_impl *impl = b->impl;
    struct gemm_args *a = args;
    void *first = b->states.state[0], *own = first;
    *a = gemm_operands_at(&in->operands, impl->scheme, set, set);
    if (!impl->setup)
        return OP_OK;
    const enum op_status s = impl->setup(&in->operands.p, a, memory, b->stream, &own);
    if (s == OP_OK && (!set || own != first))
        *state = own;
    return s;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    const struct gemm_operands *o = &((struct instance *)instance)->operands;
    return op_bind(c, instance, i, op_set_of(o->w.count, o->x.count), sizeof(struct gemm_args), set_up,
                   ((const struct gemm_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct gemm_impl *impl = b->impl;
    const struct gemm_args *args = b->args;
    const int s = op_set_of(weights, ins);
    return op_launched(b, impl->run(&in->operands.p, &args[s], b->states.state[s], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct gemm_operands *o = &((struct instance *)((const struct op_bound *)bound)->in)->operands;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ o->y.set[ins], 2 * (size_t)o->p.m * (size_t)o->p.n };
    return 1;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    (void)c;
    return gemm_expectation_compute(&in->expectation, &in->operands, weights, ins);
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    struct instance *in = b->in;
    (void)c, (void)weights;
    *limit = gemm_limit(b->impl, in->operands.p.k,
                        (double)in->expectation.rows * in->operands.p.n);
    return gemm_expectation_check(&in->expectation, b->impl, in->operands.y.set[ins],
                                  in->operands.exact, r1, r2);
}

static const char *choice(void *bound)
{
    const struct op_bound *b = bound;
    const struct gemm_impl *impl = b->impl;
    return impl->choice ? impl->choice(b->states.state[0]) : NULL;
}

const struct cb_op op_gemm = {
    .name = "gemm", .title = "dense product with prepared weights",
    .params = gemm_params, .params_size = sizeof(struct gemm_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .ready = ready, .work = work,
    .set_bytes = set_bytes, .prepare = prepare, .bind = bind, .run = run, .outputs = outputs,
    .expect = expect, .check = check, .choice = choice, .unbind = op_unbind, .close = close_instance,
};

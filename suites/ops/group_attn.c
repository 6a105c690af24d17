/*
 * group_attn.c - attention inside groups of equal size, bound to the harness.
 *
 * Queries, keys and values are random: only how many there are comes from a scene.  Exact operands
 * let each query take one key of its group alone: all other weights are zero in float, so that the
 * result is that key's value to the bit.
 */
#include "../../kernels/group_attn/group_attn.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "encoder_part.h"
#include "ops.h"

enum { TENSOR_QKV = 1 };
static const double LIMIT = 2e-3; /* relative error in the Frobenius norm: weights in half */

struct group_attn_params {
    int pillars, window, group, frames, frame;
};

#define AT(field) offsetof(struct group_attn_params, field)
static const struct cb_param params[] = {
    { "pillars", CB_INT, AT(pillars), 0, 0, 219024, NULL, false,
      "occupied cells; 0: those of the scene" },
    { "window", CB_INT, AT(window), 13, 1, 468, NULL, false,
      "side of the windows that groups are sorted by: of the name only" },
    { "group", CB_INT, AT(group), 144, 1, 4096, NULL, false, "cells of a group" },
    { "frames", CB_INT, AT(frames), 1, 1, 3, NULL, false, "frames of the generated scene" },
    { "frame", CB_INT, AT(frame), 0, 0, 1000000, NULL, false, "number of the generated scene" },
    { 0 },
};

struct instance {
    struct group_attn_problem p;
    struct cb_device *device;
    uint64_t seed;
    bool exact;
    struct op_sets qkv, o;
    double *want; /* device [n][C], of the set last expected */
    float *bound;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { group_attn_references, group_attn_baselines, group_attn_own };
    return op_row_at(table, 3, sizeof(struct group_attn_impl), i);
}

static size_t channels(const struct instance *in)
{
    return (size_t)in->p.heads * (size_t)in->p.head;
}

static size_t qkv_count(const struct instance *in)
{
    return 3 * (size_t)in->p.slots * channels(in);
}

/* Of o that are looked at: slots behind the queries are not. */
static size_t out_count(const struct instance *in)
{
    return (size_t)in->p.n * channels(in);
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->qkv);
    op_sets_close(in->device, &in->o);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct group_attn_params *q = given;
    struct pillars scene = { 0 };
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    if (!q->pillars && pillars_generate(q->frames, (uint64_t)q->frame, 0, &scene)) {
        free(in);
        return -1;
    }
    const struct flatten_problem cut = { q->pillars ? q->pillars : scene.n, PILLARS_SIDE, q->window,
                                         q->group, FLATTEN_SERPENTINE };
    pillars_free(&scene);
    in->p = (struct group_attn_problem){ cut.n, flatten_slots(&cut), flatten_group(&cut),
                                         ENCODER_PUBLISHED_HEADS, ENCODER_PUBLISHED_HEAD,
                                         ENCODER_PUBLISHED_HIDDEN };
    in->device = c->device;
    in->seed = c->seed;
    in->exact = c->exact;
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "QKV", .dtype = "f16", .gen = "normal",
                                .source = "generated",
                                .shape = { in->p.slots, 3, in->p.heads * in->p.head },
                                .tensor_id = TENSOR_QKV };
    return 1;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct group_attn_problem *p = &((struct instance *)instance)->p;
    const double value[] = { p->n, p->slots, (double)p->slots / p->group };
    static const char *const name[] = { "cells", "slots", "groups" };
    for (int i = 0; i < 3; i++)
        op_figure(&out[i], name[i], "", value[i]);
    return 3;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct group_attn_impl *impl = (const struct group_attn_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports(&in->p, why);
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    struct cb_work w = { .peak = "tensor_fp16", .accumulate = CB_F32 };
    (void)i;
    w.flops = 4.0 * in->p.n * in->p.group * (double)channels(in);
    w.tensor_ops = w.flops;
    w.bytes_min = 2.0 * (double)(qkv_count(in) + out_count(in));
    w.bytes_model = w.bytes_min;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = 0;
    *ins = 2.0 * (double)qkv_count(in);
    *outs = 2.0 * (double)out_count(in);
}

/* ---- operands ---- */

/* Sixteen signs that tell a key from the others of its group, times 16: the score of a query that
 * has them too is 1024, that of another key at most 896. */
static half_bits sign_of(int key, int channel)
{
    return half_from_float(key >> channel & 1 ? 16 : -16);
}

static void make_exact(const struct instance *in, int set, half_bits *qkv)
{
    const size_t c = channels(in);
    for (int s = 0; s < in->p.slots; s++) {
        const int place = s % in->p.group;
        half_bits *q = qkv + 3 * (size_t)s * c, *k = q + c, *v = k + c;
        for (size_t i = 0; i < c; i++) {
            const int head = (int)i / in->p.head, channel = (int)i % in->p.head;
            const int taken = (7 * place + 5 * head + 3 * set + 1) % in->p.group;
            q[i] = sign_of(taken, channel);
            k[i] = sign_of(place, channel);
            v[i] = half_from_float(cb_random_at(CB_NORMAL, in->seed, TENSOR_QKV, (uint32_t)set,
                                                (uint64_t)s * c + i));
        }
    }
}

static int fill(const struct instance *in, int set)
{
    const size_t count = qkv_count(in);
    if (!in->exact)
        return cb_random(in->device, in->qkv.set[set], CB_F16, CB_NORMAL, in->seed, TENSOR_QKV,
                         (uint32_t)set, in->p.slots, 3 * (long)channels(in), false);
    half_bits *host = malloc(count * sizeof *host);
    if (!host)
        return cb_error("no memory for operands");
    make_exact(in, set, host);
    const int status = cb_upload(in->device, in->qkv.set[set], host, count * sizeof *host) ||
                       cb_sync(in->device);
    free(host);
    return status ? -1 : 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    (void)c, (void)weight_sets;
    if (op_sets_open(&in->qkv, input_sets) || op_sets_open(&in->o, input_sets) ||
        cb_alloc(d, out_count(in) * sizeof(double), (void **)&in->want) ||
        cb_alloc(d, out_count(in) * sizeof(float), (void **)&in->bound))
        return -1;
    for (int s = 0; s < input_sets; s++)
        if (cb_alloc(d, 2 * qkv_count(in), &in->qkv.set[s]) ||
            cb_alloc(d, 2 * (size_t)in->p.slots * channels(in), &in->o.set[s]) || fill(in, s))
            return -1;
    return cb_sync(d);
}

static struct group_attn_args args_at(const struct instance *in, int set)
{
    return (struct group_attn_args){ in->qkv.set[set], in->o.set[set] };
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct group_attn_impl *impl = b->impl;
    (void)set, (void)args;
    return impl->setup ? impl->setup(&in->p, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, 1, 0, set_up, ((const struct group_attn_impl *)i)->teardown,
                   out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct group_attn_impl *impl = b->impl;
    const struct group_attn_args a = args_at(in, ins);
    (void)weights;
    return op_launched(b, impl->run(&in->p, &a, b->states.state[0], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((const struct op_bound *)bound)->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->o.set[ins], 2 * out_count(in) };
    return 1;
}

/* ---- correctness ---- */

static enum op_status wanted(const struct instance *in, const struct group_attn_args *a)
{
#ifdef WITH_CUDA
    if (cb_device_info(in->device)->sm)
        return group_attn_wanted_cuda(&in->p, a, in->exact, in->want, in->bound,
                                      cb_device_stream(in->device));
#endif
    return group_attn_wanted(&in->p, a, in->exact, in->want, in->bound);
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct group_attn_args a = args_at(in, ins);
    (void)weights;
    return op_result(wanted(in, &a), "group_attn", "reference") || cb_sync(c->device) ? -1 : 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((const struct op_bound *)bound)->in;
    const struct cb_view got = { in->o.set[ins], CB_F16, in->p.n, (long)channels(in), false };
    (void)weights, (void)r2;
    *limit = in->exact ? 0 : LIMIT;
    return cb_compare(c->device, &got, in->want, in->bound, r1);
}

const struct cb_op op_group_attn = {
    .name = "group_attn", .title = "attention in groups of equal size",
    .params = params, .params_size = sizeof(struct group_attn_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .unbind = op_unbind,
    .close = close_instance,
};

/*
 * encoder.c - the layers of an encoder over pillars, bound to the harness.
 *
 * Orders are given, as flatten makes them: they are timed there.  Rows that let windows attend in
 * place of groups compute another function of the same rows and weights, and have a reference of
 * their own.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/group_attn/tokens.h"
#include "encoder_part.h"
#include "ops.h"

struct encoder_params {
    int pillars, window, group, frames, path, frame, layers, sst_window;
};

#define AT(field) offsetof(struct encoder_params, field)
static const char *const path_names[] = { "serpentine", "plain", NULL };
static const struct cb_param params[] = {
    { "pillars", CB_INT, AT(pillars), 0, 0, 219024, NULL, false,
      "occupied cells; 0: those of the scene" },
    { "window", CB_INT, AT(window), 13, 1, 468, NULL, false,
      "side of a window in cells, which groups are sorted by" },
    { "group", CB_INT, AT(group), 144, 1, 4096, NULL, false, "cells of a group" },
    { "frames", CB_INT, AT(frames), 1, 1, 3, NULL, false, "frames of the generated scene" },
    { "path", CB_CHOICE, AT(path), 0, 0, 0, path_names, false,
      "through windows and cells: as published code does, or lexicographic" },
    { "frame", CB_INT, AT(frame), 0, 0, 1000000, NULL, false, "number of the generated scene" },
    { "layers", CB_INT, AT(layers), 8, 1, ENCODER_LAYERS_MAX, NULL, false, "layers" },
    { "sst_window", CB_INT, AT(sst_window), 12, 1, 468, NULL, false,
      "side of a window in cells, of rows where windows attend" },
    { 0 },
};

struct instance {
    struct encoder_params q;
    struct encoder_operands o;
    struct encoder_expectation e;
    unsigned schemes; /* bits of those that a row of the case uses */
    double padded;    /* tokens of padded windows, the mean of both shifts */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { encoder_references, encoder_baselines, encoder_own };
    return op_row_at(table, 3, sizeof(struct encoder_impl), i);
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    encoder_expectation_close(&in->e);
    encoder_operands_close(&in->o);
    free(in);
}

static int count_padded(struct instance *in)
{
    const struct encoder_host h = encoder_operands_host(&in->o, 0);
    for (int shifted = 0; shifted < 2; shifted++) {
        struct encoder_tokens t;
        if (op_result(encoder_tokens_padded(&in->o.p, &h.frame, shifted, &t), "windows", "padding"))
            return -1;
        in->padded += t.tokens / 2.0;
        encoder_tokens_free(&t);
    }
    return 0;
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct encoder_params *q = given;
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *q;
    in->o.device = in->e.device = c->device;
    in->o.seed = c->seed;
    in->o.cut = (struct flatten_problem){ .side = PILLARS_SIDE, .window = q->window,
                                          .group = q->group,
                                          .path = q->path ? FLATTEN_PLAIN : FLATTEN_SERPENTINE };
    in->o.p = (struct encoder_problem){ .layers = q->layers, .side = PILLARS_SIDE,
                                        .window = q->sst_window };
    if (encoder_operands_open(&in->o, q->frames, q->frame, q->pillars) || count_padded(in)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    const struct encoder_problem *p = &in->o.p;
    out[0] = (struct cb_input){ .name = "cells", .dtype = "i32", .source = "generated",
                                .shape = { p->layer.n, 2 } };
    snprintf(out[0].gen, sizeof out[0].gen, "lidar waymo %df seed %d, pillars", in->q.frames,
             in->q.frame);
    memcpy(out[0].sha256, in->o.sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { p->layer.n, p->layer.heads * p->layer.head },
                                .tensor_id = ENCODER_TENSOR_X };
    out[2] = (struct cb_input){ .name = "weights", .dtype = "f16", .gen = "uniform, Xavier",
                                .source = "generated",
                                .shape = { p->layers, (long)encoder_offsets_of(&p->layer).count },
                                .tensor_id = ENCODER_TENSOR_WEIGHT };
    return 3;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    const struct group_attn_problem *l = &in->o.p.layer;
    const double value[] = { l->n, l->slots, (double)l->slots / l->group, in->padded / l->n };
    static const char *const name[] = { "cells", "slots", "groups", "sst_tokens_over_cells" };
    for (int i = 0; i < 4; i++)
        op_figure(&out[i], name[i], "", value[i]);
    return 4;
}

/* Also notes which schemes are used: the harness asks about every row of a case before it asks for
 * operands. */
static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    struct instance *in = instance;
    const struct encoder_impl *impl = (const struct encoder_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    const enum op_status status = impl->supports(&in->o.p, why);
    if (status == OP_OK)
        in->schemes |= 1u << impl->scheme;
    return status;
}

/* Query-key pairs of a layer, the mean of the layers. */
static double pairs_of(const struct instance *in, enum encoder_scheme s)
{
    const struct encoder_problem *p = &in->o.p;
    const struct encoder_host h = encoder_operands_host(&in->o, 0);
    double pairs = 0;
    if (s == ENCODER_GROUPS)
        return (double)p->layer.n * p->layer.group;
    for (int l = 0; l < p->layers; l++) {
        struct encoder_parts parts;
        if (encoder_parts_of(p, s, &h.frame, l, &parts))
            return 0;
        for (int i = 0; i < parts.count; i++) {
            const double rows = parts.begin[i + 1] - parts.begin[i];
            pairs += rows * rows / p->layers;
        }
        encoder_parts_free(&parts);
    }
    return pairs;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    const struct encoder_problem *p = &in->o.p;
    const double n = p->layer.n, c = p->layer.heads * p->layer.head, layers = p->layers;
    const double pairs = pairs_of(in, ((const struct encoder_impl *)i)->scheme);
    const double weights = (double)encoder_offsets_of(&p->layer).count;
    struct cb_work w = { .peak = "tensor_fp16", .accumulate = CB_F32 };
    w.flops = layers * (2 * n * c * (4 * c + 2 * p->layer.hidden) + 4 * pairs * c);
    w.tensor_ops = w.flops;
    w.weight_bytes = 2 * weights * layers;
    w.bytes_min = w.weight_bytes + 4 * n * c + 4 * (double)p->layer.slots * FLATTEN_ORDERS + 8 * n;
    w.bytes_model = w.bytes_min + (layers - 1) * 4 * n * c; /* rows between layers */
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct encoder_operands *o = &((struct instance *)instance)->o;
    const struct encoder_problem *p = &o->p;
    const double rows = 2 * (double)encoder_operands_rows(o);
    *weights = 0; /* rotate with the frames */
    *ins = rows + 2 * (double)p->layers * (double)encoder_offsets_of(&p->layer).count +
           4.0 * FLATTEN_ORDERS * (p->layer.slots + (double)p->layer.n) + 8.0 * p->layer.n;
    *outs = rows;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)c, (void)weight_sets;
    return encoder_operands_make(&in->o, input_sets) ||
                   encoder_expectation_open(&in->e, &in->o, in->schemes)
               ? -1
               : 0;
}

/* ---- one row ---- */

/* Sets after the first see what the first got. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct encoder_impl *impl = b->impl;
    const struct encoder_host h = encoder_operands_host(&in->o, set);
    const struct encoder_args a = encoder_operands_at(&in->o, set);
    void *own = set ? b->states.state[0] : NULL;
    (void)args;
    const enum op_status s = impl->setup(&in->o.p, &h, &a, memory, b->stream, &own);
    if (s == OP_OK)
        *state = own;
    return s;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, ((struct instance *)instance)->o.x.count, 0, set_up,
                   ((const struct encoder_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct encoder_impl *impl = b->impl;
    const struct encoder_args a = encoder_operands_at(&in->o, ins);
    (void)weights;
    return op_launched(b, impl->run(&in->o.p, &a, b->states.state[ins], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct encoder_operands *o = &((struct instance *)((const struct op_bound *)bound)->in)->o;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ o->y.set[ins], 2 * encoder_operands_rows(o) };
    return 1;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    (void)c, (void)weights;
    return encoder_expectation_compute(&in->e, &in->o, ins);
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    struct instance *in = b->in;
    const struct encoder_impl *impl = b->impl;
    (void)c, (void)weights, (void)r2;
    return encoder_expectation_check(&in->e, &in->o, impl->scheme, ins, r1, limit);
}

const struct cb_op op_encoder = {
    .name = "encoder", .title = "attention encoder over pillars",
    .params = params, .params_size = sizeof(struct encoder_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .unbind = op_unbind,
    .close = close_instance,
};

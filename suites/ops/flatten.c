/*
 * flatten.c - cells in groups of equal size, bound to the harness.
 *
 * A problem is a generated scene, as many pillars as it has or exactly as many as asked for.  Sets
 * of operands hold mirror images of it in turn, in raster order each.  All implementations of a
 * case write the same memory.
 */
#include "../../kernels/flatten/flatten.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../data/pillars.h"
#include "bind.h"
#include "ops.h"

enum { SCENES = 4 }; /* as made, x mirrored, y mirrored, both */

struct flatten_params {
    int pillars, window, group, frames, path, frame;
};

static const char *const path_names[] = { "serpentine", "plain", NULL };
static const struct cb_param params[] = {
    { "pillars", CB_INT, offsetof(struct flatten_params, pillars), 0, 0, 219024, NULL, false,
      "occupied cells; 0: those of the scene" },
    { "window", CB_INT, offsetof(struct flatten_params, window), 13, 1, 468, NULL, false,
      "side of a window in cells" },
    { "group", CB_INT, offsetof(struct flatten_params, group), 144, 1, 4096, NULL, false,
      "cells of a group" },
    { "frames", CB_INT, offsetof(struct flatten_params, frames), 1, 1, 3, NULL, false,
      "frames of the generated scene" },
    { "path", CB_CHOICE, offsetof(struct flatten_params, path), 0, 0, 0, path_names, false,
      "through windows and cells: as published code does, or lexicographic" },
    { "frame", CB_INT, offsetof(struct flatten_params, frame), 0, 0, 1000000, NULL, false,
      "number of the generated scene" },
    { 0 },
};

struct instance {
    struct flatten_params q;
    struct flatten_problem p;
    struct pillars scene[SCENES]; /* of sets 0, SCENES, .. first; mirrored when needed */
    struct cb_device *device;
    char sha256[65];
    struct op_sets in, slot, rank;
    struct flatten_args want; /* host, of the set last expected */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { flatten_references, flatten_impls };
    return op_row_at(table, 2, sizeof(struct flatten_impl), i);
}

static size_t slot_bytes(const struct instance *in)
{
    return (size_t)flatten_slots(&in->p) * FLATTEN_ORDERS * sizeof(int32_t);
}

static size_t rank_bytes(const struct instance *in)
{
    return (size_t)in->p.n * FLATTEN_ORDERS * sizeof(int32_t);
}

static size_t cell_bytes(const struct instance *in)
{
    return (size_t)in->p.n * sizeof(struct flatten_cell);
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->in);
    op_sets_close(in->device, &in->slot);
    op_sets_close(in->device, &in->rank);
    for (int s = 0; s < SCENES; s++)
        pillars_free(&in->scene[s]);
    free(in->want.slot);
    free(in->want.rank);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct flatten_params *)given;
    in->device = c->device;
    int status =
        pillars_generate(in->q.frames, (uint64_t)in->q.frame, in->q.pillars, &in->scene[0]);
    in->p = (struct flatten_problem){ in->scene[0].n, PILLARS_SIDE, in->q.window, in->q.group,
                                      in->q.path ? FLATTEN_PLAIN : FLATTEN_SERPENTINE };
    if (!status)
        status = op_result(flatten_check(&in->p), "flatten", "problem");
    if (!status)
        status = cb_sha256(in->scene[0].cell, cell_bytes(in), in->sha256);
    if (!status) {
        in->want.slot = malloc(slot_bytes(in));
        in->want.rank = malloc(rank_bytes(in));
        status = in->want.slot && in->want.rank ? 0 : cb_error("no memory for the reference");
    }
    if (status) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "cells", .dtype = "i32", .shape = { in->p.n, 2 } };
    snprintf(out[0].source, sizeof out[0].source, "generated");
    snprintf(out[0].gen, sizeof out[0].gen, "street %df seed %d, pillars", in->q.frames,
             in->q.frame);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    return 1;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    const double value[] = { in->p.n, flatten_slots(&in->p),
                             (double)flatten_slots(&in->p) / flatten_group(&in->p) };
    static const char *const name[] = { "cells", "slots", "groups" };
    for (int i = 0; i < 3; i++)
        op_figure(&out[i], name[i], "", value[i]);
    return 3;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct flatten_impl *impl = (const struct flatten_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports(&in->p, why);
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    struct cb_work w = { .peak = "", .accumulate = CB_I32 };
    w.bytes_min = (double)cell_bytes(in) + (double)slot_bytes(in);
    if (flatten_ranks((const struct flatten_impl *)i))
        w.bytes_min += (double)rank_bytes(in);
    w.bytes_model = w.bytes_min;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = 0;
    *ins = (double)cell_bytes(in);
    *outs = (double)(slot_bytes(in) + rank_bytes(in));
}

/* ---- operands ---- */

static const struct flatten_cell *scene_of(const struct instance *in, int set)
{
    return in->scene[set % SCENES].cell;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    (void)c, (void)weight_sets;
    if (op_sets_open(&in->in, input_sets) || op_sets_open(&in->slot, input_sets) ||
        op_sets_open(&in->rank, input_sets))
        return -1;
    for (int s = 0; s < input_sets; s++) {
        struct pillars *scene = &in->scene[s % SCENES];
        if (!scene->cell && pillars_mirror(&in->scene[0], s & 1, s & 2, scene))
            return -1;
        if (cb_alloc(d, cell_bytes(in), &in->in.set[s]) ||
            cb_alloc(d, slot_bytes(in), &in->slot.set[s]) ||
            cb_alloc(d, rank_bytes(in), &in->rank.set[s]) ||
            cb_upload(d, in->in.set[s], scene->cell, cell_bytes(in)))
            return -1;
    }
    return cb_sync(d);
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    (void)set, (void)args;
    return ((const struct flatten_impl *)b->impl)->setup(&((struct instance *)b->in)->p, memory, state);
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, 1, 0, set_up, ((const struct flatten_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct flatten_args a = { in->in.set[ins], in->slot.set[ins], in->rank.set[ins] };
    (void)weights;
    const struct flatten_impl *impl = b->impl;
    return op_launched(b, impl->run(&in->p, &a, b->states.state[0], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->slot.set[ins], slot_bytes(in) };
    out[1] = (struct cb_region){ in->rank.set[ins], rank_bytes(in) };
    return 1 + flatten_ranks(b->impl);
}

/* ---- correctness ---- */

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct flatten_args a = { scene_of(in, ins), in->want.slot, in->want.rank };
    (void)c, (void)weights;
    return op_result(flatten_reference(&in->p, &a, NULL, NULL), "flatten", "reference");
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    struct cb_region region[2];
    void *host[2] = { NULL, NULL };
    const int n = outputs(bound, weights, ins, region, 2);
    size_t bytes = 0;
    int status = 0;
    (void)r2;
    for (int k = 0; !status && k < n; k++) {
        host[k] = malloc(region[k].bytes);
        status = host[k] ? cb_download(c->device, host[k], region[k].data, region[k].bytes)
                         : cb_error("no memory for %zu bytes", region[k].bytes);
        bytes += region[k].bytes;
    }
    if (!status) {
        const struct flatten_args got = { scene_of(in, ins), host[0], host[1] };
        *r1 = (struct cb_accuracy){ .compared = (long)(bytes / sizeof(int32_t)), .worst = -1,
                                    .bad = flatten_compare(&in->p, &in->want, &got) };
        *limit = 0;
    }
    free(host[0]);
    free(host[1]);
    return status;
}

const struct cb_op op_flatten = {
    .name = "flatten", .title = "cells in groups of equal size",
    .params = params, .params_size = sizeof(struct flatten_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check,
    .unbind = op_unbind, .close = close_instance,
};

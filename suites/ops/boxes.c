/*
 * boxes.c - boxes of a detector's map, bound to the harness.
 *
 * A problem is a map with objects at random places (head_map.h), sets of operands hold other ones.
 * Results are compared to the bit: kernels/boxes/boxes.h.
 */
#include "../../kernels/boxes/boxes.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../data/pillars.h"
#include "bind.h"
#include "head_map.h"
#include "ops.h"

enum { MAPS = 4, CENTER_SIDE = 188 };

struct boxes_params {
    int side, objects, frames, net;
};
static const char *const nets[] = { "flatformer", "centerpoint", NULL }; /* as enum bev_net */

static const struct cb_param params[] = {
    { "side", CB_INT, offsetof(struct boxes_params, side), PILLARS_SIDE, 1, 2048, NULL, false,
      "cells of the map's side; centerpoint: 188 at most" },
    { "objects", CB_INT, offsetof(struct boxes_params, objects), 200, 0, 100000, NULL, false,
      "objects in the map" },
    { "frames", CB_INT, offsetof(struct boxes_params, frames), 1, 1, 12, NULL, false,
      "frames that the detector reads: another map, of the same size" },
    { "net", CB_CHOICE, offsetof(struct boxes_params, net), BEV_FLATFORMER, 0, 0, nets, false,
      "whose head" },
    { 0 },
};

struct want {
    int32_t count[BOXES_GROUPS];
    struct boxes_box box[BOXES_RESULT];
};

struct instance {
    struct boxes_params q;
    struct boxes_problem p;
    struct cb_device *device;
    uint64_t seed;
    char sha256[65];
    half_bits *first;              /* the map of set 0, host */
    int candidates;                /* in it */
    struct want want[MAPS];
    struct op_sets map;            /* input */
    struct op_sets count, box;     /* output */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { boxes_references, boxes_impls };
    return op_row_at(table, 2, sizeof(struct boxes_impl), i);
}

static size_t map_bytes(const struct instance *in)
{
    return (size_t)in->p.side * (size_t)in->p.side * (size_t)bev_shapes[in->p.net].out *
           sizeof(half_bits);
}

static size_t box_bytes(const struct instance *in)
{
    return (size_t)boxes_most(in->p.net) * sizeof(struct boxes_box);
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->map);
    op_sets_close(in->device, &in->count);
    op_sets_close(in->device, &in->box);
    free(in->first);
    free(in);
}

/* The map of a set and what its boxes are. */
static int make_map(struct instance *in, int set, half_bits *map, int *candidates)
{
    struct want *w = &in->want[set % MAPS];
    const struct boxes_args a = { map, w->count, w->box };
    head_map_generate(in->p.net, in->p.side, in->q.objects,
                      in->seed * MAPS + (uint64_t)(set % MAPS + 64 * in->q.frames), map);
    return op_result(boxes_reference(&in->p, &a, candidates), "boxes", "reference");
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct boxes_params *)given;
    in->device = c->device;
    in->seed = c->seed;
    in->p = (struct boxes_problem){ in->q.side, (enum bev_net)in->q.net };
    int status = 0;
    if (in->p.net == BEV_CENTERPOINT && in->p.side > CENTER_SIDE)
        status = cb_error("boxes: side: %d is more than %d", in->p.side, CENTER_SIDE);
    if (!status && !(in->first = malloc(map_bytes(in))))
        status = cb_error("no memory for a map");
    if (!status)
        status = make_map(in, 0, in->first, &in->candidates);
    if (!status)
        status = cb_sha256(in->first, map_bytes(in), in->sha256);
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
    out[0] = (struct cb_input){ .name = "map", .dtype = "f16",
                                .shape = { (long)in->p.side * in->p.side,
                                           bev_shapes[in->p.net].out } };
    snprintf(out[0].source, sizeof out[0].source, "generated");
    snprintf(out[0].gen, sizeof out[0].gen, "head of a detector, %d objects", in->q.objects);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    return 1;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    int boxes = 0;
    for (int g = 0; g < BOXES_GROUPS; g++)
        boxes += in->want[0].count[g];
    op_figure(&out[0], "candidates", "", in->candidates);
    op_figure(&out[1], "boxes", "", boxes);
    return 2;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    (void)instance;
    return op_is_built(((const struct boxes_impl *)i)->run != NULL, why) ? OP_OK : OP_EUNSUPPORTED;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    struct cb_work w = { .peak = "", .accumulate = CB_F32 };
    (void)i;
    w.bytes_min = w.bytes_model = (double)(map_bytes(in) + box_bytes(in));
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = 0;
    *ins = (double)map_bytes(in);
    *outs = (double)box_bytes(in);
}

/* ---- operands ---- */

/* The map of a set on the device; room: for one on the host.  The first is there since the problem
 * was opened, and from MAPS on they repeat. */
static int fill_map(struct instance *in, int set, half_bits *room)
{
    struct cb_device *d = in->device;
    const half_bits *map = set ? room : in->first;
    if (set >= MAPS)
        return cb_copy(d, in->map.set[set], in->map.set[set % MAPS], map_bytes(in));
    if (set && make_map(in, set, room, NULL))
        return -1;
    return cb_upload(d, in->map.set[set], map, map_bytes(in)) || cb_sync(d) ? -1 : 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    half_bits *map = malloc(map_bytes(in));
    (void)c, (void)weight_sets;
    int status = map ? 0 : cb_error("no memory for a map");
    if (!status && (op_sets_open(&in->map, input_sets) || op_sets_open(&in->count, input_sets) ||
                    op_sets_open(&in->box, input_sets)))
        status = -1;
    for (int s = 0; s < input_sets && !status; s++)
        status = cb_alloc(d, map_bytes(in), &in->map.set[s]) ||
                         cb_alloc(d, BOXES_GROUPS * sizeof(int32_t), &in->count.set[s]) ||
                         cb_alloc(d, box_bytes(in), &in->box.set[s]) || fill_map(in, s, map)
                     ? -1
                     : 0;
    free(map);
    return status;
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct boxes_impl *impl = b->impl;
    (void)set, (void)args;
    return impl->setup ? impl->setup(&in->p, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, 1, 0, set_up, ((const struct boxes_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct boxes_impl *impl = b->impl;
    const struct boxes_args a = { in->map.set[ins], in->count.set[ins], in->box.set[ins] };
    (void)weights;
    return op_launched(b, impl->run(&in->p, &a, b->states.state[0], b->stream));
}

/* Boxes of groups that have some; what lies between is not written. */
static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    const struct want *w = &in->want[ins % MAPS];
    int n = 0;
    (void)weights, (void)max;
    out[n++] = (struct cb_region){ in->count.set[ins], sizeof w->count };
    for (int g = 0; g < boxes_rules[in->p.net].groups; g++)
        if (w->count[g])
            out[n++] = (struct cb_region){ (struct boxes_box *)in->box.set[ins] +
                                               boxes_at(in->p.net, g),
                                           (size_t)w->count[g] * sizeof(struct boxes_box) };
    return n;
}

/* ---- correctness ---- */

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    (void)c, (void)instance, (void)weights, (void)ins; /* made with the maps */
    return 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    const struct want *w = &in->want[ins % MAPS];
    struct want *got = malloc(sizeof *got);
    int status = got ? 0 : cb_error("no memory for boxes");
    (void)weights, (void)r2;
    if (!status && (cb_download(c->device, got->count, in->count.set[ins], sizeof got->count) ||
                    cb_download(c->device, got->box, in->box.set[ins], box_bytes(in))))
        status = -1;
    if (!status) {
        *r1 = (struct cb_accuracy){ .compared = BOXES_GROUPS, .worst = -1 };
        for (int g = 0; g < BOXES_GROUPS; g++) {
            const int at = g < boxes_rules[in->p.net].groups ? boxes_at(in->p.net, g) : 0;
            r1->bad += got->count[g] != w->count[g];
            for (int i = 0; i < w->count[g]; i++)
                r1->bad += memcmp(&got->box[at + i], &w->box[at + i], sizeof w->box[0]) != 0;
            r1->compared += w->count[g];
        }
        *limit = 0;
    }
    free(got);
    return status;
}

const struct cb_op op_boxes = {
    .name = "boxes", .title = "boxes of a detector's map",
    .params = params, .params_size = sizeof(struct boxes_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check,
    .unbind = op_unbind, .close = close_instance,
};

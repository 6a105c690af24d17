/*
 * gpu_boxes.c - boxes of a map on the GPU: every row against the definition, to the bit, on
 * generated maps of both networks, with no candidates, more than are looked at, all of one score,
 * few scores, scores that differ in their last digits; twice, and in a graph; planted faults.
 * `gpu_boxes times` prints microseconds a run in a graph instead.
 */
#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/boxes/boxes.h"
#include "../suites/data/build.h"
#include "../suites/ops/head_map.h"
#include "graph_median.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { TAKEN_MAX = 16, STEPS = 20 };
enum kind { OBJECTS, ONE_SCORE, FEW_SCORES, CLOSE_SCORES };

struct result {
    int32_t count[BOXES_GROUPS];
    struct boxes_box box[BOXES_RESULT];
};

struct run {
    struct cb_device *d;
    struct boxes_problem p;
    const struct boxes_impl *impl;
    void *state, *taken[TAKEN_MAX], *memory[3]; /* map, count, box */
    int count;
    half_bits *map;
    struct result want, got;
};

static int tried;

static void *take(void *context, size_t bytes)
{
    struct run *r = context;
    void *p = NULL;
    if (r->count == TAKEN_MAX || cb_alloc(r->d, bytes, &p))
        return NULL;
    cb_fill(r->d, p, 0xff, bytes);
    r->taken[r->count++] = p;
    return p;
}

static int enqueue(void *context, int i)
{
    struct run *r = context;
    const struct boxes_args a = { r->memory[0], r->memory[1], r->memory[2] };
    (void)i;
    return r->impl->run(&r->p, &a, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

/* Elements that differ from the definition's. */
static long wrong(const struct run *r)
{
    const int groups = boxes_rules[r->p.net].groups;
    long bad = 0;
    for (int g = 0; g < BOXES_GROUPS; g++) {
        const int at = g < groups ? boxes_at(r->p.net, g) : 0;
        bad += r->got.count[g] != r->want.count[g];
        for (int i = 0; i < r->want.count[g]; i++)
            bad += memcmp(&r->got.box[at + i], &r->want.box[at + i], sizeof *r->got.box) != 0;
    }
    return bad;
}

static void compare(struct run *r, const char *label)
{
    CHECK(!cb_sync(r->d) && !cb_download(r->d, r->got.count, r->memory[1], sizeof r->got.count) &&
          !cb_download(r->d, r->got.box, r->memory[2], sizeof r->got.box));
    const long bad = wrong(r);
    CHECK(bad == 0);
    if (bad)
        printf("  %s, %s: net %d, side %d: %ld wrong, counts %d %d %d for %d %d %d\n", label,
               r->impl->base.name, r->p.net, r->p.side, bad, r->got.count[0], r->got.count[1],
               r->got.count[2], r->want.count[0], r->want.count[1], r->want.count[2]);
    if (r->want.count[0]) { /* a fault is found */
        r->got.box[r->want.count[0] - 1].z += 1;
        CHECK(wrong(r) != bad || bad);
    }
    tried++;
}

static void poison(struct run *r)
{
    CHECK(!cb_fill(r->d, r->memory[1], 0xff, sizeof r->got.count) &&
          !cb_fill(r->d, r->memory[2], 0xff, sizeof r->got.box));
}

static bool open_impl(struct run *r, const struct boxes_impl *impl)
{
    const struct op_memory memory = { take, r };
    const int sm = cb_device_info(r->d)->sm;
    r->impl = impl;
    r->state = NULL;
    if (!impl->run || sm < impl->base.sm_min || sm > impl->base.sm_max)
        return false;
    const enum op_status s = impl->setup(&r->p, &memory, cb_device_stream(r->d), &r->state);
    CHECK(s == OP_OK);
    return s == OP_OK;
}

static void close_impl(struct run *r)
{
    CHECK(!cb_guards_check(r->d));
    r->impl->teardown(r->state);
    for (int k = 0; k < r->count; k++)
        cb_free(r->d, r->taken[k]);
    r->count = 0;
}

static void one(struct run *r, const struct boxes_impl *impl)
{
    struct cb_graph *g = NULL;
    if (open_impl(r, impl)) {
        for (int again = 0; again < 2; again++) {
            poison(r);
            CHECK(!enqueue(r, 0));
            compare(r, again ? "again" : "run");
        }
        CHECK(!cb_graph_make(r->d, enqueue, r, 1, &g) && g);
        for (int again = 0; g && again < 2; again++) {
            poison(r);
            CHECK(!cb_graph_launch(r->d, g));
            compare(r, "graph");
        }
        cb_graph_free(r->d, g);
    }
    close_impl(r);
}

/* Logits of a kind in all cells. */
static void change(const struct run *r, enum kind kind)
{
    const struct boxes_rules *b = &boxes_rules[r->p.net];
    const int out = bev_shapes[r->p.net].out;
    for (int i = 0; i < r->p.side * r->p.side && kind != OBJECTS; i++) {
        half_bits *v = r->map + (size_t)i * (size_t)out;
        for (int k = 0; k < BOXES_CLASSES; k++) {
            const int drawn = (int)(data_hash(9, (uint64_t)i, (uint64_t)k) % 5);
            v[b->heat + k] = kind == ONE_SCORE    ? half_from_float(1)
                             : kind == FEW_SCORES ? half_from_float((float)drawn - 2.5f)
                                                  : (half_bits)(0x3c00 + drawn);
        }
        if (b->iou >= 0)
            v[b->iou] = half_from_float(1);
    }
}

/* *candidates: above the threshold. */
static bool open_map(struct run *r, struct cb_device *d, enum bev_net net, int side, int objects,
                     enum kind kind, int *candidates)
{
    const size_t bytes =
        (size_t)side * (size_t)side * (size_t)bev_shapes[net].out * sizeof(half_bits);
    *r = (struct run){ .d = d, .p = { side, net }, .map = malloc(bytes) };
    const struct boxes_args a = { r->map, r->want.count, r->want.box };
    if (!r->map)
        return false;
    head_map_generate(net, side, objects, (uint64_t)(side + objects), r->map);
    change(r, kind);
    return boxes_reference(&r->p, &a, candidates) == OP_OK && !cb_alloc(d, bytes, &r->memory[0]) &&
           !cb_alloc(d, sizeof r->want.count, &r->memory[1]) &&
           !cb_alloc(d, sizeof r->want.box, &r->memory[2]) &&
           !cb_upload(d, r->memory[0], r->map, bytes);
}

static void close_map(struct run *r)
{
    for (int i = 0; i < 3; i++)
        cb_free(r->d, r->memory[i]);
    free(r->map);
}

static void try_map(struct cb_device *d, enum bev_net net, int side, int objects, enum kind kind)
{
    static struct run r;
    int candidates = 0;
    const bool there = open_map(&r, d, net, side, objects, kind, &candidates);
    CHECK(there);
    for (const struct boxes_impl *i = boxes_impls; there && i->base.name; i++)
        one(&r, i);
    printf("net %d, side %d: %d candidates, %d boxes\n", net, side, candidates,
           r.want.count[0] + r.want.count[1] + r.want.count[2]);
    close_map(&r);
}

static void times(struct cb_device *d, enum bev_net net, int side, int objects, enum kind kind)
{
    static struct run r;
    int candidates = 0;
    const bool there = open_map(&r, d, net, side, objects, kind, &candidates);
    CHECK(there);
    printf("net %d, side %d, %d candidates\n", net, side, candidates);
    for (const struct boxes_impl *i = boxes_impls; there && i->base.name; i++) {
        if (open_impl(&r, i))
            printf("    %s: %.1f us\n", i->base.name, graph_median(d, enqueue, &r, STEPS));
        close_impl(&r);
    }
    close_map(&r);
}

static const int sides[] = { 1, 2, 7, 20, 37, 64, 100 };

int main(int argc, char **argv)
{
    struct cb_device *d = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_boxes: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    if (argc > 1 && !strcmp(argv[1], "times")) {
        times(d, BEV_FLATFORMER, 468, 200, OBJECTS);
        times(d, BEV_FLATFORMER, 468, 2000, OBJECTS);
        times(d, BEV_FLATFORMER, 468, 0, CLOSE_SCORES);
        times(d, BEV_CENTERPOINT, 188, 200, OBJECTS);
        times(d, BEV_CENTERPOINT, 188, 0, CLOSE_SCORES);
    } else if (test_tiny()) {
        tiny_op(d, "boxes");
    } else {
        for (int n = 0; n < BEV_NETS; n++) {
            for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
                try_map(d, (enum bev_net)n, sides[i], sides[i] * sides[i] / 40, OBJECTS);
            try_map(d, (enum bev_net)n, 64, 0, OBJECTS); /* no candidates */
            for (enum kind k = ONE_SCORE; k <= CLOSE_SCORES; k++)
                try_map(d, (enum bev_net)n, 100, 50, k); /* more candidates than are looked at */
        }
        try_map(d, BEV_FLATFORMER, 468, 200, OBJECTS);
        try_map(d, BEV_FLATFORMER, 468, 3000, OBJECTS);
        try_map(d, BEV_CENTERPOINT, 188, 1000, OBJECTS);
    }
    cb_device_close(d);
    printf("%d results compared\n", tried);
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_boxes: built without CUDA");
    return TEST_END();
}

#endif

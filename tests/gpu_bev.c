/*
 * gpu_bev.c - the detector behind the encoder on the GPU, both networks: every row and the reference
 * of the device against the host's on small maps, rows against the device's on the published ones;
 * sides around tiles, one pillar, all cells; capture into a graph; runs of ours that agree to the
 * bit; planted faults.  `gpu_bev times` prints microseconds a run in a graph instead, seconds of set-up,
 * and of bev_rows each layer.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/bev/kernels.h"
#include "../suites/data/build.h"
#include "../suites/data/pillars.h"
#include "graph_median.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { TAKEN_MAX = 40, STEPS = 5 };

struct run {
    struct cb_device *d;
    struct bev_problem p;
    const struct bev_impl *impl;
    void *state, *taken[TAKEN_MAX], *memory[5]; /* x, cell, w, b, y */
    int count, layer; /* layer: of enqueue_layer */
    struct bev_args a, host;
};

static int tried;

static void *take(void *context, size_t bytes)
{
    struct run *r = context;
    void *p = NULL;
    if (r->count == TAKEN_MAX || cb_alloc(r->d, bytes, &p))
        return NULL;
    cb_fill(r->d, p, 0xff, bytes); /* what set-up leaves is not a number */
    r->taken[r->count++] = p;
    return p;
}

static void give(struct run *r)
{
    for (int k = 0; k < r->count; k++)
        cb_free(r->d, r->taken[k]);
    r->count = 0;
}

static int enqueue(void *context, int i)
{
    struct run *r = context;
    (void)i;
    return r->impl->run(&r->p, &r->a, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static size_t y_count(const struct run *r)
{
    return bev_map_size(&r->p, BEV_RESULT);
}

/* Random cells, features and weights; on host and device. */
static bool open_run(struct run *r, struct cb_device *d, enum bev_net net, int side, int pillars,
                     uint64_t seed)
{
    const struct bev_shape *n = &bev_shapes[net];
    const size_t weights = bev_weight_at(n->end), biases = bev_bias_at(n->end);
    const int wide = side * n->heights, cells = wide * side;
    *r = (struct run){ .d = d, .p = { side, pillars, net } };
    half_bits *x = malloc((size_t)pillars * BEV_IN * sizeof *x), *w = malloc(weights * sizeof *w);
    struct flatten_cell *cell = malloc((size_t)cells * sizeof *cell);
    float *b = malloc(biases * sizeof *b);
    r->host = (struct bev_args){ x, cell, w, b, malloc(y_count(r) * sizeof(half_bits)) };
    if (!x || !w || !cell || !b || !r->host.y)
        return false;
    for (int i = 0; i < cells; i++)
        cell[i] = (struct flatten_cell){ i % wide, i / wide };
    for (int i = 0; i < pillars; i++) {
        const int j = i + (int)(data_hash(seed, 1, (uint64_t)i) % (uint64_t)(cells - i));
        const struct flatten_cell t = cell[i];
        cell[i] = cell[j];
        cell[j] = t;
    }
    for (int i = 0; i < pillars * BEV_IN; i++)
        x[i] = half_from_float(fmaxf(data_value(seed, i, 2), 0));
    for (size_t i = 0; i < biases; i++)
        b[i] = .1f * data_value(seed, (int)i, 3);
    for (int k = n->first; k < n->end; k++) {
        const struct bev_layer *l = &bev_layers[k];
        const int row = l->kernel * l->kernel * l->cin;
        half_bits *to = w + bev_weight_at(k);
        for (int i = 0; i < row * l->rows; i++)
            to[i] = half_from_float(
                l->groups > 1 && i / row % BEV_BRANCH_ROWS >= n->branch_out[i / row / BEV_BRANCH_ROWS]
                    ? 0
                    : sqrtf(6.f / (float)row) * data_value(seed + 5, i, k));
    }
    const void *from[] = { x, cell, w, b };
    const size_t bytes[] = { (size_t)pillars * BEV_IN * sizeof *x, (size_t)pillars * sizeof *cell,
                             weights * sizeof *w, biases * sizeof *b, y_count(r) * sizeof(half_bits) };
    for (int i = 0; i < 5; i++)
        if (cb_alloc(d, bytes[i], &r->memory[i]) ||
            (i < 4 && cb_upload(d, r->memory[i], from[i], bytes[i])))
            return false;
    r->a = (struct bev_args){ r->memory[0], r->memory[1], r->memory[2], r->memory[3], r->memory[4] };
    return true;
}

static void close_run(struct run *r)
{
    for (int i = 0; i < 5; i++)
        cb_free(r->d, r->memory[i]);
    free((void *)r->host.x);
    free((void *)r->host.cell);
    free((void *)r->host.w);
    free((void *)r->host.b);
    free(r->host.y);
}

/* Elements off by more than 2 % of themselves and of the root mean square; *rel: of all together. */
static long off(const half_bits *got, const double *want, size_t count, double *rel)
{
    double square = 0, error = 0;
    long bad = 0;
    for (size_t i = 0; i < count; i++)
        square += want[i] * want[i];
    const double size = sqrt(square / (double)count);
    for (size_t i = 0; i < count; i++) {
        const double e = half_to_float(got[i]) - want[i];
        bad += !(fabs(e) <= .02 * (fabs(want[i]) + size));
        error += e * e;
    }
    *rel = sqrt(error / square);
    return bad;
}

static void compare(struct run *r, const double *want, const char *label)
{
    double rel = 0, worse;
    const size_t count = y_count(r);
    CHECK(!cb_sync(r->d));
    CHECK(!cb_download(r->d, r->host.y, r->a.y, count * sizeof *r->a.y));
    const long bad = off(r->host.y, want, count, &rel);
    CHECK(bad == 0 && rel < 3e-3);
    if (bad || !(rel < 3e-3))
        printf("  %s, %s: %s, side %d, %d pillars: %ld of %zu wrong, relative %.3g\n", label,
               r->impl->base.name, bev_shape_of(&r->p)->name, r->p.side, r->p.pillars, bad, count,
               rel);
    const half_bits right = r->host.y[count / 2];
    r->host.y[count / 2] = 0x7c00; /* a fault is found */
    CHECK(off(r->host.y, want, count, &worse) == bad + 1);
    r->host.y[count / 2] = right;
    tried++;
}

static void one(struct run *r, const struct bev_impl *impl, const double *want, bool graph)
{
    const size_t bytes = y_count(r) * sizeof *r->a.y;
    const struct op_memory memory = { take, r };
    struct cb_graph *g = NULL;
    half_bits *first = malloc(bytes);
    r->impl = impl;
    r->state = NULL;
    const enum op_status s = impl->setup(&r->p, &r->a, &memory, cb_device_stream(r->d), &r->state);
    CHECK(s == OP_OK);
    if (s != OP_OK)
        printf("  %s: set-up: %s\n", impl->base.name, op_status_name(s));
    for (int again = 0; s == OP_OK && first && again < 2; again++) {
        CHECK(!cb_fill(r->d, r->a.y, 0xff, bytes));
        CHECK(!enqueue(r, 0));
        compare(r, want, "run");
        CHECK(!again || impl->base.role == OP_BASELINE || !memcmp(first, r->host.y, bytes));
        memcpy(first, r->host.y, bytes);
    }
    if (s == OP_OK && graph) {
        CHECK(!cb_graph_make(r->d, enqueue, r, 1, &g) && g);
        for (int again = 0; again < 2; again++) {
            CHECK(!cb_fill(r->d, r->a.y, 0xff, bytes));
            CHECK(g && !cb_graph_launch(r->d, g));
            compare(r, want, again ? "graph again" : "graph");
        }
        cb_graph_free(r->d, g);
    }
    CHECK(!cb_guards_check(r->d));
    impl->teardown(r->state);
    give(r);
    free(first);
}

static bool usable(struct run *r, const struct bev_impl *i)
{
    const int sm = cb_device_info(r->d)->sm;
    const char *why = "";
    if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max)
        return false;
    if (bev_covers(i, &r->p, &why) != OP_OK) {
        printf("  %s: %s\n", i->base.name, why);
        return false;
    }
    return true;
}

/* The device's reference; of small maps against the host's. */
static bool reference(struct run *r, double *want, bool small)
{
    const size_t count = y_count(r);
    const struct op_memory memory = { take, r };
    void *on_device = NULL;
    bool right = !cb_alloc(r->d, count * sizeof *want, &on_device) &&
                 bev_reference_cuda(&r->p, &r->a, &memory, on_device, cb_device_stream(r->d)) == OP_OK &&
                 !cb_sync(r->d) && !cb_download(r->d, want, on_device, count * sizeof *want);
    CHECK(right);
    cb_free(r->d, on_device);
    give(r);
    double *host = small ? malloc(count * sizeof *host) : NULL;
    if (right && host) {
        CHECK(bev_reference(&r->p, &r->host, host) == OP_OK);
        for (size_t i = 0; i < count; i++)
            right &= fabs(host[i] - want[i]) <= 1e-9 * (1 + fabs(host[i]));
        CHECK(right);
    }
    free(host);
    return right;
}

static void try_map(struct cb_device *d, enum bev_net net, int side, int pillars, bool graph)
{
    struct run r;
    const bool there = open_run(&r, d, net, side, pillars, (uint64_t)(side + pillars));
    double *want = there ? malloc(y_count(&r) * sizeof *want) : NULL;
    CHECK(want != NULL);
    if (want && reference(&r, want, side <= 40))
        for (const struct bev_impl *i = bev_impls; i->base.name; i++)
            if (usable(&r, i))
                one(&r, i, want, graph);
    free(want);
    close_run(&r);
}

static int enqueue_layer(void *context, int i)
{
    struct run *r = context;
    (void)i;
    return bev_rows_layer(&r->p, &r->a, r->state, r->layer, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static void times(struct cb_device *d, enum bev_net net, int side, int pillars)
{
    struct run r;
    const bool there = open_run(&r, d, net, side, pillars, 1);
    printf("%s, side %d\n", bev_shapes[net].name, side);
    CHECK(there);
    for (const struct bev_impl *i = bev_impls; there && i->base.name; i++) {
        const struct op_memory memory = { take, &r };
        r.impl = i;
        r.state = NULL;
        if (!usable(&r, i))
            continue;
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        const enum op_status s = i->setup(&r.p, &r.a, &memory, cb_device_stream(d), &r.state);
        CHECK(s == OP_OK && !cb_sync(d) && !enqueue(&r, 0) && !cb_sync(d));
        clock_gettime(CLOCK_MONOTONIC, &to);
        const double us = s == OP_OK ? graph_median(r.d, enqueue, &r, STEPS) : 0;
        printf("%s: %.1f us, %.0f TFLOP/s, set-up %.1f s\n", i->base.name, us,
               bev_flops(&r.p) / us * 1e-6,
               (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec));
        for (r.layer = 0; s == OP_OK && i->run == bev_rows && r.layer < BEV_LAYERS; r.layer++)
            printf("    %s: %.1f us\n", bev_layers[r.layer].name,
                   graph_median(r.d, enqueue_layer, &r, STEPS));
        i->teardown(r.state);
        give(&r);
    }
    close_run(&r);
}

int main(int argc, char **argv)
{
    struct cb_device *d = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_bev: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    if (argc > 1 && !strcmp(argv[1], "times")) {
        times(d, BEV_FLATFORMER, PILLARS_SIDE, 18400);
        times(d, BEV_CENTERPOINT, 188, 20000);
    } else if (test_tiny()) {
        tiny_op(d, "bev");
    } else {
        static const int sides[] = { 2, 8, 14, 16, 18, 30, 32, 34, 40, 62, 64, 124, 126 };
        for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
            printf("side %d\n", sides[i]);
            try_map(d, BEV_FLATFORMER, sides[i], 1, false);
            try_map(d, BEV_FLATFORMER, sides[i], sides[i] * sides[i] / 4 + 1, i % 2);
            try_map(d, BEV_CENTERPOINT, sides[i], sides[i] * sides[i] / 2 + 1, i % 2);
        }
        try_map(d, BEV_FLATFORMER, 20, 400, false); /* all cells */
        try_map(d, BEV_CENTERPOINT, 20, 800, false);
        printf("side 100\n");
        try_map(d, BEV_FLATFORMER, 100, 1500, true);
        printf("side %d\n", PILLARS_SIDE);
        try_map(d, BEV_FLATFORMER, PILLARS_SIDE, 18400, true);
        printf("side 188\n");
        try_map(d, BEV_CENTERPOINT, 188, 20000, true);
    }
    cb_device_close(d);
    printf("%d results compared\n", tried);
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_bev: built without CUDA");
    return TEST_END();
}

#endif

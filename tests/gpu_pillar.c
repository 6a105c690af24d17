/*
 * gpu_pillar.c - every way to make pillars on the GPU against the reference: the set of pillars
 * exactly, vectors within their bounds; counts of points around tiles, pillars that reach over many
 * tiles, none at all; capture into a graph; runs that must agree to the bit; planted faults.
 * `gpu_pillar times` prints microseconds a run in a graph instead, of pillar_units also by part.
 */
#include <math.h>
#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/pillar/kernels.h"
#include "../suites/data/build.h"
#include "../suites/data/pillars.h"
#include "../suites/data/street.h"
#include "graph_median.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { TAKEN_MAX = 40, STEPS = 20 };

struct model {
    float w1[PILLAR_HIDDEN * PILLAR_RAW], b1[PILLAR_HIDDEN], b2[PILLAR_OUT];
    half_bits w2[PILLAR_OUT * 2 * PILLAR_HIDDEN];
};

struct run {
    struct cb_device *d;
    const struct pillar_problem *p;
    const struct pillar_impl *impl;
    void *state, *taken[TAKEN_MAX], *memory[5]; /* in, model, count, cell, out */
    int count;
    struct pillar_args a;
    enum pillar_units_end end; /* of enqueue_part */
};

static int tried;

static void *take(void *context, size_t bytes)
{
    struct run *r = context;
    void *p = NULL;
    if (r->count == TAKEN_MAX || cb_alloc(r->d, bytes, &p))
        return NULL;
    cb_fill(r->d, p, 0xa5, bytes); /* what set-up leaves is not zero */
    r->taken[r->count++] = p;
    return p;
}

static int enqueue(void *context, int i)
{
    struct run *r = context;
    (void)i;
    return r->impl->run(r->p, &r->a, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static size_t cell_bytes(const struct pillar_problem *p)
{
    return (size_t)pillar_most(p) * sizeof(struct flatten_cell);
}

static size_t out_bytes(const struct pillar_problem *p)
{
    return (size_t)pillar_most(p) * PILLAR_OUT * sizeof(half_bits);
}

static void poison(struct run *r)
{
    CHECK(!cb_fill(r->d, r->a.count, 0xee, sizeof *r->a.count));
    CHECK(!cb_fill(r->d, r->a.cell, 0xee, cell_bytes(r->p)));
    CHECK(!cb_fill(r->d, r->a.out, 0xee, out_bytes(r->p)));
}

static void open_run(struct run *r, const float *in, const struct model *m)
{
    const struct pillar_problem *p = r->p;
    const size_t bytes[] = { (size_t)p->points * PILLAR_IN * sizeof *in, sizeof *m, sizeof(int32_t),
                             cell_bytes(p), out_bytes(p) };
    for (int i = 0; i < 5; i++)
        CHECK(!cb_alloc(r->d, bytes[i], &r->memory[i]));
    CHECK(!cb_upload(r->d, r->memory[0], in, bytes[0]) && !cb_upload(r->d, r->memory[1], m, bytes[1]));
    const struct model *on_device = r->memory[1];
    r->a = (struct pillar_args){ r->memory[0], on_device->w1, on_device->b1, on_device->w2,
                                 on_device->b2, r->memory[2], r->memory[3], r->memory[4] };
    struct op_memory memory = { take, r };
    CHECK(r->impl->setup(p, &r->a, &memory, cb_device_stream(r->d), &r->state) == OP_OK);
    CHECK(!cb_sync(r->d));
}

static void close_run(struct run *r)
{
    CHECK(!cb_guards_check(r->d));
    r->impl->teardown(r->state);
    for (int k = 0; k < r->count; k++)
        cb_free(r->d, r->taken[k]);
    for (int i = 0; i < 5; i++)
        cb_free(r->d, r->memory[i]);
}

/* Entries of out beyond their bound. */
static long beyond(const struct pillar_want *w, const float *bound, const half_bits *out, double *worst)
{
    long bad = 0;
    *worst = 0;
    for (size_t i = 0; i < (size_t)w->n * PILLAR_OUT; i++) {
        const double off = fabs(half_to_float(out[i]) - w->out[i]);
        bad += !(off <= bound[i]);
        if (bound[i] > 0 && !(off / bound[i] <= *worst))
            *worst = off / bound[i];
    }
    return bad;
}

static void compare(struct run *r, const struct pillar_want *w, const char *label, half_bits *out)
{
    int32_t count = -1;
    const float *bound = r->impl->tf32 ? w->loose : w->bound;
    const size_t used = (size_t)w->n * PILLAR_OUT, all = (size_t)pillar_most(r->p) * PILLAR_OUT;
    struct flatten_cell *cell = malloc(cell_bytes(r->p));
    double worst = 0;
    CHECK(!cb_sync(r->d));
    CHECK(!cb_download(r->d, &count, r->a.count, sizeof count));
    CHECK(!cb_download(r->d, cell, r->a.cell, cell_bytes(r->p)));
    CHECK(!cb_download(r->d, out, r->a.out, out_bytes(r->p)));
    const int same_cells = count == w->n && !memcmp(cell, w->cell, (size_t)w->n * sizeof *cell);
    CHECK(count == w->n);
    CHECK(same_cells);
    long wrong = beyond(w, bound, out, &worst), written = 0;
    CHECK(wrong == 0);
    for (size_t i = used; i < all; i++)
        written += out[i] != 0xeeee;
    CHECK(written == 0);
    if (!same_cells || wrong || written)
        printf("  %s, %s: %d points, %d pillars (got %d), fullest %d: cells %s, %ld beyond (worst %.3g "
               "of its bound), %ld behind the last written\n",
               label, r->impl->base.name, r->p->points, w->n, count, w->fullest,
               same_cells ? "right" : "WRONG", wrong, worst, written);
    if (w->n) { /* a fault is found */
        const half_bits right = out[used / 2];
        out[used / 2] = half_from_float(half_to_float(right) + 1);
        CHECK(beyond(w, bound, out, &worst) == wrong + 1);
        out[used / 2] = right;
    }
    free(cell);
    tried++;
}

static void one(struct cb_device *d, const struct pillar_problem *p, const struct pillar_impl *impl,
                const float *in, const struct model *m, const struct pillar_want *w, bool graph)
{
    struct run r = { .d = d, .p = p, .impl = impl };
    struct cb_graph *g = NULL;
    half_bits *first = malloc(out_bytes(p)), *out = malloc(out_bytes(p));
    open_run(&r, in, m);
    for (int again = 0; again < 2; again++) { /* what a run leaves must not harm the next */
        poison(&r);
        CHECK(!enqueue(&r, 0));
        compare(&r, w, "run", again ? out : first);
    }
    if (impl->base.role == OP_OWN)
        CHECK(!memcmp(first, out, out_bytes(p)));
    if (graph) {
        CHECK(!cb_graph_make(d, enqueue, &r, 1, &g) && g);
        poison(&r);
        CHECK(g && !cb_graph_launch(d, g));
        compare(&r, w, "graph", out);
        cb_graph_free(d, g);
    }
    close_run(&r);
    free(first);
    free(out);
}

static bool usable(struct cb_device *d, const struct pillar_impl *i)
{
    const int sm = cb_device_info(d)->sm;
    return i->run && sm >= i->base.sm_min && sm <= i->base.sm_max;
}

static void try_points(struct cb_device *d, const struct pillar_problem *p, const float *in,
                       const struct model *m, bool graph)
{
    const struct pillar_args a = { .in = in, .w1 = m->w1, .b1 = m->b1, .w2 = m->w2, .b2 = m->b2 };
    struct pillar_want w;
    CHECK(pillar_reference(p, &a, 1, &w) == OP_OK);
    for (const struct pillar_impl *i = pillar_impls; i->base.name; i++)
        if (usable(d, i))
            one(d, p, i, in, m, &w, graph);
    pillar_want_free(&w);
}

static void draw(struct model *m, uint64_t seed)
{
    static const float scale[PILLAR_RAW] = { .025f, .025f, .5f, 1, 1, 3, 3, 1, 4, 4, 1 };
    for (int i = 0; i < PILLAR_HIDDEN * PILLAR_RAW; i++)
        m->w1[i] = .28f * scale[i % PILLAR_RAW] * data_value(seed, i, 1);
    for (int i = 0; i < PILLAR_HIDDEN; i++)
        m->b1[i] = .5f * data_value(seed, i, 2);
    for (int i = 0; i < PILLAR_OUT * 2 * PILLAR_HIDDEN; i++)
        m->w2[i] = half_from_float(.15f * data_value(seed, i, 3));
    for (int i = 0; i < PILLAR_OUT; i++)
        m->b2[i] = .5f * data_value(seed, i, 4);
}

/* spread: metres each way; every `often`-th point in one place of its own, 0: none. */
static float *points(int n, float spread, int often, uint64_t seed)
{
    float *in = malloc((size_t)n * PILLAR_IN * sizeof *in);
    for (int i = 0; in && i < n; i++) {
        float *v = in + (size_t)i * PILLAR_IN;
        v[0] = spread * data_value(seed, i, 1);
        v[1] = spread * data_value(seed, i, 2);
        v[2] = 1 + 3.2f * data_value(seed, i, 3); /* some above and below the grid */
        v[3] = data_value(seed, i, 4);
        v[4] = data_value(seed, i, 5);
        if (often && i % often)
            v[0] = .1f, v[1] = .1f;
    }
    return in;
}

static void every_size(struct cb_device *d, const struct model *m)
{
    static const int counts[] = { 1, 2, 7, 31, 63, 64, 65, 127, 128, 129, 255, 1000, 4095, 4097, 20000 };
    static const struct {
        float spread;
        int often, side;
    } kinds[] = { { 80, 0, 468 }, { .5f, 0, 468 }, { 3, 3, 468 }, { 75, 0, 33 }, { 500, 0, 468 } };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            float *in = points(counts[c], kinds[k].spread, kinds[k].often, 3 * c + k);
            struct pillar_problem p = { counts[c], pillars_waymo };
            p.grid.side = kinds[k].side;
            CHECK(in != NULL);
            if (in)
                try_points(d, &p, in, m, c % 4 == 0);
            free(in);
        }
    float *in = points(500, 1, 0, 1); /* nothing in the grid */
    struct pillar_problem p = { 500, pillars_waymo };
    for (int i = 0; in && i < 500; i++)
        in[i * PILLAR_IN] = 100;
    if (in)
        try_points(d, &p, in, m, true);
    free(in);
}

static float *street(int frames, struct pillar_problem *p)
{
    struct points v;
    CHECK(!street_generate(3, 0, frames, &v));
    float *in = malloc((size_t)(v.n + 1) * PILLAR_IN * sizeof *in);
    for (long i = 0; in && i < v.n; i++)
        memcpy(in + i * PILLAR_IN, v.v + i * STREET_CHANNELS, PILLAR_IN * sizeof *in);
    *p = (struct pillar_problem){ (int)v.n, pillars_waymo };
    points_free(&v);
    return in;
}

static void frame(struct cb_device *d, const struct model *m)
{
    struct pillar_problem p;
    float *in = street(1, &p);
    CHECK(in != NULL);
    if (in)
        try_points(d, &p, in, m, true);
    free(in);
}

/* pillar_units up to the kernel of r->end. */
static int enqueue_part(void *context, int i)
{
    struct run *r = context;
    (void)i;
    return pillar_units_part(r->p, &r->a, r->state, r->end, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

/* What each of its parts adds. */
static void parts(struct run *r, const float *in, const struct model *m)
{
    static const char *const name[] = { "counts", "places", "layers", "pillars of many tiles" };
    double before = 0;
    for (int k = PILLAR_UNITS_COUNTED; k <= PILLAR_UNITS_ALL; k++) {
        r->end = (enum pillar_units_end)k;
        r->count = 0;
        open_run(r, in, m); /* each part leaves its state in its own way */
        const double us = graph_median(r->d, enqueue_part, r, STEPS);
        printf("    %s: %.1f us\n", name[k], us - before);
        before = us;
        close_run(r);
    }
}

static void times(struct cb_device *d, const struct model *m)
{
    for (int frames = 1; frames <= 3; frames++) {
        struct pillar_problem p;
        float *in = street(frames, &p);
        for (const struct pillar_impl *i = pillar_impls; in && i->base.name; i++) {
            struct run r = { .d = d, .p = &p, .impl = i };
            if (!usable(d, i))
                continue;
            open_run(&r, in, m);
            printf("%d frames, %d points, %s: %.1f us\n", frames, p.points, i->base.name,
                   graph_median(r.d, enqueue, &r, STEPS));
            close_run(&r);
            if (i->run == pillar_units)
                parts(&r, in, m);
        }
        free(in);
    }
}

int main(int argc, char **argv)
{
    static struct model m;
    struct cb_device *d = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_pillar: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    draw(&m, 11);
    if (argc > 1 && !strcmp(argv[1], "times")) {
        times(d, &m);
    } else if (test_tiny()) {
        tiny_op(d, "pillar_net");
    } else {
        printf("made points\n");
        every_size(d, &m);
        printf("a frame of a street\n");
        frame(d, &m);
    }
    cb_device_close(d);
    printf("%d results compared\n", tried);
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_pillar: built without CUDA");
    return TEST_END();
}

#endif

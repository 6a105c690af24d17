/*
 * gpu_flatten.c - every way to flatten on the GPU against the reference, entry by entry: window and
 * group sizes, axes, shifts, counts around multiples of the group, full and nearly empty grids;
 * capture into a graph; planted faults, which must be found.
 */
#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/flatten/flatten.h"
#include "../suites/data/build.h"
#include "../suites/data/pillars.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { TAKEN_MAX = 16 };

struct run {
    struct cb_device *d;
    const struct flatten_problem *p;
    const struct flatten_impl *impl;
    void *state, *taken[TAKEN_MAX];
    int count;
    struct flatten_args device, host; /* host: downloaded */
    struct flatten_cell *in;
};

static int tried;

static size_t slot_bytes(const struct flatten_problem *p)
{
    return (size_t)flatten_slots(p) * FLATTEN_ORDERS * sizeof(int32_t);
}

static size_t rank_bytes(const struct flatten_problem *p)
{
    return (size_t)p->n * FLATTEN_ORDERS * sizeof(int32_t);
}

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
    return r->impl->run(r->p, &r->device, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static void poison(struct run *r)
{
    CHECK(!cb_fill(r->d, r->device.slot, 0xee, slot_bytes(r->p)));
    CHECK(!cb_fill(r->d, r->device.rank, 0xee, rank_bytes(r->p)));
}

static void compare(struct run *r, const struct flatten_args *want, const char *label)
{
    CHECK(!cb_sync(r->d));
    CHECK(!cb_download(r->d, r->host.slot, r->device.slot, slot_bytes(r->p)));
    CHECK(!cb_download(r->d, r->host.rank, r->device.rank, rank_bytes(r->p)));
    struct flatten_args got = r->host;
    if (!flatten_ranks(r->impl))
        got.rank = NULL;
    const long wrong = flatten_compare(r->p, want, &got);
    CHECK(wrong == 0);
    if (wrong)
        printf("  %s, %s: n %d side %d window %d group %d: %ld wrong\n", label, r->impl->base.name, r->p->n,
               r->p->side, r->p->window, r->p->group, wrong);
    r->host.slot[0] ^= 1;
    CHECK(flatten_compare(r->p, want, &got) == wrong + 1);
    tried++;
}

static void one(struct cb_device *d, const struct flatten_problem *p, const struct flatten_impl *i,
                const struct flatten_args *want, bool graph)
{
    struct run r = { .d = d, .p = p, .impl = i };
    struct op_memory memory = { take, &r };
    struct cb_graph *g = NULL;
    void *in, *slot, *rank;
    CHECK(!cb_alloc(d, (size_t)p->n * sizeof *want->in, &in) && !cb_alloc(d, slot_bytes(p), &slot) &&
          !cb_alloc(d, rank_bytes(p), &rank));
    r.device = (struct flatten_args){ in, slot, rank };
    r.host.slot = malloc(slot_bytes(p));
    r.host.rank = malloc(rank_bytes(p));
    CHECK(!cb_upload(d, in, want->in, (size_t)p->n * sizeof *want->in));
    CHECK(i->setup(p, &memory, &r.state) == OP_OK);
    for (int again = 0; again < 2; again++) { /* what a run leaves must not harm the next */
        poison(&r);
        CHECK(!enqueue(&r, 0));
        compare(&r, want, "run");
    }
    if (graph) {
        CHECK(!cb_graph_make(d, enqueue, &r, 1, &g));
        poison(&r);
        CHECK(g && !cb_graph_launch(d, g));
        compare(&r, want, "graph");
        cb_graph_free(d, g);
    }
    CHECK(!cb_guards_check(d));
    i->teardown(r.state);
    for (int k = 0; k < r.count; k++)
        cb_free(d, r.taken[k]);
    cb_free(d, in);
    cb_free(d, slot);
    cb_free(d, rank);
    free(r.host.slot);
    free(r.host.rank);
}

static void try_problem(struct cb_device *d, const struct flatten_problem *p,
                        const struct flatten_cell *in, bool graph)
{
    if (!test_takes())
        return;
    struct flatten_args want = { in, malloc(slot_bytes(p)), malloc(rank_bytes(p)) };
    const char *why;
    CHECK(flatten_reference(p, &want, NULL, NULL) == OP_OK);
    for (const struct flatten_impl *i = flatten_impls; i->base.name; i++) {
        const int sm = cb_device_info(d)->sm;
        if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max || i->supports(p, &why) != OP_OK)
            continue;
        one(d, p, i, &want, graph && !(i->base.flags & OP_NO_CAPTURE));
    }
    free(want.slot);
    free(want.rank);
}

/* Cells taken at random, in random rows. */
static struct flatten_cell *cells(int side, int n, uint64_t seed)
{
    const int all = side * side;
    struct flatten_cell *c = malloc((size_t)all * sizeof *c);
    for (int i = 0; c && i < all; i++)
        c[i] = (struct flatten_cell){ i % side, i / side };
    for (int i = 0; c && i < n; i++) {
        const int j = i + (int)(data_hash(seed, 1, (uint64_t)i) % (uint64_t)(all - i));
        const struct flatten_cell t = c[i];
        c[i] = c[j];
        c[j] = t;
    }
    return c;
}

static void every_size(struct cb_device *d)
{
    static const int counts[] = { 1, 2, 31, 68, 69, 70, 137, 143, 144, 145, 1000, 8191, 8193 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int w = 1; w <= 100; w = w < 17 ? w + 1 : w + 27) {
            struct flatten_cell *in = cells(100, counts[k], (uint64_t)w + 40 * k);
            struct flatten_problem p = { counts[k], 100, w, k % 2 ? 69 : 144, k % 3 == 2 };
            CHECK(in != NULL);
            if (in)
                try_problem(d, &p, in, w == 9);
            free(in);
        }
}

static void measured_sizes(struct cb_device *d)
{
    static const int windows[] = { 5, 7, 9, 11, 13, 15 };
    static const int counts[] = { 5000, 18400, 60000, 120000, 468 * 468 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            struct flatten_cell *in = cells(PILLARS_SIDE, counts[k], 7 * k + w);
            struct flatten_problem p = { counts[k], PILLARS_SIDE, windows[w], windows[w] * windows[w] * 17 / 20, 0 };
            CHECK(in != NULL);
            if (in)
                try_problem(d, &p, in, w == 2);
            free(in);
        }
}

static void frame(struct cb_device *d)
{
    struct pillars v;
    CHECK(!pillars_generate(1, 3, 0, &v));
    struct flatten_problem p = { v.n, PILLARS_SIDE, 13, 144, FLATTEN_SERPENTINE };
    if (v.n)
        try_problem(d, &p, v.cell, true);
    pillars_free(&v);
}

int main(void)
{
    struct cb_device *d = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_flatten: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    if (test_tiny()) {
        tiny_op(d, "flatten");
    } else {
        every_size(d);
        measured_sizes(d);
        frame(d);
    }
    cb_device_close(d);
    printf("%d results compared\n", tried);
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_flatten: built without CUDA");
    return TEST_END();
}

#endif

/*
 * gpu_encoder.c - every row of attention in groups and of the encoder on the GPU against the
 * references in double: counts around multiples of the group, windows of all sizes, operand sets
 * one after another, capture into a graph; planted faults, which must be found.
 *
 * `gpu_encoder times` prints microseconds instead, of graphs, hot; `gpu_encoder layers` those of
 * our rows with 1, 2, 4 and 8 layers of 18,400 pillars and with 8 of 60,000.  `gpu_encoder few`
 * takes a handful of problems, for tools that slow it down.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/common/half.h"
#include "../suites/ops/encoder_part.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { SETS = 2, C = ENCODER_PUBLISHED_HEADS * ENCODER_PUBLISHED_HEAD };

static int tried;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fits(struct cb_device *d, const struct op_impl *i, int has_run)
{
    const int sm = cb_device_info(d)->sm;
    return has_run && sm >= i->sm_min && sm <= i->sm_max;
}

/* ---- encoder ---- */

struct row {
    struct encoder_operands *o;
    const struct encoder_impl *impl;
    struct op_states states;
};

static int enqueue(void *context, int step)
{
    struct row *r = context;
    const int set = step % r->o->x.count;
    const struct encoder_args a = encoder_operands_at(r->o, set);
    return r->impl->run(&r->o->p, &a, r->states.state[set], cb_device_stream(r->o->device)) == OP_OK
               ? 0
               : cb_error("%s: launch", r->impl->base.name);
}

static int set_up(struct row *r, struct encoder_operands *o, const struct encoder_impl *i)
{
    *r = (struct row){ .o = o, .impl = i };
    if (op_states_open(&r->states, o->device, o->x.count, i->teardown))
        return -1;
    for (int s = 0; s < o->x.count; s++) {
        struct op_memory memory = op_pool_memory(&r->states.pool);
        const struct encoder_host h = encoder_operands_host(o, s);
        const struct encoder_args a = encoder_operands_at(o, s);
        void *state = s ? r->states.state[0] : NULL;
        if (op_result(i->setup(&o->p, &h, &a, &memory, cb_device_stream(o->device), &state),
                      i->base.name, "set-up"))
            return -1;
        r->states.state[s] = state;
    }
    return 0;
}

static int poison(const struct encoder_operands *o, int set)
{
    return cb_fill(o->device, o->y.set[set], 0xff, 2 * encoder_operands_rows(o));
}

static void judge(const struct row *r, const struct encoder_expectation *e, int set,
                  const char *label)
{
    struct cb_accuracy a = { .worst = -1 };
    double limit = 0;
    CHECK(!cb_sync(r->o->device));
    CHECK(!encoder_expectation_check(e, r->o, r->impl->scheme, set, &a, &limit));
    const int good = !a.bad && !a.nonfinite && a.rel_fro <= limit && a.compared;
    CHECK(good);
    if (!good)
        printf("  %s, %s, set %d: n %d group %d layers %d window %d: %ld bad, %ld not finite, "
               "relative %.3g, worst %ld by %.3g\n",
               r->impl->base.name, label, set, r->o->p.layer.n, r->o->p.layer.group, r->o->p.layers,
               r->o->p.window, a.bad, a.nonfinite, a.rel_fro, a.worst, a.max_abs);
    tried++;
}

/* One element that is off by a tenth must be found. */
static void plant(const struct row *r, const struct encoder_expectation *e, int set)
{
    const size_t at = encoder_operands_rows(r->o) / 2;
    half_bits *y = (half_bits *)r->o->y.set[set] + at, h;
    struct cb_accuracy a = { .worst = -1 };
    double limit;
    CHECK(!cb_download(r->o->device, &h, y, sizeof h));
    h = half_from_float(half_to_float(h) + 0.2f);
    CHECK(!cb_upload(r->o->device, y, &h, sizeof h) && !cb_sync(r->o->device));
    CHECK(!encoder_expectation_check(e, r->o, r->impl->scheme, set, &a, &limit));
    CHECK(a.bad >= 1);
}

static void try_row(struct encoder_operands *o, const struct encoder_expectation *e, int set,
                    const struct encoder_impl *i, int graph)
{
    struct row r;
    struct cb_graph *g = NULL;
    const int status = set_up(&r, o, i);
    CHECK(!status);
    if (status)
        printf("  %s\n", cb_error_text());
    for (int again = 0; !status && again < 2; again++) { /* the other set in between */
        CHECK(!poison(o, set) && !enqueue(&r, 1 - set) && !enqueue(&r, set));
        judge(&r, e, set, "run");
    }
    if (!status && graph && !(i->base.flags & (OP_SYNCS | OP_NO_CAPTURE))) {
        CHECK(!cb_graph_make(o->device, enqueue, &r, SETS, &g));
        CHECK(!poison(o, set) && g && !cb_graph_launch(o->device, g));
        judge(&r, e, set, "graph");
        cb_graph_free(o->device, g);
    }
    if (!status)
        plant(&r, e, set);
    CHECK(!cb_guards_check(o->device));
    op_states_close(&r.states);
}

static const struct encoder_impl *const encoder_tables[] = { encoder_baselines, encoder_own };

static int open(struct cb_device *d, struct encoder_operands *o, const int *s, int sets)
{
    *o = (struct encoder_operands){ .device = d, .seed = 11,
                                    .p = { .layers = s[3], .side = PILLARS_SIDE, .window = s[4] },
                                    .cut = { .side = PILLARS_SIDE, .window = s[1],
                                             .group = s[2] } };
    const int status = encoder_operands_open(o, 1, 0, s[0]) || encoder_operands_make(o, sets);
    CHECK(!status);
    if (status)
        printf("  %s\n", cb_error_text());
    return !status;
}

/* pillars, window, group, layers, window of rows where windows attend */
static void try_problem(struct cb_device *d, const int *s)
{
    struct encoder_operands o;
    struct encoder_expectation e = { .device = d };
    const double start = now();
    if (open(d, &o, s, SETS)) {
        const int set = s[0] % 2;
        int status = encoder_expectation_open(&e, &o, (1u << ENCODER_SCHEMES) - 1) ||
                     encoder_expectation_compute(&e, &o, set);
        CHECK(!status);
        for (int t = 0; !status && t < 2; t++)
            for (const struct encoder_impl *i = encoder_tables[t]; i->base.name; i++) {
                const char *why;
                if (fits(d, &i->base, i->run != NULL) && i->supports(&o.p, &why) == OP_OK)
                    try_row(&o, &e, set, i, 1);
            }
    }
    encoder_expectation_close(&e);
    printf("encoder: %d pillars, window %d, group %d, %d layers, windows of %d: %.1f s\n", s[0],
           s[1], s[2], s[3], s[4], now() - start);
    encoder_operands_close(&o);
}

/* The reference of the device against that of the host. */
static void references(struct cb_device *d)
{
    static const int size[] = { 200, 9, 69, 3, 12 };
    struct encoder_operands o;
    if (open(d, &o, size, 1)) {
        const size_t count = encoder_operands_rows(&o);
        const struct encoder_host h = encoder_operands_host(&o, 0);
        const struct encoder_args a = encoder_operands_at(&o, 0);
        half_bits *x = malloc(count * sizeof *x);
        double *want = malloc(count * sizeof *want), *got = malloc(count * sizeof *got);
        void *on_device;
        CHECK(x && want && got && !cb_alloc(d, count * sizeof *got, &on_device));
        CHECK(!cb_download(d, x, a.x, count * sizeof *x));
        for (int s = 0; s < ENCODER_SCHEMES; s++) {
            struct op_pool pool = { .device = d };
            const struct op_memory memory = op_pool_memory(&pool);
            double most = 0;
            CHECK(encoder_ref(&o.p, (enum encoder_scheme)s, &h, x, want) == OP_OK);
            CHECK(encoder_ref_cuda(&o.p, (enum encoder_scheme)s, &h, &a, &memory, on_device,
                                   cb_device_stream(d)) == OP_OK);
            CHECK(!cb_sync(d) && !cb_download(d, got, on_device, count * sizeof *got));
            for (size_t i = 0; i < count; i++)
                most = fmax(most, fabs(got[i] - want[i]));
            CHECK(most < 1e-10);
            op_pool_free(&pool);
        }
        cb_free(d, on_device);
        free(x);
        free(want);
        free(got);
    }
    encoder_operands_close(&o);
}

/* ---- attention alone ---- */

struct alone {
    struct cb_device *d;
    struct group_attn_problem p;
    const struct group_attn_impl *impl;
    struct group_attn_args a;
    struct op_states states;
    double *want;
    float *bound;
};

static int enqueue_alone(void *context, int step)
{
    struct alone *r = context;
    (void)step;
    return r->impl->run(&r->p, &r->a, r->states.state[0], cb_device_stream(r->d)) == OP_OK
               ? 0
               : cb_error("%s: launch", r->impl->base.name);
}

static int set_up_alone(struct alone *r, const struct group_attn_impl *i)
{
    r->impl = i;
    if (op_states_open(&r->states, r->d, 1, i->teardown))
        return -1;
    struct op_memory memory = op_pool_memory(&r->states.pool);
    return i->setup ? op_result(i->setup(&r->p, &memory, cb_device_stream(r->d),
                                         &r->states.state[0]),
                                i->base.name, "set-up")
                    : 0;
}

static void judge_alone(const struct alone *r, int exact, int planted, const char *label)
{
    const struct cb_view got = { r->a.o, CB_F16, r->p.n, C, false };
    struct cb_accuracy a = { .worst = -1 };
    CHECK(!cb_sync(r->d) && !cb_compare(r->d, &got, r->want, r->bound, &a));
    const int good = !a.bad && !a.nonfinite && a.rel_fro <= (exact ? 0 : 2e-3);
    CHECK(good == !planted);
    if (good == planted)
        printf("  %s, %s%s: n %d group %d: %ld bad, %ld not finite, relative %.3g, worst %ld\n",
               r->impl->base.name, label, exact ? ", exact" : "", r->p.n, r->p.group, a.bad,
               a.nonfinite, a.rel_fro, a.worst);
    tried++;
}

/* Random operands, or those of which each query takes one key alone. */
static int fill_alone(const struct alone *r, int exact)
{
    const size_t rows = (size_t)r->p.slots, count = 3 * rows * C;
    half_bits *h = malloc(count * sizeof *h);
    if (!h)
        return -1;
    for (size_t i = 0; i < count; i++)
        h[i] = half_from_float(cb_random_at(CB_NORMAL, 3, 7, (uint32_t)exact, i));
    for (size_t s = 0; exact && s < rows; s++)
        for (int i = 0; i < C; i++) {
            const int place = (int)s % r->p.group, channel = i % ENCODER_PUBLISHED_HEAD;
            const int taken = (11 * place + 3 * (i / ENCODER_PUBLISHED_HEAD) + 1) % r->p.group;
            h[s * 3 * C + (size_t)i] = half_from_float(taken >> channel & 1 ? 16 : -16);
            h[s * 3 * C + (size_t)(C + i)] = half_from_float(place >> channel & 1 ? 16 : -16);
        }
    const int status = cb_upload(r->d, (void *)r->a.qkv, h, count * sizeof *h) || cb_sync(r->d);
    free(h);
    return status ? -1 : 0;
}

static int open_alone(struct cb_device *d, int n, int group, struct alone *r)
{
    const struct flatten_problem f = { n, PILLARS_SIDE, 9, group, FLATTEN_SERPENTINE };
    void *qkv = NULL, *o = NULL;
    *r = (struct alone){ .d = d };
    r->p = (struct group_attn_problem){ n, flatten_slots(&f), flatten_group(&f),
                                        ENCODER_PUBLISHED_HEADS, ENCODER_PUBLISHED_HEAD,
                                        ENCODER_PUBLISHED_HIDDEN };
    const size_t rows = (size_t)r->p.slots * C;
    const int status = cb_alloc(d, 6 * rows, &qkv) || cb_alloc(d, 2 * rows, &o) ||
                       cb_alloc(d, rows * sizeof(double), (void **)&r->want) ||
                       cb_alloc(d, rows * sizeof(float), (void **)&r->bound);
    r->a = (struct group_attn_args){ qkv, o };
    CHECK(!status);
    return !status;
}

static void close_alone(struct alone *r)
{
    cb_free(r->d, (void *)r->a.qkv);
    cb_free(r->d, r->a.o);
    cb_free(r->d, r->want);
    cb_free(r->d, r->bound);
}

static const struct group_attn_impl *const alone_tables[] = { group_attn_baselines,
                                                              group_attn_own };

static void try_alone_row(struct alone *r, const struct group_attn_impl *i, int exact)
{
    const size_t bytes = 2 * (size_t)r->p.slots * C;
    struct cb_graph *g = NULL;
    half_bits h;
    const int status = set_up_alone(r, i);
    CHECK(!status);
    if (!status) {
        CHECK(!cb_fill(r->d, r->a.o, 0xff, bytes) && !enqueue_alone(r, 0));
        judge_alone(r, exact, 0, "run");
        CHECK(!cb_graph_make(r->d, enqueue_alone, r, 1, &g));
        CHECK(!cb_fill(r->d, r->a.o, 0xa5, bytes) && g && !cb_graph_launch(r->d, g));
        judge_alone(r, exact, 0, "graph");
        cb_graph_free(r->d, g);
        half_bits *last = (half_bits *)r->a.o + (size_t)r->p.n * C - 1;
        CHECK(!cb_download(r->d, &h, last, sizeof h));
        h = half_from_float(half_to_float(h) + 0.25f);
        CHECK(!cb_upload(r->d, last, &h, sizeof h));
        judge_alone(r, exact, 1, "planted");
    }
    CHECK(!cb_guards_check(r->d));
    op_states_close(&r->states);
}

static void try_alone(struct cb_device *d, int n, int group)
{
    struct alone r;
    const int opened = open_alone(d, n, group, &r);
    for (int exact = 0; opened && exact < 2; exact++) {
        CHECK(!fill_alone(&r, exact));
        CHECK(group_attn_wanted_cuda(&r.p, &r.a, exact, r.want, r.bound, cb_device_stream(d)) ==
              OP_OK);
        for (int t = 0; t < 2; t++)
            for (const struct group_attn_impl *i = alone_tables[t]; i->base.name; i++) {
                const char *why;
                if (fits(d, &i->base, i->run != NULL) && i->supports(&r.p, &why) == OP_OK)
                    try_alone_row(&r, i, exact);
            }
    }
    close_alone(&r);
}

/* ---- times ---- */

enum { REPEATS = 20, LAUNCHES = 5 };

/* Median microseconds of graphs of some executions; of plain launches where it must be so. */
static double time_of(struct cb_device *d, unsigned flags, cb_enqueue_fn *work, void *context)
{
    struct cb_graph *g = NULL;
    double us[REPEATS];
    const bool plain = flags & (OP_SYNCS | OP_NO_CAPTURE);
    if (!plain && (cb_graph_make(d, work, context, LAUNCHES, &g) || !g))
        return NAN;
    for (int i = 0; i < REPEATS; i++) {
        struct cb_window w = { 0 };
        if (plain ? work(context, 0) || cb_window(d, work, context, 0, LAUNCHES, false, &w)
                  : cb_graph_launch(d, g) || cb_graph_window(d, g, true, &w))
            return NAN;
        us[i] = w.us / LAUNCHES;
        for (int k = i; k > 0 && us[k] < us[k - 1]; k--) {
            const double t = us[k];
            us[k] = us[k - 1];
            us[k - 1] = t;
        }
    }
    cb_graph_free(d, g);
    return us[REPEATS / 2];
}

/* own: ours alone */
static void time_encoder(struct cb_device *d, const int *s, bool own)
{
    struct encoder_operands o;
    if (open(d, &o, s, 1))
        for (int t = 0; t < 2; t++)
            for (const struct encoder_impl *i = encoder_tables[t]; i->base.name; i++) {
                struct row r;
                const char *why;
                if (own && i->base.role != OP_OWN)
                    continue;
                if (!fits(d, &i->base, i->run != NULL) || i->supports(&o.p, &why) != OP_OK)
                    continue;
                if (!set_up(&r, &o, i))
                    printf("encoder %6d %3d %4d, %d layers  %-20s %9.1f us\n", s[0], s[1], s[2], s[3],
                           i->base.name, time_of(d, i->base.flags, enqueue, &r));
                op_states_close(&r.states);
            }
    encoder_operands_close(&o);
}

static void time_alone(struct cb_device *d, int n, int group)
{
    struct alone r;
    if (open_alone(d, n, group, &r) && !fill_alone(&r, 0))
        for (int t = 0; t < 2; t++)
            for (const struct group_attn_impl *i = alone_tables[t]; i->base.name; i++) {
                const char *why;
                if (!fits(d, &i->base, i->run != NULL) || i->supports(&r.p, &why) != OP_OK)
                    continue;
                if (!set_up_alone(&r, i))
                    printf("alone   %6d     %4d  %-20s %9.1f us\n", n, group, i->base.name,
                           time_of(d, i->base.flags, enqueue_alone, &r));
                op_states_close(&r.states);
            }
    close_alone(&r);
}

static void times(struct cb_device *d)
{
    static const int sizes[][5] = { { 18400, 13, 144, 8, 12 }, { 18400, 9, 69, 8, 12 },
                                    { 60000, 13, 144, 8, 12 }, { 60000, 9, 69, 8, 12 },
                                    { 30000, 13, 144, 8, 12 }, { 120000, 13, 144, 8, 12 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        time_alone(d, sizes[i][0], sizes[i][2]);
        time_encoder(d, sizes[i], false);
    }
}

/* What a layer costs, and what comes once; many pillars. */
static void layers(struct cb_device *d)
{
    for (int g = 0; g < 2; g++) {
        for (int n = 1; n <= 8; n *= 2)
            time_encoder(d, (const int[]){ 18400, g ? 9 : 13, g ? 69 : 144, n, 12 }, true);
        time_encoder(d, (const int[]){ 60000, g ? 9 : 13, g ? 69 : 144, 8, 12 }, true);
    }
}

/* ---- all ---- */

static void all(struct cb_device *d, int few)
{
    static const int counts[] = { 1, 15, 16, 17, 31, 33, 68, 69, 70, 137, 143, 144, 145, 287, 289,
                                  1000, 4099, 18400, 42000 };
    static const int groups[] = { 69, 144, 13, 25, 85, 225, 16, 64, 96, 128, 256 };
    static const int sizes[][5] = {
        { 300, 13, 144, 8, 12 },  { 1, 9, 69, 2, 12 },     { 17, 13, 144, 2, 12 },
        { 69, 9, 69, 2, 9 },      { 143, 13, 144, 2, 12 }, { 144, 13, 144, 2, 12 },
        { 145, 13, 144, 3, 13 },  { 1000, 9, 69, 8, 12 },  { 5000, 13, 144, 8, 12 },
        { 5000, 5, 21, 4, 5 },    { 5000, 15, 225, 4, 15 }, { 18400, 13, 144, 8, 12 },
        { 18400, 9, 69, 8, 12 },  { 60000, 13, 144, 8, 12 }, { 60000, 9, 69, 8, 12 } };
    const size_t some = few ? 1 : 100;
    references(d);
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups && (g < 2 || k % 4 == 0); g++)
            if (!few || (k == 8 && g < 2))
                try_alone(d, counts[k], groups[g]);
    printf("alone: %d results compared, %d failed\n", tried, test_failed);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && i < some; i++)
        try_problem(d, sizes[i]);
}

int main(int argc, char **argv)
{
    struct cb_device *d = NULL;
    const double start = now();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_encoder: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    if (argc > 1 && !strcmp(argv[1], "times"))
        times(d);
    else if (argc > 1 && !strcmp(argv[1], "layers"))
        layers(d);
    else if (test_tiny())
        tiny_op(d, "encoder");
    else
        all(d, argc > 1 && !strcmp(argv[1], "few"));
    cb_device_close(d);
    printf("%d results compared in %.0f s\n", tried, now() - start);
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_encoder: built without CUDA");
    return TEST_END();
}

#endif

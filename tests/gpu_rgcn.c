/*
 * gpu_rgcn.c - every row of rgcn on graphs and widths that tiles do not fit, and whether a fault
 * is found.
 *
 * `gpu_rgcn times [GRAPH] [ROW]` prints microseconds, hot, and the error of every row whose name
 * begins so; without GRAPH on the graphs of the suite, small ones first.
 */
#include <stdlib.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/rgcn/rgcn.h"
#include "../suites/suite.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
static void *params_of(const char *graph, const int *width)
{
    const struct cb_op *op = suite_op("rgcn");
    json_t *j = json_pack("{s:s,s:i,s:i,s:i}", "graph", graph, "features", width[0], "hidden",
                          width[1], "classes", width[2]);
    void *p = calloc(1, op->params_size);
    CHECK(!cb_params_from_json(op, j, p));
    json_decref(j);
    return p;
}

/* ---- whole cases ---- */

static int tried, wrong;

static void try_case(struct cb_device *d, const char *graph, const int *width)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                             .flush_l2 = 3, .executions_max = 64 };
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 11,
                            .order_seed = 5, .once = true, .aa = -1 };
    const struct cb_op *op = suite_op("rgcn");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = params_of(graph, width);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        impl[count++] = i;
    const int lost = cb_run_case(&c, op, p, impl, &out);
    CHECK(!lost && out.status == CB_OK);
    if (lost || out.status != CB_OK)
        printf("%s %d %d %d: %s\n", graph, width[0], width[1], width[2],
               lost ? cb_error_text() : out.reason);
    for (int k = 0; k < out.count; k++) {
        const struct cb_outcome *o = &out.out[k];
        if (o->status == CB_SKIPPED)
            continue;
        tried++;
        ran++;
        if (o->status != CB_OK) {
            wrong++;
            printf("%s %d %d %d: %s: %s: %s\n", graph, width[0], width[1], width[2],
                   o->impl->name, cb_status_name(o->status), o->reason);
        }
        CHECK(o->status == CB_OK);
        CHECK(o->r1.rel_fro < 5e-6);
    }
    CHECK(ran == 11);
    printf("%s %d %d %d: %d rows\n", graph, width[0], width[1], width[2], ran);
    fflush(stdout);
    cb_case_free(&out);
    free(p);
    if (lost)
        exit(1);
}

/* ---- one row by itself ---- */

struct opened {
    const struct cb_op *op;
    struct cb_context c;
    void *in, *b;
};

static int bound_row(struct opened *o, const struct op_impl *i)
{
    const char *why = NULL;
    const int sm = cb_device_info(o->c.device)->sm;
    if (i->sm_min > sm || i->sm_min == 0)
        return 0;
    if (o->op->ready(o->in, i, &why) != OP_OK) {
        printf("%-22s %s\n", i->name, why);
        return 0;
    }
    if (!o->op->bind(&o->c, o->in, i, &o->b))
        return 1;
    printf("%-22s %s\n", i->name, cb_error_text());
    test_failed++;
    return 0;
}

static struct cb_accuracy accuracy(struct opened *o)
{
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    CHECK(!o->op->check(&o->c, o->b, 0, 0, &r1, &r2, &limit));
    return r1;
}

/* A weight of the self loops, the last relation, changed behind the reference. */
static void try_planted(struct opened *o)
{
    for (int k = 0; o->op->impl(k); k++) {
        struct cb_region y;
        float v[2], off[2] = { 9, 9 };
        if (!bound_row(o, o->op->impl(k)))
            continue;
        CHECK(!o->op->run(o->b, 0, 0) && !cb_sync(o->c.device) && !accuracy(o).bad);
        CHECK(o->op->outputs(o->b, 0, 0, &y, 1) == 1);
        char *last = (char *)y.data + y.bytes - sizeof v;
        CHECK(!cb_download(o->c.device, v, last, sizeof v));
        CHECK(!cb_upload(o->c.device, last, off, sizeof off));
        CHECK(accuracy(o).bad == 2);
        CHECK(!cb_fill(o->c.device, (void *)y.data, 0xff, y.bytes));
        CHECK(accuracy(o).nonfinite > 0);
        o->op->unbind(o->b);
    }
}

/* ---- times ---- */

static int enqueue(void *arg, int step)
{
    const struct opened *o = arg;
    (void)step;
    return o->op->run(o->b, 0, 0);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_row(struct opened *o, const char *graph, const struct op_impl *i)
{
    enum { WINDOWS = 5 };
    struct cb_graph *g = NULL;
    struct cb_window w;
    struct cb_figure f[CB_FIGURES_MAX] = { { .value = 0 } };
    double us[WINDOWS];
    int launches = 1;
    CHECK(!o->op->run(o->b, 0, 0) && !cb_sync(o->c.device));
    const struct cb_accuracy a = accuracy(o);
    if (cb_graph_make(o->c.device, enqueue, o, launches, &g))
        g = NULL;
    for (int k = -2; k < WINDOWS; k++) {
        const int status = g ? cb_graph_window(o->c.device, g, true, &w)
                             : cb_window(o->c.device, enqueue, o, 0, launches, false, &w);
        if (status) {
            printf("%s %s: %s\n", graph, i->name, cb_error_text());
            test_failed++;
            break;
        }
        if (k == -2 && w.us < 2000) { /* short: many in a window */
            launches = (int)(4000 / w.us) + 1;
            cb_graph_free(o->c.device, g);
            if (cb_graph_make(o->c.device, enqueue, o, launches, &g))
                g = NULL;
        }
        if (k >= 0)
            us[k] = w.us / launches;
    }
    cb_graph_free(o->c.device, g);
    qsort(us, WINDOWS, sizeof *us, by_value);
    o->op->figures(o->b, f);
    printf("%-14s %-22s %10.2f us  rows executed/needed %.2f  error %.2e  bad %ld%s\n", graph,
           i->name, us[WINDOWS / 2], f[0].value, a.rel_fro, a.bad + a.nonfinite,
           g ? "" : "  (no graph)");
    fflush(stdout);
}

static void each_row(struct cb_device *d, const char *graph, const int *width, const char *name)
{
    static const struct cb_policy policy = { .name = "times", .invocations = 1 };
    struct opened o = { .op = suite_op("rgcn"),
                        .c = { .device = d, .policy = &policy, .seed = 11 } };
    void *p = params_of(graph, width);
    struct cb_figure f[CB_FIGURES_MAX];
    if (o.op->open(&o.c, p, &o.in)) {
        printf("SKIP %s: %s\n", graph, cb_error_text());
    } else if (o.op->prepare(&o.c, o.in, 1, 1) || o.op->expect(&o.c, o.in, 0, 0)) {
        printf("%s: %s\n", graph, cb_error_text());
        test_failed++;
        o.op->close(o.in);
    } else {
        o.op->statistics(o.in, f);
        printf("%s: nodes %.0f relations %.0f edges %.0f pairs %.0f %.0f\n", graph, f[0].value,
               f[1].value, f[2].value, f[3].value, f[4].value);
        if (!name)
            try_planted(&o);
        for (int k = 0; name && o.op->impl(k); k++) {
            const struct op_impl *i = o.op->impl(k);
            if (strncmp(i->name, name, strlen(name)) || !bound_row(&o, i))
                continue;
            time_row(&o, graph, i);
            o.op->unbind(o.b);
        }
        o.op->close(o.in);
    }
    free(p);
}

static void time_graphs(struct cb_device *d, const char *graph, const char *name)
{
    static const char *const graphs[] = { "aifb_triples", "aifb", "mutag", "wordnet", "bgs",
                                          "biokg", "am" };
    static const int width[3] = { 16, 64, 16 };
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        if (!graph || !strcmp(graph, graphs[i]))
            each_row(d, graphs[i], width, name);
}

static void try_all(struct cb_device *d)
{
    static const char *const graphs[] = {
        "gen:relations,nodes=300,edges=2500,relations=5,seed=1",
        "gen:relations,nodes=2500,edges=30000,relations=40,seed=2,hubs=.5",
        "gen:relations,nodes=1000,edges=90000,relations=2,seed=3,skew=4",
    };
    static const int widths[][3] = { { 16, 64, 16 }, { 4, 8, 4 },     { 64, 32, 68 },
                                     { 36, 100, 20 }, { 128, 64, 32 }, { 256, 256, 256 },
                                     { 12, 20, 24 } };
    for (size_t g = 0; g < sizeof graphs / sizeof *graphs; g++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            try_case(d, graphs[g], widths[w]);
    printf("%d rows on problems, %d wrong\n", tried, wrong);
    each_row(d, graphs[1], widths[0], NULL);
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    struct cb_device *d;
    if (cb_device_open("cuda:0", &d)) {
        SKIP("gpu_rgcn: no GPU");
        return TEST_END();
    }
    if (argc > 1 && !strcmp(argv[1], "times"))
        time_graphs(d, argc > 2 && argv[2][0] ? argv[2] : NULL, argc > 3 ? argv[3] : "");
    else if (test_tiny())
        tiny_op(d, "rgcn");
    else
        try_all(d);
    cb_device_close(d);
#else
    (void)argc, (void)argv;
    SKIP("gpu_rgcn: built without CUDA");
#endif
    return TEST_END();
}

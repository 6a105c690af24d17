/*
 * gpu_gnn.c - the operator gnn on a GPU: its reference in double against the one of the host,
 * every row on graphs and widths that tiles do not fit, and whether a fault is found.
 * `gpu_gnn all` takes every graph and pass with every model and width.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/ops/gnn_part.h"
#include "../suites/suite.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
/* features, hidden, classes: falling, rising, narrow in the middle, wide, smallest */
static const int widths[][3] = {
    { 36, 16, 8 },  { 8, 24, 44 }, { 100, 12, 48 }, { 20, 512, 128 }, { 4, 4, 4 },
    { 604, 64, 44 }, { 48, 256, 20 }, { 12, 1024, 64 },
};
enum { WIDTHS = sizeof widths / sizeof *widths };
static const char *const models[] = { "gcn", "sage", "gin" };
static const char *const passes[] = { "train", "forward" };
static const char *const graphs[] = {
    "gen:powerlaw,m=701,mean=9,empty=.1", "gen:hub,m=901,mean=4,width=2,hubs=3,share=.9,spill=.2",
    "gen:uniform,m=1,mean=1", "gen:rmat,m=512,mean=12",
};
enum { GRAPHS = sizeof graphs / sizeof *graphs };

/* ---- the references ---- */

static void *downloaded(struct cb_device *d, const void *from, size_t bytes)
{
    void *p = malloc(bytes);
    CHECK(p && !cb_download(d, p, from, bytes));
    return p;
}

static double distance(const double *a, const double *b, long n)
{
    double off = 0, all = 0;
    for (long i = 0; i < n; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return all > 0 ? sqrt(off / all) : sqrt(off);
}

static void try_reference(struct cb_device *gpu, const char *graph, const struct gnn_problem *given)
{
    if (!test_takes())
        return;
    struct gnn_problem p = *given;
    struct matrix m;
    struct adjacency a, t;
    struct gnn_operands o = { .device = gpu, .seed = 7 };
    struct gnn_expectation e;
    CHECK(!matrix_load(graph, &m) && !adjacency_of(&m, p.model, &a));
    CHECK(!adjacency_transpose(&a, &t));
    p.nodes = m.rows;
    CHECK(gnn_net_of(&p, &o.net) == OP_OK);
    o.a = &a, o.t = &t;
    const int opened = !gnn_operands_open(&o) && !gnn_expectation_open(&e, &o);
    CHECK(opened);
    if (!opened) {
        printf("%s\n", cb_error_text());
        exit(1);
    }
    const long count = gnn_result_size(&o.net), parameters = gnn_parameters(&o.net);
    float *x = downloaded(gpu, o.b.x, 4 * (size_t)m.rows * (size_t)p.features);
    float *parameter = downloaded(gpu, o.b.parameter, 4 * (size_t)parameters);
    int *label = downloaded(gpu, o.b.label, 4 * (size_t)m.rows);
    double *want = malloc((size_t)count * sizeof *want);
    const struct gnn_graph on_host = { a.row_ptr, a.col, a.val };
    const struct gnn_graph transposed = { t.row_ptr, t.col, t.val };
    CHECK(gnn_ref(&o.net, &on_host, &transposed, x, label, parameter, want) == OP_OK);
    double off = distance(e.want, want, count);
    if (p.pass == GNN_TRAIN) {
        const long biases = GNN_GRADIENT + o.net.weights;
        off = fmax(fabs(e.want[0] / want[0] - 1),
                   distance(e.want + GNN_GRADIENT, want + GNN_GRADIENT, o.net.weights));
        off = fmax(off, distance(e.want + biases, want + biases, o.net.biases));
        off = fmax(off, distance(e.want + gnn_updated_at(&o.net), want + gnn_updated_at(&o.net),
                                 parameters));
        CHECK(e.want[1] == 0 && e.want[2] == 0 && e.want[3] == 0);
    }
    CHECK(off < 1e-10);
    if (!(off < 1e-10))
        printf("%s %s %d %d %d pass %d: reference off by %.3g\n", graph, models[p.model],
               p.features, p.hidden, p.classes, (int)p.pass, off);
    free(x);
    free(parameter);
    free(label);
    free(want);
    gnn_expectation_close(&e);
    gnn_operands_close(&o);
    adjacency_free(&a);
    adjacency_free(&t);
    matrix_free(&m);
}

/* ---- whole cases ---- */

static int tried, wrong;

/* Every row. */
static void try_case(struct cb_device *d, const char *graph, const char *model, const int *width,
                     const char *pass)
{
    if (!test_takes())
        return;
    static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                             .flush_l2 = 3, .executions_max = 64 };
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 11,
                            .order_seed = 5, .once = true, .aa = -1 };
    const struct cb_op *op = suite_op("gnn");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    char label[CB_ID_MAX];
    json_t *j = json_pack("{s:s,s:s,s:i,s:i,s:i,s:s}", "graph", graph, "model", model, "hidden",
                          width[1], "features", width[0], "classes", width[2], "pass", pass);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        impl[count++] = i;
    CHECK(!cb_params_from_json(op, j, p));
    cb_params_label(op, p, label, sizeof label);
    const int lost = cb_run_case(&c, op, p, impl, &out);
    CHECK(!lost && out.status == CB_OK);
    if (lost || out.status != CB_OK)
        printf("%s: %s\n", label, lost ? cb_error_text() : out.reason);
    for (int k = 0; k < out.count; k++) {
        const struct cb_outcome *o = &out.out[k];
        if (o->status == CB_SKIPPED)
            continue;
        if (o->status == CB_UNSUPPORTED) {
            printf("%s: %s: %s\n", label, o->impl->name, o->reason);
            continue;
        }
        tried++;
        ran++;
        if (o->status != CB_OK) {
            wrong++;
            printf("%s: %s: %s: %s\n", label, o->impl->name, cb_status_name(o->status), o->reason);
        }
        CHECK(o->status == CB_OK);
        if (o->r1.rel_fro > (strcmp(pass, "train") ? 1e-5 : 3e-3))
            printf("%s: %s: note: error %.3g\n", label, o->impl->name, o->r1.rel_fro);
    }
    CHECK(ran >= 6);
    cb_case_free(&out);
    json_decref(j);
    free(p);
    if (lost)
        exit(1);
}

/* ---- faults ---- */

static enum op_status first_aggregation(void *context, const struct gnn_aggregation *a)
{
    struct gnn_aggregation *out = context; /* [AGGREGATIONS_MAX] by index; width 0: none */
    out[aggregator_index(a)] = *a;
    return OP_OK;
}

static enum op_status do_nothing(const struct spmm_problem *p, const struct spmm_args *args,
                                 void *state, op_stream s)
{
    (void)p, (void)args, (void)state, (void)s;
    return OP_OK;
}

static const struct spmm_impl idle = { .base = { .name = "idle" }, .run = do_nothing };

static int found(struct gnn_operands *o, const struct gnn_expectation *e,
                 const struct aggregator *g)
{
    struct cb_accuracy a;
    double limit;
    CHECK(!gnn_operands_step(o, g) && !cb_sync(o->device));
    CHECK(!gnn_expectation_check(e, o, &a, &limit));
    return a.bad || a.nonfinite || a.rel_fro > limit;
}

static void test_faults(struct cb_device *gpu)
{
    const struct gnn_problem p = { 701, 36, 16, 8, GNN_SAGE, GNN_TRAIN, 0.1f };
    static const struct gnn_ops look = { .aggregate = first_aggregation };
    struct gnn_aggregation list[AGGREGATIONS_MAX] = { { .width = 0 } };
    struct aggregator g[AGGREGATIONS_MAX] = { { .impl = NULL } };
    struct op_pool pool = { .device = gpu };
    struct matrix m;
    struct adjacency a, t;
    struct gnn_operands o = { .device = gpu, .seed = 7 };
    struct gnn_expectation e;
    const struct gnn_impl *row = gnn_rows;
    struct cb_accuracy seen;
    while (strcmp(row->base.name, "own_row"))
        row++;
    CHECK(!matrix_load(graphs[0], &m) && !adjacency_of(&m, p.model, &a));
    CHECK(!adjacency_transpose(&a, &t));
    CHECK(gnn_net_of(&p, &o.net) == OP_OK);
    o.a = &a, o.t = &t;
    CHECK(!gnn_operands_open(&o) && !gnn_expectation_open(&e, &o) && !gnn_operands_poison(&o));
    CHECK(gnn_step(&o.net, &o.b, &look, list) == OP_OK);
    for (int i = 0; i < AGGREGATIONS_MAX; i++)
        if (list[i].width) {
            g[i] = gnn_aggregator_of(&o, &list[i]);
            CHECK(!aggregator_open(&g[i], row, gpu, &pool));
        }
    CHECK(!found(&o, &e, g));
    const float *val[2] = { o.on_a.val, o.on_t.val };
    for (int k = 0; k < 2; k++) { /* half of the weights of A, then of its transpose, doubled */
        float *kept = downloaded(gpu, val[k], 4 * (size_t)a.nnz);
        float *changed = malloc(4 * (size_t)a.nnz);
        for (long i = 0; i < a.nnz; i++)
            changed[i] = kept[i] * (i % 2 ? 2 : 1);
        CHECK(!cb_upload(gpu, (void *)val[k], changed, 4 * (size_t)a.nnz) && found(&o, &e, g));
        CHECK(!cb_upload(gpu, (void *)val[k], kept, 4 * (size_t)a.nnz) && !found(&o, &e, g));
        free(kept);
        free(changed);
    }
    const struct spmm_impl *right = g[0].impl; /* an aggregation that does nothing */
    g[0].impl = &idle;
    CHECK(!gnn_operands_poison(&o) && found(&o, &e, g));
    g[0].impl = right;
    CHECK(!found(&o, &e, g) && !aggregator_check(&g[0], gpu, &seen) && !seen.bad && seen.compared);
    for (int i = 0; i < AGGREGATIONS_MAX; i++)
        aggregator_close(&g[i]);
    op_pool_free(&pool);
    gnn_expectation_close(&e);
    gnn_operands_close(&o);
    adjacency_free(&a);
    adjacency_free(&t);
    matrix_free(&m);
}
/* Models times widths; graphs and passes take turns, `all` takes every one. */
static void try_all(struct cb_device *gpu, bool all, bool references)
{
    for (int k = 0; k < 3; k++)
        for (int w = 0; w < WIDTHS; w++)
            for (int g = 0; g < GRAPHS; g++)
                for (int pass = 0; pass < 2; pass++) {
                    if (!all && (g != (k + w) % GRAPHS || pass != (k + w / GRAPHS) % 2))
                        continue;
                    printf("%s %s %s %d %d %d %s\n", references ? "reference" : "rows", graphs[g],
                           models[k], widths[w][0], widths[w][1], widths[w][2], passes[pass]);
                    if (references)
                        try_reference(gpu, graphs[g],
                                      &(struct gnn_problem){ 1, widths[w][0], widths[w][1],
                                                             widths[w][2], (enum gnn_model)k,
                                                             (enum gnn_pass)pass, 0.1f });
                    else
                        try_case(gpu, graphs[g], models[k], widths[w], passes[pass]);
                }
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    const bool all = argc > 1 && !strcmp(argv[1], "all");
    struct cb_device *gpu;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what hangs is known by its last line */
    if (cb_device_open("cuda:0", &gpu)) {
        SKIP("gpu_gnn: no GPU");
        return TEST_END();
    }
    if (test_tiny()) {
        tiny_op(gpu, "gnn");
    } else {
        try_all(gpu, all, true);
        printf("faults\n");
        test_faults(gpu);
        try_all(gpu, all, false);
    }
    cb_device_close(gpu);
    printf("%d executions of rows, %d wrong\n", tried, wrong);
#else
    (void)argc, (void)argv;
    SKIP("gpu_gnn: built without CUDA");
#endif
    return TEST_END();
}

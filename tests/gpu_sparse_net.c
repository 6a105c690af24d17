/*
 * gpu_sparse_net.c - whole networks on a GPU: every row against the reference, the same result
 * twice, and whether a wrong element is found; figures are printed.  `gpu_sparse_net all` takes
 * larger scans too, `gpu_sparse_net train` larger training steps.
 *
 * `gpu_sparse_net times [train]` checks nothing: a table of the parts of a run, its wall time and
 * launches on scans of the suites, a new scan in every run, real frames where they are.
 * `gpu_sparse_net times own` is the same for this suite's rows alone, without tuning and on two
 * scans each: under a minute.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/sparse_net/sparse_net.h"
#include "../suites/suite.h"
#include "sparse_net_scan.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                         .flush_l2 = 3, .executions_max = 64 };
static int tried, wrong;

static void *params_of(const char *scan, const char *network, const char *pass)
{
    const struct cb_op *op = suite_op("sparse_net");
    json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:i}", "scan", scan, "network", network, "pass", pass,
                          "batch", strcmp(pass, "train") ? 1 : 2, "samples", 3);
    void *p = calloc(1, op->params_size);
    CHECK(!cb_params_from_json(op, j, p));
    json_decref(j);
    return p;
}

/* Rows are named as they come: a time limit loses none before it. */
static void try_pass(struct cb_context *c, const char *scan, const char *network, const char *pass)
{
    const struct cb_op *op = suite_op("sparse_net");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = params_of(scan, network, pass);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        if (i->sm_min)
            impl[count++] = i;
    const int lost = cb_run_case(c, op, p, impl, &out);
    CHECK(!lost);
    if (lost) {
        printf("%s %s: %s\n", scan, network, cb_error_text());
        exit(1);
    }
    for (int o = 0; o < out.count; o++) {
        const struct cb_outcome *row = &out.out[o];
        const int good = row->status == CB_OK && !row->r1.bad && row->deterministic;
        if (row->status == CB_UNSUPPORTED || row->status == CB_SKIPPED)
            continue;
        ran++;
        tried++;
        printf("%s %s %s %s: error %.2e, %ld of %ld off, %s %s %s\n", scan, network, pass,
               row->impl->name, row->r1.rel_fro, row->r1.bad, row->r1.compared,
               cb_status_name(row->status), row->reason, row->choice);
        for (int f = 0; f < row->figure_count; f++)
            printf("    %s %.1f %s\n", row->figures[f].name, row->figures[f].value,
                   row->figures[f].unit);
        fflush(stdout);
        /* sums by atomics come in any order */
        wrong += !good && !(row->status == CB_OK && (!strcmp(row->impl->name, "fetch") ||
                                                     !strcmp(row->impl->name, "autotuned")));
    }
    CHECK(ran > 3);
    cb_case_free(&out);
    free(p);
}

static void try_case(struct cb_context *c, const char *scan, const char *network)
{
    try_pass(c, scan, network, "infer");
}

/* ---- times ---- */

static double figure_of(const struct cb_figure *f, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(f[i].name, name))
            return f[i].value;
    return 0;
}

static void time_row(struct cb_context *c, const struct cb_op *op, void *in,
                     const struct op_impl *row)
{
    static const char *const name[] = { "maps",  "orders", "convolutions", "gradients", "rest",
                                        "warm",  "wall",   "launches_maps", "launches_orders",
                                        "launches_convolutions", "launches", "tuning" };
    struct cb_figure f[CB_FIGURES_MAX];
    void *b;
    if (op->bind(c, in, row, &b)) {
        printf("%-20s %s\n", row->name, cb_error_text());
        return;
    }
    const int n = op->figures(b, f);
    printf("%-20s", row->name);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        printf(" %8.1f", figure_of(f, n, name[i]));
    printf("  %s\n", op->choice(b) ? op->choice(b) : "");
    fflush(stdout);
    op->unbind(b);
}

static void time_case(struct cb_context *c, const char *scan, const char *network,
                      const char *pass, int sets, const char *const *rows)
{
    const struct cb_op *op = suite_op("sparse_net");
    const struct op_impl *row;
    const char *why;
    void *p = params_of(scan, network, pass), *in;
    if (op->open(c, p, &in)) {
        printf("SKIP gpu_sparse_net %s\n", cb_error_text());
        free(p);
        return;
    }
    printf("%s %s %s, %d scans\n", scan, network, pass, sets);
    printf("%-20s %8s %8s %8s %8s %8s %8s %8s  launches: maps, orders, convolutions, all; "
           "tuning s\n", "us", "maps", "orders", "conv", "gradient", "rest", "warm", "wall");
    CHECK(!op->prepare(c, in, 1, sets));
    for (int t = 0; (row = op->impl(t)); t++)
        for (int k = 0; rows[k]; k++)
            if (!strcmp(rows[k], row->name) && op->ready(in, row, &why) == OP_OK)
                time_row(c, op, in, row);
    op->close(in);
    free(p);
}

/* what: "train", "own", or "" */
static void time_all(struct cb_context *c, const char *what)
{
    static const char *const infer[] = { "implicit_s1", "fetch", "gather_grouped", "autotuned",
                                         "own", "own_tuned", NULL };
    static const char *const step[] = { "train_gather_grouped", "train_sorted", "train_implicit",
                                        "train_own", NULL };
    static const char *const own[] = { "own", NULL };
    static const char *const scan[][2] = {
        { "semantickitti_000000", "minkunet_1x" }, { "nuscenes_keyframe", "minkunet_1x" },
        { "nuscenes_10f", "centerpoint" },         { "waymo_1f", "centerpoint" },
        { "semantickitti_1f", "minkunet_1x" },     { "semantickitti_1f", "minkunet_0.5x" }
    };
    const int train = !strcmp(what, "train"), ours = !strcmp(what, "own");
    const size_t scans = ours ? 4 : sizeof scan / sizeof *scan;
    for (size_t i = 0; i < scans; i++)
        time_case(c, scan[i][0], scan[i][1], train ? "train" : "infer", train || ours ? 2 : 6,
                  train ? step : ours ? own : infer);
}

/* An element of our result is overwritten. */
static void try_fault(struct cb_context *c, const char *scan)
{
    const struct cb_op *op = suite_op("sparse_net");
    void *p = params_of(scan, "minkunet_0.5x", "infer"), *in, *b;
    const struct op_impl *own = NULL, *i;
    struct cb_region y;
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    for (int t = 0; (i = op->impl(t)); t++)
        own = strcmp(i->name, "own") ? own : i;
    const char *why;
    CHECK(own && !op->open(c, p, &in) && !op->prepare(c, in, 1, 1));
    if (cb_device_info(c->device)->sm != 90 || op->ready(in, own, &why)) {
        printf("SKIP gpu_sparse_net: own needs another GPU\n");
    } else {
        CHECK(!op->bind(c, in, own, &b) && op->outputs(b, 0, 0, &y, 1) == 1);
        CHECK(!op->expect(c, in, 0, 0) && !op->run(b, 0, 0) && !cb_sync(c->device));
        CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && !r1.bad && r1.rel_fro < limit);
        CHECK(!cb_fill(c->device, (char *)y.data + y.bytes / 2, 0x55, 2));
        r1 = (struct cb_accuracy){ 0 };
        CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
        op->unbind(b);
    }
    op->close(in);
    free(p);
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    char scan[64];
    if (!cb_device_count()) {
        SKIP("gpu_sparse_net: no GPU");
        return TEST_END();
    }
    snprintf(scan, sizeof scan, "kitti:/tmp/gpu_sparse_net_%ld.bin", (long)getpid());
    sparse_net_scan(scan, 4000);
    CHECK(!cb_device_open("cuda", &c.device));
    if (argc > 1 && !strcmp(argv[1], "times")) {
        time_all(&c, argc > 2 ? argv[2] : "");
        cb_device_close(c.device);
        unlink(scan + strlen("kitti:"));
        return TEST_END();
    }
    if (test_tiny()) {
        tiny_op(c.device, "sparse_net");
        cb_device_close(c.device);
        unlink(scan + strlen("kitti:"));
        return TEST_END();
    }
    try_case(&c, scan, "minkunet_1x");
    try_case(&c, scan, "minkunet_0.5x");
    try_fault(&c, scan);
    try_pass(&c, scan, "minkunet_0.5x", "train");
    try_case(&c, "nuscenes_10f", "centerpoint");
    if (argc > 1 && !strcmp(argv[1], "train")) {
        try_pass(&c, "nuscenes_1f", "minkunet_1x", "train");
        try_pass(&c, "nuscenes_10f", "centerpoint", "train");
    }
    if (argc > 1 && !strcmp(argv[1], "all")) {
        try_case(&c, "nuscenes_1f", "minkunet_1x");
        try_case(&c, "semantickitti_1f", "minkunet_1x");
        try_case(&c, "waymo_1f", "centerpoint");
    }
    CHECK(tried > 0 && !wrong);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
    return TEST_END();
#else
    (void)argc, (void)argv;
    SKIP("gpu_sparse_net: built without CUDA");
    return TEST_END();
#endif
}

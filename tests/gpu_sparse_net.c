/*
 * gpu_sparse_net.c - whole networks on a GPU: every row against the reference, the same result
 * twice, and whether a wrong element is found; figures are printed.  `gpu_sparse_net all` takes
 * larger scans too, `gpu_sparse_net train` larger training steps.
 *
 * `gpu_sparse_net times [train]` checks nothing: a table of the parts of a run, its wall time and
 * launches on scans of the suites, a new scan in every run, real frames where they are.
 * `gpu_sparse_net times own` is the same for this suite's rows alone, without tuning and on two
 * scans each: under a minute; `gpu_sparse_net times step` for its training step, fused and not.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/sparse_net/sparse_net.h"
#include "../suites/ops/sparse_net_case.h"
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

static double figure_of(const struct cb_figure *f, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(f[i].name, name))
            return f[i].value;
    return 0;
}

/* Memory of the rows of a training case together.  Partial sums of the gradient of weights alone
 * are 32 times all weights in float in every flow, and a tuned row tries five: were they a layer's own,
 * tuned rows would pass this on scans of up to some 20,000 voxels. */
static void check_memory(const struct cb_case *out)
{
    double all = 0, weights = 0;
    for (int i = 0; i < out->count; i++) {
        const struct cb_outcome *row = &out->out[i];
        const double bytes = figure_of(row->figures, row->figure_count, "memory");
        if (row->status != CB_OK)
            continue;
        weights = row->work.weight_bytes;
        CHECK(bytes > 0);
        all += bytes;
        if (row->impl->flags & OP_CHOOSES)
            CHECK(bytes < 128 * weights);
    }
    printf("rows of the case took %.2f GB\n", 1e-9 * all);
    CHECK(all > 0 && all < 1024 * weights);
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
        const int good = row->status == CB_OK && !row->r1.bad && (row->deterministic || row->ran_once);
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
    if (!strcmp(pass, "train") && !strcmp(network, "minkunet_0.5x"))
        check_memory(&out);
    cb_case_free(&out);
    free(p);
}

static void try_case(struct cb_context *c, const char *scan, const char *network)
{
    try_pass(c, scan, network, "infer");
}

/* Gradients of all weights by a row, in memory of the host that the caller frees. */
static float *gradients_of(struct cb_context *c, struct net_case *in, const char *name)
{
    const struct cb_op *op = suite_op("sparse_net");
    const size_t bytes = in->scene[0].net.weights * sizeof(float);
    float *dw = malloc(bytes);
    const struct op_impl *i;
    void *b = NULL;
    for (int t = 0; (i = op->impl(t)) && strcmp(i->name, name); t++)
        continue;
    CHECK(i && !op->bind(c, in, i, &b) && !cb_fill(c->device, in->scene[0].dw_on, 0, bytes));
    CHECK(b && !op->run(b, 0, 0) && !cb_sync(c->device));
    CHECK(!cb_download(c->device, dw, in->scene[0].dw_on, bytes));
    op->unbind(b);
    return dw;
}

/* Masks and residuals within products change no bit of a training step. */
static void try_fused(struct cb_context *c, const char *scan, const char *network)
{
    struct sparse_net_params *q = params_of(scan, network, "train");
    struct net_case *in;
    if (cb_device_info(c->device)->sm != 90) {
        printf("SKIP gpu_sparse_net: own needs another GPU\n");
        free(q);
        return;
    }
    CHECK(!net_case_open(c, q, &in) && !net_case_prepare(in, 1, 1));
    float *want = gradients_of(c, in, "train_own_apart"), *got = gradients_of(c, in, "train_own");
    size_t differ = 0, zeros = 0;
    for (size_t i = 0; i < in->scene[0].net.weights; i++) {
        differ += memcmp(&want[i], &got[i], sizeof *got) != 0;
        zeros += want[i] == 0;
    }
    printf("%s %s: %zu of %zu gradients differ where masks are fused\n", scan, network, differ,
           in->scene[0].net.weights);
    CHECK(!differ && zeros < in->scene[0].net.weights / 2);
    net_case_close(in);
    free(want);
    free(got);
    free(q);
}

/* The tuner beside all settings: the network's result is checked under each choice. */
static void try_groups(struct cb_context *c, const char *scan, const char *tuned, int batch)
{
    const struct cb_op *op = suite_op("tuned_groups");
    const struct op_impl *impl[16] = { NULL };
    json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:i}", "scan", scan, "network", "minkunet_0.5x",
                          "tuned", tuned, "samples", 2, "batch", batch);
    void *p = calloc(1, op->params_size);
    struct cb_case out;
    int ran = 0;
    for (int i = 0; i < 15 && (impl[i] = op->impl(i)); i++)
        continue;
    CHECK(!cb_params_from_json(op, j, p) && !cb_run_case(c, op, p, impl, &out));
    printf("%s %s: %s %s, %.1f s\n", scan, tuned, cb_status_name(out.status), out.reason,
           out.wall_s);
    for (int i = 0; i < out.count; i++) {
        const struct cb_outcome *o = &out.out[i];
        printf("    %-8s %-24s", o->impl->name, o->status == CB_OK ? o->choice : o->reason);
        for (int f = 0; f < o->figure_count; f++)
            printf(" %s %.4g", o->figures[f].name, o->figures[f].value);
        putchar('\n');
        ran += o->status == CB_OK;
    }
    CHECK(out.status == CB_OK && ran == 10);
    cb_case_free(&out);
    json_decref(j);
    free(p);
}

/* ---- times ---- */

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

/* what: "train", "own", "step", or "" */
static void time_all(struct cb_context *c, const char *what)
{
    static const char *const infer[] = { "implicit_s1", "fetch", "gather_grouped", "autotuned",
                                         "own", "own_tuned", NULL };
    static const char *const step[] = { "train_gather_grouped", "train_sorted", "train_implicit",
                                        "train_own", "train_own_apart", NULL };
    static const char *const own[] = { "own", NULL };
    static const char *const scan[][2] = {
        { "semantickitti_000000", "minkunet_1x" }, { "nuscenes_keyframe", "minkunet_1x" },
        { "nuscenes_10f", "centerpoint" },         { "waymo_1f", "centerpoint" },
        { "semantickitti_1f", "minkunet_1x" },     { "semantickitti_1f", "minkunet_0.5x" }
    };
    const int alone = !strcmp(what, "step"); /* the last two of a training step */
    const int train = alone || !strcmp(what, "train"), ours = !strcmp(what, "own");
    const size_t scans = ours ? 4 : sizeof scan / sizeof *scan;
    for (size_t i = 0; i < scans; i++)
        time_case(c, scan[i][0], scan[i][1], train ? "train" : "infer", train || ours ? 2 : 6,
                  alone ? step + 3 : train ? step : ours ? own : infer);
}

/* ---- the reference of the GPU is that of the host ---- */

static double distance(const double *a, const double *b, size_t n)
{
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return sqrt(off / all);
}

static void same_gradients(const struct net_case *in, half_bits *const *act,
                           const struct op_memory *memory, double *got, double *want)
{
    const struct net_scene *s = &in->scene[0];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args host = { .w = in->w, .g = s->g };
    const struct sparse_net_args device = net_args_of(in, 0, 0);
    const size_t bytes = s->net.weights * sizeof *got;
    const void *act_on[SPARSE_NET_TENSORS_MAX] = { 0 };
    void *dw = memory->take(memory->context, bytes);
    for (int t = 0; t < s->net.tensors; t++) {
        const struct sparse_tensor *x = &s->net.tensor[t];
        const size_t n = 2 * (size_t)s->host_maps.n[x->level] * (size_t)x->channels;
        void *to = memory->take(memory->context, n);
        CHECK(to && !cb_upload(in->device, to, act[t], n));
        act_on[t] = to;
    }
    CHECK(sparse_net_ref_train(&p, &host, act, want) == OP_OK);
    CHECK(dw && sparse_net_ref_train_cuda(&p, &device, act_on, memory, dw,
                                          cb_device_stream(in->device)) == OP_OK);
    CHECK(!cb_download(in->device, got, dw, bytes) && !cb_sync(in->device));
    printf("gradients of the references differ by %.1e\n", distance(got, want, s->net.weights));
    CHECK(distance(got, want, s->net.weights) < 1e-5);
}

/* Sums in another order round a row to another half now and then. */
static void try_reference(struct cb_context *c, const char *scan, const char *network)
{
    struct sparse_net_params *q = params_of(scan, network, "train");
    struct net_case *in;
    CHECK(!net_case_open(c, q, &in) && !net_case_prepare(in, 1, 1) && !net_act_open(in, 0));
    const struct net_scene *s = &in->scene[0];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args host = { .x = s->x, .w = in->w, .b = in->b };
    const struct sparse_net_args device = net_args_of(in, 0, 0);
    const size_t n = (size_t)(net_out_rows(s) * net_out_columns(s));
    const size_t most = n > s->net.weights ? n : s->net.weights;
    double *want = malloc(most * sizeof *want), *got = malloc(most * sizeof *got);
    struct op_pool pool = { .device = c->device };
    const struct op_memory memory = op_pool_memory(&pool);
    double *y = memory.take(memory.context, n * sizeof *y);
    CHECK(sparse_net_ref_keep(&p, &host, want, in->act) == OP_OK);
    CHECK(y && sparse_net_ref_cuda(&p, &device, &memory, y, cb_device_stream(c->device)) == OP_OK);
    CHECK(!cb_download(c->device, got, y, n * sizeof *y) && !cb_sync(c->device));
    printf("%s %s: the references differ by %.1e\n", scan, network, distance(got, want, n));
    CHECK(distance(got, want, n) < 1e-5);
    same_gradients(in, in->act, &memory, got, want);
    op_pool_free(&pool);
    net_case_close(in);
    free(want);
    free(got);
    free(q);
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
    try_reference(&c, scan, "minkunet_0.5x");
    try_reference(&c, "nuscenes_1f", "minkunet_0.5x");
    try_case(&c, scan, "minkunet_1x");
    try_case(&c, scan, "minkunet_0.5x");
    try_fault(&c, scan);
    try_pass(&c, scan, "minkunet_0.5x", "train");
    try_fused(&c, scan, "minkunet_0.5x");
    try_fused(&c, scan, "minkunet_1x");
    try_fused(&c, "nuscenes_10f", "centerpoint");
    try_groups(&c, scan, "autotuned", 1);
    try_groups(&c, scan, "train_bind_fd", 2);
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

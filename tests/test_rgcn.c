/*
 * test_rgcn.c - the operator rgcn on the host: parts of a graph, the reference against sums over
 * single edges, whole cases, and whether faults are found.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/rgcn/rgcn.h"
#include "../suites/suite.h"
#include "test.h"

/* Three relations over five nodes: two edges of relation 0 into node 1, relation 1 empty, three
 * of relation 2 into nodes 0 and 4. */
static const int32_t start[] = { 0, 3, 3, 6 }, src[] = { 0, 4, 2, 2, 3, 2 },
                     dst[] = { 1, 1, 3, 0, 0, 4 };
static const struct rgcn_problem small = { 5, 3, 6, 4, 8, 4 };

static void test_parts(void)
{
    float norm[6];
    const struct rgcn_graph g = { start, src, dst, norm };
    struct rgcn_pairs t, s;
    int32_t *row_ptr, *item;
    double flops, least, model;
    rgcn_norms(&small, &g, norm);
    CHECK(norm[0] == .5f && norm[1] == .5f && norm[2] == 1 && norm[3] == .5f && norm[4] == .5f &&
          norm[5] == 1);
    CHECK(rgcn_targets(&small, &g, &t) == OP_OK && rgcn_sources(&small, &g, &s) == OP_OK);
    CHECK(t.count == 4 && t.first[1] == 2 && t.first[2] == 2 && t.first[3] == 4);
    CHECK(t.node[0] == 1 && t.node[1] == 3 && t.node[2] == 0 && t.node[3] == 4);
    CHECK(t.edge[0] == 0 && t.edge[1] == 2 && t.edge[2] == 3 && t.edge[3] == 5 && t.edge[4] == 6);
    CHECK(s.count == 5 && s.first[1] == 3 && s.first[2] == 3 && s.first[3] == 5);
    CHECK(s.node[0] == 0 && s.node[1] == 2 && s.node[2] == 4 && s.node[3] == 2 && s.node[4] == 3);
    CHECK(s.of[0] == 0 && s.of[1] == 2 && s.of[2] == 1 && s.of[3] == 3 && s.of[4] == 4 &&
          s.of[5] == 3);
    CHECK(rgcn_rows(5, 6, dst, &row_ptr, &item) == OP_OK);
    CHECK(row_ptr[0] == 0 && row_ptr[1] == 2 && row_ptr[2] == 4 && row_ptr[3] == 4 &&
          row_ptr[4] == 5 && row_ptr[5] == 6);
    CHECK(item[0] == 3 && item[1] == 4 && item[2] == 0 && item[3] == 1 && item[4] == 2 &&
          item[5] == 5);
    rgcn_work(&small, t.count, s.count, &flops, &least, &model);
    /* 4 > 8: sums first; 8 > 4: sums first costs 2 (48 + 128), products first 2 (160 + 24) */
    CHECK(flops == 2 * (24 + 128) + 2 * (48 + 128) && model > least && least > 0);
    rgcn_pairs_free(&t);
    rgcn_pairs_free(&s);
    free(row_ptr);
    free(item);
}

static void test_check(void)
{
    struct rgcn_problem p = small;
    CHECK(rgcn_check(&p) == OP_OK);
    p.hidden = 6;
    CHECK(rgcn_check(&p) == OP_EINVAL);
    p = small, p.out = RGCN_WIDTH_MAX + 4;
    CHECK(rgcn_check(&p) == OP_EINVAL);
    p = small, p.edges = 0;
    CHECK(rgcn_check(&p) == OP_EINVAL);
    p = small, p.nodes = 0;
    CHECK(rgcn_check(&p) == OP_EINVAL);
}

/* One layer edge by edge: each adds c x_j W_r to its target. */
static void by_edges(const struct rgcn_problem *p, const struct rgcn_graph *g, int in, int out,
                     const double *x, const float *w, double *y)
{
    for (int i = 0; i < p->nodes * out; i++)
        y[i] = 0;
    for (int r = 0; r < p->relations; r++)
        for (int e = g->start[r]; e < g->start[r + 1]; e++)
            for (int i = 0; i < in; i++)
                for (int j = 0; j < out; j++)
                    y[g->dst[e] * out + j] += (double)g->norm[e] * x[g->src[e] * in + i] *
                                              (double)w[(r * in + i) * out + j];
}

static void test_reference(void)
{
    enum { IN = 4, HIDDEN = 8, OUT = 4 };
    float norm[6], x[5 * IN], w1[3 * IN * HIDDEN], w2[3 * HIDDEN * OUT], bound[5 * OUT];
    double wide[5 * IN], hidden[5 * HIDDEN], want[5 * OUT], got[5 * OUT];
    const struct rgcn_graph g = { start, src, dst, norm };
    const struct rgcn_args a = { g, x, w1, w2, NULL };
    int clipped = 0;
    rgcn_norms(&small, &g, norm);
    for (int i = 0; i < 5 * IN; i++)
        wide[i] = x[i] = cb_random_at(CB_UNIFORM, 3, 1, 0, (uint64_t)i);
    for (int i = 0; i < 3 * IN * HIDDEN; i++)
        w1[i] = cb_random_at(CB_UNIFORM, 3, 2, 0, (uint64_t)i);
    for (int i = 0; i < 3 * HIDDEN * OUT; i++)
        w2[i] = cb_random_at(CB_UNIFORM, 3, 3, 0, (uint64_t)i);
    by_edges(&small, &g, IN, HIDDEN, wide, w1, hidden);
    for (int i = 0; i < 5 * HIDDEN; i++) {
        clipped += hidden[i] < 0;
        hidden[i] = hidden[i] > 0 ? hidden[i] : 0;
    }
    CHECK(clipped > 3 && clipped < 5 * HIDDEN - 3);
    by_edges(&small, &g, HIDDEN, OUT, hidden, w2, want);
    CHECK(rgcn_ref(&small, &a, got, bound) == OP_OK);
    for (int i = 0; i < 5 * OUT; i++) {
        CHECK_NEAR(got[i], want[i], 1e-14);
        /* nothing leads to node 2, and only it to nodes 3 and 4: nothing of theirs can round */
        CHECK(i / OUT >= 2 ? bound[i] == 0 && got[i] == 0 : bound[i] > 0 && bound[i] < 1e-4);
    }
}

/* ---- whole cases ---- */

static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                         .flush_l2 = 3, .executions_max = 64 };

static json_t *problem(const char *graph, int features, int hidden, int classes)
{
    return json_pack("{s:s,s:i,s:i,s:i}", "graph", graph, "hidden", hidden, "features", features,
                     "classes", classes);
}

static void *params_of(json_t *j)
{
    const struct cb_op *op = suite_op("rgcn");
    void *p = calloc(1, op->params_size);
    CHECK(!cb_params_from_json(op, j, p));
    json_decref(j);
    return p;
}

static void try_case(struct cb_context *c, json_t *j)
{
    const struct cb_op *op = suite_op("rgcn");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = params_of(j);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        impl[count++] = i;
    CHECK(!cb_run_case(c, op, p, impl, &out));
    CHECK(out.status == CB_OK);
    if (out.status != CB_OK)
        printf("%s\n", out.reason);
    for (int o = 0; o < out.count; o++) {
        const struct cb_outcome *row = &out.out[o];
        if (row->impl->sm_min > 0) {
            CHECK(row->status == CB_SKIPPED);
            continue;
        }
        CHECK(row->status == CB_OK && row->deterministic && row->r1.compared && !row->r1.bad);
        CHECK(row->r1.rel_fro < 1e-6);
        CHECK(row->work.flops > 0 && row->work.bytes_model > row->work.bytes_min);
        ran++;
    }
    CHECK(ran == 2 && out.statistic_count == 5 && out.input_count == 4);
    cb_case_free(&out);
    free(p);
}

/* The reference row's result with one number off, and that of an input changed behind it. */
static void test_faults(struct cb_context *c)
{
    const struct cb_op *op = suite_op("rgcn");
    void *p = params_of(problem("gen:relations,nodes=300,edges=2000,relations=7", 8, 12, 8));
    void *in, *b;
    struct cb_region y;
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    float v;
    CHECK(!op->open(c, p, &in) && !op->prepare(c, in, 1, 1));
    CHECK(!op->bind(c, in, op->impl(0), &b) && op->outputs(b, 0, 0, &y, 1) == 1);
    CHECK(!op->run(b, 0, 0) && !op->expect(c, in, 0, 0) && !cb_sync(c->device));
    CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && !r1.bad && r1.rel_fro < limit);
    float *last = (float *)y.data + y.bytes / sizeof v - 1;
    CHECK(!cb_download(c->device, &v, last, sizeof v));
    v += .01f;
    CHECK(!cb_upload(c->device, last, &v, sizeof v));
    r1 = (struct cb_accuracy){ 0 };
    CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
    op->unbind(b);
    op->close(in);
    free(p);
}

static void test_refusals(struct cb_context *c)
{
    const struct cb_op *op = suite_op("rgcn");
    void *p = params_of(problem("gen:relations,nodes=300,edges=2000,relations=7", 8, 10, 8)), *in;
    CHECK(op->open(c, p, &in) == -1 && strstr(cb_error_text(), "hidden"));
    free(p);
    p = params_of(problem("nowhere.nt", 8, 8, 8));
    CHECK(op->open(c, p, &in) == -1 && strstr(cb_error_text(), "not available"));
    free(p);
    p = params_of(problem("gen:relations,nodes=300,edges=2000,relations=7", 8, 8, 8));
    CHECK(!op->open(c, p, &in));
    CHECK(op->prepare(c, in, 2, 1) == -1 && strstr(cb_error_text(), "unsupported"));
    op->close(in);
    free(p);
}

/* The public file where it is, else its stand-in alone. */
static void test_graphs(struct cb_context *c)
{
    const struct cb_op *op = suite_op("rgcn");
    void *p = params_of(problem("aifb_triples", 4, 4, 4)), *in;
    if (op->open(c, p, &in)) {
        SKIP("rgcn aifb_triples: the file is not here");
        CHECK(strstr(cb_error_text(), "not available"));
    } else {
        struct cb_figure f[8];
        CHECK(op->statistics(in, f) == 5 && f[0].value == 8285 && f[1].value == 91 &&
              f[2].value == 2 * 29043 + 8285);
        op->close(in);
    }
    free(p);
    try_case(c, problem("mutag", 16, 16, 16));
}

int main(void)
{
    static const int widths[][3] = { { 16, 64, 16 }, { 4, 4, 4 }, { 24, 8, 36 }, { 64, 12, 12 } };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    test_parts();
    test_check();
    test_reference();
    CHECK(!cb_device_open("host", &c.device));
    for (int i = 0; i < 4; i++) {
        const int *w = widths[i];
        try_case(&c, problem("gen:relations,nodes=700,edges=5000,relations=9,hubs=.4", w[0], w[1],
                             w[2]));
    }
    test_faults(&c);
    test_refusals(&c);
    test_graphs(&c);
    cb_device_close(c.device);
    return TEST_END();
}

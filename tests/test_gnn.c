/*
 * test_gnn.c - the operator gnn on the host: gradients of the reference against differences of
 * the loss, whole cases of every model, matrices of models, and whether faults are found.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/data/shared.h"
#include "../suites/ops/gnn_part.h"
#include "../suites/suite.h"
#include "test.h"

enum { NODES = 37 };

/* Directed, with empty rows, some loops and one node that many see. */
static void make_graph(struct matrix *m)
{
    *m = (struct matrix){ .name = "small", .rows = NODES, .cols = NODES };
    m->row_ptr = malloc((NODES + 1) * sizeof(int));
    m->col = malloc(NODES * NODES * sizeof(int));
    m->val = calloc(NODES * NODES, sizeof(float));
    m->row_ptr[0] = 0;
    for (int i = 0; i < NODES; i++) {
        for (int j = 0; j < NODES; j++)
            if (i % 9 != 4 && ((i * 7 + j * 5) % 11 == 0 || j == 3 || (i == j && i % 4 == 0)))
                m->col[m->nnz++] = j;
        m->row_ptr[i + 1] = (int)m->nnz;
    }
}

static void drop_graph(struct matrix *m)
{
    free(m->row_ptr);
    free(m->col);
    free(m->val);
}

/* ---- matrices of models ---- */

static void test_adjacency(const struct matrix *m)
{
    for (int model = GNN_GCN; model <= GNN_GIN; model++) {
        struct adjacency a, t, back;
        double dense[NODES][NODES] = { { 0 } };
        int in[NODES] = { 0 }, out[NODES] = { 0 };
        CHECK(!adjacency_of(m, (enum gnn_model)model, &a) && !adjacency_transpose(&a, &t) &&
              !adjacency_transpose(&t, &back));
        CHECK(adjacency_equal(&a, &back) && !adjacency_equal(&a, &t));
        for (int i = 0; i < NODES; i++)
            for (int e = m->row_ptr[i]; e < m->row_ptr[i + 1]; e++)
                dense[i][m->col[e]] = 1;
        for (int i = 0; i < NODES && model != GNN_SAGE; i++)
            dense[i][i] = model == GNN_GCN ? 1 : dense[i][i] + 1;
        for (int i = 0; i < NODES; i++)
            for (int j = 0; j < NODES; j++) {
                in[i] += dense[i][j] > 0;
                out[j] += dense[i][j] > 0;
            }
        long e = 0;
        int good = 1;
        for (int i = 0; i < NODES; i++) {
            good &= a.row_ptr[i] == e;
            for (int j = 0; j < NODES; j++) {
                if (dense[i][j] == 0)
                    continue;
                const double want = model == GNN_GCN    ? 1 / sqrt((double)in[i] * out[j])
                                    : model == GNN_SAGE ? 1.0 / in[i]
                                                        : dense[i][j];
                good &= a.row[e] == i && a.col[e] == j && fabs(a.val[e] - want) < 1e-7;
                e++;
            }
        }
        CHECK(good && a.nnz == e && a.row_ptr[NODES] == e);
        adjacency_free(&a);
        adjacency_free(&t);
        adjacency_free(&back);
    }
    struct matrix wide = *m;
    struct adjacency a;
    wide.cols++;
    CHECK(adjacency_of(&wide, GNN_GCN, &a) == -1 && !a.row_ptr);
    CHECK(strstr(cb_error_text(), "is not a graph"));
}

/* ---- the reference ---- */

struct small {
    struct gnn_net net;
    struct adjacency a, t;
    float *x, *parameter;
    int label[NODES];
};

static void small_open(struct small *s, const struct matrix *m, const struct gnn_problem *p)
{
    CHECK(gnn_net_of(p, &s->net) == OP_OK);
    CHECK(!adjacency_of(m, p->model, &s->a) && !adjacency_transpose(&s->a, &s->t));
    s->x = malloc((size_t)NODES * (size_t)p->features * sizeof(float));
    s->parameter = malloc((size_t)gnn_parameters(&s->net) * sizeof(float));
    for (int i = 0; i < NODES * p->features; i++)
        s->x[i] = cb_random_at(CB_UNIFORM, 3, 1, 0, (uint64_t)i);
    for (long i = 0; i < gnn_parameters(&s->net); i++)
        s->parameter[i] = 0.5f * cb_random_at(CB_UNIFORM, 3, 2, 0, (uint64_t)i);
    for (int i = 0; i < NODES; i++)
        s->label[i] = (i * 5 + 1) % p->classes;
}

static void small_close(struct small *s)
{
    adjacency_free(&s->a);
    adjacency_free(&s->t);
    free(s->x);
    free(s->parameter);
}

static void small_ref(const struct small *s, double *result)
{
    const struct gnn_graph a = { s->a.row_ptr, s->a.col, s->a.val };
    const struct gnn_graph t = { s->t.row_ptr, s->t.col, s->t.val };
    CHECK(gnn_ref(&s->net, &a, &t, s->x, s->label, s->parameter, result) == OP_OK);
}

/* Every gradient against the difference of the loss over a small step, both ways. */
static void test_gradients(const struct matrix *m, enum gnn_model model)
{
    const struct gnn_problem p = { NODES, 12, 8, 4, model, GNN_TRAIN, 0.25f };
    struct small s;
    small_open(&s, m, &p);
    const long parameters = gnn_parameters(&s.net), size = gnn_result_size(&s.net);
    double *result = malloc((size_t)size * sizeof *result);
    double *other = malloc((size_t)size * sizeof *other);
    double off = 0, all = 0;
    int good = 1;
    small_ref(&s, result);
    for (long i = 0; i < parameters; i++) {
        const float kept = s.parameter[i], h = 0x1p-12f;
        double loss[2];
        for (int k = 0; k < 2; k++) {
            s.parameter[i] = kept + (k ? h : -h);
            small_ref(&s, other);
            loss[k] = other[GNN_LOSS];
        }
        const double step = (double)(kept + h) - (double)(kept - h);
        const double want = (loss[1] - loss[0]) / step, got = result[GNN_GRADIENT + i];
        s.parameter[i] = kept;
        off += (got - want) * (got - want);
        all += want * want;
        good &= result[gnn_updated_at(&s.net) + i] == kept - 0.25 * got;
    }
    CHECK(all > 0 && sqrt(off / all) < 1e-3);
    CHECK(good);
    free(result);
    free(other);
    small_close(&s);
}

/* Scores of one node by hand: two layers of GCN written out. */
static void test_scores(const struct matrix *m)
{
    const struct gnn_problem p = { NODES, 4, 8, 4, GNN_GCN, GNN_FORWARD, 0 };
    struct small s;
    double hidden[NODES][8], scores[NODES * 4];
    small_open(&s, m, &p);
    const float *w = s.parameter, *w2 = w + 32, *b = w2 + 32, *b2 = b + 8;
    CHECK(gnn_result_size(&s.net) == NODES * 4 && gnn_parameters(&s.net) == 76);
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < 8; j++) {
            double sum = b[j];
            for (int e = s.a.row_ptr[i]; e < s.a.row_ptr[i + 1]; e++)
                for (int k = 0; k < 4; k++)
                    sum += (double)s.a.val[e] * s.x[s.a.col[e] * 4 + k] * w[k * 8 + j];
            hidden[i][j] = sum > 0 ? sum : 0;
        }
    small_ref(&s, scores);
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < 4; j++) {
            double sum = b2[j];
            for (int e = s.a.row_ptr[i]; e < s.a.row_ptr[i + 1]; e++)
                for (int k = 0; k < 8; k++)
                    sum += (double)s.a.val[e] * hidden[s.a.col[e]][k] * w2[k * 4 + j];
            CHECK_NEAR(scores[i * 4 + j], sum, 1e-12);
        }
    small_close(&s);
}

static void test_net(void)
{
    struct gnn_net net;
    const struct gnn_problem good = { 5, 12, 8, 4, GNN_GIN, GNN_TRAIN, 0.1f };
    struct gnn_problem p = good;
    double flops, least, model;
    CHECK(gnn_net_of(&p, &net) == OP_OK && net.layers == 4 && !net.layer[1].aggregates);
    CHECK(net.layer[0].product_first && !net.layer[2].product_first);
    CHECK(gnn_parameters(&net) == 12 * 8 + 8 * 8 + 8 * 8 + 8 * 4 + 8 + 8 + 8 + 4);
    /* products forward, gradients of weights, gradients of inputs but the first */
    gnn_work(&net, 20, &flops, &least, &model);
    CHECK(flops == 2 * 5 * (2 * 96 + 3 * (64 + 64 + 32)) + 2 * 20 * (2 * 8 + 2 * 8));
    CHECK(model > least && least > 0);
    p.features = 10;
    CHECK(gnn_net_of(&p, &net) == OP_EINVAL);
    p = good, p.nodes = 0;
    CHECK(gnn_net_of(&p, &net) == OP_EINVAL);
    p = good, p.classes = GNN_CLASSES_MAX + 4;
    CHECK(gnn_net_of(&p, &net) == OP_EUNSUPPORTED);
    p = good, p.hidden = GNN_WIDTH_MAX + 4;
    CHECK(gnn_net_of(&p, &net) == OP_EUNSUPPORTED);
    CHECK(gnn_parts(1) == 1 && gnn_parts(17) == 2 && gnn_parts(1 << 30) == GNN_BLOCKS_MAX);
}

/* ---- whole cases ---- */

static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                         .flush_l2 = 3, .executions_max = 64 };

static void try_case(struct cb_device *d, const char *graph, const char *model, int hidden,
                     int features, int classes, const char *pass)
{
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 11,
                            .order_seed = 5, .once = true, .aa = -1 };
    const struct cb_op *op = suite_op("gnn");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    json_t *j = json_pack("{s:s,s:s,s:i,s:i,s:i,s:s}", "graph", graph, "model", model, "hidden",
                          hidden, "features", features, "classes", classes, "pass", pass);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        impl[count++] = i;
    CHECK(!cb_params_from_json(op, j, p) && !cb_run_case(&c, op, p, impl, &out));
    CHECK(out.status == CB_OK);
    if (out.status != CB_OK)
        printf("%s %s %d %d %d %s: %s\n", graph, model, hidden, features, classes, pass,
               out.reason);
    for (int o = 0; o < out.count; o++) {
        const struct cb_outcome *row = &out.out[o];
        if (row->impl->sm_min > 0) {
            CHECK(row->status == CB_SKIPPED);
            continue;
        }
        CHECK(row->status == CB_OK && row->deterministic && row->r1.compared && !row->r1.bad);
        CHECK(row->r1.rel_fro < (strcmp(pass, "train") ? 1e-5 : 1e-3));
        CHECK(row->work.flops > 0 && row->work.bytes_model > row->work.bytes_min);
        ran++;
    }
    CHECK(ran == 3);
    cb_case_free(&out);
    json_decref(j);
    free(p);
}

static void test_cases(struct cb_device *d)
{
    static const char *const models[] = { "gcn", "sage", "gin" };
    /* features > hidden > classes, all rising, and hidden the narrowest */
    static const int widths[][3] = { { 16, 36, 8 }, { 48, 20, 64 }, { 8, 24, 12 }, { 4, 4, 4 } };
    for (int k = 0; k < 3; k++)
        for (int w = 0; w < 4; w++)
            for (int pass = 0; pass < 2; pass++)
                try_case(d, w % 2 ? "gen:powerlaw,m=701,mean=9,empty=.1" : "gen:rmat,m=512,mean=6",
                         models[k], widths[w][0], widths[w][1], widths[w][2],
                         pass ? "forward" : "train");
}

/* Small graphs of papers, where the project's test data is. */
static void test_files(struct cb_device *d)
{
    static const char *const names[] = { "cora", "citeseer", "pubmed" };
    static const char *const models[] = { "gcn", "sage", "gin" };
    static const int features[] = { 1436, 3704, 500 }, classes[] = { 8, 8, 4 };
    char file[32], path[DATA_PATH];
    for (int g = 0; g < 3; g++) {
        snprintf(file, sizeof file, "%s.mtx.gz", names[g]);
        if (!data_find("sparse", file, path)) {
            SKIP("gnn: Cora, Citeseer, Pubmed: test data not there");
            continue;
        }
        try_case(d, path, models[g], 16, features[g], classes[g], "train");
    }
}

/* ---- faults ---- */

static struct cb_accuracy judged(const struct gnn_expectation *e, struct gnn_operands *o,
                                 double *limit)
{
    struct cb_accuracy a;
    CHECK(!gnn_expectation_check(e, o, &a, limit));
    return a;
}

static bool passes(const struct gnn_expectation *e, struct gnn_operands *o)
{
    double limit;
    const struct cb_accuracy a = judged(e, o, &limit);
    return !a.bad && !a.nonfinite && a.rel_fro <= limit;
}

static void open_all(const struct gnn_operands *o, struct aggregator *g, struct op_pool *pool)
{
    const struct gnn_impl *row = gnn_rows;
    while (strcmp(row->base.name, "host_rb"))
        row++;
    for (int l = 0; l < o->net.layers; l++)
        for (int back = 0; back < 2; back++) {
            const struct gnn_layer *layer = &o->net.layer[l];
            const struct gnn_aggregation a =
                back ? (struct gnn_aggregation){ l, 1, layer->out,
                                                 l ? o->b.act[l] : o->b.gradient[1],
                                                 o->b.gradient_mid }
                     : (struct gnn_aggregation){ l, 0, layer->out, o->b.mid[l], o->b.act[l] };
            g[aggregator_index(&a)] = gnn_aggregator_of(o, &a);
            CHECK(!aggregator_open(&g[aggregator_index(&a)], row, o->device, pool));
        }
}

/* GCN with falling widths: product first in both layers, so all four aggregations are there. */
static void test_faults(struct cb_device *d, const struct matrix *m)
{
    const struct gnn_problem p = { NODES, 12, 8, 4, GNN_GCN, GNN_TRAIN, 0.1f };
    struct adjacency a, t;
    struct gnn_operands o = { .device = d, .seed = 2 };
    struct gnn_expectation e;
    struct aggregator g[AGGREGATIONS_MAX] = { { .impl = NULL } };
    struct op_pool pool = { .device = d };
    struct cb_accuracy seen;
    CHECK(gnn_net_of(&p, &o.net) == OP_OK);
    CHECK(!adjacency_of(m, p.model, &a) && !adjacency_transpose(&a, &t));
    o.a = &a, o.t = &t;
    CHECK(!gnn_operands_open(&o) && !gnn_expectation_open(&e, &o));
    open_all(&o, g, &pool);
    CHECK(!gnn_operands_poison(&o) && !gnn_operands_step(&o, g) && passes(&e, &o));
    for (int i = 0; i < 4; i++)
        CHECK(!aggregator_check(&g[i], d, &seen) && seen.compared && !seen.bad);
    CHECK(!gnn_operands_step(&o, g) && passes(&e, &o));

    float *result = o.b.result;
    const long count = gnn_result_size(&o.net);
    for (long i = 0; i < count; i++) { /* no element may be missing, none may be far off */
        const float kept = result[i];
        result[i] = NAN;
        const bool missing = passes(&e, &o);
        result[i] = kept + (i == GNN_LOSS ? 1e-4f : 2.0f);
        const bool off = passes(&e, &o);
        result[i] = kept;
        if (missing || off) {
            CHECK(!"found");
            printf("element %ld of %ld\n", i, count);
        }
    }
    CHECK(passes(&e, &o));

    /* one edge of the forward matrix, then of the transpose, has another weight */
    float *val[2] = { (float *)o.on_a.val, (float *)o.on_t.val };
    for (int k = 0; k < 2; k++) {
        val[k][m->nnz / 2] *= 1.5f;
        CHECK(!gnn_operands_step(&o, g) && !passes(&e, &o));
        val[k][m->nnz / 2] /= 1.5f;
        CHECK(!gnn_operands_step(&o, g) && passes(&e, &o));
    }
    /* an aggregation that leaves the last row out */
    g[0].p.m--;
    CHECK(!gnn_operands_poison(&o) && !gnn_operands_step(&o, g) && !passes(&e, &o));
    g[0].p.m++;
    /* a step that is not finished: nothing of it stands where the poison was */
    cb_fill(d, o.b.result, 0xFF, 4 * (size_t)count);
    CHECK(!passes(&e, &o));
    for (int i = 0; i < AGGREGATIONS_MAX; i++)
        aggregator_close(&g[i]);
    gnn_expectation_close(&e);
    gnn_operands_close(&o);
    op_pool_free(&pool);
    adjacency_free(&a);
    adjacency_free(&t);
}

int main(void)
{
    struct matrix m;
    struct cb_device *d;
    make_graph(&m);
    test_net();
    test_adjacency(&m);
    test_scores(&m);
    for (int model = GNN_GCN; model <= GNN_GIN; model++)
        test_gradients(&m, (enum gnn_model)model);
    CHECK(!cb_device_open("host", &d));
    test_faults(d, &m);
    test_cases(d);
    test_files(d);
    cb_device_close(d);
    drop_graph(&m);
    return TEST_END();
}

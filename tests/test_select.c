/*
 * test_select.c - the selector of spmm: the trees of model.json against the answers of
 * the models they were made from, the row that runs the choice, broken models, and the
 * figures of the experiment on times made up here.
 */
#define _GNU_SOURCE /* mkdtemp */
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/spmm/chosen.h"
#include "../suites/ops/ops.h"
#include "../suites/ops/selector.h"
#include "test.h"

static const char model_path[] = "suites/daspmm/model.json";
static struct selector shipped;

/* ---- the trees against the models ---- */

enum { POINTS_MAX = 4096 };

static struct spmm_problem point[POINTS_MAX];
static int points;

static void read_point(const json_t *j, struct spmm_problem *p)
{
    *p = (struct spmm_problem){ .nnz = (long)json_integer_value(json_array_get(j, 0)),
                                .m = (int)json_integer_value(json_array_get(j, 1)),
                                .k = (int)json_integer_value(json_array_get(j, 2)),
                                .row_sd = json_number_value(json_array_get(j, 3)),
                                .n = (int)json_integer_value(json_array_get(j, 4)) };
}

static void test_answers(void)
{
    json_t *document = cb_json_read("tests/data/select/vectors.json"), *rows, *answer, *j;
    size_t i;
    const char *key;
    CHECK(document);
    json_array_foreach(json_object_get(document, "points"), i, j)
        if (points < POINTS_MAX)
            read_point(j, &point[points++]);
    rows = json_object_get(document, "rows");
    CHECK(points >= 1000 && (int)json_object_size(rows) == shipped.count);
    json_object_foreach(rows, key, answer)
    {
        const struct selector_model *m = selector_find(&shipped, key);
        const char *want = json_string_value(answer);
        int different = 0;
        CHECK(m && (int)strlen(want) == points);
        for (int k = 0; m && k < points; k++)
            different += spmm_select(&m->tree, &point[k]) != want[k] - '0';
        CHECK(different == 0);
    }
    json_decref(document);
}

static void show_speed(void)
{
    enum { REPEATS = 200 };
    const struct selector_model *m = selector_find(&shipped, "all");
    struct timespec a, b;
    long sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int r = 0; r < REPEATS; r++)
        for (int k = 0; k < points; k++)
            sum += spmm_select(&m->tree, &point[k]);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) /
                ((double)REPEATS * points);
    printf("a choice takes %.0f ns (%d nodes)\n", ns, m->tree.nodes);
    CHECK(sum > 0 && ns < 5000);
}

static void test_which_model(void)
{
    CHECK_STR(selector_unseen(&shipped, "uniform,m=16384,mean=10,width=3")->name, "uniform");
    CHECK_STR(selector_unseen(&shipped, "blockdiag,m=65536,block=64")->name, "block");
    CHECK_STR(selector_unseen(&shipped, "blockrand")->name, "block");
    CHECK_STR(selector_unseen(&shipped, "hubs,m=1")->name, "all");
    CHECK_STR(selector_unseen(&shipped, "")->name, "all");
    CHECK(!selector_find(&shipped, "none"));
}

/* ---- a model in memory ---- */

/* n <= 8: nnz <= 100.5: rows[0], else rows[1]; n above 8: rows[1]. */
static const char small[] =
    "{'schema': 'claimbench/spmm_select', 'schema_version': '1.0.0',"
    " 'features': ['nnz', 'mat_size', 'std_row', 'n'], 'rows': ['host_rb', 'host_eb'],"
    " 'models': {'all': {'static': 'host_rb', 'nnz': [100.5, 200], 'mat_size': [], 'std_row': [],"
    " 'n': [8], 'feature': [3, 0, -1, -1, -1], 'cut': [0, 0, 0, 1, 1]}}}";

/* small with one text in it replaced; ' stands for ". */
static int parse(const char *from, const char *to, struct selector *out)
{
    char text[sizeof small + 200];
    const char *at = from ? strstr(small, from) : small + sizeof small - 1;
    json_error_t e;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, from ? to : "",
             from ? at + strlen(from) : "");
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_t *document = json_loads(text, JSON_DECODE_ANY, &e);
    CHECK(document);
    return selector_parse(document, "m.json", out);
}

static void refused(const char *from, const char *to, const char *message)
{
    struct selector s;
    cb_error_clear();
    CHECK(parse(from, to, &s) == -1);
    CHECK_STR(cb_error_text(), message);
    CHECK(!s.document && !s.model && !s.count);
}

static void test_malformed(void)
{
    refused("claimbench/spmm_select", "claimbench/result",
            "m.json: schema: is not 'claimbench/spmm_select'");
    refused("1.0.0", "2.0.0", "m.json: schema_version: '2.0.0' cannot be read, only 1.x.y");
    refused(small, "[1]", "m.json: must be an object");
    refused("'features'", "'faetures'", "m.json: there is no key 'faetures'");
    refused("'nnz', 'mat_size', 's", "'mat_size', 'nnz', 's",
            "m.json: features: must be nnz, mat_size, std_row, n");
    refused("'n'], 'rows'", "'n', 'm'], 'rows'",
            "m.json: features: must be nnz, mat_size, std_row, n");
    refused("['host_rb', 'host_eb']", "[]", "m.json: rows: 0 are not from 1 to 8");
    refused("'host_rb', 'host_eb'", "'host_rb', 'host_xy'",
            "m.json: rows[1]: spmm has no row 'host_xy'");
    refused("'host_rb', 'host_eb'", "7", "m.json: rows[0]: spmm has no row '(no text)'");
    refused("'host_rb', 'host_eb'", "'rb_sr_cm'",
            "m.json: rows[0]: 'rb_sr_cm' cannot be chosen: a row-major row that chooses nothing is "
            "needed");
    refused("'host_rb', 'host_eb'", "'daspmm_select_paper'",
            "m.json: rows[0]: 'daspmm_select_paper' cannot be chosen: a row-major row that chooses "
            "nothing is needed");
    refused("'models': {", "'models': [], 'about': {", "m.json: models: must be an object");
    refused("'static': 'host_rb'", "'static': 'none'",
            "m.json: models: all: static: spmm has no row 'none'");
    refused("'mat_size': []", "'mat_sise': []", "m.json: models: all: there is no key 'mat_sise'");
    refused("'mat_size': [], ", "", "m.json: models: all: mat_size: missing");
    refused("'mat_size': []", "'mat_size': 3", "m.json: models: all: mat_size: must be a list");
    refused("[100.5, 200]", "[100.5, '2']", "m.json: models: all: nnz[1]: must be a number");
    refused("[100.5, 200]", "[200, 100.5]",
            "m.json: models: all: nnz[1]: must be above the one before");
    refused("[0, 0, 0, 1, 1]", "[0, 0, 0, 1]",
            "m.json: models: all: cut: has 4 numbers, feature 5");
    refused("[0, 0, 0, 1, 1]", "[0, 0, 0, 1, 2]",
            "m.json: models: all: cut[4]: 2 is not from 0 to 1");
    refused("[0, 0, 0, 1, 1]", "[0, 2, 0, 1, 1]",
            "m.json: models: all: cut[1]: 2 is not from 0 to 1");
    refused("[0, 0, 0, 1, 1]", "[0, 0, 0, 1.5, 1]",
            "m.json: models: all: cut[3]: must be a whole number");
    refused("[3, 0, -1, -1, -1]", "[3, 4, -1, -1, -1]",
            "m.json: models: all: feature[1]: 4 is not from -1 to 3");
    refused("[3, 0, -1, -1, -1]", "[3, 1, -1, -1, -1]",
            "m.json: models: all: cut[1]: 0 is not from 0 to -1");
    refused("[3, 0, -1, -1, -1]", "[3, 0, -1, -1, 3]",
            "m.json: models: all: cut[4]: 1 is not from 0 to 0");
    refused("-1], 'cut': [0, 0, 0, 1, 1]", "0], 'cut': [0, 0, 0, 1, 1]",
            "m.json: models: all: feature: the tree is not complete");
    refused("[3, 0, -1, -1, -1]", "[3, -1, -1, -1, -1]",
            "m.json: models: all: feature[3]: follows a tree that is complete");
    refused("[3, 0, -1, -1, -1], 'cut': [0, 0, 0, 1, 1]", "[], 'cut': []",
            "m.json: models: all: cut: has 0 numbers, feature 0");
    struct selector s;
    CHECK(selector_load("no/such/model.json", &s) == -1 && strstr(cb_error_text(), "no/such"));
}

/* ---- the row ---- */

struct pool {
    void *block[8];
    int count;
};

static void *take(void *context, size_t bytes)
{
    struct pool *p = context;
    return p->count < 8 ? p->block[p->count++] = malloc(bytes) : NULL;
}

static void *nothing_left(void *context, size_t bytes)
{
    (void)context, (void)bytes;
    return NULL;
}

static void test_row(void)
{
    static const int row_ptr[] = { 0, 2, 3 }, col[] = { 0, 1, 1 }, of[] = { 0, 0, 1 };
    static const float val[] = { 2, 3, 4 }, b[] = { 1, 10 };
    float c[2];
    struct pool pool = { .count = 0 };
    void *state = &pool;
    const struct op_memory memory = { take, &pool }, no_memory = { nothing_left, NULL };
    const struct spmm_args args = { { row_ptr, col, of, val }, b, c };
    const struct spmm_impl *row = spmm_find("daspmm_select_paper");
    const char *why = NULL;
    struct selector s;
    struct spmm_problem p = { .n = 1 };
    spmm_describe(2, 2, row_ptr, &p);

    CHECK(row && row->base.flags == OP_CHOOSES && row->base.role == OP_PAPER);
    spmm_select_use(NULL);
    CHECK(row->supports(&p, &why) == OP_EUNSUPPORTED);
    CHECK_STR(why, "no model loaded");
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_EUNSUPPORTED && !state);
    CHECK(row->extra_bytes(&p) == 0);

    CHECK(parse(NULL, NULL, &s) == 0 && s.count == 1);
    const struct spmm_selector *tree = &s.model[0].tree;
    spmm_select_use(tree);
    CHECK(spmm_select(tree, &p) == 0);
    CHECK(spmm_select(tree, &(struct spmm_problem){ .nnz = 100, .n = 8 }) == 0);
    CHECK(spmm_select(tree, &(struct spmm_problem){ .nnz = 101, .n = 8 }) == 1);
    CHECK(spmm_select(tree, &(struct spmm_problem){ .nnz = 100, .n = 9 }) == 1);
    CHECK(row->supports(&p, &why) == OP_OK);
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_OK && state);
    CHECK_STR(row->choice(state), "host_rb");
    spmm_select_use(NULL); /* what was set up keeps its choice */
    CHECK_STR(row->choice(state), "host_rb");
    CHECK(spmm_chosen_run(&p, &args, state, NULL) == OP_OK && c[0] == 32 && c[1] == 40);
    row->teardown(state);

    /* a chosen row with a set-up of its own, and one that gets no memory */
    spmm_select_use(tree);
    struct spmm_problem many = p;
    many.nnz = 1000;
    CHECK(row->setup(&many, &args.a, &args, &no_memory, NULL, &state) == OP_ENOMEM && !state);
    CHECK(row->setup(&many, &args.a, &args, &memory, NULL, &state) == OP_OK);
    CHECK_STR(row->choice(state), "host_eb");
    CHECK(spmm_chosen_run(&p, &args, state, NULL) == OP_OK && c[0] == 32 && c[1] == 40);
    row->teardown(state);
    row->teardown(NULL);
    CHECK(!row->choice(NULL));
    while (pool.count)
        free(pool.block[--pool.count]);
    selector_free(&s);

    /* what the chosen row refuses is refused with its reason */
    CHECK(parse("'host_rb', 'host_eb'", "'rb_pr_rm', 'eb_sr_rm'", &s) == 0);
    spmm_select_use(&s.model[0].tree);
    CHECK(row->supports(&p, &why) == OP_EUNSUPPORTED);
    CHECK_STR(why, "the published grid has no blocks: less than eight warps of work");
    CHECK(row->extra_bytes(&p) == 0);
    many.n = 16;
    CHECK(row->supports(&many, &why) == OP_OK);
    CHECK(row->extra_bytes(&many) == spmm_find("eb_sr_rm")->extra_bytes(&many));
    many.n = 20;
    CHECK(row->supports(&many, &why) == OP_EUNSUPPORTED);
    CHECK_STR(why, "n is not a power of two");
    spmm_select_use(NULL);
    selector_free(&s);
}

/* ---- the experiment ---- */

static json_t *timed(const char *kernel, double us)
{
    return json_pack("{s:s, s:s, s:s, s:{s:f}}", "kernel", kernel, "role", "paper", "status", "ok",
                     "time_us", "median", us);
}

/* A case in which the choice of the shipped model takes `chosen` us, another row-major row
 * 1 us, cuSPARSE 3 and 4 us. */
static json_t *made_up(const char *family, const char *experiment, int n, double chosen)
{
    static const char *const four[] = { "rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm" };
    const struct selector_model *m = selector_find(&shipped, family);
    const struct spmm_problem p = { .m = 1000, .k = 3000, .n = n, .nnz = 50000, .row_sd = 7 };
    const char *name = m->tree.row[spmm_select(&m->tree, &p)]->base.name;
    json_t *list = json_array();
    const char *other = four[!strcmp(name, four[0])], *fixed = m->fixed->base.name;
    json_array_append_new(list, timed(name, chosen));
    json_array_append_new(list, timed(other, 1));
    if (strcmp(fixed, name) && strcmp(fixed, other))
        json_array_append_new(list, timed(fixed, 2));
    json_array_append_new(list, timed("cusparse_csr_alg2_rm", 4));
    json_array_append_new(list, timed("cusparse_coo_alg4_cm", 3));
    if (n == 1) /* the same kernels as the row-major ones there: not looked at */
        json_array_append_new(list, timed("rb_sr_cm", 0.5));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:i, s:s}, s:[{s:s, s:s}],"
                     " s:[{s:s, s:i}, {s:s, s:i}, {s:s, s:i}, {s:s, s:i}], s:o}",
                     "id", "x", "experiment", experiment, "op", "spmm", "cache", "hot", "status",
                     "ok", "params", "matrix", "x", "n", n, "dtype", "f32",
                     "inputs", "source", "generated", "gen", family,
                     "figures", "name", "rows", "value", 1000, "name", "cols", "value", 3000,
                     "name", "nnz", "value", 50000, "name", "row_sd", "value", 7,
                     "implementations", list);
}

static double figure(const struct cb_figure *f, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(f[i].name, name))
            return f[i].value;
    return NAN;
}

/* Figures of the row `which` of the operator; their number, -1 on failure. */
static int evaluate(const char *result, const char *holdout, int which, struct cb_figure *out)
{
    char params[1024];
    void *instance = NULL, *bound = NULL;
    json_t *j = json_pack("{s:s, s:s}", "result", result, "holdout", holdout);
    int count = -1;
    struct cb_input in[CB_INPUTS_MAX];
    CHECK(op_spmm_select.params_size <= sizeof params);
    CHECK(cb_params_from_json(&op_spmm_select, j, params) == 0);
    json_decref(j);
    if (op_spmm_select.open(NULL, params, &instance))
        return -1;
    CHECK(op_spmm_select.inputs(instance, in) == 2 && strlen(in[0].sha256) == 64);
    if (!op_spmm_select.bind(NULL, instance, op_spmm_select.impl(which), &bound) &&
        !op_spmm_select.run(bound, 0, 0))
        count = op_spmm_select.figures(bound, out);
    op_spmm_select.unbind(bound);
    op_spmm_select.close(instance);
    return count;
}

static void test_experiment(void)
{
    char folder[] = "/tmp/claimbench-select-XXXXXX", path[64];
    struct cb_figure f[CB_FIGURES_MAX];
    json_t *cases = json_array();
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/result.json", folder);
    json_array_append_new(cases, made_up("band", "spmm", 1, 1));      /* the best choice */
    json_array_append_new(cases, made_up("band", "spmm", 8, 1.02));   /* a tie */
    json_array_append_new(cases, made_up("band", "spmm", 16, 4));     /* a quarter */
    json_array_append_new(cases, made_up("band", "spmm", 3, 9));      /* no power of two */
    json_array_append_new(cases, made_up("band", "spmm_aa", 8, 9));   /* another experiment */
    json_array_append_new(cases, made_up("road", "spmm", 32, 0.5));   /* another family, best */
    json_t *document = json_pack("{s:s, s:s, s:{}, s:{}, s:[], s:o}", "schema", "claimbench/result",
                                 "schema_version", "1.0.0", "run", "env", "experiments", "cases",
                                 cases);
    CHECK(cb_json_write(path, document, 0) == 0);
    json_decref(document);

    int n = evaluate(folder, "band", 0, f);
    CHECK(n == 10 && figure(f, n, "speedup_one_for_all") > 0.25);
    CHECK(figure(f, n, "cases") == 3 && figure(f, n, "chosen") == 3);
    CHECK_NEAR(figure(f, n, "accuracy"), 1 / 3., 1e-12);
    CHECK_NEAR(figure(f, n, "accuracy_tie3"), 2 / 3., 1e-12);
    CHECK_NEAR(figure(f, n, "geomean_fraction"), cbrt(1 / 1.02 / 4), 1e-12);
    CHECK_NEAR(figure(f, n, "worst"), 0.25, 1e-12);
    CHECK_NEAR(figure(f, n, "p05"), 0.25 + 0.1 * (1 / 1.02 - 0.25), 1e-12);
    CHECK_NEAR(figure(f, n, "speedup_cusparse_best"), 3 / cbrt(1.02 * 4), 1e-12);
    CHECK_NEAR(figure(f, n, "speedup_cusparse_csr_alg2_rm"), 4 / cbrt(1.02 * 4), 1e-12);
    n = evaluate(folder, "all", 0, f);
    CHECK(n == 10 && figure(f, n, "cases") == 4);
    CHECK_NEAR(figure(f, n, "geomean_fraction"), pow(1 / 1.02 / 4, 0.25), 1e-12);
    CHECK_NEAR(figure(f, n, "accuracy"), 0.5, 1e-12);
    n = evaluate(folder, "band", 1, f);
    CHECK(n == 9 && figure(f, n, "chosen") == 3 && figure(f, n, "geomean_fraction") > 0.25);
    CHECK(!strcmp(op_spmm_select.impl(1)->name, "one_for_all") && !op_spmm_select.impl(2));

    CHECK(evaluate(folder, "fem", 0, f) == -1);
    CHECK_STR(cb_error_text(), "not available: no timed case of the published kernels for holdout "
                               "'fem' in the recorded result");
    CHECK(evaluate(folder, "uniforn", 0, f) == -1);
    CHECK_STR(cb_error_text(), "suites/daspmm/model.json: models: has no 'uniforn'");
    CHECK(evaluate("results/none/daspmm", "all", 0, f) == -1);
    CHECK_STR(cb_error_text(), "not available: the recorded result results/none/daspmm");
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct selector *s;
    if (access(model_path, R_OK)) /* started in tests/ */
        CHECK(chdir("..") == 0);
    setenv("CLAIMBENCH_HOME", "tests", 1);
    CHECK(selector_shipped(&s) == 0 && !s);
    setenv("CLAIMBENCH_HOME", ".", 1);
    CHECK(selector_shipped(&s) == 0 && s && strlen(s->sha256) == 64);
    if (selector_load(model_path, &shipped)) {
        printf("%s\n", cb_error_text());
        CHECK(!"model.json is read");
        return TEST_END();
    }
    test_answers();
    show_speed();
    test_which_model();
    test_malformed();
    test_row();
    test_experiment();
    selector_free(&shipped);
    return TEST_END();
}

/*
 * test_choose.c - the row daspmm_select: its trees against the models they were made
 * from, traits counted by hand, the row that runs the choice, broken models.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/spmm/chosen.h"
#include "../suites/ops/chooser.h"
#include "test.h"

static const char model_path[] = "suites/daspmm/choice.json";

/* ---- the shipped trees ---- */

enum { POINTS = 100 };

static double point[POINTS][SPMM_TRAITS];

static double of_row(const struct spmm_chooser *m, int r, const double *x)
{
    struct spmm_chooser one = *m; /* the row alone, as one that always can run */
    struct spmm_problem p = { .m = 1, .k = 1, .n = 1, .nnz = 1 };
    double predicted = 0;
    one.rows = 1;
    one.row[0] = spmm_find("host_rb");
    one.first[0] = m->first[r];
    one.first[1] = m->first[r + 1];
    CHECK(spmm_choose(&one, &p, x, &predicted) == 0);
    return predicted;
}

static void test_answers(const struct spmm_chooser *m, const char *path, size_t traits)
{
    json_t *document = cb_json_read(path), *j;
    const json_t *points = json_object_get(document, "points");
    size_t i;
    CHECK(json_array_size(points) == POINTS);
    json_array_foreach(points, i, j)
        for (size_t t = 0; t < traits; t++)
            point[i][t] = json_number_value(json_array_get(j, t));
    CHECK((int)json_object_size(json_object_get(document, "predicted")) == m->rows);
    for (int r = 0; r < m->rows; r++) {
        const json_t *want =
            json_object_get(json_object_get(document, "predicted"), m->row[r]->base.name);
        int different = 0;
        for (size_t k = 0; k < POINTS; k++)
            different += !(fabs(of_row(m, r, point[k]) -
                                json_number_value(json_array_get(want, k))) < 1e-4);
        CHECK(different == 0);
    }
    json_decref(document);
}

/* The model by four numbers, which is no row. */
static void test_paper(void)
{
    const struct chooser *paper;
    struct chooser c;
    json_t *document = cb_json_read("suites/daspmm/choice_paper.json");
    CHECK(!chooser_paper(&paper) && paper && paper->by_four);
    if (paper)
        test_answers(&paper->model, "tests/data/select/choice_paper.json", CHOOSER_FOUR);
    json_array_set_new(json_object_get(document, "traits"), 3, json_string("m"));
    CHECK(chooser_parse(document, "p.json", &c) == -1);
    CHECK_STR(cb_error_text(), "p.json: traits[3]: must be 'n'");
}

static void show_speed(const struct spmm_chooser *m)
{
    enum { REPEATS = 100 };
    struct spmm_chooser host = *m;
    struct spmm_problem p = { .m = 1, .k = 1, .n = 1, .nnz = 1 };
    struct timespec a, b;
    long sum = 0;
    for (int r = 0; r < host.rows; r++)
        host.row[r] = spmm_find("host_rb");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int r = 0; r < REPEATS; r++)
        for (int k = 0; k < POINTS; k++)
            sum += spmm_choose(&host, &p, point[k], NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double us = ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) /
                (REPEATS * POINTS);
    printf("a choice among %d rows takes %.1f us (%d trees)\n", m->rows, us, m->first[m->rows]);
    CHECK(sum > 0 && us < 50); /* 5 us without sanitizers on an idle machine */
}

/* ---- traits ---- */

static void test_traits(void)
{
    static const int row_ptr[] = { 0, 3, 3, 5, 6 }, col[] = { 0, 1, 63, 1, 63, 40 };
    const struct spmm_matrix a = { row_ptr, col, NULL, NULL };
    struct spmm_problem p = { .n = 4 };
    double x[SPMM_TRAITS];
    spmm_describe(4, 64, row_ptr, &p);
    spmm_traits(&p, &a, x);
    CHECK(x[SPMM_M] == 4 && x[SPMM_K] == 64 && x[SPMM_NNZ] == 6 && x[SPMM_N] == 4);
    CHECK(x[SPMM_MEAN] == 1.5 && x[SPMM_MAX] == 2 && x[SPMM_EMPTY] == 0.25);
    CHECK(x[SPMM_LONG] == 0 && x[SPMM_B_BYTES] == 1024 && x[SPMM_WORK] == 24);
    CHECK_NEAR(x[SPMM_CV], sqrt(1.25) / 1.5, 1e-12);
    /* diagonals at 8, 40, 56; steps 1, 62, 62 */
    CHECK_NEAR(x[SPMM_SPREAD], (8 + 7 + 55 + 39 + 23 + 16) / 6. / 64, 1e-12);
    CHECK_NEAR(x[SPMM_NEAR], 1 / 3., 1e-12);
    CHECK_NEAR(x[SPMM_NEXT], 1 / 3., 1e-12);
    CHECK(x[SPMM_SHARED] == 0); /* the rows after those with entries: an empty one, { 40 } */
}

static void test_long_rows(void)
{
    int *row_ptr = calloc(1001, sizeof *row_ptr), *col = calloc(2000, sizeof *col);
    struct spmm_problem p = { .n = 1 };
    double x[SPMM_TRAITS];
    for (int i = 1; i <= 1000; i++)
        row_ptr[i] = row_ptr[i - 1] + (i == 500 ? 1000 : 1);
    for (int e = 0; e < row_ptr[1000]; e++)
        col[e] = e < 499 || e >= 1499 ? 5 : e - 499;
    const struct spmm_matrix a = { row_ptr, col, NULL, NULL };
    spmm_describe(1000, 1000, row_ptr, &p);
    spmm_traits(&p, &a, x);
    CHECK_NEAR(x[SPMM_LONG], 1000 / 1999., 1e-12);
    CHECK(x[SPMM_SHARED] > 0.5); /* all other rows have the same column */
    /* no entries, one row */
    for (int i = 0; i <= 1000; i++)
        row_ptr[i] = 0;
    spmm_describe(1000, 1000, row_ptr, &p);
    spmm_traits(&p, &a, x);
    CHECK(x[SPMM_CV] == 0 && x[SPMM_NEAR] == 0 && x[SPMM_SHARED] == 0 && x[SPMM_SPREAD] == 0);
    row_ptr[1] = 700;
    spmm_describe(1, 1000, row_ptr, &p);
    spmm_traits(&p, &a, x);
    CHECK(x[SPMM_MAX] == 1 && x[SPMM_SHARED] == 0);
    free(row_ptr);
    free(col);
}

/* ---- rows to be timed ---- */

/* Of the shipped trees: none twice, as many as can run here, own_stage for one column. */
static void test_few(const struct spmm_chooser *m)
{
    static const int row_ptr[] = { 0, 3, 3, 5, 6 }, col[] = { 0, 1, 63, 1, 63, 40 };
    const struct spmm_matrix a = { row_ptr, col, NULL, NULL };
    const struct spmm_impl *few[SPMM_CHOOSE_FEW], *stage = spmm_find("own_stage");
    spmm_choose_use(m);
    for (int n = 1; n <= 8; n++) {
        struct spmm_problem p = { .n = n };
        int can = 0, vendor = 0, staged = 0;
        spmm_describe(4, 64, row_ptr, &p);
        for (int r = 0; r < m->rows; r++)
            can += spmm_choosable(m->row[r], &p) && m->row[r] != stage;
        const int count = spmm_choose_few(&p, &a, few);
        for (int i = 0; i < count; i++) {
            CHECK(spmm_choosable(few[i], &p));
            for (int k = 0; k < i; k++)
                CHECK(few[k] != few[i]);
            vendor += !strncmp(few[i]->base.name, "cusparse_", 9);
            staged += few[i] == stage;
        }
        CHECK(staged == (n == 1 && spmm_choosable(stage, &p)));
        CHECK(count - staged <= can && (can < 5 || (count - staged == 5 && vendor >= 2)));
    }
    spmm_choose_use(NULL);
    CHECK(spmm_choose_few(&(struct spmm_problem){ .n = 1 }, &a, few) == 0);
}

/* ---- a model in memory ---- */

/* host_rb: 0.5 up to n = 8, else 2, and 0.25 always; host_eb: 1. */
static const char small[] =
    "{'schema': 'claimbench/spmm_choice', 'schema_version': '1.0.0', 'traits': ['m', 'k', 'nnz',"
    " 'n', 'mean', 'cv', 'max', 'empty', 'long', 'spread', 'near', 'next', 'shared', 'b_bytes',"
    " 'work'], 'rows': {'host_rb': {'trait': [3, -1, -1, -1], 'number': [8, 0.5, 2, 0.25]},"
    " 'host_eb': {'trait': [-1], 'number': [1]}}}";

/* small with one text in it replaced; ' stands for ". */
static int parse(const char *from, const char *to, struct chooser *out)
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
    return chooser_parse(document, "m.json", out);
}

static void refused(const char *from, const char *to, const char *message)
{
    struct chooser c;
    cb_error_clear();
    CHECK(parse(from, to, &c) == -1);
    CHECK_STR(cb_error_text(), message);
    CHECK(!c.document && !c.arrays && !c.model.rows);
}

static void test_malformed(void)
{
    refused("claimbench/spmm_choice", "claimbench/result",
            "m.json: schema: is not 'claimbench/spmm_choice'");
    refused("1.0.0", "2.0.0", "m.json: schema_version: '2.0.0' cannot be read, only 1.x.y");
    refused(small, "[1]", "m.json: must be an object");
    refused("'traits'", "'trais'", "m.json: there is no key 'trais'");
    refused("'k', 'nnz'", "'nnz', 'k'", "m.json: traits[1]: must be 'k'");
    refused("'work']", "'work', 'x']", "m.json: traits[15]: must be '(nothing)'");
    refused("'rows': {", "'rows': [], 'about': {", "m.json: rows: must be an object");
    refused("'host_rb': {'trait': [3, -1, -1, -1], 'number': [8, 0.5, 2, 0.25]},"
            " 'host_eb': {'trait': [-1], 'number': [1]}", "",
            "m.json: rows: 0 are not from 1 to 24");
    refused("'host_eb'", "'host_xy'", "m.json: rows: spmm has no row 'host_xy'");
    refused("'host_eb'", "'rb_sr_cm'", "m.json: rows: 'rb_sr_cm' cannot be chosen: a row-major row "
                                       "that chooses nothing is needed");
    refused("'host_eb'", "'daspmm_select'",
            "m.json: rows: 'daspmm_select' cannot be chosen: a row-major row that chooses nothing "
            "is needed");
    refused("{'trait': [-1], 'number': [1]}", "3", "m.json: rows: host_eb: must be an object");
    refused("'trait': [-1]", "'trait': 1", "m.json: rows: host_eb: trait: must be a list");
    refused("'number': [1]", "'nunber': [1]", "m.json: rows: host_eb: there is no key 'nunber'");
    refused("'number': [1]", "'number': [1, 2]",
            "m.json: rows: host_eb: number: has 2 elements, trait 1");
    refused("[3, -1,", "[15, -1,",
            "m.json: rows: host_rb: trait[0]: must be a whole number from -1 to 14");
    refused("[3, -1,", "[-2, -1,",
            "m.json: rows: host_rb: trait[0]: must be a whole number from -1 to 14");
    refused("[8, 0.5", "['8', 0.5", "m.json: rows: host_rb: number[0]: must be a number");
    refused("[3, -1, -1, -1]", "[3, -1, -1, 3]",
            "m.json: rows: host_rb: trait: the last tree is not complete");
    refused("[3, -1, -1, -1]", "[3, 3, -1, -1]",
            "m.json: rows: host_rb: trait: the last tree is not complete");
    struct chooser c;
    CHECK(chooser_load("no/such/choice.json", &c) == -1 && strstr(cb_error_text(), "no/such"));
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
    static const float val[] = { 2, 3, 4 };
    float b[32], c[32];
    struct pool pool = { .count = 0 };
    void *state = &pool;
    const struct op_memory memory = { take, &pool }, no_memory = { nothing_left, NULL };
    const struct spmm_args args = { { row_ptr, col, of, val }, b, c };
    const struct spmm_impl *row = spmm_find("daspmm_select");
    const char *why = NULL;
    struct chooser m;
    struct spmm_problem p = { .n = 1 };
    spmm_describe(2, 2, row_ptr, &p);
    for (int i = 0; i < 32; i++)
        b[i] = i < 16 ? 1 : 10;

    CHECK(row && row->base.flags == OP_CHOOSES && row->base.role == OP_OWN);
    spmm_choose_use(NULL);
    CHECK(row->supports(&p, &why) == OP_EUNSUPPORTED);
    CHECK_STR(why, "no model loaded");
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_EUNSUPPORTED && !state);

    CHECK(parse(NULL, NULL, &m) == 0 && m.model.rows == 2 && m.model.first[2] == 3);
    spmm_choose_use(&m.model);
    CHECK(row->supports(&p, &why) == OP_OK);
    b[1] = 10;
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_OK && state);
    CHECK_STR(row->choice(state), "host_rb");
    spmm_choose_use(NULL); /* what was set up keeps its choice */
    CHECK(spmm_chosen_run(&p, &args, state, NULL) == OP_OK && c[0] == 32 && c[1] == 40);
    row->teardown(state);
    b[1] = 1;

    spmm_choose_use(&m.model);
    p.n = 16;
    CHECK(row->setup(&p, &args.a, &args, &no_memory, NULL, &state) == OP_ENOMEM && !state);
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_OK);
    CHECK_STR(row->choice(state), "host_eb");
    CHECK(spmm_chosen_run(&p, &args, state, NULL) == OP_OK && c[0] == 32 && c[31] == 40);
    row->teardown(state);
    row->teardown(NULL);
    CHECK(!row->choice(NULL));
    p.dtype = SPMM_F16;
    CHECK(row->supports(&p, &why) == OP_EUNSUPPORTED);
    CHECK_STR(why, "no row of the model covers it");
    p.dtype = SPMM_F32;
    while (pool.count)
        free(pool.block[--pool.count]);
    chooser_free(&m);

    /* a row that does not cover the problem is not chosen, however fast */
    CHECK(parse("'host_rb'", "'eb_pr_cm_mended'", &m) == -1);
    CHECK(parse("'host_rb'", "'rb_sr_rm_rc'", &m) == 0); /* n > 32 only; without CUDA never */
    spmm_choose_use(&m.model);
    p.n = 8;
    CHECK(row->setup(&p, &args.a, &args, &memory, NULL, &state) == OP_OK);
    CHECK_STR(row->choice(state), "host_eb");
    row->teardown(state);
    while (pool.count)
        free(pool.block[--pool.count]);
    spmm_choose_use(NULL);
    chooser_free(&m);
}

int main(void)
{
    const struct chooser *s;
    struct chooser shipped;
    if (access(model_path, R_OK)) /* started in tests/ */
        CHECK(chdir("..") == 0);
    setenv("CLAIMBENCH_HOME", "tests", 1);
    CHECK(chooser_shipped(&s) == 0 && !s);
    setenv("CLAIMBENCH_HOME", ".", 1);
    CHECK(chooser_shipped(&s) == 0 && s);
    if (chooser_load(model_path, &shipped)) {
        printf("%s\n", cb_error_text());
        CHECK(!"choice.json is read");
        return TEST_END();
    }
    test_answers(&shipped.model, "tests/data/select/choice.json", SPMM_TRAITS);
    show_speed(&shipped.model);
    test_few(&shipped.model);
    test_paper();
    test_traits();
    test_long_rows();
    test_malformed();
    test_row();
    chooser_free(&shipped);
    return TEST_END();
}

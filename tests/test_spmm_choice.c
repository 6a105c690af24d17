/*
 * test_spmm_choice.c - what choosing loses, by spmm_choice and spmm_confusion: from a recorded run
 * made up here, with figures counted by hand, and from the file of the training, whose parts must
 * agree with each other.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/ops/chooser.h"
#include "../suites/ops/ops.h"
#include "test.h"

static json_t *timed(const char *kernel, double us, const char *choice)
{
    json_t *row = json_pack("{s:s, s:s, s:s, s:{s:f}}", "kernel", kernel, "role", "own", "status",
                            "ok", "time_us", "median", us);
    if (choice)
        json_object_set_new(row, "choice", json_string(choice));
    return row;
}

/* own_row takes 2 us, own_merge `merge`, cuSPARSE 3; a row that cannot be chosen 0.1. */
static json_t *made_up(const char *experiment, int n, double merge, const char *choice)
{
    json_t *rows = json_pack("[o, o, o, o, o]", timed("own_row", 2, NULL),
                             timed("own_merge", merge, NULL),
                             timed("cusparse_csr_alg2_pre_rm", 3, NULL),
                             timed("rb_sr_cm", 0.1, NULL), timed("daspmm_select", 9, choice));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:i, s:s},"
                     " s:[{s:s, s:i}, {s:s, s:i}, {s:s, s:i}, {s:s, s:i}], s:o}",
                     "id", "x", "experiment", experiment, "op", "spmm", "cache", "hot", "status",
                     "ok", "params", "matrix", "x", "n", n, "dtype", "f32",
                     "figures", "name", "rows", "value", 1000, "name", "cols", "value", 3000,
                     "name", "nnz", "value", 50000, "name", "row_sd", "value", 7,
                     "implementations", rows);
}

static double figure(const struct cb_figure *f, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(f[i].name, name))
            return f[i].value;
    return NAN;
}

/* Figures of the row of that name; their number, -1: not opened, -2: the row has none. */
static int evaluate(const struct cb_op *op, json_t *j, const char *name, struct cb_figure *out)
{
    char params[2048];
    const struct op_impl *row = NULL;
    const char *why;
    void *instance = NULL, *bound = NULL;
    int count = -2;
    CHECK(op->params_size <= sizeof params && cb_params_from_json(op, j, params) == 0);
    json_decref(j);
    for (int i = 0; !row && op->impl(i); i++)
        row = strcmp(op->impl(i)->name, name) ? NULL : op->impl(i);
    CHECK(row);
    if (op->open(NULL, params, &instance))
        return -1;
    if (row && op->ready(instance, row, &why) == OP_OK) {
        CHECK(!op->bind(NULL, instance, row, &bound) && !op->run(bound, 0, 0));
        count = op->figures(bound, out);
        op->unbind(bound);
    }
    op->close(instance);
    return count;
}

static json_t *choice_of(const char *source, const char *split, const char *part)
{
    return json_pack("{s:s, s:s, s:s}", "source", source, "split", split, "part", part);
}

static json_t *confusion_of(const char *source, const char *split, const char *model)
{
    return json_pack("{s:s, s:s, s:s}", "source", source, "split", split, "model", model);
}

/* The choice of the four numbers among own_row, own_merge and cuSPARSE, by the model alone. */
static double four_us(int n, double merge)
{
    const struct chooser *four;
    const float x[] = { 50000, 3e6f, 7, (float)n };
    double least = INFINITY, us = 0;
    CHECK(!chooser_paper(&four) && four);
    for (int r = 0; four && r < four->model.rows; r++) {
        const char *name = four->model.row[r]->base.name;
        const double t = spmm_choose_predict(&four->model, r, x);
        const double took = !strcmp(name, "own_row")                    ? 2
                            : !strcmp(name, "own_merge")                ? merge
                            : !strcmp(name, "cusparse_csr_alg2_pre_rm") ? 3
                                                                        : 0;
        if (took > 0 && t < least) {
            least = t;
            us = took;
        }
    }
    return us;
}

static void test_recorded(void)
{
    char folder[] = "/tmp/claimbench-choice-XXXXXX", path[64];
    struct cb_figure f[CB_FIGURES_MAX];
    json_t *cases = json_array();
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/result.json", folder);
    json_array_append_new(cases, made_up("spmm", 8, 4, "own_row"));      /* the fastest */
    json_array_append_new(cases, made_up("spmm", 8, 1, "own_row"));      /* a half */
    json_array_append_new(cases, made_up("spmm", 16, 5, "own_merge"));   /* 2 of 5 */
    json_array_append_new(cases, made_up("spmm_aa", 16, 5, "own_merge")); /* another experiment */
    json_t *document = json_pack("{s:s, s:s, s:{}, s:{}, s:[], s:o}", "schema", "claimbench/result",
                                 "schema_version", "1.0.0", "run", "env", "experiments", "cases",
                                 cases);
    CHECK(cb_json_write(path, document, 0) == 0);
    json_decref(document);

    int n = evaluate(&op_spmm_choice, choice_of(folder, "spmm", "all"), "daspmm_select", f);
    CHECK(n == 8 && figure(f, n, "cases") == 3 && figure(f, n, "chosen") == 3);
    CHECK_NEAR(figure(f, n, "geomean_fraction"), cbrt(0.5 * 0.4), 1e-12);
    CHECK_NEAR(figure(f, n, "worst"), 0.4, 1e-12);
    CHECK_NEAR(figure(f, n, "accuracy_tie3"), 1 / 3., 1e-12);
    CHECK_NEAR(figure(f, n, "speedup_cusparse_best"), cbrt(1.5 * 1.5 * 0.6), 1e-12);
    CHECK(figure(f, n, "below_097") == 1);
    n = evaluate(&op_spmm_choice, choice_of(folder, "spmm", "n8"), "daspmm_select", f);
    CHECK(figure(f, n, "cases") == 2);
    CHECK_NEAR(figure(f, n, "geomean_fraction"), sqrt(0.5), 1e-12);
    n = evaluate(&op_spmm_choice, choice_of(folder, "spmm", "all"), "four_numbers", f);
    CHECK_NEAR(figure(f, n, "geomean_fraction"),
               cbrt(2 / four_us(8, 4) * 1 / four_us(8, 1) * 2 / four_us(16, 5)), 1e-12);
    n = evaluate(&op_spmm_choice, choice_of(folder, "spmm", "all"), "one_row", f);
    CHECK_NEAR(figure(f, n, "geomean_fraction"), cbrt(0.5), 1e-12); /* own_row */

    n = evaluate(&op_spmm_confusion, confusion_of(folder, "spmm", "daspmm_select"), "own_row", f);
    CHECK(n == 4 && figure(f, n, "chosen") == 2 && figure(f, n, "right") == 1);
    CHECK_NEAR(figure(f, n, "own_merge"), 100 * log(2) / 3, 1e-9);
    CHECK_NEAR(figure(f, n, "cost"), 100 * log(2) / 3, 1e-9);
    n = evaluate(&op_spmm_confusion, confusion_of(folder, "spmm", "daspmm_select"), "own_merge", f);
    CHECK(n == 4 && figure(f, n, "right") == 0);
    CHECK_NEAR(figure(f, n, "own_row"), 100 * log(2.5) / 3, 1e-9);
    CHECK(evaluate(&op_spmm_confusion, confusion_of(folder, "spmm", "daspmm_select"), "own_spmv",
                   f) == -2);

    CHECK(evaluate(&op_spmm_choice, choice_of(folder, "spmm", "n32"), "one_row", f) == -1);
    CHECK(strstr(cb_error_text(), "not available: no case of spmm, n32"));
    CHECK(evaluate(&op_spmm_choice, choice_of("results/none", "spmm", "all"), "one_row", f) == -1);
    CHECK(strstr(cb_error_text(), "not available: the recorded result"));
    unlink(path);
    rmdir(folder);
}

/* Cases add up over N, over families and over the rows chosen; so do costs. */
static void test_training(void)
{
    static const char file[] = "suites/daspmm/training.json";
    static const char *const split[] = { "family_not_seen", "matrix_not_seen", "seen", "suite" };
    struct cb_figure f[CB_FIGURES_MAX];
    for (size_t s = 0; s < sizeof split / sizeof *split; s++)
        for (int m = 0; m < 2; m++) {
            const char *model = m ? "four_numbers" : "daspmm_select";
            double cases = 0, logs = 0, chosen = 0, cost = 0;
            for (int width = 1; width <= 256; width *= 2) {
                char part[16];
                snprintf(part, sizeof part, "n%d", width);
                const int n = evaluate(&op_spmm_choice, choice_of(file, split[s], part), model, f);
                CHECK(n == 8);
                cases += figure(f, n, "cases");
                logs += figure(f, n, "cases") * log(figure(f, n, "geomean_fraction"));
            }
            for (int i = 0; op_spmm_confusion.impl(i); i++) {
                const int n = evaluate(&op_spmm_confusion, confusion_of(file, split[s], model),
                                       op_spmm_confusion.impl(i)->name, f);
                chosen += n > 0 ? figure(f, n, "chosen") : 0;
                cost += n > 0 ? figure(f, n, "cost") : 0;
            }
            const int n = evaluate(&op_spmm_choice, choice_of(file, split[s], "all"), model, f);
            CHECK(figure(f, n, "cases") == cases && chosen == cases && cases > 0);
            CHECK_NEAR(log(figure(f, n, "geomean_fraction")), logs / cases, 1e-4);
            CHECK_NEAR(log(figure(f, n, "geomean_fraction")), -cost / 100, 1e-4);
        }
    CHECK(evaluate(&op_spmm_choice, choice_of(file, "family", "all"), "one_row", f) == -1);
    CHECK(strstr(cb_error_text(), "splits: has no 'family'"));
    CHECK(evaluate(&op_spmm_choice, choice_of(file, "seen", "n3"), "one_row", f) == -2);
}

int main(void)
{
    if (access("suites/daspmm/choice.json", R_OK)) /* started in tests/ */
        CHECK(chdir("..") == 0);
    setenv("CLAIMBENCH_HOME", ".", 1);
    test_recorded();
    test_training();
    return TEST_END();
}

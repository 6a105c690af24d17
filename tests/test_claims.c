/* test_claims.c - every verdict, on a made-up run; and that the claims of the suites load. */
#include "../suites/claims.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "test.h"

static const char *top = ".";
static char run_dir[300], claims_path[300];

static const json_t *claim_of(const struct result *r, const char *id)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(r->doc, "claims"), i,
                       c) if (!strcmp(result_text(c, "id"), id)) return c;
    return NULL;
}

static void verdict(const struct result *r, const char *id, const char *want)
{
    const json_t *c = claim_of(r, id);
    if (strcmp(result_text(c, "verdict"), want))
        printf("%s: %s\n", id, result_text(c, "reason"));
    CHECK_STR(result_text(c, "verdict"), want);
}

static void every_verdict(void)
{
    struct result r;
    CHECK(result_load(run_dir, &r) == 0);
    CHECK(claims_judge(&r, claims_path) == 0);
    verdict(&r, "made_up.same", "REPRODUCED");
    verdict(&r, "made_up.weaker", "TREND_HOLDS");
    verdict(&r, "made_up.arch", "TREND_HOLDS");
    verdict(&r, "made_up.other", "NOT_COMPARABLE_GPU");
    verdict(&r, "made_up.unnamed", "TREND_HOLDS");
    verdict(&r, "made_up.fails", "NOT_REPRODUCED");
    verdict(&r, "made_up.small", "TREND_HOLDS");
    verdict(&r, "made_up.range", "TREND_HOLDS");
    verdict(&r, "made_up.share", "TREND_HOLDS");
    verdict(&r, "made_up.loss", "TREND_HOLDS");
    verdict(&r, "made_up.quality", "REPRODUCED");
    verdict(&r, "made_up.delta", "NOT_REPRODUCED");
    verdict(&r, "made_up.missing", "NOT_MEASURED");
    verdict(&r, "made_up.end_to_end", "NOT_MEASURED");
    verdict(&r, "made_up.setup", "NOT_COMPARABLE_SETUP");
    verdict(&r, "made_up.own_only", "NOT_MEASURED");
    verdict(&r, "made_up.order", "TREND_HOLDS");
    verdict(&r, "made_up.order_wrong", "NOT_REPRODUCED");
    verdict(&r, "made_up.trend", "NOT_MEASURED");
    verdict(&r, "made_up.crossover", "TREND_HOLDS");

    const json_t *same = claim_of(&r, "made_up.same");
    CHECK_STR(result_text(same, "gpu_class"), "same");
    CHECK_NEAR(result_number(same, "measured", 0), 1.344, 0.01);
    CHECK(result_number(same, "own", 0) > 1.9); /* shown, and not what was judged */
    CHECK_STR(result_text(claim_of(&r, "made_up.arch"), "gpu_class"), "same_arch");
    CHECK_STR(result_text(claim_of(&r, "made_up.other"), "gpu_class"), "other_arch");
    CHECK(result_has_flag(claim_of(&r, "made_up.unnamed"), "baseline_version_differs"));
    CHECK(!result_has_flag(same, "baseline_version_differs"));
    /* the first metric that was measured is the one judged */
    CHECK_STR(result_text(claim_of(&r, "made_up.small"), "metric"), "aggregate:gemv_small");
    CHECK_NEAR(result_number(claim_of(&r, "made_up.loss"), "measured", 0), 0.1, 0.01);
    CHECK_NEAR(result_number(claim_of(&r, "made_up.share"), "measured", 0), 2.0 / 3, 1e-6);
    CHECK_NEAR(result_number(claim_of(&r, "made_up.order_wrong"), "measured", 0), 2.0 / 3, 1e-6);

    json_t *a = json_array_get(json_object_get(r.doc, "aggregates"), 0);
    CHECK(result_number(a, "cases", 0) == 3 && result_number(a, "n_faster", 0) == 2);
    CHECK(json_array_size(json_object_get(a, "missing")) == 0);
    a = json_array_get(json_object_get(r.doc, "aggregates"), 2); /* own rows: one is wrong */
    CHECK(result_number(a, "cases", 0) == 2 && json_array_size(json_object_get(a, "missing")) == 1);

    int count[CLAIM_VERDICTS];
    claims_count(&r, count);
    CHECK(count[CLAIM_REPRODUCED] == 2 && count[CLAIM_NOT_REPRODUCED] == 3);

    /* the printed form keeps to 100 columns; judging twice changes nothing */
    char *text = NULL, *again = NULL;
    size_t size, longest = 0;
    FILE *f = open_memstream(&text, &size);
    CHECK(claims_print(&r, CB_PLAIN, f) == 0);
    fclose(f);
    for (char *line = text; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > longest)
            longest = strcspn(line, "\n");
    CHECK(longest <= 100 && longest > 80);
    CHECK(claims_judge(&r, claims_path) == 0);
    f = open_memstream(&again, &size);
    CHECK(claims_print(&r, CB_PLAIN, f) == 0);
    fclose(f);
    CHECK_STR(again, text);
    free(text);
    free(again);
    result_free(&r);
}

/* The same run with one thing changed. */
static void changed(void (*change)(json_t *doc), const char *id, const char *want, const char *flag)
{
    struct result r, other;
    CHECK(result_load(run_dir, &r) == 0);
    json_t *doc = json_deep_copy(r.doc);
    double *samples = malloc(r.sample_count * sizeof *samples);
    memcpy(samples, r.samples, r.sample_count * sizeof *samples);
    change(doc);
    CHECK(result_adopt(doc, samples, r.sample_count, "changed", &other) == 0);
    CHECK(claims_judge(&other, claims_path) == 0);
    verdict(&other, id, want);
    if (flag)
        CHECK(result_has_flag(claim_of(&other, id), flag));
    result_free(&other);
    result_free(&r);
}

static json_t *row_of(json_t *doc, int which, int row)
{
    return json_array_get(
        json_object_get(json_array_get(json_object_get(doc, "cases"), which), "implementations"),
        row);
}

static void aa_failed(json_t *doc)
{
    json_object_set_new(json_object_get(doc, "run"), "flags", json_pack("[s]", "aa_failed"));
}

static void loose(json_t *doc)
{
    json_t *time = json_object_get(row_of(doc, 0, 1), "time_us");
    json_object_set_new(time, "stop", json_string("max_time"));
    json_object_set_new(time, "ci95", json_pack("[f,f]", 5.0, 7.5));
}

static void no_samples(json_t *doc)
{
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 5; i++)
            json_object_del(row_of(doc, c, i), "samples");
}

static void one_missing(json_t *doc)
{
    json_object_set_new(row_of(doc, 2, 1), "status", json_string("crashed"));
    json_object_del(row_of(doc, 2, 1), "time_us");
}

static void other_gpu(json_t *doc)
{
    json_t *gpu = json_array_get(json_object_get(json_object_get(doc, "env"), "gpu"), 0);
    json_object_set_new(gpu, "cc", json_string("8.0"));
    json_object_set_new(gpu, "name", json_string("NVIDIA W"));
}

static void more_memory(json_t *doc)
{
    json_t *gpu = json_array_get(json_object_get(json_object_get(doc, "env"), "gpu"), 0);
    json_object_set_new(gpu, "mem_bytes", json_integer(150000000000));
}

static void variants(void)
{
    changed(aa_failed, "made_up.same", "LOW_QUALITY", "aa_failed");
    changed(aa_failed, "made_up.unnamed", "TREND_HOLDS", "aa_failed");
    changed(aa_failed, "made_up.quality", "REPRODUCED", NULL); /* no time in it */
    changed(loose, "made_up.same", "LOW_QUALITY", "not_converged");
    changed(no_samples, "made_up.same", "REPRODUCED", "unpaired");
    changed(one_missing, "made_up.unnamed", "TREND_HOLDS", "cases_missing");
    changed(other_gpu, "made_up.same", "NOT_COMPARABLE_GPU", NULL);
    changed(more_memory, "made_up.same", "NOT_COMPARABLE_GPU", NULL);
    changed(more_memory, "made_up.arch", "TREND_HOLDS", NULL);
}

/* Claims of a text, judged on the run; r is freed by the caller. */
static int judge_text(const char *claims, struct result *r)
{
    char path[] = "/tmp/claimbench_claims_XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    fputs(claims, f);
    fclose(f);
    CHECK(result_load(run_dir, r) == 0);
    const int status = claims_judge(r, path);
    unlink(path);
    return status;
}

static void refused(const char *claims, const char *complaint)
{
    struct result r;
    CHECK(judge_text(claims, &r) == -1);
    if (!strstr(cb_error_text(), complaint))
        printf("'%s' lacks '%s'\n", cb_error_text(), complaint);
    CHECK(strstr(cb_error_text(), complaint) != NULL);
    result_free(&r);
}

/* Another model than the paper's: its order, never its numbers. */
static void stand_ins(void)
{
    static const char claims[] =
        "{\"claims\":["
        "{\"id\":\"order\",\"metric\":[\"figure:quality/quantise/sqnr\"],\"hardware\":false,"
        "\"stand_in\":true,\"rules\":{\"same\":{\"type\":\"greater_than\",\"value\":0}}},"
        "{\"id\":\"wrong\",\"metric\":[\"figure:quality/quantise/sqnr\"],\"hardware\":false,"
        "\"stand_in\":true,\"rules\":{\"same\":{\"type\":\"less_than\",\"value\":0}}},"
        "{\"id\":\"here\",\"metric\":\"figure:quality/quantise/sqnr\",\"hardware\":false,"
        "\"needs\":\"a model\",\"rules\":{\"same\":{\"type\":\"greater_than\",\"value\":0}}},"
        "{\"id\":\"needs\",\"metric\":\"figure:quality/quantise/sqnr\",\"hardware\":false,"
        "\"filter\":{\"model\":\"other\"},\"needs\":\"a model\","
        "\"rules\":{\"same\":{\"type\":\"greater_than\",\"value\":0}}}]}";
    struct result r;
    char between[400];
    CHECK(judge_text(claims, &r) == 0);
    verdict(&r, "order", "TREND_HOLDS"); /* without stand_in it would be REPRODUCED */
    CHECK(!strncmp(result_text(claim_of(&r, "order"), "reason"), "order holds on another model: ",
                   30));
    verdict(&r, "wrong", "NOT_REPRODUCED");
    CHECK_STR(result_text(claim_of(&r, "wrong"), "reason"),
              "order does not hold on another model: less_than 0 not met");
    const double at = result_number(claim_of(&r, "order"), "measured", 0);
    snprintf(between, sizeof between,
             "{\"claims\":[{\"id\":\"between\",\"metric\":\"figure:quality/quantise/sqnr\","
             "\"hardware\":false,\"stand_in\":true,\"rules\":{\"same\":{\"type\":"
             "\"greater_than\",\"value\":%.17g}}}]}", at);
    struct result other;
    CHECK(judge_text(between, &other) == 0);
    verdict(&other, "between", "LOW_QUALITY");
    result_free(&other);
    verdict(&r, "here", "REPRODUCED");
    verdict(&r, "needs", "NOT_COMPARABLE_SETUP");
    CHECK_STR(result_text(claim_of(&r, "needs"), "reason"), "needs a model");
    result_free(&r);
}

static void malformed(void)
{
    refused("{", ":1:");
    refused("{\"aggregates\":[{\"id\":\"a\"}]}", "aggregates[0]: needs id");
    refused("{\"aggregates\":[{\"id\":\"a\",\"experiment\":\"b\",\"numerator\":\"c\",\"denominator\":\"d\","
            "\"statistic\":\"geomean\",\"against\":{\"experiment\":\"e\"}}]}",
            "against needs an experiment, and the statistic total");
    refused("{\"claims\":[{}]}", "a claim has no id");
    refused("{\"claims\":[{\"id\":\"a\"}]}", "a: rules: missing");
    refused("{\"claims\":[{\"id\":\"a\",\"metric\":\"aggregate:x\",\"rules\":{}}]}",
            "there is no aggregate 'x'");
    refused("{\"claims\":[{\"id\":\"a\",\"metric\":\"x\",\"rules\":{}}]}",
            "neither aggregate: nor figure:");
    refused("{\"claims\":[{\"id\":\"a\",\"metric\":\"figure:quality/quantise\",\"rules\":{}}]}",
            "is not figure:EXPERIMENT/ROW/NAME");
    refused("{\"claims\":[{\"id\":\"a\",\"metric\":\"figure:quality/quantise/sqnr\",\"rules\":"
            "{\"other_arch\":{\"type\":\"bigger\"}}}]}",
            "unknown type 'bigger'");
    refused("{\"claims\":[{\"id\":\"a\",\"metric\":\"figure:quality/quantise/sqnr\",\"rules\":"
            "{\"other_arch\":{\"type\":\"greater_than\"}}}]}",
            "needs a value");
    refused("{\"claims\":[{\"id\":\"a\",\"rules\":{\"other_arch\":{\"type\":\"order\"}}}]}",
            "series:");
}

/* A threshold inside the interval is neither passed from below nor from above. */
static void inside(void)
{
    struct result r;
    char path[] = "/tmp/claimbench_claims_XXXXXX";
    CHECK(result_load(run_dir, &r) == 0);
    CHECK(claims_judge(&r, claims_path) == 0);
    const json_t *ci = json_object_get(claim_of(&r, "made_up.same"), "ci95");
    double low = json_number_value(json_array_get(ci, 0));
    double high = json_number_value(json_array_get(ci, 1)), middle = (low + high) / 2;
    CHECK(low < middle && middle < high);
    static const char *const type[] = { "greater_than", "less_than" };
    FILE *f = fdopen(mkstemp(path), "w");
    fputs("{\"aggregates\":[{\"id\":\"a\",\"experiment\":\"gemv\",\"numerator\":\"base_f16\","
          "\"denominator\":\"fast_w4\",\"statistic\":\"geomean\"}],\"claims\":[",
          f);
    const double at[] = { middle, low - 0.001, middle, high + 0.001 };
    for (int i = 0; i < 4; i++)
        fprintf(f,
                "%s{\"id\":\"%d\",\"metric\":\"aggregate:a\",\"rules\":{\"other_arch\":"
                "{\"type\":\"%s\",\"value\":%.9g}}}",
                i ? "," : "", i, type[i / 2], at[i]);
    fputs("]}", f);
    fclose(f);
    CHECK(claims_judge(&r, path) == 0);
    verdict(&r, "0", "NOT_REPRODUCED");
    verdict(&r, "1", "TREND_HOLDS");
    verdict(&r, "2", "NOT_REPRODUCED");
    verdict(&r, "3", "TREND_HOLDS");
    unlink(path);
    result_free(&r);
}

/* Sums of times, and aggregates over all experiments that a pattern names. */
static void sums(void)
{
    struct result r;
    char path[] = "/tmp/claimbench_claims_XXXXXX";
    CHECK(result_load(run_dir, &r) == 0);
    FILE *f = fdopen(mkstemp(path), "w");
    static const char *const rows[][3] = { { "one", "gemv", "fast_w4" },
                                           { "all", "gem*", "fast_w4" },
                                           { "part", "gemv", "own_w4" },
                                           { "none", "gem", "fast_w4" },
                                           { "either", "gemv", "nothing|fast_w4|@nobody" } };
    fputs("{\"aggregates\":[", f);
    for (int i = 0; i < 5; i++)
        fprintf(f,
                "%s{\"id\":\"%s\",\"experiment\":\"%s\",\"numerator\":\"base_f16\","
                "\"denominator\":\"%s\",\"statistic\":\"sum\"}",
                i ? "," : "", rows[i][0], rows[i][1], rows[i][2]);
    fputs("],\"claims\":[{\"id\":\"part\",\"metric\":\"aggregate:part\",\"rules\":{}}]}", f);
    fclose(f);
    CHECK(claims_judge(&r, path) == 0);
    double want = 0;
    const json_t *list = json_object_get(r.doc, "aggregates");
    for (int i = 0; i < r.case_count; i++)
        if (!strcmp(r.cases[i].experiment, "gemv"))
            want += result_row(&r.cases[i], "fast_w4")->us.value;
    CHECK(want > 0);
    CHECK_NEAR(result_number(json_array_get(list, 0), "value", 0), want, 1e-6 * want);
    const json_t *ci = json_object_get(json_array_get(list, 0), "value_ci95");
    CHECK(json_number_value(json_array_get(ci, 0)) < want &&
          json_number_value(json_array_get(ci, 1)) > want);
    /* cases of other experiments have no such row: the sum is not whole */
    const json_t *all = json_array_get(list, 1);
    CHECK(result_number(all, "cases", 0) >= 3);
    CHECK(json_array_size(json_object_get(all, "missing")) == 0
              ? result_number(all, "value", 0) >= want
              : json_is_null(json_object_get(all, "value")));
    /* one of its cases is wrong and has no time */
    CHECK(json_is_null(json_object_get(json_array_get(list, 2), "value")));
    CHECK(result_number(json_array_get(list, 2), "cases", 0) == 2);
    CHECK(result_number(json_array_get(list, 3), "cases", -1) == 0);
    CHECK_NEAR(result_number(json_array_get(list, 4), "value", 0), want, 1e-6 * want);
    verdict(&r, "part", "NOT_MEASURED");
    unlink(path);
    result_free(&r);
}

/* Wholes made of other cases: one token by one row against the rest by another. */
static void apart(void)
{
    struct result r;
    char path[] = "/tmp/claimbench_claims_XXXXXX";
    double above = 0, below = 0;
    CHECK(result_load(run_dir, &r) == 0);
    FILE *f = fdopen(mkstemp(path), "w");
    static const char *const rows[] = { "fast_w4", "own_w4" };
    fputs("{\"aggregates\":[", f);
    for (int i = 0; i < 2; i++)
        fprintf(f,
                "%s{\"id\":\"%s\",\"experiment\":\"gemv\",\"filter\":{\"m\":1},\"against\":"
                "{\"experiment\":\"gem*\",\"filter\":{\"m\":[4,16]}},\"numerator\":\"base_f16\","
                "\"denominator\":\"%s\",\"statistic\":\"total\"}",
                i ? "," : "", rows[i], rows[i]);
    fputs("],\"claims\":[{\"id\":\"lacking\",\"metric\":\"aggregate:own_w4\",\"rules\":{}}]}", f);
    fclose(f);
    CHECK(claims_judge(&r, path) == 0);
    const json_t *list = json_object_get(r.doc, "aggregates");
    for (int i = 0; i < r.case_count; i++) {
        char text[16];
        if (strcmp(r.cases[i].experiment, "gemv"))
            continue;
        if (!strcmp(result_param(&r.cases[i], "m", text, sizeof text), "1"))
            above += result_row(&r.cases[i], "base_f16")->us.value;
        else
            below += result_row(&r.cases[i], "fast_w4")->us.value;
    }
    CHECK(above > 0 && below > 0 && above != below);
    CHECK(result_number(json_array_get(list, 0), "cases", 0) == 1);
    CHECK_NEAR(result_number(json_array_get(list, 0), "value", 0), above / below,
               1e-6 * above / below);
    /* a case of own_w4 is wrong: no whole without it */
    CHECK(result_number(json_array_get(list, 1), "cases", -1) == 0);
    CHECK(json_array_size(json_object_get(json_array_get(list, 1), "missing")) == 1);
    verdict(&r, "lacking", "NOT_MEASURED");
    unlink(path);
    result_free(&r);
}

/* Every suite's claims can be judged on a run that has nothing in it. */
static void shipped(void)
{
    char folder[300], path[700];
    snprintf(folder, sizeof folder, "%s/suites", top);
    DIR *d = opendir(folder);
    CHECK(d != NULL);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct result r;
        snprintf(path, sizeof path, "%s/%s/claims.json", folder, e->d_name);
        if (e->d_name[0] == '.' || access(path, R_OK))
            continue;
        json_t *doc = json_pack("{s:s, s:s, s:{s:s}, s:{}, s:[], s:[]}", "schema",
                                "claimbench/result", "schema_version", "1.0.0", "run", "paper",
                                e->d_name, "env", "experiments", "cases");
        CHECK(result_adopt(doc, NULL, 0, "empty", &r) == 0);
        if (claims_judge(&r, path))
            printf("%s\n", cb_error_text());
        else
            CHECK(json_array_size(json_object_get(r.doc, "claims")) > 0);
        int count[CLAIM_VERDICTS];
        claims_count(&r, count);
        CHECK(count[CLAIM_REPRODUCED] + count[CLAIM_TREND_HOLDS] + count[CLAIM_NOT_REPRODUCED] ==
              0);
        result_free(&r);
    }
    if (d)
        closedir(d);
}

int main(void)
{
    if (access("tests/data/report", R_OK) && !access("../tests/data/report", R_OK))
        top = "..";
    snprintf(run_dir, sizeof run_dir, "%s/tests/data/report/narrow", top);
    snprintf(claims_path, sizeof claims_path, "%s/tests/data/report/suites/made_up/claims.json",
             top);
    every_verdict();
    variants();
    inside();
    sums();
    stand_ins();
    malformed();
    apart();
    shipped();
    return TEST_END();
}

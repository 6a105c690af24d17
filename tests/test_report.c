/* test_report.c - tables and figure data of made-up runs, byte for byte; reading of
 * results that are broken. */
#include "../suites/report.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/table.h"
#include "../suites/metrics.h"
#include "../suites/reported.h"
#include "../suites/results.h"
#include "test.h"

static const char *top = ".";

static char *read_all(const char *folder, const char *name, size_t *size)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    char *text = f ? calloc(1, 1 << 22) : NULL;
    *size = text ? fread(text, 1, (1 << 22) - 1, f) : 0;
    if (f)
        fclose(f);
    return text;
}

/* Files of `want` are in `have` with the same bytes, and there are no others. */
static void same_folders(const char *have, const char *want, const char *but)
{
    for (int side = 0; side < 2; side++) {
        DIR *d = opendir(side ? have : want);
        CHECK(d != NULL);
        for (struct dirent *e; d && (e = readdir(d));) {
            size_t n, m;
            if (e->d_name[0] == '.' || (but && strstr(e->d_name, but)))
                continue;
            char *a = read_all(have, e->d_name, &n), *b = read_all(want, e->d_name, &m);
            if (!a || !b || n != m || memcmp(a, b, n))
                printf("%s and %s differ in %s\n", have, want, e->d_name);
            CHECK(a && b && n == m && !memcmp(a, b, n));
            free(a);
            free(b);
        }
        if (d)
            closedir(d);
    }
}

static void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[900];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(folder);
}

static void tables_and_figures(const char *name)
{
    char dir[400], want[500], made[] = "/tmp/claimbench_report_XXXXXX", home[300], old[4096];
    CHECK(mkdtemp(made) != NULL);
    snprintf(home, sizeof home, "%s/tests/data/report", top);
    snprintf(dir, sizeof dir, "%s/%s", home, name);
    setenv("CLAIMBENCH_HOME", home, 1);
    static const char *const format[] = { "md", "tex", "csv" };
    for (int f = 0; f < 3; f++) {
        char out[100];
        snprintf(out, sizeof out, "%s/%s", made, format[f]);
        if (report_tables(dir, out, format[f]))
            printf("%s: %s\n", dir, cb_error_text());
        snprintf(want, sizeof want, "%s/expected/%s", dir, format[f]);
        same_folders(out, want, NULL);
        remove_folder(out);
    }
    /* the data and the drivers of figures, without gnuplot */
    snprintf(old, sizeof old, "%s", getenv("PATH") ? getenv("PATH") : "");
    setenv("PATH", "", 1);
    char out[100];
    snprintf(out, sizeof out, "%s/figures", made);
    CHECK(!report_can_draw());
    CHECK(report_plots(dir, out) == 0);
    setenv("PATH", old, 1);
    snprintf(want, sizeof want, "%s/expected/figures", dir);
    same_folders(out, want, NULL);
    remove_folder(out);
    if (report_can_draw()) {
        setenv("CLAIMBENCH_HOME", top, 1);
        char again[100];
        snprintf(again, sizeof again, "%s/again", made);
        CHECK(report_plots(dir, out) == 0);
        CHECK(report_plots(dir, again) == 0);
        size_t n;
        char *svg = read_all(
            out, !strcmp(name, "narrow") ? "gemv_coldw_speedup.svg" : "sweep_hot_speedup.svg", &n);
        CHECK(svg && n > 2000 && strstr(svg, "</svg>"));
        free(svg);
        same_folders(out, again, NULL);
        remove_folder(out);
        remove_folder(again);
    } else {
        SKIP("figures: gnuplot is not installed");
    }
    remove_folder(made);
}

/* ---- statistics over invocations ---- */

static void ratios(void)
{
    char dir[300];
    struct result r;
    snprintf(dir, sizeof dir, "%s/tests/data/report/narrow", top);
    CHECK(result_load(dir, &r) == 0);
    CHECK_STR(r.gpu, "NVIDIA X");
    CHECK(r.case_count == 5 && r.experiment_count == 2);
    const struct result_experiment *e = result_experiment(&r, "gemv");
    const struct result_case *c = &r.cases[0];
    CHECK(e && !result_experiment(&r, "gem"));
    struct result_pick base = result_best(e, c, "base_f16"), paper = result_best(e, c, "@paper");
    CHECK(base.row && paper.row && paper.among == 1);
    struct result_value v = result_ratio(base, paper, 0.05);
    CHECK(v.ok && !v.flattered && !v.unpaired && v.invocations == 2 && v.rounds == 22);
    CHECK_NEAR(v.value, 1.8, 0.02);
    CHECK(v.low < v.value && v.value < v.high);
    /* a winner among several: invocation 1 chooses, the other reports */
    struct result_pick any = result_best(e, c, "*");
    CHECK(any.row && any.among == 3 && !strcmp(any.row->kernel, "own_w4"));
    v = result_ratio(base, any, 0.05);
    CHECK(v.ok && v.invocations == 1 && v.rounds == 11 && !v.flattered);
    v = result_ratio(base, base, 0.05);
    CHECK(v.value == 1 && v.low == 1 && v.high == 1);
    v = result_ratio(base, (struct result_pick){ result_row(c, "ref_f16"), 1 }, 0.05);
    CHECK(!v.ok);
    CHECK(result_best(e, c, "nobody").row == NULL);
    v = metric_value(&r, e, c, paper.row, "gflops");
    CHECK_NEAR(v.value, 2.0 * 4096 * 4096 * 1e-3 / paper.row->us.value, 1e-6);
    CHECK(v.low <= v.value && v.value <= v.high);
    v = metric_value(&r, e, c, paper.row, "sol");
    CHECK_NEAR(v.value, 2.0 / paper.row->us.value, 1e-9);
    v = metric_value(&r, e, c, paper.row, "figure:none");
    CHECK(!v.ok && !metric_value(&r, e, c, paper.row, "fetched").ok);
    /* 20 MB at 10 TB/s take 2 us, 10 MB at 4 TB/s 2.5 us */
    json_t *was = json_incref(json_object_get(r.doc, "ceilings"));
    json_object_set_new(r.doc, "ceilings", json_pack("[{s:s,s:f},{s:s,s:f}]", "id", "l2_read", "value",
                                                     1e13, "id", "dram_read", "value", 4e12));
    json_object_set_new((json_t *)c->json, "figures",
                        json_pack("[{s:s,s:f},{s:s,s:f}]", "name", "fetch_l2", "value", 2e7, "name",
                                  "fetch_dram", "value", 1e7));
    CHECK_NEAR(metric_value(&r, e, c, paper.row, "fetched").value, 2.5 / paper.row->us.value, 1e-9);
    json_object_del((json_t *)c->json, "figures");
    json_object_set_new(r.doc, "ceilings", was);
    CHECK(metric_find("speedup")->better == 1 && !metric_find("speed") && metric_find("figure:x"));
    /* filters */
    json_t *f = json_pack("{s:s, s:[i,i], s:s}", "cache", "cold*", "m", 1, 4, "scheme", "w4");
    CHECK(result_matches(&r.cases[0], f) && result_matches(&r.cases[1], f));
    CHECK(!result_matches(&r.cases[2], f) && !result_matches(&r.cases[3], f));
    CHECK(result_matches(c, NULL));
    json_decref(f);
    /* an aggregate by hand */
    struct aggregate a;
    CHECK(aggregate_ratio(&r, e, NULL, "base_f16", "fast_w4", 1000, 1, 0.05, &a) == 0);
    CHECK(a.cases == 3 && a.missing == 0 && a.faster == 2 && a.slower == 1);
    double g = 1;
    for (int i = 0; i < 3; i++)
        g *= a.value[i].value;
    CHECK_NEAR(a.geomean.value, cbrt(g), 1e-12);
    CHECK(a.geomean.low < a.geomean.value && a.geomean.value < a.geomean.high);
    CHECK(a.geomean.high - a.geomean.low < 0.03);
    CHECK_STR(a.at_min->id, r.cases[2].id);
    CHECK_STR(a.influential->id, r.cases[2].id);
    aggregate_free(&a);
    CHECK(aggregate_ratio(&r, e, NULL, "base_f16", "own_w4", 0, 1, 0.05, &a) == 0);
    CHECK(a.cases == 2 && a.missing == 1 && a.own);
    aggregate_free(&a);
    result_free(&r);
}

/* ---- documents that are not ours, or not whole ---- */

#define HEAD "\"schema\":\"claimbench/result\",\"schema_version\":\"1.0.0\",\"run\":{},\"env\":{},"
#define CASE "\"id\":\"p/e/a/hot\",\"params\":{},\"experiment\":\"e\","

static void refused(const char *text, const char *complaint)
{
    struct result r;
    json_error_t error;
    json_t *doc = json_loads(text, JSON_DECODE_ANY, &error);
    double *samples = calloc(4, sizeof *samples);
    CHECK(doc != NULL);
    CHECK(result_adopt(doc, samples, 4, "doc", &r) == -1);
    CHECK_STR(cb_error_text(), complaint);
}

static void accepted(const char *text)
{
    struct result r;
    json_error_t error;
    json_t *doc = json_loads(text, 0, &error);
    double *samples = calloc(4, sizeof *samples);
    CHECK(doc != NULL);
    for (int i = 0; i < 4; i++)
        samples[i] = i ? 1 : NAN;
    CHECK(result_adopt(doc, samples, 4, "doc", &r) == 0);
    for (int i = 0; i < r.case_count; i++)
        for (int k = 0; k < r.cases[i].row_count; k++) {
            struct result_pick p = { &r.cases[i].row[k], 1 };
            (void)result_ratio(p, p, 0.05);
            for (const struct metric *m = metrics; m->name; m++)
                (void)metric_value(&r, &(struct result_experiment){ .id = "e", .baseline = "a" },
                                   &r.cases[i], &r.cases[i].row[k], m->name);
        }
    result_free(&r);
}

static void broken(void)
{
    struct result r;
    refused("[]", "doc: is not an object");
    refused("{}", "doc: schema: '' is not 'claimbench/result'");
    refused("{\"schema\":\"claimbench/result\",\"schema_version\":\"2.0.0\"}",
            "doc: schema_version: '2.0.0' cannot be read, only 1.x.y");
    refused("{\"schema\":\"claimbench/result\",\"schema_version\":1}",
            "doc: schema_version: '' cannot be read, only 1.x.y");
    refused("{\"schema\":\"claimbench/result\",\"schema_version\":\"1.9.0\",\"run\":{}}",
            "doc: env: missing, must be an object");
    refused("{" HEAD "\"experiments\":[],\"cases\":{}}",
            "doc: cases: has another type, must be a list");
    refused("{" HEAD "\"experiments\":[{\"id\":\"../x\"}],\"cases\":[]}",
            "doc: experiments[0]: id: '../x' is not a name of a-z, 0-9, _ and -");
    refused("{" HEAD "\"experiments\":[],\"cases\":[{\"id\":\"a\"}]}",
            "doc: cases[0]: params: missing, must be an object");
    refused("{" HEAD "\"experiments\":[],\"cases\":[{" CASE "\"implementations\":[{}]}]}",
            "doc: p/e/a/hot: kernel: missing, must be a text");
    refused("{" HEAD "\"experiments\":[],\"cases\":[{" CASE
            "\"implementations\":[{\"kernel\":\"a\","
            "\"samples\":[{\"offset\":2,\"count\":3}]}]}]}",
            "doc: p/e/a/hot: a: samples 0: outside the 4 stored");
    refused("{" HEAD "\"experiments\":[],\"cases\":[{" CASE
            "\"implementations\":[{\"kernel\":\"a\","
            "\"samples\":[{\"offset\":-1,\"count\":1}]}]}]}",
            "doc: p/e/a/hot: a: samples 0: outside the 4 stored");
    refused("{" HEAD "\"experiments\":[],\"cases\":[{" CASE
            "\"implementations\":[{\"kernel\":\"a\","
            "\"samples\":[{\"offset\":1e300,\"count\":1}]}]}]}",
            "doc: p/e/a/hot: a: samples 0: outside the 4 stored");
    accepted("{" HEAD "\"experiments\":[],\"cases\":[]}");
    accepted(
        "{" HEAD "\"experiments\":[{\"id\":\"e\",\"groups\":7,\"columns\":[1]}],\"cases\":[{" CASE
        "\"implementations\":[{\"kernel\":\"a\",\"status\":\"ok\",\"time_us\":{\"median\":\"x\"}},"
        "{\"kernel\":\"b\",\"status\":\"ok\",\"time_us\":{\"median\":1,\"ci95\":[]},"
        "\"samples\":[{\"offset\":0,\"count\":1},{\"offset\":0,\"count\":4},{\"offset\":0,"
        "\"count\":0}],"
        "\"work\":5,\"sol\":[],\"figures\":{}},"
        "{\"kernel\":\"c\",\"status\":\"ok\",\"time_us\":{\"median\":-1}},"
        "{\"kernel\":\"d\",\"status\":\"wrong\",\"time_us\":{\"median\":1}}]}]}");
    CHECK(result_load("/nonexistent/folder", &r) == -1);
    CHECK(strstr(cb_error_text(), "/nonexistent/folder") != NULL);

    /* files: not gzip, not whole, pointing elsewhere */
    char dir[] = "/tmp/claimbench_broken_XXXXXX", path[200];
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/recorded", dir);
    FILE *f = fopen(path, "w");
    fputs("../../etc\n", f);
    fclose(f);
    CHECK(result_load(dir, &r) == -1 && strstr(cb_error_text(), "not the name of a folder"));
    snprintf(path, sizeof path, "%s/result.json", dir);
    f = fopen(path, "w");
    fputs("{" HEAD "\"experiments\":[],\n\"cases\":[],}", f);
    fclose(f);
    CHECK(result_load(dir, &r) == -1 && strstr(cb_error_text(), "result.json:2:"));
    f = fopen(path, "w");
    fputs("{" HEAD "\"experiments\":[],\"cases\":[]}", f);
    fclose(f);
    CHECK(result_load(dir, &r) == 0);
    result_free(&r);
    snprintf(path, sizeof path, "%s/samples.f64le.gz", dir);
    f = fopen(path, "w");
    fputs("\x1f\x8b\x08 nonsense", f);
    fclose(f);
    CHECK(result_load(dir, &r) == -1 && strstr(cb_error_text(), "samples.f64le.gz"));
    f = fopen(path, "w"); /* zlib passes what is no gzip through: five bytes are no doubles */
    fputs("12345", f);
    fclose(f);
    CHECK(result_load(dir, &r) == -1 && strstr(cb_error_text(), "no whole number"));
    remove_folder(dir);
}

/* ---- the checker ---- */

static void validation(void)
{
    char dir[300], made[] = "/tmp/claimbench_validate_XXXXXX", path[200], command[2000], *report;
    snprintf(dir, sizeof dir, "%s/tests/data/report/narrow", top);
    CHECK(results_validate(dir, &report) == 0 && !report);
    CHECK(mkdtemp(made) != NULL);
    snprintf(command, sizeof command,
             "cp %s/result.json %s/journal.jsonl %s/samples.f64le.gz "
             "%s/SHA256SUMS %s",
             dir, dir, dir, dir, made);
    CHECK(system(command) == 0);
    CHECK(results_validate(made, NULL) == 0);
    /* a byte more in a file that is summed */
    snprintf(path, sizeof path, "%s/journal.jsonl", made);
    FILE *f = fopen(path, "a");
    fputs("\n", f);
    fclose(f);
    CHECK(results_validate(made, &report) == -1);
    CHECK_STR(report ? report : "", "SHA256SUMS: journal.jsonl: has another sum\n");
    free(report);
    /* findings inside the document */
    json_error_t error;
    snprintf(path, sizeof path, "%s/result.json", made);
    json_t *doc = json_load_file(path, 0, &error);
    json_t *run = json_object_get(doc, "run"), *cases = json_object_get(doc, "cases");
    json_t *row = json_array_get(json_object_get(json_array_get(cases, 0), "implementations"), 1);
    json_object_set_new(run, "aa", json_pack("{s:b}", "ok", 0));
    json_object_set_new(run, "seed", json_string("one"));
    json_array_append_new(json_object_get(run, "planned"), json_string("made_up/gemv/m=99/coldw"));
    json_object_set_new(json_object_get(row, "correctness"), "status", json_string("unchecked"));
    json_object_set_new(
        json_array_get(json_object_get(json_array_get(cases, 2), "implementations"), 4), "reason",
        json_null());
    json_object_set_new(json_array_get(cases, 1), "invocations", json_integer(1));
    CHECK(json_dump_file(doc, path, 0) == 0);
    CHECK(results_validate(made, &report) == -1);
    static const char *const expected[] = { "result.json: has another sum",
                                            "run: seed: must be",
                                            "the A/A control failed",
                                            "made_up/gemv/m=99/coldw: planned, but not recorded",
                                            "fast_w4: timed without a passed check",
                                            "ref_f16: skipped without a reason",
                                            "has 1 of 2 invocations",
                                            NULL };
    for (int i = 0; expected[i]; i++) {
        if (!report || !strstr(report, expected[i]))
            printf("not found: %s\n", expected[i]);
        CHECK(report && strstr(report, expected[i]));
    }
    free(report);
    json_decref(doc);
    remove_folder(made);
}

/* ---- writers and reported numbers ---- */

static void written(enum cb_format format, const char *want)
{
    static const char *const head[] = { "a|b", "n" };
    struct cb_table t;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    CHECK(cb_table_init(&t, "50 %_", 2, head) == 0);
    int r = cb_table_row(&t);
    CHECK(r == 1 && !cb_table_set(&t, r, 0, "x,\"%s\"", "y") && !cb_table_set(&t, r, 1, "%d", 12));
    r = cb_table_row(&t);
    CHECK(!cb_table_set(&t, r, 0, "a\tb\nc") && cb_table_set(&t, r, 2, "outside") == -1);
    CHECK(cb_table_write(&t, format, f) == 0);
    fclose(f);
    CHECK_STR(text, want);
    free(text);
    cb_table_free(&t);
}

static void number(double x, int digits, const char *want)
{
    char text[CB_NUMBER_MAX];
    CHECK_STR(cb_number(x, digits, text), want);
}

static void writers(void)
{
    number(1.2649, 3, "1.26");
    number(9.996, 3, "10.0");
    number(0.10666, 3, "0.107");
    number(4194304, 3, "4194304");
    number(-0.5, 2, "-0.50");
    number(0, 4, "0");
    number(NAN, 3, "-");
    number(1e-7, 3, "1.00e-07");
    char text[64];
    CHECK_STR(cb_bounded(1.381, 1.379, 1.383, 3, text, sizeof text), "1.381 [1.379, 1.383]");
    CHECK_STR(cb_bounded(1.5, 1.2, 1.9, 3, text, sizeof text), "1.50 [1.20, 1.90]");
    CHECK_STR(cb_bounded(2, 2, 2, 3, text, sizeof text), "2.00");
    written(CB_MARKDOWN,
            "**50 %_**\n\n| a\\|b | n |\n| --- | ---: |\n| x,\"y\" | 12 |\n| a\tb c |  |\n");
    written(CB_CSV, "a|b,n\n\"x,\"\"y\"\"\",12\n\"a\tb\nc\",\n");
    written(CB_TSV, "a|b\tn\nx,\"y\"\t12\na b c\t-\n");
    written(CB_LATEX,
            "\\begin{table}\n\\centering\n\\caption{50 \\%\\_}\n\\begin{tabular}{lr}\n\\hline\n"
            "a\\textbar{}b & n \\\\\n\\hline\nx,\"y\" & 12 \\\\\na\tb\nc &  \\\\\n\\hline\n"
            "\\end{tabular}\n\\end{table}\n");
    enum cb_format f;
    CHECK(cb_format_parse("pdf", &f) == -1 && cb_format_parse("tex", &f) == 0 && f == CB_LATEX);
}

static void reported(void)
{
    char path[300];
    struct reported_set s;
    struct published_loss l[8];
    snprintf(path, sizeof path, "%s/tests/data/report", top);
    setenv("CLAIMBENCH_HOME", path, 1);
    CHECK(reported_load("made_up", &s) == 0 && s.count == 5 + 3 + 9);
    json_t *params = json_pack("{s:i, s:i}", "m", 1, "k", 7);
    CHECK(reported_covers(&s.number[0], params) && !reported_covers(&s.number[1], params));
    json_decref(params);
    reported_free(&s);
    /* lines: 10 20 5, 40 20 8, 9 90 90 */
    CHECK(published_losses("made_up", "rates", NULL, l, 8) == 3);
    CHECK_STR(l[0].impl, "a");
    CHECK_NEAR(l[0].worst, 0.1, 1e-12);
    CHECK_NEAR(l[0].geomean, cbrt(0.5 * 1 * 0.1), 1e-12);
    CHECK_NEAR(l[2].worst, 0.2, 1e-12);
    CHECK(l[1].cases == 3);
    CHECK(published_losses("made_up", "rates", "other GPU", l, 8) == -1);
    CHECK(published_losses("made_up", "rates", NULL, l, 2) == 2);
    CHECK(reported_load("no_such_paper", &s) == 0 && s.count == 0);
    CHECK(reported_load("../x", &s) == 0 && s.count == 0);

    /* the paper's own table against what is stated of it */
    setenv("CLAIMBENCH_HOME", top, 1);
    CHECK(reported_load("daspmm", &s) == 0 && s.count > 2880);
    int rates = 0;
    for (int i = 0; i < s.count; i++)
        rates += !strcmp(s.number[i].table, "sample_gflops");
    CHECK(rates == 15 * 8 * 3 * 8);
    reported_free(&s);
    CHECK(published_losses("daspmm", "sample_gflops", "", l, 8) == 8);
    static const double worst[] = { 0.107, 0.093, 0.025, 0.110, 0.009, 0.033, 0.002, 0.005 };
    for (int i = 0; i < 8; i++) {
        CHECK(l[i].cases == 360);
        CHECK_NEAR(l[i].worst, worst[i], 0.0006);
        CHECK(1 - l[i].worst > 0.85);
    }
    CHECK(published_losses("daspmm", "sample_gflops", "RTX 3090", l, 8) == 8);
    CHECK_NEAR(l[0].geomean, 0.7214, 0.0002);
}

int main(void)
{
    if (access("tests/data/report", R_OK) && !access("../tests/data/report", R_OK))
        top = "..";
    tables_and_figures("narrow");
    tables_and_figures("wide");
    ratios();
    broken();
    validation();
    writers();
    reported();
    return TEST_END();
}

/* test_compare.c - runs of the same and of different GPUs side by side. */
#include "../suites/compare.h"

#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/report.h"
#include "test.h"

static const char *top = ".";
static char a[300], b[300], other[300];

static char *compared(const char *const *paths, int n, const struct compare_options *o,
                      bool *slower)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (compare_results(paths, n, o, f, slower)) {
        printf("%s\n", cb_error_text());
        test_failed++;
    }
    fclose(f);
    return text;
}

static void same_bytes(const char *text, const char *name)
{
    char path[300];
    static char want[1 << 16];
    snprintf(path, sizeof path, "%s/tests/data/compare/expected/%s", top, name);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(want, 1, sizeof want - 1, f) : 0;
    want[n] = 0;
    if (f)
        fclose(f);
    CHECK_STR(text, want);
}

static void expected(void)
{
    const char *const two[] = { a, b }, *const three[] = { a, b, other };
    bool slower;
    struct compare_options o = { .format = CB_MARKDOWN, .geomean = true };
    char *text = compared(two, 2, &o, &slower);
    same_bytes(text, "same.md");
    free(text);
    text = compared(three, 3, &o, &slower);
    same_bytes(text, "three.md");
    CHECK(strstr(text, "other hardware") != NULL);
    free(text);
    o = (struct compare_options){ .format = CB_CSV, .sort = true };
    text = compared(two, 2, &o, &slower);
    same_bytes(text, "sorted.csv");
    free(text);
    o = (struct compare_options){ .format = CB_PLAIN, .kernel = "fast_*" };
    text = compared(two, 2, &o, &slower);
    same_bytes(text, "filtered.txt");
    CHECK(!strstr(text, "base_f16 "));
    free(text);
    o = (struct compare_options){ .json = true };
    text = compared(three, 3, &o, &slower);
    same_bytes(text, "three.json");
    free(text);
}

static void verdicts(void)
{
    const char *const itself[] = { a, a }, *const two[] = { a, b }, *const back[] = { b, a };
    const char *const across[] = { a, other };
    bool slower;
    struct compare_options o = { .json = true, .fail_on_slower = true };
    char *text = compared(itself, 2, &o, &slower);
    CHECK(!slower && !strstr(text, "SLOWER") && !strstr(text, "FASTER"));
    CHECK(strstr(text, "SAME") != NULL && strstr(text, "\"differences\": []") != NULL);
    free(text);
    text = compared(two, 2, &o, &slower);
    CHECK(slower && strstr(text, "SLOWER") && !strstr(text, "FASTER"));
    CHECK(strstr(text, "env.driver") != NULL);
    free(text);
    text = compared(back, 2, &o, &slower);
    CHECK(!slower && strstr(text, "FASTER") && !strstr(text, "SLOWER"));
    free(text);
    o.fail_percent = 20; /* ten per cent slower are let pass */
    text = compared(two, 2, &o, &slower);
    CHECK(!slower);
    free(text);
    /* another GPU takes twice as long, and is not called slower */
    o.fail_percent = 0;
    text = compared(across, 2, &o, &slower);
    CHECK(!slower && !strstr(text, "verdict"));
    free(text);
    /* a margin so wide that nothing differs */
    o = (struct compare_options){ .json = true, .delta = 0.5 };
    text = compared(two, 2, &o, &slower);
    CHECK(!strstr(text, "SLOWER") && strstr(text, "SAME"));
    free(text);
    json_t *filter = json_pack("{s:i}", "m", 16);
    o = (struct compare_options){ .format = CB_TSV, .filter = filter };
    text = compared(two, 2, &o, &slower);
    CHECK(strstr(text, "m=16") && !strstr(text, "m=4,"));
    free(text);
    json_decref(filter);
}

/* The recorded GPU, a made-up one and a line of the table for each. */
static void gpus(void)
{
    char recorded[300], synthetic[300], made[] = "/tmp/claimbench_compare_XXXXXX", path[400];
    bool slower;
    snprintf(recorded, sizeof recorded, "%s/results/h200/daspmm", top);
    snprintf(synthetic, sizeof synthetic, "%s/tests/data/compare/synthetic", top);
    if (access(recorded, R_OK)) {
        SKIP("compare: results/h200/daspmm is not here");
        return;
    }
    const char *const two[] = { recorded, synthetic }, *const back[] = { synthetic, recorded };
    CHECK(mkdtemp(made) != NULL);
    struct compare_options o = { .format = CB_PLAIN, .experiment = "spmm", .folder = made };
    char *text = compared(two, 2, &o, &slower);
    CHECK(!slower && strstr(text, "Synthetic GPU 1 (synthetic, not measured) (other hardware)"));
    CHECK(strstr(text, "env.gpu.0.power_limit_w") && strstr(text, "env.libs.cusparse"));
    CHECK(strstr(text, "clock while measuring") && strstr(text, "env.driver"));
    CHECK(strstr(text, "\nspmm hot    published8 / cusparse_best"));
    CHECK(strstr(text, "Kendall tau") && strstr(text, "Only in one run"));
    CHECK(strstr(text, "case not measured") && !strstr(text, "FASTER"));
    CHECK(strstr(text, "What differs") < strstr(text, "published8"));
    size_t longest = 0;
    for (const char *s = text; *s; s += strcspn(s, "\n") + (s[strcspn(s, "\n")] == '\n'))
        longest = strcspn(s, "\n") > longest ? strcspn(s, "\n") : longest;
    CHECK(longest <= 100 && longest > 60);
    free(text);
    static const char *const file[] = { "speedup", "sol" };
    static const char *const head[] = {
        "what\tNVIDIA H200\tlow\thigh\tSynthetic GPU 1 (synthetic)\tlow\thigh\treported, average",
        "what\tNVIDIA H200\tlow\thigh\tSynthetic GPU 1 (synthetic)\tlow\thigh\nspmm hot: "
    };
    for (int i = 0; i < 2; i++) {
        static char have[4096];
        snprintf(path, sizeof path, "%s/daspmm_gpus_%s.tsv", made, file[i]);
        FILE *f = fopen(path, "r");
        have[f ? fread(have, 1, sizeof have - 1, f) : 0] = 0;
        if (f)
            fclose(f);
        CHECK(!strncmp(have, head[i], strlen(head[i])));
        CHECK(!!strstr(have, "\t1.26\t1.37\n") == !i); /* the paper's averages, in one of them */
        unlink(path);
    }
    static const char *const rest[] = { "gp", "svg", "png" };
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/daspmm_gpus.%s", made, rest[i]);
        CHECK(!i || !report_can_draw() || !access(path, F_OK));
        unlink(path);
    }
    CHECK(rmdir(made) == 0); /* nothing else was written */
    o = (struct compare_options){ .json = true, .experiment = "spmm" };
    text = compared(back, 2, &o, &slower);
    json_t *doc = json_loads(text, 0, NULL), *line = NULL;
    free(text);
    for (size_t i = 0; !line && i < json_array_size(json_object_get(doc, "gpus")); i++)
        line = json_array_get(json_object_get(doc, "gpus"), i);
    CHECK_STR(cb_json_text(line, "rows"), "published8");
    CHECK(json_integer_value(json_object_get(line, "cases")) > 2);
    CHECK_NEAR(json_number_value(json_object_get(json_object_get(line, "reported"),
               "average over the best cuSPARSE algorithm, GPU with the lowest")), 1.26, 1e-9);
    /* every run has its own speedup over the baseline of its own */
    double x[2];
    for (int r = 0; r < 2; r++) {
        const json_t *run = json_array_get(json_object_get(line, "runs"), (size_t)r);
        x[r] = json_number_value(json_object_get(json_object_get(run, "speedup"), "value"));
        CHECK(x[r] > 0.1 && x[r] < 10);
        CHECK(json_number_value(json_object_get(json_object_get(run, "sol"), "value")) > 0.001);
    }
    CHECK(x[0] != x[1]);
    json_decref(doc);
}

/* results/GPU holds a folder for each paper. */
static void papers(void)
{
    char made[] = "/tmp/claimbench_compare_XXXXXX", command[2400], x[200], y[200];
    bool slower;
    CHECK(mkdtemp(made) != NULL);
    snprintf(command, sizeof command,
             "cd %s/tests/data/compare && for g in x y; do for p in one two; do"
             " mkdir -p %s/$g/$p && cp -r a b other %s/$g/$p/ && echo a > %s/$g/$p/recorded;"
             " done; done && echo other > %s/y/one/recorded && echo b > %s/y/two/recorded &&"
             " mkdir %s/x/three && cp -r a %s/x/three/ && echo a > %s/x/three/recorded",
             top, made, made, made, made, made, made, made, made);
    CHECK(system(command) == 0);
    snprintf(x, sizeof x, "%s/x", made);
    snprintf(y, sizeof y, "%s/y", made);
    const char *const two[] = { x, y };
    struct compare_options o = { .format = CB_MARKDOWN, .fail_on_slower = true };
    char *text = compared(two, 2, &o, &slower);
    CHECK(slower && strstr(text, "== one\n") && strstr(text, "== two\n"));
    CHECK(strstr(text, "== three: only in ") && strstr(text, "B: NVIDIA Y (other hardware)"));
    CHECK(strstr(text, "B: NVIDIA X, rows only here: 0"));
    free(text);
    o = (struct compare_options){ .json = true };
    text = compared(two, 2, &o, &slower);
    json_t *doc = json_loads(text, 0, NULL);
    CHECK(json_array_size(doc) == 2);
    json_decref(doc);
    free(text);
    snprintf(command, sizeof command, "rm -rf %s", made);
    CHECK(system(command) == 0);
}

static void refused(void)
{
    const char *const one[] = { a }, *const gone[] = { a, "/nonexistent" };
    bool slower;
    struct compare_options o = { .format = CB_MARKDOWN };
    CHECK(compare_results(one, 1, &o, stdout, &slower) == -1);
    CHECK(compare_results(gone, 2, &o, stdout, &slower) == -1);
    CHECK(strstr(cb_error_text(), "/nonexistent") != NULL);
}

int main(void)
{
    if (access("tests/data/compare", R_OK) && !access("../tests/data/compare", R_OK))
        top = "..";
    snprintf(a, sizeof a, "%s/tests/data/compare/a", top);
    snprintf(b, sizeof b, "%s/tests/data/compare/b", top);
    snprintf(other, sizeof other, "%s/tests/data/compare/other", top);
    expected();
    verdicts();
    gpus();
    papers();
    refused();
    return TEST_END();
}

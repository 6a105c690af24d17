/* test_compare.c - runs of the same and of different GPUs side by side. */
#include "../suites/compare.h"

#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
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
    refused();
    return TEST_END();
}

/*
 * test_suite.c - experiments.json: good ones, bad ones with the message of each, memory
 * that runs out at every allocation.
 *
 * The program is linked with --wrap for malloc and its kin, and jansson gets the same
 * functions, so that every allocation made here passes take().
 */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/suite.h"
#include "test.h"

/* ---- allocations, counted ---- */

static bool counting;
static long taken, live, fail_at; /* fail_at: number of the allocation that fails; 0: none */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);

static bool take(void)
{
    return !counting || ++taken != fail_at;
}

static void *kept(void *p)
{
    live += counting && p;
    return p;
}

void *__wrap_malloc(size_t size)
{
    return take() ? kept(__real_malloc(size)) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return take() ? kept(__real_calloc(n, size)) : NULL;
}

void *__wrap_realloc(void *p, size_t size)
{
    if (!take())
        return NULL;
    return p ? __real_realloc(p, size) : kept(__real_realloc(NULL, size));
}

void __wrap_free(void *p)
{
    live -= counting && p;
    __real_free(p);
}

/* ---- good ones ---- */

static json_t *document_of(const char *format, const char *part)
{
    char text[8192];
    json_error_t e;
    snprintf(text, sizeof text, format, part);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        printf("%s\n%s\n", e.text, text);
    return j;
}

/* Do the problems of this profile expand to these cases?  What follows the id of the
 * experiment, one a line. */
static int gives(const char *rest, const char *profile, const char *want)
{
    struct suite s;
    char got[4096] = "";
    size_t n = 0;
    json_t *j = document_of("{\"suite\": \"s\", \"title\": \"S\","
                            " \"lists\": {\"n\": [1, \"16:64:*2\"], \"m\": [\"a\", \"b\"]},"
                            " \"experiments\": [{\"id\": \"e\", \"title\": \"E\", \"op\": \"spmm\","
                            " \"metric\": \"time\", \"implementations\": [\"host_rb\"], "
                            "%s}]}", rest);
    int status = j ? suite_parse(j, "s", profile, &s) : -1;
    json_decref(j);
    if (status) {
        printf("%s\n", cb_error_text());
        return 0;
    }
    for (int i = 0; i < s.experiments[0].case_count; i++)
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s", i ? "\n" : "",
                              s.experiments[0].cases[i].id + strlen("s/e/matrix="));
    int same = !strcmp(got, want);
    if (!same)
        printf("got\n%s\n", got);
    suite_free(&s);
    return same;
}

static void check_grids(void)
{
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": 3}]}", "smoke",
                "a,n=3,dtype=f32/hot"));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": 3}]}", "reproduce", ""));
    CHECK(gives("\"problems\": {}", "full", ""));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"@m\", \"n\": [1, 2]}]}", "smoke",
                "a,n=1,dtype=f32/hot\na,n=2,dtype=f32/hot\n"
                "b,n=1,dtype=f32/hot\nb,n=2,dtype=f32/hot"));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": \"@n\", \"dtype\": "
                "\"f16\"}]}",
                "smoke",
                "a,n=1,dtype=f16/hot\na,n=16,dtype=f16/hot\na,n=32,dtype=f16/hot\n"
                "a,n=64,dtype=f16/hot"));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": \"1:5:+2\"}]}", "smoke",
                "a,n=1,dtype=f32/hot\na,n=3,dtype=f32/hot\na,n=5,dtype=f32/hot"));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": \"3:20:*3\"}]}", "smoke",
                "a,n=3,dtype=f32/hot\na,n=9,dtype=f32/hot"));
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": [\"7:7:*2\", \"7:8:+5\", "
                "9]}]}",
                "smoke", "a,n=7,dtype=f32/hot\na,n=9,dtype=f32/hot"));
    /* a step so large that the next value would overflow */
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\","
                " \"n\": [\"2:1099511627776:*9000000000000000000\", "
                "\"3:4:+9223372036854775807\"]}]}",
                "smoke", "a,n=2,dtype=f32/hot\na,n=3,dtype=f32/hot"));
    /* cache states: of the experiment, of the problem, twice the same */
    CHECK(gives("\"cache\": [\"hot\", \"cold\"], \"problems\": {\"smoke\":"
                " [{\"matrix\": \"a\", \"n\": 1}, {\"matrix\": \"a\", \"n\": 1, \"cache\": "
                "\"cold\"},"
                " {\"matrix\": \"b\", \"n\": 1, \"cache\": [\"coldw\", \"hot\"]}]}", "smoke",
                "a,n=1,dtype=f32/hot\na,n=1,dtype=f32/cold\n"
                "b,n=1,dtype=f32/coldw\nb,n=1,dtype=f32/hot"));
    CHECK(gives("\"regime\": \"burst\", \"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": 1}]}",
                "smoke", "a,n=1,dtype=f32/hot/burst"));
    /* "full" contains "reproduce", each case once */
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": 8}],"
                " \"reproduce\": [{\"matrix\": \"a\", \"n\": [1, 2]}],"
                " \"full\": [{\"matrix\": \"a\", \"n\": [2, 3]}]}", "full",
                "a,n=1,dtype=f32/hot\na,n=2,dtype=f32/hot\na,n=3,dtype=f32/hot"));
    CHECK(gives("\"problems\": {\"reproduce\": [{\"matrix\": \"a\", \"n\": [1, 2]}],"
                " \"full\": [{\"matrix\": \"a\", \"n\": [2, 3]}]}", "reproduce",
                "a,n=1,dtype=f32/hot\na,n=2,dtype=f32/hot"));
    /* a file of the user enters by its base name */
    CHECK(gives("\"problems\": {\"smoke\": [{\"matrix\": \"/data/x/a.mtx\", \"n\": 1}]}", "smoke",
                "a.mtx,n=1,dtype=f32/hot"));
}

/* Implementations of an experiment that names "@g", in order, between spaces. */
static int group_gives(const char *groups, const char *want)
{
    struct suite s;
    char got[4096] = "";
    size_t n = 0;
    json_t *j = document_of("{\"suite\": \"s\", \"title\": \"S\", \"groups\": {%s},"
                            " \"experiments\": [{\"id\": \"e\", \"title\": \"E\", \"op\": \"spmm\","
                            " \"metric\": \"time\", \"implementations\": [\"@g\"],"
                            " \"problems\": {}}]}", groups);
    int status = j ? suite_parse(j, "s", "smoke", &s) : -1;
    json_decref(j);
    if (status) {
        printf("%s\n", cb_error_text());
        return 0;
    }
    const struct op_impl **by_name = suite_group(&s, s.experiments[0].op, "g");
    int same = by_name != NULL;
    for (int i = 0; same && s.experiments[0].impl[i]; i++) {
        same = by_name[i] == s.experiments[0].impl[i];
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s", i ? " " : "", by_name[i]->name);
    }
    if (!same || strcmp(got, want)) {
        printf("got %s\n", got);
        same = 0;
    }
    free(by_name);
    suite_free(&s);
    return same;
}

static void check_groups(void)
{
    CHECK(group_gives("\"g\": {\"members\": [\"host_eb\", \"host_rb\", \"host_eb\"]}",
                      "host_eb host_rb"));
    CHECK(group_gives("\"g\": {\"prefix\": \"host_\", \"note\": \"all of them\"}",
                      "host_rb host_eb"));
    CHECK(group_gives("\"g\": {\"members\": [\"@h\", \"ref_csr\", \"@i\"]}, \"h\": {\"members\": "
                      "[\"host_eb\"]},"
                      " \"i\": {\"prefix\": \"host_\"}", "host_eb ref_csr host_rb"));
    CHECK(group_gives("\"g\": {\"members\": [\"ref_csr\"], \"prefix\": \"host_e\"}",
                      "ref_csr host_eb"));
    CHECK(group_gives("\"g\": {\"prefix\": \"host_\", \"role\": \"own\"}", "host_rb host_eb"));
    CHECK(group_gives("\"g\": {\"role\": \"reference\"}", "ref_csr"));
    CHECK(group_gives("\"g\": {\"members\": [\"@h\"], \"layout\": \"column\"}, \"h\":"
                      " {\"members\": [\"host_rb\", \"rb_sr_cm\", \"eb_pr_rm\", \"eb_pr_cm\"]}",
                      "rb_sr_cm eb_pr_cm"));
    CHECK(group_gives("\"g\": {\"prefix\": \"rb_\", \"role\": \"paper\", \"layout\": \"column\"}",
                      "rb_sr_cm rb_pr_cm"));
    /* a row without a layout belongs to both */
    CHECK(group_gives("\"g\": {\"members\": [\"cusparse_spmv_coo_alg1\", \"rb_sr_cm\"], "
                      "\"layout\": \"row\"}",
                      "cusparse_spmv_coo_alg1"));
}

static void check_fields(void)
{
    struct suite s;
    json_t *j = document_of(
        "{\"suite\": \"s\", \"title\": \"S\", \"arxiv\": \"2202.08556\", \"groups\": {\"h\": "
        "{\"prefix\": \"host_\"}},"
        " \"experiments\": [{\"id\": \"one\", \"title\": \"One\", \"where\": null, \"op\": "
        "\"spmm\","
        " \"metric\": \"speedup\", \"baseline\": \"h\", \"figure\": \"bars\", \"aa\": \"host_eb\","
        " \"implementations\": [\"@h\"], \"problems\": {\"smoke\": [{\"matrix\": \"a\", \"n\": "
        "5}]}},"
        " {\"id\": \"two\", \"title\": \"Two\", \"op\": \"matrix_stats\", \"metric\": "
        "\"figure:nnz\","
        " \"implementations\": [\"stats\"], \"cache\": [\"hot\", \"cold\"],"
        " \"problems\": {\"smoke\": [{\"matrix\": \"%s\"}]}}]}", "a");
    int status = suite_parse(j, "s", "smoke", &s);
    json_decref(j); /* the suite holds it */
    CHECK(!status);
    if (status)
        return;
    const struct experiment *e = s.experiments;
    CHECK(s.experiment_count == 2);
    CHECK_STR(s.arxiv, "2202.08556");
    CHECK_STR(e[0].title, "One");
    CHECK_STR(e[0].where, "");
    CHECK_STR(e[0].baseline, "h");
    CHECK_STR(e[0].figure, "bars");
    CHECK(e[0].op == suite_op("spmm") && e[0].regime == CB_STEADY && e[0].case_count == 1);
    CHECK(e[0].aa == 1 && e[1].aa == -1);
    CHECK_STR(json_string_value(json_object_get(e[1].json, "title")), "Two");
    /* what is not timed has no cache state */
    CHECK(e[1].case_count == 1);
    CHECK_STR(e[1].cases[0].id, "s/two/matrix=a/untimed");
    suite_free(&s);
    CHECK(!s.document && !s.experiments && !s.experiment_count);
    suite_free(&s);
    CHECK(!suite_op("no_such_operator"));
}

/* The suites of this tree, in every profile. */
static void check_own(void)
{
    static const char *const profiles[] = { "smoke", "reproduce", "full" };
    DIR *d = opendir("suites");
    int found = 0;
    CHECK(d);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char folder[400], path[450];
        snprintf(folder, sizeof folder, "suites/%.255s", entry->d_name);
        snprintf(path, sizeof path, "%s/experiments.json", folder);
        if (entry->d_name[0] == '.' || access(path, R_OK))
            continue;
        int before = 0;
        for (int p = 0; p < 3; p++) {
            struct suite s;
            int cases = 0, status = suite_load(folder, profiles[p], &s);
            if (status)
                printf("%s\n", cb_error_text());
            CHECK(!status);
            CHECK_STR(s.name, entry->d_name);
            for (int i = 0; i < s.experiment_count; i++)
                cases += s.experiments[i].case_count;
            CHECK(cases > 0 && cases >= before);
            before = cases;
            suite_free(&s);
        }
        found++;
    }
    if (d)
        closedir(d);
    CHECK(found > 0);
    struct suite s;
    CHECK(suite_load("suites/no_such_suite", "smoke", &s) == -1);
    CHECK_STR(cb_error_text(),
              "suites/no_such_suite/experiments.json: cannot be opened: No such file or directory");
}

/* ---- bad ones: a folder per case, the input and the message it must give ---- */

static int load(const char *path, struct suite *s)
{
    *s = (struct suite){ 0 };
    json_t *j = cb_json_read(path);
    int status = j ? suite_parse(j, path, "smoke", s) : -1;
    json_decref(j);
    return status;
}

static void check_bad_files(void)
{
    const char *folder = "tests/data/bad_suites";
    DIR *d = opendir(folder);
    int cases = 0;
    CHECK(d);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512], want[1024] = "";
        struct suite s;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%.200s/error.txt", folder, e->d_name);
        FILE *f = fopen(path, "r");
        CHECK(f && fgets(want, sizeof want, f));
        if (f)
            fclose(f);
        want[strcspn(want, "\n")] = 0;
        snprintf(path, sizeof path, "%s/%.200s/input.json", folder, e->d_name);
        cb_error_clear();
        CHECK(load(path, &s) == -1);
        const char *text = strstr(cb_error_text(), "input.json");
        CHECK_STR(text, want);
        if (!text || strcmp(text, want))
            printf("    %s\n", e->d_name);
        CHECK(!s.document && !s.experiments && !s.experiment_count);
        suite_free(&s);
        cases++;
    }
    if (d)
        closedir(d);
    CHECK(cases >= 90);
}

/* ---- no memory ---- */

static const char whole[] =
    "{\"suite\": \"s\", \"title\": \"S\", \"lists\": {\"n\": [1, \"2:4:*2\"]},"
    " \"groups\": {\"g\": {\"members\": [\"@h\", \"ref_csr\"]}, \"h\": {\"prefix\": \"host_\"}},"
    " \"experiments\": [{\"id\": \"e\", \"title\": \"E\", \"op\": \"spmm\", \"metric\": \"time\","
    " \"baseline\": \"h\", \"implementations\": [\"@g\"], \"cache\": [\"hot\", \"cold\"],"
    " \"problems\": {\"reproduce\": [{\"matrix\": [\"a\", \"b\"], \"n\": \"@n\"}],"
    " \"full\": [{\"matrix\": \"a\", \"n\": [1, 3], \"cache\": \"coldw\"}]}},"
    " {\"id\": \"f\", \"title\": \"F\", \"op\": \"spmm\", \"metric\": \"time\","
    " \"implementations\": [\"host_rb\"], \"problems\": {\"full\":"
    " [{\"matrix\": \"a\", \"n\": \"1:40:+1\"}]}}]}";

/* The file, the document, the suite and a group; 0 if all went well. */
static int load_whole(const char *path)
{
    struct suite s = { 0 };
    const struct op_impl **group = NULL;
    json_t *j = cb_json_read(path);
    int status = j ? suite_parse(j, path, "full", &s) : -1;
    if (!status) {
        group = suite_group(&s, s.experiments[0].op, "g");
        status = group ? 0 : -1;
        CHECK(s.experiments[0].case_count == 14 && s.experiments[1].case_count == 40);
    }
    free(group);
    suite_free(&s);
    json_decref(j);
    return status;
}

static void check_no_memory(void)
{
    char path[] = "/tmp/suite.XXXXXX";
    int fd = mkstemp(path), bad = 0;
    CHECK(fd >= 0 && write(fd, whole, strlen(whole)) == (ssize_t)strlen(whole));
    close(fd);
    CHECK(!load_whole(path)); /* what libraries keep for good is taken now */
    counting = true;
    taken = live = 0;
    CHECK(!load_whole(path));
    long n = taken;
    CHECK(n > 200 && live == 0);
    for (long i = 1; i <= n; i++) {
        taken = live = 0;
        fail_at = i;
        cb_error_clear();
        int status = load_whole(path);
        /* jansson calls some a syntax error; one may be done without: then all is there */
        bool fine = status ? strstr(cb_error_text(), "no memory") || strstr(cb_error_text(), path)
                           : taken >= n;
        if ((!fine || live) && bad++ < 10)
            printf("allocation %ld of %ld: %d, '%s', %ld live\n", i, n, status, cb_error_text(),
                   live);
    }
    fail_at = 0;
    CHECK(bad == 0);
    CHECK(!load_whole(path));
    counting = false;
    unlink(path);
}

int main(void)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    check_grids();
    check_groups();
    check_fields();
    check_own();
    check_bad_files();
    check_no_memory();
    return TEST_END();
}

/* test_record.c - cases as JSON: journal lines, keys, invocations joined, journals cut off. */
#define _GNU_SOURCE /* mkdtemp */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/record.h"
#include "test.h"

/* ---- an operator and a case of it, as they would come out ---- */

struct settings {
    int n;
    char file[CB_PATH_MAX];
};
static const struct cb_param params[] = {
    { "n", CB_INT, offsetof(struct settings, n), 1, 1, 100, NULL, false, "" },
    { "file", CB_PATH, offsetof(struct settings, file), 0, 0, 0, NULL, false, "" },
    { 0 },
};
static const struct cb_op op = { .name = "op", .title = "Op", .params = params,
                                 .params_size = sizeof(struct settings) };
static const struct op_impl base = { .name = "base", .title = "Base", .origin = "lib",
                                     .role = OP_BASELINE, .flags = OP_SYNCS | OP_CHOOSES };
static const struct op_impl ours = { .name = "ours", .title = "Ours", .role = OP_PAPER };
static const struct op_impl *const baseline[] = { &base, NULL };

enum { ROUNDS = 8 };

static struct cb_timing timing(double us, double step)
{
    struct cb_timing t = { .rounds = ROUNDS, .us = malloc(ROUNDS * sizeof(double)),
                           .clock_mhz = calloc(ROUNDS, sizeof(double)), .mode = CB_MODE_G,
                           .k_exec = 4, .gate = true, .estimate_us = us, .stop = "converged" };
    for (int r = 0; r < ROUNDS; r++)
        t.us[r] = us + step * (r % 4);
    CHECK(!cb_stats(t.us, ROUNDS, &t.stats));
    return t;
}

/* base takes us, ours half of it. */
static struct cb_case came_out(double us)
{
    struct cb_case c = { .status = CB_OK, .out = calloc(2, sizeof *c.out), .count = 2,
                         .input_count = 1, .wall_s = 1.5 };
    c.session.sets = 1;
    c.session.rounds = ROUNDS;
    c.inputs[0] = (struct cb_input){ .name = "x", .dtype = "f32", .gen = "uniform",
                                     .source = "generated", .shape = { 4, 5 }, .tensor_id = 1 };
    for (int i = 0; i < 2; i++) {
        struct cb_outcome *o = &c.out[i];
        o->impl = i ? &ours : &base;
        o->copy = 1;
        o->status = CB_OK;
        o->setup_us = 10 * us;
        o->deterministic = o->post_check = true;
        o->r1 = (struct cb_accuracy){ .compared = 20, .rel_fro = 1e-7, .worst = 3 };
        o->work = (struct cb_work){ .flops = 1e6, .bytes_min = 1e6, .peak = "fp32_fma" };
        o->timing = timing(i ? us / 2 : us, 0.25);
    }
    return c;
}

static const struct cb_policy policy = { .name = "test", .invocations = 3, .rounds_min = 6,
                                         .rounds_max = 8, .eps = 0.01, .delta = 0.01 };

static json_t *line_with(const struct cb_context *c, const struct settings *s, int invocation,
                         const struct cb_case *out)
{
    const struct cb_place where = { .paper = "paper", .experiment = "exp",
                                    .id = "paper/exp/n=1/hot",
                                    .baseline = baseline, .invocation = invocation };
    return cb_case_json(c, &where, &op, s, out, NULL, NULL);
}

static json_t *line_of(int invocation, double us)
{
    const struct cb_context c = { .policy = &policy, .seed = 5 };
    const struct settings s = { .n = 1 };
    struct cb_case out = came_out(us);
    json_t *line = line_with(&c, &s, invocation, &out);
    cb_case_free(&out);
    return line;
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const json_t *row(const json_t *c, size_t i)
{
    return json_array_get(json_object_get(c, "implementations"), i);
}

/* ---- one line ---- */

static void check_line(void)
{
    json_t *line = line_of(2, 8), *back;
    CHECK_STR(text(line, "id"), "paper/exp/n=1/hot");
    CHECK_STR(text(line, "status"), "ok");
    CHECK(json_is_null(json_object_get(line, "reason")));
    CHECK(real(line, "invocation") == 2);
    CHECK_STR(text(row(line, 0), "kernel"), "base");
    CHECK_STR(text(row(line, 0), "mode"), "G");
    const json_t *t = json_object_get(row(line, 0), "time_us");
    CHECK(real(t, "n") == ROUNDS && real(t, "median") == 8.375 && real(t, "min") == 8);
    CHECK(json_array_size(json_object_get(row(line, 0), "samples_us")) == ROUNDS);
    CHECK_STR(text(json_object_get(row(line, 1), "correctness"), "status"), "pass");
    const json_t *ratio = json_array_get(json_object_get(line, "ratios"), 0);
    CHECK(json_array_size(json_object_get(line, "ratios")) == 1);
    CHECK_STR(text(ratio, "num"), "base");
    CHECK_STR(text(ratio, "den"), "ours");
    CHECK_STR(text(ratio, "verdict"), "faster");
    CHECK_NEAR(real(ratio, "median"), 1.92, 0.05);
    /* through text and back nothing changes that a reader sees */
    char *dump = json_dumps(line, JSON_COMPACT);
    back = dump ? json_loads(dump, JSON_REJECT_DUPLICATES, NULL) : NULL;
    CHECK(json_equal(line, back));
    free(dump);
    json_decref(back);
    json_decref(line);
}

/* A row that was wrong, one that sat out, one that stands twice, a number that is none. */
static void check_states(void)
{
    const struct cb_context c = { .policy = &policy, .seed = 5 };
    const struct settings s = { .n = 1, .file = "/home/someone/a.mtx" };
    struct cb_case out = came_out(8);
    out.status = CB_WRONG;
    snprintf(out.reason, sizeof out.reason, "ours: bad");
    out.out[1].status = CB_WRONG;
    snprintf(out.out[1].reason, sizeof out.out[1].reason, "bad");
    out.out[1].r1.max_abs = INFINITY;
    out.out[0].copy = 2;
    out.out[0].timing.us[3] = NAN;
    json_t *line = line_with(&c, &s, 1, &out);
    char *dump = json_dumps(line, JSON_COMPACT);
    CHECK_STR(text(line, "reason"), "ours: bad");
    CHECK_STR(text(row(line, 0), "kernel"), "base#2");
    CHECK(json_is_null(json_array_get(json_object_get(row(line, 0), "samples_us"), 3)));
    CHECK_STR(text(row(line, 1), "status"), "wrong");
    CHECK_STR(text(row(line, 1), "reason"), "bad");
    CHECK(!json_object_get(row(line, 1), "time_us"));
    CHECK(!json_object_get(row(line, 1), "samples_us"));
    const json_t *r1 = json_object_get(row(line, 1), "correctness");
    CHECK_STR(text(r1, "status"), "fail");
    CHECK(json_is_null(json_object_get(r1, "max_abs")));
    CHECK(json_array_size(json_object_get(line, "ratios")) == 0);
    CHECK(dump && !strstr(dump, "someone")); /* no folder of a user */
    CHECK_STR(text(json_object_get(line, "params"), "file"), "a.mtx");
    free(dump);
    json_decref(line);

    out.out[1].status = CB_UNSUPPORTED;
    out.out[0].left_out = true;
    line = line_with(&c, &s, 1, &out);
    CHECK(json_is_true(json_object_get(row(line, 0), "left_out")));
    CHECK(!json_object_get(row(line, 0), "time_us"));
    CHECK(!json_object_get(row(line, 1), "correctness"));
    json_decref(line);
    cb_case_free(&out);

    const struct cb_place where = { "paper", "exp", "the id", baseline, 3, 1, 0 };
    line = cb_case_lost(&where, &op, &s, CB_COLD, CB_BURST, CB_TIMEOUT, "no answer in time");
    CHECK_STR(text(line, "status"), "timeout");
    CHECK_STR(text(line, "cache"), "cold");
    CHECK_STR(text(line, "regime"), "burst");
    CHECK(real(line, "invocation") == 3 && real(line, "device") == 1);
    json_decref(line);

    json_t *k = cb_kernel_json(&op, &base);
    CHECK_STR(text(k, "id"), "base");
    CHECK_STR(text(k, "role"), "baseline");
    CHECK(json_array_size(json_object_get(k, "flags")) == 2);
    CHECK(json_is_null(json_object_get(k, "known_wrong")));
    json_decref(k);
}

/* ---- keys ---- */

static void key_of(const struct cb_context *c, const struct settings *s, double us, char out[80])
{
    struct cb_case o = came_out(us);
    json_t *line = line_with(c, s, 1, &o);
    snprintf(out, 80, "%s", text(line, "key"));
    json_decref(line);
    cb_case_free(&o);
}

static void check_keys(void)
{
    struct cb_policy p = policy;
    struct cb_context c = { .policy = &p, .seed = 5 };
    struct settings s = { .n = 1, .file = "/a/m.mtx" };
    char first[80], key[80];
    key_of(&c, &s, 8, first);
    CHECK(strlen(first) == 71 && !strncmp(first, "sha256:", 7));
    /* on any machine the same; a new form of what is asked for gives new keys, and old
     * results are not comparable any more: change this on purpose only */
    CHECK_STR(first, "sha256:7b38e92dbc17cbd4075f47e740fc79a2fe874594906aff191379edcd56fbe792");
    /* not what came out, not where a file lies, not how often or how long */
    key_of(&c, &s, 80, key);
    CHECK_STR(key, first);
    snprintf(s.file, sizeof s.file, "/other/m.mtx");
    p.invocations = 7;
    p.timeout_s = 100;
    p.settled_s = 3;
    c.order_seed = 99;
    key_of(&c, &s, 8, key);
    CHECK_STR(key, first);
    /* parameters, seed, cache state, regime, policy are */
    snprintf(s.file, sizeof s.file, "/a/n.mtx");
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    s = (struct settings){ .n = 2, .file = "/a/m.mtx" };
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    s.n = 1;
    c.seed = 6;
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    c.seed = 5;
    c.cache = CB_COLD;
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    c.cache = CB_HOT;
    c.regime = CB_BURST;
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    c.regime = CB_STEADY;
    p.eps = 0.02;
    key_of(&c, &s, 8, key);
    CHECK(strcmp(key, first));
    p.eps = 0.01;
    key_of(&c, &s, 8, key);
    CHECK_STR(key, first);
}

/* ---- invocations joined ---- */

static json_t *merge(const json_t *lines, double **samples, size_t *count)
{
    json_t *ceilings = json_pack("[{s:s,s:f},{s:s,s:f}]", "id", "dram_read", "value", 1e12, "id",
                                 "fp32_fma", "value", 1e12);
    json_t *cases = cb_cases_merge(lines, ceilings, 100, samples, count);
    json_decref(ceilings);
    return cases;
}

static void check_merge(void)
{
    const double us[] = { 8, 10, 9 };
    json_t *lines = json_array(), *cases;
    double *samples = NULL;
    size_t count = 0;
    /* in any order; the second line of invocation 2 replaces the first */
    json_array_append_new(lines, line_of(3, us[2]));
    json_array_append_new(lines, line_of(2, 100));
    json_array_append_new(lines, line_of(1, us[0]));
    json_array_append_new(lines, line_of(2, us[1]));
    cases = merge(lines, &samples, &count);
    CHECK(json_array_size(cases) == 1);
    const json_t *c = json_array_get(cases, 0), *t = json_object_get(row(c, 0), "time_us");
    CHECK(real(c, "invocations") == 3 && !json_object_get(c, "invocation"));
    CHECK(real(t, "median") == 9.375 && real(t, "n") == 3 * ROUNDS);
    CHECK(real(t, "min") == 8 && real(t, "max") == 10.75);
    const json_t *medians = json_object_get(t, "medians");
    CHECK(json_array_size(medians) == 3);
    for (size_t i = 0; i < 3; i++)
        CHECK(json_number_value(json_array_get(medians, i)) == us[i] + 0.375);
    CHECK_NEAR(real(t, "between_spread"), 2 / 9.375, 1e-12);
    const json_t *ci = json_object_get(t, "ci95");
    CHECK(json_number_value(json_array_get(ci, 0)) <= 8.375);
    CHECK(json_number_value(json_array_get(ci, 1)) >= 10.375);
    CHECK(!json_object_get(row(c, 0), "samples_us"));
    /* where the samples went */
    CHECK(count == 6 * ROUNDS);
    for (size_t i = 0; i < 2; i++)
        for (size_t inv = 0; inv < 3; inv++) {
            const json_t *part = json_array_get(json_object_get(row(c, i), "samples"), inv);
            size_t offset = (size_t)real(part, "offset");
            CHECK(real(part, "count") == ROUNDS && offset + ROUNDS <= count);
            CHECK(samples[offset] == us[inv] / (i ? 2 : 1));
        }
    /* 1e6 bytes at 1e12 B/s are 1 us */
    const json_t *sol = json_object_get(row(c, 0), "sol");
    CHECK_NEAR(real(sol, "fraction"), 1 / 9.375, 1e-9);
    CHECK_STR(text(sol, "bound"), "dram");
    free(samples);
    json_decref(cases);
    json_decref(lines);
}

/* Wrong in one invocation is wrong; a lost invocation does not hide the others. */
static void check_merge_bad(void)
{
    const struct cb_context context = { .policy = &policy, .seed = 5 };
    const struct settings s = { .n = 1 };
    const struct cb_place where = { "paper", "exp", "paper/exp/n=1/hot", baseline, 3, 0, 0 };
    struct cb_case out = came_out(8);
    json_t *lines = json_array(), *cases;
    double *samples = NULL;
    size_t count = 0;
    out.out[1].status = CB_WRONG;
    out.status = CB_WRONG;
    out.out[1].r1.bad = 4;
    snprintf(out.out[1].reason, sizeof out.out[1].reason, "4 of 20");
    snprintf(out.reason, sizeof out.reason, "ours: 4 of 20");
    json_array_append_new(lines, cb_case_lost(&where, &op, &s, CB_HOT, CB_STEADY, CB_CRASHED,
                                              "signal"));
    json_array_append_new(lines, line_of(1, 8));
    json_array_append_new(lines, line_with(&context, &s, 2, &out));
    cb_case_free(&out);
    cases = merge(lines, &samples, &count);
    const json_t *c = json_array_get(cases, 0);
    CHECK(json_array_size(cases) == 1 && real(c, "invocations") == 3);
    CHECK_STR(text(c, "status"), "wrong");
    CHECK_STR(text(c, "reason"), "ours: 4 of 20");
    CHECK_STR(text(row(c, 0), "status"), "ok");
    CHECK(real(json_object_get(row(c, 0), "time_us"), "n") == 2 * ROUNDS);
    CHECK_STR(text(row(c, 1), "status"), "wrong");
    CHECK_STR(text(row(c, 1), "reason"), "4 of 20");
    CHECK(!json_object_get(row(c, 1), "time_us"));
    CHECK_STR(text(json_object_get(row(c, 1), "correctness"), "status"), "fail");
    CHECK(real(json_object_get(row(c, 1), "correctness"), "n_bad") == 4);
    free(samples);
    json_decref(cases);
    json_decref(lines);

    samples = NULL;
    lines = json_array();
    cases = merge(lines, &samples, &count);
    CHECK(json_is_array(cases) && json_array_size(cases) == 0 && count == 0);
    free(samples);
    json_decref(cases);
    json_decref(lines);
}

/* ---- journals ---- */

static void append_text(const char *path, const char *bytes, size_t size)
{
    FILE *f = fopen(path, "a");
    CHECK(f && fwrite(bytes, 1, size, f) == size && !fclose(f));
}

/* Equal in the digits that a journal keeps? */
static bool reads_as(const json_t *got, const json_t *want)
{
    size_t form = JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(9);
    char *a = json_dumps(got, form), *b = json_dumps(want, form);
    bool same = a && b && !strcmp(a, b);
    free(a);
    free(b);
    return same;
}

/* Number of lines, or -1. */
static int lines_in(const char *path)
{
    json_t *list = cb_journal_read(path);
    int n = list ? (int)json_array_size(list) : -1;
    json_decref(list);
    return n;
}

static void check_journal(const char *folder)
{
    char path[200], want[400], *dump;
    json_t *line = line_of(1, 8), *back, *big = json_object();
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    CHECK(lines_in(path) == 0); /* no file */
    CHECK(!cb_journal_append(path, line) && !cb_journal_append(path, line));
    CHECK(lines_in(path) == 2);
    back = cb_journal_read(path);
    CHECK(reads_as(json_array_get(back, 1), line));
    json_decref(back);

    /* cut off at any place of its last line; going on then starts a new one */
    dump = json_dumps(line, JSON_COMPACT);
    size_t length = dump ? strlen(dump) : 0;
    for (size_t cut = 1; cut <= length; cut += cut + 40 < length ? length / 40 : 1) {
        append_text(path, dump, cut);
        CHECK(lines_in(path) == 2);
        CHECK(!cb_journal_append(path, line));
        CHECK(lines_in(path) == 3);
        back = cb_journal_read(path);
        CHECK(reads_as(json_array_get(back, 2), line));
        json_decref(back);
        CHECK(!truncate(path, 0));
        CHECK(!cb_journal_append(path, line) && !cb_journal_append(path, line));
    }
    /* zeros, as some file systems leave them behind when the power goes */
    char zeros[10000] = { 0 };
    append_text(path, zeros, sizeof zeros);
    CHECK(lines_in(path) == 2);
    CHECK(!cb_journal_append(path, line) && lines_in(path) == 3);
    /* nothing but a piece */
    CHECK(!truncate(path, 0));
    append_text(path, "{\"id", 4);
    CHECK(lines_in(path) == 0);
    CHECK(!cb_journal_append(path, line) && lines_in(path) == 1);

    /* lines longer than a buffer */
    char *wide = malloc(3000001);
    memset(wide, 'x', 3000000);
    wide[3000000] = 0;
    json_object_set_new(big, "id", json_string(wide));
    CHECK(!cb_journal_append(path, big) && lines_in(path) == 2);
    append_text(path, wide, 2500000);
    CHECK(lines_in(path) == 2);
    CHECK(!cb_journal_append(path, line) && lines_in(path) == 3);
    free(wide);

    /* what is broken in the middle is no journal: file and line */
    append_text(path, "{\"id\": \"a\",}\n", 13);
    CHECK(lines_in(path) == -1);
    snprintf(want, sizeof want, "%s:4: string or '}' expected near '}'", path);
    CHECK_STR(cb_error_text(), want);
    CHECK(!truncate(path, 0));
    append_text(path, "{}\n[]\n", 6);
    CHECK(lines_in(path) == -1);
    snprintf(want, sizeof want, "%s:2: no object", path);
    CHECK_STR(cb_error_text(), want);
    CHECK(!truncate(path, 0));
    append_text(path, "{}\n\0\n{}\n", 8);
    CHECK(lines_in(path) == -1 && strstr(cb_error_text(), "journal.jsonl:2: "));
    CHECK(!truncate(path, 0));
    append_text(path, "{}\n\n{}\n", 7);
    CHECK(lines_in(path) == -1 && strstr(cb_error_text(), "journal.jsonl:2: "));

    /* packed ones are read too, one cut off only so far */
    snprintf(path, sizeof path, "%s/packed.jsonl", folder);
    gzFile f = gzopen(path, "wb");
    for (int i = 0; f && i < 200; i++)
        gzprintf(f, "{\"id\": \"%d\", \"x\": %ld}\n", i, i * 7919L * i % 100003);
    CHECK(f && gzclose(f) == Z_OK);
    CHECK(lines_in(path) == 200);
    struct stat st;
    CHECK(!stat(path, &st) && !truncate(path, st.st_size / 2));
    int n = lines_in(path);
    CHECK(n >= 0 && n < 200);

    CHECK(lines_in(folder) == -1 && strstr(cb_error_text(), "cannot be opened: no regular file"));
    snprintf(path, sizeof path, "%s/packed.jsonl/below", folder);
    CHECK(lines_in(path) == -1 && strstr(cb_error_text(), "cannot be opened: Not a directory"));
    CHECK(cb_journal_append(path, line) == -1);
    snprintf(want, sizeof want, "%s: cannot be appended to: Not a directory", path);
    CHECK_STR(cb_error_text(), want);
    if (access("/dev/full", W_OK)) {
        SKIP("test_record: no /dev/full");
    } else {
        CHECK(cb_journal_append("/dev/full", line) == -1);
        CHECK_STR(cb_error_text(), "/dev/full: not written whole: No space left on device");
    }
    free(dump);
    json_decref(line);
    json_decref(big);
}

/* ---- files of a result ---- */

static void check_files(const char *folder)
{
    const double samples[] = { 1.5, NAN, -2 };
    double back[4];
    char path[300];
    CHECK(!cb_samples_write(folder, samples, 3));
    snprintf(path, sizeof path, "%s/samples.f64le.gz", folder);
    gzFile f = gzopen(path, "rb");
    CHECK(f && gzread(f, back, sizeof back) == sizeof samples);
    CHECK(back[0] == 1.5 && isnan(back[1]) && back[2] == -2);
    gzclose(f);
    CHECK(!cb_samples_write(folder, NULL, 0)); /* a run that was stopped at once */
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    CHECK(cb_samples_write(path, samples, 3) == -1 && strstr(cb_error_text(), "cannot be written"));

    /* details that went to a file of their own come back as they were */
    json_t *cases, *doc, *lines = json_array();
    double *values = NULL;
    size_t count;
    json_array_append_new(lines, line_of(1, 8));
    cases = merge(lines, &values, &count);
    free(values);
    json_t *slim = json_deep_copy(cases);
    cb_cases_slim(slim);
    CHECK(!json_equal(slim, cases) && json_array_size(slim) == 1);
    CHECK(real(json_object_get(row(json_array_get(slim, 0), 1), "time_us"), "median") ==
          real(json_object_get(row(json_array_get(cases, 0), 1), "time_us"), "median"));
    CHECK(!cb_details_write(folder, cases));
    doc = json_pack("{s:{s:s},s:o}", "run", "details", "cases.json.gz", "cases", slim);
    CHECK(!cb_details_load(folder, doc));
    const json_t *c = json_array_get(json_object_get(doc, "cases"), 0);
    CHECK_STR(text(c, "key"), text(json_array_get(cases, 0), "key"));
    CHECK(json_array_size(json_object_get(row(c, 0), "samples")) == 1);
    json_object_set_new(json_object_get(doc, "run"), "details", json_string("../cases.json.gz"));
    CHECK(cb_details_load(folder, doc) == -1 && strstr(cb_error_text(), "is no file of a result"));
    json_decref(doc);
    json_decref(cases);
    json_decref(lines);
}

int main(void)
{
    char folder[] = "/tmp/record.XXXXXX", command[100];
    CHECK(mkdtemp(folder) != NULL);
    check_line();
    check_states();
    check_keys();
    check_merge();
    check_merge_bad();
    check_journal(folder);
    check_files(folder);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(!system(command));
    return TEST_END();
}

/* test_params.c - parameters and policies to and from JSON, files of JSON. */
#define _GNU_SOURCE /* mkdtemp */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "test.h"

struct all {
    int n, kind;
    double x;
    char name[CB_TEXT_MAX], file[CB_PATH_MAX];
};
static const char *const kinds[] = { "round", "square", NULL };
static const struct cb_param params[] = {
    { "n", CB_INT, offsetof(struct all, n), 0, 1, 100, NULL, true, "" },
    { "x", CB_REAL, offsetof(struct all, x), 2.5, 0, 0, NULL, false, "" },
    { "kind", CB_CHOICE, offsetof(struct all, kind), 1, 0, 0, kinds, false, "" },
    { "name", CB_TEXT, offsetof(struct all, name), 0, 0, 0, NULL, false, "" },
    { "file", CB_PATH, offsetof(struct all, file), 0, 0, 0, NULL, false, "" },
    { 0 },
};
static const struct cb_op op = { .name = "op", .params = params,
                                .params_size = sizeof(struct all) };

static int parse(const char *text, struct all *out)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK(j != NULL);
    cb_error_clear();
    int status = cb_params_from_json(&op, j, out);
    json_decref(j);
    return status;
}

static void check_params(void)
{
    struct all a, b;
    char label[CB_ID_MAX];
    CHECK(!parse("{\"n\": 7}", &a));
    CHECK(a.n == 7 && a.x == 2.5 && a.kind == 1 && !a.name[0] && !a.file[0]);
    CHECK(!parse("{\"file\": \"/a/b.mtx\", \"name\": \"t\", \"kind\": \"round\", \"x\": -1e-3, "
                 "\"n\": 100}", &a));
    CHECK(a.n == 100 && a.x == -1e-3 && a.kind == 0);
    CHECK_STR(a.name, "t");
    CHECK_STR(a.file, "/a/b.mtx");
    cb_params_label(&op, &a, label, sizeof label);
    CHECK_STR(label, "n=100,x=-0.001,kind=round,name=t,file=b.mtx");
    CHECK(!parse("{\"n\": 1, \"x\": 3}", &b) && b.x == 3); /* an integer is a number too */

    /* there and back, without loss */
    a.x = 0.1 + 0.2;
    json_t *j = cb_params_to_json(&op, &a);
    char *text = json_dumps(j, 0);
    CHECK(text && !parse(text, &b) && !memcmp(&a, &b, sizeof a));
    free(text);
    json_decref(j);

    /* a label that does not fit is cut and ended */
    for (size_t size = 1; size < 44; size++) {
        memset(label, 'z', sizeof label);
        cb_params_label(&op, &a, label, size);
        CHECK(memchr(label, 0, size) && label[size] == 'z');
    }
}

static void check_bad_params(void)
{
    struct all a;
    char text[700], name[600];
    static const struct {
        const char *text, *error;
    } bad[] = {
        { "[]", "op: a problem must be an object" },
        { "{}", "op needs parameter 'n'" },
        { "{\"n\": 1, \"m\": 2}", "op has no parameter 'm'" },
        { "{\"n\": 1, \"N\": 2}", "op has no parameter 'N'" },
        { "{\"n\": 1.0}", "op: 'n' must be an integer" },
        { "{\"n\": true}", "op: 'n' must be an integer" },
        { "{\"n\": null}", "op: 'n' must be an integer" },
        { "{\"n\": \"1\"}", "op: 'n' must be an integer" },
        { "{\"n\": 0}", "op: 'n' = 0 is not in 1 .. 100" },
        { "{\"n\": 101}", "op: 'n' = 101 is not in 1 .. 100" },
        { "{\"n\": -9223372036854775808}", "op: 'n' = -9.22337e+18 is not in 1 .. 100" },
        { "{\"n\": 1, \"x\": \"1\"}", "op: 'x' must be a number" },
        { "{\"n\": 1, \"kind\": 0}", "op: 'kind' must be a text" },
        { "{\"n\": 1, \"kind\": \"Round\"}", "op: 'kind' = 'Round' is none of round, square" },
        { "{\"n\": 1, \"name\": []}", "op: 'name' must be a text" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(parse(bad[i].text, &a) == -1);
        CHECK_STR(cb_error_text(), bad[i].error);
    }
    memset(name, 'a', sizeof name);
    for (int path = 0; path < 2; path++) {
        int room = path ? CB_PATH_MAX : CB_TEXT_MAX;
        snprintf(text, sizeof text, "{\"n\": 1, \"%s\": \"%.*s\"}", path ? "file" : "name",
                 room - 1, name);
        CHECK(!parse(text, &a));
        snprintf(text, sizeof text, "{\"n\": 1, \"%s\": \"%.*s\"}", path ? "file" : "name", room,
                 name);
        CHECK(parse(text, &a) == -1);
        CHECK(strstr(cb_error_text(), path ? "longer than 511" : "longer than 63"));
    }
}

/* ---- policies ---- */

static json_t *smoke(void)
{
    json_t *j = cb_json_read("configs/profiles/smoke.json");
    json_object_del(j, "name");
    return j;
}

/* The smoke policy with one value changed; "" or the error. */
static const char *with(const char *key, json_t *value)
{
    struct cb_policy p;
    json_t *j = smoke();
    json_object_set_new(j, key, value);
    cb_error_clear();
    int status = cb_policy_from_json(j, "test", &p);
    json_decref(j);
    return status ? cb_error_text() : "";
}

static void check_policies(void)
{
    static const char *const files[] = { "smoke", "reproduce", "full" };
    struct cb_policy p, q;
    for (int i = 0; i < 3; i++) {
        char path[100];
        snprintf(path, sizeof path, "configs/profiles/%s.json", files[i]);
        json_t *j = cb_json_read(path);
        CHECK_STR(json_string_value(json_object_get(j, "name")), files[i]);
        json_object_del(j, "name");
        CHECK(!cb_policy_from_json(j, files[i], &p));
        json_decref(j);
        CHECK_STR(p.name, files[i]);
        /* there and back: what a child gets is what the parent has */
        j = cb_policy_to_json(&p);
        CHECK_STR(json_string_value(json_object_get(j, "name")), files[i]);
        json_object_del(j, "name");
        CHECK(!cb_policy_from_json(j, files[i], &q) && !memcmp(&p, &q, sizeof p));
        json_decref(j);
    }
    CHECK_STR(with("eps", json_real(0.01)), "");
    CHECK_STR(with("epsilon", json_real(0.01)), "policy has no parameter 'epsilon'");
    CHECK_STR(with("eps", json_integer(0)), "policy: 'eps' = 0 is not in 1e-06 .. 1");
    CHECK_STR(with("rounds_min", json_integer(5)), "policy: 'rounds_min' = 5 is not in 6 .. 2000");
    CHECK_STR(with("rounds_min", json_integer(12)), "policy: rounds_max 11 is below rounds_min 12");
    CHECK_STR(with("far_rounds", json_integer(7)),
              "policy: rounds_min 11 gives a far row fewer than far_rounds 7 rounds");
    CHECK_STR(with("far", json_real(0.5)), "policy: far 0.5 would make the fastest row a far one");
    CHECK_STR(with("far", json_integer(0)), "");
    CHECK_STR(with("invocations", json_real(1)), "policy: 'invocations' must be an integer");
    json_t *j = smoke();
    json_object_del(j, "eps");
    CHECK(cb_policy_from_json(j, "test", &p) == -1);
    CHECK_STR(cb_error_text(), "policy needs parameter 'eps'");
    json_decref(j);
}

static void check_policy_set(void)
{
    struct cb_policy p;
    json_t *j = smoke();
    CHECK(!cb_policy_from_json(j, "smoke", &p));
    json_decref(j);
    CHECK(!cb_policy_set(&p, "eps", "0.25") && p.eps == 0.25);
    CHECK(!cb_policy_set(&p, "t_max_s", "3e1") && p.t_max_s == 30);
    CHECK(!cb_policy_set(&p, "invocations", "4") && p.invocations == 4);
    static const struct {
        const char *key, *value, *error;
    } bad[] = {
        { "eps", "", "policy: 'eps' = '' is not a number" },
        { "eps", "1x", "policy: 'eps' = '1x' is not a number" },
        { "eps", "1e999", "policy: 'eps' = '1e999' is not a number" },
        { "eps", "nan", "policy: 'eps' = nan is not in 1e-06 .. 1" },
        { "eps", "2", "policy: 'eps' = 2 is not in 1e-06 .. 1" },
        { "invocations", "1.5", "policy: 'invocations' = '1.5' is not an integer" },
        { "invocations", "nan", "policy: 'invocations' = 'nan' is not an integer" },
        { "invocations", "0", "policy: 'invocations' = 0 is not in 1 .. 1000" },
        { "rounds_max", "10", "policy: rounds_max 10 is below rounds_min 11" },
        { "name", "x", "policy has no 'name'" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(cb_policy_set(&p, bad[i].key, bad[i].value) == -1);
        CHECK_STR(cb_error_text(), bad[i].error);
    }
}

/* ---- files ---- */

static const char *read_error(const char *path, const char *content)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(content, f) != EOF && !fclose(f));
    json_t *j = cb_json_read(path);
    CHECK(!j);
    json_decref(j);
    const char *base = strstr(cb_error_text(), "a.json");
    return base ? base : cb_error_text();
}

static void check_files(void)
{
    char folder[] = "/tmp/params.XXXXXX", path[64], below[80], want[200];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/a.json", folder);
    CHECK_STR(read_error(path, ""), "a.json:1: '[' or '{' expected near end of file");
    CHECK_STR(read_error(path, "{\n\"a\": 1,\n}\n"), "a.json:3: string or '}' expected near '}'");
    CHECK_STR(read_error(path, "{\"a\": 1,\n\"a\": 2}"),
              "a.json:2: duplicate object key near '\"a\"'");
    json_t *j = json_pack("{s:i}", "a", 5), *back;
    CHECK(!cb_json_write(path, j, JSON_COMPACT));
    back = cb_json_read(path);
    CHECK(json_equal(j, back));
    json_decref(back);

    /* what cannot be written leaves what was there */
    snprintf(below, sizeof below, "%s/b", path); /* below a file */
    CHECK(cb_json_write(below, j, 0) == -1);
    snprintf(want, sizeof want, "%s: cannot be written: Not a directory", below);
    CHECK_STR(cb_error_text(), want);
    CHECK(cb_json_read(below) == NULL);
    snprintf(below, sizeof below, "%s/c", folder);
    CHECK(!mkdir(below, 0777));
    CHECK(cb_json_write(below, j, 0) == -1);
    CHECK(strstr(cb_error_text(), "cannot be replaced: Is a directory"));
    CHECK(cb_json_read(below) == NULL);
    snprintf(want, sizeof want, "%s: cannot be read", below);
    CHECK_STR(cb_error_text(), want);
    /* a full disk: the new file is a link to the device that has no room */
    snprintf(below, sizeof below, "%s.new", path);
    if (access("/dev/full", W_OK)) {
        SKIP("test_params: no /dev/full");
    } else {
        CHECK(!symlink("/dev/full", below));
        CHECK(cb_json_write(path, j, 0) == -1);
        snprintf(want, sizeof want, "%s: not written whole: No space left on device", path);
        CHECK_STR(cb_error_text(), want);
        CHECK(access(below, F_OK)); /* the piece is gone */
        back = cb_json_read(path);
        CHECK(json_equal(j, back));
        json_decref(back);
    }
    char deep[5000];
    memset(deep, 'x', sizeof deep);
    deep[sizeof deep - 1] = 0;
    CHECK(cb_json_write(deep, j, 0) == -1 && strstr(cb_error_text(), "the path is too long"));
    json_decref(j);
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(!system(command));
}

int main(void)
{
    check_params();
    check_bad_params();
    check_policies();
    check_policy_set();
    check_files();
    return TEST_END();
}

/*
 * fuzz_config.c - libFuzzer target for experiments.json and policies.
 * `make fuzz` builds it with the sanitizers and runs it.
 * What is taken must be a suite: every case with an id of its own, every experiment
 * with an implementation; what is refused leaves nothing and a text that says why.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/suite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An operator with a parameter of each type in place of the real ones, which would bring
 * kernels along. */
struct settings {
    int n, dtype;
    double x;
    char matrix[CB_PATH_MAX], name[CB_TEXT_MAX];
};
static const char *const dtypes[] = { "f32", "f16", NULL };
static const struct cb_param params[] = {
    { "matrix", CB_PATH, offsetof(struct settings, matrix), 0, 0, 0, NULL, true, "" },
    { "n", CB_INT, offsetof(struct settings, n), 0, 1, 65536, NULL, true, "" },
    { "dtype", CB_CHOICE, offsetof(struct settings, dtype), 0, 0, 0, dtypes, false, "" },
    { "x", CB_REAL, offsetof(struct settings, x), 1, 0, 0, NULL, false, "" },
    { "name", CB_TEXT, offsetof(struct settings, name), 0, 0, 0, NULL, false, "" },
    { 0 },
};
static const struct op_impl rows[] = {
    { .name = "ref_csr", .title = "reference", .role = OP_REFERENCE, .layout = "row" },
    { .name = "host_rb", .title = "rows", .role = OP_OWN, .layout = "row" },
    { .name = "host_eb", .title = "elements", .role = OP_OWN, .layout = "column" },
};

static const struct op_impl *impl_at(int i)
{
    return i < 3 ? &rows[i] : NULL;
}

static const struct cb_op spmm = { .name = "spmm", .title = "spmm", .params = params,
                                   .params_size = sizeof(struct settings), .impl = impl_at };
static const struct cb_op stats = { .name = "matrix_stats", .title = "stats", .params = params,
                                    .params_size = sizeof(struct settings), .impl = impl_at,
                                    .untimed = true };
const struct cb_op *const suite_ops[] = { &spmm, &stats, NULL };

/* As in measure.c, which would bring the devices along. */
static const char *const caches[] = { "hot", "cold", "coldw" };

int cb_cache_parse(const char *text, enum cb_cache *out)
{
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, caches[i])) {
            *out = (enum cb_cache)i;
            return 0;
        }
    return cb_error("no cache state");
}

int cb_regime_parse(const char *text, enum cb_regime *out)
{
    *out = !strcmp(text, "burst") ? CB_BURST : CB_STEADY;
    return !strcmp(text, "burst") || !strcmp(text, "steady") ? 0 : cb_error("no regime");
}

static void must(int condition)
{
    if (!condition)
        abort();
}

static void check(const struct suite *s)
{
    for (int i = 0; i < s->experiment_count; i++) {
        const struct experiment *e = &s->experiments[i];
        must(e->impl[0] && e->id[0] && e->op && e->aa < 3);
        for (int c = 0; c < e->case_count; c++) {
            const struct settings *p = e->cases[c].params;
            must(p->n >= 1 && p->n <= 65536 && p->dtype >= 0 && p->dtype < 2);
            must(!strncmp(e->cases[c].id, s->name, strlen(s->name)));
            must(c == 0 || strcmp(e->cases[c].id, e->cases[c - 1].id));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const profiles[] = { "smoke", "reproduce", "full" };
    json_t *j = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    for (int i = 0; j && i < 3; i++) {
        struct suite s;
        cb_error_clear();
        int status = suite_parse(j, "text", profiles[i], &s);
        must(status ? status == -1 && !s.experiments && !strncmp(cb_error_text(), "text: ", 6)
                    : s.experiments != NULL);
        if (!status)
            check(&s);
        suite_free(&s);
    }
    struct cb_policy p;
    if (j && !cb_policy_from_json(j, "text", &p)) {
        json_t *back = cb_policy_to_json(&p);
        must(p.rounds_min >= 6 && p.rounds_max <= CB_ROUNDS_MAX && p.rounds_min <= p.rounds_max);
        json_decref(back);
    }
    must(!j || j->refcount == 1);
    json_decref(j);
    return 0;
}

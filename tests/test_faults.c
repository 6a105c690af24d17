/*
 * test_faults.c - implementations that misbehave, each in its own way: what a run makes
 * of them, and that the cases around them are not touched.
 *
 * The program is parent and child: the runner starts `self worker`.  The operator is
 * y = x; its rows work through the functions of device.h only, so that the same test
 * serves on the host and on a GPU.
 */
#define _GNU_SOURCE /* mkdtemp */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/record.h"
#include "../harness/runner.h"
#include "../suites/probe.h"
#include "test.h"

/* Under the address sanitizer a huge allocation must fail and a bad access end the
 * process, as they do without it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:handle_segv=0";
}

enum fault {
    GOOD, SKIPS, TOO_FAR, TOO_EARLY, GIVES_NAN, KEPT_POINTER, KEPT_VALUES, STOPS, REFUSES,
    CRASHES, HANGS, EXITS, NO_MEMORY, NOT_HERE, ABLATED, FAULTS
};
static const struct op_impl rows[FAULTS] = {
#define ROW(fault, row, r) \
    [fault] = { .name = row, .title = row, .origin = "test", .role = r, .sm_max = 999 }
    ROW(GOOD, "good", OP_BASELINE),
    ROW(SKIPS, "skips", OP_PAPER),
    ROW(TOO_FAR, "too_far", OP_PAPER),
    ROW(TOO_EARLY, "too_early", OP_PAPER),
    ROW(GIVES_NAN, "gives_nan", OP_PAPER),
    ROW(KEPT_POINTER, "kept_pointer", OP_PAPER),
    ROW(KEPT_VALUES, "kept_values", OP_PAPER),
    ROW(STOPS, "stops", OP_PAPER),
    ROW(REFUSES, "refuses", OP_PAPER),
    ROW(CRASHES, "crashes", OP_PAPER),
    ROW(HANGS, "hangs", OP_PAPER),
    ROW(EXITS, "exits", OP_PAPER),
    ROW(NO_MEMORY, "no_memory", OP_PAPER),
    ROW(NOT_HERE, "not_here", OP_PAPER),
    [ABLATED] = { .name = "ablated", .title = "ablated", .origin = "test", .role = OP_ABLATION,
                  .ablates = "good", .stage = OP_LOADONLY, .sm_max = 999 },
};

static const struct op_impl *impl_at(int i)
{
    return i < FAULTS ? &rows[i] : NULL;
}

/* ---- the operator ---- */

struct copy_params {
    int n, row;
};
static const struct cb_param params[] = {
    { "n", CB_INT, offsetof(struct copy_params, n), 0, 2, 1 << 24, NULL, true, "elements" },
    { "row", CB_INT, offsetof(struct copy_params, row), 0, 0, FAULTS, NULL, false, "for the id" },
    { 0 },
};

enum { SETS_MAX = 64 };
struct instance {
    struct cb_device *device;
    long n;
    uint64_t seed;
    int sets;
    void *x[SETS_MAX], *y[SETS_MAX];
    double *want;      /* on the host */
    void *want_device; /* [n] */
};

struct bound {
    struct instance *in;
    enum fault fault;
    void *kept;      /* KEPT_VALUES: the first output */
    const void *last; /* KEPT_POINTER: input whose output is in place already */
    int runs;
};

static int open_copy(struct cb_context *c, const void *p, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = in;
    if (!in)
        return cb_error("no memory");
    in->device = c->device;
    in->n = ((const struct copy_params *)p)->n;
    in->seed = c->seed;
    return 0;
}

static void close_copy(void *instance)
{
    struct instance *in = instance;
    for (int s = 0; in && s < in->sets; s++) {
        cb_free(in->device, in->x[s]);
        cb_free(in->device, in->y[s]);
    }
    if (in) {
        cb_free(in->device, in->want_device);
        free(in->want);
    }
    free(in);
}

static enum op_status ready_copy(void *instance, const struct op_impl *i, const char **why)
{
    (void)instance;
    *why = "not for this n";
    return i == &rows[NOT_HERE] ? OP_EUNSUPPORTED : OP_OK;
}

static struct cb_work work_copy(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    (void)i;
    return (struct cb_work){ .bytes_min = 8.0 * (double)in->n, .bytes_model = 8.0 * (double)in->n };
}

static void set_bytes(void *instance, double *weights, double *inputs, double *outputs)
{
    const struct instance *in = instance;
    *weights = 0;
    *inputs = *outputs = 4.0 * (double)in->n;
}

static int prepare_copy(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)weight_sets;
    if (input_sets > SETS_MAX)
        return cb_error("more than %d sets", SETS_MAX);
    for (in->sets = 0; in->sets < input_sets; in->sets++)
        if (cb_alloc(c->device, 4 * (size_t)in->n, &in->x[in->sets]) ||
            cb_alloc(c->device, 4 * (size_t)in->n, &in->y[in->sets]) ||
            cb_random(c->device, in->x[in->sets], CB_F32, CB_UNIFORM, in->seed, 1,
                      (uint32_t)in->sets, 1, in->n, false))
            return -1;
    in->want = malloc((size_t)in->n * sizeof *in->want);
    if (!in->want)
        return cb_error("no memory");
    return cb_alloc(c->device, 8 * (size_t)in->n, &in->want_device) || cb_sync(c->device) ? -1 : 0;
}

static int bind_copy(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct instance *in = instance;
    struct bound *b = calloc(1, sizeof *b);
    *out = b;
    if (!b)
        return cb_error("no memory");
    b->in = in;
    b->fault = (enum fault)(i - rows);
    if (b->fault == NO_MEMORY)
        return cb_alloc(c->device, (size_t)1 << 50, &b->kept);
    return b->fault == KEPT_VALUES ? cb_alloc(c->device, 4 * (size_t)in->n, &b->kept) : 0;
}

static void unbind_copy(void *bound)
{
    struct bound *b = bound;
    if (b)
        cb_free(b->in->device, b->kept);
    free(b);
}

static int run_copy(void *bound, int weights, int set)
{
    struct bound *b = bound;
    struct instance *in = b->in;
    struct cb_device *d = in->device;
    char *x = in->x[set], *y = in->y[set];
    size_t bytes = 4 * (size_t)in->n, half = 4 * ((size_t)in->n / 2);
    (void)weights;
    b->runs++;
    switch (b->fault) {
    case SKIPS: /* one element in the middle */
        return cb_copy(d, y, x, half) || cb_copy(d, y + half + 4, x + half + 4, bytes - half - 4);
    case TOO_FAR:
        return cb_copy(d, y, x, bytes) || cb_fill(d, y + bytes, 0, 4);
    case TOO_EARLY:
        return cb_copy(d, y, x, bytes) || cb_fill(d, y - 4, 0, 4);
    case GIVES_NAN:
        return cb_copy(d, y, x, bytes) || cb_fill(d, y + half, 0xFF, 4);
    case KEPT_POINTER:
        if (b->last == x)
            return 0;
        b->last = x;
        return cb_copy(d, y, x, bytes);
    case KEPT_VALUES:
        return (b->runs == 1 && cb_copy(d, b->kept, x, bytes)) || cb_copy(d, y, b->kept, bytes);
    case STOPS: /* works while it is checked, then no longer */
        return b->runs <= 2 ? cb_copy(d, y, x, bytes) : cb_copy(d, y, x, half);
    case REFUSES:
        return cb_error("it will not");
    case CRASHES:
        return cb_random(d, (void *)16, CB_F32, CB_UNIFORM, 1, 1, 0, 1, in->n, false);
    case HANGS:
        return cb_spin(d, 1e9);
    case EXITS:
        exit(7);
    case ABLATED:
        return cb_copy(d, y, x, half);
    default:
        return cb_copy(d, y, x, bytes);
    }
}

static int outputs_copy(void *bound, int weights, int set, struct cb_region *out, int max)
{
    const struct instance *in = ((struct bound *)bound)->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->y[set], 4 * (size_t)in->n };
    return 1;
}

static int expect_copy(struct cb_context *c, void *instance, int weights, int set)
{
    struct instance *in = instance;
    (void)weights;
    for (long i = 0; i < in->n; i++)
        in->want[i] = (double)cb_random_at(CB_UNIFORM, in->seed, 1, (uint32_t)set, (uint64_t)i);
    return cb_upload(c->device, in->want_device, in->want, 8 * (size_t)in->n);
}

static int check_copy(struct cb_context *c, void *bound, int weights, int set,
                      struct cb_accuracy *r1, struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((struct bound *)bound)->in;
    const struct cb_view y = { in->y[set], CB_F32, 1, in->n, false };
    (void)weights, (void)r2, (void)limit;
    return cb_compare(c->device, &y, in->want_device, NULL, r1);
}

static const struct cb_op copy = {
    .name = "copy", .title = "y = x", .params = params, .params_size = sizeof(struct copy_params),
    .impl = impl_at, .open = open_copy, .ready = ready_copy, .work = work_copy,
    .set_bytes = set_bytes, .prepare = prepare_copy, .bind = bind_copy, .run = run_copy,
    .outputs = outputs_copy, .expect = expect_copy, .check = check_copy, .unbind = unbind_copy,
    .close = close_copy,
};

/* ---- the plan, the same in parent and child ---- */

static const struct cb_policy policy = {
    .name = "test", .invocations = 2, .warmup_max_s = 0.01, .rounds_min = 6, .rounds_max = 6,
    .samples_per_round = 1, .eps = 0.5, .t_max_s = 0.1, .window_us = 20, .executions_max = 64,
    .converge_within = 1.5, .delta = 0.01, .flush_l2 = 3, .rotate_l2 = 1, .timeout_s = 2,
};

enum { SMALL = 1000, CASES_MAX = 2 * FAULTS + 2 };
static struct copy_params setting[CASES_MAX];
static char id[CASES_MAX][CB_ID_MAX];
static const struct op_impl *impl[CASES_MAX][3];
static const struct op_impl *const baseline[] = { &rows[GOOD], NULL };
static struct cb_plan_item item[CASES_MAX];
static int items;

/* good beside the row, on n elements */
static void add(const char *experiment, enum fault fault, int n, enum cb_cache cache)
{
    int k = items++;
    setting[k] = (struct copy_params){ n, fault };
    snprintf(id[k], sizeof id[k], "test/%s/%s_%d/%s", experiment, rows[fault].name, k,
             cb_cache_name(cache));
    impl[k][0] = &rows[GOOD];
    impl[k][1] = fault == GOOD ? NULL : &rows[fault];
    item[k] = (struct cb_plan_item){ id[k], experiment, &copy, &setting[k], impl[k], baseline, -1,
                                     cache, CB_STEADY };
}

/* n at which a few sets of operands are rotated in a cold case.  Only the child's counts:
 * a tool under which the parent runs may show it another cache. */
static int large(const char *device)
{
    struct cb_device *d;
    if (cb_device_open(device, &d))
        return SMALL;
    long n = (long)(cb_device_info(d)->l2 / 8 / 8);
    cb_device_close(d);
    return (int)(n < SMALL ? SMALL : n);
}

static void plan_all(int n_large)
{
    for (int f = 1; f < FAULTS; f++)
        if (f != HANGS && f != KEPT_VALUES)
            add("faults", (enum fault)f, SMALL, CB_HOT);
    add("faults", KEPT_VALUES, n_large, CB_COLD);
    add("faults", GOOD, n_large, CB_COLD);
    add("faults", HANGS, SMALL, CB_HOT);
    for (int n = SMALL + 1; n < SMALL + 4; n++)
        add("after", GOOD, n, CB_HOT);
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int worker(void)
{
    json_t *plan = json_loadf(stdin, 0, NULL);
    int code;
    if (json_object_get(plan, "probe")) {
        code = probe_worker(plan);
    } else {
        plan_all(large(text(plan, "device")));
        code = cb_worker(plan, item, items, &policy);
    }
    json_decref(plan);
    return code;
}

/* ---- what came of it ---- */

/* The last line of a case; *seen counts them. */
static const json_t *line_of(const json_t *lines, const char *case_id, int invocation, int *seen)
{
    const json_t *found = NULL;
    size_t i;
    json_t *line;
    *seen = 0;
    json_array_foreach((json_t *)lines, i, line)
        if (!strcmp(text(line, "id"), case_id) &&
            json_integer_value(json_object_get(line, "invocation")) == invocation) {
            found = line;
            (*seen)++;
        }
    return found;
}

static const json_t *row_of(const json_t *line, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(line, "implementations"), i, row)
        if (!strcmp(text(row, "kernel"), name))
            return row;
    return NULL;
}

struct expected {
    const char *status, *row, *reason; /* of the case; of the row, "": the case has no rows */
};
static const struct expected expected[FAULTS] = {
    [GOOD] = { "ok", "ok", "" },
    [SKIPS] = { "wrong", "wrong", "1 of 1000 elements are NaN or Inf" },
    [TOO_FAR] = { "wrong", "wrong",
                 "out_of_bounds: memory after an allocation of 4000 bytes was written" },
    [TOO_EARLY] = { "wrong", "wrong",
                   "out_of_bounds: memory before an allocation of 4000 bytes was written" },
    [GIVES_NAN] = { "wrong", "wrong", "1 of 1000 elements are NaN or Inf" },
    [KEPT_POINTER] = { "wrong", "wrong", "elements beyond their bound" },
    [KEPT_VALUES] = { "wrong", "wrong", "after timing: " },
    [STOPS] = { "wrong", "wrong", "after timing: 500 of 1000 elements are NaN or Inf" },
    [REFUSES] = { "wrong", "wrong", "it will not" },
    [CRASHES] = { "crashed", "", "" },
    [HANGS] = { "timeout", "", "no answer in time" },
    [EXITS] = { "crashed", "", "ended with exit code 7" },
    [NO_MEMORY] = { "oom", "oom", "oom: " },
    [NOT_HERE] = { "ok", "unsupported", "not for this n" },
    [ABLATED] = { "ok", "ok", "" },
};

static bool timed(const json_t *row)
{
    return json_number_value(json_object_get(json_object_get(row, "time_us"), "median")) > 0;
}

static void check_case(const json_t *lines, int k, int invocation, bool on_host)
{
    const struct expected *e = &expected[setting[k].row];
    const char *name = rows[setting[k].row].name;
    int before = test_failed, seen;
    const json_t *line = line_of(lines, id[k], invocation, &seen);
    const json_t *row = row_of(line, name), *good = row_of(line, "good");
    CHECK(seen == 1);
    CHECK_STR(text(line, "status"), e->status);
    if (*e->row) {
        /* a row that is wrong has no time; the one beside it has */
        CHECK_STR(text(row, "status"), e->row);
        CHECK(strstr(text(row, "reason"), e->reason));
        CHECK(timed(row) == !strcmp(e->row, "ok"));
        CHECK_STR(text(good, "status"), "ok");
        CHECK(timed(good));
        CHECK(json_is_true(json_object_get(json_object_get(good, "correctness"), "post_check")));
    } else if (setting[k].row == CRASHES) {
        /* the host has a signal, a GPU an error that the child reports */
        CHECK(strstr(text(line, "reason"), on_host ? "ended by signal 11" : ""));
        CHECK(*text(line, "reason"));
    } else {
        CHECK(strstr(text(line, "reason"), e->reason));
        CHECK(json_array_size(json_object_get(line, "implementations")) == 0);
    }
    if (setting[k].row == ABLATED)
        CHECK_STR(text(json_object_get(row, "correctness"), "status"), "unchecked");
    if (before != test_failed)
        printf("    %s #%d: %s: %s\n", id[k], invocation, text(line, "status"),
               text(line, "reason"));
}

static void remove_folder(const char *folder)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK(!system(command));
}

/* All rows; then the same again, when only what was lost runs once more. */
static void check_run(const char *device, bool on_host)
{
    char folder[] = "/tmp/faults.XXXXXX", path[300];
    json_t *plan = json_object(), *lines;
    struct cb_run run = { .directory = folder, .paper = "test", .devices = { device },
                          .device_count = 1, .policy = &policy, .seed = 5, .order_seed = 12,
                          .child_plan = plan, .progress = "none" };
    struct cb_tally t;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    CHECK(!cb_run(&run, item, items, &t));
    CHECK(t.done == 2 * items && t.left == 0 && !t.interrupted && !t.wedged);
    CHECK(t.wrong == 2 * 8 && t.crashed == 2 * 2 && t.timeout == 2 && t.oom == 2);
    lines = cb_journal_read(path);
    CHECK(json_array_size(lines) == (size_t)(2 * items));
    for (int k = 0; k < items; k++)
        for (int invocation = 1; invocation <= 2; invocation++)
            check_case(lines, k, invocation, on_host);
    json_decref(lines);

    CHECK(!cb_run(&run, item, items, &t));
    CHECK(t.done == 2 * items && t.left == 0);
    CHECK(t.wrong == 2 * 8 && t.crashed == 2 * 2 && t.timeout == 2 && t.oom == 2);
    lines = cb_journal_read(path);
    CHECK(json_array_size(lines) == (size_t)(2 * items + 2 * 4));

    /* joined, every case is there once, with the worst of its invocations */
    double *samples = NULL;
    size_t count = 0;
    json_t *cases = cb_cases_merge(lines, NULL, 1e6, &samples, &count);
    CHECK(json_array_size(cases) == (size_t)items && count > 0);
    free(samples);
    json_decref(cases);
    json_decref(lines);
    json_decref(plan);
    remove_folder(folder);
}

/* Two lanes share the work: every case of every invocation exactly once. */
static void check_lanes(const char *device)
{
    char folder[] = "/tmp/faults.XXXXXX", path[300];
    json_t *plan = json_object(), *lines;
    struct cb_run run = { .directory = folder, .paper = "test", .devices = { device, device },
                          .device_count = 2, .policy = &policy, .seed = 5, .order_seed = 12,
                          .child_plan = plan, .progress = "none" };
    struct cb_tally t;
    int seen, first = items;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    while (first > 0 && !strcmp(item[first - 1].experiment, "after"))
        first--;
    CHECK(items - first == 3);
    CHECK(!cb_run(&run, item + first, items - first, &t));
    CHECK(t.done == 6 && t.left == 0);
    lines = cb_journal_read(path);
    CHECK(json_array_size(lines) == 6);
    for (int k = first; k < items; k++)
        for (int invocation = 1; invocation <= 2; invocation++)
            CHECK(line_of(lines, id[k], invocation, &seen) && seen == 1);
    json_decref(lines);
    json_decref(plan);
    remove_folder(folder);
}

/* A device that no child can open: the case in turn has the reason, the run stops. */
static void check_no_device(void)
{
    char folder[] = "/tmp/faults.XXXXXX", path[300];
    json_t *plan = json_object(), *lines;
    struct cb_run run = { .directory = folder, .paper = "test", .devices = { "cuda:4000" },
                          .device_count = 1, .policy = &policy, .seed = 5, .order_seed = 12,
                          .child_plan = plan, .progress = "none" };
    struct cb_tally t;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    CHECK(cb_run(&run, item, 1, &t) == -1);
    CHECK(t.wedged && t.crashed == 1);
    CHECK(strstr(cb_error_text(), "device cuda:4000 does not answer after a crash"));
    lines = cb_journal_read(path);
    CHECK(strstr(text(json_array_get(lines, 0), "reason"), "cuda"));
    json_decref(lines);
    json_decref(plan);
    remove_folder(folder);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "worker"))
        return worker();
    const char *device = cb_device_count() > 0 ? "cuda" : "host";
    cb_signals();
    plan_all(SMALL);
    check_run(device, !strcmp(device, "host"));
    check_lanes(device);
    check_no_device();
    return TEST_END();
}

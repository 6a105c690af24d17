/* run.c - see run.h. */
#include "run.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/env.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/record.h"
#include "../harness/sha.h"
#include "claims.h"
#include "home.h"
#include "kernel_sass.h"
#include "probe.h"
#include "shard.h"
#include "suite.h"

static const size_t JSON_FORM = JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(9);
enum { DEFAULT_SEED = 20260601 };

static void utc_now(char *out, size_t size, const char *form)
{
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    strftime(out, size, form, &t);
}

/* ---- the plan ---- */

struct plan {
    struct suite suite;
    struct cb_policy policy;
    struct cb_plan_item *item;
    int count;
    const struct op_impl ***owned; /* baselines, to be freed */
    int owned_count;
    int shard, shards; /* 0: the plan is whole */
    json_t *whole;     /* ids of all parts; NULL: the plan is whole */
};

static void plan_free(struct plan *p)
{
    for (int i = 0; i < p->owned_count; i++)
        free(p->owned[i]);
    free(p->owned);
    free(p->item);
    json_decref(p->whole);
    suite_free(&p->suite);
    *p = (struct plan){ 0 };
}

/* Members of the experiment's baseline: a group, or the row alone. */
static const struct op_impl **baseline_of(const struct plan *p, const struct experiment *e)
{
    const struct op_impl **list;
    if (!e->baseline[0])
        return NULL;
    if (json_object_get(p->suite.groups, e->baseline))
        return suite_group(&p->suite, e->op, e->baseline);
    list = calloc(2, sizeof *list);
    for (int i = 0; list && e->impl[i]; i++)
        if (!strcmp(e->impl[i]->name, e->baseline))
            list[0] = e->impl[i];
    return list;
}

static bool chosen(const struct run_options *o, const struct experiment *e, const struct suite_case *c)
{
    return (!o->experiment || !fnmatch(o->experiment, e->id, 0)) &&
           (!o->cases || !fnmatch(o->cases, c->id, 0)) &&
           (!o->cache || e->op->untimed || !strcmp(o->cache, cb_cache_name(c->cache)));
}

/* Items of everything that options select, from a loaded suite. */
static int plan_items(struct plan *p, const struct run_options *o)
{
    int most = 0;
    for (int i = 0; i < p->suite.experiment_count; i++)
        most += p->suite.experiments[i].case_count;
    p->item = calloc((size_t)most + 1, sizeof *p->item);
    p->owned = calloc((size_t)p->suite.experiment_count + 1, sizeof *p->owned);
    if (!p->item || !p->owned)
        return cb_error("no memory for a plan");
    for (int i = 0; i < p->suite.experiment_count; i++) {
        const struct experiment *e = &p->suite.experiments[i];
        const struct op_impl **baseline = baseline_of(p, e);
        p->owned[p->owned_count++] = baseline;
        for (int c = 0; c < e->case_count; c++)
            if (chosen(o, e, &e->cases[c]))
                p->item[p->count++] = (struct cb_plan_item){
                    e->cases[c].id, e->id, e->op, e->cases[c].params, e->impl, baseline, e->aa,
                    e->cases[c].cache, e->regime };
    }
    return 0;
}

static int profile_load(const struct run_options *o, struct cb_policy *out)
{
    char path[4200], relative[128];
    snprintf(relative, sizeof relative, "configs/profiles/%.60s.json", o->profile);
    home_path(relative, path, sizeof path);
    json_t *j = cb_json_read(path);
    if (!j)
        return -1;
    json_object_del(j, "name");
    int status = cb_policy_from_json(j, o->profile, out);
    json_decref(j);
    if (status)
        return cb_error_in("%s", path);
    char number[64];
    const struct {
        const char *key;
        double value;
    } set[] = { { "eps", o->eps }, { "t_max_s", o->t_max_s }, { "timeout_s", o->timeout_s },
                { "invocations", o->invocations }, { "rounds_max", o->rounds_max } };
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (set[i].value > 0) {
            snprintf(number, sizeof number, "%.17g", set[i].value);
            if (cb_policy_set(out, set[i].key, number))
                return -1;
        }
    return 0;
}

static int rows_of(const struct cb_plan_item *item)
{
    int rows = 0;
    while (item->impl[rows])
        rows++;
    return rows;
}

/* Seconds of one invocation on a GPU if the case converges at once. */
static double seconds_of(const struct cb_plan_item *item, const struct cb_policy *policy)
{
    int rows = rows_of(item);
    return item->op->untimed
               ? 0.5
               : 1e-6 * policy->window_us * 2.5 * rows * (policy->rounds_min + 2) + 0.02 * rows + 0.3;
}

static json_t *planned_json(const struct plan *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->count; i++)
        json_array_append_new(list, json_string(p->item[i].id));
    return list;
}

/* Keeps the part that options name; cases with the same first parameter share an input. */
static int plan_shard(struct plan *p, const char *shard)
{
    size_t n = (size_t)p->count + 1;
    double *cost = calloc(n, sizeof *cost);
    int *unit = calloc(n, sizeof *unit), *owner = calloc(n, sizeof *owner), kept = 0;
    char (*label)[CB_ID_MAX] = calloc(n, sizeof *label);
    int status = shard_parse(shard, &p->shard, &p->shards);
    if (!status && (!cost || !unit || !owner || !label))
        status = cb_error("no memory for a plan");
    for (int i = 0; i < p->count && !status; i++) {
        const struct cb_plan_item *item = &p->item[i];
        cost[i] = seconds_of(item, &p->policy) * (item->op->untimed ? 1 : p->policy.invocations);
        cb_params_label(item->op, item->params, label[i], sizeof label[i]);
        label[i][strcspn(label[i], ",")] = 0;
        for (unit[i] = 0; unit[i] < i; unit[i]++)
            if (!strcmp(p->item[unit[i]].experiment, item->experiment) &&
                !strcmp(label[unit[i]], label[i]))
                break;
    }
    if (!status)
        status = shard_deal(cost, unit, p->count, p->shards, owner);
    if (!status) {
        int all = p->count;
        p->whole = planned_json(p);
        for (int i = 0; i < p->count; i++)
            if (owner[i] == p->shard)
                p->item[kept++] = p->item[i];
        p->count = kept;
        if (!kept)
            status = cb_error("--shard %s: has no case: the plan has %d", shard, all);
    }
    free(cost);
    free(unit);
    free(owner);
    free(label);
    return status;
}

/* What a user puts in the place of the problems' own parameters; NULL: no memory. */
static json_t *given_by(const struct run_options *o)
{
    json_t *given = json_object();
    if (o->model)
        json_object_set_new(given, "model", json_string(o->model));
    if (o->data) { /* all of it, as the usual protocol has it */
        json_object_set_new(given, "data", json_string(o->data));
        json_object_set_new(given, "windows", json_integer(0));
        json_object_set_new(given, "length", json_integer(0));
    }
    if (o->calibration)
        json_object_set_new(given, "calibration", json_string(o->calibration));
    return given;
}

static int plan_load(const struct run_options *o, struct plan *p)
{
    char folder[4200], relative[128];
    json_t *given = given_by(o);
    *p = (struct plan){ 0 };
    snprintf(relative, sizeof relative, "suites/%.60s", o->paper ? o->paper : "");
    const int status =
        !o->paper ? cb_error("--paper is needed: one of the folders of suites/")
        : profile_load(o, &p->policy) ||
                suite_load_with(home_path(relative, folder, sizeof folder), o->profile, given,
                                &p->suite) ||
                plan_items(p, o)
            ? -1
            : 0;
    json_decref(given);
    if (status) {
        plan_free(p);
        return -1;
    }
    if (!p->count) {
        plan_free(p);
        return cb_error("no case of %s matches", o->paper);
    }
    if (o->shard && plan_shard(p, o->shard)) {
        plan_free(p);
        return -1;
    }
    return 0;
}

int run_plan(const struct run_options *o)
{
    struct plan p;
    double seconds = 0, most = 0;
    if (plan_load(o, &p)) {
        fprintf(stderr, "claimbench: %s\n", cb_error_text());
        return EXIT_USAGE;
    }
    for (int i = 0; i < p.count; i++) {
        double each = seconds_of(&p.item[i], &p.policy);
        bool untimed = p.item[i].op->untimed;
        seconds += each * (untimed ? 1 : p.policy.invocations);
        most += untimed ? each : (each + p.policy.t_max_s) * p.policy.invocations;
        printf("%s  %d rows, about %.1f s\n", p.item[i].id, rows_of(&p.item[i]), each);
    }
    /* one line: scripts read the last */
    printf("%d cases, %d invocations, about %d min %02d s on a GPU if every case converges at once, "
           "%d min if each is sampled for %g s, as those are whose clock the power limits\n",
           p.count, p.policy.invocations, (int)seconds / 60, (int)seconds % 60, (int)most / 60 + 1,
           p.policy.t_max_s);
    plan_free(&p);
    return EXIT_OK;
}

/* ---- what the run is ---- */

static json_t *names_of(const struct op_impl *const *impl)
{
    json_t *list = json_array();
    for (int i = 0; impl && impl[i]; i++)
        json_array_append_new(list, json_string(impl[i]->name));
    return list;
}

static json_t *experiments_json(const struct plan *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->suite.experiment_count; i++) {
        const struct experiment *e = &p->suite.experiments[i];
        json_t *o = json_deep_copy(e->json), *groups = json_object(), *g;
        const char *name;
        json_object_del(o, "problems");
        json_object_set_new(o, "implementations", names_of(e->impl));
        json_object_foreach((json_t *)p->suite.groups, name, g)
        {
            const struct op_impl **m = suite_group(&p->suite, e->op, name);
            json_t *in = json_array();
            for (int k = 0; m && m[k]; k++) /* members that take part here */
                for (int n = 0; e->impl[n]; n++)
                    if (e->impl[n] == m[k])
                        json_array_append_new(in, json_string(m[k]->name));
            free(m);
            if (json_array_size(in))
                json_object_set_new(groups, name, in);
            else
                json_decref(in);
        }
        cb_error_clear(); /* a group of another operator's rows is none here */
        json_object_set_new(o, "groups", groups);
        json_array_append_new(list, o);
    }
    return list;
}

static bool takes_part(const struct plan *p, const struct op_impl *impl)
{
    for (int e = 0; e < p->suite.experiment_count; e++)
        for (int k = 0; p->suite.experiments[e].impl[k]; k++)
            if (p->suite.experiments[e].impl[k] == impl)
                return true;
    return false;
}

static json_t *kernels_json(const struct plan *p, int sm)
{
    enum { MOST = 1024 };
    json_t *list = json_array();
    const struct op_impl *impl;
    const char *symbol[MOST];
    int count = 0;
    for (int o = 0; suite_ops[o]; o++)
        for (int i = 0; (impl = suite_ops[o]->impl(i)) && count < MOST; i++)
            if (impl->symbol && takes_part(p, impl))
                symbol[count++] = impl->symbol;
    struct kernel_sass *sass = sm ? kernel_sass_open(symbol, count) : NULL;
    for (int o = 0; suite_ops[o]; o++)
        for (int i = 0; (impl = suite_ops[o]->impl(i)); i++) {
            if (!takes_part(p, impl))
                continue;
            json_t *kernel = cb_kernel_json(suite_ops[o], impl);
            kernel_sass_add(sass, impl, sm, kernel);
            json_array_append_new(list, kernel);
        }
    kernel_sass_close(sass);
    return list;
}

static void uuid(char out[37])
{
    unsigned char b[16] = { 0 };
    FILE *f = fopen("/dev/urandom", "rb");
    if (f) {
        if (fread(b, 1, sizeof b, f) != sizeof b)
            b[0] = 0;
        fclose(f);
    }
    b[6] = (unsigned char)((b[6] & 15) | 64), b[8] = (unsigned char)((b[8] & 63) | 128);
    for (int i = 0, n = 0; i < 16; i++)
        n += sprintf(out + n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

static json_t *identity(const struct plan *p, const struct run_options *o, json_t *probe)
{
    char id[37], utc[32];
    uuid(id);
    utc_now(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ");
    const char *commit = cb_build_commit();
    long seed = o->seed ? o->seed : DEFAULT_SEED;
    json_t *run = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:i,s:{s:s?,s:b},s:o,s:o,s:o?,s:[],s:b}", "id", id, "profile",
        p->policy.name, "paper", p->suite.name, "status", "running", "started_utc", utc, "argv",
        o->argv ? o->argv : "", "seed", (json_int_t)seed, "order_seed", (json_int_t)seed + 7,
        "invocations", p->policy.invocations, "suite", "git_commit", commit[0] ? commit : NULL,
        "git_dirty", (int)cb_build_dirty(), "policy", cb_policy_to_json(&p->policy), "planned",
        planned_json(p), "timer", json_incref(json_object_get(probe, "timer")), "flags", "custom",
        (int)o->custom);
    if (p->whole)
        json_object_set_new(run, "shard", json_pack("{s:i,s:i,s:O}", "index", p->shard, "count",
                                                    p->shards, "plan", p->whole));
    json_object_set_new(run, "title", json_string(p->suite.title));
    if (p->suite.arxiv[0])
        json_object_set_new(run, "arxiv", json_string(p->suite.arxiv));
    if (json_is_true(json_object_get(probe, "cold_unverified")))
        json_array_append_new(json_object_get(run, "flags"), json_string("cold_unverified"));
    json_t *all = json_pack("{s:s,s:s,s:o}", "schema", CB_SCHEMA, "schema_version", CB_SCHEMA_VERSION, "run", run);
    json_object_set(all, "env", json_object_get(probe, "env"));
    json_object_set(all, "ceilings", json_object_get(probe, "ceilings"));
    json_object_set_new(all, "kernels", kernels_json(p, (int)json_integer_value(json_object_get(probe, "sm"))));
    json_object_set_new(all, "experiments", experiments_json(p));
    return all;
}

/* What must be equal for two pieces to be one run; a text that names the first
 * difference, or NULL. */
static const char *differs(const json_t *a, const json_t *b)
{
    static const char *const libraries[] = { "cublas", "cublaslt", "cusparse", NULL };
    const json_t *ra = json_object_get(a, "run"), *rb = json_object_get(b, "run");
    const json_t *ea = json_object_get(a, "env"), *eb = json_object_get(b, "env");
    const json_t *ga = json_array_get(json_object_get(ea, "gpu"), 0), *gb = json_array_get(json_object_get(eb, "gpu"), 0);
    const json_t *ba = json_object_get(json_object_get(ea, "build"), "binaries"),
                 *bb = json_object_get(json_object_get(eb, "build"), "binaries");
    if (strcmp(cb_json_text(ra, "paper"), cb_json_text(rb, "paper")))
        return "paper";
    if (!json_equal(json_object_get(ra, "policy"), json_object_get(rb, "policy")))
        return "policy";
    if (!json_equal(json_object_get(ra, "seed"), json_object_get(rb, "seed")))
        return "seed";
    if (!json_equal(json_object_get(ra, "suite"), json_object_get(rb, "suite")))
        return "commit";
    if (!json_equal(ba, bb))
        return "binary";
    if (strcmp(cb_json_text(ga, "name"), cb_json_text(gb, "name")) ||
        (ga && gb && !json_equal(json_object_get(ga, "sm_count"), json_object_get(gb, "sm_count"))))
        return "GPU";
    if (strcmp(cb_json_text(ea, "driver"), cb_json_text(eb, "driver")))
        return "driver";
    for (int i = 0; libraries[i] && ga; i++)
        if (strcmp(cb_json_text(json_object_get(ea, "lib_sha256"), libraries[i]),
                   cb_json_text(json_object_get(eb, "lib_sha256"), libraries[i])))
            return libraries[i];
    if (!ga && strcmp(cb_json_text(json_object_get(ea, "host"), "cpu"),
                      cb_json_text(json_object_get(eb, "host"), "cpu")))
        return "processor";
    return NULL;
}

/* ---- devices ---- */

json_t *run_probe(const char *device, const char *what)
{
    json_t *plan = json_pack("{s:s,s:s}", "probe", what, "device", device), *answer = NULL, *e;
    json_t *events = cb_child_ask(plan, !strcmp(what, "full") ? 240 : 60);
    size_t i;
    json_decref(plan);
    json_array_foreach(events, i, e)
        if (!strcmp(cb_json_text(e, "event"), "probe"))
            answer = json_incref(json_object_get(e, "answer"));
    json_decref(events);
    if (events && !answer)
        cb_error("device %s gave no answer", device);
    return answer;
}

static bool is_device(const char *name)
{
    return !strcmp(name, "host") || !strcmp(name, "cuda") ||
           (!strncmp(name, "cuda:", 5) && name[5] && strspn(name + 5, "0123456789") == strlen(name + 5));
}

/* "auto" and "all" become names; returns the number, 0 if it is no list of devices, or -1. */
static int devices_of(const struct run_options *o, char names[][16])
{
    const char *list = o->devices ? o->devices : "auto";
    int count = 0;
    if (!strcmp(list, "auto") || !strcmp(list, "all")) {
        json_t *answer = run_probe("host", "count");
        int gpus = (int)json_integer_value(json_object_get(answer, "gpus"));
        json_decref(answer);
        if (!answer)
            return -1;
        if (!gpus) {
            strcpy(names[0], "host");
            return 1;
        }
        for (int i = 0; i < (!strcmp(list, "all") ? gpus : 1) && i < CB_DEVICES_MAX; i++)
            snprintf(names[count++], 16, "cuda:%hhu", (unsigned char)i);
        return count;
    }
    for (bool more = true; more; count++) {
        size_t n = strcspn(list, ",");
        if (n < 16 && count < CB_DEVICES_MAX) {
            memcpy(names[count], list, n);
            names[count][n] = 0;
        }
        if (n > 15 || count == CB_DEVICES_MAX || !is_device(names[count])) {
            cb_error("--devices '%s': auto, all, host, cuda:N or a list of them is meant", o->devices);
            return 0;
        }
        more = list[n] == ',';
        list += n + more;
    }
    return count;
}

static int make_folders(const char *path)
{
    if (home_make_folders(path))
        return -1;
    return access(path, W_OK) ? cb_error("%s: cannot be written: %s", path, strerror(errno)) : 0;
}

/* ---- finishing ---- */

/* The control in which one row stands twice: the 99 % interval of the ratio must
 * hold 1 and its median lie within 1 %; a second failure counts. */
static json_t *aa_control(const json_t *lines)
{
    size_t i, k;
    json_t *line, *row;
    json_t *aa = NULL;
    int failures = 0, seen = 0;
    json_array_foreach((json_t *)lines, i, line)
    {
        const json_t *rows = json_object_get(line, "implementations"), *twin = NULL, *first = NULL;
        json_array_foreach(rows, k, row)
            if (strstr(cb_json_text(row, "kernel"), "#2"))
                twin = row;
        if (!twin)
            continue;
        size_t n = strcspn(cb_json_text(twin, "kernel"), "#");
        json_array_foreach(rows, k, row)
            if (strlen(cb_json_text(row, "kernel")) == n && !strncmp(cb_json_text(row, "kernel"), cb_json_text(twin, "kernel"), n))
                first = row;
        const json_t *a = json_object_get(first, "samples_us"), *b = json_object_get(twin, "samples_us");
        size_t count = json_array_size(a) < json_array_size(b) ? json_array_size(a) : json_array_size(b);
        double *rho = malloc((count + 1) * sizeof *rho);
        int used = 0;
        for (size_t r = 0; rho && r < count; r++) {
            double x = json_number_value(json_array_get(a, r)), y = json_number_value(json_array_get(b, r));
            if (x > 0 && y > 0)
                rho[used++] = x / y;
        }
        if (used) {
            struct cb_interval ci = cb_median_ci(rho, used, 0.01);
            bool ok = ci.low <= 1 && ci.high >= 1 && fabs(ci.value - 1) <= 0.01;
            failures += !ok;
            if (!seen++ || !ok) {
                json_decref(aa);
                aa = json_pack("{s:s,s:{s:f,s:[f,f],s:i},s:b}", "case", cb_json_text(line, "id"), "ratio", "median",
                               ci.value, "ci99", ci.low, ci.high, "n", used, "ok", (int)ok);
            }
        }
        free(rho);
    }
    if (aa) {
        json_object_set_new(aa, "ok", json_boolean(failures == 0 || (seen > 1 && failures < 2)));
        json_object_set_new(aa, "failures", json_integer(failures));
        json_object_set_new(aa, "controls", json_integer(seen));
    }
    return aa;
}

/* SHA256SUMS over the files of a result that are there. */
static int write_sums(const char *folder)
{
    static const char *const all[] = { "cases.json.gz", "journal.jsonl", "log.tar.gz", "result.json",
                                       "samples.f64le.gz" };
    char path[4700], sum[65];
    int status = 0;
    snprintf(path, sizeof path, "%s/SHA256SUMS", folder);
    FILE *f = fopen(path, "w");
    for (size_t i = 0; i < sizeof all / sizeof *all && f && !status; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, all[i]);
        if (access(path, F_OK))
            continue;
        status = cb_sha256_file(path, sum);
        if (!status && fprintf(f, "%s  %s\n", sum, all[i]) < 0)
            status = -1;
    }
    if (!f || fclose(f) || status)
        return cb_error("%s/SHA256SUMS: not written whole", folder);
    return 0;
}

/* Where the lines were measured: each node and device once, with the number of its lines. */
static json_t *machines_json(const json_t *lines)
{
    json_t *list = json_array(), *line, *known;
    size_t i, k;
    json_array_foreach((json_t *)lines, i, line)
    {
        json_t *machine = json_object_get(line, "machine"), *found = NULL;
        json_array_foreach(list, k, known)
            if (!strcmp(cb_json_text(known, "node"), cb_json_text(machine, "node")) &&
                !strcmp(cb_json_text(known, "uuid"), cb_json_text(machine, "uuid")))
                found = known;
        if (machine && !found) {
            found = json_copy(machine);
            json_array_append_new(list, found);
        }
        if (found)
            json_object_set_new(found, "lines",
                                json_integer(json_integer_value(json_object_get(found, "lines")) + 1));
    }
    return list;
}

/* Rows of kernels[] that no case has a part of stay: they say what was skipped. */
int run_finish(const char *folder, const char *status)
{
    char path[4608], utc[32];
    double *samples = NULL;
    size_t count = 0;
    int code = -1;
    snprintf(path, sizeof path, "%s/run.json", folder);
    json_t *doc = cb_json_read(path), *lines = NULL, *cases = NULL;
    if (!doc)
        return -1;
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    lines = cb_journal_read(path);
    if (!lines)
        goto done;
    const json_t *gpu = json_array_get(json_object_get(json_object_get(doc, "env"), "gpu"), 0);
    double l2 = json_number_value(json_object_get(gpu, "l2_bytes"));
    cases = cb_cases_merge(lines, json_object_get(doc, "ceilings"), l2, &samples, &count);
    if (!cases)
        goto done;
    json_t *run = json_object_get(doc, "run"), *aa = aa_control(lines);
    utc_now(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ");
    json_object_set_new(run, "finished_utc", json_string(utc));
    json_object_set_new(run, "status", json_string(status));
    json_object_set_new(run, "aa", aa ? aa : json_null());
    json_object_set_new(run, "machines", machines_json(lines));
    if (aa && json_is_false(json_object_get(aa, "ok")))
        json_array_append_new(json_object_get(run, "flags"), json_string("aa_failed"));
    cb_env_finish(json_object_get(doc, "env"));
    json_object_set(doc, "cases", cases);
    json_object_set_new(doc, "aggregates", json_array());
    json_object_set_new(doc, "claims", json_array());
    if (cb_samples_write(folder, samples, count))
        goto done;
    snprintf(path, sizeof path, "%s/result.json", folder);
    struct result r;
    if (result_adopt(json_incref(doc), samples, count, path, &r)) {
        samples = NULL;
        goto done;
    }
    samples = NULL;
    code = claims_judge(&r, NULL);
    char *dump = code ? NULL : json_dumps(r.doc, JSON_FORM);
    if (dump && strlen(dump) > CB_RESULT_BYTES_MAX) {
        code = cb_details_write(folder, json_object_get(r.doc, "cases"));
        json_object_set_new(json_object_get(r.doc, "run"), "details", json_string("cases.json.gz"));
        cb_cases_slim(json_object_get(r.doc, "cases"));
    }
    free(dump);
    if (!code)
        code = cb_json_write(path, r.doc, JSON_FORM) || write_sums(folder);
    result_free(&r);
done:
    free(samples);
    json_decref(cases);
    json_decref(lines);
    json_decref(doc);
    return code;
}

/* ---- running ---- */

static int exit_code(const struct cb_tally *t, const char *folder, bool strict)
{
    struct result r;
    int verdicts[CLAIM_VERDICTS] = { 0 };
    if (t->interrupted)
        return EXIT_SIGNAL;
    if (t->crashed || t->timeout || t->oom || t->wedged)
        return EXIT_CRASH;
    if (t->wrong || t->wrong_known)
        return EXIT_WRONG;
    if (strict && t->quality)
        return EXIT_QUALITY;
    if (!result_load(folder, &r)) {
        claims_count(&r, verdicts);
        result_free(&r);
    }
    return verdicts[CLAIM_NOT_REPRODUCED] ? EXIT_CLAIM : EXIT_OK;
}

static int say(int code)
{
    fprintf(stderr, "claimbench: %s\n", cb_error_text());
    return code;
}

/* The run folder: the one to go on with, the one asked for, or a new name. */
static int folder_for(const struct run_options *o, char *folder)
{
    char utc[32];
    if (o->resume) { /* must be there: run.json is read next */
        snprintf(folder, 4096, "%s", o->resume);
        return 0;
    }
    if (o->out) {
        snprintf(folder, 4096, "%s", o->out);
    } else {
        const char *commit = cb_build_commit();
        utc_now(utc, sizeof utc, "%Y%m%dT%H%M%SZ");
        snprintf(folder, 4096, "runs/%s_%.8s_%s", utc, commit[0] ? commit : "nocommit", o->paper);
    }
    return make_folders(folder);
}

/* Which cases a run holds is fixed at its start, else it could look complete. */
static bool same_cases(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(json_object_get(a, "run"), "planned"),
                      json_object_get(json_object_get(b, "run"), "planned"));
}

/* run.json, written or compared.  Returns an exit code, with cb_error set if not 0. */
static int begin(const struct plan *p, const struct run_options *o, const char *folder, json_t *probe)
{
    char path[4608];
    snprintf(path, sizeof path, "%s/run.json", folder);
    json_t *fresh = identity(p, o, probe), *old = NULL;
    int code = EXIT_USAGE, status = 0;
    if (o->resume) {
        old = cb_json_read(path);
        const char *what = old ? differs(old, fresh) : NULL;
        if (!old)
            goto done;
        if (what && !o->allow_mixed) {
            cb_error("%s: cannot go on: the %s differs (--allow-mixed goes on and records it)", folder, what);
            goto done;
        }
        if (!same_cases(old, fresh)) {
            cb_error("%s: cannot go on: it holds other cases than these options select", folder);
            goto done;
        }
        if (what) {
            json_array_append_new(json_object_get(json_object_get(old, "run"), "flags"), json_string("mixed"));
            status = cb_json_write(path, old, JSON_FORM);
        }
    } else if (!access(path, F_OK)) {
        cb_error("%s: there is a run already (--resume goes on with it)", folder);
        goto done;
    } else {
        status = cb_json_write(path, fresh, JSON_FORM);
    }
    code = status ? EXIT_INTERNAL : EXIT_OK;
done:
    json_decref(fresh);
    json_decref(old);
    return code;
}

/* A signal while the device was asked or waited for is no failure of the device. */
static int no_device(void)
{
    return cb_interrupted() ? EXIT_SIGNAL : say(EXIT_NO_DEVICE);
}

int run_suite(const struct run_options *o, bool strict, char *folder)
{
    struct plan p;
    char names[CB_DEVICES_MAX][16];
    int lock[CB_DEVICES_MAX], locks = 0, code = EXIT_OK;
    struct cb_tally tally = { 0 };
    json_t *probe = NULL, *child = NULL;
    if (plan_load(o, &p))
        return say(EXIT_USAGE);
    int devices = devices_of(o, names);
    if (devices < 1) {
        plan_free(&p);
        return devices ? no_device() : say(EXIT_USAGE);
    }
    if (folder_for(o, folder)) {
        plan_free(&p);
        return say(EXIT_INTERNAL);
    }
    for (int d = 0; d < devices; d++, locks++) {
        json_t *who = run_probe(names[d], "identify");
        int failed = !who || cb_device_lock(cb_json_text(who, "uuid")[0] ? cb_json_text(who, "uuid") : "host", o->wait, &lock[d]);
        json_decref(who);
        if (failed) {
            code = no_device();
            goto done;
        }
    }
    probe = run_probe(names[0], o->fast_start ? "quick" : "full");
    if (!probe) {
        code = no_device();
        goto done;
    }
    code = begin(&p, o, folder, probe);
    if (code) {
        say(code);
        goto done;
    }
    long seed = o->seed ? o->seed : DEFAULT_SEED;
    child = json_pack("{s:s,s:s,s:O,s:o,s:b,s:b}", "paper", p.suite.name, "profile", o->profile, "document",
                      p.suite.document, "policy", cb_policy_to_json(&p.policy), "bind", (int)!o->no_bind,
                      "cold_unverified", json_is_true(json_object_get(probe, "cold_unverified")));
    struct cb_run run = { .directory = folder, .paper = p.suite.name, .device_count = o->serial_devices ? 1 : devices,
                          .policy = &p.policy, .seed = (uint64_t)seed, .order_seed = (uint64_t)seed + 7,
                          .child_plan = child, .progress = o->progress ? o->progress : "line", .once = o->once };
    for (int d = 0; d < devices; d++)
        run.devices[d] = names[d];
    if (cb_run(&run, p.item, p.count, &tally))
        code = say(tally.wedged ? EXIT_CRASH : EXIT_INTERNAL);
    const char *status = tally.interrupted ? "interrupted" : tally.left || code ? "incomplete" : "complete";
    if (run_finish(folder, status) && !code)
        code = say(EXIT_INTERNAL);
    if (!code)
        code = exit_code(&tally, folder, strict);
done:
    for (int d = 0; d < locks; d++)
        if (lock[d] >= 0)
            close(lock[d]);
    json_decref(probe);
    json_decref(child);
    plan_free(&p);
    return code;
}

int run_worker(void)
{
    json_error_t e;
    json_t *plan = json_loadf(stdin, 0, &e);
    struct plan p = { 0 };
    int code = 14;
    if (!plan) {
        fprintf(stderr, "claimbench worker: no plan on standard input: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (json_object_get(plan, "probe")) {
        code = probe_worker(plan);
        json_decref(plan);
        return code;
    }
    json_t *policy = json_object_get(plan, "policy");
    char name[32];
    snprintf(name, sizeof name, "%s", cb_json_text(policy, "name"));
    json_object_del(policy, "name");
    struct run_options all = { 0 };
    if (cb_policy_from_json(policy, name, &p.policy) ||
        suite_parse(json_object_get(plan, "document"), "plan", cb_json_text(plan, "profile"), &p.suite) ||
        plan_items(&p, &all)) {
        fprintf(stderr, "claimbench worker: %s\n", cb_error_text());
        cb_child_tell(json_pack("{s:s,s:s}", "event", "failed", "error", cb_error_text()));
    } else {
        code = cb_worker(plan, p.item, p.count, &p.policy);
    }
    plan_free(&p);
    json_decref(plan);
    return code;
}

/* ---- pieces and records ---- */

/* As if it had been planned with so many: what runs hold beyond is left out. */
static void plan_invocations(json_t *run, int invocations)
{
    json_object_set_new(run, "invocations", json_integer(invocations));
    json_object_set_new(json_object_get(run, "policy"), "invocations", json_integer(invocations));
}

int run_merge(const char *const *pieces, int count, const char *out, int invocations,
              bool allow_mixed)
{
    char path[4608];
    json_t *first = NULL, *planned = json_array(), *seen = json_object();
    const json_t *plan = NULL; /* the whole one, where the pieces are parts of it */
    int status = count > 0 ? make_folders(out) : cb_error("merge needs run folders");
    bool mixed = false;
    snprintf(path, sizeof path, "%s/run.json", out);
    if (!status && !access(path, F_OK))
        status = cb_error("%s: there is a run already", out);
    snprintf(path, sizeof path, "%s/journal.jsonl", out);
    if (!status)
        remove(path); /* what a merge that was refused half-way left */
    for (int i = 0; i < count && !status; i++) {
        snprintf(path, sizeof path, "%s/run.json", pieces[i]);
        json_t *doc = cb_json_read(path), *lines, *line, *id;
        size_t k;
        if (!doc) {
            status = -1;
            break;
        }
        if (invocations)
            plan_invocations(json_object_get(doc, "run"), invocations);
        const char *what = first ? differs(first, doc) : NULL;
        mixed = mixed || what;
        if (what && !allow_mixed)
            status = cb_error("%s: is no piece of the same run: the %s differs", pieces[i], what);
        const json_t *part_of = json_object_get(json_object_get(json_object_get(doc, "run"), "shard"), "plan");
        if (!status && plan && part_of && !json_equal(part_of, plan))
            status = cb_error("%s: is a part of another plan", pieces[i]);
        if (!first)
            plan = part_of;
        /* the whole plan in its order, with what is not here: the result is incomplete then */
        json_array_foreach(i ? NULL : part_of, k, id)
            if (!json_object_get(seen, json_string_value(id))) {
                json_object_set_new(seen, json_string_value(id), json_true());
                json_array_append(planned, id);
            }
        json_array_foreach(json_object_get(json_object_get(doc, "run"), "planned"), k, id)
            if (!json_object_get(seen, json_string_value(id))) {
                json_object_set_new(seen, json_string_value(id), json_true());
                json_array_append(planned, id);
            }
        snprintf(path, sizeof path, "%s/journal.jsonl", pieces[i]);
        lines = status ? NULL : cb_journal_read(path);
        if (!status && !lines)
            status = -1;
        snprintf(path, sizeof path, "%s/journal.jsonl", out);
        json_array_foreach(lines, k, line)
            if (!status && (!invocations || json_integer_value(json_object_get(line, "invocation")) <= invocations))
                status = cb_journal_append(path, line);
        json_decref(lines);
        if (!first)
            first = json_incref(doc);
        json_decref(doc);
        char command[9300];
        snprintf(command, sizeof command, "mkdir -p '%s/log' && cp -r '%s/log/.' '%s/log/' 2>/dev/null", out, pieces[i], out);
        if (!status && system(command) == -1)
            status = cb_error("%s: logs cannot be copied", pieces[i]);
    }
    if (!status) {
        json_t *run = json_object_get(first, "run");
        char id[37];
        uuid(id);
        json_object_set_new(run, "id", json_string(id));
        json_object_set(run, "planned", planned);
        json_object_del(run, "shard");
        json_object_set_new(run, "pieces", json_integer(count));
        if (invocations)
            json_object_set_new(run, "custom", json_true());
        if (mixed)
            json_array_append_new(json_object_get(run, "flags"), json_string("mixed"));
        snprintf(path, sizeof path, "%s/run.json", out);
        status = cb_json_write(path, first, JSON_FORM);
    }
    if (!status) { /* complete if every planned case has all its invocations */
        snprintf(path, sizeof path, "%s/journal.jsonl", out);
        json_t *lines = cb_journal_read(path), *line, *id, *have = json_object();
        size_t k;
        char key[CB_ID_MAX + 16];
        bool whole = true;
        int needed = (int)json_integer_value(json_object_get(json_object_get(first, "run"), "invocations"));
        json_array_foreach(lines, k, line)
        {
            snprintf(key, sizeof key, "%s#%d", cb_json_text(line, "id"), (int)json_integer_value(json_object_get(line, "invocation")));
            json_object_set_new(have, key, json_true());
        }
        json_array_foreach(planned, k, id)
            for (int inv = 1; inv <= needed; inv++) {
                snprintf(key, sizeof key, "%s#%d", json_string_value(id), inv);
                whole = whole && (json_object_get(have, key) || (inv > 1 && strstr(key, "/untimed#")));
            }
        json_decref(lines);
        json_decref(have);
        status = run_finish(out, whole ? "complete" : "incomplete");
    }
    json_decref(first);
    json_decref(planned);
    json_decref(seen);
    return status;
}

int run_record(const char *folder, const char *results)
{
    char path[9300], to[4608], base[4096], command[9300], commit[16];
    snprintf(path, sizeof path, "%s/result.json", folder);
    json_t *doc = cb_json_read(path);
    if (!doc)
        return -1;
    const json_t *run = json_object_get(doc, "run"), *suite = json_object_get(run, "suite");
    const json_t *gpu = json_array_get(json_object_get(json_object_get(doc, "env"), "gpu"), 0);
    char slug[32] = "host";
    if (gpu)
        cb_slug(cb_json_text(gpu, "name"), slug, sizeof slug);
    int status = 0;
    if (strcmp(cb_json_text(run, "status"), "complete"))
        status = cb_error("%s: is not complete: %s", folder, cb_json_text(run, "status"));
    else if (!cb_json_text(suite, "git_commit")[0] || json_is_true(json_object_get(suite, "git_dirty")))
        status = cb_error("%s: was not made from a clean commit", folder);
    else if (json_is_false(json_object_get(json_object_get(run, "aa"), "ok")))
        status = cb_error("%s: its A/A control failed", folder);
    else if (!slug[0])
        status = cb_error("%s: names no device", folder);
    if (!status && results_validate(folder, NULL))
        status = -1;
    if (status) {
        json_decref(doc);
        return -1;
    }
    snprintf(commit, sizeof commit, "%.8s", cb_json_text(suite, "git_commit"));
    char utc[32];
    int n = 0;
    for (const char *s = cb_json_text(run, "started_utc"); *s && n < 30; s++)
        if (*s != '-' && *s != ':')
            utc[n++] = *s;
    utc[n] = 0;
    snprintf(base, sizeof base, "%.2000s/%s/%s", results, slug, cb_json_text(run, "paper"));
    snprintf(to, sizeof to, "%s/%s_%s", base, utc, commit);
    if (!access(to, F_OK))
        status = cb_error("%s: exists already; results are never replaced", to);
    if (!status)
        status = make_folders(to);
    static const char *const files[] = { "result.json", "samples.f64le.gz", "cases.json.gz" };
    for (int i = 0; i < 3 && !status; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (access(path, F_OK))
            continue;
        snprintf(command, sizeof command, "cp '%.4400s' '%.4400s/'", path, to);
        if (system(command))
            status = cb_error("%s: cannot be copied", path);
    }
    if (!status) {
        snprintf(command, sizeof command, "tar --sort=name --owner=0 --group=0 --numeric-owner -czf '%s/log.tar.gz' -C '%s' log",
                 to, folder);
        if (system(command))
            status = cb_error("%s/log: cannot be packed", folder);
    }
    if (!status)
        status = write_sums(to);
    if (!status) {
        snprintf(path, sizeof path, "%s/recorded", base);
        FILE *f = fopen(path, "w");
        if (!f || fprintf(f, "%s_%s\n", utc, commit) < 0 || fclose(f))
            status = cb_error("%s: cannot be written", path);
        else
            printf("%s\n", to);
    }
    json_decref(doc);
    return status;
}

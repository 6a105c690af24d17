/* results.c - reading recorded runs, and the statistics of one case over invocations. */
#include "results.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/record.h"

/* ---- small readers of JSON ---- */

const char *result_text(const json_t *object, const char *key)
{
    return cb_json_text(object, key);
}

json_t *result_listed(const json_t *list, const char *key, const char *text)
{
    size_t i;
    json_t *member;
    json_array_foreach((json_t *)list, i, member)
        if (!strcmp(result_text(member, key), text))
            return member;
    return NULL;
}

double result_number(const json_t *object, const char *key, double fallback)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

const json_t *result_work(const struct result_case *c, const struct result_row *row)
{
    const json_t *work = json_object_get(row->json, "work");
    return json_is_object(work) ? work : json_object_get(c->json, "work");
}

bool result_has_flag(const json_t *object, const char *flag)
{
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(object, "flags"), i,
                       f) if (json_is_string(f) && !strcmp(json_string_value(f), flag)) return true;
    return false;
}

/* ---- finding the folder ---- */

static char *join(const char *folder, const char *name)
{
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    if (path)
        sprintf(path, "%s/%s", folder, name);
    else
        cb_error("no memory for a path");
    return path;
}

static bool is_file(const char *folder, const char *name)
{
    struct stat s;
    char *path = join(folder, name);
    bool yes = path && !stat(path, &s) && S_ISREG(s.st_mode);
    free(path);
    return yes;
}

/* The run that FOLDER/recorded names; NULL with cb_error set. */
static char *recorded(const char *folder)
{
    char line[256] = "", *path = join(folder, "recorded"), *run = NULL;
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f) {
        cb_error("%s/recorded: cannot be read", folder);
        goto done;
    }
    if (!fgets(line, sizeof line, f))
        line[0] = 0;
    fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    if (!line[0] || strchr(line, '/') || line[0] == '.')
        cb_error("%s/recorded: '%s' is not the name of a folder beside it", folder, line);
    else if ((run = join(folder, line)) && !is_file(run, "result.json")) {
        cb_error("%s: has no result.json, though %s/recorded names it", run, folder);
        free(run);
        run = NULL;
    }
done:
    free(path);
    return run;
}

char *result_resolve(const char *path)
{
    struct stat s;
    if (stat(path, &s)) {
        cb_error("%s: %s", path, strerror(errno));
        return NULL;
    }
    if (S_ISREG(s.st_mode)) {
        const char *slash = strrchr(path, '/');
        char *folder =
            slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
        if (!folder)
            cb_error("no memory for a path");
        return folder;
    }
    if (is_file(path, "result.json"))
        return strdup(path);
    if (is_file(path, "recorded"))
        return recorded(path);
    /* results/<gpu> holds one folder a paper: plain if there is one paper only */
    DIR *dir = opendir(path);
    char *found = NULL;
    int hits = 0;
    if (dir) {
        for (struct dirent *d; (d = readdir(dir));) {
            char *sub = d->d_name[0] == '.' ? NULL : join(path, d->d_name);
            if (sub && is_file(sub, "recorded") && !hits++)
                found = sub;
            else
                free(sub);
        }
        closedir(dir);
    }
    char *run = NULL;
    if (hits == 1)
        run = recorded(found);
    else if (hits)
        cb_error("%s: holds results of %d papers: name one of its folders", path, hits);
    else
        cb_error("%s: neither result.json nor recorded is in it", path);
    free(found);
    return run;
}

/* ---- samples ---- */

/* A sidecar of more than this is not one of ours. */
enum { SAMPLES_MAX = 1 << 27 };

static int read_samples(const char *path, double **out, size_t *count)
{
    gzFile f = gzopen(path, "rb");
    if (!f)
        return cb_error("%s: %s", path, strerror(errno));
    unsigned char *bytes = NULL;
    size_t used = 0, size = 0;
    int status = -1, n = 1;
    while (n > 0) {
        if (used == size) {
            size_t larger = size ? 2 * size : 1 << 16;
            unsigned char *more = larger > (size_t)SAMPLES_MAX * 8 ? NULL : realloc(bytes, larger);
            if (!more) {
                cb_error("%s: too large", path);
                goto done;
            }
            bytes = more;
            size = larger;
        }
        n = gzread(f, bytes + used, (unsigned)(size - used > 1 << 20 ? 1 << 20 : size - used));
        if (n < 0) {
            cb_error("%s: damaged gzip data", path);
            goto done;
        }
        used += (size_t)n;
    }
    if (used % 8) {
        cb_error("%s: %zu bytes are no whole number of doubles", path, used);
        goto done;
    }
    double *x = malloc(used ? used : 8);
    if (!x) {
        cb_error("no memory for the samples");
        goto done;
    }
    for (size_t i = 0; i < used / 8; i++) { /* little-endian on any host */
        uint64_t bits = 0;
        for (int b = 7; b >= 0; b--)
            bits = bits << 8 | bytes[8 * i + b];
        memcpy(&x[i], &bits, 8);
    }
    *out = x;
    *count = used / 8;
    status = 0;
done:
    free(bytes);
    gzclose(f);
    return status;
}

/* ---- document into structs ---- */

static const json_t *need(const json_t *o, const char *key, json_type type, const char *where)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_typeof(v) != type) {
        static const char *const name[] = { "an object", "a list", "a text", "an integer" };
        cb_error("%s: %s: %s, must be %s", where, key, v ? "has another type" : "missing",
                 type <= JSON_INTEGER ? name[type] : "another type");
        return NULL;
    }
    return v;
}

static const char *title_of(const json_t *kernels, const char *kernel)
{
    size_t i;
    json_t *k;
    size_t length = strcspn(kernel, "#");
    json_array_foreach(kernels, i, k)
    {
        const char *id = result_text(k, "id");
        if (strlen(id) == length && !strncmp(id, kernel, length) && *result_text(k, "title"))
            return result_text(k, "title");
    }
    return kernel;
}

static bool finite_positive(double x)
{
    return isfinite(x) && x > 0;
}

static double median_of_rounds(const double *x, int n)
{
    double *kept = malloc((size_t)(n ? n : 1) * sizeof *kept), m = 0;
    int used = 0;
    for (int i = 0; kept && i < n; i++)
        if (finite_positive(x[i]))
            kept[used++] = x[i];
    if (used)
        m = cb_median(kept, used);
    free(kept);
    return m;
}

static double spread_of(const double *x, int n, double middle)
{
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++)
        if (x[i] > 0) {
            low = fmin(low, x[i]);
            high = fmax(high, x[i]);
        }
    return high >= low && middle > 0 ? (high - low) / middle : 0;
}

static int read_row(const struct result *r, const json_t *j, const char *where,
                    struct result_row *out)
{
    const json_t *kernel = need(j, "kernel", JSON_STRING, where);
    if (!kernel)
        return -1;
    out->json = j;
    out->kernel = json_string_value(kernel);
    out->title = title_of(json_object_get(r->doc, "kernels"), out->kernel);
    out->role = result_text(j, "role");
    out->status = result_text(j, "status");
    out->reason = result_text(j, "reason");
    out->choice = result_text(j, "choice");

    const json_t *time = json_object_get(j, "time_us"), *parts = json_object_get(j, "samples"),
                 *part;
    size_t i;
    json_array_foreach(parts, i, part)
    {
        double offset = result_number(part, "offset", -1), count = result_number(part, "count", -1);
        if (offset < 0 || count < 0 || offset != floor(offset) || count != floor(count) ||
            (r->samples && offset + count > (double)r->sample_count))
            return cb_error("%s: %s: samples %zu: outside the %zu stored", where, out->kernel, i,
                            r->sample_count);
        if (i >= RESULT_INVOCATIONS_MAX)
            return cb_error("%s: %s: more than %d invocations", where, out->kernel,
                            RESULT_INVOCATIONS_MAX);
        out->count[i] = r->samples ? (int)count : 0;
        out->sample[i] = r->samples && count > 0 ? r->samples + (size_t)offset : NULL;
        out->median[i] = out->sample[i] ? median_of_rounds(out->sample[i], out->count[i]) : 0;
        out->invocations = (int)i + 1;
    }
    if (!json_is_object(time) || strcmp(out->status, "ok"))
        return 0;
    const json_t *medians = json_object_get(time, "medians"), *m;
    json_array_foreach(medians, i, m)
    {
        if (i >= RESULT_INVOCATIONS_MAX)
            break;
        if (!out->sample[i] && json_is_number(m) && finite_positive(json_number_value(m)))
            out->median[i] = json_number_value(m);
        if (out->invocations < (int)i + 1)
            out->invocations = (int)i + 1;
    }
    double value = result_number(time, "median", 0);
    if (!finite_positive(value))
        return 0;
    if (!out->invocations) {
        out->invocations = 1;
        out->median[0] = value;
    }
    const json_t *ci = json_object_get(time, "ci95");
    double low =
        json_is_number(json_array_get(ci, 0)) ? json_number_value(json_array_get(ci, 0)) : value;
    double high =
        json_is_number(json_array_get(ci, 1)) ? json_number_value(json_array_get(ci, 1)) : value;
    out->us = (struct cb_interval){ value, low, high };
    out->spread = spread_of(out->median, out->invocations, value);
    out->timed = true;
    return 0;
}

static int read_case(struct result *r, const json_t *j, const char *name, int index)
{
    struct result_case *c = &r->cases[index];
    char where[400];
    snprintf(where, sizeof where, "%s: cases[%d]", name, index);
    const json_t *id, *params, *rows;
    if (!(id = need(j, "id", JSON_STRING, where)) ||
        !(params = need(j, "params", JSON_OBJECT, where)) ||
        !(rows = need(j, "implementations", JSON_ARRAY, where)))
        return -1;
    snprintf(where, sizeof where, "%s: %s", name, json_string_value(id));
    c->json = j;
    c->id = json_string_value(id);
    c->params = params;
    c->key = result_text(j, "key");
    c->experiment = result_text(j, "experiment");
    c->op = result_text(j, "op");
    c->cache = result_text(j, "cache");
    if (!strcmp(c->cache, "untimed"))
        c->cache = "";
    c->regime = result_text(j, "regime");
    c->status = result_text(j, "status");
    c->reason = result_text(j, "reason");
    c->row_count = (int)json_array_size(rows);
    c->row = calloc(c->row_count ? c->row_count : 1, sizeof *c->row);
    if (!c->row)
        return cb_error("no memory for the cases");
    for (int i = 0; i < c->row_count; i++)
        if (read_row(r, json_array_get(rows, i), where, &c->row[i]))
            return -1;
    return 0;
}

int result_adopt(json_t *doc, double *samples, size_t count, const char *name, struct result *out)
{
    *out = (struct result){ .doc = doc, .samples = samples, .sample_count = count };
    if (!json_is_object(doc)) {
        cb_error("%s: is not an object", name);
        goto fail;
    }
    if (strcmp(result_text(doc, "schema"), "claimbench/result")) {
        cb_error("%s: schema: '%s' is not 'claimbench/result'", name, result_text(doc, "schema"));
        goto fail;
    }
    const char *version = result_text(doc, "schema_version");
    char *end;
    long major = strtol(version, &end, 10);
    if (end == version || *end != '.' || major != RESULT_SCHEMA_MAJOR) {
        cb_error("%s: schema_version: '%s' cannot be read, only %d.x.y", name, version,
                 RESULT_SCHEMA_MAJOR);
        goto fail;
    }
    const json_t *run, *env, *experiments, *cases;
    if (!(run = need(doc, "run", JSON_OBJECT, name)) ||
        !(env = need(doc, "env", JSON_OBJECT, name)) ||
        !(experiments = need(doc, "experiments", JSON_ARRAY, name)) ||
        !(cases = need(doc, "cases", JSON_ARRAY, name)))
        goto fail;
    const json_t *gpu = json_array_get(json_object_get(env, "gpu"), 0);
    out->id = result_text(run, "id");
    out->paper = result_text(run, "paper");
    out->profile = result_text(run, "profile");
    out->status = result_text(run, "status");
    out->started = result_text(run, "started_utc");
    out->clock_policy = result_text(run, "clock_policy");
    out->commit = result_text(json_object_get(run, "suite"), "git_commit");
    out->invocations = (int)result_number(run, "invocations", 1);
    out->gpu = result_text(gpu, "name");
    out->cc = result_text(gpu, "cc");
    out->sm_count = (int)result_number(gpu, "sm_count", 0);
    out->memory_bytes = result_number(gpu, "mem_bytes", 0);
    if (!*out->gpu)
        out->gpu = "host";
    out->driver = result_text(env, "driver");
    out->cuda = result_text(env, "cuda_runtime");

    out->experiment_count = (int)json_array_size(experiments);
    out->experiment =
        calloc(out->experiment_count ? out->experiment_count : 1, sizeof *out->experiment);
    out->case_count = 0;
    out->cases = calloc(json_array_size(cases) ? json_array_size(cases) : 1, sizeof *out->cases);
    if (!out->experiment || !out->cases) {
        cb_error("no memory for the cases");
        goto fail;
    }
    for (int i = 0; i < out->experiment_count; i++) {
        const json_t *j = json_array_get(experiments, i);
        struct result_experiment *e = &out->experiment[i];
        char where[300];
        snprintf(where, sizeof where, "%s: experiments[%d]", name, i);
        const json_t *id = need(j, "id", JSON_STRING, where);
        if (!id)
            goto fail;
        *e = (struct result_experiment){ json_string_value(id),       result_text(j, "title"),
                                         result_text(j, "where"),     result_text(j, "op"),
                                         result_text(j, "metric"),    result_text(j, "baseline"),
                                         result_text(j, "figure"),    j,
                                         json_object_get(j, "groups") };
        /* the id becomes a file's name */
        if (!*e->id || strspn(e->id, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(e->id)) {
            cb_error("%s: id: '%s' is not a name of a-z, 0-9, _ and -", where, e->id);
            goto fail;
        }
    }
    size_t i;
    json_t *j;
    json_array_foreach(cases, i, j)
    {
        out->case_count++;
        if (read_case(out, j, name, (int)i))
            goto fail;
    }
    const json_t *planned = json_object_get(run, "planned");
    for (int c = 0; c < out->case_count; c++) {
        size_t n = json_array_size(planned), place = 0;
        const char *id = out->cases[c].id, *other;
        while (place < n &&
               (!(other = json_string_value(json_array_get(planned, place))) || strcmp(other, id)))
            place++;
        out->cases[c].plan = place < n ? (int)place : (int)n + c;
    }
    return 0;
fail:
    result_free(out);
    return -1;
}

int result_load(const char *path, struct result *out)
{
    *out = (struct result){ 0 };
    char *folder = result_resolve(path);
    if (!folder)
        return -1;
    int status = -1;
    char *file = NULL, *sidecar = NULL;
    double *samples = NULL;
    size_t count = 0;
    const char *slash = strrchr(path, '/');
    struct stat s;
    bool named = !stat(path, &s) && S_ISREG(s.st_mode);
    json_error_t error;
    if (!(file = join(folder, named ? (slash ? slash + 1 : path) : "result.json")) ||
        !(sidecar = join(folder, "samples.f64le.gz")))
        goto done;
    json_t *doc = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
    if (!doc) {
        cb_error("%s:%d: %s", file, error.line, error.text);
        goto done;
    }
    if (cb_details_load(folder, doc)) {
        json_decref(doc);
        goto done;
    }
    if (is_file(folder, "samples.f64le.gz") && read_samples(sidecar, &samples, &count)) {
        json_decref(doc);
        goto done;
    }
    if (result_adopt(doc, samples, count, file, out))
        goto done;
    out->directory = folder;
    folder = NULL;
    status = 0;
done:
    free(folder);
    free(file);
    free(sidecar);
    return status;
}

void result_free(struct result *r)
{
    for (int i = 0; r->cases && i < r->case_count; i++)
        free(r->cases[i].row);
    free(r->cases);
    free(r->experiment);
    free(r->samples);
    free(r->directory);
    json_decref(r->doc);
    *r = (struct result){ 0 };
}

/* ---- rows, groups, winners ---- */

const struct result_experiment *result_experiment(const struct result *r, const char *id)
{
    for (int i = 0; i < r->experiment_count; i++)
        if (!strcmp(r->experiment[i].id, id))
            return &r->experiment[i];
    return NULL;
}

const struct result_row *result_row(const struct result_case *c, const char *kernel)
{
    for (int i = 0; i < c->row_count; i++)
        if (!strcmp(c->row[i].kernel, kernel))
            return &c->row[i];
    return NULL;
}

bool result_is_group(const struct result_experiment *e, const char *name)
{
    return e && json_is_array(json_object_get(e->groups, *name == '@' ? name + 1 : name));
}

/* Appends rows of one name: '*', a group or a row. */
static int add_members(const struct result_experiment *e, const struct result_case *c,
                       const char *name, const struct result_row **out, int n, int max)
{
    if (*name == '@')
        name++;
    if (!strcmp(name, "*")) {
        for (int i = 0; i < c->row_count && n < max; i++)
            if (!strchr(c->row[i].kernel, '#') && strcmp(c->row[i].role, "ablation") &&
                strcmp(c->row[i].role, "reference"))
                out[n++] = &c->row[i];
        return n;
    }
    if (!result_is_group(e, name)) {
        const struct result_row *row = result_row(c, name);
        if (row && n < max)
            out[n++] = row;
        return n;
    }
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(e->groups, name), i, member)
    {
        const char *kernel = json_string_value(member);
        const struct result_row *row = kernel ? result_row(c, kernel) : NULL;
        if (row && n < max && !strchr(kernel, '#') && strcmp(row->role, "ablation"))
            out[n++] = row;
    }
    return n;
}

int result_members(const struct result_experiment *e, const struct result_case *c, const char *name,
                   const struct result_row **out, int max)
{
    int n = 0;
    for (;;) {
        const size_t length = strcspn(name, "|");
        char one[128];
        if (length < sizeof one) {
            memcpy(one, name, length);
            one[length] = 0;
            n = add_members(e, c, one, out, n, max);
        }
        if (!name[length])
            return n;
        name += length + 1;
    }
}

struct result_pick result_best(const struct result_experiment *e, const struct result_case *c,
                               const char *name)
{
    const struct result_row *row[256];
    int n = result_members(e, c, name, row, 256);
    struct result_pick best = { NULL, 0 };
    double least = 0;
    for (int first = 1; first >= 0; first--) { /* rows that invocation 1 timed come first */
        for (int i = 0; i < n; i++)
            if (row[i]->timed && (row[i]->median[0] > 0) == first) {
                double t = first ? row[i]->median[0] : row[i]->us.value;
                best.among++;
                if (!best.row || t < least) {
                    best.row = row[i];
                    least = t;
                }
            }
        if (best.row)
            break;
    }
    return best;
}

/* ---- ratios over invocations ---- */

/* Quotients of the rounds of one invocation in which both took part. */
static int rounds_of(const struct result_row *num, const struct result_row *den, int invocation,
                     double *out)
{
    int n = num->count[invocation] < den->count[invocation] ? num->count[invocation]
                                                            : den->count[invocation],
        used = 0;
    const double *a = num->sample[invocation], *b = den->sample[invocation];
    if (!a || !b)
        return 0;
    for (int i = 0; i < n; i++)
        if (finite_positive(a[i]) && finite_positive(b[i]))
            out[used++] = a[i] / b[i];
    return used;
}

static int first_reporting(struct result_pick num, struct result_pick den, bool *flattered)
{
    int invocations =
        num.row->invocations < den.row->invocations ? num.row->invocations : den.row->invocations;
    bool chosen = num.among > 1 || den.among > 1;
    *flattered = false;
    if (!chosen)
        return 0;
    for (int i = 1; i < invocations; i++)
        if (num.row->median[i] > 0 && den.row->median[i] > 0)
            return 1;
    *flattered = true;
    return 0;
}

static double *buffer_for(const struct result_row *num)
{
    size_t n = 1;
    for (int i = 0; i < num->invocations; i++)
        n += (size_t)num->count[i];
    return malloc(n * sizeof(double));
}

double *result_rounds(struct result_pick num, struct result_pick den, int *count)
{
    *count = 0;
    if (!num.row || !den.row)
        return NULL;
    double *x = buffer_for(num.row);
    if (!x)
        return NULL;
    bool flattered;
    for (int i = first_reporting(num, den, &flattered);
         i < num.row->invocations && i < den.row->invocations; i++)
        *count += rounds_of(num.row, den.row, i, x + *count);
    if (!*count) {
        free(x);
        return NULL;
    }
    return x;
}

struct result_value result_ratio(struct result_pick num, struct result_pick den, double alpha)
{
    struct result_value v = { 0 };
    if (!num.row || !den.row || !num.row->timed || !den.row->timed)
        return v;
    double *x = buffer_for(num.row), below = 0, above = 0;
    if (!x)
        return v;
    for (int i = first_reporting(num, den, &v.flattered);
         i < num.row->invocations && i < den.row->invocations; i++) {
        int n = rounds_of(num.row, den.row, i, x);
        if (!n)
            continue;
        struct cb_interval ci = cb_median_ci(x, n, alpha);
        v.per_invocation[v.invocations++] = ci.value;
        v.rounds += n;
        if (ci.high - ci.low >= above + below) { /* the widest interval stands for all */
            below = ci.value - ci.low;
            above = ci.high - ci.value;
        }
    }
    free(x);
    if (!v.invocations) { /* no samples: quotient of the recorded times, widest interval */
        const struct cb_interval *a = &num.row->us, *b = &den.row->us;
        if (!(b->low > 0) || !(a->low > 0))
            return v;
        v.unpaired = true;
        v.ok = true;
        v.value = a->value / b->value;
        v.low = a->low / b->high;
        v.high = a->high / b->low;
        if (num.row == den.row)
            v.low = v.high = v.value;
        v.per_invocation[v.invocations++] = v.value;
        return v;
    }
    v.ok = true;
    v.value = cb_median(v.per_invocation, v.invocations);
    v.spread = spread_of(v.per_invocation, v.invocations, v.value);
    v.low = v.value - below;
    v.high = v.value + above;
    if (v.invocations >= 6) {
        struct cb_interval ci = cb_median_ci(v.per_invocation, v.invocations, alpha);
        v.low = ci.low;
        v.high = ci.high;
    } else if (v.spread * v.value > below + above) {
        v.low = v.high = v.value;
        for (int i = 0; i < v.invocations; i++) {
            v.low = fmin(v.low, v.per_invocation[i]);
            v.high = fmax(v.high, v.per_invocation[i]);
        }
    }
    return v;
}

/* ---- filters ---- */

static bool same(const json_t *have, const json_t *want)
{
    if (json_is_number(want) && json_is_number(have))
        return json_number_value(want) == json_number_value(have);
    if (json_is_string(want) && json_is_string(have))
        return !fnmatch(json_string_value(want), json_string_value(have), 0);
    return json_equal(have, want);
}

bool result_matches(const struct result_case *c, const json_t *filter)
{
    const char *key;
    json_t *want;
    json_object_foreach((json_t *)filter, key, want)
    {
        const json_t *have = json_object_get(c->params, key);
        if (!have && (!strcmp(key, "cache") || !strcmp(key, "regime") || !strcmp(key, "device")))
            have = json_object_get(c->json, key);
        bool met = false;
        if (json_is_array(want)) {
            size_t i;
            json_t *one;
            json_array_foreach(want, i, one) met = met || (have && same(have, one));
        } else {
            met = have && same(have, want);
        }
        if (!met)
            return false;
    }
    return true;
}

const char *result_param(const struct result_case *c, const char *name, char *text, size_t size)
{
    const json_t *v = json_object_get(c->params, name);
    if (json_is_string(v))
        snprintf(text, size, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text, size, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text, size, "%.9g", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(text, size, "%s", json_is_true(v) ? "true" : "false");
    else if (size)
        text[0] = 0;
    return text;
}

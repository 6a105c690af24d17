/* validate.c - is a recorded run whole, unaltered and complete? */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "../harness/sha.h"
#include "results.h"

struct findings {
    char *text;
    size_t used, size;
    int count;
};

static void found(struct findings *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void found(struct findings *f, const char *format, ...)
{
    char line[512];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line - 1, format, list);
    va_end(list);
    if (n < 0)
        n = 0;
    if ((size_t)n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    line[n] = 0;
    f->count++;
    if (f->used + n + 1 > f->size) {
        size_t size = f->size ? 2 * f->size : 4096;
        char *text = realloc(f->text, size);
        if (!text)
            return; /* counted all the same */
        f->text = text;
        f->size = size;
    }
    memcpy(f->text + f->used, line, n + 1);
    f->used += n;
}

static void check_sums(struct findings *f, const char *folder)
{
    static const char *const must[] = { "result.json", "samples.f64le.gz" };
    bool seen[2] = { false };
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s/SHA256SUMS", folder);
    FILE *in = fopen(path, "r");
    if (!in) {
        found(f, "SHA256SUMS: %s", strerror(errno));
        return;
    }
    while (fgets(line, sizeof line, in)) {
        char *name = line + 66, sum[65];
        line[strcspn(line, "\r\n")] = 0;
        if (strlen(line) < 67 || line[64] != ' ' || strchr(name, '/') || *name == '.') {
            found(f, "SHA256SUMS: '%.80s' is no line of a sum and a file beside it", line);
            continue;
        }
        line[64] = 0;
        for (int i = 0; i < 2; i++)
            seen[i] = seen[i] || !strcmp(name, must[i]);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (cb_sha256_file(path, sum))
            found(f, "SHA256SUMS: %s: cannot be read", name);
        else if (strcmp(sum, line))
            found(f, "SHA256SUMS: %s: has another sum", name);
    }
    fclose(in);
    for (int i = 0; i < 2; i++)
        if (!seen[i])
            found(f, "SHA256SUMS: %s is not in it", must[i]);
}

static void check_run(struct findings *f, const struct result *r)
{
    const json_t *run = json_object_get(r->doc, "run"), *suite = json_object_get(run, "suite");
    const json_t *policy = json_object_get(run, "policy"), *aa = json_object_get(run, "aa");
    static const char *const numbers[] = { "seed", "order_seed", "invocations" };
    static const char *const texts[] = { "id", "paper", "profile", "started_utc", "finished_utc" };
    for (int i = 0; i < 3; i++)
        if (!json_is_integer(json_object_get(run, numbers[i])))
            found(f, "run: %s: must be an integer", numbers[i]);
    for (int i = 0; i < 5; i++)
        if (!*result_text(run, texts[i]))
            found(f, "run: %s: must be a text", texts[i]);
    if (strcmp(r->status, "complete"))
        found(f, "run: status: '%s' is not 'complete'", r->status);
    if (strlen(r->commit) != 40)
        found(f, "run: suite: git_commit: must have 40 digits");
    if (!json_is_false(json_object_get(suite, "git_dirty")))
        found(f, "run: suite: git_dirty: must be false");
    if (!json_is_object(policy) || !json_is_number(json_object_get(policy, "rounds_min")))
        found(f, "run: policy: rounds_min: missing");
    bool timed = false;
    for (int i = 0; i < r->case_count; i++)
        for (int k = 0; k < r->cases[i].row_count; k++)
            timed = timed || r->cases[i].row[k].timed;
    if (timed && !json_is_object(aa))
        found(f, "run: aa: the A/A control is missing");
    else if (timed && !json_is_true(json_object_get(aa, "ok")))
        found(f, "run: aa: the A/A control failed");
    if (!json_is_array(json_object_get(json_object_get(r->doc, "env"), "gpu")))
        found(f, "env: gpu: must be a list");
}

static bool known_status(const char *s)
{
    static const char *const name[] = { "ok",          "wrong", "crashed",     "timeout", "skipped",
                                        "unsupported", "oom",   "interrupted", NULL };
    for (int i = 0; name[i]; i++)
        if (!strcmp(s, name[i]))
            return true;
    return false;
}

static void check_row(struct findings *f, const struct result *r, const struct result_case *c,
                      const struct result_row *row)
{
    const json_t *policy = json_object_get(json_object_get(r->doc, "run"), "policy");
    const json_t *correct = json_object_get(row->json, "correctness");
    /* a row at the limit may be far in one invocation and near in another */
    double least = result_number(policy, "far", 0) > 0 ? result_number(policy, "far_rounds", 1)
                                                       : result_number(policy, "rounds_min", 1);
    if (json_is_true(json_object_get(row->json, "remote")))
        least = 1;
    if (!known_status(row->status))
        found(f, "%s: %s: status '%s' does not exist", c->id, row->kernel, row->status);
    else if (strcmp(row->status, "ok") && !*row->reason)
        found(f, "%s: %s: %s without a reason", c->id, row->kernel, row->status);
    if (json_object_get(row->json, "time_us") && strcmp(row->status, "ok"))
        found(f, "%s: %s: %s, yet it has a time", c->id, row->kernel, row->status);
    if (!row->timed)
        return;
    bool unchecked = !strcmp(row->role, "ablation");
    if (!unchecked && strcmp(result_text(correct, "status"), "pass"))
        found(f, "%s: %s: timed without a passed check", c->id, row->kernel);
    if (!unchecked && !json_is_true(json_object_get(correct, "post_check")))
        found(f, "%s: %s: timed without a passed check afterwards", c->id, row->kernel);
    if (!(row->us.low > 0 && row->us.low <= row->us.value && row->us.value <= row->us.high))
        found(f, "%s: %s: time_us: median outside its interval", c->id, row->kernel);
    int with = 0;
    for (int i = 0; i < row->invocations; i++) {
        int used = 0;
        for (int k = 0; row->sample[i] && k < row->count[i]; k++)
            used += isfinite(row->sample[i][k]) && row->sample[i][k] > 0;
        with += used > 0;
        if (used && used < least)
            found(f, "%s: %s: invocation %d has %d samples, needs %g", c->id, row->kernel, i + 1,
                  used, least);
    }
    if (!with)
        found(f, "%s: %s: timed without samples", c->id, row->kernel);
}

static void check_cases(struct findings *f, const struct result *r)
{
    const json_t *planned = json_object_get(json_object_get(r->doc, "run"), "planned");
    size_t i;
    json_t *id;
    if (!json_is_array(planned))
        found(f, "run: planned: must list the planned cases");
    json_array_foreach(planned, i, id)
    {
        bool seen = false;
        for (int k = 0; json_is_string(id) && k < r->case_count && !seen; k++)
            seen = !strcmp(r->cases[k].id, json_string_value(id));
        if (!seen)
            found(f, "%s: planned, but not recorded",
                  json_is_string(id) ? json_string_value(id) : "run: planned");
    }
    for (int k = 0; k < r->case_count; k++) {
        const struct result_case *c = &r->cases[k];
        bool timed = false;
        if (strlen(c->key) < 64)
            found(f, "%s: key: must be a SHA-256", c->id);
        if (!result_experiment(r, c->experiment))
            found(f, "%s: experiment '%s' is not in the document", c->id, c->experiment);
        if (!known_status(c->status))
            found(f, "%s: status '%s' does not exist", c->id, c->status);
        else if (strcmp(c->status, "ok") && !*c->reason)
            found(f, "%s: %s without a reason", c->id, c->status);
        for (int i2 = 0; i2 < c->row_count; i2++) {
            check_row(f, r, c, &c->row[i2]);
            timed = timed || c->row[i2].timed;
        }
        if (timed && result_number(c->json, "invocations", 0) < r->invocations)
            found(f, "%s: has %g of %d invocations", c->id,
                  result_number(c->json, "invocations", 0), r->invocations);
    }
}

int results_validate(const char *path, char **report)
{
    struct result r;
    struct findings f = { 0 };
    if (report)
        *report = NULL;
    if (result_load(path, &r)) {
        if (report)
            *report = strdup(cb_error_text());
        return -1;
    }
    check_sums(&f, r.directory);
    check_run(&f, &r);
    check_cases(&f, &r);
    result_free(&r);
    int status = 0;
    if (f.count)
        status = f.count == 1 ? cb_error("%s: %.*s", path, (int)strcspn(f.text ? f.text : "", "\n"),
                                         f.text ? f.text : "")
                              : cb_error("%s: %.*s (and %d more findings)", path,
                                         (int)strcspn(f.text ? f.text : "", "\n"),
                                         f.text ? f.text : "", f.count - 1);
    if (report)
        *report = f.text;
    else
        free(f.text);
    return status;
}

/* reported.c - reading a paper's printed numbers. */
#include "reported.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/error.h"
#include "home.h"
#include "results.h"

static int add(struct reported_set *s, int *room, const json_t *from, json_t *problem,
               const char *impl, double value)
{
    if (s->count == *room) {
        int more = *room ? 2 * *room : 256;
        struct reported_number *n = realloc(s->number, (size_t)more * sizeof *n);
        if (!n) {
            json_decref(problem);
            return cb_error("no memory for reported numbers");
        }
        s->number = n;
        *room = more;
    }
    s->number[s->count++] = (struct reported_number){ .experiment = result_text(from, "experiment"),
                                                      .table = result_text(from, "table"),
                                                      .impl = impl,
                                                      .metric = result_text(from, "metric"),
                                                      .unit = result_text(from, "unit"),
                                                      .gpu = result_text(from, "gpu"),
                                                      .where = result_text(from, "where"),
                                                      .source = result_text(from, "source"),
                                                      .item = result_text(from, "item"),
                                                      .problem = problem,
                                                      .value = value,
                                                      .from_figure = json_is_true(
                                                          json_object_get(from, "from_figure")) };
    return 0;
}

static int known_keys(const json_t *o, const char *const *keys, const char *path, const char *list,
                      size_t index)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        int known = 0;
        for (int i = 0; keys[i]; i++)
            known = known || !strcmp(keys[i], key);
        if (!known)
            return cb_error("%s: %s[%zu]: unknown key '%s'", path, list, index, key);
    }
    return 0;
}

static int read_rows(struct reported_set *s, int *room, const char *path)
{
    static const char *const keys[] = { "experiment",  "table", "problem", "impl",  "metric",
                                        "unit",        "value", "gpu",     "where", "source",
                                        "from_figure", "item",  NULL };
    size_t i;
    json_t *j;
    json_array_foreach(json_object_get(s->doc, "rows"), i, j)
    {
        json_t *problem = json_object_get(j, "problem");
        if (known_keys(j, keys, path, "rows", i))
            return -1;
        if (!json_is_number(json_object_get(j, "value")) || !*result_text(j, "metric"))
            return cb_error("%s: rows[%zu]: needs metric and value", path, i);
        if (problem && !json_is_object(problem))
            return cb_error("%s: rows[%zu]: problem: must be an object", path, i);
        if (add(s, room, j, problem ? json_incref(problem) : json_object(), result_text(j, "impl"),
                result_number(j, "value", 0)))
            return -1;
    }
    return 0;
}

static int read_grids(struct reported_set *s, int *room, const char *path)
{
    static const char *const keys[] = { "experiment", "table", "metric", "unit",
                                        "gpu",        "where", "source", "from_figure",
                                        "by",         "impls", "values", NULL };
    size_t g, l;
    json_t *grid, *line;
    json_array_foreach(json_object_get(s->doc, "grids"), g, grid)
    {
        const json_t *by = json_object_get(grid, "by"), *impls = json_object_get(grid, "impls");
        size_t nb = json_array_size(by), ni = json_array_size(impls);
        if (known_keys(grid, keys, path, "grids", g))
            return -1;
        if (!ni || !*result_text(grid, "metric"))
            return cb_error("%s: grids[%zu]: needs metric and impls", path, g);
        json_array_foreach(json_object_get(grid, "values"), l, line)
        {
            if (json_array_size(line) != nb + ni)
                return cb_error("%s: grids[%zu]: values[%zu]: has %zu entries, needs %zu", path, g,
                                l, json_array_size(line), nb + ni);
            for (size_t k = 0; k < ni; k++) {
                const json_t *v = json_array_get(line, nb + k);
                const char *impl = json_string_value(json_array_get(impls, k));
                if (json_is_null(v))
                    continue;
                if (!json_is_number(v) || !impl)
                    return cb_error("%s: grids[%zu]: values[%zu][%zu]: must be a number", path, g,
                                    l, nb + k);
                json_t *problem = json_object();
                for (size_t b = 0; b < nb; b++) {
                    const char *name = json_string_value(json_array_get(by, b));
                    if (name)
                        json_object_set(problem, name, json_array_get(line, b));
                }
                if (add(s, room, grid, problem, impl, json_number_value(v)))
                    return -1;
            }
        }
    }
    return 0;
}

int reported_load_file(const char *path, struct reported_set *out)
{
    json_error_t error;
    int room = 0;
    *out = (struct reported_set){ .doc = json_load_file(path, JSON_REJECT_DUPLICATES, &error) };
    if (!out->doc)
        return cb_error("%s:%d: %s", path, error.line, error.text);
    if (read_rows(out, &room, path) || read_grids(out, &room, path)) {
        reported_free(out);
        return -1;
    }
    return 0;
}

int reported_load(const char *paper, struct reported_set *out)
{
    char path[1024];
    *out = (struct reported_set){ 0 };
    if (!*paper || strchr(paper, '/') || *paper == '.')
        return 0;
    snprintf(path, sizeof path, "%s/suites/%s/reported.json", home_folder(), paper);
    return access(path, R_OK) ? 0 : reported_load_file(path, out);
}

void reported_free(struct reported_set *s)
{
    for (int i = 0; i < s->count; i++)
        json_decref(s->number[i].problem);
    free(s->number);
    json_decref(s->doc);
    *s = (struct reported_set){ 0 };
}

bool reported_covers(const struct reported_number *n, const json_t *params)
{
    const char *key;
    json_t *want;
    json_object_foreach(n->problem, key, want)
    {
        const json_t *have = json_object_get(params, key);
        if (json_is_number(have) && json_is_number(want)
                ? json_number_value(have) != json_number_value(want)
                : !json_equal(have, want))
            return false;
    }
    return true;
}

int published_losses(const char *paper, const char *table, const char *gpu,
                     struct published_loss *out, int max)
{
    struct reported_set s;
    int n = 0;
    if (reported_load(paper, &s))
        return -1;
    /* numbers of one line stand side by side and share their problem's values */
    for (int i = 0; i < s.count;) {
        const struct reported_number *first = &s.number[i];
        double best = 0;
        int end = i;
        while (end < s.count && s.number[end].table == first->table &&
               json_equal(s.number[end].problem, first->problem)) {
            best = fmax(best, s.number[end].value);
            end++;
        }
        if (end == i)
            end++;
        if (!strcmp(first->table, table) && best > 0 && (!gpu || !*gpu || !strcmp(gpu, first->gpu)))
            for (int k = i; k < end; k++) {
                int a = 0;
                while (a < n && strcmp(out[a].impl, s.number[k].impl))
                    a++;
                if (a == n) {
                    if (n == max)
                        continue;
                    out[n] = (struct published_loss){ .worst = INFINITY };
                    snprintf(out[n++].impl, sizeof out->impl, "%.31s", s.number[k].impl);
                }
                double fraction = s.number[k].value / best;
                out[a].worst = fmin(out[a].worst, fraction);
                out[a].geomean += log(fraction); /* of the sum; finished below */
                out[a].cases++;
            }
        i = end;
    }
    reported_free(&s);
    for (int a = 0; a < n; a++)
        out[a].geomean = exp(out[a].geomean / out[a].cases);
    return n ? n
             : cb_error("suites/%s/reported.json: no table '%s'%s%s", paper, table,
                        gpu && *gpu ? " of " : "", gpu ? gpu : "");
}

const struct reported_number *reported_at(const struct reported_set *s, const char *experiment,
                                          const char *axis, const char *kernel, const char *metric,
                                          const char *gpu, double at)
{
    for (int i = 0; i < s->count; i++) {
        const struct reported_number *p = &s->number[i];
        const json_t *x = json_object_get(p->problem, axis);
        if (!strcmp(p->experiment, experiment) && !strcmp(p->metric, metric) &&
            !strcmp(p->impl, kernel) && (!gpu || !strcmp(p->gpu, gpu)) &&
            json_object_size(p->problem) == 1 && json_is_number(x) && json_number_value(x) == at)
            return p;
    }
    return NULL;
}

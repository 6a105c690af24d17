/* gpus.c - lining up the results of several GPUs. */
#include "gpus.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"

enum { REPLICATES = 2000, PAIRS_WITHOUT_COLUMNS = 4 };

bool gpus_same_case(const struct result_case *a, const struct result_case *b)
{
    if (*a->key && !strcmp(a->key, b->key))
        return true;
    if (strcmp(a->id, b->id))
        return false;
    const json_t *x = json_object_get(a->json, "inputs"), *y = json_object_get(b->json, "inputs");
    return !x || !y || json_equal(x, y);
}

/* Where a case of one run stands in the cases of a view of another; -1: nowhere. */
static int place_of(const struct view *v, const struct result_case *c)
{
    for (int i = 0; i < v->count; i++)
        if (gpus_same_case(v->c[i], c))
            return i;
    return -1;
}

static bool has_pair(const struct view *v, const struct result_case *c, const struct view_pair *p)
{
    return result_best(v->e, c, p->rows).row && result_best(v->e, c, p->baseline).row;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median and quartiles of the fraction of the speed of light of the fastest row. */
static struct cb_interval light(const struct view *v, const struct view_pair *p)
{
    struct cb_interval none = { NAN, NAN, NAN };
    double *x = malloc((size_t)(v->count + 1) * sizeof *x);
    int n = 0;
    for (int i = 0; x && i < v->count; i++) {
        struct result_pick best = result_best(v->e, v->c[i], p->rows);
        struct result_value s = { 0 };
        if (best.row)
            s = metric_value(v->r, v->e, v->c[i], best.row, "sol");
        if (s.ok)
            x[n++] = s.value;
    }
    if (n) {
        qsort(x, (size_t)n, sizeof *x, by_value);
        none = (struct cb_interval){ cb_quantile(x, n, 0.5), cb_quantile(x, n, 0.25),
                                     cb_quantile(x, n, 0.75) };
    }
    free(x);
    return none;
}

/* The same speedup over chosen cases: a run that holds only these. */
static int speedup(const struct view *v, const struct view_pair *p, struct cb_interval *out)
{
    struct result some = *v->r;
    struct aggregate a;
    some.cases = malloc((size_t)(v->count + 1) * sizeof *some.cases);
    if (!some.cases)
        return cb_error("no memory for a comparison");
    for (int i = 0; i < v->count; i++)
        some.cases[i] = *v->c[i];
    some.case_count = v->count;
    uint64_t seed = (uint64_t)result_number(json_object_get(v->r->doc, "run"), "seed", 1);
    int status =
        aggregate_ratio(&some, v->e, NULL, p->baseline, p->rows, REPLICATES, seed, 0.05, &a);
    if (!status) {
        *out = a.geomean;
        aggregate_free(&a);
    }
    free(some.cases);
    return status;
}

/* ---- the paper's numbers ---- */

static int series_of(struct gpus *g, const struct reported_number *n)
{
    char name[GPUS_NAME];
    snprintf(name, sizeof name, "%.80s", *n->gpu ? n->gpu : *n->item ? n->item : "GPU not named");
    for (int s = 0; s < g->series; s++)
        if (!strcmp(g->reported[s], name))
            return s;
    if (g->series == GPUS_REPORTED)
        return -1;
    strcpy(g->reported[g->series], name);
    return g->series++;
}

/* An average that the paper gives stands; else the geometric mean of its single numbers for
 * problems that were measured here too. */
static void reported_values(struct gpus *g, const struct reported_set *paper,
                            const struct view *v, struct gpus_line *l)
{
    double logs[GPUS_REPORTED] = { 0 };
    int count[GPUS_REPORTED] = { 0 };
    for (int i = 0; i < GPUS_REPORTED; i++)
        l->reported[i] = NAN;
    for (int i = 0; i < paper->count; i++) {
        const struct reported_number *n = &paper->number[i];
        bool average = !json_object_size(n->problem), covers = average;
        if (strcmp(n->experiment, l->experiment) || strcmp(n->metric, "speedup") ||
            strcmp(n->impl, l->pair.rows) || !(n->value > 0))
            continue;
        for (int c = 0; c < v->count && !covers; c++)
            covers = reported_covers(n, v->c[c]->params);
        int s = covers ? series_of(g, n) : -1;
        if (s < 0)
            continue;
        if (average) {
            l->reported[s] = n->value;
        } else {
            logs[s] += log(n->value);
            count[s]++;
        }
    }
    for (int s = 0; s < GPUS_REPORTED; s++)
        if (isnan(l->reported[s]) && count[s])
            l->reported[s] = exp(logs[s] / count[s]);
}

/* ---- lines ---- */

static struct gpus_line *new_line(struct gpus *g)
{
    struct gpus_line *more = realloc(g->line, (size_t)(g->lines + 1) * sizeof *more);
    if (!more) {
        cb_error("no memory for a comparison");
        return NULL;
    }
    g->line = more;
    g->line[g->lines] = (struct gpus_line){ 0 };
    return &g->line[g->lines];
}

/* One pair over the views that the runs have of the same experiment and cache state. */
static int add_pair(struct gpus *g, const struct reported_set *paper, struct view *view,
                    const struct view *from, const struct view_pair *p, bool first)
{
    struct gpus_line *l = new_line(g);
    struct view chosen[GPUS_MAX] = { 0 };
    const struct view *lead = NULL;
    int status = 0;
    if (!l)
        return -1;
    *l = (struct gpus_line){ .experiment = from->e->id, .title = from->e->title,
                             .cache = from->cache, .regime = from->regime, .pair = *p,
                             .first = first };
    for (int r = 0; r < g->runs; r++) {
        l->speedup[r] = l->sol[r] = (struct cb_interval){ NAN, NAN, NAN };
        for (int i = 0; i < view[r].count && !l->has[r]; i++)
            l->has[r] = has_pair(&view[r], view[r].c[i], p);
        if (!lead && l->has[r])
            lead = &view[r];
    }
    for (int r = 0; r < g->runs && !status; r++) {
        chosen[r] = view[r];
        chosen[r].count = 0;
        chosen[r].c = malloc((size_t)(lead->count + 1) * sizeof *chosen[r].c);
        if (!chosen[r].c)
            status = cb_error("no memory for a comparison");
    }
    for (int i = 0; i < lead->count && !status; i++) {
        const struct result_case *same[GPUS_MAX] = { NULL };
        bool all = true;
        for (int r = 0; r < g->runs && all; r++) {
            int at = l->has[r] ? place_of(&view[r], lead->c[i]) : -1;
            same[r] = at < 0 ? NULL : view[r].c[at];
            all = !l->has[r] || (same[r] && has_pair(&view[r], same[r], p));
        }
        for (int r = 0; r < g->runs && all; r++)
            if (same[r])
                chosen[r].c[chosen[r].count++] = same[r];
        l->cases += all;
    }
    for (int r = 0; r < g->runs && !status && l->cases; r++)
        if (l->has[r]) {
            status = speedup(&chosen[r], p, &l->speedup[r]);
            l->sol[r] = light(&chosen[r], p);
        }
    reported_values(g, paper, lead, l);
    for (int r = 0; r < g->runs; r++)
        free(chosen[r].c);
    g->lines += !status;
    return status;
}

/* Pairs of rows of all runs; where an experiment names none, its paper's rows over the
 * baseline. */
static int pairs_of(const struct view *v, struct view_pair *out, int known)
{
    int n = known;
    struct view_pair own[PAIRS_WITHOUT_COLUMNS];
    const struct view_pair *from = v->pair;
    int count = v->pairs;
    if (!count && *v->e->baseline && strlen(v->e->baseline) < VIEW_NAME) {
        for (int k = 0; k < v->kernels && count < PAIRS_WITHOUT_COLUMNS; k++) {
            if (strcmp(view_role(v, v->kernel[k]), "paper") || strchr(v->kernel[k], '#') ||
                strlen(v->kernel[k]) >= VIEW_NAME || !strcmp(v->kernel[k], v->e->baseline))
                continue;
            strcpy(own[count].rows, v->kernel[k]);
            strcpy(own[count].baseline, v->e->baseline);
            bool any = false;
            for (int i = 0; i < v->count && !any; i++)
                any = has_pair(v, v->c[i], &own[count]);
            count += any;
        }
        from = own;
    }
    for (int i = 0; i < count && n < VIEW_PAIRS; i++) {
        bool there = false;
        for (int k = 0; k < n && !there; k++)
            there = !strcmp(out[k].rows, from[i].rows) &&
                    !strcmp(out[k].baseline, from[i].baseline);
        if (!there)
            out[n++] = from[i];
    }
    return n;
}

/* The view of a run with the experiment, cache and regime of v: 1, 0 (none) or -1. */
static int same_view(const struct result *r, const struct view *v, struct view *out)
{
    const struct result_experiment *e = result_experiment(r, v->e->id);
    int more = e != NULL;
    for (int k = 0; more > 0 && (more = view_open(r, e, k, out)) > 0; k++) {
        if (!strcmp(out->cache, v->cache) && !strcmp(out->regime, v->regime))
            return 1;
        view_close(out);
    }
    return more;
}

static void keep_matching(struct view *v, const json_t *filter)
{
    int n = 0;
    for (int i = 0; i < v->count; i++)
        if (result_matches(v->c[i], filter))
            v->c[n++] = v->c[i];
    v->count = n;
}

static int add_view(struct gpus *g, const struct result *const *run,
                    const struct reported_set *paper, const struct view *v, const json_t *filter)
{
    struct view view[GPUS_MAX] = { 0 };
    struct view_pair pair[VIEW_PAIRS];
    const struct view *from[VIEW_PAIRS];
    int n = 0, status = 0;
    for (int r = 0; r < g->runs && !status; r++) {
        if (same_view(run[r], v, &view[r]) < 0)
            status = -1;
        keep_matching(&view[r], filter);
        int more = !status && view[r].count && view[r].timed ? pairs_of(&view[r], pair, n) : n;
        for (; n < more; n++)
            from[n] = &view[r];
    }
    bool first = strcmp(v->e->figure, "none") != 0;
    for (int p = 0; p < n && !status; p++) {
        bool any = false; /* a filter may have left nothing of a pair */
        for (int r = 0; r < g->runs; r++)
            for (int i = 0; i < view[r].count && !any; i++)
                any = has_pair(&view[r], view[r].c[i], &pair[p]);
        if (any) {
            status = add_pair(g, paper, view, from[p], &pair[p], first);
            first = false;
        }
    }
    for (int r = 0; r < g->runs; r++)
        view_close(&view[r]);
    return status;
}

static bool seen(const struct gpus *g, const struct view *v)
{
    for (int i = 0; i < g->lines; i++)
        if (!strcmp(g->line[i].experiment, v->e->id) && !strcmp(g->line[i].cache, v->cache) &&
            !strcmp(g->line[i].regime, v->regime))
            return true;
    return false;
}

/* ---- the runs ---- */

static void describe(const struct result *r, char *text, size_t size)
{
    const json_t *gpu =
        json_array_get(json_object_get(json_object_get(r->doc, "env"), "gpu"), 0);
    double watts = result_number(gpu, "power_limit_w", 0);
    size_t n = (size_t)snprintf(text, size, "%.60s", r->gpu);
    const struct {
        const char *word, *value;
    } part[] = { { "driver", r->driver }, { "CUDA", r->cuda }, { "clock", r->clock_policy } };
    for (int i = 0; i < 3 && n < size; i++)
        if (*part[i].value)
            n += (size_t)snprintf(text + n, size - n, ", %s %.40s", part[i].word, part[i].value);
    if (watts > 0 && n < size)
        n += (size_t)snprintf(text + n, size - n, ", limit %.4g W", watts);
    if (n < size)
        snprintf(text + n, size - n, ", run %.40s", r->id);
}

static void name_runs(struct gpus *g, const struct result *const *run)
{
    for (int r = 0; r < g->runs; r++) {
        bool synthetic = json_is_true(
            json_object_get(json_object_get(run[r]->doc, "run"), "synthetic"));
        int same = 0;
        for (int k = 0; k < g->runs; k++)
            same += !strcmp(run[k]->gpu, run[r]->gpu);
        snprintf(g->name[r], sizeof g->name[r], "%.50s%s%s%.30s", run[r]->gpu,
                 synthetic ? " (synthetic)" : "", same > 1 ? ", " : "",
                 same > 1 ? run[r]->started : "");
        describe(run[r], g->caption[r], sizeof g->caption[r]);
    }
}

int gpus_open(const struct result *const *run, int runs, const char *experiment,
              const json_t *filter, struct gpus *out)
{
    struct reported_set paper = { 0 };
    int status = 0;
    *out = (struct gpus){ .runs = runs };
    if (runs < 1 || runs > GPUS_MAX)
        return cb_error("1 to %d runs can be compared, not %d", GPUS_MAX, runs);
    out->paper = run[0]->paper;
    out->title = result_text(json_object_get(run[0]->doc, "run"), "title");
    name_runs(out, run);
    if (reported_load(run[0]->paper, &paper))
        return -1;
    for (int r = 0; r < runs; r++)
        for (int e = 0; e < run[r]->experiment_count && !status; e++) {
            struct view v;
            int more = !experiment || !fnmatch(experiment, run[r]->experiment[e].id, 0);
            for (int k = 0;
                 more > 0 && (more = view_open(run[r], &run[r]->experiment[e], k, &v)) > 0; k++) {
                if (v.timed && !seen(out, &v))
                    status = add_view(out, run, &paper, &v, filter);
                view_close(&v);
                if (status)
                    break;
            }
            status = more < 0 ? -1 : status;
        }
    reported_free(&paper);
    if (status)
        gpus_free(out);
    return status;
}

void gpus_free(struct gpus *g)
{
    free(g->line);
    *g = (struct gpus){ 0 };
}

/* ---- as a table and as JSON ---- */

int gpus_table(const struct gpus *g, bool intervals, struct cb_table *t)
{
    char head[4 + 2 * GPUS_MAX][32];
    const char *heads[4 + 2 * GPUS_MAX];
    int n = 0;
    snprintf(head[n++], sizeof *head, "experiment");
    snprintf(head[n++], sizeof *head, "speedup of / over");
    snprintf(head[n++], sizeof *head, "cases");
    for (int r = 0; r < g->runs; r++) {
        snprintf(head[n++], sizeof *head, intervals ? "%c [95 %%]" : "%c", 'A' + r);
        snprintf(head[n++], sizeof *head, "%c sol", 'A' + r);
    }
    for (int i = 0; i < n; i++)
        heads[i] = head[i];
    if (cb_table_init(t,
                      "On each GPU, over cases that all have: geometric mean of the speedup,"
                      " median of sol",
                      n, heads))
        return -1;
    for (int i = 0; i < g->lines; i++) {
        const struct gpus_line *l = &g->line[i];
        bool steady = !*l->regime || !strcmp(l->regime, "steady");
        char text[3 * CB_NUMBER_MAX], number[CB_NUMBER_MAX];
        int row = cb_table_row(t);
        if (row < 0 ||
            cb_table_set(t, row, 0, "%s%s%s%s%s", l->experiment, *l->cache ? " " : "", l->cache,
                         steady ? "" : " ", steady ? "" : l->regime) ||
            cb_table_set(t, row, 1, "%s / %s", l->pair.rows, l->pair.baseline) ||
            cb_table_set(t, row, 2, "%d", l->cases))
            return -1;
        for (int r = 0; r < g->runs; r++) {
            struct cb_interval s = l->speedup[r];
            bool shown = l->has[r] && l->cases;
            if (shown && intervals)
                cb_bounded(s.value, s.low, s.high, 3, text, sizeof text);
            else if (shown)
                cb_number(s.value, 3, text);
            if (cb_table_set(t, row, 3 + 2 * r, "%s", shown ? text : "-") ||
                cb_table_set(t, row, 4 + 2 * r, "%s",
                             shown ? cb_number(l->sol[r].value, 2, number) : "-"))
                return -1;
        }
    }
    return 0;
}

static json_t *interval_json(struct cb_interval x)
{
    return isfinite(x.value) ? json_pack("{s:f, s:[f,f]}", "value", x.value, "range", x.low, x.high)
                             : json_null();
}

json_t *gpus_json(const struct gpus *g)
{
    json_t *list = json_array();
    for (int i = 0; i < g->lines; i++) {
        const struct gpus_line *l = &g->line[i];
        json_t *runs = json_array(), *reported = json_object();
        for (int r = 0; r < g->runs; r++)
            json_array_append_new(runs, json_pack("{s:o, s:o}", "speedup",
                                                  interval_json(l->speedup[r]), "sol",
                                                  interval_json(l->sol[r])));
        for (int s = 0; s < g->series; s++)
            if (isfinite(l->reported[s]))
                json_object_set_new(reported, g->reported[s], json_real(l->reported[s]));
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "experiment",
                            l->experiment, "cache", l->cache, "regime", l->regime, "rows",
                            l->pair.rows, "baseline", l->pair.baseline, "cases", l->cases, "runs",
                            runs, "reported", reported));
    }
    return list;
}

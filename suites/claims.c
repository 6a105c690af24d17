/* claims.c - judging claims.json against a run. */
#include "claims.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/error.h"
#include "home.h"
#include "metrics.h"

enum { REPLICATES = 10000, POINTS_MAX = 64, ROWS_MAX = 16 };

static const char *const verdict_name[CLAIM_VERDICTS] = {
    "REPRODUCED",           "TREND_HOLDS", "NOT_REPRODUCED", "NOT_COMPARABLE_GPU",
    "NOT_COMPARABLE_SETUP", "LOW_QUALITY", "NOT_MEASURED"
};

const char *claim_verdict_name(enum claim_verdict v)
{
    return v >= 0 && v < CLAIM_VERDICTS ? verdict_name[v] : "?";
}

static const char *const class_name[] = { "same", "same_arch", "other_arch" };

struct judge {
    struct result *r;
    const json_t *claims_doc;
    const char *path;
    uint64_t seed;
    struct aggregate *computed; /* [definitions]: the bootstrap of one is not done twice */
};

/* ---- numbers as stored: nine significant digits, no NaN ---- */

static json_t *number(double x)
{
    char text[40];
    if (!isfinite(x))
        return json_null();
    snprintf(text, sizeof text, "%.9g", x);
    return json_real(strtod(text, NULL));
}

static json_t *pair(double low, double high)
{
    return json_pack("[o,o]", number(low), number(high));
}

/* ---- aggregates ---- */

static int matching(const struct result *r, const char *experiments, const json_t *filter)
{
    int n = 0;
    for (int i = 0; i < r->case_count; i++)
        n += !fnmatch(experiments, r->cases[i].experiment, 0) &&
             result_matches(&r->cases[i], filter);
    return n;
}

static bool is_extreme(const char *statistic)
{
    return !strcmp(statistic, "min") || !strcmp(statistic, "max") ||
           !strcmp(statistic, "worst_loss");
}

/* The chosen statistic with its interval; false if the name is none. */
static bool statistic_of(const struct aggregate *a, const char *name, struct cb_interval *out)
{
    double n = a->cases ? a->cases : 1;
    if (!strcmp(name, "geomean"))
        *out = a->geomean;
    else if (!strcmp(name, "mean"))
        *out = a->mean;
    else if (!strcmp(name, "median"))
        *out = a->median;
    else if (!strcmp(name, "min"))
        *out = a->min;
    else if (!strcmp(name, "max"))
        *out = a->max;
    else if (!strcmp(name, "total"))
        *out = (struct cb_interval){ a->total, a->total, a->total };
    else if (!strcmp(name, "sum")) { /* a sum that lacks a case is none */
        *out = a->missing ? (struct cb_interval){ NAN, NAN, NAN } : a->sum;
    } else if (!strcmp(name, "share")) {
        int above = 0;
        for (int i = 0; i < a->cases; i++)
            above += a->value[i].value > 1;
        *out = (struct cb_interval){ above / n, a->faster / n, (a->cases - a->slower) / n };
    } else if (!strcmp(name, "worst_loss"))
        *out = (struct cb_interval){ 1 - a->min.value, 1 - a->min.high, 1 - a->min.low };
    else
        return false;
    return true;
}

/* Index of a definition; -1: none. */
static int definition(const struct judge *j, const char *id, size_t length)
{
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(j->claims_doc, "aggregates"), i, a)
    {
        const char *have = result_text(a, "id");
        if (strlen(have) == length && !strncmp(have, id, length))
            return (int)i;
    }
    return -1;
}

static int compute(const struct judge *j, const json_t *def, const char *statistic,
                   struct aggregate *out)
{
    const char *experiments = result_text(def, "experiment");
    const json_t *filter = json_object_get(def, "filter"), *against = json_object_get(def, "against");
    if (against) {
        const struct aggregate_part over = { experiments, filter, result_text(def, "numerator") };
        const struct aggregate_part under = { result_text(against, "experiment"),
                                              json_object_get(against, "filter"),
                                              result_text(def, "denominator") };
        return aggregate_apart(j->r, &over, &under, out);
    }
    int n = matching(j->r, experiments, filter);
    /* a statement about the extreme of n cases is one about all of them */
    double alpha = is_extreme(statistic) && n ? 0.05 / n : 0.05;
    return aggregate_matching(j->r, experiments, filter, result_text(def, "numerator"),
                              result_text(def, "denominator"), REPLICATES, j->seed, alpha, out);
}

static json_t *id_list(const struct result_case *const *c, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_string(c[i]->id));
    return list;
}

static int put_aggregates(struct judge *j)
{
    json_t *list = json_array(), *def;
    size_t i;
    json_array_foreach(json_object_get(j->claims_doc, "aggregates"), i, def)
    {
        const char *statistic = result_text(def, "statistic");
        struct cb_interval s;
        struct aggregate a;
        struct aggregate none = { 0 };
        if (!*result_text(def, "id") || !*result_text(def, "numerator") ||
            !*result_text(def, "denominator") || !*result_text(def, "experiment") ||
            !statistic_of(&none, statistic, &s)) {
            json_decref(list);
            return cb_error("%s: aggregates[%zu]: needs id, experiment, numerator, denominator and "
                            "a statistic that exists",
                            j->path, i);
        }
        const json_t *against = json_object_get(def, "against");
        if (against && (strcmp(statistic, "total") || !*result_text(against, "experiment"))) {
            json_decref(list);
            return cb_error("%s: %s: against needs an experiment, and the statistic total", j->path,
                            result_text(def, "id"));
        }
        if (compute(j, def, statistic, &a)) {
            json_decref(list);
            return -1;
        }
        j->computed[i] = a;
        json_t *o = json_object();
        json_object_update(o, def);
        json_object_set_new(o, "cases", json_integer(a.cases));
        json_object_set_new(o, "missing", id_list(a.lost, a.missing));
        if (a.cases) {
            statistic_of(&a, statistic, &s);
            json_object_set_new(o, "value", number(s.value));
            json_object_set_new(o, "value_ci95", pair(s.low, s.high));
            json_object_set_new(o, "geomean", number(a.geomean.value));
            json_object_set_new(o, "ci95", pair(a.geomean.low, a.geomean.high));
            json_object_set_new(o, "total_time_ratio", number(a.total));
            json_object_set_new(o, "arith_mean", number(a.mean.value));
            json_object_set_new(o, "median", number(a.median.value));
            json_object_set_new(o, "min", number(a.min.value));
            json_object_set_new(o, "max", number(a.max.value));
            json_object_set_new(o, "n_faster", json_integer(a.faster));
            json_object_set_new(o, "n_slower", json_integer(a.slower));
            json_object_set_new(o, "most_influential", json_string(a.influential->id));
            json_object_set_new(o, "at_min", json_string(a.at_min->id));
            json_object_set_new(o, "at_max", json_string(a.at_max->id));
            json_object_set_new(o, "bootstrap", json_integer(REPLICATES));
            json_object_set_new(o, "seed", json_integer((json_int_t)j->seed));
            json_t *flags = json_array();
            if (a.flattered)
                json_array_append_new(flags, json_string("winner_same_invocation"));
            if (a.unpaired)
                json_array_append_new(flags, json_string("unpaired"));
            if (a.loose)
                json_array_append_new(flags, json_string("not_converged"));
            json_object_set_new(o, "flags", flags);
        }
        json_array_append_new(list, o);
    }
    json_object_set_new(j->r->doc, "aggregates", list);
    return 0;
}

/* ---- what one claim measures ---- */

struct measured {
    bool found;
    char from[160]; /* the metric it came from */
    struct cb_interval value;
    int cases, missing, loose, flattered, unpaired;
    double *each; /* value of every case; owned */
    bool own;
};

static int measure_figure(const struct judge *j, const json_t *claim, const char *spec,
                          struct measured *m)
{
    char experiment[64], row[64], name[64];
    if (sscanf(spec, "%63[^/]/%63[^/]/%63[^\n]", experiment, row, name) != 3)
        return cb_error("%s: %s: metric: 'figure:%s' is not figure:EXPERIMENT/ROW/NAME", j->path,
                        result_text(claim, "id"), spec);
    const char *statistic = result_text(claim, "statistic");
    char metric[80];
    snprintf(metric, sizeof metric, "%s%s", metric_find(name) ? "" : "figure:", name);
    const struct result_experiment *e = result_experiment(j->r, experiment);
    if (!(m->each = calloc(j->r->case_count + 1, sizeof *m->each)))
        return cb_error("no memory for a claim");
    double sum = 0, low = 0, high = 0;
    for (int i = 0; e && i < j->r->case_count; i++) {
        const struct result_case *c = &j->r->cases[i];
        const struct result_row *line = result_row(c, row);
        if (strcmp(c->experiment, experiment) ||
            !result_matches(c, json_object_get(claim, "filter")))
            continue;
        struct result_value v = { 0 };
        if (line && !strcmp(line->status, "ok"))
            v = metric_value(j->r, e, c, line, metric);
        if (!v.ok) {
            m->missing++;
            continue;
        }
        struct cb_interval x = { v.value, v.low, v.high };
        if (!m->cases ||
            (!strcmp(statistic, "max") ? x.value > m->value.value : x.value < m->value.value))
            m->value = x;
        sum += x.value;
        low += x.low;
        high += x.high;
        m->each[m->cases++] = x.value;
    }
    m->found = m->cases > 0;
    if (m->found && (!*statistic || !strcmp(statistic, "mean")))
        m->value = (struct cb_interval){ sum / m->cases, low / m->cases, high / m->cases };
    else if (*statistic && strcmp(statistic, "min") && strcmp(statistic, "max"))
        return cb_error("%s: %s: statistic: '%s' is not mean, min or max", j->path,
                        result_text(claim, "id"), statistic);
    return 0;
}

static int measure_one(const struct judge *j, const json_t *claim, const char *spec,
                       struct measured *m)
{
    *m = (struct measured){ 0 };
    snprintf(m->from, sizeof m->from, "%s", spec);
    if (!strncmp(spec, "figure:", 7))
        return measure_figure(j, claim, spec + 7, m);
    if (strncmp(spec, "aggregate:", 10))
        return cb_error("%s: %s: metric: '%s' is neither aggregate: nor figure:", j->path,
                        result_text(claim, "id"), spec);
    const char *id = spec + 10, *dot = strrchr(id, '.');
    size_t length = dot ? (size_t)(dot - id) : strlen(id);
    int which = definition(j, id, strlen(id));
    if (which >= 0)
        dot = NULL;
    else if (dot)
        which = definition(j, id, length);
    if (which < 0)
        return cb_error("%s: %s: metric: there is no aggregate '%s'", j->path,
                        result_text(claim, "id"), id);
    const json_t *def = json_array_get(json_object_get(j->claims_doc, "aggregates"), which);
    const char *usual = result_text(def, "statistic"), *statistic = dot ? dot + 1 : usual;
    struct aggregate fresh = { 0 }, *a = &j->computed[which];
    if (is_extreme(statistic) != is_extreme(usual)) { /* other intervals of the cases */
        if (compute(j, def, statistic, &fresh))
            return -1;
        a = &fresh;
    }
    int status = -1;
    if (a->cases && !statistic_of(a, statistic, &m->value)) {
        cb_error("%s: %s: metric: there is no statistic '%s'", j->path, result_text(claim, "id"),
                 statistic);
        goto done;
    }
    m->found = a->cases > 0 && isfinite(m->value.value);
    m->cases = a->cases;
    m->missing = a->missing;
    m->loose = a->loose;
    m->flattered = a->flattered;
    m->unpaired = a->unpaired;
    m->own = a->own;
    m->each = calloc((size_t)a->cases + 1, sizeof *m->each);
    if (!m->each) {
        cb_error("no memory for a claim");
        goto done;
    }
    for (int i = 0; i < a->cases; i++)
        m->each[i] = a->value[i].value;
    status = 0;
done:
    aggregate_free(&fresh);
    return status;
}

static int measure(const struct judge *j, const json_t *claim, const json_t *metric,
                   struct measured *m)
{
    *m = (struct measured){ 0 };
    if (json_is_string(metric))
        return measure_one(j, claim, json_string_value(metric), m);
    size_t i;
    json_t *one;
    json_array_foreach(metric, i, one)
    {
        free(m->each);
        if (!json_is_string(one))
            return cb_error("%s: %s: metric: must be a text or a list of texts", j->path,
                            result_text(claim, "id"));
        if (measure_one(j, claim, json_string_value(one), m))
            return -1;
        if (m->found)
            break;
    }
    return 0;
}

/* ---- series over one parameter: order, trend, crossover ---- */

struct series {
    const struct result_experiment *e;
    const json_t *filter, *points;
    const char *by;
};

static int open_series(const struct judge *j, const json_t *claim, struct series *s)
{
    const json_t *o = json_object_get(claim, "series");
    if (!json_is_object(o) || !*result_text(o, "by"))
        return cb_error("%s: %s: series: needs experiment and by", j->path,
                        result_text(claim, "id"));
    *s = (struct series){ result_experiment(j->r, result_text(o, "experiment")),
                          json_object_get(o, "filter"), json_object_get(o, "points"),
                          result_text(o, "by") };
    return 0;
}

/* Geometric mean ratio of two names at one value of the parameter; ok: it exists. */
static int at_point(const struct judge *j, const struct series *s, const json_t *value,
                    const char *num, const char *den, struct cb_interval *out, bool *ok)
{
    struct aggregate a;
    json_t *filter = s->filter ? json_deep_copy(s->filter) : json_object();
    *ok = false;
    if (!filter)
        return cb_error("no memory for a claim");
    json_object_set(filter, s->by, (json_t *)value);
    int status = s->e ? aggregate_ratio(j->r, s->e, filter, num, den, 1000, j->seed, 0.05, &a) : 0;
    if (s->e && !status) {
        *ok = a.cases > 0;
        *out = a.geomean;
        aggregate_free(&a);
    }
    json_decref(filter);
    return status;
}

/* Share of points at which the measured order of the rows is the reported one. */
static int judge_order(const struct judge *j, const json_t *claim, struct measured *m)
{
    struct series s;
    const json_t *o = json_object_get(claim, "series"), *rows = json_object_get(o, "rows"), *point;
    int n = (int)json_array_size(rows);
    bool more = strcmp(result_text(o, "better"), "less") != 0;
    double score = 0;
    size_t i;
    if (open_series(j, claim, &s))
        return -1;
    if (n < 2 || n > ROWS_MAX)
        return cb_error("%s: %s: series: rows: needs 2 to %d", j->path, result_text(claim, "id"),
                        ROWS_MAX);
    json_array_foreach(s.points, i, point)
    {
        bool against = false, unresolved = false, seen = true;
        for (int a = 0; a < n && seen; a++)
            for (int b = a + 1; b < n && seen; b++) {
                double x = json_number_value(json_array_get(point, a + 1));
                double y = json_number_value(json_array_get(point, b + 1));
                struct cb_interval q;
                const char *na = json_string_value(json_array_get(rows, a));
                const char *nb = json_string_value(json_array_get(rows, b));
                if (x == y)
                    continue;
                if (!na || !nb)
                    return cb_error("%s: %s: series: rows: must be texts", j->path,
                                    result_text(claim, "id"));
                /* time of b over time of a: above 1 where a is the faster */
                if (at_point(j, &s, json_array_get(point, 0), nb, na, &q, &seen))
                    return -1;
                if (!seen)
                    break;
                bool a_first = more ? x > y : x < y;
                if (q.low <= 1 && q.high >= 1)
                    unresolved = true;
                else if ((q.low > 1) != a_first)
                    against = true;
            }
        if (!seen) {
            m->missing++;
            continue;
        }
        m->cases++;
        score += against ? 0 : unresolved ? 0.5 : 1;
    }
    m->found = m->cases > 0;
    if (m->found)
        m->value.value = m->value.low = m->value.high = score / m->cases;
    snprintf(m->from, sizeof m->from, "order of %d rows", n);
    return 0;
}

static int judge_trend(const struct judge *j, const json_t *claim, struct measured *m)
{
    struct series s;
    const json_t *o = json_object_get(claim, "series"), *point;
    double mine[POINTS_MAX], theirs[POINTS_MAX];
    size_t i;
    if (open_series(j, claim, &s))
        return -1;
    json_array_foreach(s.points, i, point)
    {
        struct cb_interval q;
        bool seen;
        if (at_point(j, &s, json_array_get(point, 0), result_text(o, "numerator"),
                     result_text(o, "denominator"), &q, &seen))
            return -1;
        if (!seen) {
            m->missing++;
        } else if (m->cases < POINTS_MAX) {
            mine[m->cases] = q.value;
            theirs[m->cases++] = json_number_value(json_array_get(point, 1));
        }
    }
    m->found = m->cases >= 5;
    if (m->found)
        m->value.value = m->value.low = m->value.high = cb_kendall(theirs, mine, m->cases);
    snprintf(m->from, sizeof m->from, "trend over %d points", m->cases);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Grid of the parameter in this run, ascending. */
static int grid_of(const struct judge *j, const struct series *s, double *out)
{
    int n = 0;
    for (int i = 0; s->e && i < j->r->case_count; i++) {
        const struct result_case *c = &j->r->cases[i];
        const json_t *v = json_object_get(c->params, s->by);
        if (strcmp(c->experiment, s->e->id) || !json_is_number(v) || !result_matches(c, s->filter))
            continue;
        int k = 0;
        while (k < n && out[k] != json_number_value(v))
            k++;
        if (k == n && n < POINTS_MAX)
            out[n++] = json_number_value(v);
    }
    qsort(out, n, sizeof *out, by_number);
    return n;
}

/* First grid value from which the ratio lies above 1 after being below; *distance
 * in grid steps from the reported place. */
static int judge_crossover(const struct judge *j, const json_t *claim, struct measured *m,
                           int *distance)
{
    struct series s;
    const json_t *o = json_object_get(claim, "series");
    double grid[POINTS_MAX], reported = result_number(claim, "reported", NAN);
    if (open_series(j, claim, &s))
        return -1;
    int n = grid_of(j, &s, grid), place = -1, expected = 0, sign = 0;
    for (int k = 0; k < n; k++) {
        struct cb_interval q;
        bool seen;
        json_t *v = json_real(grid[k]);
        int status = at_point(j, &s, v, result_text(o, "numerator"), result_text(o, "denominator"),
                              &q, &seen);
        json_decref(v);
        if (status)
            return -1;
        if (!seen)
            continue;
        m->cases++;
        int now = q.value > 1 ? 1 : -1;
        if (sign && now != sign && place < 0)
            place = k;
        sign = now;
        if (fabs(grid[k] - reported) < fabs(grid[expected] - reported))
            expected = k;
    }
    m->found = m->cases > 1;
    *distance = place < 0 ? n : abs(place - expected);
    if (m->found)
        m->value.value = m->value.low = m->value.high = place < 0 ? NAN : grid[place];
    snprintf(m->from, sizeof m->from, "crossover on %d points", m->cases);
    return 0;
}

/* ---- rules ---- */

/* Text for the reason; *pass says whether the rule holds. */
static int rule_holds(const struct judge *j, const json_t *claim, const json_t *rule,
                      const struct measured *m, int distance, bool *pass, char *text, size_t size)
{
    const char *type = result_text(rule, "type"), *id = result_text(claim, "id");
    double reported = result_number(claim, "reported", NAN), x = result_number(rule, "x", NAN);
    double v = result_number(rule, "value", NAN);
    const struct cb_interval *c = &m->value;
    *pass = false;
    if (!strcmp(type, "ratio_within") || !strcmp(type, "absolute_within")) {
        if (!isfinite(x) || !isfinite(reported))
            return cb_error("%s: %s: rules: %s needs x and a reported value", j->path, id, type);
        double a = reported * (1 - x), b = reported * (1 + x);
        *pass = c->high >= fmin(a, b) && c->low <= fmax(a, b);
        snprintf(text, size, "%s %g", type, x);
    } else if (!strcmp(type, "greater_than") || !strcmp(type, "less_than")) {
        if (!isfinite(v))
            return cb_error("%s: %s: rules: %s needs a value", j->path, id, type);
        *pass = *type == 'g' ? c->low > v : c->high < v;
        snprintf(text, size, "%s %g", type, v);
    } else if (!strcmp(type, "range")) {
        const json_t *r = json_object_get(rule, "range");
        double a = json_number_value(json_array_get(r, 0)),
               b = json_number_value(json_array_get(r, 1));
        if (json_array_size(r) != 2)
            return cb_error("%s: %s: rules: range needs two ends", j->path, id);
        int inside = 0;
        for (int i = 0; i < m->cases; i++)
            inside += m->each[i] >= a && m->each[i] <= b;
        *pass = m->cases && inside >= 0.8 * m->cases;
        snprintf(text, size, "%d of %d cases in [%g, %g]", inside, m->cases, a, b);
    } else if (!strcmp(type, "order")) {
        *pass = c->value >= 0.9;
        snprintf(text, size, "order agrees on %.0f %% of %d points", 100 * c->value, m->cases);
    } else if (!strcmp(type, "trend")) {
        *pass = m->cases >= 5 && c->value >= 0.8;
        snprintf(text, size, "Kendall tau over %d points", m->cases);
    } else if (!strcmp(type, "crossover")) {
        *pass = distance <= 1;
        snprintf(text, size, "crossover within one step of the grid");
    } else if (!strcmp(type, "accuracy_delta")) {
        double d = result_number(rule, "d", NAN);
        if (!isfinite(d) || !isfinite(reported))
            return cb_error("%s: %s: rules: accuracy_delta needs d and a reported value", j->path,
                            id);
        *pass = c->value <= reported + d;
        snprintf(text, size, "loss at most %g", reported + d);
    } else {
        return cb_error("%s: %s: rules: unknown type '%s'", j->path, id, type);
    }
    return 0;
}

/* ---- class of the GPU ---- */

static int class_of_one(const struct judge *j, const char *name)
{
    const struct result *r = j->r;
    const json_t *g = json_object_get(json_object_get(j->claims_doc, "gpus"), name);
    double memory = result_number(g, "mem_gib", 0) * 1073741824.0;
    /* a product's memory as the driver reports it is a few per cent under its name */
    if (!strcmp(result_text(g, "name"), r->gpu) &&
        result_number(g, "sm_count", -1) == r->sm_count && memory > 0 &&
        fabs(memory - r->memory_bytes) < 0.08 * memory)
        return 0;
    if (*r->cc && !strcmp(result_text(g, "cc"), r->cc))
        return 1;
    return 2;
}

static int class_of(const struct judge *j, const json_t *claim)
{
    const json_t *gpu = json_object_get(claim, "gpu"), *one;
    size_t i;
    int best = 2;
    if (json_is_false(json_object_get(claim, "hardware")))
        return 0; /* nothing in it depends on the machine */
    if (json_is_string(gpu))
        return class_of_one(j, json_string_value(gpu));
    json_array_foreach(gpu, i, one) if (json_is_string(one) &&
                                        class_of_one(j, json_string_value(one)) < best) best =
        class_of_one(j, json_string_value(one));
    return best;
}

static const char *gpu_text(const json_t *claim, char *text, size_t size)
{
    const json_t *gpu = json_object_get(claim, "gpu"), *one;
    size_t i;
    snprintf(text, size, "%s", json_is_string(gpu) ? json_string_value(gpu) : "");
    json_array_foreach(gpu, i, one) if (json_is_string(one)) snprintf(
        text + strlen(text), size - strlen(text), "%s%s", i ? ", " : "", json_string_value(one));
    if (json_is_false(json_object_get(claim, "hardware")))
        snprintf(text, size, "any");
    return *text ? text : "?";
}

/* ---- one claim ---- */

static const char *kind_of(const json_t *claim)
{
    const char *key;
    json_t *rule;
    json_object_foreach(json_object_get(claim, "rules"), key, rule)
    {
        const char *type = result_text(rule, "type");
        if (!strcmp(type, "order") || !strcmp(type, "trend") || !strcmp(type, "crossover"))
            return type;
    }
    return "";
}

static void add_flag(json_t *flags, const char *name)
{
    json_array_append_new(flags, json_string(name));
}

/* baseline_lib: { library: version it begins with }. */
static bool other_baseline(const struct result *r, const json_t *claim)
{
    const json_t *libs = json_object_get(json_object_get(r->doc, "env"), "libs");
    const char *library;
    json_t *version;
    json_object_foreach(json_object_get(claim, "baseline_lib"), library, version)
    {
        const char *want = json_string_value(version), *have = result_text(libs, library);
        if (want && strncmp(have, want, strlen(want)))
            return true;
    }
    return false;
}

/* Which model stood in for the paper's: that of the first case of the claim's experiment. */
static const char *model_of(const struct result *r, const json_t *claim, char *text, size_t size)
{
    const json_t *metric = json_object_get(claim, "metric");
    const char *spec = json_string_value(json_is_array(metric) ? json_array_get(metric, 0) : metric);
    for (int i = 0; spec && i < r->case_count; i++) {
        const struct result_case *c = &r->cases[i];
        const size_t n = strlen(c->experiment);
        if (!strncmp(spec, "figure:", 7) && !strncmp(spec + 7, c->experiment, n) &&
            spec[7 + n] == '/' && *result_param(c, "model", text, size))
            return strcmp(text, "own") ? text : "the project's model";
    }
    return "another model";
}

static int decide(struct judge *j, const json_t *claim, int class, const struct measured *m,
                  int distance, enum claim_verdict *verdict, char *reason, size_t size)
{
    bool any = false;
    char failed[128] = "";
    *verdict = CLAIM_NOT_COMPARABLE_GPU;
    for (int k = class; k < 3; k++) {
        const json_t *rule = json_object_get(json_object_get(claim, "rules"), class_name[k]);
        const char *type = result_text(rule, "type");
        char text[128] = "";
        bool pass;
        if (!rule || json_is_null(rule) || (k && !strcmp(type, "absolute_within")))
            continue;
        if (rule_holds(j, claim, rule, m, distance, &pass, text, sizeof text))
            return -1;
        any = true;
        if (pass) {
            bool weak = k > 0 || !strcmp(type, "order") || !strcmp(type, "trend");
            *verdict = weak ? CLAIM_TREND_HOLDS : CLAIM_REPRODUCED;
            snprintf(reason, size, "%s%s met%s", failed, text,
                     class && k == 2 && !strstr(text, "oint") ? "; value not compared: other GPU"
                                                              : "");
            return 0;
        }
        if (!*failed)
            snprintf(failed, sizeof failed, "%.100s not met; ", text);
    }
    if (any) {
        *verdict = CLAIM_NOT_REPRODUCED;
        snprintf(reason, size, "%.*s", (int)(strlen(failed) - 2), failed);
    } else {
        snprintf(reason, size, "no rule for GPUs of class %s", class_name[class]);
    }
    return 0;
}

/* Does the interval hold the value that a rule asks to be beyond? */
static bool undecided(const json_t *claim, const struct measured *m)
{
    const char *key;
    json_t *rule;
    json_object_foreach(json_object_get(claim, "rules"), key, rule)
    {
        const double v = result_number(rule, "value", NAN);
        if (v >= m->value.low && v <= m->value.high)
            return true;
    }
    return false;
}

/* What is said of a claim that another model than the paper's stood in for. */
static void of_stand_in(const struct judge *j, const json_t *claim, const struct measured *m,
                        enum claim_verdict *verdict, char *reason, size_t size)
{
    char model[64], rule[160];
    const char *name = model_of(j->r, claim, model, sizeof model);
    snprintf(rule, sizeof rule, "%.150s", reason);
    if (*verdict == CLAIM_REPRODUCED || *verdict == CLAIM_TREND_HOLDS) {
        *verdict = CLAIM_TREND_HOLDS;
        snprintf(reason, size, "order holds on %s: %s", name, rule);
    } else if (*verdict == CLAIM_NOT_REPRODUCED && undecided(claim, m)) {
        *verdict = CLAIM_LOW_QUALITY;
        snprintf(reason, size, "too few windows to tell the order on %s", name);
    } else if (*verdict == CLAIM_NOT_REPRODUCED) {
        snprintf(reason, size, "order does not hold on %s: %s", name, rule);
    }
}

static int judge_claim(struct judge *j, const json_t *claim, json_t **out)
{
    const char *id = result_text(claim, "id"), *kind = kind_of(claim);
    const json_t *metric = json_object_get(claim, "metric");
    struct measured m = { 0 }, own = { 0 };
    enum claim_verdict verdict = CLAIM_NOT_MEASURED;
    int class = class_of(j, claim), distance = 0, status = -1;
    char reason[320] = "", gpu[160];
    json_t *flags = json_array();

    if (!*id) {
        cb_error("%s: a claim has no id", j->path);
        goto done;
    }
    if (!json_is_object(json_object_get(claim, "rules"))) {
        cb_error("%s: %s: rules: missing", j->path, id);
        goto done;
    }
    if ((!strcmp(kind, "order") && judge_order(j, claim, &m)) ||
        (!strcmp(kind, "trend") && judge_trend(j, claim, &m)) ||
        (!strcmp(kind, "crossover") && judge_crossover(j, claim, &m, &distance)) ||
        (!*kind && measure(j, claim, metric, &m)))
        goto done;
    if (json_object_get(claim, "own") && measure(j, claim, json_object_get(claim, "own"), &own))
        goto done;

    const char *needs = result_text(claim, "needs");
    if (*result_text(claim, "setup") || (*needs && !m.found)) {
        verdict = CLAIM_NOT_COMPARABLE_SETUP;
        snprintf(reason, sizeof reason, "%s%s", *result_text(claim, "setup") ? "" : "needs ",
                 *result_text(claim, "setup") ? result_text(claim, "setup") : needs);
    } else if (!m.found) {
        if (*kind && m.cases)
            snprintf(reason, sizeof reason, "%d points are too few for a %s", m.cases, kind);
        else
            snprintf(reason, sizeof reason, "%s",
                     json_is_null(json_object_get(claim, "experiment"))
                         ? "no experiment measures it yet"
                         : "no case of this run has it");
    } else if (m.own && !json_is_true(json_object_get(claim, "on_own"))) {
        snprintf(reason, sizeof reason, "rows of role own took part: not a paper's claim");
        add_flag(flags, "own_rows");
    } else {
        if (decide(j, claim, class, &m, distance, &verdict, reason, sizeof reason))
            goto done;
        if (json_is_true(json_object_get(claim, "stand_in")))
            of_stand_in(j, claim, &m, &verdict, reason, sizeof reason);
        double h =
            m.value.value != 0 ? (m.value.high - m.value.low) / (2 * fabs(m.value.value)) : 0;
        bool judged = verdict == CLAIM_REPRODUCED || verdict == CLAIM_TREND_HOLDS ||
                      verdict == CLAIM_NOT_REPRODUCED;
        if (m.loose)
            add_flag(flags, "not_converged");
        /* wide intervals forbid a judgement where they are many or decide the value */
        if (judged && m.loose && (m.loose > 0.1 * m.cases || h > 0.05)) {
            verdict = CLAIM_LOW_QUALITY;
            snprintf(reason, sizeof reason, "%d of %d cases not converged", m.loose, m.cases);
        }
        if (result_has_flag(json_object_get(j->r->doc, "run"), "aa_failed")) {
            add_flag(flags, "aa_failed");
            if (verdict == CLAIM_REPRODUCED && !json_is_false(json_object_get(claim, "hardware"))) {
                verdict = CLAIM_LOW_QUALITY;
                snprintf(reason, sizeof reason, "the A/A control of this run failed");
            }
        }
        if (m.flattered)
            add_flag(flags, "winner_same_invocation");
        if (m.unpaired)
            add_flag(flags, "unpaired");
        if (m.missing)
            add_flag(flags, "cases_missing");
        if (other_baseline(j->r, claim))
            add_flag(flags, "baseline_version_differs");
    }
    json_t *o = json_object(), *copy;
    static const char *const kept[] = { "id",       "claim",    "locator",  "provenance", "unit",
                                        "baseline", "unknowns", "reported", "table",      NULL };
    for (int i = 0; kept[i]; i++)
        if ((copy = json_object_get(claim, kept[i])))
            json_object_set(o, kept[i], copy);
    json_object_set_new(o, "metric", *m.from ? json_string(m.from) : json_null());
    json_object_set_new(o, "gpu_reported", json_string(gpu_text(claim, gpu, sizeof gpu)));
    json_object_set_new(o, "gpu_used", json_string(j->r->gpu));
    json_object_set_new(o, "gpu_class", json_string(class_name[class]));
    json_object_set_new(o, "measured", m.found ? number(m.value.value) : json_null());
    json_object_set_new(o, "ci95", m.found ? pair(m.value.low, m.value.high) : json_null());
    json_object_set_new(o, "own", own.found ? number(own.value.value) : json_null());
    json_object_set_new(o, "own_ci95",
                        own.found ? pair(own.value.low, own.value.high) : json_null());
    json_object_set_new(o, "cases", json_integer(m.cases));
    json_object_set_new(o, "missing", json_integer(m.missing));
    json_object_set_new(o, "verdict", json_string(verdict_name[verdict]));
    json_object_set_new(o, "reason", json_string(reason));
    json_object_set(o, "flags", flags);
    *out = o;
    status = 0;
done:
    free(m.each);
    free(own.each);
    json_decref(flags);
    return status;
}

int claims_judge(struct result *r, const char *path)
{
    char place[1024];
    if (!path) {
        if (!*r->paper || strchr(r->paper, '/') || *r->paper == '.')
            return cb_error("run: paper: '%s' names no suite", r->paper);
        snprintf(place, sizeof place, "%s/suites/%s/claims.json", home_folder(), r->paper);
        if (access(place, R_OK)) {
            json_object_set_new(r->doc, "aggregates", json_array());
            json_object_set_new(r->doc, "claims", json_array());
            return 0;
        }
        path = place;
    }
    json_error_t error;
    json_t *doc = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *list = json_array(),
           *claim;
    if (!doc) {
        json_decref(list);
        return cb_error("%s:%d: %s", path, error.line, error.text);
    }
    struct judge j = { r, doc, path,
                       (uint64_t)result_number(json_object_get(r->doc, "run"), "seed", 1), NULL };
    size_t i, definitions = json_array_size(json_object_get(doc, "aggregates"));
    j.computed = calloc(definitions + 1, sizeof *j.computed);
    int status = j.computed ? put_aggregates(&j) : cb_error("no memory for the aggregates");
    json_array_foreach(json_object_get(doc, "claims"), i, claim)
    {
        json_t *judged = NULL;
        if (status || (status = judge_claim(&j, claim, &judged)))
            break;
        json_array_append_new(list, judged);
    }
    if (!status)
        json_object_set(r->doc, "claims", list);
    for (i = 0; j.computed && i < definitions; i++)
        aggregate_free(&j.computed[i]);
    free(j.computed);
    json_decref(list);
    json_decref(doc);
    return status;
}

/* ---- showing them ---- */

void claims_count(const struct result *r, int count[CLAIM_VERDICTS])
{
    size_t i;
    json_t *c;
    memset(count, 0, CLAIM_VERDICTS * sizeof *count);
    json_array_foreach(json_object_get(r->doc, "claims"), i, c) for (int v = 0; v < CLAIM_VERDICTS;
                                                                     v++) count[v] +=
        !strcmp(result_text(c, "verdict"), verdict_name[v]);
}

static const char *with_interval(const json_t *c, const char *value, const char *ci, char *text,
                                 size_t size)
{
    double x = result_number(c, value, NAN);
    const json_t *range = json_object_get(c, ci);
    if (!isfinite(x)) {
        snprintf(text, size, "-");
        return text;
    }
    cb_bounded(x, json_number_value(json_array_get(range, 0)),
               json_number_value(json_array_get(range, 1)), 3, text, size);
    return text;
}

/* As the paper prints it: no digit added. */
static const char *as_reported(const json_t *c, char text[CB_NUMBER_MAX])
{
    double x = result_number(c, "reported", NAN);
    if (isfinite(x))
        snprintf(text, CB_NUMBER_MAX, "%.6g", x);
    else
        strcpy(text, "-");
    return text;
}

/* "NVIDIA GeForce RTX 3090" -> "RTX 3090". */
static const char *short_gpu(const char *name)
{
    static const char *const lead[] = { "NVIDIA ", "GeForce ", "Tesla ", NULL };
    for (int i = 0; lead[i]; i++)
        if (!strncmp(name, lead[i], strlen(lead[i])))
            name += strlen(lead[i]);
    return name;
}

static void join_flags(const json_t *c, char *text, size_t size)
{
    size_t i;
    json_t *f;
    text[0] = 0;
    json_array_foreach(json_object_get(c, "flags"), i, f) if (json_is_string(f)) snprintf(
        text + strlen(text), size - strlen(text), "%s%s", i ? " " : "", json_string_value(f));
}

/* The text in lines of at most 100 columns, each indented by four. */
static void wrap(const char *text, FILE *out)
{
    while (*text) {
        size_t n = strlen(text);
        if (n > 96) {
            n = 96;
            while (n && text[n] != ' ')
                n--;
            if (!n)
                n = 96;
        }
        fprintf(out, "    %.*s\n", (int)n, text);
        text += n + strspn(text + n, " ");
    }
}

static int print_plain(const struct result *r, FILE *out)
{
    size_t i;
    json_t *c;
    int count[CLAIM_VERDICTS];
    char prefix[80];
    fprintf(out, "Claims of %s; GPU used: %s; run %s\n\n", r->paper, r->gpu, r->id);
    fprintf(out, "%-29s %8s  %-23s %-14s %s\n", "claim", "reported", "measured [95 %]",
            "GPU of paper", "verdict");
    snprintf(prefix, sizeof prefix, "%s.", r->paper);
    json_array_foreach(json_object_get(r->doc, "claims"), i, c)
    {
        const char *id = result_text(c, "id");
        char value[96], own[96], flags[256], reported[CB_NUMBER_MAX], line[1024];
        if (!strncmp(id, prefix, strlen(prefix)))
            id += strlen(prefix);
        join_flags(c, flags, sizeof flags);
        fprintf(out, "%-29.29s %8.8s  %-23.23s %-14.14s %s\n", id, as_reported(c, reported),
                with_interval(c, "measured", "ci95", value, sizeof value),
                short_gpu(result_text(c, "gpu_reported")), result_text(c, "verdict"));
        snprintf(line, sizeof line, "%s: %s%s%s%s%s%s%s", result_text(c, "claim"),
                 result_text(c, "reason"), *flags ? " (" : "", flags, *flags ? ")" : "",
                 isfinite(result_number(c, "own", NAN)) ? "; own rows: " : "",
                 isfinite(result_number(c, "own", NAN))
                     ? with_interval(c, "own", "own_ci95", own, sizeof own)
                     : "",
                 isfinite(result_number(c, "own", NAN)) ? " (not judged)" : "");
        wrap(line, out);
    }
    claims_count(r, count);
    char summary[512] = "";
    for (int v = 0; v < CLAIM_VERDICTS; v++)
        if (count[v])
            snprintf(summary + strlen(summary), sizeof summary - strlen(summary), "%s%d %s",
                     *summary ? ", " : "", count[v], verdict_name[v]);
    fputs("\nsummary\n", out);
    wrap(summary, out);
    return 0;
}

int claims_print(const struct result *r, enum cb_format f, FILE *out)
{
    static const char *const head[] = { "claim",           "reported",     "measured [95 %]",
                                        "own rows [95 %]", "GPU reported", "GPU used",
                                        "verdict",         "reason",       "flags" };
    struct cb_table t;
    size_t i;
    json_t *c;
    int status = 0;
    char caption[512];
    if (f == CB_PLAIN)
        return print_plain(r, out);
    snprintf(caption, sizeof caption, "Claims of %s, %s, run %s", r->paper, r->gpu, r->id);
    if (cb_table_init(&t, caption, 9, head))
        return -1;
    json_array_foreach(json_object_get(r->doc, "claims"), i, c)
    {
        char value[96], own[96], flags[256], reported[CB_NUMBER_MAX];
        const char *unit = result_text(c, "unit");
        int row = cb_table_row(&t);
        join_flags(c, flags, sizeof flags);
        as_reported(c, reported);
        const char *cell[] = { result_text(c, "claim"),
                               reported,
                               with_interval(c, "measured", "ci95", value, sizeof value),
                               with_interval(c, "own", "own_ci95", own, sizeof own),
                               result_text(c, "gpu_reported"),
                               result_text(c, "gpu_used"),
                               result_text(c, "verdict"),
                               result_text(c, "reason"),
                               flags };
        for (int k = 0; k < 9 && row > 0 && !status; k++)
            status = k == 1 && *unit && strcmp(reported, "-")
                         ? cb_table_set(&t, row, k, "%s %s", cell[k], unit)
                         : cb_table_set(&t, row, k, "%s", cell[k]);
        if (row < 0)
            status = -1;
    }
    if (!status)
        status = cb_table_write(&t, f, out);
    cb_table_free(&t);
    return status;
}

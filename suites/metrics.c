/* metrics.c - the table of metrics, and aggregates over cases. */
#include "metrics.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"

const struct metric metrics[] = {
    { "us", "us", "time", "median time of one execution", -1 },
    { "speedup", "x", "speedup", "time of the baseline / time, paired per round", 1 },
    { "gflops", "GFLOP/s", "rate", "operations of the definition / time", 1 },
    { "tflops", "TFLOP/s", "rate", "operations of the definition / time", 1 },
    { "gbps", "GB/s", "bandwidth", "bytes of every operand once / time", 1 },
    { "sol", "fraction", "fraction of the speed of light", "shortest possible time / time", 1 },
    { "fetched", "fraction", "fraction of the bandwidth, bytes as caches fetch them",
      "time of the bytes that caches must fetch, by a model of the operator / time", 1 },
    { "over_sol", "us", "time above the speed of light", "time - shortest possible time", -1 },
    { "oracle_fraction", "fraction", "fraction of the oracle",
      "time of the fastest of the group / time, paired per round", 1 },
    { "loss", "fraction", "loss against the oracle", "1 - fraction of the oracle", -1 },
    { "share", "fraction", "share of dequantisation",
      "1 - time without dequantisation / time, paired per round", -1 },
    { "excess", "fraction", "excess by dequantisation",
      "time / time without dequantisation - 1, paired per round", -1 },
    { "overlap", "fraction", "overlap index",
      "(loads alone + products alone + dequantisation alone) / time - 1, paired per round", 1 },
    { "setup_us", "us", "set-up", "wall time of what is done once per problem", -1 },
    { "breakeven_uses", "uses", "uses until set-up pays",
      "set-up / (time of the baseline - time)", -1 },
    { "host_us", "us", "latency seen by the host", "first launch to end of synchronisation", -1 },
    { "rel_fro", "", "error", "Frobenius error relative to the reference", -1 },
    { "r2_rel_fro", "", "error of the scheme",
      "Frobenius error relative to the operator without quantisation", -1 },
    { 0 },
};

const struct metric *metric_find(const char *name)
{
    static const struct metric figure = { "figure", "", "figure", "named figure", 0 };
    if (!strncmp(name, "figure:", 7))
        return &figure;
    for (const struct metric *m = metrics; m->name; m++)
        if (!strcmp(m->name, name))
            return m;
    return NULL;
}

const char *metric_oracle(const struct result_experiment *e)
{
    static _Thread_local char name[64];
    size_t i;
    json_t *column;
    json_array_foreach(json_object_get(e->json, "columns"), i, column)
    {
        const char *text = json_string_value(column);
        snprintf(name, sizeof name, "%.*s", text ? (int)strcspn(text, "/") : 0, text ? text : "");
        if (*name && result_is_group(e, name))
            return name;
    }
    return result_is_group(e, "paper") ? "paper" : "";
}

/* value = scale / time or scale * time, carried through the interval. */
static struct result_value from_time(const struct result_row *row, double scale, bool inverse)
{
    struct result_value v = { 0 };
    if (!row->timed || !(scale > 0))
        return v;
    v.ok = true;
    v.invocations = row->invocations;
    v.spread = row->spread;
    v.value = inverse ? scale / row->us.value : scale * row->us.value;
    v.low = inverse ? scale / row->us.high : scale * row->us.low;
    v.high = inverse ? scale / row->us.low : scale * row->us.high;
    return v;
}

static struct result_value plain(double x, double low, double high)
{
    return (struct result_value){
        .ok = isfinite(x), .value = x, .low = low, .high = high, .invocations = 1
    };
}

/* The row that leaves a stage out of this one; row NULL: not in the case. */
static struct result_pick without(const struct result *r, const struct result_case *c,
                                  const struct result_row *row, const char *stage)
{
    struct result_pick p = { NULL, 1 };
    size_t i, length = strlen(row->kernel);
    json_t *kernel;
    json_array_foreach(json_object_get(r->doc, "kernels"), i, kernel)
    {
        const char *id = result_text(kernel, "id");
        /* a part of a stage may have a row of its own: KERNEL_STAGE leaves out all of it */
        bool whole = !strncmp(id, row->kernel, length) && id[length] == '_' &&
                     !strcmp(id + length + 1, stage);
        if (!strcmp(result_text(kernel, "op"), c->op) &&
            !strcmp(result_text(kernel, "ablates"), row->kernel) &&
            !strcmp(result_text(kernel, "stage"), stage) && (whole || !p.row))
            p.row = result_row(c, id);
    }
    if (p.row && !p.row->timed)
        p.row = NULL;
    return p;
}

static void shift(struct result_value *v, double by)
{
    v->value += by;
    v->low += by;
    v->high += by;
    for (int k = 0; k < v->invocations && k < RESULT_INVOCATIONS_MAX; k++)
        v->per_invocation[k] += by;
}

/* 1 - x: the ends change places. */
static struct result_value complement(struct result_value v)
{
    const double high = 1 - v.low;
    v.low = 1 - v.high;
    v.high = high;
    v.value = 1 - v.value;
    for (int k = 0; k < v.invocations && k < RESULT_INVOCATIONS_MAX; k++)
        v.per_invocation[k] = 1 - v.per_invocation[k];
    return v;
}

static struct result_value dequantisation(const struct result *r, const struct result_case *c,
                                          const struct result_row *row, bool share)
{
    struct result_pick self = { row, 1 }, rest = without(r, c, row, "nodeq");
    if (!rest.row || !row->timed)
        return (struct result_value){ 0 };
    struct result_value v = share ? result_ratio(rest, self, 0.05) : result_ratio(self, rest, 0.05);
    if (v.ok && share)
        return complement(v);
    if (v.ok)
        shift(&v, -1);
    return v;
}

/* 0: the stages follow one another; ends are sums of ends, wider than they need be. */
static struct result_value overlap(const struct result *r, const struct result_case *c,
                                   const struct result_row *row)
{
    static const char *const stage[] = { "loadonly", "mmaonly", "deqonly" };
    struct result_pick self = { row, 1 };
    struct result_value sum = { 0 };
    for (int s = 0; s < 3; s++) {
        struct result_pick part = without(r, c, row, stage[s]);
        struct result_value v = { 0 };
        if (part.row && row->timed)
            v = result_ratio(part, self, 0.05);
        if (!v.ok)
            return v;
        if (!s) {
            sum = v;
            continue;
        }
        sum.value += v.value;
        sum.low += v.low;
        sum.high += v.high;
        sum.rounds = v.rounds < sum.rounds ? v.rounds : sum.rounds;
        sum.invocations = v.invocations < sum.invocations ? v.invocations : sum.invocations;
        sum.unpaired = sum.unpaired || v.unpaired;
        for (int k = 0; k < RESULT_INVOCATIONS_MAX; k++)
            sum.per_invocation[k] += v.per_invocation[k];
    }
    shift(&sum, -1);
    return sum;
}

/* Set-up of the baseline is taken as nothing; no value where the row is not faster. */
static struct result_value breakeven(const struct result_experiment *e,
                                     const struct result_case *c, const struct result_row *row)
{
    const struct result_pick base = result_best(e, c, e->baseline);
    const double setup = result_number(row->json, "setup_us", NAN);
    double gain;
    if (!base.row || !base.row->timed || !row->timed)
        return (struct result_value){ 0 };
    gain = base.row->us.value - row->us.value;
    return gain > 0 ? plain(setup / gain, setup / gain, setup / gain) : (struct result_value){ 0 };
}

static struct result_value figure_of(const json_t *list, const char *name)
{
    const json_t *f = result_listed(list, "name", name);
    if (!f)
        return (struct result_value){ 0 };
    double x = result_number(f, "value", NAN);
    return plain(x, result_number(f, "low", x), result_number(f, "high", x));
}

static double ceiling_of(const struct result *r, const char *id)
{
    return result_number(result_listed(json_object_get(r->doc, "ceilings"), "id", id), "value", 0);
}

/* us of the bytes that the case says caches must fetch; 0: it does not say. */
static double fetching(const struct result *r, const struct result_case *c)
{
    static const char *const figure[] = { "fetch_l2", "fetch_dram" };
    static const char *const ceiling[] = { "l2_read", "dram_read" };
    double us = 0;
    for (int i = 0; i < 2; i++) {
        const struct result_value v = figure_of(json_object_get(c->json, "figures"), figure[i]);
        const double bandwidth = ceiling_of(r, ceiling[i]);
        if (!v.ok || !(bandwidth > 0))
            return 0;
        us = fmax(us, v.value / bandwidth * 1e6);
    }
    return us;
}

struct result_value metric_value(const struct result *r, const struct result_experiment *e,
                                 const struct result_case *c, const struct result_row *row,
                                 const char *name)
{
    const json_t *work = result_work(c, row);
    struct result_pick self = { row, 1 };
    if (!strncmp(name, "figure:", 7)) {
        struct result_value v = figure_of(json_object_get(row->json, "figures"), name + 7);
        return v.ok ? v : figure_of(json_object_get(c->json, "figures"), name + 7);
    }
    if (!strcmp(name, "us"))
        return from_time(row, 1, false);
    if (!strcmp(name, "speedup"))
        return result_ratio(result_best(e, c, e->baseline), self, 0.05);
    if (!strcmp(name, "gflops"))
        return from_time(row, result_number(work, "flops", 0) * 1e-3, true);
    if (!strcmp(name, "tflops"))
        return from_time(row, result_number(work, "flops", 0) * 1e-6, true);
    if (!strcmp(name, "gbps"))
        return from_time(row, result_number(work, "bytes_min", 0) * 1e-3, true);
    if (!strcmp(name, "sol"))
        return from_time(row, result_number(json_object_get(row->json, "sol"), "t_sol_us", 0),
                         true);
    if (!strcmp(name, "fetched"))
        return from_time(row, fetching(r, c), true);
    if (!strcmp(name, "over_sol")) {
        struct result_value v = from_time(row, 1, false);
        shift(&v, -result_number(json_object_get(row->json, "sol"), "t_sol_us", NAN));
        v.ok = v.ok && isfinite(v.value);
        return v;
    }
    if (!strcmp(name, "oracle_fraction") || !strcmp(name, "loss")) {
        struct result_value v = result_ratio(result_best(e, c, metric_oracle(e)), self, 0.05);
        return v.ok && *name == 'l' ? complement(v) : v;
    }
    if (!strcmp(name, "share") || !strcmp(name, "excess"))
        return dequantisation(r, c, row, *name == 's');
    if (!strcmp(name, "overlap"))
        return overlap(r, c, row);
    if (!strcmp(name, "breakeven_uses"))
        return breakeven(e, c, row);
    if (!strcmp(name, "setup_us") || !strcmp(name, "host_us")) {
        double x = result_number(row->json, name, NAN);
        return row->timed ? plain(x, x, x) : (struct result_value){ 0 };
    }
    if (!strcmp(name, "rel_fro") || !strcmp(name, "r2_rel_fro")) {
        const json_t *found = json_object_get(row->json, "correctness");
        double x = result_number(*name == 'r' && name[1] == '2' ? json_object_get(found, "r2")
                                                                : found,
                                 "rel_fro", NAN);
        return plain(x, x, x);
    }
    return figure_of(json_object_get(row->json, "figures"), name);
}

/* ---- aggregates ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *x, int n)
{
    qsort(x, n, sizeof *x, by_value);
    return n ? cb_quantile(x, n, 0.5) : 0;
}

/* A case may not enter a claim if a row behind it was stopped early with a wide interval. */
static bool is_loose(const struct result_row *row)
{
    const json_t *time = json_object_get(row->json, "time_us");
    const char *stop = result_text(time, "stop");
    double h = row->us.value > 0 ? (row->us.high - row->us.low) / (2 * row->us.value) : 0;
    return (*stop && strcmp(stop, "converged") && h > 0.05);
}

static int summarise(struct aggregate *a, const double *over, const double *under)
{
    int n = a->cases;
    double logs = 0, sum = 0, low = 0, high = 0, top = 0, bottom = 0,
           *x = malloc(3 * (size_t)n * sizeof *x);
    if (!x)
        return cb_error("no memory for an aggregate");
    for (int i = 0; i < n; i++) {
        const struct result_value *v = &a->value[i];
        logs += log(v->value);
        sum += v->value;
        low += v->low;
        high += v->high;
        top += over[i];
        bottom += under[i];
        x[i] = v->value;
        x[n + i] = v->low;
        x[2 * n + i] = v->high;
        a->faster += v->low > 1;
        a->slower += v->high < 1;
        a->flattered += v->flattered;
        a->unpaired += v->unpaired;
        if (!a->at_min || v->value < a->min.value) {
            a->min = (struct cb_interval){ v->value, v->low, v->high };
            a->at_min = a->at[i];
        }
        if (!a->at_max || v->value > a->max.value) {
            a->max = (struct cb_interval){ v->value, v->low, v->high };
            a->at_max = a->at[i];
        }
    }
    /* leaving one out moves the mean most where the logarithm lies farthest from it */
    double farthest = -1;
    for (int i = 0; i < n; i++)
        if (fabs(log(a->value[i].value) - logs / n) > farthest) {
            farthest = fabs(log(a->value[i].value) - logs / n);
            a->influential = a->at[i];
        }
    double g = exp(logs / n);
    a->geomean = (struct cb_interval){ g, g, g };
    a->mean = (struct cb_interval){ sum / n, low / n, high / n };
    a->median = (struct cb_interval){ middle(x, n), middle(x + n, n), middle(x + 2 * n, n) };
    a->total = bottom > 0 ? top / bottom : 0;
    free(x);
    return 0;
}

/* Interval of the geometric mean: rounds resampled inside each case, then widened
 * to the range of the means of the single invocations and, for cases whose
 * samples are not stored, to the mean of their ends. */
static int bound_geomean(struct aggregate *a, const double *const *rounds, const int *count,
                         int replicates, uint64_t seed)
{
    int n = a->cases, sampled = 0, invocations = RESULT_INVOCATIONS_MAX;
    double g = a->geomean.value, low = g, high = g;
    for (int i = 0; i < n; i++) {
        sampled += count[i] > 0;
        if (a->value[i].invocations < invocations)
            invocations = a->value[i].invocations;
    }
    if (sampled == n) {
        struct cb_interval ci;
        if (cb_geomean_ci(rounds, count, n, false, replicates, seed, &ci))
            return -1;
        /* its centre is that of the pooled rounds: keep the widths */
        low = g * ci.low / ci.value;
        high = g * ci.high / ci.value;
    } else {
        double l = 0, h = 0;
        for (int i = 0; i < n; i++) {
            l += log(fmax(a->value[i].low, 1e-12));
            h += log(a->value[i].high);
        }
        low = exp(l / n);
        high = exp(h / n);
    }
    for (int k = 0; k < invocations; k++) {
        double l = 0;
        for (int i = 0; i < n; i++)
            l += log(a->value[i].per_invocation[k]);
        low = fmin(low, exp(l / n));
        high = fmax(high, exp(l / n));
    }
    a->geomean.low = low;
    a->geomean.high = high;
    return 0;
}

int aggregate_matching(const struct result *r, const char *experiments, const json_t *filter,
                       const char *numerator, const char *denominator, int replicates,
                       uint64_t seed, double alpha, struct aggregate *out)
{
    *out = (struct aggregate){ 0 };
    size_t n = r->case_count ? (size_t)r->case_count : 1;
    double **rounds = calloc(n, sizeof *rounds), *over = calloc(n, sizeof *over),
           *under = calloc(n, sizeof *under);
    int *count = calloc(n, sizeof *count), status = -1;
    out->at = calloc(n, sizeof *out->at);
    out->value = calloc(n, sizeof *out->value);
    out->lost = calloc(n, sizeof *out->lost);
    if (!rounds || !over || !under || !count || !out->at || !out->value || !out->lost) {
        cb_error("no memory for an aggregate");
        goto done;
    }
    for (int i = 0; i < r->case_count; i++) {
        const struct result_case *c = &r->cases[i];
        const struct result_experiment *e = result_experiment(r, c->experiment);
        if (!e || fnmatch(experiments, e->id, 0) || !result_matches(c, filter))
            continue;
        struct result_pick a = result_best(e, c, numerator), b = result_best(e, c, denominator);
        struct result_value v = result_ratio(a, b, alpha);
        if (!v.ok) {
            out->lost[out->missing++] = c;
            continue;
        }
        int k = out->cases++;
        out->at[k] = c;
        out->value[k] = v;
        over[k] = a.row->us.value;
        under[k] = b.row->us.value;
        out->sum.value += b.row->us.value;
        out->sum.low += b.row->us.low;
        out->sum.high += b.row->us.high;
        out->loose += is_loose(a.row) || is_loose(b.row);
        out->own = out->own || !strcmp(b.row->role, "own");
        if (replicates)
            rounds[k] = result_rounds(a, b, &count[k]);
    }
    if (out->cases) {
        if (summarise(out, over, under))
            goto done;
        if (replicates &&
            bound_geomean(out, (const double *const *)rounds, count, replicates, seed))
            goto done;
    }
    status = 0;
done:
    for (size_t i = 0; rounds && i < n; i++)
        free(rounds[i]);
    free(rounds);
    free(over);
    free(under);
    free(count);
    if (status)
        aggregate_free(out);
    return status;
}

/* Adds up a part; returns the number of cases that have a time. */
static int add_part(const struct result *r, const struct aggregate_part *p, struct aggregate *a,
                    struct cb_interval *sum)
{
    int found = 0;
    for (int i = 0; i < r->case_count; i++) {
        const struct result_case *c = &r->cases[i];
        const struct result_experiment *e = result_experiment(r, c->experiment);
        if (!e || fnmatch(p->experiments, e->id, 0) || !result_matches(c, p->filter))
            continue;
        const struct result_row *row = result_best(e, c, p->rows).row;
        if (!row) {
            a->lost[a->missing++] = c;
            continue;
        }
        sum->value += row->us.value;
        sum->low += row->us.low;
        sum->high += row->us.high;
        a->loose += is_loose(row);
        a->own = a->own || !strcmp(row->role, "own");
        a->at[0] = c;
        found++;
    }
    return found;
}

int aggregate_apart(const struct result *r, const struct aggregate_part *numerator,
                    const struct aggregate_part *denominator, struct aggregate *out)
{
    *out = (struct aggregate){ 0 };
    const size_t n = 2 * (size_t)r->case_count + 1; /* a case may miss in both */
    struct cb_interval over = { 0 };
    out->at = calloc(1, sizeof *out->at);
    out->value = calloc(1, sizeof *out->value);
    out->lost = calloc(n, sizeof *out->lost);
    if (!out->at || !out->value || !out->lost) {
        aggregate_free(out);
        return cb_error("no memory for an aggregate");
    }
    const int above = add_part(r, numerator, out, &over);
    out->own = false; /* of the denominator */
    const int below = add_part(r, denominator, out, &out->sum);
    if (!above || !below || out->missing || out->sum.value <= 0)
        return 0;
    out->cases = 1;
    out->value[0] = (struct result_value){ .ok = true, .unpaired = true, .invocations = 1 };
    out->value[0].value = over.value / out->sum.value;
    out->value[0].low = over.low / out->sum.high;
    out->value[0].high = over.high / out->sum.low;
    const int status = summarise(out, &over.value, &out->sum.value);
    if (status)
        aggregate_free(out);
    return status;
}

int aggregate_ratio(const struct result *r, const struct result_experiment *e, const json_t *filter,
                    const char *numerator, const char *denominator, int replicates, uint64_t seed,
                    double alpha, struct aggregate *out)
{
    return aggregate_matching(r, e->id, filter, numerator, denominator, replicates, seed, alpha,
                              out);
}

void aggregate_free(struct aggregate *a)
{
    free(a->at);
    free(a->value);
    free(a->lost);
    *a = (struct aggregate){ 0 };
}

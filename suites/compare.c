/* compare.c - matching cases of several runs, quotients of their times. */
#include "compare.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "metrics.h"

/* One row of the reference with its counterparts. */
struct match {
    const struct result_case *c[COMPARE_MAX];
    const struct result_row *row[COMPARE_MAX]; /* NULL: not in that run */
    struct cb_interval q[COMPARE_MAX];         /* time over that of the reference */
    const char *verdict[COMPARE_MAX];          /* NULL: none is due */
};

struct comparison {
    struct result run[COMPARE_MAX];
    int runs;
    bool same[COMPARE_MAX]; /* same GPU product as the reference */
    struct match *match;
    int matches, only_first, only_other[COMPARE_MAX];
    double delta;
};

static bool same_gpu(const struct result *a, const struct result *b)
{
    return !strcmp(a->gpu, b->gpu) && a->sm_count == b->sm_count &&
           a->memory_bytes == b->memory_bytes;
}

static const char *key_of(const struct result_case *c)
{
    return *c->key ? c->key : c->id;
}

static const struct result_case *counterpart(const struct result *r, const struct result_case *c)
{
    for (int i = 0; i < r->case_count; i++)
        if (!strcmp(key_of(&r->cases[i]), key_of(c)))
            return &r->cases[i];
    return NULL;
}

/* The interval of a time, widened by what differs between invocations. */
static struct cb_interval widened(const struct result_row *row)
{
    double half = row->spread * row->us.value / 2;
    return (struct cb_interval){ row->us.value, fmax(row->us.low - half, 1e-9),
                                 row->us.high + half };
}

static const char *verdict_of(struct cb_interval q, double delta)
{
    if (q.high < 1 - delta)
        return "FASTER";
    if (q.low > 1 + delta)
        return "SLOWER";
    return q.low >= 1 - delta && q.high <= 1 + delta ? "SAME" : "UNRESOLVED";
}

static bool wanted(const struct compare_options *o, const struct result_case *c,
                   const struct result_row *row)
{
    return (!o->experiment || !fnmatch(o->experiment, c->experiment, 0)) &&
           (!o->kernel || !fnmatch(o->kernel, row->kernel, 0)) && result_matches(c, o->filter);
}

static int match_all(struct comparison *k, const struct compare_options *o)
{
    int room = 0;
    for (int i = 0; i < k->run[0].case_count; i++)
        room += k->run[0].cases[i].row_count;
    if (!(k->match = calloc(room + 1, sizeof *k->match)))
        return cb_error("no memory for a comparison");
    for (int i = 0; i < k->run[0].case_count; i++) {
        const struct result_case *c = &k->run[0].cases[i], *other[COMPARE_MAX] = { c };
        for (int f = 1; f < k->runs; f++)
            other[f] = counterpart(&k->run[f], c);
        for (int r = 0; r < c->row_count; r++) {
            const struct result_row *a = &c->row[r];
            struct match m = { .c = { c }, .row = { a } };
            int found = 0;
            if (!a->timed || !wanted(o, c, a))
                continue;
            for (int f = 1; f < k->runs; f++) {
                const struct result_row *b = other[f] ? result_row(other[f], a->kernel) : NULL;
                if (!b || !b->timed)
                    continue;
                m.c[f] = other[f];
                m.row[f] = b;
                found++;
                struct cb_interval x = widened(a), y = widened(b);
                m.q[f] = (struct cb_interval){ y.value / x.value, y.low / x.high, y.high / x.low };
                if (k->same[f])
                    m.verdict[f] = verdict_of(m.q[f], k->delta);
            }
            if (found)
                k->match[k->matches++] = m;
            else
                k->only_first++;
        }
    }
    for (int f = 1; f < k->runs; f++)
        for (int i = 0; i < k->run[f].case_count; i++) {
            const struct result_case *c = &k->run[f].cases[i], *a = counterpart(&k->run[0], c);
            for (int r = 0; r < c->row_count; r++) {
                const struct result_row *in_first = a ? result_row(a, c->row[r].kernel) : NULL;
                if (c->row[r].timed && wanted(o, c, &c->row[r]) && !(in_first && in_first->timed))
                    k->only_other[f]++;
            }
        }
    return 0;
}

/* ---- what differs in the circumstances ---- */

static const char *const circumstances[] = { "env.gpu.0.name",
                                             "env.gpu.0.sm_count",
                                             "env.gpu.0.mem_bytes",
                                             "env.gpu.0.ecc",
                                             "env.gpu.0.mig",
                                             "env.gpu.0.power_limit_w",
                                             "env.gpu.0.max_sm_clock_mhz",
                                             "env.driver",
                                             "env.cuda_runtime",
                                             "env.nvcc",
                                             "env.libs.cublas",
                                             "env.libs.cusparse",
                                             "env.build.nvcc_flags",
                                             "env.build.cc_flags",
                                             "env.host.cpu",
                                             "env.host.virt",
                                             "run.suite.git_commit",
                                             "run.suite.git_dirty",
                                             "run.profile",
                                             "run.policy.regime",
                                             "run.clock_policy",
                                             "run.invocations",
                                             "run.seed",
                                             NULL };

static void look_up(const json_t *doc, const char *path, char *text, size_t size)
{
    char part[64];
    while (doc && *path) {
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        doc = json_is_array(doc) ? json_array_get(doc, atoi(part)) : json_object_get(doc, part);
        path += n + (path[n] == '.');
    }
    char *dumped = doc && !json_is_null(doc)
                       ? json_dumps(doc, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9) | JSON_SORT_KEYS)
                       : NULL;
    const char *s = json_is_string(doc) ? json_string_value(doc) : dumped ? dumped : "-";
    snprintf(text, size, "%s", s);
    free(dumped);
}

static int differences(const struct comparison *k, struct cb_table *t)
{
    const char *head[COMPARE_MAX + 1] = { "circumstance" };
    char name[COMPARE_MAX][4];
    for (int f = 0; f < k->runs; f++) {
        snprintf(name[f], sizeof name[f], "%c", 'A' + f);
        head[f + 1] = name[f];
    }
    if (cb_table_init(t, "What differs between the runs", k->runs + 1, head))
        return -1;
    for (int i = 0; circumstances[i]; i++) {
        char text[COMPARE_MAX][160];
        bool differs = false;
        for (int f = 0; f < k->runs; f++) {
            look_up(k->run[f].doc, circumstances[i], text[f], sizeof text[f]);
            differs = differs || strcmp(text[f], text[0]);
        }
        if (!differs)
            continue;
        int row = cb_table_row(t);
        if (row < 0 || cb_table_set(t, row, 0, "%s", circumstances[i]))
            return -1;
        for (int f = 0; f < k->runs; f++)
            if (cb_table_set(t, row, f + 1, "%s", text[f]))
                return -1;
    }
    return 0;
}

/* ---- tables ---- */

static int by_quotient(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    double p = 0, q = 0;
    for (int f = 1; f < COMPARE_MAX; f++) {
        p = fmax(p, x->q[f].value);
        q = fmax(q, y->q[f].value);
    }
    if (p != q)
        return p < q ? 1 : -1;
    int order = strcmp(x->c[0]->id, y->c[0]->id);
    return order ? order : strcmp(x->row[0]->kernel, y->row[0]->kernel);
}

static struct result_value speedup_of(const struct comparison *k, const struct match *m, int f)
{
    const struct result_experiment *e =
        m->c[f] ? result_experiment(&k->run[f], m->c[f]->experiment) : NULL;
    if (!e || !*e->baseline)
        return (struct result_value){ 0 };
    return metric_value(&k->run[f], e, m->c[f], m->row[f], "speedup");
}

static int cell_of(struct cb_table *t, int row, int *column, const char *text)
{
    return cb_table_set(t, row, (*column)++, "%s", text);
}

static int times_table(const struct comparison *k, struct cb_table *t)
{
    char head[2 + 4 * COMPARE_MAX][24];
    const char *names[2 + 4 * COMPARE_MAX];
    int n = 0;
    bool across = false;
    for (int f = 1; f < k->runs; f++)
        across = across || !k->same[f];
    snprintf(head[n++], sizeof *head, "case");
    snprintf(head[n++], sizeof *head, "kernel");
    for (int f = 0; f < k->runs; f++) {
        snprintf(head[n++], sizeof *head, "%c us", 'A' + f);
        if (f && k->same[f]) {
            snprintf(head[n++], sizeof *head, "%c/A [95 %%]", 'A' + f);
            snprintf(head[n++], sizeof *head, "%c", 'A' + f);
        }
        if (across) {
            snprintf(head[n++], sizeof *head, "%c speedup", 'A' + f);
            snprintf(head[n++], sizeof *head, "%c sol, bound", 'A' + f);
        }
    }
    for (int i = 0; i < n; i++)
        names[i] = head[i];
    if (cb_table_init(
            t, across ? "Times side by side (runs on other hardware are not judged)" : "Times", n,
            names))
        return -1;
    for (int i = 0; i < k->matches; i++) {
        const struct match *m = &k->match[i];
        int row = cb_table_row(t), c = 0;
        char a[CB_NUMBER_MAX], b[CB_NUMBER_MAX], d[CB_NUMBER_MAX];
        if (row < 0 || cell_of(t, row, &c, m->c[0]->id) || cell_of(t, row, &c, m->row[0]->kernel))
            return -1;
        for (int f = 0; f < k->runs; f++) {
            const struct result_row *r = m->row[f];
            if (cell_of(t, row, &c, r ? cb_number(r->us.value, 4, a) : "-"))
                return -1;
            if (f && k->same[f]) {
                if (r ? cb_table_set(t, row, c, "%s [%s, %s]", cb_number(m->q[f].value, 3, a),
                                     cb_number(m->q[f].low, 3, b), cb_number(m->q[f].high, 3, d))
                      : cb_table_set(t, row, c, "-"))
                    return -1;
                c++;
                if (cell_of(t, row, &c, r ? m->verdict[f] : "-"))
                    return -1;
            }
            if (across) {
                struct result_value s = r ? speedup_of(k, m, f) : (struct result_value){ 0 };
                const json_t *sol = r ? json_object_get(r->json, "sol") : NULL;
                if (cell_of(t, row, &c, s.ok ? cb_number(s.value, 3, a) : "-"))
                    return -1;
                if (cb_table_set(t, row, c++, "%s%s%s",
                                 cb_number(result_number(sol, "fraction", NAN), 2, a),
                                 *result_text(sol, "bound") ? " " : "", result_text(sol, "bound")))
                    return -1;
            }
        }
    }
    return 0;
}

/* One line per experiment, kernel and run. */
static int geomean_table(const struct comparison *k, struct cb_table *t)
{
    static const char *const head[] = { "experiment", "kernel", "run",    "cases",     "geomean",
                                        "FASTER",     "SAME",   "SLOWER", "UNRESOLVED" };
    if (cb_table_init(t, "Geometric mean of the quotients over A", 9, head))
        return -1;
    for (int i = 0; i < k->matches; i++) {
        const struct match *first = &k->match[i];
        bool seen = false;
        for (int l = 0; l < i && !seen; l++)
            seen = !strcmp(k->match[l].c[0]->experiment, first->c[0]->experiment) &&
                   !strcmp(k->match[l].row[0]->kernel, first->row[0]->kernel);
        for (int f = 1; f < k->runs && !seen; f++) {
            int n = 0, tally[4] = { 0 };
            double logs = 0;
            static const char *const kind[] = { "FASTER", "SAME", "SLOWER", "UNRESOLVED" };
            for (int l = i; l < k->matches; l++) {
                const struct match *m = &k->match[l];
                if (!m->row[f] || strcmp(m->c[0]->experiment, first->c[0]->experiment) ||
                    strcmp(m->row[0]->kernel, first->row[0]->kernel))
                    continue;
                n++;
                logs += log(m->q[f].value);
                for (int v = 0; v < 4; v++)
                    tally[v] += m->verdict[f] && !strcmp(m->verdict[f], kind[v]);
            }
            if (!n)
                continue;
            char g[CB_NUMBER_MAX];
            int row = cb_table_row(t);
            if (row < 0 || cb_table_set(t, row, 0, "%s", first->c[0]->experiment) ||
                cb_table_set(t, row, 1, "%s", first->row[0]->kernel) ||
                cb_table_set(t, row, 2, "%c", 'A' + f) || cb_table_set(t, row, 3, "%d", n) ||
                cb_table_set(t, row, 4, "%s", cb_number(exp(logs / n), 3, g)))
                return -1;
            for (int v = 0; v < 4; v++)
                if (k->same[f] ? cb_table_set(t, row, 5 + v, "%d", tally[v])
                               : cb_table_set(t, row, 5 + v, "-"))
                    return -1;
        }
    }
    return 0;
}

/* Kendall's tau of the speedups of one experiment in run f and in the reference. */
static bool agreement(const struct comparison *k, const char *experiment, int f, double *tau,
                      int *n)
{
    double *a = malloc((k->matches + 1) * sizeof *a), *b = malloc((k->matches + 1) * sizeof *b);
    *n = 0;
    for (int i = 0; a && b && i < k->matches; i++) {
        const struct match *m = &k->match[i];
        if (!m->row[f] || strcmp(m->c[0]->experiment, experiment) ||
            !strcmp(m->row[0]->role, "ablation") ||
            !strcmp(m->row[0]->kernel, result_experiment(&k->run[0], experiment)->baseline))
            continue;
        struct result_value x = speedup_of(k, m, 0), y = speedup_of(k, m, f);
        if (x.ok && y.ok) {
            a[*n] = x.value;
            b[(*n)++] = y.value;
        }
    }
    if (*n > 1)
        *tau = cb_kendall(a, b, *n);
    free(a);
    free(b);
    return *n > 1;
}

static int rank_table(const struct comparison *k, struct cb_table *t)
{
    static const char *const head[] = { "experiment", "run", "rows", "Kendall tau" };
    if (cb_table_init(t, "Agreement of the ranks of the speedups with A", 4, head))
        return -1;
    for (int e = 0; e < k->run[0].experiment_count; e++)
        for (int f = 1; f < k->runs; f++) {
            double tau;
            int n;
            if (!agreement(k, k->run[0].experiment[e].id, f, &tau, &n))
                continue;
            int row = cb_table_row(t);
            if (row < 0 || cb_table_set(t, row, 0, "%s", k->run[0].experiment[e].id) ||
                cb_table_set(t, row, 1, "%c", 'A' + f) || cb_table_set(t, row, 2, "%d", n) ||
                cb_table_set(t, row, 3, "%.3f", tau))
                return -1;
        }
    return 0;
}

static int write_json(const struct comparison *k, FILE *out)
{
    json_t *doc = json_pack("{s:s, s:[], s:[], s:[]}", "schema", "claimbench/compare", "runs",
                            "matches", "differences");
    for (int f = 0; f < k->runs; f++)
        json_array_append_new(json_object_get(doc, "runs"),
                              json_pack("{s:s, s:s, s:b, s:i}", "id", k->run[f].id, "gpu",
                                        k->run[f].gpu, "same_gpu", (int)k->same[f], "only_here",
                                        f ? k->only_other[f] : k->only_first));
    for (int i = 0; i < k->matches; i++) {
        const struct match *m = &k->match[i];
        json_t *o =
            json_pack("{s:s, s:s, s:[]}", "case", m->c[0]->id, "kernel", m->row[0]->kernel, "runs");
        for (int f = 0; f < k->runs; f++) {
            json_t *one = json_object();
            if (m->row[f]) {
                struct result_value s = speedup_of(k, m, f);
                json_object_set_new(one, "us", json_real(m->row[f]->us.value));
                if (s.ok)
                    json_object_set_new(one, "speedup", json_real(s.value));
                if (f && m->verdict[f]) {
                    json_object_set_new(one, "quotient", json_real(m->q[f].value));
                    json_object_set_new(one, "ci95", json_pack("[f,f]", m->q[f].low, m->q[f].high));
                    json_object_set_new(one, "verdict", json_string(m->verdict[f]));
                }
            }
            json_array_append_new(json_object_get(o, "runs"), one);
        }
        json_array_append_new(json_object_get(doc, "matches"), o);
    }
    for (int i = 0; circumstances[i]; i++) {
        char text[COMPARE_MAX][160];
        bool differs = false;
        for (int f = 0; f < k->runs; f++) {
            look_up(k->run[f].doc, circumstances[i], text[f], sizeof text[f]);
            differs = differs || strcmp(text[f], text[0]);
        }
        if (!differs)
            continue;
        json_t *values = json_array();
        for (int f = 0; f < k->runs; f++)
            json_array_append_new(values, json_string(text[f]));
        json_array_append_new(json_object_get(doc, "differences"),
                              json_pack("{s:s, s:o}", "what", circumstances[i], "values", values));
    }
    int status = json_dumpf(doc, out, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(doc);
    return status || fputc('\n', out) == EOF ? cb_error("a comparison was not written whole") : 0;
}

/* The titled parts of a report; CSV holds the table of times alone. */
static int write_all(const struct comparison *k, const struct compare_options *o, FILE *out)
{
    typedef int make_fn(const struct comparison *, struct cb_table *);
    static make_fn *const make[] = { differences, times_table, geomean_table, rank_table };
    bool data = o->format == CB_CSV || o->format == CB_TSV;
    if (!data) {
        for (int f = 0; f < k->runs; f++) {
            fprintf(out, "%s%c: %s, run %s", f ? "\n" : "", 'A' + f, k->run[f].gpu, k->run[f].id);
            if (f)
                fprintf(out, "%s; rows only here: %d", k->same[f] ? "" : " (other hardware)",
                        k->only_other[f]);
        }
        fprintf(out, "\n\nmatched rows: %d; only in A: %d\n", k->matches, k->only_first);
    }
    for (int i = 0; i < 4; i++) {
        struct cb_table t = { 0 };
        if (data ? i != (o->geomean ? 2 : 1) : i == 2 && !o->geomean)
            continue;
        int status = make[i](k, &t);
        if (!status && (t.rows || data)) {
            if (!data)
                fputc('\n', out);
            status = cb_table_write(&t, o->format, out);
        } else if (!status && !i) {
            fprintf(out, "\nno difference in the recorded circumstances\n");
        }
        cb_table_free(&t);
        if (status)
            return -1;
    }
    return 0;
}

int compare_results(const char *const *paths, int count, const struct compare_options *o, FILE *out,
                    bool *slower)
{
    int status = -1;
    *slower = false;
    if (count < 2 || count > COMPARE_MAX)
        return cb_error("compare takes 2 to %d results, not %d", COMPARE_MAX, count);
    struct comparison *k = calloc(1, sizeof *k);
    if (!k)
        return cb_error("no memory for a comparison");
    k->delta = o->delta > 0 ? o->delta : 0.02;
    for (; k->runs < count; k->runs++) {
        if (result_load(paths[k->runs], &k->run[k->runs]))
            goto done;
        k->same[k->runs] = same_gpu(&k->run[0], &k->run[k->runs]);
    }
    if (match_all(k, o))
        goto done;
    if (o->sort)
        qsort(k->match, k->matches, sizeof *k->match, by_quotient);
    double limit = o->fail_percent > 0 ? o->fail_percent / 100 : k->delta;
    for (int i = 0; i < k->matches; i++)
        for (int f = 1; f < k->runs; f++)
            if (o->fail_on_slower && k->match[i].verdict[f] && k->match[i].q[f].low > 1 + limit)
                *slower = true;
    status = o->json ? write_json(k, out) : write_all(k, o, out);
done:
    for (int f = 0; f < k->runs; f++)
        result_free(&k->run[f]);
    free(k->match);
    free(k);
    return status;
}

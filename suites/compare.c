/* compare.c - matching cases of several runs, quotients of their times. */
#include "compare.h"

#include <dirent.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/error.h"
#include "gpus.h"
#include "report.h"

/* One row of the reference with its counterparts. */
struct match {
    const struct result_case *c[COMPARE_MAX];
    const struct result_row *row[COMPARE_MAX]; /* NULL: not in that run */
    struct cb_interval q[COMPARE_MAX];         /* time over that of the reference */
    const char *verdict[COMPARE_MAX];          /* NULL: none is due */
};

_Static_assert((int)COMPARE_MAX <= (int)GPUS_MAX, "gpus.h holds fewer runs");

struct comparison {
    struct result run[COMPARE_MAX];
    int runs;
    bool same[COMPARE_MAX]; /* same GPU product as the reference */
    bool across;            /* some run is on another one */
    bool plain;             /* for a terminal: 100 columns */
    struct match *match;
    int matches, only[COMPARE_MAX]; /* rows that no other run has; A: none, others: not A */
    int other_key;                  /* matched cases whose policy or list of rows differs */
    double delta;
    struct gpus gpus;
};

static bool same_gpu(const struct result *a, const struct result *b)
{
    return !strcmp(a->gpu, b->gpu) && a->sm_count == b->sm_count &&
           a->memory_bytes == b->memory_bytes;
}

static const struct result_case *counterpart(const struct result *r, const struct result_case *c)
{
    for (int i = 0; i < r->case_count; i++)
        if (gpus_same_case(&r->cases[i], c))
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
        for (int f = 1; f < k->runs; f++) {
            other[f] = counterpart(&k->run[f], c);
            k->other_key += other[f] && strcmp(other[f]->key, c->key);
        }
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
                k->only[0]++;
        }
    }
    for (int f = 1; f < k->runs; f++)
        for (int i = 0; i < k->run[f].case_count; i++) {
            const struct result_case *c = &k->run[f].cases[i], *a = counterpart(&k->run[0], c);
            for (int r = 0; r < c->row_count; r++) {
                const struct result_row *in_first = a ? result_row(a, c->row[r].kernel) : NULL;
                if (c->row[r].timed && wanted(o, c, &c->row[r]) && !(in_first && in_first->timed))
                    k->only[f]++;
            }
        }
    return 0;
}

/* ---- what differs in the circumstances ---- */

static const char *const circumstances[] = { "env.gpu.0.name",
                                             "env.gpu.0.cc",
                                             "env.gpu.0.sm_count",
                                             "env.gpu.0.mem_bytes",
                                             "env.gpu.0.ecc",
                                             "env.gpu.0.mig",
                                             "env.gpu.0.power_limit_w",
                                             "env.gpu.0.max_sm_clock_mhz",
                                             "env.gpu.0.max_mem_clock_mhz",
                                             "run.clock_policy",
                                             "env.driver",
                                             "env.cuda_driver",
                                             "env.cuda_runtime",
                                             "env.nvcc",
                                             "env.build.sm",
                                             "env.build.nvcc_flags",
                                             "env.build.cc",
                                             "env.build.cc_flags",
                                             "env.host.cpu",
                                             "env.host.virt",
                                             "run.suite.git_commit",
                                             "run.suite.git_dirty",
                                             "run.profile",
                                             "run.policy",
                                             "run.invocations",
                                             "run.seed",
                                             "run.synthetic",
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

/* Median over the cases of the clock that the device itself counted, in MHz; 0: none did. */
static double clock_of(const struct result *r)
{
    double *mhz = malloc((size_t)(r->case_count + 1) * sizeof *mhz), middle = 0;
    int n = 0;
    for (int i = 0; mhz && i < r->case_count; i++) {
        const json_t *clock = json_object_get(json_object_get(r->cases[i].json, "session"),
                                              "clock_mhz");
        double x = result_number(clock, "median", 0);
        if (x > 0)
            mhz[n++] = x;
    }
    if (n)
        middle = cb_median(mhz, n);
    free(mhz);
    return middle;
}

enum { VALUE_MAX = 160 };
typedef int differ_fn(void *arg, const char *what, char text[][VALUE_MAX]);

static int if_differs(const struct comparison *k, const char *what, char text[][VALUE_MAX],
                      differ_fn *tell, void *arg)
{
    for (int f = 1; f < k->runs; f++)
        if (strcmp(text[f], text[0]))
            return tell(arg, what, text);
    return 0;
}

/* Calls tell for everything that is not the same in all runs.  0 or what it returned. */
static int each_difference(const struct comparison *k, differ_fn *tell, void *arg)
{
    char text[COMPARE_MAX][VALUE_MAX], path[80];
    int status = 0;
    for (int i = 0; circumstances[i] && !status; i++) {
        bool policy = !strcmp(circumstances[i], "run.policy");
        const json_t *p = json_object_get(json_object_get(k->run[0].doc, "run"), "policy");
        const char *key;
        json_t *v;
        if (policy) { /* one line for each of its values */
            json_object_foreach((json_t *)p, key, v)
            {
                snprintf(path, sizeof path, "run.policy.%.60s", key);
                for (int f = 0; f < k->runs; f++)
                    look_up(k->run[f].doc, path, text[f], VALUE_MAX);
                if (!status && strcmp(key, "invocations"))
                    status = if_differs(k, path, text, tell, arg);
            }
            continue;
        }
        for (int f = 0; f < k->runs; f++)
            look_up(k->run[f].doc, circumstances[i], text[f], VALUE_MAX);
        status = if_differs(k, circumstances[i], text, tell, arg);
    }
    json_t *libs = json_object(); /* of all runs, in the order of their names */
    for (int f = 0; f < k->runs; f++)
        json_object_update(libs, json_object_get(json_object_get(k->run[f].doc, "env"), "libs"));
    char *names = json_dumps(libs, JSON_SORT_KEYS);
    json_decref(libs);
    libs = names ? json_loads(names, 0, NULL) : NULL;
    free(names);
    const char *key;
    json_t *v;
    json_object_foreach(libs, key, v)
    {
        snprintf(path, sizeof path, "env.libs.%.60s", key);
        for (int f = 0; f < k->runs; f++)
            look_up(k->run[f].doc, path, text[f], VALUE_MAX);
        if (!status)
            status = if_differs(k, path, text, tell, arg);
    }
    json_decref(libs);
    for (int f = 0; f < k->runs; f++) {
        double mhz = clock_of(&k->run[f]);
        snprintf(text[f], VALUE_MAX, mhz > 0 ? "%.0f MHz" : "-", mhz);
    }
    return status ? status : if_differs(k, "clock while measuring", text, tell, arg);
}

struct difference_table {
    const struct comparison *k;
    struct cb_table *t;
};

static int difference_row(void *arg, const char *what, char text[][VALUE_MAX])
{
    struct difference_table *d = arg;
    int row = cb_table_row(d->t), room = d->k->plain ? (100 - 27) / d->k->runs - 2 : VALUE_MAX;
    size_t same = 0, longest = 0;
    if (row < 0 || cb_table_set(d->t, row, 0, "%s", what))
        return -1;
    for (int f = 0; f < d->k->runs; f++) {
        size_t n = 0;
        while (text[f][n] && text[f][n] == text[0][n])
            n++;
        same = f == 1 || (f && n < same) ? n : same;
        longest = strlen(text[f]) > longest ? strlen(text[f]) : longest;
    }
    /* on a terminal the part of long values from where they part */
    size_t from = (int)longest > room && same > 8 ? same - 4 : 0;
    for (int f = 0; f < d->k->runs; f++) {
        const char *s = strlen(text[f]) > from ? text[f] + from : text[f];
        bool cut = (int)strlen(s) > room - (s > text[f] ? 2 : 0);
        if (cb_table_set(d->t, row, f + 1, "%s%.*s%s", s > text[f] ? ".." : "",
                         cut ? room - 2 - (s > text[f] ? 2 : 0) : room, s, cut ? ".." : ""))
            return -1;
    }
    return 0;
}

static int differences(const struct comparison *k, struct cb_table *t)
{
    const char *head[COMPARE_MAX + 1] = { "circumstance" };
    char name[COMPARE_MAX][4];
    struct difference_table d = { k, t };
    for (int f = 0; f < k->runs; f++) {
        snprintf(name[f], sizeof name[f], "%c", 'A' + f);
        head[f + 1] = name[f];
    }
    if (cb_table_init(t, "What differs between the runs", k->runs + 1, head))
        return -1;
    return each_difference(k, difference_row, &d);
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
    bool across = k->across;
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

/* On a terminal: a table for each experiment and cache state, a case by the parameters that
 * differ; two runs of one GPU side by side, others one below the other. */
static int plain_row(const struct comparison *k, const struct match *m, const struct view *v,
                     bool beside, struct cb_table *t)
{
    for (int f = beside ? 1 : 0; f < k->runs; f++) {
        const struct result_row *r = m->row[f];
        char a[CB_NUMBER_MAX], b[CB_NUMBER_MAX], d[CB_NUMBER_MAX], text[300];
        int row = r ? cb_table_row(t) : 0, c = v->params;
        if (row < 0)
            return -1;
        if (!r)
            continue;
        for (int p = 0; p < v->params; p++)
            if (cb_table_set(t, row, p, "%s",
                             result_param(m->c[0], v->param[p], text, sizeof text)))
                return -1;
        if (cell_of(t, row, &c, m->row[0]->kernel) ||
            (beside && cell_of(t, row, &c, cb_number(m->row[0]->us.value, 4, a))) ||
            (!beside && cb_table_set(t, row, c++, "%c", 'A' + f)) ||
            cell_of(t, row, &c, cb_number(r->us.value, 4, a)))
            return -1;
        if (k->across) {
            struct result_value s = speedup_of(k, m, f);
            const json_t *sol = json_object_get(r->json, "sol");
            if (cell_of(t, row, &c, s.ok ? cb_number(s.value, 3, a) : "-") ||
                cell_of(t, row, &c, cb_number(result_number(sol, "fraction", NAN), 2, a)) ||
                cell_of(t, row, &c, *result_text(sol, "bound") ? result_text(sol, "bound") : "-"))
                return -1;
        }
        if (m->verdict[f] ? cb_table_set(t, row, c, "%s [%s, %s]", cb_number(m->q[f].value, 3, a),
                                         cb_number(m->q[f].low, 3, b),
                                         cb_number(m->q[f].high, 3, d)) ||
                                cb_table_set(t, row, c + 1, "%s", m->verdict[f])
            : c < t->columns ? cb_table_set(t, row, c, "-") || cb_table_set(t, row, c + 1, "-")
                             : 0)
            return -1;
    }
    return 0;
}

static int plain_view(const struct comparison *k, const struct view *v, FILE *out)
{
    const char *head[VIEW_PARAMS + 9];
    char caption[200];
    struct cb_table t;
    int n = 0, status = 0;
    bool beside = k->runs == 2 && !k->across, same = false;
    for (int f = 1; f < k->runs; f++)
        same = same || k->same[f];
    for (; n < v->params; n++)
        head[n] = v->param[n];
    head[n++] = "kernel";
    head[n++] = beside ? "A us" : "run";
    head[n++] = beside ? "B us" : "us";
    if (k->across) {
        head[n++] = "speedup";
        head[n++] = "sol";
        head[n++] = "bound";
    }
    if (same) {
        head[n++] = "over A [95 %]";
        head[n++] = "is";
    }
    snprintf(caption, sizeof caption, "%.80s%s%s%s%s", v->e->id, *v->cache ? " " : "", v->cache,
             k->across ? ": times, not judged on other hardware" : ": times",
             k->across && same ? ", against A on its own" : "");
    if (cb_table_init(&t, caption, n, head))
        return -1;
    for (int i = 0; i < k->matches && !status; i++)
        for (int c = 0; c < v->count; c++)
            if (v->c[c] == k->match[i].c[0])
                status = plain_row(k, &k->match[i], v, beside, &t);
    if (!status && t.rows)
        status = fputc('\n', out) == EOF || cb_table_write(&t, CB_PLAIN, out) ? -1 : 0;
    cb_table_free(&t);
    return status;
}

static int times_plain(const struct comparison *k, FILE *out)
{
    for (int e = 0; e < k->run[0].experiment_count; e++) {
        struct view v;
        int more = 1, status = 0;
        for (int i = 0; (more = view_open(&k->run[0], &k->run[0].experiment[e], i, &v)) > 0; i++) {
            status = plain_view(k, &v, out);
            view_close(&v);
            if (status)
                return -1;
        }
        if (more < 0)
            return -1;
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

/* ---- what only one side has ---- */

/* Why the rows of a case have no counterpart in another run. */
static const char *why_absent(const struct result *r, const struct result_case *c,
                              const char *kernel, char *text, size_t size)
{
    const struct result_case *other = counterpart(r, c);
    const struct result_row *row = other ? result_row(other, kernel) : NULL;
    if (!result_experiment(r, c->experiment))
        return "no such experiment";
    if (!other)
        return "case not measured";
    if (!row)
        return "no such row";
    snprintf(text, size, "%s%s%.80s", row->status, *row->reason ? ": " : "", row->reason);
    return text;
}

struct absence { /* rows of one run and experiment that lack for one reason */
    const char *experiment;
    char why[128], kernels[36];
    int rows, cases, names;
    const struct result_case *last;
};
enum { ABSENCES_MAX = 64, NAMES_SHOWN = 3 };

static void note_absence(struct absence *list, int *n, const struct result_case *c,
                         const struct result_row *row, const char *why)
{
    int a = 0;
    while (a < *n && (strcmp(list[a].experiment, c->experiment) || strcmp(list[a].why, why)))
        a++;
    if (a == ABSENCES_MAX)
        return;
    struct absence *x = &list[a];
    if (a == *n) {
        *x = (struct absence){ .experiment = c->experiment };
        snprintf(x->why, sizeof x->why, "%.127s", why);
        ++*n;
    }
    x->rows++;
    x->cases += x->last != c;
    x->last = c;
    size_t used = strlen(x->kernels), length = strlen(row->kernel);
    for (const char *s = x->kernels; (s = strstr(s, row->kernel)); s += length)
        if ((s == x->kernels || s[-1] == ' ') && (!s[length] || s[length] == ','))
            return;
    if (x->names < NAMES_SHOWN && used + length + 8 < sizeof x->kernels) {
        snprintf(x->kernels + used, sizeof x->kernels - used, "%s%s", used ? ", " : "",
                 row->kernel);
        x->names++;
    } else if (x->names <= NAMES_SHOWN) {
        snprintf(x->kernels + used, sizeof x->kernels - used, ", ...");
        x->names = NAMES_SHOWN + 1;
    }
}

/* Rows of run f that were timed there and not in A; of A: in none of the others. */
static int only_table(const struct comparison *k, const struct compare_options *o,
                      struct cb_table *t)
{
    static const char *const head[] = { "run",  "experiment", "cases",
                                        "rows", "such as",    "elsewhere" };
    struct absence *list = malloc(ABSENCES_MAX * sizeof *list);
    int status = cb_table_init(t, "Only in one run", 6, head);
    if (!list)
        status = cb_error("no memory for a comparison");
    for (int f = 0; f < k->runs && !status; f++) {
        int n = 0;
        for (int i = 0; i < k->run[f].case_count; i++) {
            const struct result_case *c = &k->run[f].cases[i];
            for (int r = 0; r < c->row_count; r++) {
                const struct result_row *row = &c->row[r];
                char text[128];
                bool elsewhere = !row->timed || !wanted(o, c, row);
                for (int g = f ? 0 : 1; g < (f ? 1 : k->runs) && !elsewhere; g++) {
                    const struct result_case *other = counterpart(&k->run[g], c);
                    const struct result_row *b = other ? result_row(other, row->kernel) : NULL;
                    elsewhere = b && b->timed;
                }
                if (!elsewhere)
                    note_absence(list, &n, c, row,
                                 f || k->runs == 2 ? why_absent(&k->run[f ? 0 : 1], c, row->kernel,
                                                                text, sizeof text)
                                                   : "in no other");
            }
        }
        for (int a = 0; a < n && !status; a++) {
            int row = cb_table_row(t);
            status = row < 0 || cb_table_set(t, row, 0, "%c", 'A' + f) ||
                             cb_table_set(t, row, 1, "%s", list[a].experiment) ||
                             cb_table_set(t, row, 2, "%d", list[a].cases) ||
                             cb_table_set(t, row, 3, "%d", list[a].rows) ||
                             cb_table_set(t, row, 4, "%s", list[a].kernels) ||
                             cb_table_set(t, row, 5, "%s", list[a].why)
                         ? -1
                         : 0;
        }
    }
    free(list);
    return status;
}

static int each_gpu_table(const struct comparison *k, struct cb_table *t)
{
    return gpus_table(&k->gpus, !k->plain, t);
}

struct difference_list {
    const struct comparison *k;
    json_t *list;
};

static int difference_json(void *arg, const char *what, char text[][VALUE_MAX])
{
    struct difference_list *d = arg;
    json_t *values = json_array();
    for (int f = 0; f < d->k->runs; f++)
        json_array_append_new(values, json_string(text[f]));
    return json_array_append_new(d->list,
                                 json_pack("{s:s, s:o}", "what", what, "values", values));
}

static int write_json(const struct comparison *k, FILE *out)
{
    json_t *doc = json_pack("{s:s, s:[], s:[], s:[]}", "schema", "claimbench/compare", "runs",
                            "matches", "differences");
    for (int f = 0; f < k->runs; f++)
        json_array_append_new(json_object_get(doc, "runs"),
                              json_pack("{s:s, s:s, s:b, s:i}", "id", k->run[f].id, "gpu",
                                        k->run[f].gpu, "same_gpu", (int)k->same[f], "only_here",
                                        k->only[f]));
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
                double light = result_number(json_object_get(m->row[f]->json, "sol"), "fraction",
                                             NAN);
                if (isfinite(light))
                    json_object_set_new(one, "sol", json_real(light));
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
    int status = each_difference(
        k, difference_json, &(struct difference_list){ k, json_object_get(doc, "differences") });
    json_object_set_new(doc, "gpus", gpus_json(&k->gpus));
    status = status ||
             json_dumpf(doc, out, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(doc);
    return status || fputc('\n', out) == EOF ? cb_error("a comparison was not written whole") : 0;
}

/* The titled parts of a report; CSV holds the table of times alone. */
static int write_all(const struct comparison *k, const struct compare_options *o, FILE *out)
{
    typedef int make_fn(const struct comparison *, struct cb_table *);
    enum { DIFFERENCES, GPUS, TIMES, GEOMEANS, RANKS, ONLY, PARTS };
    static make_fn *const make[PARTS] = { differences, each_gpu_table, times_table, geomean_table,
                                          rank_table, NULL };
    bool data = o->format == CB_CSV || o->format == CB_TSV;
    if (!data) {
        for (int f = 0; f < k->runs; f++) {
            bool made_up = json_is_true(json_object_get(
                json_object_get(k->run[f].doc, "run"), "synthetic"));
            bool list = o->format == CB_MARKDOWN;
            fprintf(out, "%s%s%c: %s%s%s%s", f ? "\n" : "", list ? "- " : "", 'A' + f,
                    k->run[f].gpu,
                    made_up ? " (synthetic, not measured)" : "",
                    k->same[f] ? "" : " (other hardware)", f ? "" : ", the reference");
            if (f)
                fprintf(out, ", rows only here: %d", k->only[f]);
            fprintf(out, "%s run %s", list ? "," : "\n  ", k->run[f].id);
        }
        fprintf(out, "\n\nmatched rows: %d; only in A: %d\n", k->matches, k->only[0]);
        if (k->other_key)
            fprintf(out, "cases matched by problem and inputs, policy or list of rows differ: %d\n",
                    k->other_key);
    }
    for (int i = 0; i < PARTS; i++) {
        struct cb_table t = { 0 };
        if (data ? i != (o->geomean ? GEOMEANS : TIMES)
                 : (i == GEOMEANS && !o->geomean) || (i == GPUS && !k->across))
            continue;
        if (i == TIMES && o->format == CB_PLAIN) {
            if (times_plain(k, out))
                return -1;
            continue;
        }
        int status = i == ONLY ? only_table(k, o, &t) : make[i](k, &t);
        if (!status && (t.rows || data)) {
            if (!data)
                fputc('\n', out);
            status = cb_table_write(&t, o->format, out);
        } else if (!status && i == DIFFERENCES) {
            fprintf(out, "\nno difference in the recorded circumstances\n");
        }
        cb_table_free(&t);
        if (status)
            return -1;
    }
    return 0;
}

static int compare_one(const char *const *paths, int count, const struct compare_options *o,
                       FILE *out, bool *slower)
{
    const struct result *run[COMPARE_MAX];
    int status = -1;
    struct comparison *k = calloc(1, sizeof *k);
    if (!k)
        return cb_error("no memory for a comparison");
    k->delta = o->delta > 0 ? o->delta : 0.02;
    k->plain = !o->json && o->format == CB_PLAIN;
    for (; k->runs < count; k->runs++) {
        run[k->runs] = &k->run[k->runs];
        if (result_load(paths[k->runs], &k->run[k->runs]))
            goto done;
        k->same[k->runs] = same_gpu(&k->run[0], &k->run[k->runs]);
        k->across = k->across || !k->same[k->runs];
    }
    if (match_all(k, o) || gpus_open(run, k->runs, o->experiment, o->filter, &k->gpus))
        goto done;
    if (o->sort)
        qsort(k->match, k->matches, sizeof *k->match, by_quotient);
    double limit = o->fail_percent > 0 ? o->fail_percent / 100 : k->delta;
    for (int i = 0; i < k->matches; i++)
        for (int f = 1; f < k->runs; f++)
            if (o->fail_on_slower && k->match[i].verdict[f] && k->match[i].q[f].low > 1 + limit)
                *slower = true;
    status = o->json ? write_json(k, out) : write_all(k, o, out);
    if (!status && o->folder)
        status = report_gpus(&k->gpus, o->folder);
done:
    gpus_free(&k->gpus);
    for (int f = 0; f < k->runs; f++)
        result_free(&k->run[f]);
    free(k->match);
    free(k);
    return status;
}

/* ---- folders of several papers ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of papers below results/GPU: folders with `recorded` in them, in order. */
static int papers_of(const char *folder, char **name, int max)
{
    char path[4096];
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *d; dir && (d = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%.255s/recorded", folder, d->d_name);
        if (d->d_name[0] != '.' && n < max && !access(path, F_OK) && (name[n] = strdup(d->d_name)))
            n++;
    }
    if (dir)
        closedir(dir);
    qsort(name, (size_t)n, sizeof *name, by_name);
    return n;
}

enum { PAPERS_MAX = 64 };

/* Paper by paper over folders of which one at least holds several. */
static int compare_papers(const char *const *paths, int count, char *const *paper, int papers,
                          const struct compare_options *o, FILE *out, bool *slower)
{
    int compared = 0, status = 0;
    bool data = o->format == CB_CSV || o->format == CB_TSV;
    if (o->json)
        fputs("[\n", out);
    for (int p = 0; p < papers && !status; p++) {
        char folder[COMPARE_MAX][4400], recorded[4500];
        const char *there[COMPARE_MAX];
        int n = 0;
        for (int i = 0; i < count; i++) {
            snprintf(folder[n], sizeof folder[n], "%.4000s/%.255s", paths[i], paper[p]);
            snprintf(recorded, sizeof recorded, "%s/recorded", folder[n]);
            if (!access(recorded, F_OK)) {
                there[n] = folder[n];
                n++;
            }
        }
        if (n < 2) {
            if (!o->json && !data)
                fprintf(out, "%s== %s: only in %s\n", compared ? "\n" : "", paper[p],
                        n ? there[0] : "none");
            continue;
        }
        if (o->json)
            fputs(compared ? ",\n" : "", out);
        else if (!data)
            fprintf(out, "%s== %s\n\n", compared ? "\n" : "", paper[p]);
        status = compare_one(there, n, o, out, slower);
        compared++;
    }
    if (o->json)
        fputs("]\n", out);
    return status ? -1 : compared ? 0 : cb_error("the folders have no paper in common");
}

int compare_results(const char *const *paths, int count, const struct compare_options *o, FILE *out,
                    bool *slower)
{
    char *paper[PAPERS_MAX];
    bool several = false;
    int papers = 0;
    *slower = false;
    if (count < 2 || count > COMPARE_MAX)
        return cb_error("compare takes 2 to %d results, not %d", COMPARE_MAX, count);
    for (int i = 0; i < count; i++) {
        char *name[PAPERS_MAX];
        int n = papers_of(paths[i], name, PAPERS_MAX);
        several = several || n > 1;
        for (int k = 0; k < n; k++) {
            bool known = papers == PAPERS_MAX;
            for (int p = 0; p < papers && !known; p++)
                known = !strcmp(paper[p], name[k]);
            if (known)
                free(name[k]);
            else
                paper[papers++] = name[k];
        }
    }
    qsort(paper, (size_t)papers, sizeof *paper, by_name);
    int status = several ? compare_papers(paths, count, paper, papers, o, out, slower)
                         : compare_one(paths, count, o, out, slower);
    for (int p = 0; p < papers; p++)
        free(paper[p]);
    return status;
}

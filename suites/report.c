/* report.c - tables of a recorded run. */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../harness/error.h"
#include "../harness/table.h"
#include "claims.h"
#include "reported.h"
#include "view.h"

enum { REPLICATES = 10000 };

/* One file being written. */
struct report {
    const struct result *r;
    const struct reported_set *paper;
    enum cb_format format;
    FILE *out;
    bool first;
};

static int emit(struct report *w, const struct cb_table *t)
{
    if (!t->rows)
        return 0;
    if (!w->first)
        fputc('\n', w->out);
    w->first = false;
    return cb_table_write(t, w->format, w->out);
}

static void heading(struct report *w, const char *text)
{
    if (w->format == CB_MARKDOWN)
        fprintf(w->out, "%s## %s\n", w->first ? "" : "\n", text);
    else
        fprintf(w->out, "%s%% %s\n", w->first ? "" : "\n", text);
    w->first = false;
}

static const char *bounded(struct cb_interval x, int digits, char *text, size_t size)
{
    cb_bounded(x.value, x.low, x.high, digits, text, size);
    return text;
}

/* ---- reported numbers beside measured ones ---- */

/* Those of one cell: problem named in full (at least one parameter), same metric. */
static void reported_beside(const struct report *w, const struct result_experiment *e,
                            const struct result_case *c, const char *impl, const char *metric,
                            char *text, size_t size)
{
    size_t n = strlen(text);
    for (int i = 0; i < w->paper->count && n < size; i++) {
        const struct reported_number *p = &w->paper->number[i];
        if (strcmp(p->experiment, e->id) || strcmp(p->metric, metric) || strcmp(p->impl, impl) ||
            !json_object_size(p->problem) || !reported_covers(p, c->params))
            continue;
        n += (size_t)snprintf(text + n, size - n, " (%s: %.9g%s)", *p->gpu ? p->gpu : "reported",
                              p->value, p->from_figure ? ", read off" : "");
    }
}

/* ---- why something has no number ---- */

static int absent_table(struct report *w, const struct view *v)
{
    static const char *const head[] = { "row", "status", "reason", "cases" };
    struct cb_table t;
    int status = 0;
    if (cb_table_init(&t, "Rows without a time", 4, head))
        return -1;
    for (int k = 0; k < v->kernels && !status; k++)
        for (int i = 0; i < v->count && !status; i++) {
            const struct result_row *row = result_row(v->c[i], v->kernel[k]);
            int n = 0;
            bool earlier = false;
            if (!row || !strcmp(row->status, "ok"))
                continue;
            for (int l = 0; l < v->count; l++) {
                const struct result_row *other = result_row(v->c[l], v->kernel[k]);
                if (other && !strcmp(other->status, row->status) &&
                    !strcmp(other->reason, row->reason)) {
                    n++;
                    earlier = earlier || l < i;
                }
            }
            if (earlier)
                continue;
            int line = cb_table_row(&t);
            status = line < 0 || cb_table_set(&t, line, 0, "%s", v->kernel[k]) ||
                             cb_table_set(&t, line, 1, "%s", row->status) ||
                             cb_table_set(&t, line, 2, "%s", row->reason) ||
                             cb_table_set(&t, line, 3, "%d", n)
                         ? -1
                         : 0;
        }
    for (int i = 0; i < v->count && !status; i++) /* cases lost as a whole */
        if (!v->c[i]->row_count) {
            int line = cb_table_row(&t);
            status = line < 0 || cb_table_set(&t, line, 0, "%s", v->c[i]->id) ||
                             cb_table_set(&t, line, 1, "%s", v->c[i]->status) ||
                             cb_table_set(&t, line, 2, "%s", v->c[i]->reason) ||
                             cb_table_set(&t, line, 3, "1")
                         ? -1
                         : 0;
        }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* ---- wide: aggregates ---- */

static int speedup_line(struct cb_table *t, const char *label, const struct aggregate *a)
{
    char text[128], n[CB_NUMBER_MAX];
    int row = cb_table_row(t), c = 0;
    if (row < 0 || cb_table_set(t, row, c++, "%s", label) ||
        cb_table_set(t, row, c++, "%d", a->cases))
        return -1;
    if (!a->cases) {
        for (; c < 10; c++)
            if (cb_table_set(t, row, c, "-"))
                return -1;
        return cb_table_set(t, row, 10, "%d", a->missing);
    }
    return cb_table_set(t, row, c++, "%s", bounded(a->geomean, 3, text, sizeof text)) ||
                   cb_table_set(t, row, c++, "%s", cb_number(a->mean.value, 3, n)) ||
                   cb_table_set(t, row, c++, "%s", cb_number(a->total, 3, n)) ||
                   cb_table_set(t, row, c++, "%s", cb_number(a->min.value, 3, n)) ||
                   cb_table_set(t, row, c++, "%s", cb_number(a->median.value, 3, n)) ||
                   cb_table_set(t, row, c++, "%s", cb_number(a->max.value, 3, n)) ||
                   cb_table_set(t, row, c++, "%d", a->faster) ||
                   cb_table_set(t, row, c++, "%d", a->slower) ||
                   cb_table_set(t, row, c++, "%d", a->missing)
               ? -1
               : 0;
}

static int speedup_table(struct report *w, const struct view *v, const struct view_pair *p)
{
    const char *head[] = { *v->axis ? v->axis : "cases of",
                           "cases",
                           "geomean [95 %]",
                           "mean",
                           "total time",
                           "min",
                           "median",
                           "max",
                           "S > 1",
                           "S < 1",
                           "missing" };
    char caption[300];
    struct cb_table t;
    struct aggregate a;
    int status = 0;
    snprintf(caption, sizeof caption, "Speedup S of %s over %s%s", p->rows, p->baseline,
             result_is_group(v->e, p->rows) || result_is_group(v->e, p->baseline)
                 ? " (fastest row of a group in each case)"
                 : "");
    if (cb_table_init(&t, caption, 11, head))
        return -1;
    const char *influential = NULL;
    int flattered = 0, cases = 0;
    for (int g = 0; g <= v->grid_count && !status; g++) {
        char label[CB_NUMBER_MAX] = "all";
        bool last = g == v->grid_count;
        if (!last)
            snprintf(label, sizeof label, "%.9g", v->grid[g]);
        if ((status = view_speedup(v, p, last ? -1 : g, REPLICATES, &a)))
            break;
        status = speedup_line(&t, label, &a);
        if (last && a.cases > 2)
            influential = a.influential->id;
        if (last) {
            flattered = a.flattered;
            cases = a.cases;
        }
        aggregate_free(&a);
    }
    char both[2 * VIEW_NAME];
    snprintf(both, sizeof both, "%s/%s", p->rows, p->baseline);
    for (int i = 0; i < w->paper->count && !status; i++) { /* averages over all problems */
        const struct reported_number *q = &w->paper->number[i];
        if (strcmp(q->experiment, v->e->id) || strcmp(q->metric, "speedup") ||
            (strcmp(q->impl, p->rows) && strcmp(q->impl, both)) || json_object_size(q->problem))
            continue;
        int row = cb_table_row(&t);
        status = row < 0 || cb_table_set(&t, row, 0, "reported, %s", *q->gpu ? q->gpu : q->item) ||
                         cb_table_set(&t, row, 2, "%.6g", q->value)
                     ? -1
                     : 0;
        for (int c = 1; c < 11 && !status; c++)
            status = c == 2 ? 0 : cb_table_set(&t, row, c, "-");
    }
    if (!status)
        status = emit(w, &t);
    if (!status && w->format == CB_MARKDOWN && influential)
        fprintf(w->out, "\nLargest influence on the geometric mean: `%s`.\n", influential);
    if (!status && w->format == CB_MARKDOWN && influential && flattered)
        fprintf(w->out, "Cases with one side timed in one invocation only, whose winner is chosen "
                        "and reported on the same samples: %d of %d.\n", flattered, cases);
    cb_table_free(&t);
    return status;
}

enum standing_kind { WINS, FRACTION, LOSS };

static int reported_lines(struct report *w, const struct view *v, struct cb_table *t,
                          const char *kernel, const char *metric)
{
    const char *done[32];
    int n = 0;
    for (int i = 0; i < w->paper->count && n < 32; i++) {
        const struct reported_number *p = &w->paper->number[i];
        bool seen = strcmp(p->experiment, v->e->id) || strcmp(p->metric, metric) ||
                    strcmp(p->impl, kernel) || json_object_size(p->problem) != 1 ||
                    !json_object_get(p->problem, v->axis);
        for (int k = 0; k < n && !seen; k++)
            seen = !strcmp(done[k], p->gpu);
        if (seen)
            continue;
        done[n++] = p->gpu;
        int row = cb_table_row(t);
        if (row < 0 || cb_table_set(t, row, 0, "%s, reported on %s", kernel, p->gpu))
            return -1;
        for (int g = 0; g < v->grid_count; g++) {
            const struct reported_number *q = reported_at(
                w->paper, v->e->id, v->axis, kernel, metric, p->gpu, v->grid[g]);
            if (q ? cb_table_set(t, row, g + 1, "%.4g", q->value)
                  : cb_table_set(t, row, g + 1, "-"))
                return -1;
        }
        if (cb_table_set(t, row, v->grid_count + 1, "-"))
            return -1;
    }
    return 0;
}

static int standing_table(struct report *w, const struct view *v, const struct standing *s, int n,
                          const char *set, enum standing_kind kind, bool beside)
{
    char caption[256], heads[VIEW_GRID + 2][VIEW_NAME + 16];
    const char *head[VIEW_GRID + 2];
    struct cb_table t;
    int columns = v->grid_count + 2, status = 0;
    static const char *const what[] = { "Cases won", "Fraction of the fastest, geometric mean",
                                        "Worst loss against the fastest" };
    static const char *const metric[] = { "win_share", "oracle_fraction", "loss" };
    snprintf(caption, sizeof caption, "%s, among %s", what[kind],
             !strcmp(set, "*") ? "all rows" : set);
    snprintf(heads[0], sizeof heads[0], "row");
    for (int g = 0; g < v->grid_count; g++)
        snprintf(heads[g + 1], sizeof heads[0], "%s=%.9g", v->axis, v->grid[g]);
    snprintf(heads[columns - 1], sizeof heads[0], "all");
    for (int c = 0; c < columns; c++)
        head[c] = heads[c];
    if (cb_table_init(&t, caption, columns, head))
        return -1;
    for (int k = 0; k < n && !status; k++) {
        if (kind == WINS && !beside && !s[k].wins[v->grid_count])
            continue;
        int row = cb_table_row(&t);
        if (row < 0 || (status = cb_table_set(&t, row, 0, "%s", s[k].kernel)))
            break;
        for (int g = 0; g <= v->grid_count && !status; g++) {
            char text[CB_NUMBER_MAX];
            if (!s[k].cases[g])
                status = cb_table_set(&t, row, g + 1, "-");
            else if (kind == WINS)
                status = cb_table_set(&t, row, g + 1, "%d of %d", s[k].wins[g], s[k].cases[g]);
            else
                status = cb_table_set(
                    &t, row, g + 1, "%s",
                    cb_number(kind == FRACTION ? s[k].fraction[g] : 1 - s[k].worst[g], 3, text));
        }
        if (!status && beside && *v->axis)
            status = reported_lines(w, v, &t, s[k].kernel, metric[kind]);
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

static int standing_tables(struct report *w, const struct view *v)
{
    const char *set[] = { metric_oracle(v->e), "*" };
    for (int i = 0; i < 2; i++) {
        struct standing *s;
        int n = *set[i] ? view_standings(v, set[i], &s) : 0, status = 0;
        if (n < 0)
            return -1;
        for (int kind = WINS; kind <= LOSS && n > 1 && !status; kind++)
            status = standing_table(w, v, s, n, set[i], kind, !i);
        if (*set[i])
            free(s);
        if (status)
            return -1;
    }
    return 0;
}

/* The cases of one pair: who was fastest on either side, and by how much. */
static int case_table(struct report *w, const struct view *v, const struct view_pair *p)
{
    char caption[300];
    const char *head[VIEW_PARAMS + 5];
    int c = 0, status = 0;
    struct cb_table t;
    for (; c < v->params; c++)
        head[c] = v->param[c];
    if (!v->params)
        head[c++] = "case";
    head[c++] = p->baseline;
    head[c++] = "us";
    head[c++] = p->rows;
    head[c++] = "us";
    head[c++] = "speedup [95 %]";
    snprintf(caption, sizeof caption, "Cases: %s%s against %s%s",
             result_is_group(v->e, p->rows) ? "fastest of " : "", p->rows,
             result_is_group(v->e, p->baseline) ? "fastest of " : "", p->baseline);
    if (cb_table_init(&t, caption, c, head))
        return -1;
    for (int i = 0; i < v->count && !status; i++) {
        struct result_pick a = result_best(v->e, v->c[i], p->baseline);
        struct result_pick b = result_best(v->e, v->c[i], p->rows);
        struct result_value s = result_ratio(a, b, 0.05);
        char text[300], x[CB_NUMBER_MAX];
        int row = cb_table_row(&t);
        c = 0;
        if (row < 0)
            status = -1;
        for (; c < v->params && !status; c++)
            status = cb_table_set(&t, row, c, "%s",
                                  result_param(v->c[i], v->param[c], text, sizeof text));
        if (!v->params && !status)
            status = cb_table_set(&t, row, c++, "%s", v->c[i]->id);
        struct result_pick side[] = { a, b };
        for (int k = 0; k < 2 && !status; k++) {
            const struct result_row *r = side[k].row;
            status = cb_table_set(&t, row, c++, "%s", r ? r->kernel : "-") ||
                     cb_table_set(&t, row, c++, "%s", r ? cb_number(r->us.value, 4, x) : "-");
        }
        if (!status)
            status = cb_table_set(&t, row, c, "%s",
                                  !s.ok ? "-"
                                        : bounded((struct cb_interval){ s.value, s.low, s.high }, 3,
                                                  text, sizeof text));
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* ---- sums and worst cases, where an experiment asks for them ---- */

/* Times of the fastest of `name`, added over the cases at one value of the axis. */
static bool sum_at(const struct view *v, const char *name, int at, struct cb_interval *sum)
{
    bool whole = false;
    *sum = (struct cb_interval){ 0, 0, 0 };
    for (int i = 0; i < v->count; i++) {
        const json_t *x = json_object_get(v->c[i]->params, v->axis);
        if (*v->axis && json_number_value(x) != v->grid[at])
            continue;
        const struct result_row *row = result_best(v->e, v->c[i], name).row;
        if (!row)
            return false;
        whole = true;
        sum->value += row->us.value;
        sum->low += row->us.low;
        sum->high += row->us.high;
    }
    return whole;
}

static int sum_table(struct report *w, const struct view *v)
{
    const json_t *names = json_object_get(v->e->json, "sums"), *one;
    const char *head[VIEW_PAIRS + 2] = { *v->axis ? v->axis : "cases" };
    struct cb_table t;
    size_t k;
    int columns = 1, status = 0;
    json_array_foreach(names, k, one)
    {
        bool any = false;
        for (int i = 0; i < v->count && !any; i++)
            any = result_best(v->e, v->c[i], json_string_value(one)).row != NULL;
        if (any && columns <= VIEW_PAIRS)
            head[columns++] = json_string_value(one);
    }
    if (columns == 1)
        return 0;
    if (cb_table_init(&t,
                      "Times added over the cases of a line, us (fastest row of a group in each)",
                      columns, head))
        return -1;
    for (int g = 0; g < (*v->axis ? v->grid_count : 1) && !status; g++) {
        int row = cb_table_row(&t);
        status = row < 0 ? -1
                 : *v->axis ? cb_table_set(&t, row, 0, "%.9g", v->grid[g])
                            : cb_table_set(&t, row, 0, "%d", v->count);
        for (int c = 1; c < columns && !status; c++) {
            struct cb_interval sum;
            char text[128] = "-";
            if (sum_at(v, head[c], g, &sum))
                bounded(sum, 4, text, sizeof text);
            status = cb_table_set(&t, row, c, "%s", text);
        }
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* The worst of a metric over the cases at one value of the axis; at the end of the
 * grid: over all. */
static double worst_at(const struct view *v, const char *kernel, const char *metric, int at)
{
    const struct metric *m = metric_find(metric);
    double worst = NAN;
    for (int i = 0; i < v->count; i++) {
        const struct result_row *row = result_row(v->c[i], kernel);
        const json_t *x = json_object_get(v->c[i]->params, v->axis);
        if (!row || strcmp(row->status, "ok") ||
            (at < v->grid_count && json_number_value(x) != v->grid[at]))
            continue;
        struct result_value s = metric_value(v->r, v->e, v->c[i], row, metric);
        if (s.ok)
            worst = isnan(worst) || (m && m->better > 0 ? s.value < worst : s.value > worst)
                        ? s.value
                        : worst;
    }
    return worst;
}

static int worst_table(struct report *w, const struct view *v, const char *metric)
{
    const struct metric *m = metric_find(metric);
    char caption[256], heads[VIEW_GRID + 2][VIEW_NAME + 16];
    const char *head[VIEW_GRID + 2];
    int columns = v->grid_count + 2, status = 0;
    struct cb_table t;
    const bool figure = !strncmp(metric, "figure:", 7); /* its own name says what it is */
    snprintf(caption, sizeof caption, "Worst over cases: %s%s%s",
             figure ? metric + 7 : m ? m->title : metric, m && *m->unit ? ", " : "",
             m ? m->unit : "");
    snprintf(heads[0], sizeof heads[0], "row");
    for (int g = 0; g < v->grid_count; g++)
        snprintf(heads[g + 1], sizeof heads[0], "%s=%.9g", v->axis, v->grid[g]);
    snprintf(heads[columns - 1], sizeof heads[0], "all");
    for (int c = 0; c < columns; c++)
        head[c] = heads[c];
    if (cb_table_init(&t, caption, columns, head))
        return -1;
    for (int k = 0; k < v->kernels && !status; k++) {
        if (isnan(worst_at(v, v->kernel[k], metric, v->grid_count)))
            continue;
        int row = cb_table_row(&t);
        status = row < 0 ? -1 : cb_table_set(&t, row, 0, "%s", v->kernel[k]);
        for (int g = 0; g <= v->grid_count && !status; g++) {
            double x = worst_at(v, v->kernel[k], metric, g);
            char text[CB_NUMBER_MAX];
            status = cb_table_set(&t, row, g + 1, "%s", isnan(x) ? "-" : cb_number(x, 3, text));
        }
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

static int asked_tables(struct report *w, const struct view *v)
{
    const json_t *one;
    size_t i;
    if (sum_table(w, v))
        return -1;
    json_array_foreach(json_object_get(v->e->json, "worst"), i, one)
        if (worst_table(w, v, json_string_value(one)))
            return -1;
    return 0;
}

/* ---- narrow: a column per row ---- */

static int narrow_table(struct report *w, const struct view *v)
{
    char caption[400], titles[VIEW_NARROW + 1][128];
    const char *head[VIEW_PARAMS + VIEW_NARROW + 4];
    const char *metric = *v->e->metric ? v->e->metric : "us";
    const struct metric *m = metric_find(metric);
    bool ratio = !strcmp(metric, "speedup") && *v->e->baseline;
    int c = 0, status = 0, first;
    struct cb_table t;
    for (; c < v->params; c++)
        head[c] = v->param[c];
    if (!v->params)
        head[c++] = "case";
    if (ratio) {
        snprintf(titles[VIEW_NARROW], sizeof titles[0], "%s us", v->e->baseline);
        head[c++] = titles[VIEW_NARROW];
    }
    first = c;
    for (int k = 0; k < v->kernels; k++) {
        snprintf(titles[k], sizeof titles[k], "%s", view_title(v, v->kernel[k]));
        for (int l = 0; l < k; l++) /* two rows of one title: names tell them apart */
            if (!strcmp(titles[l], titles[k]))
                snprintf(titles[k], sizeof titles[k], "%s", v->kernel[k]);
        head[c++] = titles[k];
    }
    if (ratio)
        snprintf(caption, sizeof caption, "Speedup over %s [95 %%]", v->e->baseline);
    else
        snprintf(caption, sizeof caption, "%s%s%s%s [95 %%]", m ? m->title : metric,
                 m && *m->unit ? ", " : "", m ? m->unit : "",
                 m && m->better ? m->better > 0 ? " (more is better)" : " (less is better)" : "");
    if (cb_table_init(&t, caption, c, head))
        return -1;
    for (int i = 0; i < v->count && !status; i++) {
        char text[512], x[CB_NUMBER_MAX];
        int row = cb_table_row(&t);
        if (row < 0)
            status = -1;
        for (c = 0; c < v->params && !status; c++)
            status = cb_table_set(&t, row, c, "%s",
                                  result_param(v->c[i], v->param[c], text, sizeof text));
        if (!v->params && !status)
            status = cb_table_set(&t, row, c++, "%s", v->c[i]->id);
        if (ratio && !status) {
            struct result_pick b = result_best(v->e, v->c[i], v->e->baseline);
            status = cb_table_set(&t, row, c, "%s", b.row ? cb_number(b.row->us.value, 4, x) : "-");
        }
        for (int k = 0; k < v->kernels && !status; k++) {
            const struct result_row *r = result_row(v->c[i], v->kernel[k]);
            struct result_value s = { 0 };
            if (r)
                s = metric_value(v->r, v->e, v->c[i], r, metric);
            if (s.ok)
                bounded((struct cb_interval){ s.value, s.low, s.high }, 3, text, sizeof text);
            else
                snprintf(text, sizeof text, "%s", r && strcmp(r->status, "ok") ? r->status : "-");
            reported_beside(w, v->e, v->c[i], v->kernel[k], metric, text, sizeof text);
            status = cb_table_set(&t, row, first + k, "%s", text);
        }
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* Aggregates of a narrow table: one line per row. */
static int narrow_aggregates(struct report *w, const struct view *v)
{
    static const char *const head[] = { "row",        "cases", "geomean [95 %]", "mean",
                                        "total time", "min",   "median",         "max",
                                        "S > 1",      "S < 1", "missing" };
    char caption[300];
    struct cb_table t;
    int status = 0;
    if (!*v->e->baseline)
        return 0;
    snprintf(caption, sizeof caption, "Speedup S over %s, all cases", v->e->baseline);
    if (cb_table_init(&t, caption, 11, head))
        return -1;
    for (int k = 0; k < v->kernels && !status; k++) {
        struct view_pair p = { 0 };
        struct aggregate a;
        if (strlen(v->kernel[k]) >= VIEW_NAME || strlen(v->e->baseline) >= VIEW_NAME ||
            !strcmp(v->kernel[k], v->e->baseline) ||
            !strcmp(view_role(v, v->kernel[k]), "ablation"))
            continue;
        strcpy(p.rows, v->kernel[k]);
        strcpy(p.baseline, v->e->baseline);
        if ((status = view_speedup(v, &p, -1, REPLICATES, &a)))
            break;
        if (a.cases)
            status = speedup_line(&t, v->kernel[k], &a);
        aggregate_free(&a);
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* ---- not timed: named figures ---- */

static int figure_names(const struct view *v, char name[][VIEW_NAME], int max)
{
    int n = 0;
    for (int i = 0; i < v->count; i++)
        for (int k = -1; k < v->c[i]->row_count; k++) {
            const json_t *from = k < 0 ? v->c[i]->json : v->c[i]->row[k].json;
            size_t l;
            json_t *f;
            json_array_foreach(json_object_get(from, "figures"), l, f)
            {
                const char *s = result_text(f, "name");
                bool known = !*s || strlen(s) >= VIEW_NAME;
                for (int q = 0; q < n && !known; q++)
                    known = !strcmp(name[q], s);
                if (!known && n < max)
                    strcpy(name[n++], s);
            }
        }
    return n;
}

static bool any_choice(const struct view *v)
{
    for (int i = 0; i < v->count; i++)
        for (int k = 0; k < v->c[i]->row_count; k++)
            if (*v->c[i]->row[k].choice)
                return true;
    return false;
}

/* A figure as text, with what is reported of it. */
static void figure_cell(const struct report *w, const struct view *v, const struct result_case *c,
                        const struct result_row *r, const char *name, char *text, size_t size)
{
    char metric[VIEW_NAME + 8], x[CB_NUMBER_MAX];
    snprintf(metric, sizeof metric, "figure:%s", name);
    struct result_value f = metric_value(v->r, v->e, c, r, metric);
    if (f.ok && f.value == floor(f.value) && fabs(f.value) < 1e15)
        snprintf(text, size, "%.0f", f.value);
    else if (f.ok && f.low < f.high)
        cb_bounded(f.value, f.low, f.high, 4, text, size);
    else
        snprintf(text, size, "%s", f.ok ? cb_number(f.value, 4, x) : "-");
    reported_beside(w, v->e, c, r->kernel, metric, text, size);
}

/* Many figures of few cases stand upright: a line per figure. */
static int upright_figures(struct report *w, const struct view *v, char name[][VIEW_NAME], int n)
{
    enum { ACROSS = 6 };
    char label[ACROSS][256];
    const char *head[ACROSS + 1] = { "figure" };
    struct cb_table t;
    int status = 0;
    for (int i = 0; i < v->count; i++) {
        view_label(v, v->c[i], label[i], sizeof label[i]);
        head[i + 1] = label[i];
    }
    if (cb_table_init(&t, "Figures; in brackets what is reported", v->count + 1, head))
        return -1;
    for (int q = 0; q < n && !status; q++) {
        int row = cb_table_row(&t);
        status = row < 0 ? -1 : cb_table_set(&t, row, 0, "%s", name[q]);
        for (int i = 0; i < v->count && !status; i++) {
            char text[512] = "-";
            if (v->c[i]->row_count && !strcmp(v->c[i]->row[0].status, "ok"))
                figure_cell(w, v, v->c[i], &v->c[i]->row[0], name[q], text, sizeof text);
            status = cb_table_set(&t, row, i + 1, "%s", text);
        }
    }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

static int figure_table(struct report *w, const struct view *v)
{
    enum { MOST = 48 };
    char name[MOST][VIEW_NAME];
    const char *head[VIEW_PARAMS + MOST + 3];
    const bool choices = any_choice(v);
    int n = figure_names(v, name, MOST), c = 0, status = 0;
    struct cb_table t;
    if (n > 10 && v->count <= 6 && v->kernels == 1)
        return upright_figures(w, v, name, n);
    for (; c < v->params; c++)
        head[c] = v->param[c];
    if (!v->params)
        head[c++] = "case";
    if (v->kernels > 1)
        head[c++] = "row";
    if (choices)
        head[c++] = "choice";
    for (int k = 0; k < n; k++)
        head[c++] = name[k];
    if (cb_table_init(&t, "Figures; in brackets what is reported", c, head))
        return -1;
    for (int i = 0; i < v->count && !status; i++)
        for (int k = 0; k < v->c[i]->row_count && !status; k++) {
            const struct result_row *r = &v->c[i]->row[k];
            char text[512];
            if (strcmp(r->status, "ok"))
                continue;
            int row = cb_table_row(&t);
            if (row < 0)
                status = -1;
            for (c = 0; c < v->params && !status; c++)
                status = cb_table_set(&t, row, c, "%s",
                                      result_param(v->c[i], v->param[c], text, sizeof text));
            if (!v->params && !status)
                status = cb_table_set(&t, row, c++, "%s", v->c[i]->id);
            if (v->kernels > 1 && !status)
                status = cb_table_set(&t, row, c++, "%s", r->kernel);
            if (choices && !status)
                status = cb_table_set(&t, row, c++, "%s", *r->choice ? r->choice : "-");
            for (int q = 0; q < n && !status; q++) {
                figure_cell(w, v, v->c[i], r, name[q], text, sizeof text);
                status = cb_table_set(&t, row, c++, "%s", text);
            }
        }
    if (!status)
        status = emit(w, &t);
    cb_table_free(&t);
    return status;
}

/* ---- the long form ---- */

static const char *const measured_metric[] = { "us",  "speedup",         "gflops",   "gbps",
                                               "sol", "oracle_fraction", "setup_us", "rel_fro" };
enum { METRICS = 8 };

static int add_long(struct cb_table *t, const struct report *w, const struct view *v)
{
    for (int i = 0; i < v->count; i++)
        for (int k = 0; k < v->c[i]->row_count; k++) {
            const struct result_row *r = &v->c[i]->row[k];
            char x[CB_NUMBER_MAX], text[512] = "";
            int row = cb_table_row(t), c = 0;
            if (row < 0 || cb_table_set(t, row, c++, "%s", v->c[i]->id) ||
                cb_table_set(t, row, c++, "%s", v->cache) ||
                cb_table_set(t, row, c++, "%s", r->kernel) ||
                cb_table_set(t, row, c++, "%s", r->role) ||
                cb_table_set(t, row, c++, "%s", r->status) ||
                cb_table_set(t, row, c++, "%d", r->timed ? r->invocations : 0))
                return -1;
            for (int m = 0; m < METRICS; m++) {
                struct result_value s = metric_value(v->r, v->e, v->c[i], r, measured_metric[m]);
                if (cb_table_set(t, row, c++, "%s", s.ok ? cb_number(s.value, 6, x) : "-"))
                    return -1;
                if (m > 1)
                    continue;
                if (cb_table_set(t, row, c++, "%s", s.ok ? cb_number(s.low, 6, x) : "-") ||
                    cb_table_set(t, row, c++, "%s", s.ok ? cb_number(s.high, 6, x) : "-"))
                    return -1;
            }
            size_t l, n = 0;
            json_t *f;
            json_array_foreach(json_object_get(r->json, "figures"), l, f) if (n < sizeof text) n +=
                (size_t)snprintf(text + n, sizeof text - n, "%s%s=%s", n ? " " : "",
                                 result_text(f, "name"),
                                 cb_number(result_number(f, "value", NAN), 6, x));
            if (cb_table_set(t, row, c++, "%s", text))
                return -1;
            text[0] = 0;
            reported_beside(w, v->e, v->c[i], r->kernel, *v->e->metric ? v->e->metric : "us", text,
                            sizeof text);
            n = strlen(text);
            size_t fl;
            char flags[256] = "";
            json_array_foreach(json_object_get(r->json, "flags"), fl, f) if (json_is_string(f))
                snprintf(flags + strlen(flags), sizeof flags - strlen(flags), "%s%s",
                         *flags ? " " : "", json_string_value(f));
            if (cb_table_set(t, row, c++, "%s", n ? text + 1 : "") ||
                cb_table_set(t, row, c++, "%s", flags) ||
                cb_table_set(t, row, c++, "%s", r->choice) ||
                cb_table_set(t, row, c++, "%s", r->reason))
                return -1;
        }
    return 0;
}

/* ---- files ---- */

static int open_in(const char *folder, const char *name, const char *extension, char *path,
                   size_t size, FILE **out)
{
    snprintf(path, size, "%s/%s.%s", folder, name, extension);
    *out = fopen(path, "w");
    return *out ? 0 : cb_error("%s: %s", path, strerror(errno));
}

static int close_checked(FILE *out, const char *path, int status)
{
    bool failed = ferror(out);
    if ((fclose(out) || failed) && !status)
        status = cb_error("%s: not written whole", path);
    return status;
}

static int view_tables(struct report *w, const struct view *v)
{
    if (!v->timed)
        return figure_table(w, v) || absent_table(w, v) ? -1 : 0;
    if (v->kernels <= VIEW_NARROW) {
        if (narrow_table(w, v) || narrow_aggregates(w, v))
            return -1;
    } else {
        for (int p = 0; p < v->pairs; p++)
            if (speedup_table(w, v, &v->pair[p]))
                return -1;
        if (standing_tables(w, v) || (v->pairs && case_table(w, v, &v->pair[0])))
            return -1;
    }
    return asked_tables(w, v) || absent_table(w, v) ? -1 : 0;
}

static int experiment_files(const struct result *r, const struct reported_set *paper,
                            const struct result_experiment *e, const char *folder,
                            enum cb_format format)
{
    static const char *const head[] = { "case",     "cache",       "row",         "role",
                                        "status",   "invocations", "us",          "us_low",
                                        "us_high",  "speedup",     "speedup_low", "speedup_high",
                                        "gflops",   "gbps",        "sol",         "oracle_fraction",
                                        "setup_us", "rel_fro",     "figures",     "reported",
                                        "flags",    "choice",      "reason" };
    struct report w = { r, paper, format, NULL, true };
    char path[4096], tsv[4096], caption[1024], title[600];
    struct cb_table all;
    struct view v;
    int status = 0, more, index = 0;
    if (cb_table_init(&all, NULL, sizeof head / sizeof *head, head))
        return -1;
    if (format != CB_CSV) {
        if ((status =
                 open_in(folder, e->id, cb_format_extension(format), path, sizeof path, &w.out)))
            goto done;
        if (format == CB_MARKDOWN)
            fprintf(w.out, "# %s: %s\n", e->id, e->title);
        else
            fprintf(w.out, "%% %s: %s\n", e->id, e->title);
        if (*e->where)
            fprintf(w.out, "%s%s\n",
                    format == CB_MARKDOWN ? "\nIn the paper: " : "% in the paper: ", e->where);
        w.first = false;
    }
    while (!status && (more = view_open(r, e, index++, &v))) {
        if (more < 0) {
            status = -1;
            break;
        }
        if (format != CB_CSV) {
            view_caption(&v, caption, sizeof caption);
            snprintf(title, sizeof title, "%s%s%s", *v.cache ? v.cache : "not timed",
                     *v.regime && strcmp(v.regime, "steady") ? ", " : "",
                     *v.regime && strcmp(v.regime, "steady") ? v.regime : "");
            heading(&w, v.timed ? title : "figures");
            fprintf(w.out, "%s%s\n", format == CB_MARKDOWN ? "\n" : "% ", caption);
            status = view_tables(&w, &v);
        }
        if (!status)
            status = add_long(&all, &w, &v);
        view_close(&v);
    }
    if (w.out)
        status = close_checked(w.out, path, status);
    snprintf(tsv, sizeof tsv, "%s/%s.%s", folder, e->id, format == CB_CSV ? "csv" : "tsv");
    if (!status)
        status = cb_table_save(&all, format == CB_CSV ? CB_CSV : CB_TSV, tsv);
done:
    cb_table_free(&all);
    return status;
}

static int claims_file(const struct result *r, const char *folder, enum cb_format format)
{
    char path[4096];
    FILE *out;
    if (!json_array_size(json_object_get(r->doc, "claims")))
        return 0;
    if (open_in(folder, "claims", cb_format_extension(format), path, sizeof path, &out))
        return -1;
    return close_checked(out, path, claims_print(r, format, out));
}

/* What the paper reports and no experiment measures: never shown as measured. */
static int reported_file(const struct reported_set *paper, const char *folder,
                         enum cb_format format)
{
    static const char *const head[] = { "table", "what", "problem", "metric", "reported",
                                        "unit",  "GPU",  "where",   "source" };
    enum { LONGEST = 60 };
    char path[4096];
    struct cb_table t;
    int status = 0;
    if (!paper->count)
        return 0;
    if (cb_table_init(&t, "Reported by the paper and its neighbours, not measured here", 9, head))
        return -1;
    for (int i = 0; i < paper->count && !status; i++) {
        const struct reported_number *p = &paper->number[i];
        int same = 0;
        bool first = true;
        if (*p->experiment)
            continue;
        for (int k = 0; k < paper->count; k++)
            if (!strcmp(paper->number[k].table, p->table) && !*paper->number[k].experiment) {
                same++;
                first = first && k >= i;
            }
        if (same > LONGEST && !first)
            continue;
        char *problem =
            json_dumps(p->problem, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(9));
        int row = cb_table_row(&t);
        bool whole = same <= LONGEST;
        status =
            row < 0 || cb_table_set(&t, row, 0, "%s", p->table) ||
                    cb_table_set(&t, row, 1, "%s", whole ? *p->impl ? p->impl : p->item : "") ||
                    cb_table_set(&t, row, 2, "%s",
                                 whole && problem && json_object_size(p->problem) ? problem : "") ||
                    cb_table_set(&t, row, 3, "%s", p->metric) ||
                    (whole ? cb_table_set(&t, row, 4, "%s%.9g", p->from_figure ? "about " : "",
                                          p->value)
                           : cb_table_set(&t, row, 4, "%d numbers", same)) ||
                    cb_table_set(&t, row, 5, "%s", p->unit) ||
                    cb_table_set(&t, row, 6, "%s", whole ? p->gpu : "") ||
                    cb_table_set(&t, row, 7, "%s", p->where) ||
                    cb_table_set(&t, row, 8, "%s", p->source)
                ? -1
                : 0;
        free(problem);
    }
    snprintf(path, sizeof path, "%s/reported.%s", folder, cb_format_extension(format));
    if (!status && t.rows)
        status = cb_table_save(&t, format, path);
    cb_table_free(&t);
    return status;
}

int report_folder(const char *path)
{
    char part[4096];
    if (!*path)
        return cb_error("the folder for tables or figures has no name");
    if (strlen(path) >= sizeof part)
        return cb_error("%.60s...: too long", path);
    for (size_t i = 1;; i++)
        if (path[i] == '/' || !path[i]) {
            memcpy(part, path, i);
            part[i] = 0;
            if (mkdir(part, 0777) && errno != EEXIST)
                return cb_error("%s: %s", part, strerror(errno));
            if (!path[i])
                return 0;
        }
}

int report_tables(const char *result_dir, const char *out_dir, const char *format)
{
    struct result r;
    struct reported_set paper = { 0 };
    enum cb_format f;
    int status = -1;
    if (cb_format_parse(format, &f) || result_load(result_dir, &r))
        return -1;
    if (f == CB_PLAIN || f == CB_TSV) {
        cb_error("tables are written as md, tex or csv");
        goto done;
    }
    if (reported_load(r.paper, &paper) || report_folder(out_dir))
        goto done;
    status = 0;
    for (int i = 0; i < r.experiment_count && !status; i++)
        status = experiment_files(&r, &paper, &r.experiment[i], out_dir, f);
    if (!status)
        status = claims_file(&r, out_dir, f);
    if (!status)
        status = reported_file(&paper, out_dir, f);
done:
    reported_free(&paper);
    result_free(&r);
    return status;
}

/* view.c - slicing experiments, and the figures that both tables and plots show. */
#include "view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"

static bool in_slice(const struct result_case *c, const struct result_experiment *e,
                     const char *cache, const char *regime)
{
    return !strcmp(c->experiment, e->id) && !strcmp(c->cache, cache) && !strcmp(c->regime, regime);
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Parameters with more than one value; the axis among them. */
static void find_params(struct view *v)
{
    const char *wanted = result_text(v->e->json, "axis");
    char number[VIEW_PARAMS][VIEW_NAME];
    int numbers = 0, fewest = VIEW_GRID + 1;
    for (int i = 0; i < v->count; i++) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)v->c[i]->params, name, value)
        {
            bool differs = false, known = strlen(name) >= VIEW_NAME;
            bool text = !json_is_number(value);
            for (int k = 0; k < v->count && !differs; k++)
                differs = !json_equal(value, json_object_get(v->c[k]->params, name));
            for (int k = 0; k < v->params; k++)
                known = known || !strcmp(v->param[k], name);
            for (int k = 0; k < numbers; k++)
                known = known || !strcmp(number[k], name);
            if (!differs || known)
                continue;
            if (text && v->params < VIEW_PARAMS)
                strcpy(v->param[v->params++], name);
            else if (!text && numbers < VIEW_PARAMS)
                strcpy(number[numbers++], name);
        }
    }
    qsort(v->param, v->params, sizeof *v->param, by_name);
    qsort(number, numbers, sizeof *number, by_name);
    for (int p = 0; p < numbers; p++) {
        double grid[VIEW_GRID + 1];
        int n = 0;
        for (int i = 0; i < v->count && n <= VIEW_GRID; i++) {
            const json_t *x = json_object_get(v->c[i]->params, number[p]);
            int k = 0;
            while (k < n && grid[k] != json_number_value(x))
                k++;
            if (k == n && json_is_number(x))
                grid[n++] = json_number_value(x);
        }
        const bool asked = !strcmp(number[p], wanted);
        if (n > 1 && n <= VIEW_GRID && (asked || n < fewest)) {
            fewest = asked ? 0 : n;
            strcpy(v->axis, number[p]);
            qsort(grid, n, sizeof *grid, by_number);
            memcpy(v->grid, grid, n * sizeof *grid);
            v->grid_count = n;
        }
        if (v->params < VIEW_PARAMS)
            strcpy(v->param[v->params++], number[p]);
    }
}

static void add_kernel(struct view *v, const char *name)
{
    for (int i = 0; i < v->kernels; i++)
        if (!strcmp(v->kernel[i], name))
            return;
    if (name && v->kernels < VIEW_KERNELS)
        v->kernel[v->kernels++] = name;
}

static void find_pairs(struct view *v)
{
    const json_t *columns = json_object_get(v->e->json, "columns");
    size_t n = json_array_size(columns);
    for (size_t i = 0; i < (n ? n : 1) && v->pairs < VIEW_PAIRS; i++) {
        const char *text = n ? json_string_value(json_array_get(columns, i)) : metric_oracle(v->e);
        struct view_pair p = { 0 };
        const char *slash = text ? strchr(text, '/') : NULL;
        if (!text || strlen(text) >= VIEW_NAME || (!slash && strlen(v->e->baseline) >= VIEW_NAME))
            continue;
        snprintf(p.rows, sizeof p.rows, "%.*s", (int)(slash ? slash - text : (long)strlen(text)),
                 text);
        snprintf(p.baseline, sizeof p.baseline, "%s", slash ? slash + 1 : v->e->baseline);
        bool any = false;
        for (int k = 0; k < v->count && !any; k++)
            any = *p.rows && *p.baseline && result_best(v->e, v->c[k], p.rows).row &&
                  result_best(v->e, v->c[k], p.baseline).row;
        if (any)
            v->pair[v->pairs++] = p;
    }
}

static int by_plan(const void *a, const void *b)
{
    const struct result_case *x = *(const struct result_case *const *)a;
    const struct result_case *y = *(const struct result_case *const *)b;
    return (x->plan > y->plan) - (x->plan < y->plan);
}

int view_open(const struct result *r, const struct result_experiment *e, int index,
              struct view *out)
{
    *out = (struct view){ .r = r, .e = e };
    const struct result_case *first = NULL;
    int seen = 0;
    const struct result_case **c = malloc((r->case_count + 1) * sizeof *c);
    if (!c)
        return cb_error("no memory for a view");
    for (int i = 0; i < r->case_count; i++)
        c[i] = &r->cases[i];
    qsort(c, r->case_count, sizeof *c, by_plan);
    for (int i = 0; i < r->case_count && !first; i++) {
        bool earlier = strcmp(c[i]->experiment, e->id) != 0;
        for (int k = 0; k < i && !earlier; k++)
            earlier = in_slice(c[k], e, c[i]->cache, c[i]->regime);
        if (!earlier && seen++ == index)
            first = c[i];
    }
    if (!first) {
        free(c);
        return 0;
    }
    out->cache = first->cache;
    out->regime = first->regime;
    out->c = c;
    for (int i = 0; i < r->case_count; i++)
        if (in_slice(c[i], e, out->cache, out->regime))
            out->c[out->count++] = c[i]; /* never ahead of i */
    size_t k;
    json_t *name;
    json_array_foreach(
        json_object_get(e->json, "implementations"), k,
        name) if (json_is_string(name)) for (int i = 0; i < out->count;
                                             i++) if (result_row(out->c[i],
                                                                 json_string_value(name)))
    {
        add_kernel(out, json_string_value(name));
        break;
    }
    for (int i = 0; i < out->count; i++)
        for (int row = 0; row < out->c[i]->row_count; row++) {
            add_kernel(out, out->c[i]->row[row].kernel);
            out->timed = out->timed || out->c[i]->row[row].timed;
        }
    find_params(out);
    if (out->timed)
        find_pairs(out);
    return 1;
}

void view_close(struct view *v)
{
    free(v->c);
    *v = (struct view){ 0 };
}

const char *view_title(const struct view *v, const char *kernel)
{
    for (int i = 0; i < v->count; i++) {
        const struct result_row *row = result_row(v->c[i], kernel);
        if (row)
            return row->title;
    }
    return kernel;
}

const char *view_role(const struct view *v, const char *kernel)
{
    for (int i = 0; i < v->count; i++) {
        const struct result_row *row = result_row(v->c[i], kernel);
        if (row)
            return row->role;
    }
    return "";
}

void view_caption(const struct view *v, char *text, size_t size)
{
    const struct result *r = v->r;
    size_t n = (size_t)snprintf(text, size, "%s", r->gpu);
    const struct {
        const char *word, *value;
    } part[] = { { "driver", r->driver }, { "CUDA", r->cuda },     { "clock", r->clock_policy },
                 { "cache", v->cache },   { "regime", v->regime }, { "profile", r->profile } };
    for (int i = 0; i < 6 && n < size; i++)
        if (*part[i].value && (v->timed || i < 2 || i > 4))
            n += (size_t)snprintf(text + n, size - n, ", %s %s", part[i].word, part[i].value);
    if (v->timed && n < size)
        n += (size_t)snprintf(text + n, size - n, "%s, %d invocation%s",
                              json_is_true(json_object_get(json_object_get(r->doc, "run"), "custom"))
                                  ? " (custom)"
                                  : "",
                              r->invocations, r->invocations == 1 ? "" : "s");
    if (n < size)
        snprintf(text + n, size - n, ", n = %d cases, run %s", v->count, r->id);
}

size_t view_words(const struct view *v, const struct result_case *c, enum view_part part, char *text,
                  size_t size)
{
    size_t n = 0;
    text[0] = 0;
    for (int p = 0; p < v->params && n < size; p++) {
        char value[300] = "";
        if (part & VIEW_VALUES)
            result_param(c, v->param[p], value, sizeof value);
        n += (size_t)snprintf(text + n, size - n, "%s%s%s%s", p ? " " : "",
                              part & VIEW_NAMES ? v->param[p] : "", part == VIEW_BOTH ? "=" : "",
                              value);
    }
    return n < size ? n : size - 1;
}

void view_label(const struct view *v, const struct result_case *c, char *text, size_t size)
{
    view_words(v, c, VIEW_BOTH, text, size);
    if (v->params)
        return;
    /* a case alone: the part of its id that names its parameters */
    const char *from = strchr(c->id, '/');
    from = from ? strchr(from + 1, '/') : NULL;
    from = from ? from + 1 : c->id;
    snprintf(text, size, "%.*s", (int)strcspn(from, "/"), from);
}

int view_speedup(const struct view *v, const struct view_pair *p, int at, int replicates,
                 struct aggregate *out)
{
    json_t *filter = json_pack("{s:s, s:s}", "cache", v->cache, "regime", v->regime);
    if (!filter)
        return cb_error("no memory for a view");
    if (!*v->cache)
        json_object_del(filter, "cache");
    if (!*v->regime)
        json_object_del(filter, "regime");
    if (at >= 0)
        json_object_set_new(filter, v->axis, json_real(v->grid[at]));
    uint64_t seed = (uint64_t)result_number(json_object_get(v->r->doc, "run"), "seed", 1);
    int status =
        aggregate_ratio(v->r, v->e, filter, p->baseline, p->rows, replicates, seed, 0.05, out);
    json_decref(filter);
    return status;
}

static int grid_index(const struct view *v, const struct result_case *c)
{
    double x = json_number_value(json_object_get(c->params, v->axis));
    for (int i = 0; i < v->grid_count; i++)
        if (v->grid[i] == x)
            return i;
    return -1;
}

int view_standings(const struct view *v, const char *set, struct standing **out)
{
    struct standing *s = calloc(v->kernels ? v->kernels : 1, sizeof *s);
    if (!s)
        return cb_error("no memory for a view");
    for (int k = 0; k < v->kernels; k++) {
        s[k].kernel = v->kernel[k];
        for (int g = 0; g <= v->grid_count; g++)
            s[k].worst[g] = INFINITY;
    }
    for (int i = 0; i < v->count; i++) {
        const struct result_row *member[VIEW_KERNELS], *winner = NULL;
        int n = result_members(v->e, v->c[i], set, member, VIEW_KERNELS),
            g = grid_index(v, v->c[i]);
        struct result_pick best = result_best(v->e, v->c[i], set);
        for (int m = 0; m < n; m++)
            if (member[m]->timed && (!winner || member[m]->us.value < winner->us.value))
                winner = member[m];
        for (int m = 0; m < n; m++) {
            struct result_value f = result_ratio(best, (struct result_pick){ member[m], 1 }, 0.05);
            int k = 0;
            while (k < v->kernels && strcmp(v->kernel[k], member[m]->kernel))
                k++;
            if (!f.ok || k == v->kernels)
                continue;
            int place[] = { g, v->grid_count };
            for (int p = g < 0; p < 2; p++) {
                s[k].cases[place[p]]++;
                s[k].wins[place[p]] += member[m] == winner;
                s[k].fraction[place[p]] += log(f.value);
                s[k].worst[place[p]] = fmin(s[k].worst[place[p]], f.value);
            }
        }
    }
    int kept = 0;
    for (int k = 0; k < v->kernels; k++) {
        if (!s[k].cases[v->grid_count])
            continue;
        s[kept] = s[k];
        for (int g = 0; g <= v->grid_count; g++) {
            int n = s[kept].cases[g];
            s[kept].fraction[g] = n ? exp(s[kept].fraction[g] / n) : NAN;
            if (!n)
                s[kept].worst[g] = NAN;
        }
        kept++;
    }
    *out = s;
    return kept;
}

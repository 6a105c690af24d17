/* plots.c - figures of a recorded run: a .tsv, a driver of a few lines, gnuplot. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/table.h"
#include "gpus.h"
#include "home.h"
#include "report.h"
#include "reported.h"
#include "view.h"

enum { REPLICATES = 2000, SERIES_MAX = 16, PANELS_MAX = 5, BAR_CASES = 48 };

/* Figures of one run; every figure is drawn as soon as its files are written. */
struct plots {
    const struct result *r;
    const struct reported_set *paper;
    const char *folder;
    bool draw;
};

/* ---- files ---- */

static FILE *open_file(const struct plots *w, const char *name, const char *extension)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", w->folder, name, extension);
    FILE *f = fopen(path, "w");
    if (!f)
        cb_error("%s: %s", path, strerror(errno));
    return f;
}

static int close_file(FILE *f, const char *name)
{
    bool failed = ferror(f);
    return fclose(f) || failed ? cb_error("%s: not written whole", name) : 0;
}

/* A text in gnuplot's double quotes. */
static void quoted(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++)
        fputc(*s == '"' || *s == '`' || *s == '\\' || (unsigned char)*s < ' ' ? '\'' : *s, f);
    fputc('"', f);
}

static void set_text(FILE *f, const char *name, const char *value)
{
    fprintf(f, "%s = ", name);
    quoted(f, value);
    fputc('\n', f);
}

static void set_list(FILE *f, const char *name, const char *const *value, int n)
{
    fprintf(f, "array %s[%d] = [", name, n ? n : 1); /* gnuplot knows no empty array */
    for (int i = 0; i < n || !i; i++) {
        fputs(i ? ", " : "", f);
        quoted(f, n ? value[i] : "");
    }
    fputs("]\n", f);
}

bool report_can_draw(void)
{
    const char *path = getenv("PATH");
    char file[4096];
    while (path && *path) {
        size_t n = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/gnuplot", (int)n, path);
        if (n && !access(file, X_OK))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

/* Runs gnuplot in the folder, so that drivers have relative paths only. */
static int draw(const struct plots *w, const char *name)
{
    static const char *const kind[] = { "kind='svg'", "kind='png'" };
    char library[PATH_MAX], place[4096], driver[256];
    if (!w->draw)
        return 0;
    snprintf(place, sizeof place, "%s/plots", home_folder());
    if (!realpath(place, library))
        return cb_error("%s: %s", place, strerror(errno));
    snprintf(driver, sizeof driver, "%s.gp", name);
    for (int k = 0; k < 2; k++) {
        pid_t child = fork();
        if (child < 0)
            return cb_error("fork: %s", strerror(errno));
        if (!child) {
            /* it warns of every empty cell; what matters shows in its status */
            int quiet = open("/dev/null", O_WRONLY);
            if (quiet >= 0)
                dup2(quiet, STDERR_FILENO);
            if (chdir(w->folder) || setenv("GNUPLOT_LIB", library, 1) ||
                setenv("LC_ALL", "C.UTF-8", 1))
                _exit(126);
            execlp("gnuplot", "gnuplot", "-e", kind[k], driver, (char *)NULL);
            _exit(127);
        }
        int status;
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                return cb_error("waitpid: %s", strerror(errno));
        if (!WIFEXITED(status) || WEXITSTATUS(status))
            return cb_error("gnuplot failed on %s/%s: run it there with GNUPLOT_LIB=%s to see why",
                            w->folder, driver, library);
    }
    return 0;
}

/* What every driver begins with. */
static FILE *driver(const struct plots *w, const struct view *v, const char *name,
                    const char *title)
{
    char caption[1024];
    FILE *f = open_file(w, name, "gp");
    if (!f)
        return NULL;
    view_caption(v, caption, sizeof caption);
    set_text(f, "out", name);
    set_text(f, "title", title);
    set_text(f, "caption", caption);
    return f;
}

static int finish(const struct plots *w, FILE *f, const char *name, const char *kind)
{
    fprintf(f, "load \"%s.gp\"\n", kind);
    return close_file(f, name) ? -1 : draw(w, name);
}

static void name_of(const struct view *v, const char *what, char *name, size_t size)
{
    snprintf(name, size, "%s%s%s%s%s_%s", v->e->id, *v->cache ? "_" : "", v->cache,
             *v->regime && strcmp(v->regime, "steady") ? "_" : "",
             *v->regime && strcmp(v->regime, "steady") ? v->regime : "", what);
}

/* ---- speedup over the axis ---- */

static int write_speedups(const struct plots *w, const struct view *v, const char *name, int n,
                          double *top, double *bottom)
{
    static const char *const what[] = { "geomean", "low", "high", "min", "max" };
    FILE *f = open_file(w, name, "tsv");
    if (!f)
        return -1;
    fprintf(f, "%s", v->axis);
    for (int p = 0; p < n; p++)
        for (int k = 0; k < 5; k++)
            fprintf(f, "\t%s/%s %s", v->pair[p].rows, v->pair[p].baseline, what[k]);
    fputc('\n', f);
    for (int g = 0; g < v->grid_count; g++) {
        fprintf(f, "%.9g", v->grid[g]);
        for (int p = 0; p < n; p++) {
            struct aggregate a;
            char x[CB_NUMBER_MAX];
            if (view_speedup(v, &v->pair[p], g, REPLICATES, &a)) {
                fclose(f);
                return -1;
            }
            const double value[] = { a.geomean.value, a.geomean.low, a.geomean.high, a.min.value,
                                     a.max.value };
            for (int k = 0; k < 5; k++)
                fprintf(f, "\t%s", a.cases ? cb_number(value[k], 5, x) : "-");
            if (a.cases) {
                *top = fmax(*top, p ? a.geomean.high : a.max.value);
                *bottom = fmin(*bottom, p ? a.geomean.low : a.min.value);
            }
            aggregate_free(&a);
        }
        fputc('\n', f);
    }
    return close_file(f, name);
}

static bool is_log(const struct view *v)
{
    return v->grid[0] > 0 && v->grid[v->grid_count - 1] >= 4 * v->grid[0];
}

/* Averages that the paper gives for all problems together stand right of the grid. */
static int reported_averages(const struct plots *w, const struct view *v, FILE *f, double place)
{
    char label[PANELS_MAX][96];
    const char *names[PANELS_MAX];
    double value[PANELS_MAX];
    int m = 0;
    for (int i = 0; i < w->paper->count && m < PANELS_MAX; i++) {
        const struct reported_number *p = &w->paper->number[i];
        bool shown = false;
        for (int k = 0; k < v->pairs; k++)
            shown = shown || !strcmp(v->pair[k].rows, p->impl);
        if (strcmp(p->experiment, v->e->id) || strcmp(p->metric, "speedup") || !shown ||
            json_object_size(p->problem))
            continue;
        snprintf(label[m], sizeof label[m], "reported %.6g (%.40s)", p->value,
                 *p->gpu ? p->gpu : "GPU not named");
        names[m] = label[m];
        value[m++] = p->value;
    }
    fprintf(f, "m = %d\narray place[%d] = [", m, m ? m : 1);
    for (int i = 0; i < m || !i; i++)
        fprintf(f, "%s%.9g", i ? ", " : "", place);
    fprintf(f, "]\narray value[%d] = [", m ? m : 1);
    for (int i = 0; i < m || !i; i++)
        fprintf(f, "%s%.9g", i ? ", " : "", m ? value[i] : 0);
    fputs("]\n", f);
    set_list(f, "name", names, m);
    return m;
}

static int speedup_lines(const struct plots *w, const struct view *v)
{
    char name[256], title[256], legend[SERIES_MAX][2 * VIEW_NAME + 8], in[300], ylabel[64];
    const char *names[SERIES_MAX];
    int n = v->pairs < SERIES_MAX ? v->pairs : SERIES_MAX;
    double top = 0, bottom = INFINITY;
    name_of(v, "speedup", name, sizeof name);
    if (write_speedups(w, v, name, n, &top, &bottom))
        return -1;
    snprintf(title, sizeof title, "%.120s: speedup (%s)", v->e->id, v->cache);
    FILE *f = driver(w, v, name, title);
    if (!f)
        return -1;
    for (int p = 0; p < n; p++) {
        snprintf(legend[p], sizeof legend[p], "%s over %s", v->pair[p].rows, v->pair[p].baseline);
        names[p] = legend[p];
    }
    bool logs = is_log(v), steep = bottom > 0 && top / bottom > 12;
    double last = v->grid[v->grid_count - 1], step = last - v->grid[v->grid_count - 2];
    snprintf(in, sizeof in, "%s.tsv", name);
    set_text(f, "in", in);
    set_text(f, "xlabel", v->axis);
    snprintf(ylabel, sizeof ylabel, "speedup, geometric mean over cases, 95 %%");
    set_text(f, "ylabel", ylabel);
    fprintf(f, "n = %d\nlogx = %d\nlogy = %d\nband = 1\nwidth = 1060\n", n, logs ? 2 : 0, steep);
    fprintf(f, "lowest = %.9g\nhighest = %.9g\n", logs ? v->grid[0] / 1.2 : v->grid[0] - step / 4,
            logs ? last * 2.4 : last + step);
    fputs("ticks = \"", f);
    for (int g = 0; g < v->grid_count; g++)
        fprintf(f, "%s%.9g", g ? " " : "", v->grid[g]);
    fputs("\"\n", f);
    set_list(f, "legend", names, n);
    reported_averages(w, v, f, logs ? last * 1.9 : last + step / 2);
    return finish(w, f, name, "lines");
}

/* ---- standings: wins, fractions, losses ---- */

enum kind { WINS, FRACTION, LOSS };

static double standing_value(const struct standing *s, int g, enum kind kind)
{
    if (!s->cases[g])
        return NAN;
    return kind == WINS       ? (double)s->wins[g] / s->cases[g]
           : kind == FRACTION ? s->fraction[g]
                              : 1 - s->worst[g];
}

/* A panel of our own: rows are kernels, or values of the axis if upright. */
static int own_panel(const struct plots *w, const struct view *v, const struct standing *s, int n,
                     enum kind kind, bool upright, const char *file)
{
    char stem[256];
    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(file, "."), file);
    FILE *f = open_file(w, stem, "tsv");
    if (!f)
        return -1;
    fputs(upright ? v->axis : "row", f);
    for (int i = 0; i < (upright ? n : v->grid_count); i++)
        if (upright)
            fprintf(f, "\t%s", s[i].kernel);
        else
            fprintf(f, "\t%.9g", v->grid[i]);
    fputc('\n', f);
    for (int i = 0; i < (upright ? v->grid_count : n); i++) {
        if (upright)
            fprintf(f, "%.9g", v->grid[i]);
        else
            fputs(s[i].kernel, f);
        for (int k = 0; k < (upright ? n : v->grid_count); k++) {
            char x[CB_NUMBER_MAX];
            double value = standing_value(&s[upright ? k : i], upright ? i : k, kind);
            fprintf(f, "\t%s", isfinite(value) ? cb_number(value, 4, x) : upright ? "0" : "NaN");
        }
        fputc('\n', f);
    }
    return close_file(f, file);
}

/* GPUs for which the paper gives this metric over the axis. */
static int reported_gpus(const struct plots *w, const struct view *v, const char *metric,
                         const char **gpu, int max)
{
    int n = 0;
    for (int i = 0; i < w->paper->count && n < max; i++) {
        const struct reported_number *p = &w->paper->number[i];
        bool skip = strcmp(p->experiment, v->e->id) || strcmp(p->metric, metric) ||
                    json_object_size(p->problem) != 1 || !json_object_get(p->problem, v->axis);
        for (int k = 0; k < n && !skip; k++)
            skip = !strcmp(gpu[k], p->gpu);
        if (!skip)
            gpu[n++] = p->gpu;
    }
    return n;
}

static int reported_panel(const struct plots *w, const struct view *v, const struct standing *s,
                          int n, const char *metric, const char *gpu, bool upright,
                          const char *file)
{
    char stem[256];
    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(file, "."), file);
    FILE *f = open_file(w, stem, "tsv");
    if (!f)
        return -1;
    bool kept[VIEW_GRID] = { false };
    for (int g = 0; g < v->grid_count; g++)
        for (int i = 0; i < n; i++)
            kept[g] = kept[g] || reported_at(w->paper, v->e->id, v->axis, s[i].kernel, metric,
                                             gpu, v->grid[g]);
    int rows = upright ? v->grid_count : n, columns = upright ? n : v->grid_count;
    fputs(upright ? v->axis : "row", f);
    for (int k = 0; k < columns; k++)
        if (upright)
            fprintf(f, "\t%s", s[k].kernel);
        else if (kept[k])
            fprintf(f, "\t%.9g", v->grid[k]);
    fputc('\n', f);
    for (int i = 0; i < rows; i++) {
        if (upright && !kept[i])
            continue;
        if (upright)
            fprintf(f, "%.9g", v->grid[i]);
        else
            fputs(s[i].kernel, f);
        for (int k = 0; k < columns; k++) {
            int g = upright ? i : k;
            if (!kept[g])
                continue;
            const struct reported_number *p =
                reported_at(w->paper, v->e->id, v->axis, s[upright ? k : i].kernel, metric,
                            gpu, v->grid[g]);
            if (p)
                fprintf(f, "\t%.6g", p->value);
            else
                fputs(upright ? "\t0" : "\tNaN", f);
        }
        fputc('\n', f);
    }
    return close_file(f, file);
}

/* One figure: our panel and, if beside, one for each GPU of the paper. */
static int standing_figure(const struct plots *w, const struct view *v, const struct standing *s,
                           int n, const char *set, enum kind kind, bool beside)
{
    static const char *const what[] = { "wins", "fraction", "loss" };
    static const char *const metric[] = { "win_share", "oracle_fraction", "loss" };
    static const char *const words[] = { "share of cases won",
                                         "fraction of the fastest, geometric mean over cases",
                                         "largest loss on any case" };
    char name[256], tag[64], title[300], file[PANELS_MAX][320], heading[PANELS_MAX][96];
    const char *files[PANELS_MAX], *headings[PANELS_MAX], *gpu[PANELS_MAX], *legend[VIEW_KERNELS];
    int panels = 1, others = beside ? reported_gpus(w, v, metric[kind], gpu, PANELS_MAX - 1) : 0;
    bool upright = kind == WINS;
    snprintf(tag, sizeof tag, "%s%s", what[kind], strcmp(set, "*") ? "" : "_all");
    name_of(v, tag, name, sizeof name);
    snprintf(file[0], sizeof file[0], "%s.tsv", name);
    snprintf(heading[0], sizeof heading[0], "%.60s, measured", v->r->gpu);
    if (own_panel(w, v, s, n, kind, upright, file[0]))
        return -1;
    for (int k = 0; k < others; k++, panels++) {
        snprintf(file[panels], sizeof file[0], "%s_reported%d.tsv", name, k + 1);
        snprintf(heading[panels], sizeof heading[0], "%.60s, reported", gpu[k]);
        if (reported_panel(w, v, s, n, metric[kind], gpu[k], upright, file[panels]))
            return -1;
    }
    for (int p = 0; p < panels; p++) {
        files[p] = file[p];
        headings[p] = heading[p];
    }
    for (int i = 0; i < n; i++)
        legend[i] = s[i].kernel;
    snprintf(title, sizeof title, "%.80s (%s): %s, among %s", v->e->id, v->cache, words[kind],
             strcmp(set, "*") ? set : "all rows");
    FILE *f = driver(w, v, name, title);
    if (!f)
        return -1;
    set_text(f, "xlabel", v->axis);
    set_list(f, "panel", files, panels);
    set_list(f, "heading", headings, panels);
    fprintf(f, "panels = %d\nn = %d\n", panels, n);
    if (kind == WINS) {
        set_text(f, "ylabel", words[kind]);
        set_list(f, "legend", legend, n);
        fprintf(f, "stacked = 1\nwidth = %d\nheight = 440\n",
                panels > 1 ? 520 + 240 * panels : 940);
        return finish(w, f, name, "bars");
    }
    fprintf(f, "rows = %d\nreverse = %d\nwidth = %d\nheight = %d\n", n, kind == LOSS,
            panels > 1 ? 360 + 250 * panels : 900, 150 + (n > 6 ? n : 6) * 22);
    return finish(w, f, name, "heat");
}

static int standing_figures(const struct plots *w, const struct view *v)
{
    char group[VIEW_NAME];
    snprintf(group, sizeof group, "%s", metric_oracle(v->e));
    const char *const set[] = { group, "*" };
    for (int i = 0; i < 2; i++) {
        struct standing *s = NULL;
        int n = *set[i] ? view_standings(v, set[i], &s) : 0, status = n < 0 ? -1 : 0;
        for (int kind = WINS; kind <= LOSS && n > 1 && !status; kind++) {
            if (kind == WINS && i) { /* only those that win: a legend of 40 rows says nothing */
                struct standing *winner = malloc(n * sizeof *winner);
                int winners = 0;
                for (int k = 0; winner && k < n; k++)
                    if (s[k].wins[v->grid_count])
                        winner[winners++] = s[k];
                status = !winner   ? cb_error("no memory for a figure")
                         : winners ? standing_figure(w, v, winner, winners, set[i], kind, false)
                                   : 0;
                free(winner);
            } else {
                status = standing_figure(w, v, s, n, set[i], kind, !i);
            }
        }
        free(s);
        if (status)
            return -1;
    }
    return 0;
}

/* ---- bars: narrow experiments ---- */

static int case_bars(const struct plots *w, const struct view *v)
{
    char name[256], title[300], in[300], label[512], names[512] = "", marker[128] = "";
    int longest = 0;
    const char *metric = *v->e->metric ? v->e->metric : "us", *legend[SERIES_MAX];
    const char *kernel[SERIES_MAX];
    int n = 0;
    const struct metric *m = metric_find(metric);
    for (int k = 0; k < v->kernels && n < SERIES_MAX; k++) {
        bool any = false;
        if (!strcmp(metric, "speedup") && (!strcmp(v->kernel[k], v->e->baseline) ||
                                           !strcmp(view_role(v, v->kernel[k]), "ablation")))
            continue;
        for (int i = 0; i < v->count && !any; i++) {
            const struct result_row *row = result_row(v->c[i], v->kernel[k]);
            any = row && metric_value(v->r, v->e, v->c[i], row, metric).ok;
        }
        if (any) {
            legend[n] = view_title(v, v->kernel[k]);
            kernel[n++] = v->kernel[k];
        }
    }
    if (!n)
        return 0;
    snprintf(label, sizeof label, "%.40s", metric + (strncmp(metric, "figure:", 7) ? 0 : 7));
    for (char *c = label; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", *c))
            *c = '_';
    name_of(v, label, name, sizeof name);
    FILE *f = open_file(w, name, "tsv");
    if (!f)
        return -1;
    const int cases = v->count < BAR_CASES ? v->count : BAR_CASES;
    /* many cases stand under slanting labels of values, and the names of the parameters once */
    const bool slanting = cases > 4 && v->params;
    if (slanting)
        view_words(v, NULL, VIEW_NAMES, names, sizeof names);
    fputs(slanting ? names : "case", f);
    for (int k = 0; k < n; k++)
        fprintf(f, "\t%s\tlow\thigh\treported", kernel[k]);
    fputc('\n', f);
    for (int i = 0; i < cases; i++) {
        if (slanting) {
            const int length = (int)view_words(v, v->c[i], VIEW_VALUES, label, sizeof label);
            longest = length > longest ? length : longest;
        } else {
            view_label(v, v->c[i], label, sizeof label);
        }
        fputs(label, f);
        for (int k = 0; k < n; k++) {
            const struct result_row *row = result_row(v->c[i], kernel[k]);
            struct result_value s = { 0 };
            char x[CB_NUMBER_MAX], y[CB_NUMBER_MAX], z[CB_NUMBER_MAX];
            if (row)
                s = metric_value(v->r, v->e, v->c[i], row, metric);
            if (s.ok)
                fprintf(f, "\t%s\t%s\t%s", cb_number(s.value, 5, x), cb_number(s.low, 5, y),
                        cb_number(s.high, 5, z));
            else
                fputs("\t-\t-\t-", f);
            const struct reported_number *found = NULL;
            for (int p = 0; p < w->paper->count && !found; p++) {
                const struct reported_number *q = &w->paper->number[p];
                if (!strcmp(q->experiment, v->e->id) && !strcmp(q->metric, metric) &&
                    !strcmp(q->impl, kernel[k]) && json_object_size(q->problem) &&
                    reported_covers(q, v->c[i]->params))
                    found = q;
            }
            if (found) {
                fprintf(f, "\t%.6g", found->value);
                snprintf(marker, sizeof marker, "reported, %.60s",
                         *found->gpu ? found->gpu : "GPU not named");
            } else {
                fputs("\t-", f);
            }
        }
        fputc('\n', f);
    }
    if (close_file(f, name))
        return -1;
    snprintf(title, sizeof title, "%.200s%s%s%s%s", v->e->title, *v->cache ? " (" : "", v->cache,
             *v->cache ? ")" : "", cases < v->count ? ", first cases" : "");
    if (!(f = driver(w, v, name, title)))
        return -1;
    snprintf(in, sizeof in, "%s.tsv", name);
    set_text(f, "in", in);
    set_text(f, "xlabel", "");
    snprintf(label, sizeof label, "%s%s%s%s%s", m ? m->title : metric,
             strcmp(metric, "speedup") ? "" : " over ",
             strcmp(metric, "speedup") ? "" : v->e->baseline, m && *m->unit ? ", " : "",
             m ? m->unit : "");
    set_text(f, "ylabel", label);
    set_text(f, "reported", marker);
    set_text(f, "names", names);
    set_list(f, "legend", legend, n);
    fprintf(f, "n = %d\ncases = %d\nstacked = 0\nlongest = %d\nwidth = %d\n", n, cases, longest,
            cases * n > 24 ? 1200 : 940);
    return finish(w, f, name, "bars");
}

/* ---- roofline ---- */

/* Whether a row of the view names the ceiling as the one that bounds its arithmetic; one that
 * names none is taken to be bounded by the CUDA cores. */
static bool bounds_rows(const struct view *v, const char *id)
{
    for (int k = 0; k < v->count; k++)
        for (int r = 0; r < v->c[k]->row_count; r++) {
            const char *peak = result_text(result_work(v->c[k], v->c[k]->row + r), "peak");
            if (*peak ? !strcmp(peak, id) : strstr(id, "fma") != NULL)
                return true;
        }
    return false;
}

static int rooflines(const struct plots *w, const struct view *v)
{
    char name[256], title[300], in[300], roof[8][96];
    const char *names[8], *legend[SERIES_MAX];
    double slope[8], flat[8], low = INFINITY, high = 0;
    int c = 0, points = 0, n = 0;
    char which[SERIES_MAX][VIEW_NAME];
    for (int p = 0; p < v->pairs; p++) { /* the fastest of every group that a pair names */
        const char *side[] = { v->pair[p].rows, v->pair[p].baseline };
        for (int k = 0; k < 2; k++) {
            bool known = n == 4;
            for (int i = 0; i < n && !known; i++)
                known = !strcmp(which[i], side[k]);
            if (!known) {
                strcpy(which[n], side[k]);
                legend[n] = which[n];
                n++;
            }
        }
    }
    size_t i;
    json_t *ceiling;
    json_array_foreach(json_object_get(v->r->doc, "ceilings"), i, ceiling)
    {
        const char *id = result_text(ceiling, "id"), *unit = result_text(ceiling, "unit");
        double value = result_number(ceiling, "value", 0);
        bool memory = !strcmp(unit, "B/s"), flops = !strcmp(unit, "op/s") && bounds_rows(v, id);
        if (c == 8 || !(value > 0) || (!memory && !flops))
            continue;
        slope[c] = memory ? value * 1e-9 : 0;
        flat[c] = memory ? 0 : value * 1e-9;
        bool large = value >= 1e12;
        snprintf(roof[c], sizeof roof[c], "%.40s, %.4g %s%s", id, value * (large ? 1e-12 : 1e-9),
                 large ? "T" : "G", memory ? "B/s" : "FLOP/s");
        names[c] = roof[c];
        c++;
    }
    if (!n || !c)
        return 0;
    name_of(v, "roofline", name, sizeof name);
    FILE *f = open_file(w, name, "tsv");
    if (!f)
        return -1;
    fputs("series\tflops_per_byte\tgflops\trow\tcase\n", f);
    for (int k = 0; k < v->count; k++)
        for (int s = 0; s < n; s++) {
            struct result_pick best = result_best(v->e, v->c[k], which[s]);
            const json_t *work = best.row ? result_work(v->c[k], best.row) : NULL;
            double flops = result_number(work, "flops", 0),
                   bytes = result_number(work, "bytes_min", 0);
            char x[CB_NUMBER_MAX], y[CB_NUMBER_MAX], label[512];
            if (!(flops > 0) || !(bytes > 0))
                continue;
            view_label(v, v->c[k], label, sizeof label);
            fprintf(f, "%d\t%s\t%s\t%s\t%s\n", s + 1, cb_number(flops / bytes, 5, x),
                    cb_number(flops * 1e-3 / best.row->us.value, 5, y), best.row->kernel, label);
            low = fmin(low, flops / bytes);
            high = fmax(high, flops / bytes);
            points++;
        }
    if (close_file(f, name) || !points)
        return points ? -1 : 0;
    snprintf(title, sizeof title, "%.80s (%s): measured ceilings", v->e->id, v->cache);
    if (!(f = driver(w, v, name, title)))
        return -1;
    snprintf(in, sizeof in, "%s.tsv", name);
    set_text(f, "in", in);
    set_list(f, "legend", legend, n);
    set_list(f, "roof", names, c);
    fprintf(f, "n = %d\nc = %d\nlowest = %.4g\nhighest = %.4g\nwidth = 1000\n", n, c, low / 1.5,
            high * 1.5);
    const struct {
        const char *word;
        const double *x;
    } list[] = { { "slope", slope }, { "flat", flat } };
    for (int k = 0; k < 2; k++) {
        fprintf(f, "array %s[%d] = [", list[k].word, c);
        for (int q = 0; q < c; q++)
            fprintf(f, "%s%.9g", q ? ", " : "", list[k].x[q]);
        fputs("]\n", f);
    }
    return finish(w, f, name, "roofline");
}

/* ---- several GPUs: one series each ---- */

enum { GPUS_GROUPS = 16 };

static void interval_fields(FILE *f, bool shown, struct cb_interval x)
{
    const double value[] = { x.value, x.low, x.high };
    char text[CB_NUMBER_MAX];
    for (int k = 0; k < 3; k++)
        fprintf(f, "\t%s", shown && isfinite(value[k]) ? cb_number(value[k], 5, text) : "-");
}

static bool in_figure(const struct gpus_line *l)
{
    return l->first && l->cases;
}

/* The first pair of every view, for either of the two panels; run[n]: those that are shown. */
static int gpus_panel(const struct plots *w, const struct gpus *g, const int *run, int n,
                      const char *name, bool light)
{
    FILE *f = open_file(w, name, "tsv");
    int groups = 0;
    if (!f)
        return -1;
    fputs("what", f);
    for (int r = 0; r < n; r++)
        fprintf(f, "\t%s\tlow\thigh", g->name[run[r]]);
    for (int s = 0; s < g->series && !light; s++)
        fprintf(f, "\treported, %s", g->reported[s]);
    fputc('\n', f);
    for (int i = 0; i < g->lines && groups < GPUS_GROUPS; i++) {
        const struct gpus_line *l = &g->line[i];
        bool steady = !*l->regime || !strcmp(l->regime, "steady");
        if (!in_figure(l))
            continue;
        groups++;
        fprintf(f, "%s%s%s%s%s: %s / %s, n = %d", l->experiment, *l->cache ? " " : "", l->cache,
                steady ? "" : " ", steady ? "" : l->regime, l->pair.rows, l->pair.baseline,
                l->cases);
        for (int r = 0; r < n; r++)
            interval_fields(f, l->has[run[r]], light ? l->sol[run[r]] : l->speedup[run[r]]);
        for (int s = 0; s < g->series && !light; s++)
            if (isfinite(l->reported[s]))
                fprintf(f, "\t%.6g", l->reported[s]);
            else
                fputs("\t-", f);
        fputc('\n', f);
    }
    return close_file(f, name) ? -1 : groups;
}

int report_gpus(const struct gpus *g, const char *out_dir)
{
    char name[48], panel[2][64], title[300], series[GPUS_REPORTED][GPUS_NAME + 16];
    const char *legend[GPUS_MAX], *reported[GPUS_REPORTED], *caption[GPUS_MAX];
    const struct plots w = { NULL, NULL, out_dir, report_can_draw() };
    int run[GPUS_MAX], n = 0, groups = 0;
    if (report_folder(out_dir))
        return -1;
    for (int r = 0; r < g->runs; r++) {
        bool shown = false;
        for (int i = 0; i < g->lines; i++)
            shown = shown || (in_figure(&g->line[i]) && g->line[i].has[r]);
        if (!shown)
            continue;
        legend[n] = g->name[r];
        caption[n] = g->caption[r];
        run[n++] = r;
    }
    snprintf(name, sizeof name, "%.32s_gpus", *g->paper ? g->paper : "suite");
    for (int k = 0; k < 2; k++) {
        snprintf(panel[k], sizeof panel[k], "%s_%s", name, k ? "sol" : "speedup");
        if ((groups = gpus_panel(&w, g, run, n, panel[k], k)) < 0)
            return -1;
    }
    if (!groups) /* nothing is common, and gnuplot refuses an empty figure */
        return 0;
    for (int s = 0; s < g->series; s++) {
        snprintf(series[s], sizeof series[s], "reported, %s", g->reported[s]);
        reported[s] = series[s];
    }
    FILE *f = open_file(&w, name, "gp");
    if (!f)
        return -1;
    snprintf(title, sizeof title, "%.200s", *g->title ? g->title : g->paper);
    set_text(f, "out", name);
    set_text(f, "title", title);
    set_text(f, "speedups", panel[0]);
    set_text(f, "lights", panel[1]);
    set_list(f, "legend", legend, n);
    set_list(f, "reported", reported, g->series);
    set_list(f, "caption", caption, n);
    fprintf(f, "n = %d\nm = %d\ngroups = %d\nwidth = %d\nheight = %d\n", n, g->series, groups,
            groups * (n + 1) > 24 ? 1240 : 900, 640 + 14 * n + 18 * (n + g->series));
    return finish(&w, f, name, "gpus");
}

/* ---- curves: figures named by a place on an axis ---- */

/* "at:26.2" is 26.2; NAN: no place. */
static double place_of(const json_t *figure)
{
    const char *name = result_text(figure, "name");
    return strncmp(name, "at:", 3) ? NAN : strtod(name + 3, NULL);
}

/* Places of one row's figures; a line each with the values of all rows. */
static int write_curve(const struct plots *w, const struct view *v, const char *name, double *last)
{
    const struct result_row *first = result_row(v->c[0], v->kernel[0]);
    const json_t *figures = first ? json_object_get(first->json, "figures") : NULL, *figure;
    FILE *f = open_file(w, name, "tsv");
    size_t i;
    if (!f)
        return -1;
    fputs("at", f);
    for (int k = 0; k < v->kernels; k++)
        fprintf(f, "\t%s\tlow\thigh\tmin\tmax", v->kernel[k]);
    fputc('\n', f);
    json_array_foreach((json_t *)figures, i, figure)
    {
        char metric[64], x[CB_NUMBER_MAX];
        const double at = place_of(figure);
        if (!isfinite(at))
            continue;
        *last = fmax(*last, at);
        fputs(cb_number(at, 5, x), f);
        snprintf(metric, sizeof metric, "figure:%.40s", result_text(figure, "name"));
        for (int k = 0; k < v->kernels; k++) {
            const struct result_row *row = result_row(v->c[0], v->kernel[k]);
            const struct result_value s =
                row ? metric_value(v->r, v->e, v->c[0], row, metric) : (struct result_value){ 0 };
            cb_number(s.value, 5, x);
            if (s.ok)
                fprintf(f, "\t%s\t%s\t%s\t%s\t%s", x, x, x, x, x);
            else
                fputs("\t-\t-\t-\t-\t-", f);
        }
        fputc('\n', f);
    }
    return close_file(f, name);
}

static int curve(const struct plots *w, const struct view *v)
{
    char name[256], in[300];
    const char *legend[VIEW_KERNELS];
    double last = 0;
    name_of(v, "curve", name, sizeof name);
    if (!v->count || !v->kernels || write_curve(w, v, name, &last))
        return v->count && v->kernels ? -1 : 0;
    FILE *f = driver(w, v, name, v->e->title);
    if (!f)
        return -1;
    for (int k = 0; k < v->kernels; k++)
        legend[k] = view_title(v, v->kernel[k]);
    snprintf(in, sizeof in, "%s.tsv", name);
    set_text(f, "in", in);
    set_text(f, "xlabel", "million tokens");
    set_text(f, "ylabel", "loss, nats per token");
    fprintf(f, "n = %d\nlogx = 0\nlogy = 0\none = 0\nband = 0\nwidth = 940\n", v->kernels);
    fprintf(f, "lowest = 0\nhighest = %.9g\nticks = \"", 1.05 * last);
    double step = pow(10, floor(log10(fmax(last, 1)))); /* 4 to 10 ticks, at 1, 2 or 5 x 10^n */
    step *= last / step < 2 ? 0.2 : last / step < 5 ? 0.5 : 1;
    for (double at = 0; at <= 1.05 * last; at += step)
        fprintf(f, "%s%.6g", at > 0 ? " " : "", at);
    fputs("\"\nm = 0\narray place[1] = [0]\narray value[1] = [0]\n", f);
    set_list(f, "legend", legend, v->kernels);
    set_list(f, "name", NULL, 0);
    return finish(w, f, name, "lines");
}

/* ---- which figures an experiment gets ---- */

static int view_figures(const struct plots *w, const struct view *v)
{
    if (!strcmp(v->e->figure, "none") || !*v->e->figure)
        return 0;
    if (!strcmp(v->e->figure, "curve"))
        return curve(w, v);
    if (v->timed && v->grid_count > 1 && v->pairs && strcmp(v->e->figure, "bars"))
        return speedup_lines(w, v) || standing_figures(w, v) || rooflines(w, v) ? -1 : 0;
    return case_bars(w, v) || (v->timed && rooflines(w, v)) ? -1 : 0;
}

int report_plots(const char *result_dir, const char *out_dir)
{
    struct result r;
    struct reported_set paper = { 0 };
    int status = -1;
    if (result_load(result_dir, &r))
        return -1;
    if (reported_load(r.paper, &paper) || report_folder(out_dir))
        goto done;
    struct plots w = { &r, &paper, out_dir, report_can_draw() };
    status = 0;
    for (int i = 0; i < r.experiment_count && !status; i++) {
        struct view v;
        int more = 1;
        for (int k = 0; !status && (more = view_open(&r, &r.experiment[i], k, &v)) > 0; k++) {
            status = view_figures(&w, &v);
            view_close(&v);
        }
        if (more < 0)
            status = -1;
    }
done:
    reported_free(&paper);
    result_free(&r);
    return status;
}

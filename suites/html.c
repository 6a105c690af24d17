/* html.c - pages of recorded results. */
#include "html.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/device.h"
#include "../harness/env.h"
#include "../harness/error.h"
#include "claims.h"
#include "home.h"
#include "html_part.h"
#include "html_style.h"
#include "report.h"
#include "view.h"

enum { NAME = 256, PATH = 4096, TSV_SHOWN = 64 };

struct page {
    struct result r;
    const char *given;  /* the path it was loaded from */
    char name[NAME];    /* GPU_PAPER: of the page and of the folder beside it */
    char folder[PATH];  /* that folder */
    json_t *claims;     /* claims.json of the paper; NULL: it has none */
    char **figure;      /* names of figures, sorted; owned */
    int figures;
    bool *shown;        /* [figures] */
};

/* ---- lists of names ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **list, int n)
{
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* Names in a folder that end with `end`, sorted; their number (0 if there is no folder), -1. */
static int names_in(const char *folder, const char *end, char ***out)
{
    DIR *d = opendir(folder);
    char **list = NULL;
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !ends_with(e->d_name, end))
            continue;
        char **more = realloc(list, (n + 1) * sizeof *list);
        list = more ? more : list;
        if (!more || !(list[n] = strdup(e->d_name))) {
            free_names(list, n);
            closedir(d);
            return cb_error("%s: no memory", folder);
        }
        n++;
    }
    if (d)
        closedir(d);
    if (n)
        qsort(list, n, sizeof *list, by_name);
    *out = list;
    return n;
}

/* What an earlier run drew and this one may not. */
static int clear(const char *folder)
{
    static const char *const ours[] = { ".md", ".tsv", ".gp", ".svg", ".png", NULL };
    for (int k = 0; ours[k]; k++) {
        char **name = NULL, path[2 * PATH];
        int n = names_in(folder, ours[k], &name), status = n < 0 ? -1 : 0;
        for (int i = 0; i < n && !status; i++) {
            snprintf(path, sizeof path, "%s/%s", folder, name[i]);
            if (unlink(path))
                status = cb_error("%s: %s", path, strerror(errno));
        }
        free_names(name, n);
        if (status)
            return -1;
    }
    return 0;
}

/* ---- head and foot ---- */

/* Of the script, so that no other can run: "sha256-...". */
static void script_hash(char out[64])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    strcpy(out, "sha256-");
    if (EVP_Digest(html_script, sizeof html_script - 1, digest, &size, EVP_sha256(), NULL) == 1)
        EVP_EncodeBlock((unsigned char *)out + 7, digest, (int)size);
}

static FILE *begin(const char *folder, const char *name, const char *title)
{
    char path[2 * PATH], hash[64];
    snprintf(path, sizeof path, "%s/%s.html", folder, name);
    FILE *f = fopen(path, "w");
    if (!f) {
        cb_error("%s: %s", path, strerror(errno));
        return NULL;
    }
    script_hash(hash);
    fprintf(f,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "style-src 'unsafe-inline'; img-src data:; script-src '%s'; base-uri 'none'; "
            "form-action 'none'\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta name=\"referrer\" content=\"no-referrer\">\n"
            "<link rel=\"icon\" href=\"data:,\">\n<title>",
            hash);
    html_text(f, title);
    fprintf(f, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", html_style);
    return f;
}

static int end(FILE *f, const char *name, int status)
{
    fprintf(f, "<p class=\"dim\">Written by claimbench from stored results; nothing was measured "
               "for this page.</p>\n</main>\n<script>%s</script>\n</body>\n</html>\n",
            html_script);
    bool failed = ferror(f);
    if ((fclose(f) || failed) && !status)
        status = cb_error("%s.html: not written whole", name);
    return status;
}

static void link_to(FILE *f, const char *folder, const char *name, const char *extension)
{
    fputs("<a href=\"", f);
    html_put(f, "%s/%s.%s", folder, name, extension);
    fputs("\">", f);
    html_put(f, "%s.%s", name, extension);
    fputs("</a>", f);
}

/* ---- commands ---- */

/* An argument that a shell passes on unchanged. */
static void argument(char *text, size_t size, const char *option, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-./";
    size_t n = strlen(text);
    if (!*value)
        return;
    n += (size_t)snprintf(text + n, n < size ? size - n : 0, " %s ", option);
    bool quote = value[strspn(value, plain)] != 0;
    for (const char *s = value; n + 8 < size && (*s || quote); s++) {
        if (quote && s == value)
            text[n++] = '\'';
        if (!*s)
            break;
        if (*s == '\'' && quote)
            n += (size_t)snprintf(text + n, size - n, "'\\''");
        else
            text[n++] = *s;
    }
    if (quote && n + 1 < size)
        text[n++] = '\'';
    if (n < size)
        text[n] = 0;
}

static void run_command(const struct page *p, const char *experiment, const char *cache,
                        const char *id, char *text, size_t size)
{
    char number[32] = "";
    const json_t *run = json_object_get(p->r.doc, "run");
    snprintf(text, size, "build/claimbench run");
    argument(text, size, "--paper", p->r.paper);
    argument(text, size, "--profile", p->r.profile);
    if (json_is_true(json_object_get(run, "custom"))) {
        snprintf(number, sizeof number, "%d", p->r.invocations);
        argument(text, size, "--invocations", number);
    }
    snprintf(number, sizeof number, "%.0f", result_number(run, "seed", 0));
    if (strcmp(number, "0"))
        argument(text, size, "--seed", number);
    argument(text, size, "--experiment", experiment);
    argument(text, size, "--cache", cache);
    argument(text, size, "--case", id);
}

static const json_t *with_id(const json_t *list, const char *id, size_t n)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) if (strlen(result_text(one, "id")) == n &&
                                         !strncmp(result_text(one, "id"), id, n)) return one;
    return NULL;
}

/* Experiment and cache state that a claim is measured by; "" where none is. */
static void source_of(const struct page *p, const json_t *claim, char experiment[NAME],
                      char cache[NAME])
{
    const json_t *definition = with_id(json_object_get(p->claims, "claims"),
                                       result_text(claim, "id"), strlen(result_text(claim, "id")));
    const json_t *series = json_object_get(definition, "series");
    const json_t *metric = json_object_get(definition, "metric");
    const char *name = result_text(claim, "metric"), *where = "", *state = "";
    if (json_is_array(metric))
        metric = json_array_get(metric, 0);
    if (!*name)
        name = metric ? json_string_value(metric) : "";
    const char *after = name ? strchr(name, ':') : NULL;
    *experiment = *cache = 0;
    if (series) {
        where = result_text(series, "experiment");
        state = result_text(json_object_get(series, "filter"), "cache");
    } else if (after && !strncmp(name, "aggregate:", 10)) {
        size_t n = strcspn(after + 1, ".");
        const json_t *a = with_id(json_object_get(p->r.doc, "aggregates"), after + 1, n);
        if (!a)
            a = with_id(json_object_get(p->claims, "aggregates"), after + 1, n);
        where = result_text(a, "experiment");
        state = result_text(json_object_get(a, "filter"), "cache");
    } else if (after && !strncmp(name, "figure:", 7)) {
        snprintf(experiment, NAME, "%.*s", (int)strcspn(after + 1, "/"), after + 1);
        return;
    }
    snprintf(experiment, NAME, "%s", where);
    snprintf(cache, NAME, "%s", state);
}

/* ---- claims ---- */

static const char *bounded(const json_t *c, const char *value, const char *ci, char *text,
                           size_t size)
{
    double x = result_number(c, value, NAN);
    const json_t *range = json_object_get(c, ci);
    if (!isfinite(x))
        return NULL;
    if (json_array_size(range) == 2)
        cb_bounded(x, json_number_value(json_array_get(range, 0)),
                   json_number_value(json_array_get(range, 1)), 3, text, size);
    else
        cb_bounded(x, x, x, 3, text, size);
    return text;
}

static void put_reported(FILE *f, const json_t *c)
{
    double x = result_number(c, "reported", NAN);
    if (isfinite(x))
        html_put(f, "%.6g %s", x, result_text(c, "unit"));
    else
        fputc('-', f);
}

static void put_gpu(FILE *f, const json_t *c)
{
    const char *gpu = result_text(c, "gpu_reported");
    html_text(f, !*gpu || !strcmp(gpu, "?") ? "not stated" : gpu);
}

static void put_measured(FILE *f, const json_t *c)
{
    char text[128];
    const char *value = bounded(c, "measured", "ci95", text, sizeof text);
    html_text(f, value ? value : "-");
    if ((value = bounded(c, "own", "own_ci95", text, sizeof text))) {
        fputs("<span class=\"why\">own rows: ", f);
        html_text(f, value);
        fputs("</span>", f);
    }
}

static void put_why(FILE *f, const json_t *c)
{
    size_t i;
    json_t *flag;
    html_text(f, result_text(c, "reason"));
    json_array_foreach(json_object_get(c, "flags"), i, flag)
    {
        if (!json_is_string(flag))
            continue;
        fputs(i ? ", " : " <span class=\"why\">", f);
        html_text(f, json_string_value(flag));
    }
    if (i)
        fputs("</span>", f);
}

static void put_claim(FILE *f, const json_t *c)
{
    html_text(f, *result_text(c, "claim") ? result_text(c, "claim") : result_text(c, "id"));
    if (*result_text(c, "locator")) {
        fputs(" <span class=\"why\">", f);
        html_text(f, result_text(c, "locator"));
        fputs("</span>", f);
    }
}

static void put_counts(FILE *f, const struct result *r)
{
    int count[CLAIM_VERDICTS];
    bool any = false;
    claims_count(r, count);
    for (int v = 0; v < CLAIM_VERDICTS; v++)
        if (count[v]) {
            fprintf(f, "%s<span class=\"count\">%d ", any ? ", " : "", count[v]);
            html_verdict(f, claim_verdict_name((enum claim_verdict)v));
            fputs("</span>", f);
            any = true;
        }
    if (!any)
        fputs("no claims", f);
}

static void claims_section(FILE *f, const struct page *p)
{
    size_t i;
    json_t *c;
    const json_t *list = json_object_get(p->r.doc, "claims");
    fputs("<section id=\"claims\">\n<h2>Claims</h2>\n", f);
    if (!json_array_size(list)) {
        fputs("<p>The paper has no claims.json; tables and figures stand below.</p>\n</section>\n",
              f);
        return;
    }
    fputs("<p>", f);
    put_counts(f, &p->r);
    fputs(".</p>\n<p class=\"dim\">The interval is 95 %. TREND_HOLDS: the weaker rule for another "
          "GPU was met. Rows of role own never decide a claim.</p>\n"
          "<div class=\"box\" role=\"region\" tabindex=\"0\" aria-label=\"claims\">"
          "<table class=\"sort cards claims\">\n<thead><tr><th scope=\"col\">claim</th>"
          "<th scope=\"col\">reported</th><th scope=\"col\">measured [95 %]</th>"
          "<th scope=\"col\">GPU reported</th><th scope=\"col\">GPU used</th>"
          "<th scope=\"col\">verdict</th><th scope=\"col\">why</th>"
          "<th scope=\"col\">how to reproduce</th></tr></thead>\n<tbody>\n",
          f);
    json_array_foreach(list, i, c)
    {
        char experiment[NAME], cache[NAME], command[1024];
        source_of(p, c, experiment, cache);
        fputs("<tr><th scope=\"row\">", f);
        put_claim(f, c);
        fputs("</th><td data-label=\"reported\">", f);
        put_reported(f, c);
        fputs("</td><td data-label=\"measured\">", f);
        put_measured(f, c);
        fputs("</td><td data-label=\"GPU reported\">", f);
        put_gpu(f, c);
        fputs("</td><td data-label=\"GPU used\">", f);
        html_text(f, result_text(c, "gpu_used"));
        fputs("</td><td data-label=\"verdict\">", f);
        html_verdict(f, result_text(c, "verdict"));
        fputs("</td><td class=\"wide\" data-label=\"why\">", f);
        put_why(f, c);
        fputs("</td><td data-label=\"how to reproduce\">", f);
        if (*experiment) {
            run_command(p, experiment, cache, "", command, sizeof command);
            fputs("<details><summary>command</summary><code>build/claimbench claims \"$(", f);
            html_text(f, command);
            fputs(")\"</code></details>", f);
            if (result_experiment(&p->r, experiment)) {
                fputs("<a href=\"#e-", f);
                html_text(f, experiment);
                fputs("\">", f);
                html_text(f, experiment);
                fputs("</a>", f);
            }
        } else {
            fputs("no experiment measures it", f);
        }
        fputs("</td></tr>\n", f);
    }
    fputs("</tbody></table></div>\n<p>Data: ", f);
    fprintf(f, "<a href=\"%s/tables/claims.tsv\">claims.tsv</a></p>\n</section>\n", p->name);
}

/* ---- figures ---- */

/* `name = "value"` of a driver. */
static void driver_text(const char *driver, const char *name, char *value, size_t size)
{
    char key[64];
    snprintf(key, sizeof key, "\n%s = \"", name);
    const char *at = strstr(driver, key);
    size_t n = at ? strcspn(at + strlen(key), "\"\n") : 0;
    snprintf(value, size, "%.*s", (int)n, at ? at + strlen(key) : "");
}

static int figure(FILE *f, const struct page *p, int index, const char *ids)
{
    const char *name = p->figure[index];
    char path[2 * PATH], title[512], caption[1024], words[2600], prefix[NAME + 64];
    char **data = NULL, *driver, *svg = NULL, *tsv = NULL;
    struct cb_table t = { 0 };
    int status = -1, files = 0;
    snprintf(path, sizeof path, "%s/figures/%s.gp", p->folder, name);
    if (!(driver = html_read(path)))
        return -1;
    driver_text(driver, "title", title, sizeof title);
    driver_text(driver, "caption", caption, sizeof caption);
    snprintf(path, sizeof path, "%s/figures/%s.tsv", p->folder, name);
    if (!access(path, R_OK) && (!(tsv = html_read(path)) || html_tsv(tsv, &t)))
        goto done;
    snprintf(words, sizeof words, "%s. The numbers are in %s.tsv and, where they are few, in the "
             "table below the figure.", caption, name);
    snprintf(path, sizeof path, "%s/figures/%s.svg", p->folder, name);
    if (!access(path, R_OK) && !(svg = html_read(path)))
        goto done;
    fputs("<figure>\n", f);
    snprintf(prefix, sizeof prefix, "%s%s-", ids, name);
    if (svg) {
        fputs("<div class=\"picture\" role=\"region\" tabindex=\"0\" aria-label=\"", f);
        html_text(f, title);
        fputs("\">", f);
        if (html_svg(f, svg, prefix, title, words))
            goto done;
        fputs("</div>\n", f);
    }
    fputs("<figcaption>", f);
    html_text(f, title);
    fputs(". Data: ", f);
    snprintf(path, sizeof path, "%s/figures", p->name);
    if (tsv)
        link_to(f, path, name, "tsv");
    char own[2 * PATH], beside[NAME + 32];
    snprintf(own, sizeof own, "%s/figures", p->folder);
    if ((files = names_in(own, ".tsv", &data)) < 0)
        goto done;
    snprintf(beside, sizeof beside, "%s_reported", name);
    for (int i = 0; i < files; i++)
        if (!strncmp(data[i], beside, strlen(beside))) {
            data[i][strlen(data[i]) - 4] = 0;
            fputs(", ", f);
            link_to(f, path, data[i], "tsv");
        }
    if (svg) {
        fputs("; picture: ", f);
        link_to(f, path, name, "svg");
    }
    fputs("</figcaption>\n", f);
    if (t.columns && t.rows <= TSV_SHOWN) {
        /* with or without a fold of its own: it is the text of the figure */
        bool fold = svg && t.rows <= HTML_FOLD;
        fputs(fold ? "<details><summary>numbers of the figure</summary>\n" : "", f);
        html_table(f, &t, title);
        fputs(fold ? "</details>\n" : "", f);
    }
    fputs("</figure>\n", f);
    status = 0;
done:
    cb_table_free(&t);
    free_names(data, files);
    free(driver);
    free(svg);
    free(tsv);
    return status;
}

/* The experiment a figure belongs to: the longest id that its name begins with. */
static const struct result_experiment *owner(const struct result *r, const char *name)
{
    const struct result_experiment *best = NULL;
    for (int i = 0; i < r->experiment_count; i++) {
        size_t n = strlen(r->experiment[i].id);
        if (!strncmp(name, r->experiment[i].id, n) && name[n] == '_' &&
            (!best || n > strlen(best->id)))
            best = &r->experiment[i];
    }
    return best;
}

/* The next figure of an experiment that is not yet shown and begins so; speedups first. */
static int next_figure(const struct page *p, const struct result_experiment *e, const char *start)
{
    static const char *const order[] = { "speedup", "wins", "fraction", "loss", "wins_all",
                                         "fraction_all", "loss_all", "roofline", NULL };
    int best = -1, rank = 0;
    for (int i = 0; i < p->figures; i++) {
        if (p->shown[i] || owner(&p->r, p->figure[i]) != e ||
            strncmp(p->figure[i], start, strlen(start)))
            continue;
        int k = 0;
        while (order[k] && strcmp(p->figure[i] + strlen(start), order[k]))
            k++;
        if (best < 0 || k < rank) {
            best = i;
            rank = k;
        }
    }
    return best;
}

static int figures_of(FILE *f, const struct page *p, const struct result_experiment *e,
                      const char *start)
{
    for (int i; (i = next_figure(p, e, start)) >= 0;) {
        p->shown[i] = true;
        if (figure(f, p, i, ""))
            return -1;
    }
    return 0;
}

/* ---- experiments ---- */

static int case_commands(FILE *f, const struct page *p, const struct result_experiment *e)
{
    struct cb_table t;
    char command[2048];
    int status = cb_table_init(&t, NULL, 3, (const char *[]){ "case", "status", "command" });
    for (int i = 0; i < p->r.case_count && !status; i++) {
        const struct result_case *c = &p->r.cases[i];
        if (strcmp(c->experiment, e->id))
            continue;
        int row = cb_table_row(&t);
        run_command(p, e->id, c->cache, c->id, command, sizeof command);
        status = row < 0 || cb_table_set(&t, row, 0, "%s", c->id) ||
                         cb_table_set(&t, row, 1, "%s", c->status) ||
                         cb_table_set(&t, row, 2, "%s", command)
                     ? -1
                     : 0;
    }
    if (!status && t.rows)
        html_table(f, &t, "commands, one for each case");
    cb_table_free(&t);
    return status;
}

static int experiment(FILE *f, const struct page *p, const struct result_experiment *e)
{
    char path[2 * PATH], command[1024], start[NAME], *markdown;
    int status = 0, more = 1;
    snprintf(path, sizeof path, "%s/tables/%s.md", p->folder, e->id);
    if (!(markdown = html_read(path)))
        return -1;
    fputs("<section id=\"e-", f);
    html_text(f, e->id);
    fputs("\">\n<h2>", f);
    html_put(f, "%s: %s", e->id, e->title);
    fputs("</h2>\n", f);
    status = html_markdown(f, markdown, 0);
    for (int k = 0; !status; k++) {
        struct view v;
        if ((more = view_open(&p->r, e, k, &v)) <= 0)
            break;
        bool steady = !*v.regime || !strcmp(v.regime, "steady");
        fputs("<h3>", f);
        html_put(f, "%s, %s%s%s%s", e->id,
                 !v.timed ? "figures" : *v.cache ? "cache " : "",
                 v.timed ? v.cache : "", steady ? "" : ", ", steady ? "" : v.regime);
        fputs("</h3>\n", f);
        snprintf(start, sizeof start, "%s%s%s%s%s_", e->id, *v.cache ? "_" : "", v.cache,
                 steady ? "" : "_", steady ? "" : v.regime);
        status = figures_of(f, p, e, start) || html_markdown(f, markdown, k + 1) ? -1 : 0;
        view_close(&v);
    }
    free(markdown);
    if (status || more < 0)
        return -1;
    bool any = false;
    for (int i = 0; i < p->r.case_count && !any; i++)
        any = !strcmp(p->r.cases[i].experiment, e->id);
    if (!any)
        fputs("<p>No case of it is in this result.</p>\n", f);
    if (figures_of(f, p, e, e->id)) /* of no view above: none is lost */
        return -1;
    snprintf(path, sizeof path, "%s/tables", p->name);
    fputs("<p>Data: ", f);
    link_to(f, path, e->id, "tsv");
    fputs(", ", f);
    link_to(f, path, e->id, "md");
    fputs(".</p>\n<p>Reproduce it:</p>\n<pre>", f);
    run_command(p, e->id, "", "", command, sizeof command);
    html_text(f, command);
    fputs("</pre>\n", f);
    status = case_commands(f, p, e);
    fputs("</section>\n", f);
    return status;
}

/* ---- environment, flags, commands ---- */

/* Every leaf of a document as a line "a.b.0 | value". */
static int flatten(struct cb_table *t, const char *name, const json_t *value)
{
    char path[512];
    const char *key;
    size_t i;
    json_t *one;
    int status = 0;
    if (json_is_object(value)) {
        /* by name, since the order of a document says nothing */
        json_t *sorted = json_object();
        json_object_foreach((json_t *)value, key, one) json_object_set(sorted, key, one);
        size_t n = json_object_size(sorted), k = 0;
        const char **keys = malloc((n + 1) * sizeof *keys);
        json_object_foreach(sorted, key, one) if (keys) keys[k++] = key;
        if (keys)
            qsort(keys, k, sizeof *keys, by_name);
        else
            status = cb_error("no memory for a page");
        for (size_t j = 0; j < k && !status; j++) {
            snprintf(path, sizeof path, "%s%s%s", name, *name ? "." : "", keys[j]);
            status = flatten(t, path, json_object_get(sorted, keys[j]));
        }
        free(keys);
        json_decref(sorted);
        return status;
    }
    if (json_is_array(value) && json_array_size(value) && json_array_size(value) <= 16) {
        json_array_foreach((json_t *)value, i, one)
        {
            snprintf(path, sizeof path, "%s.%zu", name, i);
            if (!status)
                status = flatten(t, path, one);
        }
        return status;
    }
    int row = cb_table_row(t);
    if (row < 0 || cb_table_set(t, row, 0, "%s", name))
        return -1;
    if (json_is_string(value))
        return cb_table_set(t, row, 1, "%s", json_string_value(value));
    if (json_is_integer(value))
        return cb_table_set(t, row, 1, "%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return cb_table_set(t, row, 1, "%.9g", json_real_value(value));
    if (json_is_boolean(value))
        return cb_table_set(t, row, 1, "%s", json_is_true(value) ? "yes" : "no");
    if (json_is_array(value))
        return cb_table_set(t, row, 1, "%zu entries", json_array_size(value));
    return cb_table_set(t, row, 1, "not known");
}

static int whole(FILE *f, const char *name, const json_t *object)
{
    struct cb_table t;
    int status = cb_table_init(&t, NULL, 2, (const char *[]){ "field", "value" });
    if (!status && !(status = flatten(&t, "", object)) && t.rows) {
        bool fold = t.rows <= HTML_FOLD;
        if (fold) {
            fputs("<details><summary>", f);
            html_text(f, name);
            fputs("</summary>\n", f);
        }
        html_table(f, &t, name);
        fputs(fold ? "</details>\n" : "", f);
    }
    cb_table_free(&t);
    return status;
}

/* The lines of the environment by which results differ: also the rows of the index. */
static const char *const facts[] = { "GPU",     "driver", "CUDA",        "nvcc",      "libraries",
                                     "clock",   "power",  "memory",      "host",      "system",
                                     "commit",  "profile", "invocations", "measured", NULL };

static void fact(const struct page *p, int which, char *text, size_t size)
{
    const json_t *env = json_object_get(p->r.doc, "env"), *host = json_object_get(env, "host");
    const json_t *gpu = json_array_get(json_object_get(env, "gpu"), 0);
    const json_t *build = json_object_get(env, "build"), *run = json_object_get(p->r.doc, "run");
    const char *key;
    json_t *value;
    size_t n = 0;
    *text = 0;
    switch (which) {
    case 0:
        snprintf(text, size, "%s", p->r.gpu);
        if (gpu && n < size)
            snprintf(text, size, "%s, compute capability %s, %.0f SMs", p->r.gpu,
                     result_text(gpu, "cc"), result_number(gpu, "sm_count", 0));
        break;
    case 1:
        snprintf(text, size, "%s", p->r.driver);
        break;
    case 2:
        snprintf(text, size, "%s", p->r.cuda);
        break;
    case 3:
        snprintf(text, size, "%s", result_text(env, "nvcc"));
        break;
    case 4:
        json_object_foreach(json_object_get(env, "libs"), key, value) if (
            json_is_string(value) && n < size) n +=
            (size_t)snprintf(text + n, size - n, "%s%s %s", n ? "; " : "", key,
                             json_string_value(value));
        break;
    case 5:
        snprintf(text, size, "%s", p->r.clock_policy);
        if (gpu && result_number(gpu, "max_sm_clock_mhz", 0) > 0)
            snprintf(text, size, "%s%sat most %.0f MHz", p->r.clock_policy,
                     *p->r.clock_policy ? ", " : "", result_number(gpu, "max_sm_clock_mhz", 0));
        break;
    case 6:
        if (gpu && result_number(gpu, "power_limit_w", 0) > 0)
            snprintf(text, size, "limit %.0f W of %.0f W", result_number(gpu, "power_limit_w", 0),
                     result_number(gpu, "default_power_limit_w", 0));
        break;
    case 7:
        if (gpu)
            snprintf(text, size, "%.1f GiB, ECC %s",
                     result_number(gpu, "mem_bytes", 0) / (1024.0 * 1024 * 1024),
                     json_is_true(json_object_get(gpu, "ecc")) ? "on" : "off or not known");
        break;
    case 8:
        snprintf(text, size, "%s, %.0f cores", result_text(host, "cpu"),
                 result_number(host, "cores", 0));
        break;
    case 9:
        snprintf(text, size, "%s, kernel %s", result_text(host, "os"),
                 result_text(host, "kernel"));
        break;
    case 10:
        snprintf(text, size, "%s%s", result_text(build, "commit"),
                 json_is_true(json_object_get(build, "dirty")) ? " (with changes)" : "");
        break;
    case 11:
        snprintf(text, size, "%s%s", p->r.profile,
                 json_is_true(json_object_get(run, "custom")) ? " (custom)" : "");
        break;
    case 12:
        snprintf(text, size, "%d", p->r.invocations);
        break;
    case 13:
        snprintf(text, size, "%s", p->r.started);
        break;
    }
}

static int environment(FILE *f, const struct page *p)
{
    struct cb_table t;
    char text[2048];
    int status = cb_table_init(&t, NULL, 2, (const char *[]){ "what", "value" });
    for (int i = 0; facts[i] && !status; i++) {
        int row = cb_table_row(&t);
        fact(p, i, text, sizeof text);
        status = row < 0 || cb_table_set(&t, row, 0, "%s", facts[i]) ||
                         cb_table_set(&t, row, 1, "%s", *text ? text : "not known")
                     ? -1
                     : 0;
    }
    fputs("<section id=\"environment\">\n<h2>Environment</h2>\n", f);
    if (!status)
        html_table(f, &t, "environment");
    cb_table_free(&t);
    json_t *run = json_copy(json_object_get(p->r.doc, "run")), *policy = NULL;
    if (run) {
        policy = json_incref(json_object_get(run, "policy"));
        json_object_del(run, "planned");
        json_object_del(run, "policy");
    }
    if (!status)
        status = whole(f, "everything recorded of machine and build",
                       json_object_get(p->r.doc, "env")) ||
                         whole(f, "the run", run) || whole(f, "measurement policy", policy) ||
                         whole(f, "measured ceilings", json_object_get(p->r.doc, "ceilings"))
                     ? -1
                     : 0;
    json_decref(run);
    json_decref(policy);
    fputs("</section>\n", f);
    return status;
}

static void count_flags(json_t *counts, const json_t *flags, int what)
{
    size_t i;
    json_t *flag;
    json_array_foreach(flags, i, flag)
    {
        const char *name = json_string_value(flag);
        if (!name)
            continue;
        json_t *n = json_object_get(counts, name);
        if (!n)
            json_object_set_new(counts, name, n = json_pack("[i,i,i,i]", 0, 0, 0, 0));
        json_array_set_new(n, what,
                           json_integer(json_integer_value(json_array_get(n, what)) + 1));
    }
}

/* How often each flag stands, and what it means. */
static int flags_section(FILE *f, const struct page *p)
{
    static const char *const meaning[][2] = {
        { "not_converged", "the interval did not get as narrow as asked; never judged if wide" },
        { "noisy", "robust spread of the samples above 3 %" },
        { "drift", "samples change over the run; ratios within a round still hold" },
        { "bimodal", "two groups of times; the median lies between them" },
        { "spikes", "more than 1 % of samples far above the median; none is dropped" },
        { "throttled", "the device slowed down for heat or power" },
        { "power_capped", "the power limit was reached" },
        { "clock_unstable", "the clock changed while samples were taken" },
        { "other_process", "another process used the device" },
        { "launch_bound", "launching took longer than the work" },
        { "cold_unverified", "the cache may not have been cold" },
        { "gate_off", "launches were not queued behind a gate" },
        { "sass_unverified", "instruction counts are not from the code that ran" },
        { "far", "far slower than the fastest row: measured with fewer rounds" },
        { "remote", "beyond a limit: timed once" },
        { "winner_same_invocation", "winners were chosen and reported on the same samples" },
        { "baseline_version_differs", "the vendor library is not the one of the paper" },
        { "unpaired", "quotient of medians: samples are not stored" },
        { "cases_missing", "some planned cases have no time" },
        { "aa_failed", "one kernel against itself differed: the control failed" },
        { NULL, NULL },
    };
    json_t *counts = json_object(), *c, *n;
    const char *name;
    size_t i;
    struct cb_table t;
    int status = cb_table_init(&t, NULL, 6,
                               (const char *[]){ "flag", "rows", "cases", "claims", "of the run",
                                                 "meaning" });
    for (int k = 0; k < p->r.case_count; k++) {
        count_flags(counts, json_object_get(p->r.cases[k].json, "flags"), 1);
        for (int j = 0; j < p->r.cases[k].row_count; j++)
            count_flags(counts, json_object_get(p->r.cases[k].row[j].json, "flags"), 0);
    }
    json_array_foreach(json_object_get(p->r.doc, "claims"), i, c)
        count_flags(counts, json_object_get(c, "flags"), 2);
    count_flags(counts, json_object_get(json_object_get(p->r.doc, "run"), "flags"), 3);
    const char **names = malloc((json_object_size(counts) + 1) * sizeof *names);
    int total = 0;
    json_object_foreach(counts, name, n) if (names) names[total++] = name;
    if (names)
        qsort(names, total, sizeof *names, by_name);
    else
        status = cb_error("no memory for a page");
    for (int k = 0; k < total && !status; k++) {
        int row = cb_table_row(&t), m = 0;
        while (meaning[m][0] && strcmp(meaning[m][0], names[k]))
            m++;
        status = row < 0 || cb_table_set(&t, row, 0, "%s", names[k]) ||
                         cb_table_set(&t, row, 5, "%s", meaning[m][1] ? meaning[m][1] : "")
                     ? -1
                     : 0;
        n = json_object_get(counts, names[k]);
        for (int q = 0; q < 4 && !status; q++)
            status = cb_table_set(&t, row, q + 1, "%d",
                                  (int)json_integer_value(json_array_get(n, q)));
    }
    fputs("<section id=\"flags\">\n<h2>Flags</h2>\n", f);
    if (!status && t.rows)
        html_table(f, &t, "flags");
    else
        fputs("<p>None was raised.</p>\n", f);
    fputs("</section>\n", f);
    cb_table_free(&t);
    free(names);
    json_decref(counts);
    return status;
}

static void reproduce_section(FILE *f, const struct page *p)
{
    const json_t *build = json_object_get(json_object_get(p->r.doc, "env"), "build");
    const char *argv = result_text(json_object_get(p->r.doc, "run"), "argv");
    char command[1024];
    run_command(p, "", "", "", command, sizeof command);
    fputs("<section id=\"reproduce\">\n<h2>How to reproduce it</h2>\n<pre>", f);
    if (*p->r.commit)
        html_put(f, "git checkout %s\n", p->r.commit);
    fputs("make\n", f);
    html_put(f, "%s\n", command);
    fputs("build/claimbench claims RUN    # the folder that the line above names\n"
          "build/claimbench tables RUN\nbuild/claimbench plots RUN</pre>\n", f);
    if (json_is_true(json_object_get(build, "dirty")))
        fputs("<p>The sources had changes that are in no commit: this result cannot be repeated "
              "exactly.</p>\n", f);
    if (*argv) {
        fputs("<p>Recorded command line", f);
        double pieces = result_number(json_object_get(p->r.doc, "run"), "pieces", 1);
        if (pieces > 1)
            fprintf(f, " of the first of %.0f pieces that were merged", pieces);
        fputs(": <code>", f);
        html_text(f, argv);
        fputs("</code></p>\n", f);
    }
    fputs("<p>Every claim and every experiment above has its own command; a case is chosen with "
          "<code>--case</code>.</p>\n</section>\n", f);
}

static int write_page(const struct page *p, const char *out)
{
    char title[512], path[2 * PATH];
    const char *named = result_text(json_object_get(p->r.doc, "run"), "title");
    snprintf(title, sizeof title, "%s on %s", *named ? named : p->r.paper,
             *p->r.gpu ? p->r.gpu : "an unnamed device");
    FILE *f = begin(out, p->name, title);
    int status = 0;
    if (!f)
        return -1;
    fputs("<header>\n<h1>", f);
    html_text(f, title);
    fputs("</h1>\n<p class=\"dim\">", f);
    html_put(f, "Suite %s, run %s, %s, profile %s%s, %s.", p->r.paper, p->r.id, p->r.started,
             p->r.profile,
             json_is_true(json_object_get(json_object_get(p->r.doc, "run"), "custom"))
                 ? " (custom)"
                 : "",
             p->r.status);
    fputs("</p>\n<nav aria-label=\"page\"><ul><li><a href=\"index.html\">all results</a></li>"
          "<li><a href=\"#claims\">claims</a></li>", f);
    for (int i = 0; i < p->r.experiment_count; i++) {
        fputs("<li><a href=\"#e-", f);
        html_text(f, p->r.experiment[i].id);
        fputs("\">", f);
        html_text(f, p->r.experiment[i].id);
        fputs("</a></li>", f);
    }
    fputs("<li><a href=\"#environment\">environment</a></li><li><a href=\"#flags\">flags</a></li>"
          "<li><a href=\"#reproduce\">reproduce</a></li></ul></nav>\n</header>\n<main>\n", f);
    claims_section(f, p);
    for (int i = 0; i < p->r.experiment_count && !status; i++)
        status = experiment(f, p, &p->r.experiment[i]);
    snprintf(path, sizeof path, "%s/tables/reported.md", p->folder);
    if (!status && !access(path, R_OK)) {
        char *text = html_read(path);
        fputs("<section id=\"reported\">\n<h2>Reported, not measured</h2>\n", f);
        status = text ? html_markdown(f, text, 0) : -1;
        fputs("</section>\n", f);
        free(text);
    }
    if (!status)
        status = environment(f, p) || flags_section(f, p) ? -1 : 0;
    reproduce_section(f, p);
    return end(f, p->name, status);
}

/* ---- all results ---- */

static void index_claims(FILE *f, struct page *const *p, int n)
{
    fputs("<div class=\"box\" role=\"region\" tabindex=\"0\" aria-label=\"claims\">"
          "<table class=\"sort cards claims\">\n<thead><tr><th scope=\"col\">claim</th>"
          "<th scope=\"col\">reported</th><th scope=\"col\">GPU reported</th>", f);
    for (int k = 0; k < n; k++) {
        fputs("<th scope=\"col\">", f);
        html_put(f, "%s, measured [95 %%]", p[k]->r.gpu);
        fputs("</th><th scope=\"col\">verdict, why</th>", f);
    }
    fputs("</tr></thead>\n<tbody>\n", f);
    for (int first = 0; first < n; first++) { /* each claim where it occurs first */
        size_t i;
        json_t *c;
        json_array_foreach(json_object_get(p[first]->r.doc, "claims"), i, c)
        {
            const char *id = result_text(c, "id");
            bool earlier = false;
            for (int k = 0; k < first; k++)
                earlier = earlier ||
                          with_id(json_object_get(p[k]->r.doc, "claims"), id, strlen(id));
            if (earlier)
                continue;
            fputs("<tr><th scope=\"row\">", f);
            put_claim(f, c);
            fputs("</th><td data-label=\"reported\">", f);
            put_reported(f, c);
            fputs("</td><td data-label=\"GPU reported\">", f);
            put_gpu(f, c);
            fputs("</td>", f);
            for (int k = 0; k < n; k++) {
                const json_t *mine =
                    with_id(json_object_get(p[k]->r.doc, "claims"), id, strlen(id));
                fputs("<td data-label=\"", f);
                html_put(f, "%s", p[k]->r.gpu);
                fputs("\">", f);
                if (mine)
                    put_measured(f, mine);
                fputs("</td><td class=\"wide\" data-label=\"verdict\">", f);
                if (mine) {
                    html_verdict(f, result_text(mine, "verdict"));
                    fputs(" <span class=\"why\">", f);
                    html_text(f, result_text(mine, "reason"));
                    fputs("</span>", f);
                }
                fputs("</td>", f);
            }
            fputs("</tr>\n", f);
        }
    }
    fputs("</tbody></table></div>\n", f);
}

static int index_environment(FILE *f, struct page *const *p, int n)
{
    struct cb_table t;
    const char **head = malloc((n + 1) * sizeof *head);
    char text[2048];
    if (!head)
        return cb_error("no memory for a page");
    head[0] = "what";
    for (int k = 0; k < n; k++)
        head[k + 1] = p[k]->name;
    int status = cb_table_init(&t, "Environments side by side", n + 1, head);
    for (int i = 0; facts[i] && !status; i++) {
        int row = cb_table_row(&t);
        status = row < 0 || cb_table_set(&t, row, 0, "%s", facts[i]) ? -1 : 0;
        for (int k = 0; k < n && !status; k++) {
            fact(p[k], i, text, sizeof text);
            status = cb_table_set(&t, row, k + 1, "%s", *text ? text : "not known");
        }
    }
    if (!status)
        html_table(f, &t, "environments");
    cb_table_free(&t);
    free(head);
    return status;
}

static int index_paper(FILE *f, struct page *page, int count, int first)
{
    const char *paper = page[first].r.paper;
    const char *title = result_text(json_object_get(page[first].r.doc, "run"), "title");
    struct page **p = malloc(count * sizeof *p);
    int n = 0, status = 0;
    if (!p)
        return cb_error("no memory for a page");
    for (int i = first; i < count; i++)
        if (!strcmp(page[i].r.paper, paper))
            p[n++] = &page[i];
    fputs("<section id=\"p-", f);
    html_text(f, paper);
    fputs("\">\n<h2>", f);
    html_text(f, *title ? title : paper);
    fputs("</h2>\n<ul>\n", f);
    for (int k = 0; k < n; k++) {
        fprintf(f, "<li><a href=\"%s.html\">", p[k]->name);
        html_put(f, "%s on %s", paper, *p[k]->r.gpu ? p[k]->r.gpu : "an unnamed device");
        fputs("</a>, ", f);
        html_put(f, "%s, %d cases: ", p[k]->r.started, p[k]->r.case_count);
        put_counts(f, &p[k]->r);
        fputs("</li>\n", f);
    }
    fputs("</ul>\n", f);
    bool claims = false;
    for (int k = 0; k < n; k++)
        claims = claims || json_array_size(json_object_get(p[k]->r.doc, "claims"));
    if (claims)
        index_claims(f, p, n);
    for (int k = 0; k < n && !status; k++) { /* the headline of each; all are on its page */
        int head = -1;
        for (int i = 0; i < p[k]->r.experiment_count && head < 0; i++)
            for (int q = 0; q < p[k]->figures && head < 0; q++)
                if (owner(&p[k]->r, p[k]->figure[q]) == &p[k]->r.experiment[i] &&
                    ends_with(p[k]->figure[q], "_hot_speedup"))
                    head = q;
        char ids[NAME + 2];
        snprintf(ids, sizeof ids, "%s-", p[k]->name);
        if (head >= 0)
            status = figure(f, p[k], head, ids);
    }
    if (!status)
        status = index_environment(f, p, n);
    fputs("</section>\n", f);
    free(p);
    return status;
}

static int write_index(struct page *page, int count, const char *out)
{
    FILE *f = begin(out, "index", "claimbench: claims of papers, measured again");
    int status = 0;
    if (!f)
        return -1;
    fputs("<header>\n<h1>Claims of papers, measured again</h1>\n<p>", f);
    fprintf(f, "%d result%s. Reported values come from the papers; verdicts hold for the GPU "
               "named.</p>\n", count, count == 1 ? "" : "s");
    fputs("<p class=\"dim\">", f);
    static const char *const means[] = {
        "on the paper's GPU, or where none matters, rule met", "another GPU, its weaker rule met",
        "rule not met", "no rule for this GPU", "needs what is not here", "too noisy to judge",
        "no experiment, or not run"
    };
    for (int v = 0; v < CLAIM_VERDICTS; v++) {
        fputs(v ? "; " : "", f);
        html_verdict(f, claim_verdict_name((enum claim_verdict)v));
        html_put(f, ": %s", means[v]);
    }
    fputs(".</p>\n</header>\n<main>\n", f);
    for (int i = 0; i < count && !status; i++) {
        bool earlier = false;
        for (int k = 0; k < i; k++)
            earlier = earlier || !strcmp(page[k].r.paper, page[i].r.paper);
        if (!earlier)
            status = index_paper(f, page, count, i);
    }
    return end(f, "index", status);
}

/* ---- loading ---- */

static int load(const char *path, const struct page *others, int count, struct page *p,
                const char *out)
{
    char place[PATH], base[NAME - 16], slug[64] = "";
    *p = (struct page){ .given = path };
    if (result_load(path, &p->r))
        return -1;
    cb_slug(p->r.gpu, slug, sizeof slug);
    snprintf(base, sizeof base, "%s_", *slug ? slug : "host");
    size_t n = strlen(base);
    for (const char *s = p->r.paper; *s && n + 1 < sizeof base; s++) /* fit for files and links */
        base[n++] = strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", *s) ? *s : '-';
    base[n] = 0;
    bool taken = true;
    for (int k = 1; taken; k++) {
        snprintf(p->name, sizeof p->name, k > 1 ? "%s_%d" : "%s", base, k);
        taken = false;
        for (int i = 0; i < count; i++)
            taken = taken || !strcmp(others[i].name, p->name);
    }
    snprintf(p->folder, sizeof p->folder, "%.*s/%s", PATH - NAME - 2, out, p->name);
    if (*p->r.paper && *p->r.paper != '.' && !strchr(p->r.paper, '/')) {
        char relative[NAME];
        snprintf(relative, sizeof relative, "suites/%.200s/claims.json", p->r.paper);
        home_path(relative, place, sizeof place);
        /* judged by the rules of today, as `claimbench claims` does; by those of its time
         * where there are none */
        if (!access(place, R_OK)) {
            json_error_t error;
            if (claims_judge(&p->r, NULL))
                return -1;
            if (!(p->claims = json_load_file(place, 0, &error)))
                return cb_error("%s:%d: %s", place, error.line, error.text);
        }
    }
    return 0;
}

/* Tables and figures, as the verbs of that name write them. */
static int draw(struct page *p)
{
    char folder[PATH + 16], path[PATH + 64];
    int n;
    snprintf(folder, sizeof folder, "%s/tables", p->folder);
    if (report_folder(folder) || clear(folder) || report_tables(p->given, folder, "md"))
        return -1;
    static const enum cb_format format[] = { CB_MARKDOWN, CB_TSV };
    for (int i = 0; i < 2; i++) { /* with the verdicts of the page */
        snprintf(path, sizeof path, "%s/claims.%s", folder, cb_format_extension(format[i]));
        FILE *f = fopen(path, "w");
        if (!f)
            return cb_error("%s: %s", path, strerror(errno));
        int status = claims_print(&p->r, format[i], f);
        bool failed = ferror(f);
        if ((fclose(f) || failed) && !status)
            status = cb_error("%s: not written whole", path);
        if (status)
            return -1;
    }
    snprintf(folder, sizeof folder, "%s/figures", p->folder);
    if (report_folder(folder) || clear(folder) || report_plots(p->given, folder) ||
        (n = names_in(folder, ".gp", &p->figure)) < 0)
        return -1;
    p->figures = n;
    for (int i = 0; i < n; i++)
        p->figure[i][strlen(p->figure[i]) - 3] = 0;
    p->shown = calloc(n + 1, sizeof *p->shown);
    return p->shown ? 0 : cb_error("no memory for a page");
}

static void free_page(struct page *p)
{
    result_free(&p->r);
    json_decref(p->claims);
    free_names(p->figure, p->figures);
    free(p->shown);
}

/* RECORDED/GPU/PAPER with a file `recorded`, sorted; their number or -1. */
static int find_recorded(const char *top, char ***out)
{
    char **gpu = NULL, **list = NULL;
    int gpus = names_in(top, "", &gpu), n = 0, status = gpus < 0 ? -1 : 0;
    for (int g = 0; g < gpus && !status; g++) {
        char folder[PATH], path[2 * PATH], **paper = NULL;
        snprintf(folder, sizeof folder, "%s/%s", top, gpu[g]);
        int papers = names_in(folder, "", &paper);
        for (int k = 0; k < papers && !status; k++) {
            snprintf(path, sizeof path, "%s/%s/recorded", folder, paper[k]);
            if (access(path, R_OK))
                continue;
            *strrchr(path, '/') = 0;
            char **more = realloc(list, (n + 1) * sizeof *list);
            list = more ? more : list;
            if (more && (list[n] = strdup(path)))
                n++;
            else
                status = cb_error("%s: no memory", path);
        }
        if (papers < 0)
            status = -1;
        free_names(paper, papers);
    }
    free_names(gpu, gpus);
    if (!status && !n)
        status = cb_error("%s: holds no recorded result", top);
    if (status) {
        free_names(list, n);
        return -1;
    }
    *out = list;
    return n;
}

int html_write(const char *const *result, int count, const char *recorded, const char *out)
{
    char **found = NULL;
    int finds = 0, loaded = 0, status = 0;
    if (!count) {
        if ((finds = find_recorded(recorded, &found)) < 0)
            return -1;
        result = (const char *const *)found;
        count = finds;
    }
    struct page *page = calloc(count, sizeof *page);
    if (!page)
        status = cb_error("no memory for pages");
    if (!status)
        status = report_folder(out);
    while (!status && loaded < count) {
        struct page *p = &page[loaded];
        status = load(result[loaded], page, loaded, p, out);
        loaded++;
        if (!status)
            status = draw(p) || write_page(p, out) ? -1 : 0;
    }
    if (!status)
        status = write_index(page, count, out);
    for (int i = 0; i < loaded; i++)
        free_page(&page[i]);
    free(page);
    free_names(found, finds);
    return status;
}

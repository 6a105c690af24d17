/* artifact.c - README, appendix and tables of an artifact package. */
#define _GNU_SOURCE /* vasprintf */
#include "artifact.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/env.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/table.h"
#include "claims.h"
#include "home.h"
#include "report.h"
#include "suite.h"

enum { RESULTS_MAX = 8, TEXT_MAX = 512 };

/* What is written about: the suite and the results behind it. */
struct artifact {
    const char *paper, *folder;
    struct suite suite, reproduce;   /* with the problems of the profiles full and reproduce */
    json_t *claims;                  /* claims.json; NULL: none */
    struct result run[RESULTS_MAX];  /* recorded ones */
    int runs;
    double smoke_s;                  /* of the smoke test on smoke_on; 0: not measured */
    char smoke_on[128], inputs[TEXT_MAX]; /* inputs: how many from where */
};

/* ---- a document in two languages ---- */

struct doc {
    FILE *md, *tex; /* tex: NULL: Markdown alone */
    bool list;      /* inside one */
};

static char *format_text(const char *format, va_list list)
{
    char *text = NULL;
    if (vasprintf(&text, format, list) < 0)
        text = NULL;
    return text;
}

/* Markdown as it is; LaTeX escaped, with `code` in a fixed pitch. */
static void emit(struct doc *d, const char *text)
{
    fputs(text, d->md);
    for (bool code = false; d->tex && *text;) {
        size_t n = strcspn(text, "`");
        char *part = strndup(text, n);
        if (part)
            cb_write_latex(part, d->tex);
        free(part);
        text += n;
        if (*text == '`') {
            fputs(code ? "}" : "\\texttt{", d->tex);
            code = !code;
            text++;
        }
    }
}

static void end_list(struct doc *d)
{
    if (d->list && d->tex)
        fputs("\\end{itemize}\n", d->tex);
    d->list = false;
}

static void heading(struct doc *d, int level, const char *text)
{
    end_list(d);
    fprintf(d->md, "\n%.*s %s\n\n", level, "######", text);
    if (d->tex)
        fprintf(d->tex, "\n\\%ssection{%s}\n", level > 2 ? "subsub" : level > 1 ? "sub" : "", text);
}

static void paragraph(struct doc *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void paragraph(struct doc *d, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    char *text = format_text(format, list);
    va_end(list);
    end_list(d);
    emit(d, text ? text : "");
    fputs("\n\n", d->md);
    if (d->tex)
        fputs("\n\n", d->tex);
    free(text);
}

/* One entry of a list; name may be "". */
static void item(struct doc *d, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void item(struct doc *d, const char *name, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    char *text = format_text(format, list);
    va_end(list);
    if (!d->list && d->tex)
        fputs("\\begin{itemize}\n", d->tex);
    d->list = true;
    const char *colon = *name && name[strlen(name) - 1] == '?' ? "" : ":";
    if (*name)
        fprintf(d->md, "- **%s%s** ", name, colon);
    else
        fputs("- ", d->md);
    if (d->tex)
        fputs("\\item ", d->tex);
    if (d->tex && *name) {
        fputs("\\textbf{", d->tex);
        cb_write_latex(name, d->tex);
        fprintf(d->tex, "%s} ", colon);
    }
    emit(d, text ? text : "");
    fputc('\n', d->md);
    if (d->tex)
        fputc('\n', d->tex);
    free(text);
}

static void commands(struct doc *d, const char *text)
{
    end_list(d);
    fprintf(d->md, "```sh\n%s```\n\n", text);
    if (d->tex)
        fprintf(d->tex, "\\begin{verbatim}\n%s\\end{verbatim}\n", text);
}

/* ---- facts ---- */

static const json_t *env_of(const struct result *r)
{
    return json_object_get(r->doc, "env");
}

static const json_t *gpu_of(const struct result *r)
{
    return json_array_get(json_object_get(env_of(r), "gpu"), 0);
}

static void slug_of(const struct result *r, char *out, size_t size)
{
    snprintf(out, size, "host");
    if (gpu_of(r))
        cb_slug(r->gpu, out, size);
}

/* Seconds that the cases of an experiment took ("": of all); the time of a case is that of
 * its first invocation, and later ones take no longer. */
static double seconds_of(const struct result *r, const char *experiment)
{
    double s = 0;
    for (int i = 0; i < r->case_count; i++)
        if (!*experiment || !strcmp(r->cases[i].experiment, experiment))
            s += result_number(r->cases[i].json, "wall_s", 0) *
                 fmax(1, result_number(r->cases[i].json, "invocations", 1));
    return s;
}

static int cases_of(const struct result *r, const char *experiment)
{
    int n = 0;
    for (int i = 0; i < r->case_count; i++)
        n += !strcmp(r->cases[i].experiment, experiment);
    return n;
}

static const char *duration(double s, char text[32])
{
    if (!(s > 0))
        snprintf(text, 32, "not measured");
    else if (s < 90)
        snprintf(text, 32, "%.0f s", ceil(s));
    else
        snprintf(text, 32, "%.0f min", ceil(s / 60));
    return text;
}

static double seconds_between(const char *from, const char *to)
{
    struct {
        int y, m, d, h, min, s;
    } t[2];
    const char *text[] = { from, to };
    double at[2];
    for (int i = 0; i < 2; i++) {
        if (sscanf(text[i], "%d-%d-%dT%d:%d:%d", &t[i].y, &t[i].m, &t[i].d, &t[i].h, &t[i].min,
                   &t[i].s) != 6)
            return 0;
        int y = t[i].m < 3 ? t[i].y - 1 : t[i].y, m = (t[i].m + 9) % 12; /* years from March */
        at[i] = (365.0 * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + t[i].d) * 86400 +
                t[i].h * 3600 + t[i].min * 60 + t[i].s;
    }
    return at[1] - at[0];
}

/* Smallest compute capability that a row of the suite asks for, x 10; 0: the host will do. */
static int least_sm(const struct suite *s)
{
    int least = 0;
    for (int e = 0; e < s->experiment_count; e++)
        for (int i = 0; s->experiments[e].impl[i]; i++) {
            int sm = s->experiments[e].impl[i]->sm_min;
            if (sm > 0 && (!least || sm < least))
                least = sm;
        }
    return least;
}

/* One line about GPU, driver and host. */
static void machine_text(const struct result *r, char *text, size_t size)
{
    const json_t *gpu = gpu_of(r), *host = json_object_get(env_of(r), "host");
    if (gpu)
        snprintf(text, size, "%s (%.0f GB, compute capability %s, power limit %.0f W), driver %s,"
                 " CUDA %s; host %s, %.0f cores, %.0f GB, %s", r->gpu, r->memory_bytes / 1e9, r->cc,
                 result_number(gpu, "power_limit_w", 0), r->driver, r->cuda,
                 result_text(host, "cpu"), result_number(host, "cores", 0),
                 result_number(host, "mem_bytes", 0) / 1e9, result_text(host, "os"));
    else
        snprintf(text, size, "host %s, %.0f cores, %.0f GB, %s", result_text(host, "cpu"),
                 result_number(host, "cores", 0), result_number(host, "mem_bytes", 0) / 1e9,
                 result_text(host, "os"));
}

/* What a rule of claims.json lets pass, in words. */
static void rule_text(const json_t *rule, char *text, size_t size)
{
    const char *type = result_text(rule, "type");
    double x = result_number(rule, "x", NAN), v = result_number(rule, "value", NAN);
    const json_t *range = json_object_get(rule, "range");
    if (!rule || json_is_null(rule))
        snprintf(text, size, "-");
    else if (!strcmp(type, "ratio_within") || !strcmp(type, "absolute_within"))
        snprintf(text, size, "within %.3g %% of reported", 100 * x);
    else if (!strcmp(type, "greater_than") || !strcmp(type, "less_than"))
        snprintf(text, size, "%s %.6g", *type == 'g' ? "above" : "below", v);
    else if (!strcmp(type, "range"))
        snprintf(text, size, "80 %% of the cases in [%.6g, %.6g]",
                 json_number_value(json_array_get(range, 0)),
                 json_number_value(json_array_get(range, 1)));
    else if (!strcmp(type, "order"))
        snprintf(text, size, "same order on 90 %% of the points");
    else if (!strcmp(type, "trend"))
        snprintf(text, size, "Kendall tau with reported at least 0.8");
    else if (!strcmp(type, "crossover"))
        snprintf(text, size, "crossing within one step of reported");
    else if (!strcmp(type, "accuracy_delta"))
        snprintf(text, size, "at most %.6g worse than reported", result_number(rule, "d", NAN));
    else
        snprintf(text, size, "%s", type);
}

/* The claim of claims.json with that id; NULL: none. */
static const json_t *rules_of(const struct artifact *a, const char *id)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(a->claims, "claims"), i, c)
        if (!strcmp(result_text(c, "id"), id))
            return json_object_get(c, "rules");
    return NULL;
}

static void number_text(const json_t *o, const char *key, char text[CB_NUMBER_MAX])
{
    cb_number(result_number(o, key, NAN), 4, text);
}

/* ---- the machine-readable parts ---- */

static FILE *open_in(const struct artifact *a, const char *name)
{
    char path[4500];
    snprintf(path, sizeof path, "%s/%s", a->folder, name);
    FILE *f = fopen(path, "w");
    if (!f)
        cb_error("%s: cannot be written: %s", path, strerror(errno));
    return f;
}

static int close_of(FILE *f, const char *name)
{
    bool bad = ferror(f);
    return fclose(f) || bad ? cb_error("%s: not written whole", name) : 0;
}

static int write_claims(const struct artifact *a)
{
    static const char *const head[] = { "result", "claim", "locator", "reported", "unit",
                                        "gpu_reported", "measured", "low", "high", "verdict",
                                        "same_gpu", "same_architecture", "other_gpu" };
    static const char *const class[] = { "same", "same_arch", "other_arch" };
    enum { COLUMNS = sizeof head / sizeof *head };
    struct cb_table t;
    char path[4500];
    int status = cb_table_init(&t, NULL, COLUMNS, head);
    for (int r = 0; r < a->runs && !status; r++) {
        char slug[64];
        size_t i;
        json_t *c;
        slug_of(&a->run[r], slug, sizeof slug);
        json_array_foreach(json_object_get(a->run[r].doc, "claims"), i, c)
        {
            char number[4][CB_NUMBER_MAX], rule[3][TEXT_MAX];
            const json_t *ci = json_object_get(c, "ci95");
            int row = cb_table_row(&t);
            number_text(c, "reported", number[0]);
            number_text(c, "measured", number[1]);
            for (int k = 0; k < 2; k++)
                cb_number(json_is_number(json_array_get(ci, k))
                              ? json_number_value(json_array_get(ci, k))
                              : NAN, 4, number[2 + k]);
            for (int k = 0; k < 3; k++)
                rule_text(json_object_get(rules_of(a, result_text(c, "id")), class[k]), rule[k],
                          TEXT_MAX);
            const char *cell[COLUMNS] = { slug, result_text(c, "id"), result_text(c, "locator"),
                                          number[0], result_text(c, "unit"),
                                          result_text(c, "gpu_reported"), number[1], number[2],
                                          number[3], result_text(c, "verdict"), rule[0], rule[1],
                                          rule[2] };
            for (int k = 0; k < COLUMNS && !status; k++)
                status = row < 0 || cb_table_set(&t, row, k, "%s", cell[k]) ? -1 : 0;
        }
    }
    snprintf(path, sizeof path, "%s/expected/claims.tsv", a->folder);
    if (!status)
        status = cb_table_save(&t, CB_TSV, path);
    cb_table_free(&t);
    return status;
}

/* Inputs of all cases, each once, in the order of their appearance. */
static int write_inputs(struct artifact *a)
{
    static const char *const head[] = { "name", "generator", "source", "type", "shape", "sha256" };
    struct cb_table t;
    char path[4500];
    json_t *seen = json_object(), *sources = json_object();
    int status = cb_table_init(&t, NULL, 6, head);
    for (int r = 0; r < a->runs; r++)
        for (int c = 0; c < a->run[r].case_count; c++) {
            size_t i;
            json_t *in;
            json_array_foreach(json_object_get(a->run[r].cases[c].json, "inputs"), i, in)
            {
                char *shape = json_dumps(json_object_get(in, "shape"), JSON_COMPACT);
                char key[600];
                snprintf(key, sizeof key, "%s|%.300s|%.100s|%.70s", result_text(in, "name"),
                         result_text(in, "gen"), shape ? shape : "", result_text(in, "sha256"));
                int row = json_object_get(seen, key) ? -1 : cb_table_row(&t);
                json_object_set_new(seen, key, json_true());
                const char *from = result_text(in, "source");
                if (row > 0)
                    json_object_set_new(sources, *from ? from : "?",
                                        json_integer(1 + json_integer_value(json_object_get(
                                                             sources, *from ? from : "?"))));
                const char *cell[] = { result_text(in, "name"), result_text(in, "gen"),
                                       result_text(in, "source"), result_text(in, "dtype"),
                                       shape ? shape : "", result_text(in, "sha256") };
                for (int k = 0; k < 6 && row > 0 && !status; k++)
                    status = cb_table_set(&t, row, k, "%s", cell[k]);
                free(shape);
            }
        }
    snprintf(path, sizeof path, "%s/data/inputs.tsv", a->folder);
    if (!status)
        status = cb_table_save(&t, CB_TSV, path);
    const char *from;
    json_t *count;
    size_t n = (size_t)snprintf(a->inputs, sizeof a->inputs, "%d inputs", t.rows);
    json_object_foreach(sources, from, count)
        if (n < sizeof a->inputs)
            n += (size_t)snprintf(a->inputs + n, sizeof a->inputs - n, ", %d %s",
                                  (int)json_integer_value(count), from);
    cb_table_free(&t);
    json_decref(seen);
    json_decref(sources);
    return status;
}

static int write_environment(const struct artifact *a)
{
    json_t *all = json_array();
    char path[4500];
    for (int r = 0; r < a->runs; r++) {
        const json_t *run = json_object_get(a->run[r].doc, "run");
        json_array_append_new(all, json_pack("{s:s, s:s, s:O, s:O, s:O?}", "run", a->run[r].id,
                                             "gpu", a->run[r].gpu, "policy",
                                             json_object_get(run, "policy"), "env",
                                             env_of(&a->run[r]), "machines",
                                             json_object_get(run, "machines")));
    }
    snprintf(path, sizeof path, "%s/env/environment.json", a->folder);
    int status = json_dump_file(all, path,
                                JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(all);
    return status ? cb_error("%s: cannot be written", path) : 0;
}

static int write_zenodo(const struct artifact *a)
{
    json_t *o = json_pack(
        "{s:s+++, s:s, s:s, s:s, s:s, s:s, s:[{s:s}], s:[s,s,s,s]}", "title",
        "Artifact of claimbench: ", a->suite.title[0] ? a->suite.title : a->paper, "", "",
        "upload_type", "software", "access_right", "open", "license", "Apache-2.0", "version",
        cb_build_version(), "description",
        "Sources, configuration, recorded results, expected tables with tolerances and an artifact"
        " appendix to measure the claims of the paper again.",
        "creators", "name", "The claimbench authors", "keywords", "benchmark", "reproducibility",
        "CUDA", "GPU kernels");
    if (a->suite.arxiv[0])
        json_object_set_new(o, "related_identifiers",
                            json_pack("[{s:s+, s:s}]", "identifier", "arXiv:", a->suite.arxiv,
                                      "relation", "references"));
    char path[4500];
    snprintf(path, sizeof path, "%s/.zenodo.json", a->folder);
    int status = json_dump_file(o, path, JSON_INDENT(1));
    json_decref(o);
    return status ? cb_error("%s: cannot be written", path) : 0;
}

/* ---- what people read ---- */

/* One line an experiment: what of the paper it is, the command, what it took. */
static void experiment_items(const struct artifact *a, struct doc *d)
{
    for (int e = 0; e < a->suite.experiment_count; e++) {
        const struct experiment *x = &a->suite.experiments[e];
        char took[TEXT_MAX] = "", text[32];
        size_t n = 0;
        for (int r = 0; r < a->runs && n < sizeof took; r++) {
            int cases = cases_of(&a->run[r], x->id);
            if (cases)
                n += (size_t)snprintf(took + n, sizeof took - n, "%s%s on one %s for %d case%s",
                                      n ? "; " : "",
                                      duration(seconds_of(&a->run[r], x->id), text), a->run[r].gpu,
                                      cases, cases == 1 ? "" : "s");
        }
        item(d, "", "`./measure.sh %s`: %s (%s). %s.", x->id, x->title,
             x->where[0] ? x->where : "place not named",
             n && n < sizeof took ? took
             : a->reproduce.experiments[e].case_count
                 ? "Not part of a recorded result"
                 : "Of the profile full; not part of a recorded result");
    }
}

static void claim_items(const struct artifact *a, struct doc *d)
{
    static const char *const class[] = { "same", "same_arch", "other_arch" };
    static const char *const words[] = { "on the paper's GPU", "on its architecture",
                                         "on another GPU" };
    for (int r = 0; r < a->runs; r++) {
        size_t i;
        json_t *c;
        paragraph(d, "On %s, run `%s`:", a->run[r].gpu, a->run[r].id);
        json_array_foreach(json_object_get(a->run[r].doc, "claims"), i, c)
        {
            char reported[CB_NUMBER_MAX], measured[CB_NUMBER_MAX], rule[TEXT_MAX], all[TEXT_MAX];
            size_t n = 0;
            all[0] = 0;
            for (int k = 0; k < 3 && n < sizeof all; k++) {
                const json_t *one = json_object_get(rules_of(a, result_text(c, "id")), class[k]);
                rule_text(one, rule, sizeof rule);
                if (json_is_object(one))
                    n += (size_t)snprintf(all + n, sizeof all - n, "%s%s %s", n ? ", " : "",
                                          rule, words[k]);
            }
            number_text(c, "reported", reported);
            number_text(c, "measured", measured);
            item(d, "", "%s (`%s`, %s): reported %s%s%s, measured %s, %s. Allowed: %s.",
                 result_text(c, "claim"), result_text(c, "id"), result_text(c, "locator"), reported,
                 *result_text(c, "unit") ? " " : "", result_text(c, "unit"), measured,
                 result_text(c, "verdict"), n ? all : "shown, not judged");
        }
    }
    if (!a->runs)
        paragraph(d, "No recorded result is in this package; expected/ is empty.");
}

static const char workflow[] =
    "./smoke.sh             # builds, runs the small problems, checks the result\n"
    "./expected.sh          # regenerates expected/ from results/reference, byte for byte\n"
    "./measure.sh all       # measures everything on this GPU\n"
    "./measure.sh NAME      # one table or figure; names below\n"
    "./compare.sh           # results/new beside results/reference\n";

static void hardware(const struct artifact *a, struct doc *d)
{
    char text[TEXT_MAX];
    int sm = least_sm(&a->suite);
    if (sm)
        paragraph(d, "To measure: one NVIDIA GPU of compute capability %d.%d or later; rows that"
                  " need more are recorded as skipped. Nobody else may use it meanwhile. Smoke test"
                  " and expected tables need no GPU. No root, no change of any device setting.",
                  sm / 10, sm % 10);
    else
        paragraph(d, "No GPU is needed. No root, no change of any device setting.");
    for (int r = 0; r < a->runs; r++) {
        machine_text(&a->run[r], text, sizeof text);
        item(d, "measured on", "%s", text);
    }
    end_list(d);
}

static int write_readme(const struct artifact *a)
{
    FILE *md = open_in(a, "README.md");
    char text[32];
    if (!md)
        return -1;
    struct doc d = { .md = md };
    fprintf(md, "# Artifact: %s\n", a->suite.title);
    paragraph(&d, "\nThis package measures the claims of one paper%s%s%s again: the published"
              " kernels, the libraries they were compared with and a plain reference, checked,"
              " timed in turns and judged by stated rules. Made by claimbench %s, commit %s%s.",
              a->suite.arxiv[0] ? " (arXiv " : "", a->suite.arxiv, a->suite.arxiv[0] ? ")" : "",
              cb_build_version(), *cb_build_commit() ? cb_build_commit() : "not known",
              cb_build_dirty() ? " **with changes: not for publication**" : "");
    heading(&d, 2, "Steps");
    commands(&d, workflow);
    paragraph(&d, "The smoke test comes first%s%s%s%s and tells whether anything is missing"
              " (`env/packages.txt` lists what a Debian needs, `env/Containerfile` is a recipe).",
              a->smoke_s > 0 ? "; it took " : "", a->smoke_s > 0 ? duration(a->smoke_s, text) : "",
              a->smoke_s > 0 ? " on " : "", a->smoke_s > 0 ? a->smoke_on : "");
    heading(&d, 2, "Needs");
    hardware(a, &d);
    heading(&d, 2, "One command per table or figure");
    paragraph(&d, "Times are those of the recorded results, profile `reproduce`. A command leaves"
              " tables, figures and judged claims in `results/new/NAME`.");
    experiment_items(a, &d);
    heading(&d, 2, "Claims and allowed variation");
    claim_items(a, &d);
    heading(&d, 2, "What is where");
    item(&d, "", "`src/`: everything at the commit; `configs/`: profiles and GPUs, a copy");
    item(&d, "", "`data/`: inputs with generators and checksums, where to get the public ones");
    item(&d, "", "`results/reference/`: recorded runs; `results/new/`: yours");
    item(&d, "", "`expected/`: tables and figure data of the recorded runs, tolerances in"
         " `expected/claims.tsv`");
    item(&d, "", "`appendix/`: the artifact appendix in Markdown and LaTeX");
    item(&d, "", "`env/`: container recipe, package versions, environment of every result");
    item(&d, "", "`SHA256SUMS`, `.zenodo.json`, `CITATION.cff`, `LICENSE`");
    return close_of(md, "README.md");
}

static void checklist(const struct artifact *a, struct doc *d)
{
    char machines[TEXT_MAX] = "", one[TEXT_MAX], text[32], total[TEXT_MAX] = "";
    size_t n = 0, t = 0;
    const char *flags = "", *cc = "";
    for (int r = 0; r < a->runs; r++) {
        const json_t *build = json_object_get(env_of(&a->run[r]), "build");
        machine_text(&a->run[r], one, sizeof one);
        if (n < sizeof machines)
            n += (size_t)snprintf(machines + n, sizeof machines - n, "%s%s", n ? "; " : "", one);
        if (t < sizeof total)
            t += (size_t)snprintf(total + t, sizeof total - t, "%s%s on one %s", t ? "; " : "",
                                  duration(seconds_of(&a->run[r], ""), text), a->run[r].gpu);
        flags = *result_text(build, "nvcc_flags") ? result_text(build, "nvcc_flags") : flags;
        cc = *result_text(build, "cc") ? result_text(build, "cc") : cc;
    }
    item(d, "Algorithm", "%s", a->suite.title);
    item(d, "Program", "claimbench %s, C17 and CUDA C", cb_build_version());
    item(d, "Compilation", "%s%s%s", *cc ? cc : "gcc", *flags ? "; nvcc " : "", flags);
    item(d, "Transformations", "none");
    item(d, "Binary", "built from source by the smoke test; none is included");
    item(d, "Model", "what `src/suites/%s` holds; others as `configs/models` says", a->paper);
    item(d, "Data set", "%s; each with its checksum in `data/inputs.tsv`", a->inputs);
    item(d, "Run-time environment", "Linux, glibc; for GPUs the NVIDIA driver and the CUDA toolkit"
         " with cuBLAS and cuSPARSE");
    item(d, "Hardware", "%s", n ? machines : "no result recorded");
    item(d, "Run-time state", "no other process on the GPU; clocks are recorded, not locked");
    item(d, "Execution", "one process per case and invocation, rounds that interleave all"
         " implementations");
    item(d, "Metrics", "time, speedup over the baseline as paired ratio, fraction of the speed of"
         " light, error against the reference");
    item(d, "Output", "JSON results, tables in Markdown, LaTeX and CSV, figures in SVG, judged"
         " claims");
    item(d, "Experiments", "%d, one command each", a->suite.experiment_count);
    item(d, "How much disk space required (approximately)?", "1 GB with the build");
    item(d, "How much time is needed to prepare workflow (approximately)?",
         "a few minutes to compile; smoke test %s%s%s", duration(a->smoke_s, text),
         a->smoke_s > 0 ? " on " : "", a->smoke_on);
    item(d, "How much time is needed to complete experiments (approximately)?", "%s",
         t ? total : "not measured");
    item(d, "Publicly available?", "yes");
    item(d, "Code licenses (if publicly available)?", "Apache-2.0");
    item(d, "Data licenses (if publicly available)?", "generated data: Apache-2.0; others as"
         " `data/` says");
    item(d, "Workflow automation framework used?", "GNU make and shell scripts");
    item(d, "Archived (provide DOI)?", "not yet; `.zenodo.json` holds the metadata for it");
    end_list(d);
}

static int write_appendix(const struct artifact *a)
{
    FILE *md = open_in(a, "appendix/ae.md"), *tex = md ? open_in(a, "appendix/ae.tex") : NULL;
    if (!tex) {
        if (md)
            fclose(md);
        return -1;
    }
    struct doc d = { .md = md, .tex = tex };
    fputs("% the appendix alone; in a paper keep what stands between begin and end of document\n"
          "\\documentclass[10pt]{article}\n\\usepackage[utf8]{inputenc}\n"
          "\\usepackage[T1]{fontenc}\n\\usepackage{textcomp}\n\\sloppy\n"
          "\\begin{document}\n\\appendix\n",
          tex);
    fputs("# Artifact Appendix\n", md);
    fputs("\\section{Artifact Appendix}\n", tex);
    heading(&d, 2, "Abstract");
    paragraph(&d, "The artifact measures the claims of %s again. It holds the published kernels,"
              " the libraries that they were compared with and a reference behind one interface;"
              " checks every result before and after timing; records raw samples with their"
              " environment; and judges each claim by a rule that was fixed beforehand. Recorded"
              " results, the tables they give and the variation allowed are included.",
              a->suite.title);
    heading(&d, 2, "Artifact check-list (meta-information)");
    checklist(a, &d);
    heading(&d, 2, "Description");
    heading(&d, 3, "How to access");
    paragraph(&d, "One archive: unpack it, check it with `sha256sum -c SHA256SUMS`. Commit %s.",
              *cb_build_commit() ? cb_build_commit() : "not known");
    heading(&d, 3, "Hardware dependencies");
    hardware(a, &d);
    heading(&d, 3, "Software dependencies");
    paragraph(&d, "gcc, GNU make, jansson, hwloc, OpenBLAS, zlib, OpenSSL; gnuplot for figures;"
              " versions in `env/packages.txt`, a container recipe in `env/Containerfile`.");
    heading(&d, 3, "Data sets");
    paragraph(&d, "%s. `data/inputs.tsv` names each with its generator and checksum; `data/` says"
              " how to get the public ones. What is generated is made while measuring.", a->inputs);
    heading(&d, 3, "Models");
    paragraph(&d, "What the suite needs is in `src/suites/%s`; checkpoints that are public are"
              " listed in `configs/models`.", a->paper);
    heading(&d, 2, "Installation");
    commands(&d, "tar xzf ARCHIVE.tar.gz && cd FOLDER\nsha256sum --quiet -c SHA256SUMS\n"
                 "./smoke.sh\n");
    heading(&d, 2, "Experiment workflow");
    commands(&d, workflow);
    experiment_items(a, &d);
    heading(&d, 2, "Evaluation and expected results");
    paragraph(&d, "Interval and rule decide: a claim is REPRODUCED where the paper's GPU met its"
              " rule, TREND_HOLDS where another GPU met the weaker one. `./compare.sh` sets new"
              " results beside the recorded ones.");
    claim_items(a, &d);
    heading(&d, 2, "Experiment customization");
    paragraph(&d, "`./measure.sh NAME --case GLOB --rounds-max N --t-max S` narrows a measurement;"
              " other sizes go into `src/suites/%s/experiments.json`, policies into"
              " `src/configs/profiles`. Such results are marked custom.", a->paper);
    heading(&d, 2, "Notes");
    paragraph(&d, "A slower baseline of the paper's time cannot be measured with today's library:"
              " such claims carry the note baseline_version_differs.");
    heading(&d, 2, "Methodology");
    paragraph(&d, "Medians over rounds with 95 %% intervals corrected for correlation,"
              " ratios paired within rounds, at least two processes per case, an A/A control in"
              " every run; no sample is dropped. Badges meant: those of ACM, version 1.1.");
    end_list(&d);
    fputs("\\end{document}\n", tex);
    int status = close_of(tex, "appendix/ae.tex");
    return close_of(md, "appendix/ae.md") ? -1 : status;
}

/* ---- all of it ---- */

static int add_result(struct artifact *a, const char *path)
{
    struct result *r = &a->run[a->runs];
    if (result_load(path, r))
        return -1;
    if (strcmp(r->paper, a->paper)) {
        int status = cb_error("%s: is a result of %s, not of %s", path, r->paper, a->paper);
        result_free(r);
        return status;
    }
    if (!strcmp(r->profile, "smoke")) {
        const json_t *run = json_object_get(r->doc, "run");
        a->smoke_s = fmax(1, seconds_between(r->started, result_text(run, "finished_utc")));
        machine_text(r, a->smoke_on, sizeof a->smoke_on);
        a->smoke_on[strcspn(a->smoke_on, ",")] = 0;
        result_free(r);
        return 0;
    }
    a->runs++;
    return claims_judge(r, NULL);
}

int artifact_write(const char *paper, const char *const *results, int count, const char *folder)
{
    static const char *const folders[] = { "appendix", "expected", "data", "env" };
    struct artifact *a = calloc(1, sizeof *a);
    char path[4500], relative[200];
    int status = a ? 0 : cb_error("no memory for an artifact");
    if (status)
        return -1;
    a->paper = paper;
    a->folder = folder;
    snprintf(relative, sizeof relative, "suites/%.100s", paper);
    if (count > RESULTS_MAX)
        status = cb_error("an artifact holds %d results at most", RESULTS_MAX);
    else
        status = suite_load(home_path(relative, path, sizeof path), "full", &a->suite) ||
                 suite_load(path, "reproduce", &a->reproduce);
    snprintf(relative, sizeof relative, "suites/%.100s/claims.json", paper);
    if (!status && !(a->claims = cb_json_read(home_path(relative, path, sizeof path))))
        cb_error_clear(); /* a suite may have none */
    for (int i = 0; i < count && !status; i++)
        status = add_result(a, results[i]);
    for (int i = 0; i < 4 && !status; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        status = report_folder(path);
    }
    if (!status)
        status = write_claims(a) || write_inputs(a) || write_environment(a) || write_zenodo(a) ||
                         write_readme(a) || write_appendix(a)
                     ? -1
                     : 0;
    for (int r = 0; r < a->runs; r++)
        result_free(&a->run[r]);
    json_decref(a->claims);
    suite_free(&a->suite);
    suite_free(&a->reproduce);
    free(a);
    return status;
}

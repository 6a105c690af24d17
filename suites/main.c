/*
 * main.c - the program: verbs, their options, exit codes.
 *
 * The one place that prints errors.  The tables of verbs, options and exit codes are
 * also the text of --help, of the manual page and of completion (man.c), so that these
 * and behaviour cannot part.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/env.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "artifact.h"
#include "claims.h"
#include "compare.h"
#include "execute.h"
#include "data/matrix.h"
#include "data/packages.h"
#include "home.h"
#include "html.h"
#include "man.h"
#include "report.h"
#include "run.h"
#include "suite.h"

enum { ARGS_MAX = 300 };

/* ---- options: one table for parsing, help and config files ---- */

struct options {
    struct run_options run;
    const char *format, *out, *fail_on, *kernel, *config, *results;
    const char *arg[ARGS_MAX];
    int args;
    bool strict, help, geomean, sort, json, quiet, verbose;
};

#define AT(field) offsetof(struct options, field)
static const struct cli_option options[] = {
    { "--paper", " run plan artifact ", "NAME", "suite to run: a folder of suites/", TEXT, AT(run.paper) },
    { "--profile", " run plan ", "NAME", "smoke, reproduce (default) or full: configs/profiles/", TEXT, AT(run.profile) },
    { "--experiment", " run plan compare ", "GLOB", "only experiments of that id", TEXT, AT(run.experiment) },
    { "--case", " run plan ", "GLOB", "only cases whose id matches", TEXT, AT(run.cases) },
    { "--model", " run plan ", "PATH", "another model where experiments have one", TEXT, AT(run.model) },
    { "--data", " run plan ", "FILE", "another text or tokens to evaluate it on, all of it", TEXT, AT(run.data) },
    { "--calibration", " run plan ", "FILE", "the same for calibration; default: drawn from it", TEXT, AT(run.calibration) },
    { "--cache", " run plan ", "STATE", "only hot, cold or coldw cases", TEXT, AT(run.cache) },
    { "--shard", " run plan ", "I/N", "only the I-th of N parts that take about as long", TEXT, AT(run.shard) },
    { "--devices", " run env ceilings selftest ", "LIST", "auto (default), host, cuda:N, a list, or all", TEXT, AT(run.devices) },
    { "--serial-devices", " run ", NULL, "one device after another instead of together", FLAG, AT(run.serial_devices) },
    { "--eps", " run plan stability ", "X", "relative half-width at which a case converged", NUMBER, AT(run.eps) },
    { "--t-max", " run plan stability ", "S", "longest sampling of a case, seconds", NUMBER, AT(run.t_max_s) },
    { "--rounds-max", " run plan ", "N", "most rounds of a case", COUNT, AT(run.rounds_max) },
    { "--timeout", " run ", "S", "seconds until a case is given up", NUMBER, AT(run.timeout_s) },
    { "--invocations", " run plan merge ", "N", "processes per case; merge: keep only so many", COUNT, AT(run.invocations) },
    { "--seed", " run ", "N", "of inputs; the order of launches follows from it", COUNT, AT(run.seed) },
    { "--resume", " run ", "DIR", "go on with a run that was interrupted", TEXT, AT(run.resume) },
    { "--allow-mixed", " run merge ", NULL, "go on or merge although build or device differ; recorded", FLAG, AT(run.allow_mixed) },
    { "--strict", " run ", NULL, "exit 7 if a case is not converged, throttled or bimodal", FLAG, AT(strict) },
    { "--once", " run ", NULL, "one checked execution a row, no timing: for profilers", FLAG, AT(run.once) },
    { "--dry-run", " run ", NULL, "print the cases and stop; needs no device", FLAG, AT(run.dry_run) },
    { "--wait", " run ", NULL, "wait for a device that another run measures", FLAG, AT(run.wait) },
    { "--no-bind", " run ", NULL, "do not bind threads near the GPU", FLAG, AT(run.no_bind) },
    { "--no-ceilings", " run ", NULL, "do not measure ceilings first; no speed-of-light then", FLAG, AT(run.fast_start) },
    { "--keep-hostname", " run env ", NULL, "record the host's name instead of its hash", FLAG, 0 },
    { "--progress", " run ", "FORM", "line (default), json or none", TEXT, AT(run.progress) },
    { "--config", " run plan ", "FILE", "JSON object of options without dashes; the command line wins", TEXT, AT(config) },
    { "--format", " claims tables compare ", "FORM", "text, md, csv, tex or json where it applies", TEXT, AT(format) },
    { "--kernel", " compare ", "GLOB", "only rows of that name", TEXT, AT(kernel) },
    { "--sort", " compare ", NULL, "slowest quotient first", FLAG, AT(sort) },
    { "--geomean", " compare ", NULL, "also one line an experiment and row", FLAG, AT(geomean) },
    { "--fail-on", " compare ", "slower[:PCT]", "exit 8 if a row is slower by more than PCT", TEXT, AT(fail_on) },
    { "--results", " record html ", "DIR", "where recorded results are kept (default results)", TEXT, AT(results) },
    { "-o", " run merge tables plots compare html artifact convert pack ", "PATH", "folder or file to write", TEXT, AT(out) },
    { "-q", " run ", NULL, "no progress", FLAG, AT(quiet) },
    { "--help", " ", NULL, "this text", FLAG, AT(help) },
    { NULL, NULL, NULL, NULL, FLAG, 0 },
};
enum { OPTION_COUNT = sizeof options / sizeof *options - 1 };

static int usage(const char *text)
{
    fprintf(stderr, "claimbench: %s\n", text);
    return EXIT_USAGE;
}

static int fail(int code)
{
    fprintf(stderr, "claimbench: %s\n", cb_error_text());
    return code;
}

static int set_option(const struct cli_option *o, struct options *out, const char *value)
{
    char *end = NULL, *at = (char *)out + o->offset;
    if (!strcmp(o->name, "--keep-hostname")) {
        cb_env_keep_hostname(true);
        setenv("CLAIMBENCH_KEEP_HOSTNAME", "1", 1);
        return 0;
    }
    switch (o->kind) {
    case FLAG:
        *(bool *)at = true;
        return 0;
    case TEXT:
        *(const char **)at = value;
        return 0;
    case NUMBER:
        *(double *)at = strtod(value, &end);
        if (!*value || *end || !(*(double *)at > 0))
            return cb_error("%s '%s': a number above 0 is meant", o->name, value);
        out->run.custom = true;
        return 0;
    case COUNT: {
        errno = 0;
        long v = strtol(value, &end, 10);
        if (!*value || *end || v < 1 || errno || (o->offset != AT(run.seed) && v > 1000000))
            return cb_error("%s '%s': a whole number from 1 is meant", o->name, value);
        if (o->offset == AT(run.seed))
            out->run.seed = v;
        else
            *(int *)at = (int)v;
        out->run.custom = true;
        return 0;
    }
    }
    return -1;
}

static const struct cli_option *find_option(const char *name, const char *verb)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (!strcmp(options[i].name, name) && cli_takes(&options[i], verb))
            return &options[i];
    return NULL;
}

/* Options of a config file; the document stays in memory as long as the program. */
static int read_config(const char *verb, const char *path, struct options *out)
{
    static json_t *config;
    const char *key;
    json_t *value;
    char name[64], number[64];
    config = cb_json_read(path);
    if (!config)
        return -1;
    if (!json_is_object(config))
        return cb_error("%s: must be an object", path);
    json_object_foreach(config, key, value)
    {
        snprintf(name, sizeof name, "--%s", key);
        const struct cli_option *o = find_option(name, verb);
        if (!o || !strcmp(key, "config"))
            return cb_error("%s: %s has no option '%s'", path, verb, key);
        if (o->kind == FLAG ? !json_is_boolean(value) : o->kind == TEXT ? !json_is_string(value) : !json_is_number(value))
            return cb_error("%s: '%s' has the wrong type", path, key);
        if (json_is_false(value))
            continue;
        snprintf(number, sizeof number, "%.17g", json_number_value(value));
        const char *text = json_is_string(value) ? json_string_value(value) : number;
        if (set_option(o, out, o->kind == TEXT ? text : number))
            return cb_error_in("%s", path);
    }
    return 0;
}

static int parse(const char *verb, int argc, char **argv, struct options *out)
{
    for (int pass = 0; pass < 2; pass++) /* config first, so that the command line wins */
        for (int i = 0; i < argc; i++) {
            char name[64];
            const char *equals = strchr(argv[i], '='), *value = NULL;
            if (argv[i][0] != '-' || !argv[i][1]) {
                if (pass && out->args == ARGS_MAX)
                    return cb_error("more than %d arguments", ARGS_MAX);
                if (pass)
                    out->arg[out->args++] = argv[i];
                continue;
            }
            size_t n = equals && argv[i][1] == '-' ? (size_t)(equals - argv[i]) : strlen(argv[i]);
            snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), argv[i]);
            const struct cli_option *o = find_option(!strcmp(name, "-h") ? "--help" : name, verb);
            if (!o)
                return cb_error("%s has no option '%s' (claimbench %s --help)", verb, name, verb);
            if (o->kind != FLAG) {
                value = n < strlen(argv[i]) ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
                if (!value)
                    return cb_error("%s needs a value: %s", name, o->value);
            } else if (n < strlen(argv[i])) {
                return cb_error("%s takes no value", name);
            }
            bool config = !strcmp(o->name, "--config");
            if (!pass && config && read_config(verb, value, out))
                return -1;
            if (pass && !config && set_option(o, out, value))
                return -1;
        }
    return 0;
}

/* ---- verbs ---- */

static int verb_list(const struct options *o)
{
    (void)o;
    const struct op_impl *i;
    for (int k = 0; suite_ops[k]; k++) {
        const struct cb_op *op = suite_ops[k];
        printf("%s: %s\n", op->name, op->title);
        for (const struct cb_param *p = op->params; p->name; p++)
            printf("    parameter %-10s %s\n", p->name, p->help);
        for (int n = 0; (i = op->impl(n)); n++) {
            char where[32] = "host";
            if (i->sm_min > 0)
                snprintf(where, sizeof where, "sm_%d+", i->sm_min);
            else if (i->sm_max > 0)
                snprintf(where, sizeof where, "any");
            printf("    %-28s %-9s %-6s %-6s %s\n", i->name, op_role_name(i->role), where,
                   i->layout ? i->layout : "", i->title);
        }
    }
    const char *name, *help;
    static const char *const sets[] = { "generated", "package" };
    for (int s = 0; s < 2; s++) {
        printf("matrices, %s:\n", sets[s]);
        for (int n = 0; (name = matrix_name(sets[s], n, &help)); n++)
            printf("    %-28s %s\n", name, help ? help : "");
    }
    return EXIT_OK;
}

static int verb_plan(const struct options *o)
{
    return run_plan(&o->run);
}

static int verb_run(const struct options *o)
{
    char folder[4096] = "", path[4200];
    struct run_options run = o->run;
    if (run.dry_run)
        return run_plan(&run);
    if (o->quiet)
        run.progress = "none";
    if (run.progress && strcmp(run.progress, "line") && strcmp(run.progress, "json") && strcmp(run.progress, "none"))
        return usage("--progress is line, json or none");
    cb_signals();
    run.out = o->out;
    int code = run_suite(&run, o->strict, folder);
    snprintf(path, sizeof path, "%s/result.json", folder);
    if ((code == EXIT_OK || code == EXIT_CLAIM || code == EXIT_WRONG || code == EXIT_QUALITY || code == EXIT_SIGNAL) &&
        *folder && !access(path, F_OK))
        printf("%s\n", path);
    return code;
}

static int verb_worker(const struct options *o)
{
    (void)o;
    if (getenv("CLAIMBENCH_KEEP_HOSTNAME"))
        cb_env_keep_hostname(true);
    return run_worker();
}

static int verb_execute(const struct options *o)
{
    return execute_verb(o->arg, o->args);
}

static int verb_record(const struct options *o)
{
    if (o->args != 1)
        return usage("record takes one run folder");
    return run_record(o->arg[0], o->results ? o->results : "results") ? fail(EXIT_INTERNAL) : EXIT_OK;
}

static int verb_merge(const struct options *o)
{
    if (o->args < 1 || !o->out)
        return usage("merge takes run folders and -o DIR");
    return run_merge(o->arg, o->args, o->out, o->run.invocations, o->run.allow_mixed) ? fail(EXIT_INTERNAL) : EXIT_OK;
}

static int verb_validate(const struct options *o)
{
    int code = EXIT_OK;
    if (o->args < 1)
        return usage("validate takes result folders or files");
    for (int i = 0; i < o->args; i++) {
        char *report = NULL;
        if (results_validate(o->arg[i], &report)) {
            fprintf(stderr, "%s", report ? report : "");
            code = fail(EXIT_INTERNAL);
        } else {
            printf("%s: valid\n", o->arg[i]);
        }
        free(report);
    }
    return code;
}

/* Rows that were wrong without being known for it: what a published bug may not hide. */
static int verb_wrong(const struct options *o)
{
    struct result r;
    bool any = false;
    size_t k;
    json_t *kernel;
    if (o->args != 1)
        return usage("wrong takes one result folder or file");
    if (result_load(o->arg[0], &r))
        return fail(EXIT_USAGE);
    for (int c = 0; c < r.case_count; c++)
        for (int i = 0; i < r.cases[c].row_count; i++) {
            const struct result_row *row = &r.cases[c].row[i];
            bool known = false;
            if (strcmp(row->status, "wrong"))
                continue;
            json_array_foreach(json_object_get(r.doc, "kernels"), k, kernel)
                known = known || (!strcmp(result_text(kernel, "id"), row->kernel) &&
                                  *result_text(kernel, "known_wrong"));
            if (!known)
                printf("%s: %s: %s\n", r.cases[c].id, row->kernel, row->reason);
            any = any || !known;
        }
    result_free(&r);
    return any ? EXIT_WRONG : EXIT_OK;
}

static int format_of(const struct options *o, enum cb_format *out, bool *json)
{
    *out = CB_PLAIN;
    *json = o->format && !strcmp(o->format, "json");
    return !o->format || *json ? 0 : cb_format_parse(o->format, out);
}

static int verb_claims(const struct options *o)
{
    enum cb_format format;
    bool json, missed = false;
    if (o->args < 1)
        return usage("claims takes result folders or files");
    if (format_of(o, &format, &json))
        return fail(EXIT_USAGE);
    for (int i = 0; i < o->args; i++) {
        struct result r;
        int count[CLAIM_VERDICTS];
        if (result_load(o->arg[i], &r))
            return fail(EXIT_USAGE);
        int status = claims_judge(&r, NULL);
        if (!status && json)
            status = json_dumpf(json_object_get(r.doc, "claims"), stdout, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9)) || putchar('\n') == EOF;
        else if (!status)
            status = claims_print(&r, format, stdout);
        claims_count(&r, count);
        missed = missed || count[CLAIM_NOT_REPRODUCED];
        result_free(&r);
        if (status)
            return fail(EXIT_USAGE);
    }
    return missed ? EXIT_CLAIM : EXIT_OK;
}

/* Recorded results keep tables/ and figures/ beside the run folder, runs inside. */
static char *drawing_folder(const char *result, const char *name, const char *given, char *out, size_t size)
{
    if (given) {
        snprintf(out, size, "%s", given);
        return out;
    }
    char recorded[4200], *folder = result_resolve(result);
    snprintf(recorded, sizeof recorded, "%s/recorded", result);
    snprintf(out, size, "%s/%s", !access(recorded, F_OK) ? result : folder ? folder : result, name);
    free(folder);
    return out;
}

static int verb_tables(const struct options *o)
{
    char folder[4200];
    if (o->args != 1)
        return usage("tables takes one result folder or file");
    drawing_folder(o->arg[0], "tables", o->out, folder, sizeof folder);
    if (report_tables(o->arg[0], folder, o->format ? o->format : "md"))
        return fail(EXIT_INTERNAL);
    printf("%s\n", folder);
    return EXIT_OK;
}

static int verb_plots(const struct options *o)
{
    char folder[4200];
    if (o->args != 1)
        return usage("plots takes one result folder or file");
    drawing_folder(o->arg[0], "figures", o->out, folder, sizeof folder);
    if (report_plots(o->arg[0], folder))
        return fail(EXIT_INTERNAL);
    printf("%s\n", folder);
    return EXIT_OK;
}

static int verb_compare(const struct options *o)
{
    struct compare_options c = { .experiment = o->run.experiment, .kernel = o->kernel, .sort = o->sort, .geomean = o->geomean, .folder = o->out };
    bool slower = false;
    if (o->args < 2)
        return usage("compare takes two or more result folders or files");
    if (format_of(o, &c.format, &c.json))
        return fail(EXIT_USAGE);
    if (o->fail_on) {
        char *end = NULL;
        c.fail_on_slower = true;
        if (!strncmp(o->fail_on, "slower:", 7)) {
            c.fail_percent = strtod(o->fail_on + 7, &end);
            if (!o->fail_on[7] || *end || !(c.fail_percent > 0))
                return usage("--fail-on slower:PCT needs a number above 0");
        } else if (strcmp(o->fail_on, "slower")) {
            return usage("--fail-on takes slower or slower:PCT");
        }
    }
    if (compare_results(o->arg, o->args, &c, stdout, &slower))
        return fail(EXIT_USAGE);
    return slower ? EXIT_COMPARE : EXIT_OK;
}

static int print_probe(const struct options *o, const char *what, const char *key)
{
    const char *device = o->run.devices ? o->run.devices : "auto";
    json_t *answer = run_probe(device, what);
    if (!answer)
        return fail(EXIT_NO_DEVICE);
    const json_t *shown = key ? json_object_get(answer, key) : answer;
    json_dumpf(shown, stdout, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(answer);
    return EXIT_OK;
}

static int verb_env(const struct options *o)
{
    return print_probe(o, "quick", "env");
}

static int verb_ceilings(const struct options *o)
{
    return print_probe(o, "full", "ceilings");
}

static int verb_selftest(const struct options *o)
{
    const char *device = o->run.devices ? o->run.devices : "auto";
    json_t *answer = run_probe(device, "selftest");
    if (!answer)
        return fail(EXIT_NO_DEVICE);
    json_object_del(answer, "env");
    json_dumpf(answer, stdout, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    putchar('\n');
    bool ok = json_is_true(json_object_get(answer, "timer_ok")) && !json_is_true(json_object_get(answer, "cold_unverified"));
    json_decref(answer);
    return ok ? EXIT_OK : EXIT_INTERNAL;
}

/* The same smoke run N times; how many rows are not SAME between the first and each other. */
static int verb_stability(const struct options *o)
{
    char folder[64][4096];
    const char *path[COMPARE_MAX];
    int n = o->args == 2 ? atoi(o->arg[1]) : 0;
    if (n < 2 || n > COMPARE_MAX)
        return usage("stability takes a paper and a number of runs from 2 to 8");
    cb_signals();
    for (int i = 0; i < n; i++) {
        struct run_options run = o->run;
        char out[128];
        run.paper = o->arg[0];
        run.profile = "smoke";
        snprintf(out, sizeof out, "runs/stability_%ld_%d", (long)getpid(), i + 1);
        run.out = out;
        int code = run_suite(&run, false, folder[i]);
        if (code != EXIT_OK && code != EXIT_CLAIM && code != EXIT_WRONG)
            return code;
        path[i] = folder[i];
    }
    struct compare_options c = { .geomean = true };
    bool slower;
    return compare_results(path, n, &c, stdout, &slower) ? fail(EXIT_INTERNAL) : EXIT_OK;
}

/* Packs a matrix for machines that have not got its package. */
static int verb_convert(const struct options *o)
{
    struct matrix m = { 0 };
    if (o->args != 1 || !o->out)
        return usage("convert takes one matrix and -o FILE.csrb");
    if (matrix_load(o->arg[0], &m) || matrix_save_csrb(&m, o->out)) {
        matrix_free(&m);
        return fail(EXIT_INTERNAL);
    }
    printf("%s: %d x %d, %ld entries, %s\n", o->out, m.rows, m.cols, m.nnz, m.sha256);
    matrix_free(&m);
    return EXIT_OK;
}

/* All package matrices of this machine, packed for a bundle. */
static int verb_pack(const struct options *o)
{
    if (o->args || !o->out)
        return usage("pack takes -o DIR");
    if (mkdir(o->out, 0777) && errno != EEXIST) {
        cb_error("%s: cannot be made: %s", o->out, strerror(errno));
        return fail(EXIT_INTERNAL);
    }
    int n = package_pack(o->out);
    if (n < 0)
        return fail(EXIT_INTERNAL);
    printf("%s: %d matrices\n", o->out, n);
    return EXIT_OK;
}

static int verb_html(const struct options *o)
{
    if (!o->out)
        return usage("html takes results, or none for all recorded ones, and -o DIR");
    if (html_write(o->arg, o->args, o->results ? o->results : "results", o->out))
        return fail(EXIT_INTERNAL);
    printf("%s/index.html\n", o->out);
    return EXIT_OK;
}

/* What people read in an artifact package; tools/artifact.sh makes the rest. */
static int verb_artifact(const struct options *o)
{
    if (!o->run.paper || !o->out)
        return usage("artifact takes --paper NAME, results of it and -o DIR");
    if (artifact_write(o->run.paper, o->arg, o->args, o->out))
        return fail(EXIT_INTERNAL);
    printf("%s/README.md\n", o->out);
    return EXIT_OK;
}

static int verb_man(const struct options *o);
static int verb_completion(const struct options *o);

static const struct cli_verb verbs[] = {
    { "list", "", "operators, their parameters and implementations, matrices", verb_list },
    { "plan", "--paper NAME", "the cases that a run would hold", verb_plan },
    { "run", "--paper NAME", "measure a suite", verb_run },
    { "merge", "DIR... -o DIR", "join pieces of one run", verb_merge },
    { "record", "DIR", "put a clean, complete, valid run into results/", verb_record },
    { "validate", "RESULT...", "check results against the rules for publishing", verb_validate },
    { "wrong", "RESULT", "wrong rows that are not known to be, exit 4 if any", verb_wrong },
    { "claims", "RESULT...", "judge the paper's claims", verb_claims },
    { "tables", "RESULT", "write tables from stored results", verb_tables },
    { "plots", "RESULT", "draw figures from stored results", verb_plots },
    { "html", "[RESULT...] -o DIR", "write pages; by default of all recorded results", verb_html },
    { "compare", "RESULT RESULT...", "two or more results, of one GPU or of several", verb_compare },
    { "artifact", "[RESULT...] -o DIR", "README, appendix and tolerances of a package", verb_artifact },
    { "env", "", "the environment as it is recorded", verb_env },
    { "ceilings", "", "measured ceilings of the device", verb_ceilings },
    { "selftest", "", "timer and cache states of the device; exit 1 if they fail", verb_selftest },
    { "stability", "NAME N", "the smoke profile N times, compared", verb_stability },
    { "convert", "MATRIX -o FILE.csrb", "pack a matrix for another machine", verb_convert },
    { "pack", "-o DIR", "pack the matrices of installed packages", verb_pack },
    { "man", "", "the manual page, for man -l -", verb_man },
    { "completion", "bash", "completion for a shell, to be sourced", verb_completion },
    { "execute", "OP PARAMS GPU ROW...", "one execution a row behind a mark; what ncu is run on", verb_execute },
    { "worker", "", "the child of a run; reads its plan from standard input", verb_worker },
    { NULL, NULL, NULL, NULL },
};
enum { VERB_COUNT = sizeof verbs / sizeof *verbs - 1 };

static const struct cli_exit exits[] = {
    { EXIT_OK, "fine" },
    { EXIT_INTERNAL, "internal error" },
    { EXIT_USAGE, "usage or configuration" },
    { EXIT_NO_DEVICE, "no usable device" },
    { EXIT_WRONG, "a wrong result" },
    { EXIT_CRASH, "crash, time-out or wedged device" },
    { EXIT_CLAIM, "a claim not reproduced" },
    { EXIT_QUALITY, "quality under --strict" },
    { EXIT_COMPARE, "compare --fail-on" },
    { EXIT_SIGNAL, "interrupted" },
    { 0, NULL },
};

static struct cli cli(void)
{
    return (struct cli){ cb_build_version(), verbs, options, exits };
}

static int verb_man(const struct options *o)
{
    struct cli c = cli();
    if (o->args)
        return usage("man takes no argument");
    man_page(&c, stdout);
    return EXIT_OK;
}

static int verb_completion(const struct options *o)
{
    struct cli c = cli();
    if (o->args != 1 || strcmp(o->arg[0], "bash"))
        return usage("completion takes the name of a shell: bash");
    man_completion(&c, stdout);
    return EXIT_OK;
}

static int help(void)
{
    struct cli c = cli();
    man_help(&c, stdout);
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    static char line[1024];
    struct options o = { .run = { .profile = "reproduce" } };
    for (int fd = 0; fd < 3; fd++) /* one closed by the caller would become a file of ours */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return EXIT_INTERNAL;
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is seen by its failed write */
    home_folder();
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return argc < 2 ? (help(), EXIT_USAGE) : help();
    if (!strcmp(argv[1], "--version")) {
        printf("claimbench %s %s%s\n", cb_build_version(), cb_build_commit(), cb_build_dirty() ? " (changed)" : "");
        return EXIT_OK;
    }
    for (int i = 0, n = 0; i < argc && n < (int)sizeof line; i++) /* no folder of this machine in the record */
        n += snprintf(line + n, sizeof line - (size_t)n, "%s%s", i ? " " : "",
                      i == 0 ? "claimbench" : argv[i][0] == '/' ? strrchr(argv[i], '/') + 1 : argv[i]);
    o.run.argv = line;
    for (int v = 0; v < VERB_COUNT; v++)
        if (!strcmp(argv[1], verbs[v].name)) {
            if (parse(argv[1], argc - 2, argv + 2, &o))
                return fail(EXIT_USAGE);
            if (o.help) {
                struct cli c = cli();
                man_verb_help(&c, &verbs[v], stdout);
                return EXIT_OK;
            }
            int code = verbs[v].run(&o);
            if (fflush(stdout) || ferror(stdout)) {
                fprintf(stderr, "claimbench: standard output: %s\n", strerror(errno));
                return EXIT_INTERNAL;
            }
            return code;
        }
    fprintf(stderr, "claimbench: there is no verb '%s' (claimbench --help)\n", argv[1]);
    return EXIT_USAGE;
}

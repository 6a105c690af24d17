/* execute.c - see execute.h. */
#include "execute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/tool.h"
#include "home.h"
#include "run.h"
#include "suite.h"

enum { ROWS_MAX = 256, FIRST_ROW = 3 };

/* ---- under the profiler ---- */

static const struct op_impl *row_of(const struct cb_op *op, const char *name)
{
    for (int i = 0; op->impl(i); i++)
        if (!strcmp(op->impl(i)->name, name))
            return op->impl(i);
    return NULL;
}

static int run_rows(const struct cb_op *op, const void *params, const struct op_impl *const *row)
{
    const struct cb_policy policy = { .executions_max = 1, .rotate_l2 = 2, .flush_l2 = 3 };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .regime = CB_STEADY, .seed = 1,
                            .aa = -1, .first = true, .once = true };
    struct cb_case out;
    if (cb_device_open("cuda", &c.device))
        return -1;
    int status = cb_run_case(&c, op, params, row, &out);
    for (int i = 0; i < out.count; i++)
        if (out.out[i].status != CB_OK)
            fprintf(stderr, "%s: %s: %s\n", out.out[i].impl->name,
                    cb_status_name(out.out[i].status), out.out[i].reason);
    cb_case_free(&out);
    cb_device_close(c.device);
    return status;
}

int execute_verb(const char *const *arg, int count)
{
    const struct op_impl *row[ROWS_MAX + 1] = { NULL };
    const struct cb_op *op = count > FIRST_ROW ? suite_op(arg[0]) : NULL;
    json_t *given = op ? json_loads(arg[1], JSON_REJECT_DUPLICATES, NULL) : NULL;
    void *params = op ? calloc(1, op->params_size) : NULL;
    int status = -1;
    if (!op || op->untimed || count - FIRST_ROW > ROWS_MAX)
        cb_error("execute takes an operator that is timed, its parameters, a GPU and rows");
    else if (!given || !params)
        cb_error("parameters that are no JSON: '%s'", arg[1]);
    else
        status = cb_params_from_json(op, given, params);
    for (int i = FIRST_ROW; !status && i < count; i++)
        if (!(row[i - FIRST_ROW] = row_of(op, arg[i])))
            status = cb_error("operator %s has no row '%s'", op->name, arg[i]);
    int code = status ? EXIT_USAGE : EXIT_OK;
    if (!status && (setenv("CUDA_VISIBLE_DEVICES", arg[2], 1) || run_rows(op, params, row)))
        code = EXIT_NO_DEVICE;
    if (code)
        fprintf(stderr, "claimbench: %s\n", cb_error_text());
    json_decref(given);
    free(params);
    return code;
}

/* ---- the profiler ---- */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long size = 0;
    if (f && !fseek(f, 0, SEEK_END) && (size = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET) &&
        (text = malloc((size_t)size + 1)))
        text[fread(text, 1, (size_t)size, f)] = 0;
    if (f)
        fclose(f);
    return text;
}

/* What the profiler says when it fails stands in its log, "==ERROR== ...". */
static int profiler_error(const char *log)
{
    const char *at = log ? strstr(log, "==ERROR==") : NULL;
    if (!at)
        return cb_error("ncu failed");
    at += 9 + strspn(at + 9, " ");
    return cb_error("ncu: %.*s", (int)strcspn(at, "\r\n"), at);
}

static int count_rows(const char *tool, const char *const *verb, const char *log, int rows,
                      struct ncu_counts *counts)
{
    const char *argv[ROWS_MAX + 32] = {
        tool, "--csv", "--page", "raw", "--print-metric-instances", "details", "--print-units", "base",
        "--metrics", ncu_metrics, "--clock-control", "none", "--profile-from-start", "off",
        "--target-processes", "all", "--force-overwrite", "--log-file", log,
    };
    char *printed = NULL, path[4200];
    struct sass_table *table = NULL;
    int n = 0;
    while (argv[n])
        n++;
    for (int i = 0; verb[i]; i++)
        argv[n++] = verb[i];
    int failed = cb_tool_run((char *const *)(size_t)argv, &printed);
    char *text = read_text(log);
    int status = failed || !text ? profiler_error(text)
                 : sass_table_load(home_path("configs/sass.json", path, sizeof path), &table)
                     ? -1
                     : ncu_parse(text, table, counts, rows);
    sass_table_free(table);
    free(printed);
    free(text);
    return status;
}

int execute_counted(const char *op, const char *params, const char *uuid, const char *const *row,
                    int rows, struct ncu_counts *counts)
{
    char tool[4096], self[4096], log[] = "/tmp/claimbench-ncu-XXXXXX";
    const char *verb[ROWS_MAX + 8] = { self, "execute", op, params, uuid };
    int words = 5, fd;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if (rows < 1 || rows > ROWS_MAX)
        return cb_error("%d rows to count, at most %d", rows, ROWS_MAX);
    for (int i = 0; i < rows; i++)
        verb[words++] = row[i];
    if (ncu_tool(tool, sizeof tool))
        return -1;
    if ((fd = mkstemp(log)) < 0)
        return cb_error("%s: no temporary file", log);
    close(fd);
    int status = count_rows(tool, verb, log, rows, counts);
    unlink(log);
    return status;
}

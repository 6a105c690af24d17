/* spmm_recorded.c - see spmm_recorded.h. */
#include "spmm_recorded.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../../harness/sha.h"
#include "../home.h"

/* A choice this much slower than the fastest counts as right in tie3. */
static const double tie = 1.03;

static struct result kept;
static char kept_path[CB_PATH_MAX], kept_sha[65];

const struct result *recorded_run(const char *given)
{
    char path[CB_PATH_MAX + 4200], file[CB_PATH_MAX + 4300];
    struct stat s;
    if (kept.doc && !strcmp(kept_path, given))
        return &kept;
    result_free(&kept);
    if (given[0] == '/')
        snprintf(path, sizeof path, "%s", given);
    else
        home_path(given, path, sizeof path);
    if (stat(path, &s)) {
        cb_error("not available: the recorded result %s", given);
        return NULL;
    }
    if (result_load(path, &kept))
        return NULL;
    snprintf(file, sizeof file, "%s/result.json", kept.directory);
    if (cb_sha256_file(file, kept_sha)) {
        result_free(&kept);
        return NULL;
    }
    snprintf(kept_path, sizeof kept_path, "%s", given);
    return &kept;
}

const char *recorded_sha256(void)
{
    return kept_sha;
}

double recorded_time(const struct result_case *c, const char *kernel)
{
    const struct result_row *r = result_row(c, kernel);
    return r && r->timed ? r->us.value : 0;
}

double recorded_cusparse(const struct result_case *c)
{
    double best = 0;
    for (int i = 0; i < c->row_count; i++)
        if (c->row[i].timed && !strncmp(c->row[i].kernel, "cusparse_", 9) &&
            (best == 0 || c->row[i].us.value < best))
            best = c->row[i].us.value;
    return best;
}

/* A figure of the matrix that the run recorded; 0: none. */
static double figure(const struct result_case *c, const char *name)
{
    return result_number(result_listed(json_object_get(c->json, "figures"), "name", name), "value",
                         0);
}

bool recorded_problem(const struct result_case *c, const char *experiment,
                      struct spmm_problem *out)
{
    const int n = (int)result_number(c->params, "n", 0);
    if (strcmp(c->experiment, experiment) || strcmp(c->cache, "hot") || n < 1 ||
        strcmp(result_text(c->params, "dtype"), "f32"))
        return false;
    *out = (struct spmm_problem){ .m = (int)figure(c, "rows"), .k = (int)figure(c, "cols"), .n = n,
                                  .nnz = (long)figure(c, "nnz"), .dtype = SPMM_F32,
                                  .row_sd = figure(c, "row_sd") };
    return out->m > 0 && out->k > 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct fractions fractions_of(double *fraction, int n)
{
    double logs = 0;
    int near = 0;
    qsort(fraction, (size_t)n, sizeof *fraction, ascending);
    for (int i = 0; i < n; i++) {
        logs += log(fraction[i]);
        near += fraction[i] * tie >= 1;
    }
    return (struct fractions){ exp(logs / n), cb_quantile(fraction, n, 0.05), fraction[0],
                               (double)near / n };
}

/*
 * record.h - cases as JSON: lines of the journal, and the result document.
 *
 * A journal line is one case of one invocation with all its samples.  The
 * result document joins the invocations of each case and holds everything that
 * a table or a plot needs (titles, roles, errors, environment); samples go to
 * samples.f64le.gz beside it, so that it is drawn again on a machine that has
 * neither the GPU nor the kernels.
 *
 *   result.json   { "schema": "claimbench/result", "schema_version": "1.0.0", "run", "env",
 *                   "ceilings", "kernels", "experiments", "cases", "aggregates", "claims" }
 *   samples       microseconds, one double per round; NaN where a row sat a round out;
 *                 rounded to the 24 bits of a float, beyond what the timer resolves
 */
#ifndef HARNESS_RECORD_H
#define HARNESS_RECORD_H

#include <jansson.h>

#include "bench.h"

#define CB_SCHEMA "claimbench/result"
#define CB_SCHEMA_VERSION "1.0.0"
/* Above this a result document leaves the details of its cases to cases.json.gz. */
enum { CB_RESULT_BYTES_MAX = 3000000 };

/* What a case belongs to. */
struct cb_place {
    const char *paper, *experiment, *id;
    const struct op_impl *const *baseline; /* ended by NULL; NULL: no ratios */
    int invocation, device;
    double child_start_s;
};

/* A journal line; telemetry and flags may be NULL (borrowed).  NULL: no memory. */
json_t *cb_case_json(const struct cb_context *c, const struct cb_place *where,
                     const struct cb_op *op, const void *params, const struct cb_case *out,
                     const json_t *telemetry, const json_t *flags);
/* A journal line of a case that did not come back: crashed, timeout, interrupted. */
json_t *cb_case_lost(const struct cb_place *where, const struct cb_op *op, const void *params,
                     enum cb_cache cache, enum cb_regime regime, enum cb_status status,
                     const char *reason);

/* Object of kernels[]. */
json_t *cb_kernel_json(const struct cb_op *op, const struct op_impl *i);

/* Statistics of samples as in the result document. */
json_t *cb_time_json(const struct cb_timing *t);

/* Joins journal lines (an array, any order) into cases[], and their samples into
 * *samples (malloc; *count).  ceilings: for the speed of light.  NULL with cb_error set. */
json_t *cb_cases_merge(const json_t *lines, const json_t *ceilings, double l2, double **samples,
                       size_t *count);
/* A document over CB_RESULT_BYTES_MAX has its complete cases in
 * DIRECTORY/cases.json.gz (named by run.details) and keeps of each
 * implementation kernel, status, reason, median and interval.  cb_details_load
 * puts the complete ones back, where the document names them.  0 or -1. */
int cb_details_write(const char *directory, const json_t *cases);
void cb_cases_slim(json_t *cases);
int cb_details_load(const char *directory, json_t *doc);

/* DIRECTORY/samples.f64le.gz.  0 or -1. */
int cb_samples_write(const char *directory, const double *samples, size_t count);

/* Journal: appending one line, flushed to the disk; reading all whole lines (a
 * truncated last line is dropped). */
int cb_journal_append(const char *path, const json_t *line);
json_t *cb_journal_read(const char *path); /* array; empty if there is no file; NULL: error */

#endif

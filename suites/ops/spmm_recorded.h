/* spmm_recorded.h - what experiments that judge choices read from a recorded run of spmm. */
#ifndef SUITES_OPS_SPMM_RECORDED_H
#define SUITES_OPS_SPMM_RECORDED_H

#include "../../kernels/spmm/spmm.h"
#include "../results.h"

/* The run that `given` stands for, from the folder of the suites unless absolute; read once and kept
 * until another one is asked for.  NULL with cb_error set. */
const struct result *recorded_run(const char *given);
const char *recorded_sha256(void); /* of the result.json of the run kept */

/* us of a row of a case; 0: not timed there. */
double recorded_time(const struct result_case *c, const char *kernel);
double recorded_cusparse(const struct result_case *c); /* of the fastest of cuSPARSE; 0: none */

/* Whether the case is one of `experiment` with float values and operands in cache; then *out has
 * the sizes and the deviation of the row lengths. */
bool recorded_problem(const struct result_case *c, const char *experiment,
                      struct spmm_problem *out);

/* A summary of fractions, each of the fastest time over one that was chosen. */
struct fractions {
    double geomean, p05, worst, tie3; /* tie3: share of those within 3 % */
};
/* Sorts fraction [n]; n >= 1. */
struct fractions fractions_of(double *fraction, int n);

#endif

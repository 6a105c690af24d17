/*
 * claims.h - what a paper states, judged on what was measured.
 *
 * suites/PAPER/claims.json holds
 *   gpus        names of the paper's GPUs -> { name, cc, sm_count, mem_gib }, null: unknown
 *   aggregates  { id, experiment, filter, numerator, denominator, statistic }: the ratio
 *               T(numerator) / T(denominator) over the cases that pass the filter;
 *               experiment may be a pattern: "layers_*".  against { experiment, filter }: the
 *               denominator's cases are others; statistic is then the ratio of sums, total
 *   claims      { id, claim, locator, metric, reported, unit, gpu, rules, ... }
 *
 * statistic: geomean, mean, median, min, max, total (of times), share (of cases
 * with a ratio above 1), worst_loss (1 - smallest ratio), sum (of times of the
 * denominator in us; none where a case is missing).
 * metric: "aggregate:ID" or "aggregate:ID.STATISTIC", "figure:EXPERIMENT/ROW/NAME"
 * for what is not timed, or a list: the first that was measured is judged.
 * needs: what a claim takes that no run has by itself, as a model: not comparable without.
 * stand_in: judged by order on another model than the paper's: at best the trend holds, and
 * LOW_QUALITY where the interval does not tell.
 * rules: by class of GPU (same, same_arch, other_arch); the strictest class that
 * the machine belongs to comes first, weaker ones after it.
 */
#ifndef SUITES_CLAIMS_H
#define SUITES_CLAIMS_H

#include <stdio.h>

#include "../harness/table.h"
#include "results.h"

enum claim_verdict {
    CLAIM_REPRODUCED,
    CLAIM_TREND_HOLDS,
    CLAIM_NOT_REPRODUCED,
    CLAIM_NOT_COMPARABLE_GPU,
    CLAIM_NOT_COMPARABLE_SETUP,
    CLAIM_LOW_QUALITY,
    CLAIM_NOT_MEASURED,
    CLAIM_VERDICTS
};
const char *claim_verdict_name(enum claim_verdict v); /* "REPRODUCED", ... */

/* Reads path (NULL: HOME/suites/PAPER/claims.json; a paper without it has no
 * claims) and replaces "aggregates" and "claims" of r->doc.  0 or -1. */
int claims_judge(struct result *r, const char *path);

/* How often each verdict stands in r->doc. */
void claims_count(const struct result *r, int count[CLAIM_VERDICTS]);

/* Prints r->doc's claims; the plain form fits 100 columns.  0 or -1. */
int claims_print(const struct result *r, enum cb_format f, FILE *out);

#endif

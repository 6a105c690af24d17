/*
 * metrics.h - what a table can show: figures of one row of one case, and
 * their summaries over cases.
 */
#ifndef SUITES_METRICS_H
#define SUITES_METRICS_H

#include "results.h"

struct metric {
    const char *name, *unit, *title, *formula;
    int better; /* 1: more, -1: less, 0: neither */
};

/* Ended by an entry whose name is NULL. */
extern const struct metric metrics[];
/* NULL: none.  "figure:NAME" is always one: the figure of that name. */
const struct metric *metric_find(const char *name);

/* The group whose fastest row is the oracle of an experiment: its first shown
 * column, else the group "paper", else "".  Valid until the next call. */
const char *metric_oracle(const struct result_experiment *e);

/* Value of a metric for one row; ok is false where it does not exist. */
struct result_value metric_value(const struct result *r, const struct result_experiment *e,
                                 const struct result_case *c, const struct result_row *row,
                                 const char *name);

/* A ratio T(numerator) / T(denominator) over all cases that a filter lets
 * through; S > 1: the denominator is faster. */
struct aggregate {
    int cases;                  /* that have a value */
    struct cb_interval geomean; /* bootstrap over rounds, widened to the invocations' range */
    double total;               /* sum of times of the numerator over that of the denominator */
    struct cb_interval sum;     /* of times of the denominator, us */
    struct cb_interval mean, median, min, max; /* arithmetic mean: its ends are means of ends */
    int faster, slower;                        /* cases whose interval is above, below 1 */
    const struct result_case *at_min, *at_max, *influential;
    int flattered, unpaired, loose; /* cases of those flags; loose: not converged, h > 5 % */
    bool own;                       /* a row of role own took part in the denominator */
    /* cases [cases] with their values; owned */
    const struct result_case **at;
    struct result_value *value;
    /* cases without a value [missing]; owned */
    const struct result_case **lost;
    int missing;
};

/* replicates: of the bootstrap; 0: no interval for the geometric mean.  alpha is
 * that of single cases.  0 or -1; cases == 0 is no error. */
int aggregate_ratio(const struct result *r, const struct result_experiment *e, const json_t *filter,
                    const char *numerator, const char *denominator, int replicates, uint64_t seed,
                    double alpha, struct aggregate *out);
/* The same over all experiments whose id matches a pattern: "layers_*". */
int aggregate_matching(const struct result *r, const char *experiments, const json_t *filter,
                       const char *numerator, const char *denominator, int replicates,
                       uint64_t seed, double alpha, struct aggregate *out);
/* Numerator and denominator over cases of their own: where a whole is made of other parts than the
 * one it is compared with.  Times of each are added up; one value, the ratio of the sums; none, and
 * *out lists what is missing, where a part was not timed. */
struct aggregate_part {
    const char *experiments;
    const json_t *filter;
    const char *rows;
};
int aggregate_apart(const struct result *r, const struct aggregate_part *numerator,
                    const struct aggregate_part *denominator, struct aggregate *out);
void aggregate_free(struct aggregate *a); /* accepts { 0 } */

#endif

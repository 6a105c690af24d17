/*
 * stats.h - statistics of time samples.
 *
 * Samples are correlated through clock and temperature, so intervals of the
 * median are corrected by the autocorrelation of the signs of x - median:
 *   tau = 1 + 2 * (autocorrelations of the signs over lags, in pairs (1,2),
 *   (3,4), ..., up to the first pair whose sum is <= 0 and to lag n/4), tau >= 1.
 * All arrays are in time order and left unchanged.
 */
#ifndef HARNESS_STATS_H
#define HARNESS_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* A statistic with its interval. */
struct cb_interval {
    double value, low, high;
};

struct cb_stats {
    int n;
    double n_eff;              /* n / tau */
    double min, p5, p25, median, p75, p95, max, mean;
    double stdev;              /* n - 1 in the denominator; 0 for n = 1 */
    double mad;                /* median of |x - median| */
    double robust_cv;          /* 1.4826 mad / median */
    struct cb_interval ci95;   /* of the median, corrected by tau */
    double h;                  /* (high - low) / (2 median) */
    double r1, tau;            /* lag-1 correlation of x; see above */
    bool noisy, drift, bimodal; /* flags of the methodology, section 3.5 */
    int spikes;                /* samples beyond median + 10 mad */
    double mode_low, mode_high; /* medians of the two classes if bimodal */
};

/* Order statistics by linear interpolation at rank q (n - 1); sorted ascending. */
double cb_quantile(const double *sorted, int n, double q);
double cb_median(const double *x, int n);

/* 1-based rank l of the interval [x(l), x(n-l+1)] of the median for independent
 * samples: the largest l with P(Bin(n, 1/2) <= l - 1) <= alpha / 2, by the exact
 * binomial up to n = 2000 and its normal approximation above; 0: no interval. */
int cb_median_rank(int n, double alpha);
double cb_sign_tau(const double *x, int n);

/* Median of n samples with its interval at level 1 - alpha, corrected by tau.
 * [min, max] where the samples do not give one. n >= 1. */
struct cb_interval cb_median_ci(const double *x, int n, double alpha);

/* Everything above. n >= 1; 0 or -1 (no memory). */
int cb_stats(const double *x, int n, struct cb_stats *out);

/* Geometric mean over cases of the median over rounds, with a percentile
 * bootstrap interval: rounds are resampled inside each case; `cases` arrays of
 * ratios, count[i] each; also resamples cases if population.  0 or -1. */
int cb_geomean_ci(const double *const *ratio, const int *count, int cases, bool population,
                  int replicates, uint64_t seed, struct cb_interval *out);

/* Kendall's tau-b of two series of n. */
double cb_kendall(const double *a, const double *b, int n);

/* Next number of rounds at which the stop rule is tested: ceil(1.25 n). */
int cb_next_test(int n);

/* Will the clock go on moving?  mhz [n]: clock of one row, round by round; most: the GPU's
 * highest; before: where the case before ended, 0: none.  A case that draws more power than the
 * one before it is slowed down step by step over a second: then the last third of its rounds lies
 * more than 1 % off the first, or below 0.88 of the highest and not where the case before was.
 * Fewer than 6 rounds: false. */
bool cb_clock_moves(const double *mhz, int n, double most, double before);

/* Verdict of a ratio against the margin delta: "faster", "slower", "equal", "unresolved". */
const char *cb_verdict(struct cb_interval ratio, double delta);

/* A small seeded generator (splitmix64) for shuffles and the bootstrap. */
uint64_t cb_splitmix(uint64_t *state);
/* Fisher-Yates. */
void cb_shuffle(int *x, int n, uint64_t *state);

#endif

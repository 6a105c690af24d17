/* stats.c - order statistics, their intervals under correlation, the bootstrap. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* Timers tick: half of the samples can be equal, and their median deviation 0.
 * What is compared with deviations takes at least this part of the median. */
#define MAD_FLOOR 0.0005

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *sorted_copy(const double *x, int n)
{
    double *copy = malloc((size_t)n * sizeof *copy);
    if (copy) {
        memcpy(copy, x, (size_t)n * sizeof *copy);
        qsort(copy, (size_t)n, sizeof *copy, ascending);
    }
    return copy;
}

double cb_quantile(const double *sorted, int n, double q)
{
    const double rank = fmin(1, fmax(0, q)) * (n - 1);
    const int low = (int)rank;
    if (low + 1 >= n)
        return sorted[n - 1];
    return sorted[low] + (rank - low) * (sorted[low + 1] - sorted[low]);
}

/* NAN without memory. */
double cb_median(const double *x, int n)
{
    double *copy = sorted_copy(x, n);
    const double median = copy ? cb_quantile(copy, n, 0.5) : NAN;
    free(copy);
    return median;
}

/* z with P(N(0, 1) > z) = tail, by bisection of erfc: exact to the last digits
 * for the tails of many comparisons as well. */
static double normal_tail(double tail)
{
    double low = 0, high = 40;
    for (int i = 0; i < 100; i++) {
        const double z = (low + high) / 2;
        if (0.5 * erfc(z / sqrt(2)) > tail)
            low = z;
        else
            high = z;
    }
    return (low + high) / 2;
}

/* Rank from the normal approximation, for n_eff = n / tau. */
static int normal_rank(int n, double tau, double alpha)
{
    const double rank = floor((n - normal_tail(alpha / 2) * sqrt(n * tau)) / 2);
    return rank < 1 ? 0 : (int)rank;
}

int cb_median_rank(int n, double alpha)
{
    if (n < 1)
        return 0;
    if (n > 2000)
        return normal_rank(n, 1, alpha);
    /* 2^-2000 underflows: terms C(n, k) 2^-n are carried as logarithms */
    double term = -n * log(2), sum = exp(term);
    int rank = 0;
    while (sum <= alpha / 2 && rank < (n + 1) / 2) {
        term += log((double)(n - rank) / (rank + 1));
        sum += exp(term);
        rank++;
    }
    return rank;
}

/* The signs are centred: with ties at the median they do not sum to 0, and what
 * is left over would pass for correlation at every lag. */
static double sign_tau(const double *x, int n, double median, double *sign)
{
    double mean = 0, power = 0, tau = 1;
    for (int i = 0; i < n; i++) {
        sign[i] = (x[i] > median) - (x[i] < median);
        mean += sign[i];
    }
    mean /= n;
    for (int i = 0; i < n; i++) {
        sign[i] -= mean;
        power += sign[i] * sign[i];
    }
    if (power == 0)
        return 1;
    for (int lag = 1; lag + 1 <= n / 4; lag += 2) {
        double pair = 0;
        for (int i = 0; i + lag < n; i++)
            pair += sign[i] * sign[i + lag];
        for (int i = 0; i + lag + 1 < n; i++)
            pair += sign[i] * sign[i + lag + 1];
        if (pair <= 0)
            break;
        tau += 2 * pair / power;
    }
    return tau;
}

/* 1 without memory. */
double cb_sign_tau(const double *x, int n)
{
    double *sign = malloc((size_t)n * sizeof *sign), *sorted = sorted_copy(x, n);
    const double tau = sign && sorted ? sign_tau(x, n, cb_quantile(sorted, n, 0.5), sign) : 1;
    free(sign);
    free(sorted);
    return tau;
}

static struct cb_interval median_ci(const double *sorted, int n, double tau, double alpha)
{
    int rank = cb_median_rank(n, alpha);
    if (tau > 1) {
        const int corrected = normal_rank(n, tau, alpha);
        if (corrected < rank)
            rank = corrected;
    }
    if (rank < 1)
        rank = 1;
    return (struct cb_interval){ cb_quantile(sorted, n, 0.5), sorted[rank - 1], sorted[n - rank] };
}

/* All NAN without memory. */
struct cb_interval cb_median_ci(const double *x, int n, double alpha)
{
    struct cb_interval ci = { NAN, NAN, NAN };
    double *sorted = sorted_copy(x, n);
    if (sorted)
        ci = median_ci(sorted, n, cb_sign_tau(x, n), alpha);
    free(sorted);
    return ci;
}

/* ---- summary of one series ---- */

/* Median of |x - median|, with work [n]. */
static double deviation(const double *x, int n, double median, double *work)
{
    for (int i = 0; i < n; i++)
        work[i] = fabs(x[i] - median);
    qsort(work, (size_t)n, sizeof *work, ascending);
    return cb_quantile(work, n, 0.5);
}

/* The two classes with the largest variance between them: both with a tenth of
 * the samples, their medians more than six pooled deviations apart. */
static void find_modes(const double *sorted, int n, double *work, struct cb_stats *out)
{
    const int least = n / 10 + (n % 10 != 0) > 3 ? n / 10 + (n % 10 != 0) : 3;
    double total = 0, low_sum = 0, best = -1;
    int split = 0;
    for (int i = 0; i < n; i++)
        total += sorted[i];
    for (int i = 1; i < n; i++) {
        low_sum += sorted[i - 1];
        const double apart = low_sum / i - (total - low_sum) / (n - i);
        const double between = (double)i * (n - i) * apart * apart;
        if (between > best) {
            best = between;
            split = i;
        }
    }
    if (split < least || n - split < least)
        return;
    const double low = cb_quantile(sorted, split, 0.5),
                 high = cb_quantile(sorted + split, n - split, 0.5);
    for (int i = 0; i < n; i++)
        work[i] = fabs(sorted[i] - (i < split ? low : high));
    qsort(work, (size_t)n, sizeof *work, ascending);
    const double pooled = fmax(cb_quantile(work, n, 0.5), MAD_FLOOR * fabs(out->median));
    if (high - low > 6 * pooled) {
        out->bimodal = true;
        out->mode_low = low;
        out->mode_high = high;
    }
}

static double third_median(const double *x, int n, double *work)
{
    memcpy(work, x, (size_t)n * sizeof *work);
    qsort(work, (size_t)n, sizeof *work, ascending);
    return cb_quantile(work, n, 0.5);
}

int cb_stats(const double *x, int n, struct cb_stats *out)
{
    memset(out, 0, sizeof *out);
    if (n < 1)
        return cb_error("statistics of no samples");
    double *sorted = sorted_copy(x, n), *work = malloc((size_t)n * sizeof *work);
    int status = -1;
    if (!sorted || !work) {
        cb_error("no memory for %d samples", n);
        goto done;
    }
    out->n = n;
    out->min = sorted[0];
    out->p5 = cb_quantile(sorted, n, 0.05);
    out->p25 = cb_quantile(sorted, n, 0.25);
    out->median = cb_quantile(sorted, n, 0.5);
    out->p75 = cb_quantile(sorted, n, 0.75);
    out->p95 = cb_quantile(sorted, n, 0.95);
    out->max = sorted[n - 1];

    double sum = 0, squares = 0, product = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    out->mean = sum / n;
    for (int i = 0; i < n; i++) {
        squares += (x[i] - out->mean) * (x[i] - out->mean);
        if (i)
            product += (x[i] - out->mean) * (x[i - 1] - out->mean);
    }
    out->stdev = n > 1 ? sqrt(squares / (n - 1)) : 0;
    out->r1 = squares > 0 ? product / squares : 0;
    out->tau = sign_tau(x, n, out->median, work);
    out->n_eff = n / out->tau;
    out->mad = deviation(x, n, out->median, work);
    out->robust_cv = out->median != 0 ? 1.4826 * out->mad / fabs(out->median) : 0;
    out->ci95 = median_ci(sorted, n, out->tau, 0.05);
    out->h = out->median != 0 ? (out->ci95.high - out->ci95.low) / (2 * fabs(out->median)) : 0;

    const double spike = out->median + 10 * fmax(out->mad, MAD_FLOOR * fabs(out->median));
    for (int i = 0; i < n; i++)
        out->spikes += x[i] > spike;
    out->noisy = out->robust_cv > 0.03;
    out->drift = out->tau > 10;
    if (n >= 3) {
        const double first = third_median(x, n / 3, work),
                     last = third_median(x + n - n / 3, n / 3, work);
        if (fabs(last - first) > 0.01 * fabs(first))
            out->drift = true;
    }
    find_modes(sorted, n, work, out);
    status = 0;
done:
    free(sorted);
    free(work);
    return status;
}

/* ---- several cases ---- */

/* A number below n without bias worth naming: n is far below 2^32. */
static int draw(int n, uint64_t *state)
{
    return (int)(((cb_splitmix(state) >> 32) * (uint64_t)n) >> 32);
}

/* Median of n draws with replacement from sorted [n]: the draws are counted by
 * place, so that nothing is sorted again. */
static double resampled_median(const double *sorted, int n, int *times, uint64_t *state)
{
    memset(times, 0, (size_t)n * sizeof *times);
    for (int i = 0; i < n; i++)
        times[draw(n, state)]++;
    int place = 0, seen = times[0];
    while (seen < (n + 1) / 2)
        seen += times[++place];
    const double low = sorted[place];
    if (n % 2 || seen > n / 2)
        return low;
    do
        place++;
    while (!times[place]);
    return (low + sorted[place]) / 2;
}

int cb_geomean_ci(const double *const *ratio, const int *count, int cases, bool population,
                  int replicates, uint64_t seed, struct cb_interval *out)
{
    double **sorted = NULL, *means = NULL;
    int *times = NULL, most = 0, status = -1;
    uint64_t state = seed;
    *out = (struct cb_interval){ 0, 0, 0 };
    if (cases < 1 || replicates < 1)
        return cb_error("geometric mean of no cases");
    sorted = calloc((size_t)cases, sizeof *sorted);
    means = malloc((size_t)replicates * sizeof *means);
    for (int i = 0; sorted && i < cases; i++) {
        if (count[i] < 1) {
            cb_error("geometric mean: case %d has no rounds", i);
            goto done;
        }
        if (count[i] > most)
            most = count[i];
        sorted[i] = sorted_copy(ratio[i], count[i]);
        if (!sorted[i])
            break;
        if (!(sorted[i][0] > 0)) {
            cb_error("geometric mean: case %d has a ratio that is not positive", i);
            goto done;
        }
    }
    times = malloc((size_t)most * sizeof *times);
    if (!sorted || !sorted[cases - 1] || !means || !times) {
        cb_error("no memory for the bootstrap of %d cases", cases);
        goto done;
    }
    double sum = 0;
    for (int i = 0; i < cases; i++)
        sum += log(cb_quantile(sorted[i], count[i], 0.5));
    out->value = exp(sum / cases);
    for (int r = 0; r < replicates; r++) {
        sum = 0;
        for (int i = 0; i < cases; i++) {
            const int c = population ? draw(cases, &state) : i;
            sum += log(resampled_median(sorted[c], count[c], times, &state));
        }
        means[r] = sum / cases;
    }
    qsort(means, (size_t)replicates, sizeof *means, ascending);
    out->low = exp(cb_quantile(means, replicates, 0.025));
    out->high = exp(cb_quantile(means, replicates, 0.975));
    status = 0;
done:
    for (int i = 0; sorted && i < cases; i++)
        free(sorted[i]);
    free(sorted);
    free(means);
    free(times);
    return status;
}

/* NAN where one series is constant: it has no order to agree with. */
double cb_kendall(const double *a, const double *b, int n)
{
    double agree = 0, pairs_a = 0, pairs_b = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            const int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
            agree += x * y;
            pairs_a += x != 0;
            pairs_b += y != 0;
        }
    return pairs_a > 0 && pairs_b > 0 ? agree / sqrt(pairs_a * pairs_b) : NAN;
}

int cb_next_test(int n)
{
    return n + (n + 3) / 4;
}

bool cb_clock_moves(const double *mhz, int n, double most, double before)
{
    enum { PART = 3, LEAST = 2 * PART };
    if (n < LEAST)
        return false;
    double last = cb_median(mhz + n - n / PART, n / PART), first = cb_median(mhz, n / PART);
    return fabs(last - first) > 0.01 * first ||
           (last < 0.88 * most && fabs(last - before) > 0.01 * before);
}

const char *cb_verdict(struct cb_interval ratio, double delta)
{
    if (ratio.low > 1 + delta)
        return "faster";
    if (ratio.high < 1 - delta)
        return "slower";
    return ratio.low >= 1 - delta && ratio.high <= 1 + delta ? "equal" : "unresolved";
}

uint64_t cb_splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void cb_shuffle(int *x, int n, uint64_t *state)
{
    for (int i = n - 1; i > 0; i--) {
        const int j = draw(i + 1, state), kept = x[i];
        x[i] = x[j];
        x[j] = kept;
    }
}

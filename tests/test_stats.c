/* test_stats.c - intervals, percentiles and flags; coverage by simulation. */
#include <stdlib.h>

#include "../harness/stats.h"
#include "test.h"

static double uniform(uint64_t *state)
{
    return ((double)(cb_splitmix(state) >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    return sqrt(-2 * log(uniform(state))) * cos(6.283185307179586 * uniform(state));
}

/* The table of methodology 3.2. */
static void test_ranks(void)
{
    static const struct {
        int n, l95, l99;
    } row[] = {
        { 6, 1, 0 },    { 9, 2, 1 },    { 11, 2, 1 },   { 15, 4, 3 },   { 21, 6, 5 },
        { 30, 10, 8 },  { 41, 14, 12 }, { 51, 19, 16 }, { 64, 24, 22 }, { 100, 40, 37 },
        { 200, 86, 82 }, { 500, 228, 221 }, { 1000, 469, 459 }, { 2000, 956, 942 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        CHECK(cb_median_rank(row[i].n, 0.05) == row[i].l95);
        CHECK(cb_median_rank(row[i].n, 0.01) == row[i].l99);
    }
    CHECK(cb_median_rank(5, 0.05) == 0);
    CHECK(cb_median_rank(7, 0.01) == 0 && cb_median_rank(8, 0.01) == 1);
    CHECK(cb_median_rank(0, 0.05) == 0);
    /* the approximation takes over without a step */
    CHECK(abs(cb_median_rank(2001, 0.05) - cb_median_rank(2000, 0.05)) <= 1);
    CHECK(cb_median_rank(10000, 0.05) == (int)floor((10000 - 1.959964 * 100) / 2));
    for (int n = 1; n < 200; n++)
        CHECK(cb_median_rank(n + 1, 0.05) >= cb_median_rank(n, 0.05));
}

static void test_order_statistics(void)
{
    const double five[] = { 10, 20, 30, 40, 50 };
    CHECK_NEAR(cb_quantile(five, 5, 0), 10, 0);
    CHECK_NEAR(cb_quantile(five, 5, 1), 50, 0);
    CHECK_NEAR(cb_quantile(five, 5, 0.5), 30, 0);
    CHECK_NEAR(cb_quantile(five, 5, 0.05), 12, 1e-12);
    CHECK_NEAR(cb_quantile(five, 5, 0.95), 48, 1e-12);
    CHECK_NEAR(cb_quantile(five, 1, 0.3), 10, 0);
    const double mixed[] = { 3, 1, 2, 4 };
    CHECK_NEAR(cb_median(mixed, 4), 2.5, 0);
    CHECK(mixed[0] == 3 && mixed[3] == 4); /* unchanged */

    struct cb_interval ci = cb_median_ci(mixed, 4, 0.05);
    CHECK(ci.value == 2.5 && ci.low == 1 && ci.high == 4); /* too few: the range */
    const double one = 7;
    ci = cb_median_ci(&one, 1, 0.05);
    CHECK(ci.value == 7 && ci.low == 7 && ci.high == 7);
    CHECK(cb_next_test(21) == 27 && cb_next_test(27) == 34 && cb_next_test(30) == 38);
}

static void test_summary(void)
{
    const double x[] = { 4, 1, 3, 2, 5 };
    struct cb_stats s;
    CHECK(cb_stats(x, 5, &s) == 0);
    CHECK(s.n == 5 && s.min == 1 && s.max == 5 && s.median == 3 && s.p25 == 2 && s.p75 == 4);
    CHECK_NEAR(s.mean, 3, 1e-15);
    CHECK_NEAR(s.stdev, sqrt(2.5), 1e-15);
    CHECK_NEAR(s.mad, 1, 0);
    CHECK_NEAR(s.robust_cv, 1.4826 / 3, 1e-12);
    CHECK_NEAR(s.n_eff, 5 / s.tau, 1e-12);
    CHECK(s.noisy);
    CHECK(cb_stats(x, 1, &s) == 0 && s.stdev == 0 && s.n == 1);
    CHECK(cb_stats(x, 0, &s) == -1);

    double y[300];
    uint64_t state = 11;
    for (int i = 0; i < 300; i++)
        y[i] = 100 * (1 + 0.004 * normal(&state));
    CHECK(cb_stats(y, 300, &s) == 0);
    CHECK(!s.noisy && !s.drift && !s.bimodal && s.spikes == 0);
    CHECK(s.ci95.low <= s.median && s.median <= s.ci95.high);
    CHECK_NEAR(s.h, (s.ci95.high - s.ci95.low) / (2 * s.median), 1e-15);

    y[7] = y[200] = 150; /* spikes do not move the median */
    CHECK(cb_stats(y, 300, &s) == 0 && s.spikes == 2 && !s.bimodal);

    for (int i = 0; i < 300; i++)
        y[i] = 100 * (1 + 0.0001 * i + 0.001 * normal(&state));
    CHECK(cb_stats(y, 300, &s) == 0 && s.drift && s.tau > 10);

    for (int i = 0; i < 300; i++)
        y[i] = (uniform(&state) < 0.3 ? 120 : 100) * (1 + 0.002 * normal(&state));
    CHECK(cb_stats(y, 300, &s) == 0 && s.bimodal);
    CHECK_NEAR(s.mode_low, 100, 0.2);
    CHECK_NEAR(s.mode_high, 120, 0.4);

    for (int i = 0; i < 300; i++) /* a timer's tick is no mode */
        y[i] = 100 + 0.03 * (i * 7 % 3 == 0);
    CHECK(cb_stats(y, 300, &s) == 0 && !s.bimodal && s.spikes == 0);
    for (int i = 0; i < 300; i++)
        y[i] = 5;
    CHECK(cb_stats(y, 300, &s) == 0 && s.h == 0 && s.tau == 1 && !s.drift && !s.bimodal);
}

/* Share of runs whose interval holds the true median 1, under the stop rule of
 * methodology 3.1, with AR(1) noise of 1 % and eps = 0.25 %. */
static double coverage(double correlation, bool corrected, int runs)
{
    static double x[2500], shuffled[2500];
    uint64_t state = 12345;
    int held = 0;
    for (int r = 0; r < runs; r++) {
        int made = 0, n = 30;
        double noise = normal(&state);
        struct cb_interval ci;
        for (;;) {
            for (; made < n; made++) {
                x[made] = 1 + 0.01 * noise;
                noise = correlation * noise +
                        sqrt(1 - correlation * correlation) * normal(&state);
            }
            if (corrected) {
                ci = cb_median_ci(x, n, 0.05);
            } else { /* in random order nothing is left of the correlation */
                int order[2500];
                for (int i = 0; i < n; i++)
                    order[i] = i;
                cb_shuffle(order, n, &state);
                for (int i = 0; i < n; i++)
                    shuffled[i] = x[order[i]];
                ci = cb_median_ci(shuffled, n, 0.05);
            }
            if ((ci.high - ci.low) / (2 * ci.value) <= 0.0025 || n >= 2000)
                break;
            n = cb_next_test(n) < 2000 ? cb_next_test(n) : 2000;
        }
        held += ci.low <= 1 && 1 <= ci.high;
    }
    return (double)held / runs;
}

static void test_coverage(void)
{
    const double none = coverage(0, true, 600), half = coverage(0.5, true, 600),
                 high = coverage(0.8, true, 300), plain = coverage(0.5, false, 600);
    printf("coverage of 95 %% intervals: %.3f at correlation 0, %.3f at 0.5, %.3f at 0.8; "
           "%.3f at 0.5 if the order is ignored\n", none, half, high, plain);
    CHECK(none >= 0.90);
    CHECK(half >= 0.90);
    CHECK(high >= 0.85);
    CHECK(plain < 0.88); /* what the correction is there for */
}

/* Two rows with a true ratio of 1.25, 0.5 % noise, a clock that wanders by 1 %. */
static void test_paired_ratio(void)
{
    enum { RUNS = 500, ROUNDS = 21, Q = 5 };
    uint64_t state = 99;
    int held = 0, apart = 0;
    double width = 0;
    for (int run = 0; run < RUNS; run++) {
        double ratio[ROUNDS], wander = normal(&state), block[2][ROUNDS * Q], drift = wander;
        for (int r = 0; r < ROUNDS; r++) {
            int order[2] = { 0, 1 };
            double t[2];
            cb_shuffle(order, 2, &state);
            for (int o = 0; o < 2; o++) {
                double sample[Q];
                for (int q = 0; q < Q; q++) {
                    wander = 0.99 * wander + sqrt(1 - 0.99 * 0.99) * normal(&state);
                    sample[q] = (order[o] ? 1 : 1.25) * (1 + 0.01 * wander) *
                                (1 + 0.005 * normal(&state));
                }
                t[order[o]] = cb_median(sample, Q);
            }
            ratio[r] = t[0] / t[1];
        }
        const struct cb_interval ci = cb_median_ci(ratio, ROUNDS, 0.05);
        held += ci.low <= 1.25 && 1.25 <= ci.high;
        width += (ci.high - ci.low) / (2 * 1.25) / RUNS;
        /* the same, one after the other */
        for (int row = 0; row < 2; row++)
            for (int i = 0; i < ROUNDS * Q; i++) {
                drift = 0.99 * drift + sqrt(1 - 0.99 * 0.99) * normal(&state);
                block[row][i] = (row ? 1 : 1.25) * (1 + 0.01 * drift) *
                                (1 + 0.005 * normal(&state));
            }
        const double separate = cb_median(block[0], ROUNDS * Q) / cb_median(block[1], ROUNDS * Q);
        apart += fabs(separate - 1.25) > 0.005 * 1.25;
    }
    printf("paired ratio: covered in %.3f of runs, half-width %.2f %%; not interleaved, %.2f "
           "are off by more than 0.5 %%\n", (double)held / RUNS, 100 * width,
           (double)apart / RUNS);
    CHECK((double)held / RUNS >= 0.94);
    CHECK(width < 0.005);
    CHECK((double)apart / RUNS > 0.3);
}

static void test_geomean(void)
{
    enum { CASES = 8, ROUNDS = 21 };
    static double ratio[CASES][ROUNDS];
    const double *rows[CASES];
    int count[CASES], held = 0;
    uint64_t state = 5;
    struct cb_interval a, b, c;
    double logs = 0;
    for (int i = 0; i < CASES; i++) {
        rows[i] = ratio[i];
        count[i] = ROUNDS;
        for (int r = 0; r < ROUNDS; r++)
            ratio[i][r] = (1 + 0.1 * i) * exp(0.01 * normal(&state));
        logs += log(cb_median(ratio[i], ROUNDS));
    }
    CHECK(cb_geomean_ci(rows, count, CASES, false, 2000, 1, &a) == 0);
    CHECK(cb_geomean_ci(rows, count, CASES, false, 2000, 1, &b) == 0);
    CHECK(cb_geomean_ci(rows, count, CASES, false, 2000, 2, &c) == 0);
    CHECK(a.low == b.low && a.high == b.high && a.value == b.value);
    CHECK(a.value == c.value && (a.low != c.low || a.high != c.high));
    CHECK_NEAR(a.value, exp(logs / CASES), 1e-12);
    CHECK(a.low < a.value && a.value < a.high && (a.high - a.low) / a.value < 0.01);
    /* cases drawn anew: the spread over cases is in the interval */
    CHECK(cb_geomean_ci(rows, count, CASES, true, 2000, 1, &c) == 0);
    CHECK(c.high - c.low > 5 * (a.high - a.low));
    for (int run = 0; run < 300; run++) {
        for (int i = 0; i < CASES; i++)
            for (int r = 0; r < ROUNDS; r++)
                ratio[i][r] = 1.5 * exp(0.02 * normal(&state));
        cb_geomean_ci(rows, count, CASES, false, 500, (uint64_t)run, &a);
        held += a.low <= 1.5 && 1.5 <= a.high;
    }
    printf("bootstrap: covered in %.3f of runs\n", held / 300.0);
    CHECK(held >= 276);

    /* medians of an even number, exactly: every resample of {1, 4} is 1, 2.5 or 4 */
    const double two[] = { 4, 1 }, *pair = two;
    const int pairs = 2;
    CHECK(cb_geomean_ci(&pair, &pairs, 1, false, 4000, 3, &a) == 0);
    CHECK_NEAR(a.value, 2.5, 1e-12);
    CHECK_NEAR(a.low, 1, 1e-12);
    CHECK_NEAR(a.high, 4, 1e-12);
    ratio[2][3] = -1;
    CHECK(cb_geomean_ci(rows, count, CASES, false, 10, 1, &a) == -1);
    count[1] = 0;
    CHECK(cb_geomean_ci(rows, count, CASES, false, 10, 1, &a) == -1);
    CHECK(cb_geomean_ci(rows, count, 0, false, 10, 1, &a) == -1);
}

static void test_rest(void)
{
    const double up[] = { 1, 2, 3, 4 }, down[] = { 9, 7, 5, 3 }, ties[] = { 1, 2, 2, 3 },
                 flat[] = { 1, 1, 1, 1 };
    CHECK_NEAR(cb_kendall(up, up, 4), 1, 1e-15);
    CHECK_NEAR(cb_kendall(up, down, 4), -1, 1e-15);
    CHECK_NEAR(cb_kendall(up, ties, 4), 5 / sqrt(30), 1e-15);
    CHECK(isnan(cb_kendall(up, flat, 4)));

    CHECK_STR(cb_verdict((struct cb_interval){ 1.1, 1.02, 1.2 }, 0.01), "faster");
    CHECK_STR(cb_verdict((struct cb_interval){ 0.9, 0.8, 0.98 }, 0.01), "slower");
    CHECK_STR(cb_verdict((struct cb_interval){ 1, 0.995, 1.005 }, 0.01), "equal");
    CHECK_STR(cb_verdict((struct cb_interval){ 1, 0.98, 1.02 }, 0.01), "unresolved");
    CHECK_STR(cb_verdict((struct cb_interval){ 1.02, 1.005, 1.04 }, 0.01), "unresolved");

    uint64_t state = 0; /* published first outputs for seed 0 */
    CHECK(cb_splitmix(&state) == 0xE220A8397B1DCDAFu);
    CHECK(cb_splitmix(&state) == 0x6E789E6AA1B965F4u);
    int seen[24] = { 0 }, x[4];
    for (int run = 0; run < 24000; run++) {
        for (int i = 0; i < 4; i++)
            x[i] = i;
        cb_shuffle(x, 4, &state);
        seen[x[0] * 6 + (x[1] - (x[1] > x[0])) * 2 + (x[2] > x[3])]++;
    }
    for (int i = 0; i < 24; i++)
        CHECK_NEAR(seen[i], 1000, 160);
    const double waves[] = { 1, 1, 1, 3, 3, 3, 1, 1, 1, 3, 3, 3, 1, 1, 1, 3, 3, 3 };
    CHECK(cb_sign_tau(waves, 18) > 1);
    const double alternating[] = { 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3 };
    CHECK_NEAR(cb_sign_tau(alternating, 12), 1, 0);
}

static void test_clock(void)
{
    double f[21];
    for (int i = 0; i < 21; i++)
        f[i] = 1980 - (i % 3);
    CHECK(!cb_clock_moves(f, 21, 1980, 0) && !cb_clock_moves(f, 21, 1980, 1700));
    f[20] = 1200; /* one slow round is no trend */
    CHECK(!cb_clock_moves(f, 21, 1980, 1980));
    for (int i = 0; i < 21; i++)
        f[i] = 1900 - 3 * i;
    CHECK(cb_clock_moves(f, 21, 1980, 1900));
    CHECK(!cb_clock_moves(f, 5, 1980, 1900));
    for (int i = 0; i < 21; i++) /* at rest, but slow: only if it was not so before */
        f[i] = 1500;
    CHECK(cb_clock_moves(f, 21, 1980, 1980) && cb_clock_moves(f, 21, 1980, 0));
    CHECK(!cb_clock_moves(f, 21, 1980, 1505));
    CHECK(!cb_clock_moves(f, 21, 1600, 1980)); /* near its highest */
}

int main(void)
{
    test_ranks();
    test_order_statistics();
    test_summary();
    test_coverage();
    test_paired_ratio();
    test_geomean();
    test_rest();
    test_clock();
    return TEST_END();
}

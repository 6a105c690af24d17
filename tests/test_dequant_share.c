/* test_dequant_share.c - share and excess of dequantisation and the overlap of stages, from the
 * rows that leave a stage out. */
#include <stdlib.h>

#include "../suites/metrics.h"
#include "test.h"

/* One row of constant samples. */
static struct result_row row_of(const char *kernel, const char *role, double *sample, double us)
{
    struct result_row r = { .kernel = kernel, .title = kernel, .role = role, .status = "ok",
                            .timed = true, .invocations = 2 };
    for (int i = 0; i < 8; i++)
        sample[i] = us * (1 + 0.001 * (i % 3));
    for (int k = 0; k < 2; k++) {
        r.median[k] = us;
        r.sample[k] = sample;
        r.count[k] = 8;
    }
    r.us = (struct cb_interval){ us, us, us };
    return r;
}

int main(void)
{
    static const char *const name[] = { "k",         "k_nodeq",   "k_loadonly", "k_mmaonly",
                                        "k_deqonly", "k_noscale", "other" };
    static const char *const stage[] = { "full",    "nodeq", "loadonly", "mmaonly",
                                         "deqonly", "nodeq", "nodeq" };
    static const double us[] = { 100, 80, 70, 40, 30, 90, 60 };
    double sample[7][8];
    struct result_row row[7];
    json_t *kernels = json_array();
    for (int i = 0; i < 7; i++) {
        row[i] = row_of(name[i], i ? "ablation" : "own", sample[i], us[i]);
        json_array_append_new(
            kernels, json_pack("{s:s,s:s,s:s?,s:s}", "id", name[i], "op", i == 6 ? "spmm" : "gemm",
                               "ablates", i ? "k" : NULL, "stage", stage[i]));
    }
    json_t *doc = json_pack("{s:o}", "kernels", kernels);
    struct result r = { .doc = doc };
    struct result_case c = { .op = "gemm", .row = row, .row_count = 7 };
    struct result_experiment e = { .id = "e", .baseline = "" };
    struct result_value v = metric_value(&r, &e, &c, &row[0], "share");
    CHECK(v.ok && v.invocations == 2);
    CHECK_NEAR(v.value, 0.2, 1e-12);
    CHECK(v.low <= v.value && v.value <= v.high);
    v = metric_value(&r, &e, &c, &row[0], "excess");
    CHECK_NEAR(v.value, 0.25, 1e-12);
    CHECK(v.low <= v.value && v.value <= v.high);
    v = metric_value(&r, &e, &c, &row[0], "overlap");
    CHECK_NEAR(v.value, 0.4, 1e-12);
    CHECK(v.ok && v.low <= v.value && v.value <= v.high);
    /* rows without an ablation, an ablation itself, and one that was not timed have none */
    CHECK(!metric_value(&r, &e, &c, &row[6], "share").ok);
    CHECK(!metric_value(&r, &e, &c, &row[1], "share").ok);
    row[1].timed = false;
    CHECK(!metric_value(&r, &e, &c, &row[0], "share").ok);
    CHECK(!metric_value(&r, &e, &c, &row[0], "excess").ok);
    row[3].timed = false;
    CHECK(!metric_value(&r, &e, &c, &row[0], "overlap").ok);
    CHECK(metric_find("share")->better == -1 && metric_find("excess") && metric_find("overlap"));
    json_decref(doc);
    return TEST_END();
}

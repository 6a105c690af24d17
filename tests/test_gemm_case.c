/* test_gemm_case.c - gemm bound to the harness, on the host: operands by scheme, whole cases, and
 * whether the comparison finds what is wrong. */
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/ops/gemm_part.h"
#include "../suites/suite.h"
#include "test.h"

static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3,
                                         .executions_max = 64 };

/* Every row of the host on one problem; r2 of the quantised ones into *r2. */
static void try_case(struct cb_context *c, int m, int n, int k, int group, double *r2)
{
    const struct cb_op *op = suite_op("gemm");
    const struct op_impl *impl[512] = { NULL }, *i;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    json_t *j = json_pack("{s:i,s:i,s:i,s:i}", "m", m, "n", n, "k", k, "group", group);
    int count = 0, ran = 0;
    for (int t = 0; count < 511 && (i = op->impl(t)); t++)
        impl[count++] = i;
    CHECK(!cb_params_from_json(op, j, p) && !cb_run_case(c, op, p, impl, &out));
    CHECK(out.status == CB_OK);
    for (int o = 0; o < out.count; o++) {
        const struct cb_outcome *row = &out.out[o];
        if (row->impl->role != OP_REFERENCE) {
            CHECK(row->status == CB_SKIPPED);
            continue;
        }
        const bool grouped = strstr(row->impl->name, "w4a16") || strstr(row->impl->name, "_group");
        CHECK(row->status == (grouped && k % group ? CB_UNSUPPORTED : CB_OK));
        if (row->status != CB_OK)
            continue;
        ran++;
        CHECK(row->deterministic && row->r1.compared && !row->r1.bad);
        CHECK(c->exact ? row->r1.max_abs == 0 : row->r1.rel_fro < 0x1p-11);
        if (!c->exact && strcmp(row->impl->name, "ref_f16")) {
            CHECK(row->r2.compared == row->r1.compared);
            /* 4 bits of both operands cost more */
            r2[strstr(row->impl->name, "w4a4") != NULL] =
                fmax(r2[strstr(row->impl->name, "w4a4") != NULL], row->r2.rel_fro);
        } else {
            CHECK(!row->r2.compared);
        }
        if (grouped || strstr(row->impl->name, "w4a"))
            CHECK(row->work.weight_bytes < 0.55 * n * k + 3.0 * n * k / group + 4.0 * n);
    }
    CHECK(ran == (k % group ? 5 : 9));
    cb_case_free(&out);
    json_decref(j);
    free(p);
}

static void test_cases(struct cb_device *d)
{
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    static const int size[][4] = {
        { 1, 8, 8, 8 },       { 3, 5, 7, 7 },      { 17, 100, 65, 64 },
        { 9, 300, 384, 128 }, { 5, 64, 4544, 64 }, { 3, 256, 11008, 128 }
    };
    double r2[2] = { 0 };
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int exact = 0; exact < 2; exact++) {
            c.exact = exact;
            try_case(&c, size[s][0], size[s][1], size[s][2], size[s][3], r2);
        }
    /* what 4 bits cost on normal weights: about 0.1, with activations 0.2 */
    CHECK(r2[0] > 0.02 && r2[0] < 0.2 && r2[1] > 0.05 && r2[1] < 0.4);
}

/* One element off, in a row that is compared and in one that only sums see; exact: by a unit in the
 * last place. */
static void test_finding(struct cb_device *d, enum gemm_scheme scheme, int m, int n, int k,
                         double whole_max, bool exact)
{
    const struct gemm_problem p = { m, n, k, 128 };
    struct gemm_operands o = { .device = d, .p = p, .seed = 4, .exact = exact };
    struct gemm_expectation e;
    const struct gemm_impl *impl = gemm_references;
    while (impl->scheme != scheme)
        impl++;
    CHECK(!gemm_expectation_open(&e, d, &p, 4, whole_max));
    CHECK(!gemm_operands_open(&o, 1u << scheme, 2, 2));
    CHECK(!gemm_expectation_prepare(&e, 1u << scheme));
    CHECK(!gemm_expectation_compute(&e, &o, 1, 1));
    uint16_t *y = malloc((size_t)m * (size_t)n * 2);
    double *want = malloc((size_t)n * sizeof *want);
    float *size = malloc((size_t)n * sizeof *size);
    struct gemm_args a = gemm_operands_at(&o, scheme, 1, 1);
    CHECK(!a.x8 && !a.w8 && a.x && a.w && a.y);
    CHECK((scheme == GEMM_W4A16) == (a.w4.code && a.w4.scale && a.w4.zero));
    CHECK((scheme >= GEMM_W8A8) == (a.int_x.code && a.int_x.scale));
    CHECK((scheme == GEMM_W8A8 || scheme > GEMM_W4A8_GROUP) == (a.int_w.code && a.int_w.scale));
    CHECK((scheme == GEMM_W4A8_CHANNEL) == (a.w4_channel.code && a.w4_channel.scale &&
                                            a.w4_channel.scaled_zero && a.w4_channel.zero));
    CHECK((scheme == GEMM_W4A8_GROUP) == (a.w4_progressive.code && a.w4_progressive.channel_scale &&
                                          a.w4_progressive.scale && a.w4_progressive.zero));
    CHECK((scheme == GEMM_W4A8_CHANNEL || scheme == GEMM_W4A8_GROUP) ==
          (a.int_x.sum && a.int_x.code_sum));
    CHECK((scheme == GEMM_W4A8_GROUP) == (a.int_x.group_sum != NULL));
    for (int i = 0; i < m; i++) {
        gemm_ref_rows(&p, scheme, &a, &i, 1, want, size, NULL);
        for (int j = 0; j < n; j++)
            y[(size_t)i * (size_t)n + (size_t)j] = cb_half_from_float((float)want[j]);
    }
    int seen = e.row[e.rows / 2], unseen = 0;
    for (int r = 0; r < e.rows && e.row[r] == unseen; r++)
        unseen++;
    for (int t = 0; t < 3; t++) { /* nothing wrong; a compared row; another */
        struct cb_accuracy r1 = { .worst = -1 }, r2 = { .worst = -1 };
        const int row = t == 2 && unseen < m ? unseen : seen;
        uint16_t *at = &y[(size_t)row * (size_t)n + (size_t)(n / 3)], kept = *at;
        if (t == 1 || (t == 2 && unseen < m))
            *at ^= exact ? 1 : 0x8000;
        CHECK(!gemm_expectation_check(&e, impl, y, exact, &r1, &r2));
        /* in a compared row the sum of the row is off too */
        CHECK(r1.bad == (t == 0 ? 0 : t == 1 ? 1 + (e.sign != NULL) : unseen < m));
        CHECK(r2.compared == (exact ? 0 : r1.compared) && r1.compared == (long)e.rows * n);
        *at = kept;
    }
    for (int j = 0; j < n; j++) /* a row not written */
        y[(size_t)(m - 1) * (size_t)n + (size_t)j] = 0xffff;
    struct cb_accuracy r1 = { .worst = -1 }, r2 = { .worst = -1 };
    CHECK(!gemm_expectation_check(&e, impl, y, exact, &r1, &r2) && r1.nonfinite);
    free(y);
    free(want);
    free(size);
    gemm_operands_close(&o);
    gemm_expectation_close(&e);
}

/* Only weights rotate: the one output holds what the last set gave, and the check after timing
 * must expect that. */
static void test_rotation(struct cb_device *d)
{
    static const struct cb_policy quick = { .name = "quick", .invocations = 1, .rounds_min = 3, .rounds_max = 5,
                                            .samples_per_round = 1, .window_us = 20, .eps = 0.5, .t_max_s = 0.2,
                                            .warmup_max_s = 0.01, .rotate_l2 = 3e-3, .flush_l2 = 3,
                                            .executions_max = 4096 };
    static const enum cb_cache state[] = { CB_HOT, CB_COLD, CB_COLDW };
    const struct cb_op *op = suite_op("gemm");
    void *p = calloc(1, op->params_size);
    json_t *j = json_pack("{s:i,s:i,s:i,s:i}", "m", 4, "n", 64, "k", 128, "group", 128);
    const struct op_impl *impl[] = { &gemm_references[0].base, NULL };
    struct cb_context c = { .device = d, .policy = &quick, .seed = 11, .order_seed = 5, .aa = -1 };
    CHECK(!cb_params_from_json(op, j, p));
    for (int i = 0; i < 12; i++) {
        struct cb_case out;
        c.cache = state[i % 3];
        c.order_seed = 5 + (uint64_t)i; /* decides which set is checked where outputs rotate */
        CHECK(!cb_run_case(&c, op, p, impl, &out));
        CHECK(out.out[0].status == CB_OK && out.out[0].post_check);
        CHECK(out.session.flush || (out.session.sets > 2) == (c.cache != CB_HOT));
        cb_case_free(&out);
    }
    json_decref(j);
    free(p);
}

int main(void)
{
    struct cb_device *d;
    CHECK(!cb_device_open("host", &d));
    test_cases(d);
    test_rotation(d);
    for (int s = GEMM_W4A16; s < GEMM_SCHEMES; s++) {
        if (s == GEMM_W4A16_SYM || s == GEMM_FP8)
            continue;
        test_finding(d, (enum gemm_scheme)s, 4, 200, 256, GEMM_WHOLE_MAX, false);
        test_finding(d, (enum gemm_scheme)s, 4, 200, 11008, GEMM_WHOLE_MAX, true);
        test_finding(d, (enum gemm_scheme)s, 130, 300, 512, 0, false); /* sums of all rows */
    }
    cb_device_close(d);
    return TEST_END();
}

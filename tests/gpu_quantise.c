/*
 * gpu_quantise.c - operands of gemm made on the GPU and on the host: the same bits, for every
 * scheme, made-up and exact.
 */
#include <math.h>
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../kernels/gemm/bound.h"
#include "../suites/ops/gemm_part.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
static void compare(struct cb_device *d, const char *what, enum gemm_scheme s, const void *a,
                    const void *b, size_t bytes)
{
    if (!a && !b)
        return;
    unsigned char *x = malloc(bytes);
    CHECK(a && b && !cb_download(d, x, a, bytes));
    const bool same = a && b && !memcmp(x, b, bytes);
    CHECK(same);
    if (!same)
        printf("  scheme %d: %s\n", (int)s, what);
    free(x);
}

static void try_scheme(struct cb_device *gpu, struct cb_device *host, enum gemm_scheme s,
                       const struct gemm_problem *p, bool exact)
{
    if (!test_takes())
        return;
    const size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k;
    const size_t groups = k / (size_t)p->group, scales = s == GEMM_W4A4_GROUP ? groups : 1;
    struct gemm_operands on[2] = { { .device = gpu, .p = *p, .seed = 5, .exact = exact },
                                   { .device = host, .p = *p, .seed = 5, .exact = exact } };
    CHECK(!gemm_operands_open(&on[0], 1u << s, 2, 1) && !gemm_operands_open(&on[1], 1u << s, 2, 1));
    const struct gemm_args a = gemm_operands_at(&on[0], s, 1, 0);
    const struct gemm_args b = gemm_operands_at(&on[1], s, 1, 0);
    compare(gpu, "x", s, a.x, b.x, 2 * m * k);
    compare(gpu, "w", s, a.w, b.w, 2 * n * k);
    compare(gpu, "codes of X", s, a.int_x.code, b.int_x.code, m * k);
    compare(gpu, "scales of X", s, a.int_x.scale, b.int_x.scale, 2 * m * scales);
    compare(gpu, "sums of X", s, a.int_x.sum, b.int_x.sum, 2 * m);
    compare(gpu, "sums of codes", s, a.int_x.code_sum, b.int_x.code_sum, 4 * m);
    compare(gpu, "sums of groups", s, a.int_x.group_sum, b.int_x.group_sum, 4 * m * groups);
    compare(gpu, "codes of W", s, a.int_w.code, b.int_w.code, n * k);
    compare(gpu, "scales of W", s, a.int_w.scale, b.int_w.scale, 2 * n * scales);
    compare(gpu, "codes", s, a.w4_channel.code, b.w4_channel.code, n * k);
    compare(gpu, "scales", s, a.w4_channel.scale, b.w4_channel.scale, 2 * n);
    compare(gpu, "scaled zeros", s, a.w4_channel.scaled_zero, b.w4_channel.scaled_zero, 2 * n);
    compare(gpu, "zeros", s, a.w4_channel.zero, b.w4_channel.zero, n);
    compare(gpu, "progressive codes", s, a.w4_progressive.code, b.w4_progressive.code, n * k);
    compare(gpu, "channel scales", s, a.w4_progressive.channel_scale,
            b.w4_progressive.channel_scale, 2 * n);
    compare(gpu, "group scales", s, a.w4_progressive.scale, b.w4_progressive.scale, n * groups);
    compare(gpu, "group zeros", s, a.w4_progressive.zero, b.w4_progressive.zero, n * groups);
    compare(gpu, "4-bit codes", s, a.w4.code, b.w4.code, n * k);
    compare(gpu, "4-bit scales", s, a.w4.scale, b.w4.scale, 2 * n * groups);
    compare(gpu, "4-bit zeros", s, a.w4.zero, b.w4.zero, n * groups);
    compare(gpu, "e4m3 of X", s, a.x8, b.x8, m * k);
    compare(gpu, "e4m3 of W", s, a.w8, b.w8, n * k);
    gemm_operands_close(&on[0]);
    gemm_operands_close(&on[1]);
}

/* The two references of one scheme on the same operands. */
static void try_reference(struct cb_device *gpu, struct cb_device *host, enum gemm_scheme s,
                          const struct gemm_problem *p)
{
    if (!test_takes())
        return;
    const size_t out = (size_t)p->m * (size_t)p->n;
    struct cb_device *const device[2] = { gpu, host };
    struct gemm_operands on[2];
    struct gemm_expectation e[2];
    long wrong = 0;
    for (int i = 0; i < 2; i++) {
        on[i] = (struct gemm_operands){ .device = device[i], .p = *p, .seed = 6 };
        CHECK(!gemm_expectation_open(&e[i], device[i], p, 6, 0));
        CHECK(!gemm_operands_open(&on[i], 1u << s, 1, 1));
        CHECK(!gemm_expectation_prepare(&e[i], 1u << s));
        CHECK(!gemm_expectation_compute(&e[i], &on[i], 0, 0));
    }
    const struct gemm_wanted *a = &e[0].wanted[s], *b = &e[1].wanted[s];
    for (size_t i = 0; i < out && e[0].rows == p->m; i++) {
        wrong += !(fabs(a->want[i] - b->want[i]) <= 1e-12 * (double)b->size[i]);
        wrong += !(fabs((double)(a->size[i] - b->size[i])) <= 1e-6 * (double)b->size[i]);
    }
    for (int i = 0; i < p->m && e[0].sign; i++) {
        wrong += !(fabs(a->sum[i] - b->sum[i]) <= 1e-11 * b->sum_size[i]);
        wrong += !(fabs(a->sum_size[i] - b->sum_size[i]) <= 1e-11 * b->sum_size[i]);
    }
    CHECK(wrong == 0);
    if (wrong)
        printf("  scheme %d: %ld elements of the reference\n", (int)s, wrong);
    for (int i = 0; i < 2; i++) {
        gemm_operands_close(&on[i]);
        gemm_expectation_close(&e[i]);
    }
}
#endif

int main(void)
{
#ifdef WITH_CUDA
    static const struct gemm_problem p[] = { { 5, 37, 192, 64 }, { 33, 300, 1024, 128 },
                                             { 130, 65, 264, 33 } };
    struct cb_device *gpu, *host;
    if (cb_device_open("cuda:0", &gpu)) {
        SKIP("gpu_quantise: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("host", &host));
    for (size_t i = 0; i < (test_tiny() ? 1 : sizeof p / sizeof *p); i++)
        for (int s = GEMM_F16; s < GEMM_SCHEMES; s++) {
            try_scheme(gpu, host, (enum gemm_scheme)s, &p[i], false);
            try_scheme(gpu, host, (enum gemm_scheme)s, &p[i], true);
            try_reference(gpu, host, (enum gemm_scheme)s, &p[i]);
        }
    cb_device_close(host);
    cb_device_close(gpu);
#else
    SKIP("gpu_quantise: built without CUDA");
#endif
    return TEST_END();
}

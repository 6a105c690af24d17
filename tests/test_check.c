/* test_check.c - errors, random numbers, dtypes. */
#include <stdlib.h>

#include "../harness/check.h"
#include "test.h"

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void test_philox(void)
{
    uint32_t w[4];
    cb_philox(0, 0, 0, 0, w);
    CHECK(w[0] == 0x6627e8d5 && w[1] == 0xe169c58d && w[2] == 0xbc57ac4c && w[3] == 0x9b00dbd8);
    cb_philox(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX, w);
    CHECK(w[0] == 0x408f276d && w[1] == 0x41c83b0e && w[2] == 0xa20bc7c6 && w[3] == 0x6d5451fd);
    /* third published vector: counter and key of digits of pi */
    cb_philox(0x299f31d0a4093822u, 0x13198a2e, 0x03707344, 0x85a308d3243f6a88u, w);
    CHECK(w[0] == 0xd16cfe09 && w[1] == 0x94fdcceb && w[2] == 0x5001e420 && w[3] == 0x24126ea1);
}

static void test_elements(void)
{
    enum { N = 200000 };
    uint32_t w[4];
    const uint64_t seed = 20240601;
    /* an element is a pure function of its index */
    for (uint64_t i = 0; i < 64; i++) {
        cb_philox(seed, 3, 1, i / 4, w);
        CHECK(cb_random_at(CB_UNIFORM, seed, 3, 1, i) == (float)(int32_t)w[i % 4] * 0x1p-31f);
        static const float exact[] = { -2, -1, 1, 2 };
        CHECK(cb_random_at(CB_EXACT, seed, 3, 1, i) == exact[w[i % 4] >> 30]);
        cb_philox(seed, 3, 1, i / 2, w);
        const uint32_t a = w[2 * (i % 2)], b = w[2 * (i % 2) + 1];
        const double sum = (double)(a & 65535) + (a >> 16) + (b & 65535) + (b >> 16) - 131070;
        CHECK_NEAR(cb_random_at(CB_NORMAL, seed, 3, 1, i), sum / 37837.227, 4e-7);
    }
    double sum = 0, squares = 0, fourth = 0, uniform = 0, largest = 0;
    int sign[5] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        const double x = cb_random_at(CB_NORMAL, 1, 0, 0, i),
                     u = cb_random_at(CB_UNIFORM, 1, 0, 0, i);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        uniform += u * u;
        largest = fmax(largest, fabs(u));
        sign[(int)cb_random_at(CB_EXACT, 1, 0, 0, i) + 2]++;
    }
    CHECK_NEAR(sum / N, 0, 0.01);
    CHECK_NEAR(squares / N, 1, 0.01);
    CHECK_NEAR(fourth / N, 2.7, 0.05); /* of the sum of four uniform numbers */
    CHECK_NEAR(uniform / N, 1.0 / 3, 0.005);
    CHECK(largest <= 1);
    CHECK(sign[2] == 0);
    for (int i = 0; i < 5; i++)
        if (i != 2)
            CHECK_NEAR(sign[i], N / 4, N / 100);
    /* seed, tensor, stream and index all matter */
    const float first = cb_random_at(CB_UNIFORM, seed, 3, 1, 5);
    CHECK(first != cb_random_at(CB_UNIFORM, seed + 1, 3, 1, 5));
    CHECK(first != cb_random_at(CB_UNIFORM, seed + (1ull << 40), 3, 1, 5));
    CHECK(first != cb_random_at(CB_UNIFORM, seed, 4, 1, 5));
    CHECK(first != cb_random_at(CB_UNIFORM, seed, 3, 2, 5));
    CHECK(first != cb_random_at(CB_UNIFORM, seed, 3, 1, 5 + (1ull << 36)));
}

/* Every half there and back; every boundary between two neighbours decides to
 * the nearest, a tie to the even one.  Rounding is monotone, so this is all. */
static void test_half(void)
{
    int wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = cb_half_to_float((uint16_t)h);
        const uint16_t back = cb_half_from_float(f);
        if ((h & 0x7fff) > 0x7c00)
            wrong += !isnan(f) || (back & 0x7fff) <= 0x7c00 || (back >> 15) != (h >> 15);
        else
            wrong += back != h;
    }
    CHECK(wrong == 0);
    wrong = 0;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        /* beyond the largest the next would be 65536 */
        const double low = cb_half_to_float((uint16_t)h),
                     high = h == 0x7bff ? 65536 : cb_half_to_float((uint16_t)(h + 1));
        const float middle = (float)((low + high) / 2);
        const uint16_t even = (uint16_t)(h + (h & 1));
        wrong += cb_half_from_float(middle) != even;
        wrong += cb_half_from_float(nextafterf(middle, 0)) != h;
        wrong += cb_half_from_float(nextafterf(middle, INFINITY)) != h + 1;
        wrong += cb_half_from_float(-middle) != (even | 0x8000);
    }
    CHECK(wrong == 0);
    CHECK(cb_half_to_float(0x3c00) == 1 && cb_half_to_float(0x0001) == 0x1p-24f);
    CHECK(cb_half_from_float(65504) == 0x7bff && cb_half_from_float(65520) == 0x7c00);
    CHECK(cb_half_from_float(1e30f) == 0x7c00 && cb_half_from_float(-INFINITY) == 0xfc00);
    CHECK(cb_half_from_float(0x1p-25f) == 0 && cb_half_from_float(-0.0f) == 0x8000);
}

static void test_bf16(void)
{
    int wrong = 0;
    for (uint32_t b = 0; b < 65536; b++) {
        const float f = float_of(b << 16);
        if (isnan(f)) {
            wrong += !isnan(float_of((uint32_t)cb_bf16_from_float(f) << 16));
            wrong += !isnan(float_of((uint32_t)cb_bf16_from_float(float_of(b << 16 | 1)) << 16));
            continue;
        }
        wrong += cb_bf16_from_float(f) != b;
        if ((b & 0x7fff) == 0x7f80)
            continue;
        wrong += cb_bf16_from_float(float_of(b << 16 | 0x8000)) != b + (b & 1);
        wrong += cb_bf16_from_float(float_of(b << 16 | 0x7fff)) != b;
        wrong += cb_bf16_from_float(float_of(b << 16 | 0x8001)) != b + 1;
    }
    CHECK(wrong == 0);
}

static void test_load_store(void)
{
    static const enum cb_dtype all[] = { CB_F64, CB_F32, CB_F16, CB_BF16, CB_I8, CB_U8, CB_I32 };
    static const int bytes[] = { 8, 4, 2, 2, 1, 1, 4 };
    uint64_t buffer[4];
    for (int t = 0; t < 7; t++) {
        memset(buffer, 0xff, sizeof buffer);
        CHECK(cb_dtype_bytes(all[t]) == bytes[t]);
        cb_store(buffer, all[t], 2, 5);
        CHECK(cb_load(buffer, all[t], 2) == 5);
        /* the neighbours stay */
        CHECK(((unsigned char *)buffer)[2 * bytes[t] - 1] == 0xff);
        CHECK(((unsigned char *)buffer)[3 * bytes[t]] == 0xff);
    }
    cb_store(buffer, CB_I8, 0, -300);
    CHECK(cb_load(buffer, CB_I8, 0) == -128);
    cb_store(buffer, CB_U8, 0, 300);
    CHECK(cb_load(buffer, CB_U8, 0) == 255);
    cb_store(buffer, CB_I8, 0, 2.5);
    CHECK(cb_load(buffer, CB_I8, 0) == 2);
    cb_store(buffer, CB_I32, 0, 3e9);
    CHECK(cb_load(buffer, CB_I32, 0) == 2147483647);
    /* one rounding, not two: through a float this would fall on the tie and go down */
    cb_store(buffer, CB_F16, 0, 1 + 0x1p-11 + 0x1p-40);
    CHECK(cb_load(buffer, CB_F16, 0) == 1 + 0x1p-10);
    cb_store(buffer, CB_F16, 0, 1 + 0x1p-11 - 0x1p-40);
    CHECK(cb_load(buffer, CB_F16, 0) == 1);
    cb_store(buffer, CB_BF16, 0, -(1 + 0x1p-8 + 0x1p-40));
    CHECK(cb_load(buffer, CB_BF16, 0) == -(1 + 0x1p-7));
    cb_store(buffer, CB_F16, 0, 1e300);
    CHECK(isinf(cb_load(buffer, CB_F16, 0)));
    cb_store(buffer, CB_F16, 0, NAN);
    CHECK(isnan(cb_load(buffer, CB_F16, 0)));
}

static void test_accuracy(void)
{
    const double want[] = { 1, -2, 4, 0, 0.001 }, got[] = { 1, -2.5, 4, 0.25, 0.001 };
    struct cb_accuracy a = { 0 }, parts[2] = { { 0 }, { 0 } };
    for (int i = 0; i < 5; i++) {
        cb_accuracy_add(&a, i, got[i], want[i], 0.3);
        cb_accuracy_add(&parts[i % 2], i, got[i], want[i], 0.3);
    }
    cb_accuracy_join(&parts[0], &parts[1]);
    cb_accuracy_finish(&a);
    cb_accuracy_finish(&parts[0]);
    const double fro = sqrt(0.25 + 0.0625) / sqrt(1 + 4 + 16 + 1e-6);
    CHECK(a.compared == 5 && a.bad == 1 && a.nonfinite == 0 && a.worst == 1);
    CHECK_NEAR(a.rel_fro, fro, 1e-15);
    CHECK_NEAR(a.max_abs, 0.5, 0);
    CHECK_NEAR(a.max_rel, 0.25 / (4 * 0x1p-10), 1e-12); /* the floor: 0 has no relative error */
    CHECK_NEAR(a.mean, -0.25 / 5, 1e-15);
    CHECK(a.cosine < 1 && a.cosine > 0.98);
    CHECK_NEAR(parts[0].rel_fro, a.rel_fro, 1e-15);
    CHECK(parts[0].worst == 1 && parts[0].bad == 1 && parts[0].compared == 5);
    CHECK_NEAR(parts[0].cosine, a.cosine, 1e-15);

    /* max_rel is exact in any order where max_want is known beforehand */
    struct cb_accuracy before = { .max_want = 4 };
    cb_accuracy_add(&before, 0, 0.0011, 0.001, 1);
    cb_accuracy_add(&before, 1, 4, 4, 1);
    cb_accuracy_finish(&before);
    CHECK_NEAR(before.max_rel, 0.0001 / (4 * 0x1p-10), 1e-12);

    struct cb_accuracy same = { 0 };
    for (int i = 0; i < 5; i++)
        cb_accuracy_add(&same, i, want[i], want[i], 0);
    cb_accuracy_finish(&same);
    CHECK(same.bad == 0 && same.rel_fro == 0 && same.worst == -1 && same.max_rel == 0);
    CHECK_NEAR(same.cosine, 1, 1e-15);

    struct cb_accuracy broken = { 0 };
    cb_accuracy_add(&broken, 0, NAN, 1, INFINITY);
    cb_accuracy_add(&broken, 1, INFINITY, 1, INFINITY);
    cb_accuracy_add(&broken, 2, 1, 1, 0);
    cb_accuracy_add(&broken, 3, INFINITY, INFINITY, 0); /* the reference overflows too */
    cb_accuracy_add(&broken, 4, 65504, INFINITY, 0);
    cb_accuracy_finish(&broken);
    CHECK(broken.nonfinite == 2 && broken.bad == 3 && broken.compared == 5);
    CHECK(isfinite(broken.rel_fro) && isfinite(broken.max_abs));

    struct cb_accuracy zero = { 0 };
    cb_accuracy_add(&zero, 0, 0.5, 0, 0);
    cb_accuracy_finish(&zero);
    CHECK(zero.rel_fro == 0.5 && zero.cosine == 0 && zero.bad == 1 && isfinite(zero.max_rel));
    struct cb_accuracy none = { 0 };
    cb_accuracy_finish(&none);
    CHECK(none.compared == 0 && none.rel_fro == 0 && none.worst == -1);
    struct cb_accuracy nan_bound = { 0 };
    cb_accuracy_add(&nan_bound, 0, 1, 1, NAN); /* a bound that is no number allows nothing */
    CHECK(nan_bound.bad == 1);
}

int main(void)
{
    test_philox();
    test_elements();
    test_half();
    test_bf16();
    test_load_store();
    test_accuracy();
    return TEST_END();
}

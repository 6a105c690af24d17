/* test_gemm_int.c - integer codes of gemm: the protective range over every group, quantisers
 * against their definition, the references against sums in 32 bits, identities that kernels
 * rely on, and that the bound lets no wrong code through. */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/gemm/bound.h"
#include "../kernels/gemm/quantise.h"
#include "test.h"

static uint64_t seed = 3;

static uint32_t word(void)
{
    return exact_word(seed++, 0);
}

/* About normal, deviation 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (float)(word() >> 8) * 0x1p-24f;
    return sum - 6;
}

/* ---- the protective range ---- */

/* Groups of 8-bit codes within +-top by their ends: how many have a code that leaves 8 bits. */
static int overflowing(int top, int *least, int *greatest, bool *bytes_fit)
{
    int groups = 0;
    for (int low = -top; low <= 0; low++)
        for (int high = 0; high <= top; high++) {
            const struct progressive_group g = progressive_group_of(low, high);
            bool over = false;
            for (int w8 = low; w8 <= high; w8++) {
                const int code = progressive_code(w8, g), back = (code - g.zero) * g.scale;
                over = over || back < -128 || back > 127;
                *least = back < *least ? back : *least;
                *greatest = back > *greatest ? back : *greatest;
                *bytes_fit = *bytes_fit && code <= 15 && code * g.scale <= 255 &&
                             g.zero * g.scale <= 128;
            }
            groups += over;
        }
    return groups;
}

static void test_protective_range(void)
{
    int least = 0, greatest = 0, end[2];
    bool fit = true;
    for (int top = 1; top <= 127; top++)
        CHECK((overflowing(top, &end[0], &end[1], &fit) > 0) == (top > PROTECTED_TOP));
    fit = true;
    CHECK(overflowing(PROTECTED_TOP, &least, &greatest, &fit) == 0 && fit);
    CHECK(least == -121 && greatest == 121);
    CHECK(overflowing(120, &end[0], &end[1], &fit) == 7);
    CHECK(overflowing(127, &end[0], &end[1], &fit) == 278);
    /* the paper's group */
    const struct progressive_group g = progressive_group_of(-113, 120);
    CHECK(g.scale == 16 && g.zero == 7);
    CHECK((progressive_code(120, g) - g.zero) * g.scale == 128);
}

/* Four codes in a word, times the scale, plus the byte 128 - zero scale four times: no byte
 * carries into the next.  Also the form with an exclusive or. */
static void test_identities(void)
{
    long wrong = 0;
    for (int low = -PROTECTED_TOP; low <= 0; low++)
        for (int high = 0; high <= PROTECTED_TOP; high++) {
            const struct progressive_group g = progressive_group_of(low, high);
            const uint32_t shift = (uint32_t)(128 - g.zero * g.scale) * 0x01010101u;
            unsigned char code[16];
            const int count = high - low + 1;
            for (int i = 0; i < 16; i++) /* both ends and between, all that occur */
                code[i] = progressive_code(low + i * (count - 1) / 15, g);
            for (int i = 0; i < 16; i++) {
                uint32_t four = 0;
                for (int b = 0; b < 4; b++)
                    four |= (uint32_t)code[(i + 5 * b) % 16] << 8 * b;
                const uint32_t v = four * g.scale + shift, x = v ^ 0x80808080u;
                for (int b = 0; b < 4; b++) {
                    const int want = (code[(i + 5 * b) % 16] - g.zero) * g.scale;
                    wrong += (int)(v >> 8 * b & 255) != want + 128;
                    wrong += (signed char)(x >> 8 * b & 255) != want;
                }
            }
        }
    CHECK(wrong == 0);
}

/* ---- operands of all integer schemes ---- */

struct operands {
    half_bits *x, *w, *y, *x_scale, *x_sum, *w_scale, *scaled_zero;
    signed char *x_code, *w_code;
    unsigned char *code, *zero, *scale;
    int *code_sum, *group_sum;
    struct gemm_args args;
};

static void *room(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    memset(p, 0x7f, bytes);
    return p;
}

/* exact: nothing is lost from halves to codes, and scales are powers of two. */
static void open_operands(const struct gemm_problem *p, enum gemm_scheme s, bool exact,
                          struct operands *o)
{
    const size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k;
    const struct int_codes c = int_codes_of(p, s);
    const size_t length = (size_t)c.length;
    *o = (struct operands){ .x = room(2 * m * k), .w = room(2 * n * k), .y = room(2 * m * n),
                            .x_scale = room(2 * m * k), .x_sum = room(2 * m),
                            .w_scale = room(2 * n * k), .scaled_zero = room(2 * n),
                            .x_code = room(m * k), .w_code = room(n * k), .code = room(n * k),
                            .zero = room(n * k), .scale = room(n * k), .code_sum = room(4 * m),
                            .group_sum = room(4 * m * k) };
    for (size_t i = 0; i < m * k; i++)
        o->x[i] = half_from_float(normal());
    for (size_t i = 0; i < n * k; i++)
        o->w[i] = half_from_float(0.02f * normal());
    if (exact)
        gemm_exact_rows(m * k / length, length, -c.top, c.top, 0, seed++, o->x);
    const bool groups = gemm_has_groups(s);
    const struct int_x_sums sums = { o->x_sum, o->code_sum, groups ? o->group_sum : NULL };
    CHECK(gemm_quantise_int_x(p, s, o->x, o->x_code, o->x_scale, sums) == OP_OK);
    o->args = (struct gemm_args){ .x = o->x, .w = o->w, .y = o->y };
    o->args.int_x = (struct gemm_int_x){ o->x_code, o->x_scale, o->x_sum, o->code_sum,
                                         o->group_sum };
    if (s == GEMM_W4A8_CHANNEL) {
        if (exact)
            gemm_exact_rows(n, k, 0, 15, 1, seed++, o->w);
        CHECK(gemm_quantise_w4_channel(p, o->w, o->code, o->w_scale, o->scaled_zero, o->zero) ==
              OP_OK);
        o->args.w4_channel =
            (struct gemm_w4_channel){ o->code, o->w_scale, o->scaled_zero, o->zero };
    } else if (s == GEMM_W4A8_GROUP) {
        if (exact)
            gemm_exact_rows(n, k, -PROTECTED_TOP, PROTECTED_TOP, 0, seed++, o->w);
        CHECK(gemm_quantise_w4_progressive(p, o->w, o->code, o->w_scale, o->scale, o->zero) ==
              OP_OK);
        o->args.w4_progressive =
            (struct gemm_w4_progressive){ o->code, o->w_scale, o->scale, o->zero };
    } else {
        if (exact)
            gemm_exact_rows(n * k / length, length, -c.top, c.top, 0, seed++, o->w);
        CHECK(gemm_quantise_int_w(p, s, o->w, o->w_code, o->w_scale) == OP_OK);
        o->args.int_w = (struct gemm_int_w){ o->w_code, o->w_scale };
    }
}

static void close_operands(struct operands *o)
{
    void *const all[] = { o->x,      o->w,    o->y,    o->x_scale, o->x_sum,    o->w_scale,
                          o->scaled_zero, o->x_code, o->w_code, o->code, o->zero, o->scale,
                          o->code_sum, o->group_sum };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- quantisers ---- */

static void check_codes(const half_bits *from, const signed char *code, double scale, int count,
                        int top, double slack)
{
    double most = 0, error = 0;
    int greatest = 0;
    for (int i = 0; i < count; i++) {
        most = fmax(most, fabs((double)half_to_float(from[i])));
        error = fmax(error, fabs((double)half_to_float(from[i]) - scale * code[i]));
        greatest = abs(code[i]) > greatest ? abs(code[i]) : greatest;
    }
    const double want = fmax(most, 1e-5) / top;
    CHECK(fabs(scale - want) <= 0x1p-11 * want + 0x1p-25);
    CHECK(greatest <= top && (most < 1e-4 || greatest == top));
    CHECK(error <= scale * slack || most < 1e-2); /* a subnormal scale is coarse */
}

static void test_quantisers(void)
{
    static const enum gemm_scheme schemes[] = { GEMM_W8A8, GEMM_W4A4_CHANNEL, GEMM_W4A4_GROUP,
                                                GEMM_W4A8_GROUP };
    const struct gemm_problem p = { .m = 5, .n = 7, .k = 192, .group = 64 };
    for (int kind = 0; kind < 4; kind++)
        for (int s = 0; s < 4; s++) {
            const struct int_codes c = int_codes_of(&p, schemes[s]);
            struct operands o;
            open_operands(&p, schemes[s], false, &o);
            for (int i = 0; i < 5 * 192; i++)
                o.x[i] = half_from_float(kind == 0   ? normal()
                                         : kind == 1 ? normal() + 4
                                         : kind == 2 ? 0
                                                     : normal() * 3000);
            struct int_x_sums sums = { o.x_sum, o.code_sum, o.group_sum };
            CHECK(gemm_quantise_int_x(&p, schemes[s], o.x, o.x_code, o.x_scale, sums) == OP_OK);
            for (int g = 0; g < 5 * 192 / c.length; g++)
                check_codes(o.x + g * c.length, o.x_code + g * c.length,
                            half_to_float(o.x_scale[g]), c.length, c.top,
                            0.5 + (double)c.top * 0x1p-11);
            for (int i = 0; i < 5; i++) {
                double sum = 0;
                int codes = 0;
                for (int q = 0; q < 192; q++) {
                    sum += (double)half_to_float(o.x[i * 192 + q]);
                    codes += o.x_code[i * 192 + q];
                }
                CHECK(o.x_sum[i] == half_from_float((float)sum) && o.code_sum[i] == codes);
                CHECK(o.group_sum[3 * i] + o.group_sum[3 * i + 1] + o.group_sum[3 * i + 2] ==
                      codes);
            }
            if (schemes[s] != GEMM_W4A8_GROUP)
                for (int g = 0; g < 7 * 192 / c.length; g++)
                    check_codes(o.w + g * c.length, o.w_code + g * c.length,
                                half_to_float(o.w_scale[g]), c.length, c.top,
                                0.5 + (double)c.top * 0x1p-11);
            close_operands(&o);
        }
    const struct gemm_problem uneven = { .m = 1, .n = 1, .k = 6, .group = 4 };
    half_bits h[8] = { 0 };
    signed char c[8];
    unsigned char u[8];
    const struct int_x_sums none = { NULL, NULL, NULL };
    CHECK(gemm_quantise_int_x(&uneven, GEMM_W4A4_GROUP, h, c, h, none) == OP_EINVAL);
    CHECK(gemm_quantise_int_x(&uneven, GEMM_W4A16, h, c, h, none) == OP_EINVAL);
    CHECK(gemm_quantise_int_w(&uneven, GEMM_W4A4_GROUP, h, c, h) == OP_EINVAL);
    CHECK(gemm_quantise_w4_progressive(&uneven, h, u, h, u, u) == OP_EINVAL);
}

/* Level 1 by its definition, level 2 by search: no other zero and code come nearer than by
 * what rounding the scale costs. */
static void test_progressive(void)
{
    const struct gemm_problem p = { .m = 1, .n = 40, .k = 256, .group = 128 };
    struct operands o;
    open_operands(&p, GEMM_W4A8_GROUP, false, &o);
    double error = 0, energy = 0;
    int scales[17] = { 0 };
    for (int j = 0; j < p.n; j++) {
        float most = 0;
        for (int q = 0; q < p.k; q++)
            most = fmaxf(most, fabsf(half_to_float(o.w[j * p.k + q])));
        CHECK(o.w_scale[j] == half_from_float(most / 119));
        const double s0 = half_to_float(o.w_scale[j]);
        for (int q = 0; q < p.k; q++) {
            const int at = j * p.k + q, g = at / p.group;
            const int w8 = (o.code[at] - o.zero[g]) * o.scale[g];
            const double level1 = fmax(-119, fmin(119, rint((double)half_to_float(o.w[at]) / s0)));
            CHECK(fabs(level1 - w8) <= o.scale[g] && o.code[at] <= 15 && o.zero[g] <= 15);
            error += (level1 - w8) * (level1 - w8);
            energy += level1 * level1;
            scales[o.scale[g] <= 16 ? o.scale[g] : 0]++;
        }
    }
    CHECK(!scales[0] && sqrt(error / energy) < 0.12);
    close_operands(&o);
}

/* ---- references ---- */

static const struct gemm_impl *reference_of(enum gemm_scheme s)
{
    const struct gemm_impl *i = gemm_references;
    while (i->scheme != s)
        i++;
    return i;
}

/* The definition of gemm.h with 32-bit sums; *size as the reference has it. */
static double element(const struct gemm_problem *p, enum gemm_scheme s, const struct operands *o,
                      int i, int j, double *size)
{
    const signed char *x = o->x_code + (size_t)i * p->k;
    const size_t w = (size_t)j * p->k;
    const bool grouped = s == GEMM_W4A4_GROUP;
    double y = 0;
    *size = 0;
    for (int first = 0, length = grouped ? p->group : p->k; first < p->k; first += length) {
        int acc = 0, absolute = 0;
        for (int q = first; q < first + length; q++) {
            const size_t i8 = w + (size_t)q, g = i8 / p->group;
            const int c = s == GEMM_W4A8_CHANNEL ? o->code[i8]
                          : s == GEMM_W4A8_GROUP ? (o->code[i8] - o->zero[g]) * o->scale[g]
                                                 : o->w_code[i8];
            acc += c * x[q];
            absolute += abs(c * x[q]);
        }
        const int at = first / length, parts = p->k / length;
        const double scale = (double)half_to_float(o->x_scale[i * parts + at]) *
                             half_to_float(o->w_scale[j * parts + at]);
        y += scale * acc;
        *size += scale * absolute;
    }
    if (s == GEMM_W4A8_CHANNEL) {
        const double off = (double)half_to_float(o->scaled_zero[j]) * half_to_float(o->x_sum[i]);
        CHECK(o->scaled_zero[j] ==
              half_from_float(half_to_float(o->w_scale[j]) * (float)o->zero[j]));
        y -= off;
        *size += fabs(off);
    }
    return y;
}

static void *pool[8];
static int pooled;

static void *take(void *context, size_t bytes)
{
    (void)context;
    return pooled < 8 ? pool[pooled++] = aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
}

static void check_product(const struct gemm_problem *p, enum gemm_scheme s, bool exact)
{
    const int m = p->m, n = p->n;
    const size_t out = (size_t)m * n;
    const struct op_memory memory = { take, NULL };
    const struct gemm_impl *impl = reference_of(s);
    struct operands o;
    double *want = malloc(out * sizeof *want), *sums = malloc(4 * (size_t)m * sizeof *sums);
    float *size = malloc(out * sizeof *size);
    signed char *sign = malloc((size_t)n);
    int *row = malloc((size_t)m * sizeof *row);
    void *state = NULL;
    long wrong = 0;
    open_operands(p, s, exact, &o);
    for (int i = 0; i < m; i++)
        row[i] = m - 1 - i;
    for (int j = 0; j < n; j++)
        sign[j] = word() & 1 ? -1 : 1;
    CHECK(impl->accumulate == GEMM_ACC_S32);
    CHECK(impl->setup(p, &o.args, &memory, NULL, &state) == OP_OK);
    CHECK(impl->run(p, &o.args, state, NULL) == OP_OK);
    CHECK(gemm_ref_rows(p, s, &o.args, row, m, want, size, NULL) == OP_OK);
    CHECK(gemm_ref_freivalds(p, s, &o.args, sign, sums, sums + m, NULL) == OP_OK);
    CHECK(gemm_ref_signed(p, o.y, sign, sums + 2 * m, sums + 3 * m) == OP_OK);
    for (int i = 0; i < m; i++) {
        double row_sum = 0, row_size = 0;
        for (int j = 0; j < n; j++) {
            const size_t at = (size_t)(m - 1 - i) * n + j;
            double magnitude;
            const double y = element(p, s, &o, i, j, &magnitude);
            const half_bits got = o.y[(size_t)i * n + j];
            wrong += !(fabs(want[at] - y) <= (exact ? 0 : 1e-14 * magnitude));
            wrong += !(fabs((double)size[at] - magnitude) <= 1e-6 * magnitude);
            wrong += !(fabs((double)half_to_float(got) - y) <=
                       gemm_bound(impl, p->k, y, magnitude, 0));
            wrong += exact && got != half_from_float((float)y);
            row_sum += sign[j] * y;
            row_size += magnitude;
        }
        wrong += !(fabs(sums[i] - row_sum) <= 1e-11 * row_size);
        wrong += !(fabs(sums[m + i] - row_size) <= 1e-11 * row_size);
        wrong += !(fabs(sums[2 * m + i] - sums[i]) <=
                   gemm_bound_freivalds(impl, p->k, n, sums[3 * m + i], sums[m + i], 0));
    }
    CHECK(wrong == 0);
    if (wrong)
        printf("  %s m=%d n=%d k=%d group=%d exact=%d: %ld wrong\n", impl->base.name, m, n, p->k,
               p->group, exact, wrong);
    impl->teardown(state);
    while (pooled)
        free(pool[--pooled]);
    close_operands(&o);
    free(want);
    free(sums);
    free(size);
    free(sign);
    free(row);
}

static void test_products(void)
{
    static const int shape[][4] = { { 1, 1, 1, 1 },      { 1, 300, 64, 64 },   { 3, 5, 7, 7 },
                                    { 17, 255, 33, 11 }, { 5, 257, 128, 128 }, { 4, 260, 384, 128 },
                                    { 2, 40, 4096, 128 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (int scheme = GEMM_W8A8; scheme < GEMM_SCHEMES; scheme++) {
            const struct gemm_problem p = { shape[s][0], shape[s][1], shape[s][2], shape[s][3] };
            check_product(&p, (enum gemm_scheme)scheme, true);
            check_product(&p, (enum gemm_scheme)scheme, false);
        }
}

/* Exact operands: both ends of the code range in every row, and no rounding on the way to a sum
 * in float, which 24 bits hold. */
static void test_exact(void)
{
    const struct gemm_problem p = { .m = 8, .n = 64, .k = 2000, .group = 125 };
    for (int s = GEMM_W8A8; s < GEMM_SCHEMES; s++) {
        struct operands o;
        const struct int_codes c = int_codes_of(&p, (enum gemm_scheme)s);
        const bool w4 = s == GEMM_W4A8_CHANNEL || s == GEMM_W4A8_GROUP;
        long lost = 0;
        int zeros[16] = { 0 };
        open_operands(&p, (enum gemm_scheme)s, true, &o);
        for (int i = 0; i < p.m * p.k; i++)
            lost += half_to_float(o.x[i]) !=
                    half_to_float(o.x_scale[i / c.length]) * (float)o.x_code[i];
        for (int i = 0; !w4 && i < p.n * p.k; i++)
            lost += half_to_float(o.w[i]) !=
                    half_to_float(o.w_scale[i / c.length]) * (float)o.w_code[i];
        for (int i = 0; s == GEMM_W4A8_CHANNEL && i < p.n * p.k; i++) {
            lost += half_to_float(o.w[i]) != half_to_float(o.w_scale[i / p.k]) *
                                                 (float)(o.code[i] - o.zero[i / p.k]);
            zeros[o.zero[i / p.k]]++;
        }
        for (int j = 0; s == GEMM_W4A8_GROUP && j < p.n; j++) {
            const float scale = half_to_float(o.w_scale[j]);
            lost += scale != 0x1p-6f && scale != 0x1p-7f;
        }
        CHECK(lost == 0);
        for (int z = 0, kinds = 0; s == GEMM_W4A8_CHANNEL && z < 16; z++) {
            kinds += zeros[z] > 0;
            CHECK(z < 15 || kinds > 8);
        }
        for (int i = 0; i < p.m; i++)
            for (int j = 0; j < p.n; j++) {
                double size, y = element(&p, (enum gemm_scheme)s, &o, i, j, &size);
                CHECK(y == (double)(float)y && fabs(y) < 65504);
            }
        close_operands(&o);
    }
}

/* ---- what kernels make of it, and one code off by one ---- */

/* The scaling to Y in float, as the published kernels have it. */
static half_bits scaled(enum gemm_scheme s, const struct operands *o, long acc, int i, int j)
{
    const float a = half_to_float(o->x_scale[i]), w = half_to_float(o->w_scale[j]);
    if (s == GEMM_W4A8_CHANNEL)
        return half_from_float((float)acc * w * a - half_to_float(o->scaled_zero[j]) *
                                                        half_to_float(o->x_sum[i]));
    return half_from_float((float)acc * (w * a));
}

static void test_bound(void)
{
    static const enum gemm_scheme schemes[] = { GEMM_W4A8_CHANNEL, GEMM_W4A8_GROUP };
    for (int s = 0; s < 2; s++) {
        const struct gemm_problem p = { .m = 2, .n = 300, .k = 4096, .group = 128 };
        const struct gemm_impl impl = { .scheme = schemes[s], .accumulate = GEMM_ACC_S32 };
        struct operands o;
        long outside = 0, caught = 0, planted = 0, partial = 0;
        double worst = 0;
        open_operands(&p, schemes[s], false, &o);
        for (int i = 0; i < p.m; i++)
            for (int j = 0; j < p.n; j++) {
                double size;
                const double want = element(&p, schemes[s], &o, i, j, &size);
                const double bound = gemm_bound(&impl, p.k, want, size, 0);
                long acc = 0, groups = 0;
                int part = 0;
                for (int q = 0; q < p.k; q++) {
                    const int at = j * p.k + q, g = at / p.group, x = o.x_code[i * p.k + q];
                    acc += s ? (o.code[at] - o.zero[g]) * o.scale[g] * x : o.code[at] * x;
                    part += o.code[at] * x;
                    if (s && q % p.group == p.group - 1) { /* raw codes, scaled a group at a time */
                        const int sum = o.group_sum[(i * p.k + q) / p.group];
                        groups += (long)o.scale[g] * (part - o.zero[g] * sum);
                        part = 0;
                    }
                }
                partial += s && groups != acc;
                const double got = half_to_float(scaled(schemes[s], &o, acc, i, j));
                outside += !(fabs(got - want) <= bound);
                worst = fmax(worst, fabs(got - want) / bound);
                const int spot = (int)(word() % 4096), x = o.x_code[i * p.k + spot];
                if (abs(x) < 10)
                    continue;
                acc += (long)x * (s ? o.scale[(j * p.k + spot) / p.group] : 1);
                const double off = half_to_float(scaled(schemes[s], &o, acc, i, j));
                caught += fabs(off - want) > bound;
                planted++;
            }
        CHECK(!outside && !partial && worst > 0.5);
        CHECK(planted > 300 && caught > 0.97 * (double)planted);
        printf("%s: error to bound at most %.2f; codes off by one caught %.1f %%\n",
               s ? "per group" : "per channel", worst, 100.0 * (double)caught / (double)planted);
        close_operands(&o);
    }
}

static void test_bytes(void)
{
    const struct gemm_problem p = { .m = 1, .n = 4096, .k = 4096, .group = 128 };
    const double weights = 4096.0 * 4096;
    CHECK(gemm_weight_bytes(&p, GEMM_W8A8) == weights + 2 * 4096);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A8_CHANNEL) == weights / 2 + 4 * 4096);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A8_GROUP) == weights / 2 + weights / 64 + 2 * 4096);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A4_GROUP) == weights / 2 + weights / 64);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A4_CHANNEL) == weights / 2 + 2 * 4096);
}

int main(void)
{
    test_protective_range();
    test_identities();
    test_quantisers();
    test_progressive();
    test_products();
    test_exact();
    test_bound();
    test_bytes();
    return TEST_END();
}

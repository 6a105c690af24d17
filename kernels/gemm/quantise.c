/* quantise.c - quantise.h on the host. */
#include "quantise.h"

static int meaningless(const struct gemm_problem *p)
{
    return p->n < 1 || p->k < 1 || p->group < 1 || p->k % p->group;
}

static float largest_of(const half_bits *x, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(half_to_float(x[i])));
    return most;
}

enum op_status gemm_quantise_w4(const struct gemm_problem *p, const void *w, int symmetric,
                                unsigned char *code, void *scale, unsigned char *zero)
{
    const half_bits *from = w;
    if (meaningless(p))
        return OP_EINVAL;
    const size_t group = (size_t)p->group, groups = (size_t)p->n * p->k / group;
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < groups; g++) {
        float low = INFINITY, high = -INFINITY;
        for (size_t i = g * group; i < (g + 1) * group; i++) {
            low = fminf(low, half_to_float(from[i]));
            high = fmaxf(high, half_to_float(from[i]));
        }
        const struct w4_group q = w4_group_of(low, high, symmetric);
        for (size_t i = g * group; i < (g + 1) * group; i++)
            code[i] = w4_code(half_to_float(from[i]), q);
        ((half_bits *)scale)[g] = q.scale;
        zero[g] = q.zero;
    }
    return OP_OK;
}

enum op_status gemm_exact_w4(const struct gemm_problem *p, uint64_t seed, int symmetric,
                             unsigned char *code, void *scale, unsigned char *zero)
{
    if (meaningless(p))
        return OP_EINVAL;
    const size_t count = (size_t)p->n * p->k, groups = count / p->group;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        code[i] = exact_code(seed, i);
    for (size_t g = 0; g < groups; g++) {
        const struct w4_group q = exact_group(seed, g, symmetric);
        ((half_bits *)scale)[g] = q.scale;
        zero[g] = q.zero;
    }
    return OP_OK;
}

enum op_status gemm_exact_x(size_t count, uint64_t seed, void *x)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        ((half_bits *)x)[i] = half_from_float(exact_x(seed, i));
    return OP_OK;
}

enum op_status gemm_quantise_fp8(const void *from, size_t count, int unit, void *to, float *scale)
{
    const half_bits *x = from;
    float largest = 0;
#pragma omp parallel for schedule(static) reduction(max : largest)
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(half_to_float(x[i])));
    const float s = unit ? 1 : fp8_scale_of(largest);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        ((unsigned char *)to)[i] = e4m3_from_float(half_to_float(x[i]) / s);
    *scale = s;
    return OP_OK;
}

/* ---- integer codes ---- */

enum op_status gemm_quantise_int_x(const struct gemm_problem *p, enum gemm_scheme scheme,
                                   const void *x, signed char *code, void *scale,
                                   struct int_x_sums sums)
{
    const struct int_codes c = int_codes_of(p, scheme);
    const size_t k = (size_t)p->k;
    if (!c.top || p->m < 1 || p->k < 1 || p->k % c.length || (sums.group_sum && p->k % p->group))
        return OP_EINVAL;
    const size_t length = (size_t)c.length, count = (size_t)p->m * k / length;
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < count; g++) {
        const half_bits *from = (const half_bits *)x + g * length;
        const float most = largest_of(from, length);
        for (size_t q = 0; q < length; q++)
            code[g * length + q] = int_x_code(half_to_float(from[q]), most, c.top);
        ((half_bits *)scale)[g] = int_scale(most, c.top);
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < (size_t)p->m; i++) {
        const half_bits *from = (const half_bits *)x + i * k;
        long long units = 0;
        int total = 0;
        for (size_t q = 0; q < k; q++) {
            units += half_units(from[q]);
            total += code[i * k + q];
        }
        if (sums.sum)
            ((half_bits *)sums.sum)[i] = half_of_units(units);
        if (sums.code_sum)
            sums.code_sum[i] = total;
    }
    if (!sums.group_sum)
        return OP_OK;
    const size_t group = (size_t)p->group, groups = (size_t)p->m * k / group;
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < groups; g++) {
        sums.group_sum[g] = 0;
        for (size_t q = g * group; q < (g + 1) * group; q++)
            sums.group_sum[g] += code[q];
    }
    return OP_OK;
}

enum op_status gemm_quantise_int_w(const struct gemm_problem *p, enum gemm_scheme scheme,
                                   const void *w, signed char *code, void *scale)
{
    const struct int_codes c = int_codes_of(p, scheme);
    if (!c.top || p->n < 1 || p->k < 1 || p->k % c.length)
        return OP_EINVAL;
    const size_t length = (size_t)c.length, count = (size_t)p->n * p->k / length;
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < count; g++) {
        const half_bits *from = (const half_bits *)w + g * length;
        const half_bits s = int_scale(largest_of(from, length), c.top);
        for (size_t q = 0; q < length; q++)
            code[g * length + q] = int_w_code(half_to_float(from[q]), s, c.top);
        ((half_bits *)scale)[g] = s;
    }
    return OP_OK;
}

enum op_status gemm_quantise_w4_channel(const struct gemm_problem *p, const void *w,
                                        unsigned char *code, void *scale, void *scaled_zero,
                                        unsigned char *zero)
{
    const size_t k = (size_t)p->k;
    if (p->n < 1 || p->k < 1)
        return OP_EINVAL;
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < (size_t)p->n; j++) {
        const half_bits *from = (const half_bits *)w + j * k;
        float low = 0, high = 0;
        for (size_t q = 0; q < k; q++) {
            low = fminf(low, half_to_float(from[q]));
            high = fmaxf(high, half_to_float(from[q]));
        }
        const struct w4_group g = w4_group_of(low, high, 0);
        for (size_t q = 0; q < k; q++)
            code[j * k + q] = w4_code(half_to_float(from[q]), g);
        ((half_bits *)scale)[j] = g.scale;
        ((half_bits *)scaled_zero)[j] = half_from_float(half_to_float(g.scale) * (float)g.zero);
        zero[j] = g.zero;
    }
    return OP_OK;
}

enum op_status gemm_quantise_w4_progressive(const struct gemm_problem *p, const void *w,
                                            unsigned char *code, void *channel_scale,
                                            unsigned char *scale, unsigned char *zero)
{
    if (meaningless(p))
        return OP_EINVAL;
    const size_t k = (size_t)p->k, group = (size_t)p->group;
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < (size_t)p->n; j++) {
        const half_bits *from = (const half_bits *)w + j * k;
        const half_bits s = int_scale(largest_of(from, k), PROTECTED_TOP);
        ((half_bits *)channel_scale)[j] = s;
        for (size_t first = 0; first < k; first += group) {
            int low = 0, high = 0;
            for (size_t q = first; q < first + group; q++) {
                const int w8 = int_w_code(half_to_float(from[q]), s, PROTECTED_TOP);
                low = w8 < low ? w8 : low;
                high = w8 > high ? w8 : high;
            }
            const struct progressive_group g = progressive_group_of(low, high);
            for (size_t q = first; q < first + group; q++)
                code[j * k + q] = progressive_code(
                    int_w_code(half_to_float(from[q]), s, PROTECTED_TOP), g);
            scale[(j * k + first) / group] = g.scale;
            zero[(j * k + first) / group] = g.zero;
        }
    }
    return OP_OK;
}

enum op_status gemm_exact_rows(size_t rows, size_t length, int low, int high, int shifted,
                               uint64_t seed, void *to)
{
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r++) {
        const struct exact_row e = exact_row_of(seed, r, low, high, shifted);
        for (size_t q = 0; q < length; q++)
            ((half_bits *)to)[r * length + q] = exact_half(seed, r, length, q, e);
    }
    return OP_OK;
}

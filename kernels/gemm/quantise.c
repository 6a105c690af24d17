/* quantise.c - quantise.h on the host. */
#include "quantise.h"

static int meaningless(const struct gemm_problem *p)
{
    return p->n < 1 || p->k < 1 || p->group < 1 || p->k % p->group;
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

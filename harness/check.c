/*
 * check.c - distances between a result and its reference, random inputs, dtypes.
 */
#include "check.h"

#include <math.h>
#include <string.h>

#include "philox.h"

int cb_dtype_bytes(enum cb_dtype t)
{
    switch (t) {
    case CB_F64:
        return 8;
    case CB_F32:
    case CB_I32:
        return 4;
    case CB_F16:
    case CB_BF16:
        return 2;
    case CB_I8:
    case CB_U8:
        return 1;
    }
    return 0;
}

/* ---- accuracy ---- */

/* The floor of max_rel is taken from the largest |want| seen so far: it is the
 * definition to the letter when max_want is set before the first element, and
 * else an upper bound of it. */
void cb_accuracy_add(struct cb_accuracy *a, long index, double got, double want, double bound)
{
    a->compared++;
    if (!isfinite(want)) {
        /* the reference overflows here: the same infinity, or NaN, is right */
        if (!(isnan(want) ? isnan(got) : got == want))
            a->bad++;
        return;
    }
    if (!isfinite(got)) {
        a->nonfinite++;
        a->bad++;
        return;
    }
    const double signed_err = got - want, err = fabs(signed_err), size = fabs(want);
    if (size > a->max_want)
        a->max_want = size;
    if (err > a->max_abs) {
        a->max_abs = err;
        a->worst = index;
    }
    const double least = fmax(size, 0x1p-10 * a->max_want);
    const double rel = least > 0 ? err / least : err; /* want is 0 throughout: absolute */
    if (rel > a->max_rel)
        a->max_rel = rel;
    if (!(err <= bound))
        a->bad++;
    a->sum_want2 += want * want;
    a->sum_got2 += got * got;
    a->sum_dot += got * want;
    a->sum_err2 += signed_err * signed_err;
    a->sum_err += signed_err;
}

void cb_accuracy_finish(struct cb_accuracy *a)
{
    const double want = sqrt(a->sum_want2), got = sqrt(a->sum_got2), err = sqrt(a->sum_err2);
    a->rel_fro = want > 0 ? err / want : err;
    a->mean = a->compared ? a->sum_err / (double)a->compared : 0;
    if (want > 0 && got > 0)
        a->cosine = fmax(-1, fmin(1, a->sum_dot / (want * got)));
    else
        a->cosine = want > 0 || got > 0 ? 0 : 1;
    if (a->max_abs == 0)
        a->worst = -1;
}

void cb_accuracy_join(struct cb_accuracy *into, const struct cb_accuracy *part)
{
    into->compared += part->compared;
    into->bad += part->bad;
    into->nonfinite += part->nonfinite;
    if (part->max_abs > into->max_abs) {
        into->max_abs = part->max_abs;
        into->worst = part->worst;
    }
    into->max_rel = fmax(into->max_rel, part->max_rel);
    into->max_want = fmax(into->max_want, part->max_want);
    into->sum_want2 += part->sum_want2;
    into->sum_got2 += part->sum_got2;
    into->sum_dot += part->sum_dot;
    into->sum_err2 += part->sum_err2;
    into->sum_err += part->sum_err;
}

/* ---- random inputs ---- */

void cb_philox(uint64_t seed, uint32_t tensor, uint32_t stream, uint64_t group, uint32_t out[4])
{
    philox_words(seed, tensor, stream, group, out);
}

float cb_random_at(enum cb_dist dist, uint64_t seed, uint32_t tensor, uint32_t stream,
                   uint64_t index)
{
    return philox_element(dist, seed, tensor, stream, index);
}

/* ---- dtypes ---- */

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* value >> shift to nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_rne(uint32_t value, int shift)
{
    const uint32_t kept = value >> shift, rest = value << (32 - shift);
    return kept + (rest > 0x80000000u || (rest == 0x80000000u && (kept & 1)));
}

uint16_t cb_half_from_float(float f)
{
    const uint32_t bits = bits_of(f), sign = bits >> 16 & 0x8000, x = bits & 0x7fffffff;
    uint32_t half;
    if (x > 0x7f800000)
        half = 0x7e00 | (x >> 13 & 0x1ff); /* NaN stays NaN, made quiet */
    else if (x >= 0x477ff000)
        half = 0x7c00; /* 65520, midway to the next power, and beyond */
    else if (x >= 0x38800000)
        half = shift_rne(x - (112u << 23), 13); /* a carry moves on to the exponent */
    else if (x > 0x33000000)
        half = shift_rne((x & 0x7fffff) | 0x800000, 126 - (int)(x >> 23)); /* subnormal */
    else
        half = 0; /* 2^-25 is the tie with 0 */
    return (uint16_t)(sign | half);
}

float cb_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31,
                   fraction = h & 0x3ff;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        const float size = (float)fraction * 0x1p-24f;
        return sign ? -size : size;
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t cb_bf16_from_float(float f)
{
    const uint32_t bits = bits_of(f);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* rounding up could turn NaN into Inf */
    return (uint16_t)shift_rne(bits, 16);
}

/* Rounds to odd: a second rounding to fewer bits is then that of the double itself. */
static float float_to_odd(double value)
{
    const float f = (float)value;
    if (isnan(value) || (double)f == value)
        return f;
    uint32_t bits = bits_of(f);
    if (fabs((double)f) > fabs(value))
        bits--; /* towards zero; from infinity to the largest finite number */
    return float_of(bits | 1);
}

double cb_load(const void *p, enum cb_dtype t, long i)
{
    switch (t) {
    case CB_F64:
        return ((const double *)p)[i];
    case CB_F32:
        return ((const float *)p)[i];
    case CB_F16:
        return cb_half_to_float(((const uint16_t *)p)[i]);
    case CB_BF16:
        return float_of((uint32_t)((const uint16_t *)p)[i] << 16);
    case CB_I8:
        return ((const int8_t *)p)[i];
    case CB_U8:
        return ((const uint8_t *)p)[i];
    case CB_I32:
        return ((const int32_t *)p)[i];
    }
    return NAN;
}

/* To nearest even, held at the ends of the range; NaN becomes 0. */
static double to_integer(double value, double low, double high)
{
    return isnan(value) ? 0 : fmin(high, fmax(low, nearbyint(value)));
}

void cb_store(void *p, enum cb_dtype t, long i, double value)
{
    switch (t) {
    case CB_F64:
        ((double *)p)[i] = value;
        break;
    case CB_F32:
        ((float *)p)[i] = (float)value;
        break;
    case CB_F16:
        ((uint16_t *)p)[i] = cb_half_from_float(float_to_odd(value));
        break;
    case CB_BF16:
        ((uint16_t *)p)[i] = cb_bf16_from_float(float_to_odd(value));
        break;
    case CB_I8:
        ((int8_t *)p)[i] = (int8_t)to_integer(value, -128, 127);
        break;
    case CB_U8:
        ((uint8_t *)p)[i] = (uint8_t)to_integer(value, 0, 255);
        break;
    case CB_I32:
        ((int32_t *)p)[i] = (int32_t)to_integer(value, -2147483648.0, 2147483647.0);
        break;
    }
}

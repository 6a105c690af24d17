/*
 * check.h - how far a result is from what it should be.
 *
 * Two distances are kept apart throughout:
 *   r1  result against the reference of the same scheme, on the same operands
 *       as stored.  Beyond rounding it is a bug: the case is wrong.
 *   r2  result against the operator without quantisation.  The accuracy that
 *       the method gives up: a finding, recorded and not judged here.
 * methodology of bounds: |got - want| <= 4 (u_out |want| + u_acc sqrt(K) magnitude)
 * element by element, and a limit on the Frobenius error of the whole.
 */
#ifndef HARNESS_CHECK_H
#define HARNESS_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* How elements are stored. */
enum cb_dtype { CB_F64, CB_F32, CB_F16, CB_BF16, CB_I8, CB_U8, CB_I32 };
int cb_dtype_bytes(enum cb_dtype t);

struct cb_accuracy {
    long compared;    /* elements; 0: not checked */
    double rel_fro;   /* |got - want| / |want|, Frobenius; |got - want| if want is 0 */
    double max_abs;   /* largest |got - want| ... */
    long worst;       /* ... and the element where it is, -1: none */
    double max_rel;   /* largest |got - want| / max(|want|, 2^-10 max|want|) */
    double mean;      /* of got - want, signed */
    double cosine;    /* of the angle between got and want */
    long bad;         /* elements outside their bound */
    long nonfinite;   /* NaN or Inf in got where want is finite */
    /* sums so far */
    double sum_want2, sum_got2, sum_dot, sum_err2, sum_err, max_want;
};

/* { 0 } starts one.  Elements come in any order; bound is what rounding may do
 * to this element, 0 for equality.  Finish once, after the last. */
void cb_accuracy_add(struct cb_accuracy *a, long index, double got, double want, double bound);
void cb_accuracy_finish(struct cb_accuracy *a);
/* Sums of two parts of one output (finish afterwards). */
void cb_accuracy_join(struct cb_accuracy *into, const struct cb_accuracy *part);

/* Philox4x32-10: key = seed, counter = (group, tensor, stream).  Four 32-bit
 * words for elements 4 group .. 4 group + 3; the same on host and device. */
void cb_philox(uint64_t seed, uint32_t tensor, uint32_t stream, uint64_t group, uint32_t out[4]);

/* What inputs look like. */
enum cb_dist {
    CB_UNIFORM, /* (int32)u 2^-31: [-1, 1) */
    CB_NORMAL,  /* sum of four 16-bit halves of two words, centred and scaled: about N(0, 1) */
    CB_EXACT    /* small integers -2 .. 2 without 0: products and sums of them do not round */
};
/* Element `index` of a tensor, before it is rounded to its dtype. */
float cb_random_at(enum cb_dist dist, uint64_t seed, uint32_t tensor, uint32_t stream,
                   uint64_t index);

/* IEEE binary16 and bfloat16, round to nearest even. */
uint16_t cb_half_from_float(float f);
float cb_half_to_float(uint16_t h);
uint16_t cb_bf16_from_float(float f);

/* Element i of an array of that dtype, and storing one (rounded). */
double cb_load(const void *p, enum cb_dtype t, long i);
void cb_store(void *p, enum cb_dtype t, long i, double value);

#endif

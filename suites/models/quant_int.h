/*
 * quant_int.h - products of integer codes: weights quantised ahead, activations as they
 * come, sums in INT32; and keys and values rounded before they are kept.
 *
 *   one group:     y = scale[n] s_a sum q_w q_a  -  offset[n] T,   T = sum of x
 *   more groups:   y = sum over groups of scale[n][g] s_a[g] (sum over the group of q_w q_a)
 *
 * s_a = max|x| / (2^(bits-1) - 1) per token (and group), kept as a half, as are offset
 * and T; no zero points for activations.  Source: QServe, arXiv 2405.04532.
 */
#ifndef SUITES_MODELS_QUANT_INT_H
#define SUITES_MODELS_QUANT_INT_H

#include "llama.h"

struct int_linear {
    int n, k;
    int groups;     /* partial sums */
    int *start;     /* [groups + 1] first channel of each, in the order below */
    int *act_bits;  /* [groups] of the activations, 2 ... 8 */
    short *code;    /* [n][k], every one within -128 ... 127 */
    float *scale;   /* [n][groups] */
    float *offset;  /* [n]; NULL: none.  One group only */
    int *order;     /* [k] channel that comes p-th; NULL: as they are */
    bool rotate;    /* inputs are rotated first, by qoq_rotate */
    unsigned long seed;
};

/* Room for everything but what is NULL by default; groups 1: start and act_bits are set.
 * NULL after cb_error. */
struct int_linear *int_linear_new(int n, int k, int groups, int act_bits, bool offset, bool order);
void int_linear_free(struct int_linear *l); /* accepts NULL */

/* The apply of a struct llama_linear whose context is a struct int_linear. */
int int_linear_apply(const struct llama_linear *l, const float *x, int m, float *y);

/* Rounds count values as a KV cache of so many bits does: scale and real-valued zero
 * point as halves, q = round(x / scale + zero), 0 ... 2^bits - 1. */
void kv_round(int bits, float *x, int count);

struct kv_rounding {
    const struct llama_config *config;
    int bits;
    bool rotate; /* queries and keys are turned by a Hadamard matrix per head first */
};

/* The after_rope of a model; context: a struct kv_rounding. */
int kv_after_rope(void *context, int layer, int m, float *q, float *k, float *v);

#endif

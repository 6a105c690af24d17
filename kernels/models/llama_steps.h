/*
 * llama_steps.h - the steps of a Llama-family model between its products, on a GPU.
 *
 * Everything is FP32 and row-major; m counts tokens.  What the host computes in double
 * (sums of squares, angles, losses) is in double here too or comes from the host, and
 * quantisers give the host's codes to the bit.  Launchers return OP_OK, OP_EINVAL,
 * OP_EUNSUPPORTED or OP_EDEVICE, and neither allocate nor wait.
 *
 * Definitions: suites/models/llama.h and quant_int.h.
 */
#ifndef KERNELS_MODELS_LLAMA_STEPS_H
#define KERNELS_MODELS_LLAMA_STEPS_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

/* ---- llama_steps.cu ---- */

/* y [m][dim] = x / sqrt(mean(x^2) + eps) * gain [dim]. */
enum op_status llama_rmsnorm(const float *x, const float *gain, double eps, int m, int dim,
                             float *y, op_stream s);
/* x [m][heads][size] in place; cosine, sine [m][size/2].  halves: pairs are (p, p + size/2),
 * else (2p, 2p + 1). */
enum op_status llama_rope(const float *cosine, const float *sine, int m, int heads, int size,
                          int halves, float *x, op_stream s);
/* x [m][heads][size] into cache [heads][capacity][size], rows position ... position + m - 1. */
enum op_status llama_keep(const float *x, int m, int heads, int size, int capacity, int position,
                          float *cache, op_stream s);
/* Softmax in place of scores [heads][rows][ld], of which m rows and `tokens` columns are there:
 * row i sees columns up to position + i, the last `window` of them if that is not 0; what it
 * does not see becomes 0. */
enum op_status llama_softmax(int heads, int rows, int ld, int m, int position, int tokens,
                             int window, float *scores, op_stream s);
/* gate = gate / (1 + exp(-gate)) * up, count elements. */
enum op_status llama_silu_times(const float *up, size_t count, float *gate, op_stream s);
/* x += y; y [m][n] += bias [n]. */
enum op_status llama_add(const float *y, size_t count, float *x, op_stream s);
enum op_status llama_add_bias(const float *bias, int m, int n, float *y, op_stream s);
/* To half, magnitudes beyond the largest half cut to it. */
enum op_status llama_to_half(const float *x, size_t count, uint16_t *y, op_stream s);

/* Of logits [m][vocab] and the tokens [m] that came next: loss [m], minus the natural
 * logarithm of what softmax gave them.  reference [m][vocab], if not NULL: log probabilities to
 * compare with, and kl [m] = sum of p (log p - log q), q being the logits'; or, with fill, to
 * be written. */
enum op_status llama_losses(const float *logits, const int *next, int m, int vocab,
                            float *reference, int fill, double *loss, double *kl, op_stream s);

/* ---- llama_integers.cu ---- */

/* Channels of codes in memory: every group begins at a multiple of LLAMA_PAD and is filled up
 * with zeros, so that four codes are one word and tiles never straddle groups. */
enum { LLAMA_PAD = 32 };

/* Groups of the k input channels, on the device. */
struct llama_groups {
    int k, groups;
    int padded;           /* channels of codes in memory */
    const int *start;     /* [groups + 1] first channel, in the order below; start[groups] = k */
    const int *place;     /* [groups + 1] where its codes begin; place[groups] = padded */
    const int *act_bits;  /* [groups] */
    const int *order;     /* [k] channel that comes p-th, or NULL */
};

/* Codes [m][padded] of x [m][k], scales [m][groups] and, as halves do, sums [m] of x; what
 * quant_int.h says, in this order of operations. */
enum op_status llama_quantise(const struct llama_groups *g, const float *x, int m, int8_t *code,
                              float *scale, float *total, op_stream s);
/* y [m][n] = bias + sum over groups of w_scale [n][groups] scale (sum of the products of codes),
 * - offset [n] total; bias and offset may be NULL.  w [n][padded]. */
enum op_status llama_int_product(const struct llama_groups *g, const int8_t *code,
                                 const float *scale, const float *total, const int8_t *w,
                                 const float *w_scale, const float *offset, const float *bias,
                                 int m, int n, float *y, op_stream s);
/* Rows of x [rows][k] through Hadamard matrices of `size` elements, a power of two up to
 * LLAMA_TURN_MAX that divides k, times its root; signs [k] first, or NULL. */
enum { LLAMA_TURN_MAX = 8192 };
enum op_status llama_turn(const float *sign, int rows, int k, int size, float *x, op_stream s);
/* Each of count vectors of `size` as a cache of so many bits keeps it. */
enum op_status llama_kv_round(int bits, int count, int size, float *x, op_stream s);

OP_END
#endif

/*
 * int_sums.h - products of matrices of integers within -128 ... 127, summed in INT32: the sums
 * are exact, so every way to compute them gives the same.  k up to 2^17.
 */
#ifndef SUITES_MODELS_INT_SUMS_H
#define SUITES_MODELS_INT_SUMS_H

#include <stddef.h>

enum { SUMS_CHANNELS = 32 }; /* output channels at a time */

/* Codes [count][k] of up to 32 channels, rows ld apart, as [(k + 1) / 2][32][2]; 0 where there
 * are none. */
void int_sums_pack(const short *code, size_t ld, int count, int k, short *packed);

/* sum [m][32] = a [m][2 pairs] times the packed codes; rows of a lie lda apart. */
typedef void int_sums_way(const short *a, size_t lda, int m, int pairs, const short *packed,
                          int *sum);

/* The fastest way of this processor; and all that it has, the i-th or NULL behind the last. */
int_sums_way *int_sums_best(void);
int_sums_way *int_sums_at(int i);

#endif

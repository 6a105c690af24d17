/* llama_part.h - what the parts of llama share: llama_model.c has it. */
#ifndef SUITES_MODELS_LLAMA_PART_H
#define SUITES_MODELS_LLAMA_PART_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* malloc of count elements; NULL after cb_error. */
void *llama_take(size_t count, size_t size);
/* OpenBLAS in one thread; returns what openblas_set_num_threads has to bring back. */
int llama_one_blas_thread(void);

/* The largest of x [n], n >= 1; NaN are passed over but in the first place. */
static inline float llama_top(const float *x, int n)
{
    enum { LANES = 8 };
    float lane[LANES], top = x[0];
    int at = LANES;
    for (int i = 0; i < LANES; i++)
        lane[i] = i < n ? x[i] : top;
    for (; at + LANES <= n; at += LANES)
        for (int i = 0; i < LANES; i++)
            lane[i] = x[at + i] > lane[i] ? x[at + i] : lane[i];
    for (; at < n; at++)
        lane[0] = x[at] > lane[0] ? x[at] : lane[0];
    for (int i = 0; i < LANES; i++)
        top = lane[i] > top ? lane[i] : top;
    return top;
}

/* e^x for loops that the compiler makes vectors of, 2 units in the last place; the same bits
 * on every machine.  Below -87 and above 88 that of these.  x = n ln 2 + r, |r| <= ln 2 / 2,
 * and the series of e^r to its seventh power. */
static inline float llama_exp(float x)
{
    const float round = 0x1.8p23f; /* added, it leaves no bits behind the point */
    const float low = -87, high = 88;
    /* by masks: branches would keep the compiler from making vectors */
    const int32_t under = -(int32_t)(x < low), over = -(int32_t)(x > high);
    int32_t word, low_word, high_word;
    memcpy(&word, &x, sizeof word);
    memcpy(&low_word, &low, sizeof low_word);
    memcpy(&high_word, &high, sizeof high_word);
    word = (word & ~(under | over)) | (low_word & under) | (high_word & over);
    memcpy(&x, &word, sizeof x);
    const float n = (x * 0x1.715476p0f + round) - round;
    const float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f; /* ln 2 in two parts */
    float sum = 1.0f / 5040;
    sum = sum * r + 1.0f / 720;
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1;
    sum = sum * r + 1;
    const int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

#endif

/*
 * int_sums.c - see int_sums.h.
 *
 * Two neighbouring channels of the input meet in one instruction:
 *
 *     a     row i      [a0 a1] [a2 a3] ...             one pair in all lanes
 *     packed           [w0 w1] of channel 0, 1, ... 31  a lane each, then the next pair
 *     sum   lane c  += a0 w0 + a1 w1
 *
 * ROWS rows share what is loaded of the codes, and their sums stay in registers.
 */
#include "int_sums.h"

#include <string.h>

void int_sums_pack(const short *code, size_t ld, int count, int k, short *packed)
{
    const int pairs = (k + 1) / 2;
    if (count < SUMS_CHANNELS || k % 2)
        memset(packed, 0, (size_t)pairs * SUMS_CHANNELS * 2 * sizeof *packed);
    for (int c = 0; c < count; c++) {
        const short *from = code + (size_t)c * ld;
        short *to = packed + 2 * c;
        for (int p = 0; p < k / 2; p++)
            memcpy(to + (size_t)p * 2 * SUMS_CHANNELS, from + 2 * p, 2 * sizeof *to);
        if (k % 2)
            to[(size_t)(k / 2) * 2 * SUMS_CHANNELS] = from[k - 1];
    }
}

static void plain(const short *a, size_t lda, int m, int pairs, const short *packed, int *sum)
{
    for (int i = 0; i < m; i++, a += lda, sum += SUMS_CHANNELS) {
        int lane[SUMS_CHANNELS] = { 0 };
        for (int p = 0; p < pairs; p++) {
            const short *w = packed + (size_t)p * 2 * SUMS_CHANNELS;
            for (int c = 0; c < SUMS_CHANNELS; c++)
                lane[c] += a[2 * p] * w[2 * c] + a[2 * p + 1] * w[2 * c + 1];
        }
        memcpy(sum, lane, sizeof lane);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

static inline int pair_of(const short *a)
{
    int pair;
    memcpy(&pair, a, sizeof pair);
    return pair;
}

/* ---- AVX2: 16 channels in two registers, four rows ---- */

#define AVX2 __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline))

INLINE AVX2 void rows_avx2(const short *a, size_t lda, const int rows, int pairs,
                           const short *packed, int *sum)
{
    for (int half = 0; half < 2; half++) {
        const short *w = packed + half * SUMS_CHANNELS;
        __m256i lane[4][2];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
            lane[i][0] = lane[i][1] = _mm256_setzero_si256();
        for (int p = 0; p < pairs; p++, w += 2 * SUMS_CHANNELS) {
            const __m256i w0 = _mm256_loadu_si256((const __m256i *)w);
            const __m256i w1 = _mm256_loadu_si256((const __m256i *)(w + 16));
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) {
                const __m256i x = _mm256_set1_epi32(pair_of(a + (size_t)i * lda + 2 * p));
                lane[i][0] = _mm256_add_epi32(lane[i][0], _mm256_madd_epi16(x, w0));
                lane[i][1] = _mm256_add_epi32(lane[i][1], _mm256_madd_epi16(x, w1));
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                _mm256_storeu_si256((__m256i *)(sum + i * SUMS_CHANNELS + 16 * half + 8 * v),
                                    lane[i][v]);
    }
}

AVX2 static void avx2(const short *a, size_t lda, int m, int pairs, const short *packed, int *sum)
{
    int i = 0;
    for (; i + 4 <= m; i += 4)
        rows_avx2(a + (size_t)i * lda, lda, 4, pairs, packed, sum + i * SUMS_CHANNELS);
    for (; i < m; i++)
        rows_avx2(a + (size_t)i * lda, lda, 1, pairs, packed, sum + i * SUMS_CHANNELS);
}

/* ---- AVX-512 VNNI: 32 channels in two registers, eight rows, multiplied and added at once ---- */

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

INLINE VNNI void rows_vnni(const short *a, size_t lda, const int rows, int pairs,
                           const short *packed, int *sum)
{
    __m512i lane[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        lane[i][0] = lane[i][1] = _mm512_setzero_si512();
    for (int p = 0; p < pairs; p++, packed += 2 * SUMS_CHANNELS) {
        const __m512i w0 = _mm512_loadu_si512(packed);
        const __m512i w1 = _mm512_loadu_si512(packed + SUMS_CHANNELS);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const __m512i x = _mm512_set1_epi32(pair_of(a + (size_t)i * lda + 2 * p));
            lane[i][0] = _mm512_dpwssd_epi32(lane[i][0], x, w0);
            lane[i][1] = _mm512_dpwssd_epi32(lane[i][1], x, w1);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            _mm512_storeu_si512(sum + i * SUMS_CHANNELS + 16 * v, lane[i][v]);
}

VNNI static void vnni(const short *a, size_t lda, int m, int pairs, const short *packed, int *sum)
{
    int i = 0;
    for (; i + 8 <= m; i += 8)
        rows_vnni(a + (size_t)i * lda, lda, 8, pairs, packed, sum + i * SUMS_CHANNELS);
    for (; i < m; i++)
        rows_vnni(a + (size_t)i * lda, lda, 1, pairs, packed, sum + i * SUMS_CHANNELS);
}

int_sums_way *int_sums_at(int i)
{
    int_sums_way *way[4] = { NULL };
    int n = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vnni"))
        way[n++] = vnni;
    if (__builtin_cpu_supports("avx2"))
        way[n++] = avx2;
    way[n] = plain;
    return i <= n ? way[i] : NULL;
}
#else
int_sums_way *int_sums_at(int i)
{
    return i == 0 ? plain : NULL;
}
#endif

int_sums_way *int_sums_best(void)
{
    return int_sums_at(0);
}

/*
 * split_codes.cuh - fragments of tensor-core products from cached codes, for split.cuh.
 *
 * A tile holds TILE tokens of one head, its rows as they stand in a page.  ldmatrix loads
 * 8 rows by 16 bytes, of keys as they are and of values transposed; `lo` and `hi` below are
 * such a register of the tile's tokens that make rows 0-7 and 8-15 of the product:
 *
 *            keys, lane r = l/4, q = l%4                 values
 *   KV4      bits 0-31: elements 8q .. 8q+7 of row r     4 elements 4r .. of rows 2q, 2q+1
 *   KV8      elements 4q .. 4q+3 of row r                2 elements 2r, 2r+1 of rows 2q, 2q+1
 *   KV16     elements 2q, 2q+1 of row r                  element r of rows 2q, 2q+1
 *
 * always two 16-bit units, whose lowest bits are the codes of one fragment register, whose
 * next ones those of the next.  A code below 1024 in the low bits of a half is that code
 * times 2^-24, a subnormal number, which tensor cores multiply without loss: one mask makes
 * two elements.  The second nibble needs no shift: it counts 16 times, which the queries
 * take back (keys) or the end does (values).
 *
 * So a pair of a lane's keys is element i and element i + 16 / BITS of 32 / BITS neighbours,
 * i = 0, 1, ... for the first elements of a step, the second, those of the next step.
 *
 * expand() gives for each step of 16 elements the four registers
 *   first elements of lo, of hi, second elements of lo, of hi
 * which are A of keys [16 tokens][16 elements] in this order, and A of values
 * [16 elements][16 tokens] with the middle two exchanged.
 */
#ifndef KERNELS_ATTN_SPLIT_CODES_CUH
#define KERNELS_ATTN_SPLIT_CODES_CUH

#include <stdint.h>

#include "page.h"

template <enum attn_scheme S> struct Codes;

/* What 2^-24 above is taken back with. */
constexpr float SUBNORMAL = 16777216.0f;

template <> struct Codes<ATTN_KV4> {
    static constexpr int BITS = 4;
    static constexpr int TILE = 64;        /* tokens: 8 KB of keys and values at 128 elements */
    static constexpr int STEPS_OF_TWO = 4; /* steps of two 16-byte columns */
    static constexpr bool SCALES = true;
    static constexpr float UNIT = SUBNORMAL; /* times an expanded code is the code ... */
    static constexpr float SECOND = 0.0625f; /* ... and of the second elements with this as well */
    static constexpr float BIAS = 2;         /* weights times 2^BIAS times a scale fit a half */
    static __device__ __forceinline__ int value(int step, int second, int r)
    {
        return step / 2 * 32 + r * 4 + step % 2 * 2 + second;
    }
    static __device__ __forceinline__ void expand(uint32_t lo, uint32_t hi, int half,
                                                  uint32_t (&e)[4])
    {
        const uint32_t x = half ? lo >> 8 : lo, y = half ? hi >> 8 : hi;
        e[0] = x & 0x000f000f;
        e[1] = y & 0x000f000f;
        e[2] = x & 0x00f000f0;
        e[3] = y & 0x00f000f0;
    }
    /* step: of the two columns in d */
    static __device__ __forceinline__ void expand(const uint32_t (&d)[4], int step,
                                                  uint32_t (&e)[4])
    {
        expand(d[step / 2 * 2], d[step / 2 * 2 + 1], step % 2, e);
    }
};

/* Signed: bytes with their highest bit turned are unsigned ones with zero point 128. */
template <bool Signed> struct Bytes {
    static constexpr int BITS = 8;
    static constexpr int TILE = 32;
    static constexpr int STEPS_OF_TWO = 2;
    static constexpr bool SCALES = !Signed;
    static constexpr float UNIT = SUBNORMAL;
    static constexpr float SECOND = 1;
    static constexpr float BIAS = Signed ? 8 : 6;
    static __device__ __forceinline__ int value(int step, int second, int r)
    {
        return step * 16 + r * 2 + second;
    }
    static __device__ __forceinline__ uint32_t unsign(uint32_t word)
    {
        return Signed ? word ^ 0x80808080u : word;
    }
    static __device__ __forceinline__ void expand(const uint32_t (&d)[4], int step,
                                                  uint32_t (&e)[4])
    {
        const uint32_t x = unsign(d[2 * step]), y = unsign(d[2 * step + 1]);
        e[0] = __byte_perm(x, 0, 0x4240);
        e[1] = __byte_perm(y, 0, 0x4240);
        e[2] = __byte_perm(x, 0, 0x4341);
        e[3] = __byte_perm(y, 0, 0x4341);
    }
};
template <> struct Codes<ATTN_KV8> : Bytes<false> {
};
template <> struct Codes<ATTN_KV8_STATIC> : Bytes<true> {
};

template <> struct Codes<ATTN_KV16> {
    static constexpr int BITS = 16;
    static constexpr int TILE = 16;
    static constexpr int STEPS_OF_TWO = 1;
    static constexpr bool SCALES = false;
    static constexpr float UNIT = 1;
    static constexpr float SECOND = 1;
    static constexpr float BIAS = 8;
    static __device__ __forceinline__ int value(int step, int second, int r)
    {
        return step * 16 + second * 8 + r;
    }
    static __device__ __forceinline__ void expand(const uint32_t (&d)[4], int, uint32_t (&e)[4])
    {
        for (int i = 0; i < 4; i++)
            e[i] = d[i];
    }
};

#endif

/*
 * w4a16_dequant.cuh - from the words of a strip to A fragments (w4a16_layout.h),
 * and which stages of that work a kernel does.
 */
#ifndef KERNELS_GEMM_W4A16_DEQUANT_CUH
#define KERNELS_GEMM_W4A16_DEQUANT_CUH

#include "dequant.cuh"
#include "w4a16_layout.h"

/* ---- stages of the work, for ablations ---- */

template <bool Load, bool Dequant, bool Mma> struct W4Stages {
    static constexpr bool LOAD = Load, DEQUANT = Dequant, MMA = Mma;
};
using W4Full = W4Stages<true, true, true>;
using W4NoDeq = W4Stages<true, false, true>;
using W4LoadOnly = W4Stages<true, false, false>;
using W4MmaOnly = W4Stages<false, false, true>;
using W4DeqOnly = W4Stages<false, true, false>;

/* ---- codes to halves ---- */

/* -(1024 + zero) for channel r, -(64 + zero) for r+8, each twice. */
struct W4Zeros {
    uint32_t even, odd;
};

template <bool Symmetric>
static __device__ __forceinline__ W4Zeros load_zeros(const unsigned char *strip, int r)
{
    if constexpr (Symmetric)
        return { 0xe408e408u, 0xd480d480u };
    const uint32_t z = *(const uint16_t *)(strip + W4_CODES + W4_SCALES + 2 * r);
    return { __byte_perm(z, 0xe4, 0x4040), __byte_perm(z, 0xd4, 0x4141) };
}

template <class Stages>
static __device__ __forceinline__ void weights(uint32_t word, W4Zeros zeros, uint32_t (&a)[4])
{
#pragma unroll
    for (int t = 0; t < 4; t++) {
        if constexpr (!Stages::DEQUANT) {
            a[t] = word;
            continue;
        }
        const half2 biased = half2_of(dequant_u4_biased(word, t));
        a[t] = bits_of(t % 2 ? __hfma2(biased, half2_of(DEQUANT_16TH), half2_of(zeros.odd))
                             : __hadd2(biased, half2_of(zeros.even)));
    }
}

/* Without products: what would have entered them is folded into the sums. */
static __device__ __forceinline__ void fold(float &sum, uint32_t bits)
{
    sum = __uint_as_float(__float_as_uint(sum) ^ bits);
}

static __device__ __forceinline__ void fold(float (&sum)[4], const uint32_t (&a)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        fold(sum[i], a[i]);
}

#endif

/*
 * own_mma.cuh - the two element types of own_mma.cu: loads of B, factors, products, stores.
 *
 * Fragments of mma m16n8kK, lane l, r = l / 4, q = l % 4; A row-major, B column-major:
 *
 *   half, k 16   a0 (r, 2q..2q+1)  a1 (r+8, 2q..)  a2 (r, 2q+8..)  a3 (r+8, 2q+8..)
 *                b0 (2q..2q+1, r)  b1 (2q+8.., r)
 *   TF32, k 8    a0 (r, q)  a1 (r+8, q)  a2 (r, q+4)  a3 (r+8, q+4)    b0 (q, r)  b1 (q+4, r)
 *   both         c0 c1 (r, 2q..2q+1)  c2 c3 (r+8, 2q..)
 */
#ifndef KERNELS_SPMM_OWN_MMA_CUH
#define KERNELS_SPMM_OWN_MMA_CUH

#include <cuda_fp16.h>
#include <stdint.h>

#include "../common/tf32.cuh"
#include "../common/warp.cuh"
#include "../gemm/mma.cuh"

/* Words of 4 bytes that V elements of a row of B take, by the widest load. */
template <int WORDS> static __device__ __forceinline__ void load_words(const char *p, uint32_t *w)
{
    if constexpr (WORDS == 4) {
        const uint4 x = __ldg((const uint4 *)p);
        w[0] = x.x, w[1] = x.y, w[2] = x.z, w[3] = x.w;
    } else if constexpr (WORDS == 2) {
        const uint2 x = __ldg((const uint2 *)p);
        w[0] = x.x, w[1] = x.y;
    } else {
        w[0] = __ldg((const uint32_t *)p);
    }
}

template <int WORDS> static __device__ __forceinline__ void store_words(void *p, const uint32_t *w)
{
    if constexpr (WORDS == 4)
        __stcs((uint4 *)p, make_uint4(w[0], w[1], w[2], w[3]));
    else if constexpr (WORDS == 2)
        __stcs((uint2 *)p, make_uint2(w[0], w[1]));
    else
        __stcs((uint32_t *)p, w[0]);
}

/* ---- half ---- */

struct Half {
    using Element = half;
    using Values = uint2; /* of a row, four vectors */
    static constexpr int WIDEST = 8;

    static __device__ __forceinline__ half value(const void *val, int p)
    {
        return ((const half *)val)[p];
    }

    template <int V> struct Load {
        uint32_t word[V > 1 ? V / 2 : 1];

        __device__ __forceinline__ void load(const char *p)
        {
            if constexpr (V > 1)
                load_words<V / 2>(p, word);
            else
                word[0] = __ldg((const unsigned short *)p); /* the column after it: 0 */
        }
    };

    struct Factor {
        uint32_t a[4];

        template <class Load>
        __device__ __forceinline__ Factor(const Load &x0, const Load &x1, const Load &x2,
                                          const Load &x3, int t)
            : a{ __byte_perm(x0.word[t], x1.word[t], 0x5410),
                 __byte_perm(x0.word[t], x1.word[t], 0x7632),
                 __byte_perm(x2.word[t], x3.word[t], 0x5410),
                 __byte_perm(x2.word[t], x3.word[t], 0x7632) }
        {
        }

        __device__ __forceinline__ void multiply(float (&c)[4], uint2 values) const
        {
            mma(c, a, values.x, values.y);
        }
    };

    template <int V> static __device__ __forceinline__ void store(half *c, const float (&x)[V])
    {
        if constexpr (V == 1) {
            *c = __float2half_rn(x[0]);
        } else {
            uint32_t word[V / 2];
#pragma unroll
            for (int i = 0; i < V / 2; i++) {
                const half2 two = __floats2half2_rn(x[2 * i], x[2 * i + 1]);
                word[i] = *(const uint32_t *)&two;
            }
            store_words<V / 2>(c, word);
        }
    }
};

/* ---- TF32 ---- */

/* To nearest, ties away from zero, as a float whose low 13 bits are 0. */
static __device__ __forceinline__ uint32_t tf32(uint32_t x)
{
    return to_tf32(__uint_as_float(x));
}

struct Tf32 {
    using Element = float;
    using Values = uint4;
    static constexpr int WIDEST = 4;

    static __device__ __forceinline__ float value(const void *val, int p)
    {
        return __uint_as_float(tf32(((const uint32_t *)val)[p]));
    }

    template <int V> struct Load {
        uint32_t word[V];

        __device__ __forceinline__ void load(const char *p)
        {
            load_words<V>(p, word);
        }

        /* Column i, 0 beyond the one that V = 1 has. */
        __device__ __forceinline__ uint32_t at(int i) const
        {
            return i < V ? tf32(word[i < V ? i : 0]) : 0;
        }
    };

    struct Factor {
        uint32_t a[2][4];

        template <class Load>
        __device__ __forceinline__ Factor(const Load &x0, const Load &x1, const Load &x2,
                                          const Load &x3, int t)
            : a{ { x0.at(2 * t), x0.at(2 * t + 1), x1.at(2 * t), x1.at(2 * t + 1) },
                 { x2.at(2 * t), x2.at(2 * t + 1), x3.at(2 * t), x3.at(2 * t + 1) } }
        {
        }

        __device__ __forceinline__ void multiply(float (&c)[4], uint4 values) const
        {
            mma_tf32(c, a[0], values.x, values.y);
            mma_tf32(c, a[1], values.z, values.w);
        }
    };

    template <int V> static __device__ __forceinline__ void store(float *c, const float (&x)[V])
    {
        uint32_t word[V];
#pragma unroll
        for (int i = 0; i < V; i++)
            word[i] = __float_as_uint(x[i]);
        store_words<V>(c, word);
    }
};

#endif

/*
 * implicit_math.cuh - products of a tile whose operands are in shared memory, by tensor
 * cores in half or TF32, or by CUDA cores in float: policies of implicit.cuh.
 *
 *   A [128][K + PAD_A]   B [K][N + PAD_B], or [N][K + PAD_A] where W is transposed
 *
 * pads keep the rows that a warp reads at once in different banks.  A policy has
 *
 *   Element          what is stored
 *   sum              a thread's part of the tile
 *   multiply(a, b)   adds the products of one slice of K
 *   each(f)          calls f(row, column, two neighbouring sums) for all of its part
 */
#ifndef KERNELS_SPCONV_IMPLICIT_MATH_CUH
#define KERNELS_SPCONV_IMPLICIT_MATH_CUH

#include <cuda_fp16.h>

#include "../common/tf32.cuh"
#include "../gemm/mma.cuh"

constexpr int IMPLICIT_ROWS = 128;

static __device__ __forceinline__ float as_float(half v) { return __half2float(v); }
static __device__ __forceinline__ float as_float(float v) { return v; }
static __device__ __forceinline__ void set(half *to, float v) { *to = __float2half_rn(v); }
static __device__ __forceinline__ void set(float *to, float v) { *to = v; }

/* Warps two high, or one high where a tile has 16 columns and two warps take 64 rows each. */
template <int N> struct ImplicitWarps {
    static constexpr int DOWN = 2, ACROSS = N >= 128 ? 4 : N >= 64 ? 2 : 1;
    static constexpr int THREADS = DOWN * ACROSS * 32;
    static constexpr int ROWS = IMPLICIT_ROWS / DOWN, COLUMNS = N / ACROSS;
};

/* 16 rows a warp: fetch-on-demand. */
template <int N> struct FetchWarps {
    static constexpr int DOWN = 8, ACROSS = 1, THREADS = 256, ROWS = 16, COLUMNS = N;
};

template <class Warps_> struct TensorSums : Warps_ {
    typedef Warps_ Warps;
    static constexpr int M16 = Warps::ROWS / 16, N8 = Warps::COLUMNS / 8;
    float sum[M16][N8][4] = {};

    __device__ __forceinline__ int first_row() const
    {
        return threadIdx.x / 32 / Warps::ACROSS * Warps::ROWS;
    }
    __device__ __forceinline__ int first_column() const
    {
        return threadIdx.x / 32 % Warps::ACROSS * Warps::COLUMNS;
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int r = first_row() + threadIdx.x % 32 / 4;
        const int c = first_column() + threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < M16; i++)
#pragma unroll
            for (int j = 0; j < N8; j++) {
                f(r + i * 16, c + j * 8, sum[i][j][0], sum[i][j][1]);
                f(r + i * 16 + 8, c + j * 8, sum[i][j][2], sum[i][j][3]);
            }
    }
};

/* Fragments of a slice of 16 of k: a warp's rows of A, its columns of B two eights at a time. */
template <int PitchA, int M16>
static __device__ __forceinline__ void load_a16(uint32_t (&fa)[M16][4], const half *a, int row,
                                                int k)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < M16; i++)
        ldmatrix(fa[i], a + (row + i * 16 + lane % 16) * PitchA + k + lane / 16 * 8);
}

template <int PitchB, bool Transposed, int N16>
static __device__ __forceinline__ void load_b16(uint32_t (&fb)[N16][4], const half *b, int column,
                                                int k)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < N16; j++)
        if constexpr (Transposed)
            ldmatrix(fb[j], b + (column + j * 16 + lane % 8 + lane / 16 * 8) * PitchB + k +
                                lane / 8 % 2 * 8);
        else
            ldmatrix_trans(fb[j], b + (k + lane % 16) * PitchB + column + j * 16 + lane / 16 * 8);
}

template <class Warps, int N, int K, bool Transposed> struct HalfMathOf : TensorSums<Warps> {
    typedef half Element;
    typedef TensorSums<Warps> Sums;
    static constexpr int PAD_A = 8, PAD_B = 8;
    static constexpr int PITCH_A = K + PAD_A, PITCH_B = Transposed ? K + PAD_A : N + PAD_B;

    __device__ __forceinline__ void multiply(const half *a, const half *b)
    {
        const int row = this->first_row(), column = this->first_column();
#pragma unroll
        for (int k = 0; k < K; k += 16) {
            uint32_t fa[Sums::M16][4], fb[Sums::N8 / 2][4];
            load_a16<PITCH_A>(fa, a, row, k);
            load_b16<PITCH_B, Transposed>(fb, b, column, k);
#pragma unroll
            for (int i = 0; i < Sums::M16; i++)
#pragma unroll
                for (int j = 0; j < Sums::N8; j++)
                    mma(this->sum[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
};

/* Sums in half, as fetch-on-demand was published. */
template <int N, int K> struct HalfSumMath : FetchWarps<N> {
    typedef half Element;
    static constexpr int PAD_A = 8, PAD_B = 8, PITCH_A = K + PAD_A, PITCH_B = N + PAD_B;
    uint32_t sum[N / 8][2] = {};

    __device__ __forceinline__ void multiply(const half *a, const half *b)
    {
#pragma unroll
        for (int k = 0; k < K; k += 16) {
            uint32_t fa[1][4], fb[N / 16][4];
            load_a16<PITCH_A>(fa, a, threadIdx.x / 32 * 16, k);
            load_b16<PITCH_B, false>(fb, b, 0, k);
#pragma unroll
            for (int j = 0; j < N / 8; j++)
                mma(sum[j], fa[0], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int r = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, c = threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float2 v = __half22float2(*(const half2 *)&sum[j][h]);
                f(r + 8 * h, c + j * 8, v.x, v.y);
            }
    }
};

template <class Warps, int N, int K, bool Transposed> struct Tf32MathOf : TensorSums<Warps> {
    typedef float Element;
    typedef TensorSums<Warps> Sums;
    static constexpr int PAD_A = 4, PAD_B = 8;
    static constexpr int PITCH_A = K + PAD_A, PITCH_B = Transposed ? K + PAD_A : N + PAD_B;

    __device__ __forceinline__ void multiply(const float *a, const float *b)
    {
        const int lane = threadIdx.x % 32, row = this->first_row() + lane / 4;
        const int column = this->first_column() + lane / 4, c = lane % 4;
#pragma unroll
        for (int k = c; k < K; k += 8) {
            uint32_t fb[Sums::N8][2];
#pragma unroll
            for (int j = 0; j < Sums::N8; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    fb[j][h] = to_tf32(Transposed ? b[(column + j * 8) * PITCH_B + k + 4 * h]
                                                  : b[(k + 4 * h) * PITCH_B + column + j * 8]);
#pragma unroll
            for (int i = 0; i < Sums::M16; i++) {
                uint32_t fa[4];
#pragma unroll
                for (int h = 0; h < 4; h++)
                    fa[h] = to_tf32(a[(row + i * 16 + h % 2 * 8) * PITCH_A + k + h / 2 * 4]);
#pragma unroll
                for (int j = 0; j < Sums::N8; j++)
                    mma_tf32(this->sum[i][j], fa, fb[j][0], fb[j][1]);
            }
        }
    }
};

/* 16 rows of threads, eight rows of the tile each; columns in fours. */
template <class Warps, int N, int K, bool Transposed> struct FloatMathOf : Warps {
    typedef float Element;
    static constexpr int PAD_A = 4, PAD_B = 8;
    static constexpr int PITCH_A = K + PAD_A, PITCH_B = Transposed ? K + PAD_A : N + PAD_B;
    static constexpr int THREADS_ACROSS = Warps::THREADS / 16, FOURS = N / THREADS_ACROSS / 4;
    static_assert(FOURS > 0, "a thread has four columns");
    float sum[8][FOURS][4] = {};

    __device__ __forceinline__ void multiply(const float *a, const float *b)
    {
        const int row = threadIdx.x / THREADS_ACROSS, column = threadIdx.x % THREADS_ACROSS * 4;
#pragma unroll 4
        for (int k = 0; k < K; k++) {
            float fa[8], fb[FOURS][4];
#pragma unroll
            for (int i = 0; i < 8; i++)
                fa[i] = a[(row + 16 * i) * PITCH_A + k];
#pragma unroll
            for (int j = 0; j < FOURS; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int n = column + j * THREADS_ACROSS * 4 + e;
                    fb[j][e] = Transposed ? b[n * PITCH_B + k] : b[k * PITCH_B + n];
                }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < FOURS; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        sum[i][j][e] = fmaf(fa[i], fb[j][e], sum[i][j][e]);
        }
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int row = threadIdx.x / THREADS_ACROSS, column = threadIdx.x % THREADS_ACROSS * 4;
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < FOURS; j++)
#pragma unroll
                for (int e = 0; e < 4; e += 2)
                    f(row + 16 * i, column + j * THREADS_ACROSS * 4 + e, sum[i][j][e], sum[i][j][e + 1]);
    }
};

template <int N, int K, bool T> struct HalfMath : HalfMathOf<ImplicitWarps<N>, N, K, T> {};
template <int N, int K, bool T> struct Tf32Math : Tf32MathOf<ImplicitWarps<N>, N, K, T> {};
template <int N, int K, bool T> struct FloatMath : FloatMathOf<ImplicitWarps<N>, N, K, T> {};

#endif

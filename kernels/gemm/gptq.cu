/*
 * gptq.cu - Y = X W^T, half X, 4-bit W with a group index for each input
 * channel, float sums: what AWQ's first version compares with.
 *
 * Stands for the Triton kernel of GPTQ-for-LLaMa.  Like it, it looks up group,
 * scale and zero point for every single code, adds one to the stored zero point
 * (modulo 16), converts with a conversion instruction, and cuts neither k among
 * blocks nor reuses a scale; its tiles are chosen by the number of tokens, no
 * fewer than 16.
 *
 *   tokens   tile m x n x k    warps m x n
 *   .. 16     16 x  32 x 128      1 x 4
 *   .. 32     32 x  64 x  64      1 x 4
 *   more      64 x 128 x  32      2 x 2
 *
 *   shared   a [2][m][k+8]  b [2][n][k+8] half: b is W dequantised, a word's
 *            eight codes a store of 16 bytes.  X is copied and W loaded a tile
 *            ahead; scales and zero points are not.
 *
 * gptq_r is for input channels reordered by sensitivity (act-order): rows of the
 * packed W lie in the order of gptq_order, so that neighbouring codes look up
 * scattered groups.  So that the result is that of the plain codes, X is
 * gathered in that order, element by element.  The Triton kernel keeps X's order
 * and scatters the groups only: this pays the gather besides.
 */
#include "../common/warp.cuh"
#include "awq_layout.h"
#include "mma.cuh"
#include "published.h"
#include "w4_pack.h"

constexpr int THREADS = 128, PAD = 8;

template <int Tile_m, int Tile_n, int Tile_k, int Warps_m> struct GptqShape {
    static constexpr int tile_m = Tile_m, tile_n = Tile_n, tile_k = Tile_k;
    static constexpr int warps_m = Warps_m, warps_n = THREADS / WARP / warps_m;
    static constexpr int rows = tile_m / warps_m / 16;          /* blocks of 16 tokens of a warp */
    static constexpr int columns = tile_n / warps_n / 8;        /* blocks of 8 channels */
    static constexpr int words = tile_n * tile_k / 8 / THREADS; /* of a thread */
};

template <class S> struct GptqTiles {
    alignas(16) half a[2][S::tile_m][S::tile_k + PAD];
    alignas(16) half b[2][S::tile_n][S::tile_k + PAD];
};

struct GptqWeight {
    const uint32_t *code, *zero;
    const half *scale;
    const int *group, *order;
};

/* ---- load ---- */

/* Tile of X from input channel p0; zeros past the ends of m and k. */
template <class S, bool Reordered>
static __device__ __forceinline__ void load_x(const gemm_problem &p, const half *x,
                                              const GptqWeight &w, int i0, int p0,
                                              half (&a)[S::tile_m][S::tile_k + PAD])
{
    if constexpr (Reordered) {
#pragma unroll 8
        for (int i = 0; i < S::tile_m * S::tile_k / THREADS; i++) {
            const int e = threadIdx.x + i * THREADS, row = e / S::tile_k, col = e % S::tile_k;
            const bool valid = i0 + row < p.m && p0 + col < p.k;
            a[row][col] =
                valid ? x[(size_t)(i0 + row) * p.k + __ldg(w.order + p0 + col)] : __float2half(0);
        }
    } else {
        constexpr int chunks = S::tile_k / 8;
#pragma unroll
        for (int i = 0; i < S::tile_m * chunks / THREADS; i++) {
            const int e = threadIdx.x + i * THREADS, row = e / chunks, col = e % chunks * 8;
            const bool valid = i0 + row < p.m && p0 + col < p.k;
            copy_async(&a[row][col], x + (valid ? (size_t)(i0 + row) * p.k + p0 + col : 0), valid);
        }
        copy_commit();
    }
}

/* The thread's words of the tile: word e is of channel e%tile_n, codes from e/tile_n*8. */
template <class S>
static __device__ __forceinline__ void load_w(const gemm_problem &p, const GptqWeight &w, int j0,
                                              int p0, uint32_t (&word)[S::words])
{
#pragma unroll
    for (int i = 0; i < S::words; i++) {
        const int e = threadIdx.x + i * THREADS;
        const int j = j0 + e % S::tile_n, q = p0 + e / S::tile_n * 8;
        word[i] = j < p.n && q < p.k ? w.code[(size_t)(q / 8) * p.n + j] : 0;
    }
}

/* ---- dequantise: each code with its own group, (code - zero) * scale ---- */

template <class S>
static __device__ __forceinline__ void dequantise(const gemm_problem &p, const GptqWeight &w,
                                                  int j0, int p0, const uint32_t (&word)[S::words],
                                                  half (&b)[S::tile_n][S::tile_k + PAD])
{
#pragma unroll
    for (int i = 0; i < S::words; i++) {
        const int e = threadIdx.x + i * THREADS, col = e % S::tile_n, row = e / S::tile_n * 8;
        const int j = j0 + col;
        alignas(16) half eight[8] = {};
        if (j < p.n && p0 + row < p.k) {
#pragma unroll
            for (int t = 0; t < 8; t++) {
                const size_t g = __ldg(w.group + p0 + row + t);
                const uint32_t zeros = __ldg(w.zero + g * (p.n / 8) + j / 8);
                const int zero = (int)gptq_zero_read(zeros >> j % 8 * 4 & 15);
                const int code = (int)(word[i] >> 4 * t & 15);
                eight[t] = __hmul(__int2half_rn(code - zero), w.scale[g * p.n + j]);
            }
        }
        *(uint4 *)&b[col][row] = *(const uint4 *)eight;
    }
}

/* ---- multiply: a warp's part of the tiles ---- */

template <class S>
static __device__ __forceinline__ void
multiply(const half (&a)[S::tile_m][S::tile_k + PAD], const half (&b)[S::tile_n][S::tile_k + PAD],
         int i_warp, int j_warp, float (&sum)[S::rows][S::columns][4])
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int q = 0; q < S::tile_k; q += 32) {
        uint32_t w[S::columns][4]; /* eight channels, 32 of k: two fragments */
#pragma unroll
        for (int c = 0; c < S::columns; c++)
            ldmatrix(w[c], &b[j_warp + c * 8 + lane % 8][q + lane / 8 * 8]);
#pragma unroll
        for (int r = 0; r < S::rows; r++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                uint32_t f[4];
                ldmatrix(f, &a[i_warp + r * 16 + lane % 16][q + h * 16 + lane / 16 * 8]);
#pragma unroll
                for (int c = 0; c < S::columns; c++)
                    mma(sum[r][c], f, w[c][2 * h], w[c][2 * h + 1]);
            }
    }
}

/* ---- kernel ---- */

template <class S, bool Reordered>
static __global__ __launch_bounds__(THREADS) void gptq(gemm_problem p, const half *x, GptqWeight w,
                                                       half *y)
{
    __shared__ GptqTiles<S> tiles;
    const int i0 = blockIdx.y * S::tile_m, j0 = blockIdx.x * S::tile_n;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int i_warp = warp / S::warps_n * S::rows * 16,
              j_warp = warp % S::warps_n * S::columns * 8;
    float sum[S::rows][S::columns][4] = {};
    uint32_t word[S::words];

    load_x<S, Reordered>(p, x, w, i0, 0, tiles.a[0]);
    load_w<S>(p, w, j0, 0, word);
    for (int p0 = 0, now = 0; p0 < p.k; p0 += S::tile_k, now ^= 1) {
        dequantise<S>(p, w, j0, p0, word, tiles.b[now]);
        copy_wait<0>();
        __syncthreads(); /* this tile is there, the last one has been used */
        if (p0 + S::tile_k < p.k) {
            load_x<S, Reordered>(p, x, w, i0, p0 + S::tile_k, tiles.a[now ^ 1]);
            load_w<S>(p, w, j0, p0 + S::tile_k, word);
        }
        multiply<S>(tiles.a[now], tiles.b[now], i_warp, j_warp, sum);
    }
#pragma unroll
    for (int r = 0; r < S::rows * 2; r++)
#pragma unroll
        for (int c = 0; c < S::columns; c++) {
            const int i = i0 + i_warp + r * 8 + lane / 4;
            const int j = j0 + j_warp + c * 8 + lane % 4 * 2;
            const float *const two = &sum[r / 2][c][r % 2 * 2];
            if (i < p.m && j < p.n)
                *(half2 *)(y + (size_t)i * p.n + j) = __floats2half2_rn(two[0], two[1]);
        }
}

/* ---- launchers ---- */

template <class S, bool Reordered>
static enum op_status launch(const gemm_problem *p, const gemm_args *a, const w4_packed *w,
                             op_stream s)
{
    const dim3 grid((p->n + S::tile_n - 1) / S::tile_n, (p->m + S::tile_m - 1) / S::tile_m);
    const GptqWeight weight = { w->code, w->zero, (const half *)w->scale, w->group, w->order };
    gptq<S, Reordered><<<grid, THREADS, 0, s>>>(*p, (const half *)a->x, weight, (half *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

template <bool Reordered>
static enum op_status choose(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    const w4_packed *w = (const w4_packed *)state;
    if (p->m <= 16)
        return launch<GptqShape<16, 32, 128, 1>, Reordered>(p, a, w, s);
    if (p->m <= 32)
        return launch<GptqShape<32, 64, 64, 1>, Reordered>(p, a, w, s);
    return launch<GptqShape<64, 128, 32, 2>, Reordered>(p, a, w, s);
}

OP_BEGIN
enum op_status gemm_gptq_setup(const struct gemm_problem *p, const struct gemm_args *a,
                               const struct op_memory *memory, op_stream s, void **state)
{
    return w4_pack(W4_GPTQ, p, a, memory, s, state);
}

enum op_status gemm_gptq_r_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    return w4_pack(W4_GPTQ_R, p, a, memory, s, state);
}

enum op_status gemm_gptq(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                         op_stream s)
{
    return choose<false>(p, a, state, s);
}

enum op_status gemm_gptq_r(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                           op_stream s)
{
    return choose<true>(p, a, state, s);
}
OP_END

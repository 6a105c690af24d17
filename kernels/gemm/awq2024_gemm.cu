/*
 * awq2024_gemm.cu - Y = X W^T, half X, 4-bit W, the later published kernel.
 *
 * Follows AWQ's code of February 2024, with half sums since December 2024.
 * Tiles come by asynchronous copies, W as it is packed; it is converted in
 * registers, behind ldmatrix, whose lanes thereby hold B fragments (drawn in
 * awq_layout.h).
 *
 *   block     tile_m x 128 outputs; warps 4 across n (32 channels each) times
 *             slices of 64 in k; the slices' sums meet in shared memory
 *   split     2: two blocks take halves of k.  The second waits for the first's
 *             flag, adds what that stored in Y and clears the flag: it must be
 *             0 before the first run, and is after every run
 *
 *   stage     X      [tile_m][tile_k] half, 16-byte chunks: chunk c of row i is
 *                    at c ^ i%8
 *             W      [32 bands][tile_k/8] chunks: chunk c of band b at c ^ b%2
 *             scale  [rows][128] half, shift the same: a row for each group
 *
 *   The exclusive or keeps the eight rows of an ldmatrix in different banks.
 *
 *   tokens       tile_m  tile_k  slices  split  stages
 *   ..  32         16     128      2       2      4
 *   ..  64         16     128      2       1      3
 *   .. 128         32     128      2       1      4
 *   more           64      64      1       1      4
 *
 * awq2024_gemm adds up in half, within a warp, between slices and between the
 * halves of k, as published.  awq2024_gemm_f32 does so in float.
 */
#include <string.h>

#include "../common/warp.cuh"
#include "ablation.cuh"
#include "awq_layout.h"
#include "awq_tile.h"
#include "dequant.cuh"
#include "mma.cuh"
#include "published.h"
#include "w4_pack.h"

constexpr int TILE_N = 128, WARPS_N = 4, WARP_N = TILE_N / WARPS_N, WARP_K = 64;
constexpr int BLOCKS_N = WARP_N / 8; /* of a warp, eight channels each */
constexpr int BANDS = TILE_N / 4;

/* ---- shape of the launch ---- */

template <int Tile_m, int Tile_k, int Split, int Stages> struct AwqShape {
    static constexpr int tile_m = Tile_m, tile_k = Tile_k, split = Split, stages = Stages;
    static constexpr int slices = tile_k / WARP_K, threads = WARPS_N * slices * WARP;
    static constexpr int chunks = tile_k / 8; /* in a row of X's tile, and in a band of W's */
    static constexpr int x_bytes = tile_m * tile_k * 2, w_bytes = TILE_N * tile_k / 2;
    static constexpr int scale_bytes = slices * TILE_N * 2; /* room for a group per 64 */
    static constexpr int stage_bytes = x_bytes + w_bytes + 2 * scale_bytes;
    static constexpr int bytes = stages * stage_bytes;
    static_assert(tile_m * chunks % threads == 0 && BANDS * chunks % threads == 0,
                  "every thread copies as much");
    /* blocks of an SM of 164 kB; without it the large tile spills, to hold four */
    static constexpr int resident = tile_m == 64 ? 3 : 0;
};

/* ---- sums: half as published, or float ---- */

struct InHalf {
    uint32_t c[2]; /* rows r and r+8 of the fragment, two columns each */
    __device__ half2 row(int r) const
    {
        return half2_of(c[r]);
    }
    __device__ uint32_t word(int e) const
    {
        return c[e];
    }
    __device__ void add(int e, uint32_t word)
    {
        c[e] = bits_of(__hadd2(half2_of(c[e]), half2_of(word)));
    }
    static constexpr int words = 2;
};

struct InFloat {
    float c[4];
    __device__ half2 row(int r) const
    {
        return __floats2half2_rn(c[2 * r], c[2 * r + 1]);
    }
    __device__ uint32_t word(int e) const
    {
        return __float_as_uint(c[e]);
    }
    __device__ void add(int e, uint32_t word)
    {
        c[e] += __uint_as_float(word);
    }
    static constexpr int words = 4;
};

/* ---- load: one tile of k into a stage ---- */

template <class S> struct AwqStage {
    char *x, *w;
    half *scale, *shift;
    __device__ AwqStage(char *memory, int stage)
    {
        x = memory + stage * S::stage_bytes;
        w = x + S::x_bytes;
        scale = (half *)(w + S::w_bytes);
        shift = (half *)(w + S::w_bytes + S::scale_bytes);
    }
};

/* What a thread copies of every tile: where from, for the tile at k = 0. */
template <class S> struct AwqCopies {
    static constexpr int x_count = S::tile_m * S::chunks / S::threads;
    static constexpr int w_count = BANDS * S::chunks / S::threads;
    const half *x[x_count], *scale;
    const uint32_t *w[w_count];
    bool inside[x_count]; /* of m */
    int group_bits;

    __device__ AwqCopies(const gemm_problem &p, int i0, int j0, const half *x_all,
                         const uint32_t *code, const half *scale_all, const half *shift_all)
    {
#pragma unroll
        for (int e = 0; e < x_count; e++) {
            const int row = chunk(e) / S::chunks, col = chunk(e) % S::chunks;
            inside[e] = i0 + row < p.m;
            x[e] = x_all + (inside[e] ? (size_t)(i0 + row) * p.k : 0) + col * 8;
        }
#pragma unroll
        for (int e = 0; e < w_count; e++) {
            const int band = chunk(e) / S::chunks, col = chunk(e) % S::chunks;
            w[e] = code + ((size_t)(j0 / 4 + band) * (p.k / 8) + col) * 4;
        }
        scale = (of_shift() ? shift_all : scale_all) + j0 + scale_column();
        group_bits = p.group == 64 ? 6 : 7;
    }
    __device__ static int chunk(int e)
    {
        return threadIdx.x + e * S::threads;
    }
    /* 32 threads copy a row of scales and one of shifts. */
    __device__ static bool of_shift()
    {
        return threadIdx.x % 32 >= 16;
    }
    __device__ static int scale_column()
    {
        return threadIdx.x % 16 * 8;
    }
};

/* The tile at p0.  Past the ends of m and k zeros are stored; with scale and
 * shift 0 so are W's. */
template <class S>
static __device__ __forceinline__ void load(const gemm_problem &p, const AwqStage<S> &to,
                                            const AwqCopies<S> &from, int p0)
{
    using Copies = AwqCopies<S>;
#pragma unroll
    for (int e = 0; e < Copies::x_count; e++) {
        const int row = Copies::chunk(e) / S::chunks, col = Copies::chunk(e) % S::chunks;
        copy_async(to.x + awq2024_x_chunk(S::chunks, row, col) * 16, from.x[e] + p0,
                   from.inside[e] && p0 + col * 8 < p.k);
    }
#pragma unroll
    for (int e = 0; e < Copies::w_count; e++) {
        const int band = Copies::chunk(e) / S::chunks, col = Copies::chunk(e) % S::chunks;
        copy_async(to.w + awq2024_w_chunk(S::chunks, band, col) * 16, from.w[e] + p0 / 2,
                   p0 + col / 8 * 64 < p.k);
    }
    const int rows = p.group < S::tile_k ? S::slices : 1; /* a group is 64 or 128 */
    const int row = threadIdx.x / 32, q = p0 + row * WARP_K;
    if (row < rows)
        copy_async((Copies::of_shift() ? to.shift : to.scale) + row * TILE_N +
                       Copies::scale_column(),
                   from.scale + (size_t)(q >> from.group_bits) * p.n, q < p.k);
}

/* ---- dequantise: a word's four pairs, code * scale + shift ---- */

template <op_stage Only>
static __device__ __forceinline__ void weights(uint32_t word, half scale, half shift,
                                               uint32_t (&pair)[4])
{
    if constexpr (Only == OP_NODEQ || Only == OP_MMAONLY) {
#pragma unroll
        for (int t = 0; t < 4; t++)
            pair[t] = word;
    } else {
        half2 code[4];
        dequant_u4(word, code);
#pragma unroll
        for (int t = 0; t < 4; t++)
            pair[t] = bits_of(__hfma2(code[t], __half2half2(scale), __half2half2(shift)));
    }
}

/* ---- multiply: a warp's 64 of a tile's k ---- */

template <class S, op_stage Only, class Sum>
static __device__ __forceinline__ void multiply(const AwqStage<S> &from, int slice, int warp_n,
                                                int scale_row, Sum (&sum)[S::tile_m / 16][BLOCKS_N],
                                                uint32_t &fold)
{
    constexpr bool fold_only = Only == OP_LOADONLY || Only == OP_DEQONLY;
    const int lane = threadIdx.x % WARP;
    uint32_t word[BLOCKS_N][2]; /* 32 of k each */
    half scale[BLOCKS_N], shift[BLOCKS_N];
#pragma unroll
    for (int b = 0; b < BLOCKS_N; b += 2) {
        uint32_t w[4];
        ldmatrix(w, from.w + awq2024_w_row(S::chunks, warp_n * WARP_N + b * 8, slice, lane) * 16);
        word[b][0] = w[0], word[b][1] = w[1], word[b + 1][0] = w[2], word[b + 1][1] = w[3];
    }
#pragma unroll
    for (int b = 0; b < BLOCKS_N; b++) {
        const int j = scale_row * TILE_N + warp_n * WARP_N + b * 8 + lane / 4;
        scale[b] = from.scale[j];
        shift[b] = from.shift[j];
        if constexpr (Only != OP_COMPLETE && Only != OP_DEQONLY)
            fold ^= __half_as_ushort(scale[b]) ^ __half_as_ushort(shift[b]);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        uint32_t pair[BLOCKS_N][4];
#pragma unroll
        for (int b = 0; b < BLOCKS_N; b++)
            if constexpr (Only == OP_LOADONLY)
                fold ^= word[b][h];
            else
                weights<Only>(word[b][h], scale[b], shift[b], pair[b]);
        if constexpr (Only == OP_DEQONLY)
#pragma unroll
            for (int b = 0; b < BLOCKS_N; b++)
                fold ^= pair[b][0] ^ pair[b][1] ^ pair[b][2] ^ pair[b][3];
#pragma unroll
        for (int s = 0; s < (Only == OP_DEQONLY ? 0 : 2); s++)
#pragma unroll
            for (int r = 0; r < S::tile_m / 16; r++) {
                uint32_t a[4];
                ldmatrix(a, from.x + awq2024_x_row(S::chunks, r * 16,
                                                   slice * WARP_K + h * 32 + s * 16, lane) *
                                         16);
                if constexpr (fold_only)
                    fold ^= a[0] ^ a[1] ^ a[2] ^ a[3];
                else
#pragma unroll
                    for (int b = 0; b < BLOCKS_N; b++)
                        mma(sum[r][b].c, a, pair[b][2 * s], pair[b][2 * s + 1]);
            }
    }
}

/* ---- add: the slices of a block, then the halves of k ---- */

/* Afterwards the sums of slice 0 are the block's.  memory: a word for every
 * thread of a slice and every word of its sums. */
template <class S, class Sum>
static __device__ __forceinline__ void add_slices(uint32_t *memory, int slice,
                                                  Sum (&sum)[S::tile_m / 16][BLOCKS_N])
{
    constexpr int threads = WARPS_N * WARP;
    uint32_t *mine = memory + threadIdx.x % threads;
#pragma unroll
    for (int other = 1; other < S::slices; other++) {
        __syncthreads();
#pragma unroll
        for (int r = 0; r < S::tile_m / 16; r++)
#pragma unroll
            for (int b = 0; b < BLOCKS_N; b++)
#pragma unroll
                for (int e = 0; e < Sum::words; e++) {
                    uint32_t *at = mine + ((r * BLOCKS_N + b) * Sum::words + e) * threads;
                    if (slice == other)
                        *at = sum[r][b].word(e);
                }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < S::tile_m / 16; r++)
#pragma unroll
            for (int b = 0; b < BLOCKS_N; b++)
#pragma unroll
                for (int e = 0; e < Sum::words; e++)
                    if (slice == 0)
                        sum[r][b].add(e, mine[((r * BLOCKS_N + b) * Sum::words + e) * threads]);
    }
}

/* What the first half of k leaves for the second: half in Y itself, as
 * published, or float in work. */
static __device__ __forceinline__ void leave(const InHalf &sum, int r, size_t at, half *y, float *)
{
    *(half2 *)(y + at) = sum.row(r);
}

static __device__ __forceinline__ void leave(const InFloat &sum, int r, size_t at, half *,
                                             float *work)
{
    *(float2 *)(work + at) = make_float2(sum.c[2 * r], sum.c[2 * r + 1]);
}

/* Past the first cache, which another block's stores do not reach. */
static __device__ __forceinline__ void take_up(InHalf &sum, int r, size_t at, const half *y,
                                               const float *)
{
    sum.add(r, __ldcg((const unsigned *)(y + at)));
}

static __device__ __forceinline__ void take_up(InFloat &sum, int r, size_t at, const half *,
                                               const float *work)
{
    const float2 v = __ldcg((const float2 *)(work + at));
    sum.c[2 * r] += v.x;
    sum.c[2 * r + 1] += v.y;
}

/* ---- kernel ---- */

/*
 * Ablations.  nodeq: a word stands for each of its four pairs.  loadonly: the
 * pipeline and the loads of fragments, folded.  mmaonly: stages filled once,
 * fragments loaded and multiplied.  deqonly: stages filled once, W's fragments
 * loaded, converted and folded.
 */
template <class S, op_stage Only, class Sum>
static __global__ __launch_bounds__(S::threads, S::resident) void awq2024_gemm(
    gemm_problem p, const half *x, const uint32_t *code, const half *scale, const half *shift,
    half *y, float *work, int *lock)
{
    extern __shared__ uint4 memory[];
    constexpr bool loads = Only != OP_MMAONLY && Only != OP_DEQONLY;
    char *const shared = (char *)memory;
    const int across = p.n / TILE_N, count = (p.m + S::tile_m - 1) / S::tile_m * across;
    const int tile = blockIdx.x % count, part = blockIdx.x / count; /* part 0 starts first */
    const int i0 = tile / across * S::tile_m, j0 = tile % across * TILE_N;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int warp_n = warp % WARPS_N, slice = warp / WARPS_N;
    const int all = (p.k + S::tile_k - 1) / S::tile_k, each = (all + S::split - 1) / S::split;
    const int first = part * each, tiles = min(each, all - first);
    const int scale_row = p.group < S::tile_k ? slice : 0;
    const AwqCopies<S> from(p, i0, j0, x, code, scale, shift);
    Sum sum[S::tile_m / 16][BLOCKS_N] = {};
    uint32_t fold = 0;

    if constexpr (loads) {
#pragma unroll
        for (int s = 0; s < S::stages - 1; s++) {
            if (s < tiles)
                load(p, AwqStage<S>(shared, s), from, (first + s) * S::tile_k);
            copy_commit();
        }
    } else {
        for (int e = threadIdx.x; e < S::bytes / 4; e += S::threads)
            ((uint32_t *)shared)[e] = 0x3c003c00u * (e % 2);
    }
#pragma unroll 1 /* in every ablation too */
    for (int s = 0; s < tiles; s++) {
        if constexpr (loads)
            copy_wait<S::stages - 2>();
        __syncthreads(); /* tile s has come; tile s-1 has been used */
        if constexpr (loads) {
            const int ahead = s + S::stages - 1;
            if (ahead < tiles)
                load(p, AwqStage<S>(shared, ahead % S::stages), from, (first + ahead) * S::tile_k);
            copy_commit();
        }
        multiply<S, Only>(AwqStage<S>(shared, s % S::stages), slice, warp_n, scale_row, sum, fold);
    }
    if constexpr (Only == OP_LOADONLY || Only == OP_DEQONLY)
        for (auto &row : sum)
            for (Sum &block : row)
                for (auto &c : block.c)
                    memcpy(&c, &fold, sizeof c);
    if ((Only == OP_NODEQ || Only == OP_MMAONLY) && fold == FOLD_NEVER)
        sum[0][0] = {};
    copy_wait<0>();
    add_slices<S>((uint32_t *)shared, slice, sum);
    if (S::split > 1 && part > 0) {
        if (threadIdx.x == 0)
            while (flag_get(lock + tile) != part)
                ;
        __syncthreads();
    }
    if (slice == 0) {
#pragma unroll
        for (int r = 0; r < S::tile_m / 8; r++)
#pragma unroll
            for (int b = 0; b < BLOCKS_N; b++) {
                const int i = i0 + r * 8 + lane / 4;
                const size_t at = (size_t)i * p.n + j0 + warp_n * WARP_N + b * 8 + lane % 4 * 2;
                Sum &block = sum[r / 2][b];
                if (i >= p.m)
                    continue;
                if (S::split > 1 && part > 0)
                    take_up(block, r % 2, at, y, work);
                if (S::split > 1 && part < S::split - 1)
                    leave(block, r % 2, at, y, work);
                else
                    *(half2 *)(y + at) = block.row(r % 2);
            }
    }
    if (S::split > 1) {
        __syncthreads();
        if (threadIdx.x == 0)
            flag_set(lock + tile, part < S::split - 1 ? part + 1 : 0);
    }
}

/* ---- launchers ---- */

template <class S, op_stage Only, class Sum>
static enum op_status launch(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    const w4_packed *w = (const w4_packed *)state;
    const int tiles = (p->m + S::tile_m - 1) / S::tile_m * (p->n / TILE_N);
    size_t shared;
    if (!same_occupancy(awq2024_gemm<S, OP_COMPLETE, Sum>, awq2024_gemm<S, Only, Sum>, S::threads,
                        S::bytes, &shared))
        return OP_EDEVICE;
    awq2024_gemm<S, Only, Sum><<<tiles * S::split, S::threads, shared, s>>>(
        *p, (const half *)a->x, w->code, (const half *)w->scale, (const half *)w->shift,
        (half *)a->y, (float *)w->work, w->lock);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

template <op_stage Only, class Sum>
static enum op_status choose(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    if (p->m <= 32)
        return launch<AwqShape<16, 128, 2, 4>, Only, Sum>(p, a, state, s);
    if (p->m <= 64)
        return launch<AwqShape<16, 128, 1, 3>, Only, Sum>(p, a, state, s);
    if (p->m <= 128)
        return launch<AwqShape<32, 128, 1, 4>, Only, Sum>(p, a, state, s);
    return launch<AwqShape<64, 64, 1, 4>, Only, Sum>(p, a, state, s);
}

OP_BEGIN
enum op_status gemm_awq2024_gemm_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    const size_t locks = (size_t)(p->m + 15) / 16 * (p->n / TILE_N) * sizeof(int);
    enum op_status status = w4_pack(W4_AWQ2024, p, a, memory, s, state);
    if (status || p->m > 32) /* more do not split k */
        return status;
    struct w4_packed *w = (struct w4_packed *)*state;
    w->lock = (int *)memory->take(memory->context, locks);
    w->work = memory->take(memory->context, (size_t)p->m * p->n * sizeof(float));
    if (!w->lock || !w->work)
        status = OP_ENOMEM;
    else if (cudaMemsetAsync(w->lock, 0, locks, s) != cudaSuccess)
        status = OP_EDEVICE;
    if (status) {
        w4_packed_free(w);
        *state = NULL;
    }
    return status;
}

#define LAUNCHER(name, stage, sum)                                                                 \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return choose<stage, sum>(p, a, state, s);                                                 \
    }
LAUNCHER(gemm_awq2024_gemm, OP_COMPLETE, InHalf)
LAUNCHER(gemm_awq2024_gemm_f32, OP_COMPLETE, InFloat)
LAUNCHER(gemm_awq2024_gemm_nodeq, OP_NODEQ, InHalf)
LAUNCHER(gemm_awq2024_gemm_loadonly, OP_LOADONLY, InHalf)
LAUNCHER(gemm_awq2024_gemm_mmaonly, OP_MMAONLY, InHalf)
LAUNCHER(gemm_awq2024_gemm_deqonly, OP_DEQONLY, InHalf)
OP_END

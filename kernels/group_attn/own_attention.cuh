/*
 * own_attention.cuh - attention in groups of at most GROUP_MAX rows: a block takes a group and
 * four heads of 16 channels, a warp a head and some of the group's rows, 16 at a time.
 *
 * Bound by exponentials (16 a clock and SM): scores take one product of 8 keys each, since a head
 * is one step of k, and weights go from sums to operands in registers.  Up to CHUNK * 8 keys are
 * weighed at once, so that the greatest score is known before the first exponential and is met
 * again only every CHUNK * 8 keys.
 *
 * Shared memory, K then V, a row of 64 channels, so four heads, in 128 bytes: chunk c of 16 bytes
 * of row r stands at 128 r + 16 (c ^ r % 8), and eight rows of a chunk meet all banks.
 *
 *     scores, 8 keys of a tile   s0 s1 (r, c..c+1)  s2 s3 (r + 8, c..)      lane l, r = l / 4,
 *     weights as operand         a0 a1 of tile 2p, a2 a3 of tile 2p + 1     c = l % 4 * 2
 *
 * The sum of the weights is one more product, by ones: of the rounded weights, as it must be.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_ATTENTION_CUH
#define KERNELS_GROUP_ATTN_OWN_ATTENTION_CUH

#include <math.h>

#include "../attn/warp_mma.cuh"
#include "../common/launch.cuh"
#include "../common/warp.cuh"
#include "own.h"
#include "own_math.cuh"

constexpr int HEAD = 16;     /* channels of a head */
constexpr int PART = 64;     /* channels of a block: four heads */
constexpr int HEADS = PART / HEAD;
constexpr int CHUNK = 10;    /* tiles of 8 keys, even: 40 registers of scores */
constexpr uint32_t ONES = 0x3c003c00;

struct AttentionWork {
    const half *qkv; /* [slots][3][channels] */
    half *o;         /* [slots][channels] */
    int groups, group, channels;
    float scale;     /* of scores before 2^ */
};

/* Tiles of 8 keys of a group, where the kernel is made for them; 0: any. */
template <int Tiles> struct AttentionShape {
    /* Warps of a head: three rows of tiles each of group 144; few of a small group. */
    static constexpr int SHARES = Tiles == 18 ? 3 : Tiles == 9 ? 1 : 2;
    static constexpr int THREADS = SHARES * HEADS * WARP;
    static constexpr int BLOCKS = Tiles ? 768 / THREADS : 2; /* of an SM at least: 80 registers */
};

static inline int attention_bytes(int group)
{
    return (group + 15) / 16 * 16 * PART * (int)sizeof(half) * 2;
}

/* K and V of the block into shared memory, zeros behind the group's last row. */
static __device__ __forceinline__ void fetch_keys(const half *k, int step, int channels, int group,
                                                  int rows, uint32_t shared)
{
    for (int i = threadIdx.x; i < rows * 16; i += blockDim.x) {
        const int row = i / 8, chunk = i % 8, v = row >= rows, at = v ? row - rows : row;
        const bool valid = at < group;
        copy_to(shared + row * 128 + (chunk ^ row % 8) * 16,
                k + (size_t)(valid ? at : 0) * step + (v ? channels : 0) + chunk * 8, valid);
    }
    copy_commit();
}

/* A operand of 16 rows from row `first` of the group at slot `at` on, columns from `column` on: q
 * of one head; rows behind the group repeat the last. */
static __device__ __forceinline__ void fetch_query(uint32_t (&a)[4], const AttentionWork &w, int at,
                                                   int column, int first, int lane)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int row = at + min(first + lane / 4 + 8 * i, w.group - 1);
        const half *from = w.qkv + (size_t)row * (3 * w.channels) + column + lane % 4 * 2;
        a[i] = *(const uint32_t *)from;
        a[i + 2] = *(const uint32_t *)(from + 8);
    }
}

/* Greatest of each row's scores, which four lanes hold. */
static __device__ __forceinline__ void row_greatest(const float (&s)[CHUNK][4], float (&most)[2])
{
    most[0] = most[1] = -INFINITY;
#pragma unroll
    for (int i = 0; i < CHUNK; i++) {
        most[0] = fmaxf(most[0], fmaxf(s[i][0], s[i][1]));
        most[1] = fmaxf(most[1], fmaxf(s[i][2], s[i][3]));
    }
#pragma unroll
    for (int d = 1; d < 4; d *= 2) {
        most[0] = fmaxf(most[0], __shfl_xor_sync(ALL_LANES, most[0], d));
        most[1] = fmaxf(most[1], __shfl_xor_sync(ALL_LANES, most[1], d));
    }
}

/* The four halves of each row that a lane keeps: lanes exchange tiles of 8 channels in pairs, so
 * that even ones get four neighbours of the first tile, odd ones of the second. */
static __device__ __forceinline__ void store_heads(const float (&out)[2][4],
                                                   const float (&total)[4],
                                                   const AttentionWork &w, int at, int column,
                                                   int first, int lane)
{
    const int odd = lane & 1;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float inverse = 1.0f / total[2 * i];
        uint32_t tile[2];
#pragma unroll
        for (int j = 0; j < 2; j++)
            tile[j] = halves_of(out[j][2 * i] * inverse, out[j][2 * i + 1] * inverse);
        const uint32_t got = __shfl_xor_sync(ALL_LANES, odd ? tile[0] : tile[1], 1);
        const int row = first + lane / 4 + 8 * i;
        if (row < w.group)
            *(uint2 *)(w.o + (size_t)(at + row) * w.channels + column + odd * 8 +
                       lane % 4 / 2 * 4) =
                make_uint2(odd ? got : tile[0], odd ? tile[1] : got);
    }
}

/* Where a lane's rows of ldmatrix begin: K tile by tile, first the channels; V channels by
 * channels, first the keys, K's `rows` rows behind. */
struct KeyPlaces {
    uint32_t key, value;
    __device__ __forceinline__ KeyPlaces(uint32_t shared, int rows, int head, int lane)
    {
        const int key_row = lane / 16 * 8 + lane % 8, key_chunk = head * 2 + lane / 8 % 2;
        const int value_row = lane % 16, value_chunk = head * 2 + lane / 16;
        key = shared + key_row * 128 + (key_chunk ^ lane % 8) * 16;
        value = shared + (rows + value_row) * 128 + (value_chunk ^ lane % 8) * 16;
    }
};

/* 16 queries of one head over all keys.  Whole: V has rows for an even number of tiles; else the
 * last tile of an odd one is met twice, the second time with no weight. */
template <int Tiles, bool Whole>
static __device__ __forceinline__ void attend_tile(const AttentionWork &w, const KeyPlaces &from,
                                                   int all, int lane, const uint32_t (&query)[4],
                                                   float (&out)[2][4], float (&total)[4])
{
    const int tiles = Tiles ? Tiles : all;
    float shift[2] = { -INFINITY, -INFINITY };
#pragma unroll
    for (int e = 0; e < 4; e++)
        out[0][e] = out[1][e] = total[e] = 0;
#pragma unroll(Tiles ? 4 : 1)
    for (int begin = 0; begin < tiles; begin += CHUNK) {
        float s[CHUNK][4];
#pragma unroll
        for (int p = 0; p < CHUNK; p += 2) {
            uint32_t key[4];
            const bool any = begin + p < tiles;
            if (any)
                load_matrices<false, false>(key, from.key + (begin + p) * 8 * 128);
#pragma unroll
            for (int i = p; i < p + 2; i++) {
                const bool there = begin + i < tiles;
                if (there)
                    mma_first(s[i], query, key[i % 2 * 2], key[i % 2 * 2 + 1]);
                else
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        s[i][e] = -INFINITY;
                if (begin + i == tiles - 1) /* the last tile may go beyond the group */
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        if ((begin + i) * 8 + lane % 4 * 2 + e % 2 >= w.group)
                            s[i][e] = -INFINITY;
            }
        }
        float most[2];
        row_greatest(s, most);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float greater = fmaxf(shift[i], most[i] * w.scale);
            if (begin) {
                const float less = exp2_approx(shift[i] - greater);
                out[0][2 * i] *= less, out[0][2 * i + 1] *= less;
                out[1][2 * i] *= less, out[1][2 * i + 1] *= less;
                total[2 * i] *= less;
            }
            shift[i] = greater;
        }
#pragma unroll
        for (int p = 0; p < CHUNK; p += 2) {
            if (begin + p >= tiles)
                continue;
            const bool twice = !Whole && begin + p + 1 == tiles;
            uint32_t weight[4] = {}, value[4];
            load_matrices<true, false>(value, from.value + (begin + p) * 8 * 128 -
                                                  (twice ? lane % 16 / 8 * 8 * 128 : 0));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float(&of)[4] = s[p + i / 2];
                if (begin + p + i / 2 < tiles)
                    weight[i] = halves_of(
                        exp2_approx(fmaf(of[i % 2 * 2], w.scale, -shift[i % 2])),
                        exp2_approx(fmaf(of[i % 2 * 2 + 1], w.scale, -shift[i % 2])));
            }
            mma(out[0], weight, value[0], value[1]);
            mma(out[1], weight, value[2], value[3]);
            mma(total, weight, ONES, ONES);
        }
    }
}

template <int Tiles, bool Early>
__global__ void __launch_bounds__(AttentionShape<Tiles>::THREADS, AttentionShape<Tiles>::BLOCKS)
    group_attention(AttentionWork w)
{
    extern __shared__ uint4 memory[];
    constexpr int SHARES = AttentionShape<Tiles>::SHARES;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int head = warp % HEADS, share = warp / HEADS;
    const int tiles = Tiles ? Tiles : (w.group + 7) / 8, rows = (tiles + 1) / 2 * 16;
    const int parts = w.channels / PART, at = blockIdx.x / parts * w.group;
    const int part = blockIdx.x % parts * PART, column = part + head * HEAD;
    const uint32_t shared = shared_address(memory);
    const KeyPlaces from(shared, rows, head, lane);

    if constexpr (Early) {
        let_next_start();
        wait_for_previous();
    }
    fetch_keys(w.qkv + ((size_t)at * 3 + 1) * w.channels + part, 3 * w.channels, w.channels,
               w.group, rows, shared);
    uint32_t query[4];
    fetch_query(query, w, at, column, share * 16, lane);
    copy_wait<0>();
    __syncthreads();

    for (int first = share * 16; first < rows; first += SHARES * 16) {
        float out[2][4], total[4];
        attend_tile<Tiles, true>(w, from, tiles, lane, query, out, total);
        if (first + SHARES * 16 < rows) /* behind the chunks, whose registers are free again */
            fetch_query(query, w, at, column, first + SHARES * 16, lane);
        store_heads(out, total, w, at, column, first, lane);
    }
}

#endif

/*
 * own_even.cuh - the attention of own_attention.cuh spread evenly: as many blocks as the GPU holds
 * at a time, each with an equal share of all rounds.  A round is what a block does of a group and
 * four heads between two looks at where it stands: a tile of 16 queries for each warp.
 *
 * With a group to a block 3.2 waves take as long as 4.  Here a block goes through neighbouring
 * rounds, so through few groups; while it attends in one, the next one's keys are on their way:
 *
 *     part     0: rounds begin .. 2        1: rounds 0 .. 2         2: rounds 0 .. end
 *     keys     buffer 0                    buffer 1                 buffer 0
 *     fetched  first                       during part 0            during part 1
 *
 * K and V have rows for the tiles of 8 keys that there are, an odd number for group 69, so that
 * both buffers fit as often as registers let blocks in.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_EVEN_CUH
#define KERNELS_GROUP_ATTN_OWN_EVEN_CUH

#include "own_attention.cuh"

template <int Tiles> struct EvenShape {
    typedef AttentionShape<Tiles> S;
    static constexpr int ROWS = Tiles * 8, QUERIES = (ROWS + 15) / 16;   /* tiles of queries */
    static constexpr int ROUNDS = (QUERIES + S::SHARES - 1) / S::SHARES; /* of a part */
    static constexpr int BUFFER = 2 * ROWS * PART * (int)sizeof(half), BYTES = 2 * BUFFER;
    static_assert(QUERIES % S::SHARES == 0, "all warps have a tile in every round");
};

/* Blocks for so many parts, where `most` are on the GPU at a time: shares of rounds that differ by
 * one at most; equal pieces of parts where that takes no longer. */
static inline int even_blocks(int parts, int rounds, int most)
{
    const int all = parts * rounds, longest = (all + most - 1) / most;
    return rounds % longest == 0 ? all / longest : most;
}

/* A part: a group and four heads. */
struct AttentionPart {
    int at, column; /* first slot, first channel */
    __device__ __forceinline__ AttentionPart(const AttentionWork &w, int part)
    {
        const int parts = w.channels / PART;
        at = part / parts * w.group;
        column = part % parts * PART;
    }
};

/* How keys come: `begin` before the launch before has ended, then part by part into buffer
 * count % 2, count being that of the block's parts before it.  By all threads: */
struct KeysByThreads {
    static constexpr bool TWO = false; /* the first two parts at once */

    template <class Shape>
    __device__ __forceinline__ void begin(const AttentionWork &, uint4 *) const
    {
    }

    template <class Shape>
    __device__ __forceinline__ void fetch(const AttentionWork &w, int part, uint32_t shared,
                                          unsigned count) const
    {
        const AttentionPart p(w, part);
        fetch_keys(w.qkv + ((size_t)p.at * 3 + 1) * w.channels + p.column, 3 * w.channels,
                   w.channels, w.group, Shape::ROWS, shared + count % 2 * Shape::BUFFER);
    }

    template <class Shape> __device__ __forceinline__ void wait(uint32_t, unsigned) const
    {
        copy_wait<0>();
    }
};

/* The block's share of all rounds. */
template <int Tiles, bool Early, class Keys>
static __device__ __forceinline__ void attend_share(const AttentionWork &w, const Keys &keys,
                                                    uint4 *buffers)
{
    typedef EvenShape<Tiles> S;
    constexpr int STEP = AttentionShape<Tiles>::SHARES * 16, ROUNDS = S::ROUNDS;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int head = warp % HEADS, first = warp / HEADS * 16;
    const int all = w.groups * (w.channels / PART) * ROUNDS, block = blockIdx.x;
    const int begin = share_begin(all, block, gridDim.x);
    const int end = share_begin(all, block + 1, gridDim.x);
    const uint32_t shared = shared_address(buffers);
    int part = begin / ROUNDS, round = begin - part * ROUNDS, left = end - begin;
    uint32_t query[4];

    keys.template begin<S>(w, buffers);
    if constexpr (Early) {
        let_next_start();
        wait_for_previous();
    }
    AttentionPart now(w, part);
    keys.template fetch<S>(w, part, shared, 0);
    if (Keys::TWO && left > ROUNDS - round)
        keys.template fetch<S>(w, part + 1, shared, 1);
    fetch_query(query, w, now.at, now.column + head * HEAD, first + round * STEP, lane);
    for (unsigned count = 0; left > 0; count++) {
        const KeyPlaces from(shared + count % 2 * S::BUFFER, S::ROWS, head, lane);
        keys.template wait<S>(shared, count);
        __syncthreads(); /* all keys are here, and the other buffer is read no more */
        if ((!Keys::TWO || count) && left > ROUNDS - round)
            keys.template fetch<S>(w, part + 1, shared, count + 1);
        for (bool same = true; same && left > 0; left--) {
            const AttentionPart at = now;
            const int from_row = first + round * STEP;
            float out[2][4], total[4];
            attend_tile<Tiles, Tiles % 2 == 0>(w, from, Tiles, lane, query, out, total);
            if (++round == ROUNDS) {
                same = false, round = 0;
                now = AttentionPart(w, ++part);
            }
            if (left > 1)
                fetch_query(query, w, now.at, now.column + head * HEAD, first + round * STEP, lane);
            store_heads(out, total, w, at.at, at.column + head * HEAD, from_row, lane);
        }
    }
}

template <int Tiles, bool Early>
__global__ void __launch_bounds__(AttentionShape<Tiles>::THREADS, AttentionShape<Tiles>::BLOCKS)
    group_attention_even(AttentionWork w)
{
    extern __shared__ uint4 memory[];
    attend_share<Tiles, Early>(w, KeysByThreads(), memory);
}

#endif

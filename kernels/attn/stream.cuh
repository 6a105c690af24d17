/*
 * stream.cuh - the blocks of split.cuh as workers that take equal shares of all tiles.
 *
 * Tiles of all sequences and KV heads stand in one row: those of item 0 (sequence 0, KV head
 * 0, its first 8 or 16 query heads), of item 1, ...  Block k takes tiles k per .. (k+1) per - 1,
 * which are the end of an item, whole items, and the beginning of one:
 *
 *   items    |      0      |      1      |      2      |      3      |
 *   blocks   |    0    |    1    |    2    |    3    |    4    |  5  |
 *
 * The ring of a warp runs on from one item to the next, so that memory is busy while a result
 * is put together.  An item in several blocks is merged by the last of them to finish, in the
 * order of its tokens.
 */
#ifndef KERNELS_ATTN_STREAM_CUH
#define KERNELS_ATTN_STREAM_CUH

#include "split.cuh"

/* Where a warp stands in the row of tiles. */
template <int TILE> struct Walk {
    int b, item;       /* sequence; KV head and group of query heads */
    int tile, stop;    /* of the item: next one, end of the block's piece of it */
    int tiles, length; /* of the sequence */
    int left;          /* tiles of the block behind this piece */

    static __device__ __forceinline__ int tiles_of(int length)
    {
        return (length + TILE - 1) / TILE;
    }
    __device__ __forceinline__ bool over() const
    {
        return tile >= stop && left <= 0;
    }
    /* To the next item that the block has tiles of. */
    __device__ __forceinline__ void next_piece(const SplitWork &w, int items)
    {
        if (++item == items) {
            item = 0;
            length = w.a.length[++b];
            tiles = tiles_of(length);
        }
        stop = min(tiles, left);
        left -= stop;
    }
};

/* Blocks of an item at most, and floats to merge them in. */
static __host__ __device__ constexpr int stream_parts(int queries)
{
    return 1024 / queries;
}

static __host__ __device__ constexpr int stream_merge_floats(int queries)
{
    return split_merge_floats(queries, stream_parts(queries) + 1);
}

template <enum attn_scheme S, int D, int Tiles, int Warps, int Stages, int Blocks>
static __global__ void __launch_bounds__(32 * Warps, Blocks)
    stream_attention(const __grid_constant__ SplitWork w)
{
    using T = Split<S, D, Tiles>;
    using W = Walk<T::TILE>;
    extern __shared__ __align__(128) uint4 memory[];
    __shared__ int shared_b, shared_before, shared_total, sums_of[Warps], free_of[Warps];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, sixteen = 16 * (lane / T::SHARE);
    const int items = w.p.kv_heads * w.plan.groups, ratio = w.p.heads / w.p.kv_heads;

    /* tiles before each thread's sequences */
    const int each = (w.p.batch + 32 * Warps - 1) / (32 * Warps), b0 = threadIdx.x * each;
    int mine = 0;
    for (int b = b0; b < min(b0 + each, w.p.batch); b++)
        mine += W::tiles_of(w.a.length[b]);
    int before = mine;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(ALL_LANES, before, d);
        before += lane >= d ? other : 0;
    }
    if (lane == 31)
        sums_of[warp] = before;
    __syncthreads();
    before -= mine;
    int total = 0;
    for (int i = 0; i < Warps; i++) {
        before += i < warp ? sums_of[i] : 0;
        total += sums_of[i];
    }
    total *= items;
    const int per = max((int)((total + gridDim.x - 1) / gridDim.x), w.plan.least);
    const int start = blockIdx.x * per;
    if (start >= total)
        return;
    for (int b = b0; b < min(b0 + each, w.p.batch); b++) {
        const int here = W::tiles_of(w.a.length[b]) * items, from = before * items;
        if (start >= from && start < from + here) {
            shared_b = b;
            shared_before = from;
        }
        before += here / items;
    }
    __syncthreads();

    W at; /* of the tiles that are computed */
    at.b = shared_b;
    at.length = w.a.length[at.b];
    at.tiles = W::tiles_of(at.length);
    at.item = (start - shared_before) / at.tiles;
    int origin = shared_before + at.item * at.tiles; /* first tile of the item */
    at.tile = start - origin;
    at.left = min(start + per, total) - start;
    at.stop = min(at.tiles, at.tile + at.left);
    at.left -= at.stop - at.tile;
    int piece = at.tile; /* its first tile in the item */

    const uint32_t ring = shared_address(memory) + warp * Stages * T::STAGE;
    W to = at; /* of the tiles that are copied; each warp has every Warps-th of a piece */
    to.tile += warp;
    const auto settle = [&]() {
        while (to.tile >= to.stop && to.left > 0) {
            to.next_piece(w, items);
            to.tile = warp;
        }
    };
    settle();
    typename T::Pages pages = T::find(w, to.b, to.tile * T::TILE + sixteen);
    const auto advance = [&](int slot) {
        if (to.tile < to.stop)
            T::copy(w, pages, to.item / w.plan.groups, to.length, ring + slot * T::STAGE, lane);
        copy_commit();
        to.tile += Warps;
        settle();
        if (to.tile < to.stop)
            pages = T::find(w, to.b, to.tile * T::TILE + sixteen);
    };
    for (int i = 0; i < Stages - 1; i++)
        advance(i);

    int slot = 0;
    float *const rest = (float *)(memory + Warps * Stages * T::STAGE / 16);
    for (;;) {
        const int head = at.item / w.plan.groups, group = at.item % w.plan.groups;
        const int count = min(ratio - group * T::QUERIES, T::QUERIES);
        const size_t query = ((size_t)at.b * w.p.heads + head * ratio + group * T::QUERIES) * D;
        T t;
        t.start(w, (const half *)w.a.q + query, count, lane);
        for (int tile = at.tile + warp; tile < at.stop; tile += Warps) {
            copy_wait<Stages - 2>();
            __syncwarp(); /* all lanes' copies are there, and all have read the tile before */
            advance(slot == 0 ? Stages - 1 : slot - 1);
            t.tile(ring + slot * T::STAGE, tile * T::TILE, at.length, lane);
            slot = slot + 1 == Stages ? 0 : slot + 1;
        }
        /* the slot that no copy is on its way to takes the warp's result */
        const int spare = (warp * Stages + (slot == 0 ? Stages - 1 : slot - 1)) * T::STAGE;
        __syncwarp();
        t.store((float *)((unsigned char *)memory + spare), lane);
        if (lane == 0)
            free_of[warp] = spare;
        __syncthreads();
        const int first = origin / per, parts = (origin + at.tiles - 1) / per - first + 1;
        half *const out = (half *)w.a.out + query;
        const size_t mine_at = ((size_t)blockIdx.x * 2 + (piece == 0)) * T::QUERIES;
        const auto result = [&](int i, int n) {
            return (const float *)((const unsigned char *)memory + free_of[i]) + n * T::PITCH;
        };
        split_merge<Warps, D>(
            count, Warps, rest, [&](int i, int n) { return *(const float2 *)(result(i, n) + D); },
            [&](int i, int n, int d) { return *(const float4 *)(result(i, n) + d); },
            [&](int n, int d, float4 x, SplitTotal sum) {
                if (parts == 1) {
                    store_halves(out + n * D + d, x, 1 / sum.sum);
                    return;
                }
                __stcg((float4 *)(w.part + (mine_at + n) * D + d), x);
                if (d == 0)
                    __stcg(w.stat + mine_at + n, make_float2(sum.most, sum.sum));
            });
        if (parts > 1) {
            __threadfence();
            __syncthreads();
            if (threadIdx.x == 0) {
                shared_total = atomicAdd(w.count + first, 1);
                if (shared_total == parts - 1)
                    w.count[first] = 0;
                __threadfence();
            }
            __syncthreads();
            if (shared_total == parts - 1) {
                const auto part_at = [&](int i, int n) {
                    return ((size_t)(first + i) * 2 + (i == 0)) * T::QUERIES + n;
                };
                split_merge<Warps, D>(
                    count, parts, rest,
                    [&](int i, int n) { return __ldcg(w.stat + part_at(i, n)); },
                    [&](int i, int n, int d) {
                        return __ldcg((const float4 *)(w.part + part_at(i, n) * D + d));
                    },
                    [&](int n, int d, float4 x, SplitTotal sum) {
                        store_halves(out + n * D + d, x, 1 / sum.sum);
                    });
            }
        }
        if (at.left <= 0)
            break;
        __syncthreads(); /* the results are read: copies may go on */
        origin += at.tiles;
        at.next_piece(w, items);
        at.tile = piece = 0;
    }
    copy_wait<0>();
}

#endif

/*
 * w4a16_large.cuh - Y = X W^T for many tokens: half X, 4-bit W, group 128.
 *
 * Bound by the tensor cores, below about 100 tokens by reading W and X.  The
 * product is taken transposed: wgmma's A operand, which may lie in registers, is
 * W, so that weights go from memory to the tensor cores without a second pass
 * through shared memory.  Strips of W as w4a16_layout.h draws them: a warpgroup's
 * 64 rows are four neighbours, one a warp.
 *
 *   block    tile of 128 or 256 channels by 16 to 256 tokens; w4a16_shapes.h
 *   warps    0-3 and 4-7   consumers: half of the channels each, all tokens
 *            8             producer: one thread starts all copies, two or three a
 *                          stage: each takes it as long as some weights
 *
 *   ring     stage = one group of k, with 256 tokens half of one: X [128 or 64 of
 *            k / 64][tokens][64 of k] in the 128-byte swizzle; `full` when it has
 *            come, `empty` when all consumers are through with it
 *   and      slot = W [channels/16] strips of one group; comes with the first
 *            stage of the group and is free after the last
 *
 * A consumer keeps two, four or eight products (a block of them) running while it
 * makes the weights of the next:
 *
 *   products   | block 0     | block 1     | block 2     ...
 *   weights    0 | 1         | 2         | 3           into registers [block % 2]
 *
 * Blocks that share X (w4a16_shapes.h) bring half of it each, for both; a stage is
 * then empty when the consumers of both are through with it.
 *
 * A launch may begin while the one before it in the stream ends: it fetches its
 * first W, which no launch writes, and waits for the end before it touches X, Y or
 * partial sums.
 *
 * Weights are scale * (code - zero), the difference exact, the product rounded to
 * half: cheaper than scaling sums of a group, and 2^-12 of a weight on average.
 *
 *   sums   -> half -> shared memory, transposed -> Y             a tile of one block
 *          -> shared memory, float -> added up over the cluster in order of k, each
 *             block its part of the tile -> Y                    a tile split over k
 *          -> global memory, float -> added up by the block   a tile spread over k
 *             that has the tile's first groups, and had the others' done by then
 */
#ifndef KERNELS_GEMM_W4A16_LARGE_CUH
#define KERNELS_GEMM_W4A16_LARGE_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/spend.cuh"
#include "../common/tma.cuh"
#include "../common/wgmma.cuh"
#include "mma.cuh"
#include "w4a16_dequant.cuh"
#include "w4a16_shapes.h"

struct W4Large {
    const unsigned char *packed;
    half *y;
    float4 *partial; /* spread: [blocks][2 warpgroups][..][128 threads] */
    int *arrived;    /* [spread tiles][share][2 warpgroups]; all 0 */
    int m, n, k;
    struct w4_large_plan plan;
};

constexpr int LARGE_CONSUMERS = 256, LARGE_THREADS = LARGE_CONSUMERS + 128;

/* ---- what a block does, in order ---- */

struct W4Tile {
    int tile;
    int begin, end; /* groups */
};

/* Which block this is: those that share X count as one. */
struct W4Block {
    int index, count;
    int slice; /* of k, where a cluster divides it */
    int part;  /* of the tile's channels, and of X */
};

static __device__ __forceinline__ W4Block block_of(const struct w4_large_shape &shape)
{
    const int rank = shape.cluster * shape.share > 1 ? (int)cluster_rank() : 0;
    return { (int)blockIdx.x / shape.share, (int)gridDim.x / shape.share,
             shape.cluster > 1 ? rank : 0, shape.share > 1 ? rank : 0 };
}

/* The i-th tile of this block, or part of one; false: there is none. */
static __device__ __forceinline__ bool tile_at(const W4Large &p, const W4Block &at, int i,
                                               W4Tile *t)
{
    const struct w4_large_shape &shape = p.plan.shape;
    const int block = at.index, blocks = at.count, rank = at.slice, groups = p.k / W4_GROUP;
    t->begin = 0;
    t->end = groups;
    if (shape.spread) {
        const int units = p.plan.shared_tiles * groups;
        const int begin = w4_spread_begin(block, blocks, units);
        const int end = w4_spread_begin(block + 1, blocks, units);
        const int parts = units ? (end - 1) / groups - begin / groups + 1 : 0;
        if (i < parts) {
            t->tile = begin / groups + i;
            t->begin = max(begin - t->tile * groups, 0);
            t->end = min(end - t->tile * groups, groups);
            return true;
        }
        t->tile = p.plan.shared_tiles + (i - parts) * blocks + block;
        return i - parts < p.plan.whole;
    }
    if (i < p.plan.whole) {
        t->tile = i * blocks + block;
        return true;
    }
    t->tile = p.plan.whole * blocks + (i - p.plan.whole) * p.plan.clusters + block / shape.cluster;
    t->begin = groups * rank / shape.cluster;
    t->end = groups * (rank + 1) / shape.cluster;
    return t->tile < p.plan.token_tiles * p.plan.channel_tiles;
}

/* Tiles of the same channels stand side by side: W comes from memory once. */
static __device__ __forceinline__ int channel_tile(const W4Large &p, int tile, int part)
{
    return tile / p.plan.token_tiles * p.plan.shape.share + part;
}

static __device__ __forceinline__ int token_tile(const W4Large &p, int tile)
{
    return tile % p.plan.token_tiles;
}

/* Place in the ring: of producer and consumers each their own. */
struct W4Slot {
    int index;
    unsigned parity;
    __device__ __forceinline__ void next(int stages)
    {
        if (++index == stages)
            index = 0, parity ^= 1;
    }
};

/* ---- shared memory ---- */

struct W4Room {
    unsigned char *x, *w, *exchange;
    uint32_t full, empty;  /* [stages] barriers */
    uint32_t ready, taken; /* [2] by warpgroup: sums of all blocks are there, have been read */
};

static __device__ __forceinline__ W4Room room_of(const struct w4_large_plan &plan,
                                                 unsigned char *shared)
{
    unsigned char *base = shared + ((1024 - (shared_address(shared) & 1023)) & 1023);
    const size_t end = plan.bytes - 1024 - W4_LARGE_BARRIERS;
    W4Room room = { base, base + plan.w_at, base + plan.exchange_at };
    room.full = shared_address(base) + (uint32_t)end;
    room.empty = room.full + 8 * W4_LARGE_STAGES;
    room.ready = room.empty + 8 * W4_LARGE_STAGES;
    room.taken = room.ready + 16;
    return room;
}

/* ---- producer ---- */

template <int Blocks64, int Tokens, bool Symmetric> struct W4Producer {
    static constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    static constexpr int STRIPS = 8 * Blocks64, W_BYTES = STRIPS * STRIP;
    static constexpr int SLICES = W4_LARGE_SLICES(Tokens);
    static constexpr int X_BYTES = Tokens * W4_GROUP * 2 / SLICES;
    const CUtensorMap *x_map;
    const W4Large &p;
    const W4Room &room;
    const W4Block &block;

    /* What a tile is loaded from. */
    struct Place {
        const unsigned char *w; /* strips of group 0; NULL: channels that are not there */
        int token;              /* the first */
    };

    __device__ __forceinline__ Place place_of(int tile) const
    {
        const int first = channel_tile(p, tile, block.part) * STRIPS;
        const size_t at = w4_strip_at(first, 0, p.k / W4_GROUP, W4_LARGE_NEAR);
        return { first * W4_STRIP < p.n ? p.packed + at * STRIP : NULL,
                 token_tile(p, tile) * Tokens };
    }

    /* Announces a group's first stage and starts its W. */
    __device__ __forceinline__ void load_w(const Place &from, int group, int stage, int slot) const
    {
        const uint32_t full = room.full + 8 * stage;
        const uint32_t to = shared_address(room.w) + slot * W_BYTES;
        mbarrier_expect(full, X_BYTES + (from.w ? W_BYTES : 0));
        if (!from.w)
            return;
        const unsigned char *w = from.w + (size_t)group * (W4_LARGE_NEAR * STRIP);
        if (p.plan.token_tiles == 1)
            bulk_copy(to, w, W_BYTES, full, l2_evict_first());
        else
            bulk_copy(to, w, W_BYTES, full);
    }

    __device__ __forceinline__ void load_x(const Place &from, int group, int slice, int stage) const
    {
        const uint32_t full = room.full + 8 * stage;
        const uint32_t to = shared_address(room.x) + stage * X_BYTES;
        const int k = group * W4_GROUP + slice * 64;
        if (p.plan.shape.share > 1) { /* one of two boxes, or half the tokens of the only one */
            const uint32_t half = to + block.part * (X_BYTES / 2);
            if (SLICES == 1)
                bulk_copy_box_to(half, x_map, k + block.part * 64, from.token, full, 3);
            else
                bulk_copy_box_to(half, x_map, k, from.token + block.part * (Tokens / 2), full, 3);
            return;
        }
#pragma unroll
        for (int box = 0; box < 2 / SLICES; box++)
            bulk_copy_box(to + box * Tokens * 128, x_map, k + box * 64, from.token, full);
    }

    /* W of the first groups, as far as the ring goes; returns how many.  Needs only
     * barriers that the caller has made. */
    __device__ __forceinline__ int begin() const
    {
        W4Tile t;
        if (!tile_at(p, block, 0, &t))
            return 0;
        const Place from = place_of(t.tile);
        const int ahead = min((p.plan.stages + SLICES - 1) / SLICES, t.end - t.begin);
#pragma unroll 1
        for (int g = 0; g < ahead; g++)
            load_w(from, t.begin + g, g * SLICES, g);
        return ahead;
    }

    __device__ __forceinline__ void go_on(int ahead) const
    {
        W4Slot stage = { 0, 1 };
        int slot = 0;
        W4Tile t;
        for (int i = 0; tile_at(p, block, i, &t); i++) {
            /* divisions once a tile: a group passes in the time of some of them */
            const Place from = place_of(t.tile);
#pragma unroll 1
            for (int group = t.begin; group < t.end; group++) {
#pragma unroll
                for (int slice = 0; slice < SLICES; slice++) {
                    /* of both blocks that share X: it goes to both */
                    mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
                    if (slice)
                        mbarrier_expect(room.full + 8 * stage.index, X_BYTES);
                    else if (ahead)
                        ahead--;
                    else
                        load_w(from, group, stage.index, slot);
                    load_x(from, group, slice, stage.index);
                    stage.next(p.plan.stages);
                }
                if (++slot == p.plan.slots)
                    slot = 0;
            }
        }
    }
};

/* ---- weights ---- */

/* What a lane needs to make weights of a group: per 64 channels its strip's. */
template <int Blocks64> struct W4Scales {
    uint32_t even[Blocks64], odd[Blocks64]; /* scale of channel r, r+8, twice */
    W4Zeros zeros[Blocks64];
};

template <int Blocks64, bool Symmetric>
static __device__ __forceinline__ W4Scales<Blocks64> load_scales(const unsigned char *strips, int r)
{
    constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    W4Scales<Blocks64> s;
#pragma unroll
    for (int b = 0; b < Blocks64; b++) {
        const unsigned char *strip = strips + b * 4 * STRIP;
        const uint32_t pair = *(const uint32_t *)(strip + W4_CODES + 4 * r);
        s.even[b] = __byte_perm(pair, 0, 0x1010);
        s.odd[b] = __byte_perm(pair, 0, 0x3232);
        s.zeros[b] = load_zeros<Symmetric>(strip, r);
    }
    return s;
}

template <class Stages>
static __device__ __forceinline__ void scaled_weights(uint32_t word, uint32_t even, uint32_t odd,
                                                      W4Zeros zeros, uint32_t (&a)[4])
{
    weights<Stages>(word, zeros, a);
#pragma unroll
    for (int t = 0; t < 4; t++)
        if constexpr (Stages::DEQUANT)
            a[t] = bits_of(__hmul2(half2_of(a[t]), half2_of(t % 2 ? odd : even)));
        else if constexpr (Stages::LOAD)
            /* products that run need registers of their own, written here and not later */
            asm volatile("xor.b32 %0, %0, %1;" : "+r"(a[t]) : "r"(t + 1));
}

/* ---- output ---- */

/* Four 8x8 matrices, transposed: lane l points at row l%8 of matrix l/8. */
static __device__ __forceinline__ void store_matrices_trans(uint32_t row, uint32_t m0, uint32_t m1,
                                                            uint32_t m2, uint32_t m3)
{
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
        "r"(m0), "r"(m1), "r"(m2), "r"(m3)
        : "memory");
}

/* All threads of warpgroup 0 or 1. */
static __device__ __forceinline__ void warpgroup_sync(int warpgroup)
{
    asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory");
}

static __device__ __forceinline__ uint32_t half_pair(float a, float b)
{
    return bits_of(__floats2half2_rn(a, b));
}

/* The part of Y that a warpgroup writes. */
struct W4Target {
    half *y;              /* first token, first channel */
    size_t stride;        /* elements */
    int tokens, channels; /* that exist, channels a multiple of 8 */
};

template <int Blocks64, int Tokens>
static __device__ __forceinline__ W4Target target_of(const W4Large &p, int tile, int part,
                                                     int warpgroup)
{
    const int channel = (channel_tile(p, tile, part) * 2 + warpgroup) * Blocks64 * 64;
    const int token = token_tile(p, tile) * Tokens;
    return { p.y + (size_t)token * p.n + channel, (size_t)p.n, p.m - token, p.n - channel };
}

/* 16 tokens by 64 channels of a warpgroup, as wgmma leaves them in v[8], to rows of
 * `stride` bytes, a row a token. */
static __device__ __forceinline__ void transpose(uint32_t shared, int stride, const float *v)
{
    const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    store_matrices_trans(
        shared + (lane / 16 * 8 + lane % 8) * stride + (warp * 16 + lane / 8 % 2 * 8) * 2,
        half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7]));
}

/* Rows of 16 * `pieces` bytes in shared memory to Y, from this token and channel on. */
static __device__ __forceinline__ void store_rows(const unsigned char *room, int stride, int rows,
                                                  int pieces, const W4Target &to, int first_token,
                                                  int first_channel)
{
    for (int i = threadIdx.x % 128; i < rows * pieces; i += 128) {
        const int token = first_token + i / pieces, channel = first_channel + i % pieces * 8;
        if (token < to.tokens && channel < to.channels)
            *(uint4 *)(to.y + token * to.stride + channel) =
                *(const uint4 *)(room + i / pieces * stride + i % pieces * 16);
    }
}

template <int Blocks64, int Tokens>
static __device__ __forceinline__ void store_direct(const float (&sum)[Blocks64][Tokens / 2],
                                                    const W4Target &to, unsigned char *room,
                                                    int warpgroup)
{
    constexpr int STRIDE = Blocks64 * 128 + 16, ROWS = Tokens < 32 ? Tokens : 32;
#pragma unroll
    for (int first = 0; first < Tokens; first += ROWS) {
#pragma unroll
        for (int b = 0; b < Blocks64; b++)
#pragma unroll
            for (int i = 0; i < ROWS; i += 16)
                transpose(shared_address(room) + i * STRIDE + b * 128, STRIDE,
                          &sum[b][(first + i) / 2]);
        warpgroup_sync(warpgroup);
        store_rows(room, STRIDE, ROWS, Blocks64 * 8, to, first, 0);
        warpgroup_sync(warpgroup);
    }
}

static __device__ __forceinline__ float4 sum_of(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

/* Sums of the same tokens and channels in all blocks of the cluster; `turn` counts
 * the exchanges of a launch.  Only warpgroups of the same index meet. */
template <int Blocks64, int Tokens>
static __device__ __forceinline__ void
store_split(const float (&sum)[Blocks64][Tokens / 2], const W4Target &to, unsigned char *room,
            int warpgroup, int rank, int size, uint32_t ready, uint32_t taken, unsigned &turn)
{
    constexpr int STRIDE = Blocks64 * 64 + 4, QUADS = Blocks64 * 16; /* of channels */
    constexpr int ROWS = Tokens < 64 ? Tokens : 64;
    const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
    float *mine = (float *)room + lane % 4 * 2 * STRIDE + warp * 16 + lane / 4;
#pragma unroll
    for (int first = 0; first < Tokens; first += ROWS) {
        mbarrier_wait_cluster(taken, (turn + 1) & 1);
#pragma unroll
        for (int b = 0; b < Blocks64; b++)
#pragma unroll
            for (int i = 0; i < ROWS / 2; i++) {
                /* d[4j + e]: token 8j + c + e%2, channel r + e/2*8 */
                const int token = i / 4 * 8 + i % 2, channel = b * 64 + i / 2 % 2 * 8;
                mine[token * STRIDE + channel] = sum[b][first / 2 + i];
            }
        warpgroup_sync(warpgroup);
        if (thread < size)
            mbarrier_arrive_at(ready, thread);
        mbarrier_wait_cluster(ready, turn & 1);
        for (int i = rank * 128 + thread; i < ROWS * QUADS; i += size * 128) {
            const int token = i / QUADS, channel = i % QUADS * 4;
            const uint32_t at = shared_address((float *)room + token * STRIDE + channel);
            float4 part[W4_LARGE_CLUSTER];
#pragma unroll
            for (int block = 0; block < W4_LARGE_CLUSTER; block++)
                if (block < size)
                    part[block] = cluster_load(at, block);
            float4 v = part[0];
#pragma unroll
            for (int block = 1; block < W4_LARGE_CLUSTER; block++)
                if (block < size)
                    v = sum_of(v, part[block]);
            if (first + token < to.tokens && channel < to.channels)
                *(uint2 *)(to.y + (first + token) * to.stride + channel) =
                    make_uint2(half_pair(v.x, v.y), half_pair(v.z, v.w));
        }
        warpgroup_sync(warpgroup);
        if (thread < size)
            mbarrier_arrive_at(taken, thread);
        turn++;
    }
}

/* ---- tiles spread over blocks ---- */

/* Partial sums of a block's warpgroup: a block ends one tile at most.  index: of the
 * block, where those that share X count as one. */
template <int Blocks64, int Tokens>
static __device__ __forceinline__ float4 *partial_of(const W4Large &p, int index, int part,
                                                     int warpgroup)
{
    constexpr int QUADS = Blocks64 * Tokens / 8; /* of a thread */
    const size_t block = (size_t)index * p.plan.shape.share + part;
    return p.partial + (block * 2 + warpgroup) * QUADS * 128 + threadIdx.x % 128;
}

static __device__ __forceinline__ int *count_of(const W4Large &p, int tile, int part, int warpgroup)
{
    return p.arrived + (tile * p.plan.shape.share + part) * 2 + warpgroup;
}

template <int Blocks64, int Tokens>
static __device__ __forceinline__ void store_partial(const float (&sum)[Blocks64][Tokens / 2],
                                                     const W4Large &p, const W4Block &block,
                                                     int tile, int warpgroup)
{
    float4 *to = partial_of<Blocks64, Tokens>(p, block.index, block.part, warpgroup);
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < Tokens / 2; i += 4, to += 128)
            __stcg(to, make_float4(sum[b][i], sum[b][i + 1], sum[b][i + 2], sum[b][i + 3]));
    __threadfence();
    warpgroup_sync(warpgroup);
    if (threadIdx.x % 128 == 0)
        atomicAdd(count_of(p, tile, block.part, warpgroup), 1);
}

/* Adds the sums of the blocks behind this one, which took the tile's further
 * groups, in the order of k; sets the count back for the next launch. */
template <int Blocks64, int Tokens>
static __device__ __forceinline__ void add_partials(float (&sum)[Blocks64][Tokens / 2],
                                                    const W4Large &p, const W4Block &block,
                                                    int tile, int warpgroup)
{
    const int groups = p.k / W4_GROUP, units = p.plan.shared_tiles * groups;
    const int last = w4_spread_block((tile + 1) * groups - 1, block.count, units);
    int *arrived = count_of(p, tile, block.part, warpgroup);
    if (threadIdx.x % 128 == 0) {
        while (flag_get(arrived) < last - block.index)
            ;
        *arrived = 0;
    }
    warpgroup_sync(warpgroup);
    /* as many quads of sums at a time as registers hold, of few tokens several blocks' */
    constexpr int QUADS = Blocks64 * Tokens / 8, MOST = QUADS > 8 ? 16 : 32;
    constexpr int HERE = QUADS < MOST ? QUADS : MOST, TOGETHER = MOST / HERE, ROW = Tokens / 8;
#pragma unroll 1
    for (int other = block.index + 1; other <= last; other += TOGETHER) {
#pragma unroll
        for (int first = 0; first < QUADS; first += HERE) {
            float4 v[TOGETHER][HERE];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) {
                const float4 *from =
                    partial_of<Blocks64, Tokens>(p, min(other + i, last), block.part, warpgroup);
#pragma unroll
                for (int q = 0; q < HERE; q++)
                    v[i][q] = __ldcg(from + (first + q) * 128);
            }
#pragma unroll
            for (int i = 0; i < TOGETHER; i++)
#pragma unroll
                for (int q = 0; q < HERE; q++) {
                    float *to = &sum[(first + q) / ROW][(first + q) % ROW * 4];
                    if (other + i > last)
                        continue;
                    to[0] += v[i][q].x;
                    to[1] += v[i][q].y;
                    to[2] += v[i][q].z;
                    to[3] += v[i][q].w;
                }
        }
    }
}

/* ---- consumers ---- */

template <int Blocks64, int Tokens, bool Fine, bool Symmetric, class Stages>
static __device__ __forceinline__ void multiply_tiles(const W4Large &p, const W4Room &room,
                                                      const W4Block &block_at)
{
    constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    /* of k16 a block: as many as registers hold, or half; blocks a group, blocks a stage */
    constexpr int STEPS = (Tokens <= 64 ? 4 : Tokens == 256 ? 2 : 4 / Blocks64) / (1 + Fine);
    constexpr int BLOCKS = 8 / STEPS;
    constexpr int SLICES = W4_LARGE_SLICES(Tokens), PER_STAGE = BLOCKS / SLICES;
    constexpr int X_BYTES = Tokens * W4_GROUP * 2 / SLICES;
    constexpr int W_BYTES = 8 * Blocks64 * STRIP;
    constexpr bool FIXED = !Stages::LOAD && !Stages::DEQUANT; /* the same weights throughout */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int warpgroup = warp / 4, size = p.plan.shape.cluster, share = p.plan.shape.share;
    /* of slot 0; a further 64 channels are four strips on */
    const unsigned char *w = room.w + (warpgroup * Blocks64 * 4 + warp % 4) * STRIP;
    unsigned char *exchange =
        room.exchange +
        warpgroup * (size > 1 ? w4_exchange_tokens(Tokens) * w4_exchange_stride(Blocks64) * 4
                              : w4_direct_tokens(Tokens) * w4_direct_stride(Blocks64));
    const uint32_t ready = room.ready + 8 * warpgroup, taken = room.taken + 8 * warpgroup;
    unsigned turn = 0;
    W4Slot stage = { 0, 0 };
    int slot = 0;

    float sum[Blocks64][Tokens / 2];
    uint32_t a[2][STEPS][Blocks64][4];
    W4Scales<Blocks64> scales;
    uint4 codes[Blocks64];

    auto wait_full = [&] {
        if constexpr (Stages::LOAD)
            mbarrier_wait(room.full + 8 * stage.index, stage.parity);
    };
    auto release = [&](int index) {
        if constexpr (Stages::LOAD) {
            __syncwarp();
            if (share > 1) {
                if (lane < share)
                    mbarrier_free_at(room.empty + 8 * index, lane);
            } else if (lane == 0) {
                mbarrier_arrive(room.empty + 8 * index);
            }
        }
    };
    /* what the weights of block `block` (a constant) of the group in the slot are made of */
    auto fetch = [&](int block) {
        const unsigned char *here = w + slot * W_BYTES;
        if (block == 0)
            scales = load_scales<Blocks64, Symmetric>(here, lane / 4);
        if (block * STEPS % 4 == 0)
#pragma unroll
            for (int b = 0; b < Blocks64; b++)
                codes[b] = *(const uint4 *)(here + b * 4 * STRIP +
                                            (block * STEPS / 4 * 32 + lane) * 16);
    };
    auto make_weights = [&](int block, uint32_t(&to)[STEPS][Blocks64][4]) {
#pragma unroll
        for (int b = 0; b < Blocks64; b++) {
            uint32_t word[4] = { codes[b].x, codes[b].y, codes[b].z, codes[b].w };
            if (!Stages::DEQUANT && block == 0) /* or nothing would load them */
                word[0] ^=
                    scales.even[b] ^ scales.odd[b] ^ scales.zeros[b].even ^ scales.zeros[b].odd;
#pragma unroll
            for (int step = 0; step < STEPS; step++)
                scaled_weights<Stages>(word[block * STEPS % 4 + step], scales.even[b],
                                       scales.odd[b], scales.zeros[b], to[step][b]);
        }
    };
    /* products of a block, or what stands for them */
    auto multiply = [&](int block, int index, bool add, const uint32_t(&from)[STEPS][Blocks64][4]) {
        if constexpr (Stages::MMA) {
            const uint32_t x = shared_address(room.x) + index * X_BYTES;
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                const int k16 = block % PER_STAGE * STEPS + step;
                const uint64_t operand = wgmma_operand(x + k16 / 4 * Tokens * 128) + k16 % 4 * 2;
#pragma unroll
                for (int b = 0; b < Blocks64; b++)
                    wgmma(sum[b], from[step][b], operand, add || step);
            }
            wgmma_commit();
        } else {
#pragma unroll
            for (int step = 0; step < STEPS; step++)
#pragma unroll
                for (int b = 0; b < Blocks64; b++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        fold(sum[b][i], from[step][b][i]);
        }
    };

    /* from here on one warpgroup stores its tile while the other still multiplies */
    if (warpgroup)
        spend(p.plan.shape.skew);
    W4Tile t;
    for (int i = 0; tile_at(p, block_at, i, &t); i++) {
        if constexpr (!Stages::MMA) {
#pragma unroll
            for (int b = 0; b < Blocks64; b++)
#pragma unroll
                for (int e = 0; e < Tokens / 2; e++)
                    sum[b][e] = 0;
        }
        wait_full();
        fetch(0), make_weights(0, a[0]);
#pragma unroll 1
        for (int group = t.begin; group < t.end; group++) {
#pragma unroll
            for (int block = 0; block < BLOCKS; block++) {
                const bool last = block + 1 == BLOCKS;
                const int here = stage.index, before = here ? here - 1 : p.plan.stages - 1;
                multiply(block, here, block || group > t.begin, a[FIXED ? 0 : block % 2]);
                if ((block + 1) % PER_STAGE == 0)
                    stage.next(p.plan.stages);
                if (last && ++slot == p.plan.slots)
                    slot = 0;
                const bool more = !last || group + 1 < t.end;
                if (more) {
                    if ((block + 1) % PER_STAGE == 0)
                        wait_full();
                    if constexpr (!FIXED)
                        fetch((block + 1) % BLOCKS);
                }
                if constexpr (Stages::MMA)
                    wgmma_wait<1>(); /* the block before is through with its registers and X */
                if (block % PER_STAGE == 0 && (block || group > t.begin))
                    release(before);
                if constexpr (!FIXED)
                    if (more)
                        make_weights((block + 1) % BLOCKS, a[(block + 1) % 2]);
            }
        }
        if constexpr (Stages::MMA)
            wgmma_wait<0>();
        release(stage.index ? stage.index - 1 : p.plan.stages - 1);

        const W4Target to =
            target_of<Blocks64, Tokens>(p, t.tile, block_at.part, warpgroup);
        const bool all = t.end - t.begin == p.k / W4_GROUP;
        if (!all && size > 1) {
            store_split<Blocks64, Tokens>(sum, to, exchange, warpgroup, block_at.slice, size, ready,
                                          taken, turn);
        } else if (t.begin) {
            store_partial<Blocks64, Tokens>(sum, p, block_at, t.tile, warpgroup);
        } else {
            if (!all)
                add_partials<Blocks64, Tokens>(sum, p, block_at, t.tile, warpgroup);
            store_direct<Blocks64, Tokens>(sum, to, exchange, warpgroup);
        }
    }
}

/* ---- the kernel ---- */

/* 168 registers a thread at launch; the producer's warpgroup gives most of its own away. */
template <int Blocks64, int Tokens, bool Fine, bool Symmetric, class Stages>
static __global__ __launch_bounds__(LARGE_THREADS,
                                    1) void w4a16_large(const __grid_constant__ CUtensorMap x_map,
                                                        const __grid_constant__ W4Large p)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const W4Room room = room_of(p.plan, shared);
    const W4Block block = block_of(p.plan.shape);
    const bool together = p.plan.shape.cluster * p.plan.shape.share > 1;
    const W4Producer<Blocks64, Tokens, Symmetric> producer = { &x_map, p, room, block };
    int ahead = 0;
    if (threadIdx.x == LARGE_CONSUMERS) {
        for (int i = 0; i < p.plan.stages; i++) {
            mbarrier_init(room.full + 8 * i, 1);
            mbarrier_init(room.empty + 8 * i, LARGE_CONSUMERS / 32 * p.plan.shape.share);
        }
        for (int i = 0; i < 2; i++) {
            mbarrier_init(room.ready + 8 * i, p.plan.shape.cluster);
            mbarrier_init(room.taken + 8 * i, p.plan.shape.cluster);
        }
        mbarrier_init_done();
        if constexpr (Stages::LOAD) {
            tma_map_fetch(&x_map);
            ahead = producer.begin();
        }
        let_next_start();
    }
    __syncthreads();
    if (together) {
        cluster_arrive();
        cluster_wait();
    }

    if (threadIdx.x >= LARGE_CONSUMERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if constexpr (Stages::LOAD)
            if (threadIdx.x == LARGE_CONSUMERS) {
                wait_for_previous();
                producer.go_on(ahead);
            }
        __syncwarp();
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        wait_for_previous();
        multiply_tiles<Blocks64, Tokens, Fine, Symmetric, Stages>(p, room, block);
        __syncwarp();
    }
    /* shared memory must outlive its readers */
    if (together) {
        cluster_arrive();
        cluster_wait();
    }
}

#endif

/*
 * w4a8_own.cuh - Y = X W^T: 8-bit X with a scale per token, 4-bit W with a scale per
 * output channel, or with progressive groups of 128.
 *
 * Few tokens: bound by reading W once; many: by the tensor cores.  The product is
 * taken transposed: wgmma's A operand, which may lie in registers, is W, so that
 * weights go from memory to the tensor cores without a second pass through shared
 * memory, and 8 tokens are the narrowest tile.  W in the order of w4a8_layout.h: a
 * warpgroup's 64 rows are four neighbouring strips, one a warp.  Tiles as
 * w4a8_shapes.h draws them.
 *
 *   warps    0-3 and 4-7   consumers: half of the channels each, all tokens
 *            8             producer: one thread starts all copies
 *
 *   ring     stage = one group of k: X [tokens][128] in the 128-byte swizzle and
 *            W [channels/16] strips; `full` when it has come, `empty` when all
 *            consumers of the cluster are through with it
 *
 * A consumer keeps the products of 64 of k (a block) running while it makes the
 * weights of the next:
 *
 *   products   | block 0     | block 1     | block 2     ...
 *   weights    0 | 1         | 2         | 3           into registers [block % 2]
 *
 * Weights enter as unsigned bytes, per channel as they are, 0 .. 15 and, in rows r+8,
 * 16 times that; per group w8 + 128, and 128 times the sum of X comes off at the end.
 * Sums are integers, so that their order does not matter.
 *
 * A launch may begin while the one before it in the stream ends: it fetches its
 * first W, which no launch writes, and waits for the end before it touches X, Y or
 * partial sums.
 */
#ifndef KERNELS_GEMM_W4A8_OWN_CUH
#define KERNELS_GEMM_W4A8_OWN_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/spend.cuh"
#include "../common/tma.cuh"
#include "../common/wgmma_s8.cuh"
#include "mma.cuh"
#include "w4a8_device.cuh"
#include "w4a8_shapes.h"

struct W4A8 : W4A8Operands {
    int4 *partial; /* [blocks][2 warpgroups][..][128 threads] */
    int *arrived;  /* [spread tiles of a block][2 warpgroups]; all 0 */
    struct w4a8_plan plan;
};

constexpr int W4A8_CONSUMERS = 256;

/* Tilings whose sums take few registers leave room for a second block; the others
 * take the producer's. */
template <int Blocks64, int Tokens> struct W4A8Form {
    static constexpr bool WIDE = Tokens * Blocks64 * Blocks64 >= 128; /* w4a8_wide */
    static constexpr int THREADS = W4A8_CONSUMERS + (WIDE ? 128 : 32), BLOCKS = WIDE ? 1 : 2;
    static constexpr int X_BYTES = Tokens * W4A8_GROUP;
    static constexpr int ROWS = WIDE ? Tokens < 32 ? Tokens : 32 : Tokens < 16 ? Tokens : 16;
    static constexpr int STRIDE = Blocks64 * 128 + 16;
};

/* ---- shared memory ---- */

struct W4A8Room {
    unsigned char *x, *w, *token, *exchange;
    uint32_t full, empty; /* [stages] barriers */
};

static __device__ __forceinline__ W4A8Room room_of(const struct w4a8_plan &plan,
                                                   unsigned char *shared)
{
    unsigned char *base = shared + ((1024 - (shared_address(shared) & 1023)) & 1023);
    const size_t end = plan.bytes - 1024 - W4A8_BARRIERS;
    W4A8Room room = { base, base + plan.w_at, base + plan.token_at, base + plan.exchange_at };
    room.full = shared_address(base) + (uint32_t)end;
    room.empty = room.full + 8 * W4A8_STAGES;
    return room;
}

/* Place in the ring: of producer and consumers each their own. */
struct W4A8Slot {
    int index;
    unsigned parity;
    __device__ __forceinline__ void next(int stages)
    {
        if (++index == stages)
            index = 0, parity ^= 1;
    }
};

/* ---- producer ---- */

template <int Blocks64, int Tokens, bool Grouped> struct W4A8Producer {
    using Form = W4A8Form<Blocks64, Tokens>;
    static constexpr int STRIPS = 8 * Blocks64, CODES = STRIPS * W4A8_CODES;
    static constexpr int SCALES = Grouped ? STRIPS * W4A8_SCALES : 0;
    const CUtensorMap *x_map;
    const W4A8 &p;
    const W4A8Room &room;
    int cluster, rank, slices;

    /* What a part of a tile is loaded from. */
    struct Place {
        size_t strip; /* number of the first, of group 0 */
        bool there;   /* channels that exist */
        int token;    /* of this block's part of X, the first */
    };

    __device__ __forceinline__ Place place_of(int tile) const
    {
        const struct w4a8_tile at = w4a8_tile_of(&p.plan, tile);
        const int size = p.plan.shape.cluster, first = (at.channels * size + rank) * STRIPS;
        return { w4a8_strip_at(first, 0, p.groups), first * W4A8_STRIP < p.n,
                 at.tokens * Tokens + rank * (Tokens / size) };
    }

    /* Announces a stage and starts its W. */
    __device__ __forceinline__ void load_w(const Place &from, int group, int stage) const
    {
        const uint32_t full = room.full + 8 * stage;
        const uint32_t to = shared_address(room.w) + stage * (CODES + SCALES);
        mbarrier_expect(full, Form::X_BYTES + (from.there ? CODES + SCALES : 0));
        if (!from.there)
            return;
        const size_t at = from.strip + (size_t)group * W4A8_NEAR;
        const unsigned char *codes = p.packed + at * W4A8_CODES;
        const unsigned char *scales = p.packed + p.code_bytes + at * W4A8_SCALES;
        if (p.plan.token_tiles == 1) {
            bulk_copy(to, codes, CODES, full, l2_evict_first());
            if (Grouped)
                bulk_copy(to + CODES, scales, SCALES, full, l2_evict_first());
        } else {
            bulk_copy(to, codes, CODES, full);
            if (Grouped)
                bulk_copy(to + CODES, scales, SCALES, full);
        }
    }

    /* This block's part of X, to all blocks of the cluster. */
    __device__ __forceinline__ void load_x(const Place &from, int group, int stage) const
    {
        const int size = p.plan.shape.cluster;
        const uint32_t full = room.full + 8 * stage;
        const uint32_t to = shared_address(room.x) + stage * Form::X_BYTES +
                            rank * (Tokens / size) * W4A8_GROUP;
        if (size > 1)
            bulk_copy_box_to(to, x_map, group * W4A8_GROUP, from.token, full, (1u << size) - 1);
        else
            bulk_copy_box(to, x_map, group * W4A8_GROUP, from.token, full);
    }

    /* W of the first groups, as far as the ring goes; returns how many.  Needs only
     * barriers that the caller has made. */
    __device__ __forceinline__ int begin() const
    {
        struct w4a8_part t;
        if (!w4a8_part_at(&p.plan, slices, p.groups, cluster, 0, &t))
            return 0;
        const Place from = place_of(t.tile);
        const int ahead = min(p.plan.stages, t.end - t.begin);
#pragma unroll 1
        for (int i = 0; i < ahead; i++)
            load_w(from, t.begin + i, i);
        return ahead;
    }

    __device__ __forceinline__ void go_on(int ahead) const
    {
        W4A8Slot stage = { 0, 1 };
        struct w4a8_part t;
        for (int i = 0; w4a8_part_at(&p.plan, slices, p.groups, cluster, i, &t); i++) {
            const Place from = place_of(t.tile);
            for (int group = t.begin; group < t.end; group++) {
                /* of the whole cluster: X goes to all its blocks */
                mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
                if (ahead)
                    ahead--;
                else
                    load_w(from, group, stage.index);
                load_x(from, group, stage.index);
                stage.next(p.plan.stages);
            }
        }
    }
};

/* ---- output ---- */

/* All threads of warpgroup 0 or 1. */
static __device__ __forceinline__ void warpgroup_sync(int warpgroup)
{
    asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory");
}

/* What a warpgroup writes, and how sums become it. */
struct W4A8Target {
    half *y;              /* first token, first channel */
    size_t stride;        /* elements */
    int tokens, channels; /* that exist, channels a multiple of 8 */
    int channel;          /* the first */
};

template <int Blocks64, int Tokens>
static __device__ __forceinline__ W4A8Target target_of(const W4A8 &p, int tile, int rank,
                                                       int warpgroup)
{
    const struct w4a8_tile at = w4a8_tile_of(&p.plan, tile);
    const int channel =
        ((at.channels * p.plan.shape.cluster + rank) * 2 + warpgroup) * Blocks64 * 64;
    const int token = at.tokens * Tokens;
    return { p.y + (size_t)token * p.n + channel, (size_t)p.n, p.m - token, p.n - channel,
             channel };
}

template <int Tokens, bool Grouped>
static __device__ __forceinline__ void load_tokens(const W4A8 &p, int tile, W4A8Token *token)
{
    const int first = w4a8_tile_of(&p.plan, tile).tokens * Tokens;
    for (int i = threadIdx.x % 128; i < Tokens; i += 128)
        token[i] = load_token<Grouped>(p, first + i);
}

/* Two 8x8 matrices, transposed: lane l < 16 points at row l%8 of matrix l/8. */
static __device__ __forceinline__ void store_matrices_trans(uint32_t row, uint32_t m0, uint32_t m1)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row),
                 "r"(m0), "r"(m1)
                 : "memory");
}

/* What the sums of a thread's channels are scaled by.  W's alone, so that it may be
 * fetched before the launch before this one has ended. */
template <int Blocks64, bool Grouped>
static __device__ __forceinline__ void fetch_channels(const W4A8 &p, int first,
                                                      uint32_t (&channel)[Blocks64][2])
{
    const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            channel[b][i] = fetch_channel<Grouped>(p, first + b * 64 + row + 8 * i);
}

template <int Blocks64, bool Grouped>
static __device__ __forceinline__ void convert(const uint32_t (&fetched)[Blocks64][2],
                                               W4A8Channel (&channel)[Blocks64][2])
{
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            channel[b][i] = channel_of<Grouped>(fetched[b][i], i);
}

/* Where this lane points store_matrices_trans at. */
template <int Stride> static __device__ __forceinline__ uint32_t row_of(const unsigned char *room)
{
    const int warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32;
    return shared_address(room) + lane % 8 * Stride + (warp * 16 + lane / 8 % 2 * 8) * 2;
}

/* A thread's four sums of 8 tokens -> half -> shared memory; t: this lane's two of them. */
template <bool Grouped>
static __device__ __forceinline__ void put_quad(uint32_t row, const int (&v)[4],
                                                const W4A8Channel (&channel)[2],
                                                const W4A8Token *t)
{
    uint32_t pair[2];
#pragma unroll
    for (int r = 0; r < 2; r++)
        pair[r] = half_pair(output_of<Grouped>(v[2 * r], channel[r], t[0]),
                            output_of<Grouped>(v[2 * r + 1], channel[r], t[1]));
    store_matrices_trans(row, pair[0], pair[1]);
}

/* So many tokens of a warpgroup, from `first` on, from shared memory to Y. */
template <int Blocks64, int Stride>
static __device__ __forceinline__ void write_rows(const W4A8Target &to, const unsigned char *room,
                                                  int first, int rows)
{
    constexpr int PIECES = Blocks64 * 8; /* 16 bytes of a row */
    for (int i = threadIdx.x % 128; i < rows * PIECES; i += 128) {
        const int token = first + i / PIECES, c = i % PIECES * 8;
        if (token < to.tokens && c < to.channels)
            *(uint4 *)(to.y + token * to.stride + c) =
                *(const uint4 *)(room + i / PIECES * Stride + i % PIECES * 16);
    }
}

/* Sums -> half -> shared memory, a row a token -> Y. */
template <int Blocks64, int Tokens, bool Grouped>
static __device__ __forceinline__ void store_tile(const int (&sum)[Blocks64][Tokens / 2],
                                                  const uint32_t (&fetched)[Blocks64][2],
                                                  const W4A8Target &to, const W4A8Token *tokens,
                                                  unsigned char *room, int warpgroup)
{
    using Form = W4A8Form<Blocks64, Tokens>;
    const int lane = threadIdx.x % 32;
    const uint32_t at = row_of<Form::STRIDE>(room);
    W4A8Channel channel[Blocks64][2];
    convert<Blocks64, Grouped>(fetched, channel);
#pragma unroll
    for (int first = 0; first < Tokens; first += Form::ROWS) {
#pragma unroll
        for (int i = 0; i < Form::ROWS; i += 8) {
            const W4A8Token t[2] = { tokens[first + i + lane % 4 * 2],
                                     tokens[first + i + lane % 4 * 2 + 1] };
#pragma unroll
            for (int b = 0; b < Blocks64; b++) {
                const int *v = &sum[b][(first + i) / 2];
                put_quad<Grouped>(at + i * Form::STRIDE + b * 128, { v[0], v[1], v[2], v[3] },
                                  channel[b], t);
            }
        }
        warpgroup_sync(warpgroup);
        write_rows<Blocks64, Form::STRIDE>(to, room, first, Form::ROWS);
        warpgroup_sync(warpgroup);
    }
}

/* ---- tiles spread over blocks ---- */

/* Partial sums of a block's warpgroup: a block ends one tile at most. */
template <int Blocks64, int Tokens>
static __device__ __forceinline__ int4 *partial_of(const W4A8 &p, int block, int warpgroup)
{
    constexpr int QUADS = Blocks64 * Tokens / 8; /* of a thread */
    return p.partial + ((size_t)block * 2 + warpgroup) * QUADS * 128 + threadIdx.x % 128;
}

static __device__ __forceinline__ int *count_of(const W4A8 &p, int tile, int rank, int warpgroup)
{
    return p.arrived + (tile * p.plan.shape.cluster + rank) * 2 + warpgroup;
}

template <int Blocks64, int Tokens>
static __device__ __forceinline__ void store_partial(const int (&sum)[Blocks64][Tokens / 2],
                                                     const W4A8 &p, int *arrived, int warpgroup)
{
    int4 *to = partial_of<Blocks64, Tokens>(p, blockIdx.x, warpgroup);
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < Tokens / 2; i += 4, to += 128)
            __stcg(to, make_int4(sum[b][i], sum[b][i + 1], sum[b][i + 2], sum[b][i + 3]));
    __threadfence();
    warpgroup_sync(warpgroup);
    if (threadIdx.x % 128 == 0)
        atomicAdd(arrived, 1);
}

/* Adds the sums of the clusters behind this one, which took the tile's further
 * groups; sets the count back for the next launch. */
template <int Blocks64, int Tokens>
static __device__ __forceinline__ void add_partials(int (&sum)[Blocks64][Tokens / 2], const W4A8 &p,
                                                    int tile, int cluster, int rank, int warpgroup)
{
    constexpr int SUMS = Blocks64 * Tokens / 2;
    const int units = p.plan.spread_tiles * p.groups;
    const int last = w4a8_cluster_of((tile + 1) * p.groups - 1, p.plan.clusters, units);
    int *arrived = count_of(p, tile, rank, warpgroup);
    if (threadIdx.x % 128 == 0) {
        while (flag_get(arrived) < last - cluster)
            ;
        *arrived = 0;
    }
    warpgroup_sync(warpgroup);
    /* with few sums several blocks' are on their way at a time */
#pragma unroll(SUMS <= 8 ? 4 : SUMS <= 16 ? 2 : 1)
    for (int other = cluster + 1; other <= last; other++) {
        const int4 *from =
            partial_of<Blocks64, Tokens>(p, other * p.plan.shape.cluster + rank, warpgroup);
#pragma unroll
        for (int b = 0; b < Blocks64; b++)
#pragma unroll
            for (int i = 0; i < Tokens / 2; i += 4, from += 128) {
                const int4 v = __ldcg(from);
                sum[b][i] += v.x;
                sum[b][i + 1] += v.y;
                sum[b][i + 2] += v.z;
                sum[b][i + 3] += v.w;
            }
    }
}

/* ---- tiles shared by the blocks of a cluster ---- */

/* Thread and place of a quad of sums among those of a block, [2 warpgroups][quads][128]. */
template <int Tokens> struct W4A8Quad {
    int channel, token; /* the first: quads are channels r, r+8 by tokens 2 c, 2 c + 1 */
    __device__ __forceinline__ W4A8Quad(int at)
    {
        const int thread = at % 128, quad = at / 128; /* of both warpgroups: [64 channels][8 tokens] */
        channel = quad / (Tokens / 8) * 64 + thread / 32 * 16 + thread % 32 / 4;
        token = quad % (Tokens / 8) * 8 + thread % 4 * 2;
    }
};

/* Every block leaves its sums in shared memory and makes a part of Y of all blocks'.
 * All threads of the cluster meet twice. */
template <int Blocks64, int Tokens, bool Grouped>
static __device__ __forceinline__ void share_tile(const int (&sum)[Blocks64][Tokens / 2],
                                                  const W4A8 &p, const W4A8Target &to,
                                                  const W4A8Token *tokens, unsigned char *room)
{
    constexpr int QUADS = Blocks64 * Tokens / 8; /* of a thread */
    const int slices = p.plan.shape.slices, rank = (int)cluster_rank();
    const int part = 256 * QUADS / slices, first = rank * part + threadIdx.x;
    const int tile_channel = to.channel - threadIdx.x / 128 * Blocks64 * 64;
    uint32_t halves[2] = { 0, 0 };
    auto fetch_halves = [&](int at) {
        for (int i = 0; i < 2; i++)
            halves[i] =
                fetch_channel<Grouped>(p, tile_channel + W4A8Quad<Tokens>(at).channel + 8 * i);
    };
    if ((int)threadIdx.x < part)
        fetch_halves(first);
    asm volatile("bar.sync 3, 256;" ::: "memory"); /* both warpgroups are through with the ring */
    int4 *mine = (int4 *)room + threadIdx.x / 128 * QUADS * 128 + threadIdx.x % 128;
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < Tokens / 2; i += 4, mine += 128)
            *mine = make_int4(sum[b][i], sum[b][i + 1], sum[b][i + 2], sum[b][i + 3]);
    cluster_arrive();
    cluster_wait();
    for (int at = first; at < (rank + 1) * part; at += 256) {
        if (at != first)
            fetch_halves(at);
        int4 v = make_int4(0, 0, 0, 0);
#pragma unroll 8
        for (int other = 0; other < slices; other++) {
            const int4 part_of = cluster_load_s32(shared_address(room) + at * 16, other);
            v.x += part_of.x, v.y += part_of.y, v.z += part_of.z, v.w += part_of.w;
        }
        const W4A8Quad<Tokens> quad(at);
        const int sums[2][2] = { { v.x, v.y }, { v.z, v.w } }, channel = quad.channel + tile_channel;
        half *y = p.y + (size_t)(p.m - to.tokens + quad.token) * p.n + channel;
        for (int r = 0; r < 2; r++)
            for (int i = 0; i < 2; i++)
                if (channel + 8 * r < p.n && quad.token + i < to.tokens)
                    y[(size_t)i * p.n + 8 * r] = __float2half_rn(output_of<Grouped>(
                        sums[r][i], channel_of<Grouped>(halves[r], r), tokens[quad.token + i]));
    }
}

/* The same of 64 tokens and more: a block makes Y of some of the tokens.  Their sums lie with the
 * same thread in every block. */
template <int Blocks64, int Tokens, bool Grouped>
static __device__ __forceinline__ void
share_tokens(const int (&sum)[Blocks64][Tokens / 2], const uint32_t (&fetched)[Blocks64][2],
             const W4A8 &p, const W4A8Target &to, const W4A8Token *tokens, unsigned char *room,
             unsigned char *exchange, int warpgroup)
{
    using Form = W4A8Form<Blocks64, Tokens>;
    constexpr int EIGHTS = Tokens / 8; /* of a thread and 64 channels: a quad each */
    const int slices = p.plan.shape.slices, rank = (int)cluster_rank();
    const int begin = w4a8_first_unit(rank, slices, EIGHTS) * 8;
    const int end = w4a8_first_unit(rank + 1, slices, EIGHTS) * 8;
    const uint32_t at = row_of<Form::STRIDE>(exchange);
    asm volatile("bar.sync 3, 256;" ::: "memory"); /* both warpgroups are through with the ring */
    int4 *mine = (int4 *)room + warpgroup * Blocks64 * EIGHTS * 128 + threadIdx.x % 128;
#pragma unroll
    for (int b = 0; b < Blocks64; b++)
#pragma unroll
        for (int i = 0; i < Tokens / 2; i += 4)
            mine[(b * EIGHTS + i / 4) * 128] =
                make_int4(sum[b][i], sum[b][i + 1], sum[b][i + 2], sum[b][i + 3]);
    cluster_arrive();
    W4A8Channel channel[Blocks64][2];
    convert<Blocks64, Grouped>(fetched, channel);
    cluster_wait();
    for (int first = begin; first < end; first += Form::ROWS) {
        const int rows = min(Form::ROWS, end - first);
        for (int i = 0; i < rows; i += 8) {
            const W4A8Token *t = tokens + first + i + threadIdx.x % 4 * 2;
#pragma unroll
            for (int b = 0; b < Blocks64; b++) {
                const uint32_t from = shared_address(mine + (b * EIGHTS + (first + i) / 8) * 128);
                int v[4] = {};
#pragma unroll 4
                for (int other = 0; other < slices; other++) {
                    const int4 part = cluster_load_s32(from, other);
                    v[0] += part.x, v[1] += part.y, v[2] += part.z, v[3] += part.w;
                }
                put_quad<Grouped>(at + i * Form::STRIDE + b * 128, v, channel[b], t);
            }
        }
        warpgroup_sync(warpgroup);
        write_rows<Blocks64, Form::STRIDE>(to, exchange, first, rows);
        warpgroup_sync(warpgroup);
    }
}

/* ---- consumers ---- */

/* Products that run need registers of their own, written here and not later. */
static __device__ __forceinline__ void written(uint32_t &v)
{
    asm volatile("" : "+r"(v));
}

static __device__ __forceinline__ void fold(int &sum, uint32_t bits)
{
    sum ^= (int)bits;
}

template <int Blocks64, int Tokens, bool Grouped, class Stages, bool Sliced>
static __device__ __forceinline__ void multiply_tiles(const W4A8 &p, const W4A8Room &room,
                                                      int cluster, int rank)
{
    using Form = W4A8Form<Blocks64, Tokens>;
    constexpr int STRIPS = 8 * Blocks64, CODES = STRIPS * W4A8_CODES;
    constexpr int W_BYTES = CODES + (Grouped ? STRIPS * W4A8_SCALES : 0);
    constexpr int STEPS = 2; /* of k32 a block, of which a group has two */
    /* steps that weights are made for; without that, words serve two of them as they are */
    constexpr int MADE = Stages::DEQUANT ? STEPS : 1;
    constexpr bool FIXED = !Stages::LOAD && !Stages::DEQUANT; /* the same codes throughout */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int warpgroup = warp / 4, size = p.plan.shape.cluster;
    const int slices = Sliced ? p.plan.shape.slices : 0;
    /* in stage 0; a further 64 channels are four strips on */
    const int strip = warpgroup * Blocks64 * 4 + warp % 4;
    const unsigned char *codes_at = room.w + strip * W4A8_CODES + lane * 16;
    const unsigned char *scales_at = room.w + CODES + strip * W4A8_SCALES + lane / 4 * 4;
    unsigned char *exchange = room.exchange + warpgroup * Form::ROWS * Form::STRIDE;
    W4A8Token *tokens = (W4A8Token *)room.token + warpgroup * Tokens;
    W4A8Slot stage = { 0, 0 };

    int sum[Blocks64][Tokens / 2];
    uint32_t channel[Blocks64][2];
    uint32_t a[2][STEPS][Blocks64][4];
    W4A8Scales scales[Blocks64];
    uint4 codes[Blocks64];

    auto wait_full = [&] {
        if constexpr (Stages::LOAD)
            mbarrier_wait(room.full + 8 * stage.index, stage.parity);
    };
    auto release = [&](int index) {
        if constexpr (Stages::LOAD) {
            __syncwarp();
            if (size > 1) {
                if (lane < size)
                    mbarrier_free_at(room.empty + 8 * index, lane);
            } else if (lane == 0) {
                mbarrier_arrive(room.empty + 8 * index);
            }
        }
    };
    /* what the weights of block `block` of the group in the stage are made of */
    auto fetch = [&](int block) {
        const int here = stage.index * W_BYTES;
#pragma unroll
        for (int b = 0; b < Blocks64; b++) {
            if (Grouped && block == 0)
                scales[b] =
                    scales_of(*(const uint32_t *)(scales_at + here + b * 4 * W4A8_SCALES));
            codes[b] = *(const uint4 *)(codes_at + here + b * 4 * W4A8_CODES + block * 512);
        }
    };
    auto make_weights = [&](uint32_t(&to)[STEPS][Blocks64][4]) {
#pragma unroll
        for (int b = 0; b < Blocks64; b++) {
            const uint32_t word[4] = { codes[b].x, codes[b].y, codes[b].z, codes[b].w };
#pragma unroll
            for (int step = 0; step < MADE; step++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const uint32_t v = word[Stages::DEQUANT ? 2 * step + i / 2 : i];
                    uint32_t &out = to[step][b][i];
                    out = Stages::DEQUANT ? weights<Grouped>(v, i % 2, scales[b]) : v;
                    written(out);
                }
            if constexpr (Grouped && !Stages::DEQUANT) /* or nothing would load them */
                to[0][b][0] ^= scales[b].scale[0] ^ scales[b].shift[0] ^ scales[b].scale[1] ^
                               scales[b].shift[1];
        }
    };
    /* products of a block, or what stands for them */
    auto multiply = [&](int block, bool add, const uint32_t(&from)[STEPS][Blocks64][4]) {
        if constexpr (Stages::MMA) {
            const uint64_t operand =
                wgmma_operand(shared_address(room.x) + stage.index * Form::X_BYTES);
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < STEPS; step++)
#pragma unroll
                for (int b = 0; b < Blocks64; b++)
                    wgmma_u8(sum[b], from[step % MADE][b], operand + (block * STEPS + step) * 2,
                             add || step);
            wgmma_commit();
        } else {
#pragma unroll
            for (int step = 0; step < MADE; step++)
#pragma unroll
                for (int b = 0; b < Blocks64; b++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        fold(sum[b][i], from[step][b][i]);
        }
    };

    struct w4a8_part t;
    const auto channels_of = [&](int tile) {
        fetch_channels<Blocks64, Grouped>(
            p, target_of<Blocks64, Tokens>(p, tile, rank, warpgroup).channel, channel);
    };
    /* in time where there are registers for it */
    if (!Form::WIDE && w4a8_part_at(&p.plan, slices, p.groups, cluster, 0, &t))
        channels_of(t.tile);
    wait_for_previous();
    /* from here on one warpgroup stores its tile while the other still multiplies */
    if (warpgroup)
        spend(p.plan.skew);
    for (int i = 0; w4a8_part_at(&p.plan, slices, p.groups, cluster, i, &t); i++) {
        if (!Form::WIDE && i)
            channels_of(t.tile);
        if (!t.begin || slices)
            load_tokens<Tokens, Grouped>(p, t.tile, tokens);
        if constexpr (!Stages::MMA) {
#pragma unroll
            for (int b = 0; b < Blocks64; b++)
#pragma unroll
                for (int e = 0; e < Tokens / 2; e++)
                    sum[b][e] = 0;
        }
        wait_full();
        fetch(0);
        make_weights(a[0]);
        for (int group = t.begin; group < t.end; group++) {
            const int before = stage.index ? stage.index - 1 : p.plan.stages - 1;
            multiply(0, group > t.begin, a[0]);
            if constexpr (!FIXED)
                fetch(1);
            if constexpr (Stages::MMA)
                wgmma_wait<1>(); /* the block before is through with its registers and X */
            if (group > t.begin)
                release(before);
            make_weights(a[1]);
            multiply(1, true, a[1]);
            stage.next(p.plan.stages);
            const bool more = group + 1 < t.end;
            if (more) {
                wait_full();
                if constexpr (!FIXED)
                    fetch(0);
            }
            if constexpr (Stages::MMA)
                wgmma_wait<1>();
            if (more)
                make_weights(a[0]);
        }
        if constexpr (Stages::MMA)
            wgmma_wait<0>();
        release(stage.index ? stage.index - 1 : p.plan.stages - 1);

        if constexpr (Sliced)
            if (slices) {
                const W4A8Target to = target_of<Blocks64, Tokens>(p, t.tile, rank, warpgroup);
                if constexpr (Form::WIDE)
                    channels_of(t.tile);
                if constexpr (Tokens < W4A8_SHARE_TOKENS)
                    share_tile<Blocks64, Tokens, Grouped>(sum, p, to, tokens, room.x);
                else
                    share_tokens<Blocks64, Tokens, Grouped>(sum, channel, p, to, tokens, room.x,
                                                            exchange, warpgroup);
                return;
            }
        if (t.begin) {
            store_partial<Blocks64, Tokens>(sum, p, count_of(p, t.tile, rank, warpgroup),
                                            warpgroup);
            continue;
        }
        if (t.end < p.groups)
            add_partials<Blocks64, Tokens>(sum, p, t.tile, cluster, rank, warpgroup);
        else
            warpgroup_sync(warpgroup); /* tokens' scales have come */
        const W4A8Target to = target_of<Blocks64, Tokens>(p, t.tile, rank, warpgroup);
        if (Form::WIDE)
            channels_of(t.tile);
#pragma unroll
        for (int b = 0; b < Blocks64; b++)
#pragma unroll
            for (int r = 0; r < 2; r++)
                written(channel[b][r]); /* converted here, not where it was fetched */
        store_tile<Blocks64, Tokens, Grouped>(sum, channel, to, tokens, exchange,
                                              warpgroup);
    }
}

/* ---- the kernel ---- */

/* Sliced: tiles may be shared by the blocks of a cluster. */
template <int Blocks64, int Tokens, bool Grouped, class Stages, bool Sliced>
static __global__ __launch_bounds__(W4A8Form<Blocks64, Tokens>::THREADS,
                                    W4A8Form<Blocks64, Tokens>::BLOCKS) void
w4a8_own(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ W4A8 p)
{
    constexpr bool WIDE = W4A8Form<Blocks64, Tokens>::WIDE;
    extern __shared__ __align__(1024) unsigned char shared[];
    const W4A8Room room = room_of(p.plan, shared);
    const int size = p.plan.shape.cluster, rank = size > 1 ? (int)cluster_rank() : 0;
    const int cluster = blockIdx.x / size, slices = Sliced ? p.plan.shape.slices : 0;
    const W4A8Producer<Blocks64, Tokens, Grouped> producer = { &x_map, p, room, cluster, rank,
                                                                   slices };
    int ahead = 0;
    if (threadIdx.x == W4A8_CONSUMERS) {
        let_next_start();
        tma_map_fetch(&x_map);
        for (int i = 0; i < p.plan.stages; i++) {
            mbarrier_init(room.full + 8 * i, 1);
            mbarrier_init(room.empty + 8 * i, W4A8_CONSUMERS / 32 * size);
        }
        mbarrier_init_done();
        if constexpr (Stages::LOAD)
            ahead = producer.begin();
    }
    __syncthreads();
    if (size > 1) {
        cluster_arrive();
        cluster_wait();
    }

    if (threadIdx.x >= W4A8_CONSUMERS) {
        if constexpr (WIDE)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Sliced ? 56 : 40));
        if constexpr (Stages::LOAD)
            if (threadIdx.x == W4A8_CONSUMERS) {
                wait_for_previous();
                producer.go_on(ahead);
            }
        __syncwarp();
    } else {
        if constexpr (WIDE)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Sliced ? 224 : 232));
        multiply_tiles<Blocks64, Tokens, Grouped, Stages, Sliced>(p, room, cluster, rank);
        __syncwarp();
    }
    if (slices && threadIdx.x >= W4A8_CONSUMERS) { /* as share_tile does */
        cluster_arrive();
        cluster_wait();
    }
    /* shared memory must outlive its readers and writers */
    if (size > 1 || slices) {
        cluster_arrive();
        cluster_wait();
    }
}

#endif

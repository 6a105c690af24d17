/*
 * own.cuh - implicit GEMM of sparse convolution for Hopper: half operands, float sums.
 *
 * Bound by fetching rows of X and W from the L2 cache, at wide channels by the tensor
 * cores.  A tile has 128 rows of the result and all its columns (256 at most), so that a
 * row of X is fetched once for a tap; rows are ordered so that those of a tile have the
 * same taps (plan.h), and what is absent from 64 rows is neither fetched nor multiplied
 * for them.  A unit of work is a part of a tile's taps and a block of columns (own_plan.h).
 *
 *   warps    0-3 and 4-7   consumers: 64 rows each, all columns of the tile
 *            8-11          producers: thread 0 starts the copies of W, all gather rows; what a
 *                          slice needs to know is read while the one before it is gathered
 *
 *   ring     stage = one slice, 64 of the taps x channels of a range of taps:
 *              A [128 rows][64]               gathered, 16 bytes (8 or 4) a copy
 *              B [columns / 64][64 of k][64]  a box of W each, by the bulk copy engine;
 *                [columns][64 of k]           back: W as forward has it is its transpose here
 *            both in rows of 128 bytes in the 128-byte swizzle; absent rows are zeros
 *            full:  arrivals of every producer's copies and of thread 0
 *            empty: 8 arrivals, a warp of the consumers each
 *
 *   note     of a stage, written before thread 0 arrives:
 *              bits 0, 1  the lower, upper 64 rows have the slice   2  last of its unit
 *              bits 3-31  unit: part x column blocks + block;  -1: there is no more
 *
 * Slices of fewer than 64 channels hold several taps, so that narrow layers fill the
 * products.  Units are numbered the most expensive first.  A block's first two are known
 * beforehand, the long ones with the short ones; further ones are taken from a counter, one
 * ahead of need.
 *
 * Sums of a tile's parts are joined by its last part, or where all units run at once by all of
 * them (own_finish.cuh).  With several ranges of taps sums are passed on in float: a unit of a
 * range waits, with its sums done, until all of the range before have stored theirs.  A block
 * takes units in rising order and all blocks run, so whoever waits for units before its own, or
 * for units that are all being done, waits for what comes.
 */
#ifndef KERNELS_SPCONV_OWN_CUH
#define KERNELS_SPCONV_OWN_CUH

#include <cuda_fp16.h>

#include "../common/launch.cuh"
#include "../common/tma.cuh"
#include "../common/wgmma_smem.cuh"
#include "own_finish.cuh"
#include "own_ring.cuh"
#include "plan.h"

constexpr int OWN_CONSUMERS = 256, OWN_PRODUCERS = 128; /* threads */
constexpr int OWN_THREADS = OWN_CONSUMERS + OWN_PRODUCERS;
constexpr int OWN_STAGES_MAX = 8;
constexpr int OWN_A_BYTES = SPCONV_TILE * 128;

/* Thread blocks on a multiprocessor, for so many columns of a tile. */
template <int Columns> struct OwnTune {
    static constexpr int BLOCKS = Columns <= 64 ? 2 : 1;
};

/* Ring and threads.  The producers give registers to the consumers. */
template <int Columns, class Tune = OwnTune<Columns>> struct OwnShape {
    static constexpr int BLOCKS = Tune::BLOCKS;
    static constexpr int B_BYTES = (Columns + 63) / 64 * 64 * 128;
    static constexpr int STAGE = OWN_A_BYTES + B_BYTES;
    static constexpr int STAGES = (BLOCKS == 2 ? 100 : 200) * 1024 / STAGE;
    static constexpr int BYTES = STAGES * STAGE + 1024 + 256;
    static constexpr int REGISTERS = BLOCKS == 1 ? 224 : 88; /* of a consumer */
    static_assert(STAGES >= 3 && STAGES <= OWN_STAGES_MAX, "a ring of three to eight stages");
};

struct OwnRoom {
    uint32_t ring;        /* shared address, multiple of 1024 */
    uint32_t full, empty; /* barriers [stages] */
    int *note;            /* [stages] */
    int *unit;            /* [2] handed from thread 0 to the producers */
};

enum { OWN_LAST = 4, OWN_NOTE_BITS = 3, OWN_PRODUCERS_BARRIER = 3 };

/* ---- producers ---- */

/* A warp gathers 32 rows, a lane pieces of so many bytes of ROWS of them one after another. */
template <int Bytes> struct OwnPiece {
    static constexpr int PIECES = 128 / Bytes, ROWS = PIECES; /* PIECES x 32 / ROWS: the warp */
    static constexpr bool AHEAD = Bytes == 16; /* partners fit in registers a slice ahead */
};

/* The slices of a part one after another; one that no row has where it has no tap.
 * Whole: a slice lies within one tap. */
template <bool Whole> struct OwnWalk {
    uint32_t lower, upper, left; /* taps of the lower and upper 64 rows; Whole: still to come */
    int slice;                   /* Whole: of the tap */

    static __device__ __forceinline__ int tap_of(const OwnWork &p, int k)
    {
        return (int)__umulhi((uint32_t)k, p.inverse);
    }
    __device__ __forceinline__ int first() const { return left ? __ffs(left) - 1 : 0; }
    __device__ __forceinline__ void start(const OwnWork &p, const int4 &part)
    {
        lower = (uint32_t)part.y;
        upper = (uint32_t)part.z;
        left = lower | upper;
        slice = Whole ? 0 : first() * p.channels / SPCONV_SLICE;
    }
    /* first of its taps x channels, counted from those of the range */
    __device__ __forceinline__ int k(const OwnWork &p) const
    {
        return (Whole ? first() * p.channels : 0) + slice * SPCONV_SLICE;
    }
    /* bit 0: the lower rows have the slice, 1: the upper */
    __device__ __forceinline__ int halves(const OwnWork &p) const
    {
        uint32_t touched = left & -left;
        if (!Whole) {
            const int from = tap_of(p, k(p)), to = tap_of(p, k(p) + SPCONV_SLICE - 1);
            touched = ~0u >> (31 - min(to, 31)) & ~0u << from;
        }
        return (lower & touched ? 1 : 0) | (upper & touched ? 2 : 0);
    }
    /* false: that was the last */
    __device__ __forceinline__ bool next(const OwnWork &p)
    {
        if (Whole) {
            if (++slice * SPCONV_SLICE == p.channels) {
                slice = 0;
                left &= left - 1;
            }
            return left;
        }
        const int from = tap_of(p, k(p) + SPCONV_SLICE);
        const uint32_t rest = from > 31 ? 0 : left & ~0u << from;
        if (rest)
            slice = max(slice + 1, (__ffs(rest) - 1) * p.channels / SPCONV_SLICE);
        return rest;
    }
};

/* Where a lane's pieces of a slice come from: partners of its rows, NULL where it has none, and
 * what they are rows from.  Whole: never NULL, and not to be used where the half has no slice. */
struct OwnFrom {
    const int4 *partner;
    const char *x;
};

template <bool Whole, int Bytes>
static __device__ __forceinline__ OwnFrom own_from(const OwnWork &p, const OwnWalk<Whole> &walk,
                                                   int tile, int my_row, int half)
{
    const int piece = (int)(threadIdx.x % OwnPiece<Bytes>::PIECES * (Bytes / 2));
    const int k = walk.k(p) + piece;
    const int tap = Whole ? walk.first() : walk.tap_of(p, k);
    const uint32_t present = half ? walk.upper : walk.lower;
    OwnFrom from = { NULL, (const char *)p.io.x };
    from.x += Whole ? (walk.slice * SPCONV_SLICE + piece) * 2 : (k - tap * p.channels) * 2;
    if (Whole || (tap < 32 && present >> tap & 1))
        from.partner = (const int4 *)(p.plan.index + my_row +
                                      (uint32_t)((tile * p.plan.taps + tap) * SPCONV_TILE));
    return from;
}

template <bool Whole>
static __device__ __forceinline__ int4 own_partners(const int4 *partner, int i)
{
    return Whole || partner ? __ldg(partner + i) : make_int4(-1, -1, -1, -1);
}

/* Row i of the lane's; `to` is its piece of its first, a multiple of 1024 but for the piece. */
template <int Bytes>
static __device__ __forceinline__ void gather_row(const OwnWork &p, const char *x, int partner,
                                                  uint32_t to, int i)
{
    gather<Bytes>((to ^ i % 8 * 16) + i * 128, row_at(x, partner, 2 * p.io.x_step), partner >= 0);
}

template <int Columns, bool Whole, int Bytes, bool Back, class Tune>
static __device__ __forceinline__ void produce(const OwnWork &p, const CUtensorMap *w_map,
                                               const OwnRoom &room)
{
    typedef OwnShape<Columns, Tune> Shape;
    typedef OwnPiece<Bytes> Piece;
    constexpr int FOURS = Piece::ROWS / 4;
    const unsigned thread = threadIdx.x - OWN_CONSUMERS, lane = thread % 32;
    const int half = __shfl_sync(~0u, (int)thread / 64, 0);
    const int my_row = (int)(thread / 32 * 32 + lane / Piece::PIECES * Piece::ROWS);
    const uint32_t my_place = my_row * 128 + lane % Piece::PIECES * Bytes;
    const int units = __ldg(p.plan.count) * p.blocks;
    const int first_two = 2 * gridDim.x; /* of every block */
    int unit = blockIdx.x, ahead = first_two - 1 - blockIdx.x;
    OwnSlot stage = { 0, 1 };
    OwnWalk<Whole> walk;
    OwnFrom from = {};
    int4 part = {}, partner[FOURS] = {};

    auto part_of = [&](int of) {
        return __ldg((const int4 *)(p.plan.part + (p.blocks == 1 ? of : of / p.blocks)));
    };
    auto look = [&](int4 (&to)[FOURS]) {
        from = own_from<Whole, Bytes>(p, walk, part.x, my_row, half);
        if (Piece::AHEAD)
#pragma unroll
            for (int i = 0; i < FOURS; i++)
                to[i] = own_partners<Whole>(from.partner, i);
    };
    part = part_of(unit); /* known to lie in the list before its length is */
    if (unit < units) {
        walk.start(p, part);
        look(partner);
    }
    for (int turn = 0; unit < units; turn ^= 1) {
        if (thread == 0)
            room.unit[turn] = ahead;
        own_sync<OWN_PRODUCERS>(OWN_PRODUCERS_BARRIER);
        const int after = room.unit[turn];
        const int column = (p.blocks == 1 ? 0 : unit % p.blocks) * Columns;
        const int range = p.plan.splits == 1 ? 0 : part.x / p.plan.tiles;
        const int w_range = range * p.plan.taps * (Back ? p.columns : p.channels);
        int4 part_after = {};
        if (after < units) {
            part_after = part_of(after);
            if (thread == 0)
                ahead = units > first_two ? first_two + atomicAdd(p.counters, 1) : units;
        }
        for (bool more = true; more;) {
            const uint32_t full = room.full + 8 * stage.index;
            const uint32_t a = room.ring + stage.index * Shape::STAGE;
            const int halves = walk.halves(p), w_column = Back ? walk.slice * SPCONV_SLICE : column;
            const int w_row = w_range + (Back ? walk.first() * p.columns + column : walk.k(p));
            const OwnFrom here = from;
            int4 next[FOURS] = {};
            more = walk.next(p);
            if (!more && after < units) {
                part = part_after;
                walk.start(p, part);
            }
            if (more || after < units)
                look(next);
            mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
            if (thread == 0) {
                room.note[stage.index] = unit << OWN_NOTE_BITS | halves |
                                         (more ? 0 : (int)OWN_LAST);
                if (halves) {
                    mbarrier_expect(full, Shape::B_BYTES);
#pragma unroll
                    for (int box = 0; box < Shape::B_BYTES / 8192; box++)
                        bulk_copy_box(a + OWN_A_BYTES + box * 8192, w_map,
                                      w_column + (Back ? 0 : box * 64),
                                      w_row + (Back ? box * 64 : 0), full);
                } else {
                    mbarrier_arrive(full);
                }
            }
            if (halves >> half & 1) {
#pragma unroll(Piece::AHEAD ? FOURS : 2)
                for (int i = 0; i < FOURS; i++) {
                    const int4 j = Piece::AHEAD ? partner[i] : own_partners<Whole>(here.partner, i);
                    gather_row<Bytes>(p, here.x, j.x, a + my_place, 4 * i);
                    gather_row<Bytes>(p, here.x, j.y, a + my_place, 4 * i + 1);
                    gather_row<Bytes>(p, here.x, j.z, a + my_place, 4 * i + 2);
                    gather_row<Bytes>(p, here.x, j.w, a + my_place, 4 * i + 3);
                }
            }
            arrive_with_copies(full);
            stage.next(Shape::STAGES);
#pragma unroll
            for (int i = 0; i < FOURS; i++)
                partner[i] = next[i];
        }
        unit = after;
    }
    mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
    if (thread == 0)
        room.note[stage.index] = -1;
    arrive_with_copies(room.full + 8 * stage.index);
    if (thread == 0)
        mbarrier_arrive(room.full + 8 * stage.index);
}

/* ---- consumers ---- */

template <int Columns, bool Back, class Tune, bool Masked>
static __device__ __forceinline__ void consume(const OwnWork &p, const OwnRoom &room)
{
    typedef OwnShape<Columns, Tune> Shape;
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int warpgroup = warp / 4;
    const int my_row = warp * 16 + lane / 4;
    OwnSlot stage = { 0, 0 };
    const bool at_once = p.plan.splits == 1 && __ldg(p.plan.count) * p.blocks <= (int)gridDim.x;
    float sum[Columns / 2];

    auto release = [&](int index) {
        __syncwarp();
        if (lane == 0)
            mbarrier_arrive(room.empty + 8 * index);
    };
    for (;;) {
        int note, block = 0, row0 = 0, row1 = 0;
        int4 part = {};
        bool first = true, any = false;
        do {
            mbarrier_wait(room.full + 8 * stage.index, stage.parity);
            note = __shfl_sync(~0u, *(volatile int *)(room.note + stage.index), 0);
            if (note < 0)
                return;
            if (first) { /* on their way while the products run */
                const int unit = note >> OWN_NOTE_BITS;
                const int at = p.blocks == 1 ? unit : unit / p.blocks;
                block = unit - at * p.blocks;
                part = __ldg((const int4 *)(p.plan.part + at));
                const int32_t *row = p.plan.row + (size_t)part.x * SPCONV_TILE + my_row;
                row0 = __ldg(row);
                row1 = __ldg(row + 8);
                first = false;
            }
            /* each warpgroup waits for its own products: the other's run meanwhile */
            if (note >> warpgroup & 1) {
                const uint32_t a = room.ring + stage.index * Shape::STAGE + warpgroup * 64 * 128;
                const uint32_t b = room.ring + stage.index * Shape::STAGE + OWN_A_BYTES;
                wgmma_see_writes();
                wgmma_fence();
#pragma unroll
                for (int step = 0; step < 4; step++)
                    wgmma_smem<0, !Back>(sum, wgmma_operand(a) + step * 2,
                                         Back ? wgmma_operand(b) + step * 2
                                              : wgmma_operand_trans(b, 8192) + step * 128,
                                         any || step);
                wgmma_commit();
                wgmma_wait<0>();
                any = true;
            }
            release(stage.index);
            stage.next(Shape::STAGES);
        } while (!(note & OWN_LAST));
        if (!any)
#pragma unroll
            for (int i = 0; i < Columns / 2; i++)
                sum[i] = 0;
        if (at_once && part.w >> OWN_PARTS != 1)
            own_share<Columns, Masked>(p, sum, part.w, block, row0, row1, warpgroup);
        else if (own_join<Columns>(p, sum, part.w, block, warpgroup))
            finish_tile<Columns, Masked>(p, sum, part.x, block, row0, row1, warpgroup);
    }
}

/* ---- the kernel ---- */

/* Masked: a kernel of its own, so that the others keep their registers. */
template <int Columns, bool Whole, int Bytes, bool Back, class Tune, bool Masked>
static __global__ __launch_bounds__(OWN_THREADS, OwnShape<Columns, Tune>::BLOCKS) void own_spconv(
    const __grid_constant__ CUtensorMap w_map, const __grid_constant__ OwnWork p)
{
    typedef OwnShape<Columns, Tune> Shape;
    extern __shared__ __align__(1024) unsigned char shared[];
    OwnRoom room;
    room.ring = (shared_address(shared) + 1023) & ~1023u;
    unsigned char *end = shared + (room.ring - shared_address(shared)) +
                         Shape::STAGES * Shape::STAGE;
    room.full = shared_address(end);
    room.empty = room.full + 8 * OWN_STAGES_MAX;
    room.note = (int *)(end + 16 * OWN_STAGES_MAX);
    room.unit = room.note + OWN_STAGES_MAX;
    if (threadIdx.x == OWN_CONSUMERS) {
        tma_map_fetch(&w_map);
        for (int i = 0; i < Shape::STAGES; i++) {
            mbarrier_init(room.full + 8 * i, OWN_PRODUCERS + 1);
            mbarrier_init(room.empty + 8 * i, OWN_CONSUMERS / 32);
        }
        mbarrier_init_done();
    }
    __syncthreads();
    let_next_start();
    wait_for_previous();

    if (threadIdx.x >= OWN_CONSUMERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        produce<Columns, Whole, Bytes, Back, Tune>(p, &w_map, room);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Shape::REGISTERS));
        consume<Columns, Back, Tune, Masked>(p, room);
    }
    /* where the counters count anything the last block to end clears them for the next launch */
    if (p.plan.splits == 1 && __ldg(p.plan.count) * p.blocks <= 2 * (int)gridDim.x)
        return;
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(p.counters + 2, 1) == (int)gridDim.x - 1) {
        p.counters[0] = p.counters[1] = p.counters[2] = 0;
        __threadfence();
    }
}

#endif

/*
 * own.cuh - implicit GEMM of sparse convolution for Hopper: half operands, float sums.
 *
 * Bound by fetching rows of X and W from the L2 cache, at wide channels by the tensor
 * cores.  A tile has 128 rows of the result and all its columns (256 at most), so that a
 * row of X is fetched once for a tap; rows are ordered so that those of a tile have the
 * same taps (plan.h), and what is absent from 64 rows is neither fetched nor multiplied
 * for them.
 *
 *   warps    0-3 and 4-7   consumers: 64 rows each, all columns of the tile
 *            8-9 or 8-11   producers: thread 0 starts the copies of W, all gather rows
 *
 *   ring     stage = one slice, 64 of the taps x channels of a range of taps:
 *              A [128 rows][64]               gathered, 16 bytes (8 or 4) a copy
 *              B [columns / 64][64 of k][64]  a box of W each, by the bulk copy engine
 *            both in rows of 128 bytes in the 128-byte swizzle; absent rows are zeros
 *            full:  arrivals of every producer's copies and of thread 0
 *            empty: 8 arrivals, a warp of the consumers each
 *
 *   note     of a stage, written before thread 0 arrives:
 *              bits 0, 1  the lower, upper 64 rows have the slice   2  last of its unit
 *              bits 3-31  unit: tile (or part) x column blocks + block;  -1: there is no more
 *
 * Slices of fewer than 64 channels hold several taps, so that narrow layers fill the
 * products.  Units are taken from a counter, the most expensive first.
 *
 * With several ranges of taps sums are passed on in float: a unit of a range waits, with
 * its sums done, until all of the range before have stored theirs.  Units of earlier
 * ranges are taken earlier, so it waits only for blocks that are running.
 */
#ifndef KERNELS_SPCONV_OWN_CUH
#define KERNELS_SPCONV_OWN_CUH

#include <cuda_fp16.h>

#include "../common/tma.cuh"
#include "../common/wgmma_smem.cuh"
#include "own_finish.cuh"
#include "own_ring.cuh"
#include "plan.h"

constexpr int OWN_CONSUMERS = 256; /* threads */
constexpr int OWN_STAGES_MAX = 8;
constexpr int OWN_A_BYTES = SPCONV_TILE * 128;

/* Thread blocks on a multiprocessor and threads that gather, for so many columns of a tile. */
template <int Columns> struct OwnTune {
    static constexpr int BLOCKS = Columns <= 128 && Columns != 96 ? 2 : 1; /* 96 would spill */
    static constexpr int PRODUCERS = BLOCKS == 2 ? 64 : 128;
    static constexpr bool PARTS = false; /* units are tiles */
};

/* Ring and threads.  A whole warpgroup of producers gives registers to consumers. */
template <int Columns, class Tune = OwnTune<Columns>> struct OwnShape {
    static constexpr int BLOCKS = Tune::BLOCKS;
    static constexpr int B_BYTES = (Columns + 63) / 64 * 64 * 128;
    static constexpr int STAGE = OWN_A_BYTES + B_BYTES;
    static constexpr int STAGES = (BLOCKS == 2 ? 100 : 200) * 1024 / STAGE;
    static constexpr int BYTES = STAGES * STAGE + 1024 + 256;
    static constexpr int PRODUCERS = Tune::PRODUCERS;
    static constexpr int REGISTERS = PRODUCERS < 128 ? 0 : BLOCKS == 1 ? 224 : 88; /* 0: as given */
    static constexpr int THREADS = OWN_CONSUMERS + PRODUCERS;
    static constexpr int ROWS = SPCONV_TILE / (PRODUCERS / 32); /* a warp gathers */
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

/* The warp's rows of X for one slice; index and a begin with its first row.  Whole: a slice
 * lies within one tap, whose partners of rows lane, lane + 32 the caller has.  Else pieces of
 * so many bytes, each of its own tap. */
template <bool Whole, int Bytes, int Rows>
static __device__ __forceinline__ void gather_rows(const OwnWork &p, const int32_t *index,
                                                   int slice, uint32_t present,
                                                   const int (&partner)[Rows / 32], uint32_t a)
{
    constexpr int PIECES = 128 / Bytes, AT_ONCE = 32 / PIECES; /* of a row; rows */
    const int lane = threadIdx.x % 32;
    const int piece = lane % PIECES, k = slice * SPCONV_SLICE + piece * Bytes / 2;
    const int tap = k / p.channels, channel = k - tap * p.channels;
    const half *x = (const half *)p.io.x + channel;
    const bool exists = Whole || (tap < p.plan.taps && present >> tap & 1);
    index += (size_t)tap * SPCONV_TILE;
#pragma unroll
    for (int set = 0; set < Rows / 32; set++) {
#pragma unroll 4
        for (int first = 0; first < 32; first += AT_ONCE) {
            const int row = set * 32 + first + lane / PIECES;
            const int j = Whole    ? __shfl_sync(~0u, partner[set], row % 32)
                          : exists ? __ldg(index + row)
                                   : -1;
            const uint32_t to = a + row * 128 + (piece * Bytes ^ row % 8 * 16);
            gather<Bytes>(to, j < 0 ? p.io.x : x + (size_t)j * p.io.x_step, j >= 0);
        }
    }
}

/* The slices of a tile one after another; one that no row has where there is none. */
template <bool Whole> struct OwnWalk {
    uint32_t lower, upper, left; /* taps of the lower and upper 64 rows; Whole: still to come */
    int slice, channels, taps;

    __device__ __forceinline__ OwnWalk(const OwnWork &p, int tile, uint32_t taken)
        : lower(__ldg(p.plan.mask + 2 * tile) & taken),
          upper(__ldg(p.plan.mask + 2 * tile + 1) & taken), left(lower | upper), channels(p.channels), taps(p.plan.taps)
    {
        if (Whole)
            slice = left ? (__ffs(left) - 1) * (channels / SPCONV_SLICE) : 0;
        else
            slice = left ? spconv_slice_from(0, left, channels, taps) : 0;
    }
    __device__ __forceinline__ int tap() const { return slice * SPCONV_SLICE / channels; }
    /* bit 0: the lower rows have the slice, 1: the upper */
    __device__ __forceinline__ int halves() const
    {
        const uint32_t touched = Whole ? 1u << tap() : spconv_slice_taps(slice, channels, taps);
        return (lower & touched ? 1 : 0) | (upper & touched ? 2 : 0);
    }
    /* false: that was the last */
    __device__ __forceinline__ bool next()
    {
        if (!Whole) {
            slice = spconv_slice_from(slice + 1, left, channels, taps);
            return left && slice < spconv_slices(channels, taps);
        }
        const int of_tap = channels / SPCONV_SLICE;
        if (++slice % of_tap == 0) {
            left &= left - 1;
            slice = (__ffs(left) - 1) * of_tap;
        }
        return left;
    }
};

template <int Columns, bool Whole, int Bytes, class Tune>
static __device__ __forceinline__ void produce(const OwnWork &p, const CUtensorMap *w_map,
                                               const OwnRoom &room)
{
    typedef OwnShape<Columns, Tune> Shape;
    constexpr int RPL = Shape::ROWS / 32; /* rows of a lane */
    const int thread = threadIdx.x - OWN_CONSUMERS, lane = thread % 32;
    const int my_rows = __shfl_sync(~0u, thread / 32, 0) * Shape::ROWS;
    const int units = (Tune::PARTS ? __ldg(p.parts.count) : p.plan.splits * p.plan.tiles) * p.blocks;
    OwnSlot stage = { 0, 1 };
    int ahead = blockIdx.x;

    for (int turn = 0;; turn ^= 1) {
        if (thread == 0)
            room.unit[turn] = ahead;
        own_sync<Shape::PRODUCERS>(OWN_PRODUCERS_BARRIER);
        const int unit = room.unit[turn];
        if (unit >= units)
            break;
        if (thread == 0)
            ahead = gridDim.x + atomicAdd(p.counters, 1);
        const int block = unit % p.blocks;
        const int2 part = Tune::PARTS ? __ldg((const int2 *)(p.parts.part + unit / p.blocks))
                                      : make_int2(__ldg(p.plan.schedule + unit / p.blocks), ~0);
        const int tile = part.x, named = Tune::PARTS ? unit : tile * p.blocks + block;
        const int32_t *index = p.plan.index + (size_t)tile * p.plan.taps * SPCONV_TILE + my_rows;
        const int w_row = tile / p.plan.tiles * p.plan.taps * p.channels;
        OwnWalk<Whole> walk(p, tile, (uint32_t)part.y);
        const uint32_t present = walk.left;
        int partner[RPL] = {};
        bool more = true;

        /* the partners of this lane's rows where slices are whole */
        auto fetch = [&](int (&to)[RPL]) {
            if (Whole && present)
#pragma unroll
                for (int i = 0; i < RPL; i++)
                    to[i] = __ldg(index + walk.tap() * SPCONV_TILE + i * 32 + lane);
        };
        fetch(partner);
        while (more) {
            const uint32_t full = room.full + 8 * stage.index;
            const uint32_t a = room.ring + stage.index * Shape::STAGE;
            const int slice = walk.slice, halves = walk.halves();
            int next[RPL] = {};
            more = walk.next();
            if (more)
                fetch(next);
            mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
            if (thread == 0) {
                room.note[stage.index] = named << OWN_NOTE_BITS | halves |
                                         (more ? 0 : (int)OWN_LAST);
                mbarrier_expect(full, Shape::B_BYTES);
#pragma unroll
                for (int box = 0; box < Shape::B_BYTES / 8192; box++)
                    bulk_copy_box(a + OWN_A_BYTES + box * 8192, w_map, block * Columns + box * 64,
                                  w_row + slice * SPCONV_SLICE, full);
            }
            if (halves & (my_rows < SPCONV_TILE / 2 ? 1 : 2))
                gather_rows<Whole, Bytes, Shape::ROWS>(p, index, slice, present, partner,
                                                       a + my_rows * 128);
            arrive_with_copies(full);
            stage.next(Shape::STAGES);
#pragma unroll
            for (int i = 0; i < RPL; i++)
                partner[i] = next[i];
        }
    }
    mbarrier_wait(room.empty + 8 * stage.index, stage.parity);
    if (thread == 0)
        room.note[stage.index] = -1;
    arrive_with_copies(room.full + 8 * stage.index);
    if (thread == 0)
        mbarrier_arrive(room.full + 8 * stage.index);
}

/* ---- consumers ---- */

template <int Columns, class Tune>
static __device__ __forceinline__ void consume(const OwnWork &p, const OwnRoom &room)
{
    typedef OwnShape<Columns, Tune> Shape;
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int warpgroup = warp / 4;
    const int my_row = warp * 16 + lane / 4;
    OwnSlot stage = { 0, 0 };
    float sum[Columns / 2];

    auto release = [&](int index) {
        __syncwarp();
        if (lane == 0)
            mbarrier_arrive(room.empty + 8 * index);
    };
    for (;;) {
        int note, unit = 0, row0 = 0, row1 = 0;
        int4 part = {};
        bool first = true, any = false;
        do {
            mbarrier_wait(room.full + 8 * stage.index, stage.parity);
            note = __shfl_sync(~0u, *(volatile int *)(room.note + stage.index), 0);
            if (note < 0)
                return;
            if (first) { /* on their way while the products run */
                unit = note >> OWN_NOTE_BITS;
                if constexpr (Tune::PARTS) {
                    part = __ldg((const int4 *)(p.parts.part + unit / p.blocks));
                    unit = part.x * p.blocks + unit % p.blocks;
                }
                const int32_t *row = p.plan.row + (size_t)(unit / p.blocks) * SPCONV_TILE + my_row;
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
                    wgmma_smem<0, 1>(sum, wgmma_operand(a) + step * 2,
                                     wgmma_operand_trans(b, 8192) + step * 128, any || step);
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
        if constexpr (Tune::PARTS)
            if (!own_join<Columns>(p, sum, part, unit % p.blocks, warpgroup))
                continue;
        finish_unit<Columns>(p, sum, unit, row0, row1, warpgroup);
    }
}

/* ---- the kernel ---- */

template <int Columns, bool Whole, int Bytes, class Tune>
static __global__ __launch_bounds__(OwnShape<Columns, Tune>::THREADS,
                                    OwnShape<Columns, Tune>::BLOCKS) void own_spconv(
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
        for (int i = 0; i < Shape::STAGES; i++) {
            mbarrier_init(room.full + 8 * i, Shape::PRODUCERS + 1);
            mbarrier_init(room.empty + 8 * i, OWN_CONSUMERS / 32);
        }
        mbarrier_init_done();
    }
    __syncthreads();

    if (threadIdx.x >= OWN_CONSUMERS) {
        if constexpr (Shape::REGISTERS)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        produce<Columns, Whole, Bytes, Tune>(p, &w_map, room);
    } else {
        if constexpr (Shape::REGISTERS)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Shape::REGISTERS));
        consume<Columns, Tune>(p, room);
    }
    /* the last block to end clears the counters for the next launch */
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(p.counters + 2, 1) == (int)gridDim.x - 1) {
        p.counters[0] = p.counters[1] = p.counters[2] = 0;
        __threadfence();
    }
}

#endif

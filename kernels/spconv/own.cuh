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
 *              bits 3-31  unit: tile x column blocks + block;  -1: there is no more
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
#include "own_layer.h"
#include "own_ring.cuh"
#include "plan.h"

struct OwnWork {
    struct own_plan plan;
    struct own_layer_io io;
    float *partial;  /* [rows][columns], splits > 1 */
    int *counters;   /* next unit, stored units of all ranges, blocks that have ended; all 0 */
    int channels;    /* of x */
    int columns;     /* of y */
    int blocks;      /* of columns */
};

constexpr int OWN_CONSUMERS = 256; /* threads */
constexpr int OWN_STAGES_MAX = 8;
constexpr int OWN_A_BYTES = SPCONV_TILE * 128;

/* Columns of a tile: thread blocks on a multiprocessor, stages of a ring, and the warps that
 * gather.  A block of its own multiprocessor moves registers from four of them to consumers. */
template <int Columns> struct OwnShape {
    static constexpr int BLOCKS = Columns <= 128 && Columns != 96 ? 2 : 1; /* 96 would spill */
    static constexpr int B_BYTES = (Columns + 63) / 64 * 64 * 128;
    static constexpr int STAGE = OWN_A_BYTES + B_BYTES;
    static constexpr int STAGES = (BLOCKS == 2 ? 100 : 200) * 1024 / STAGE;
    static constexpr int BYTES = STAGES * STAGE + 1024 + 256;
    static constexpr int PRODUCERS = BLOCKS == 2 ? 64 : 128; /* threads */
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

    __device__ __forceinline__ OwnWalk(const OwnWork &p, int tile)
        : lower(__ldg(p.plan.mask + 2 * tile)), upper(__ldg(p.plan.mask + 2 * tile + 1)),
          left(lower | upper), channels(p.channels), taps(p.plan.taps)
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

template <int Columns, bool Whole, int Bytes>
static __device__ __forceinline__ void produce(const OwnWork &p, const CUtensorMap *w_map,
                                               const OwnRoom &room)
{
    typedef OwnShape<Columns> Shape;
    constexpr int RPL = Shape::ROWS / 32; /* rows of a lane */
    const int thread = threadIdx.x - OWN_CONSUMERS, lane = thread % 32;
    const int my_rows = __shfl_sync(~0u, thread / 32, 0) * Shape::ROWS;
    const int units = p.plan.splits * p.plan.tiles * p.blocks;
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
        const int tile = __ldg(p.plan.schedule + unit / p.blocks), block = unit % p.blocks;
        const int32_t *index = p.plan.index + (size_t)tile * p.plan.taps * SPCONV_TILE + my_rows;
        const int w_row = tile / p.plan.tiles * p.plan.taps * p.channels;
        OwnWalk<Whole> walk(p, tile);
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
                room.note[stage.index] = (tile * p.blocks + block) << OWN_NOTE_BITS | halves |
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

/* ---- results ---- */

/* Lane c of four has in v[b] what lane b had in v[c]. */
static __device__ __forceinline__ void transpose_quad(uint32_t (&v)[4])
{
    const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
    const uint32_t a = __shfl_xor_sync(~0u, odd ? v[0] : v[1], 1);
    const uint32_t b = __shfl_xor_sync(~0u, odd ? v[2] : v[3], 1);
    (odd ? v[0] : v[1]) = a;
    (odd ? v[2] : v[3]) = b;
    const uint32_t c = __shfl_xor_sync(~0u, high ? v[0] : v[2], 2);
    const uint32_t d = __shfl_xor_sync(~0u, high ? v[1] : v[3], 2);
    (high ? v[0] : v[2]) = c;
    (high ? v[1] : v[3]) = d;
}

static __device__ __forceinline__ uint32_t half_pair(float a, float b)
{
    const half2 pair = __floats2half2_rn(a, b);
    return *(const uint32_t *)&pair;
}

/* Bias, residual and ReLU on one of the two rows of a lane: sum[4 j + 2 Upper], [+ 1] are
 * columns 8 j + lane % 4 * 2 of the block. */
template <int Columns, int Upper>
static __device__ __forceinline__ void finish_row(const OwnWork &p, float (&sum)[Columns / 2],
                                                  int row, int first_column)
{
    const int column = first_column + threadIdx.x % 4 * 2;
    const half2 *residual = (const half2 *)((const half *)p.io.residual +
                                             (size_t)row * p.io.residual_step + column);
#pragma unroll
    for (int j = 0; j < Columns / 8; j++) {
        float *v = &sum[4 * j + 2 * Upper];
        if (p.io.bias) {
            v[0] += __ldg(p.io.bias + column + 8 * j);
            v[1] += __ldg(p.io.bias + column + 8 * j + 1);
        }
        if (p.io.residual && row >= 0) {
            const float2 r = __half22float2(residual[4 * j]);
            v[0] += r.x;
            v[1] += r.y;
        }
        if (p.io.relu) {
            v[0] = fmaxf(v[0], 0);
            v[1] = fmaxf(v[1], 0);
        }
    }
}

template <int Columns, int Upper>
static __device__ __forceinline__ void store_row(const OwnWork &p, const float (&sum)[Columns / 2],
                                                 int row, int first_column)
{
    constexpr int TOGETHER = Columns % 32 ? 2 : 4; /* blocks of eight columns */
    const int lane = threadIdx.x % 32;
    half *y = (half *)p.io.y + (size_t)row * p.io.y_step + first_column + lane % 4 * (TOGETHER == 4 ? 8 : 2);
#pragma unroll
    for (int j = 0; j < Columns / 8; j += TOGETHER) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const float *two = &sum[4 * (j + i) + 2 * Upper];
            v[i] = half_pair(two[0], two[1]);
        }
        if constexpr (TOGETHER == 4)
            transpose_quad(v);
        if (row < 0)
            continue;
        if constexpr (TOGETHER == 4) {
            *(uint4 *)(y + j * 8) = make_uint4(v[0], v[1], v[2], v[3]);
        } else {
            *(uint32_t *)(y + j * 8) = v[0];
            *(uint32_t *)(y + j * 8 + 8) = v[1];
        }
    }
}

/* Adds what earlier ranges stored, or stores for later ones. */
template <int Columns, int Upper, bool Store>
static __device__ __forceinline__ void pass_row(const OwnWork &p, float (&sum)[Columns / 2],
                                                int row, int first_column)
{
    if (row < 0)
        return;
    float2 *at = (float2 *)(p.partial + (size_t)row * p.columns + first_column +
                            threadIdx.x % 4 * 2);
#pragma unroll
    for (int j = 0; j < Columns / 8; j++) {
        float *v = &sum[4 * j + 2 * Upper];
        if (Store) {
            __stcg(at + 4 * j, make_float2(v[0], v[1]));
        } else {
            const float2 before = __ldcg(at + 4 * j);
            v[0] += before.x;
            v[1] += before.y;
        }
    }
}

template <int Columns>
static __device__ __forceinline__ void finish_unit(const OwnWork &p, float (&sum)[Columns / 2],
                                                   int unit, int row0, int row1, int warpgroup)
{
    const int split = unit / p.blocks / p.plan.tiles, first_column = unit % p.blocks * Columns;
    int *stored = p.counters + 1;
    if (split) {
        if (threadIdx.x % 128 == 0)
            while (flag_get(stored) < split * p.plan.tiles * p.blocks * 2)
                ;
        own_sync<128>(1 + warpgroup);
        pass_row<Columns, 0, false>(p, sum, row0, first_column);
        pass_row<Columns, 1, false>(p, sum, row1, first_column);
    }
    if (split + 1 < p.plan.splits) {
        pass_row<Columns, 0, true>(p, sum, row0, first_column);
        pass_row<Columns, 1, true>(p, sum, row1, first_column);
        __threadfence();
        own_sync<128>(1 + warpgroup);
        if (threadIdx.x % 128 == 0)
            atomicAdd(stored, 1);
    } else {
        if (p.io.bias || p.io.residual || p.io.relu) {
            finish_row<Columns, 0>(p, sum, row0, first_column);
            finish_row<Columns, 1>(p, sum, row1, first_column);
        }
        store_row<Columns, 0>(p, sum, row0, first_column);
        store_row<Columns, 1>(p, sum, row1, first_column);
    }
}

/* ---- consumers ---- */

template <int Columns>
static __device__ __forceinline__ void consume(const OwnWork &p, const OwnRoom &room)
{
    typedef OwnShape<Columns> Shape;
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
        int note, row0 = 0, row1 = 0;
        bool first = true, any = false;
        do {
            mbarrier_wait(room.full + 8 * stage.index, stage.parity);
            note = __shfl_sync(~0u, *(volatile int *)(room.note + stage.index), 0);
            if (note < 0)
                return;
            if (first) { /* on their way while the products run */
                const int32_t *row = p.plan.row +
                                     (size_t)((note >> OWN_NOTE_BITS) / p.blocks) * SPCONV_TILE +
                                     my_row;
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
        finish_unit<Columns>(p, sum, note >> OWN_NOTE_BITS, row0, row1, warpgroup);
    }
}

/* ---- the kernel ---- */

template <int Columns, bool Whole, int Bytes>
static __global__ __launch_bounds__(OwnShape<Columns>::THREADS, OwnShape<Columns>::BLOCKS) void own_spconv(
    const __grid_constant__ CUtensorMap w_map, const __grid_constant__ OwnWork p)
{
    typedef OwnShape<Columns> Shape;
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
        if constexpr (Shape::BLOCKS == 1)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        produce<Columns, Whole, Bytes>(p, &w_map, room);
    } else {
        if constexpr (Shape::BLOCKS == 1)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        consume<Columns>(p, room);
    }
    /* the last block to end clears the counters for the next launch */
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(p.counters + 2, 1) == (int)gridDim.x - 1) {
        p.counters[0] = p.counters[1] = p.counters[2] = 0;
        __threadfence();
    }
}

#endif

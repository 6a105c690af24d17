/*
 * w4a8_strips.cuh - Y = X W^T for up to 8 tokens: 8-bit X, 4-bit W per channel or of progressive
 * groups (compute capability 9.0).
 *
 * Bound by reading W once, and where W is small by how long a launch takes to end after the
 * next one might have begun.  The product is taken transposed, as w4a8_portable.cuh does.
 *
 *   block    2 to 16 strips of 16 channels by all tokens, all of k
 *   warps    across: a strip each; behind: every so-many-th group of k, added up in shared
 *            memory at the end; and one, of which a thread starts all copies
 *   ring     stage = a group of W for each of the warps behind one another
 *   X        all of it, [m][k] with 16 more bytes a row
 *
 * Scales of groups act on sums: all of a block's lie in shared memory, and what shifts add is there
 * before X is: it needs the sums of X alone.  In the loop a group's sums are scaled while the next
 * one's codes are on their way.
 *
 * W needs nothing of the launch before, so that the ring fills while that one ends.
 */
#ifndef KERNELS_GEMM_W4A8_STRIPS_CUH
#define KERNELS_GEMM_W4A8_STRIPS_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "mma.cuh"
#include "qserve_mma.cuh"
#include "w4a8_device.cuh"
#include "w4a8_strips.h"

struct W4A8Strips : W4A8Operands {
    const signed char *x;
    int k;
    int strips; /* of W, whole 256 channels */
    int stages;
    /* per group only: shifts of W, sums of X [m][groups] */
    const unsigned char *shifts;
    const int *group_sum;
};

template <int Across, bool Grouped> struct StripsForm {
    static constexpr bool GROUPED = Grouped;
    static constexpr int ACROSS = Across;
    static constexpr int BEHIND = Across == 2 ? 8 : Across <= 4 ? 4 : Across <= 8 ? 2 : 1;
    static constexpr int WARPS = Across * BEHIND, CONSUMERS = WARPS * 32, THREADS = CONSUMERS + 32;
    static constexpr int CODES = Across * W4A8_CODES, STAGE = BEHIND * CODES;
    static constexpr int SUMS = WARPS * 512;
};

/* Shared memory behind the ring. */
template <class Form> struct StripsRoom {
    unsigned char *ring, *sums, *pairs, *x;
    uint32_t full, empty, x_full;
    __device__ __forceinline__ StripsRoom(unsigned char *shared, const W4A8Strips &p)
        : ring(shared), sums(shared + p.stages * Form::STAGE),
          pairs(sums + Form::SUMS + 16 * W4A8_STRIPS_STAGES + 16),
          x(pairs + w4a8_strips_pairs(p.k, Form::ACROSS, Form::GROUPED)),
          full(shared_address(sums + Form::SUMS)), empty(full + 8 * W4A8_STRIPS_STAGES),
          x_full(empty + 8 * W4A8_STRIPS_STAGES)
    {
    }
};

/* ---- producer ---- */

/* The groups of a stage: strips that lie together take one copy. */
template <class Form>
static __device__ __forceinline__ void load_stage(const W4A8Strips &p, uint32_t to, uint32_t full,
                                                  int first)
{
    constexpr int Across = Form::ACROSS;
    const int strip = blockIdx.x * Across, there = min(Across, p.strips - strip);
    const int near = min(there, W4A8_NEAR - strip % W4A8_NEAR);
    const int here = min(Form::BEHIND, p.groups - first);
    const uint64_t policy = l2_evict_first();
    mbarrier_expect(full, here * there * W4A8_CODES);
    for (int i = 0; i < here; i++) {
        const size_t at = w4a8_strip_at(strip, first + i, p.groups);
        const size_t beyond = w4a8_strip_at(strip + near, first + i, p.groups);
        const uint32_t codes = to + i * Form::CODES;
        bulk_copy(codes, p.packed + at * W4A8_CODES, near * W4A8_CODES, full, policy);
        if (near < there)
            bulk_copy(codes + near * W4A8_CODES, p.packed + beyond * W4A8_CODES,
                      (there - near) * W4A8_CODES, full, policy);
    }
}

/* Scales of all groups: bytes that x_full waits for. */
template <class Form>
static __device__ __forceinline__ int pair_bytes(const W4A8Strips &p)
{
    const int there = min(Form::ACROSS, p.strips - (int)blockIdx.x * Form::ACROSS);
    return w4a8_strips_pairs(p.k, there, Form::GROUPED);
}

/* W of the first stages, as far as the ring goes; needs only barriers that the caller has made. */
template <class Form>
static __device__ __forceinline__ void
fill_ring(const W4A8Strips &p, const StripsRoom<Form> &room, int ahead)
{
    if constexpr (Form::GROUPED)
        bulk_copy(shared_address(room.pairs),
                  p.packed + p.code_bytes +
                      w4a8_pairs_at(blockIdx.x * Form::ACROSS, 0, p.groups),
                  pair_bytes<Form>(p), room.x_full, l2_evict_first());
    for (int i = 0; i < ahead; i++)
        load_stage<Form>(p, shared_address(room.ring) + i * Form::STAGE,
                                    room.full + 8 * i, i * Form::BEHIND);
}

/* X and the further stages. */
template <class Form>
static __device__ __forceinline__ void
go_on(const W4A8Strips &p, const StripsRoom<Form> &room, int ahead,
      int rounds)
{
    wait_for_previous();
    mbarrier_expect(room.x_full, p.m * p.k + pair_bytes<Form>(p));
    for (int i = 0; i < p.m; i++)
        bulk_copy(shared_address(room.x) + i * w4a8_strips_stride(p.k), p.x + (size_t)i * p.k, p.k,
                  room.x_full);
    int slot = 0;
    unsigned parity = 0;
    for (int i = ahead; i < rounds; i++) {
        mbarrier_wait(room.empty + 8 * slot, parity);
        load_stage<Form>(p, shared_address(room.ring) + slot * Form::STAGE,
                                    room.full + 8 * slot, i * Form::BEHIND);
        if (++slot == p.stages)
            slot = 0, parity ^= 1;
    }
}

/* ---- consumers ---- */

/* Products of a strip and group, of whose scales nothing is made; x: this lane's row of the group.
 * Two chains of sums. */
template <bool Grouped, class Stages>
static __device__ __forceinline__ void multiply_strip(const uint4 (&codes)[2], uint32_t scales,
                                                      const unsigned char *x, int (&sum)[2][4])
{
#pragma unroll
    for (int block = 0; block < 2; block++) {
        const uint32_t word[4] = { codes[block].x, codes[block].y, codes[block].z, codes[block].w };
        uint32_t a[2][4], b[4];
#pragma unroll
        for (int step = 0; step < 2; step++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[step][i] =
                    Stages::DEQUANT ? weights<false>(word[2 * step + i / 2], i % 2, {}) : word[i];
        if constexpr (Grouped) /* or nothing would load them */
            a[0][0] ^= scales;
        if constexpr (Stages::MMA) {
            ldmatrix(b, x + block * 64);
            mma_u8(sum[block], a[0], b[0], b[1]);
            mma_u8(sum[block], a[1], b[2], b[3]);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[block][i] ^= (int)(Stages::DEQUANT ? a[0][i] ^ a[1][i] : a[0][i]);
        }
    }
}

/* The same for sums that are scaled: one chain. */
template <class Stages>
static __device__ __forceinline__ void multiply_codes(const uint4 (&codes)[2],
                                                      uint32_t x, int (&part)[4])
{
#pragma unroll
    for (int block = 0; block < 2; block++) {
        const uint32_t word[4] = { codes[block].x, codes[block].y, codes[block].z, codes[block].w };
        uint32_t b[4];
        if constexpr (Stages::MMA)
            ldmatrix(b, x + block * 64);
#pragma unroll
        for (int step = 0; step < 2; step++) {
            const bool first = !block && !step;
            uint32_t a[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[i] = weights<false>(word[2 * step + i / 2], i % 2, {});
            if constexpr (!Stages::MMA) {
#pragma unroll
                for (int i = 0; i < 4; i++)
                    part[i] = (first ? 0 : part[i]) ^ (int)a[i];
            } else if (first) {
                mma_u8_first(part, a, b[0], b[1]);
            } else {
                mma_u8(part, a, b[2 * step], b[2 * step + 1]);
            }
        }
    }
}

/* An address that the loop keeps in a register instead of working it out again. */
static __device__ __forceinline__ uint32_t kept(uint32_t address)
{
    asm volatile("" : "+r"(address));
    return address;
}

/* pair: scales of rows r and r+8 */
static __device__ __forceinline__ void add_group(const int (&part)[4], uint32_t pair, int (&sum)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[i] = w4a8_add_scaled(sum[i], i < 2 ? part[i] : w4a8_part_high(part[i]),
                                 i < 2 ? pair & 0xff : pair >> 8);
}

/* What a lane needs of 32 groups' shifts: bytes of A. */
static __device__ __forceinline__ uint4 fetch_shifts(const W4A8Strips &p, int strip, int chunk,
                                                     int lane)
{
    const int chunks = w4a8_chunks(p.groups);
    if (strip >= p.strips || chunk >= chunks)
        return make_uint4(0, 0, 0, 0);
    return __ldg((const uint4 *)(p.shifts + ((size_t)strip * chunks + chunk) * W4A8_SHIFTS) + lane);
}

/* Adds shifts times sums of X, of 32 groups. */
static __device__ __forceinline__ void add_shifts(const W4A8Strips &p, uint4 shifts, int chunk,
                                                  int lane, int (&sum)[4])
{
    const uint32_t a[4] = { shifts.x, shifts.y, shifts.z, shifts.w };
    const int token = lane / 4, first = chunk * W4A8_CHUNK + lane % 4 * 4;
    uint32_t low[2] = { 0, 0 }, high[2] = { 0, 0 };
#pragma unroll
    for (int i = 0; i < 8; i++) { /* bytes of B, in the order of A's */
        const int group = first + i / 4 * 16 + i % 4;
        const int v = token < p.m && group < p.groups
                          ? p.group_sum[(size_t)token * p.groups + group]
                          : 0;
        low[i / 4] |= w4a8_sum_low(v) << 8 * (i % 4);
        high[i / 4] |= w4a8_sum_high(v) << 8 * (i % 4);
    }
    int of[4];
    mma_u8_first(of, a, high[0], high[1]);
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[i] = w4a8_add_scaled(sum[i], of[i], 256);
    mma_u8(sum, a, low[0], low[1]);
}

template <class Form, class Stages>
static __device__ __forceinline__ void consume(const W4A8Strips &p, const StripsRoom<Form> &room,
                                               int rounds)
{
    constexpr int Across = Form::ACROSS;
    constexpr bool Grouped = Form::GROUPED;
    constexpr bool SCALED = Grouped && Stages::DEQUANT;
    constexpr bool FIXED = !Stages::LOAD && !Stages::DEQUANT; /* the same codes throughout */
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int across = warp % Across, behind = warp / Across, strip = blockIdx.x * Across + across;
    const int channel = strip * W4A8_STRIP;
    const unsigned char *codes_at = room.ring + behind * Form::CODES + across * W4A8_CODES + lane * 16;
    const unsigned char *pairs_at = room.pairs + w4a8_pairs_at(across, 0, p.groups) + lane / 4 * 2;
    /* tokens that are not there: any, their sums are not written */
    const unsigned char *x = room.x + min(lane % 8, p.m - 1) * w4a8_strips_stride(p.k) +
                             lane / 8 * 16;
    const uint32_t low = fetch_channel<Grouped>(p, channel + lane / 4);
    const uint32_t high = fetch_channel<Grouped>(p, channel + lane / 4 + 8);
    uint4 shifts;
    if constexpr (Grouped)
        shifts = fetch_shifts(p, strip, behind, lane);
    wait_for_previous();
    W4A8Token token[2];
    for (int i = 0; i < 2; i++)
        token[i] = load_token<Grouped>(p, lane % 4 * 2 + i);
    int sum[2][4] = {}, part[4] = {}, slot = 0;
    if constexpr (Grouped)
        for (int chunk = behind; chunk < w4a8_chunks(p.groups); chunk += Form::BEHIND) {
            if constexpr (SCALED)
                add_shifts(p, shifts, chunk, lane, sum[0]);
            else /* or nothing would load them */
                sum[0][0] ^= (int)(shifts.x ^ shifts.y ^ shifts.z ^ shifts.w);
            shifts = fetch_shifts(p, strip, chunk + Form::BEHIND, lane);
        }
    if constexpr (Stages::LOAD)
        mbarrier_wait(room.x_full, 0);

    unsigned parity = 0;
    uint4 codes[2];
    uint32_t scales = 0;
    auto fetch = [&](int at) {
        codes[0] = *(const uint4 *)(codes_at + at * Form::STAGE);
        codes[1] = *(const uint4 *)(codes_at + at * Form::STAGE + 512);
    };
    auto release = [&] {
        if constexpr (Stages::LOAD) {
            __syncwarp();
            if (lane == 0)
                mbarrier_arrive(room.empty + 8 * slot);
        }
        if (++slot == p.stages)
            slot = 0, parity ^= 1;
    };
    if constexpr (FIXED)
        fetch(0);
    if constexpr (SCALED) {
        const uint32_t codes_from = kept(shared_address(codes_at));
        uint32_t pairs_from = kept(shared_address(pairs_at) + behind * W4A8_PAIRS);
        uint32_t x_from = kept(shared_address(x) + behind * W4A8_GROUP);
        /* the last stage, if it has nothing for this warp, is freed for nobody */
        for (int left = (p.groups - behind + Form::BEHIND - 1) / Form::BEHIND; left > 0; left--) {
            if constexpr (Stages::LOAD)
                mbarrier_wait(room.full + 8 * slot, parity);
            codes[0] = reload(codes_from + slot * Form::STAGE);
            codes[1] = reload(codes_from + slot * Form::STAGE + 512);
            add_group(part, scales, sum[0]); /* of the group before */
            multiply_codes<Stages>(codes, x_from, part);
            scales = reload_pair(pairs_from);
            pairs_from += Form::BEHIND * W4A8_PAIRS;
            x_from += Form::BEHIND * W4A8_GROUP;
            release();
        }
        add_group(part, scales, sum[0]);
    } else {
        for (int i = 0; i < rounds; i++) {
            const int group = i * Form::BEHIND + behind;
            if constexpr (Stages::LOAD)
                mbarrier_wait(room.full + 8 * slot, parity);
            if (group < p.groups) {
                if constexpr (!FIXED)
                    fetch(slot);
                if constexpr (Grouped)
                    scales = *(const uint16_t *)(pairs_at + group * W4A8_PAIRS);
                multiply_strip<Grouped, Stages>(codes, scales, x + group * W4A8_GROUP, sum);
            }
            release();
        }
    }
    int4 v = make_int4(sum[0][0] + sum[1][0], sum[0][1] + sum[1][1], sum[0][2] + sum[1][2],
                       sum[0][3] + sum[1][3]);
    if constexpr (Form::BEHIND > 1) {
        int4 *sums = (int4 *)room.sums; /* [behind][across][32 lanes] */
        sums[warp * 32 + lane] = v;
        asm volatile("bar.sync 1, %0;" ::"n"(Form::CONSUMERS) : "memory");
        if (behind)
            return;
#pragma unroll
        for (int b = 1; b < Form::BEHIND; b++) {
            const int4 other = sums[(b * Across + across) * 32 + lane];
            v = make_int4(v.x + other.x, v.y + other.y, v.z + other.z, v.w + other.w);
        }
    }
    store_strip<Grouped>(p, channel, 0, lane, v, channel_of<Grouped>(low, false),
                         channel_of<Grouped>(high, true), token);
}

/* ---- the kernel ---- */

/* Grid: tiles of channels. */
template <int Across, bool Grouped, class Stages>
static __global__ __launch_bounds__(StripsForm<Across, Grouped>::THREADS, 2) void
w4a8_strips(const W4A8Strips p)
{
    using Form = StripsForm<Across, Grouped>;
    extern __shared__ __align__(128) unsigned char shared[];
    const StripsRoom<Form> room(shared, p);
    const int rounds = (p.groups + Form::BEHIND - 1) / Form::BEHIND;
    const int ahead = min(p.stages, rounds);
    if (threadIdx.x == Form::CONSUMERS) {
        let_next_start();
        for (int i = 0; i < p.stages; i++) {
            mbarrier_init(room.full + 8 * i, 1);
            mbarrier_init(room.empty + 8 * i, Form::WARPS);
        }
        mbarrier_init(room.x_full, 1);
        mbarrier_init_done();
        if constexpr (Stages::LOAD)
            fill_ring<Form>(p, room, ahead);
    }
    __syncthreads();
    if (threadIdx.x >= Form::CONSUMERS) {
        if constexpr (Stages::LOAD)
            if (threadIdx.x == Form::CONSUMERS)
                go_on<Form>(p, room, ahead, rounds);
    } else {
        consume<Form, Stages>(p, room, rounds);
    }
}

#endif

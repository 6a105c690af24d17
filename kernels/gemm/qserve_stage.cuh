/*
 * qserve_stage.cuh - tiles of QServe's published GEMM kernels: their shape, their
 * copies into a ring of stages in shared memory, and fragments from there.
 *
 *   block     tile_m x tile_n outputs; warps warp_m x warp_n each, times slices
 *             of 64 bytes in k.  k is not split
 *   stage     X      [tile_m][tile_k] bytes, chunks as qserve_tile.h has them
 *             W      4-bit with 8-bit X: the tiles of qserve_layout.h as they come,
 *                    read by 16-byte loads without ldmatrix; else as X
 *             groups W4A8: subtrahends [tile_n], scales [tile_n], bytes;
 *                    W4A4: X's scales [tile_m], W's [tile_n], half
 *
 * k must be a multiple of the tile's, n of tile_n, and the group 128.
 */
#ifndef KERNELS_GEMM_QSERVE_STAGE_CUH
#define KERNELS_GEMM_QSERVE_STAGE_CUH

#include "../common/warp.cuh"
#include "ablation.cuh"
#include "gemm.h"
#include "qserve_dequant.h"
#include "qserve_layout.h"
#include "qserve_mma.cuh"
#include "qserve_tile.h"

enum qserve_form {
    FORM_W8A8,
    FORM_W4A8_CHANNEL,
    FORM_W4A8_GROUP,
    FORM_W4A8_UNSCALED, /* W4A8_GROUP of which OP_NODEQ leaves out less: codes become bytes */
    FORM_W4A4_GROUP,    /* partial sums of a group scaled and added in float */
    FORM_W4A4_CHANNEL   /* integer sums stored; another kernel scales them */
};

struct qserve_operands {
    const unsigned char *x, *w;
    const unsigned char *scale, *subtrahend; /* W4A8_GROUP */
    const half *x_scale, *w_scale;           /* W4A4_GROUP: of groups */
    const half *x_sum, *w_zero;              /* W4A8_CHANNEL */
    half *y;
    int *sum;     /* W4A4_CHANNEL */
    bool no_idle; /* blocks outside Y leave at once */
};

/* ---- shape of the launch ---- */

/* Tile_k in bytes of X. */
template <int Tile_m, int Tile_n, int Tile_k, int Warp_m, int Warp_n, int Stages>
struct QserveShape {
    static constexpr int tile_m = Tile_m, tile_n = Tile_n, tile_k = Tile_k, stages = Stages;
    static constexpr int warp_m = Warp_m, warp_n = Warp_n, warp_k = 64;
    static constexpr int warps_m = tile_m / warp_m, warps_n = tile_n / warp_n;
    static constexpr int slices = tile_k / warp_k;
    static constexpr int slice_threads = warps_m * warps_n * WARP;
    static constexpr int threads = slices * slice_threads;
    static constexpr int chunks = tile_k / 16;    /* in a row of a tile */
    static constexpr int rows = threads / chunks; /* of a tile that all threads copy at once */
    static constexpr int a_blocks = warp_m / 16, b_blocks = warp_n / 8;
    static_assert(rows % 8 == 0 && tile_m % rows == 0, "every thread copies as much, "
                                                       "to the same place of eight rows");
};

template <class S, qserve_form F> struct QserveForm {
    static constexpr bool progressive = F == FORM_W4A8_GROUP || F == FORM_W4A8_UNSCALED;
    static constexpr bool tiled = F == FORM_W4A8_CHANNEL || progressive;
    static constexpr bool int4 = F == FORM_W4A4_GROUP || F == FORM_W4A4_CHANNEL;
    static constexpr int x_bytes = S::tile_m * S::tile_k;
    static constexpr int w_bytes = S::tile_n * S::tile_k / (tiled ? 2 : 1);
    static constexpr int group_bytes = progressive            ? 2 * S::tile_n
                                       : F == FORM_W4A4_GROUP ? 2 * (S::tile_m + S::tile_n)
                                                              : 0;
    static constexpr int stage_bytes = x_bytes + w_bytes + group_bytes;
    static constexpr int bytes = S::stages * stage_bytes;
    /* The published code asks for every 4-bit W tile twice, in the same step: it
     * spreads the copies of X over the steps of a tile but forgets to do so for
     * W.  The second comes from the second cache. */
    static constexpr int w_copies = tiled ? 2 : 1;
    static constexpr int w_rows = S::tile_n / S::rows;
    static constexpr int w_count = tiled ? w_bytes / 16 / S::threads : w_rows;
    static constexpr int words = S::a_blocks * S::b_blocks * 4; /* sums of a thread */
    static_assert(w_count * S::threads * 16 == w_bytes, "every thread copies as much");
    static_assert(S::slices == 1 || words * S::slice_threads * 4 <= bytes, "sums meet here");
};

/* ---- copy: one tile of k into a stage ---- */

template <class S, qserve_form F> struct QserveStage {
    using Form = QserveForm<S, F>;
    char *x, *w, *group;
    __device__ QserveStage(char *memory, int stage)
    {
        x = memory + stage * Form::stage_bytes;
        w = x + Form::x_bytes;
        group = w + Form::w_bytes;
    }
};

/* What a thread copies of every tile: where from, for the tile at k = 0. */
template <class S, qserve_form F> struct QserveCopies {
    using Form = QserveForm<S, F>;
    static constexpr int x_count = S::tile_m / S::rows;
    const unsigned char *x, *w, *group;
    size_t row_bytes;
    bool inside[x_count]; /* of m */
    int to;               /* place of the first chunk, in X's tile and in a row-major W's */

    __device__ QserveCopies(const gemm_problem &p, int i0, int j0, const qserve_operands &o)
    {
        const int t = threadIdx.x, row = t / S::chunks, chunk = t % S::chunks;
        row_bytes = Form::int4 ? p.k / 2 : p.k;
        to = qserve_chunk(S::chunks, row, chunk) * 16;
        x = o.x + (i0 < p.m ? (i0 + row) * row_bytes : 0) + chunk * 16;
#pragma unroll
        for (int e = 0; e < x_count; e++)
            inside[e] = i0 + row + e * S::rows < p.m;
        if constexpr (Form::tiled) /* a band of 32 channels has 16 bytes for each of k */
            w = o.w + ((size_t)(j0 / QSERVE_BAND + t / S::tile_k) * p.k + t % S::tile_k) * 16;
        else
            w = o.w + (j0 + row) * row_bytes + chunk * 16;
        if constexpr (Form::progressive)
            group = o.scale + j0 + t * 16;
        if constexpr (F == FORM_W4A4_GROUP)
            group = t < S::tile_m / 8
                        ? (const unsigned char *)(o.x_scale + i0) + t * 16
                        : (const unsigned char *)(o.w_scale + j0) + (t - S::tile_m / 8) * 16;
    }
};

/* Nothing unless wanted: a predicate, not a branch, so that every ablation has the
 * same instructions at the same place. */
template <class S, qserve_form F>
static __device__ __forceinline__ void
copy_tile(const gemm_problem &p, const qserve_operands &o, const QserveStage<S, F> &to,
          const QserveCopies<S, F> &from, int tile, bool wanted)
{
    using Form = QserveForm<S, F>;
    const int t = threadIdx.x;
#pragma unroll
    for (int e = 0; e < QserveCopies<S, F>::x_count; e++)
        copy_async_if(wanted && from.inside[e], to.x + from.to + e * S::rows * S::tile_k,
                      from.x + e * S::rows * from.row_bytes + tile * S::tile_k);
#pragma unroll
    for (int e = 0; e < Form::w_copies * Form::w_count; e++) {
        const int c = e % Form::w_count;
        if constexpr (Form::tiled) {
            static_assert(S::threads % S::tile_k == 0 || Form::w_count == 1, "whole bands");
            copy_async_if(
                wanted, to.w + (t + c * S::threads) * 16,
                from.w +
                    ((size_t)c * (S::threads / S::tile_k) * p.k + (size_t)tile * S::tile_k) * 16);
        } else {
            copy_async_if(wanted, to.w + from.to + c * S::rows * S::tile_k,
                          from.w + c * S::rows * from.row_bytes + tile * S::tile_k);
        }
    }
    if constexpr (Form::progressive) {
        const size_t at = (size_t)(tile * S::tile_k / QSERVE_GROUP) * p.n;
        const bool mine = wanted && t < S::tile_n / 16;
        copy_async_if(mine, to.group + t * 16, from.group + (o.subtrahend - o.scale) + at);
        copy_async_if(mine, to.group + S::tile_n + t * 16, from.group + at);
    }
    if constexpr (F == FORM_W4A4_GROUP) { /* a tile is a group */
        static_assert(S::tile_k * 2 == QSERVE_GROUP, "64 bytes are 128 codes");
        const size_t columns = t < S::tile_m / 8 ? w4a4_room(p.m) : p.n;
        copy_async_if(wanted && t < (S::tile_m + S::tile_n) / 8, to.group + t * 16,
                      from.group + tile * columns * 2);
    }
}

/* ---- load: fragments of 32 bytes of k ---- */

template <class S> struct QserveFragments {
    uint32_t a[S::a_blocks][4], b[S::b_blocks][2];
};

/* Where a warp's part of a tile is. */
struct qserve_warp {
    int i, j, slice, lane;
};

/* b: of four blocks of 8 channels; v: a lane's 16 bytes. */
template <bool Unpacked, bool Scaled>
static __device__ __forceinline__ void weights(uint4 v, uint32_t scales, uint32_t subtrahends,
                                               uint32_t (*b)[2])
{
    /* As they are, words pair up in the order that they are loaded in: a product
     * takes neighbouring registers, and moves would stand for what is left out. */
    const uint32_t from[2][2] = { { v.x, Unpacked ? v.z : v.y }, { Unpacked ? v.y : v.z, v.w } };
#pragma unroll
    for (int t = 0; t < 4; t++)
#pragma unroll
        for (int f = 0; f < 2; f++) {
            const uint32_t word = from[t % 2][f];
            b[t][f] = !Unpacked ? word : t < 2 ? qserve_low(word) : qserve_high(word);
            if constexpr (Scaled)
                b[t][f] = qserve_scaled(b[t][f], qserve_byte(scales, t),
                                        qserve_broadcast(subtrahends, t));
        }
}

/* step: 0 or 1 of the warp's slice. */
template <class S, qserve_form F, op_stage Only>
static __device__ __forceinline__ void load_fragments(const QserveStage<S, F> &from,
                                                      const qserve_warp &warp, int step,
                                                      QserveFragments<S> &to, uint32_t &fold)
{
    using Form = QserveForm<S, F>;
    constexpr bool converts = Only == OP_COMPLETE || Only == OP_DEQONLY;
    constexpr bool unpacks = converts || F == FORM_W4A8_UNSCALED;
    const int byte = warp.slice * S::warp_k + step * 32;
    if constexpr (Only != OP_DEQONLY)
#pragma unroll
        for (int r = 0; r < S::a_blocks; r++) {
            ldmatrix(to.a[r],
                     from.x + qserve_a_row(S::chunks, warp.i + r * 16, byte / 16, warp.lane) * 16);
            if constexpr (Only == OP_LOADONLY)
                fold ^= to.a[r][0] ^ to.a[r][1] ^ to.a[r][2] ^ to.a[r][3];
        }
    if constexpr (Form::tiled) {
#pragma unroll
        for (int b = 0; b < S::b_blocks; b += 4) {
            const int band = warp.j / QSERVE_BAND + b / 4;
            const uint4 v = reload(from.w + (band * S::tile_k + byte + warp.lane) * 16);
            uint32_t scales = 0, subtrahends = 0;
            if constexpr (Form::progressive) {
                const char *at = from.group + band * QSERVE_BAND + warp.lane / 4 * 4;
                subtrahends = *(const uint32_t *)at;
                scales = *(const uint32_t *)(at + S::tile_n);
                if constexpr (!converts)
                    fold ^= scales ^ subtrahends;
            }
            if constexpr (Only == OP_LOADONLY) {
                fold ^= folded(v);
            } else {
                weights<unpacks, converts && Form::progressive>(v, scales, subtrahends, to.b + b);
                if constexpr (Only == OP_DEQONLY)
#pragma unroll
                    for (int t = b; t < b + 4; t++)
                        fold ^= to.b[t][0] ^ to.b[t][1];
            }
        }
    } else if constexpr (Only != OP_DEQONLY) {
#pragma unroll
        for (int b = 0; b < S::b_blocks; b += 2) {
            uint32_t w[4];
            ldmatrix(w,
                     from.w + qserve_b_row(S::chunks, warp.j + b * 8, byte / 16, warp.lane) * 16);
            to.b[b][0] = w[0], to.b[b][1] = w[1], to.b[b + 1][0] = w[2], to.b[b + 1][1] = w[3];
            if constexpr (Only == OP_LOADONLY)
                fold ^= w[0] ^ w[1] ^ w[2] ^ w[3];
        }
    }
}

#endif

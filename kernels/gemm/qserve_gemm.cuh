/*
 * qserve_gemm.cuh - Y = X W^T by tensor-core products of bytes: the loop of
 * QServe's published kernels, for the schemes of qserve_form.
 *
 * Follows QServe (arXiv 2405.04532) and its code.  Tiles come by asynchronous
 * copies into the ring of qserve_stage.cuh; fragments are loaded one step of 32
 * bytes ahead of their products, into the other of two sets of registers, and W's
 * codes are converted as they are loaded.  Copies are issued between the two
 * steps of a tile, then the block waits for the next tile:
 *
 *   step 0 of tile s    load fragments (s, 1); multiply (s, 0);
 *                       copy tile s + stages - 1; wait for tile s + 1; barrier
 *   step 1              load fragments (s + 1, 0); multiply (s, 1)
 *
 * Slices of k meet in shared memory.  Sums are exact: 32-bit integers over all of
 * k, or over one group where W4A4 scales partial sums.
 *
 * Bound by W's bytes where tokens are few, else by the tensor cores or, per group,
 * by the issue of instructions.
 */
#ifndef KERNELS_GEMM_QSERVE_GEMM_CUH
#define KERNELS_GEMM_QSERVE_GEMM_CUH

#include "qserve_stage.cuh"

/* ---- multiply: one step ---- */

template <class S> using QserveSums = int[S::a_blocks][S::b_blocks][4];

/* Products of the even, then of the odd codes where there are two to a byte.
 * afresh: the sums before are dropped. */
template <class S, qserve_form F>
static __device__ __forceinline__ void multiply(const QserveFragments<S> &f, bool afresh,
                                                QserveSums<S> &sum)
{
    if constexpr (QserveForm<S, F>::int4) {
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
            uint32_t a[S::a_blocks][4];
#pragma unroll
            for (int r = 0; r < S::a_blocks; r++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    a[r][e] = int4_bytes(f.a[r][e], odd);
#pragma unroll
            for (int b = 0; b < S::b_blocks; b++) {
                const uint32_t b0 = int4_bytes(f.b[b][0], odd), b1 = int4_bytes(f.b[b][1], odd);
#pragma unroll
                for (int r = 0; r < S::a_blocks; r++)
                    if (afresh && !odd)
                        mma_s8_first(sum[r][b], a[r], b0, b1);
                    else
                        mma_s8(sum[r][b], a[r], b0, b1);
            }
        }
    } else {
#pragma unroll
        for (int b = 0; b < S::b_blocks; b++)
#pragma unroll
            for (int r = 0; r < S::a_blocks; r++)
                mma_s8(sum[r][b], f.a[r], f.b[b][0], f.b[b][1]);
    }
}

/* ---- scale partial sums: W4A4_GROUP ---- */

constexpr float INT4_UNIT = 1.0f / 256; /* products of 16-fold codes */

template <class S> struct QserveScales {
    half2 x[S::a_blocks], w[S::b_blocks]; /* rows r, r+8; columns c, c+1 */
};

template <class S, qserve_form F>
static __device__ __forceinline__ void load_scales(const QserveStage<S, F> &from,
                                                   const qserve_warp &warp, QserveScales<S> &to)
{
    const half2 *x = (const half2 *)from.group + warp.i / 2 + warp.lane / 4;
    const half2 *w = (const half2 *)from.group + (S::tile_m + warp.j) / 2 + warp.lane % 4;
#pragma unroll
    for (int r = 0; r < S::a_blocks; r++)
        to.x[r] = x[r * 8];
#pragma unroll
    for (int b = 0; b < S::b_blocks; b++)
        to.w[b] = w[b * 4];
}

template <class S>
static __device__ __forceinline__ void add_scaled(const QserveSums<S> &part,
                                                  const QserveScales<S> &scale,
                                                  float (&real)[S::a_blocks][S::b_blocks][4])
{
#pragma unroll
    for (int r = 0; r < S::a_blocks; r++) {
        float2 x = __half22float2(scale.x[r]);
        x.x *= INT4_UNIT;
        x.y *= INT4_UNIT;
#pragma unroll
        for (int b = 0; b < S::b_blocks; b++) {
            const float2 w = __half22float2(scale.w[b]);
            real[r][b][0] += (float)part[r][b][0] * (x.x * w.x);
            real[r][b][1] += (float)part[r][b][1] * (x.x * w.y);
            real[r][b][2] += (float)part[r][b][2] * (x.y * w.x);
            real[r][b][3] += (float)part[r][b][3] * (x.y * w.y);
        }
    }
}

/* ---- add: the slices of a block ---- */

/* Afterwards the sums of slice 0 are the block's. */
template <class S>
static __device__ __forceinline__ void add_slices(int *memory, int slice, QserveSums<S> &sum)
{
    int *mine = memory + threadIdx.x % S::slice_threads;
#pragma unroll
    for (int other = 1; other < S::slices; other++) {
        __syncthreads();
#pragma unroll
        for (int e = 0; e < S::a_blocks * S::b_blocks * 4; e++)
            if (slice == other)
                mine[e * S::slice_threads] = sum[e / 4 / S::b_blocks][e / 4 % S::b_blocks][e % 4];
        __syncthreads();
#pragma unroll
        for (int e = 0; e < S::a_blocks * S::b_blocks * 4; e++)
            if (slice == 0)
                sum[e / 4 / S::b_blocks][e / 4 % S::b_blocks][e % 4] += mine[e * S::slice_threads];
    }
}

/* ---- store: scale two neighbours of a row ---- */

template <qserve_form F>
static __device__ __forceinline__ void store(const gemm_problem &p, const qserve_operands &o, int i,
                                             int j, const int *sum, const float *real)
{
    const size_t at = (size_t)i * p.n + j;
    float2 y;
    if constexpr (F == FORM_W4A4_CHANNEL) {
        *(int2 *)(o.sum + at) = make_int2(sum[0], sum[1]);
        return;
    }
    if constexpr (F == FORM_W4A4_GROUP) {
        y = make_float2(real[0], real[1]);
    } else {
        const float2 w = __half22float2(*(const half2 *)(o.w_scale + j));
        const float x = __half2float(o.x_scale[i]);
        if constexpr (F == FORM_W4A8_CHANNEL) {
            const float2 zero = __half22float2(*(const half2 *)(o.w_zero + j));
            const float x_sum = __half2float(o.x_sum[i]);
            y.x = (float)sum[0] * w.x * x - zero.x * x_sum;
            y.y = (float)sum[1] * w.y * x - zero.y * x_sum;
        } else {
            y.x = (float)sum[0] * (w.x * x);
            y.y = (float)sum[1] * (w.y * x);
        }
    }
    *(half2 *)(o.y + at) = __floats2half2_rn(y.x, y.y);
}

/* ---- kernel ---- */

/*
 * Ablations.  nodeq: a word of W's codes stands for both registers made of it;
 * W4A8_UNSCALED: the two are made of it and not scaled; W4A4_GROUP: partial sums
 * go on over all of k.  loadonly: the pipeline and the loads of fragments, folded.
 * mmaonly: stages filled once, fragments loaded and multiplied.  deqonly: stages
 * filled once, W's fragments loaded, converted and folded; W4A4_GROUP: scales
 * loaded, registers scaled and added.
 */
template <class S, qserve_form F, op_stage Only>
static __global__ __launch_bounds__(S::threads) void qserve_gemm(gemm_problem p, qserve_operands o)
{
    extern __shared__ uint4 memory[];
    using Form = QserveForm<S, F>;
    constexpr bool copies = Only != OP_MMAONLY && Only != OP_DEQONLY;
    constexpr bool products = Only != OP_LOADONLY && Only != OP_DEQONLY;
    constexpr bool parts = F == FORM_W4A4_GROUP;
    constexpr bool scales_parts = parts && (Only == OP_COMPLETE || Only == OP_DEQONLY);
    char *const shared = (char *)memory;
    const int down = (p.m + S::tile_m - 1) / S::tile_m;
    const qserve_block block = qserve_block_of(blockIdx.x, blockIdx.y, qserve_order_bits(down));
    const int i0 = block.i * S::tile_m, j0 = block.j * S::tile_n;
    const int w = threadIdx.x / WARP, in_slice = w % (S::warps_m * S::warps_n);
    const qserve_warp warp = { in_slice % S::warps_m * S::warp_m, in_slice / S::warps_m * S::warp_n,
                               w / (S::warps_m * S::warps_n), (int)threadIdx.x % WARP };
    const int tiles = p.k / (Form::int4 ? 2 : 1) / S::tile_k;
    QserveSums<S> sum = {};
    float real[S::a_blocks][S::b_blocks][4] = {};
    QserveFragments<S> fragments[2] = {};
    QserveScales<S> scales;
    uint32_t fold = 0;

    if (o.no_idle && i0 >= p.m)
        return;
    const QserveCopies<S, F> from(p, i0, j0, o);
    if constexpr (copies) {
#pragma unroll
        for (int s = 0; s < S::stages - 1; s++) {
            copy_tile(p, o, QserveStage<S, F>(shared, s), from, s, s < tiles);
            copy_commit();
        }
        copy_wait<S::stages - 2>();
    } else {
        for (int e = threadIdx.x; e < Form::bytes / 4; e += S::threads)
            ((uint32_t *)shared)[e] = 0x01010101u * (e % 2);
    }
    __syncthreads();
    load_fragments<S, F, Only>(QserveStage<S, F>(shared, 0), warp, 0, fragments[0], fold);
#pragma unroll 1 /* in every ablation too */
    for (int s = 0; s < tiles; s++) {
        const QserveStage<S, F> now(shared, s % S::stages), next(shared, (s + 1) % S::stages);
#pragma unroll
        for (int step = 0; step < 2; step++) {
            load_fragments<S, F, Only>(step ? next : now, warp, 1 - step, fragments[1 - step],
                                       fold);
            if constexpr (parts) {
                if (step == 0) {
                    load_scales(now, warp, scales);
                    if constexpr (!scales_parts)
                        for (int e = 0; e < S::a_blocks + S::b_blocks; e++)
                            fold ^= e < S::a_blocks ? *(uint32_t *)&scales.x[e]
                                                    : *(uint32_t *)&scales.w[e - S::a_blocks];
                }
            }
            if constexpr (products)
                multiply<S, F>(fragments[step], parts && Only == OP_COMPLETE && step == 0, sum);
            if (step == 0) {
                if constexpr (copies) {
                    const int ahead = s + S::stages - 1;
                    copy_tile(p, o, QserveStage<S, F>(shared, ahead % S::stages), from, ahead,
                              ahead < tiles);
                    copy_commit();
                    copy_wait<S::stages - 2>();
                }
                __syncthreads();
            }
        }
        if constexpr (scales_parts) {
            if constexpr (Only == OP_DEQONLY)
                for (auto &row : sum)
                    for (auto &b : row)
                        for (int &c : b)
                            made_opaque(c);
            add_scaled<S>(sum, scales, real);
        }
    }
    if constexpr (!products)
        for (auto &row : sum)
            for (auto &b : row)
                for (int &c : b)
                    c ^= (int)fold;
    if ((Only == OP_NODEQ || Only == OP_MMAONLY) && fold == FOLD_NEVER)
        sum[0][0][0] = 0;
    if constexpr (parts && Only != OP_COMPLETE)
        for (int e = 0; e < Form::words; e++) {
            const int r = e / 4 / S::b_blocks, b = e / 4 % S::b_blocks;
            real[r][b][e % 4] += (float)sum[r][b][e % 4];
        }
    copy_wait<0>();
    if constexpr (S::slices > 1)
        add_slices<S>((int *)shared, warp.slice, sum);
    if (warp.slice > 0)
        return;
#pragma unroll
    for (int r = 0; r < S::a_blocks * 2; r++)
#pragma unroll
        for (int b = 0; b < S::b_blocks; b++) {
            const int i = i0 + warp.i + r * 8 + warp.lane / 4;
            const int j = j0 + warp.j + b * 8 + warp.lane % 4 * 2;
            if (i < p.m)
                store<F>(p, o, i, j, &sum[r / 2][b][r % 2 * 2], &real[r / 2][b][r % 2 * 2]);
        }
}

/* ---- launch ---- */

template <class S, qserve_form F, op_stage Only>
static enum op_status qserve_launch(const gemm_problem *p, const qserve_operands &o, op_stream s)
{
    const int down = (p->m + S::tile_m - 1) / S::tile_m, bits = qserve_order_bits(down);
    const dim3 grid((unsigned)(p->n / S::tile_n) << bits,
                    (unsigned)((down + (1 << bits) - 1) >> bits));
    constexpr qserve_form whole = F == FORM_W4A8_UNSCALED ? FORM_W4A8_GROUP : F;
    size_t shared;
    if (!same_occupancy(qserve_gemm<S, whole, OP_COMPLETE>, qserve_gemm<S, F, Only>, S::threads,
                        QserveForm<S, F>::bytes, &shared))
        return OP_EDEVICE;
    qserve_gemm<S, F, Only><<<grid, S::threads, shared, s>>>(*p, o);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

#endif

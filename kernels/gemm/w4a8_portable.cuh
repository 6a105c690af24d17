/*
 * w4a8_portable.cuh - Y = X W^T, 8-bit X, 4-bit W per channel or of progressive
 * groups: without what compute capability 9.0 adds (8.0 and later).
 *
 * The product is taken transposed: 16 output channels are the rows of an mma's A
 * tile, 8 tokens its columns, and W goes from memory to A fragments without passing
 * shared memory a second time.  W in the order of w4a8_layout.h.
 *
 *   block    32 or 64 channels by 8 to 64 tokens, all of k
 *   warps    across: its 2 or 4 strips, behind: every (8/across)-th group of k;
 *            those behind each other add up in shared memory
 *   ring     stage = a group for each of the warps behind each other, X [tokens] rows
 *            of 128 bytes and 16 more, so that 8 rows lie in different banks, and W
 *
 * Bound by reading W up to some 32 tokens; further tiles of tokens read it again.
 *
 * Early, for few tokens on 9.0: the same kernel is launched over the end of the launch before.
 * What it asks of W does not depend on that one, and a ring of up to eight stages holds most of
 * a layer of 4096 inputs.
 */
#ifndef KERNELS_GEMM_W4A8_PORTABLE_CUH
#define KERNELS_GEMM_W4A8_PORTABLE_CUH

#include <stdlib.h>

#include "../common/launch.cuh"
#include "mma.cuh"
#include "qserve_mma.cuh"
#include "w4a8.h"
#include "w4a8_device.cuh"
#include "w4a8_shapes.h"

constexpr int WARPS = 8, THREADS = WARPS * 32;
constexpr int X_STRIDE = W4A8_GROUP + 16;

struct W4A8Portable : W4A8Operands {
    const signed char *x;
    int k;
};

/* Early: overlaps the launch before.  Two such blocks, one of either launch, share a
 * multiprocessor. */
constexpr int EARLY_BYTES = 108 * 1024, EARLY_STAGES = 8;

template <int Tokens, int Across, bool Grouped, bool Early> struct PortableForm {
    static constexpr int TOKENS = Tokens, ACROSS = Across, BEHIND = WARPS / Across;
    static constexpr int X_BYTES = Tokens * X_STRIDE, STRIPS = Across * W4A8_CODES;
    static constexpr int W_BYTES = STRIPS + (Grouped ? Across * W4A8_SCALES : 0);
    static constexpr int STAGE = BEHIND * (X_BYTES + W_BYTES);
    static constexpr int FIT = EARLY_BYTES / STAGE < EARLY_STAGES ? EARLY_BYTES / STAGE : EARLY_STAGES;
    static constexpr int STAGES = Early ? FIT : Tokens > 32 ? 2 : Tokens > 16 ? 3 : 4;
    static constexpr int SUMS = WARPS * Tokens / 8 * 512; /* bytes */
    static constexpr int BYTES = STAGES * STAGE > SUMS ? STAGES * STAGE : SUMS;
};

/* ---- copies ---- */

/* Groups first .. first + BEHIND - 1 of W, as many as exist. */
template <class Form>
static __device__ __forceinline__ void fetch_w(const W4A8Portable &p, unsigned char *stage,
                                               int first)
{
    constexpr int PIECES = Form::W_BYTES / 16, CODES = Form::STRIPS / 16;
    const int strip = blockIdx.x * Form::ACROSS;
    const int here = min(Form::BEHIND, p.groups - first);
    for (int i = threadIdx.x; i < here * PIECES; i += THREADS) {
        const int group = i / PIECES, piece = i % PIECES;
        const unsigned char *from =
            p.packed + w4a8_strip_at(strip, first + group, p.groups) * W4A8_CODES + piece * 16;
        if (piece >= CODES)
            from = p.packed + p.code_bytes +
                   w4a8_strip_at(strip, first + group, p.groups) * W4A8_SCALES +
                   (piece - CODES) * 16;
        copy_async(stage + group * Form::W_BYTES + piece * 16, from, true);
    }
}

/* The same groups of X. */
template <class Form>
static __device__ __forceinline__ void fetch_x(const W4A8Portable &p, unsigned char *stage,
                                               int first)
{
    constexpr int TOKENS = Form::TOKENS;
    const int token = blockIdx.y * TOKENS, here = min(Form::BEHIND, p.groups - first);
    unsigned char *x = stage + Form::BEHIND * Form::W_BYTES;
    for (int i = threadIdx.x; i < here * TOKENS * 8; i += THREADS) {
        const int group = i / (TOKENS * 8), row = i / 8 % TOKENS, at = i % 8 * 16;
        const int q = (first + group) * W4A8_GROUP + at;
        const bool there = token + row < p.m && q < p.k;
        copy_async(x + group * Form::X_BYTES + row * X_STRIDE + at,
                   there ? p.x + (size_t)(token + row) * p.k + q : p.x, there);
    }
}

/* ---- products ---- */

template <class Form, bool Grouped>
static __device__ __forceinline__ void multiply(const unsigned char *stage, int across, int behind,
                                                int lane, int (&sum)[Form::TOKENS / 8][4])
{
    const unsigned char *w = stage + behind * Form::W_BYTES;
    const unsigned char *x = stage + Form::BEHIND * Form::W_BYTES + behind * Form::X_BYTES +
                             lane % 8 * X_STRIDE + lane / 8 * 16;
    W4A8Scales scales = {};
    if constexpr (Grouped)
        scales = scales_of(*(const uint32_t *)(w + Form::STRIPS + across * W4A8_SCALES +
                                               lane / 4 * 4));
#pragma unroll
    for (int block = 0; block < 2; block++) {
        const uint4 v = ((const uint4 *)(w + across * W4A8_CODES))[block * 32 + lane];
        const uint32_t word[4] = { v.x, v.y, v.z, v.w };
        uint32_t a[2][4];
#pragma unroll
        for (int step = 0; step < 2; step++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[step][i] = weights<Grouped>(word[2 * step + i / 2], i % 2, scales);
#pragma unroll
        for (int tile = 0; tile < Form::TOKENS / 8; tile++) {
            uint32_t b[4];
            ldmatrix(b, x + tile * 8 * X_STRIDE + block * 64);
            mma_u8(sum[tile], a[0], b[0], b[1]);
            mma_u8(sum[tile], a[1], b[2], b[3]);
        }
    }
}

/* ---- the kernel ---- */

/* Grid: x tiles of channels, y of tokens. */
template <int Tokens, int Across, bool Grouped, bool Early>
static __global__ __launch_bounds__(THREADS) void w4a8_portable(const W4A8Portable p)
{
    using Form = PortableForm<Tokens, Across, Grouped, Early>;
    constexpr int TILES = Tokens / 8, STAGES = Form::STAGES, BEHIND = Form::BEHIND;
    constexpr int EACH = (TILES + BEHIND - 1) / BEHIND; /* tiles of tokens that a warp stores */
    extern __shared__ __align__(128) unsigned char shared[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int across = warp % Across, behind = warp / Across;
    const int rounds = (p.groups + BEHIND - 1) / BEHIND;
    const int channel = (blockIdx.x * Across + across) * W4A8_STRIP;
    W4A8Token token[EACH][2];
    int sum[TILES][4] = {};

    if (Early) { /* all of W first: it counts as part of the first stage */
        let_next_start();
        for (int i = 0; i < STAGES - 1 && i < rounds; i++)
            fetch_w<Form>(p, shared + i * Form::STAGE, i * BEHIND);
    }
    /* asked for here: nothing is left to hide a way to memory behind at the end */
    const auto low = fetch_channel<Grouped>(p, channel + lane / 4);
    const auto high = fetch_channel<Grouped>(p, channel + lane / 4 + 8);
    if (Early)
        wait_for_previous();
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < rounds) {
            if (!Early)
                fetch_w<Form>(p, shared + i * Form::STAGE, i * BEHIND);
            fetch_x<Form>(p, shared + i * Form::STAGE, i * BEHIND);
        }
        copy_commit();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < 2; j++)
            token[i][j] = load_token<Grouped>(p, blockIdx.y * Tokens + (behind + i * BEHIND) * 8 +
                                                     lane % 4 * 2 + j);
    for (int i = 0, at = 0; i < rounds; i++) {
        copy_wait<STAGES - 2>();
        __syncthreads(); /* and all are through with the stage that is filled next */
        const int next = i + STAGES - 1, to = at ? at - 1 : STAGES - 1;
        if (next < rounds) {
            fetch_w<Form>(p, shared + to * Form::STAGE, next * BEHIND);
            fetch_x<Form>(p, shared + to * Form::STAGE, next * BEHIND);
        }
        copy_commit();
        if (i * BEHIND + behind < p.groups)
            multiply<Form, Grouped>(shared + at * Form::STAGE, across, behind, lane, sum);
        if (++at == STAGES)
            at = 0;
    }

    /* [behind][across][tiles][32 lanes]; each warp adds up some of the tiles */
    copy_wait<0>();
    __syncthreads();
    int4 *sums = (int4 *)shared;
    for (int tile = 0; tile < TILES; tile++)
        sums[(warp * TILES + tile) * 32 + lane] =
            make_int4(sum[tile][0], sum[tile][1], sum[tile][2], sum[tile][3]);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int tile = behind + i * BEHIND;
        if (tile >= TILES)
            break;
        int4 v = sums[(across * TILES + tile) * 32 + lane];
        for (int b = 1; b < BEHIND; b++) {
            const int4 other = sums[((b * Across + across) * TILES + tile) * 32 + lane];
            v = make_int4(v.x + other.x, v.y + other.y, v.z + other.z, v.w + other.w);
        }
        store_strip<Grouped>(p, channel, blockIdx.y * Tokens + tile * 8, lane, v,
                             channel_of<Grouped>(low, false), channel_of<Grouped>(high, true),
                             token[i]);
    }
}

/* ---- set-up and launch ---- */

typedef void (*PortableKernel)(W4A8Portable);

struct Portable {
    const unsigned char *packed;
    PortableKernel kernel;
    int tokens, across, bytes;
    bool grouped, early;
};

template <int Tokens, int Across, bool Grouped, bool Early>
static enum op_status take(Portable *state)
{
    state->kernel = w4a8_portable<Tokens, Across, Grouped, Early>;
    state->tokens = Tokens;
    state->across = Across;
    state->bytes = PortableForm<Tokens, Across, Grouped, Early>::BYTES;
    const void *kernel = (const void *)state->kernel;
    if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, state->bytes))
        return OP_EDEVICE;
    /* launches that overlap must not ask for different amounts of L1 cache */
    return Early && cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                         cudaSharedmemCarveoutMaxShared)
               ? OP_EDEVICE
               : OP_OK;
}

/* Narrow tiles where wide ones would leave multiprocessors idle. */
template <int Tokens, bool Grouped, bool Early>
static enum op_status take_across(const struct gemm_problem *p, int sms, Portable *state)
{
    const int blocks = w4a8_div_up(p->n, 64) * w4a8_div_up(p->m, Tokens);
    return blocks < 2 * sms ? take<Tokens, 2, Grouped, Early>(state)
                            : take<Tokens, 4, Grouped, Early>(state);
}

template <bool Grouped, bool Early>
static enum op_status take_tokens(const struct gemm_problem *p, int sms, Portable *state)
{
    if (p->m <= 8)
        return take_across<8, Grouped, Early>(p, sms, state);
    if (p->m <= 16)
        return take_across<16, Grouped, Early>(p, sms, state);
    if (p->m <= W4A8_FEW)
        return take_across<32, Grouped, Early>(p, sms, state);
    if constexpr (Early)
        return OP_EUNSUPPORTED;
    else
        return take<64, 4, Grouped, Early>(state);
}

template <bool Grouped, bool Early>
static enum op_status portable_setup(const struct gemm_problem *p, const struct gemm_args *a,
                            const struct op_memory *memory, op_stream s, void **out)
{
    const int sms = w4a8_multiprocessors();
    if (!w4a8_covers(p, Grouped))
        return OP_EUNSUPPORTED;
    if (!sms)
        return OP_EDEVICE;
    Portable *state = (Portable *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    state->grouped = Grouped;
    state->early = Early;
    enum op_status status = take_tokens<Grouped, Early>(p, sms, state);
    if (status == OP_OK)
        state->packed = w4a8_packed(p, a, Grouped, memory, s, &status);
    /* a launch may overlap the one before it, which must not be that of the packing */
    if (status == OP_OK && Early && cudaStreamSynchronize(s))
        status = OP_EDEVICE;
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

/* One run of what portable_setup made. */
static inline enum op_status portable_run(const struct gemm_problem *p, const struct gemm_args *a,
                                          const Portable *portable, op_stream s)
{
    W4A8Portable work;
    (W4A8Operands &)work = w4a8_operands(p, a, portable->grouped);
    work.packed = portable->packed;
    work.x = a->int_x.code;
    work.k = p->k;
    const dim3 grid(w4a8_div_up(p->n, portable->across * W4A8_STRIP),
                    w4a8_div_up(p->m, portable->tokens));
    if (portable->early)
        return launch_early_shared(portable->kernel, grid, THREADS, 1, portable->bytes, s, work);
    portable->kernel<<<grid, THREADS, portable->bytes, s>>>(work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* The launchers gemm_w4a8_{channel,group}_<name>_setup, gemm_w4a8_<name> and its teardown. */
#define W4A8_PORTABLE_LAUNCHERS(name, Early)                                                       \
    gemm_setup_fn gemm_w4a8_channel_##name##_setup, gemm_w4a8_group_##name##_setup;                \
    gemm_run_fn gemm_w4a8_##name;                                                                  \
    enum op_status gemm_w4a8_channel_##name##_setup(                                               \
        const struct gemm_problem *p, const struct gemm_args *a, const struct op_memory *m,        \
        op_stream s, void **state)                                                                 \
    {                                                                                              \
        return portable_setup<false, Early>(p, a, m, s, state);                                    \
    }                                                                                              \
    enum op_status gemm_w4a8_group_##name##_setup(                                                 \
        const struct gemm_problem *p, const struct gemm_args *a, const struct op_memory *m,        \
        op_stream s, void **state)                                                                 \
    {                                                                                              \
        return portable_setup<true, Early>(p, a, m, s, state);                                     \
    }                                                                                              \
    enum op_status gemm_w4a8_##name(const struct gemm_problem *p, const struct gemm_args *a,       \
                                    void *state, op_stream s)                                      \
    {                                                                                              \
        return portable_run(p, a, (const Portable *)state, s);                                     \
    }                                                                                              \
    void gemm_w4a8_##name##_teardown(void *state)                                                  \
    {                                                                                              \
        free(state);                                                                               \
    }

#endif

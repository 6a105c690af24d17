/*
 * w4a8_portable.cu - Y = X W^T, 8-bit X, 4-bit W per channel or of progressive
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
 */
#include <stdlib.h>

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

template <int Tokens, int Across, bool Grouped> struct PortableForm {
    static constexpr int BEHIND = WARPS / Across, STAGES = Tokens > 32 ? 2 : Tokens > 16 ? 3 : 4;
    static constexpr int X_BYTES = Tokens * X_STRIDE, STRIPS = Across * W4A8_CODES;
    static constexpr int W_BYTES = STRIPS + (Grouped ? Across * W4A8_SCALES : 0);
    static constexpr int STAGE = BEHIND * (X_BYTES + W_BYTES);
    static constexpr int SUMS = WARPS * Tokens / 8 * 512; /* bytes */
    static constexpr int BYTES = STAGES * STAGE > SUMS ? STAGES * STAGE : SUMS;
};

/* ---- copies ---- */

/* Groups first .. first + BEHIND - 1 of W, X: as many of each as exist. */
template <int Tokens, int Across, bool Grouped>
static __device__ __forceinline__ void fetch(const W4A8Portable &p, unsigned char *stage, int first)
{
    using Form = PortableForm<Tokens, Across, Grouped>;
    constexpr int PIECES = Form::W_BYTES / 16, CODES = Form::STRIPS / 16;
    const int strip = blockIdx.x * Across, token = blockIdx.y * Tokens;
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
    unsigned char *x = stage + Form::BEHIND * Form::W_BYTES;
    for (int i = threadIdx.x; i < here * Tokens * 8; i += THREADS) {
        const int group = i / (Tokens * 8), row = i / 8 % Tokens, at = i % 8 * 16;
        const int q = (first + group) * W4A8_GROUP + at;
        const bool there = token + row < p.m && q < p.k;
        copy_async(x + group * Form::X_BYTES + row * X_STRIDE + at,
                   there ? p.x + (size_t)(token + row) * p.k + q : p.x, there);
    }
}

/* ---- products ---- */

template <int Tokens, int Across, bool Grouped>
static __device__ __forceinline__ void multiply(const unsigned char *stage, int across, int behind,
                                                int lane, int (&sum)[Tokens / 8][4])
{
    using Form = PortableForm<Tokens, Across, Grouped>;
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
        for (int tile = 0; tile < Tokens / 8; tile++) {
            uint32_t b[4];
            ldmatrix(b, x + tile * 8 * X_STRIDE + block * 64);
            mma_u8(sum[tile], a[0], b[0], b[1]);
            mma_u8(sum[tile], a[1], b[2], b[3]);
        }
    }
}

/* ---- output ---- */

/* Of an 8x8 matrix of halves, lane l has elements (l/4, l%4*2 ..+1), and gets those of
 * the transposed one. */
static __device__ __forceinline__ uint32_t transpose(uint32_t v)
{
    uint32_t t;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t) : "r"(v));
    return t;
}

template <bool Grouped>
static __device__ __forceinline__ void store(const W4A8Operands &p, int channel, int token,
                                             int lane, int4 v)
{
    const int c = channel + lane / 4, first = token + lane % 4 * 2, row = token + lane / 4;
    const W4A8Channel low = load_channel<Grouped>(p, c, false);
    const W4A8Channel high = load_channel<Grouped>(p, c + 8, true);
    const W4A8Token t0 = load_token<Grouped>(p, first), t1 = load_token<Grouped>(p, first + 1);
    const uint32_t pair[2] = {
        transpose(half_pair(output_of<Grouped>(v.x, low, t0), output_of<Grouped>(v.y, low, t1))),
        transpose(half_pair(output_of<Grouped>(v.z, high, t0), output_of<Grouped>(v.w, high, t1)))
    };
    half *to = p.y + (size_t)row * p.n + channel + lane % 4 * 2;
    for (int i = 0; i < 2; i++)
        if (row < p.m && channel + 8 * i < p.n) /* n is a multiple of 8 */
            *(uint32_t *)(to + 8 * i) = pair[i];
}

/* ---- the kernel ---- */

/* Grid: x tiles of channels, y of tokens. */
template <int Tokens, int Across, bool Grouped>
static __global__ __launch_bounds__(THREADS) void w4a8_portable(const W4A8Portable p)
{
    using Form = PortableForm<Tokens, Across, Grouped>;
    constexpr int TILES = Tokens / 8, STAGES = Form::STAGES, BEHIND = Form::BEHIND;
    extern __shared__ __align__(128) unsigned char shared[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int across = warp % Across, behind = warp / Across;
    const int rounds = (p.groups + BEHIND - 1) / BEHIND;
    int sum[TILES][4] = {};

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < rounds)
            fetch<Tokens, Across, Grouped>(p, shared + i * Form::STAGE, i * BEHIND);
        copy_commit();
    }
    for (int i = 0, at = 0; i < rounds; i++) {
        copy_wait<STAGES - 2>();
        __syncthreads(); /* and all are through with the stage that is filled next */
        const int next = i + STAGES - 1, to = at ? at - 1 : STAGES - 1;
        if (next < rounds)
            fetch<Tokens, Across, Grouped>(p, shared + to * Form::STAGE, next * BEHIND);
        copy_commit();
        if (i * BEHIND + behind < p.groups)
            multiply<Tokens, Across, Grouped>(shared + at * Form::STAGE, across, behind, lane, sum);
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
    for (int tile = behind; tile < TILES; tile += BEHIND) {
        int4 v = sums[(across * TILES + tile) * 32 + lane];
        for (int b = 1; b < BEHIND; b++) {
            const int4 other = sums[((b * Across + across) * TILES + tile) * 32 + lane];
            v = make_int4(v.x + other.x, v.y + other.y, v.z + other.z, v.w + other.w);
        }
        store<Grouped>(p, (blockIdx.x * Across + across) * W4A8_STRIP,
                       blockIdx.y * Tokens + tile * 8, lane, v);
    }
}

/* ---- set-up and launch ---- */

typedef void (*PortableKernel)(W4A8Portable);

struct Portable {
    const unsigned char *packed;
    PortableKernel kernel;
    int tokens, across, bytes;
    bool grouped;
};

template <int Tokens, int Across, bool Grouped> static enum op_status take(Portable *state)
{
    state->kernel = w4a8_portable<Tokens, Across, Grouped>;
    state->tokens = Tokens;
    state->across = Across;
    state->bytes = PortableForm<Tokens, Across, Grouped>::BYTES;
    return cudaFuncSetAttribute((const void *)state->kernel,
                                cudaFuncAttributeMaxDynamicSharedMemorySize, state->bytes)
               ? OP_EDEVICE
               : OP_OK;
}

/* Narrow tiles where wide ones would leave multiprocessors idle. */
template <int Tokens, bool Grouped>
static enum op_status take_across(const struct gemm_problem *p, int sms, Portable *state)
{
    const int blocks = w4a8_div_up(p->n, 64) * w4a8_div_up(p->m, Tokens);
    return blocks < 2 * sms ? take<Tokens, 2, Grouped>(state) : take<Tokens, 4, Grouped>(state);
}

template <bool Grouped>
static enum op_status setup(const struct gemm_problem *p, const struct gemm_args *a,
                            const struct op_memory *memory, op_stream s, void **out)
{
    int device, sms;
    if (!w4a8_covers(p, Grouped))
        return OP_EUNSUPPORTED;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device))
        return OP_EDEVICE;
    Portable *state = (Portable *)calloc(1, sizeof *state);
    if (!state)
        return OP_ENOMEM;
    state->grouped = Grouped;
    enum op_status status = p->m <= 8    ? take_across<8, Grouped>(p, sms, state)
                            : p->m <= 16 ? take_across<16, Grouped>(p, sms, state)
                            : p->m <= 32 ? take_across<32, Grouped>(p, sms, state)
                                         : take<64, 4, Grouped>(state);
    if (status == OP_OK)
        state->packed = w4a8_packed(p, a, Grouped, memory, s, &status);
    if (status != OP_OK) {
        free(state);
        return status;
    }
    *out = state;
    return OP_OK;
}

OP_BEGIN
gemm_setup_fn gemm_w4a8_channel_portable_setup, gemm_w4a8_group_portable_setup;
gemm_run_fn gemm_w4a8_portable;

enum op_status gemm_w4a8_channel_portable_setup(const struct gemm_problem *p,
                                                const struct gemm_args *a,
                                                const struct op_memory *m, op_stream s,
                                                void **state)
{
    return setup<false>(p, a, m, s, state);
}

enum op_status gemm_w4a8_group_portable_setup(const struct gemm_problem *p,
                                              const struct gemm_args *a,
                                              const struct op_memory *m, op_stream s,
                                              void **state)
{
    return setup<true>(p, a, m, s, state);
}

enum op_status gemm_w4a8_portable(const struct gemm_problem *p, const struct gemm_args *a,
                                  void *state, op_stream s)
{
    const Portable *portable = (const Portable *)state;
    W4A8Portable work;
    (W4A8Operands &)work = w4a8_operands(p, a, portable->grouped);
    work.packed = portable->packed;
    work.x = a->int_x.code;
    work.k = p->k;
    const dim3 grid(w4a8_div_up(p->n, portable->across * W4A8_STRIP),
                    w4a8_div_up(p->m, portable->tokens));
    portable->kernel<<<grid, THREADS, portable->bytes, s>>>(work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void gemm_w4a8_portable_teardown(void *state)
{
    free(state);
}
OP_END

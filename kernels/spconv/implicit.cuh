/*
 * implicit.cuh - implicit GEMM of sparse convolution as TorchSparse++ generates it: a dense
 * GEMM of a fixed tile whose loads of A go through the map (arXiv 2311.12862).
 *
 *   y[row[i]] = sum over taps d of the range, present in the tile, of x[index[i][d]] W_d
 *
 *   block    128 rows x N columns x one range of taps;  loop over taps, slices of K channels
 *   A        [128][K] gathered, absent rows zero        B  [K][N] of W_d, row-major
 *
 * Published tiles are 128 x 64 x 32, 128 x 16 x 32 and 128 x 16 x 16, one stage, two barriers
 * a slice.  What the generator does to them is an option here, so that each can be left out:
 *
 *   Hoist    addresses made of thread and block are computed before the loop.  Without, a
 *            flat loop divides for tap and slice and computes all of them each time.
 *   Padded   the map has whole tiles, so that loads test no row.
 *   Stages   1 as published; more: a ring filled by copies that do not wait.
 *   Vector   elements of a load; 1 to 16 bytes, by what the channels are multiples of.
 */
#ifndef KERNELS_SPCONV_IMPLICIT_CUH
#define KERNELS_SPCONV_IMPLICIT_CUH

#include "implicit_math.cuh"
#include "plan.h"

struct ImplicitWork {
    const void *x, *w;
    void *y;              /* [n][columns]; of several ranges [splits][n][columns] */
    const int32_t *index; /* [splits][rows][taps] */
    const int32_t *row;   /* [splits][rows]; NULL: as they are */
    const uint32_t *mask; /* [splits][tiles] taps of a tile; NULL: all */
    int n, rows, taps;    /* rows: n padded; taps of a range */
    int all_taps, channels, columns;
};

template <bool Hoist, bool Padded, int Stages> struct ImplicitOptions {
    static constexpr bool HOIST = Hoist, PADDED = Padded;
    static constexpr int STAGES = Stages;
};
typedef ImplicitOptions<true, true, 1> Published;

/* So many bytes; zeros where not valid. */
template <int Bytes>
static __device__ __forceinline__ void copy_bytes(void *to, const void *from, bool valid)
{
    if constexpr (Bytes == 16)
        *(uint4 *)to = valid ? __ldg((const uint4 *)from) : make_uint4(0, 0, 0, 0);
    else if constexpr (Bytes == 8)
        *(uint2 *)to = valid ? __ldg((const uint2 *)from) : make_uint2(0, 0);
    else if constexpr (Bytes == 4)
        *(uint32_t *)to = valid ? __ldg((const uint32_t *)from) : 0;
    else
        *(uint16_t *)to = valid ? __ldg((const uint16_t *)from) : 0;
}

/* A thread's share of a slice: vectors q = thread + i * THREADS of an array whose rows have
 * `Across` vectors; its column is the same for all i. */
template <int Down, int Across, int Threads> struct Share {
    static constexpr int STEP = Threads / Across; /* rows between two of its vectors */
    static constexpr int COUNT = (Down + STEP - 1) / STEP;
    static_assert(Threads % Across == 0, "a thread keeps its column");
};

template <class Math_, int N, int K, bool Transposed, int Vector, class Options>
struct ImplicitTile {
    typedef Math_ Math;
    typedef typename Math::Element T;
    static constexpr int THREADS = Math::THREADS, BYTES = Vector * (int)sizeof(T);
    static constexpr int B_DOWN = Transposed ? N : K, B_WIDE = Transposed ? K : N;
    typedef Share<IMPLICIT_ROWS, K / Vector, THREADS> ShareA;
    typedef Share<B_DOWN, B_WIDE / Vector, THREADS> ShareB;
    static constexpr int A_ELEMENTS = IMPLICIT_ROWS * Math::PITCH_A;
    static constexpr int B_ELEMENTS = B_DOWN * Math::PITCH_B;
    static constexpr int STAGE = A_ELEMENTS + B_ELEMENTS;
    static constexpr size_t SHARED = (size_t)Options::STAGES * STAGE * sizeof(T);

    static __device__ __forceinline__ void copy(T *to, const T *from, bool valid)
    {
        if constexpr (Options::STAGES > 1)
            copy_async(to, from, valid);
        else
            copy_bytes<BYTES>(to, from, valid);
    }

    /* One slice of A and B into a stage: rows index[i * step] of x from channel `channel` on,
     * `rows` of them unless padded, and of w, the weights of the tap. */
    static __device__ __forceinline__ void load(T *stage, int thread, const int32_t *index,
                                                int step, int rows, const T *x, const T *w,
                                                int channels, int columns, int first_column,
                                                int channel)
    {
        const int a_row = thread / (K / Vector), a_column = thread % (K / Vector) * Vector;
        const int c = channel + a_column;
        index += (size_t)a_row * step;
        x += c;
#pragma unroll
        for (int i = 0; i < ShareA::COUNT; i++) {
            const int row = a_row + i * ShareA::STEP;
            const bool exists = Options::PADDED || row < rows;
            const int j = exists ? __ldg(index + (size_t)i * ShareA::STEP * step) : -1;
            copy(stage + row * Math::PITCH_A + a_column, j < 0 ? x : x + (size_t)j * channels,
                 j >= 0 && c < channels);
        }
        const int b_row = thread / (B_WIDE / Vector), b_column = thread % (B_WIDE / Vector) * Vector;
#pragma unroll
        for (int i = 0; i < ShareB::COUNT; i++) {
            const int row = b_row + i * ShareB::STEP;
            const int k = channel + (Transposed ? b_column : row);
            const int n = first_column + (Transposed ? row : b_column);
            const bool exists = k < channels && n < columns;
            const size_t at = Transposed ? (size_t)n * channels + k : (size_t)k * columns + n;
            if (ShareB::COUNT * ShareB::STEP == B_DOWN || row < B_DOWN)
                copy(stage + A_ELEMENTS + row * Math::PITCH_B + b_column, exists ? w + at : w,
                     exists);
        }
    }
};

template <template <int, int, bool> class MathOf, int N, int K, bool Transposed, int Vector,
          class Options>
struct ImplicitKernel
    : ImplicitTile<MathOf<N, K, Transposed>, N, K, Transposed, Vector, Options> {
    typedef MathOf<N, K, Transposed> Math;
    typedef typename Math::Element T;

    /* tap counts from the range's first */
    static __device__ __forceinline__ void load_tap(const ImplicitWork &p, T *stage, int thread,
                                                    int tile, int first_column, int split, int tap,
                                                    int channel)
    {
        const int first = tile * IMPLICIT_ROWS;
        const T *w = (const T *)p.w +
                     (size_t)(split * p.taps + tap) * p.channels * p.columns;
        ImplicitKernel::load(stage, thread, p.index + ((size_t)split * p.rows + first) * p.taps + tap,
                             p.taps, p.n - first, (const T *)p.x, w, p.channels, p.columns,
                             first_column, channel);
    }

    static __device__ __forceinline__ void store(const ImplicitWork &p, const Math &math, int tile,
                                                 int first_column, int split)
    {
        T *y = (T *)p.y + (size_t)split * p.n * p.columns;
        const int32_t *order = p.row ? p.row + (size_t)split * p.rows : NULL;
        math.each([&](int r, int c, float v0, float v1) {
            const int place = tile * IMPLICIT_ROWS + r, n = first_column + c;
            const int row = order ? __ldg(order + place) : place < p.n ? place : -1;
            if (row < 0)
                return;
            T *to = y + (size_t)row * p.columns + n;
            if (n < p.columns)
                set(to, v0);
            if (n + 1 < p.columns)
                set(to + 1, v1);
        });
    }
};

/* Taps of a tile, one after another. */
struct ImplicitWalk {
    uint32_t left;
    int tap, channel;
    __device__ __forceinline__ explicit ImplicitWalk(uint32_t mask) : left(mask), channel(0)
    {
        tap = __ffs(left) - 1;
    }
    __device__ __forceinline__ bool ended() const { return !left; }
    __device__ __forceinline__ void next(int step, int channels)
    {
        channel += step;
        if (channel >= channels) {
            channel = 0;
            left &= left - 1;
            tap = __ffs(left) - 1;
        }
    }
};

template <template <int, int, bool> class MathOf, int N, int K, bool Transposed, int Vector,
          class Options>
static __global__ __launch_bounds__(ImplicitWarps<N>::THREADS,
                                    512 / ImplicitWarps<N>::THREADS) void implicit_gemm(ImplicitWork p)
{
    typedef ImplicitKernel<MathOf, N, K, Transposed, Vector, Options> Kernel;
    typedef typename Kernel::T T;
    extern __shared__ uint4 memory[];
    T *ring = (T *)memory;
    const int tile = blockIdx.x, first_column = blockIdx.y * N, split = blockIdx.z;
    const int taps = min(p.taps, p.all_taps - split * p.taps);
    const uint32_t all = taps == 32 ? ~0u : (1u << taps) - 1;
    const uint32_t mask = p.mask ? p.mask[(size_t)split * gridDim.x + tile] : all;
    typename Kernel::Math math;

    if constexpr (Options::STAGES > 1) {
        ImplicitWalk ahead(mask), here(mask);
#pragma unroll
        for (int i = 0; i < Options::STAGES - 1; i++) {
            if (!ahead.ended()) {
                Kernel::load_tap(p, ring + i * Kernel::STAGE, threadIdx.x, tile, first_column, split,
                             ahead.tap, ahead.channel);
                ahead.next(K, p.channels);
            }
            copy_commit();
        }
        for (int i = 0; !here.ended(); here.next(K, p.channels)) {
            copy_wait<Options::STAGES - 2>();
            __syncthreads();
            const int next = i ? i - 1 : Options::STAGES - 1;
            if (!ahead.ended()) {
                Kernel::load_tap(p, ring + next * Kernel::STAGE, threadIdx.x, tile, first_column, split,
                             ahead.tap, ahead.channel);
                ahead.next(K, p.channels);
            }
            copy_commit();
            const T *stage = ring + i * Kernel::STAGE;
            math.multiply(stage, stage + Kernel::A_ELEMENTS);
            i = i + 1 == Options::STAGES ? 0 : i + 1;
        }
    } else if constexpr (Options::HOIST) {
        for (ImplicitWalk walk(mask); !walk.ended(); walk.next(K, p.channels)) {
            __syncthreads();
            Kernel::load_tap(p, ring, threadIdx.x, tile, first_column, split, walk.tap, walk.channel);
            __syncthreads();
            math.multiply(ring, ring + Kernel::A_ELEMENTS);
        }
    } else {
        const int slices = (p.channels + K - 1) / K;
#pragma unroll 1
        for (int k = 0; k < taps * slices; k++) {
            int thread, block;
            /* read anew, so that nothing made of them is kept */
            asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
            asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
            if (!(mask >> k / slices & 1))
                continue;
            __syncthreads();
            Kernel::load_tap(p, ring, thread, block, first_column, split, k / slices, k % slices * K);
            __syncthreads();
            math.multiply(ring, ring + Kernel::A_ELEMENTS);
        }
    }
    Kernel::store(p, math, tile, first_column, split);
}

#endif

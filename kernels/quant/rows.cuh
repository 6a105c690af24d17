/*
 * rows.cuh - a row in the registers of a block or a cluster: what it is made of, its reductions,
 * its codes.  Included by own_sm90.cu.
 *
 * Vector i of a row, 8 halves, belongs to
 *
 *     i = (v * blocks + block of the cluster) * threads + thread      v < V
 *
 * so that each of the V loads of a warp is 512 bytes in one piece.
 *
 * Bound by bytes where there are many rows; one latency of memory, two barriers and one of
 * launching where there are few.
 */
#ifndef KERNELS_QUANT_ROWS_CUH
#define KERNELS_QUANT_ROWS_CUH

#include <cuda_fp16.h>

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/warp.cuh"
#include "../gemm/quantise.h"
#include "quant.h"
#include "shape.h"

constexpr int V8 = QUANT_VECTOR;

/* Blocks that the device runs at once; 0 if it does not say. */
template <class Kernel> static unsigned blocks_at_once(Kernel kernel, int threads)
{
    int device, sms, blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0))
        return 0;
    return (unsigned)(sms * blocks);
}

/* ---- halves ---- */

static __device__ __forceinline__ half2 half2_of_bits(uint32_t u)
{
    return *(half2 *)&u;
}

static __device__ __forceinline__ uint32_t bits_of_half2(half2 h)
{
    return *(uint32_t *)&h;
}

static __device__ __forceinline__ void to_floats(const uint4 &from, float (&to)[V8])
{
    const uint32_t word[4] = { from.x, from.y, from.z, from.w };
#pragma unroll
    for (int t = 0; t < 4; t++) {
        const float2 f = __half22float2(half2_of_bits(word[t]));
        to[2 * t] = f.x, to[2 * t + 1] = f.y;
    }
}

static __device__ __forceinline__ uint4 to_halves(const float (&from)[V8])
{
    uint32_t word[4];
#pragma unroll
    for (int t = 0; t < 4; t++)
        word[t] = bits_of_half2(__floats2half2_rn(from[2 * t], from[2 * t + 1]));
    return make_uint4(word[0], word[1], word[2], word[3]);
}

/* Sum of two vectors, each element rounded once. */
static __device__ __forceinline__ uint4 add_halves(const uint4 &a, const uint4 &b)
{
    return make_uint4(bits_of_half2(__hadd2(half2_of_bits(a.x), half2_of_bits(b.x))),
                      bits_of_half2(__hadd2(half2_of_bits(a.y), half2_of_bits(b.y))),
                      bits_of_half2(__hadd2(half2_of_bits(a.z), half2_of_bits(b.z))),
                      bits_of_half2(__hadd2(half2_of_bits(a.w), half2_of_bits(b.w))));
}

/* Largest |.| of a vector. */
static __device__ __forceinline__ float largest(const uint4 &v)
{
    const half2 a = __hmax2(__habs2(half2_of_bits(v.x)), __habs2(half2_of_bits(v.y)));
    const half2 b = __hmax2(__habs2(half2_of_bits(v.z)), __habs2(half2_of_bits(v.w)));
    const float2 f = __half22float2(__hmax2(a, b));
    return fmaxf(f.x, f.y);
}

/* Read once and never again: leaves the caches first. */
static __device__ __forceinline__ uint4 load_once(const void *p, size_t vector)
{
    return __ldcs((const uint4 *)p + vector);
}

/* The compiler keeps the vector, not what it has made of it. */
static __device__ __forceinline__ void opaque(uint4 &v)
{
    asm("" : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w));
}

/* ---- codes ---- */

/* rint(v inverse) of 8 values.  Adding 1.5 2^23 leaves the integer in the low byte of the sum,
 * rounded to nearest even; product and sum must not become one operation, which would round
 * once. */
static __device__ __forceinline__ uint2 codes_of(const float (&v)[V8], float inverse)
{
    uint32_t sum[V8];
#pragma unroll
    for (int t = 0; t < V8; t++)
        sum[t] = __float_as_uint(__fadd_rn(__fmul_rn(v[t], inverse), 12582912.0f));
    uint2 to;
    to.x = __byte_perm(__byte_perm(sum[0], sum[1], 0x0040), __byte_perm(sum[2], sum[3], 0x0040),
                       0x5410);
    to.y = __byte_perm(__byte_perm(sum[4], sum[5], 0x0040), __byte_perm(sum[6], sum[7], 0x0040),
                       0x5410);
    return to;
}

static __device__ __forceinline__ int sum_of_codes(uint2 codes, int sum)
{
    return __dp4a((int)codes.x, 0x01010101, __dp4a((int)codes.y, 0x01010101, sum));
}

/* ---- reductions over a row ---- */

/* Every lane gets the same bits. */
static __device__ __forceinline__ float all_sum(float v)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        v += __shfl_xor_sync(ALL_LANES, v, d);
    return v;
}

/* Of numbers >= 0, whose order is that of their bits. */
static __device__ __forceinline__ float all_most(float v)
{
    return __uint_as_float(__reduce_max_sync(ALL_LANES, __float_as_uint(v)));
}

/*
 * Partial results of all warps of a row; added up in the order of blocks and warps, so that every
 * thread gets the same bits.  In a cluster each block has those of all blocks: they are sent to
 * it and counted by a barrier of its own, one for each of the two exchanges, of which the second
 * goes to block 0 alone.
 */
template <int Blocks> struct RowSums {
    static constexpr int SLOTS = Blocks * QUANT_THREADS_MAX / WARP;
    float2 slot[2][SLOTS];
    uint64_t full[2];

    static __device__ __forceinline__ uint32_t shared(const void *p)
    {
        return (uint32_t)__cvta_generic_to_shared(p);
    }

    static __device__ __forceinline__ int count()
    {
        return Blocks * (blockDim.x / WARP);
    }

    /* Nothing is sent to another block before it has started: sum_and_most waits. */
    __device__ __forceinline__ void open()
    {
        if constexpr (Blocks > 1) {
            if (!threadIdx.x) {
                for (int turn = 0; turn < 2; turn++)
                    mbarrier_init(shared(&full[turn]), 1);
                mbarrier_init_done();
                for (int turn = 0; turn < 2; turn++)
                    mbarrier_expect(shared(&full[turn]), count() * (unsigned)sizeof(float2));
            }
            cluster_arrive_started();
        }
    }

    /* a warp's part to the first `receivers` blocks of the cluster */
    __device__ __forceinline__ void send(int turn, float x, float y, int block, int receivers)
    {
        const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
        float2 *to = &slot[turn][block * (blockDim.x / WARP) + warp];
        if constexpr (Blocks > 1) {
            if (lane < receivers)
                cluster_send(shared(to), shared(&full[turn]), lane, x, y);
        } else if (!lane) {
            *to = make_float2(x, y);
        }
    }

    __device__ __forceinline__ void receive(int turn)
    {
        if constexpr (Blocks > 1)
            mbarrier_wait_cluster(shared(&full[turn]), 0);
        else
            __syncthreads();
    }

    /* All blocks have started; all threads, before the first exchange. */
    static __device__ __forceinline__ void started()
    {
        if constexpr (Blocks > 1)
            cluster_wait();
    }

    /* sum and largest of the row; all threads.  Started: the caller has waited for that. */
    template <bool Started = false>
    __device__ __forceinline__ float2 sum_and_most(float sum, float most, int block)
    {
        const int lane = threadIdx.x % WARP;
        sum = all_sum(sum), most = all_most(most);
        if constexpr (!Started)
            started();
        send(0, sum, most, block, Blocks);
        receive(0);
        sum = most = 0;
#pragma unroll
        for (int i = 0; i < SLOTS; i += WARP)
            if (i + lane < count()) {
                sum += slot[0][i + lane].x;
                most = fmaxf(most, slot[0][i + lane].y);
            }
        return make_float2(all_sum(sum), all_most(most));
    }

    /* The largest of the row alone; all threads, in place of sum_and_most<true>. */
    __device__ __forceinline__ float most(float most, int block)
    {
        const int lane = threadIdx.x % WARP;
        most = all_most(most);
        send(0, 0, most, block, Blocks);
        receive(0);
#pragma unroll
        for (int i = 0; i < SLOTS; i += WARP)
            if (i + lane < count())
                most = fmaxf(most, slot[0][i + lane].y);
        return all_most(most);
    }

    /* Two sums of the row from those of warps, for the first lane of block 0, which is told so. */
    __device__ __forceinline__ bool sums(float &value, int &code, int block)
    {
        const int lane = threadIdx.x % WARP;
        send(1, value, __int_as_float(code), block, 1);
        if constexpr (Blocks == 1)
            receive(1);
        if (block || threadIdx.x >= WARP)
            return false;
        if constexpr (Blocks > 1)
            receive(1);
        value = 0, code = 0;
#pragma unroll
        for (int i = 0; i < SLOTS; i += WARP)
            if (i + lane < count()) {
                value += slot[1][i + lane].x;
                code += __float_as_int(slot[1][i + lane].y);
            }
        value = all_sum(value);
        code = __reduce_add_sync(ALL_LANES, code);
        return !lane;
    }
};

/* ---- what a row is made of ----
 *
 * constants(a, j, i)        loads what no kernel makes: for vector j of the row, the thread's i-th
 * load(a, row, vectors, j, i) loads it
 * ready(i)                  after all loads of the row
 * first(i, sum, most)       adds the thread's i-th vector to what the row needs to know
 * finish(1 / n, sum, most)  after the reduction: the largest value
 * value(i, to)              the 8 values, as halves hold them
 *
 * NORMS: sum is that of squares, not of values.  KEEPS: x[i] is a result too.
 */

/* Halves that are there: a sum of values and the largest. */
template <int V> struct Halves {
    static constexpr bool NORMS = false;
    uint4 v[V];
    __device__ __forceinline__ void constants(const quant_args &, int, int)
    {
    }
    __device__ __forceinline__ void first(int i, float &sum, float &most) const
    {
        float f[V8];
        to_floats(v[i], f);
#pragma unroll
        for (int t = 0; t < V8; t++)
            sum += f[t];
        most = fmaxf(most, largest(v[i]));
    }
    __device__ __forceinline__ float finish(float, float, float most)
    {
        return most;
    }
    __device__ __forceinline__ void value(int i, float (&to)[V8]) const
    {
        to_floats(v[i], to);
    }
};

template <int V> struct Plain : Halves<V> {
    static constexpr bool KEEPS = false;
    __device__ __forceinline__ void load(const quant_args &a, size_t row, int vectors, int j, int i)
    {
        this->v[i] = load_once(a.x, row * vectors + j);
    }
    __device__ __forceinline__ void ready(int)
    {
    }
};

/* x / (1 + exp(-x)) = x / (1 + 2^(-x log2 e)); 2^.. infinite: 0 */
static __device__ __forceinline__ float silu(float x)
{
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-1.4426950408889634f * x));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
    return x * inverse;
}

template <int V> struct Silu : Halves<V> {
    static constexpr bool KEEPS = false;
    uint4 up[V];
    __device__ __forceinline__ void load(const quant_args &a, size_t row, int vectors, int j, int i)
    {
        this->v[i] = load_once(a.x, 2 * row * vectors + j);
        up[i] = load_once(a.x, 2 * row * vectors + vectors + j);
    }
    __device__ __forceinline__ void ready(int i)
    {
        float gate[V8], u[V8];
        to_floats(this->v[i], gate);
        to_floats(up[i], u);
#pragma unroll
        for (int t = 0; t < V8; t++)
            gate[t] = silu(gate[t]) * u[t];
        this->v[i] = to_halves(gate);
    }
};

/* What a NORM reads, and of what it takes the norm. */
template <int V, bool Add> struct NormOperands {
    uint4 loaded[V], other[V], gain[V];
    __device__ __forceinline__ void constants(const quant_args &a, int j, int i)
    {
        gain[i] = __ldg((const uint4 *)a.gain + j);
    }
    __device__ __forceinline__ void load(const quant_args &a, size_t row, int vectors, int j, int i)
    {
        loaded[i] = load_once(a.x, row * vectors + j);
        if constexpr (Add)
            other[i] = load_once(a.residual, row * vectors + j);
    }
    __device__ __forceinline__ uint4 sum(int i) const
    {
        if constexpr (Add)
            return add_halves(loaded[i], other[i]);
        else
            return loaded[i];
    }
};

/* x gain is exact in float: its largest is known in the same pass as the mean square.  Made
 * twice, as it would take twice the registers of x. */
template <int V, bool Add> struct Norm : NormOperands<V, Add> {
    static constexpr bool NORMS = true, KEEPS = Add;
    using NormOperands<V, Add>::gain;
    uint4 x[V];
    float root;
    __device__ __forceinline__ void ready(int i)
    {
        x[i] = this->sum(i);
    }
    __device__ __forceinline__ void first(int i, float &sum, float &most)
    {
        float f[V8], g[V8];
        to_floats(x[i], f);
        opaque(x[i]);
        opaque(gain[i]);
        to_floats(gain[i], g);
#pragma unroll
        for (int t = 0; t < V8; t++) {
            sum += f[t] * f[t];
            most = fmaxf(most, fabsf(f[t] * g[t]));
        }
    }
    __device__ __forceinline__ float finish(float one_of_n, float sum, float most)
    {
        root = rsqrtf(sum * one_of_n + QUANT_EPS);
        return __half2float(__float2half_rn(most * root));
    }
    __device__ __forceinline__ void value(int i, float (&to)[V8]) const
    {
        uint4 halves = x[i], factor = gain[i];
        float f[V8], g[V8];
        opaque(halves);
        opaque(factor);
        to_floats(halves, f);
        to_floats(factor, g);
#pragma unroll
        for (int t = 0; t < V8; t++)
            to[t] = f[t] * g[t] * root;
        to_floats(to_halves(to), to);
    }
};

template <int V> using PlainNorm = Norm<V, false>;
template <int V> using AddNorm = Norm<V, true>;

/* ---- the kernel ---- */

/* The codes of a row of values, and its sums. */
template <class Source, int V, int Blocks, bool Full>
static __device__ __forceinline__ void
quantise_row(const Source &source, const int (&at)[V], RowSums<Blocks> &room, const quant_args &a,
             size_t row, int vectors, int block, float largest, float values)
{
    const float inverse = (float)W8_TOP / int_range(largest);
    int codes = 0;
#pragma unroll
    for (int i = 0; i < V; i++)
        if (Full || at[i] < vectors) {
            float v[V8];
            source.value(i, v);
            const uint2 c = codes_of(v, inverse);
            ((uint2 *)a.code)[row * vectors + at[i]] = c;
            codes = sum_of_codes(c, codes);
        }
    float sum = all_sum(values);
    codes = __reduce_add_sync(ALL_LANES, codes);
    if (!room.sums(sum, codes, block))
        return;
    ((half *)a.scale)[row] = __float2half_rn(int_range(largest) / (float)W8_TOP);
    ((half *)a.sum)[row] = __float2half_rn(values);
    a.code_sum[row] = codes;
}

/* Between: values as halves to `between` in place of codes, scale and sums.  Full: every thread
 * has V vectors of the row. */
template <template <int> class Kind, int V, int Blocks, bool Between, bool Full>
static __global__ void __launch_bounds__(QUANT_THREADS_MAX)
    quant_rows(int n, float one_of_n, const quant_args a, uint4 *between)
{
    using Source = Kind<V>;
    static_assert(Between || !Source::NORMS, "lean.cuh has the codes of normalised rows");
    __shared__ RowSums<Blocks> room;
    const int vectors = n / V8, block = Blocks > 1 ? blockIdx.x % Blocks : 0;
    const size_t row = blockIdx.x / Blocks;
    constexpr bool REDUCES = !Between || Source::NORMS;
    Source source;
    int at[V];
    float sum = 0, most = 0, largest = 0;
    if constexpr (REDUCES)
        room.open();
#pragma unroll
    for (int i = 0; i < V; i++) {
        at[i] = (i * Blocks + block) * blockDim.x + threadIdx.x;
        if (Full || at[i] < vectors)
            source.constants(a, at[i], i);
    }
    let_next_start();
    wait_for_previous();
#pragma unroll
    for (int i = 0; i < V; i++)
        if (Full || at[i] < vectors)
            source.load(a, row, vectors, at[i], i);
    __syncwarp(); /* all are asked for before the first is worked on */
#pragma unroll
    for (int i = 0; i < V; i++)
        if (Full || at[i] < vectors) {
            source.ready(i);
            if constexpr (Source::KEEPS)
                ((uint4 *)a.y)[row * vectors + at[i]] = source.x[i];
            if constexpr (REDUCES)
                source.first(i, sum, most);
        }
    if constexpr (REDUCES) {
        const float2 total = room.sum_and_most(sum, most, block);
        sum = total.x;
        largest = source.finish(one_of_n, total.x, total.y);
    }
    if constexpr (Between) {
#pragma unroll
        for (int i = 0; i < V; i++)
            if (Full || at[i] < vectors) {
                float v[V8];
                source.value(i, v);
                between[row * vectors + at[i]] = to_halves(v);
            }
    } else {
        quantise_row<Source, V, Blocks, Full>(source, at, room, a, row, vectors, block, largest,
                                              sum);
    }
}

/* ---- the sum of two streams ---- */

constexpr int ADD_THREADS = 256, ADD_VECTORS = 2;

static __global__ void __launch_bounds__(ADD_THREADS)
    quant_add(const uint4 *x, const uint4 *residual, uint4 *y, size_t vectors)
{
    const size_t first = (size_t)blockIdx.x * ADD_THREADS * ADD_VECTORS + threadIdx.x;
    uint4 a[ADD_VECTORS], b[ADD_VECTORS];
    let_next_start();
    wait_for_previous();
#pragma unroll
    for (int i = 0; i < ADD_VECTORS; i++)
        if (first + i * ADD_THREADS < vectors) {
            a[i] = load_once(x, first + i * ADD_THREADS);
            b[i] = load_once(residual, first + i * ADD_THREADS);
        }
#pragma unroll
    for (int i = 0; i < ADD_VECTORS; i++)
        if (first + i * ADD_THREADS < vectors)
            y[first + i * ADD_THREADS] = add_halves(a[i], b[i]);
}

#endif

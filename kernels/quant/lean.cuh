/*
 * lean.cuh - the rows of rows.cuh with less to do: the bits of the definition, fewer instructions
 * and a shorter way from the last load to the first code.  Included by own_sm90.cu.
 *
 *   before the codes    no sum but the squares of a NORM: the largest value by one exchange
 *   sum of values       by the tensor cores, 8 halves of a lane an instruction instead of 16
 *   NORM                products with the gain are kept, in the registers of row and gain
 *   SILU                two gates share a reciprocal, 3 slow instructions in place of 4
 *   codes               packed by the instruction that cuts values off
 *   127 / a             without the compiler's question whether it is near an end of float
 *
 * Both sums follow the codes, by one exchange that only their two numbers wait for.
 *
 * While a block computes it reads nothing.  With `ahead` it has asked the L2 by then for the row
 * of the block that takes its place, so that memory is busy from the first block to the last.
 *
 * Instructions of a warp for 4 vectors a lane, all told: NORM 520, ADD_NORM 580, SILU 610 (760 in
 * rows.cuh) with 48 of the slow ones (64), plain 250 (470).
 */
#ifndef KERNELS_QUANT_LEAN_CUH
#define KERNELS_QUANT_LEAN_CUH

#include "../common/prefetch.cuh"
#include "lean.h"
#include "rows.cuh"

/* ---- sum of halves ----
 *
 * The halves of a lane are a fragment of A, 16 x 16, of m16n8k16; B is 1 everywhere.  Lanes 4 g to
 * 4 g + 3 have rows g (words 0, 2) and g + 8 (words 1, 3), whose sums come back to all of them as
 * c[0] = c[1] and c[2] = c[3].
 */
struct HalfTotal {
    float c[4] = {};

    /* all lanes */
    __device__ __forceinline__ void add(const uint4 &v)
    {
        constexpr uint32_t ONES = 0x3C003C00;
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %8}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(ONES));
    }

    /* Of the warp, to every lane. */
    __device__ __forceinline__ float warp() const
    {
        float sum = c[0] + c[2];
#pragma unroll
        for (int d = 4; d < WARP; d *= 2)
            sum += __shfl_xor_sync(ALL_LANES, sum, d);
        return sum;
    }
};

/* ---- codes ---- */

/* Four values to codes, rounded to nearest even, the first in the low byte. */
static __device__ __forceinline__ uint32_t packed_codes(float a, float b, float c, float d)
{
    uint32_t to;
    asm("{\n\t"
        ".reg .s32 w, x, y, z;\n\t"
        "cvt.rni.s32.f32 w, %1;\n\t"
        "cvt.rni.s32.f32 x, %2;\n\t"
        "cvt.rni.s32.f32 y, %3;\n\t"
        "cvt.rni.s32.f32 z, %4;\n\t"
        "cvt.pack.sat.s8.s32.b32 %0, z, y, 0;\n\t"
        "cvt.pack.sat.s8.s32.b32 %0, x, w, %0;\n\t"
        "}"
        : "=r"(to)
        : "f"(a), "f"(b), "f"(c), "f"(d));
    return to;
}

static __device__ __forceinline__ uint2 lean_codes(const uint4 &halves, float inverse)
{
    float v[V8];
    to_floats(halves, v);
#pragma unroll
    for (int t = 0; t < V8; t++)
        v[t] *= inverse;
    return make_uint2(packed_codes(v[0], v[1], v[2], v[3]), packed_codes(v[4], v[5], v[6], v[7]));
}

/* ---- what a row is made of: as in rows.cuh, but
 *
 * first(i, sum, most)       the thread's i-th vector, loaded, to what is kept of it
 * clear(i)                  in its place where the row has no such vector
 * halves(i)                 its values, 0 where there are none
 * ahead(a, row, vectors, j, bytes)  asks the L2 for what vectors j .. take
 */

static __device__ __forceinline__ void vectors_ahead(const void *p, size_t vector, unsigned bytes)
{
    bulk_prefetch((const uint4 *)p + vector, bytes);
}

template <int V> struct LeanPlain {
    static constexpr bool NORMS = false, KEEPS = false;
    uint4 v[V];
    __device__ __forceinline__ void constants(const quant_args &, int, int)
    {
    }
    __device__ __forceinline__ void load(const quant_args &a, size_t row, int vectors, int j, int i)
    {
        v[i] = load_once(a.x, row * vectors + j);
    }
    static __device__ __forceinline__ void ahead(const quant_args &a, size_t row, int vectors,
                                                 int j, unsigned bytes)
    {
        vectors_ahead(a.x, row * vectors + j, bytes);
    }
    __device__ __forceinline__ void first(int i, float &, float &most)
    {
        most = fmaxf(most, largest(v[i]));
    }
    __device__ __forceinline__ void clear(int i)
    {
        v[i] = make_uint4(0, 0, 0, 0);
    }
    __device__ __forceinline__ float finish(float, float, float most)
    {
        return most;
    }
    __device__ __forceinline__ uint4 halves(int i) const
    {
        return v[i];
    }
};

template <int V> struct LeanSilu : LeanPlain<V> {
    uint4 up[V];
    __device__ __forceinline__ void load(const quant_args &a, size_t row, int vectors, int j, int i)
    {
        this->v[i] = load_once(a.x, 2 * row * vectors + j);
        up[i] = load_once(a.x, 2 * row * vectors + vectors + j);
    }
    static __device__ __forceinline__ void ahead(const quant_args &a, size_t row, int vectors,
                                                 int j, unsigned bytes)
    {
        vectors_ahead(a.x, 2 * row * vectors + j, bytes);
        vectors_ahead(a.x, 2 * row * vectors + vectors + j, bytes);
    }
    __device__ __forceinline__ void first(int i, float &sum, float &most)
    {
        float gate[V8], u[V8];
        to_floats(this->v[i], gate);
        to_floats(up[i], u);
#pragma unroll
        for (int t = 0; t < V8; t += 2) {
            lean_silu(&gate[t], &gate[t + 1]);
            gate[t] *= u[t], gate[t + 1] *= u[t + 1];
        }
        this->v[i] = to_halves(gate);
        LeanPlain<V>::first(i, sum, most);
    }
};

template <int V, bool Add> struct LeanNormOf : NormOperands<V, Add> {
    static constexpr bool NORMS = true, KEEPS = Add;
    uint4 x[V];
    float product[V][V8], root;
    static __device__ __forceinline__ void ahead(const quant_args &a, size_t row, int vectors,
                                                 int j, unsigned bytes)
    {
        vectors_ahead(a.x, row * vectors + j, bytes);
        if constexpr (Add)
            vectors_ahead(a.residual, row * vectors + j, bytes);
    }
    __device__ __forceinline__ void first(int i, float &sum, float &most)
    {
        float f[V8], g[V8], odd = 0;
        x[i] = NormOperands<V, Add>::sum(i);
        to_floats(x[i], f);
        to_floats(this->gain[i], g);
#pragma unroll
        for (int t = 0; t < V8; t++) {
            (t % 2 ? odd : sum) += f[t] * f[t];
            product[i][t] = f[t] * g[t];
            most = fmaxf(most, fabsf(product[i][t]));
        }
        sum += odd;
    }
    __device__ __forceinline__ void clear(int i)
    {
#pragma unroll
        for (int t = 0; t < V8; t++)
            product[i][t] = 0;
    }
    __device__ __forceinline__ float finish(float one_of_n, float sum, float most)
    {
        root = rsqrtf(sum * one_of_n + QUANT_EPS);
        return __half2float(__float2half_rn(most * root));
    }
    __device__ __forceinline__ uint4 halves(int i) const
    {
        float v[V8];
#pragma unroll
        for (int t = 0; t < V8; t++)
            v[t] = product[i][t] * root;
        return to_halves(v);
    }
};

template <int V> using LeanNorm = LeanNormOf<V, false>;
template <int V> using LeanAddNorm = LeanNormOf<V, true>;

/* ---- the kernel ---- */

/* ahead: rows, 0 for none. */
template <template <int> class Kind, int V, int Blocks, bool Full>
static __global__ void __launch_bounds__(QUANT_THREADS_MAX)
    quant_lean(int m, int n, int ahead, float one_of_n, const quant_args a)
{
    using Source = Kind<V>;
    __shared__ RowSums<Blocks> room;
    const int vectors = n / V8, block = Blocks > 1 ? blockIdx.x % Blocks : 0;
    const size_t row = blockIdx.x / Blocks;
    Source source;
    int at[V], codes = 0;
    float sum = 0, most = 0;
    HalfTotal total;
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
    room.started(); /* while they are on their way */
    /* Rows of PLAIN and SILU never ask.  Yet without this question the compiler has the first
       vectors computed before the last are asked for: 158 us in place of 144 for SILU of 4096 rows
       of 28672. */
    if (ahead && threadIdx.x < V && row + ahead < (size_t)m) {
        const int from = (threadIdx.x * Blocks + block) * blockDim.x, left = vectors - from;
        if (left > 0)
            Source::ahead(a, row + ahead, vectors, from, 16u * min((int)blockDim.x, left));
    }
#pragma unroll
    for (int i = 0; i < V; i++)
        if (Full || at[i] < vectors) {
            source.first(i, sum, most);
            if constexpr (Source::KEEPS)
                ((uint4 *)a.y)[row * vectors + at[i]] = source.x[i];
        } else {
            source.clear(i);
        }
    if constexpr (Source::NORMS) {
        const float2 of_row = room.template sum_and_most<true>(sum, most, block);
        sum = of_row.x, most = of_row.y;
    } else {
        most = room.most(most, block);
    }
    const float range = int_range(source.finish(one_of_n, sum, most));
    const float inverse = quant_quotient((float)W8_TOP, range, quant_reciprocal(range));
#pragma unroll
    for (int i = 0; i < V; i++) {
        const uint4 halves = source.halves(i);
        if (Full || at[i] < vectors) {
            const uint2 c = lean_codes(halves, inverse);
            ((uint2 *)a.code)[row * vectors + at[i]] = c;
            codes = sum_of_codes(c, codes);
        }
        total.add(halves);
    }
    float values = total.warp();
    codes = __reduce_add_sync(ALL_LANES, codes);
    if (!room.sums(values, codes, block))
        return;
    ((half *)a.scale)[row] = __float2half_rn(quant_quotient(range, W8_TOP, 1.0f / W8_TOP));
    ((half *)a.sum)[row] = __float2half_rn(values);
    a.code_sum[row] = codes;
}

#endif

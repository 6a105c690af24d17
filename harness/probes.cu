/*
 * probes.cu - gate, stamps, flush, comparison, ceilings: the harness's own kernels.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "philox.h"
#include "probes.h"

/* ---- timing ---- */

__device__ static unsigned long long global_ns()
{
    unsigned long long t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
    return t;
}

/* Holds the stream until the host writes the ticket.  Leaves by itself after the
 * budget: a host that died must not leave a spinning GPU behind. */
__global__ static void gate_kernel(struct probe_gate *gate, unsigned ticket,
                                   unsigned long long budget_ns)
{
    const unsigned long long start = global_ns();
    while ((int)(gate->open - ticket) < 0)
        if (global_ns() - start > budget_ns) {
            gate->timed_out = ticket;
            break;
        }
}

__global__ static void stamp_kernel(struct probe_stamp *stamp)
{
    unsigned sm;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
    struct probe_stamp t;
    t.cycles = (unsigned long long)clock64();
    t.ns = global_ns();
    stamp[sm] = t;
}

__global__ static void null_kernel()
{
}

__global__ static void mark_kernel()
{
}

__global__ static void spin_kernel(unsigned long long ns)
{
    const unsigned long long start = global_ns();
    while (global_ns() - start < ns)
        ;
}

__global__ static void tick_kernel(unsigned long long *ns)
{
    unsigned long long least = ~0ull, last = global_ns();
    for (int i = 0; i < 100000; i++) {
        const unsigned long long t = global_ns();
        if (t != last && t - last < least)
            least = t - last;
        last = t;
    }
    *ns = least;
}

/* 16 bytes a thread, four loads in flight; the sum reaches memory only if it
 * hits a value that the fill patterns of the harness do not give. */
__global__ static void __launch_bounds__(512) read_kernel(const uint4 *p, size_t n, int repeat,
                                                          unsigned *sink)
{
    unsigned x = 0;
    const size_t stride = (size_t)gridDim.x * blockDim.x;
    for (int r = 0; r < repeat; r++) {
        size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
        for (; i + 3 * stride < n; i += 4 * stride) {
            uint4 a, b, c, d;
            /* volatile: passes over an L2-sized buffer must not be merged; .cg: not from L1 */
            asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(a.x), "=r"(a.y), "=r"(a.z), "=r"(a.w) : "l"(p + i));
            asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(b.x), "=r"(b.y), "=r"(b.z), "=r"(b.w) : "l"(p + i + stride));
            asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(c.x), "=r"(c.y), "=r"(c.z), "=r"(c.w) : "l"(p + i + 2 * stride));
            asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(d.x), "=r"(d.y), "=r"(d.z), "=r"(d.w) : "l"(p + i + 3 * stride));
            x ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w;
            x ^= c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
        }
        for (; i < n; i += stride)
            x ^= p[i].x ^ p[i].y ^ p[i].z ^ p[i].w;
    }
    if (x == 0x9E3779B9u)
        *sink = x;
}

/* ---- inputs and comparison ---- */

__device__ static void store(void *p, int dtype, long i, float v)
{
    switch (dtype) {
    case CB_F64: ((double *)p)[i] = v; break;
    case CB_F32: ((float *)p)[i] = v; break;
    case CB_F16: ((__half *)p)[i] = __float2half_rn(v); break;
    case CB_BF16: ((__nv_bfloat16 *)p)[i] = __float2bfloat16_rn(v); break;
    case CB_I8: ((int8_t *)p)[i] = (int8_t)v; break;
    case CB_U8: ((uint8_t *)p)[i] = (uint8_t)v; break;
    case CB_I32: ((int32_t *)p)[i] = (int32_t)v; break;
    }
}

__device__ static double load(const void *p, int dtype, long i)
{
    switch (dtype) {
    case CB_F64: return ((const double *)p)[i];
    case CB_F32: return (double)((const float *)p)[i];
    case CB_F16: return (double)__half2float(((const __half *)p)[i]);
    case CB_BF16: return (double)__bfloat162float(((const __nv_bfloat16 *)p)[i]);
    case CB_I8: return ((const int8_t *)p)[i];
    case CB_U8: return ((const uint8_t *)p)[i];
    default: return ((const int32_t *)p)[i];
    }
}

/* Threads follow the order of memory, so that stores coalesce in both layouts. */
__global__ static void random_kernel(void *p, int dtype, enum cb_dist dist, uint64_t seed,
                                     uint32_t tensor, uint32_t stream, long rows, long cols,
                                     int transposed)
{
    const long n = rows * cols, stride = (long)gridDim.x * blockDim.x;
    for (long at = (long)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += stride) {
        const long e = transposed ? at % rows * cols + at / rows : at;
        store(p, dtype, at, philox_element(dist, seed, tensor, stream, (uint64_t)e));
    }
}

__device__ static void join(struct cb_accuracy *a, const struct cb_accuracy *b)
{
    a->compared += b->compared;
    a->bad += b->bad;
    a->nonfinite += b->nonfinite;
    a->sum_want2 += b->sum_want2;
    a->sum_got2 += b->sum_got2;
    a->sum_dot += b->sum_dot;
    a->sum_err2 += b->sum_err2;
    a->sum_err += b->sum_err;
    a->max_want = fmax(a->max_want, b->max_want);
    if (b->worst >= 0 && (a->worst < 0 || b->max_abs > a->max_abs)) {
        a->max_abs = b->max_abs;
        a->worst = b->worst;
    }
}

/* As cb_accuracy_add; the order of the sums is fixed by the launch, so that two
 * comparisons of equal outputs agree to the bit. */
__global__ static void __launch_bounds__(256) compare_kernel(const void *got, int dtype, long rows,
                                                             long cols, int transposed,
                                                             const double *want,
                                                             const float *bound,
                                                             struct cb_accuracy *parts)
{
    __shared__ struct cb_accuracy part[256];
    struct cb_accuracy a = {};
    a.worst = -1;
    const long n = rows * cols, stride = (long)gridDim.x * blockDim.x;
    for (long at = (long)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += stride) {
        const long e = transposed ? at % rows * cols + at / rows : at;
        const double g = load(got, dtype, at), w = want[e];
        const double limit = bound ? (double)bound[e] : 0;
        a.compared++;
        if (isfinite(w) && !isfinite(g)) {
            a.nonfinite++;
            a.bad++;
            if (a.worst < 0)
                a.worst = e;
            continue;
        }
        const double err = g - w, size = fabs(err);
        if (!(size <= limit))
            a.bad++;
        if (a.worst < 0 || size > a.max_abs) {
            a.max_abs = size;
            a.worst = e;
        }
        a.sum_want2 += w * w;
        a.sum_got2 += g * g;
        a.sum_dot += g * w;
        a.sum_err2 += err * err;
        a.sum_err += err;
        a.max_want = fmax(a.max_want, fabs(w));
    }
    part[threadIdx.x] = a;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            join(&part[threadIdx.x], &part[threadIdx.x + half]);
    }
    if (threadIdx.x == 0)
        parts[blockIdx.x] = part[0];
}

__global__ static void same_kernel(const unsigned char *a, const unsigned char *b, size_t bytes,
                                   int *differs)
{
    const size_t words = bytes / 16, stride = (size_t)gridDim.x * blockDim.x;
    const size_t me = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int d = 0;
    for (size_t i = me; i < words; i += stride) {
        const uint4 x = ((const uint4 *)a)[i], y = ((const uint4 *)b)[i];
        d |= x.x != y.x || x.y != y.y || x.z != y.z || x.w != y.w;
    }
    if (me < bytes % 16)
        d |= a[words * 16 + me] != b[words * 16 + me];
    if (d)
        *differs = 1;
}

__global__ static void guards_kernel(char *const *zone, int count, int bytes, int byte, int *broken)
{
    for (int z = blockIdx.x; z < count; z += gridDim.x)
        for (int i = threadIdx.x; i < bytes; i += blockDim.x)
            if (zone[z][i] != (char)byte)
                atomicMin(broken, z);
}

/* ---- core rates ---- */

/* Eight independent chains hide the latency of any of the pipes; the operands
 * come from the thread index, so that nothing folds at compile time. */
template <class Op>
__global__ static void __launch_bounds__(PROBE_RATE_THREADS) rate_kernel(int steps, unsigned *sink)
{
    typename Op::word x[8];
    const typename Op::word a = Op::make(threadIdx.x + 1), b = Op::make(threadIdx.x + 7);
#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = Op::make(threadIdx.x * 8 + i);
    for (int s = 0; s < steps; s++) {
#pragma unroll
        for (int u = 0; u < PROBE_RATE_OPS / 8; u++)
#pragma unroll
            for (int i = 0; i < 8; i++)
                x[i] = Op::step(x[i], a, b);
    }
    unsigned y = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        y ^= Op::bits(x[i]);
    if (y == 0x9E3779B9u)
        *sink = y;
}

struct Fp32 {
    typedef float word;
    __device__ static float make(unsigned i) { return 1e-3f * (float)i; }
    __device__ static float step(float x, float a, float b) { return fmaf(x, a, b); }
    __device__ static unsigned bits(float x) { return __float_as_uint(x); }
};
struct Fp64 {
    typedef double word;
    __device__ static double make(unsigned i) { return 1e-3 * i; }
    __device__ static double step(double x, double a, double b) { return fma(x, a, b); }
    __device__ static unsigned bits(double x) { return (unsigned)__double2loint(x); }
};
struct Logic {
    typedef unsigned word;
    __device__ static unsigned make(unsigned i) { return i * 0x9E3779B9u; }
    /* x, a and b enter one LOP3 that no identity shortens */
    __device__ static unsigned step(unsigned x, unsigned a, unsigned b)
    {
        unsigned y;
        asm volatile("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(y) : "r"(x), "r"(a), "r"(b));
        return y;
    }
    __device__ static unsigned bits(unsigned x) { return x; }
};
struct Half2 {
    typedef __half2 word;
    __device__ static __half2 make(unsigned i) { return __float2half2_rn(1e-3f * (float)i); }
    __device__ static __half2 step(__half2 x, __half2 a, __half2 b) { return __hfma2(x, a, b); }
    __device__ static unsigned bits(__half2 x) { return *reinterpret_cast<unsigned *>(&x); }
};

/* ---- launchers ---- */

static int launched()
{
    return (int)cudaGetLastError();
}

static int blocks_for(size_t threads, int block, int most)
{
    const size_t blocks = (threads + block - 1) / block;
    return (int)(blocks < 1 ? 1 : blocks > (size_t)most ? (size_t)most : blocks);
}

OP_BEGIN

int probe_gate(struct probe_gate *gate, unsigned ticket, unsigned long long budget_ns, op_stream s)
{
    gate_kernel<<<1, 1, 0, s>>>(gate, ticket, budget_ns);
    return launched();
}

int probe_stamp(struct probe_stamp *stamp, int blocks, op_stream s)
{
    stamp_kernel<<<blocks, 1, 0, s>>>(stamp);
    return launched();
}

int probe_mark(int blocks, op_stream s)
{
    mark_kernel<<<blocks, 1, 0, s>>>();
    return launched();
}

int probe_null(op_stream s)
{
    null_kernel<<<1, 32, 0, s>>>();
    return launched();
}

int probe_spin(unsigned long long ns, op_stream s)
{
    spin_kernel<<<1, 1, 0, s>>>(ns);
    return launched();
}

int probe_tick(unsigned long long *ns, op_stream s)
{
    tick_kernel<<<1, 1, 0, s>>>(ns);
    return launched();
}

int probe_read(const void *p, size_t bytes, int repeat, unsigned *sink, int sms, op_stream s)
{
    read_kernel<<<4 * sms, 512, 0, s>>>((const uint4 *)p, bytes / 16, repeat, sink);
    return launched();
}

int probe_random(void *p, int dtype, int dist, uint64_t seed, uint32_t tensor, uint32_t stream,
                 long rows, long cols, int transposed, op_stream s)
{
    random_kernel<<<blocks_for((size_t)(rows * cols), 256, 1 << 16), 256, 0, s>>>(
        p, dtype, (enum cb_dist)dist, seed, tensor, stream, rows, cols, transposed);
    return launched();
}

int probe_compare(const void *got, int dtype, long rows, long cols, int transposed,
                  const double *want, const float *bound, struct cb_accuracy *parts, op_stream s)
{
    compare_kernel<<<PROBE_PARTS, 256, 0, s>>>(got, dtype, rows, cols, transposed, want, bound,
                                               parts);
    return launched();
}

int probe_same(const void *a, const void *b, size_t bytes, int *differs, op_stream s)
{
    same_kernel<<<blocks_for(bytes / 16 + 1, 256, 1 << 14), 256, 0, s>>>(
        (const unsigned char *)a, (const unsigned char *)b, bytes, differs);
    return launched();
}

int probe_guards(char *const *zone, int count, int bytes, int byte, int *broken, op_stream s)
{
    guards_kernel<<<count < 1024 ? count : 1024, 256, 0, s>>>(zone, count, bytes, byte, broken);
    return launched();
}

int probe_rate(enum probe_rate kind, int blocks, int steps, unsigned *sink, op_stream s)
{
    switch (kind) {
    case PROBE_FP32_FMA: rate_kernel<Fp32><<<blocks, PROBE_RATE_THREADS, 0, s>>>(steps, sink); break;
    case PROBE_INT32_LOGIC: rate_kernel<Logic><<<blocks, PROBE_RATE_THREADS, 0, s>>>(steps, sink); break;
    case PROBE_FP16X2_FMA: rate_kernel<Half2><<<blocks, PROBE_RATE_THREADS, 0, s>>>(steps, sink); break;
    case PROBE_FP64_FMA: rate_kernel<Fp64><<<blocks, PROBE_RATE_THREADS, 0, s>>>(steps, sink); break;
    }
    return launched();
}

OP_END

/*
 * ref_rows.cu - the reference of gemm in double precision on the GPU.
 *
 * Chosen rows: a warp makes one output channel for ROWS rows: its lanes walk k
 * together, so that W is read once per ROWS rows, and a tree adds the lanes.
 * Freivalds: columns of W are added in SPLITS parts, one thread a column, then
 * the parts, then each row of X meets the result.  Every sum has one order.
 */
#include <cuda_fp16.h>

#include "../common/fp8.h"
#include "../common/warp.cuh"
#include "bound.h"

constexpr int WARPS = 8;
constexpr int ROWS = 4;
constexpr int THREADS = WARPS * WARP;
constexpr int SPLITS = 64;

/* ---- what operands stand for: one reader per scheme ---- */

struct F16 {
    const half *x_, *w_;
    size_t k;
    F16(const struct gemm_problem &p, const struct gemm_args &a)
        : x_((const half *)a.x), w_((const half *)a.w), k(p.k)
    {
    }
    __device__ double x(size_t i, int p) const { return __half2float(x_[i * k + p]); }
    __device__ double w(size_t j, int p) const { return __half2float(w_[j * k + p]); }
    __device__ double zero(size_t, int) const { return 0; }
};

struct W4 {
    const half *x_, *scale_;
    const unsigned char *code_, *zero_;
    size_t k, groups;
    int group;
    W4(const struct gemm_problem &p, const struct gemm_args &a)
        : x_((const half *)a.x), scale_((const half *)a.w4.scale), code_(a.w4.code),
          zero_(a.w4.zero), k(p.k), groups(p.k / p.group), group(p.group)
    {
    }
    __device__ double x(size_t i, int p) const { return __half2float(x_[i * k + p]); }
    __device__ double w(size_t j, int p) const
    {
        const size_t g = j * groups + p / group;
        return (double)__half2float(scale_[g]) * (code_[j * k + p] - zero_[g]);
    }
    __device__ double zero(size_t j, int p) const
    {
        const size_t g = j * groups + p / group;
        return (double)__half2float(scale_[g]) * zero_[g];
    }
};

struct Fp8 {
    const unsigned char *x_, *w_;
    const float *x_scale, *w_scale;
    size_t k;
    Fp8(const struct gemm_problem &p, const struct gemm_args &a)
        : x_((const unsigned char *)a.x8), w_((const unsigned char *)a.w8), x_scale(a.x8_scale),
          w_scale(a.w8_scale), k(p.k)
    {
    }
    __device__ double x(size_t i, int p) const
    {
        return (double)*x_scale * e4m3_to_float(x_[i * k + p]);
    }
    __device__ double w(size_t j, int p) const
    {
        return (double)*w_scale * e4m3_to_float(w_[j * k + p]);
    }
    __device__ double zero(size_t, int) const { return 0; }
};

/* Codes with a scale for each `length` of them. */
struct Codes {
    const signed char *code;
    const half *scale;
    size_t k, length;
    __device__ double at(size_t row, int p) const
    {
        const size_t i = row * k + p;
        return (double)__half2float(scale[i / length]) * code[i];
    }
};

static Codes codes_of(const signed char *code, const void *scale, int k, int length)
{
    return { code, (const half *)scale, (size_t)k, (size_t)length };
}

template <bool Grouped> struct Int {
    Codes x_, w_;
    Int(const struct gemm_problem &p, const struct gemm_args &a)
        : x_(codes_of(a.int_x.code, a.int_x.scale, p.k, Grouped ? p.group : p.k)),
          w_(codes_of(a.int_w.code, a.int_w.scale, p.k, Grouped ? p.group : p.k))
    {
    }
    __device__ double x(size_t i, int p) const { return x_.at(i, p); }
    __device__ double w(size_t j, int p) const { return w_.at(j, p); }
    __device__ double zero(size_t, int) const { return 0; }
};

/* What comes off is one more input channel, the k-th: X has its sum there. */
struct W4Channel {
    Codes x_;
    const half *sum, *scale, *scaled_zero;
    const unsigned char *code;
    int k;
    W4Channel(const struct gemm_problem &p, const struct gemm_args &a)
        : x_(codes_of(a.int_x.code, a.int_x.scale, p.k, p.k)), sum((const half *)a.int_x.sum),
          scale((const half *)a.w4_channel.scale),
          scaled_zero((const half *)a.w4_channel.scaled_zero), code(a.w4_channel.code), k(p.k)
    {
    }
    __device__ double x(size_t i, int p) const
    {
        return p < k ? x_.at(i, p) : (double)__half2float(sum[i]);
    }
    __device__ double w(size_t j, int p) const
    {
        return p < k ? (double)__half2float(scale[j]) * code[j * k + p]
                     : -(double)__half2float(scaled_zero[j]);
    }
    __device__ double zero(size_t, int) const { return 0; }
};

struct W4Progressive {
    Codes x_;
    const half *channel_scale;
    const unsigned char *code, *scale, *zero_;
    size_t k, group;
    W4Progressive(const struct gemm_problem &p, const struct gemm_args &a)
        : x_(codes_of(a.int_x.code, a.int_x.scale, p.k, p.k)),
          channel_scale((const half *)a.w4_progressive.channel_scale), code(a.w4_progressive.code),
          scale(a.w4_progressive.scale), zero_(a.w4_progressive.zero), k(p.k), group(p.group)
    {
    }
    __device__ double x(size_t i, int p) const { return x_.at(i, p); }
    __device__ double w(size_t j, int p) const
    {
        const size_t i = j * k + p, g = i / group;
        return (double)__half2float(channel_scale[j]) * ((code[i] - zero_[g]) * scale[g]);
    }
    __device__ double zero(size_t, int) const { return 0; }
};

/* ---- chosen rows ---- */

template <class Reader, bool Zeros>
static __global__ __launch_bounds__(THREADS) void reference(Reader r, int n, int k, const int *row,
                                                            int rows, double *want, float *size,
                                                            float *zeros)
{
    const long j = (long)blockIdx.x * WARPS + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP, first = blockIdx.y * ROWS;
    size_t x_row[ROWS];
    double sum[ROWS] = {}, magnitude[ROWS] = {}, zero[ROWS] = {};
    if (j >= n)
        return;
#pragma unroll
    for (int i = 0; i < ROWS; i++) /* the last row again where there are no more */
        x_row[i] = row[min(first + i, rows - 1)];
    for (int p = lane; p < k; p += WARP) {
        const double weight = r.w(j, p), shift = Zeros ? r.zero(j, p) : 0;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const double x = r.x(x_row[i], p), product = weight * x;
            sum[i] += product;
            magnitude[i] += fabs(product);
            if (Zeros)
                zero[i] += fabs(x) * shift;
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const double s = warp_sum(sum[i]), m = warp_sum(magnitude[i]);
        const double z = Zeros ? warp_sum(zero[i]) : 0;
        const size_t at = (size_t)(first + i) * n + j;
        if (lane != 0 || first + i >= rows)
            continue;
        want[at] = s;
        size[at] = (float)m;
        if (Zeros)
            zeros[at] = (float)z;
    }
}

/* ---- Freivalds ---- */

/* part [SPLITS][3][k]: signed, absolute and zeros' sums of columns over a part of n. */
template <class Reader>
static __global__ __launch_bounds__(THREADS) void add_columns(Reader r, int n, int k,
                                                              const signed char *sign,
                                                              double *part)
{
    const int p = blockIdx.x * THREADS + threadIdx.x;
    const long from = (long)n * blockIdx.y / SPLITS, to = (long)n * (blockIdx.y + 1) / SPLITS;
    double sum = 0, size = 0, zero = 0;
    if (p >= k)
        return;
    for (long j = from; j < to; j++) {
        const double w = r.w(j, p);
        sum += sign[j] * w;
        size += fabs(w);
        zero += r.zero(j, p);
    }
    double *mine = part + (size_t)blockIdx.y * 3 * k + p;
    mine[0] = sum;
    mine[k] = size;
    mine[2 * (size_t)k] = zero;
}

static __global__ void add_parts(size_t count, const double *part, double *total)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    double sum = 0;
    if (i >= count)
        return;
    for (int s = 0; s < SPLITS; s++)
        sum += part[s * count + i];
    total[i] = sum;
}

/* All threads call it; thread 0 has the sum over the block. */
static __device__ double block_sum(double v)
{
    __shared__ double each[WARPS];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        each[threadIdx.x / WARP] = v;
    __syncthreads();
    double sum = 0;
    for (int w = 0; threadIdx.x == 0 && w < WARPS; w++)
        sum += each[w];
    return sum;
}

template <class Reader>
static __global__ __launch_bounds__(THREADS) void meet_rows(Reader r, int k, const double *column,
                                                            double *sum, double *size,
                                                            double *zeros)
{
    const size_t i = blockIdx.x;
    double s = 0, m = 0, z = 0;
    for (int p = threadIdx.x; p < k; p += THREADS) {
        const double x = r.x(i, p);
        s += x * column[p];
        m += fabs(x) * column[k + p];
        z += fabs(x) * column[2 * (size_t)k + p];
    }
    s = block_sum(s);
    m = block_sum(m);
    z = block_sum(z);
    if (threadIdx.x)
        return;
    sum[i] = s;
    size[i] = m;
    if (zeros)
        zeros[i] = z;
}

static __global__ __launch_bounds__(THREADS) void signed_rows(const half *y, int n,
                                                              const signed char *sign, double *sum,
                                                              double *size)
{
    const half *row = y + (size_t)blockIdx.x * n;
    double s = 0, m = 0;
    for (int j = threadIdx.x; j < n; j += THREADS) {
        const double v = __half2float(row[j]);
        s += sign[j] * v;
        m += fabs(v);
    }
    s = block_sum(s);
    m = block_sum(m);
    if (threadIdx.x)
        return;
    sum[blockIdx.x] = s;
    size[blockIdx.x] = m;
}

/* ---- launchers ---- */

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static bool meaningless(const struct gemm_problem *p, enum gemm_scheme s)
{
    return p->m < 1 || p->n < 1 || p->k < 1 ||
           (gemm_has_groups(s) && (p->group < 1 || p->k % p->group));
}

static int depth(const struct gemm_problem *p, enum gemm_scheme s)
{
    return p->k + (s == GEMM_W4A8_CHANNEL);
}

template <class Reader, bool Zeros>
static enum op_status rows_by(const struct gemm_problem *p, const struct gemm_args *a, int k,
                              const int *row, int rows, double *want, float *size, float *zeros,
                              op_stream s)
{
    const dim3 grid((p->n + WARPS - 1) / WARPS, (rows + ROWS - 1) / ROWS);
    if (grid.y > 65535)
        return OP_EUNSUPPORTED;
    reference<Reader, Zeros><<<grid, THREADS, 0, s>>>(Reader(*p, *a), p->n, k, row, rows, want,
                                                      size, zeros);
    return launched();
}

template <class Reader>
static enum op_status freivalds_by(const struct gemm_problem *p, const struct gemm_args *a, int k,
                                   const signed char *sign, double *sum, double *size,
                                   double *zeros, double *work, op_stream s)
{
    const size_t count = 3 * (size_t)k;
    const Reader r(*p, *a);
    double *total = work + SPLITS * count;
    add_columns<<<dim3((k + THREADS - 1) / THREADS, SPLITS), THREADS, 0, s>>>(r, p->n, k, sign,
                                                                              work);
    add_parts<<<(unsigned)((count + THREADS - 1) / THREADS), THREADS, 0, s>>>(count, work, total);
    meet_rows<<<p->m, THREADS, 0, s>>>(r, k, total, sum, size, zeros);
    return launched();
}

OP_BEGIN

enum op_status gemm_ref_rows_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                  const struct gemm_args *a, const int *row, int rows,
                                  double *want, float *size, float *zeros, op_stream s)
{
    if (meaningless(p, scheme) || rows < 0)
        return OP_EINVAL;
    if (!rows)
        return OP_OK;
    const int k = depth(p, scheme);
    switch (scheme) {
    case GEMM_F16:
        return rows_by<F16, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_FP8:
        return rows_by<Fp8, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W4A16:
        if (zeros)
            return rows_by<W4, true>(p, a, k, row, rows, want, size, zeros, s);
        return rows_by<W4, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W4A16_SYM:
        return rows_by<W4, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W8A8:
    case GEMM_W4A4_CHANNEL:
        return rows_by<Int<false>, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W4A4_GROUP:
        return rows_by<Int<true>, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W4A8_CHANNEL:
        return rows_by<W4Channel, false>(p, a, k, row, rows, want, size, zeros, s);
    case GEMM_W4A8_GROUP:
        return rows_by<W4Progressive, false>(p, a, k, row, rows, want, size, zeros, s);
    }
    return OP_EINVAL;
}

size_t gemm_freivalds_bytes(const struct gemm_problem *p)
{
    return (size_t)(SPLITS + 1) * 3 * ((size_t)p->k + 1) * sizeof(double);
}

enum op_status gemm_ref_freivalds_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                       const struct gemm_args *a, const signed char *sign,
                                       double *sum, double *size, double *zeros, void *work,
                                       op_stream s)
{
    double *const room = (double *)work;
    if (meaningless(p, scheme))
        return OP_EINVAL;
    const int k = depth(p, scheme);
    switch (scheme) {
    case GEMM_F16:
        return freivalds_by<F16>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_FP8:
        return freivalds_by<Fp8>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_W4A16:
    case GEMM_W4A16_SYM:
        return freivalds_by<W4>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_W8A8:
    case GEMM_W4A4_CHANNEL:
        return freivalds_by<Int<false>>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_W4A4_GROUP:
        return freivalds_by<Int<true>>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_W4A8_CHANNEL:
        return freivalds_by<W4Channel>(p, a, k, sign, sum, size, zeros, room, s);
    case GEMM_W4A8_GROUP:
        return freivalds_by<W4Progressive>(p, a, k, sign, sum, size, zeros, room, s);
    }
    return OP_EINVAL;
}

enum op_status gemm_ref_signed_cuda(const struct gemm_problem *p, const void *y,
                                    const signed char *sign, double *sum, double *size,
                                    op_stream s)
{
    signed_rows<<<p->m, THREADS, 0, s>>>((const half *)y, p->n, sign, sum, size);
    return launched();
}

OP_END

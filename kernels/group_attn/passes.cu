/*
 * passes.cu - see passes.h.
 *
 * All are bound by bytes.  A warp takes a row of 128 channels, four neighbours a lane: 16 bytes of
 * floats, 8 of halves.
 */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../common/warp.cuh"
#include "passes.h"

constexpr int BLOCK = 256, C = ENCODER_CHANNELS, ROWS = BLOCK / WARP;
static_assert(C == 4 * WARP, "a warp holds a row");

/* ---- four neighbours ---- */

struct Four {
    float v[4];
};

static __device__ __forceinline__ Four load(const float *p)
{
    const float4 t = *(const float4 *)p;
    return { { t.x, t.y, t.z, t.w } };
}

static __device__ __forceinline__ Four load(const half *p)
{
    const uint2 t = *(const uint2 *)p;
    const float2 a = __half22float2(*(const half2 *)&t.x), b = __half22float2(*(const half2 *)&t.y);
    return { { a.x, a.y, b.x, b.y } };
}

static __device__ __forceinline__ void store(float *p, const Four &x)
{
    *(float4 *)p = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
}

static __device__ __forceinline__ void store(half *p, const Four &x)
{
    const half2 a = __floats2half2_rn(x.v[0], x.v[1]), b = __floats2half2_rn(x.v[2], x.v[3]);
    uint2 t;
    t.x = *(const uint32_t *)&a;
    t.y = *(const uint32_t *)&b;
    *(uint2 *)p = t;
}

static __device__ __forceinline__ Four operator+(const Four &a, const Four &b)
{
    return { { a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3] } };
}

static __device__ __forceinline__ float sum_of(const Four &x)
{
    float sum = x.v[0] + x.v[1] + (x.v[2] + x.v[3]);
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, d);
    return sum;
}

/* The row of this warp, and where the lane's channels begin in it. */
static __device__ __forceinline__ int row_here(void)
{
    return blockIdx.x * ROWS + threadIdx.x / WARP;
}

static __device__ __forceinline__ int lane_at(void)
{
    return threadIdx.x % WARP * 4;
}

/* Row x of a warp to norm(x) factor + added. */
static __device__ __forceinline__ Four normed(Four x, const half *norm)
{
    const float mean = sum_of(x) * (1.0f / C);
    Four square;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        x.v[k] -= mean;
        square.v[k] = x.v[k] * x.v[k];
    }
    const float by = rsqrtf(sum_of(square) * (1.0f / C) + (float)GROUP_ATTN_EPS);
    const Four factor = load(norm + lane_at()), added = load(norm + C + lane_at());
#pragma unroll
    for (int k = 0; k < 4; k++)
        x.v[k] = x.v[k] * by * factor.v[k] + added.v[k];
    return x;
}

/* ---- as published ---- */

static __global__ __launch_bounds__(BLOCK) void embed(int n, const struct flatten_cell *cell,
                                                      float *e)
{
    const int row = row_here(), at = lane_at();
    if (row >= n)
        return;
    const struct flatten_cell here = cell[row];
    const float coordinate = (float)(at < C / 2 ? here.x : here.y);
    Four x;
#pragma unroll
    for (int k = 0; k < 4; k += 2) { /* sine and cosine of a pair share a frequency */
        const int i = (at + k) % (C / 2);
        const float angle = coordinate / powf(10000.0f, (float)i / (C / 2));
        sincosf(angle, &x.v[k], &x.v[k + 1]);
    }
    store(e + (size_t)row * C + at, x);
}

template <class T>
static __global__ __launch_bounds__(BLOCK) void gather(int rows, const int32_t *row, const T *x,
                                                       T *y)
{
    const int i = row_here(), at = lane_at();
    if (i >= rows)
        return;
    Four v = { { 0, 0, 0, 0 } };
    if (row[i] >= 0)
        v = load(x + (size_t)row[i] * C + at);
    store(y + (size_t)i * C + at, v);
}

static __global__ __launch_bounds__(BLOCK) void scatter(int rows, const int32_t *row,
                                                        const float *x, float *y)
{
    const int i = row_here(), at = lane_at();
    if (i < rows)
        store(y + (size_t)row[i] * C + at, load(x + (size_t)i * C + at));
}

static __global__ __launch_bounds__(BLOCK) void norm_rows(int rows, const half *norm,
                                                          const float *x, float *y)
{
    const int i = row_here(); /* of a whole warp */
    const size_t at = (size_t)i * C + lane_at();
    if (i < rows)
        store(y + at, normed(load(x + at), norm));
}

/* First of four elements of this thread. */
static __device__ __forceinline__ size_t four_here(void)
{
    return ((size_t)blockIdx.x * BLOCK + threadIdx.x) * 4;
}

template <class T>
static __global__ __launch_bounds__(BLOCK) void add(size_t count, const float *a, const T *b,
                                                    float *y)
{
    const size_t i = four_here();
    if (i < count)
        store(y + i, load(a + i) + load(b + i));
}

static __global__ __launch_bounds__(BLOCK) void stack(size_t count, const float *a, const float *b,
                                                      float *y)
{
    const size_t i = four_here();
    if (i >= count)
        return;
    const Four x = load(a + i);
    store(y + i, x);
    store(y + count + i, x);
    store(y + 2 * count + i, load(b + i));
}

template <class From, class To>
static __global__ __launch_bounds__(BLOCK) void convert(size_t count, const From *x, To *y)
{
    const size_t i = four_here();
    if (i < count)
        store(y + i, load(x + i));
}

static __global__ __launch_bounds__(BLOCK) void gelu(size_t count, half *x)
{
    const size_t i = four_here();
    if (i >= count)
        return;
    Four v = load(x + i);
#pragma unroll
    for (int k = 0; k < 4; k++)
        v.v[k] = 0.5f * v.v[k] * (1 + erff(v.v[k] * 0.70710678118654752f));
    store(x + i, v);
}

/* ---- fewer ---- */

static __global__ __launch_bounds__(BLOCK) void take(int rows, const int32_t *from,
                                                     const struct flatten_cell *cell,
                                                     const half *table, const half *in, half *x,
                                                     half *xe)
{
    const int i = row_here(), at = lane_at();
    if (i >= rows)
        return;
    const int row = from[i];
    Four v = { { 0, 0, 0, 0 } }, e = v;
    if (row >= 0) {
        const struct flatten_cell here = cell[row];
        const int coordinate = at < C / 2 ? here.x : here.y;
        v = load(in + (size_t)row * C + at);
        e = load(table + (size_t)coordinate * (C / 2) + at % (C / 2));
    }
    store(x + (size_t)i * C + at, v);
    store(xe + (size_t)i * C + at, v + e);
}

/* y may be a or b where to is NULL: no __restrict__. */
static __global__ __launch_bounds__(BLOCK) void add_norm(int rows, const int32_t *to,
                                                         const half *norm, const half *a,
                                                         const half *b, half *y)
{
    const int i = row_here(); /* of a whole warp, as is what follows */
    if (i >= rows)
        return;
    const int row = to ? to[i] : i;
    const size_t at = (size_t)i * C + lane_at();
    if (row >= 0)
        store(y + (size_t)row * C + lane_at(), normed(load(a + at) + load(b + at), norm));
}

/* ---- attention by batched products ---- */

/* 8 halves at a time: half a head. */
constexpr int CHUNK = 8, CHUNKS = C / CHUNK, HALVES = ENCODER_HEAD / CHUNK;

/* Where chunk k of C of a token lies among its part's [heads][length][head]. */
static __device__ __forceinline__ size_t in_part(const struct encoder_part &p, int token, int k)
{
    return ((size_t)p.first * CHUNKS + (size_t)(k / HALVES) * p.length * HALVES +
            (size_t)(token - p.first) * HALVES + k % HALVES) *
           CHUNK;
}

static __global__ __launch_bounds__(BLOCK) void split_heads(int tokens, struct encoder_on_device d,
                                                            const half *qkv, half *split)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    const int token = (int)(i / (3 * CHUNKS)), k = (int)(i % (3 * CHUNKS));
    if (token >= tokens)
        return;
    const struct encoder_part p = d.part[d.of[token]];
    half *to = split + (size_t)(k / CHUNKS) * tokens * C + in_part(p, token, k % CHUNKS);
    *(uint4 *)to = *(const uint4 *)(qkv + i * CHUNK);
}

static __global__ __launch_bounds__(BLOCK) void join_heads(int tokens, struct encoder_on_device d,
                                                           const half *split, half *o)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    const int token = (int)(i / CHUNKS), k = (int)(i % CHUNKS);
    if (token >= tokens)
        return;
    const struct encoder_part p = d.part[d.of[token]];
    *(uint4 *)(o + i * CHUNK) = *(const uint4 *)(split + in_part(p, token, k));
}

/* A warp makes a row, two keys a lane at a time. */
static __global__ __launch_bounds__(BLOCK) void softmax(int rows, int length, int stride,
                                                        const struct encoder_part *part,
                                                        half *scores)
{
    constexpr int STEPS = ENCODER_KEYS_MAX / (2 * WARP);
    const int row = row_here(), lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    const int valid = part[row / (ENCODER_HEADS * length)].valid;
    half *score = scores + (size_t)row * stride;
    float2 x[STEPS];
    float most = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        const int key = 2 * (lane + WARP * i);
        x[i] = make_float2(-INFINITY, -INFINITY);
        if (key < valid) {
            x[i] = __half22float2(*(const half2 *)(score + key));
            x[i].y = key + 1 < valid ? x[i].y : -INFINITY;
        }
        most = fmaxf(most, fmaxf(x[i].x, x[i].y));
    }
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, d));
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        x[i] = make_float2(__expf(x[i].x - most), __expf(x[i].y - most));
        sum += x[i].x + x[i].y;
    }
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, d);
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        const int key = 2 * (lane + WARP * i);
        if (key < length) /* stride is even: a pair that length divides has room */
            *(half2 *)(score + key) = __floats2half2_rn(x[i].x / sum, x[i].y / sum);
    }
}

/* ---- launchers ---- */

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static unsigned over_rows(int rows)
{
    return (unsigned)((rows + ROWS - 1) / ROWS);
}

static unsigned over_fours(size_t count)
{
    return (unsigned)((count / 4 + BLOCK - 1) / BLOCK);
}

static unsigned over_chunks(size_t chunks)
{
    return (unsigned)((chunks + BLOCK - 1) / BLOCK);
}

OP_BEGIN
enum op_status encoder_pass_embed(int n, const struct flatten_cell *cell, float *e, op_stream s)
{
    embed<<<over_rows(n), BLOCK, 0, s>>>(n, cell, e);
    return launched();
}

enum op_status encoder_pass_gather(int rows, const int32_t *row, const float *x, float *y,
                                   op_stream s)
{
    gather<<<over_rows(rows), BLOCK, 0, s>>>(rows, row, x, y);
    return launched();
}

enum op_status encoder_pass_gather_half(int rows, const int32_t *row, const void *x, void *y,
                                        op_stream s)
{
    gather<<<over_rows(rows), BLOCK, 0, s>>>(rows, row, (const half *)x, (half *)y);
    return launched();
}

enum op_status encoder_pass_scatter(int rows, const int32_t *row, const float *x, float *y,
                                    op_stream s)
{
    scatter<<<over_rows(rows), BLOCK, 0, s>>>(rows, row, x, y);
    return launched();
}

enum op_status encoder_pass_add(size_t count, const float *a, const float *b, float *y,
                                op_stream s)
{
    add<<<over_fours(count), BLOCK, 0, s>>>(count, a, b, y);
    return launched();
}

enum op_status encoder_pass_add_half(size_t count, const float *a, const void *b, float *y,
                                     op_stream s)
{
    add<<<over_fours(count), BLOCK, 0, s>>>(count, a, (const half *)b, y);
    return launched();
}

enum op_status encoder_pass_stack(size_t count, const float *a, const float *b, float *y,
                                  op_stream s)
{
    stack<<<over_fours(count), BLOCK, 0, s>>>(count, a, b, y);
    return launched();
}

enum op_status encoder_pass_to_half(size_t count, const float *x, void *y, op_stream s)
{
    convert<<<over_fours(count), BLOCK, 0, s>>>(count, x, (half *)y);
    return launched();
}

enum op_status encoder_pass_to_float(size_t count, const void *x, float *y, op_stream s)
{
    convert<<<over_fours(count), BLOCK, 0, s>>>(count, (const half *)x, y);
    return launched();
}

enum op_status encoder_pass_norm(int rows, const void *norm, const float *x, float *y, op_stream s)
{
    norm_rows<<<over_rows(rows), BLOCK, 0, s>>>(rows, (const half *)norm, x, y);
    return launched();
}

enum op_status encoder_pass_gelu(size_t count, void *x, op_stream s)
{
    gelu<<<over_fours(count), BLOCK, 0, s>>>(count, (half *)x);
    return launched();
}

enum op_status encoder_pass_take(int rows, const int32_t *from, const struct flatten_cell *cell,
                                 const void *table, const void *in, void *x, void *xe, op_stream s)
{
    take<<<over_rows(rows), BLOCK, 0, s>>>(rows, from, cell, (const half *)table, (const half *)in,
                                           (half *)x, (half *)xe);
    return launched();
}

enum op_status encoder_pass_add_norm(int rows, const int32_t *to, const void *norm, const void *a,
                                     const void *b, void *y, op_stream s)
{
    add_norm<<<over_rows(rows), BLOCK, 0, s>>>(rows, to, (const half *)norm, (const half *)a,
                                               (const half *)b, (half *)y);
    return launched();
}

enum op_status encoder_pass_split(int tokens, const struct encoder_on_device *d, const void *qkv,
                                  void *split, op_stream s)
{
    split_heads<<<over_chunks((size_t)tokens * 3 * CHUNKS), BLOCK, 0, s>>>(
        tokens, *d, (const half *)qkv, (half *)split);
    return launched();
}

enum op_status encoder_pass_join(int tokens, const struct encoder_on_device *d, const void *split,
                                 void *o, op_stream s)
{
    join_heads<<<over_chunks((size_t)tokens * CHUNKS), BLOCK, 0, s>>>(
        tokens, *d, (const half *)split, (half *)o);
    return launched();
}

enum op_status encoder_pass_softmax(int parts, int length, int stride,
                                    const struct encoder_part *part, void *score, op_stream s)
{
    const int rows = parts * ENCODER_HEADS * length;
    if (length > ENCODER_KEYS_MAX)
        return OP_EUNSUPPORTED;
    softmax<<<over_rows(rows), BLOCK, 0, s>>>(rows, length, stride, part, (half *)score);
    return launched();
}
OP_END

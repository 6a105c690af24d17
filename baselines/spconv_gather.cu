/*
 * spconv_gather.cu - rows into buffers and back, for the gather-scatter forms of spconv.
 *
 *   fused gather    a row of x is read once and written to all its slots of the buffer
 *   fused scatter   a row of y sums all its slots, so that nothing is atomic
 *   by tap          rows of one tap's pairs
 */
#include <cuda_fp16.h>

#include "spconv_cublas.h"

constexpr int THREADS = 256;

static unsigned blocks_of(size_t count)
{
    return (unsigned)((count + THREADS - 1) / THREADS);
}

static __device__ __forceinline__ size_t my_index()
{
    return (size_t)blockIdx.x * THREADS + threadIdx.x;
}

/* ---- gather: rows of `chunks` chunks ---- */

template <class Chunk>
static __global__ __launch_bounds__(THREADS) void gather_all(const Chunk *x, const int32_t *slot,
                                                             int taps, int chunks, size_t count,
                                                             Chunk *buffer)
{
    const size_t i = my_index();
    if (i >= count)
        return;
    const size_t row = i / chunks, chunk = i % chunks;
    const Chunk v = x[i];
    for (int d = 0; d < taps; d++) {
        const int to = __ldg(slot + row * taps + d);
        if (to >= 0)
            buffer[(size_t)to * chunks + chunk] = v;
    }
}

template <class Chunk>
static __global__ __launch_bounds__(THREADS) void gather_pairs(const Chunk *x, const int32_t *from,
                                                              int chunks, size_t count,
                                                              Chunk *buffer)
{
    const size_t i = my_index();
    const int row = i < count ? __ldg(from + i / chunks) : -1;
    if (row >= 0)
        buffer[i] = x[(size_t)row * chunks + i % chunks];
}

template <class Chunk>
static void gather_as(const void *x, const int32_t *rows, int taps, long count, size_t bytes,
                      void *buffer, op_stream s)
{
    const int chunks = (int)(bytes / sizeof(Chunk));
    const size_t all = (size_t)count * chunks;
    if (!all)
        return;
    if (taps)
        gather_all<<<blocks_of(all), THREADS, 0, s>>>((const Chunk *)x, rows, taps, chunks, all,
                                                      (Chunk *)buffer);
    else
        gather_pairs<<<blocks_of(all), THREADS, 0, s>>>((const Chunk *)x, rows, chunks, all,
                                                       (Chunk *)buffer);
}

static enum op_status gather(const void *x, const int32_t *rows, int taps, long count,
                             size_t bytes, void *buffer, op_stream s)
{
    if (bytes % 16 == 0)
        gather_as<uint4>(x, rows, taps, count, bytes, buffer, s);
    else if (bytes % 4 == 0)
        gather_as<uint32_t>(x, rows, taps, count, bytes, buffer, s);
    else
        gather_as<uint16_t>(x, rows, taps, count, bytes, buffer, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* ---- scatter ---- */

static __device__ __forceinline__ float as_float(half v) { return __half2float(v); }
static __device__ __forceinline__ float as_float(float v) { return v; }
static __device__ __forceinline__ void set(half *to, float v) { *to = __float2half_rn(v); }
static __device__ __forceinline__ void set(float *to, float v) { *to = v; }

/* A thread makes V neighbouring columns; `add`: y holds a tap's products already. */
template <class T, int V>
static __global__ __launch_bounds__(THREADS) void scatter_all(const T *buffer, const int32_t *slot,
                                                              int taps, int columns, size_t count,
                                                              bool add, T *y)
{
    struct alignas(V * sizeof(T)) Part {
        T v[V];
    };
    const size_t i = my_index() * V;
    if (i >= count)
        return;
    const size_t row = i / columns, column = i % columns;
    float sum[V] = {};
    if (add) {
        const Part part = *(const Part *)(y + i);
        for (int e = 0; e < V; e++)
            sum[e] = as_float(part.v[e]);
    }
    for (int d = 0; d < taps; d++) {
        const int from = __ldg(slot + row * taps + d);
        if (from < 0)
            continue;
        const Part part = *(const Part *)(buffer + (size_t)from * columns + column);
#pragma unroll
        for (int e = 0; e < V; e++)
            sum[e] += as_float(part.v[e]);
    }
    Part out;
#pragma unroll
    for (int e = 0; e < V; e++)
        set(&out.v[e], sum[e]);
    *(Part *)(y + i) = out;
}

/* Rows of one tap: no two of them are the same, so that none is lost. */
template <class T>
static __global__ __launch_bounds__(THREADS) void scatter_tap(const T *buffer, const int32_t *to,
                                                              int columns, size_t count, T *y)
{
    const size_t i = my_index();
    if (i >= count)
        return;
    T *at = y + (size_t)__ldg(to + i / columns) * columns + i % columns;
    set(at, as_float(*at) + as_float(buffer[i]));
}

static __global__ __launch_bounds__(THREADS) void scatter_atomic(const float *buffer,
                                                                 const int32_t *to, int columns,
                                                                 size_t count, float *y)
{
    const size_t i = my_index();
    if (i < count)
        atomicAdd(y + (size_t)__ldg(to + i / columns) * columns + i % columns, buffer[i]);
}

template <class T, int V>
static void scatter_as(const void *buffer, const int32_t *slot, int taps, int columns, size_t count,
                       bool add, void *y, op_stream s)
{
    scatter_all<T, V><<<blocks_of((count + V - 1) / V), THREADS, 0, s>>>(
        (const T *)buffer, slot, taps, columns, count, add, (T *)y);
}

/* ---- where pairs lie ---- */

static __global__ __launch_bounds__(THREADS) void place(spconv_places p, const int32_t *rows_of,
                                                        bool list, int32_t *to)
{
    const int e = (int)my_index();
    int d = 0;
    if (e >= p.start[p.taps])
        return;
    while (e >= p.start[d + 1])
        d++;
    if (p.base[d] < 0)
        return;
    const int row = rows_of[e], slot = p.base[d] + e - p.start[d];
    if (list)
        to[slot] = row;
    else
        to[(size_t)row * p.taps + d] = slot;
}

static enum op_status place_pairs(const struct spconv_places *p, const int32_t *rows_of, bool list,
                                  size_t count, int32_t *to, op_stream s)
{
    const int pairs = p->start[p->taps];
    if (cudaMemsetAsync(to, 0xff, count * sizeof *to, s) != cudaSuccess)
        return OP_EDEVICE;
    if (pairs)
        place<<<blocks_of(pairs), THREADS, 0, s>>>(*p, rows_of, list, to);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status spconv_place_slots(const struct spconv_places *p, const int32_t *rows_of, long rows,
                                  int32_t *slots, op_stream s)
{
    return place_pairs(p, rows_of, false, (size_t)rows * p->taps, slots, s);
}

enum op_status spconv_place_list(const struct spconv_places *p, const int32_t *rows_of, long rows,
                                 int32_t *list, op_stream s)
{
    return place_pairs(p, rows_of, true, (size_t)rows, list, s);
}

enum op_status spconv_gather_all(const void *x, const int32_t *slot, int taps, long rows,
                                 size_t bytes, void *buffer, op_stream s)
{
    return gather(x, slot, taps, rows, bytes, buffer, s);
}

enum op_status spconv_gather_rows(const void *x, const int32_t *from, long rows, size_t bytes,
                                  void *buffer, op_stream s)
{
    return gather(x, from, 0, rows, bytes, buffer, s);
}

enum op_status spconv_scatter_all(enum spconv_dtype t, const void *buffer, const int32_t *slot,
                                  int taps, long rows, int columns, int add, void *y, op_stream s)
{
    const size_t count = (size_t)rows * columns;
    if (t == SPCONV_F16 && columns % 8 == 0)
        scatter_as<half, 8>(buffer, slot, taps, columns, count, add, y, s);
    else if (t == SPCONV_F16)
        scatter_as<half, 1>(buffer, slot, taps, columns, count, add, y, s);
    else if (columns % 4 == 0)
        scatter_as<float, 4>(buffer, slot, taps, columns, count, add, y, s);
    else
        scatter_as<float, 1>(buffer, slot, taps, columns, count, add, y, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status spconv_scatter_tap(enum spconv_dtype t, const void *buffer, const int32_t *to,
                                  long rows, int columns, int atomic, void *y, op_stream s)
{
    const size_t count = (size_t)rows * columns;
    if (atomic)
        scatter_atomic<<<blocks_of(count), THREADS, 0, s>>>((const float *)buffer, to, columns,
                                                            count, (float *)y);
    else if (t == SPCONV_F16)
        scatter_tap<<<blocks_of(count), THREADS, 0, s>>>((const half *)buffer, to, columns, count,
                                                         (half *)y);
    else
        scatter_tap<<<blocks_of(count), THREADS, 0, s>>>((const float *)buffer, to, columns, count,
                                                         (float *)y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END

/*
 * sums.cu - see sums.h.
 *
 * Bound by fetching the rows of the buffer.  A group of lanes takes a chunk, each lane four
 * columns; four rows are on their way at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "device.cuh"
#include "sums.h"

constexpr int THREADS = 256;

template <int Lanes>
static __global__ __launch_bounds__(THREADS) void sum_rows(const int4 *chunk, int chunks,
                                                           const int2 *entry, int width,
                                                           const float *from, float *y)
{
    const int index = (int)(((size_t)blockIdx.x * THREADS + threadIdx.x) / Lanes);
    const int column = (blockIdx.y * Lanes + threadIdx.x % Lanes) * 4;
    if (index >= chunks || column >= width)
        return;
    const int4 mine = __ldg(chunk + index);
    float4 sum = make_float4(0, 0, 0, 0);
    int e = mine.y;
    for (; e + 4 <= mine.z; e += 4) {
        int2 at[4];
        float4 v[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            at[i] = __ldg(entry + e + i);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = __ldg((const float4 *)(from + (size_t)at[i].x * width + column));
#pragma unroll
        for (int i = 0; i < 4; i++)
            add_scaled(&sum, __int_as_float(at[i].y), v[i]);
    }
    for (; e < mine.z; e++) {
        const int2 at = __ldg(entry + e);
        add_scaled(&sum, __int_as_float(at.y),
                   __ldg((const float4 *)(from + (size_t)at.x * width + column)));
    }
    float *to = y + (size_t)mine.x * width + column;
    if (mine.w)
        add_four(to, sum);
    else
        *(float4 *)to = sum;
}

template <int Lanes>
static __global__ __launch_bounds__(THREADS) void spread_rows(const int4 *chunk, int chunks,
                                                              const int2 *entry, int width,
                                                              const float *x, int relu, float *to)
{
    const int index = (int)(((size_t)blockIdx.x * THREADS + threadIdx.x) / Lanes);
    const int column = (blockIdx.y * Lanes + threadIdx.x % Lanes) * 4;
    if (index >= chunks || column >= width)
        return;
    const int4 mine = __ldg(chunk + index);
    float4 v = __ldg((const float4 *)(x + (size_t)mine.x * width + column));
    v = relu ? positive(v) : v;
    for (int e = mine.y; e < mine.z; e++) {
        const int2 at = __ldg(entry + e);
        const float c = __int_as_float(at.y);
        *(float4 *)(to + (size_t)at.x * width + column) =
            make_float4(c * v.x, c * v.y, c * v.z, c * v.w);
    }
}

static __global__ __launch_bounds__(THREADS) void clip(size_t fours, float4 *x)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < fours)
        x[i] = positive(x[i]);
}

/* ---- set-up ---- */

/* Chunks, the longest first. */
static int make_chunks(int rows, const int32_t *row_ptr, int4 *chunk, int *clear)
{
    int place[RGCN_CHUNK + 2] = { 0 }; /* by RGCN_CHUNK - length */
    *clear = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < rows; i++) {
            const int cut = row_ptr[i + 1] - row_ptr[i] > RGCN_CHUNK;
            *clear |= cut || row_ptr[i + 1] == row_ptr[i];
            for (int first = row_ptr[i]; first < row_ptr[i + 1]; first += RGCN_CHUNK) {
                const int left = row_ptr[i + 1] - first;
                const int length = left < RGCN_CHUNK ? left : RGCN_CHUNK;
                if (pass)
                    chunk[place[RGCN_CHUNK - length]++] =
                        make_int4(i, first, first + length, cut);
                else
                    place[RGCN_CHUNK - length + 1]++;
            }
        }
        for (int k = 0; !pass && k <= RGCN_CHUNK; k++)
            place[k + 1] += place[k];
    }
    return place[RGCN_CHUNK];
}

/* Lanes for a row, and the launch with them. */
template <class F> static void with_lanes(const struct rgcn_sums *t, int width, F f)
{
    const int lanes = width <= 4 ? 1 : width <= 16 ? 4 : width <= 32 ? 8 : 16;
    const dim3 grid((unsigned)(((size_t)t->chunks * lanes + THREADS - 1) / THREADS),
                    (width + 4 * lanes - 1) / (4 * lanes));
    f(lanes, grid);
}

OP_BEGIN
enum op_status rgcn_sums_make(int rows, const int32_t *row_ptr, const int32_t *item,
                              const int32_t *slot, const float *scale,
                              const struct op_memory *memory, op_stream s, struct rgcn_sums *out)
{
    const int entries = row_ptr[rows];
    const size_t chunks_max = (size_t)rows + (size_t)entries / RGCN_CHUNK + 1;
    int4 *chunk = (int4 *)malloc(chunks_max * sizeof *chunk);
    int2 *entry = (int2 *)malloc(((size_t)entries + 1) * sizeof *entry);
    enum op_status status = chunk && entry ? OP_OK : OP_ENOMEM;
    memset(out, 0, sizeof *out);
    if (status == OP_OK) {
        out->rows = rows;
        out->chunks = make_chunks(rows, row_ptr, chunk, &out->clear);
        for (int e = 0; e < entries; e++) {
            const float one = scale ? scale[item[e]] : 1;
            entry[e].x = slot ? slot[item[e]] : item[e];
            memcpy(&entry[e].y, &one, sizeof one);
        }
        out->chunk = upload(memory, s, chunk, (size_t)out->chunks, &status);
        out->entry = upload(memory, s, entry, (size_t)entries, &status);
    }
    free(chunk);
    free(entry);
    return status;
}

enum op_status rgcn_sums_of(int rows, int items, const int32_t *node, const int32_t *slot,
                            const float *scale, const struct op_memory *memory, op_stream s,
                            struct rgcn_sums *out)
{
    int32_t *row_ptr, *item;
    enum op_status status = rgcn_rows(rows, items, node, &row_ptr, &item);
    if (status != OP_OK)
        return status;
    status = rgcn_sums_make(rows, row_ptr, item, slot, scale, memory, s, out);
    free(row_ptr);
    free(item);
    return status;
}

enum op_status rgcn_sums_run(const struct rgcn_sums *t, int width, const float *from, float *y,
                             op_stream s)
{
    if (t->clear && rgcn_clear(y, (size_t)t->rows * width, s) != OP_OK)
        return OP_EDEVICE;
    if (!t->chunks)
        return OP_OK;
    const int4 *chunk = (const int4 *)t->chunk;
    const int2 *entry = (const int2 *)t->entry;
    with_lanes(t, width, [&](int lanes, dim3 grid) {
        auto *kernel = lanes == 1 ? sum_rows<1> : lanes == 4 ? sum_rows<4>
                     : lanes == 8 ? sum_rows<8> : sum_rows<16>;
        kernel<<<grid, THREADS, 0, s>>>(chunk, t->chunks, entry, width, from, y);
    });
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status rgcn_spread_run(const struct rgcn_sums *t, int width, const float *x, int relu,
                               float *to, op_stream s)
{
    const int4 *chunk = (const int4 *)t->chunk;
    const int2 *entry = (const int2 *)t->entry;
    if (!t->chunks)
        return OP_OK;
    with_lanes(t, width, [&](int lanes, dim3 grid) {
        auto *kernel = lanes == 1 ? spread_rows<1> : lanes == 4 ? spread_rows<4>
                     : lanes == 8 ? spread_rows<8> : spread_rows<16>;
        kernel<<<grid, THREADS, 0, s>>>(chunk, t->chunks, entry, width, x, relu, to);
    });
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status rgcn_relu(size_t count, float *x, op_stream s)
{
    const size_t fours = count / 4;
    clip<<<(unsigned)((fours + THREADS - 1) / THREADS), THREADS, 0, s>>>(fours, (float4 *)x);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END

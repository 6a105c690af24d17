/*
 * units.cu - pillars without a sort and without a matrix of points: points are put in place by
 * counts, eight to a unit, and both layers run in registers.
 *
 *     units_bin      a thread a point: its cell, its number in the cell, sums of coordinates
 *     units_scan     a block 1024 cells: first unit, number and mean of each pillar
 *     units_place    a thread a point: to its place in the units of its pillar
 *     units_net      a warp four units: both layers, maxima; a block merges 32 units by pillar
 *                    (units_net.cuh)
 *     units_finish   pillars that lie in more than one block's 32 units
 *
 * A unit has points of one pillar: one to eight, the rest repeats the first, which no maximum
 * sees.  Neighbouring lanes whose points are in one cell (neighbours of a scan often are) count
 * them by one atomic.  Each counter is set back to zero by the kernel behind the one that reads it.
 *
 * Results do not depend on the order in which points arrive: means are sums of integers, steps of
 * 2^-24 m from the cell's centre, and maxima are exact.
 *
 * Bound by tensor cores, 10 us of a frame's 184 k points, and by the latency of five kernels.
 */
#include <cstdlib>

#include "../flatten/rank.cuh"
#include "kernels.h"
#include "units_net.cuh"

constexpr int BIN_THREADS = 1024, SCAN_THREADS = 256, PLACE_THREADS = 256;
constexpr int CHUNK = 1024;         /* cells of a scan's block; a multiple of 4 SCAN_THREADS */
constexpr float FIXED = 16777216.f; /* steps of a metre */

/* ---- points to their places ---- */

static __device__ __forceinline__ float3 from_centre(const pillar_grid &g, int cell, float x,
                                                     float y, float z)
{
    return make_float3(x - pillar_centre(&g, cell % g.side), y - pillar_centre(&g, cell / g.side),
                       z - g.z_middle);
}

__global__ void __launch_bounds__(BIN_THREADS)
units_bin(int points, pillar_grid g, const float *in, units_state s)
{
    extern __shared__ unsigned begun[]; /* [chunks] units << 16 | pillars */
    for (int k = threadIdx.x; k < s.chunks; k += BIN_THREADS)
        begun[k] = 0;
    __syncthreads();
    const int i = blockIdx.x * BIN_THREADS + threadIdx.x, lane = threadIdx.x % 32;
    int cell = -1;
    long long sum[3] = { 0, 0, 0 };
    if (i < points) {
        const float *v = in + (size_t)i * PILLAR_IN;
        cell = pillar_cell(&g, v[0], v[1], v[2]);
        if (cell >= 0) {
            const float3 d = from_centre(g, cell, v[0], v[1], v[2]);
            sum[0] = __float2ll_rn(d.x * FIXED);
            sum[1] = __float2ll_rn(d.y * FIXED);
            sum[2] = __float2ll_rn(d.z * FIXED);
        }
    }
    /* A run: lanes start .. end - 1 have one cell. */
    const int before = __shfl_up_sync(ALL, cell, 1);
    const unsigned heads = __ballot_sync(ALL, !lane || before != cell);
    const unsigned behind = heads & (0xfffffffeu << lane);
    const int start = 31 - __clz((int)(heads & (ALL >> (31 - lane))));
    const int end = behind ? __ffs((int)behind) - 1 : 32;
    for (int step = 1; step < 32; step *= 2)
        for (int a = 0; a < 3; a++) {
            const long long other = __shfl_down_sync(ALL, sum[a], step);
            sum[a] += lane + step < end ? other : 0;
        }
    int base = 0;
    if (lane == start && cell >= 0) {
        const int n = end - start;
        base = atomicAdd(&s.count[cell], n);
        for (int a = 0; a < 3; a++)
            atomicAdd(&s.sum[4 * (size_t)cell + a], (wide)sum[a]);
        const int units = (base + n + UNIT - 1) / UNIT - (base + UNIT - 1) / UNIT;
        if (units)
            atomicAdd(&begun[cell / CHUNK], (unsigned)units << 16 | !base);
    }
    base = __shfl_sync(ALL, base, start);
    if (i < points)
        s.at[i] = make_int2(cell, base + lane - start);
    __syncthreads();
    for (int k = threadIdx.x; k < s.chunks; k += BIN_THREADS)
        if (begun[k]) {
            atomicAdd(&s.chunk[k], (int)(begun[k] >> 16));
            if (begun[k] & 0xffff)
                atomicAdd(&s.chunk[s.chunks + k], (int)(begun[k] & 0xffff));
        }
}

/* Sums of integers over n points to their mean, metres; the sums are left zero. */
static __device__ __forceinline__ void take_mean(wide *sum, int n, float (&mean)[3])
{
    const double scale = 1. / ((double)n * FIXED);
    for (int a = 0; a < 3; a++) {
        mean[a] = (float)((double)(long long)sum[a] * scale);
        sum[a] = 0;
    }
}

/* Threads take four neighbouring cells each.  Units and pillars are summed as one: units << 32 |
 * pillars. */
__global__ void __launch_bounds__(SCAN_THREADS)
units_scan(pillar_grid g, units_state s, flatten_cell *cell, int32_t *count)
{
    __shared__ wide sums[SCAN_THREADS / 32];
    constexpr int EACH = CHUNK / SCAN_THREADS;
    static_assert(EACH == 4, "an int4 of counts");
    wide own = 0, before, unused;
    for (int k = threadIdx.x; k < (int)blockIdx.x; k += SCAN_THREADS)
        own += (wide)s.chunk[k] << 32 | (unsigned)s.chunk[s.chunks + k];
    sum_before_all<SCAN_THREADS>(own, sums, &before);
    const int begin = blockIdx.x * CHUNK + threadIdx.x * EACH;
    const int4 counts = *(const int4 *)(s.count + begin);
    const int n[EACH] = { counts.x, counts.y, counts.z, counts.w };
    own = 0;
    for (int k = 0; k < EACH; k++)
        own += (wide)((n[k] + UNIT - 1) / UNIT) << 32 | (n[k] > 0);
    if (own)
        *(int4 *)(s.count + begin) = make_int4(0, 0, 0, 0);
    before += sum_before_all<SCAN_THREADS>(own, sums, &unused);
    for (int k = 0; k < EACH; k++) {
        const int at = begin + k, pillar = (int)(unsigned)before;
        if (!n[k])
            continue;
        unit_of p = { { 0, 0, 0 }, pillar, pillar_centre(&g, at % g.side),
                      pillar_centre(&g, at / g.side), n[k], (int)(before >> 32) };
        take_mean(s.sum + 4 * (size_t)at, n[k], p.mean);
        s.pillar[2 * (size_t)at] = ((const uint4 *)&p)[0];
        s.pillar[2 * (size_t)at + 1] = ((const uint4 *)&p)[1];
        cell[pillar] = { at % g.side, at / g.side };
        before += (wide)((n[k] + UNIT - 1) / UNIT) << 32 | 1;
    }
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == SCAN_THREADS - 1) {
        *s.units = (int)(before >> 32);
        *count = (int)(unsigned)before;
    }
}

__global__ void __launch_bounds__(PLACE_THREADS)
units_place(int points, pillar_grid g, const float *in, units_state s)
{
    const int i = blockIdx.x * PLACE_THREADS + threadIdx.x;
    if (!blockIdx.x)
        for (int k = threadIdx.x; k < 2 * s.chunks; k += PLACE_THREADS)
            s.chunk[k] = 0;
    if (i >= points)
        return;
    const int2 at = s.at[i];
    if (at.x < 0)
        return;
    const float *v = in + (size_t)i * PILLAR_IN;
    const uint4 where = s.pillar[2 * (size_t)at.x + 1];
    const int unit = (int)where.w + at.y / UNIT;
    const float3 d = from_centre(g, at.x, v[0], v[1], v[2]);
    float4 *to = s.point + 2 * ((size_t)unit * UNIT + at.y % UNIT);
    to[0] = make_float4(d.x, d.y, d.z, v[3]);
    to[1] = make_float4(v[4], 0, 0, 0);
    if (at.y % UNIT)
        return;
    s.unit[2 * (size_t)unit] = s.pillar[2 * (size_t)at.x];
    s.unit[2 * (size_t)unit + 1] = where;
}

/* ---- launchers ---- */

OP_BEGIN

enum op_status pillar_units_setup(const struct pillar_problem *p, const struct pillar_args *a,
                                  const struct op_memory *m, op_stream stream, void **state)
{
    units_state *s = (units_state *)calloc(1, sizeof *s);
    int device = 0, sms = 0, blocks = 0;
    (void)a;
    *state = s;
    if (!s)
        return OP_ENOMEM;
    const size_t points = (size_t)p->points, most = (size_t)pillar_most(p);
    const size_t units = min(points, points / UNIT + most); /* n points: at most n / 8 + 7 / 8 */
    s->cells = p->grid.side * p->grid.side;
    s->chunks = (s->cells + CHUNK - 1) / CHUNK;
    s->tiles = (int)((units + UNITS - 1) / UNITS);
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaFuncSetAttribute(units_net, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaFuncSetAttribute(units_finish, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, units_net, THREADS,
                                                      sizeof(tile)) != cudaSuccess || !blocks)
        return OP_EDEVICE;
    s->blocks = min(s->tiles, sms * blocks);
    const size_t cells = (size_t)s->cells, tiles = (size_t)s->tiles;
    const size_t counts = (size_t)s->chunks * CHUNK * sizeof(int);
    const size_t sums = cells * 4 * sizeof(wide), chunks = 2 * (size_t)s->chunks * sizeof(int);
    const size_t scratch = tiles * MERGED * sizeof(unsigned);
    s->count = (int *)m->take(m->context, counts);
    s->sum = (wide *)m->take(m->context, sums);
    s->chunk = (int *)m->take(m->context, chunks);
    s->scratch = (unsigned *)m->take(m->context, scratch);
    s->pillar = (uint4 *)m->take(m->context, cells * sizeof(unit_of));
    s->at = (int2 *)m->take(m->context, points * sizeof(int2));
    s->unit = (uint4 *)m->take(m->context, units * sizeof(unit_of));
    s->point = (float4 *)m->take(m->context, units * UNIT * 2 * sizeof(float4));
    s->across = (int *)m->take(m->context, tiles * sizeof(int));
    s->units = (int *)m->take(m->context, sizeof(int));
    if (!s->count || !s->sum || !s->chunk || !s->scratch || !s->pillar || !s->at || !s->unit ||
        !s->point || !s->across || !s->units)
        return OP_ENOMEM;
    if (cudaMemsetAsync(s->count, 0, counts, stream) != cudaSuccess ||
        cudaMemsetAsync(s->sum, 0, sums, stream) != cudaSuccess ||
        cudaMemsetAsync(s->chunk, 0, chunks, stream) != cudaSuccess ||
        cudaMemsetAsync(s->scratch, 0, scratch, stream) != cudaSuccess)
        return OP_EDEVICE;
    return OP_OK;
}

enum op_status pillar_units_part(const struct pillar_problem *p, const struct pillar_args *a,
                                 void *state, enum pillar_units_end end, op_stream stream)
{
    const units_state *s = (const units_state *)state;
    const half *w2 = (const half *)a->w2;
    half *out = (half *)a->out;
    units_bin<<<(p->points + BIN_THREADS - 1) / BIN_THREADS, BIN_THREADS, s->chunks * sizeof(int),
                stream>>>(p->points, p->grid, a->in, *s);
    if (end >= PILLAR_UNITS_PLACED) {
        units_scan<<<s->chunks, SCAN_THREADS, 0, stream>>>(p->grid, *s, a->cell, a->count);
        units_place<<<(p->points + PLACE_THREADS - 1) / PLACE_THREADS, PLACE_THREADS, 0, stream>>>(
            p->points, p->grid, a->in, *s);
    }
    if (end >= PILLAR_UNITS_NET)
        units_net<<<s->blocks, THREADS, sizeof(tile), stream>>>(p->grid.z_middle, *s, a->w1, a->b1,
                                                                w2, a->b2, out);
    if (end >= PILLAR_UNITS_ALL)
        units_finish<<<(s->tiles + UNITS - 1) / UNITS, THREADS, sizeof(tile), stream>>>(*s, w2,
                                                                                       a->b2, out);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status pillar_units(const struct pillar_problem *p, const struct pillar_args *a,
                            void *state, op_stream stream)
{
    return pillar_units_part(p, a, state, PILLAR_UNITS_ALL, stream);
}

OP_END

/*
 * llama_integers.cu - see llama_steps.h: quantised activations, products of codes, rotations,
 * rounded keys and values.
 *
 * Codes are bytes, [row][padded], and the product takes four at a time (dp4a) from tiles of
 * both sides in shared memory, words first, so that a thread's four rows are one load:
 *
 *     a [8 words][64 tokens]    w [8 words][64 channels]    thread: 4 tokens x 4 channels
 *
 * Sums of codes are exact.  Everything in floats is done in the host's order and unfused, so
 * that equal inputs give equal bits.
 */
#include "../common/half.h"
#include "llama_steps.cuh"

static __device__ __forceinline__ float as_half(float x)
{
    return half_to_float(half_from_float(x));
}

/* ---- activations ---- */

/* Block x: a token; block y: a group of its channels. */
static __global__ void quantise(struct llama_groups s, const float *x, int8_t *code, float *scale,
                                float *total)
{
    const int g = blockIdx.y, first = s.start[g], count = s.start[g + 1] - first;
    const int place = s.place[g], end = s.place[g + 1] - place;
    const float top = (float)((1 << (s.act_bits[g] - 1)) - 1);
    const float *row = x + (size_t)blockIdx.x * s.k;
    int8_t *to = code + (size_t)blockIdx.x * s.padded + place;
    float most = 0;
    if (g == 0) {
        double sum = 0;
        for (int p = threadIdx.x; p < s.k; p += THREADS)
            sum += (double)row[p];
        sum = block_sum(sum);
        if (threadIdx.x == 0)
            total[blockIdx.x] = as_half((float)sum);
    }
    for (int p = threadIdx.x; p < count; p += THREADS)
        most = fmaxf(most, fabsf(row[s.order ? s.order[first + p] : first + p]));
    most = block_max(most);
    const float per = most > 0 ? __fdiv_rn(top, most) : 0;
    for (int p = threadIdx.x; p < end; p += THREADS)
        to[p] = p < count ? (int8_t)__float2int_rn(
                                __fmul_rn(row[s.order ? s.order[first + p] : first + p], per))
                          : (int8_t)0;
    if (threadIdx.x == 0)
        scale[(size_t)blockIdx.x * s.groups + g] = as_half(__fdiv_rn(most, top));
}

/* ---- products ---- */

constexpr int TILE = 64, WORDS = LLAMA_PAD / 4, SIDE = 4; /* SIDE x SIDE outputs a thread */
constexpr int STRIDE = TILE + 4; /* words: rows stay aligned to 16 bytes */
static_assert(TILE / SIDE * (TILE / SIDE) == THREADS && TILE * WORDS == 2 * THREADS,
              "a thread loads two words of either side");

/* Two words of row `row` from word `at`; zeros past the last row. */
static __device__ __forceinline__ int2 two_words(const int8_t *from, int row, int rows,
                                                 size_t padded, int at)
{
    return row < rows ? __ldg((const int2 *)(from + row * padded + 4 * (size_t)at))
                      : make_int2(0, 0);
}

struct product_operands {
    const int8_t *code, *w;
    const float *scale, *total, *w_scale, *offset, *bias;
    int m, n;
    float *y;
};

static __global__ void __launch_bounds__(THREADS) int_product(struct llama_groups s,
                                                              struct product_operands o)
{
    __shared__ __align__(16) int a[WORDS][STRIDE], w[WORDS][STRIDE];
    const int first_i = (int)blockIdx.y * TILE, first_j = (int)blockIdx.x * TILE;
    const int row = threadIdx.x / 4, word = threadIdx.x % 4 * 2; /* of what is loaded */
    const int i0 = threadIdx.x / (TILE / SIDE) * SIDE, j0 = threadIdx.x % (TILE / SIDE) * SIDE;
    float y[SIDE][SIDE];
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            y[i][j] = o.bias && first_j + j0 + j < o.n ? o.bias[first_j + j0 + j] : 0;
    int2 next_a = two_words(o.code, first_i + row, o.m, s.padded, word);
    int2 next_w = two_words(o.w, first_j + row, o.n, s.padded, word);
    for (int g = 0; g < s.groups; g++) {
        int sum[SIDE][SIDE] = { { 0 } };
        for (int at = s.place[g] / 4; at < s.place[g + 1] / 4; at += WORDS) {
            __syncthreads();
            a[word][row] = next_a.x;
            a[word + 1][row] = next_a.y;
            w[word][row] = next_w.x;
            w[word + 1][row] = next_w.y;
            __syncthreads();
            if (at + WORDS < s.padded / 4) { /* groups lie one behind another */
                next_a = two_words(o.code, first_i + row, o.m, s.padded, at + WORDS + word);
                next_w = two_words(o.w, first_j + row, o.n, s.padded, at + WORDS + word);
            }
#pragma unroll
            for (int p = 0; p < WORDS; p++) {
                const int4 u = *(const int4 *)&a[p][i0], v = *(const int4 *)&w[p][j0];
                const int left[SIDE] = { u.x, u.y, u.z, u.w }, right[SIDE] = { v.x, v.y, v.z, v.w };
#pragma unroll
                for (int i = 0; i < SIDE; i++)
#pragma unroll
                    for (int j = 0; j < SIDE; j++)
                        sum[i][j] = __dp4a(left[i], right[j], sum[i][j]);
            }
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
                const int token = min(first_i + i0 + i, o.m - 1);
                const int channel = min(first_j + j0 + j, o.n - 1);
                const float both = __fmul_rn(o.w_scale[(size_t)channel * s.groups + g],
                                             o.scale[(size_t)token * s.groups + g]);
                y[i][j] = __fadd_rn(y[i][j], __fmul_rn(both, (float)sum[i][j]));
            }
    }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            const int token = first_i + i0 + i, channel = first_j + j0 + j;
            if (token >= o.m || channel >= o.n)
                continue;
            if (o.offset)
                y[i][j] = __fsub_rn(y[i][j], __fmul_rn(o.offset[channel], o.total[token]));
            o.y[(size_t)token * o.n + channel] = y[i][j];
        }
}

/* ---- rotations, keys and values ---- */

/* Block x: a row; block y: one of its parts of `size`. */
static __global__ void turn(const float *sign, int k, int size, float norm, float *x)
{
    extern __shared__ float part[];
    const size_t first = (size_t)blockIdx.y * size;
    float *row = x + (size_t)blockIdx.x * k + first;
    for (int p = threadIdx.x; p < size; p += THREADS)
        part[p] = sign ? row[p] * sign[first + p] : row[p];
    for (int half = 1; half < size; half *= 2) {
        __syncthreads();
        for (int t = threadIdx.x; t < size / 2; t += THREADS) {
            const int j = t / half * 2 * half + t % half;
            const float a = part[j], b = part[j + half];
            part[j] = a + b;
            part[j + half] = a - b;
        }
    }
    __syncthreads();
    for (int p = threadIdx.x; p < size; p += THREADS)
        row[p] = part[p] * norm;
}

/* A warp takes a vector. */
static __global__ void kv_round(float top, int count, int size, float *x)
{
    const int v = (int)blockIdx.x * WARPS + (int)threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (v >= count)
        return;
    float *row = x + (size_t)v * size;
    float low = INFINITY, high = -INFINITY;
    for (int c = lane; c < size; c += WARP) {
        low = fminf(low, row[c]);
        high = fmaxf(high, row[c]);
    }
    for (int d = WARP / 2; d > 0; d /= 2) {
        low = fminf(low, __shfl_xor_sync(ALL_LANES, low, d));
        high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, d));
    }
    const float range = __fsub_rn(high, low);
    const float scale = as_half(__fdiv_rn(range, top));
    const float zero = as_half(__fdiv_rn(__fmul_rn(-top, low), range));
    for (int c = lane; c < size; c += WARP) {
        const float q = rintf(__fadd_rn(__fdiv_rn(__fmul_rn(row[c], top), range), zero));
        const float code = q < 0 ? 0 : q > top ? top : q;
        row[c] = high > low ? __fmul_rn(__fsub_rn(code, zero), scale) : as_half(row[c]);
    }
}

/* ---- launchers ---- */

OP_BEGIN

enum op_status llama_quantise(const struct llama_groups *g, const float *x, int m, int8_t *code,
                              float *scale, float *total, op_stream s)
{
    if (m < 1 || g->k < 1 || g->groups < 1 || g->padded % LLAMA_PAD)
        return OP_EINVAL;
    if (g->groups > 65535)
        return OP_EUNSUPPORTED;
    quantise<<<dim3((unsigned)m, (unsigned)g->groups), THREADS, 0, s>>>(*g, x, code, scale, total);
    return launched();
}

enum op_status llama_int_product(const struct llama_groups *g, const int8_t *code,
                                 const float *scale, const float *total, const int8_t *w,
                                 const float *w_scale, const float *offset, const float *bias,
                                 int m, int n, float *y, op_stream s)
{
    const struct product_operands o = { code, w, scale, total, w_scale, offset, bias, m, n, y };
    const dim3 tiles((unsigned)(n + TILE - 1) / TILE, (unsigned)(m + TILE - 1) / TILE);
    if (m < 1 || n < 1 || g->groups < 1 || g->padded % LLAMA_PAD)
        return OP_EINVAL;
    if (tiles.y > 65535)
        return OP_EUNSUPPORTED;
    int_product<<<tiles, THREADS, 0, s>>>(*g, o);
    return launched();
}

enum op_status llama_turn(const float *sign, int rows, int k, int size, float *x, op_stream s)
{
    if (rows < 1 || size < 1 || size & (size - 1) || k % size)
        return OP_EINVAL;
    if (size > LLAMA_TURN_MAX || k / size > 65535)
        return OP_EUNSUPPORTED;
    turn<<<dim3((unsigned)rows, (unsigned)(k / size)), THREADS, (size_t)size * sizeof(float), s>>>(
        sign, k, size, (float)(1 / sqrt((double)size)), x);
    return launched();
}

enum op_status llama_kv_round(int bits, int count, int size, float *x, op_stream s)
{
    if (bits < 1 || bits > 16 || count < 1 || size < 1)
        return OP_EINVAL;
    kv_round<<<(unsigned)(count + WARPS - 1) / WARPS, THREADS, 0, s>>>(
        (float)((1 << bits) - 1), count, size, x);
    return launched();
}

OP_END

/*
 * rope.cuh - rotates queries and keys by their position and writes keys and values into pages.
 * Included by own_sm90.cu.
 *
 * A block, or several, takes a token, a group of lanes a head: lane j of the group channels
 * 8 j .. 8 j + 7 and those half a head further on, which rotate with them.  So the codes of a lane
 * are two pieces of 8, and its angles serve all heads that its group takes one after another,
 * each loaded while the one before is worked on.
 *
 *   head_dim     to 64   to 128   to 256
 *   lanes         4        8        16      head_dim / 16 of them have channels
 *
 * Bound by bytes.
 */
#ifndef KERNELS_QUANT_ROPE_CUH
#define KERNELS_QUANT_ROPE_CUH

#include "../attn/page.h"
#include "rows.cuh"

constexpr int ROPE_WARPS_MAX = 8;

struct RopeHeads {
    int heads, kv_heads, head_dim, page, table_pages, length, n;
    enum attn_scheme scheme;
};

/* By an angle's cosine and sine.  Which product is rounded is said, so that kernels agree. */
static __device__ __forceinline__ void turn_pair(float &first, float &second, float2 turn)
{
    const float x = first, y = second;
    first = fmaf(x, turn.x, -(y * turn.y));
    second = fmaf(y, turn.x, x * turn.y);
}

/* The angles of channels 8 sub .. 8 sub + 7 of a token. */
static __device__ __forceinline__ void load_turns(float2 (&turn)[V8], const quant_args &a,
                                                  int token, int head_dim, int sub)
{
    const float4 *from = (const float4 *)(a.rotation + (size_t)token * head_dim + sub * 16);
#pragma unroll
    for (int t = 0; t < V8 / 2; t++) {
        const float4 f = __ldg(from + t);
        turn[2 * t] = make_float2(f.x, f.y), turn[2 * t + 1] = make_float2(f.z, f.w);
    }
}

/* Codes 0 .. levels of 8 values, in the low bytes of words. */
static __device__ __forceinline__ void cache_codes(const float (&v)[V8], const attn_row &row,
                                                   float levels, uint32_t (&to)[V8])
{
#pragma unroll
    for (int t = 0; t < V8; t++) {
        const float code = fmaf(v[t], row.inverse, row.shift);
        to[t] = __float_as_uint(fminf(fmaxf(code, 0.0f), levels) + 12582912.0f);
    }
}

static __device__ __forceinline__ uint32_t low_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

/* Channels 8 sub .. and head_dim / 2 + 8 sub .. of a token of a head. */
static __device__ __forceinline__ void store_codes(unsigned char *to, int sub, int head_dim,
                                                   bool four, const attn_row &row,
                                                   const float (&v)[2][V8])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        uint32_t c[V8];
        cache_codes(v[h], row, four ? 15.0f : 255.0f, c);
        if (four)
            *(uint32_t *)(to + h * head_dim / 4 + sub * 4) =
                low_bytes(c[0], c[2], c[4], c[6]) | low_bytes(c[1], c[3], c[5], c[7]) << 4;
        else
            *(uint2 *)(to + h * head_dim / 2 + sub * 8) =
                make_uint2(low_bytes(c[0], c[1], c[2], c[3]), low_bytes(c[4], c[5], c[6], c[7]));
    }
}

/* The row of a head: smallest and largest over the lanes of a group; all lanes of a warp. */
template <int Lanes>
static __device__ __forceinline__ attn_row cache_row(const float (&v)[2][V8], bool active,
                                                     int levels)
{
    float low = active ? v[0][0] : 0x1p60f, high = active ? v[0][0] : -0x1p60f;
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int t = 0; t < V8; t++)
            if (active) {
                low = fminf(low, v[h][t]);
                high = fmaxf(high, v[h][t]);
            }
#pragma unroll
    for (int d = Lanes / 2; d > 0; d /= 2) {
        low = fminf(low, __shfl_xor_sync(ALL_LANES, low, d));
        high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, d));
    }
    return attn_row_of(low, high, levels);
}

/* Rotate: q and k of x, turned, to y.  Store: keys and values to pages, keys from y where they
 * are not rotated here. */
template <int Lanes, bool Rotate, bool Store>
static __global__ void __launch_bounds__(ROPE_WARPS_MAX *WARP, 4)
    quant_rope(const RopeHeads p, const quant_args a)
{
    constexpr int HEADS = WARP / Lanes; /* of a warp at a time */
    const int sub = threadIdx.x % Lanes, half_dim = p.head_dim / 2;
    const int row = blockIdx.x, sequence = row / p.length, token = row - sequence * p.length;
    const int rotated = p.heads + p.kv_heads, all = rotated + p.kv_heads;
    const bool four = p.scheme == ATTN_KV4, channels = sub * V8 < half_dim;
    float2 turn[V8];
    if (Rotate && channels) /* constants */
        load_turns(turn, a, token, p.head_dim, sub);
    let_next_start();
    wait_for_previous();
    const half *x = (const half *)a.x + (size_t)row * p.n;
    half *y = (half *)a.y + (size_t)row * rotated * p.head_dim;
    /* the first head of a warp is the same for all its lanes */
    const int step = gridDim.y * (blockDim.x / WARP) * HEADS;
    int base =
        (Rotate ? 0 : p.heads) + (blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP) * HEADS;
    const auto load = [&](int base, uint4(&raw)[2]) {
        const int head = base + threadIdx.x % WARP / Lanes;
        if (!channels || head >= all)
            return;
        const half *from = (!Rotate && head < rotated ? y : x) + head * p.head_dim + sub * V8;
        raw[0] = load_once(from, 0);
        raw[1] = load_once(from + half_dim, 0);
    };
    uint4 raw[2] = {};
    load(base, raw);
    const int at = token % p.page;
    void *const *const keys = a.page + (size_t)sequence * 2 * p.table_pages + token / p.page;
    for (; base < all; base += step) {
        const int head = base + threadIdx.x % WARP / Lanes;
        const bool active = channels && head < all;
        const int which = head >= rotated;
        unsigned char *to = NULL;
        if (Store && active && head >= p.heads)
            to = (unsigned char *)keys[which ? p.table_pages : 0];
        uint4 ahead[2] = {};
        load(base + step, ahead);
        float v[2][V8];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            to_floats(raw[h], v[h]);
            raw[h] = ahead[h];
        }
        if (Rotate && active && head < rotated) {
#pragma unroll
            for (int t = 0; t < V8; t++) {
                turn_pair(v[0][t], v[1][t], turn[t]);
            }
            const uint4 low = to_halves(v[0]), high = to_halves(v[1]);
            *(uint4 *)(y + head * p.head_dim + sub * V8) = low;
            *(uint4 *)(y + head * p.head_dim + half_dim + sub * V8) = high;
            to_floats(low, v[0]);
            to_floats(high, v[1]);
        }
        if (!Store || base + HEADS <= p.heads)
            continue;
        const attn_row codes = cache_row<Lanes>(v, active, four ? 15 : 255);
        if (!to)
            continue;
        const int kv = head - p.heads - which * p.kv_heads;
        store_codes(to + attn_data_at(p.scheme, p.head_dim, p.page, kv, at), sub, p.head_dim, four,
                    codes, v);
        if (!sub) {
            *(half_bits *)(to + attn_scale_at(p.scheme, p.kv_heads, p.head_dim, p.page, kv, at)) =
                codes.scale;
            *(half_bits *)(to + attn_zero_at(p.scheme, p.kv_heads, p.head_dim, p.page, kv, at)) =
                codes.zero;
        }
    }
}

template <bool Rotate, bool Store>
static enum op_status launch_rope(const quant_problem *p, const quant_args *a, op_stream s)
{
    const RopeHeads h = { p->heads,
                          p->kv_heads,
                          p->head_dim,
                          p->page,
                          quant_table_pages(p),
                          p->length,
                          p->n,
                          p->bits == 4 ? ATTN_KV4 : ATTN_KV8 };
    const int lanes = p->head_dim <= 64 ? 4 : p->head_dim <= 128 ? 8 : 16;
    const int heads = (Rotate ? p->heads : 0) + 2 * p->kv_heads;
    const int all = (heads * lanes + WARP - 1) / WARP;
    /* few tokens: blocks share one, a warp takes its heads at once; many: angles serve several */
    const bool few = p->m <= 4 * 132;
    const int parts = few ? (all + ROPE_WARPS_MAX - 1) / ROPE_WARPS_MAX : 1;
    const int most = few ? ROPE_WARPS_MAX : 4, each = (all + parts - 1) / parts;
    const int warps = each < most ? each : most;
    return launch_early(lanes == 4   ? quant_rope<4, Rotate, Store>
                        : lanes == 8 ? quant_rope<8, Rotate, Store>
                                     : quant_rope<16, Rotate, Store>,
                        dim3((unsigned)p->m, (unsigned)parts), warps * WARP, 1, s, h, *a);
}

#endif

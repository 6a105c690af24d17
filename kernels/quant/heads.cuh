/*
 * heads.cuh - rotates queries and keys by their position and writes keys and values into pages, at
 * once or each by itself.  Included by own_sm90.cu.
 *
 * A group of lanes takes a head: lane j of the group channels 8 j .. 8 j + 7 and those half a head
 * further on, which rotate with them.  So the codes of a lane are two pieces of 8, and its angles
 * serve all heads that it takes.  Which heads a warp takes stands in heads.h.
 *
 *   head_dim     to 64   to 128   to 256
 *   lanes         4        8        16      head_dim / 16 of them have channels
 *
 * Bound by bytes, as long as instructions are few: a warp spends 230 to 260 on a unit of keys.
 * Ends are found two halves a word and, the largest with its sign changed, in one word from lane
 * to lane; codes are clamped by the product that makes them and packed two a word; rows need no
 * quotient that asks whether it may be one.  Issuing them takes half the time of the bytes.
 */
#ifndef KERNELS_QUANT_HEADS_CUH
#define KERNELS_QUANT_HEADS_CUH

#include "heads.h"
#include "rows.cuh"

/* What a launch knows before it starts. */
struct HeadsPlan {
    int heads, rotated; /* queries; keys too */
    int begin, end;     /* of the launch */
    int head_dim, n;
    int warps; /* of a token */
    int page, table_pages, length;
    heads_divisor by_length, by_page;
    bool four;
    int row_bytes, head_bytes;    /* of a token of a head; of a head of a page */
    size_t scale_at, zero_behind; /* in a page; from the scale */
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

/* Codes of 16 halves of a head; scale and zero point by its first two lanes. */
template <int Lanes>
static __device__ __forceinline__ void store_head(const HeadsPlan &p, unsigned char *page, int kv,
                                                  int at, int sub, bool active, int half_dim,
                                                  const uint32_t (&w)[V8])
{
    uint32_t ends = active ? heads_ends(w) : HEADS_NO_ENDS;
#pragma unroll
    for (int d = Lanes / 2; d > 0; d /= 2)
        ends = heads_least(ends, __shfl_xor_sync(ALL_LANES, ends, d));
    if (!page)
        return;
    const float2 end = __half22float2(half2_of_bits(ends));
    const float top = p.four ? 16.0f : 256.0f, one_of_top = p.four ? 1 / 16.0f : 1 / 256.0f;
    const attn_row row = heads_row_of(end.x, -end.y, top - 1, p.four ? 1 / 15.0f : 1 / 255.0f);
    const float inverse = row.inverse * one_of_top, shift = row.shift * one_of_top;
    unsigned char *to = page + (size_t)(unsigned)kv * (unsigned)p.head_bytes + at * p.row_bytes;
    uint32_t code[2][V8];
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int t = 0; t < V8 / 2; t++) {
            const float2 f = __half22float2(half2_of_bits(w[4 * h + t]));
            code[h][2 * t] = heads_code(f.x, inverse, shift, top);
            code[h][2 * t + 1] = heads_code(f.y, inverse, shift, top);
        }
    if (p.four) {
        *(uint32_t *)(to + sub * 4) = heads_nibbles(code[0]);
        *(uint32_t *)(to + half_dim / 2 + sub * 4) = heads_nibbles(code[1]);
    } else {
        *(uint2 *)(to + sub * 8) = make_uint2(heads_bytes(code[0]), heads_bytes(code[0] + 4));
        *(uint2 *)(to + half_dim + sub * 8) =
            make_uint2(heads_bytes(code[1]), heads_bytes(code[1] + 4));
    }
    if (sub < 2)
        *(half_bits *)(page + p.scale_at + sub * p.zero_behind + 2 * (kv * p.page + at)) =
            sub ? row.zero : row.scale;
}

/* Full: a head has 16 channels for every lane.  Rotate: q and k of x, turned, to y.  Store: keys
 * and values to pages, keys from y where they are not rotated here. */
template <int Lanes, bool Full, int Each, bool Rotate, bool Store>
static __global__ void __launch_bounds__(HEADS_WARPS_MAX *WARP, !Full       ? 2
                                                                : Each == 1 ? 5
                                                                            : 3)
    quant_heads(const HeadsPlan p, const quant_args a)
{
    constexpr int HEADS = WARP / Lanes;
    const int sub = threadIdx.x % Lanes, head_dim = Full ? Lanes * 16 : p.head_dim;
    const int half_dim = head_dim / 2;
    const bool channels = Full || sub * V8 < half_dim;
    const int row = blockIdx.x, sequence = heads_divide(row, p.by_length);
    const int token = row - sequence * p.length;
    float2 turn[V8];
    if (Rotate && channels) /* constants */
        load_turns(turn, a, token, head_dim, sub);
    let_next_start();
    wait_for_previous();
    const half *x = (const half *)a.x + (size_t)row * p.n + sub * V8;
    half *y = (half *)a.y + (size_t)row * (p.rotated * head_dim) + sub * V8;
    const int slot = blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int first = p.begin + slot * HEADS, step = p.warps * HEADS;
    const int mine = threadIdx.x % WARP / Lanes;
    if (slot >= p.warps) /* the last block of a token may have more warps than are left */
        return;
    uint4 raw[Each][2];
#pragma unroll
    for (int k = 0; k < Each; k++) {
        const int head = first + k * step + mine;
        if (channels && head < p.end) {
            const half *from = (!Rotate && head < p.rotated ? y : x) + head * head_dim;
            raw[k][0] = load_once(from, 0);
            raw[k][1] = load_once(from + half_dim, 0);
        }
    }
    const int in_sequence = heads_divide(token, p.by_page), at = token - in_sequence * p.page;
    void *const *table = a.page + (size_t)sequence * 2 * p.table_pages + in_sequence;
    unsigned char *keys = NULL, *values = NULL;
    if (Store && first + (Each - 1) * step + HEADS > p.heads) {
        keys = (unsigned char *)table[0];
        values = (unsigned char *)table[p.table_pages];
    }
#pragma unroll
    for (int k = 0; k < Each; k++) {
        const int base = first + k * step, head = base + mine;
        if (base >= p.end)
            return;
        const bool active = channels && head < p.end;
        uint4 low = raw[k][0], high = raw[k][1];
        if (Rotate && active && head < p.rotated) {
            float v[2][V8];
            to_floats(low, v[0]);
            to_floats(high, v[1]);
#pragma unroll
            for (int t = 0; t < V8; t++)
                turn_pair(v[0][t], v[1][t], turn[t]);
            low = to_halves(v[0]), high = to_halves(v[1]);
            *(uint4 *)(y + head * head_dim) = low;
            *(uint4 *)(y + head * head_dim + half_dim) = high;
        }
        if (!Store || base + HEADS <= p.heads) /* nothing but queries */
            continue;
        const bool value = head >= p.rotated;
        unsigned char *page = value ? values : keys;
        if (!active || head < p.heads)
            page = NULL;
        const uint32_t w[V8] = { low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w };
        store_head<Lanes>(p, page, head - (value ? p.rotated : p.heads), at, sub, active, half_dim,
                          w);
    }
}

template <int Lanes, bool Full, bool Rotate, bool Store>
static enum op_status launch_heads(const quant_problem *p, const quant_args *a,
                                   const quant_shape &shape, op_stream s)
{
    const attn_scheme scheme = p->bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const int row_bytes = (int)attn_row_bytes(scheme, p->head_dim);
    const int rotated = p->heads + p->kv_heads;
    const int begin = Rotate ? 0 : p->heads, end = Store ? heads_all(p) : rotated;
    const HeadsPlan plan = { p->heads,
                             rotated,
                             begin,
                             end,
                             p->head_dim,
                             p->n,
                             heads_warps(p, end - begin, shape.vectors),
                             p->page,
                             quant_table_pages(p),
                             p->length,
                             heads_divisor_of(p->length),
                             heads_divisor_of(p->page),
                             p->bits == 4,
                             row_bytes,
                             row_bytes * p->page,
                             attn_scale_at(scheme, p->kv_heads, p->head_dim, p->page, 0, 0),
                             2 * (size_t)p->kv_heads * (size_t)p->page };
    return launch_early(shape.vectors == 1 ? quant_heads<Lanes, Full, 1, Rotate, Store>
                                           : quant_heads<Lanes, Full, 2, Rotate, Store>,
                        dim3((unsigned)p->m, (unsigned)shape.blocks), shape.threads, 1, s, plan,
                        *a);
}

/* shape: of the heads that are rotated or stored. */
template <bool Rotate, bool Store>
static enum op_status run_heads(const quant_problem *p, const quant_args *a,
                                const quant_shape &shape, op_stream s)
{
    if (!shape.threads || shape.vectors < 1 || shape.vectors > HEADS_EACH_MAX)
        return OP_EUNSUPPORTED;
    if (p->head_dim == 64)
        return launch_heads<4, true, Rotate, Store>(p, a, shape, s);
    if (p->head_dim == 128)
        return launch_heads<8, true, Rotate, Store>(p, a, shape, s);
    switch (heads_lanes(p->head_dim)) {
    case 4:
        return launch_heads<4, false, Rotate, Store>(p, a, shape, s);
    case 8:
        return launch_heads<8, false, Rotate, Store>(p, a, shape, s);
    default:
        return launch_heads<16, false, Rotate, Store>(p, a, shape, s);
    }
}

#endif

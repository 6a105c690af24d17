/*
 * test_quant_heads.c - heads.cuh without a GPU: its lanes one after another on whole launches,
 * whose pages must be those of the definition to the bit; with faults that must show.
 */
#include <math.h>
#include <stdlib.h>

#include "../kernels/gemm/quantise.h"
#include "../kernels/quant/cache.h"
#include "../kernels/quant/heads.h"
#include "test.h"

static void test_divide(void)
{
    static const int divisors[] = { 1, 2, 3, 7, 16, 64, 1000, 1024, 1025, 4095, 99999, 1 << 20 };
    long wrong = 0;
    for (size_t d = 0; d < sizeof divisors / sizeof *divisors; d++) {
        const struct heads_divisor by = heads_divisor_of(divisors[d]);
        for (int n = 0; n < 3000; n++)
            wrong += heads_divide(n, by) != n / divisors[d];
        for (int q = 1; q < 2000; q++) { /* about multiples, to the largest number */
            const int n = (int)((int64_t)0x7fffffff / 2000 * q / divisors[d] * divisors[d]);
            wrong += heads_divide(n, by) != n / divisors[d];
            wrong += n > 0 && heads_divide(n - 1, by) != (n - 1) / divisors[d];
        }
        wrong += heads_divide(0x7fffffff, by) != 0x7fffffff / divisors[d];
    }
    CHECK(wrong == 0);
}

/* ---- lanes one after another ---- */

enum fault { NONE, NO_CLAMP, NO_LAST_LANE, UNIT_TWICE, WRONG_ZERO, FAULTS };

struct emulated {
    const struct quant_problem *p;
    const half_bits *x;   /* [m][n], keys turned already */
    unsigned char **page; /* [m / length][2][table_pages] */
    int *taken;           /* [m][heads of all kinds]: how often */
    int begin;            /* the first head of the launch */
    enum fault fault;
};

static void store_lane(const struct emulated *e, unsigned char *page, int kv, int at, int sub,
                       const uint32_t *w, uint32_t ends)
{
    const struct quant_problem *p = e->p;
    const enum attn_scheme s = p->bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const float top = p->bits == 4 ? 16 : 256;
    const struct attn_row row =
        heads_row_of(half_to_float((half_bits)ends), -half_to_float((half_bits)(ends >> 16)),
                     top - 1, p->bits == 4 ? 1 / 15.0f : 1 / 255.0f);
    unsigned char *to = page + attn_data_at(s, p->head_dim, p->page, kv, at);
    for (int h = 0; h < 2; h++) {
        uint32_t c[8];
        for (int t = 0; t < 8; t++) {
            const float x = half_to_float((half_bits)(w[4 * h + t / 2] >> 16 * (t % 2)));
            c[t] = heads_code(x, row.inverse / top, row.shift / top, top);
        }
        uint32_t word[2] = { p->bits == 4 ? heads_nibbles(c) : heads_bytes(c), heads_bytes(c + 4) };
        if (e->fault == NO_CLAMP && p->bits == 4)
            for (int t = 0; t < 8; t++)
                word[0] = (t ? word[0] : 0) + (c[t] << 4 * t);
        memcpy(to + (h * p->head_dim / 2 + sub * 8) * p->bits / 8, word, (size_t)p->bits);
    }
    if (sub < 2)
        *(half_bits *)(page + attn_scale_at(s, p->kv_heads, p->head_dim, p->page, 0, 0) +
                       (size_t)sub * 2 * (size_t)p->kv_heads * (size_t)p->page +
                       2 * (size_t)(kv * p->page + at)) =
            (half_bits)((sub ? row.zero : row.scale) + (sub && e->fault == WRONG_ZERO));
}

/* A warp of a token and one of its units, as quant_heads has it. */
static void run_unit(const struct emulated *e, int i, int base)
{
    const struct quant_problem *p = e->p;
    const int lanes = heads_lanes(p->head_dim), rotated = p->heads + p->kv_heads;
    const int all = rotated + p->kv_heads, half_dim = p->head_dim / 2;
    const int sequence = heads_divide(i, heads_divisor_of(p->length));
    const int token = i - sequence * p->length;
    const int page = heads_divide(token, heads_divisor_of(p->page)), at = token - page * p->page;
    uint32_t w[32][8], ends[32], next[32];
    for (int lane = 0; lane < 32; lane++) {
        const int head = base + lane / lanes, sub = lane % lanes;
        ends[lane] = HEADS_NO_ENDS;
        if (head >= all || sub * 8 >= half_dim)
            continue;
        for (int t = 0; t < 8; t++) {
            const half_bits *from = e->x + (size_t)i * (size_t)p->n + head * p->head_dim + sub * 8 +
                                    t / 4 * half_dim + t % 4 * 2;
            w[lane][t] = from[0] | (uint32_t)from[1] << 16;
        }
        e->taken[i * all + head] += !sub;
        if (e->fault != NO_LAST_LANE || sub * 8 + 8 < half_dim)
            ends[lane] = heads_ends(w[lane]);
    }
    for (int d = lanes / 2; d > 0; d /= 2) {
        for (int lane = 0; lane < 32; lane++)
            next[lane] = heads_least(ends[lane], ends[lane ^ d]);
        memcpy(ends, next, sizeof ends);
    }
    for (int lane = 0; lane < 32; lane++) {
        const int head = base + lane / lanes, sub = lane % lanes;
        if (head < p->heads || head >= all || sub * 8 >= half_dim)
            continue;
        unsigned char *to =
            e->page[(sequence * 2 + (head >= rotated)) * quant_table_pages(p) + page];
        store_lane(e, to, head - (head >= rotated ? rotated : p->heads), at, sub, w[lane],
                   ends[lane]);
    }
}

static void run_launch(const struct emulated *e, struct quant_shape s)
{
    const struct quant_problem *p = e->p;
    const int of_unit = 32 / heads_lanes(p->head_dim), all = heads_all(p);
    const int warps = heads_warps(p, all - e->begin, s.vectors);
    for (int i = 0; i < p->m; i++)
        for (int y = 0; y < s.blocks; y++)
            for (int warp = 0; warp < s.threads / 32; warp++) {
                const int slot = y * (s.threads / 32) + warp;
                for (int k = 0; slot < warps && k < s.vectors; k++) {
                    const int unit = slot + k * (e->fault == UNIT_TWICE ? 1 : warps);
                    const int base = e->begin + unit * of_unit;
                    if (base < all)
                        run_unit(e, i, base);
                }
            }
}

/* Values of a head: normal ones, and those at the limits of a row. */
static half_bits value_of(int kind, uint32_t word)
{
    switch (kind % 7) {
    case 0:
        return half_from_float((float)(int)(word >> 16 & 0xfff) / 512 - 4);
    case 1:
        return 0;
    case 2:
        return half_from_float(1000); /* no range */
    case 3:
        return half_from_float(1000 + (float)(word >> 28) / 2); /* less than the least range */
    case 4:
        return (half_bits)(word >> 20 & 0x83ff); /* subnormal */
    case 5:
        return (half_bits)(word >> 16) % 0x7c00 | (half_bits)(word & 0x8000);
    default:
        return half_from_float(word >> 31 ? 65504.0f : -65504.0f * (float)(word >> 30 & 1));
    }
}

/* Bytes of pages that differ from the definition, and heads not taken once. */
static long differ(const struct quant_problem *p, int begin, struct quant_shape shape,
                   enum fault fault)
{
    const enum attn_scheme s = p->bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const int all = p->heads + 2 * p->kv_heads, entries = quant_table_pages(p);
    const size_t bytes = attn_page_bytes(s, p->kv_heads, p->head_dim, p->page);
    const size_t pages = (size_t)(p->m / p->length * 2 * entries);
    unsigned char *got = malloc(pages * bytes), *want = malloc(pages * bytes);
    unsigned char **table = malloc(2 * pages * sizeof *table);
    half_bits *x = malloc((size_t)p->m * (size_t)p->n * sizeof *x);
    int *taken = calloc((size_t)(p->m * all), sizeof *taken);
    long wrong = 0;
    memset(got, 0xA5, pages * bytes);
    memset(want, 0xA5, pages * bytes);
    for (size_t i = 0; i < pages; i++)
        table[i] = got + i * bytes, table[pages + i] = want + i * bytes;
    for (int i = 0; i < p->m * p->n; i++)
        x[i] = value_of(i / p->head_dim, exact_word(5, (uint64_t)i));
    const struct emulated e = { p, x, table, taken, begin, fault };
    run_launch(&e, shape);
    for (int i = 0; i < p->m; i++)
        for (int h = p->heads; h < all; h++) {
            const int which = h >= p->heads + p->kv_heads, token = i % p->length;
            float v[QUANT_HEAD_MAX];
            for (int d = 0; d < p->head_dim; d++)
                v[d] = half_to_float(x[i * p->n + h * p->head_dim + d]);
            quant_cache_head(
                p, 0, v, h - p->heads - which * p->kv_heads, token % p->page,
                table[pages + (size_t)((i / p->length * 2 + which) * entries + token / p->page)]);
        }
    for (size_t i = 0; i < pages * bytes; i++)
        wrong += got[i] != want[i];
    for (int i = 0; i < p->m * all; i++)
        wrong += taken[i] != (i % all >= begin);
    free(got), free(want), free(table), free(x), free(taken);
    return wrong;
}

static void test_launches(void)
{
    /* m, length, heads, kv_heads, head_dim, page */
    static const int shapes[][6] = { { 1, 1, 32, 8, 128, 64 },  { 3, 1, 32, 32, 128, 16 },
                                     { 5, 1, 64, 8, 128, 64 },  { 34, 17, 9, 3, 64, 16 },
                                     { 70, 35, 6, 1, 96, 32 },  { 5, 5, 3, 3, 32, 16 },
                                     { 20, 20, 4, 2, 256, 16 }, { 18, 9, 5, 5, 160, 16 } };
    for (size_t i = 0; i < 2 * (sizeof shapes / sizeof *shapes); i++) {
        const int *of = shapes[i / 2], n = (of[2] + 2 * of[3]) * of[4];
        const struct quant_problem p = { QUANT_ROPE_KV, of[0],         n,     of[2], of[3],
                                         of[4],         i % 2 ? 8 : 4, of[5], of[1] };
        CHECK(quant_valid(&p) == OP_OK);
        for (int each = 1; each <= HEADS_EACH_MAX; each++)
            for (int most = 1; most <= HEADS_WARPS_MAX; most++)
                for (int begin = 0; begin <= p.heads; begin += p.heads) { /* or no queries */
                    const int heads = heads_all(&p) - begin;
                    CHECK(differ(&p, begin, heads_shape(&p, heads, each, most), NONE) == 0);
                }
        CHECK(!heads_shape(&p, 8, HEADS_EACH_MAX + 1, 1).threads &&
              !heads_shape(&p, 8, 1, 0).threads);
    }
    const struct quant_problem p = { QUANT_ROPE_KV, 6, 48 * 128, 32, 8, 128, 4, 16, 3 };
    for (int f = NONE + 1; f < FAULTS; f++)
        CHECK(differ(&p, 0, heads_shape(&p, heads_all(&p), 2, 8), (enum fault)f) > 0);
}

int main(void)
{
    test_divide();
    test_launches();
    return TEST_END();
}

/*
 * test_attn.c - codes of the cache, the layout of its pages, attention where the answer is
 * known, and how the sequence is split.
 */
#include <stdlib.h>

#include "../harness/check.h"
#include "../kernels/attn/prefill.h"
#include "../kernels/attn/split_plan.h"
#include "../kernels/attn/value.h"
#include "test.h"

/* ---- codes ---- */

/* Row of kind k. */
static float element(int kind, int d)
{
    const float v = cb_random_at(CB_NORMAL, 7, 1, (uint32_t)kind, (uint64_t)d);
    switch (kind % 8) {
    case 0: return 0;
    case 1: return 3.5f;               /* all the same */
    case 2: return -1000;
    case 3: return 30000 + 20 * v;     /* far from 0, close together */
    case 4: return v * 0x1p-20f;       /* below normal halves */
    case 5: return d == 5 ? 65504 : d == 6 ? -65504 : v;
    case 6: return fabsf(v) + 1;       /* 0 outside */
    default: return v;
    }
}

/* Every element comes back within half a step, and what rounding of scale and zero point to
 * half adds: 2^-11 of |code - zero| and of |zero| steps. */
static void try_codes(enum attn_scheme s, int head_dim)
{
    const struct attn_problem p = { 1, 2, 2, head_dim, 32, 32, 32 };
    const size_t from = attn_page_bytes(ATTN_KV16, 2, head_dim, 32);
    half_bits *const x = malloc(from);
    unsigned char *const page = malloc(attn_page_bytes(s, 2, head_dim, 32));
    const float given[2] = { 0.01f, 0.03f };
    long wrong = 0;
    for (int head = 0; head < 2; head++)
        for (int t = 0; t < 32; t++)
            for (int d = 0; d < head_dim; d++)
                x[attn_data_at(ATTN_KV16, head_dim, 32, head, t) / 2 + (size_t)d] =
                    half_from_float(element(8 * head + t % 8 + 16 * t, d));
    memset(page, 0xa5, attn_page_bytes(s, 2, head_dim, 32));
    CHECK(attn_quantise(&p, s, x, 1, given, 1, page) == OP_OK);
    for (int head = 0; head < 2; head++)
        for (int t = 0; t < 32; t++) {
            const struct attn_vector v = attn_vector_at(&p, s, page, head, t, given[1]);
            for (int d = 0; d < head_dim; d++) {
                const double want = half_to_float(
                    x[attn_data_at(ATTN_KV16, head_dim, 32, head, t) / 2 + (size_t)d]);
                const double got = attn_element(&v, s, d);
                double room = v.scale * (0.5 + 0x1p-10 * (fabs(v.zero) + 256));
                if (s == ATTN_KV8_STATIC)
                    room = 1.0001 * fmax(0.5 * given[1], fabs(want) - 127 * given[1]);
                wrong += !(fabs(got - want) <= room);
            }
        }
    CHECK(wrong == 0);
    CHECK(attn_quantise(&p, ATTN_KV16, x, 1, given, 0, page) == OP_EINVAL);
    free(x);
    free(page);
}

static void try_rows(void)
{
    for (int levels = 15; levels <= 255; levels += 240) {
        struct attn_row r = attn_row_of(-1, 2, levels);
        CHECK(attn_code(&r, -1, levels) == 0 && attn_code(&r, 2, levels) == levels);
        CHECK(attn_code(&r, 2.5f, levels) == levels && attn_code(&r, -2, levels) == 0);
        CHECK_NEAR(half_to_float(r.zero), levels / 3.0, 0.1);
        r = attn_row_of(0, 0, levels);
        CHECK(r.scale == half_from_float(0x1p-14f) && r.zero == 0);
        r = attn_row_of(65504, 65504, levels);
        CHECK(half_to_float(r.zero) >= -32768 && half_to_float(r.zero) < 0);
        CHECK_NEAR((attn_code(&r, 65504, levels) - half_to_float(r.zero)) * half_to_float(r.scale),
                   65504, 64);
    }
    CHECK(attn_code_static(1, 0.25f) == 4 && attn_code_static(-100, 0.25f) == -127);
    CHECK(attn_code_static(100, 0.25f) == 127);
}

/* Every byte of a page belongs to exactly one thing. */
static void try_layout(enum attn_scheme s, int kv_heads, int head_dim, int page)
{
    const size_t bytes = attn_page_bytes(s, kv_heads, head_dim, page);
    unsigned char *const seen = calloc(bytes, 1);
    long wrong = 0;
    for (int head = 0; head < kv_heads; head++)
        for (int t = 0; t < page; t++) {
            const size_t data = attn_data_at(s, head_dim, page, head, t);
            for (size_t i = 0; i < attn_row_bytes(s, head_dim); i++)
                seen[data + i]++;
            for (size_t i = 0; i < 2 && attn_has_scales(s); i++) {
                seen[attn_scale_at(s, kv_heads, head_dim, page, head, t) + i]++;
                seen[attn_zero_at(s, kv_heads, head_dim, page, head, t) + i]++;
            }
        }
    for (size_t i = 0; i < bytes; i++)
        wrong += seen[i] != 1;
    CHECK(wrong == 0 && bytes % 16 == 0);
    free(seen);
}

/* ---- attention ---- */

enum { DIMS = 32, SIDE = 16 };

struct cache {
    half_bits k[4][2][SIDE][DIMS], v[4][2][SIDE][DIMS]; /* pages of two heads */
    const void *table[8];
    half_bits q[4][DIMS];
    int length[1];
};

static void attend(struct cache *c, int length, double *want)
{
    const struct attn_problem p = { 1, 4, 2, DIMS, 2 * SIDE, SIDE, length };
    const struct attn_args a = { .q = c->q, .length = c->length, .page = c->table };
    double spread[4 * DIMS], offset[4], score[4 * 2 * SIDE];
    const struct attn_wanted w = { want, spread, offset, score };
    c->length[0] = length;
    CHECK(attn_ref(&p, ATTN_KV16, &a, &w) == OP_OK);
}

static void try_attention(void)
{
    struct cache *const c = calloc(1, sizeof *c);
    double want[4 * DIMS];
    const int order[] = { 2, 0, 3 }; /* pages of the sequence, the last stands behind its end */
    for (int i = 0; i < 3; i++) {
        c->table[i] = c->k[order[i]];
        c->table[3 + i] = c->v[order[i]];
    }
    for (int t = 0; t < 2 * SIDE; t++)
        for (int head = 0; head < 2; head++)
            for (int d = 0; d < DIMS; d++) {
                c->k[order[t / SIDE]][head][t % SIDE][d] = half_from_float(1);
                c->v[order[t / SIDE]][head][t % SIDE][d] =
                    half_from_float((float)(t + 100 * head + (d == 3)));
            }
    for (int h = 0; h < 4; h++)
        for (int d = 0; d < DIMS; d++)
            c->q[h][d] = half_from_float((float)h);
    attend(c, 1, want); /* one token: its value */
    CHECK(want[0] == 0 && want[3] == 1 && want[2 * DIMS] == 100);
    attend(c, 21, want); /* equal keys: the mean */
    for (int h = 0; h < 4; h++) {
        CHECK_NEAR(want[h * DIMS], 10 + 100 * (h / 2), 1e-12);
        CHECK_NEAR(want[h * DIMS + 3], 11 + 100 * (h / 2), 1e-12);
    }
    c->k[0][1][3][7] = half_from_float(1 + 1000); /* token 19 of the second head wins */
    attend(c, 21, want);
    CHECK_NEAR(want[0], 10, 1e-12);
    CHECK_NEAR(want[2 * DIMS], 119, 1e-9);
    attend(c, 19, want); /* but not where it is behind the end */
    CHECK_NEAR(want[2 * DIMS], 109, 1e-12);
    free(c);
}

static void fill(half_bits *x, size_t bytes, uint32_t tensor)
{
    for (size_t i = 0; i < bytes / sizeof *x; i++)
        x[i] = half_from_float(cb_random_at(CB_NORMAL, 1, tensor, 0, i));
}

/* The token that asks last in a prompt sees what one over a cache of it sees. */
static void try_prefill(void)
{
    const struct attn_problem p = { 1, 4, 2, DIMS, 2 * SIDE, SIDE, 2 * SIDE };
    struct cache *const c = calloc(1, sizeof *c);
    static half_bits q[2 * SIDE][4][DIMS], k[2 * SIDE][2][DIMS], v[2 * SIDE][2][DIMS];
    double cached[4 * DIMS], want[4 * DIMS], spread[4 * DIMS], score[4 * 2 * SIDE];
    const struct attn_wanted w = { want, spread, NULL, score };
    const struct prefill_args a = { q, k, v, NULL, NULL };
    fill(&q[0][0][0], sizeof q, 1);
    fill(&k[0][0][0], sizeof k, 2);
    fill(&v[0][0][0], sizeof v, 3);
    for (int t = 0; t < 2 * SIDE; t++)
        for (int head = 0; head < 2; head++) {
            memcpy(c->k[t / SIDE][head][t % SIDE], k[t][head], sizeof k[t][head]);
            memcpy(c->v[t / SIDE][head][t % SIDE], v[t][head], sizeof v[t][head]);
        }
    for (int i = 0; i < 3; i++) {
        c->table[i] = c->k[i < 2 ? i : 1];
        c->table[3 + i] = c->v[i < 2 ? i : 1];
    }
    for (int t = 0; t < 2 * SIDE; t += 5) {
        memcpy(c->q, q[t], sizeof c->q);
        const struct attn_problem one = { 1, 4, 2, DIMS, 2 * SIDE, SIDE, t + 1.0 };
        const struct attn_args args = { .q = c->q, .length = c->length, .page = c->table };
        double offset[4];
        const struct attn_wanted over = { cached, spread, offset, score };
        c->length[0] = t + 1;
        CHECK(attn_ref(&one, ATTN_KV16, &args, &over) == OP_OK);
        CHECK(prefill_ref(&p, &a, &t, 1, &w) == OP_OK);
        for (int i = 0; i < 4 * DIMS; i++)
            CHECK_NEAR(want[i], cached[i], 1e-12);
    }
    free(c);
}

/* ---- the split ---- */

/* As split_launch.cuh has them for 4-bit codes on a GPU with 132 multiprocessors. */
static const struct split_shape shapes[SPLIT_SHAPES] = {
    { 4, 64, 264, 256 }, { 2, 32, 1056, 256 }, { 1, 32, 2112, 200 } };

static void try_plan_of(const struct attn_problem *p, const struct split_choice *given)
{
    const struct split_plan plan = split_plan_of(p, ATTN_KV4, shapes, given);
    const struct split_shape *const s = &shapes[plan.shape];
    const int ratio = p->heads / p->kv_heads;
    CHECK(plan.columns == (ratio > 8 ? 16 : 8));
    CHECK(plan.groups * plan.columns >= ratio && (plan.groups - 1) * plan.columns < ratio);
    CHECK(plan.chunk % (s->warps * s->tile) == 0);
    CHECK(plan.splits >= 1 && plan.splits <= s->most);
    CHECK((long)plan.chunk * plan.splits >= p->length &&
          (long)plan.chunk * (plan.splits - 1) < p->length);
    CHECK(!split_parts(p, &plan) == (plan.splits == 1));
    if (given)
        CHECK(plan.shape == given->shape && plan.splits <= given->splits);
}

static void try_plan(void)
{
    static const int batches[] = { 1, 3, 16, 64, 256, 1000 }, ratios[] = { 1, 4, 8, 9, 16, 17, 71 };
    static const int lengths[] = { 1, 63, 64, 257, 1024, 1280, 8000, 100000 };
    for (int i = 0; i < 6; i++)
        for (int r = 0; r < 7; r++)
            for (int l = 0; l < 8; l++) {
                const struct attn_problem p = { batches[i], 8 * ratios[r], 8, 128, lengths[l], 64, 0 };
                try_plan_of(&p, NULL);
                for (int k = 0; k < SPLIT_SHAPES; k++)
                    for (int splits = 1; splits < 200; splits += 66)
                        try_plan_of(&p, &(struct split_choice){ k, splits });
            }
    /* a lone sequence fills the GPU; many are left whole, in one round of blocks */
    const struct attn_problem lone = { 1, 32, 8, 128, 8000, 64, 8000 },
                              many = { 256, 32, 8, 128, 1280, 64, 0 },
                              fewer = { 96, 64, 8, 128, 1280, 64, 0 },
                              brief = { 64, 32, 32, 128, 128, 64, 0 };
    CHECK(split_plan_of(&lone, ATTN_KV4, shapes, NULL).splits >= 16);
    const struct attn_problem *const whole[] = { &many, &fewer, &brief };
    for (int i = 0; i < 3; i++) {
        const struct split_plan plan = split_plan_of(whole[i], ATTN_KV4, shapes, NULL);
        CHECK(plan.splits == 1);
        CHECK(whole[i]->batch * whole[i]->kv_heads <= shapes[plan.shape].slots);
    }
    /* a shape that no multiprocessor holds is not taken */
    struct split_shape few[SPLIT_SHAPES] = { shapes[0] };
    CHECK(split_plan_of(&many, ATTN_KV4, few, NULL).shape == 0);
    few[0].slots = 0;
    CHECK(split_plan_of(&many, ATTN_KV4, few, NULL).splits == 0);
}

int main(void)
{
    for (int s = ATTN_KV8; s < ATTN_SCHEMES; s++)
        for (int head_dim = 32; head_dim <= 128; head_dim += 32)
            try_codes((enum attn_scheme)s, head_dim);
    try_rows();
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        try_layout((enum attn_scheme)s, 3, 96, 16);
        try_layout((enum attn_scheme)s, 1, 32, 48);
    }
    try_attention();
    try_prefill();
    try_plan();
    return TEST_END();
}

/*
 * test_w4a8_layout.c - every code of W has one place in the order of our W4A8
 * kernels, the one from where the tensor cores' fragment takes it; codes become
 * bytes exactly; every unit of work is done once, and who adds up a tile knows how
 * many others there are; what the rules choose fits, on GPUs of any size.
 */
#include <stdlib.h>

#include "../kernels/gemm/w4a8_layout.h"
#include "../kernels/gemm/w4a8_shapes.h"
#include "../kernels/gemm/w4a8_strips.h"
#include "test.h"

/* Fragment i of a lane in a step: rows and columns of A [16][32], by the definition of
 * mma m16n8k32. */
static void check_fragments(void)
{
    int seen[16][128] = { { 0 } };
    for (int word = 0; word < W4A8_WORDS; word++) {
        const int lane = word / 4 % 32, step = word / 128 * 2 + word % 4 / 2, half = word % 2;
        for (int nibble = 0; nibble < 8; nibble++) {
            int channel, k;
            w4a8_place(word, nibble, &channel, &k);
            /* low nibbles are fragment 2 half, high ones 2 half + 1; byte nibble / 2 */
            const int fragment = 2 * half + nibble % 2;
            CHECK(channel == lane / 4 + fragment % 2 * 8);
            CHECK(k == step * 32 + fragment / 2 * 16 + lane % 4 * 4 + nibble / 2);
            seen[channel][k]++;
        }
    }
    for (int channel = 0; channel < 16; channel++)
        for (int k = 0; k < 128; k++)
            CHECK(seen[channel][k] == 1);
}

static void check_bytes(void)
{
    for (uint32_t low = 0; low < 16; low++)
        for (uint32_t high = 0; high < 16; high++) {
            const uint32_t word = 0x01010101u * (low | high << 4) ^ 0x00110000u;
            const uint32_t want_low = 0x01010101u * low ^ 0x00010000u;
            const uint32_t want_high = 0x01010101u * high ^ 0x00010000u;
            CHECK(w4a8_low(word) == want_low);
            CHECK(w4a8_high(word) == want_high);
            CHECK(w4a8_high_16(word) == want_high * 16);
        }
    /* every scale and zero that 8 bits hold, and every code in every byte */
    for (int scale = 1; scale <= 16; scale++)
        for (int zero = 0; zero < 16 && zero * scale <= 128; zero++) {
            const uint32_t word = w4a8_scales(scale, zero, 17 - scale, 0);
            const uint32_t shifts = (word >> 8 & 0xff) * 0x01010101u;
            CHECK((word & 0xff) == (uint32_t)scale && (word >> 16 & 0xff) == 17u - (uint32_t)scale);
            CHECK(word >> 24 == 128);
            for (int code = 0; code < 16; code++) {
                const int w8 = (code - zero) * scale;
                if (w8 > 127)
                    continue;
                for (int at = 0; at < 4; at++) {
                    const uint32_t codes = (uint32_t)code << 8 * at;
                    const uint32_t got = w4a8_shifted(codes, (uint32_t)scale, shifts);
                    for (int byte = 0; byte < 4; byte++)
                        CHECK((int)(got >> 8 * byte & 0xff) ==
                              128 + (byte == at ? w8 : -zero * scale));
                }
            }
        }
}

/* Each (tile, group) once; a tile's first groups know how many parts follow; each
 * tile of channels by tokens once. */
static void check_plan(const struct w4a8_plan *s, int groups)
{
    const int tiles = s->token_tiles * s->channel_tiles;
    int *seen = calloc((size_t)tiles * (size_t)groups, sizeof *seen);
    int *others = calloc((size_t)tiles, sizeof *others);
    char *place = calloc((size_t)tiles, 1);
    int twice = 0, partial_twice = 0, wrong_count = 0, outside = 0;
    for (int cluster = 0; cluster < s->clusters; cluster++) {
        struct w4a8_part t;
        int partials = 0;
        for (int i = 0; w4a8_part_at(s, s->shape.slices, groups, cluster, i, &t); i++) {
            if (t.tile < 0 || t.tile >= tiles || t.begin >= t.end || t.end > groups) {
                outside++;
                continue;
            }
            for (int g = t.begin; g < t.end; g++)
                twice += seen[t.tile * groups + g]++;
            if (t.begin && !s->shape.slices)
                partials++, others[t.tile]++;
        }
        partial_twice += partials > 1;
    }
    int missing = 0;
    for (int i = 0; i < tiles * groups; i++)
        missing += !seen[i];
    const int units = s->spread_tiles * groups;
    for (int tile = 0; tile < s->spread_tiles; tile++)
        wrong_count += w4a8_cluster_of((tile + 1) * groups - 1, s->clusters, units) -
                           w4a8_cluster_of(tile * groups, s->clusters, units) !=
                       others[tile];
    for (int tile = s->spread_tiles; tile < tiles; tile++)
        wrong_count += others[tile] != 0;
    for (int tile = 0; tile < tiles; tile++) {
        const struct w4a8_tile at = w4a8_tile_of(s, tile);
        const int inside = at.channels >= 0 && at.channels < s->channel_tiles && at.tokens >= 0 &&
                           at.tokens < s->token_tiles;
        outside += !inside;
        if (inside)
            twice += place[at.channels * s->token_tiles + at.tokens]++;
    }
    CHECK(!twice && !missing && !outside && !partial_twice && !wrong_count);
    free(seen);
    free(others);
    free(place);
}

/* Strips lie where packing says, each once, and those of a tile of 8 or 16 together. */
static void check_strips(void)
{
    static const int ns[] = { 8, 72, 256, 264, 4544 };
    for (int at = 0; at < 10; at++) {
        const int n = ns[at % 5], groups = at / 5 * 8 + 1, strips = w4a8_div_up(n, 256) * 16;
        char *seen = calloc((size_t)strips * (size_t)groups, 1);
        CHECK(w4a8_strips(n, groups * W4A8_GROUP) == (size_t)strips * (size_t)groups);
        int wrong = 0;
        for (int strip = 0; strip < strips; strip++)
            for (int g = 0; g < groups; g++) {
                const size_t here = w4a8_strip_at(strip, g, groups);
                wrong += here >= (size_t)strips * (size_t)groups || seen[here]++;
                wrong += here != w4a8_strip_at(strip / 16 * 16, 0, groups) + (size_t)g * 16 +
                                     (size_t)(strip % 16);
            }
        CHECK(!wrong);
        free(seen);
    }
}

static void check_plans(void)
{
    static const int ms[] = { 1, 9, 100, 700, 4096 }, ns[] = { 8, 200, 4096, 10240 };
    static const int ks[] = { 16, 1136, 4096, 28672 }, residents[] = { 1, 3, 66, 132, 264 };
    for (int at = 0; at < 5 * 4 * 4 * 5; at++)
        for (int tokens = 8; tokens <= 256; tokens *= 2)
            for (int wide = 1; wide <= 2; wide++)
                for (int cluster = 1; cluster <= W4A8_CLUSTER; cluster *= 2)
                    for (int spread = W4A8_REST; spread <= W4A8_NONE + 8; spread++) {
                        const struct gemm_problem p = { ms[at % 5], ns[at / 5 % 4],
                                                        ks[at / 20 % 4], 128 };
                        /* slices instead of spread tiles: 2 to 9, which are too many */
                        const int slices = spread > W4A8_NONE ? spread - W4A8_NONE + 1 : 0;
                        const struct w4a8_shape shape = {
                            tokens, wide, cluster, 1,
                            slices ? W4A8_NONE : (enum w4a8_spread)spread, slices
                        };
                        struct w4a8_plan plan;
                        if (w4a8_plan(&p, 1, shape, residents[at / 80], 232448, &plan))
                            continue;
                        CHECK(plan.bytes <= 232448 && plan.stages >= 2 && slices <= W4A8_SLICES);
                        CHECK(!slices || plan.token_at >= w4a8_partial_bytes(shape));
                        if (plan.token_tiles * plan.channel_tiles < 20000)
                            check_plan(&plan, w4a8_div_up(p.k, W4A8_GROUP));
                    }
}

/* A tiling that the rules choose: its plan, for both forms of weights. */
static int fits(const struct gemm_problem *p, int sms)
{
    const struct w4a8_shape s = w4a8_best(p, sms);
    const size_t shared = w4a8_wide(s.tokens, s.blocks_64) ? 232448 : 115712;
    struct w4a8_plan plan;
    int good = s.tokens <= 256 && (s.each == 1 || !w4a8_wide(s.tokens, s.blocks_64));
    for (int grouped = 0; grouped < 2; grouped++)
        good = good && !w4a8_plan(p, grouped, s, sms * s.each / s.cluster, shared, &plan) &&
               plan.stages >= 3;
    return good;
}

/* Strips of a block: enough for all channels, no more blocks than multiprocessors, two blocks'
 * memory in one of them. */
static int strips_fit(const struct gemm_problem *p, int sms)
{
    const int strips = w4a8_strips_of(p->n, sms), all = w4a8_div_up(p->n, W4A8_STRIP);
    int good = strips >= 2 && strips <= W4A8_STRIPS_MOST && w4a8_div_up(all, strips) <= sms;
    const int stage = w4a8_strips_stage(strips);
    for (int grouped = 0; grouped < 2; grouped++) {
        const int stages = w4a8_strips_stages(p->m, p->k, strips, grouped);
        const int beside = w4a8_strips_beside(p->m, p->k, strips, grouped);
        good = good && stages >= 2 && stages <= W4A8_STRIPS_STAGES && stage % 16 == 0 &&
               beside % 16 == 0 && stages * stage + beside <= W4A8_STRIPS_SHARED &&
               2 * (W4A8_STRIPS_SHARED + 1024) <= 228 * 1024;
    }
    return good;
}

static void check_rules(void)
{
    static const int ms[] = { 1, 2, 5, 8, 9, 16, 17, 33, 64, 65, 100, 128, 129, 192, 256, 257, 4096 };
    static const int ks[] = { 128, 512, 4096, 5120, 8192, 14336, 28672, 65536 };
    static const int sms[] = { 8, 16, 78, 114, 132, 144, 200 };
    long bad = 0, strips = 0, tried = 0;
    for (int m = 0; m < 17; m++)
        for (int k = 0; k < 8; k++)
            for (int s = 0; s < 7; s++)
                for (int n = 8; n < 80000; n += n < 1000 ? 56 : 1544) {
                    const struct gemm_problem p = { ms[m], n, ks[k], W4A8_GROUP };
                    tried++;
                    bad += !fits(&p, sms[s]);
                    if (w4a8_strips_best(&p, 0, sms[s]) && ++strips)
                        bad += !strips_fit(&p, sms[s]);
                }
    CHECK(!bad && strips > tried / 20);
    /* what the kernel cannot: more tokens, parts of a group, too much X, other groups */
    const struct gemm_problem good = { 1, 4096, 4096, 128 };
    const struct gemm_problem others[] = {
        { 9, 4096, 4096, 128 }, { 1, 4096, 4112, 128 }, { 8, 4096, 8192, 128 },
        { 1, 4100, 4096, 128 }, { 1, 132 * 256 + 8, 4096, 128 },
    };
    CHECK(w4a8_strips_best(&good, 0, 132) && w4a8_strips_best(&good, 1, 132));
    for (int i = 0; i < 5; i++)
        CHECK(!w4a8_strips_best(&others[i], 0, 132));
    CHECK(!w4a8_strips_best(&(struct gemm_problem){ 1, 4096, 4096, 64 }, 1, 132));
}

int main(void)
{
    check_fragments();
    check_rules();
    check_bytes();
    check_strips();
    check_plans();
    return TEST_END();
}

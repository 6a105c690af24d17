/* test_w4a16_layout.c - packed 4-bit strips against the fragments that tensor cores take. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/gemm/dequant.h"
#include "../kernels/gemm/w4a16_layout.h"
#include "../kernels/gemm/w4a16_shapes.h"
#include "test.h"

/* Every weight of a strip has one nibble. */
static void test_places(void)
{
    static int seen[W4_STRIP][W4_GROUP];
    int wrong = 0;
    for (int word = 0; word < W4_WORDS; word++)
        for (int nibble = 0; nibble < 8; nibble++) {
            int channel, k;
            w4_place(word, nibble, &channel, &k);
            if (channel < 0 || channel >= W4_STRIP || k < 0 || k >= W4_GROUP)
                wrong++;
            else
                seen[channel][k]++;
        }
    for (int channel = 0; channel < W4_STRIP; channel++)
        for (int k = 0; k < W4_GROUP; k++)
            wrong += seen[channel][k] != 1;
    CHECK(wrong == 0);
}

/* What a lane makes of its words is its part of the A operand as the instruction
 * set defines it for m16n8k16, and for a warp's 16 rows of wgmma m64: element e
 * (0..7) of lane l lies in row l/4, 8 more for e 2, 3, 6, 7, and in column
 * 2 (l%4) + e%2, 8 more from e 4 on; register e/2, low half first. */
static void test_fragments(void)
{
    static unsigned char code[W4_STRIP][W4_GROUP];
    uint32_t words[W4_WORDS] = { 0 };
    srand(1);
    for (int channel = 0; channel < W4_STRIP; channel++)
        for (int k = 0; k < W4_GROUP; k++)
            code[channel][k] = (unsigned char)(rand() >> 7 & 15);
    for (int word = 0; word < W4_WORDS; word++)
        for (int nibble = 0; nibble < 8; nibble++) {
            int channel, k;
            w4_place(word, nibble, &channel, &k);
            words[word] |= (uint32_t)code[channel][k] << 4 * nibble;
        }
    int wrong = 0;
    for (int step = 0; step < 8; step++)
        for (int lane = 0; lane < 32; lane++) {
            const uint32_t word = words[(step / 4 * 32 + lane) * 4 + step % 4];
            for (int e = 0; e < 8; e++) {
                const int row = lane / 4 + (e / 2 % 2 ? 8 : 0);
                const int column = 2 * (lane % 4) + e % 2 + (e >= 4 ? 8 : 0);
                const uint32_t pair = dequant_u4_biased(word, e / 2);
                const float biased = half_to_float((half_bits)(e % 2 ? pair >> 16 : pair));
                const int odd = e / 2 % 2, here = code[row][step * 16 + column];
                wrong += biased != 1024 + (odd ? 16 : 1) * here;
                const uint32_t least = dequant_u4_least(word, e / 2);
                const float small = half_to_float((half_bits)(e % 2 ? least >> 16 : least));
                wrong += small != ldexpf((float)here, odd ? -20 : -24);
            }
        }
    CHECK(wrong == 0);
}

/* The zero bytes complete the halves that are added to the biased codes. */
static void test_zeros(void)
{
    int wrong = 0;
    for (int z = 0; z < 16; z++) {
        wrong += half_to_float((half_bits)(0xe400 | z)) != -(1024 + z);
        wrong += half_to_float((half_bits)(0xd400 | z << 4)) != -(64 + z);
    }
    CHECK(wrong == 0);
}

/* Strips fill the packed weights without a gap, those of `near` neighbours together. */
static void test_strips(int near)
{
    static const int size[][2] = { { 16, 128 }, { 64, 128 }, { 72, 384 }, { 256, 1024 } };
    for (size_t c = 0; c < sizeof size / sizeof *size; c++)
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            const int n = size[c][0], k = size[c][1], groups = k / W4_GROUP;
            const int strips = w4_strips(n, near), bytes = w4_strip_bytes(symmetric);
            char *seen = calloc((size_t)strips * groups, 1);
            int wrong = !seen;
            for (int strip = 0; seen && strip < strips; strip++)
                for (int group = 0; group < groups; group++) {
                    const size_t at = w4_strip_at(strip, group, groups, near);
                    if (at >= (size_t)strips * groups || seen[at]++)
                        wrong++;
                    if (strip % near && at != w4_strip_at(strip - 1, group, groups, near) + 1)
                        wrong++;
                }
            free(seen);
            CHECK(wrong == 0);
            CHECK(strips * W4_STRIP >= n && bytes % 16 == 0);
            CHECK(w4_packed_bytes(n, k, symmetric, near) ==
                  (size_t)strips * groups * (size_t)bytes);
        }
}

/* Units of the blocks, by the arithmetic of the kernel: each once, and known by its
 * block; a ring of X of one slot only where no warp has a second unit. */
static int covered(const struct w4_small_plan *s)
{
    const int units = s->tiles * s->groups, behind = s->warps / s->across;
    int wrong = w4_first_unit(s, 0) != 0 || w4_first_unit(s, s->blocks) != units;
    for (int block = 0; block < s->blocks; block++) {
        const int begin = w4_first_unit(s, block), end = w4_first_unit(s, block + 1);
        wrong += end <= begin;
        for (int unit = begin; unit < end; unit++)
            wrong += w4_block_of(s, unit) != block;
        wrong += end - begin > behind && s->x_stages < 2;
        /* shared tiles need somewhere to be added up */
        wrong += !s->workspace_bytes && (begin % s->groups || end % s->groups);
    }
    return wrong == 0;
}

/* Of w4_small_plan, for a GPU with 132 multiprocessors of 228 kB. */
static int plan_small(const struct gemm_problem *p, struct w4_small_shape shape, int whole,
                      struct w4_small_plan *s)
{
    const size_t room = shape.room == 1 ? 232448 : 233472 / (size_t)shape.room - 1024;
    if (w4_small_plan(p, 0, shape, 132 * shape.blocks, whole, room, W4_STAGES, s))
        return -1;
    if (!covered(s) || s->bytes > room || s->stages < shape.strips / W4_PAIR ||
        s->stages > W4_STAGES || s->x_stages > W4_X_STAGES || s->x_at % 16 || s->ring_at % 16 ||
        s->slot_bytes % 16)
        return 1;
    return 0;
}

/* Every tiling that is compiled. */
static void test_plans(void)
{
    static const int form[][4] = { { 8, 1, 2, 8 },  { 8, 1, 4, 8 },  { 8, 2, 4, 8 },
                                   { 8, 1, 2, 12 }, { 8, 1, 4, 12 }, { 8, 1, 2, 16 },
                                   { 16, 2, 4, 8 }, { 16, 4, 4, 8 }, { 32, 4, 2, 8 },
                                   { 32, 8, 2, 8 } };
    static const int place[][2] = { { 1, 1 }, { 1, 2 }, { 2, 2 }, { 2, 3 }, { 1, 3 } };
    static const int size[][2] = { { 12288, 4096 }, { 4096, 4096 },  { 22016, 4096 },
                                   { 4096, 11008 }, { 10240, 8192 }, { 8192, 8192 },
                                   { 57344, 8192 }, { 8192, 28672 }, { 8, 128 },
                                   { 72, 384 },     { 1000, 640 },   { 4104, 1152 },
                                   { 24, 16384 } };
    int planned = 0, wrong = 0;
    for (size_t f = 0; f < sizeof form / sizeof *form; f++)
        for (size_t r = 0; r < sizeof place / sizeof *place; r++)
            for (size_t i = 0; i < sizeof size / sizeof *size; i++)
                for (int m = form[f][0] == 8 ? 1 : form[f][0]; m <= form[f][0]; m += 7)
                    for (int whole = 0; whole < 2; whole++) {
                        const struct gemm_problem p = {
                            .m = m, .n = size[i][0], .k = size[i][1], .group = 128
                        };
                        const struct w4_small_shape shape = { form[f][1], form[f][2], place[r][0],
                                                              place[r][1], form[f][3] };
                        struct w4_small_plan s;
                        const int status = plan_small(&p, shape, whole, &s);
                        planned += status >= 0;
                        wrong += status > 0;
                    }
    CHECK(planned == 1644);
    CHECK(wrong == 0);
}

/* What the table says is compiled and fits. */
static void test_table(void)
{
    static const int n[] = { 8, 64, 200, 4096, 8192, 10240, 12288, 22016, 57344 };
    static const int k[] = { 128, 1024, 4096, 8192, 11008, 28672 };
    static const int compiled[] = { 80812,  80814,  80824,  81212,  81214,
                                    81612, 160824, 160844, 320842, 320882 };
    int none = 0, missing = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++)
        for (size_t j = 0; j < sizeof k / sizeof *k; j++)
            for (int m = 1; m <= W4_SMALL_TOKENS; m++)
                for (int overlap = 0; overlap < 2; overlap++) {
                    const struct gemm_problem p = { .m = m, .n = n[i], .k = k[j], .group = 128 };
                    const struct w4_small_shape shape = w4_small_shape(&p, 132, overlap);
                    struct w4_small_plan s;
                    if (plan_small(&p, shape, 0, &s)) {
                        none++;
                        continue;
                    }
                    int found = 0;
                    for (size_t c = 0; c < sizeof compiled / sizeof *compiled; c++)
                        found |= compiled[c] ==
                                 s.tokens * 10000 + s.warps * 100 + s.across * 10 + s.strips;
                    missing += !found;
                }
    CHECK(none == 0);
    CHECK(missing == 0);
}

/* Tiling of some layers of Llama, as measured; w4a16 and when it takes it. */
static void test_choice(void)
{
    static const struct {
        int m, n, k, overlap, tiling, small; /* tiling: warps, across, strips, blocks, room */
    } want[] = {
        { 1, 4096, 4096, 0, 81213, 1 },    { 1, 12288, 4096, 0, 81213, 1 },
        { 1, 8192, 28672, 0, 81223, 1 },   { 1, 57344, 8192, 0, 81423, 1 },
        { 8, 8192, 8192, 0, 81412, 1 },    { 8, 22016, 4096, 0, 82423, 1 },
        { 16, 4096, 11008, 0, 82412, 1 },  { 16, 57344, 8192, 0, 82422, 1 },
        { 17, 57344, 8192, 0, 88222, 0 },  { 32, 8192, 8192, 0, 84222, 0 },
        { 1, 4096, 4096, 1, 161211, 1 },   { 1, 8192, 8192, 1, 121222, 1 },
        { 1, 12288, 4096, 1, 121212, 1 },  { 4, 12288, 4096, 1, 81422, 1 },
        { 1, 57344, 8192, 1, 81422, 1 },   { 4, 4096, 11008, 1, 121412, 1 },
        { 8, 12288, 4096, 1, 81422, 1 },   { 8, 4096, 11008, 1, 81422, 1 },
        { 8, 22016, 4096, 1, 82422, 1 },   { 8, 8192, 28672, 1, 82422, 1 },
        { 16, 57344, 8192, 1, 84422, 1 },  { 16, 12288, 4096, 1, 84422, 1 },
        { 16, 4096, 11008, 1, 82412, 1 },  { 16, 8192, 28672, 1, 82422, 1 },
        { 32, 4096, 4096, 1, 84212, 0 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct gemm_problem p = {
            .m = want[i].m, .n = want[i].n, .k = want[i].k, .group = 128
        };
        const struct w4_small_shape s = w4_small_shape(&p, 132, want[i].overlap);
        CHECK(s.warps * 10000 + s.across * 1000 + s.strips * 100 + s.blocks * 10 + s.room ==
              want[i].tiling);
        CHECK(w4_small_best(&p) == want[i].small);
    }
}

/* Groups of k of every tile that the blocks take, by the arithmetic of the kernel. */
static int covered_large(const struct gemm_problem *p, const struct w4_large_plan *s)
{
    const int groups = p->k / W4_GROUP, tiles = s->token_tiles * s->channel_tiles;
    /* those that share X count as one */
    const int cluster = s->shape.cluster, blocks = s->clusters * cluster;
    char *seen = calloc((size_t)tiles * groups, 1);
    int wrong = !seen;
    for (int block = 0; seen && block < blocks; block++) {
        for (int round = 0; round < s->whole; round++) {
            const int tile = s->shared_tiles + round * blocks + block;
            for (int g = 0; g < groups; g++)
                wrong += tile >= tiles || seen[(size_t)tile * groups + g]++;
        }
        if (s->shape.spread) {
            const int units = s->shared_tiles * groups;
            const int end = w4_spread_begin(block + 1, blocks, units);
            for (int unit = w4_spread_begin(block, blocks, units); unit < end; unit++)
                wrong += seen[unit]++ || w4_spread_block(unit, blocks, units) != block;
            continue;
        }
        for (int tile = s->whole * blocks + block / cluster; tile < tiles; tile += s->clusters) {
            const int rank = block % cluster;
            for (int g = groups * rank / cluster; g < groups * (rank + 1) / cluster; g++)
                wrong += seen[(size_t)tile * groups + g]++;
        }
    }
    for (int i = 0; seen && i < tiles * groups; i++)
        wrong += seen[i] != 1;
    free(seen);
    return wrong == 0;
}

static int tokens_of(int m)
{
    return m <= 16 ? 16 : m <= 32 ? 32 : m <= 64 ? 64 : m <= 128 ? 128 : 256;
}

static void test_large_plans(void)
{
    static const int m[] = { 1, 33, 64, 65, 128, 300, 1024 };
    static const int n[] = { 8, 200, 4096, 10240, 22016 };
    static const int k[] = { 128, 1152, 4096, 28672 };
    static const int clusters[W4_LARGE_CLUSTER + 1] = { 0, 132, 66, 43, 30, 23, 20, 15, 15 };
    const size_t shared = 232448;
    int planned = 0, wrong = 0, none = 0;
    for (size_t h = 0; h < sizeof m / sizeof *m; h++)
        for (size_t i = 0; i < sizeof n / sizeof *n; i++)
            for (size_t j = 0; j < sizeof k / sizeof *k; j++) {
                const struct gemm_problem p = { .m = m[h], .n = n[i], .k = k[j], .group = 128 };
                struct w4_large_plan s;
                for (int cluster = -1; cluster <= W4_LARGE_CLUSTER; cluster++) {
                    /* 0 and below stand for spread, by blocks that share X */
                    const struct w4_large_shape shape = {
                        tokens_of(p.m), 1 + (cluster & 1), cluster > 0 ? cluster : 1,
                        cluster <= 0, cluster < 0 ? 2 : 1, 0, 0
                    };
                    if (w4_large_plan(&p, 0, shape, clusters[shape.cluster * shape.share], shared,
                                      &s))
                        continue;
                    planned++;
                    wrong += !covered_large(&p, &s) || s.bytes > shared || s.stages < 2 ||
                             s.w_at % 1024 || s.exchange_at % 16;
                }
                const struct w4_large_shape shape = w4_large_shape(&p);
                none += w4_large_plan(&p, 0, shape, clusters[shape.cluster * shape.share], shared,
                                      &s) != 0;
            }
    CHECK(planned > 300);
    CHECK(wrong == 0);
    CHECK(none == 0);
}

int main(void)
{
    test_places();
    test_fragments();
    test_zeros();
    test_strips(W4_NEAR);
    test_strips(W4_LARGE_NEAR);
    test_plans();
    test_table();
    test_choice();
    test_large_plans();
    return TEST_END();
}

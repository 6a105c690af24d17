/*
 * test_w4a8_strips.c - scales on sums, as w4a8_strips.cuh applies them, lane by lane: packed codes,
 * scales and shifts, fragments and products by the definition of mma m16n8k32, warps behind one
 * another, the order of a group's sums.  Equal to sum (code - zero) * scale * x of gemm.h for any
 * number of groups, both ends of all codes among them; planted faults are found.
 */
#include <stdlib.h>

#include "../kernels/gemm/w4a8_layout.h"
#include "../kernels/gemm/w4a8_strips.h"
#include "mma_u8.h"
#include "test.h"

enum { TOKENS = W4A8_STRIPS_TOKENS, LANES = 32 };

/* What is done wrongly. */
enum fault {
    NONE,
    ROWS_SWAPPED,   /* the scales of r and r+8 */
    NOT_DIVIDED,    /* sums of r+8 stay 16 times too large */
    HIGH_UNSIGNED,  /* sums of X are cut, not rounded, to their upper byte */
    GROUPS_SWAPPED, /* the two halves of a fragment of shifts */
    LAST_LEFT_OUT,  /* the group whose products are on their way at the end */
    ONE_CHUNK,      /* shifts of the first 32 groups alone */
    FAULTS
};

static uint64_t state = 5;

static int any(int low, int high)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

/* One strip, in the plain order and packed. */
struct strip {
    int groups, tokens;
    unsigned char *code, *scale, *zero; /* [16][k], [16][groups] */
    signed char *x;                     /* [8][k] */
    int *x_sum;                         /* [8][groups] */
    uint32_t *words, *shifts;           /* [groups][256], [chunks][128] */
    unsigned char *pairs;               /* [groups][16] */
};

static void fill(struct strip *s, int extreme)
{
    const int k = s->groups * W4A8_GROUP;
    for (int i = 0; i < W4A8_STRIP * s->groups; i++) {
        s->scale[i] = (unsigned char)(extreme ? 16 : any(1, 16));
        const int most = 128 / s->scale[i]; /* zero * scale <= 128 */
        s->zero[i] =
            (unsigned char)(extreme ? extreme == 1 ? 0 : 8 : any(0, most < 15 ? most : 15));
    }
    for (int i = 0; i < W4A8_STRIP * k; i++) {
        const int g = i / k * s->groups + i % k / W4A8_GROUP;
        const int most = s->zero[g] + 127 / s->scale[g]; /* w8 <= 127 */
        const int top = most < 15 ? most : 15;
        s->code[i] = (unsigned char)(extreme == 1 ? top : extreme ? 0 : any(0, top));
    }
    for (int i = 0; i < TOKENS * k; i++)
        s->x[i] = (signed char)(extreme ? i / k % 2 ? -127 : 127 : any(-127, 127));
    for (int i = 0; i < TOKENS * s->groups; i++) {
        s->x_sum[i] = 0;
        for (int p = 0; p < W4A8_GROUP; p++)
            s->x_sum[i] += s->x[(size_t)(i / s->groups) * (size_t)k +
                                (size_t)(i % s->groups * W4A8_GROUP + p)];
    }
}

/* As w4a8_pack.cu does. */
static void pack(struct strip *s)
{
    const int k = s->groups * W4A8_GROUP, chunks = w4a8_chunks(s->groups);
    int channel, p;
    memset(s->words, 0, (size_t)s->groups * W4A8_CODES);
    memset(s->shifts, 0, (size_t)chunks * W4A8_SHIFTS);
    for (int i = 0; i < s->groups * W4A8_WORDS * 8; i++) {
        const int group = i / (W4A8_WORDS * 8), word = i / 8 % W4A8_WORDS;
        w4a8_place(word, i % 8, &channel, &p);
        s->words[i / 8] |= (uint32_t)s->code[channel * k + group * W4A8_GROUP + p] << 4 * (i % 8);
    }
    for (int i = 0; i < s->groups * W4A8_PAIRS; i++)
        s->pairs[i] = s->scale[w4a8_pair_channel(i % W4A8_PAIRS) * s->groups + i / W4A8_PAIRS];
    for (int i = 0; i < chunks * W4A8_SHIFTS; i++) {
        int group;
        w4a8_shift_place(i / 4 % (W4A8_SHIFTS / 4), i % 4, &channel, &group);
        group += i / W4A8_SHIFTS * W4A8_CHUNK;
        if (group < s->groups)
            s->shifts[i / 4] |= (uint32_t)w4a8_shift(s->scale[channel * s->groups + group],
                                                     s->zero[channel * s->groups + group])
                                << 8 * (i % 4);
    }
}

/* ---- a warp ---- */

struct warp {
    uint32_t a[LANES][4], b[LANES][2];
    int c[LANES][4];
};

/* As multiply_codes does. */
static void multiply(const struct strip *s, int group, struct warp *w)
{
    const int k = s->groups * W4A8_GROUP;
    memset(w->c, 0, sizeof w->c);
    for (int step = 0; step < 4; step++) {
        for (int lane = 0; lane < LANES; lane++) {
            const uint32_t *word =
                s->words + group * W4A8_WORDS + step / 2 * 128 + lane * 4 + step % 2 * 2;
            const int token = lane / 4 < s->tokens ? lane / 4 : s->tokens - 1;
            for (int i = 0; i < 4; i++)
                w->a[lane][i] = i % 2 ? w4a8_high_16(word[i / 2]) : w4a8_low(word[i / 2]);
            memcpy(w->b[lane], s->x + token * k + group * W4A8_GROUP + step * 32 + lane % 4 * 4, 4);
            memcpy(w->b[lane] + 1,
                   s->x + token * k + group * W4A8_GROUP + step * 32 + 16 + lane % 4 * 4, 4);
        }
        mma_u8(w->a, w->b, w->c);
    }
}

/* As add_shifts does. */
static void add_shifts(const struct strip *s, int chunk, enum fault fault, int (*sum)[4])
{
    struct warp high = { 0 }, low = { 0 };
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < 4; i++)
            high.a[lane][fault == GROUPS_SWAPPED ? i ^ 2 : i] = low.a[lane][i] =
                s->shifts[chunk * (W4A8_SHIFTS / 4) + lane * 4 + i];
        for (int i = 0; i < 8; i++) {
            const int group = chunk * W4A8_CHUNK + lane % 4 * 4 + i / 4 * 16 + i % 4;
            const int there = lane / 4 < s->tokens && group < s->groups;
            const int v = there ? s->x_sum[lane / 4 * s->groups + group] : 0;
            low.b[lane][i / 4] |= w4a8_sum_low(v) << 8 * (i % 4);
            high.b[lane][i / 4] |=
                (fault == HIGH_UNSIGNED ? (uint32_t)v >> 8 & 0xff : w4a8_sum_high(v))
                << 8 * (i % 4);
        }
    }
    mma_u8(high.a, high.b, high.c);
    mma_u8(low.a, low.b, low.c);
    for (int i = 0; i < LANES * 4; i++)
        sum[i / 4][i % 4] =
            (int)((uint32_t)w4a8_add_scaled(sum[i / 4][i % 4], high.c[i / 4][i % 4], 256) +
                  (uint32_t)low.c[i / 4][i % 4]);
}

/* As add_group does. */
static void add_group(const struct warp *w, const unsigned char *pairs, enum fault fault,
                      int (*sum)[4])
{
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < 4; i++) {
            const int high = i / 2, swap = fault == ROWS_SWAPPED;
            const int part =
                high && fault != NOT_DIVIDED ? w4a8_part_high(w->c[lane][i]) : w->c[lane][i];
            sum[lane][i] = w4a8_add_scaled(sum[lane][i], part, pairs[lane / 4 * 2 + (high ^ swap)]);
        }
}

/* The warp with every behind-th group. */
static void consume(const struct strip *s, int first, int behind, enum fault fault, int (*sum)[4])
{
    struct warp w = { 0 };
    unsigned char pairs[W4A8_PAIRS] = { 0 };
    const int chunks = fault == ONE_CHUNK ? 1 : w4a8_chunks(s->groups);
    int group = first;
    for (int chunk = first; chunk < chunks; chunk += behind)
        add_shifts(s, chunk, fault, sum);
    for (int left = (s->groups - first + behind - 1) / behind; left > 0; left--, group += behind) {
        add_group(&w, pairs, fault, sum);
        multiply(s, group, &w);
        memcpy(pairs, s->pairs + group * W4A8_PAIRS, W4A8_PAIRS);
    }
    if (fault != LAST_LEFT_OUT)
        add_group(&w, pairs, fault, sum);
}

/* Elements that differ from gemm.h's sum, those of a block's strip. */
static int wrong(const struct strip *s, int behind, enum fault fault)
{
    const int k = s->groups * W4A8_GROUP;
    int sum[LANES][4] = { { 0 } }, bad = 0;
    for (int first = 0; first < behind; first++)
        consume(s, first, behind, fault, sum);
    for (int token = 0; token < s->tokens; token++) {
        int64_t codes = 0;
        for (int p = 0; p < k; p++)
            codes += s->x[token * k + p];
        for (int channel = 0; channel < W4A8_STRIP; channel++) {
            int64_t want = 0;
            for (int p = 0; p < k; p++) {
                const int g = channel * s->groups + p / W4A8_GROUP;
                want += (s->code[channel * k + p] - s->zero[g]) * s->scale[g] * s->x[token * k + p];
            }
            const int v = sum[channel % 8 * 4 + token / 2][channel / 8 * 2 + token % 2];
            /* output_of takes this off */
            bad += (int64_t)(int)((uint32_t)v - (uint32_t)codes * 128) != want;
        }
    }
    return bad;
}

static void try_groups(int groups, int tokens, int extreme)
{
    const size_t g = (size_t)groups, k = g * W4A8_GROUP;
    static const int behind[] = { 1, 2, 4, 8 };
    struct strip s = { .groups = groups,
                       .tokens = tokens,
                       .code = malloc(W4A8_STRIP * k),
                       .scale = malloc(W4A8_STRIP * g),
                       .zero = malloc(W4A8_STRIP * g),
                       .x = malloc(TOKENS * k),
                       .x_sum = malloc(TOKENS * g * sizeof(int)),
                       .words = malloc(g * W4A8_CODES),
                       .shifts = malloc((size_t)w4a8_chunks(groups) * W4A8_SHIFTS),
                       .pairs = malloc(g * W4A8_PAIRS) };
    fill(&s, extreme);
    pack(&s);
    for (int i = 0; i < 4; i++)
        CHECK(!wrong(&s, behind[i], NONE));
    if (groups > W4A8_CHUNK && tokens == TOKENS && !extreme)
        for (int fault = NONE + 1; fault < FAULTS; fault++)
            CHECK(wrong(&s, 4, (enum fault)fault));
    void *const all[] = { s.code, s.scale, s.zero, s.x, s.x_sum, s.words, s.shifts, s.pairs };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Every sum of X that a group can have. */
static void check_split(void)
{
    int bad = 0;
    for (int v = -128 * 127; v <= 128 * 127; v++)
        bad += 256 * (signed char)w4a8_sum_high(v) + (signed char)w4a8_sum_low(v) != v;
    CHECK(!bad);
    for (int v = -16384; v < 16384; v++)
        bad += w4a8_part_high(16 * v) != v;
    CHECK(!bad);
}

/* Every byte of scales and shifts has one place. */
static void check_places(void)
{
    int seen[W4A8_STRIP][W4A8_CHUNK] = { { 0 } }, pair[W4A8_STRIP] = { 0 }, bad = 0, channel, group;
    for (int i = 0; i < W4A8_SHIFTS; i++) {
        w4a8_shift_place(i / 4, i % 4, &channel, &group);
        bad += seen[channel][group]++;
    }
    for (int i = 0; i < W4A8_PAIRS; i++)
        bad += pair[w4a8_pair_channel(i)]++;
    CHECK(!bad);
    /* of 4096 inputs and whole 256 channels, as many bytes as scales on weights take */
    CHECK(w4a8_on_sums_bytes(6144, 4096) == w4a8_packed_bytes(6144, 4096, 1));
}

int main(void)
{
    static const int groups[] = { 1, 2, 7, 8, 9, 31, 32, 33, 65, 112 };
    check_split();
    check_places();
    for (int i = 0; i < 10; i++)
        for (int tokens = 1; tokens <= TOKENS; tokens += groups[i] < 32 ? 1 : 7)
            try_groups(groups[i], tokens, 0);
    for (int extreme = 1; extreme <= 2; extreme++) {
        try_groups(32, TOKENS, extreme);
        try_groups(512, 2, extreme); /* the longest k */
    }
    return TEST_END();
}

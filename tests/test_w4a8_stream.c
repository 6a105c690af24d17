/*
 * test_w4a8_stream.c - the kernel that streams slices of k (w4a8_stream.cuh) without a GPU: plans
 * fit and share out all groups and quads; the ring in any order of warps gives each its group and
 * ends; products lane by lane from packed codes and swizzled X, sums left by quads and taken by
 * slices, equal those of gemm.h; planted faults are found.
 */
#include <stdlib.h>

#include "../kernels/gemm/w4a8_layout.h"
#include "../kernels/gemm/w4a8_stream.h"
#include "mma_u8.h"
#include "test.h"

enum {
    LANES = 32,
    WARPS = W4A8_STREAM_WARPS,
    THREADS = WARPS * LANES,
    TILES = W4A8_STREAM_TOKENS / 8
};

enum fault { NONE, NOT_SWIZZLED, STRIPS_SWAPPED, QUAD_TWICE, PARITY_KEPT, EARLY_REFILL, FAULTS };

static uint64_t state = 7;

static int any(int low, int high)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

/* ---- plans ---- */

static void check_plan(const struct gemm_problem *p, int grouped, int sms)
{
    const int groups = w4a8_div_up(p->k, W4A8_GROUP);
    struct w4a8_stream s;
    if (w4a8_stream_plan(p, grouped, sms, &s))
        return;
    const int quads = W4A8_STREAM_QUADS, most = w4a8_div_up(groups, s.slices);
    CHECK(W4A8_STREAM_TOKENS >= p->m && s.slices >= 2 && s.slices <= W4A8_STREAM_SLICES);
    CHECK(s.tiles * s.slices <= sms && s.slices <= groups);
    CHECK(s.stages >= 1 && s.stages <= W4A8_STREAM_STAGES && (s.stages >= 3 || s.stages >= most));
    CHECK(s.bytes <= W4A8_STREAM_SHARED && 2 * (W4A8_STREAM_SHARED + 1024) <= 228 * 1024);
    CHECK(W4A8_STREAM_X % 1024 == 0 && s.w_at % 16 == 0 && s.w_bytes % 16 == 0 &&
          s.full_at % 8 == 0);
    CHECK(w4a8_stream_quad_at(quads, 0) <= s.token_at);
    int of_groups = 0, of_quads = 0;
    for (int rank = 0; rank < s.slices; rank++) {
        const int count =
            w4a8_first_unit(rank + 1, s.slices, groups) - w4a8_first_unit(rank, s.slices, groups);
        CHECK(count >= 1 && count <= most);
        of_groups += count;
        of_quads +=
            w4a8_first_unit(rank + 1, s.slices, quads) - w4a8_first_unit(rank, s.slices, quads);
    }
    CHECK(of_groups == groups && of_quads == quads);
}

static void check_plans(void)
{
    static const int ms[] = { 9, 11, 14, 15, 16 }, ks[] = { 128, 272, 1024, 4096, 14336, 65536 };
    static const int sms[] = { 16, 78, 132, 144 };
    for (int i = 0; i < 5 * 6 * 4 * 2; i++)
        for (int n = 8; n < 20000; n += 1096)
            check_plan(&(struct gemm_problem){ ms[i % 5], n, ks[i / 5 % 6], W4A8_GROUP }, i / 120,
                       sms[i / 30 % 4]);
    struct w4a8_stream s;
    const struct gemm_problem layer = { 16, 4096, 4096, W4A8_GROUP };
    CHECK(!w4a8_stream_plan(&layer, 1, 132, &s));
    CHECK(s.tiles == 16 && s.slices == 8 && s.stages == 4); /* all of W of a block at once */
    const struct gemm_problem others[] = { { 8, 4096, 4096, 128 },
                                           { 17, 4096, 4096, 128 },
                                           { 16, 28672, 4096, 128 },
                                           { 16, 4096, 128, 128 },
                                           { 16, 4096, 4096, 64 } };
    for (int i = 0; i < 5; i++)
        CHECK(w4a8_stream_plan(&others[i], 1, 132, &s));
    /* the rule: per channel, few channels, long k but not the longest */
    static const int rule[][4] = { { 4096, 14336, 0, 1 }, { 8192, 8192, 0, 1 },
                                   { 4096, 4096, 0, 0 },  { 10240, 8192, 0, 0 },
                                   { 8192, 28672, 0, 0 }, { 4096, 14336, 1, 0 } };
    for (int i = 0; i < 6; i++)
        CHECK(w4a8_stream_best(&(struct gemm_problem){ 16, rule[i][0], rule[i][1], W4A8_GROUP },
                               rule[i][2], 132) == rule[i][3]);
}

/* ---- the ring ---- */

/* A barrier as mbarrier.cuh describes it: phases that have ended. */
static int ended(int phases, unsigned parity)
{
    return (phases & 1) != (int)parity;
}

/* Whether warps in any order get the groups in turn: 0, or what went wrong. */
static int run_ring(int stages, int count, enum fault fault)
{
    int full[W4A8_STREAM_STAGES] = { 0 }, arrived[W4A8_STREAM_STAGES] = { 0 };
    int empty[W4A8_STREAM_STAGES] = { 0 }, holds[W4A8_STREAM_STAGES];
    int on_its_way[W4A8_STREAM_STAGES] = { 0 }, users[W4A8_STREAM_STAGES] = { 0 };
    int group[WARPS] = { 0 }, step[WARPS] = { 0 }; /* 0: refill, 1: wait, 2: multiply */
    struct w4a8_place_in_ring at[WARPS] = { { 0, 0 } };
    for (int i = 0; i < stages; i++)
        holds[i] = i, on_its_way[i] = i < count;
    for (int idle = 0; idle < 100000; idle++) {
        const int w = any(0, WARPS + stages - 1);
        if (w >= WARPS) { /* a copy ends */
            const int slot = w - WARPS;
            full[slot] += on_its_way[slot];
            on_its_way[slot] = 0;
            continue;
        }
        if (group[w] == count)
            continue;
        const int next = group[w] - 1 + stages;
        if (step[w] == 0) {
            struct w4a8_place_in_ring before = w4a8_ring_before(at[w], stages);
            if (fault == PARITY_KEPT)
                before.parity = at[w].parity;
            if (w == 0 && group[w] > 0 && next < count) {
                if (fault != EARLY_REFILL && !ended(empty[before.slot], before.parity))
                    continue;
                if (users[before.slot] || on_its_way[before.slot])
                    return 1; /* overwritten while it was read */
                if (holds[before.slot] != next - stages)
                    return 2;
                if (empty[before.slot] * WARPS != (next / stages) * WARPS)
                    return 3; /* some have not read it yet */
                holds[before.slot] = next;
                on_its_way[before.slot] = 1;
            }
            step[w] = 1;
        } else if (step[w] == 1) {
            if (!ended(full[at[w].slot], at[w].parity))
                continue;
            if (holds[at[w].slot] != group[w])
                return 4;
            users[at[w].slot]++;
            step[w] = 2;
        } else {
            const int slot = at[w].slot;
            users[slot]--;
            if (++arrived[slot] == WARPS)
                arrived[slot] = 0, empty[slot]++;
            at[w] = w4a8_ring_next(at[w], stages);
            group[w]++;
            step[w] = 0;
        }
        idle = 0;
    }
    for (int w = 0; w < WARPS; w++)
        if (group[w] != count)
            return 5; /* waits for ever */
    return 0;
}

static void check_ring(void)
{
    int found[FAULTS] = { 0 };
    for (int stages = 1; stages <= W4A8_STREAM_STAGES; stages++)
        for (int count = 1; count <= 20; count += count < 8 ? 1 : 6) {
            CHECK(!run_ring(stages, count, NONE));
            if (stages > 1 && count > 2 * stages) {
                found[PARITY_KEPT] += run_ring(stages, count, PARITY_KEPT) != 0;
                found[EARLY_REFILL] += run_ring(stages, count, EARLY_REFILL) != 0;
            }
        }
    CHECK(found[PARITY_KEPT] && found[EARLY_REFILL]);
}

/* ---- products ---- */

struct layer {
    int m, k, groups; /* n: one tile of 256 channels */
    unsigned char *code, *scale, *zero;
    signed char *x;
    uint32_t *words, *scales; /* [groups][16 strips][256], [groups][16][8] */
};

static void fill(struct layer *l)
{
    const int n = W4A8_STREAM_STRIPS * W4A8_STRIP;
    int channel, p;
    memset(l->words, 0, (size_t)l->groups * W4A8_STREAM_STRIPS * W4A8_CODES);
    for (int i = 0; i < n * l->groups; i++) {
        l->scale[i] = (unsigned char)any(1, 8);
        l->zero[i] = (unsigned char)any(0, 15);
    }
    for (int i = 0; i < n * l->k; i++)
        l->code[i] = (unsigned char)any(0, 15);
    for (int i = 0; i < l->m * l->k; i++)
        l->x[i] = (signed char)any(-127, 127);
    for (int i = 0; i < l->groups * W4A8_STREAM_STRIPS; i++) {
        const int strip = i % W4A8_STREAM_STRIPS, group = i / W4A8_STREAM_STRIPS;
        const size_t at = w4a8_strip_at(strip, group, l->groups);
        for (int v = 0; v < W4A8_WORDS * 8; v++) {
            w4a8_place(v / 8, v % 8, &channel, &p);
            p += group * W4A8_GROUP;
            if (p < l->k)
                l->words[at * W4A8_WORDS + (size_t)(v / 8)] |=
                    (uint32_t)l->code[(strip * W4A8_STRIP + channel) * l->k + p] << 4 * (v % 8);
        }
        for (int r = 0; r < 8; r++) {
            const int low = (strip * W4A8_STRIP + r) * l->groups + group,
                      high = low + 8 * l->groups;
            l->scales[at * 8 + (size_t)r] =
                w4a8_scales(l->scale[low], l->zero[low], l->scale[high], l->zero[high]);
        }
    }
}

/* A stage of X as the copy leaves it: byte b of row i at 128 i + (b ^ 16 (i % 8)), 0 outside. */
static void stage_x(const struct layer *l, int group, unsigned char *to)
{
    for (int i = 0; i < W4A8_STREAM_TOKENS; i++)
        for (int b = 0; b < W4A8_GROUP; b++) {
            const int p = group * W4A8_GROUP + b;
            to[128 * i + (b ^ 16 * (i % 8))] =
                (unsigned char)(i < l->m && p < l->k ? l->x[i * l->k + p] : 0);
        }
}

/* As multiply_stage does; sum [2][TILES][32][4]. */
static void multiply(const struct layer *l, const unsigned char *x, int group, int warp,
                     int grouped, enum fault fault, int (*sum)[LANES][4])
{
    for (int i = 0; i < 2 * 2 * 2 * TILES; i++) {
        const int block = i % 2, step = i / 2 % 2, strip = i / 4 % 2, tile = i / 8;
        const size_t at = w4a8_strip_at(2 * warp + strip, group, l->groups);
        uint32_t a[LANES][4], b[LANES][2];
        for (int lane = 0; lane < LANES; lane++) {
            const uint32_t *word = l->words + at * W4A8_WORDS + block * 128 + lane * 4 + step * 2;
            const uint32_t s = l->scales[at * 8 + (size_t)(lane / 4)];
            for (int j = 0; j < 4; j++) {
                const uint32_t w = word[j / 2], of = s >> 16 * (j % 2);
                a[lane][j] = !grouped ? (j % 2 ? w4a8_high_16(w) : w4a8_low(w))
                                      : w4a8_shifted(j % 2 ? w4a8_high(w) : w4a8_low(w), of & 0xff,
                                                     (of >> 8 & 0xff) * 0x01010101u);
            }
            /* ldmatrix: lane v points at row v % 8 of matrix v / 8; this one gets row lane / 4 */
            for (int j = 0; j < 2; j++) {
                const int row = lane / 4, piece = block * 4 + 2 * step + j;
                const int from = fault == NOT_SWIZZLED ? row * W4A8_GROUP + piece * 16
                                                       : w4a8_stream_x_at(row, piece);
                memcpy(&b[lane][j], x + tile * 8 * W4A8_GROUP + from + lane % 4 * 4, 4);
            }
        }
        mma_u8(a, b, sum[(fault == STRIPS_SWAPPED ? !strip : strip) * TILES + tile]);
    }
}

/* Elements of a tile that are wrong. */
static long wrong(const struct layer *l, int grouped, int slices, enum fault fault)
{
    const int quads = W4A8_STREAM_QUADS;
    const int bytes = w4a8_stream_quad_at(quads, 0);
    unsigned char *room = malloc((size_t)bytes * (size_t)slices), *x = malloc(W4A8_STREAM_X);
    int(*sum)[LANES][4] = malloc((size_t)quads * sizeof *sum);
    long bad = 0, made = 0;
    for (int rank = 0; rank < slices; rank++)
        for (int warp = 0; warp < WARPS; warp++) {
            memset(sum, 0, (size_t)quads * sizeof *sum);
            for (int g = w4a8_first_unit(rank, slices, l->groups);
                 g < w4a8_first_unit(rank + 1, slices, l->groups); g++) {
                stage_x(l, g, x);
                multiply(l, x, g, warp, grouped, fault, sum);
            }
            for (int i = 0; i < quads * LANES; i++)
                memcpy(room + rank * bytes +
                           w4a8_stream_quad_at(i / LANES, warp * LANES + i % LANES),
                       sum[i / LANES][i % LANES], 16);
        }
    for (int rank = 0; rank < slices; rank++)
        for (int quad = w4a8_first_unit(rank, slices, quads);
             quad < w4a8_first_unit(rank + 1, slices, quads) + (fault == QUAD_TWICE); quad++)
            for (int i = 0; i < THREADS * 4; i++) {
                const int thread = i / 4, lane = thread % LANES, of = i % 4;
                const int token = quad % TILES * 8 + lane % 4 * 2 + of % 2;
                const int channel =
                    (2 * (thread / LANES) + quad / TILES) * W4A8_STRIP + lane / 4 + of / 2 * 8;
                int64_t got = 0, want = 0, codes = 0;
                made++;
                if (token >= l->m || quad >= quads)
                    continue;
                for (int other = 0; other < slices; other++) {
                    int part[4];
                    memcpy(part, room + other * bytes + w4a8_stream_quad_at(quad, thread), 16);
                    got += part[of];
                }
                for (int p = 0; p < l->k; p++) {
                    const int c = l->code[channel * l->k + p], v = l->x[token * l->k + p];
                    const int g = channel * l->groups + p / W4A8_GROUP;
                    codes += v;
                    want += (grouped ? (c - l->zero[g]) * l->scale[g] : c) * v;
                }
                bad += grouped ? got - 128 * codes != want : got != want * (of / 2 ? 16 : 1);
            }
    free(room);
    free(x);
    free(sum);
    return bad + labs(made - (long)W4A8_STREAM_STRIPS * W4A8_STRIP * W4A8_STREAM_TOKENS);
}

static void try_layer(int m, int k, int slices)
{
    const size_t n = W4A8_STREAM_STRIPS * W4A8_STRIP, groups = (size_t)w4a8_div_up(k, W4A8_GROUP);
    struct layer l = { .m = m,
                       .k = k,
                       .groups = (int)groups,
                       .code = malloc(n * (size_t)k),
                       .scale = malloc(n * groups),
                       .zero = malloc(n * groups),
                       .x = malloc((size_t)m * (size_t)k),
                       .words = malloc(groups * W4A8_STREAM_STRIPS * W4A8_CODES),
                       .scales = malloc(groups * W4A8_STREAM_STRIPS * W4A8_SCALES) };
    fill(&l);
    for (int grouped = 0; grouped < 2; grouped++)
        CHECK(!wrong(&l, grouped, slices, NONE));
    for (int fault = NOT_SWIZZLED; m == 16 && fault <= QUAD_TWICE; fault++)
        CHECK(wrong(&l, 0, slices, (enum fault)fault));
    void *const all[] = { l.code, l.scale, l.zero, l.x, l.words, l.scales };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int main(void)
{
    check_plans();
    check_ring();
    try_layer(9, 256, 2);
    try_layer(16, 1136, 8);
    try_layer(13, 640, 3);
    try_layer(15, 400, 3);
    return TEST_END();
}

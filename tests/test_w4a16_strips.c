/*
 * test_w4a16_strips.c - the kernel of strips thread by thread on the host: which strips and groups
 * its warps take and where these lie, the slots of X that two warps share, and Y from codes that no
 * sum rounds, by the functions that the kernel itself calls.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../kernels/gemm/w4a16_shapes.h"
#include "test.h"

enum { SMS = 132, HALF = 115712 };

static const struct w4_strips_shape shapes[] = {
    { 1, 1 }, { 1, 2 }, { 2, 1 }, { 2, 2 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static int plan_of(const struct gemm_problem *p, int symmetric, struct w4_strips_shape s,
                   struct w4_strips_plan *plan)
{
    return w4_strips_plan(p, symmetric, s, SMS / s.cluster, HALF, plan);
}

/* ---- what warps take ---- */

/* Every strip and group once, where it lies in memory; slots of two strips but for the last of a
 * share, as many as the kernel's unrolled loop takes. */
static int covered(const struct w4_strips_plan *s, int strips)
{
    const int chunks = s->clusters * s->rounds, cells = strips * s->groups;
    char *seen = calloc((size_t)cells, 1);
    int wrong = !seen || w4_cut_begin(s->cut, chunks) != strips;
    for (int strip = 0, at = 0; strip < strips && !wrong; strip++) {
        at += strip == w4_cut_begin(s->cut, at + 1);
        wrong += (int)w4_cut_at(s->cut, strip, 0, s->groups) !=
                 w4_cut_begin(s->cut, at) * s->groups + strip - w4_cut_begin(s->cut, at);
    }
    for (int i = 0; i < s->clusters * s->cluster * W4_STRIPS_WARPS && !wrong; i++) {
        const int behind = i % w4_strips_behind(s->across);
        const int across = i % W4_STRIPS_WARPS / w4_strips_behind(s->across);
        const int block = i / W4_STRIPS_WARPS;
        struct w4_strips_walk w =
            w4_strips_begin(s, block / s->cluster, block % s->cluster, across, behind);
        int left = w4_strips_items(s, &w);
        for (; w.rounds && !wrong; left--) {
            const int whole = w.here == s->each, group = w.group, chunk = w.chunk;
            int strip = w4_cut_begin(s->cut, chunk) + w4_strips_share(w.size, across, s->across);
            wrong += w.here != s->each && w.here != s->each - 1;
            for (int e = 0; e < s->each && !wrong; e += W4_PAIR) {
                const int two = e + 2 < s->each || (e + 2 == s->each && whole);
                const int one = !two && (e + 2 == s->each || whole);
                if (!two && !one)
                    continue;
                wrong += w.group != group || w.chunk != chunk || w4_strips_pair(&w) != 1 + two;
                for (int j = 0; j <= two && !wrong; j++, strip++) {
                    wrong += strip >= strips || group >= s->groups;
                    if (wrong)
                        break;
                    wrong += (int)w4_cut_at(s->cut, strip, group, s->groups) != w.at + j;
                    wrong += seen[strip * s->groups + group]++;
                }
                w4_strips_next(s, across, &w);
            }
            wrong += w.rounds && w.group == group && w.chunk == chunk;
        }
        wrong += left != 0;
    }
    for (int i = 0; i < cells && !wrong; i++)
        wrong += seen[i] != 1;
    free(seen);
    return !wrong;
}

/* Fragments of sums: each strip of a chunk by tokens once. */
static int fragments_good(const struct w4_strips_plan *s, int size)
{
    const int tiles = s->tokens / 8, all = s->across * s->each * tiles;
    int wrong = 0, there = 0;
    for (int a = 0; a < s->across; a++)
        for (int i = 0; i < s->each; i++)
            for (int t = 0; t < tiles; t++) {
                const int f = w4_strips_fragment(a, i, t, s->each, tiles);
                const int strip = w4_strips_of_fragment(f, size, s->across, s->each, tiles);
                const int begin = w4_strips_share(size, a, s->across);
                const int mine = i < w4_strips_share(size, a + 1, s->across) - begin;
                wrong += f < 0 || f >= all || f % tiles != t;
                wrong += strip != (mine ? begin + i : -1);
                there += mine;
            }
    return !wrong && there == size * tiles;
}

static int fits(const struct w4_strips_plan *s)
{
    const size_t sums = (size_t)(w4_strips_behind(s->across) / 2) * s->across * s->each *
                        (s->tokens / 8) * W4_FRAGMENT;
    return s->bytes <= HALF && s->stages >= 1 &&
           s->stages <= W4_STRIPS_STAGES && s->x_stages >= 1 && s->x_stages <= W4_STRIPS_X_STAGES &&
           s->x_at >= W4_STRIPS_SUMS + sums && s->x_at % 16 == 0 && s->ring_at % 16 == 0 &&
           s->slot_bytes % 32 == 0 && s->x_bytes % 16 == 0 && s->each >= 1 &&
           s->each <= w4_strips_each(s->tokens) && s->clusters * s->cluster <= SMS;
}

static void test_plans(void)
{
    static const int ns[] = { 8,     16,    24,    200,   4096,  4104, 8192,
                              10240, 12288, 22016, 28672, 33000, 57344 };
    static const int ks[] = { 128, 640, 1152, 4096, 11008, 28672 };
    static const int ms[] = { 1, 5, 8, 9, 16 };
    int planned = 0, uncovered = 0, misfit = 0, fragments = 0;
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++)
            for (size_t h = 0; h < sizeof ms / sizeof *ms; h++)
                for (int f = 0; f < 2 * SHAPES; f++) {
                    const struct gemm_problem p = { ms[h], ns[i], ks[j], 128 };
                    struct w4_strips_plan s;
                    if (plan_of(&p, f % 2, shapes[f / 2], &s))
                        continue;
                    planned++;
                    misfit += !fits(&s);
                    if (f % 2 || (h && s.tokens == 8))
                        continue; /* the same walks */
                    uncovered += !covered(&s, w4_div_up(p.n, W4_STRIP));
                    fragments += !fragments_good(&s, w4_cut_size(s.cut, 0)) ||
                                 !fragments_good(&s, s.cut.size);
                }
    CHECK(planned > 1500);
    CHECK(!uncovered && !misfit && !fragments);
    CHECK(W4_STRIPS_WALKS + W4_STRIPS_WARPS * sizeof(struct w4_strips_walk) <= W4_STRIPS_SUMS);
    CHECK((W4_STRIPS_STAGES + 2 * W4_STRIPS_X_STAGES) * W4_STRIPS_WARPS * 8 <= W4_STRIPS_WALKS);
}

/* What the table says fits, for all that the kernel may be given, and most of what is in flight at
 * the layers it is for: half of a multiprocessor's memory. */
static void test_table(void)
{
    static const int layers[][2] = { { 12288, 4096 }, { 4096, 4096 },  { 22016, 4096 },
                                     { 4096, 11008 }, { 10240, 8192 }, { 8192, 8192 },
                                     { 57344, 8192 }, { 8192, 28672 } };
    int none = 0;
    for (int n = 8; n < 70000; n += n < 600 ? 8 : 1544)
        for (int k = 128; k <= 28672; k += k < 1024 ? 128 : 3456)
            for (int m = 1; m <= W4_STRIPS_TOKENS; m++)
                none += !w4_strips_takes(&(struct gemm_problem){ m, n, k, 128 });
    CHECK(none == 0);
    CHECK(!w4_strips_takes(&(struct gemm_problem){ 17, 4096, 4096, 128 }));
    CHECK(!w4_strips_takes(&(struct gemm_problem){ 1, 4096, 4096, 64 }));
    CHECK(!w4_strips_takes(&(struct gemm_problem){ 1, 4100, 4096, 128 }));
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (int m = 1; m <= 16; m += m == 1 ? 7 : 8) {
            const struct gemm_problem p = { m, layers[i][0], layers[i][1], 128 };
            struct w4_strips_plan s;
            CHECK(!plan_of(&p, 0, w4_strips_row(&p).shape, &s));
            printf("m %2d %5d x %5d: across %d each %2d cluster %d x %3d rounds %d, "
                   "slots %d of W, %d of X, %zu bytes\n",
                   m, p.n, p.k, s.across, s.each, s.cluster, s.clusters, s.rounds, s.stages,
                   s.x_stages, s.bytes);
            CHECK(W4_STRIPS_WARPS * s.stages * s.slot_bytes >= (m == 1 ? 64 : 32) * 1024);
        }
}

/* ---- slots of X that two warps share ---- */

struct barrier {
    int arrivals, missing, ended; /* ended: phases that have */
};

static void arrive(struct barrier *b)
{
    if (!--b->missing)
        b->missing = b->arrivals, b->ended++;
}

static int passes(const struct barrier *b, unsigned parity)
{
    return (b->ended & 1) != (int)parity;
}

struct reader {                     /* a warp; item is the number of the group */
    int item, fetched, slot, waits; /* waits: for the slot before to have been read */
    unsigned parity;
};

/* Items of which a slot holds each warp's half, by steps of either warp in an order at random.
 * skip: the second warp does not wait.  1: all items were read whole; 0: not; -1: no warp goes on.
 */
static int run_ring(int items, int stages, int skip)
{
    struct barrier full[W4_STRIPS_X_STAGES], read[W4_STRIPS_X_STAGES];
    int half[W4_STRIPS_X_STAGES][2], good = 1;
    struct reader warp[2] = { { 0 }, { 0 } };
    for (int i = 0; i < stages; i++) {
        full[i] = read[i] = (struct barrier){ 2, 2, 0 };
        half[i][0] = half[i][1] = -1;
    }
    for (int w = 0; w < 2; w++)
        for (int i = 0; i < stages && i < items; i++) {
            half[i][w] = warp[w].fetched++;
            arrive(&full[i]);
        }
    for (int idle = 0; warp[0].item < items || warp[1].item < items;) {
        const int w = rand() >> 9 & 1;
        struct reader *r = &warp[w];
        if (++idle > 1000)
            return -1;
        if (r->item == items)
            continue;
        const int before = (r->slot ? r->slot : stages) - 1;
        if (!r->waits) {
            if (!passes(&full[r->slot], r->parity))
                continue;
            good = good && half[r->slot][0] == r->item && half[r->slot][1] == r->item;
            arrive(&read[r->slot]);
            r->waits = r->item > 0 && r->fetched < items;
        } else {
            if (!(skip && w) && !passes(&read[before], r->parity ^ (r->slot == 0)))
                continue;
            half[before][w] = r->fetched++;
            arrive(&full[before]);
            r->waits = 0;
        }
        idle = 0;
        if (!r->waits) {
            r->item++;
            if (++r->slot == stages)
                r->slot = 0, r->parity ^= 1;
        }
    }
    return good;
}

static void test_ring(void)
{
    int good = 1, caught = 0;
    srand(3);
    for (int items = 1; items < 40; items++)
        for (int stages = items > 1 ? 2 : 1; stages <= W4_STRIPS_X_STAGES && stages <= items;
             stages++)
            for (int again = 0; again < 20; again++) {
                good = good && run_ring(items, stages, 0) == 1;
                caught += run_ring(items, stages, 1) != 1;
            }
    CHECK(good);
    CHECK(caught > 0); /* a warp that does not wait is found out */
}

/* ---- Y ---- */

static int code_of(int channel, int k)
{
    return (channel * 7 + k * 5 + channel * k % 11) & 15;
}

static int x_of(int token, int k)
{
    return (token * 3 + k * 7 + token * k % 5) % 9 - 4;
}

static int zero_of(int channel, int group)
{
    return (channel * 5 + group * 3) & 15;
}

static int scale_of(int channel, int group)
{
    return 1 << (channel + group) % 3;
}

/* Products of a strip and group: nibble by nibble where w4_place says. */
static void strip_sums(int strip, int group, int m, double (*sum)[W4_STRIPS_TOKENS])
{
    for (int word = 0; word < W4_WORDS; word++)
        for (int nibble = 0; nibble < 8; nibble++) {
            int channel, k;
            w4_place(word, nibble, &channel, &k);
            const int c = strip * W4_STRIP + channel;
            const double w =
                (code_of(c, group * W4_GROUP + k) - zero_of(c, group)) * scale_of(c, group);
            for (int t = 0; t < m; t++)
                sum[channel][t] += w * x_of(t, group * W4_GROUP + k);
        }
}

/* Y by the kernel's arithmetic of places: at is turned back into strip and group by an order of
 * memory that was filled beforehand.  fault 1: a walk that begins a group late; 2: fragments of
 * another warp; 3: a block of the cluster left out. */
static int wrong_y(const struct gemm_problem *p, const struct w4_strips_plan *s, int fault)
{
    const int strips = w4_div_up(p->n, W4_STRIP), tiles = s->tokens / 8;
    const int fragments = s->across * s->each * tiles, all = w4_strips_behind(s->across);
    int(*place)[2] = malloc((size_t)strips * (size_t)s->groups * sizeof *place), wrong = 0;
    double *y = calloc((size_t)p->m * (size_t)p->n, sizeof *y);
    /* [rank][behind][fragment][16 channels][8 tokens] */
    double *sums = malloc((size_t)s->cluster * all * fragments * 128 * sizeof *sums);
    for (int strip = 0; strip < strips; strip++)
        for (int g = 0; g < s->groups; g++) {
            const size_t at = w4_cut_at(s->cut, strip, g, s->groups);
            place[at][0] = strip, place[at][1] = g;
        }
    for (int cluster = 0; cluster < s->clusters; cluster++)
        for (int round = 0; round < s->rounds; round++) {
            const int chunk = cluster + round * s->clusters, size = w4_cut_size(s->cut, chunk);
            memset(sums, 0, (size_t)s->cluster * all * fragments * 128 * sizeof *sums);
            for (int w = 0; w < s->cluster * W4_STRIPS_WARPS; w++) {
                const int rank = w / W4_STRIPS_WARPS, across = w % W4_STRIPS_WARPS / all;
                const int behind = w % all;
                struct w4_strips_walk walk = w4_strips_begin(s, cluster, rank, across, behind);
                while (walk.rounds && walk.chunk != chunk)
                    w4_strips_next(s, across, &walk);
                if (fault == 1 && w == 3 && walk.rounds)
                    w4_strips_next(s, across, &walk);
                while (walk.rounds && walk.chunk == chunk) {
                    const int e = walk.here - walk.left, pair = w4_strips_pair(&walk);
                    for (int j = 0; j < pair; j++) {
                        double part[W4_STRIP][W4_STRIPS_TOKENS] = { { 0 } };
                        strip_sums(place[walk.at + j][0], place[walk.at + j][1], p->m, part);
                        for (int t = 0; t < tiles; t++) {
                            const int f = w4_strips_fragment(across, e + j, t, s->each, tiles);
                            double *to =
                                sums + (((size_t)rank * all + behind) * fragments + f) * 128;
                            for (int i = 0; i < 128; i++)
                                to[i] += part[i / 8][t * 8 + i % 8];
                        }
                    }
                    w4_strips_next(s, across, &walk);
                }
            }
            for (int f = 0; f < fragments; f++) {
                const int from = fault == 2 ? (f + tiles) % fragments : f;
                const int strip = w4_strips_of_fragment(f, size, s->across, s->each, tiles);
                for (int i = 0; i < 128 && strip >= 0; i++) {
                    const int channel = (w4_cut_begin(s->cut, chunk) + strip) * W4_STRIP + i / 8;
                    const int token = f % tiles * 8 + i % 8;
                    double v = 0;
                    for (int b = 0; b < (fault == 3 ? 1 : s->cluster) * all; b++)
                        v += sums[((size_t)b * fragments + from) * 128 + i];
                    if (channel < p->n && token < p->m)
                        y[(size_t)token * p->n + channel] += v; /* once, or it is wrong */
                }
            }
        }
    for (int t = 0; t < p->m; t++)
        for (int c = 0; c < p->n; c++) {
            double want = 0;
            for (int k = 0; k < p->k; k++)
                want += (code_of(c, k) - zero_of(c, k / W4_GROUP)) * scale_of(c, k / W4_GROUP) *
                        x_of(t, k);
            wrong += y[(size_t)t * p->n + c] != want;
        }
    free(place);
    free(y);
    free(sums);
    return wrong;
}

static void test_y(void)
{
    static const struct gemm_problem problems[] = {
        { 1, 200, 384, 128 }, { 8, 264, 1152, 128 }, { 16, 504, 2176, 128 },
        { 9, 72, 640, 128 },  { 3, 1160, 128, 128 },  { 5, 1992, 1408, 128 },
        { 12, 1000, 1536, 128 },
    };
    int runs = 0, wrong = 0, caught[4] = { 0 };
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int f = 0; f < SHAPES; f++) {
            struct w4_strips_plan s;
            /* few clusters, so that there are rounds */
            if (w4_strips_plan(&problems[i], 0, shapes[f], 2 / shapes[f].cluster, HALF, &s))
                continue;
            runs++;
            wrong += wrong_y(&problems[i], &s, 0) != 0;
            for (int fault = 1; fault <= 3 && i < 3; fault++)
                caught[fault] += wrong_y(&problems[i], &s, fault) != 0;
        }
    CHECK(runs > 15);
    CHECK(wrong == 0);
    CHECK(caught[1] && caught[2] && caught[3]);
    printf("%d runs, faults seen %d %d %d times\n", runs, caught[1], caught[2], caught[3]);
}

int main(void)
{
    test_plans();
    test_table();
    test_ring();
    test_y();
    return TEST_END();
}

/*
 * gpu_own_plans.c - plans of many maps made at once on a GPU: each as the host makes it alone, for
 * lists of maps of any taps, ranges and rows, fewer rows than there is room for among them.
 *
 * `gpu_own_plans times` prints how long both sides of 13 maps of MinkUNet's sizes take, together
 * and one after the other.
 */
#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/spconv/own_plans.h"
#include "../kernels/spconv/plan.h"
#include "../suites/data/build.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
#include "own_parts_check.h"

enum { BLOCKS_MAX = 2048 };

static struct arena {
    struct cb_device *d;
    void *block[BLOCKS_MAX];
    int count;
} arena;

/* Filled, so that what is not written is seen. */
static void *take(void *context, size_t bytes)
{
    struct arena *a = context;
    void *p = NULL;
    CHECK(a->count < BLOCKS_MAX && !cb_alloc(a->d, bytes, &p) && !cb_fill(a->d, p, 0x5a, bytes));
    a->block[a->count++] = p;
    return p;
}

static const struct op_memory memory = { .take = take, .context = &arena };

static void drop(void)
{
    CHECK(!cb_guards_check(arena.d));
    for (int i = 0; i < arena.count; i++)
        cb_free(arena.d, arena.block[i]);
    arena.count = 0;
}

static void *sent(const void *from, size_t bytes)
{
    void *p = take(&arena, bytes);
    CHECK(!cb_upload(arena.d, p, from, bytes) && !cb_sync(arena.d));
    return p;
}

static void *got(const void *from, size_t bytes)
{
    void *p = malloc(bytes);
    CHECK(p && !cb_download(arena.d, p, from, bytes) && !cb_sync(arena.d));
    return p;
}

/* ---- maps ---- */

struct map {
    int32_t *table; /* host, [room][taps] */
    int rows, room, taps, splits;
};

/* The middle tap mostly, the others seldom and unevenly; a row in `blank` has none at all. */
static struct map random_map(int rows, int room, int taps, int splits, uint64_t seed)
{
    struct map m = { malloc((size_t)room * (size_t)taps * sizeof *m.table), rows, room, taps,
                     splits };
    for (int k = 0; k < room; k++)
        for (int d = 0; d < taps; d++) {
            const uint64_t h = data_hash(seed, (uint64_t)k, (uint64_t)d);
            const int often = data_hash(seed, 7, (uint64_t)k) % 17 == 0 ? 0
                              : d == taps / 2                          ? 90
                                                                       : 5 + 3 * d % 40;
            m.table[k * taps + d] =
                k < rows && (int)(h % 100) < often ? (int32_t)(h >> 8 & 0xffff) : -1;
        }
    return m;
}

static struct own_source source_of(const struct map *m, int with_mask)
{
    uint32_t *mask = calloc((size_t)m->room, sizeof *mask);
    for (int k = 0; k < m->room; k++)
        for (int d = 0; d < m->taps; d++)
            mask[k] |= (uint32_t)(m->table[k * m->taps + d] >= 0) << d;
    const struct own_source s = {
        sent(m->table, (size_t)m->room * (size_t)m->taps * sizeof *m->table),
        with_mask ? sent(mask, (size_t)m->room * sizeof *mask) : NULL,
        sent(&m->rows, sizeof m->rows), m->room, m->taps
    };
    free(mask);
    return s;
}

/* ---- against the host ---- */

static void check_parts(const struct own_plan *p, const uint32_t *mask, int rows)
{
    struct own_part *part = got(p->part, (size_t)p->parts * sizeof *part);
    int32_t *count = got(p->count, 2 * sizeof *count);
    int longest;
    CHECK(!wrong_parts(p, part, mask, count, rows, &longest));
    CHECK(!p->cut.most || longest <= p->cut.most);
    free(part);
    free(count);
}

static void check_plan(const struct map *m, const struct own_plan *p)
{
    const struct spconv_table table = { m->table, m->rows, m->taps };
    const size_t rows = (size_t)p->tiles * SPCONV_TILE, all = (size_t)p->splits * rows;
    struct spconv_plan want;
    CHECK(spconv_plan_make(&table, m->splits, SPCONV_BY_GRAY, &want) == OP_OK);
    int32_t *row = got(p->row, all * sizeof *row), *index = got(p->index, all * (size_t)p->taps * 4);
    uint32_t *mask = got(p->mask, 2 * (all / SPCONV_TILE) * sizeof *mask);
    long wrong = 0;
    for (size_t i = 0; i < all; i++) {
        const size_t split = i / rows, at = i % rows, half = i / (SPCONV_TILE / 2);
        const int first = (int)split * p->taps;
        const size_t padded = (size_t)want.tiles * SPCONV_TILE;
        const int32_t own = at < padded ? want.row[split * padded + at] : -1;
        wrong += row[i] != own;
        for (int d = 0; d < p->taps && first + d < m->taps; d++) {
            const int32_t partner = own < 0 ? -1 : m->table[own * m->taps + first + d];
            const uint32_t *tile = mask + 2 * (i / SPCONV_TILE);
            wrong += partner >= 0 && !(mask[half] >> d & 1);
            wrong += (tile[0] | tile[1]) >> d & 1 &&
                     index[(i / SPCONV_TILE * (size_t)p->taps + (size_t)d) * SPCONV_TILE +
                           i % SPCONV_TILE] != partner;
        }
        if (i % (SPCONV_TILE / 2) == 0 && at < padded)
            wrong += mask[half] !=
                     spconv_plan_mask(&want, (int)split, (int)at, SPCONV_TILE / 2);
    }
    CHECK(!wrong);
    check_parts(p, mask, m->rows);
    free(row);
    free(index);
    free(mask);
    spconv_plan_free(&want);
}

static void open_list(struct own_plans *list, struct map *map, int count)
{
    struct own_plan_work unused;
    list->count = count;
    for (int i = 0; i < count; i++) {
        /* whole tiles, by what there is to do for a few blocks and for many */
        const struct own_cut cut[3] = { { 264, 64, 3, 32 }, { 7, 64, 3, 0 }, { 132, 128, 2, 0 } };
        list->source[i] = source_of(&map[i], i % 2);
        CHECK(own_plan_open(map[i].room, map[i].taps, map[i].splits, &cut[i % 3], &memory,
                            cb_device_stream(arena.d), &list->plan[i], &unused) == OP_OK);
    }
}

static void try_list(int round)
{
    static const int taps[] = { 27, 8, 27, 1, 3, 9, 27 };
    struct map map[OWN_PLANS_MAX];
    struct own_plans list = { 0 };
    struct own_plan_work work;
    const int count = 1 + round * 5 % 13;
    for (int i = 0; i < count; i++) {
        const uint64_t h = data_hash(3, (uint64_t)round, (uint64_t)i);
        const int t = taps[h % 7], rows = 1 + (int)(h >> 8 & 1023), splits = 1 + (int)(h >> 20 & 3);
        map[i] = random_map(rows, rows + (h >> 30 & 1 ? (int)(h >> 32 & 255) : 0), t,
                            splits > t ? 1 : splits, h);
    }
    open_list(&list, map, count);
    CHECK(own_plans_bits(&list) <= 32);
    CHECK(own_plans_open(own_plans_tiles(&list), &memory, &work) == OP_OK);
    CHECK(own_plans_make(&list, &work, cb_device_stream(arena.d)) == OP_OK && !cb_sync(arena.d));
    for (int i = 0; i < count; i++) {
        check_plan(&map[i], &list.plan[i]);
        free(map[i].table);
    }
    drop();
}

/* Keys of more than 32 bits are refused. */
static void try_too_long(void)
{
    struct own_plans list = { .count = 17 };
    struct own_plan_work work = { 0 };
    for (int i = 0; i < list.count; i++)
        list.plan[i] = (struct own_plan){ .splits = 2, .taps = 27, .tiles = 1 };
    CHECK(own_plans_bits(&list) == 33);
    CHECK(own_plans_make(&list, &work, cb_device_stream(arena.d)) == OP_EUNSUPPORTED);
    for (int tile = 0; tile < 34; tile++) {
        const struct own_segment g = own_plans_segment(&list, tile);
        CHECK(g.plan == tile / 2 && g.split == tile % 2 && g.first == tile);
    }
}

/* ---- times ---- */

static struct {
    struct own_plans list;
    struct own_plan_work work, own[OWN_PLANS_MAX];
} timed;

static int together(void *arg, int step)
{
    (void)arg, (void)step;
    return own_plans_make(&timed.list, &timed.work, cb_device_stream(arena.d)) ? -1 : 0;
}

static int apart(void *arg, int step)
{
    (void)arg, (void)step;
    for (int i = 0; i < timed.list.count; i++)
        if (own_plan_make(&timed.list.source[i], &timed.list.plan[i], &timed.own[i],
                          cb_device_stream(arena.d)))
            return -1;
    return 0;
}

static void time_one(const char *name, cb_enqueue_fn *work)
{
    struct cb_graph *graph;
    struct cb_window w = { 0 };
    double least = 1e9;
    CHECK(!work(NULL, 0) && !cb_sync(arena.d));
    CHECK(!cb_graph_make(arena.d, work, NULL, 1, &graph) && graph);
    for (int i = 0; graph && i < 20; i++) {
        CHECK(!cb_graph_window(arena.d, graph, false, &w));
        least = w.us < least ? w.us : least;
    }
    printf("%d plans, %s: %7.1f us, %d launches and fills\n", timed.list.count, name, least,
           graph ? cb_graph_nodes(arena.d, graph) : 0);
    cb_graph_free(arena.d, graph);
}

static void time_scan(int voxels)
{
    static const int share[] = { 100, 73, 44, 23, 10 }; /* voxels of the levels, % */
    struct map map[OWN_PLANS_MAX];
    int count = 0;
    for (int l = 0; l < 5; l++) {
        const int n = voxels * share[l] / 100 + 1, coarse = voxels * share[l < 4 ? l + 1 : l] / 100;
        map[count++] = random_map(n, n, 27, 1, 5 + (uint64_t)l);
        if (l < 4) {
            map[count++] = random_map(coarse + 1, coarse + 1, 8, 1, 15 + (uint64_t)l);
            map[count++] = random_map(n, n, 8, 1, 25 + (uint64_t)l);
        }
    }
    open_list(&timed.list, map, count);
    CHECK(own_plans_open(own_plans_tiles(&timed.list), &memory, &timed.work) == OP_OK);
    for (int i = 0; i < count; i++) {
        struct own_plan plan;
        CHECK(own_plan_open(map[i].room, map[i].taps, 1, &timed.list.plan[i].cut, &memory,
                            cb_device_stream(arena.d), &plan, &timed.own[i]) == OP_OK);
    }
    printf("%d voxels: ", voxels);
    time_one("together", together);
    printf("%d voxels: ", voxels);
    time_one("one after the other", apart);
    for (int i = 0; i < count; i++)
        free(map[i].table);
    drop();
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    if (cb_device_open("cuda:0", &arena.d)) {
        SKIP("gpu_own_plans: no GPU");
        return TEST_END();
    }
    for (int round = 0; round < (test_tiny() ? 3 : 20); round++)
        try_list(round);
    try_too_long();
    if (argc > 1 && !strcmp(argv[1], "times")) {
        time_scan(300);
        time_scan(95000);
    }
    cb_device_close(arena.d);
#else
    (void)argc, (void)argv;
    SKIP("gpu_own_plans: built without CUDA");
#endif
    return TEST_END();
}

/*
 * test_flatten.c - orders, ranks and groups against a walk over all cells: every window size, both
 * axes, both shifts, both paths; places against keys; groups of awkward sizes; faults found.
 */
#include <stdlib.h>

#include "../kernels/flatten/flatten.h"
#include "../kernels/flatten/place.h"
#include "test.h"

enum { SIDE_MAX = 64 };

struct buffers {
    struct flatten_cell in[SIDE_MAX * SIDE_MAX];
    int32_t slot[FLATTEN_ORDERS * 2 * SIDE_MAX * SIDE_MAX], rank[FLATTEN_ORDERS * SIDE_MAX * SIDE_MAX];
    int32_t slot2[FLATTEN_ORDERS * 2 * SIDE_MAX * SIDE_MAX], rank2[FLATTEN_ORDERS * SIDE_MAX * SIDE_MAX];
    int row_at[SIDE_MAX][SIDE_MAX]; /* [y][x], -1: empty */
};

static uint32_t noise(uint32_t i)
{
    i = (i ^ 61u ^ i >> 16) * 9u;
    i = (i ^ i >> 4) * 0x27d4eb2du;
    return i ^ i >> 15;
}

/* Every keep-th cell or so, in shuffled rows; at least one. */
static void fill(struct buffers *t, struct flatten_problem *p, uint32_t keep, uint32_t seed)
{
    p->n = 0;
    for (int y = 0; y < p->side; y++)
        for (int x = 0; x < p->side; x++)
            if (noise(seed + (uint32_t)(y * p->side + x)) % keep == 0 || (!p->n && y == p->side - 1 && x == p->side - 1))
                t->in[p->n++] = (struct flatten_cell){ x, y };
    for (int i = p->n - 1; i > 0; i--) {
        const int j = (int)(noise(seed * 31u + (uint32_t)i) % (uint32_t)(i + 1));
        const struct flatten_cell c = t->in[i];
        t->in[i] = t->in[j];
        t->in[j] = c;
    }
    for (int y = 0; y < p->side; y++)
        for (int x = 0; x < p->side; x++)
            t->row_at[y][x] = -1;
    for (int i = 0; i < p->n; i++)
        t->row_at[t->in[i].y][t->in[i].x] = i;
}

/* Visits windows and cells in the order drawn in flatten.h; returns the rows met. */
static int walk(const struct buffers *t, const struct flatten_problem *p, int order, int32_t *met)
{
    const int w = p->window, across = (p->side + w - 1) / w + 1, shift = order % 2 ? w / 2 : 0;
    const int snake = p->path == FLATTEN_SERPENTINE;
    int n = 0;
    for (int b1 = 0; b1 < across; b1++)
        for (int k = 0; k < across; k++) {
            const int odd = snake && b1 % 2, a1 = odd ? across - 1 - k : k;
            for (int c = 0; c < w; c++)
                for (int r = 0; r < w; r++) {
                    const int a2 = odd ? w - 1 - c : c;
                    const int down = odd ? !(a2 % 2 == 1) : !(snake && a2 % 2 == 1);
                    /* on odd window rows the whole inside is met backwards */
                    const int b2 = odd ? (down ? w - 1 - r : r) : (down ? r : w - 1 - r);
                    const int a = a1 * w + a2 - shift, b = b1 * w + b2 - shift;
                    if (a < 0 || b < 0 || a >= p->side || b >= p->side)
                        continue;
                    const int row = order / 2 ? t->row_at[a][b] : t->row_at[b][a];
                    if (row >= 0)
                        met[n++] = row;
                }
        }
    return n;
}

static void try_problem(struct buffers *t, const struct flatten_problem *p)
{
    static int32_t met[SIDE_MAX * SIDE_MAX];
    const struct flatten_args a = { t->in, t->slot, t->rank };
    const int slots = flatten_slots(p), group = flatten_group(p);
    const struct flatten_grid g = flatten_grid_of(p);
    int wrong = 0, unordered = 0, outside = 0, queries = 0;
    memset(t->slot, 0xff, sizeof t->slot);
    memset(t->rank, 0xff, sizeof t->rank);
    CHECK(flatten_reference(p, &a, NULL, NULL) == OP_OK);
    CHECK(slots % group == 0 && slots >= p->n && slots - p->n < group);
    for (int o = 0; o < FLATTEN_ORDERS; o++) {
        const int32_t *slot = t->slot + (size_t)o * (size_t)slots;
        const int32_t *rank = t->rank + (size_t)o * (size_t)p->n;
        CHECK(walk(t, p, o, met) == p->n);
        for (int k = 0; k < p->n; k++) {
            wrong += slot[k] != met[k] || rank[met[k]] != k;
            const uint32_t place = flatten_place(&g, o, t->in[slot[k]]);
            outside += place >= (uint32_t)g.words * 32u;
            unordered += k && flatten_place(&g, o, t->in[slot[k - 1]]) >= place;
        }
        for (int k = p->n; k < slots; k++)
            wrong += slot[k] != met[k - group];
        for (int i = 0; i < p->n; i++)
            queries += rank[i] >= 0 && rank[i] < p->n && slot[rank[i]] == i;
    }
    CHECK(!wrong && !unordered && !outside);
    CHECK(queries == FLATTEN_ORDERS * p->n);
    if (wrong)
        printf("  n %d side %d window %d group %d path %d: %d wrong\n", p->n, p->side, p->window, p->group, (int)p->path,
               wrong);
}

static void every_window(struct buffers *t)
{
    static const int sides[] = { 1, 2, 5, 23, 40 }, groups[] = { 1, 2, 7, 69, 144, 4000 };
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int w = 1; w <= sides[s]; w++)
            for (int path = 0; path < 2; path++)
                for (uint32_t keep = 1; keep <= 25; keep += 8) {
                    struct flatten_problem p = { .side = sides[s], .window = w, .path = path,
                                                 .group = groups[(size_t)(w + path) % 6] };
                    fill(t, &p, keep, (uint32_t)w * 7u + keep);
                    try_problem(t, &p);
                }
}

/* n around multiples of the group, and below it. */
static void every_rest(struct buffers *t)
{
    struct flatten_problem p = { .side = 30, .window = 9, .group = 69 };
    fill(t, &p, 1, 5);
    static const int counts[] = { 1, 2, 68, 69, 70, 137, 138, 139, 900 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        p.n = counts[i];
        for (int y = 0; y < p.side; y++)
            for (int x = 0; x < p.side; x++)
                if (t->row_at[y][x] >= p.n)
                    t->row_at[y][x] = -1;
        try_problem(t, &p);
        fill(t, &p, 1, 5);
    }
}

/* The division by a multiplication, and places against keys, on the grid that is measured. */
static void measured_grid(void)
{
    static const int windows[] = { 5, 7, 9, 11, 12, 13, 15, 16 };
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        const struct flatten_problem p = { .n = 1, .side = 468, .window = windows[i], .group = 69 };
        const struct flatten_grid g = flatten_grid_of(&p);
        const size_t places = (size_t)g.words * 32;
        int64_t *key = malloc(places * sizeof *key), last = -1, most = 0;
        int bad = 0;
        CHECK(key && flatten_grid_fits(&p));
        if (!key)
            return;
        for (int a = 0; a < p.side + p.window; a++)
            bad += (int)((uint32_t)a * g.reciprocal >> 20) != a / p.window;
        CHECK(!bad);
        for (int o = 0; o < FLATTEN_ORDERS; o++) {
            int twice = 0, descents = 0;
            memset(key, 0xff, places * sizeof *key);
            for (int y = 0; y < p.side; y++)
                for (int x = 0; x < p.side; x++) {
                    const struct flatten_cell c = { x, y };
                    int64_t *k = &key[flatten_place(&g, o, c)];
                    twice += *k >= 0;
                    *k = flatten_key(&p, o, c);
                    most = *k > most ? *k : most;
                }
            last = -1;
            for (size_t k = 0; k < places; k++)
                if (key[k] >= 0) {
                    descents += key[k] <= last;
                    last = key[k];
                }
            CHECK(!twice && !descents);
        }
        CHECK(most < 1 << 21);
        /* largest keys as enumerated from the published code */
        CHECK(windows[i] != 9 || most == 1802790);
        CHECK(windows[i] != 12 || most == 1796976);
        CHECK(windows[i] != 13 || most == 1825330);
        free(key);
    }
}

static void bad_problems(struct buffers *t)
{
    const struct flatten_args a = { t->in, t->slot, t->rank };
    struct flatten_problem p = { .n = 3, .side = 10, .window = 4, .group = 2 };
    t->in[0] = (struct flatten_cell){ 1, 1 };
    t->in[1] = (struct flatten_cell){ 2, 1 };
    t->in[2] = (struct flatten_cell){ 9, 9 };
    CHECK(flatten_reference(&p, &a, NULL, NULL) == OP_OK);
    t->in[2].x = 10;
    CHECK(flatten_reference(&p, &a, NULL, NULL) == OP_EINVAL);
    t->in[2] = t->in[0];
    CHECK(flatten_reference(&p, &a, NULL, NULL) == OP_EINVAL);
    p.window = 11;
    CHECK(flatten_check(&p) == OP_EINVAL);
    p = (struct flatten_problem){ .n = 1, .side = 2000, .window = 4, .group = 2 };
    CHECK(flatten_check(&p) == OP_EINVAL);
}

/* A wrong entry anywhere is counted. */
static void faults(struct buffers *t)
{
    struct flatten_problem p = { .side = 30, .window = 9, .group = 69 };
    fill(t, &p, 3, 1);
    struct flatten_args a = { t->in, t->slot, t->rank }, b = { t->in, t->slot2, t->rank2 };
    const size_t slots = (size_t)flatten_slots(&p) * FLATTEN_ORDERS, ranks = (size_t)p.n * FLATTEN_ORDERS;
    CHECK(!flatten_reference(&p, &a, NULL, NULL) && !flatten_reference(&p, &b, NULL, NULL));
    CHECK(flatten_compare(&p, &a, &b) == 0);
    int32_t *const at[] = { t->slot2, t->slot2 + slots - 1, t->rank2, t->rank2 + ranks - 1 };
    for (int i = 0; i < 4; i++) {
        *at[i] += 1;
        CHECK(flatten_compare(&p, &a, &b) == 1);
        *at[i] -= 1;
    }
    t->rank2[0] += 1;
    b.rank = NULL;
    CHECK(flatten_compare(&p, &a, &b) == 0);
    p.window = 8; /* another window gives other orders */
    b.rank = t->rank2;
    CHECK(!flatten_reference(&p, &b, NULL, NULL));
    CHECK(flatten_compare(&p, &a, &b) > p.n);
}

int main(void)
{
    struct buffers *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    if (!t)
        return TEST_END();
    every_window(t);
    every_rest(t);
    measured_grid();
    bad_problems(t);
    faults(t);
    free(t);
    return TEST_END();
}

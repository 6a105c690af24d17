/*
 * test_spconv.c - the reference of sparse convolution against loops over pairs, its passes
 * against each other; orders and lists of rows against what they promise; forms of the own layer.
 */
#include <stdbool.h>

#include "../baselines/spconv_groups.h"
#include "../kernels/common/half.h"
#include "../kernels/spconv/own_layer.h"
#include "../kernels/spconv/plan.h"
#include "spconv_scene.h"
#include "test.h"

/* ---- the reference ---- */

static float *small_integers(size_t n)
{
    float *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(scene_below(5) - 2);
    return v;
}

static void *halves(const float *v, size_t n)
{
    half_bits *h = malloc((n + 1) * sizeof *h);
    for (size_t i = 0; i < n; i++)
        h[i] = half_from_float(v[i]);
    return h;
}

/* Adds every pair's products to the result of a pass. */
static void by_pairs(const struct spconv_problem *p, const struct scene_map *m, const float *x,
                     const float *w, const float *g, double *y)
{
    for (int d = 0; d < p->taps; d++)
        for (int e = m->start[d]; e < m->start[d + 1]; e++)
            for (int i = 0; i < p->cin; i++)
                for (int c = 0; c < p->cout; c++) {
                    const size_t wi = ((size_t)d * p->cin + i) * p->cout + c;
                    const size_t xi = (size_t)m->pair_in[e] * p->cin + i;
                    const size_t gi = (size_t)m->pair_out[e] * p->cout + c;
                    switch (p->pass) {
                    case SPCONV_FORWARD: y[gi] += x[xi] * w[wi]; break;
                    case SPCONV_DGRAD: y[xi] += g[gi] * w[wi]; break;
                    case SPCONV_WGRAD: y[wi] += x[xi] * g[gi]; break;
                    }
                }
}

static double dot(const double *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* All passes of a layer; <Y, G> = <X, DX> = <W, DW> binds them together. */
static void try_passes(const struct scene_map *m, int cin, int cout, enum spconv_dtype dtype)
{
    const size_t nx = (size_t)m->in * cin, nw = (size_t)m->taps * cin * cout;
    const size_t ng = (size_t)m->out * cout;
    float *x = small_integers(nx), *w = small_integers(nw), *g = small_integers(ng);
    void *stored[3] = { x, w, g };
    double adjoint[3] = { 0 };
    if (dtype == SPCONV_F16) {
        stored[0] = halves(x, nx);
        stored[1] = halves(w, nw);
        stored[2] = halves(g, ng);
    }
    for (int pass = 0; pass < 3; pass++) {
        const struct spconv_problem p = { m->in, m->out, cin, cout, m->taps, m->pairs, m->same,
                                          (enum spconv_pass)pass, dtype };
        const struct spconv_size size = spconv_result(&p);
        const size_t n = (size_t)(size.rows * size.columns);
        double *want = calloc(n, sizeof *want), *got = malloc(n * sizeof *got);
        float *bound = malloc(n * sizeof *bound), *loose = malloc(n * sizeof *loose);
        float *y = malloc(n * sizeof *y);
        struct spconv_args a = { { m->by_out, m->by_in, m->start, m->pair_in, m->pair_out },
                                 stored[0], stored[1], stored[2], y };
        long differ = 0, narrow = 0;
        by_pairs(&p, m, x, w, g, want);
        CHECK(spconv_ref(&p, &a, got, bound, loose) == OP_OK);
        CHECK(spconv_references[0].run(&p, &a, NULL, NULL) == OP_OK);
        const bool half_out = dtype == SPCONV_F16 && pass != SPCONV_WGRAD;
        for (size_t i = 0; i < n; i++) {
            const double stored_y = half_out ? half_to_float(((half_bits *)(void *)y)[i]) : y[i];
            differ += got[i] != want[i] || stored_y != want[i];
            narrow += !(bound[i] >= 0 && loose[i] >= bound[i]);
        }
        CHECK(differ == 0 && narrow == 0);
        adjoint[pass] = dot(got, pass == SPCONV_FORWARD ? g : pass == SPCONV_DGRAD ? x : w, n);
        free(want);
        free(got);
        free(bound);
        free(loose);
        free(y);
    }
    CHECK(adjoint[0] == adjoint[1] && adjoint[0] == adjoint[2]);
    if (dtype == SPCONV_F16)
        for (int i = 0; i < 3; i++)
            free(stored[i]);
    free(x);
    free(w);
    free(g);
}

/* ---- orders ---- */

/* Rows of a range are all rows, each once, padding last, with their masks. */
static void check_rows(const struct spconv_plan *plan, const struct spconv_table *t)
{
    const int rows = plan->tiles * SPCONV_TILE;
    char *seen = malloc((size_t)t->rows);
    for (int s = 0; s < plan->splits; s++) {
        long wrong = 0;
        memset(seen, 0, (size_t)t->rows);
        for (int i = 0; i < rows; i++) {
            const int32_t row = plan->row[(size_t)s * rows + i];
            uint32_t mask = 0;
            for (int d = 0; row >= 0 && d < plan->taps && s * plan->taps + d < t->taps; d++)
                if (t->partner[(size_t)row * t->taps + s * plan->taps + d] >= 0)
                    mask |= 1u << d;
            wrong += mask != plan->mask[(size_t)s * rows + i];
            wrong += i < t->rows ? row < 0 || seen[row]++ : row != -1;
        }
        CHECK(wrong == 0);
    }
    free(seen);
}

/* Both forms of the index hold the table's partners, and -1 elsewhere. */
static void check_index(const struct spconv_plan *plan, const struct spconv_table *t)
{
    const size_t all = (size_t)plan->splits * plan->tiles * SPCONV_TILE;
    int32_t *by_row = malloc(all * plan->taps * 4), *by_tile = malloc(all * plan->taps * 4);
    long wrong = 0;
    spconv_plan_index(plan, t, by_row, by_tile);
    for (size_t i = 0; i < all; i++)
        for (int d = 0; d < plan->taps; d++) {
            const int tap = (int)(i / ((size_t)plan->tiles * SPCONV_TILE)) * plan->taps + d;
            const int32_t want = plan->row[i] < 0 || tap >= t->taps
                                     ? -1
                                     : t->partner[(size_t)plan->row[i] * t->taps + tap];
            wrong += by_row[i * plan->taps + d] != want;
            wrong += by_tile[(i / SPCONV_TILE * plan->taps + d) * SPCONV_TILE + i % SPCONV_TILE] !=
                     want;
        }
    CHECK(wrong == 0);
    free(by_row);
    free(by_tile);
}

/* Walking the slices of a tile meets those that hold a channel of a tap that is there. */
static void check_slices(const struct spconv_plan *plan, int channels)
{
    const int slices = spconv_slices(channels, plan->taps);
    long wrong = 0;
    for (int t = 0; t < plan->splits * plan->tiles; t++) {
        const uint32_t present = spconv_plan_mask(plan, t / plan->tiles,
                                                  t % plan->tiles * SPCONV_TILE, SPCONV_TILE);
        int at = spconv_slice_from(0, present, channels, plan->taps);
        for (int slice = 0; slice < slices; slice++) {
            bool there = false;
            for (int k = slice * SPCONV_SLICE; k < (slice + 1) * SPCONV_SLICE; k++)
                there |= k / channels < plan->taps && present >> k / channels & 1;
            wrong += there != (at == slice);
            if (at == slice)
                at = spconv_slice_from(slice + 1, present, channels, plan->taps);
        }
        wrong += at != slices;
    }
    CHECK(wrong == 0);
}

static void try_plans(const struct scene_map *m)
{
    const struct spconv_table t = { m->by_out, m->out, m->taps };
    static const int channels[] = { 4, 6, 16, 48, 64, 96, 192 };
    for (int splits = 1; splits <= 4; splits++) {
        double slots[3];
        for (int key = SPCONV_AS_IS; key <= SPCONV_BY_GRAY; key++) {
            struct spconv_plan plan;
            CHECK(spconv_plan_make(&t, splits, (enum spconv_key)key, &plan) == OP_OK);
            check_rows(&plan, &t);
            check_index(&plan, &t);
            for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
                check_slices(&plan, channels[c]);
            slots[key] = spconv_plan_slots(&plan, 64);
            CHECK(slots[key] >= (double)m->pairs);
            CHECK(spconv_plan_slots(&plan, 128) >= slots[key]);
            CHECK(spconv_plan_slots(&plan, 1) == (double)m->pairs);
            spconv_plan_free(&plan);
        }
        if (m->out > 1000 && m->same)
            CHECK(slots[SPCONV_BY_GRAY] < slots[SPCONV_BY_MASK] &&
                  slots[SPCONV_BY_MASK] < slots[SPCONV_AS_IS]);
    }
}

static void try_refusals(const struct scene_map *m)
{
    const struct spconv_table t = { m->by_out, m->out, m->taps }, none = { m->by_out, 0, m->taps };
    struct spconv_plan plan;
    CHECK(spconv_plan_make(&none, 1, SPCONV_BY_MASK, &plan) == OP_EINVAL);
    CHECK(spconv_plan_make(&t, 0, SPCONV_BY_MASK, &plan) == OP_EINVAL);
    CHECK(spconv_plan_make(&t, 5, SPCONV_BY_MASK, &plan) == OP_EINVAL);
    spconv_plan_free(&plan);
    for (int pass = 0; pass < 3; pass++)
        for (const struct spconv_impl *i = spconv_kernels; i->base.name; i++) {
            const struct spconv_problem odd = { 9, 9, 7, 5, 1, 9, 0, (enum spconv_pass)pass,
                                                SPCONV_F16 };
            const char *why = NULL;
            CHECK(spconv_find(i->base.name) == i);
            CHECK(i->supports(&odd, &why) == OP_OK || (why && *why));
        }
    CHECK(!spconv_find("none"));
    const struct spconv_problem empty = { 0, 9, 7, 5, 1, 9, 0, SPCONV_FORWARD, SPCONV_F16 };
    CHECK(spconv_ref(&empty, NULL, NULL, NULL, NULL) == OP_EINVAL);
}

/* ---- forms of this suite's own ---- */

/* Never more ranges than taps, one where there are few rows, two for wide layers of many. */
static void try_choices(void)
{
    for (int taps = 1; taps <= SPCONV_TAPS_MAX; taps++)
        for (int rows = 1; rows < 1 << 20; rows *= 3)
            for (int c = 16; c <= 512; c *= 2) {
                const struct own_choice choice = own_choose(rows, c > 64, taps, c, c);
                CHECK(choice.splits >= 1 && choice.splits <= taps);
                CHECK(choice.most >= 0 && choice.most <= OWN_WHOLE);
                CHECK(rows > 10000 || choice.splits == 1);
            }
    CHECK(own_choose(95000, 0, 27, 64, 64).most == 12);
    CHECK(own_choose(42000, 0, 27, 128, 128).most == OWN_WHOLE);
    CHECK(own_choose(21000, 0, 27, 256, 256).splits == 2);
    CHECK(own_choose(42000, 0, 8, 128, 128).splits == 1);
    CHECK(own_choose(9500, 1, 8, 256, 256).most == OWN_WHOLE);
    CHECK(own_choose(9500, 0, 8, 256, 256).most == 0);
    CHECK(own_choose(300, 0, 27, 256, 256).shape == OWN_SHARES);
    CHECK(own_choose(300, 0, 27, 32, 32).most == 4);
}

/* ---- grouping of taps ---- */

/* Groups of a setting hold every tap but the middle once, in rows of their own, within its limits. */
static void check_groups(const int32_t *start, int setting)
{
    enum { TAPS = 27, MIDDLE = 13 };
    const double epsilon = setting > 1 ? (setting - 2) / 9 * .1 : 0;
    const int threshold = setting > 1 ? 5000 + (setting - 2) % 9 * 2500 : 0;
    struct spconv_groups g;
    long rows = 0;
    int met = 0;
    spconv_groups_make(TAPS, start, MIDDLE, setting, &g);
    for (int i = 0; i < g.groups; i++) {
        int least = 1 << 30, most = 0;
        for (int k = g.group[i].first; k < g.group[i].first + g.group[i].count; k++) {
            const int d = g.taps[k], n = start[d + 1] - start[d];
            least = n < least ? n : least;
            most = n > most ? n : most;
            CHECK(d != MIDDLE && n > 0 && g.base[d] == rows && !(met >> d & 1));
            rows += g.group[i].batched ? g.group[i].rows : n;
            met |= 1 << d;
        }
        CHECK(g.group[i].rows == most && 1 - (double)least / most <= epsilon + 1e-6);
        CHECK(!g.group[i].batched || (g.group[i].count > 1 && most < threshold));
    }
    for (int d = 0; d < TAPS; d++)
        CHECK((met >> d & 1) == (d != MIDDLE && start[d + 1] > start[d]));
    CHECK(g.rows == rows);
}

static int different_settings(const int32_t *start)
{
    const struct spconv_problem p = { .taps = 27, .same = 1 };
    const struct spconv_map m = { .start = start };
    int different = 0;
    for (int a = 1; a <= SPCONV_GROUPINGS; a++) {
        int known = 0;
        for (int b = 1; b < a; b++) {
            CHECK(spconv_groups_same(&p, &m, a, b) == spconv_groups_same(&p, &m, b, a));
            known |= spconv_groups_same(&p, &m, a, b);
        }
        CHECK(spconv_groups_same(&p, &m, a, a));
        different += !known;
    }
    CHECK(spconv_groups_same(&p, &m, 0, SPCONV_GROUPING_MIDDLE));
    return different;
}

static void try_groups(void)
{
    static const int scan[14] = { 5515, 6940, 5374, 8586, 10336, 8551, 5009,
                                  6882, 5216, 39316, 49120, 39211, 51142, 194308 };
    int32_t start[28] = { 0 }, even[28] = { 0 };
    for (int d = 0; d < 27; d++) {
        start[d + 1] = start[d] + (d == 5 ? 0 : scan[d < 14 ? d : 26 - d]);
        even[d + 1] = even[d] + 100;
    }
    for (int setting = 0; setting <= SPCONV_GROUPINGS; setting++) {
        check_groups(start, setting);
        check_groups(even, setting);
    }
    CHECK(different_settings(even) == 2); /* all taps together, or each alone */
    const int n = different_settings(start);
    CHECK(n > 5 && n < 40);
}

int main(void)
{
    static const struct {
        int n, kernel, cin, cout;
    } layer[] = { { 1, 3, 3, 2 }, { 60, 3, 5, 4 }, { 300, 2, 4, 7 }, { 200, 3, 8, 8 } };
    for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
        int n = layer[i].n;
        struct scene_voxel *v = scene_surface(&n);
        struct scene_map m = scene_map_make(v, n, layer[i].kernel);
        for (int dtype = 0; dtype < 3; dtype++)
            try_passes(&m, layer[i].cin, layer[i].cout, (enum spconv_dtype)dtype);
        try_plans(&m);
        scene_map_free(&m);
        free(v);
    }
    int n = 3000;
    struct scene_voxel *v = scene_surface(&n);
    struct scene_map m = scene_map_make(v, n, 3);
    try_plans(&m);
    try_refusals(&m);
    try_choices();
    scene_map_free(&m);
    free(v);
    try_groups();
    return TEST_END();
}

/* plan.c - the maps of the networks, their references, and the comparison with a builder's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/radix.h"
#include "build.h"

int kmap_padded(int n)
{
    return (n + KMAP_PAD - 1) / KMAP_PAD * KMAP_PAD;
}

int kmap_step_rows(const struct kmap_plan *p, int step)
{
    const struct kmap_step *s = &p->step[step];
    return kmap_padded(p->cap[s->transpose ? s->from : s->to]);
}

/* ---- plans ---- */

/* Outputs of a level that a plan has room for: none of the rules gives more on street scenes than
 * twice the inputs, and none ever more than there are cells. */
static int room(const struct kmap_shape *s, int n)
{
    int out[3];
    kmap_out_size(s, out);
    const double cells = (double)s->batch * out[0] * out[1] * out[2];
    const double most = s->rule == KMAP_SPCONV ? 2.0 * n + 1024 : n;
    const double cap = most < cells ? most : cells;
    return cap > 1 << 27 ? 1 << 27 : (int)cap;
}

static void add(struct kmap_plan *p, const struct kmap_shape *s, int from, int to)
{
    p->step[p->steps++] = (struct kmap_step){ .shape = *s, .from = from, .to = to };
    if (to == from)
        return;
    p->levels = to + 1;
    p->cap[to] = room(s, p->cap[from]);
    kmap_out_size(s, p->size[to]);
}

static enum op_status begin(const int size[3], int batch, int n_in, bool sorted,
                            struct kmap_plan *p)
{
    *p = (struct kmap_plan){ .levels = 1, .n_in = n_in, .sorted = sorted, .cap = { n_in },
                             .batch = batch };
    memcpy(p->size[0], size, sizeof p->size[0]);
    if (n_in < 1 || n_in > 1 << 26)
        return OP_EINVAL;
    const struct kmap_shape s = kmap_same(1, size, batch);
    return kmap_shape_check(&s);
}

enum op_status kmap_plan_single(const struct kmap_shape *s, int n_in, bool sorted,
                                struct kmap_plan *p)
{
    enum op_status status = begin(s->size, s->batch, n_in, sorted, p);
    if (!status)
        status = kmap_shape_check(s);
    if (!status)
        add(p, s, 0, s->rule == KMAP_SAME ? 0 : 1);
    return status;
}

enum op_status kmap_plan_minkunet(const int size[3], int batch, int n_in, bool sorted, bool inverse,
                                  struct kmap_plan *p)
{
    enum op_status status = begin(size, batch, n_in, sorted, p);
    for (int l = 0; !status && l < 5; l++) {
        const struct kmap_shape same = kmap_same(3, p->size[l], batch);
        const struct kmap_shape half = kmap_half(p->size[l], batch);
        add(p, &same, l, l);
        if (l < 4)
            add(p, &half, l, l + 1);
    }
    for (int i = 0, n = p->steps; !status && inverse && i < n; i++)
        if (p->step[i].from != p->step[i].to) {
            p->step[p->steps] = p->step[i];
            p->step[p->steps++].transpose = true;
        }
    return status;
}

enum op_status kmap_plan_centerpoint(const int size[3], int batch, int n_in, struct kmap_plan *p)
{
    enum op_status status = begin(size, batch, n_in, false, p);
    for (int l = 0; !status && l < 4; l++) {
        const struct kmap_shape same = kmap_same(3, p->size[l], batch);
        struct kmap_shape down = same;
        down.rule = KMAP_SPCONV;
        down.stride[0] = down.stride[1] = down.stride[2] = 2;
        if (l == 2)
            down.pad[1] = 0;
        if (l == 3) {
            down.kernel[0] = down.kernel[2] = down.stride[0] = down.stride[2] = 1;
            down.pad[0] = down.pad[1] = down.pad[2] = 0;
        }
        status = kmap_shape_check(&down);
        if (!status) {
            add(p, &same, l, l);
            add(p, &down, l, l + 1);
        }
    }
    return status;
}

/* ---- reference ---- */

void kmap_host_net_free(struct kmap_host_net *net)
{
    for (int i = 0; i < KMAP_STEPS_MAX; i++)
        kmap_host_free(&net->map[i]);
    *net = (struct kmap_host_net){ 0 };
}

static int step_between(const struct kmap_plan *p, int from, int to)
{
    int i = 0;
    while (p->step[i].transpose || p->step[i].from != from || p->step[i].to != to)
        i++;
    return i;
}

enum op_status kmap_host_net(const struct kmap_plan *p, const struct kmap_coord *in,
                             struct kmap_host_net *net)
{
    enum op_status status = OP_OK;
    *net = (struct kmap_host_net){ .coord = { in }, .n = { p->n_in } };
    for (int i = 0; !status && i < p->steps; i++) {
        const struct kmap_step *s = &p->step[i];
        if (s->transpose) {
            const int of = step_between(p, s->from, s->to);
            status = kmap_host_transpose(&net->map[of].map, &net->map[i]);
            continue;
        }
        status = kmap_host_build(&s->shape, net->coord[s->from], net->n[s->from], &net->map[i]);
        if (!status && s->to != s->from) {
            net->coord[s->to] = net->map[i].map.out_coord;
            net->n[s->to] = net->map[i].map.n_out;
        }
    }
    if (status)
        kmap_host_net_free(net);
    return status;
}

/* ---- comparison ---- */

/* Numbers of coordinates below these ends; ~0: not below them. */
static uint64_t key_below(const struct kmap_coord *end, const struct kmap_coord *c)
{
    const int inside = c->b >= 0 && c->b < end->b && c->x >= 0 && c->x < end->x && c->y >= 0 &&
                       c->y < end->y && c->z >= 0 && c->z < end->z;
    return inside ? (((uint64_t)c->b * (uint64_t)end->x + (uint64_t)c->x) * (uint64_t)end->y +
                     (uint64_t)c->y) * (uint64_t)end->z + (uint64_t)c->z
                  : ~(uint64_t)0;
}

static struct kmap_coord end_of(const struct kmap_coord *c, int n)
{
    struct kmap_coord end = { 1, 1, 1, 1 };
    for (int i = 0; i < n; i++) {
        end.b = c[i].b < end.b ? end.b : c[i].b + 1;
        end.x = c[i].x < end.x ? end.x : c[i].x + 1;
        end.y = c[i].y < end.y ? end.y : c[i].y + 1;
        end.z = c[i].z < end.z ? end.z : c[i].z + 1;
    }
    return end;
}

static int row_of(const struct keyed *e, int n, uint64_t key)
{
    int low = 0, high = n;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (e[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && e[low].key == key ? e[low].row : -1;
}

struct comparison {
    long wrong;
    char *text;
    size_t size;
};

static void differ(struct comparison *c, const char *what, int number, long row, long got,
                   long want)
{
    if (!c->wrong++ && c->size)
        snprintf(c->text, c->size, "%s %d, row %ld: %ld, not %ld", what, number, row, got, want);
}

/* Row of the reference for every row of a builder's level; NULL: no memory. */
static int *match_level(struct comparison *c, int level, const struct kmap_coord *want, int n,
                        const struct kmap_coord *got, int got_n)
{
    int *row = malloc(((size_t)got_n + 1) * sizeof *row);
    struct keyed *a = malloc(((size_t)n + 1) * sizeof *a);
    const struct kmap_coord end = end_of(want, n);
    for (int i = 0; a && i < n; i++)
        a[i] = (struct keyed){ key_below(&end, &want[i]), i };
    if (!a || !row || radix_sort(a, (size_t)n)) {
        free(a);
        free(row);
        return NULL;
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < got_n; i++)
        row[i] = row_of(a, n, key_below(&end, &got[i]));
    for (int i = 0; i < got_n; i++)
        if (row[i] < 0)
            differ(c, "coordinates of level", level, i, got[i].x, -1);
    free(a);
    return row;
}

/* No two rows of a builder's level may be the same voxel. */
static void check_unique(struct comparison *c, int level, const int *row, int n)
{
    unsigned char *seen = calloc((size_t)n + 1, 1);
    for (int i = 0; seen && i < n; i++) {
        if (row[i] >= 0 && row[i] < n && seen[row[i]]++)
            differ(c, "voxel twice in level", level, i, row[i], -1);
    }
    free(seen);
}

static void compare_row(struct comparison *c, const struct kmap_step *s, int step, int k,
                        const struct kmap *want, const struct kmap_result *got,
                        int *const match[KMAP_LEVELS_MAX], const int n[KMAP_LEVELS_MAX])
{
    const int out = s->transpose ? s->from : s->to, in = s->transpose ? s->to : s->from;
    const int taps = want->taps;
    uint32_t mask = 0;
    for (int d = 0; d < taps; d++) {
        const int j = got->table[step][(size_t)k * (size_t)taps + (size_t)d];
        const int w = k < n[out] && match[out][k] >= 0
                          ? want->table.index[(size_t)match[out][k] * (size_t)taps + (size_t)d]
                          : -1;
        const int mine = j < 0 ? j : j < n[in] ? match[in][j] : -2;
        if (mine != w)
            differ(c, "table of step", step, k, j, w);
        mask |= (uint32_t)(w >= 0) << d;
    }
    if (got->mask[step] && got->mask[step][k] != mask)
        differ(c, "mask of step", step, k, got->mask[step][k], mask);
}

/* Counted by all threads, and where anything differs again in order, for the text. */
static void compare_step(struct comparison *c, const struct kmap_plan *p, int step,
                         const struct kmap *want, const struct kmap_result *got,
                         int *const match[KMAP_LEVELS_MAX], const int n[KMAP_LEVELS_MAX])
{
    const struct kmap_step *s = &p->step[step];
    const int rows = kmap_padded(n[s->transpose ? s->from : s->to]);
    long wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong)
    for (int k = 0; k < rows; k++) {
        struct comparison here = { 0 };
        compare_row(&here, s, step, k, want, got, match, n);
        wrong += here.wrong;
    }
    for (int k = 0; wrong && k < rows; k++)
        compare_row(c, s, step, k, want, got, match, n);
}

long kmap_compare(const struct kmap_plan *p, const struct kmap_host_net *want,
                  const struct kmap_result *got, char *text, size_t size)
{
    struct comparison c = { .text = text, .size = size };
    int *match[KMAP_LEVELS_MAX] = { 0 }, n[KMAP_LEVELS_MAX] = { 0 };
    if (size)
        *text = 0;
    for (int l = 0; l < p->levels; l++) {
        n[l] = got->count[l];
        if (n[l] != want->n[l])
            differ(&c, "rows of level", l, 0, n[l], want->n[l]);
        if (n[l] != want->n[l])
            goto done;
    }
    for (int l = 0; l < p->levels; l++) {
        match[l] = match_level(&c, l, want->coord[l], want->n[l], got->coord[l], n[l]);
        if (!match[l]) {
            c.wrong = -1;
            goto done;
        }
        check_unique(&c, l, match[l], n[l]);
    }
    for (int i = 0; i < n[0]; i++)
        if (got->source[i] != match[0][i])
            differ(&c, "source of level", 0, i, got->source[i], match[0][i]);
    for (int i = 0; i < p->steps; i++)
        compare_step(&c, p, i, &want->map[i].map, got, match, n);
done:
    for (int l = 0; l < p->levels; l++)
        free(match[l]);
    return c.wrong;
}

/* spconv_groups.c - see spconv_groups.h. */
#include "spconv_groups.h"

#include <string.h>

static void add_tap(const int32_t *start, int tap, double epsilon, int alone, int *smallest,
                    struct spconv_groups *g)
{
    const int n = start[tap + 1] - start[tap], i = g->tap_count;
    struct spconv_group *last = &g->group[g->groups ? g->groups - 1 : 0];
    const int low = i && n > *smallest ? *smallest : n, high = i && n < last->rows ? last->rows : n;
    g->taps[g->tap_count++] = tap;
    if (!i || alone || 1 - (double)low / high > epsilon + 1e-9) {
        last = &g->group[g->groups++];
        *last = (struct spconv_group){ .first = i, .rows = n };
        *smallest = n;
    } else {
        *smallest = low;
        last->rows = high;
    }
    last->count++;
}

void spconv_groups_make(int taps, const int32_t *start, int middle, int setting,
                        struct spconv_groups *g)
{
    const double epsilon = setting > 1 ? (setting - 2) / 9 * .1 : 0;
    const int threshold = setting > 1 ? 5000 + (setting - 2) % 9 * 2500 : 0;
    int smallest = 0;
    memset(g, 0, sizeof *g);
    for (int d = 0; d < (taps + 1) / 2; d++)
        for (int side = 0; side < 2; side++) {
            const int tap = side ? taps - 1 - d : d;
            if (!(side && tap == d) && tap != middle && start[tap + 1] != start[tap])
                add_tap(start, tap, epsilon, !setting, &smallest, g);
        }
    for (int i = 0; i < g->groups; i++) {
        struct spconv_group *group = &g->group[i];
        group->batched = setting && group->count > 1 && group->rows < threshold;
        for (int k = group->first; k < group->first + group->count; k++) {
            const int d = g->taps[k];
            g->base[d] = (int32_t)g->rows;
            g->rows += group->batched ? group->rows : start[d + 1] - start[d];
        }
    }
}

/* Taps that are not batched are products of their own, whatever group they are in. */
static int batch_of(const struct spconv_groups *g, int tap)
{
    for (int i = 0; i < g->groups; i++)
        for (int k = g->group[i].first; k < g->group[i].first + g->group[i].count; k++)
            if (g->taps[k] == tap)
                return g->group[i].batched ? g->group[i].first : -1;
    return -1;
}

int spconv_groups_same(const struct spconv_problem *p, const struct spconv_map *host, int a, int b)
{
    const int middle = p->same && p->pass != SPCONV_WGRAD ? p->taps / 2 : -1;
    struct spconv_groups x, y;
    spconv_groups_make(p->taps, host->start, middle, a ? a : SPCONV_GROUPING_MIDDLE, &x);
    spconv_groups_make(p->taps, host->start, middle, b ? b : SPCONV_GROUPING_MIDDLE, &y);
    for (int d = 0; d < p->taps; d++)
        if (batch_of(&x, d) != batch_of(&y, d))
            return 0;
    return 1;
}

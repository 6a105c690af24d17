/* own_parts_check.h - what the parts of a plan must be, for tests that make plans on a GPU. */
#ifndef TESTS_OWN_PARTS_CHECK_H
#define TESTS_OWN_PARTS_CHECK_H

#include <stdlib.h>

#include "../kernels/spconv/own_plan.h"

/* Each tap of a tile with rows once, nothing of others, ranges in order, longer parts first, parts
 * of a tile by number, slots used once: how many are wrong.  Host copies of part, mask and count;
 * rows: of the map. */
static int wrong_parts(const struct own_plan *plan, const struct own_part *part,
                       const uint32_t *mask, const int32_t *count, int rows, int *longest)
{
    const int tiles = plan->splits * plan->tiles, kept = (rows + SPCONV_TILE - 1) / SPCONV_TILE;
    uint32_t *seen = calloc((size_t)tiles * 2, sizeof *seen);
    int *next = calloc((size_t)tiles, sizeof *next), *of = calloc((size_t)tiles, sizeof *of);
    int *used = calloc((size_t)plan->slots + 1, sizeof *used);
    int wrong = count[0] > plan->parts || count[1] != kept, before = 0, range = 0;
    *longest = 0;
    for (int i = 0; i < count[0] && !wrong; i++) {
        const struct own_part *p = &part[i];
        const int number = p->number & ((1 << OWN_PARTS) - 1), slot = p->number >> OWN_SLOT;
        const int parts = p->number >> OWN_PARTS & ((1 << (OWN_SLOT - OWN_PARTS)) - 1);
        const int length = __builtin_popcount(p->lower | p->upper);
        if (p->tile < 0 || p->tile >= tiles) {
            wrong++;
            break;
        }
        wrong += next[p->tile]++ != number || number >= parts;
        wrong += of[p->tile] && of[p->tile] != parts;
        wrong += (seen[2 * p->tile] & p->lower) || (seen[2 * p->tile + 1] & p->upper);
        wrong += p->tile / plan->tiles < range;
        wrong += i && p->tile / plan->tiles == range && before < length;
        wrong += parts > 1 && (slot < 0 || slot + number >= plan->slots || used[slot + number]++);
        of[p->tile] = parts;
        seen[2 * p->tile] |= p->lower;
        seen[2 * p->tile + 1] |= p->upper;
        *longest = length > *longest ? length : *longest;
        before = length;
        range = p->tile / plan->tiles;
    }
    for (int t = 0; t < tiles; t++) {
        wrong += seen[2 * t] != mask[2 * t] || seen[2 * t + 1] != mask[2 * t + 1];
        wrong += next[t] != of[t] || !of[t] != (t % plan->tiles >= kept);
    }
    free(seen);
    free(next);
    free(of);
    free(used);
    return wrong;
}

#endif

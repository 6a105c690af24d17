/* plan.c - see plan.h. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "../common/radix.h"

struct spconv_table spconv_table_of(const struct spconv_problem *p, const struct spconv_map *m)
{
    const int forward = p->pass == SPCONV_FORWARD;
    return (struct spconv_table){ forward ? m->by_out : m->by_in, forward ? p->out : p->in,
                                  p->taps };
}

/* ---- order ---- */

static uint32_t row_mask(const struct spconv_table *t, int row, int first, int taps)
{
    uint32_t mask = 0;
    for (int d = 0; d < taps && first + d < t->taps; d++)
        if (t->partner[(size_t)row * t->taps + first + d] >= 0)
            mask |= 1u << d;
    return mask;
}

/* rank[d]: how many taps of the range are more frequent than d, so that the rarest
 * gets the highest bit; ties by number. */
static void rank_taps(const uint32_t *mask, int rows, int taps, int *rank)
{
    long count[SPCONV_TAPS_MAX] = { 0 };
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < taps; d++)
            count[d] += mask[i] >> d & 1;
    for (int d = 0; d < taps; d++) {
        rank[d] = 0;
        for (int e = 0; e < taps; e++)
            rank[d] += count[e] > count[d] || (count[e] == count[d] && e < d);
    }
}

static uint32_t key_of(uint32_t mask, enum spconv_key key, const int *rank, int taps)
{
    uint32_t word = 0;
    if (key != SPCONV_BY_GRAY)
        return mask;
    for (int d = 0; d < taps; d++)
        if (mask >> d & 1)
            word |= 1u << rank[d];
    return spconv_gray_rank(word);
}

/* Rows of one range by key, descending, equal ones by number.  -1: no memory. */
static int order_range(const struct spconv_table *t, int first, int taps, enum spconv_key key,
                       struct keyed *work, uint32_t *masks, int32_t *row, uint32_t *mask)
{
    int rank[SPCONV_TAPS_MAX] = { 0 };
#pragma omp parallel for schedule(static)
    for (int i = 0; i < t->rows; i++)
        masks[i] = row_mask(t, i, first, taps);
    if (key == SPCONV_BY_GRAY)
        rank_taps(masks, t->rows, taps, rank);
    for (int i = 0; i < t->rows; i++)
        work[i] = (struct keyed){ (uint32_t)~key_of(masks[i], key, rank, taps), i };
    if (key != SPCONV_AS_IS && radix_sort(work, (size_t)t->rows))
        return -1;
    for (int i = 0; i < t->rows; i++) {
        row[i] = work[i].row;
        mask[i] = masks[row[i]];
    }
    return 0;
}

enum op_status spconv_plan_make(const struct spconv_table *t, int splits, enum spconv_key key,
                                struct spconv_plan *plan)
{
    const int tiles = (t->rows + SPCONV_TILE - 1) / SPCONV_TILE;
    const size_t padded = (size_t)tiles * SPCONV_TILE;
    memset(plan, 0, sizeof *plan);
    if (t->rows < 1 || t->taps < 1 || t->taps > SPCONV_TAPS_MAX || splits < 1 || splits > t->taps ||
        splits > SPCONV_SPLITS_MAX)
        return OP_EINVAL;
    struct keyed *work = malloc((size_t)t->rows * sizeof *work);
    int failed = 0;
    uint32_t *masks = malloc((size_t)t->rows * sizeof *masks);
    plan->splits = splits;
    plan->taps = (t->taps + splits - 1) / splits;
    plan->tiles = tiles;
    plan->row = malloc(splits * padded * sizeof *plan->row);
    plan->mask = calloc(splits * padded, sizeof *plan->mask);
    if (work && masks && plan->row && plan->mask) {
        memset(plan->row, 0xff, splits * padded * sizeof *plan->row);
        for (int s = 0; s < splits; s++)
            failed |= order_range(t, s * plan->taps, plan->taps, key, work, masks,
                                  plan->row + s * padded, plan->mask + s * padded);
    } else {
        failed = 1;
    }
    if (failed)
        spconv_plan_free(plan);
    free(work);
    free(masks);
    return plan->row ? OP_OK : OP_ENOMEM;
}

void spconv_plan_free(struct spconv_plan *plan)
{
    free(plan->row);
    free(plan->mask);
    memset(plan, 0, sizeof *plan);
}

/* ---- what it costs ---- */

uint32_t spconv_plan_mask(const struct spconv_plan *plan, int split, int first, int height)
{
    const uint32_t *mask = plan->mask + (size_t)split * plan->tiles * SPCONV_TILE + first;
    uint32_t all = 0;
    for (int i = 0; i < height; i++)
        all |= mask[i];
    return all;
}

double spconv_plan_slots(const struct spconv_plan *plan, int height)
{
    double slots = 0;
    for (int s = 0; s < plan->splits; s++)
        for (int first = 0; first < plan->tiles * SPCONV_TILE; first += height)
            slots += (double)height *
                     __builtin_popcount(spconv_plan_mask(plan, s, first, height));
    return slots;
}

/* ---- lists ---- */

void spconv_plan_index(const struct spconv_plan *plan, const struct spconv_table *t,
                       int32_t *by_row, int32_t *by_tile)
{
    const long rows = (long)plan->tiles * SPCONV_TILE;
#pragma omp parallel for schedule(static)
    for (long at = 0; at < plan->splits * rows; at++) {
        const int first = (int)(at / rows) * plan->taps;
        const int32_t row = plan->row[at];
        for (int d = 0; d < plan->taps; d++) {
            const int32_t j = row < 0 || first + d >= t->taps
                                  ? -1
                                  : t->partner[(size_t)row * t->taps + first + d];
            if (by_row)
                by_row[at * plan->taps + d] = j;
            if (by_tile)
                by_tile[(at / SPCONV_TILE * plan->taps + d) * SPCONV_TILE + at % SPCONV_TILE] = j;
        }
    }
}

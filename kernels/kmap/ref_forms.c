/* ref_forms.c - pairs and orders of a map that has a table, on the host. */
#include "../common/radix.h"
#include "ref_part.h"

static int32_t at(const struct kmap *m, int k, int d)
{
    return m->table.index[(size_t)k * (size_t)m->table.row_step +
                          (size_t)d * (size_t)m->table.tap_step];
}

enum op_status kmap_host_pairs(struct kmap_host *h)
{
    struct kmap *m = &h->map;
    size_t pairs = (size_t)m->pairs_total, taps = (size_t)m->taps;
    int32_t *start = take(h, START, taps + 1, sizeof *start);
    int32_t *pad = take(h, PADDED, taps + 1, sizeof *pad);
    int32_t *in = take(h, PAIR_IN, pairs, sizeof *in), *out = take(h, PAIR_OUT, pairs, sizeof *out);
    if (!start || !pad || !in || !out)
        return OP_ENOMEM;
    int n = 0;
    for (int d = 0; d < m->taps; d++) {
        for (int k = 0; k < m->n_out; k++)
            if (at(m, k, d) >= 0) {
                in[n] = at(m, k, d);
                out[n++] = k;
            }
        start[d + 1] = n;
        pad[d + 1] = pad[d] + (n - start[d] + KMAP_PAD - 1) / KMAP_PAD * KMAP_PAD;
    }
    m->pairs = (struct kmap_pairs){ start, pad, in, out };
    return OP_OK;
}

static uint32_t mask_of(const struct kmap *m, int k, int first, int taps)
{
    uint32_t mask = 0;
    for (int d = first; d < first + taps && d < m->taps; d++)
        mask |= (uint32_t)(at(m, k, d) >= 0) << (d - first);
    return mask;
}

enum op_status kmap_host_order(struct kmap_host *h, int splits, int tile)
{
    struct kmap *m = &h->map;
    if (splits < 1 || splits > KMAP_SPLITS_MAX || tile < 1 || KMAP_PAD % tile)
        return OP_EINVAL;
    const int taps = (m->taps + splits - 1) / splits, rows = m->table.rows;
    const size_t all = (size_t)rows * (size_t)splits;
    int32_t *row = take(h, ROW, all, sizeof *row);
    uint32_t *mask = take(h, MASK, all, sizeof *mask);
    uint32_t *tiles = take(h, TILE, all / (size_t)tile, sizeof *tiles);
    int32_t *index = take(h, SORTED, all * (size_t)taps, sizeof *index);
    struct keyed *e = malloc(((size_t)rows + 1) * sizeof *e);
    int failed = 0;
    if (!row || !mask || !tiles || !index || !e) {
        free(e);
        return OP_ENOMEM;
    }
    for (int s = 0; s < splits && !failed; s++) {
        const int first = s * taps;
        const size_t base = (size_t)s * (size_t)rows;
#pragma omp parallel for schedule(static)
        for (int k = 0; k < rows; k++) /* masks descending, padding behind all */
            e[k] = k < m->n_out ? (struct keyed){ (uint32_t)~mask_of(m, k, first, taps), k }
                                : (struct keyed){ (uint64_t)1 << 32, -1 };
        failed = radix_sort(e, (size_t)rows);
#pragma omp parallel for schedule(static, tile)
        for (int i = 0; i < rows; i++) {
            const uint32_t present = e[i].row < 0 ? 0 : ~(uint32_t)e[i].key;
            row[base + (size_t)i] = e[i].row;
            mask[base + (size_t)i] = present;
            tiles[(base + (size_t)i) / (size_t)tile] |= present;
            for (int l = 0; l < taps; l++)
                index[(base + (size_t)i) * (size_t)taps + (size_t)l] =
                    e[i].row >= 0 && first + l < m->taps ? at(m, e[i].row, first + l) : -1;
        }
    }
    free(e);
    if (failed)
        return OP_ENOMEM;
    m->order = (struct kmap_order){ .splits = splits, .taps = taps, .tile = tile, .rows = rows,
                                    .row = row, .mask = mask, .tile_mask = tiles,
                                    .table = { rows, taps, 1, index } };
    return OP_OK;
}

double kmap_redundancy(const struct kmap *m)
{
    double work = 0;
    if (m->pairs_total <= 0)
        return 0;
    if (m->order.splits) {
        const struct kmap_order *o = &m->order;
        const size_t tiles = (size_t)o->rows / (size_t)o->tile * (size_t)o->splits;
        for (size_t i = 0; i < tiles; i++)
            work += (double)o->tile * __builtin_popcount(o->tile_mask[i]);
        return work / (double)m->pairs_total;
    }
    for (int k = 0; k < m->table.rows; k += KMAP_PAD) {
        uint32_t tile = 0;
        for (int r = k; r < k + KMAP_PAD; r++)
            tile |= mask_of(m, r, 0, m->taps);
        work += KMAP_PAD * __builtin_popcount(tile);
    }
    return work / (double)m->pairs_total;
}

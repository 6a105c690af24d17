/* stage.c - see stage.h. */
#include "stage.h"

#include <stdbool.h>

#include "shape.h"

enum {
    WARPS_AN_SM = 32, /* at 64 registers a thread */
    ITEMS_LEAST = 256,
    ROUNDS_MOST = 8,       /* of all SMs, before windows are given up as too wide */
    SHARED_A_BLOCK = 1024, /* the device's own */
};

/* ---- windows ---- */

static struct stage_window window_of(const struct stage_reach *reach, const struct own_bound *from,
                                     const struct own_bound *to, const int *row_ptr)
{
    /* the row of a bound inside it belongs to both sides */
    const int last = to->row + (to->entry > row_ptr[to->row]);
    struct stage_reach all = { 0, 0 };
    if (from->entry == to->entry)
        return (struct stage_window){ 0, 0 };
    for (int g = from->row / STAGE_GROUP; g * STAGE_GROUP < last; g++) {
        if (!reach[g].end)
            continue;
        if (!all.end || reach[g].first < all.first)
            all.first = reach[g].first;
        if (reach[g].end > all.end)
            all.end = reach[g].end;
    }
    all.first -= all.first % 4;
    return (struct stage_window){ all.first, all.end - all.first };
}

static struct own_bound block_bound(const struct spmm_problem *p, const int *row_ptr,
                                    const struct stage_form *f, int block)
{
    return own_bound_at(row_ptr, p->m, (long long)block * f->warps * f->items, f->whole);
}

void stage_windows(const struct spmm_problem *p, const int *row_ptr,
                   const struct stage_reach *reach, const struct stage_form *f,
                   struct stage_window *out)
{
    struct own_bound from = block_bound(p, row_ptr, f, 0);
    for (int b = 0; b < f->blocks; b++) {
        const struct own_bound to = block_bound(p, row_ptr, f, b + 1);
        out[b] = window_of(reach, &from, &to, row_ptr);
        from = to;
    }
}

void stage_rows(const struct spmm_problem *p, const int *row_ptr, const struct stage_form *f,
                int *rows, int *before)
{
    int row = 0, count = 0;
    for (int c = 0; c <= f->chunks; c++) {
        const int to = own_bound_at(row_ptr, p->m, (long long)c * f->items, f->whole).row;
        for (; row < to; row++)
            if (row_ptr[row] < row_ptr[row + 1])
                rows[count++] = row;
        if (c < f->chunks)
            before[c] = count;
    }
}

/* ---- the choice ---- */

int stage_resident(int warps)
{
    return WARPS_AN_SM / warps;
}

size_t stage_shared(const struct stage_form *f)
{
    return 16 + ((size_t)f->warps * STAGE_STEP + STAGE_ZERO) * sizeof(float);
}

/* Bytes for a window. */
static long room_of(const struct stage_form *f, const struct stage_device *d)
{
    return d->shared / stage_resident(f->warps) - SHARED_A_BLOCK - (long)stage_shared(f);
}

enum op_status stage_complete(const struct spmm_problem *p, const int *row_ptr,
                              const struct stage_reach *reach, const struct stage_device *d,
                              struct stage_form *f)
{
    const long room = room_of(f, d);
    struct own_bound from;
    f->whole = f->items / 2;
    f->chunks = (int)spmm_div_up(p->m + p->nnz, f->items);
    f->blocks = (int)spmm_div_up(f->chunks, f->warps);
    f->columns = 0;
    f->staged = 0;
    from = block_bound(p, row_ptr, f, 0);
    for (int b = 0; b < f->blocks; b++) {
        const struct own_bound to = block_bound(p, row_ptr, f, b + 1);
        const struct stage_window w = window_of(reach, &from, &to, row_ptr);
        from = to;
        f->staged += w.columns;
        if (w.columns > f->columns)
            f->columns = w.columns;
        if (f->columns * (long)sizeof(float) > room)
            return OP_EUNSUPPORTED;
    }
    return f->columns + STAGE_ZERO <= 1 << 16 ? OP_OK : OP_EUNSUPPORTED;
}

enum op_status stage_choose(const struct spmm_problem *p, const int *row_ptr,
                            const struct stage_reach *reach, const struct stage_device *d,
                            struct stage_form *out)
{
    const double read = 6.25 * (double)p->nnz + 4.0 * p->m; /* bytes beside B */
    bool have = false;
    for (int rounds = 1; rounds <= ROUNDS_MOST && !have; rounds *= 2)
        for (int warps = 8; warps <= WARPS_AN_SM; warps *= 2) {
            struct stage_form f = { .warps = warps };
            f.items = (int)spmm_div_up(p->m + p->nnz, (long)d->sms * WARPS_AN_SM * rounds);
            if (f.items < ITEMS_LEAST)
                f.items = ITEMS_LEAST;
            if (stage_complete(p, row_ptr, reach, d, &f))
                continue;
            if (!have || (f.blocks >= d->sms / 2 && 1.3 * f.staged < out->staged))
                *out = f;
            have = true;
            if (4 * out->staged < 0.1 * read)
                break;
        }
    return have && 4 * out->staged <= 4 * read ? OP_OK : OP_EUNSUPPORTED;
}

/* ---- panels ---- */

enum op_status stage_cut_of(const struct spmm_problem *p, const struct stage_device *d,
                            struct stage_cut *out)
{
    const struct stage_form f = { .warps = STAGE_WIDEST };
    /* a window begins at a multiple of 4, as panels do */
    const long widest =
        spmm_least(room_of(&f, d) / (long)sizeof(float), (1 << 16) - STAGE_ZERO) / 4 * 4;
    const long resident = (long)d->sms * WARPS_AN_SM;
    if (widest < 4)
        return OP_EUNSUPPORTED;
    const long panels = spmm_div_up(p->k, widest);
    const long spare = panels * (STAGE_WIDEST + 1); /* chunks that the last blocks of panels lack */
    if (panels > STAGE_PARTS || panels * p->m > p->nnz || spare > resident / 2)
        return OP_EUNSUPPORTED;
    out->width = (int)(spmm_div_up(spmm_div_up(p->k, panels), 4) * 4);
    out->panels = (int)spmm_div_up(p->k, out->width);
    out->items = (int)spmm_div_up(panels * p->m + p->nnz, resident - spare);
    if (out->items < ITEMS_LEAST)
        out->items = ITEMS_LEAST;
    return OP_OK;
}

/*
 * own_plan.h - how the own kernels divide A, with no atomics in the product.
 *
 * Two divisions, each made on the device by set-up:
 *
 * Chunks.  The ends of rows and the entries, taken as one list of m + nnz items
 * in the order of the rows, are cut every `items` items.  A cut inside a row of
 * at most `whole` entries moves to the nearer end of the row; longer rows are
 * cut where it falls.  So a chunk has at most items + whole entries, and
 * only a long row is ever shared.
 *
 *   items     e e e | e | | e e e e e e e e e e e e | e e |     |: end of a row
 *   rows      0       1   2 3                         4
 *   cuts                ^         ^         ^         ^         every 5 items
 *   moved                 ^                                     to the end of row 1
 *
 * Pieces.  Rows stay whole; only those of more than `whole` entries are cut, into
 * pieces of `whole` entries.
 *
 * A piece of a shared row goes into a carry slot of n floats; the slots of a row
 * follow each other, and a second kernel, or whoever makes the last piece, adds
 * them in order.  So the sum of every row is the same in each run.
 */
#ifndef KERNELS_SPMM_OWN_PLAN_H
#define KERNELS_SPMM_OWN_PLAN_H

#include "../common/hd.h"
#include "spmm.h"

OP_BEGIN

/* Where a chunk begins; chunk c ends where c + 1 begins. */
struct own_bound {
    int row, entry; /* row_ptr[row] <= entry < row_ptr[row + 1], or row_ptr[row] */
    int slot;       /* of the piece that ends here; the next one is of the piece that begins
                     * here; -1: no row is shared */
    int cut;        /* which shared row, where slot is not -1 */
};

/* A piece of a long row. */
struct own_piece {
    int begin, end; /* entries */
};

/* A shared row: its pieces are in slots first .. first + pieces - 1. */
struct own_cut {
    int row, first, pieces;
    int arrived; /* pieces that are made: counted where the last one adds up, else unused */
};

/* On the device, in memory that its owner frees. */
struct own_plan {
    int chunks, cuts, slots;
    int whole;               /* rows of more entries are in pieces */
    struct own_bound *bound; /* [chunks + 1]; NULL: a plan of pieces */
    struct own_piece *piece; /* [slots]; NULL: a plan of chunks */
    struct own_cut *cut;     /* [cuts] */
    float *carry;            /* [slots][n] */
};

/* Items before the end of row r: it is strictly increasing in r. */
HD long long own_items(const int *row_ptr, int r)
{
    return (long long)row_ptr[r] + r;
}

/* The bound at item `at`, its slot aside. */
HD struct own_bound own_bound_at(const int *row_ptr, int m, long long at, int whole)
{
    struct own_bound b = { m, row_ptr[m], -1, 0 };
    int low = 0, high = m, begin, end;
    if (at >= own_items(row_ptr, m))
        return b;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (own_items(row_ptr, middle) <= at)
            low = middle;
        else
            high = middle;
    }
    begin = row_ptr[low];
    end = row_ptr[low + 1];
    b.row = low;
    b.entry = (int)(at - low);
    if (b.entry == end && end > begin) {
        b.row++;
    } else if (end - begin <= whole) {
        const int second_half = b.entry - begin > (end - begin) / 2;
        b.row += second_half;
        b.entry = second_half ? end : begin;
    }
    return b;
}

HD int own_bound_cuts(const int *row_ptr, const struct own_bound *b)
{
    return b->entry > row_ptr[b->row];
}

/* Of the bounds that lie inside row r, a long one: the first, and how many. */
HD int own_first_cut(const int *row_ptr, int r, int items, int *first)
{
    const long long begin = own_items(row_ptr, r), end = begin + row_ptr[r + 1] - row_ptr[r];
    *first = (int)(begin / items) + 1;
    return (int)((end - 1) / items) - *first + 1;
}

HD int own_pieces(int entries, int whole)
{
    return entries > whole ? (int)(((long long)entries + whole - 1) / whole) : 0;
}

/* ---- own_plan.cu ---- */

/* Fill *plan, all zero before, from the matrix of args; synchronise only where a row is long. */
enum op_status own_plan_chunks(const struct spmm_problem *p, const struct spmm_args *args,
                               int items, int whole, const struct op_memory *memory, op_stream s,
                               struct own_plan *plan);
enum op_status own_plan_pieces(const struct spmm_problem *p, const struct spmm_args *args,
                               int whole, const struct op_memory *memory, op_stream s,
                               struct own_plan *plan);

/* Adds the carries of every shared row and stores it; nothing to do without one. */
enum op_status own_plan_combine(const struct spmm_problem *p, const struct spmm_args *args,
                                const struct own_plan *plan, op_stream s);

OP_END
#endif

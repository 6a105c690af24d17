/*
 * stage.h - A in slots of eight entries with columns of 16 bits, for own_stage: what goes where,
 * and which part of B a block needs. One column of B.
 *
 * Chunks are those of own_plan.h, a warp makes one; `warps` neighbouring ones are a block, which
 * brings the columns of B that its entries have into shared memory: its window.  A slot is eight
 * entries of a chunk, in order; 32 slots, a lane each, are a step:
 *
 *   entries     0 .. 7 | 8 .. 15 | ..         of the chunk; the last slot is filled up
 *   slot        base   | base + 1| ..         base: entries before the chunk / 8 + chunks before it
 *
 *   col   [slots] 8 x 16 bits      column - first of the window + STAGE_ZERO; filled up with 0
 *   val   [2][slots] 4 floats      entries 0 .. 3, then 4 .. 7; filled up with 0
 *   note  [slots] 16 bits          bit e: entry e is the last of its row; from bit 8 on: how many
 *                                  rows end in the slots before this one of its step
 *
 *   window in shared memory:  0 0 0 0 | B[first] B[first + 1] ..     STAGE_ZERO zeros before it
 *
 * That is 6.25 bytes an entry for 8 of CSR, and no row_ptr.  What fills up multiplies a zero of A
 * with a zero, not with B: what B has of infinities stays where it belongs.
 */
#ifndef KERNELS_SPMM_STAGE_H
#define KERNELS_SPMM_STAGE_H

#include <math.h>
#include <stdint.h>

#include "../common/hd.h"
#include "own_plan.h"
#include "spmm.h"

OP_BEGIN

enum {
    STAGE_SLOT = 8,   /* entries */
    STAGE_STEP = 256, /* entries of 32 slots */
    STAGE_ZERO = 4,   /* zeros before a window: it is copied to a multiple of 16 bytes */
    STAGE_GROUP = 64, /* rows whose columns are looked at together */
    STAGE_PARTS = 12, /* panels at most */
    STAGE_WIDEST = 32 /* warps of the block with the widest window */
};

/* ---- the format ---- */

/* Slots of a chunk; its first one. Chunks are given room for one slot more than they may have. */
HD int stage_slots(int entries)
{
    return (int)(((unsigned)entries + STAGE_SLOT - 1) / STAGE_SLOT);
}

HD int stage_base(int entry, int chunk)
{
    return entry / STAGE_SLOT + chunk;
}

HD unsigned stage_note(unsigned ends, unsigned before)
{
    return ends | before << 8;
}

HD unsigned stage_ends(unsigned note)
{
    return note & 0xff;
}

HD unsigned stage_before(unsigned note)
{
    return note >> 8;
}

/* Entry e of the four words of a slot. */
HD unsigned stage_column(const uint32_t *words, int e)
{
    return e % 2 ? words[e / 2] >> 16 : words[e / 2] & 0xffff;
}

/* Adds the products of a slot to sum, in order; the sum of each row that ends goes to `to`, the
 * next one behind it. Returns that of the row that has not ended. */
HD float stage_walk(const float *val, const float *x, unsigned ends, float sum, float *to)
{
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
    for (int e = 0; e < STAGE_SLOT; e++) {
        sum = fmaf(val[e], x[e], sum);
        if (ends >> e & 1) {
            *to++ = sum;
            sum = 0;
        }
    }
    return sum;
}

/* Lanes since the last one, this one included, in which a row ended: those whose open sums are of
 * the same row as this lane's are so many before it. mask: lanes with an end. */
HD int stage_since(unsigned mask, int lane)
{
    int since = 0;
    const unsigned upto = mask << (31 - lane); /* this lane is bit 31 */
#ifdef __CUDA_ARCH__
    since = __clz((int)upto);
#else
    while (since < 32 && !(upto >> (31 - since) & 1))
        since++;
#endif
    return since < lane ? since : lane;
}

/* The first of the entries begin .. end - 1, columns ascending, whose column is not below limit. */
HD int stage_first_from(const int *col, int begin, int end, int limit)
{
    while (begin < end) {
        const int middle = begin + (end - begin) / 2;
        if (col[middle] < limit)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* ---- which form a matrix gets: stage.c ---- */

/* Columns first .. end - 1 of some rows; end 0: they have no entries. */
struct stage_reach {
    int first, end;
};

/* What of B a block brings: first is a multiple of 4. */
struct stage_window {
    int first, columns;
};

struct stage_device {
    int sms;
    int shared; /* bytes of an SM that its blocks may share, 1 KB of each block aside */
};

struct stage_form {
    int warps; /* of a block: 8, 16 or 32 */
    int items; /* of a chunk: own_plan.h */
    int whole; /* longer rows are cut */
    int chunks, blocks;
    int columns;   /* of the widest window */
    double staged; /* columns of all windows */
};

/* Bytes of shared memory beside the window: the barrier, and a step of sums for each warp. */
size_t stage_shared(const struct stage_form *f);

/* Blocks that an SM shall hold: 32 warps in all. */
int stage_resident(int warps);

/* Fills *out. reach [m / STAGE_GROUP, rounded up]; row_ptr on the host. Blocks as small as leave
 * what is staged a small part of what is read, one round of them if their windows fit, else more.
 * OP_OK, or OP_EUNSUPPORTED where no form's windows fit into shared memory, or they are many times
 * A. */
enum op_status stage_choose(const struct spmm_problem *p, const int *row_ptr,
                            const struct stage_reach *reach, const struct stage_device *d,
                            struct stage_form *out);

/* The same for the warps and items of *f alone. */
enum op_status stage_complete(const struct spmm_problem *p, const int *row_ptr,
                              const struct stage_reach *reach, const struct stage_device *d,
                              struct stage_form *f);

/* A cut into panels of `width` columns, each with windows that fit into a block of STAGE_WIDEST
 * warps; items: of their chunks, so that the blocks of all are one round. */
struct stage_cut {
    int panels, width, items;
};

/* OP_OK, or OP_EUNSUPPORTED where there were too many, or what they store of C is more than A. */
enum op_status stage_cut_of(const struct spmm_problem *p, const struct stage_device *d,
                            struct stage_cut *out);

/* The windows of all blocks of a form. */
void stage_windows(const struct spmm_problem *p, const int *row_ptr,
                   const struct stage_reach *reach, const struct stage_form *f,
                   struct stage_window *out);

/* Of the rows that have entries, which they are, in rows [m - empty_rows], and how many there are
 * before the row in which a chunk begins, in before [chunks]. */
void stage_rows(const struct spmm_problem *p, const int *row_ptr, const struct stage_form *f,
                int *rows, int *before);

OP_END
#endif

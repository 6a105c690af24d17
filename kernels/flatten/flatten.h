/*
 * flatten.h - occupied cells of a square grid in groups of equal size: what FlatFormer does in
 * place of windows with padding.
 *
 * Cells are sorted by window, then inside the window, and the sorted list is cut every `group`
 * cells.  Four orders, for four layers in turn: along x, along x with windows shifted by half a
 * side, along y, along y shifted.
 *
 *     window row 0      1 > 2 > 3          inside a window   1  4  5     column by column,
 *     window row 1      6 < 5 < 4          of an even row    2  3  6     alternately down and up;
 *     window row 2      7 > 8 > 9                                        an odd row: reversed
 *
 * With (a, b) = (x, y) along x and (y, x) along y, both plus s = 0 or floor(w / 2), w the side of a
 * window, S that of the grid, nW = ceil(S / w) + 1, sigma(t) = +1 for even t and -1 for odd t:
 *
 *     a1 = a div w, a2 = a mod w, b1 = b div w, b2 = b mod w
 *     key = (2 nW b1 + sigma(b1) a1) 4 w^2 + sigma(b1) (2 w a2 + sigma(a2) b2)
 *
 * Keys of different cells differ, so that the order does not depend on how it is sorted.
 * FLATTEN_PLAIN is the lexicographic order (b1, a1, a2, b2) that the text describes.
 *
 * Slots: place p < n of an order is slot p.  If group does not divide n, slot p >= n repeats the
 * cell of slot p - group, up to a multiple of group: the last group is filled with cells of the
 * one before, which are keys there and no queries.  Fewer cells than a group: one group of n.
 *
 * Source: FlatFormer (arXiv 2301.08739), its published code for the keys and the last group.
 */
#ifndef KERNELS_FLATTEN_FLATTEN_H
#define KERNELS_FLATTEN_FLATTEN_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

enum { FLATTEN_ORDERS = 4 }; /* x, x shifted, y, y shifted */

enum flatten_path { FLATTEN_SERPENTINE, FLATTEN_PLAIN };

struct flatten_problem {
    int n;             /* occupied cells, 1 .. side * side */
    int side;          /* of the grid in cells */
    int window, group; /* side of a window in cells; cells of a group */
    enum flatten_path path;
};

struct flatten_cell {
    int32_t x, y; /* in [0, side) */
};

/* Host or device memory, whichever the implementation is for. */
struct flatten_args {
    const struct flatten_cell *in; /* [n], different */
    int32_t *slot;                 /* [FLATTEN_ORDERS][slots] row of `in` at each slot */
    int32_t *rank;                 /* [FLATTEN_ORDERS][n] place of each row; not written by
                                    * published forms, which scatter by slot */
};

typedef enum op_status flatten_run_fn(const struct flatten_problem *, const struct flatten_args *,
                                      void *state, op_stream);

struct flatten_impl {
    struct op_impl base; /* first */
    /* OP_OK, or OP_EUNSUPPORTED and *why a constant text. */
    enum op_status (*supports)(const struct flatten_problem *, const char **why);
    enum op_status (*setup)(const struct flatten_problem *, const struct op_memory *, void **state);
    void (*teardown)(void *state); /* accepts NULL */
    flatten_run_fn *run;           /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct flatten_impl flatten_references[]; /* ref.c: host memory */
extern const struct flatten_impl flatten_impls[];      /* impls.c: device memory */

/* OP_OK, or OP_EINVAL: a size < 1, a window larger than the grid, more cells than the grid has,
 * or a grid of more than FLATTEN_CELLS_MAX cells. */
enum { FLATTEN_CELLS_MAX = 1 << 20 };
enum op_status flatten_check(const struct flatten_problem *p);

/* Slots of an order, and cells of a group: group, or n where n is smaller. */
int flatten_slots(const struct flatten_problem *p);
int flatten_group(const struct flatten_problem *p);
/* Whether the rows of an implementation write rank. */
int flatten_ranks(const struct flatten_impl *i);

/* Reference.  OP_EINVAL: a bad problem, a cell outside the grid or twice; OP_ENOMEM. */
flatten_run_fn flatten_reference;

/* Key of a cell in an order, by the formula above (FLATTEN_PLAIN: the place in a full grid). */
int64_t flatten_key(const struct flatten_problem *p, int order, struct flatten_cell c);

/* Entries of got that differ from want; rank is compared if got->rank is not NULL. */
long flatten_compare(const struct flatten_problem *p, const struct flatten_args *want,
                     const struct flatten_args *got);

OP_END
#endif

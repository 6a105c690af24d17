/*
 * boxes.h - what stands behind the head of a detector: boxes of its map, the best of those that
 * overlap.
 *
 * Every cell of the map (bev.h) says for each class how likely a centre is in it, and what box that
 * is.  By the order of channels: offset x y, height, length width height as logarithms, sine and
 * cosine, IoU where there is one, a logit for each of three classes.
 *
 *     score     sigmoid(logit) clamp(IoU, 0, 1)^2
 *     centre    x = (column + offset x) cell + origin, y likewise by row
 *     heading   sine and cosine, normalised; (0, 1) where both are 0
 *
 * Candidates have a score above the threshold: every class of a cell, or the best class of it only
 * (the first of equal ones).  They are ordered by score, the greatest first, equal ones by index:
 * class * cells + cell, or cell.  The best 4096 stay; of those in a group (a class, or all of them)
 * the first `before`.  A box goes if it overlaps one in front that stays by more than a limit: area
 * of the intersection of the rectangles seen from above over that of their union.  The first
 * `after` of the others are the result.
 *
 * All arithmetic is float, each operation rounded by itself (box.h), so that a result has no
 * other form: it is compared to the bit.  Velocity is left out.
 *
 * Source: FlatFormer (arXiv 2301.08739) and CenterPoint, published configurations for Waymo.
 */
#ifndef KERNELS_BOXES_BOXES_H
#define KERNELS_BOXES_BOXES_H

#include <stdint.h>

#include "../bev/bev.h"
#include "../common/half.h"
#include "../op.h"

OP_BEGIN

enum { BOXES_TOP = 4096, BOXES_CLASSES = 3, BOXES_GROUPS = 3, BOXES_RESULT = 500 };

struct boxes_rules {
    float cell, origin; /* m */
    float threshold;
    float lowest; /* logits up to here have no candidate */
    int groups;   /* 3: a class each; 1: all, the best class of a cell */
    int offset, height, size, rotation, iou, heat; /* first channels; iou -1: none */
    int before[BOXES_GROUPS], after[BOXES_GROUPS]; /* before: at most BOXES_TOP */
    float overlap[BOXES_GROUPS];
};
extern const struct boxes_rules boxes_rules[BEV_NETS];

struct boxes_problem {
    int side; /* of the map: 1 .. 2048 */
    enum bev_net net;
};

struct boxes_box {
    float x, y, z, length, width, height, sine, cosine, score; /* m */
    int32_t label;
};

/* Host or device memory, whichever the implementation is for. */
struct boxes_args {
    const half_bits *map;  /* [side][side][bev_shapes[net].out], finite */
    int32_t *count;        /* [BOXES_GROUPS]: boxes of a group */
    struct boxes_box *box; /* [boxes_most]: of group g from boxes_at(g) on; the rest as it was */
};

typedef enum op_status boxes_run_fn(const struct boxes_problem *, const struct boxes_args *,
                                    void *state, op_stream);

struct boxes_impl {
    struct op_impl base; /* first */
    /* *state is given to teardown even on failure; NULL: none. */
    enum op_status (*setup)(const struct boxes_problem *, const struct op_memory *, op_stream,
                            void **state);
    void (*teardown)(void *state); /* accepts NULL */
    boxes_run_fn *run;             /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct boxes_impl boxes_references[]; /* ref.c: host memory */
extern const struct boxes_impl boxes_impls[];      /* impls.c: device memory */

enum op_status boxes_check(const struct boxes_problem *p); /* OP_OK or OP_EINVAL */
int boxes_at(enum bev_net net, int group); /* group `groups`: boxes_most */
int boxes_most(enum bev_net net);          /* at most BOXES_RESULT */

/* The definition, a->box and a->count in host memory.  *candidates: those above the threshold; may
 * be NULL.  OP_EINVAL; OP_ENOMEM. */
enum op_status boxes_reference(const struct boxes_problem *p, const struct boxes_args *a,
                               int *candidates);

OP_END
#endif

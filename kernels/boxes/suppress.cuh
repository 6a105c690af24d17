/*
 * suppress.cuh - what both forms share: a candidate's box, and which boxes of a tile one overlaps.
 *
 *     bits    [group][BOXES_TOP][WORDS] words of 64: bit c of word w of a row is set where its box
 *             overlaps box 64 w + c, which is behind it; words in front of the row's own are not
 *             written
 */
#ifndef KERNELS_BOXES_SUPPRESS_CUH
#define KERNELS_BOXES_SUPPRESS_CUH

#include "box.h"
#include "kernels.h"

typedef unsigned long long word;

constexpr int TILE = 64, WORDS = BOXES_TOP / TILE;

/* What a kernel reads of a problem. */
struct boxes_view {
    struct boxes_rules rules;
    int side, cells, out;
    const half_bits *map;
};

static inline boxes_view view_of(const boxes_problem *p, const boxes_args *a)
{
    return { boxes_rules[p->net], p->side, p->side * p->side, bev_shapes[p->net].out, a->map };
}

/* Scores of a problem: a class each, or one of a cell. */
static inline int scores_of(const boxes_problem *p)
{
    return p->side * p->side * (boxes_rules[p->net].groups > 1 ? BOXES_CLASSES : 1);
}

/* The best class of a cell, the first of equal ones. */
static __device__ __forceinline__ float best_of(const boxes_view &v, int cell, int *label)
{
    float best = 0;
    *label = 0;
    for (int k = 0; k < BOXES_CLASSES; k++) {
        const float score = box_score_of(&v.rules, v.map + (size_t)cell * v.out, k);
        if (score > best) {
            best = score;
            *label = k;
        }
    }
    return best;
}

static __device__ __forceinline__ boxes_box box_of(const boxes_view &v, int index, float score)
{
    const int cell = index % v.cells;
    int label = index / v.cells;
    if (v.rules.groups == 1)
        best_of(v, cell, &label);
    return box_decode(&v.rules, v.map + (size_t)cell * v.out, cell % v.side, cell / v.side, label,
                      score);
}

/* Bits of a tile's boxes first .. of n that are behind `row` and overlap a. */
static __device__ __forceinline__ word overlapped(const boxes_box &a, int row,
                                                  const boxes_box *tile, int first, int n,
                                                  float limit)
{
    word bits = 0;
    for (int c = 0; c < TILE && first + c < n; c++)
        if (first + c > row && box_overlaps(&a, &tile[c], limit))
            bits |= (word)1 << c;
    return bits;
}

#endif

/*
 * view.h - an experiment as tables and plots look at it.
 *
 * A view is the part of an experiment with one cache state and regime.  Its
 * axis is the parameter that the experiment names, else the numeric one with the
 * fewest values (but more than one): figures have it on x, wide tables have one
 * line per value of it.
 */
#ifndef SUITES_VIEW_H
#define SUITES_VIEW_H

#include "metrics.h"

enum { VIEW_PARAMS = 12, VIEW_GRID = 64, VIEW_PAIRS = 16, VIEW_KERNELS = 256, VIEW_NAME = 64 };
enum { VIEW_NARROW = 12 }; /* rows up to which a table has a column per row */

/* "rows/baseline": the speedup of the best of `rows` over the best of `baseline`. */
struct view_pair {
    char rows[VIEW_NAME], baseline[VIEW_NAME];
};

struct view {
    const struct result *r;
    const struct result_experiment *e;
    const char *cache, *regime;
    const struct result_case **c; /* owned */
    int count;
    char param[VIEW_PARAMS][VIEW_NAME]; /* that differ between cases; texts first */
    int params;
    char axis[VIEW_NAME]; /* "": none */
    double grid[VIEW_GRID];
    int grid_count;
    const char *kernel[VIEW_KERNELS]; /* in the order of the experiment */
    int kernels;
    struct view_pair pair[VIEW_PAIRS]; /* with at least one case */
    int pairs;
    bool timed; /* some row has a time */
};

/* The index-th view of an experiment: 1, or 0 past the last, or -1. */
int view_open(const struct result *r, const struct result_experiment *e, int index,
              struct view *out);
void view_close(struct view *v); /* accepts { 0 } */

const char *view_title(const struct view *v, const char *kernel); /* of a kernel or a group */
const char *view_role(const struct view *v, const char *kernel);

/* "NVIDIA X, driver 580, CUDA 13.0, clock dynamic, cache hot, 3 invocations, run 2025..." */
void view_caption(const struct view *v, char *text, size_t size);
/* Of the parameters that differ "matrix n", "a 4" or "matrix=a n=4"; c may be NULL where only names
 * are asked for.  The length of the text. */
enum view_part { VIEW_NAMES = 1, VIEW_VALUES = 2, VIEW_BOTH = 3 };
size_t view_words(const struct view *v, const struct result_case *c, enum view_part part, char *text,
                  size_t size);
/* "matrix=a n=4" of the parameters that differ; of a case alone what its id says of them. */
void view_label(const struct view *v, const struct result_case *c, char *text, size_t size);

/* Speedup of a pair over the cases with that value of the axis; at < 0: all. */
int view_speedup(const struct view *v, const struct view_pair *p, int at, int replicates,
                 struct aggregate *out);

/* How the rows of a set ("*" or a group) stand to the fastest of the set. */
struct standing {
    const char *kernel;
    int cases[VIEW_GRID + 1], wins[VIEW_GRID + 1]; /* [grid_count]: over all */
    double fraction[VIEW_GRID + 1]; /* geometric mean of time of the fastest / time */
    double worst[VIEW_GRID + 1];    /* smallest of these */
};
/* Rows that were timed somewhere, in order; their number, or -1.  malloc. */
int view_standings(const struct view *v, const char *set, struct standing **out);

#endif

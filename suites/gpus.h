/*
 * gpus.h - results of several GPUs over the same problems.
 *
 * One line for each experiment, cache state and pair of rows; one value for each run.  Only
 * cases that every run of a line has measured enter it, so that its values belong together.
 */
#ifndef SUITES_GPUS_H
#define SUITES_GPUS_H

#include "../harness/table.h"
#include "reported.h"
#include "view.h"

enum { GPUS_MAX = 8, GPUS_REPORTED = 8, GPUS_NAME = 96 };

struct gpus_line {
    const char *experiment, *title, *cache, *regime;
    struct view_pair pair;
    bool first;                           /* of its view: what the figure shows */
    int cases;                            /* common to all runs that have any; 0: none is */
    bool has[GPUS_MAX];                   /* does the run have the pair? */
    struct cb_interval speedup[GPUS_MAX]; /* geometric mean over the cases; where has and cases */
    struct cb_interval sol[GPUS_MAX];     /* of the fastest of pair.rows: median, quartiles; NAN */
    double reported[GPUS_REPORTED];       /* by the paper, in the order of gpus.reported; NAN */
};

struct gpus {
    int runs;
    char name[GPUS_MAX][GPUS_NAME];          /* of the runs: the GPU, told apart where need be */
    char caption[GPUS_MAX][400];             /* driver, CUDA, clocks, power limit, run */
    int series;                              /* of the paper */
    char reported[GPUS_REPORTED][GPUS_NAME]; /* "RTX 2080", or what is said where no GPU is */
    struct gpus_line *line;
    int lines;
    const char *paper, *title;
};

/* experiment: pattern, NULL: all.  filter: as for result_matches, NULL: all cases.  The
 * results must stay as they are while out is used.  0 or -1; out is freed with gpus_free. */
int gpus_open(const struct result *const *run, int runs, const char *experiment,
              const json_t *filter, struct gpus *out);
void gpus_free(struct gpus *g); /* accepts { 0 } */

/* The same question on both: equal keys, or the same case on the same inputs where the
 * policy or the list of rows was another. */
bool gpus_same_case(const struct result_case *a, const struct result_case *b);

/* Runs under letters A, B, ...; 0 or -1. */
int gpus_table(const struct gpus *g, bool intervals, struct cb_table *t);
json_t *gpus_json(const struct gpus *g);

#endif

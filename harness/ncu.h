/*
 * ncu.h - executed instructions by pipe, from the text of Nsight Compute.
 *
 * Counts of the static listing (sass.h) say what stands in a loop; these say what ran.  A run
 * under the profiler marks where the launches of each row begin (cb_mark), so that launches of a
 * library are told apart too.  Opcodes belong to pipes by the same table as static counts.
 *
 * Source of the text: ncu --csv --page raw --print-metric-instances details, metrics ncu_metrics.
 */
#ifndef HARNESS_NCU_H
#define HARNESS_NCU_H

#include "sass.h"

/* One row's launches, warp instructions. */
struct ncu_counts {
    int launches;
    double pipe[SASS_PIPES], all; /* by opcode; all: their sum */
    double counter;               /* the same total as the hardware counted it */
};

/* Of --metrics. */
extern const char ncu_metrics[];

/* Path of ncu, as cb_tool_find: $NCU first.  0 or -1. */
int ncu_tool(char *path, int size);

/* Launches between mark i and the next go to out[i - 1], i = 1 .. count; those before the first
 * mark nowhere.  0; -1 for a text that is not of this form, a mark beyond count, a launch without
 * counts by opcode. */
int ncu_parse(const char *csv, const struct sass_table *t, struct ncu_counts *out, int count);

#endif

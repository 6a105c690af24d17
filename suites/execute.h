/*
 * execute.h - one case in a process of its own for a profiler: every row set up, checked, then
 * executed once more behind a mark.
 */
#ifndef SUITES_EXECUTE_H
#define SUITES_EXECUTE_H

#include "../harness/ncu.h"

/* The verb: arg holds operator, parameters as JSON, UUID of the GPU, then names of rows.  An exit
 * code; prints what it could not do. */
int execute_verb(const char *const *arg, int count);

/* Runs that verb of this program under ncu on the GPU of uuid and counts: counts [rows], launches 0
 * for a row that could not run.  0 or -1. */
int execute_counted(const char *op, const char *params, const char *uuid, const char *const *row,
                    int rows, struct ncu_counts *counts);

#endif

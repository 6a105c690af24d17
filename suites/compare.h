/*
 * compare.h - two or more recorded runs side by side.
 *
 * Runs on the same GPU product give quotients of times with verdicts; runs on
 * different ones are shown beside each other, each with its own speedup over
 * the baseline, and nothing is called faster across hardware.  What differs in the
 * circumstances stands on top, what only one side has below.
 */
#ifndef SUITES_COMPARE_H
#define SUITES_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "../harness/table.h"

enum { COMPARE_MAX = 8 };

struct compare_options {
    enum cb_format format;
    bool json;              /* instead of format */
    const char *experiment; /* pattern; NULL: all */
    const char *kernel;     /* pattern; NULL: all */
    const json_t *filter;   /* of cases, as for result_matches; NULL: all */
    bool sort;              /* by quotient, slowest first, instead of the order of the first run */
    bool geomean;           /* also one line per experiment and kernel */
    double delta;           /* margin of a verdict; 0: 0.02 */
    bool fail_on_slower;    /* *slower is set by a row beyond... */
    double fail_percent;    /* ... this margin; 0: that of the verdict */
    const char *folder;     /* for the figure with one series a run; NULL: none is drawn */
};

/* paths: files or folders; the first is the reference.  Folders that hold results of several
 * papers (results/GPU) are compared paper by paper.  *slower: see options.  0 or -1. */
int compare_results(const char *const *paths, int count, const struct compare_options *o, FILE *out,
                    bool *slower);

#endif

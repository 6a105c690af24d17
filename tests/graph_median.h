/* graph_median.h - how long a step takes, for the times of tests on a GPU. */
#ifndef TESTS_GRAPH_MEDIAN_H
#define TESTS_GRAPH_MEDIAN_H

#include "../harness/device.h"
#include "test.h"

/* Microseconds a run of a graph of so many, median of 15; 0 where it fails. */
static inline double graph_median(struct cb_device *d, cb_enqueue_fn *step, void *arg, int steps)
{
    enum { ROUNDS = 15 };
    struct cb_graph *g = NULL;
    double us[ROUNDS] = { 0 };
    CHECK(!cb_graph_make(d, step, arg, steps, &g) && g);
    for (int k = 0; g && k < ROUNDS; k++) {
        struct cb_window w = { 0 };
        CHECK(!cb_graph_window(d, g, false, &w));
        int at = k;
        for (; at && us[at - 1] > w.us / steps; at--)
            us[at] = us[at - 1];
        us[at] = w.us / steps;
    }
    cb_graph_free(d, g);
    return us[ROUNDS / 2];
}

#endif

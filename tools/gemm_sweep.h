/*
 * gemm_sweep.h - what the tools that time a gemm kernel in all its tilings share: operands of a
 * layer, and one row checked against the FP64 reference and timed with weights out of cache.
 */
#ifndef TOOLS_GEMM_SWEEP_H
#define TOOLS_GEMM_SWEEP_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../harness/error.h"
#include "../harness/stats.h"
#include "../suites/ops/ops.h"
#include "../suites/ops/gemm_part.h"

struct sweep_layer {
    struct cb_context c;
    struct gemm_params p;
    void *instance;
    int sets; /* of weights */
};

static inline const struct gemm_impl *sweep_find(const char *name)
{
    const struct op_impl *i;
    for (int k = 0; (i = op_gemm.impl(k)); k++)
        if (!strcmp(i->name, name))
            return (const struct gemm_impl *)i;
    return NULL;
}

struct sweep_launch {
    void *bound;
    int sets;
};

static inline int sweep_enqueue(void *arg, int step)
{
    const struct sweep_launch *l = arg;
    return op_gemm.run(l->bound, step % l->sets, 0);
}

/* Median of five windows of one graph, per launch. */
static inline int sweep_time(struct cb_device *d, struct sweep_launch *l, double *us)
{
    enum { WINDOWS = 5, LAUNCHES = 48 };
    const int count = (LAUNCHES + l->sets - 1) / l->sets * l->sets;
    struct cb_graph *g = NULL;
    struct cb_window w = { 0 };
    double t[WINDOWS];
    int status = cb_graph_make(d, sweep_enqueue, l, count, &g);
    if (!status && !g)
        status = cb_error("a launch cannot be captured");
    if (!status)
        status = cb_graph_launch(d, g) || cb_sync(d) ? -1 : 0;
    for (int i = 0; !status && i < WINDOWS; i++) {
        status = cb_graph_window(d, g, true, &w);
        t[i] = w.us / count;
    }
    cb_graph_free(d, g);
    if (!status)
        *us = cb_median(t, WINDOWS);
    return status;
}

/* 1: done; 0: the layer cannot have this; -1: failure.  Checked, and timed unless us is NULL;
 * *wrong counts. */
static inline int sweep_try(struct sweep_layer *l, const struct gemm_impl *row, double *us,
                            int *wrong)
{
    struct cb_device *d = l->c.device;
    struct sweep_launch x = { NULL, l->sets };
    struct cb_region y;
    struct cb_accuracy r1 = { .worst = -1 }, r2 = { .worst = -1 };
    double limit = INFINITY;
    if (op_gemm.bind(&l->c, l->instance, &row->base, &x.bound)) {
        cb_error_clear();
        return cb_sync(d) ? -1 : 0;
    }
    int status = op_gemm.outputs(x.bound, 0, 0, &y, 1) == 1 ? 0 : -1;
    /* the second launch has what the first leaves */
    for (int i = 0; !status && i < 2; i++)
        status = cb_fill(d, y.data, 0xFF, y.bytes) || sweep_enqueue(&x, 0) ? -1 : 0;
    if (!status)
        status = cb_sync(d) || op_gemm.check(&l->c, x.bound, 0, 0, &r1, &r2, &limit) ? -1 : 0;
    if (!status && (r1.bad || r1.nonfinite || !(r1.rel_fro <= limit))) {
        fprintf(stderr, "%s: WRONG, %ld of %ld elements\n", row->base.name, r1.bad, r1.compared);
        ++*wrong;
    }
    if (!status && us)
        status = sweep_time(d, &x, us);
    op_gemm.unbind(x.bound);
    return status ? -1 : 1;
}

/* Operands for all rows, and the reference; rows: those that say which schemes, NULL at the end;
 * bytes: of the weights of one set. */
static inline int sweep_open(struct sweep_layer *l, const char *const *rows, double bytes)
{
    const char *why;
    if (op_gemm.open(&l->c, &l->p, &l->instance))
        return -1;
    for (; *rows; rows++)
        op_gemm.ready(l->instance, &sweep_find(*rows)->base, &why);
    const double l2 = (double)cb_device_info(l->c.device)->l2;
    l->sets = (int)fmax(2, ceil(l->c.policy->rotate_l2 * l2 / bytes) + 1);
    return op_gemm.prepare(&l->c, l->instance, l->sets, 1) ||
                   op_gemm.expect(&l->c, l->instance, 0, 0)
               ? -1
               : 0;
}

#endif

/*
 * gnn_part.h - the parts of the operator gnn: the matrix of a model, and which row of spmm
 * does an aggregation.
 */
#ifndef SUITES_OPS_GNN_PART_H
#define SUITES_OPS_GNN_PART_H

#include "../../kernels/gnn/gnn.h"
#include "../../kernels/spmm/spmm.h"
#include "bind.h"
#include "ops.h"

/* ---- gnn_adjacency.c ---- */

/* A of gnn.h in host memory: CSR and the row of each entry. */
struct adjacency {
    int nodes;
    long nnz;
    int *row_ptr, *col, *row; /* [nodes+1], [nnz], [nnz] */
    float *val;               /* [nnz] */
};

/* A of a model from the pattern of a square matrix, whose values do not matter.
 * 0 or -1; a failure leaves *out all zero. */
int adjacency_of(const struct matrix *graph, enum gnn_model model, struct adjacency *out);
int adjacency_transpose(const struct adjacency *a, struct adjacency *out);
bool adjacency_equal(const struct adjacency *a, const struct adjacency *b);
void adjacency_free(struct adjacency *a); /* accepts { 0 } */

/* ---- gnn_aggregate.c ---- */

enum { AGGREGATIONS_MAX = 2 * GNN_LAYERS_MAX };

/* An aggregation as a row of spmm does it. */
struct aggregator {
    struct spmm_problem p;
    struct spmm_args args;
    const struct adjacency *host; /* A or its transpose; borrowed */
    const struct spmm_impl *impl;
    void *state;
};
/* Index into the aggregators of a net. */
static inline int aggregator_index(const struct gnn_aggregation *a)
{
    return 2 * a->layer + a->backward;
}

/* The problem of an aggregation of that width. */
struct spmm_problem aggregator_problem(const struct adjacency *a, int width);

/* Whether a row covers the problem on this device. */
bool aggregator_covered(const struct gnn_impl *row, const struct cb_device *d,
                        const struct spmm_problem *p);

/* Chooses among the rows of spmm that `row` names and sets the choice up; p, args and host are
 * filled.  Where there are several, each is timed.  0 or -1. */
int aggregator_open(struct aggregator *g, const struct gnn_impl *row, struct cb_device *d,
                    struct op_pool *pool);
void aggregator_close(struct aggregator *g); /* accepts { 0 } */
int aggregator_run(const struct aggregator *g, struct cb_device *d);
/* Name of the row that runs, where a selector chose: of its choice. */
const char *aggregator_choice(const struct aggregator *g);

/* Time of a run in microseconds, the least of three windows of about a millisecond; infinite where
 * a first run of milliseconds already took longer than `enough`. */
int aggregator_time(const struct aggregator *g, struct cb_device *d, double enough, double *us);

/* Runs it on what its operands hold now and compares every element with the definition. */
int aggregator_check(const struct aggregator *g, struct cb_device *d, struct cb_accuracy *a);

/* ---- gnn_operands.c ---- */

/* What the rows of a case share: inputs, and buffers between the steps. */
struct gnn_operands {
    struct cb_device *device;
    uint64_t seed;
    struct gnn_net net;
    const struct adjacency *a, *t;   /* host; borrowed; t may be a */
    struct spmm_matrix on_a, on_t;   /* device */
    struct gnn_buffers b;
    struct gnn_dense *dense;         /* GPU only */
    struct op_pool pool;
};

/* device, seed, net, a and t are filled.  0 or -1. */
int gnn_operands_open(struct gnn_operands *o);
void gnn_operands_close(struct gnn_operands *o); /* accepts { 0 } */
/* Fills what lies between the steps with NaN, so that a row cannot live on what another left. */
int gnn_operands_poison(const struct gnn_operands *o);
/* Bytes of the graph, of the other inputs, and of all that a step writes. */
void gnn_operands_bytes(const struct gnn_net *net, const struct adjacency *a,
                        const struct adjacency *t, double *graph, double *in, double *out);

/* Buffers of that element size from a pool; what is not needed stays NULL. */
int gnn_buffers_open(const struct gnn_net *net, size_t size, const struct op_memory *memory,
                     struct gnn_buffers *b);

/* The operands of an aggregation of the net. */
struct aggregator gnn_aggregator_of(const struct gnn_operands *o, const struct gnn_aggregation *a);

/* One step with these aggregators [AGGREGATIONS_MAX]; enqueues. */
int gnn_operands_step(struct gnn_operands *o, const struct aggregator *g);

/* ---- gnn_expect.c ---- */

struct gnn_expectation {
    double *want;          /* [gnn_result_size] host */
    float *bound;          /* how far an element may lie from it */
    void *on_want, *on_bound; /* the same on the device: of a forward pass, which is large */
    struct op_pool pool;
};
int gnn_expectation_open(struct gnn_expectation *e, const struct gnn_operands *o);
void gnn_expectation_close(struct gnn_expectation *e); /* accepts { 0 } */
/* Result of o against it; limit on a->rel_fro, which is that of the worst tensor. */
int gnn_expectation_check(const struct gnn_expectation *e, const struct gnn_operands *o,
                          struct cb_accuracy *a, double *limit);

#endif

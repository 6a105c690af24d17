/*
 * quant_part.h - what the results of quant should be: the half of its binding that knows no
 * harness case.
 */
#ifndef SUITES_OPS_QUANT_PART_H
#define SUITES_OPS_QUANT_PART_H

#include "../../harness/bench.h"
#include "../../kernels/quant/quant.h"

/* What pages hold before a launch: tokens that nobody writes must keep it. */
enum { QUANT_POISON = 0xA5 };

/* Rows that are compared: all of small outputs, else 64 of them, with every channel. */
struct quant_expectation {
    struct cb_device *device;
    struct quant_problem p;
    int rows;
    int *row;             /* [rows], ascending */
    double *v;            /* [rows][n] values before they are rounded; ADD: the sum */
    double *up;           /* [rows][n] SILU: by what the activation is multiplied */
    uint16_t *x;          /* [rows][n] ROPE_KV: q, k and v as they come */
    uint16_t *sum;        /* [rows][n] ADD, ADD_NORM: x + residual */
    unsigned char *pages; /* [pool_bytes] ROPE_KV: downloaded */
    size_t pool_bytes, set_pages, page_bytes; /* pages of keys and values follow one another */
};

/* seed chooses rows.  0 or -1; freed by quant_expectation_close either way. */
int quant_expectation_open(struct quant_expectation *e, struct cb_device *d,
                           const struct quant_problem *p, uint64_t seed);
/* The values of these operands, which are the device's. */
int quant_expectation_compute(struct quant_expectation *e, const struct quant_args *a);
/* What a row left in `a`; ROPE_KV: in the pool of pages too, which is then poisoned anew. */
int quant_expectation_check(struct quant_expectation *e, const struct quant_impl *i,
                            const struct quant_args *a, void *pool, struct cb_accuracy *r1,
                            struct cb_accuracy *r2);
void quant_expectation_close(struct quant_expectation *e); /* accepts { 0 } */

/* Pages of keys of a sequence; those of values follow them. */
static inline int quant_pages(const struct quant_problem *p)
{
    return (p->length + p->page - 1) / p->page;
}

#endif

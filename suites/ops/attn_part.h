/*
 * attn_part.h - the two halves of the binding of attn that know no harness case: queries and
 * caches of all sets in every scheme that is used, and what attention of them should be.
 */
#ifndef SUITES_OPS_ATTN_PART_H
#define SUITES_OPS_ATTN_PART_H

#include "../../kernels/attn/attn.h"
#include "bind.h"

enum { ATTN_TENSOR_Q = 1, ATTN_TENSOR_K = 2, ATTN_TENSOR_V = 3 };

/* ---- attn_operands.c ---- */

/* What the cache is made of. */
struct attn_made {
    int spread; /* percent: lengths lie between length (1 - spread / 100) and length */
    uint64_t seed;
};

struct attn_operands {
    struct cb_device *device;
    struct attn_problem p;
    struct attn_made made;
    int *length; /* [batch], host */
    int pages;   /* of keys, as many of values */
    void *length_device, *scale_device;
    struct op_sets q, out;                /* [input sets] */
    struct op_sets pool[ATTN_SCHEMES][2]; /* [weight sets] pages of keys, of values */
    struct op_sets table[ATTN_SCHEMES];   /* addresses of pages */
};

/* Lengths and the problem's sum of them; device, p and made are set. */
int attn_operands_open(struct attn_operands *o);
/* schemes: bit 1 << s for each that is used; the halves are always made.  0 or -1. */
int attn_operands_make(struct attn_operands *o, unsigned schemes, int weight_sets, int input_sets);
void attn_operands_close(struct attn_operands *o); /* accepts { 0 } */
struct attn_args attn_operands_at(const struct attn_operands *o, enum attn_scheme s, int weights,
                                  int inputs);
size_t attn_out_count(const struct attn_problem *p);

/* ---- attn_expect.c ---- */

struct attn_expectation {
    struct cb_device *device;
    unsigned schemes;
    struct attn_wanted wanted[ATTN_SCHEMES]; /* host, without score */
    struct attn_wanted on_device;
};

/* Memory for these schemes, and the halves, which r2 is the distance to.  0 or -1. */
int attn_expectation_open(struct attn_expectation *e, const struct attn_operands *o,
                          unsigned schemes);
int attn_expectation_compute(struct attn_expectation *e, const struct attn_operands *o, int weights,
                             int inputs);
/* Out of a row against them. */
int attn_expectation_check(const struct attn_expectation *e, const struct attn_operands *o,
                           const struct attn_impl *i, int inputs, struct cb_accuracy *r1,
                           struct cb_accuracy *r2);
/* Largest relative error in the Frobenius norm of a correct result. */
double attn_limit(const struct attn_impl *i);
void attn_expectation_close(struct attn_expectation *e); /* accepts { 0 } */

#endif

/*
 * encoder_part.h - the two halves of the binding of encoder that know no harness case: frames,
 * weights and rows of all sets, and what the encoder should make of them.
 */
#ifndef SUITES_OPS_ENCODER_PART_H
#define SUITES_OPS_ENCODER_PART_H

#include "../../kernels/group_attn/group_attn.h"
#include "../data/pillars.h"
#include "bind.h"

/* Of both operators, and of every published configuration. */
enum { ENCODER_PUBLISHED_HEADS = 8, ENCODER_PUBLISHED_HEAD = 16, ENCODER_PUBLISHED_HIDDEN = 256 };
enum { ENCODER_TENSOR_X = 1, ENCODER_TENSOR_WEIGHT = 2 };

/* ---- encoder_operands.c ---- */

enum { ENCODER_SCENES = 4 }; /* as made, x mirrored, y mirrored, both */

struct encoder_scene {
    struct pillars pillars;
    int32_t *slot, *rank; /* as of struct encoder_frame */
};

struct encoder_operands {
    struct cb_device *device;
    struct encoder_problem p;
    struct flatten_problem cut; /* of groups */
    uint64_t seed;
    struct encoder_scene scene[ENCODER_SCENES]; /* of sets 0, ENCODER_SCENES, ..; when needed */
    char sha256[65];                            /* of the first scene's cells */
    float *number;                              /* weights [layers][count], values of half */
    struct encoder_weights weights[ENCODER_LAYERS_MAX];
    struct op_sets cell, slot, rank, weight, x, y; /* [sets] */
};

/* The problem and its first scene: device, seed, cut but its n, p but its layer are set.  pillars:
 * 0, or exactly so many.  0 or -1. */
int encoder_operands_open(struct encoder_operands *o, int frames, int frame, int pillars);
int encoder_operands_make(struct encoder_operands *o, int sets); /* 0 or -1 */
void encoder_operands_close(struct encoder_operands *o);         /* accepts { 0 } */
struct encoder_host encoder_operands_host(const struct encoder_operands *o, int set);
struct encoder_args encoder_operands_at(const struct encoder_operands *o, int set);
size_t encoder_operands_rows(const struct encoder_operands *o); /* elements of x */

/* ---- encoder_expect.c ---- */

struct encoder_expectation {
    struct cb_device *device;
    unsigned schemes; /* 1 << s for each that is used */
    double *want[ENCODER_SCHEMES]; /* device [n][C] */
    float *bound[ENCODER_SCHEMES];
};

int encoder_expectation_open(struct encoder_expectation *e, const struct encoder_operands *o,
                             unsigned schemes);
int encoder_expectation_compute(struct encoder_expectation *e, const struct encoder_operands *o,
                                int set);
/* y of a set as a row left it.  limit: of the relative error in the Frobenius norm. */
int encoder_expectation_check(const struct encoder_expectation *e, const struct encoder_operands *o,
                              enum encoder_scheme s, int set, struct cb_accuracy *a,
                              double *limit);
void encoder_expectation_close(struct encoder_expectation *e); /* accepts { 0 } */

/* How far an element may be from want, of a row and of the whole result [n][c]. */
void encoder_bounds(int n, int c, const double *want, float *bound);
extern const double encoder_limit;

#endif

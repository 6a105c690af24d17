/*
 * bev_vendor.h - the detector behind the encoder with convolutions of a library: what all ways to
 * call it share.
 *
 * Maps are channels-last half.  The transposed 2 x 2 layer, whose windows do not overlap, is a 1 x 1
 * one to four times the channels; the neck is put together of its two parts.  Outputs of the
 * branches are groups of 64 channels to 8, for which libraries have few kernels: they may be a
 * convolution of all channels instead, whose weights are zero outside a branch.
 */
#ifndef BASELINES_BEV_VENDOR_H
#define BASELINES_BEV_VENDOR_H

#include "../kernels/bev/kernels.h"
#include "bev_sample.h"

OP_BEGIN

static const size_t BEV_WORKSPACE = (size_t)256 << 20;

struct bev_vendor {
    half_bits *map[BEV_MAPS];     /* the result is not ours */
    half_bits *plain, *up, *rows; /* parts of the neck; rows of the branches' outputs */
    half_bits *bias, *outputs;    /* biases in half; weights of the outputs */
    void *workspace;              /* [BEV_WORKSPACE] */
    half_bits *pattern;           /* [BEV_PERIOD]: what x is made of to judge a layer */
    struct bev_got *got;
};

/* What is picked of a layer's result, in device memory. */
struct bev_got {
    uint64_t at[BEV_PLACES];
    half_bits value[BEV_PLACES];
    int broken;
};

/* A convolution: x [side][side][channels], y [side / stride][side / stride][rows], both without
 * gaps.  w: of all channels; grouped: as the layer has them, the same where it has one group. */
struct bev_step {
    const struct bev_layer *layer;
    int side, channels, rows;
    const half_bits *x, *w, *grouped, *bias;
    half_bits *y;
};

/* Enqueues one, its bias, its relu and the addition behind it. */
typedef enum op_status bev_step_fn(const struct bev_problem *p, void *state, int number,
                                   const struct bev_step *step, op_stream s);

enum op_status bev_vendor_open(const struct bev_problem *p, const struct bev_args *a,
                               const struct op_memory *m, op_stream s, struct bev_vendor *out);
struct bev_step bev_vendor_step(const struct bev_problem *p, const struct bev_args *a,
                                const struct bev_vendor *v, int number);
enum op_status bev_vendor_run(const struct bev_problem *p, const struct bev_args *a,
                              const struct bev_vendor *v, bev_step_fn *step, void *state,
                              op_stream s);
/* Milliseconds of some runs of a step one after another; INFINITY where it fails, or cannot be part
 * of a CUDA graph.  One run only where that takes over twice `least`: the fastest so far, or
 * INFINITY.  Waits. */
float bev_vendor_time(const struct bev_problem *p, const struct bev_vendor *v, bev_step_fn *step,
                      void *state, int number, const struct bev_step *what, float least,
                      op_stream s);

/* Puts numbers into a step's x; what its result at some places is then into *e and v.  Waits. */
enum op_status bev_vendor_expect(const struct bev_vendor *v, const struct bev_step *what,
                                 struct bev_expected *e, op_stream s);
/* Whether runs of a step give what was expected last: one run, and two replays of a graph; its
 * input written as late as may be (judge.cu), its result and its workspace poisoned.  Waits. */
int bev_vendor_right(const struct bev_problem *p, const struct bev_vendor *v, bev_step_fn *step,
                     void *state, int number, const struct bev_step *what,
                     const struct bev_expected *e, op_stream s);

OP_END
#endif

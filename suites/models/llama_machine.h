/*
 * llama_machine.h - what runs a model in the host's place, and the one there is: a GPU.
 *
 * Products are cuBLAS's, in FP32, or with half operands and FP32 sums; products of integers,
 * rounded keys and values, norms, rotary embedding, softmax, SiLU and losses are kernels of
 * kernels/models.  Hidden states, attention and all that is kept are FP32 in either case.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_LLAMA_MACHINE_H
#define SUITES_MODELS_LLAMA_MACHINE_H

#include "../../harness/device.h"
#include "llama.h"

enum llama_part { LLAMA_LAYER, LLAMA_ATTENTION, LLAMA_FFN };

struct llama_run; /* a sequence in progress, at the machine */

struct llama_machine {
    struct cb_device *device;
    int (*refresh)(struct llama_machine *g, const struct llama *m, int layer);
    /* rows: tokens at a time, [1, capacity], that the calls below take. */
    int (*begin)(struct llama_machine *g, const struct llama *m, int capacity,
                 struct llama_run **out, int *rows);
    void (*end)(struct llama_run *r); /* accepts NULL */
    /* m tokens after `position` others: x [m][dim] of the host through a layer or a part of
     * it, whose inputs are normed already, into y [m][dim].  1: enough was seen, see watch. */
    int (*part)(struct llama_run *r, enum llama_part part, int layer, int position, int m,
                const float *x, float *y);
    /* Embedded tokens x [m][dim] through everything but the output matrix. */
    int (*tokens)(struct llama_run *r, int position, int m, const float *x);
    /* Of the last tokens, from the first-th: logits [m][vocab] for the host. */
    int (*logits)(struct llama_run *r, int first, int m, float *out);
    /* The same, looked at there: adds the losses of next [m], and divergences, to the sums. */
    int (*losses)(struct llama_run *r, int first, int m, const int *next, float *reference,
                  bool fill, double *loss, double *kl);
    void (*close)(struct llama_machine *g);
};

/* A machine for models of this shape, one after another, on a GPU.  half: operands of
 * products of floats are halves.  A build without CUDA has none. */
int llama_gpu_open(struct cb_device *d, const struct llama_config *c, bool half,
                   struct llama_machine **out);
void llama_machine_close(struct llama_machine *g); /* accepts NULL */

#endif

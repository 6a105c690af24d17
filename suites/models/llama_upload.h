/*
 * llama_upload.h - memory of a GPU that grows, and matrices of a model in it.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_LLAMA_UPLOAD_H
#define SUITES_MODELS_LLAMA_UPLOAD_H

#include "../../harness/device.h"
#include "../../kernels/models/llama_steps.h"
#include "quant.h"
#include "quant_int.h"

/* Memory of the device; begins as { 0 }. */
struct gpu_room {
    void *p;
    size_t bytes;
};
int gpu_room_take(struct cb_device *d, struct gpu_room *r, size_t bytes); /* at least so much */
int gpu_room_fill(struct cb_device *d, struct gpu_room *r, const void *from, size_t bytes);
void gpu_room_free(struct cb_device *d, struct gpu_room *r);

/* A matrix [n][k]: floats, halves, or codes [n][groups.padded]. */
struct gpu_linear {
    int n, k;
    bool integers, has_bias, has_offset;
    int turn;                   /* of integers: size of the rotation of their inputs; 0: none */
    struct gpu_room w, bias;
    struct gpu_room scale, offset, sign, lists; /* of integers */
    struct llama_groups groups; /* its pointers lie in lists */
};

/* What l is now.  A product that is neither llama_apply nor int_linear_apply is refused. */
int gpu_linear_take(struct cb_device *d, const struct llama_linear *l, bool half,
                    struct gpu_linear *out);
void gpu_linear_free(struct cb_device *d, struct gpu_linear *l);

#endif

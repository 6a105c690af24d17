/*
 * quant_work.h - what the parts of quant_model share: quant_weights.c rounds weights,
 * quant_integer.c makes integers of them.
 */
#ifndef SUITES_MODELS_QUANT_WORK_H
#define SUITES_MODELS_QUANT_WORK_H

#include "quant_fold.h"
#include "quant_model.h"

enum { LINEARS = 7 }; /* of a layer */

/* Everything that quantising takes, while it lasts. */
struct work {
    struct quantised *q;
    const struct quant_recipe *r;
    const struct quant_options *o;
    const struct token_set *tokens;
    struct calibration c;
    double ratios; /* sum of those chosen */
    int searches;
};

/* By the recipe, all layers; 0, or -1 after cb_error. */
int quantise_weights(struct work *w);
int quantise_integers(struct work *w);

/* All layers by one function, on fresh inputs to calibrate on. */
int quant_each_layer(struct work *w, int (*act)(struct work *, int layer));
struct llama_linear *quant_linear(struct work *w, int layer, enum checkpoint_slot slot);
/* The matrices of a set, resident; its input channels. */
int quant_set(struct work *w, int layer, enum fold_set set, struct quant_matrix *out);
int quant_set_width(struct work *w, int layer, enum fold_set set);
float *quant_room(size_t n); /* n numbers; NULL after cb_error */
float quant_as_half(float x);

#endif

/* made_model.h - small models with made-up weights in memory, for the tests of forward passes. */
#ifndef TESTS_MADE_MODEL_H
#define TESTS_MADE_MODEL_H

#include <stdlib.h>

#include "../suites/data/checkpoint.h"

/* Elements mean - spread ... mean + spread. */
static inline struct tensor made_tensor(int rows, int cols, double spread, double mean)
{
    static unsigned state = 1;
    float *w = malloc((size_t)(rows * cols) * sizeof *w);
    for (int i = 0; w && i < rows * cols; i++) {
        state = state * 1664525 + 1013904223;
        w[i] = (float)(mean + spread * ((double)(state >> 8) / (1 << 23) - 1));
    }
    return (struct tensor){ .dtype = TENSOR_F32, .rows = rows, .cols = cols, .data = w };
}

static inline struct checkpoint made_model(struct llama_config config)
{
    struct checkpoint c = { .name = "made", .config = config };
    c.layer = calloc((size_t)config.layers, sizeof *c.layer);
    c.embedding = made_tensor(config.vocab, config.dim, 1, 0);
    c.norm = made_tensor(1, config.dim, 0.5, 1);
    c.output = made_tensor(config.vocab, config.dim, 0.5, 0);
    for (int l = 0; l < config.layers; l++)
        for (int s = 0; s < SLOTS; s++) {
            int rows, cols;
            checkpoint_slot_shape(&config, s, &rows, &cols);
            if (s < SLOT_Q_BIAS || config.qkv_bias)
                c.layer[l][s] = made_tensor(rows, cols, 0.5, rows == 1 && s < SLOT_Q_BIAS);
        }
    return c;
}

static inline void made_model_free(struct checkpoint *c)
{
    free((void *)c->embedding.data);
    free((void *)c->norm.data);
    free((void *)c->output.data);
    free((void *)c->rope_factors.data);
    for (int l = 0; l < c->config.layers; l++)
        for (int s = 0; s < SLOTS; s++)
            free((void *)c->layer[l][s].data);
    free(c->layer);
}

#endif

/*
 * calibrate.h - what the linear layers of a model see: its inputs, layer by layer.
 *
 * Sequences are run through one layer at a time, so that a layer may be changed before
 * the next one sees its outputs, or after.  Hidden states of all tokens stay in memory:
 * tokens x dim floats.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_CALIBRATE_H
#define SUITES_MODELS_CALIBRATE_H

#include "llama.h"

/* Sequences of equal length, [count][length]. */
struct token_set {
    int *token; /* owned */
    int count, length;
    int vocab_min; /* a vocabulary must be larger than every token: the largest + 1 */
    char name[64]; /* base name of the file, or how they were made */
    char source[16]; /* "generated", "user" */
    char sha256[65]; /* of the tokens as uint16 or, where one does not fit, uint32 */
};

/* path: *.u16, little-endian uint16 tokens, cut into windows of length (0: the context
 * of the model) without the rest; or any other file, a text, which the tokenizer in the
 * file or folder of that name encodes at once, begun as it asks.  most: windows to take
 * at most, from the start; 0: all. */
int token_set_load(const char *path, const char *tokenizer, int length, int most,
                   struct token_set *out);
/* Leaves the first windows out, of which it must have more. */
int token_set_skip(struct token_set *t, int windows);
/* Drawn from the model itself at temperature 1, each from the token `start`. */
int token_set_sample(const struct llama *m, int start, int count, int length, unsigned long seed,
                     struct token_set *out);
void token_set_free(struct token_set *t); /* accepts NULL and { 0 } */

struct calibration {
    struct llama *model; /* the caller's */
    const struct token_set *tokens;
    int states;
    struct llama_state **state; /* [states] one a thread */
    float *x;            /* [count * length][dim]: what the next layer takes */
};

int calibration_begin(struct llama *m, const struct token_set *t, struct calibration *out);
void calibration_end(struct calibration *c); /* accepts { 0 } */
int calibration_rows(const struct calibration *c); /* tokens of all sequences */

/* Calls act for every sequence, those of small models side by side. */
typedef int calibration_act(void *context, struct llama_state *s, int sequence);
int calibration_each(struct calibration *c, calibration_act *act, void *context);
/* Is a model so small that its products are not worth more than one thread? */
bool calibration_small(const struct llama_config *c);
/* Threads that have a sequence each: 1, where they share what a sequence needs instead, for
 * large models, on a machine, and where too few sequences would leave threads without. */
int calibration_threads(const struct llama *m, int sequences);

/* Inputs of linear layers, of rows first, first + 1, ... of all sequences; slots that
 * share inputs (Q, K, V and GATE, UP) are seen once, as Q and GATE.  Or keys after rotation
 * and values, [rows][kv_heads][head_dim], as K and V.  Threads that have different
 * sequences may call it at the same time.  Returned are 0, -1 after cb_error, or 1 for enough
 * seen of these rows: where outputs do not advance, the rest of the layer is left out. */
typedef int calibration_see(void *context, enum checkpoint_slot slot, int first, const float *x,
                            int rows);

/* Runs a layer on all sequences; advance: their outputs become x.  see may be NULL. */
int calibration_layer(struct calibration *c, int layer, bool advance, calibration_see *see,
                      void *context);

/* All inputs of one layer, kept. */
struct layer_inputs {
    float *x[SLOTS]; /* [rows][k] of SLOT_Q, SLOT_O, SLOT_GATE, SLOT_DOWN; [rows][..] of K, V */
    int rows;
};
int calibration_inputs(struct calibration *c, int layer, bool advance, struct layer_inputs *out);
void layer_inputs_free(struct layer_inputs *i); /* accepts { 0 } */

/* Second moments of a slot's inputs alone: h [k][k]. */
int calibration_gram(struct calibration *c, int layer, enum checkpoint_slot slot, float *h);

#endif

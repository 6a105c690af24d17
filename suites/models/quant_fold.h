/*
 * quant_fold.h - changes of a model that leave its output as it is: scales, rotations and
 * outliers moved between neighbouring layers.
 *
 * All work on matrices made resident (llama_dense).  0, or -1 after cb_error.
 */
#ifndef SUITES_MODELS_QUANT_FOLD_H
#define SUITES_MODELS_QUANT_FOLD_H

#include "llama.h"

/* Matrices that take the same input, and what that input comes from. */
enum fold_set { FOLD_QKV, FOLD_O, FOLD_FFN, FOLD_DOWN, FOLD_SETS };
struct fold {
    enum checkpoint_slot input; /* under which calibration sees the input */
    enum checkpoint_slot slot[3];
    int slots;
};
extern const struct fold folds[FOLD_SETS];

/* Can a scale per channel of this input move into what comes before it?  Not those of O
 * where V has fewer rows. */
bool fold_possible(const struct llama_config *c, enum fold_set set);
/* Input channel p /= scale[p], its columns *= scale[p]; into norm gain, V or UP.  For O
 * with fewer V rows, scale must be equal in all query heads of a kv head. */
int fold_scale(struct llama *m, int layer, enum fold_set set, const float *scale);
/* Queries *= lambda, keys /= lambda, [kv_heads][head_dim], equal in both of a pair that
 * the rotary embedding turns. */
int fold_keys(struct llama *m, int layer, const float *lambda);
/* The two elements of pair p of a head. */
void fold_pair(const struct llama_config *c, int p, int *a, int *b);

/* All norm gains into the matrices behind them, then the residual stream turned. */
int fold_rotation(struct llama *m, unsigned long seed);

/* Outliers planted in a share of the channels, at least one of each kind: gains and rows
 * of UP times factor; with kv also keys and values.  seed 0 is a seed. */
int fold_outliers(struct llama *m, double share, double factor, bool kv, unsigned long seed);

#endif

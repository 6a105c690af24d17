/*
 * perplexity_case.h - what all rows of a case of the operator perplexity share: the model, its
 * windows, the losses and distributions of the original.
 *
 * Functions return 0, or -1 after cb_error.
 */
#ifndef SUITES_OPS_PERPLEXITY_CASE_H
#define SUITES_OPS_PERPLEXITY_CASE_H

#include "ops.h"
#include "perplexity_kept.h"
#include "perplexity_rows.h"

struct perplexity_params {
    char model[CB_PATH_MAX], data[CB_PATH_MAX], calibration[CB_PATH_MAX], tokenizer[CB_PATH_MAX];
    int bits, group, range, length, windows, calibration_windows, seed, machine, outlier_kv;
    double share, factor, outliers, outlier_share;
};

extern const char *const perplexity_machines[]; /* names, NULL behind the last */
enum perplexity_machine { MACHINE_AUTO, MACHINE_HOST, MACHINE_GPU, MACHINE_GPU_F16 };

struct perplexity_case {
    struct perplexity_params given;
    struct checkpoint checkpoint;
    struct token_set data, calibration;
    struct quant_options options;
    struct llama_machine *machine; /* NULL: the host */
    struct quant_reference reference;
    double *original;     /* [windows] losses of the FP32 model */
    double *ratios[2];    /* of AWQ's searches: by the module's output, by the set's own; kept */
    struct kept_row row[PERPLEXITY_ROWS]; /* loss NULL: not run */
    const double *channel_ratio; /* median and greatest; kept */
    char sha256[65];
    bool measured; /* original and reference are there */
};

/* Opens what the parameters name, calibrates, and measures the original model. */
int perplexity_open(struct cb_context *c, const struct perplexity_params *given,
                    struct perplexity_case **out);
void perplexity_close(void *instance); /* a struct perplexity_case, or NULL */

/* All that a row's result depends on; recipe NULL: that of the original model. */
void perplexity_key(const struct perplexity_case *in, const struct quant_recipe *recipe,
                    char key[KEPT_KEY]);

/* Does the recipe leave the original model, whose losses are there? */
bool perplexity_is_original(const struct perplexity_case *in, const struct quant_recipe *recipe);

#endif

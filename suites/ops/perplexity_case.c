/* perplexity_case.c - see perplexity_case.h. */
#include "perplexity_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../home.h"
#include "../models/llama_machine.h"
#include "../models/quant_fold.h"

#define REFERENCE_BYTES ((size_t)512 << 20) /* of the FP32 model's distributions */

const char *const perplexity_machines[] = { "auto", "host", "gpu", "gpu_f16", NULL };

void perplexity_key(const struct perplexity_case *in, const struct quant_recipe *i,
                    char key[KEPT_KEY])
{
    const struct perplexity_params *g = &in->given;
    const unsigned plain = QUANT_WEIGHTS | QUANT_HALF, chosen = QUANT_KEEP | QUANT_SCALE_SHARE;
    int n = snprintf(key, KEPT_KEY, "%s %s %d x %d, machine %d", in->sha256, in->data.sha256,
                     in->data.count, in->data.length, in->machine ? 1 + g->machine : 0);
    if (!i)
        return;
    n += snprintf(key + n, (size_t)(KEPT_KEY - n), "; %x %d %d %d %d", i->flags, (int)i->integer,
                  i->act_bits, i->kv_bits, (int)i->rank);
    if (g->outliers > 1)
        n += snprintf(key + n, (size_t)(KEPT_KEY - n), "; %a %a %d %d", g->outliers,
                      g->outlier_share, g->outlier_kv, g->seed);
    if ((i->flags & QUANT_WEIGHTS) && !(i->flags & QUANT_HALF))
        n += snprintf(key + n, (size_t)(KEPT_KEY - n), "; %d %d %d", g->bits, g->group, g->range);
    if (i->flags & chosen)
        n += snprintf(key + n, (size_t)(KEPT_KEY - n), "; %a %a", g->share, g->factor);
    if ((i->flags & ~plain) || i->integer)
        snprintf(key + n, (size_t)(KEPT_KEY - n), "; %s %d x %d, seed %d", in->calibration.sha256,
                 in->calibration.count, in->calibration.length, g->seed);
}

void perplexity_close(void *instance)
{
    struct perplexity_case *in = instance;
    if (!in)
        return;
    if (in->measured) {
        char key[KEPT_KEY];
        perplexity_key(in, NULL, key);
        kept_original_give(key, in->data.count, in->original, &in->reference);
    }
    checkpoint_free(&in->checkpoint);
    token_set_free(&in->data);
    token_set_free(&in->calibration);
    quant_reference_free(&in->reference);
    llama_machine_close(in->machine);
    free(in->original);
    for (int i = 0; i < PERPLEXITY_ROWS; i++) {
        free(in->row[i].loss);
        free(in->row[i].kl);
    }
    free(in);
}

/* A path as given or, if there is nothing, in the program's folder. */
static int resolve(const char *given, char *out, size_t size)
{
    const bool plain = given[0] == '/' || !access(given, F_OK);
    const int n = plain ? snprintf(out, size, "%s", given) : 0;
    if (!plain)
        home_path(given, out, size);
    if (n < 0 || (size_t)n >= size)
        return cb_error("%.60s...: path too long", given);
    return access(out, F_OK) ? cb_error("not available: %s", given) : 0;
}

static int own_file(const char *folder, const char *name, char *out, size_t size)
{
    const int n = snprintf(out, size, "%s/%s", folder, name);
    return n > 0 && (size_t)n < size && !access(out, F_OK) ? 0
                                                           : cb_error("not available: %s", name);
}

/* Windows from "own" or a path. */
static int load_tokens(const struct perplexity_case *in, const char *folder, const char *spec,
                       const char *own, int length, int most, struct token_set *out)
{
    char path[4400], tokenizer[4400] = "";
    struct stat st;
    if (!strcmp(spec, "own") ? own_file(folder, own, path, sizeof path)
                             : resolve(spec, path, sizeof path))
        return -1;
    if (in->given.tokenizer[0]) {
        if (resolve(in->given.tokenizer, tokenizer, sizeof tokenizer))
            return -1;
    } else if (!stat(folder, &st)) {
        snprintf(tokenizer, sizeof tokenizer, "%.4300s", folder);
    }
    if (token_set_load(path, tokenizer, length, most, out))
        return -1;
    if (!strcmp(spec, "own"))
        memcpy(out->source, "generated", sizeof "generated");
    return 0;
}

static int calibration_tokens(struct perplexity_case *in, const struct llama *m, const char *folder,
                              int length)
{
    const char *spec = in->given.calibration;
    char path[4400];
    if (!*spec)
        spec = own_file(folder, "calibration.u16", path, sizeof path) ? "sample" : "own";
    if (strcmp(spec, "sample")) {
        /* of the text that is evaluated on, what follows the windows evaluated on */
        const int skip = strcmp(spec, "own") && !strcmp(spec, in->given.data) ? in->data.count : 0;
        return load_tokens(in, folder, spec, "calibration.u16", length,
                           skip + in->given.calibration_windows, &in->calibration)
                   ? -1
                   : token_set_skip(&in->calibration, skip);
    }
    return token_set_sample(m, in->data.token[0], in->given.calibration_windows, length,
                            (unsigned long)in->given.seed, &in->calibration);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

bool perplexity_is_original(const struct perplexity_case *in, const struct quant_recipe *r)
{
    return !r->flags && !r->integer && !r->kv_bits && !(in->given.outliers > 1);
}

/* What everything learnt from the calibration depends on. */
static int calibration_key(const struct perplexity_case *in, char key[KEPT_KEY])
{
    const struct perplexity_params *g = &in->given;
    int n = snprintf(key, KEPT_KEY, "%s %s %d x %d, machine %d", in->sha256, in->calibration.sha256,
                     in->calibration.count, in->calibration.length,
                     in->machine ? 1 + g->machine : 0);
    if (g->outliers > 1)
        n += snprintf(key + n, (size_t)(KEPT_KEY - n), "; %a %a %d %d", g->outliers,
                      g->outlier_share, g->outlier_kv, g->seed);
    return n;
}

/* Largest mean |x| of an input's channels over their median: how far outliers stand out.
 * Median and greatest over the inputs of all linear layers. */
static int channel_ratios(struct perplexity_case *in, struct llama *m, double out[2])
{
    static const enum checkpoint_slot slots[] = { SLOT_Q, SLOT_O, SLOT_GATE, SLOT_DOWN };
    struct calibration c;
    double *ratio = malloc(4 * (size_t)m->config.layers * sizeof *ratio);
    int count = 0, status = ratio ? calibration_begin(m, &in->calibration, &c) : -1;
    if (status) {
        free(ratio);
        return ratio ? -1 : cb_error("no memory for %d layers", m->config.layers);
    }
    for (int l = 0; !status && l < m->config.layers; l++) {
        struct layer_inputs x;
        if ((status = calibration_inputs(&c, l, true, &x)))
            break;
        for (int s = 0; !status && s < 4; s++) {
            const int k = m->layer[l].linear[slots[s]].k;
            double *mean = malloc((size_t)k * sizeof *mean);
            if (mean) {
                quant_mean_abs(x.x[slots[s]], x.rows, k, mean);
                const double middle = median(mean, k);
                ratio[count++] = middle > 0 ? mean[k - 1] / middle : 0;
            } else {
                status = cb_error("no memory for %d channels", k);
            }
            free(mean);
        }
        layer_inputs_free(&x);
    }
    if (!status) {
        out[0] = median(ratio, count);
        out[1] = ratio[count - 1];
    }
    free(ratio);
    calibration_end(&c);
    return status;
}

/* What cases calibrated alike have in common: their channel ratios, and AWQ's. */
static int learn(struct perplexity_case *in, struct llama *m)
{
    const struct perplexity_params *g = &in->given;
    const size_t searches = (size_t)in->checkpoint.config.layers * FOLD_SETS;
    char key[KEPT_KEY];
    const int n = calibration_key(in, key);
    for (int i = 0; i < 2; i++) {
        snprintf(key + n, (size_t)(KEPT_KEY - n), "; AWQ %d %d %d %d", g->bits, g->group, g->range,
                 i);
        if (!(in->ratios[i] = kept_numbers(key, searches)))
            return -1;
    }
    snprintf(key + n, (size_t)(KEPT_KEY - n), "; channels");
    double *ratio = kept_numbers(key, 2);
    in->channel_ratio = ratio;
    return ratio && isnan(ratio[1]) ? channel_ratios(in, m, ratio) : ratio ? 0 : -1;
}

/* The machine that is asked for. */
static int open_machine(struct cb_context *c, struct perplexity_case *in)
{
    const bool gpu = c->device && cb_device_info(c->device)->sm > 0;
    if (in->given.machine >= MACHINE_GPU && !gpu)
        return cb_error("machine %s, but this run is on the host",
                        perplexity_machines[in->given.machine]);
    if (in->given.machine == MACHINE_HOST || !gpu)
        return 0;
    return llama_gpu_open(c->device, &in->checkpoint.config, in->given.machine == MACHINE_GPU_F16,
                          &in->machine);
}

/* Calibration, and the losses of the model as it is. */
static int measure_original(struct perplexity_case *in, const char *folder, int length)
{
    const struct perplexity_params *g = &in->given;
    struct llama m = { 0 };
    int status = -1;
    if (llama_open(&in->checkpoint, true, &m))
        return -1;
    /* single tokens of small models are too little for a MACHINE_GPU */
    m.machine = calibration_small(&m.config) ? NULL : in->machine;
    if (llama_refresh_all(&m) || calibration_tokens(in, &m, folder, length))
        goto done;
    m.machine = in->machine;
    char key[KEPT_KEY];
    perplexity_key(in, NULL, key);
    if (!kept_original_take(key, in->data.count, in->original, &in->reference) &&
        (quant_reference_new(&m, &in->data, REFERENCE_BYTES, &in->reference) ||
         quant_evaluate(&m, &in->data, &in->reference, true, in->original, NULL)))
        goto done;
    in->measured = true;
    if (g->outliers > 1 &&
        fold_outliers(&m, g->outlier_share, g->outliers, g->outlier_kv, (unsigned long)g->seed))
        goto done;
    status = learn(in, &m);
done:
    llama_close(&m);
    return status;
}

static int prepare(struct cb_context *c, struct perplexity_case *in)
{
    const struct perplexity_params *g = &in->given;
    const bool own = !strcmp(g->model, "own");
    char path[4200];
    if (resolve(own ? "configs/models/own" : g->model, path, sizeof path) ||
        checkpoint_load(path, &in->checkpoint) || checkpoint_sha256(&in->checkpoint, in->sha256) ||
        open_machine(c, in))
        return -1;
    const int context = in->checkpoint.config.context, usual = context < 2048 ? context : 2048;
    const int length = g->length ? g->length : usual;
    in->options = (struct quant_options){
        .grid = { g->bits, g->group, g->range ? QUANT_WITH_ZERO : QUANT_MIN_MAX },
        .share = g->share, .factor = g->factor, .seed = (unsigned long)g->seed,
        .outlier_share = g->outlier_share, .outlier_factor = g->outliers,
        .outlier_kv = g->outlier_kv, .outlier_seed = (unsigned long)g->seed, .machine = in->machine
    };
    if (load_tokens(in, path, g->data, "evaluation.u16", length, g->windows, &in->data))
        return -1;
    in->original = malloc((size_t)in->data.count * sizeof *in->original);
    if (!in->original)
        return cb_error("no memory for %d losses", in->data.count);
    return measure_original(in, path, length);
}

int perplexity_open(struct cb_context *c, const struct perplexity_params *given,
                    struct perplexity_case **out)
{
    struct perplexity_case *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a model");
    in->given = *given;
    if (prepare(c, in)) {
        perplexity_close(in);
        return -1;
    }
    *out = in;
    return 0;
}

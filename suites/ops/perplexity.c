/*
 * perplexity.c - what quantising a model costs: an experiment that is not timed.
 *
 * A row is a method.  For each the model is quantised from its original weights, run over
 * the evaluation windows, and compared with the FP32 model:
 *
 *     perplexity    exp of the mean over windows of the mean loss of their tokens but the first
 *     kl            mean over positions of KL(FP32 || quantised), in nats
 *     delta         mean loss - that of FP32, in nats per token
 *     nearer:ROW    kl of another row - own, on windows drawn from the model itself
 *     below:ROW     mean loss of another row of the case - own: positive is better than it
 *     ratio         AWQ: mean exponent chosen, 0 is round to nearest
 *     changed       scale_share: groups whose step changed, in percent
 *     step_ratio    scale_share: mean of new step / old step
 *
 * Intervals are 95 % over windows; those of delta, below: and nearer: are of paired differences.
 * On windows drawn from the model itself nearer: estimates what below: does: the expectation of
 * -log q under the model is its entropy and the divergence of q from it.  nearer: takes it over
 * all tokens of each position, below: looks at the one token drawn, so its interval is wider.
 *
 * model "own" is the project's model in configs/models/own, with its own windows for
 * evaluation and calibration; anything else is a checkpoint of the user.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../home.h"
#include "../models/llama_machine.h"
#include "../models/quant_fold.h"
#include "../models/quant_model.h"
#include "ops.h"
#include "perplexity_kept.h"
#include "perplexity_rows.h"

#define REFERENCE_BYTES ((size_t)512 << 20) /* of the FP32 model's distributions */

struct perplexity_params {
    char model[CB_PATH_MAX], data[CB_PATH_MAX], calibration[CB_PATH_MAX], tokenizer[CB_PATH_MAX];
    int bits, group, range, length, windows, calibration_windows, seed, machine, outlier_kv;
    double share, factor, outliers, outlier_share;
};

static const char *const ranges[] = { "min_max", "with_zero", NULL };
static const char *const machines[] = { "auto", "host", "gpu", "gpu_f16", NULL };
enum { AUTO, HOST, GPU, GPU_F16 };

#define CHOICE(name, choices, help)                                                           \
    { #name, CB_CHOICE, offsetof(struct perplexity_params, name), 0, 0, 0, choices, false, help }
#define INTEGER(name, fallback, low, high, help)                                                 \
    { #name, CB_INT, offsetof(struct perplexity_params, name), fallback, low, high, NULL, false, \
      help }
#define REAL(name, fallback, low, high, help)                                                 \
    { #name, CB_REAL, offsetof(struct perplexity_params, name), fallback, low, high, NULL, false, \
      help }

static const struct cb_param params[] = {
    { "model", CB_PATH, offsetof(struct perplexity_params, model), 0, 0, 0, NULL, true,
      "own, or a checkpoint: folder, .bin or .gguf" },
    { "data", CB_PATH, offsetof(struct perplexity_params, data), 0, 0, 0, NULL, true,
      "own, or what to evaluate on: a text, or uint16 tokens in a .u16" },
    { "calibration", CB_PATH, offsetof(struct perplexity_params, calibration), 0, 0, 0, NULL, false,
      "the same for calibration; sample: drawn from the model; empty: own or sample" },
    { "tokenizer", CB_PATH, offsetof(struct perplexity_params, tokenizer), 0, 0, 0, NULL, false,
      "file of the tokenizer for texts; empty: the model's" },
    INTEGER(bits, 4, 2, 8, "of weights; rows with activations of their own ask for 4"),
    INTEGER(group, 128, 0, 1 << 20, "input channels per scale; 0: all"),
    CHOICE(range, ranges, "of a group: its least to its greatest weight, or with 0 inside"),
    INTEGER(length, 0, 0, 1 << 20, "tokens of a window; 0: the model's context, 2048 at most"),
    INTEGER(windows, 0, 0, 1 << 20, "to evaluate on; 0: all"),
    INTEGER(calibration_windows, 16, 1, 1 << 16, "to calibrate on"),
    REAL(share, 0.01, 0, 1, "of channels that rows keep_* and scale_share treat apart"),
    REAL(factor, 2, 1, 1024, "by which scale_share scales them"),
    REAL(outliers, 1, 1, 1024, "factor of outliers planted first; 1: none"),
    REAL(outlier_share, 0.03, 0, 1, "of channels that get one"),
    INTEGER(outlier_kv, 0, 0, 1, "1: keys and values get them too"),
    INTEGER(seed, 1, 0, 1 << 30, "of sampling, planting, rotation, and channels kept by chance"),
    CHOICE(machine, machines, "that runs the model; auto: the run's GPU, in FP32, or the host; "
                              "gpu_f16: products of half operands, FP32 sums"),
    { 0 },
};

static const struct op_impl *impl_at(int i)
{
    return i < PERPLEXITY_ROWS ? &perplexity_rows[i].base : NULL;
}

/* ---- what all rows share ---- */

struct instance {
    struct perplexity_params given;
    struct checkpoint checkpoint;
    struct token_set data, calibration;
    struct quant_options options;
    struct llama_machine *machine; /* NULL: the host */
    struct quant_reference reference;
    double *original;     /* [windows] losses of the FP32 model */
    double *ratios[2];    /* of AWQ's searches: by the module's output, by the set's own */
    struct kept_row row[PERPLEXITY_ROWS]; /* loss NULL: not run */
    double channel_ratio, channel_ratio_max;
    char sha256[65];
    bool measured; /* original and reference are there */
};

/* All that a row's result depends on; i NULL: that of the original model. */
static void key_of(const struct instance *in, const struct quant_recipe *i, char key[KEPT_KEY])
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

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    if (in->measured) {
        char key[KEPT_KEY];
        key_of(in, NULL, key);
        kept_original_give(key, in->data.count, in->original, &in->reference);
    }
    checkpoint_free(&in->checkpoint);
    token_set_free(&in->data);
    token_set_free(&in->calibration);
    quant_reference_free(&in->reference);
    llama_machine_close(in->machine);
    free(in->original);
    free(in->ratios[0]);
    free(in->ratios[1]);
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
static int load_tokens(const struct instance *in, const char *folder, const char *spec,
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

static int calibration_tokens(struct instance *in, const struct llama *m, const char *folder,
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

/* Largest mean |x| of an input's channels over their median: how far outliers stand out.
 * Median and greatest over the inputs of all linear layers. */
static int channel_ratios(struct instance *in, struct llama *m)
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
        in->channel_ratio = median(ratio, count);
        in->channel_ratio_max = ratio[count - 1];
    }
    free(ratio);
    calibration_end(&c);
    return status;
}

/* The machine that is asked for. */
static int open_machine(struct cb_context *c, struct instance *in)
{
    const bool gpu = c->device && cb_device_info(c->device)->sm > 0;
    if (in->given.machine >= GPU && !gpu)
        return cb_error("machine %s, but this run is on the host", machines[in->given.machine]);
    if (in->given.machine == HOST || !gpu)
        return 0;
    return llama_gpu_open(c->device, &in->checkpoint.config, in->given.machine == GPU_F16,
                          &in->machine);
}

/* Calibration, and the losses of the model as it is. */
static int measure_original(struct instance *in, const char *folder, int length)
{
    const struct perplexity_params *g = &in->given;
    struct llama m = { 0 };
    int status = -1;
    if (llama_open(&in->checkpoint, true, &m))
        return -1;
    /* single tokens of small models are too little for a GPU */
    m.machine = calibration_small(&m.config) ? NULL : in->machine;
    if (llama_refresh_all(&m) || calibration_tokens(in, &m, folder, length))
        goto done;
    m.machine = in->machine;
    char key[KEPT_KEY];
    key_of(in, NULL, key);
    if (!kept_original_take(key, in->data.count, in->original, &in->reference) &&
        (quant_reference_new(&m, &in->data, REFERENCE_BYTES, &in->reference) ||
         quant_evaluate(&m, &in->data, &in->reference, true, in->original, NULL)))
        goto done;
    in->measured = true;
    if (g->outliers > 1 &&
        fold_outliers(&m, g->outlier_share, g->outliers, g->outlier_kv, (unsigned long)g->seed))
        goto done;
    status = channel_ratios(in, &m);
done:
    llama_close(&m);
    return status;
}

static int prepare(struct cb_context *c, struct instance *in)
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
    for (int i = 0; i < 2; i++) {
        const size_t searches = (size_t)in->checkpoint.config.layers * FOLD_SETS;
        if (!(in->ratios[i] = malloc(searches * sizeof *in->ratios[i])))
            return cb_error("no memory for %zu scales", searches);
        for (size_t s = 0; s < searches; s++)
            in->ratios[i][s] = NAN;
    }
    return measure_original(in, path, length);
}

static int open_model(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a model");
    in->given = *(const struct perplexity_params *)given;
    if (prepare(c, in)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static void describe(const struct token_set *t, const char *name, struct cb_input *out)
{
    *out = (struct cb_input){ .dtype = "i32", .shape = { t->count, t->length } };
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->gen, sizeof out->gen, "%s", t->name);
    memcpy(out->source, t->source, sizeof out->source);
    memcpy(out->sha256, t->sha256, sizeof out->sha256);
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    const struct llama_config *c = &in->checkpoint.config;
    out[0] = (struct cb_input){ .name = "model", .shape = { c->layers, c->dim, c->vocab } };
    snprintf(out[0].dtype, sizeof out[0].dtype, "%s",
             tensor_dtype_name(in->checkpoint.layer[0][SLOT_Q].dtype));
    snprintf(out[0].gen, sizeof out[0].gen, "%.60s, %.16s", in->checkpoint.name,
             in->checkpoint.format);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    strcpy(out[0].source, strcmp(in->given.model, "own") ? "user" : "generated");
    describe(&in->data, "data", &out[1]);
    describe(&in->calibration, "calibration", &out[2]);
    return 3;
}

static struct cb_figure figure(const char *name, const char *unit, double value)
{
    struct cb_figure f = { .value = value, .low = value, .high = value };
    snprintf(f.name, sizeof f.name, "%s", name);
    snprintf(f.unit, sizeof f.unit, "%s", unit);
    return f;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    out[0] = figure("parameters", "", (double)checkpoint_parameters(&in->checkpoint));
    out[1] = figure("channel_ratio", "", in->channel_ratio);
    out[2] = figure("channel_ratio_max", "", in->channel_ratio_max);
    out[3] = figure("kl_windows", "", in->reference.sequences);
    return 4;
}

/* ---- one row ---- */

struct bound {
    struct instance *in;
    int row;
};

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct quant_recipe *r = &((const struct perplexity_row *)i)->recipe;
    *why = "has its own numbers of bits: stands with the weights of 4 bits";
    if (r->integer && in->given.bits != 4)
        return OP_EUNSUPPORTED;
    *why = NULL;
    return OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    struct bound *b = malloc(sizeof *b);
    (void)c;
    if (!b)
        return cb_error("no memory for a row");
    *b = (struct bound){ instance, (int)((const struct perplexity_row *)i - perplexity_rows) };
    *bound = b;
    return 0;
}

/* A row's losses and divergences, both with room for them. */
static int measure_row(struct instance *in, const struct quant_recipe *r, struct kept_row *out)
{
    struct quantised *q;
    struct quant_options o = in->options;
    o.ratios = in->ratios[(r->flags & QUANT_LINEAR_LOSS) != 0];
    if (quantised_open(&in->checkpoint, r, &o, &in->calibration, &q))
        return -1;
    const int status =
        quant_evaluate(&q->model, &in->data, &in->reference, false, out->loss, out->kl);
    out->ratio = q->ratio;
    out->steps = q->steps;
    quantised_close(q);
    return status;
}

static int run(void *bound, int weights, int activations)
{
    struct bound *b = bound;
    struct instance *in = b->in;
    const struct quant_recipe *r = &perplexity_rows[b->row].recipe;
    const size_t bytes = (size_t)in->data.count * sizeof(double);
    struct kept_row row = { .loss = malloc(bytes), .kl = malloc(bytes) };
    char key[KEPT_KEY];
    (void)weights, (void)activations;
    key_of(in, r, key);
    const struct kept_row *kept = kept_row(key);
    int status = row.loss && row.kl ? 0 : cb_error("no memory for %d losses", in->data.count);
    if (!status && kept) {
        memcpy(row.loss, kept->loss, bytes);
        memcpy(row.kl, kept->kl, bytes);
        row.ratio = kept->ratio;
        row.steps = kept->steps;
    } else if (!status && !(status = measure_row(in, r, &row))) {
        kept_row_add(key, in->data.count, &row);
    }
    if (status) {
        free(row.loss);
        free(row.kl);
        return -1;
    }
    free(in->row[b->row].loss);
    free(in->row[b->row].kl);
    in->row[b->row] = row;
    return 0;
}

/* Mean and 95 % interval over windows of a - b; b NULL: of a. */
static struct cb_figure over_windows(const char *name, const char *unit, const double *a,
                                     const double *b, int n)
{
    struct cb_figure f = figure(name, unit, 0);
    double square = 0;
    for (int i = 0; i < n; i++)
        f.value += (a[i] - (b ? b[i] : 0)) / n;
    for (int i = 0; i < n; i++) {
        const double d = a[i] - (b ? b[i] : 0) - f.value;
        square += d * d;
    }
    const double half = n > 1 ? 1.96 * sqrt(square / (n - 1) / n) : 0;
    f.low = f.value - half;
    f.high = f.value + half;
    return f;
}

/* Windows with a divergence: the first, as many as the reference has. */
static int with_kl(const struct instance *in)
{
    return in->reference.sequences < in->data.count ? in->reference.sequences : in->data.count;
}

/* By how much the row is better than the others, by one of their numbers. */
static int differences(const struct bound *b, bool kl, int windows, struct cb_figure *out, int room)
{
    const struct kept_row *row = b->in->row;
    int n = 0;
    for (int i = 0; i < PERPLEXITY_ROWS && n < room; i++)
        if (row[i].loss && i != b->row && windows > 0) {
            char name[40];
            snprintf(name, sizeof name, "%s:%.24s", kl ? "nearer" : "below",
                     perplexity_rows[i].base.name);
            out[n++] = over_windows(name, "nat", kl ? row[i].kl : row[i].loss,
                                    kl ? row[b->row].kl : row[b->row].loss, windows);
        }
    return n;
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    const struct instance *in = b->in;
    const struct kept_row *row = &in->row[b->row];
    const int windows = in->data.count;
    int n = 0;
    if (!row->loss)
        return 0;
    out[n] = over_windows("perplexity", "", row->loss, NULL, windows);
    out[n].value = exp(out[n].value);
    out[n].low = exp(out[n].low);
    out[n].high = exp(out[n].high);
    n++;
    if (with_kl(in))
        out[n++] = over_windows("kl", "nat", row->kl, NULL, with_kl(in));
    out[n++] = over_windows("delta", "nat", row->loss, in->original, windows);
    if (isfinite(row->ratio))
        out[n++] = figure("ratio", "", row->ratio);
    if (row->steps.groups > 0) {
        out[n++] = figure("changed", "%", 100 * row->steps.changed / row->steps.groups);
        out[n++] = figure("step_ratio", "", row->steps.ratio / row->steps.groups);
    }
    n += differences(b, false, windows, out + n, CB_FIGURES_MAX - n);
    if (!strcmp(in->given.data, "own"))
        n += differences(b, true, with_kl(in), out + n, CB_FIGURES_MAX - n);
    return n;
}

const struct cb_op op_perplexity = {
    .name = "perplexity", .title = "what quantising a language model costs",
    .params = params, .params_size = sizeof(struct perplexity_params), .untimed = true,
    .impl = impl_at, .open = open_model, .inputs = inputs, .statistics = statistics,
    .ready = ready, .bind = bind, .run = run, .figures = figures, .unbind = free,
    .close = close_instance,
};

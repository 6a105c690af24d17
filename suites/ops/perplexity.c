/*
 * perplexity.c - what quantising a model costs: an experiment that is not timed.
 *
 * A row is a method.  For each the model is quantised from its original weights, run over
 * the evaluation windows, and compared with the FP32 model:
 *
 *     perplexity    exp of the mean over windows of the mean loss of their tokens but the first
 *     kl            mean over positions of KL(FP32 || quantised), in nats
 *     delta         mean loss - that of FP32, in nats per token
 *     below:ROW     mean loss of another row of the case - own: positive is better than it
 *     ratio         AWQ: mean exponent chosen, 0 is round to nearest
 *     changed       scale_share: groups whose step changed, in percent
 *     step_ratio    scale_share: mean of new step / old step
 *
 * Intervals are 95 % over windows; those of delta and below: are of paired differences.
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

#define REFERENCE_BYTES ((size_t)512 << 20) /* of the FP32 model's distributions */

struct perplexity_params {
    char model[CB_PATH_MAX], data[CB_PATH_MAX], calibration[CB_PATH_MAX], tokenizer[CB_PATH_MAX];
    int bits, group, range, length, windows, calibration_windows, seed, machine;
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
    INTEGER(seed, 1, 0, 1 << 30, "of sampling, planting, rotation, and channels kept by chance"),
    CHOICE(machine, machines, "that runs the model; auto: the run's GPU, in FP32, or the host; "
                              "gpu_f16: products of half operands, FP32 sums"),
    { 0 },
};

/* ---- rows ---- */

struct row {
    struct op_impl base;
    struct quant_recipe recipe;
};

#define ROW(row_name, row_title, row_origin, row_role, ...)                                 \
    { .base = { .name = row_name, .title = row_title, .origin = row_origin, .role = row_role, \
                .sm_min = 0, .sm_max = 999 },                                               \
      .recipe = { __VA_ARGS__ } }
#define GPTQ_PAPER "GPTQ, arXiv 2210.17323"
#define AWQ_PAPER "AWQ, arXiv 2306.00978"
#define QOQ_PAPER "QServe, arXiv 2405.04532"
/* What QoQ's steps add up to. */
#define S_ROTATE (QUANT_WEIGHTS | QUANT_ROTATE)
#define S_CLIP (S_ROTATE | QUANT_QOQ_CLIP)
#define S_KEYS (S_CLIP | QUANT_SMOOTH_KEYS)

static const struct row rows[] = {
    ROW("fp32", "FP32", "definition", OP_REFERENCE, 0),
    ROW("fp16", "FP16 weights", "definition", OP_BASELINE, .flags = QUANT_WEIGHTS | QUANT_HALF),
    ROW("rtn", "RTN", "round to nearest", OP_BASELINE, .flags = QUANT_WEIGHTS),
    ROW("gptq", "GPTQ", GPTQ_PAPER, OP_BASELINE, .flags = QUANT_WEIGHTS | QUANT_GPTQ),
    ROW("gptq_r", "GPTQ, reordered", GPTQ_PAPER, OP_BASELINE,
        .flags = QUANT_WEIGHTS | QUANT_GPTQ | QUANT_GPTQ_ORDER),
    ROW("awq_scale", "AWQ, scales only", AWQ_PAPER ", section 3", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ),
    ROW("awq", "AWQ", AWQ_PAPER ", section 3 and its code", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_AWQ_CLIP),
    ROW("awq_linear", "AWQ, scales by each set's own output",
        AWQ_PAPER ", its objective as printed", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_LINEAR_LOSS),
    ROW("awq_gptq", "AWQ, then GPTQ", AWQ_PAPER ", table of INT2", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_GPTQ),
    ROW("keep_input", "channels of the largest inputs kept", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_INPUT),
    ROW("keep_weight", "channels of the largest weights kept", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_WEIGHT),
    ROW("keep_random", "channels kept at random", AWQ_PAPER ", table 1", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_KEEP, .rank = QUANT_BY_CHANCE),
    ROW("scale_share", "channels of the largest inputs scaled", AWQ_PAPER ", table 2", OP_PAPER,
        .flags = QUANT_WEIGHTS | QUANT_SCALE_SHARE, .rank = QUANT_BY_INPUT),
    ROW("smoothquant_w8a8", "SmoothQuant W8A8KV8", "SmoothQuant, arXiv 2211.10438", OP_BASELINE,
        .flags = QUANT_WEIGHTS | QUANT_SMOOTH, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_1_w8a8", "W8A8KV8", QOQ_PAPER ", ablation, start", OP_PAPER, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_2_w4", "+ 4-bit weights per channel", QOQ_PAPER ", ablation", OP_PAPER,
        .flags = QUANT_WEIGHTS, .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_3_rotate", "+ rotation", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_ROTATE,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_4_clip", "+ clipping", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_CLIP,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 8),
    ROW("qoq_5_kv4", "+ KV4", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_CLIP,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_6_keys", "+ SmoothAttention", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_KEYS,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_7_groups", "+ progressive groups", QOQ_PAPER ", ablation", OP_PAPER, .flags = S_KEYS,
        .integer = QUANT_PROGRESSIVE, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_8_order", "+ reordering", QOQ_PAPER ", ablation", OP_PAPER,
        .flags = S_KEYS | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE, .act_bits = 8,
        .kv_bits = 4),
    ROW("qoq_channel", "QoQ W4A8KV4", QOQ_PAPER, OP_PAPER, .flags = S_KEYS | QUANT_SMOOTH_OUT,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("qoq_group", "QoQ W4A8KV4, grouped", QOQ_PAPER, OP_PAPER,
        .flags = S_KEYS | QUANT_SMOOTH_OUT | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE,
        .act_bits = 8, .kv_bits = 4),
    ROW("rtn_w4a8kv4", "RTN W4A8KV4", "round to nearest", OP_BASELINE, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4),
    ROW("rtn_w4a8kv4_group", "RTN W4A8KV4, progressive groups", "round to nearest", OP_BASELINE,
        .flags = QUANT_WEIGHTS, .integer = QUANT_PROGRESSIVE, .act_bits = 8, .kv_bits = 4),
    ROW("quarot_w4a4", "rotated W4A4KV4", "after QuaRot, arXiv 2404.00456; weights by RTN",
        OP_BASELINE, .flags = S_ROTATE | QUANT_ROTATE_INSIDE, .integer = QUANT_W4_ROW,
        .act_bits = 4, .kv_bits = 4),
    ROW("atom_w4a4", "grouped W4A4KV4, 4 % of channels INT8",
        "after Atom, arXiv 2310.19102; weights by RTN", OP_BASELINE, .flags = QUANT_WEIGHTS,
        .integer = QUANT_W4_GROUPS, .act_bits = 4, .kv_bits = 4),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct op_impl *impl_at(int i)
{
    return i < ROWS ? &rows[i].base : NULL;
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
    double *loss[ROWS];   /* [windows], NULL: not run */
    double kl[ROWS], ratio[ROWS];
    struct quant_steps steps[ROWS];
    double channel_ratio, channel_ratio_max;
    char sha256[65];
};

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    checkpoint_free(&in->checkpoint);
    token_set_free(&in->data);
    token_set_free(&in->calibration);
    quant_reference_free(&in->reference);
    llama_machine_close(in->machine);
    free(in->original);
    for (int i = 0; i < ROWS; i++)
        free(in->loss[i]);
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
    if (quant_reference_new(&m, &in->data, REFERENCE_BYTES, &in->reference) ||
        quant_evaluate(&m, &in->data, &in->reference, true, in->original, NULL))
        goto done;
    if (g->outliers > 1 &&
        fold_outliers(&m, g->outlier_share, g->outliers, false, (unsigned long)g->seed))
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
        .outlier_seed = (unsigned long)g->seed, .machine = in->machine
    };
    if (load_tokens(in, path, g->data, "evaluation.u16", length, g->windows, &in->data))
        return -1;
    in->original = malloc((size_t)in->data.count * sizeof *in->original);
    if (!in->original)
        return cb_error("no memory for %d losses", in->data.count);
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
    const struct quant_recipe *r = &((const struct row *)i)->recipe;
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
    *b = (struct bound){ instance, (int)((const struct row *)i - rows) };
    *bound = b;
    return 0;
}

static int run(void *bound, int weights, int activations)
{
    struct bound *b = bound;
    struct instance *in = b->in;
    struct quantised *q;
    (void)weights, (void)activations;
    double *loss = malloc((size_t)in->data.count * sizeof *loss);
    if (!loss)
        return cb_error("no memory for %d losses", in->data.count);
    if (quantised_open(&in->checkpoint, &rows[b->row].recipe, &in->options, &in->calibration, &q)) {
        free(loss);
        return -1;
    }
    const int status = quant_evaluate(&q->model, &in->data, &in->reference, false, loss,
                                      &in->kl[b->row]);
    in->ratio[b->row] = q->ratio;
    in->steps[b->row] = q->steps;
    quantised_close(q);
    if (status) {
        free(loss);
        return -1;
    }
    free(in->loss[b->row]);
    in->loss[b->row] = loss;
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

static int figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    const struct instance *in = b->in;
    const double *loss = in->loss[b->row];
    const int windows = in->data.count;
    int n = 0;
    if (!loss)
        return 0;
    out[n] = over_windows("perplexity", "", loss, NULL, windows);
    out[n].value = exp(out[n].value);
    out[n].low = exp(out[n].low);
    out[n].high = exp(out[n].high);
    n++;
    if (isfinite(in->kl[b->row]))
        out[n++] = figure("kl", "nat", in->kl[b->row]);
    out[n++] = over_windows("delta", "nat", loss, in->original, windows);
    if (isfinite(in->ratio[b->row]))
        out[n++] = figure("ratio", "", in->ratio[b->row]);
    const struct quant_steps *steps = &in->steps[b->row];
    if (steps->groups > 0) {
        out[n++] = figure("changed", "%", 100 * steps->changed / steps->groups);
        out[n++] = figure("step_ratio", "", steps->ratio / steps->groups);
    }
    for (int i = 0; i < ROWS && n < CB_FIGURES_MAX; i++)
        if (in->loss[i] && i != b->row) {
            char name[32];
            snprintf(name, sizeof name, "below:%.24s", rows[i].base.name);
            out[n++] = over_windows(name, "nat", in->loss[i], loss, windows);
        }
    return n;
}

const struct cb_op op_perplexity = {
    .name = "perplexity", .title = "what quantising a language model costs",
    .params = params, .params_size = sizeof(struct perplexity_params), .untimed = true,
    .impl = impl_at, .open = open_model, .inputs = inputs, .statistics = statistics,
    .ready = ready, .bind = bind, .run = run, .figures = figures, .unbind = free,
    .close = close_instance,
};

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

#include "../../harness/error.h"
#include "perplexity_case.h"

static const char *const ranges[] = { "min_max", "with_zero", NULL };

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
    CHOICE(machine, perplexity_machines,
           "that runs the model; auto: the run's GPU, in FP32, or the host; "
           "gpu_f16: products of half operands, FP32 sums"),
    { 0 },
};

static const struct op_impl *impl_at(int i)
{
    return i < PERPLEXITY_ROWS ? &perplexity_rows[i].base : NULL;
}

static int open_model(struct cb_context *c, const void *given, void **out)
{
    struct perplexity_case *in;
    const int status = perplexity_open(c, given, &in);
    *out = in;
    return status;
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
    const struct perplexity_case *in = instance;
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
    const struct perplexity_case *in = instance;
    out[0] = figure("parameters", "", (double)checkpoint_parameters(&in->checkpoint));
    out[1] = figure("channel_ratio", "", in->channel_ratio[0]);
    out[2] = figure("channel_ratio_max", "", in->channel_ratio[1]);
    out[3] = figure("kl_windows", "", in->reference.sequences);
    return 4;
}

/* ---- one row ---- */

struct bound {
    struct perplexity_case *in;
    int row;
};

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct perplexity_case *in = instance;
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
static int measure_row(struct perplexity_case *in, const struct quant_recipe *r,
                       struct kept_row *out)
{
    if (perplexity_is_original(in, r)) {
        for (int i = 0; i < in->data.count; i++) {
            out->loss[i] = in->original[i];
            out->kl[i] = i < in->reference.sequences ? 0 : NAN;
        }
        out->ratio = NAN;
        return 0;
    }
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
    struct perplexity_case *in = b->in;
    const struct quant_recipe *r = &perplexity_rows[b->row].recipe;
    const size_t bytes = (size_t)in->data.count * sizeof(double);
    struct kept_row row = { .loss = malloc(bytes), .kl = malloc(bytes) };
    char key[KEPT_KEY];
    (void)weights, (void)activations;
    perplexity_key(in, r, key);
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
static int with_kl(const struct perplexity_case *in)
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
    const struct perplexity_case *in = b->in;
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
    .close = perplexity_close,
};

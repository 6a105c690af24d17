/*
 * training.c - the losses that were written down while a model was trained: an experiment that
 * is not timed and computes nothing.
 *
 * loss.tsv of the model's folder, as tools/train/train.py writes it: a head with the names of
 * the columns, among them tokens, train and held; then a line a report, nan where a loss was not
 * taken.  Rows: train, held.  Figures: "at:MILLIONS", the loss after so many million tokens; for
 * train at the places of held alone, means since the place before; "last".
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../home.h"
#include "bind.h"
#include "ops.h"

enum { POINTS_MAX = CB_FIGURES_MAX - 1, COLUMNS = 16, LINE = 512 };

struct training_params {
    char model[CB_PATH_MAX];
};

static const struct cb_param params[] = {
    { "model", CB_PATH, offsetof(struct training_params, model), 0, 0, 0, NULL, true,
      "own, or a folder with a loss.tsv" },
    { 0 },
};

enum { TRAIN, HELD, ROWS };
static const struct op_impl rows[ROWS] = {
    [TRAIN] = { .name = "train", .title = "text trained on", .origin = "tools/train",
                .role = OP_BASELINE, .sm_min = 0, .sm_max = 999 },
    [HELD] = { .name = "held", .title = "held-out text", .origin = "tools/train",
               .role = OP_REFERENCE, .sm_min = 0, .sm_max = 999 },
};

static const struct op_impl *impl_at(int i)
{
    return i < ROWS ? &rows[i] : NULL;
}

struct instance {
    double tokens[POINTS_MAX], loss[ROWS][POINTS_MAX];
    int points;
    double sum; /* of train since the last point */
    int count;
};

/* Numbers of a line; their number, or -1. */
static int numbers(char *line, double *out)
{
    int n = 0;
    for (char *at = line; *at && *at != '\n'; n++) {
        char *end;
        if (n == COLUMNS)
            return -1;
        out[n] = strtod(at, &end);
        if (end == at || (*end != '\t' && *end != '\n' && *end))
            return -1;
        at = end + (*end == '\t');
    }
    return n;
}

/* Which columns hold tokens, train and held. */
static int head_of(char *line, int column[3])
{
    static const char *const wanted[] = { "tokens", "train", "held" };
    int n = 0;
    for (int i = 0; i < 3; i++)
        column[i] = -1;
    for (char *name = strtok(line, "\t\n"); name && n < COLUMNS; name = strtok(NULL, "\t\n"), n++)
        for (int i = 0; i < 3; i++)
            if (!strcmp(name, wanted[i]))
                column[i] = n;
    for (int i = 0; i < 3; i++)
        if (column[i] < 0)
            return cb_error("line 1: no column '%s'", wanted[i]);
    return n;
}

static int add_point(struct instance *in, double tokens, double train, double held)
{
    if (isfinite(train)) {
        in->sum += train;
        in->count++;
    }
    if (!isfinite(held))
        return 0;
    if (in->points == POINTS_MAX)
        return cb_error("more than %d losses of held-out text", POINTS_MAX);
    in->tokens[in->points] = tokens;
    in->loss[TRAIN][in->points] = in->count ? in->sum / in->count : NAN;
    in->loss[HELD][in->points++] = held;
    in->sum = in->count = 0;
    return 0;
}

static int read_losses(FILE *f, struct instance *in)
{
    char line[LINE];
    int column[3], columns = 0, place = 1;
    if (!fgets(line, sizeof line, f) || (columns = head_of(line, column)) < 0)
        return columns < 0 ? -1 : cb_error("empty");
    for (place = 2; fgets(line, sizeof line, f); place++) {
        double value[COLUMNS];
        if (!strchr(line, '\n') || numbers(line, value) != columns ||
            !isfinite(value[column[0]]) || value[column[0]] < 0)
            return cb_error("line %d: not %d numbers", place, columns);
        if (add_point(in, value[column[0]], value[column[1]], value[column[2]]))
            return cb_error_in("line %d", place);
    }
    return in->points ? 0 : cb_error("no loss of held-out text");
}

static int open_training(struct cb_context *c, const void *given, void **out)
{
    const struct training_params *p = given;
    const char *model = strcmp(p->model, "own") ? p->model : "configs/models/own";
    char folder[CB_PATH_MAX + 4096], path[CB_PATH_MAX + 4200];
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = NULL;
    snprintf(folder, sizeof folder, "%s", model);
    if (model[0] != '/')
        home_path(model, folder, sizeof folder);
    snprintf(path, sizeof path, "%s/loss.tsv", folder);
    FILE *f = in ? fopen(path, "r") : NULL;
    int status = f ? read_losses(f, in) ? cb_error_in("%s", path) : 0
                   : cb_error("not available: %s/loss.tsv", model);
    if (f)
        fclose(f);
    if (status) {
        free(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    *out = (struct cb_input){ .name = "losses", .dtype = "f64", .gen = "loss.tsv",
                              .source = "generated", .shape = { in->points, 3 } };
    return 1;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    (void)c;
    return op_bind_row(instance, i, rows, sizeof *rows, bound);
}

static int run(void *bound, int weights, int activations)
{
    (void)bound, (void)weights, (void)activations;
    return 0;
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct op_row *b = bound;
    struct instance *in = b->in;
    int n = 0;
    for (int i = 0; i < in->points; i++) {
        const double loss = in->loss[b->row][i];
        if (!isfinite(loss))
            continue;
        out[n] = (struct cb_figure){ .unit = "nat", .value = loss, .low = loss, .high = loss };
        snprintf(out[n++].name, sizeof out->name, "at:%.4g", in->tokens[i] / 1e6);
    }
    if (n) {
        out[n] = out[n - 1];
        snprintf(out[n].name, sizeof out->name, "last");
        n++;
    }
    return n;
}

const struct cb_op op_training = {
    .name = "training", .title = "losses of the training of a model", .params = params,
    .params_size = sizeof(struct training_params), .untimed = true, .impl = impl_at,
    .open = open_training, .inputs = inputs, .ready = op_ready_always, .bind = bind, .run = run,
    .figures = figures, .unbind = free, .close = free,
};

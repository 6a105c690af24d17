/*
 * spmm_choice.c - what choosing among all rows loses: two experiments that are not timed.
 *
 * spmm_choice       fractions of the fastest, by N
 * spmm_confusion    which row was chosen where which was the fastest, and what that costs
 *
 * Both read either a recorded run or the file that the training wrote.  Of a recorded run, the
 * fastest is that of the rows that could be chosen, in the same case:
 *
 *     fraction = T(fastest of the portfolio) / T(chosen)        cost = -log(fraction)
 *
 * with the choice that daspmm_select made in that run, and for comparison the choice of a model of
 * the same kind by the four numbers of DA-SpMM, made here, and the single row that loses least on
 * the very cases.  The training's file has the same of matrices and families left out.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../../harness/sha.h"
#include "../home.h"
#include "chooser.h"
#include "ops.h"
#include "spmm_recorded.h"

enum { MODELS = 3, ROWS = SPMM_CHOOSE_ROWS };

static const char *const models[MODELS + 1] = { "daspmm_select", "four_numbers", "one_row", NULL };

struct choice_params {
    char source[CB_PATH_MAX], split[CB_TEXT_MAX], part[CB_TEXT_MAX];
    int model;
};

#define SOURCE                                                                          \
    { "source", CB_PATH, offsetof(struct choice_params, source), 0, 0, 0, NULL, true,   \
      "a recorded result or a training.json, from the folder of the suites" }
#define SPLIT                                                                           \
    { "split", CB_TEXT, offsetof(struct choice_params, split), 0, 0, 0, NULL, true,     \
      "of a result: the experiment; of a training: seen, matrix_not_seen, family_not_seen, suite" }

static const struct cb_param choice_list[] = {
    SOURCE,
    SPLIT,
    { "part", CB_TEXT, offsetof(struct choice_params, part), 0, 0, 0, NULL, true,
      "all or n16, of that N; of a training also a family: band" },
    { 0 },
};

static const struct cb_param confusion_list[] = {
    SOURCE,
    SPLIT,
    { "model", CB_CHOICE, offsetof(struct choice_params, model), 0, 0, 0, models, true,
      "whose choices" },
    { 0 },
};

/* ---- the cases of a recorded run ---- */

struct recorded {
    double us[ROWS]; /* of the rows of the portfolio; 0: not timed */
    double fastest, cusparse;
    int best;           /* index of the fastest */
    int chosen[MODELS]; /* indexes; -1: none, or of a row that was not timed */
};

struct instance {
    json_t *training;   /* the document, or NULL: a recorded run */
    char split[CB_TEXT_MAX], part[CB_TEXT_MAX], source[CB_TEXT_MAX], sha256[65];
    int model;
    const struct chooser *portfolio;
    struct recorded *at; /* [count] */
    int count;
};

static const char *row_name(const struct instance *in, int r)
{
    return in->portfolio->model.row[r]->base.name;
}

static int row_index(const struct instance *in, const char *name)
{
    for (int r = 0; r < in->portfolio->model.rows; r++)
        if (!strcmp(row_name(in, r), name))
            return r;
    return -1;
}

/* Least prediction of the four numbers among the rows that were timed. */
static int by_four(const struct instance *in, const struct chooser *four,
                   const struct recorded *c, const struct spmm_problem *p)
{
    const float x[CHOOSER_FOUR] = { (float)p->nnz, (float)((double)p->m * p->k), (float)p->row_sd,
                                    (float)p->n };
    double least = 0;
    int best = -1;
    for (int r = 0; r < four->model.rows; r++) {
        const int here = row_index(in, four->model.row[r]->base.name);
        if (here < 0 || c->us[here] <= 0)
            continue;
        const double t = spmm_choose_predict(&four->model, r, x);
        if (best < 0 || t < least) {
            least = t;
            best = here;
        }
    }
    return best;
}

static bool read_case(const struct instance *in, const struct chooser *four,
                      const struct result_case *c, struct recorded *out)
{
    const struct result_row *select = result_row(c, models[0]);
    struct spmm_problem p;
    int n;
    if (!recorded_problem(c, in->split, &p) ||
        (sscanf(in->part, "n%d", &n) == 1 && p.n != n))
        return false;
    *out = (struct recorded){ .best = -1, .cusparse = recorded_cusparse(c) };
    for (int r = 0; r < in->portfolio->model.rows; r++) {
        out->us[r] = recorded_time(c, row_name(in, r));
        if (out->us[r] > 0 && (out->best < 0 || out->us[r] < out->fastest)) {
            out->fastest = out->us[r];
            out->best = r;
        }
    }
    if (out->best < 0 || !select)
        return false;
    out->chosen[0] = row_index(in, select->choice);
    out->chosen[1] = four ? by_four(in, four, out, &p) : -1;
    for (int m = 0; m < MODELS; m++)
        if (out->chosen[m] >= 0 && out->us[out->chosen[m]] <= 0)
            out->chosen[m] = -1;
    return true;
}

/* The row that loses least on all cases, among those that were timed in all. */
static int one_row(const struct instance *in)
{
    double least = 0;
    int best = -1;
    for (int r = 0; r < in->portfolio->model.rows; r++) {
        double cost = 0;
        int timed = 0;
        for (int i = 0; i < in->count; i++) {
            timed += in->at[i].us[r] > 0;
            cost += in->at[i].us[r] > 0 ? log(in->at[i].us[r] / in->at[i].fastest) : 0;
        }
        if (timed == in->count && (best < 0 || cost < least)) {
            least = cost;
            best = r;
        }
    }
    return best;
}

static int collect(struct instance *in, const char *source)
{
    const struct result *run = recorded_run(source);
    const struct chooser *four;
    if (!run || chooser_paper(&four))
        return -1;
    in->at = calloc((size_t)run->case_count + 1, sizeof *in->at);
    if (!in->at)
        return cb_error("no memory for the recorded cases");
    for (int i = 0; i < run->case_count; i++)
        in->count += read_case(in, four, &run->cases[i], &in->at[in->count]);
    if (!in->count)
        return cb_error("not available: no case of %s, %s with daspmm_select in the recorded "
                        "result", in->split, in->part);
    const int one = one_row(in);
    for (int i = 0; i < in->count; i++)
        in->at[i].chosen[2] = one;
    const char *slash = strrchr(run->directory, '/');
    snprintf(in->source, sizeof in->source, "%.63s", slash ? slash + 1 : run->directory);
    memcpy(in->sha256, recorded_sha256(), sizeof in->sha256);
    return 0;
}

/* ---- the training's file ---- */

static int read_training(struct instance *in, const char *source)
{
    char path[CB_PATH_MAX + 4200];
    if (source[0] == '/')
        snprintf(path, sizeof path, "%s", source);
    else
        home_path(source, path, sizeof path);
    in->training = cb_json_read(path);
    if (!in->training)
        return -1;
    if (strcmp(result_text(in->training, "schema"), "claimbench/spmm_training"))
        return cb_error("%s: schema: is not 'claimbench/spmm_training'", path);
    if (!json_object_get(json_object_get(in->training, "splits"), in->split))
        return cb_error("%s: splits: has no '%s'", path, in->split);
    snprintf(in->source, sizeof in->source, "%.63s", result_text(in->training, "gpu"));
    return cb_sha256_file(path, in->sha256);
}

static const json_t *part_of(const struct instance *in, int m)
{
    const json_t *split = json_object_get(json_object_get(in->training, "splits"), in->split);
    return json_object_get(json_object_get(split, models[m]), in->part);
}

static const json_t *pairs_of(const struct instance *in, int m)
{
    const json_t *by = json_object_get(json_object_get(in->training, "confusion"), in->split);
    return json_object_get(by, models[m]);
}

/* ---- both ---- */

static void close_choice(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    json_decref(in->training);
    free(in->at);
    free(in);
}

static int open_choice(struct cb_context *c, const void *given, void **out)
{
    const struct choice_params *q = given;
    const char *dot = strrchr(q->source, '.');
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = NULL;
    if (!in)
        return cb_error("no memory for a choice");
    in->model = q->model;
    snprintf(in->split, sizeof in->split, "%s", q->split);
    snprintf(in->part, sizeof in->part, "%s", q->part[0] ? q->part : "all");
    int status = chooser_shipped(&in->portfolio);
    if (!status && !in->portfolio)
        status = cb_error("not available: suites/daspmm/choice.json");
    if (!status)
        status = dot && !strcmp(dot, ".json") ? read_training(in, q->source)
                                              : collect(in, q->source);
    if (status) {
        close_choice(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "times", .shape = { in->count } };
    snprintf(out[0].source, sizeof out[0].source, in->training ? "training" : "recorded");
    snprintf(out[0].gen, sizeof out[0].gen, "%s", in->source);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    return 1;
}

struct bound {
    const struct instance *in;
    int row; /* of models, or of the portfolio */
};

static int bind_row(const struct instance *in, int row, void **out)
{
    struct bound *b = calloc(1, sizeof *b);
    *out = b;
    if (!b)
        return cb_error("no memory for a row");
    *b = (struct bound){ in, row };
    return 0;
}

/* ---- spmm_choice ---- */

static const struct op_impl choosers[MODELS] = {
    { .name = "daspmm_select", .title = "chosen by predicted time", .role = OP_OWN, .sm_max = 999,
      .origin = "boosted regression trees over 15 traits", .flags = OP_CHOOSES },
    { .name = "four_numbers", .title = "the same by four numbers", .role = OP_PAPER, .sm_max = 999,
      .origin = "the same trees over the numbers of DA-SpMM, arXiv 2202.08556: nnz, m k, row "
                "deviation, n", .flags = OP_CHOOSES },
    { .name = "one_row", .title = "best single row", .role = OP_BASELINE, .sm_max = 999,
      .origin = "least mean loss, of a part on that part" },
};

static const struct op_impl *chooser_at(int i)
{
    return i >= 0 && i < MODELS ? &choosers[i] : NULL;
}

/* Choices of model m over the cases: those that were timed. */
static int fractions_by(const struct instance *in, int m, double *fraction, double *over,
                        int *below)
{
    int n = 0, with = 0;
    double logs = 0;
    *below = 0;
    for (int i = 0; i < in->count; i++) {
        const struct recorded *c = &in->at[i];
        if (c->chosen[m] < 0)
            continue;
        const double t = c->us[c->chosen[m]];
        fraction[n++] = c->fastest / t;
        if (c->cusparse <= 0)
            continue;
        logs += log(c->cusparse / t);
        *below += c->cusparse / t < 0.97;
        with++;
    }
    *over = with && with == n ? exp(logs / n) : 0;
    return n;
}

static enum op_status choice_ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const int m = (int)(i - choosers);
    double *fraction, over;
    int below, n;
    *why = "not in the source";
    if (in->training)
        return part_of(in, m) ? OP_OK : OP_EUNSUPPORTED;
    fraction = malloc(((size_t)in->count + 1) * sizeof *fraction);
    n = fraction ? fractions_by(in, m, fraction, &over, &below) : 0;
    free(fraction);
    return n ? OP_OK : OP_EUNSUPPORTED;
}

static int bind_choice(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    (void)c;
    return bind_row(instance, (int)(i - choosers), out);
}

static int run_nothing(void *bound, int weights, int ins)
{
    (void)bound, (void)weights, (void)ins;
    return 0;
}

static int choice_figures(void *bound, struct cb_figure *out)
{
    static const char *const names[] = { "cases", "chosen", "geomean_fraction", "p05", "worst",
                                         "accuracy_tie3", "speedup_cusparse_best", "below_097" };
    const struct bound *b = bound;
    const struct instance *in = b->in;
    double value[sizeof names / sizeof *names] = { 0 };
    const int count = (int)(sizeof names / sizeof *names);
    if (in->training) {
        const json_t *part = part_of(in, b->row);
        for (int i = 0; i < count; i++)
            value[i] = result_number(part, names[i], 0);
        value[1] = value[0];
    } else {
        double *fraction = malloc(((size_t)in->count + 1) * sizeof *fraction);
        int below = 0;
        const int n = fraction ? fractions_by(in, b->row, fraction, &value[6], &below) : 0;
        const struct fractions f = n ? fractions_of(fraction, n) : (struct fractions){ 0 };
        free(fraction);
        value[0] = in->count;
        value[1] = n;
        value[2] = f.geomean;
        value[3] = f.p05;
        value[4] = f.worst;
        value[5] = f.tie3;
        value[7] = below;
    }
    for (int i = 0; i < count; i++) {
        out[i] = (struct cb_figure){ .value = value[i], .low = value[i], .high = value[i] };
        snprintf(out[i].name, sizeof out[i].name, "%s", names[i]);
        snprintf(out[i].unit, sizeof out[i].unit, "%s", i == 6 ? "x" : "");
    }
    return count;
}

const struct cb_op op_spmm_choice = {
    .name = "spmm_choice", .title = "what choosing among all rows of spmm loses",
    .params = choice_list, .params_size = sizeof(struct choice_params), .untimed = true,
    .impl = chooser_at, .open = open_choice, .inputs = inputs, .ready = choice_ready,
    .bind = bind_choice, .run = run_nothing, .figures = choice_figures, .unbind = free,
    .close = close_choice,
};

/* ---- spmm_confusion: its rows are those that can be chosen ---- */

static const struct op_impl *chosen_at(int i)
{
    static struct op_impl rows[ROWS];
    const struct chooser *c;
    if (chooser_shipped(&c) || !c || i < 0 || i >= c->model.rows)
        return NULL;
    const struct op_impl *base = &c->model.row[i]->base;
    rows[i] = (struct op_impl){ .name = base->name, .title = base->title, .origin = base->origin,
                                .role = base->role, .sm_max = 999 };
    return &rows[i];
}

/* Cases in which `chosen` was chosen and `fastest` was the fastest, and the cost in percent of all
 * cases. */
static int pair(const struct instance *in, int chosen, int fastest, double *cost)
{
    int cases = 0;
    *cost = 0;
    if (in->training) {
        size_t i;
        json_t *p;
        json_array_foreach(pairs_of(in, in->model), i, p)
        {
            const char *const names[] = { json_string_value(json_array_get(p, 0)),
                                          json_string_value(json_array_get(p, 1)) };
            if (!names[0] || !names[1] || strcmp(names[0], row_name(in, chosen)) ||
                strcmp(names[1], row_name(in, fastest)))
                continue;
            cases += (int)json_integer_value(json_array_get(p, 2));
            *cost += json_number_value(json_array_get(p, 3));
        }
        return cases;
    }
    for (int i = 0; i < in->count; i++) {
        const struct recorded *c = &in->at[i];
        if (c->chosen[in->model] != chosen || c->best != fastest)
            continue;
        *cost += 100 * log(c->us[chosen] / c->fastest) / in->count;
        cases++;
    }
    return cases;
}

static enum op_status confusion_ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const int chosen = row_index(in, i->name);
    double cost;
    *why = "never chosen";
    for (int r = 0; chosen >= 0 && r < in->portfolio->model.rows; r++)
        if (pair(in, chosen, r, &cost))
            return OP_OK;
    return OP_EUNSUPPORTED;
}

static int bind_confusion(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    (void)c;
    return bind_row(instance, row_index(instance, i->name), out);
}

/* How often it was chosen, how often rightly, the cost of the rest, and by whose place. */
static int confusion_figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    double total = 0;
    int n = 3, chosen = 0, right = 0;
    for (int r = 0; r < b->in->portfolio->model.rows; r++) {
        double cost;
        const int cases = pair(b->in, b->row, r, &cost);
        chosen += cases;
        right += r == b->row ? cases : 0;
        total += cost;
        if (!cases || r == b->row)
            continue;
        out[n] = (struct cb_figure){ .value = cost, .low = cost, .high = cost };
        snprintf(out[n].name, sizeof out[n].name, "%.31s", row_name(b->in, r));
        snprintf(out[n++].unit, sizeof out[0].unit, "%%");
    }
    const double value[] = { chosen, right, total };
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = { "chosen", "right", "cost" };
        out[i] = (struct cb_figure){ .value = value[i], .low = value[i], .high = value[i] };
        snprintf(out[i].name, sizeof out[i].name, "%s", names[i]);
        snprintf(out[i].unit, sizeof out[i].unit, "%s", i == 2 ? "%" : "");
    }
    return n;
}

const struct cb_op op_spmm_confusion = {
    .name = "spmm_confusion", .title = "which row of spmm was chosen where which was the fastest",
    .params = confusion_list, .params_size = sizeof(struct choice_params), .untimed = true,
    .impl = chosen_at, .open = open_choice, .inputs = inputs, .ready = confusion_ready,
    .bind = bind_confusion, .run = run_nothing, .figures = confusion_figures, .unbind = free,
    .close = close_choice,
};

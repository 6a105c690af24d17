/*
 * spmm_select.c - what a selector loses against the best choice: an experiment
 * that is not timed.
 *
 * The times are those of a recorded run, its experiment spmm with operands in
 * cache.  The selector is asked for every case and its choice is set against the
 * fastest of the published eight in that case:
 *
 *     fraction = T(fastest of eight) / T(chosen)        1: the best choice
 *
 * holdout names a family of generated matrices: its cases alone, by the model
 * trained on all other families.  "all" is every family in this way, "none" the
 * model of all cases on the cases it was trained on.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "ops.h"
#include "selector.h"
#include "spmm_recorded.h"

struct select_params {
    char result[CB_PATH_MAX], holdout[CB_TEXT_MAX];
};

static const struct cb_param params[] = {
    { "result", CB_PATH, offsetof(struct select_params, result), 0, 0, 0, NULL, true,
      "a recorded result, from the folder of the suites: results/h200/daspmm" },
    { "holdout", CB_TEXT, offsetof(struct select_params, holdout), 0, 0, 0, NULL, true,
      "family that the model has not seen; all: each in turn; none: the model of all" },
    { 0 },
};

/* ---- the cases ---- */

/* One recorded case: the problem, and what a choice is measured by. */
struct recorded {
    const struct result_case *c;
    const struct selector_model *model;
    struct spmm_problem p;
    double fastest;  /* us, of the published eight */
    double cusparse; /* us, of the fastest of cuSPARSE; 0: none */
    double alg2;     /* us, of cuSPARSE's CSR ALG2; 0: none */
};

struct instance {
    struct recorded *at;
    int count;
    char run[64], sha256[65], model_sha256[65];
};

/* Of the published eight; at n = 1 the column-major four are the other four once more. */
static double fastest_of_eight(const struct result_case *c, int n)
{
    static const char *const eight[] = { "rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm",
                                         "rb_sr_cm", "rb_pr_cm", "eb_sr_cm", "eb_pr_cm" };
    double best = 0;
    for (int i = 0; i < (n == 1 ? 4 : 8); i++) {
        double t = recorded_time(c, eight[i]);
        if (t > 0 && (best == 0 || t < best))
            best = t;
    }
    return best;
}

/* Whether the case is one of a generated matrix in the experiment; then *out and the
 * name of its family. */
static bool read_recorded(const struct result_case *c, struct recorded *out, char *family,
                          size_t size)
{
    const json_t *input = json_array_get(json_object_get(c->json, "inputs"), 0);
    struct spmm_problem p;
    if (!recorded_problem(c, "spmm", &p) || p.n & (p.n - 1) ||
        strcmp(result_text(input, "source"), "generated"))
        return false;
    *out = (struct recorded){
        .c = c,
        .p = p,
        .fastest = fastest_of_eight(c, p.n),
        .cusparse = recorded_cusparse(c),
        .alg2 = recorded_time(c, "cusparse_csr_alg2_rm"),
    };
    selector_family(result_text(input, "gen"), family, size);
    return out->fastest > 0;
}

static int collect(struct instance *in, const struct result *run, const struct selector *s,
                   const char *holdout)
{
    bool all = !strcmp(holdout, "all"), none = !strcmp(holdout, "none");
    const char *name = none ? "all" : holdout;
    if (!all && !selector_find(s, name))
        return cb_error("suites/daspmm/model.json: models: has no '%s'", name);
    in->at = calloc((size_t)run->case_count + 1, sizeof *in->at);
    if (!in->at)
        return cb_error("no memory for the recorded cases");
    for (int i = 0; i < run->case_count; i++) {
        struct recorded *r = &in->at[in->count];
        char family[64];
        if (!read_recorded(&run->cases[i], r, family, sizeof family) ||
            (!all && !none && strcmp(family, holdout)))
            continue;
        r->model = selector_find(s, none ? "all" : family);
        if (!r->model)
            return cb_error("suites/daspmm/model.json: models: has no '%s'", family);
        in->count++;
    }
    return in->count ? 0 : cb_error("not available: no timed case of the published kernels for "
                                    "holdout '%s' in the recorded result", holdout);
}

static void close_result(void *instance)
{
    struct instance *in = instance;
    if (in)
        free(in->at);
    free(in);
}

static int open_result(struct cb_context *c, const void *given, void **out)
{
    const struct select_params *q = given;
    const struct selector *s;
    (void)c;
    *out = NULL;
    if (selector_shipped(&s))
        return -1;
    if (!s)
        return cb_error("not available: suites/daspmm/model.json");
    const struct result *recorded = recorded_run(q->result);
    if (!recorded)
        return -1;
    struct instance *in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for a recorded result");
    if (collect(in, recorded, s, q->holdout)) {
        close_result(in);
        return -1;
    }
    const char *slash = strrchr(recorded->directory, '/');
    snprintf(in->run, sizeof in->run, "%.63s", slash ? slash + 1 : recorded->directory);
    memcpy(in->sha256, recorded_sha256(), sizeof in->sha256);
    memcpy(in->model_sha256, s->sha256, sizeof in->model_sha256);
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "times", .source = "recorded", .shape = { in->count } };
    snprintf(out[0].gen, sizeof out[0].gen, "%s", in->run);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "model", .source = "trained", .gen = "model.json" };
    memcpy(out[1].sha256, in->model_sha256, sizeof out[1].sha256);
    return 2;
}

/* ---- the choices ---- */

static const struct op_impl rows[] = {
    { .name = "selector", .title = "DA-SpMM selector", .role = OP_PAPER, .sm_max = 999,
      .origin = "DA-SpMM, arXiv 2202.08556, selector", .flags = OP_CHOOSES },
    { .name = "one_for_all", .title = "best single algorithm in training", .role = OP_BASELINE,
      .origin = "largest geometric mean of fractions over the cases of training", .sm_max = 999 },
};

static const struct op_impl *impl_at(int i)
{
    return i >= 0 && i < (int)(sizeof rows / sizeof *rows) ? &rows[i] : NULL;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    (void)instance, (void)i;
    *why = NULL;
    return OP_OK;
}

struct bound {
    const struct instance *in;
    bool fixed;
    int count; /* cases in which the chosen row was timed */
    double accuracy, tie3, geomean, p05, worst;
    double over_cusparse, over_alg2, over_fixed; /* 0: not in every case */
};

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct bound *b = calloc(1, sizeof *b);
    (void)c;
    *out = b;
    if (!b)
        return cb_error("no memory to bind %s", i->name);
    b->in = instance;
    b->fixed = i == &rows[1];
    return 0;
}

static int run(void *bound, int weights, int ins)
{
    struct bound *b = bound;
    const struct instance *in = b->in;
    double *fraction = malloc((size_t)in->count * sizeof *fraction);
    double cusparse = 0, alg2 = 0, fixed = 0;
    int right = 0, with_cusparse = 0, with_alg2 = 0, with_fixed = 0;
    (void)weights, (void)ins;
    if (!fraction)
        return cb_error("no memory for the fractions");
    b->count = 0;
    for (int i = 0; i < in->count; i++) {
        const struct recorded *r = &in->at[i];
        const struct spmm_impl *chosen =
            b->fixed ? r->model->fixed : r->model->tree.row[spmm_select(&r->model->tree, &r->p)];
        double t = recorded_time(r->c, chosen->base.name);
        double t_fixed = recorded_time(r->c, r->model->fixed->base.name);
        if (t <= 0) /* refused or wrong there: counted in `cases` - `chosen` */
            continue;
        double f = r->fastest / t;
        fraction[b->count++] = f;
        right += f >= 1;
        if (r->cusparse > 0) {
            cusparse += log(r->cusparse / t);
            with_cusparse++;
        }
        if (r->alg2 > 0) {
            alg2 += log(r->alg2 / t);
            with_alg2++;
        }
        if (t_fixed > 0 && !b->fixed) {
            fixed += log(t_fixed / t);
            with_fixed++;
        }
    }
    int n = b->count;
    if (n) {
        const struct fractions f = fractions_of(fraction, n);
        b->geomean = f.geomean;
        b->p05 = f.p05;
        b->worst = f.worst;
        b->tie3 = f.tie3 * n / in->count;
        b->over_cusparse = with_cusparse == n ? exp(cusparse / n) : 0;
        b->over_alg2 = with_alg2 == n ? exp(alg2 / n) : 0;
        b->over_fixed = with_fixed == n ? exp(fixed / n) : 0;
    }
    /* a choice that cannot run is no right one */
    b->accuracy = (double)right / in->count;
    free(fraction);
    return n ? 0 : cb_error("no chosen row was timed");
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    const struct {
        const char *name, *unit;
        double value;
    } list[] = {
        { "cases", "", b->in->count },
        { "chosen", "", b->count },
        { "accuracy", "", b->accuracy },
        { "accuracy_tie3", "", b->tie3 },
        { "geomean_fraction", "", b->geomean },
        { "p05", "", b->p05 },
        { "worst", "", b->worst },
        { "speedup_cusparse_best", "x", b->over_cusparse },
        { "speedup_cusparse_csr_alg2_rm", "x", b->over_alg2 },
        { "speedup_one_for_all", "x", b->over_fixed },
    };
    int n = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        double v = list[i].value;
        if (list[i].unit[0] && v == 0)
            continue;
        out[n] = (struct cb_figure){ .value = v, .low = v, .high = v };
        snprintf(out[n].name, sizeof out[n].name, "%s", list[i].name);
        snprintf(out[n++].unit, sizeof out[0].unit, "%s", list[i].unit);
    }
    return n;
}

const struct cb_op op_spmm_select = {
    .name = "spmm_select", .title = "what a selector of spmm loses",
    .params = params, .params_size = sizeof(struct select_params), .untimed = true,
    .impl = impl_at, .open = open_result, .inputs = inputs, .ready = ready, .bind = bind,
    .run = run, .figures = figures, .unbind = free, .close = close_result,
};

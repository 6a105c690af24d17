/*
 * suite.h - what a paper asks to be measured.
 *
 * A suite is a folder suites/NAME with data and no code:
 *   README.md         what is claimed, how it is reproduced, what differs and why
 *   experiments.json  which operator, problems and implementations
 *   reported.json     the numbers that the paper prints, each with its place
 *   claims.json       statements about them, and when they count as reproduced
 *
 * experiments.json:
 *   { "suite": "NAME", "title": ..., "arxiv": ...,
 *     "lists":  { "n_all": [1, 2, 4] },            values that problems name as "@n_all"
 *     "groups": { "g": { "members": [rows or "@group"] } | { "prefix": "cusparse_" }
 *                    | { "role": "paper" } },      a group may also carry "layout": "row"
 *     "experiments": [ { "id", "title", "where", "op", "metric", "baseline", "figure",
 *         "regime": "steady", "cache": "hot" or list, "aa": row that stands twice,
 *         "implementations": [rows or "@group"],
 *         "axis": parameter that tables and figures run over,
 *         "sums": [rows or groups whose times are added over the cases of one axis value],
 *         "worst": [metrics whose worst value a table gives for every row],
 *         "problems": { "smoke": [ { parameter: value, list, "@list" or range "16:4096:*2",
 *                                    "cache": overrides } ], "reproduce": [...], "full": [...] } } ] }
 * A profile without problems of its own takes none; "full" adds to "reproduce".
 */
#ifndef SUITES_SUITE_H
#define SUITES_SUITE_H

#include <jansson.h>

#include "../harness/bench.h"

/* Operators, ended by NULL; the order is that of `claimbench list`. */
extern const struct cb_op *const suite_ops[];
const struct cb_op *suite_op(const char *name); /* NULL: none of that name */

/* One case to run. */
struct suite_case {
    char id[CB_ID_MAX]; /* <paper>/<experiment>/<parameters>/<cache>[/<regime>] */
    void *params;       /* op->params_size bytes; owned */
    enum cb_cache cache;
};


/* One table or figure of a paper. */
struct experiment {
    char id[48];       /* unique in the suite */
    char title[160], where[96];
    char metric[48];   /* as suites/metrics.h */
    char baseline[48]; /* row or group; "" where the metric needs none */
    char figure[16];   /* "bars", "lines", "heat", "none" */
    const struct cb_op *op;
    enum cb_regime regime;
    struct suite_case *cases;
    int case_count;
    const struct op_impl **impl; /* ended by NULL; order of columns; owned */
    int aa;                      /* index into impl of the row that stands twice; -1: none */
    const json_t *json;          /* its object in the suite's document */
};

struct suite {
    char name[32], title[160], arxiv[16];
    int experiment_count;
    struct experiment *experiments;
    json_t *document;
    const json_t *groups;
};

/* Loads the folder of a suite.  profile: "smoke", "reproduce", "full".  Every
 * operator, implementation and parameter named in the file must exist; a
 * failure names file and key.  0 or -1; on failure out is empty. */
int suite_load(const char *folder, const char *profile, struct suite *out);
/* The same with parameters of a user, { name: value }, in the place of the problems' own; a
 * name that no experiment's operator has is an error. */
int suite_load_with(const char *folder, const char *profile, const json_t *given,
                    struct suite *out);
/* The same from a document in memory, called `name` in errors; document is borrowed
 * (its count is raised). */
int suite_parse(json_t *document, const char *name, const char *profile, struct suite *out);
void suite_free(struct suite *s); /* accepts { 0 } */

/* Members of a group for the operator of the experiment, ended by NULL, to be
 * freed; NULL with cb_error set if it does not exist. */
const struct op_impl **suite_group(const struct suite *s, const struct cb_op *op, const char *name);

/* expand.c: the problems of a list of grids, each an object of params, with "cache"
 * taken out.  lists: named lists or NULL.  Calls emit for each; 0 or -1. */
typedef int suite_emit(void *arg, json_t *params, const char *cache);
int suite_expand(const json_t *grids, const json_t *lists, suite_emit *emit, void *arg);
/* A value as a list of scalars: new reference, NULL with cb_error set. */
json_t *suite_values(const json_t *value, const json_t *lists);

#endif

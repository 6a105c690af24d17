/*
 * results.h - a recorded run, read back.
 *
 * Everything that tables, plots, claims and comparisons show comes from here:
 * result.json and its samples, never a device.  Documents may come from other
 * machines and other versions: what is missing or malformed is an error that
 * names file and key where nothing can be shown without it, and an absent
 * value otherwise.
 */
#ifndef SUITES_RESULTS_H
#define SUITES_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "../harness/stats.h"

enum { RESULT_INVOCATIONS_MAX = 32, RESULT_SCHEMA_MAJOR = 1 };

/* One implementation of a case.  Texts are never NULL: "" where absent. */
struct result_row {
    const char *kernel, *title, *role, *status, *reason, *choice;
    bool timed;                                   /* ok, checked, and with a time */
    int invocations;                              /* length of the arrays below */
    double median[RESULT_INVOCATIONS_MAX];        /* us; 0: not in this invocation */
    const double *sample[RESULT_INVOCATIONS_MAX]; /* per round; NAN: sat out; NULL: not stored */
    int count[RESULT_INVOCATIONS_MAX];
    struct cb_interval us; /* median of the medians with the recorded interval */
    double spread;         /* of the medians: (max - min) / median */
    const json_t *json;
};

struct result_case {
    const char *key, *id, *experiment, *op, *cache, *regime, *status, *reason;
    const json_t *params, *json;
    int plan;               /* place in the plan: cases are recorded in the order of their run */
    struct result_row *row; /* in the order of the experiment */
    int row_count;
};

struct result_experiment {
    const char *id, *title, *where, *op, *metric, *baseline, *figure;
    const json_t *json, *groups; /* groups: NULL or { name: [kernels] } */
};

struct result {
    char *directory; /* where result.json lies; "" if it came from memory */
    json_t *doc;
    double *samples;
    size_t sample_count;
    struct result_experiment *experiment;
    int experiment_count;
    struct result_case *cases;
    int case_count;
    /* of run and env; "" where absent */
    const char *id, *paper, *profile, *status, *gpu, *driver, *cuda, *commit, *started,
        *clock_policy;
    const char *cc;
    int sm_count;
    double memory_bytes;
    int invocations;
};

/* path: a result.json, the folder of a run, or a folder with `recorded` in it
 * or in exactly one of its subfolders.  0 or -1; out is freed with result_free. */
int result_load(const char *path, struct result *out);
/* The same from a document in memory: takes over doc (also on failure) and
 * samples (malloc; may be NULL, count 0). */
int result_adopt(json_t *doc, double *samples, size_t count, const char *name, struct result *out);
void result_free(struct result *r); /* accepts { 0 } */

/* The folder of result.json that path stands for; malloc, NULL with cb_error set. */
char *result_resolve(const char *path);

const struct result_experiment *result_experiment(const struct result *r, const char *id);
const struct result_row *result_row(const struct result_case *c, const char *kernel);

/* Rows that `name` stands for: a kernel, a group of the experiment ("@name" too),
 * or "*": every row that may win; or several of these with '|' between them.  Ablations and the
 * copies of an A/A control are in no group, references not in "*".
 * Writes up to max pointers; returns their number. */
int result_members(const struct result_experiment *e, const struct result_case *c, const char *name,
                   const struct result_row **out, int max);
bool result_is_group(const struct result_experiment *e, const char *name);

/* The fastest timed row of `name` by its median in invocation 1 (its first). */
struct result_pick {
    const struct result_row *row; /* NULL: none was timed */
    int among;                    /* timed rows it was chosen from */
};
struct result_pick result_best(const struct result_experiment *e, const struct result_case *c,
                               const char *name);

/* A statistic of a case over invocations. */
struct result_value {
    bool ok;
    double value, low, high; /* median of the invocation medians; its interval */
    double spread;           /* of the invocation medians, relative */
    int rounds, invocations; /* that entered */
    bool flattered;          /* a winner was chosen and reported on the same invocation */
    bool unpaired;           /* samples are not stored: quotient of medians */
    double per_invocation[RESULT_INVOCATIONS_MAX];
};

/* Time of num over time of den, paired per round, interval at level 1 - alpha.
 * If one of them was chosen among several, invocation 1 chose and the others
 * report.  ok is false where one is missing or they share no round. */
struct result_value result_ratio(struct result_pick num, struct result_pick den, double alpha);
/* All rounds behind it, one after another: malloc, *count of them; NULL if none. */
double *result_rounds(struct result_pick num, struct result_pick den, int *count);

/* Does the case meet { "cache": "hot", "n": [1, 2], "matrix": "uni_*" }?  Members
 * are names of parameters or cache, regime, device; a list allows any of its
 * members; texts are patterns.  NULL and null: always. */
bool result_matches(const struct result_case *c, const json_t *filter);

/* Text of a parameter: "" if the case has none of that name. */
const char *result_param(const struct result_case *c, const char *name, char *text, size_t size);
bool result_has_flag(const json_t *object, const char *flag);
const char *result_text(const json_t *object, const char *key); /* "" if it is no text */
/* The member of a list of objects whose `key` is `text`; NULL: none. */
json_t *result_listed(const json_t *list, const char *key, const char *text);
double result_number(const json_t *object, const char *key, double fallback);
/* What one execution amounts to: of the row, else of the case; NULL: not recorded. */
const json_t *result_work(const struct result_case *c, const struct result_row *row);

/* Checks a run folder as methodology's checker does: document, checksums, seeds,
 * policy, A/A control, samples, correctness of everything timed, no planned case
 * missing.  0; or -1 with the first finding in cb_error_text and, if not NULL,
 * every finding as one line in report. */
int results_validate(const char *path, char **report);

#endif

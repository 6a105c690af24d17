/*
 * reported.h - the numbers that a paper prints, from suites/PAPER/reported.json.
 *
 * The file has single numbers in `rows` and, for long tables, `grids`: lines of
 * [values of the parameters in "by", then one number per name in "impls"].
 * Both come out as the same structs.
 */
#ifndef SUITES_REPORTED_H
#define SUITES_REPORTED_H

#include <jansson.h>
#include <stdbool.h>

struct reported_number {
    const char *experiment, *table; /* experiment: "" while none exists */
    const char *impl, *metric, *unit, *gpu, *where, *source, *item; /* "" where it does not apply */
    json_t *problem; /* parameters it belongs to; {}: all problems */
    double value;
    bool from_figure; /* read off a plot: two digits at most */
};

struct reported_set {
    json_t *doc;
    struct reported_number *number;
    int count;
};

/* Reads HOME/suites/PAPER/reported.json; a paper without the file has none.  0 or -1. */
int reported_load(const char *paper, struct reported_set *out);
int reported_load_file(const char *path, struct reported_set *out);
void reported_free(struct reported_set *s); /* accepts { 0 } */

/* Is every parameter of the problem in params, with that value? */
bool reported_covers(const struct reported_number *n, const json_t *params);

/* The number for a row of an experiment where the problem is { axis: at } alone; gpu
 * NULL: of any.  NULL: there is none. */
const struct reported_number *reported_at(const struct reported_set *s, const char *experiment,
                                          const char *axis, const char *kernel, const char *metric,
                                          const char *gpu, double at);

/* What a static choice of one algorithm costs in a published table of rates. */
struct published_loss {
    char impl[32];
    double worst;   /* smallest fraction of the best of its line */
    double geomean; /* of these fractions */
    int cases;      /* lines */
};
/* Over the grids of `table` (metric a rate: more is better) of one GPU, NULL or "":
 * all.  Returns the number of algorithms written, at most max; -1 if there are none. */
int published_losses(const char *paper, const char *table, const char *gpu,
                     struct published_loss *out, int max);

#endif

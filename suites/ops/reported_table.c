/*
 * reported_table.c - figures computed again from a table that a paper published:
 * an experiment that is not timed and needs no device.
 *
 * For every algorithm of the table: worst:NAME and geomean:NAME, its rate over
 * the best of the same line, smallest and on average over the lines.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "../reported.h"
#include "bind.h"
#include "ops.h"

enum { ALGORITHMS_MAX = (CB_FIGURES_MAX - 1) / 2 };

struct table_params {
    char suite[CB_TEXT_MAX], table[CB_TEXT_MAX], gpu[CB_TEXT_MAX];
};

static const struct cb_param params[] = {
    { "suite", CB_TEXT, offsetof(struct table_params, suite), 0, 0, 0, NULL, true, "folder of suites/" },
    { "table", CB_TEXT, offsetof(struct table_params, table), 0, 0, 0, NULL, true,
      "a grid of its reported.json" },
    { "gpu", CB_TEXT, offsetof(struct table_params, gpu), 0, 0, 0, NULL, false,
      "of the table; empty: all together" },
    { 0 },
};

struct instance {
    struct published_loss loss[ALGORITHMS_MAX];
    int count;
};

static const struct op_impl recompute = {
    .name = "recompute", .title = "computed from the published table", .origin = "definition",
    .role = OP_REFERENCE, .sm_min = 0, .sm_max = 999,
};

static const struct op_impl *impl_at(int i)
{
    return i == 0 ? &recompute : NULL;
}

static int open_table(struct cb_context *c, const void *given, void **out)
{
    const struct table_params *q = given;
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = NULL;
    if (!in)
        return cb_error("no memory for a table");
    in->count = published_losses(q->suite, q->table, q->gpu, in->loss, ALGORITHMS_MAX);
    if (in->count < 0) {
        free(in);
        return cb_error_in("%s: table '%s'", q->suite, q->table);
    }
    *out = in;
    return 0;
}

static void put(struct cb_figure *f, const char *what, const char *name, double value)
{
    *f = (struct cb_figure){ .value = value, .low = value, .high = value };
    snprintf(f->name, sizeof f->name, "%s%.20s", what, name);
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct instance *in = bound;
    int n = 0;
    for (int i = 0; i < in->count; i++) {
        put(&out[n++], "worst:", in->loss[i].impl, in->loss[i].worst);
        put(&out[n++], "geomean:", in->loss[i].impl, in->loss[i].geomean);
    }
    put(&out[n++], "lines", "", in->count ? in->loss[0].cases : 0);
    return n;
}

const struct cb_op op_reported_table = {
    .name = "reported_table", .title = "figures of a published table", .params = params,
    .params_size = sizeof(struct table_params), .untimed = true, .impl = impl_at,
    .open = open_table, .ready = op_ready_always, .bind = op_bind_self, .figures = figures,
    .unbind = op_unbind_self, .close = free,
};

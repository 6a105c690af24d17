/*
 * matrix_stats.c - what a matrix looks like: an experiment that is not timed.
 *
 * The one implementation counts rows, entries and row lengths on the host, on
 * any machine; tables set them against the values that the generators aim at.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../data/matrix.h"
#include "bind.h"
#include "ops.h"

struct stats_params {
    char matrix[CB_PATH_MAX];
};

static const struct cb_param params[] = {
    { "matrix", CB_PATH, offsetof(struct stats_params, matrix), 0, 0, 0, NULL, true,
      "as of spmm" },
    { 0 },
};

static const struct op_impl stats_row = {
    .name = "stats", .title = "counted", .origin = "definition", .role = OP_REFERENCE,
    .sm_min = 0, .sm_max = 999,
};

static const struct op_impl *impl_at(int i)
{
    return i == 0 ? &stats_row : NULL;
}

static int open_matrix(struct cb_context *c, const void *given, void **out)
{
    const struct stats_params *q = given;
    char why[256];
    struct matrix *m = calloc(1, sizeof *m);
    (void)c;
    *out = NULL;
    if (!m)
        return cb_error("no memory for a matrix");
    if (!matrix_available(q->matrix, why, sizeof why)) {
        free(m);
        return cb_error("not available: %s", why);
    }
    if (matrix_load(q->matrix, m)) {
        free(m);
        return -1;
    }
    *out = m;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct matrix *m = instance;
    out[0] = (struct cb_input){ .name = "A", .dtype = "f32", .shape = { m->rows, m->cols, m->nnz } };
    snprintf(out[0].gen, sizeof out[0].gen, "%s", m->gen);
    snprintf(out[0].source, sizeof out[0].source, "%s", m->source);
    memcpy(out[0].sha256, m->sha256, sizeof out[0].sha256);
    return 1;
}

static int figures(void *bound, struct cb_figure *out)
{
    return matrix_figures(bound, out);
}

static void close_matrix(void *instance)
{
    matrix_free(instance);
    free(instance);
}

const struct cb_op op_matrix_stats = {
    .name = "matrix_stats", .title = "row lengths of a sparse matrix", .params = params,
    .params_size = sizeof(struct stats_params), .untimed = true, .impl = impl_at,
    .open = open_matrix, .inputs = inputs, .ready = op_ready_always, .bind = op_bind_self,
    .figures = figures, .unbind = op_unbind_self, .close = close_matrix,
};

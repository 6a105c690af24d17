/*
 * executed.c - instructions that the rows of gemm execute, by pipe: an experiment that is not
 * timed.  The counts are of a profiler (harness/ncu.h); without one, and on the host, no row
 * applies.  All rows of a case run in one process under it, when the first is asked for.
 *
 * Figures, of one execution: "inst" and "inst_PIPE" warp instructions; "core" those of the CUDA
 * cores (fma, fp16x2, alu, xu); "core_per_tensor" for each tensor instruction; "core_per_weight"
 * thread instructions for each weight; "counter_ratio" the total as the hardware counts it over
 * the sum of opcodes: 1 where both saw the same.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../execute.h"
#include "gemm_part.h"
#include "ops.h"

enum { ROWS_MAX = 256, WARP = 32 };

struct instance {
    void *gemm;        /* of the operator: knows which rows apply */
    char *params, uuid[48];
    double weights;    /* n k */
    const char *row[ROWS_MAX];
    struct ncu_counts counts[ROWS_MAX];
    int rows;
    bool counted, failed;
    char error[256];   /* of the count that failed */
};

struct bound {
    struct instance *in;
    int row;
};

static const struct op_impl *impl_at(int i)
{
    return op_gemm.impl(i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    if (in->gemm)
        op_gemm.close(in->gemm);
    free(in->params);
    free(in);
}

static int open_counts(struct cb_context *c, const void *params, void **out)
{
    const struct gemm_params *q = params;
    struct instance *in = calloc(1, sizeof *in);
    json_t *given = cb_params_to_json(&op_gemm, params);
    *out = NULL;
    if (in && given)
        in->params = json_dumps(given, JSON_COMPACT);
    int status = in && in->params ? op_gemm.open(c, params, &in->gemm) : cb_error("no memory for a case");
    if (!status) {
        in->weights = (double)q->n * q->k;
        snprintf(in->uuid, sizeof in->uuid, "%s", cb_device_info(c->device)->uuid);
    }
    json_decref(given);
    if (status) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    struct instance *in = instance;
    char tool[4096];
    if (!*in->uuid || ncu_tool(tool, sizeof tool)) {
        cb_error_clear();
        *why = *in->uuid ? "no profiler: ncu is not installed" : "counts instructions of a GPU";
        return OP_EUNSUPPORTED;
    }
    return op_gemm.ready(in->gemm, i, why);
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    struct instance *in = instance;
    struct bound *b = malloc(sizeof *b);
    (void)c;
    *bound = NULL;
    if (!b || in->rows == ROWS_MAX) {
        free(b);
        return cb_error("no room for row %s", i->name);
    }
    *b = (struct bound){ in, in->rows };
    in->row[in->rows++] = i->name;
    *bound = b;
    return 0;
}

static int run(void *bound, int weights, int activations)
{
    struct bound *b = bound;
    struct instance *in = b->in;
    (void)weights, (void)activations;
    if (!in->counted) {
        in->counted = true;
        in->failed = execute_counted("gemm", in->params, in->uuid, in->row, in->rows, in->counts);
        snprintf(in->error, sizeof in->error, "%.255s", cb_error_text());
    }
    if (in->failed)
        return cb_error("%s", in->error);
    return in->counts[b->row].launches ? 0 : cb_error("%s: no launch was counted", in->row[b->row]);
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    const struct ncu_counts *c = &b->in->counts[b->row];
    const double core = c->pipe[SASS_FMA] + c->pipe[SASS_FP16X2] + c->pipe[SASS_ALU] + c->pipe[SASS_XU];
    int n = 0;
    op_figure(&out[n++], "inst", "warp", c->all);
    for (int p = 0; p < SASS_PIPES; p++) {
        char name[32];
        snprintf(name, sizeof name, "inst_%s", sass_pipe_name((enum sass_pipe)p));
        op_figure(&out[n++], name, "warp", c->pipe[p]);
    }
    op_figure(&out[n++], "core", "warp", core);
    op_figure(&out[n++], "core_per_weight", "thread", WARP * core / b->in->weights);
    if (c->pipe[SASS_TENSOR] > 0)
        op_figure(&out[n++], "core_per_tensor", "1", core / c->pipe[SASS_TENSOR]);
    if (c->all > 0)
        op_figure(&out[n++], "counter_ratio", "1", c->counter / c->all);
    return n;
}

const struct cb_op op_executed = {
    .name = "executed", .title = "executed instructions by pipe",
    .params = gemm_params, .params_size = sizeof(struct gemm_params), .untimed = true,
    .impl = impl_at, .open = open_counts, .ready = ready, .bind = bind, .run = run,
    .figures = figures, .unbind = free, .close = close_instance,
};

/*
 * spmm.c - sparse times dense, bound to the harness.
 *
 * A matrix is read or generated once and kept for the cases that follow with
 * the same one.  B and C of the column-major rows are made only if such a row
 * takes part.  All implementations of a case write the same C.
 */
#include "../../baselines/spmm_blocks.h"
#include "../../kernels/spmm/select.h"
#include "../../kernels/spmm/vectors.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../data/matrix.h"
#include "bind.h"
#include "chooser.h"
#include "ops.h"
#include "selector.h"
#include "spmm_fetched.h"

enum { TENSOR_VALUES = 1, TENSOR_B = 2 };

struct spmm_params {
    char matrix[CB_PATH_MAX];
    int n, dtype;
};

static const char *const dtype_names[] = { "f32", "f16", "tf32", NULL };
static const struct cb_param params[] = {
    { "matrix", CB_PATH, offsetof(struct spmm_params, matrix), 0, 0, 0, NULL, true,
      "a generated matrix, gen:FAMILY,..., package:NAME, or a file .mtx .graph (.gz) .csrb" },
    { "n", CB_INT, offsetof(struct spmm_params, n), 0, 1, 65536, NULL, true, "columns of B and C" },
    { "dtype", CB_CHOICE, offsetof(struct spmm_params, dtype), SPMM_F32, 0, 0, dtype_names, false,
      "of the values, B and C; sums are float; tf32: float, of which factors may be rounded to TF32" },
    { 0 },
};

/* The matrix of the last case: nine values of n follow one another on it. */
static struct matrix kept;
static char kept_spec[CB_PATH_MAX];
static int *kept_row;       /* [nnz] the row of each entry */
static long kept_used_cols; /* columns with an entry: rows of B that must be read */
static struct spmm_problem kept_vectors; /* vectors and steps; m 0: not counted yet */
static struct spmm_problem kept_blocks;  /* the same of blocks and widest */

static long count_used_cols(const struct matrix *m)
{
    unsigned char *seen = calloc((size_t)m->cols, 1);
    long used = 0;
    if (!seen)
        return m->cols;
    for (long p = 0; p < m->nnz; p++)
        seen[m->col[p]] = 1;
    for (int j = 0; j < m->cols; j++)
        used += seen[j];
    free(seen);
    return used;
}

static int matrix_keep(const char *spec)
{
    char why[256];
    if (kept.rows && !strcmp(kept_spec, spec))
        return 0;
    matrix_free(&kept);
    free(kept_row);
    kept_row = NULL;
    kept_vectors = kept_blocks = (struct spmm_problem){ 0 };
    if (!matrix_available(spec, why, sizeof why))
        return cb_error("not available: %s", why);
    if (matrix_load(spec, &kept))
        return -1;
    kept_row = malloc(((size_t)kept.nnz + 1) * sizeof *kept_row);
    if (!kept_row) {
        matrix_free(&kept);
        return cb_error("no memory for row numbers");
    }
    for (int i = 0; i < kept.rows; i++)
        for (int e = kept.row_ptr[i]; e < kept.row_ptr[i + 1]; e++)
            kept_row[e] = i;
    kept_used_cols = count_used_cols(&kept);
    snprintf(kept_spec, sizeof kept_spec, "%s", spec);
    return 0;
}

/* Of the matrix kept, counted when a dtype first asks. */
static void fill_vectors(struct spmm_problem *p)
{
    if (!kept_vectors.m) {
        kept_vectors.m = p->m;
        vectors_count(kept.row_ptr, kept.col, &kept_vectors);
    }
    memcpy(p->vectors, kept_vectors.vectors, sizeof p->vectors);
    memcpy(p->steps, kept_vectors.steps, sizeof p->steps);
}

/* The same for any dtype. */
static int fill_blocks(struct spmm_problem *p)
{
    if (!kept_blocks.m) {
        struct spmm_problem counted = *p;
        if (spmm_blocks_count(kept.row_ptr, kept.col, &counted))
            return cb_error("no memory to count blocks");
        kept_blocks = counted;
    }
    memcpy(p->blocks, kept_blocks.blocks, sizeof p->blocks);
    memcpy(p->widest, kept_blocks.widest, sizeof p->widest);
    return 0;
}

struct instance {
    struct spmm_problem p;
    const struct matrix *m;
    struct cb_device *device;
    enum cb_dtype dtype;
    bool exact, hot;
    uint64_t seed;
    struct op_sets row_ptr, col, row_of, val; /* per weight set */
    struct op_sets b_rm, b_cm, c;             /* per input set; b_cm when first needed */
    double *want;    /* [m][n] on the device */
    float *bound;
};

static size_t element(const struct instance *in)
{
    return (size_t)cb_dtype_bytes(in->dtype);
}

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { spmm_references, spmm_kernels, spmm_baselines };
    return op_row_at(table, 3, sizeof(struct spmm_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    struct op_sets *all[] = { &in->row_ptr, &in->col, &in->row_of, &in->val,
                              &in->b_rm,    &in->b_cm, &in->c };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        op_sets_close(in->device, all[i]);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    free(in);
}

int spmm_use_models(const struct matrix *m)
{
    const struct selector *s;
    const struct selector_model *model;
    const struct chooser *chooser;
    if (selector_shipped(&s) || chooser_shipped(&chooser))
        return -1;
    model = s ? selector_unseen(s, strcmp(m->source, "generated") ? "" : m->gen) : NULL;
    spmm_select_use(model ? &model->tree : NULL);
    spmm_choose_use(chooser ? &chooser->model : NULL);
    return 0;
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct spmm_params *q = given;
    *out = NULL;
    if (matrix_keep(q->matrix) || spmm_use_models(&kept))
        return -1;
    struct instance *in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for a problem");
    in->m = &kept;
    in->device = c->device;
    in->dtype = q->dtype == SPMM_F16 ? CB_F16 : CB_F32;
    in->exact = c->exact;
    in->hot = c->cache == CB_HOT;
    in->seed = c->seed;
    in->p.n = q->n;
    in->p.dtype = (enum spmm_dtype)q->dtype;
    spmm_describe(kept.rows, kept.cols, kept.row_ptr, &in->p);
    if (in->p.dtype != SPMM_F32)
        fill_vectors(&in->p);
    if (fill_blocks(&in->p)) {
        free(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    const char *dtype = dtype_names[in->p.dtype];
    out[0] = (struct cb_input){ .name = "A", .shape = { in->p.m, in->p.k, in->p.nnz } };
    snprintf(out[0].dtype, sizeof out[0].dtype, "%s", dtype);
    snprintf(out[0].gen, sizeof out[0].gen, "%s", in->m->gen);
    snprintf(out[0].source, sizeof out[0].source, "%s", in->m->source);
    memcpy(out[0].sha256, in->m->sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "B", .gen = "uniform [-1, 1)", .source = "generated",
                                .shape = { in->p.k, in->p.n }, .tensor_id = TENSOR_B };
    snprintf(out[1].dtype, sizeof out[1].dtype, "%s", dtype);
    return 2;
}

int matrix_figures(const struct matrix *m, struct cb_figure *out)
{
    struct matrix_rows r = matrix_rows(m);
    const struct {
        const char *name, *unit;
        double value;
    } list[] = {
        { "rows", "", m->rows },     { "cols", "", m->cols },
        { "nnz", "", (double)m->nnz }, { "row_mean", "nnz", r.mean },
        { "row_sd", "nnz", r.sd },   { "row_cv", "", r.mean > 0 ? r.sd / r.mean : 0 },
        { "row_max", "nnz", r.max }, { "empty_rows", "", r.empty },
    };
    int n = (int)(sizeof list / sizeof *list);
    for (int i = 0; i < n; i++)
        op_figure(&out[i], list[i].name, list[i].unit, list[i].value);
    return n;
}

static double matrix_bytes(const struct instance *in)
{
    return 4.0 * (in->p.m + 1.0) + (double)in->p.nnz * (4.0 + (double)element(in));
}

/* A, the rows of B that are read, and C, once. */
static double bytes_once(const struct instance *in)
{
    return matrix_bytes(in) +
           (double)element(in) * in->p.n * ((double)kept_used_cols + in->p.m);
}

/* What caches of this GPU must fetch; nothing from memory where all of it stays in the L2. */
static int fetch_figures(const struct instance *in, struct cb_figure *out)
{
    enum { L1 = 200000 }; /* what 256 KB of an SM leave to a kernel with little shared memory */
    const struct cb_device_info *d = cb_device_info(in->device);
    const struct spmm_matrix host = { in->m->row_ptr, in->m->col, NULL, NULL };
    const struct spmm_caches caches = { (double)d->l2, L1, d->multiprocessors };
    struct spmm_fetch f;
    if (!d->sm || in->exact || !spmm_fetched(in->m->sha256, &in->p, &host, &caches, &f))
        return 0;
    op_figure(&out[0], "fetch_l2", "B", f.l2);
    op_figure(&out[1], "fetch_dram", "B",
              in->hot && bytes_once(in) < (double)d->l2 / 2 ? 0 : f.dram);
    return 2;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    const int n = matrix_figures(in->m, out);
    return n + fetch_figures(in, out + n);
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct spmm_impl *impl = (const struct spmm_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    if (impl->supports)
        return impl->supports(&in->p, why);
    *why = "FP32 only";
    return in->p.dtype != SPMM_F16 ? OP_OK : OP_EUNSUPPORTED;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    const struct spmm_impl *impl = (const struct spmm_impl *)i;
    struct cb_work w = { .flops = 2.0 * (double)in->p.nnz * in->p.n,
                         .weight_bytes = matrix_bytes(in),
                         .peak = "fp32_fma",
                         .accumulate = CB_F32 };
    w.bytes_min = bytes_once(in);
    w.bytes_model = w.bytes_min + (impl->extra_bytes ? impl->extra_bytes(&in->p) : 0);
    if (impl->tensor_ops) {
        w.tensor_ops = impl->tensor_ops(&in->p);
        w.peak = in->p.dtype == SPMM_F16 ? "tensor_fp16" : "tensor_tf32";
    } else {
        w.core_ops = w.flops;
    }
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    double dense = (double)element(in) * in->p.n;
    *weights = matrix_bytes(in);
    *ins = dense * in->p.k;
    *outs = dense * in->p.m;
}

/* Set 0 holds the values of the matrix itself, the others other values on the
 * same pattern; exact: small integers everywhere. */
static int make_values(struct instance *in, int set, void *to)
{
    long nnz = in->p.nnz;
    if (in->exact || set > 0)
        return cb_random(in->device, to, in->dtype, in->exact ? CB_EXACT : CB_UNIFORM, in->seed,
                         TENSOR_VALUES, (uint32_t)set, 1, nnz, false);
    if (in->dtype == CB_F32)
        return cb_upload(in->device, to, in->m->val, (size_t)nnz * sizeof(float));
    void *half = malloc((size_t)nnz * element(in));
    if (!half)
        return cb_error("no memory for %ld values", nnz);
    for (long e = 0; e < nnz; e++)
        cb_store(half, in->dtype, e, (double)in->m->val[e]);
    int status = cb_upload(in->device, to, half, (size_t)nnz * element(in));
    free(half);
    return status;
}

/* Of set 0 from the host, of the others from set 0. */
static int fill_new(struct cb_device *d, struct op_sets *to, int set, const void *from, size_t bytes)
{
    if (cb_alloc(d, bytes, &to->set[set]))
        return -1;
    return set ? cb_copy(d, to->set[set], to->set[0], bytes) : cb_upload(d, to->set[0], from, bytes);
}

static int make_weights(struct instance *in, int set)
{
    struct cb_device *d = in->device;
    size_t nnz = (size_t)in->p.nnz;
    return fill_new(d, &in->row_ptr, set, in->m->row_ptr, ((size_t)in->p.m + 1) * sizeof(int)) ||
                   fill_new(d, &in->col, set, in->m->col, nnz * sizeof(int)) ||
                   fill_new(d, &in->row_of, set, kept_row, nnz * sizeof(int)) ||
                   cb_alloc(d, nnz * element(in), &in->val.set[set]) ||
                   make_values(in, set, in->val.set[set])
               ? -1
               : 0;
}

static int make_b(struct instance *in, struct op_sets *b, int set, bool column_major)
{
    if (b->set[set])
        return 0;
    size_t bytes = (size_t)in->p.k * (size_t)in->p.n * element(in);
    if (cb_alloc(in->device, bytes, &b->set[set]))
        return -1;
    return cb_random(in->device, b->set[set], in->dtype, in->exact ? CB_EXACT : CB_UNIFORM, in->seed,
                     TENSOR_B, (uint32_t)set, in->p.k, in->p.n, column_major);
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)c;
    size_t out = (size_t)in->p.m * (size_t)in->p.n;
    if (op_sets_open(&in->row_ptr, weight_sets) || op_sets_open(&in->col, weight_sets) ||
        op_sets_open(&in->row_of, weight_sets) || op_sets_open(&in->val, weight_sets) ||
        op_sets_open(&in->b_rm, input_sets) || op_sets_open(&in->b_cm, input_sets) ||
        op_sets_open(&in->c, input_sets))
        return -1;
    for (int s = 0; s < weight_sets; s++)
        if (make_weights(in, s))
            return -1;
    for (int s = 0; s < input_sets; s++)
        if (make_b(in, &in->b_rm, s, false) || cb_alloc(in->device, out * element(in), &in->c.set[s]))
            return -1;
    if (cb_alloc(in->device, out * sizeof *in->want, (void **)&in->want) ||
        cb_alloc(in->device, out * sizeof *in->bound, (void **)&in->bound))
        return -1;
    return cb_sync(in->device);
}

static bool column_major(const struct spmm_impl *i)
{
    return i->base.layout && !strcmp(i->base.layout, "column");
}

static struct spmm_matrix matrix_of(const struct instance *in, int set)
{
    return (struct spmm_matrix){ in->row_ptr.set[set], in->col.set[set], in->row_of.set[set],
                                 in->val.set[set] };
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct spmm_impl *impl = b->impl;
    struct spmm_args *a = args;
    const int w = set % in->row_ptr.count, x = set % in->c.count;
    const struct op_sets *dense = column_major(impl) ? &in->b_cm : &in->b_rm;
    *a = (struct spmm_args){ matrix_of(in, w), dense->set[x], in->c.set[x] };
    const struct spmm_matrix host = { in->m->row_ptr, in->m->col, kept_row, NULL };
    return impl->setup ? impl->setup(&in->p, &host, a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct instance *in = instance;
    const bool column = column_major((const struct spmm_impl *)i);
    for (int s = 0; s < in->c.count; s++)
        if (make_b(in, column ? &in->b_cm : &in->b_rm, s, column))
            return -1;
    return op_bind(c, instance, i, op_set_of(in->row_ptr.count, in->c.count),
                   sizeof(struct spmm_args), set_up, ((const struct spmm_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct spmm_impl *impl = b->impl;
    const struct spmm_args *args = b->args;
    const int s = op_set_of(weights, ins);
    return op_launched(b, impl->run(&in->p, &args[s], b->states.state[s], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((const struct op_bound *)bound)->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->c.set[ins],
                                 (size_t)in->p.m * (size_t)in->p.n * element(in) };
    return 1;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    struct spmm_matrix a = matrix_of(in, weights);
    enum op_status s;
#ifdef WITH_CUDA
    if (cb_device_info(c->device)->sm)
        s = spmm_ref_cuda(&in->p, &a, in->b_rm.set[ins], in->want, in->bound,
                          cb_device_stream(c->device));
    else
#endif
        s = spmm_ref(&in->p, &a, in->b_rm.set[ins], in->want, in->bound);
    return op_result(s, "reference", "launch") || cb_sync(c->device) ? -1 : 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    struct cb_view got = { in->c.set[ins], in->dtype, in->p.m, in->p.n, column_major(b->impl) };
    (void)weights, (void)r2;
    *limit = in->p.dtype == SPMM_F32 ? 1e-5 : 1e-3;
    return cb_compare(c->device, &got, in->want, in->exact ? NULL : in->bound, r1);
}

/* What the format of a row holds beside what it was made from. */
static int figures(void *bound, struct cb_figure *out)
{
    const struct op_bound *b = bound;
    struct spmm_format f;
    const struct instance *in = b->in;
    const struct spmm_impl *impl = b->impl;
    if (!impl->format)
        return 0;
    impl->format(b->states.state[0], &f);
    const double nnz = (double)in->p.nnz;
    const struct {
        const char *name, *unit;
        double value;
    } list[] = {
        { "panel_rows", "", f.rows },
        { "entries_a_vector", "", nnz / (double)f.vectors },
        { "fill", "x", (double)f.values / nnz },
        { "format_bytes", "B", f.bytes },
        { "format_over_csr", "x", f.bytes / matrix_bytes(in) },
    };
    const int n = (int)(sizeof list / sizeof *list);
    for (int i = 0; i < n; i++)
        op_figure(&out[i], list[i].name, list[i].unit, list[i].value);
    return n;
}

static const char *choice(void *bound)
{
    const struct op_bound *b = bound;
    const struct spmm_impl *impl = b->impl;
    return impl->choice ? impl->choice(b->states.state[0]) : NULL;
}

const struct cb_op op_spmm = {
    .name = "spmm", .title = "sparse matrix times dense matrix",
    .params = params, .params_size = sizeof(struct spmm_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .choice = choice,
    .figures = figures,
    .unbind = op_unbind, .close = close_instance,
};

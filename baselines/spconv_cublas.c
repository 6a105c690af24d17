/*
 * spconv_cublas.c - gather, GEMM by cuBLAS, scatter: the dataflow of the frameworks before
 * implicit GEMM.
 *
 *   fused     TorchSparse (MLSys 2022): all taps gathered at once, products, all taps
 *             scattered at once.  Where outputs are inputs the middle tap needs neither.
 *   grouped   the same; taps of like size, mirrored ones first, are batched, padded to the
 *             largest, while 1 - smallest / largest <= epsilon and the largest is < threshold
 *   by tap    a gather, a GEMM and a scatter a tap: SpConv 1; with atomics MinkowskiEngine
 *   gathered  one GEMM of rows gathered in set-up: what no gathering form can be faster than
 *
 * The sums of wgrad are as long as a tap has pairs.  cuBLAS 13.1 leaves the last terms of some of
 * them out (half to float, 64 x 64, 46,106 terms: those past a multiple of 64), so buffers hold a
 * tap's rows up to a multiple of WHOLE, the last of them zero since set-up.
 *
 * cuBLAS is column-major: a row-major A [n][k] is A^T to it, and Y = A B is asked for as
 * Y^T = B^T A^T.
 */
#include <stdlib.h>
#include <string.h>

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include "../kernels/common/share.h"
#include "cublas_status.h"
#include "spconv_cublas.h"

static const size_t WORKSPACE = (size_t)32 << 20;

enum { WHOLE = 256 };

enum form { FUSED, GROUPED, BY_TAP, ATOMIC, GATHERED };

struct state {
    enum form form;
    cublasHandle_t handle;
    const void *w;
    int32_t *slot_from, *slot_to; /* [rows][taps]; wgrad: [rows of the buffer] rows of x, of g */
    void *gathered, *products;    /* buffers, shared; wgrad: rows of x, rows of g */
    void **pointers;              /* device: [3][taps] in the order of taps[] */
    int middle;                   /* tap without slots, or -1 */
    int32_t start[SPCONV_TAPS_MAX + 1]; /* pairs */
    struct spconv_groups g;             /* wgrad: base and rows alone count */
    long room;                          /* rows that the buffers have room for */
    double slots;
};

/* ---- products ---- */

static cudaDataType_t type_of(const struct spconv_problem *p)
{
    return p->dtype == SPCONV_F16 ? CUDA_R_16F : CUDA_R_32F;
}

static cublasComputeType_t compute_of(const struct spconv_problem *p)
{
    return p->dtype == SPCONV_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

static size_t element(const struct spconv_problem *p)
{
    return p->dtype == SPCONV_F16 ? 2 : 4;
}

static const void *plus(const void *p, size_t elements, const struct spconv_problem *of)
{
    return (const char *)p + elements * element(of);
}

struct sides {
    int channels, columns, from_rows, to_rows;
    const int32_t *from, *to; /* pairs */
};

static struct sides sides_of(const struct spconv_problem *p, const struct spconv_map *m)
{
    if (p->pass == SPCONV_DGRAD)
        return (struct sides){ p->cout, p->cin, p->out, p->in, m->pair_out, m->pair_in };
    return (struct sides){ p->cin, p->cout, p->in, p->out, m->pair_in, m->pair_out };
}

/* y [rows][columns] = x [rows][channels] W, W transposed in dgrad. */
static enum op_status product(const struct state *v, const struct spconv_problem *p, long rows,
                              const void *x, const void *w, void *y)
{
    const float one = 1, zero = 0;
    const int dgrad = p->pass == SPCONV_DGRAD;
    const int channels = dgrad ? p->cout : p->cin, columns = dgrad ? p->cin : p->cout;
    if (!rows)
        return OP_OK;
    return cublas_op_status(cublasGemmEx(v->handle, dgrad ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N,
                                  columns, (int)rows, channels, &one, w, type_of(p), p->cout, x,
                                  type_of(p), channels, &zero, y, type_of(p), columns,
                                  compute_of(p), CUBLAS_GEMM_DEFAULT));
}

/* y [cin][cout] float = x [rows][cin]^T g [rows][cout] */
static enum op_status product_wgrad(const struct state *v, const struct spconv_problem *p,
                                    long rows, const void *x, const void *g, float *y)
{
    const float one = 1, zero = 0;
    if (!rows)
        return OP_OK;
    return cublas_op_status(cublasGemmEx(v->handle, CUBLAS_OP_N, CUBLAS_OP_T, p->cout, p->cin, (int)rows,
                                  &one, g, type_of(p), p->cout, x, type_of(p), p->cin, &zero, y,
                                  CUDA_R_32F, p->cout, compute_of(p), CUBLAS_GEMM_DEFAULT));
}

static enum op_status product_group(const struct state *v, const struct spconv_problem *p,
                                    const struct spconv_group *g, const void *w)
{
    const float one = 1, zero = 0;
    const int dgrad = p->pass == SPCONV_DGRAD;
    const int channels = dgrad ? p->cout : p->cin, columns = dgrad ? p->cin : p->cout;
    void **at = v->pointers + g->first;
    if (g->batched)
        return cublas_op_status(cublasGemmBatchedEx(
            v->handle, dgrad ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, columns, g->rows, channels,
            &one, (const void *const *)(at + SPCONV_TAPS_MAX), type_of(p), p->cout,
            (const void *const *)at, type_of(p), channels, &zero, at + 2 * SPCONV_TAPS_MAX,
            type_of(p), columns, g->count, compute_of(p), CUBLAS_GEMM_DEFAULT));
    for (int i = g->first; i < g->first + g->count; i++) {
        const int d = v->g.taps[i];
        const size_t base = (size_t)v->g.base[d];
        const enum op_status s = product(v, p, v->start[d + 1] - v->start[d],
                                         plus(v->gathered, base * channels, p),
                                         plus(w, (size_t)d * p->cin * p->cout, p),
                                         (void *)plus(v->products, base * columns, p));
        if (s)
            return s;
    }
    return OP_OK;
}

/* ---- set-up ---- */

void spconv_cublas_teardown(void *state)
{
    struct state *v = state;
    if (v && v->handle)
        cublasDestroy(v->handle);
    free(v);
}

static long whole_rows(long rows)
{
    return (rows + WHOLE - 1) / WHOLE * WHOLE;
}

/* Rows of a tap that a product of wgrad sums over. */
static long wgrad_rows(const struct state *v, int d)
{
    return whole_rows(v->start[d + 1] - v->start[d]);
}

static void place_wgrad(const struct spconv_problem *p, struct state *v)
{
    v->g.rows = 0;
    for (int d = 0; d < p->taps; d++) {
        v->g.base[d] = (int32_t)v->g.rows;
        v->g.rows += wgrad_rows(v, d);
    }
    v->slots = (double)v->g.rows;
}

static void make_groups(const struct spconv_problem *p, int setting, struct state *v)
{
    spconv_groups_make(p->taps, v->start, v->middle, v->form == GROUPED ? setting : 0, &v->g);
    v->slots = v->form <= GROUPED ? (double)v->g.rows + (v->middle < 0 ? 0 : p->out)
                                  : (double)p->pairs;
    if (p->pass == SPCONV_WGRAD)
        place_wgrad(p, v);
}

/* Buffers have room for every setting. */
static void measure_groups(const struct spconv_problem *p, struct state *v)
{
    for (int setting = 1; v->form == GROUPED && setting <= SPCONV_GROUPINGS; setting++) {
        make_groups(p, setting, v);
        v->room = v->g.rows > v->room ? v->g.rows : v->room;
    }
    make_groups(p, SPCONV_GROUPING_MIDDLE, v);
    v->room = v->g.rows > v->room ? v->g.rows : v->room;
}

static enum op_status send(void *to, const void *from, size_t bytes, op_stream s)
{
    if (!to)
        return OP_ENOMEM;
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s) || cudaStreamSynchronize(s)
               ? OP_EDEVICE
               : OP_OK;
}

static struct spconv_places places_of(const struct spconv_problem *p, const struct state *v)
{
    struct spconv_places to = { .taps = p->taps };
    memcpy(to.start, v->start, sizeof to.start);
    for (int d = 0; d < p->taps; d++)
        to.base[d] = d == v->middle ? -1 : v->g.base[d];
    return to;
}

static enum op_status make_pointers(const struct spconv_problem *p, const struct sides *sides,
                                    op_stream s, const struct state *v)
{
    const void *host[3 * SPCONV_TAPS_MAX] = { 0 };
    for (int i = 0; i < v->g.tap_count; i++) {
        const int d = v->g.taps[i];
        host[i] = plus(v->gathered, (size_t)v->g.base[d] * sides->channels, p);
        host[SPCONV_TAPS_MAX + i] = plus(v->w, (size_t)d * p->cin * p->cout, p);
        host[2 * SPCONV_TAPS_MAX + i] = plus(v->products, (size_t)v->g.base[d] * sides->columns, p);
    }
    return send(v->pointers, host, sizeof host, s);
}

/* Where rows of the buffers lie, as the groups say; sides of the device. */
static enum op_status place_rows(const struct spconv_problem *p, const struct sides *sides,
                                 op_stream s, const struct state *v)
{
    const struct spconv_places places = places_of(p, v);
    enum op_status status =
        spconv_place_slots(&places, sides->from, sides->from_rows, v->slot_from, s);
    if (!status)
        status = spconv_place_slots(&places, sides->to, sides->to_rows, v->slot_to, s);
    return status ? status : make_pointers(p, sides, s, v);
}

/* Zeros into the buffers, and for forms that gather all taps at once, what of. */
static enum op_status open_wgrad(const struct spconv_problem *p, const struct sides *sides,
                                 const struct op_memory *memory, op_stream s, struct state *v)
{
    const size_t rows = (size_t)v->g.rows, bytes = rows * sizeof *v->slot_from;
    const struct spconv_places places = places_of(p, v);
    enum op_status status =
        cudaMemsetAsync(v->gathered, 0, rows * p->cin * element(p), s) ||
                cudaMemsetAsync(v->products, 0, rows * p->cout * element(p), s)
            ? OP_EDEVICE
            : OP_OK;
    if (status || v->form > GROUPED)
        return status;
    v->slot_from = memory->take(memory->context, bytes);
    v->slot_to = memory->take(memory->context, bytes);
    if (!v->slot_from || !v->slot_to)
        return OP_ENOMEM;
    status = spconv_place_list(&places, sides->from, v->g.rows, v->slot_from, s);
    return status ? status : spconv_place_list(&places, sides->to, v->g.rows, v->slot_to, s);
}

/* The workspace of cuBLAS and the buffers, one behind the other; shared with other layers where
 * nothing in the buffers has to stay: wgrad has zeros there, and one form what set-up gathered. */
static void *take_buffers(const struct spconv_problem *p, const struct sides *sides,
                          const struct op_memory *memory, struct state *v)
{
    const int wgrad = p->pass == SPCONV_WGRAD, slots = !wgrad && v->form <= GROUPED;
    const size_t rows = (size_t)((wgrad || slots) && v->room ? v->room : p->pairs + 1);
    const size_t from = (rows * (size_t)sides->channels * element(p) + 255) / 256 * 256;
    const size_t all = from + rows * (size_t)sides->columns * element(p);
    const int stays = wgrad || v->form == GATHERED;
    char *workspace = op_scratch(memory, WORKSPACE + (stays ? 0 : all));
    char *buffers = !workspace ? NULL
                    : stays    ? memory->take(memory->context, all)
                               : workspace + WORKSPACE;
    v->gathered = buffers;
    v->products = buffers ? buffers + from : NULL;
    return buffers ? workspace : NULL;
}

static enum op_status fill_buffers(const struct spconv_problem *p, const struct spconv_args *a,
                                   const struct op_memory *memory, op_stream s, struct state *v)
{
    const struct sides sides = sides_of(p, &a->map);
    const int wgrad = p->pass == SPCONV_WGRAD, slots = !wgrad && v->form <= GROUPED;
    enum op_status status = OP_OK;
    if (slots) {
        const size_t bytes = (size_t)p->taps * sizeof *v->slot_from;
        v->slot_from = memory->take(memory->context, (size_t)sides.from_rows * bytes);
        v->slot_to = memory->take(memory->context, (size_t)sides.to_rows * bytes);
        v->pointers = memory->take(memory->context, 3 * SPCONV_TAPS_MAX * sizeof *v->pointers);
        status = v->slot_from && v->slot_to ? place_rows(p, &sides, s, v) : OP_ENOMEM;
    }
    if (wgrad)
        status = open_wgrad(p, &sides, memory, s, v);
    if (v->form == GATHERED && !status)
        status = spconv_gather_rows(p->pass == SPCONV_DGRAD ? a->g : a->x,
                                    p->pass == SPCONV_DGRAD ? a->map.pair_out : a->map.pair_in,
                                    p->pairs, sides.channels * element(p), v->gathered, s);
    if (v->form == GATHERED && wgrad && !status)
        status = spconv_gather_rows(a->g, a->map.pair_out, p->pairs, p->cout * element(p),
                                    v->products, s);
    return status;
}

static enum op_status open_handle(struct state *v, void *workspace, op_stream s)
{
    cublasStatus_t status = cublasCreate(&v->handle);
    if (!status)
        status = cublasSetStream(v->handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(v->handle, workspace, WORKSPACE);
    if (!status)
        status = cublasSetMathMode(v->handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    return cublas_op_status(status);
}

static enum op_status setup(const struct spconv_problem *p, const struct spconv_map *host,
                            const struct spconv_args *a, enum form form,
                            const struct op_memory *memory, op_stream s, void **state)
{
    const struct sides sides = sides_of(p, &a->map);
    struct state *v = calloc(1, sizeof *v);
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->form = form;
    v->w = a->w;
    v->middle = p->same && p->pass != SPCONV_WGRAD && form <= GROUPED ? p->taps / 2 : -1;
    memcpy(v->start, host->start, ((size_t)p->taps + 1) * sizeof *v->start);
    measure_groups(p, v);
    void *workspace = take_buffers(p, &sides, memory, v);
    enum op_status status = workspace ? open_handle(v, workspace, s) : OP_ENOMEM;
    if (!status)
        status = fill_buffers(p, a, memory, s, v);
    if (status) {
        spconv_cublas_teardown(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

#define SETUP(name, form)                                                                      \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        return setup(p, host, a, form, m, s, state);                                           \
    }
SETUP(spconv_gather_fused_setup, FUSED)
SETUP(spconv_gather_grouped_setup, GROUPED)
SETUP(spconv_gather_tap_setup, BY_TAP)
SETUP(spconv_gather_atomic_setup, ATOMIC)
SETUP(spconv_gathered_setup, GATHERED)
#undef SETUP

enum op_status spconv_gather_adjust(const struct spconv_problem *p, const struct spconv_map *host,
                                    const struct spconv_args *a, int setting, op_stream s,
                                    void *state)
{
    struct state *v = state;
    const struct sides sides = sides_of(p, &a->map);
    (void)host;
    if (v->form != GROUPED || setting < 0 || setting > SPCONV_GROUPINGS)
        return OP_EINVAL;
    make_groups(p, setting ? setting : SPCONV_GROUPING_MIDDLE, v);
    return p->pass == SPCONV_WGRAD ? OP_OK : place_rows(p, &sides, s, v);
}

/* ---- runs ---- */

static enum op_status clear(const struct spconv_problem *p, void *y, op_stream s)
{
    const struct spconv_size size = spconv_result(p);
    const size_t bytes = p->pass == SPCONV_WGRAD ? 4 : element(p);
    return cudaMemsetAsync(y, 0, (size_t)(size.rows * size.columns) * bytes, s) ? OP_EDEVICE
                                                                                : OP_OK;
}

static enum op_status gather_tap_sides(const struct state *v, const struct spconv_problem *p,
                                       const struct spconv_args *a, int d, op_stream s)
{
    const size_t first = (size_t)v->start[d], base = (size_t)v->g.base[d];
    const long rows = v->start[d + 1] - v->start[d];
    const enum op_status status =
        spconv_gather_rows(a->x, a->map.pair_in + first, rows, p->cin * element(p),
                           (void *)plus(v->gathered, base * p->cin, p), s);
    return status ? status
                  : spconv_gather_rows(a->g, a->map.pair_out + first, rows, p->cout * element(p),
                                       (void *)plus(v->products, base * p->cout, p), s);
}

static enum op_status run_wgrad(const struct state *v, const struct spconv_problem *p,
                                const struct spconv_args *a, op_stream s)
{
    const int by_tap = v->form == BY_TAP || v->form == ATOMIC;
    enum op_status status = clear(p, a->y, s);
    if (!status && !by_tap)
        status = spconv_gather_rows(a->x, v->slot_from, v->g.rows, p->cin * element(p), v->gathered,
                                    s);
    if (!status && !by_tap)
        status = spconv_gather_rows(a->g, v->slot_to, v->g.rows, p->cout * element(p), v->products,
                                    s);
    for (int d = 0; !status && d < p->taps; d++) {
        const size_t base = (size_t)v->g.base[d];
        if (by_tap)
            status = gather_tap_sides(v, p, a, d, s);
        if (!status)
            status = product_wgrad(v, p, wgrad_rows(v, d), plus(v->gathered, base * p->cin, p),
                                   plus(v->products, base * p->cout, p),
                                   (float *)a->y + (size_t)d * p->cin * p->cout);
    }
    return status;
}

enum op_status spconv_gather_fused(const struct spconv_problem *p, const struct spconv_args *a,
                                   void *state, op_stream s)
{
    const struct state *v = state;
    const struct sides sides = sides_of(p, &a->map);
    const void *x = p->pass == SPCONV_DGRAD ? a->g : a->x;
    if (a->w != v->w)
        return OP_EINVAL;
    if (p->pass == SPCONV_WGRAD)
        return run_wgrad(v, p, a, s);
    enum op_status status = OP_OK;
    if (v->middle >= 0)
        status = product(v, p, sides.to_rows, x,
                         plus(a->w, (size_t)v->middle * p->cin * p->cout, p), a->y);
    if (v->middle >= 0 && !v->g.tap_count)
        return status;
    if (!status)
        status = spconv_gather_all(x, v->slot_from, p->taps, sides.from_rows,
                                   sides.channels * element(p), v->gathered, s);
    for (int i = 0; !status && i < v->g.groups; i++)
        status = product_group(v, p, &v->g.group[i], a->w);
    return status ? status
                  : spconv_scatter_all(p->dtype, v->products, v->slot_to, p->taps, sides.to_rows,
                                       sides.columns, v->middle >= 0, a->y, s);
}

enum op_status spconv_gather_tap(const struct spconv_problem *p, const struct spconv_args *a,
                                 void *state, op_stream s)
{
    const struct state *v = state;
    const struct sides sides = sides_of(p, &a->map);
    const void *x = p->pass == SPCONV_DGRAD ? a->g : a->x;
    if (p->pass == SPCONV_WGRAD)
        return run_wgrad(v, p, a, s);
    enum op_status status = clear(p, a->y, s);
    for (int d = 0; !status && d < p->taps; d++) {
        const long rows = v->start[d + 1] - v->start[d];
        if (!rows)
            continue;
        status = spconv_gather_rows(x, sides.from + v->start[d], rows, sides.channels * element(p),
                                    v->gathered, s);
        if (!status)
            status = product(v, p, rows, v->gathered, plus(a->w, (size_t)d * p->cin * p->cout, p),
                             v->products);
        if (!status)
            status = spconv_scatter_tap(p->dtype, v->products, sides.to + v->start[d], rows,
                                        sides.columns, v->form == ATOMIC, a->y, s);
    }
    return status;
}

/* One GEMM; that of wgrad reads both buffers and writes one tap. */
enum op_status spconv_gathered(const struct spconv_problem *p, const struct spconv_args *a,
                               void *state, op_stream s)
{
    const struct state *v = state;
    (void)s;
    return p->pass == SPCONV_WGRAD
               ? product_wgrad(v, p, whole_rows(p->pairs), v->gathered, v->products, a->y)
               : product(v, p, p->pairs, v->gathered, a->w, v->products);
}

void spconv_cublas_counts(const struct spconv_problem *p, const void *state,
                          struct spconv_counts *counts)
{
    const struct state *v = state;
    const double rows = v->form <= GROUPED ? (double)v->g.rows : (double)p->pairs;
    counts->slots = v->slots;
    counts->extra_bytes = v->form == GATHERED ? 0 : 2 * rows * element(p) * (p->cin + p->cout);
}

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

#include "cublas_status.h"
#include "spconv_cublas.h"

static const size_t WORKSPACE = (size_t)32 << 20;

enum { MIDDLE = 2 + 9 * 3 + 4 }; /* setting of the published grid: 0.3, 15000 */
enum { WHOLE = 256 };

enum form { FUSED, GROUPED, BY_TAP, ATOMIC, GATHERED };

struct group {
    int first, count; /* in taps[] of the state */
    int rows;         /* padded */
    int batched;
};

struct state {
    enum form form;
    cublasHandle_t handle;
    const void *w;
    int32_t *slot_from, *slot_to; /* [rows][taps]; wgrad: [rows of the buffer] rows of x, of g */
    void *gathered, *products;    /* buffers; wgrad: rows of x, rows of g */
    void **pointers;              /* device: [3][taps] in the order of taps[] */
    int middle;                   /* tap without slots, or -1 */
    int taps[SPCONV_TAPS_MAX], tap_count;
    int32_t start[SPCONV_TAPS_MAX + 1], base[SPCONV_TAPS_MAX]; /* pairs; row of the buffer */
    struct group group[SPCONV_TAPS_MAX];
    int groups;
    double epsilon; /* of grouping */
    int threshold;
    long rows, room; /* of the buffers; what they have room for */
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
                                    const struct group *g, const void *w)
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
        const int d = v->taps[i];
        const size_t base = (size_t)v->base[d];
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
    v->rows = 0;
    for (int d = 0; d < p->taps; d++) {
        v->base[d] = (int32_t)v->rows;
        v->rows += wgrad_rows(v, d);
    }
    v->slots = (double)v->rows;
}

/* Taps with pairs, each before its mirror image, and the groups of them. */
static void make_groups(const struct spconv_problem *p, int setting, struct state *v)
{
    v->epsilon = setting > 1 ? (setting - 2) / 9 * .1 : 0;
    v->threshold = setting > 1 ? 5000 + (setting - 2) % 9 * 2500 : 0;
    v->tap_count = v->groups = 0;
    v->rows = 0;
    for (int d = 0; d < (p->taps + 1) / 2; d++)
        for (int side = 0; side < 2; side++) {
            const int tap = side ? p->taps - 1 - d : d;
            if ((side && tap == d) || tap == v->middle || v->start[tap + 1] == v->start[tap])
                continue;
            v->taps[v->tap_count++] = tap;
        }
    int smallest = 0;
    for (int i = 0; i < v->tap_count; i++) {
        const int n = v->start[v->taps[i] + 1] - v->start[v->taps[i]];
        struct group *g = &v->group[i ? v->groups - 1 : 0];
        const int low = i && n > smallest ? smallest : n, high = i && n < g->rows ? g->rows : n;
        if (!i || v->form != GROUPED || 1 - (double)low / high > v->epsilon + 1e-9) {
            g = &v->group[v->groups++];
            *g = (struct group){ .first = i, .rows = n };
            smallest = n;
        } else {
            smallest = low;
            g->rows = high;
        }
        g->count++;
        g->batched = v->form == GROUPED && g->count > 1 && g->rows < v->threshold;
    }
    for (int i = 0; i < v->groups; i++)
        for (int k = v->group[i].first; k < v->group[i].first + v->group[i].count; k++) {
            const int d = v->taps[k];
            v->base[d] = (int32_t)v->rows;
            v->rows += v->group[i].batched ? v->group[i].rows : v->start[d + 1] - v->start[d];
        }
    v->slots = v->form <= GROUPED ? (double)v->rows + (v->middle < 0 ? 0 : p->out)
                                  : (double)p->pairs;
    if (p->pass == SPCONV_WGRAD)
        place_wgrad(p, v);
}

/* Buffers have room for every setting. */
static void measure_groups(const struct spconv_problem *p, struct state *v)
{
    for (int setting = 1; v->form == GROUPED && setting <= SPCONV_GROUPINGS; setting++) {
        make_groups(p, setting, v);
        v->room = v->rows > v->room ? v->rows : v->room;
    }
    make_groups(p, MIDDLE, v);
    v->room = v->rows > v->room ? v->rows : v->room;
}

static enum op_status send(void *to, const void *from, size_t bytes, op_stream s)
{
    if (!to)
        return OP_ENOMEM;
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s) || cudaStreamSynchronize(s)
               ? OP_EDEVICE
               : OP_OK;
}

/* Slot of every row and tap, of the pairs' side `rows_of`. */
static enum op_status make_slots(const struct spconv_problem *p, const struct state *v, int rows,
                                 const int32_t *rows_of, op_stream s, int32_t *slots)
{
    const size_t bytes = (size_t)rows * p->taps * sizeof *slots;
    int32_t *host = malloc(bytes);
    if (!host)
        return OP_ENOMEM;
    memset(host, 0xff, bytes);
    for (int i = 0; i < v->tap_count; i++)
        for (int d = v->taps[i], e = v->start[d]; e < v->start[d + 1]; e++)
            host[(size_t)rows_of[e] * p->taps + d] = v->base[d] + e - v->start[d];
    const enum op_status status = send(slots, host, bytes, s);
    free(host);
    return status;
}

static enum op_status make_pointers(const struct spconv_problem *p, const struct sides *sides,
                                    op_stream s, const struct state *v)
{
    const void *host[3 * SPCONV_TAPS_MAX] = { 0 };
    for (int i = 0; i < v->tap_count; i++) {
        const int d = v->taps[i];
        host[i] = plus(v->gathered, (size_t)v->base[d] * sides->channels, p);
        host[SPCONV_TAPS_MAX + i] = plus(v->w, (size_t)d * p->cin * p->cout, p);
        host[2 * SPCONV_TAPS_MAX + i] = plus(v->products, (size_t)v->base[d] * sides->columns, p);
    }
    return send(v->pointers, host, sizeof host, s);
}

/* Where rows of the buffers lie, as the groups say. */
static enum op_status place_rows(const struct spconv_problem *p, const struct sides *sides,
                                 op_stream s, const struct state *v)
{
    enum op_status status =
        make_slots(p, v, sides->from_rows, sides->from, s, v->slot_from);
    if (!status)
        status = make_slots(p, v, sides->to_rows, sides->to, s, v->slot_to);
    return status ? status : make_pointers(p, sides, s, v);
}

/* Rows of one side of all pairs as they lie in a buffer, -1 where none does. */
static enum op_status make_list(const struct spconv_problem *p, const struct state *v,
                                const int32_t *rows_of, op_stream s, int32_t *list)
{
    const size_t bytes = (size_t)v->rows * sizeof *list;
    int32_t *host = malloc(bytes + 1);
    if (!host)
        return OP_ENOMEM;
    memset(host, 0xff, bytes);
    for (int d = 0; d < p->taps; d++)
        memcpy(host + v->base[d], rows_of + v->start[d],
               (size_t)(v->start[d + 1] - v->start[d]) * sizeof *host);
    const enum op_status status = send(list, host, bytes, s);
    free(host);
    return status;
}

/* Zeros into the buffers, and for forms that gather all taps at once, what of. */
static enum op_status open_wgrad(const struct spconv_problem *p, const struct sides *sides,
                                 const struct op_memory *memory, op_stream s, struct state *v)
{
    const size_t rows = (size_t)v->rows, bytes = rows * sizeof *v->slot_from;
    enum op_status status =
        cudaMemsetAsync(v->gathered, 0, rows * p->cin * element(p), s) ||
                cudaMemsetAsync(v->products, 0, rows * p->cout * element(p), s)
            ? OP_EDEVICE
            : OP_OK;
    if (status || v->form > GROUPED)
        return status;
    v->slot_from = memory->take(memory->context, bytes);
    v->slot_to = memory->take(memory->context, bytes);
    status = make_list(p, v, sides->from, s, v->slot_from);
    return status ? status : make_list(p, v, sides->to, s, v->slot_to);
}

static enum op_status make_buffers(const struct spconv_problem *p, const struct spconv_map *host,
                                   const struct spconv_args *a, const struct op_memory *memory,
                                   op_stream s, struct state *v)
{
    const struct sides sides = sides_of(p, host);
    const int wgrad = p->pass == SPCONV_WGRAD, slots = !wgrad && v->form <= GROUPED;
    const long rows = (wgrad || slots) && v->room ? v->room : p->pairs + 1;
    enum op_status status = OP_OK;
    v->gathered = memory->take(memory->context, (size_t)rows * sides.channels * element(p));
    v->products = memory->take(memory->context, (size_t)rows * sides.columns * element(p));
    if (!v->gathered || !v->products)
        return OP_ENOMEM;
    if (slots) {
        const size_t bytes = (size_t)p->taps * sizeof *v->slot_from;
        v->slot_from = memory->take(memory->context, (size_t)sides.from_rows * bytes);
        v->slot_to = memory->take(memory->context, (size_t)sides.to_rows * bytes);
        v->pointers = memory->take(memory->context, 3 * SPCONV_TAPS_MAX * sizeof *v->pointers);
        status = place_rows(p, &sides, s, v);
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
    cublasStatus_t status;
    if (!workspace)
        return OP_ENOMEM;
    status = cublasCreate(&v->handle);
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
    struct state *v = calloc(1, sizeof *v);
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->form = form;
    v->w = a->w;
    v->middle = p->same && p->pass != SPCONV_WGRAD && form <= GROUPED ? p->taps / 2 : -1;
    memcpy(v->start, host->start, ((size_t)p->taps + 1) * sizeof *v->start);
    measure_groups(p, v);
    enum op_status status = open_handle(v, memory->take(memory->context, WORKSPACE), s);
    if (!status)
        status = make_buffers(p, host, a, memory, s, v);
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
    const struct sides sides = sides_of(p, host);
    (void)a;
    if (v->form != GROUPED || setting < 0 || setting > SPCONV_GROUPINGS)
        return OP_EINVAL;
    make_groups(p, setting ? setting : MIDDLE, v);
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
    const size_t first = (size_t)v->start[d], base = (size_t)v->base[d];
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
        status = spconv_gather_rows(a->x, v->slot_from, v->rows, p->cin * element(p), v->gathered,
                                    s);
    if (!status && !by_tap)
        status = spconv_gather_rows(a->g, v->slot_to, v->rows, p->cout * element(p), v->products,
                                    s);
    for (int d = 0; !status && d < p->taps; d++) {
        const size_t base = (size_t)v->base[d];
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
    if (v->middle >= 0 && !v->tap_count)
        return status;
    if (!status)
        status = spconv_gather_all(x, v->slot_from, p->taps, sides.from_rows,
                                   sides.channels * element(p), v->gathered, s);
    for (int i = 0; !status && i < v->groups; i++)
        status = product_group(v, p, &v->group[i], a->w);
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
    const double rows = v->form <= GROUPED ? (double)v->rows : (double)p->pairs;
    counts->slots = v->slots;
    counts->extra_bytes = v->form == GATHERED ? 0 : 2 * rows * element(p) * (p->cin + p->cout);
}

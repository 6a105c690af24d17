/*
 * host.c - C = A B on the processor's cores, float sums, row-major.
 *
 * host_rb: threads take rows.
 * host_eb: threads take chunks of equally many entries.  A row that begins in
 * a chunk is the chunk's: it is stored at once if it also ends there.  What is
 * cut at a chunk's ends goes into two carries, and the rows that are cut are
 * put together afterwards, in order.  Nothing is added atomically and C is not
 * cleared, so the result does not depend on timing.
 *
 *   entries   |------ chunk 0 ------|------ chunk 1 ------|------ chunk 2 -----|
 *   rows      aaaaa bbbbbbbbbbb cccc ccc ddddd eeeeeeeeeee eeeeeeeeeeee ffffff
 *   head[t]   -                     ccc                   eeeeeeeeeeee
 *   tail[t]                    cccc             eeeeeeeeeee              -
 *   stored    a b                        d                               f
 *
 * A chunk that lies within one row has all its entries in head.
 */
#include <stdlib.h>

#include <omp.h>

#include "../common/half.h"
#include "host.h"

enum { PANEL = 64 }; /* columns at a time: their sums stay in registers and L1 */

/* ---- entries begin .. end-1, columns j0 .. j0+columns-1, added into sum ---- */

static void add_f32(const struct spmm_problem *p, const struct spmm_args *args, long begin,
                    long end, int j0, int columns, float *restrict sum)
{
    const float *val = args->a.val, *b = args->b;
    for (long e = begin; e < end; e++) {
        const float *row = b + (size_t)args->a.col[e] * p->n + j0, value = val[e];
#pragma omp simd
        for (int j = 0; j < columns; j++)
            sum[j] += value * row[j];
    }
}

static void add_f16(const struct spmm_problem *p, const struct spmm_args *args, long begin,
                    long end, int j0, int columns, float *restrict sum)
{
    const half_bits *val = args->a.val, *b = args->b;
    for (long e = begin; e < end; e++) {
        const half_bits *row = b + (size_t)args->a.col[e] * p->n + j0;
        const float value = half_to_float(val[e]);
        for (int j = 0; j < columns; j++)
            sum[j] += value * half_to_float(row[j]);
    }
}

static void add_entries(const struct spmm_problem *p, const struct spmm_args *args, long begin,
                        long end, int j0, int columns, float *restrict sum)
{
    if (p->dtype == SPMM_F16)
        add_f16(p, args, begin, end, j0, columns, sum);
    else
        add_f32(p, args, begin, end, j0, columns, sum);
}

static void store(const struct spmm_problem *p, void *c, int i, int j0, int columns,
                  const float *sum)
{
    const size_t first = (size_t)i * p->n + j0;
    for (int j = 0; j < columns; j++)
        if (p->dtype == SPMM_F16)
            ((half_bits *)c)[first + j] = half_from_float(sum[j]);
        else
            ((float *)c)[first + j] = sum[j];
}

/* Row i from its entries begin .. end-1, stored. */
static void whole_row(const struct spmm_problem *p, const struct spmm_args *args, int i, long begin,
                      long end)
{
    for (int j0 = 0; j0 < p->n; j0 += PANEL) {
        const int columns = p->n - j0 < PANEL ? p->n - j0 : PANEL;
        float sum[PANEL] = { 0 };
        add_entries(p, args, begin, end, j0, columns, sum);
        store(p, args->c, i, j0, columns, sum);
    }
}

/* ---- row balance ---- */

enum op_status spmm_host_rb(const struct spmm_problem *p, const struct spmm_args *args, void *state,
                            op_stream s)
{
    const int *row_ptr = args->a.row_ptr;
    (void)state, (void)s;
#pragma omp parallel for schedule(dynamic, 64)
    for (int i = 0; i < p->m; i++)
        whole_row(p, args, i, row_ptr[i], row_ptr[i + 1]);
    return OP_OK;
}

/* ---- element balance ---- */

struct carries {
    int chunks;
    float *head, *tail;   /* [chunks][n] */
    int *head_row;        /* [chunks] the row that head belongs to, -1: none */
    int *tail_row;
};

enum op_status spmm_host_eb_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                  const struct spmm_args *args, const struct op_memory *memory,
                                  op_stream s, void **state)
{
    struct carries *w = calloc(1, sizeof *w);
    (void)host, (void)args, (void)s;
    *state = NULL;
    if (!w)
        return OP_ENOMEM;
    w->chunks = omp_get_max_threads();
    const size_t bytes = (size_t)w->chunks * p->n * sizeof(float);
    w->head = memory->take(memory->context, bytes);
    w->tail = memory->take(memory->context, bytes);
    w->head_row = memory->take(memory->context, (size_t)w->chunks * 2 * sizeof(int));
    if (!w->head || !w->tail || !w->head_row) {
        free(w);
        return OP_ENOMEM;
    }
    w->tail_row = w->head_row + w->chunks;
    *state = w;
    return OP_OK;
}

void spmm_host_eb_teardown(void *state)
{
    free(state);
}

/* The first row that begins at entry p or later; m: none. */
static int first_row(const int *row_ptr, int m, long p)
{
    int low = 0, high = m;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (row_ptr[middle] < p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void carry(const struct spmm_problem *p, const struct spmm_args *args, long begin, long end,
                  float *sum)
{
    for (int j = 0; j < p->n; j++)
        sum[j] = 0;
    for (int j0 = 0; j0 < p->n; j0 += PANEL)
        add_entries(p, args, begin, end, j0, p->n - j0 < PANEL ? p->n - j0 : PANEL, sum + j0);
}

static void run_chunk(const struct spmm_problem *p, const struct spmm_args *args,
                      struct carries *w, int t)
{
    const int *row_ptr = args->a.row_ptr;
    const long begin = p->nnz * t / w->chunks, end = p->nnz * (t + 1) / w->chunks;
    const int first = first_row(row_ptr, p->m, begin);
    /* rows that begin here; those at the very end of A, all empty, are the last chunk's */
    const int past = t == w->chunks - 1 ? p->m : first_row(row_ptr, p->m, end);
    const long head_end = first < p->m && row_ptr[first] < end ? row_ptr[first] : end;

    w->head_row[t] = w->tail_row[t] = -1;
    if (begin < head_end) {
        w->head_row[t] = first - 1;
        carry(p, args, begin, head_end, w->head + (size_t)t * p->n);
    }
    for (int i = first; i < past; i++)
        if (row_ptr[i + 1] <= end) {
            whole_row(p, args, i, row_ptr[i], row_ptr[i + 1]);
        } else {
            w->tail_row[t] = i;
            carry(p, args, row_ptr[i], end, w->tail + (size_t)t * p->n);
        }
}

enum op_status spmm_host_eb(const struct spmm_problem *p, const struct spmm_args *args, void *state,
                            op_stream s)
{
    struct carries *w = state;
    (void)s;
#pragma omp parallel for schedule(static, 1)
    for (int t = 0; t < w->chunks; t++)
        run_chunk(p, args, w, t);
    for (int t = 0; t < w->chunks; t++) {
        float *sum = w->tail + (size_t)t * p->n;
        if (w->tail_row[t] < 0)
            continue;
        for (int u = t + 1; u < w->chunks; u++)
            for (int j = 0; w->head_row[u] == w->tail_row[t] && j < p->n; j++)
                sum[j] += w->head[(size_t)u * p->n + j];
        store(p, args->c, w->tail_row[t], 0, p->n, sum);
    }
    return OP_OK;
}

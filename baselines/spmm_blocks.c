/* spmm_blocks.c - see spmm_blocks.h. */
#include "spmm_blocks.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const int sizes[SPMM_SQUARES] = { 3, 4, 8, 16, 32, 64 };

int spmm_block_size(int i)
{
    return sizes[i];
}

/* ---- counting ---- */

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Distinct columns of blocks in row `line` of blocks, into at where it is not NULL.  seen
 * [k / s] holds of each the last row of blocks that had it. */
static int blocks_of(const int *row_ptr, const int *col, int s, int line, int *seen, int *at)
{
    int count = 0;
    for (int p = row_ptr[line * s]; p < row_ptr[(line + 1) * s]; p++) {
        const int block = col[p] / s;
        if (seen[block] == line)
            continue;
        seen[block] = line;
        if (at)
            at[count] = block;
        count++;
    }
    if (at)
        qsort(at, (size_t)count, sizeof *at, ascending);
    return count;
}

/* None seen; NULL: no memory. */
static int *new_seen(int blocks)
{
    int *seen = malloc((size_t)blocks * sizeof *seen);
    if (seen)
        memset(seen, 0xff, (size_t)blocks * sizeof *seen);
    return seen;
}

enum op_status spmm_blocks_count(const int *row_ptr, const int *col, struct spmm_problem *p)
{
    int failed = 0;
    memset(p->blocks, 0, sizeof p->blocks);
    memset(p->widest, 0, sizeof p->widest);
    for (int i = 0; i < SPMM_SQUARES; i++) {
        const int s = sizes[i], lines = p->m / s;
        long blocks = 0;
        int widest = 0;
        if (p->m % s || p->k % s)
            continue;
#pragma omp parallel reduction(+ : blocks, failed) reduction(max : widest)
        {
            int *const seen = new_seen(p->k / s);
            failed += !seen;
#pragma omp for schedule(dynamic, 64)
            for (int line = 0; line < lines; line++) {
                const int count = seen ? blocks_of(row_ptr, col, s, line, seen, NULL) : 0;
                blocks += count;
                widest = count > widest ? count : widest;
            }
            free(seen);
        }
        p->blocks[i] = blocks;
        p->widest[i] = widest;
    }
    if (!failed)
        return OP_OK;
    memset(p->blocks, 0, sizeof p->blocks);
    memset(p->widest, 0, sizeof p->widest);
    return OP_ENOMEM;
}

/* ---- the choice of a size ---- */

static double element_bytes(const struct spmm_problem *p)
{
    return p->dtype == SPMM_F16 ? 2 : 4;
}

static double places_of(const struct spmm_problem *p, enum spmm_blocked format, int i)
{
    return format == SPMM_BSR ? (double)p->blocks[i] : (double)(p->m / sizes[i]) * p->widest[i];
}

static double stored(const struct spmm_problem *p, enum spmm_blocked format, int i)
{
    return places_of(p, format, i) * sizes[i] * sizes[i];
}

static double format_bytes(const struct spmm_problem *p, enum spmm_blocked format, int i)
{
    const double lines = format == SPMM_BSR ? 4 * (p->m / sizes[i] + 1.0) : 0;
    return stored(p, format, i) * element_bytes(p) + 4 * places_of(p, format, i) + lines;
}

static double moved(const struct spmm_problem *p, enum spmm_blocked format, int i)
{
    const long row = (long)(p->n * element_bytes(p));
    return format_bytes(p, format, i) +
           (double)p->blocks[i] * sizes[i] * 32 * (double)((row + 31) / 32);
}

int spmm_blocks_order(const struct spmm_problem *p, enum spmm_blocked format, int *index)
{
    const double most = (format == SPMM_BSR ? SPMM_FILL_BSR : SPMM_FILL_MAX) * (double)p->nnz;
    int count = 0;
    for (int i = 0; i < SPMM_SQUARES; i++) {
        int at = count;
        if (!p->blocks[i] || (format == SPMM_BELL && sizes[i] < 8) ||
            stored(p, format, i) > most || stored(p, format, i) > INT_MAX)
            continue;
        for (; at > 0 && moved(p, format, index[at - 1]) > moved(p, format, i); at--)
            index[at] = index[at - 1];
        index[at] = i;
        count++;
    }
    return count;
}

double spmm_blocks_extra_bytes(const struct spmm_problem *p, enum spmm_blocked format)
{
    int index[SPMM_SQUARES];
    if (!spmm_blocks_order(p, format, index))
        return 0;
    return format_bytes(p, format, index[0]) - (double)p->nnz * (element_bytes(p) + 4) -
           4.0 * (p->m + 1.0);
}

double spmm_blocks_ops(const struct spmm_problem *p, enum spmm_blocked format)
{
    int index[SPMM_SQUARES];
    return spmm_blocks_order(p, format, index) ? 2.0 * stored(p, format, index[0]) * p->n : 0;
}

/* ---- the blocks themselves ---- */

/* Columns of each row of blocks; the places behind them stay as they are. */
static int place_blocks(const int *row_ptr, const int *col, int lines, int columns,
                        struct spmm_blocks *out)
{
    int failed = 0;
#pragma omp parallel reduction(+ : failed)
    {
        int *const seen = new_seen(columns);
        failed += !seen;
#pragma omp for schedule(dynamic, 64)
        for (int line = 0; line < lines; line++)
            if (seen)
                blocks_of(row_ptr, col, out->size, line, seen, out->col + out->ptr[line]);
        free(seen);
    }
    return failed;
}

/* Where each row of blocks begins. */
static int place_lines(const int *row_ptr, const int *col, int lines, int columns,
                       struct spmm_blocks *out)
{
    int *const seen = out->width ? NULL : new_seen(columns);
    if (!out->width && !seen)
        return 1;
    out->ptr[0] = 0;
    for (int line = 0; line < lines; line++)
        out->ptr[line + 1] =
            out->ptr[line] +
            (out->width ? out->width : blocks_of(row_ptr, col, out->size, line, seen, NULL));
    free(seen);
    return 0;
}

enum op_status spmm_blocks_make(const struct spmm_problem *p, const int *row_ptr, const int *col,
                                enum spmm_blocked format, int index, struct spmm_blocks *out)
{
    const int s = sizes[index], lines = p->m / s, columns = p->k / s;
    const size_t places = (size_t)places_of(p, format, index);
    *out = (struct spmm_blocks){ .size = s, .places = (long)places,
                                 .width = format == SPMM_BELL ? p->widest[index] : 0 };
    out->ptr = malloc(((size_t)lines + 1) * sizeof *out->ptr);
    out->col = malloc((places + 1) * sizeof *out->col);
    if (out->col)
        memset(out->col, 0xff, places * sizeof *out->col);
    if (!out->ptr || !out->col || place_lines(row_ptr, col, lines, columns, out) ||
        place_blocks(row_ptr, col, lines, columns, out)) {
        spmm_blocks_free(out);
        return OP_ENOMEM;
    }
    return OP_OK;
}

void spmm_blocks_free(struct spmm_blocks *b)
{
    free(b->ptr);
    free(b->col);
    *b = (struct spmm_blocks){ 0 };
}

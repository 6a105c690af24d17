/* fetch.c - see fetch.h. */
#include "fetch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

enum {
    SECTOR = 32,
    COLUMNS = 4,    /* of a thread; twice as many from WIDE columns on */
    WIDE = 64,
    TILE_MAX = 128, /* columns of a block */
    BLOCKS = 8,     /* on an SM */
    STEP = 4,       /* entries of a row */
    THREADS = 4,    /* of the host: each needs 12 bytes for every row of B */
    WARP_LANES = 32,
    TILES = 12
};

static double element_bytes(const struct spmm_problem *p)
{
    return p->dtype == SPMM_F16 ? 2 : 4;
}

/* What is fetched of B at a time for `columns` columns: a row, or a sector of several. */
struct unit {
    int rows; /* of B */
    double bytes;
};

static struct unit unit_of(const struct spmm_problem *p, int columns)
{
    const long row = (long)(columns * element_bytes(p));
    return (struct unit){ row >= SECTOR ? 1 : (int)(SECTOR / row),
                          (double)(spmm_div_up(row, SECTOR) * SECTOR) };
}

static double matrix_bytes(const struct spmm_problem *p)
{
    return 4.0 * (p->m + 1.0) + (double)p->nnz * (4 + element_bytes(p));
}

static double result_bytes(const struct spmm_problem *p)
{
    return (double)p->m * p->n * element_bytes(p);
}

/* Units with an entry. */
static double used_units(const struct spmm_problem *p, const struct spmm_matrix *host, int rows)
{
    unsigned char *const seen = calloc((size_t)(p->k / rows) + 1, 1);
    long count = 0;
    if (!seen)
        return -1;
    for (long e = 0; e < p->nnz; e++) {
        count += !seen[host->col[e] / rows];
        seen[host->col[e] / rows] = 1;
    }
    free(seen);
    return (double)count;
}

/* ---- what an SM fetches ---- */

struct sm {
    struct unit unit;
    double cache, entry; /* bytes: of the cache, of an entry of A */
    double bytes;        /* that have passed */
    double *came;        /* [units] bytes that had passed when the unit last came */
    int *by;             /* [units] 1 + the block that wanted it last */
    long fetched;
    struct {
        int at, end, block; /* entries left */
    } row[BLOCKS * SPMM_BLOCK]; /* at work */
    int rows;
};

/* Counts a unit that a block wants, if neither this block nor the cache has it. */
static void want(struct sm *sm, int unit, int block)
{
    const int had = sm->by[unit] == block + 1;
    sm->bytes += sm->entry;
    sm->by[unit] = block + 1;
    if (had || sm->bytes - sm->came[unit] < sm->cache)
        return;
    sm->bytes += sm->unit.bytes;
    sm->came[unit] = sm->bytes;
    sm->fetched++;
}

/* All rows at work, a step at a time, to their ends. */
static void walk(struct sm *sm, const int *col)
{
    while (sm->rows) {
        int left = 0;
        for (int r = 0; r < sm->rows; r++) {
            const int end = sm->row[r].end, begin = sm->row[r].at;
            int e = begin;
            for (; e < end && e < begin + STEP; e++)
                want(sm, col[e] / sm->unit.rows, sm->row[r].block);
            if (e == end)
                continue;
            sm->row[left] = sm->row[r];
            sm->row[left++].at = e;
        }
        sm->rows = left;
    }
}

/* Blocks `first`, first + sms, ...: eight at a time. */
static void run_sm(struct sm *sm, const struct spmm_problem *p, const struct spmm_matrix *host,
                   int first, int sms, int rows)
{
    const int blocks = (int)spmm_div_up(p->m, rows);
    int held = 0;
    sm->bytes += sm->cache; /* whatever another SM had is long ago */
    for (int b = first; b < blocks; b += sms) {
        const int end = (int)spmm_least((b + 1L) * rows, p->m);
        for (int i = b * rows; i < end; i++) {
            if (host->row_ptr[i] == host->row_ptr[i + 1])
                continue;
            sm->row[sm->rows].at = host->row_ptr[i];
            sm->row[sm->rows].end = host->row_ptr[i + 1];
            sm->row[sm->rows++].block = b;
        }
        if (++held == BLOCKS || b >= blocks - sms) {
            walk(sm, host->col);
            held = 0;
        }
    }
}

/* Bytes from L2 to the SMs. */
static enum op_status to_sms(const struct spmm_problem *p, const struct spmm_matrix *host,
                             const struct spmm_caches *caches, double *out)
{
    const int columns = p->n < TILE_MAX ? p->n : TILE_MAX;
    const double tiles = (double)p->n / columns;
    const struct unit u = unit_of(p, columns);
    int lanes = 1, failed = 0;
    long fetched = 0;
    while (lanes < WARP_LANES && lanes * (columns < WIDE ? COLUMNS : 2 * COLUMNS) < columns)
        lanes *= 2;
#pragma omp parallel num_threads(THREADS) reduction(+ : failed, fetched)
    {
        struct sm *const sm = calloc(1, sizeof *sm);
        double *const came = calloc((size_t)(p->k / u.rows) + 1, sizeof *came);
        int *const by = calloc((size_t)(p->k / u.rows) + 1, sizeof *by);
        const bool ready = sm && came && by;
        failed += !ready;
        if (ready)
            *sm = (struct sm){ .unit = u, .cache = caches->l1, .came = came, .by = by,
                               .entry = 4 + element_bytes(p) };
#pragma omp for schedule(dynamic)
        for (int s = 0; s < caches->sms; s++)
            if (ready)
                run_sm(sm, p, host, s, caches->sms, SPMM_BLOCK / lanes);
        fetched += ready ? sm->fetched : 0;
        free(by);
        free(came);
        free(sm);
    }
    *out = tiles * ((double)fetched * u.bytes + matrix_bytes(p)) + result_bytes(p);
    return failed ? OP_ENOMEM : OP_OK;
}

/* ---- what the L2 fetches ---- */

/* Times a unit comes from memory when `columns` columns are made at a time, through a cache that
 * replaces the oldest bytes.  came [units]: bytes that had come when it last did; 0 before. */
static double misses(const struct spmm_problem *p, const struct spmm_matrix *host, int columns,
                     double cache, double *came)
{
    const struct unit u = unit_of(p, columns);
    const double entry = 4 + element_bytes(p), row = 4 + columns * element_bytes(p);
    double bytes = cache; /* so that 0 is long ago */
    long count = 0;
    for (int i = 0; i < p->m; i++) {
        for (int e = host->row_ptr[i]; e < host->row_ptr[i + 1]; e++) {
            double *const at = &came[host->col[e] / u.rows];
            bytes += entry;
            if (bytes - *at < cache)
                continue;
            bytes += u.bytes;
            *at = bytes;
            count++;
        }
        bytes += row;
    }
    return (double)count;
}

/* Widths of tiles, n first; how many. */
static int tiles_of(int n, int *width)
{
    int count = 0;
    for (int w = n; count < TILES; w /= 2) {
        width[count++] = w;
        if (w % 2 || w / 2 < SPMM_TILE)
            break;
    }
    return count;
}

/* Bytes between memory and L2 with tiles of `columns`. */
static enum op_status through_memory(const struct spmm_problem *p, const struct spmm_matrix *host,
                                     int columns, double used, double cache, double *out)
{
    const struct unit u = unit_of(p, columns);
    const double tiles = (double)p->n / columns;
    double fetched = used;
    if (used * u.bytes + matrix_bytes(p) + result_bytes(p) / tiles > cache) {
        double *const came = calloc((size_t)p->k / (size_t)u.rows + 1, sizeof *came);
        if (!came)
            return OP_ENOMEM;
        fetched = misses(p, host, columns, cache, came);
        free(came);
    }
    *out = tiles * (matrix_bytes(p) + fetched * u.bytes) + result_bytes(p);
    return OP_OK;
}

enum op_status spmm_fetch_of(const struct spmm_problem *p, const struct spmm_matrix *host,
                             const struct spmm_caches *caches, struct spmm_fetch *out)
{
    const double used = used_units(p, host, unit_of(p, p->n).rows);
    int width[TILES], failed = used < 0 || to_sms(p, host, caches, &out->l2) != OP_OK;
    double bytes[TILES];
    const int count = failed ? 0 : tiles_of(p->n, width);
#pragma omp parallel for reduction(+ : failed)
    for (int t = 0; t < count; t++)
        failed += through_memory(p, host, width[t], used, caches->l2, &bytes[t]) != OP_OK;
    if (failed)
        return OP_ENOMEM;
    out->dram = bytes[0];
    for (int t = 1; t < count; t++)
        out->dram = bytes[t] < out->dram ? bytes[t] : out->dram;
    return OP_OK;
}

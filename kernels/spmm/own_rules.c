/* own_rules.c - see own_rules.h. */
#include "own_rules.h"

#include <stdbool.h>

#include "shape.h"

enum {
    LANES = 32,             /* of a warp */
    SMS = 132,              /* large device: a problem that fills it need not be cut finer */
    TILE_MAX = 128,         /* columns made together by one float4 a lane */
    ROWS_AT_WORK = 8192,    /* of which B is wanted at the same time */
};
static const double l2_bytes = 52e6;

static bool skewed(const struct spmm_problem *p)
{
    return p->row_sd > p->row_mean;
}

/* Lanes for a tile of `columns` columns that take v columns each. */
static int lanes_for(int columns, int v)
{
    int lanes = 1;
    while (lanes < LANES && lanes * v < columns)
        lanes *= 2;
    return lanes;
}

/* Columns to be made before the next ones: the part of B that the rows at work read
 * shall stay in L2.  Where 32 columns of it do not fit, width gains nothing. */
static int tile_of(const struct spmm_problem *p, const struct spmm_locality *l)
{
    const double anywhere = 32.0 * p->row_mean / p->k; /* `near` of columns drawn evenly */
    double share = 6 * l->spread + (double)ROWS_AT_WORK / p->m;
    int tile = TILE_MAX;
    if (p->n < 2 * SPMM_TILE)
        return p->n;
    while (tile / 2 >= p->n)
        tile /= 2;
    if (share > 1)
        share = 1;
    if (l->spread > 0.25 && l->near > 4 * anywhere) /* few columns have most entries */
        share *= 0.6;
    for (int fits = tile; fits >= SPMM_TILE; fits /= 2)
        if (share * p->k * fits * sizeof(float) <= l2_bytes)
            return fits;
    return tile;
}

/* ---- own_row ---- */

/* One lane holds a row of B.  Teams: three to eight entries each. */
static int teams_few(const struct spmm_problem *p, const struct spmm_locality *l)
{
    static const double from[3][5] = { { 5.5, 9.5, 12, 36, 110 },    /* n = 1 */
                                       { 5.5, 9.5, 12, 55, 300 },    /* 2, and 4 from L2 */
                                       { 5.9, 9.5, 36, 110, 1e9 } }; /* 4, L1 finds most */
    const double *f = from[p->n == 1 ? 0 : p->n == 4 && l->near >= 0.3 ? 2 : 1];
    int teams = 1;
    if (skewed(p))
        return p->row_mean >= 90 ? 32 : p->row_mean >= 20 ? 16 : 8;
    for (int i = 0; i < 5; i++)
        teams *= p->row_mean > f[i] ? 2 : 1;
    return teams;
}

static void row_of_8(const struct spmm_problem *p, const struct spmm_locality *l,
                     struct own_row_form *out)
{
    const double mean = p->row_mean;
    if (mean < 12 || (skewed(p) && mean < 16)) {
        out->loads = mean < 6 ? 4 : 8;
    } else if (mean < 80) {
        out->teams = 4;
    } else if (l->near < 0.5) {
        out->teams = 16;
    } else {
        out->teams = 4;
        out->loads = 8;
    }
}

static void row_of_16(const struct spmm_problem *p, const struct spmm_locality *l,
                      struct own_row_form *out)
{
    const double mean = p->row_mean;
    if (mean >= 80 && l->near > 0.75) {
        out->teams = 4;
        out->loads = 8;
    } else if (mean >= 60) {
        out->teams = l->near < 0.3 && skewed(p) ? 8 : 4;
    } else if (l->near < 0.3 && (mean >= 20 || (mean >= 15.5 && !skewed(p)))) {
        out->teams = 4;
    }
}

static void row_of_32(const struct spmm_problem *p, const struct spmm_locality *l,
                      struct own_row_form *out)
{
    if (p->row_mean < 60)
        return;
    if (l->near < 0.7 || l->next > 0.9)
        out->teams = 4;
    else if (l->next < 0.25 && p->row_mean < 500)
        out->loads = 8;
}

/* Two vectors a lane where rows of B are found in L1, or rows are very short. */
static void row_of_64(const struct spmm_problem *p, const struct spmm_locality *l, int tile,
                      struct own_row_form *out)
{
    const bool blocks = l->next >= 0.5 || p->row_mean < 4;
    int lanes = LANES;
    if (l->next > 0.25 || l->near > 0.75 || p->row_mean < 4) {
        if (tile == TILE_MAX && blocks)
            tile *= 2;
        while (lanes > 1 && (lanes * 8 > tile || p->n % (lanes * 8)))
            lanes /= 2;
        if (lanes >= 4) {
            out->lanes = lanes;
            out->vectors = 2;
            return;
        }
    }
    if (skewed(p) && out->lanes == 16 && (long)p->m * 16 < SMS * 4096L)
        out->teams = 2;
}

void own_row_rule(const struct spmm_problem *p, const struct spmm_locality *l,
                  struct own_row_form *out)
{
    const int v = spmm_vector(p->n), tile = tile_of(p, l), lanes = lanes_for(tile, v);
    *out = (struct own_row_form){ .lanes = lanes, .teams = 1, .vectors = 1, .loads = 4 };
    if (lanes == 1) {
        out->teams = teams_few(p, l);
    } else if (v == 4) {
        if (p->n <= 8)
            row_of_8(p, l, out);
        else if (p->n <= 16)
            row_of_16(p, l, out);
        else if (p->n <= 32)
            row_of_32(p, l, out);
        else
            row_of_64(p, l, tile, out);
    } else if (p->row_mean >= 8 * LANES) {
        out->teams = LANES / lanes; /* v < 4: two forms are compiled, this and teams = 1 */
    }
    /* A piece is made alone when all else is done: the fewer entries the shorter. */
    out->whole = 64;
    while (out->whole < 256 && out->whole * 2 * 2048L <= p->nnz)
        out->whole *= 2;
    out->whole *= out->teams;
    while (out->whole < 8 * p->row_mean)
        out->whole *= 2;
}

/* ---- own_merge ---- */

void own_merge_rule(const struct spmm_problem *p, const struct spmm_locality *l,
                    struct own_merge_form *out)
{
    const int v = spmm_vector(p->n), lanes = lanes_for(tile_of(p, l), v);
    const int least = p->n < 64 ? 16 : 32;
    const long all = p->m + p->nnz;
    int items = p->n <= 32 ? 64 : 128;
    if (p->row_mean < 6 || l->spread < 0.02)
        items = p->n <= 16 ? 16 : 32;
    else if (all > 15000000 && p->n >= 128)
        items = 256;
    /* each SM wants about 768 threads */
    while (items > least && all / items * lanes < SMS * 768L)
        items /= 2;
    /* a chunk has room for a row of the mean, if that leaves enough of them */
    while (items < p->row_mean && all / (2L * items) * lanes >= SMS * 768L)
        items *= 2;
    out->lanes = lanes;
    out->items = items;
    out->whole = 2 * items;
}

/* ---- own_spmv ---- */

/* Twice as many entries in flight pay once every SM has several blocks of them. */
int own_spmv_rounds(const struct spmm_problem *p)
{
    return p->nnz >= 4000000 || (p->nnz >= 1500000 && p->row_mean >= 12) ? 8 : 4;
}

/* As many as there is room for beside a row that stays whole; smaller where blocks would be
 * fewer than three an SM. */
int own_spmv_rule(const struct spmm_problem *p, int room)
{
    int items = room - room / 4;
    while (items > 256 && (p->m + p->nnz) / items < SMS * 3L)
        items /= 2;
    return items;
}

/* ---- own_scan ---- */

/* As many as there is room for beside a row that stays whole, a multiple of 64; smaller where the
 * SMs would not be filled twice with 48 warps, or once with short chunks, of which a larger part
 * is set-up and tail. */
int own_scan_rule(const struct spmm_problem *p, int room)
{
    int items = room * 2 / 3 / 64 * 64;
    while (items > 80 && (p->m + p->nnz) / items < SMS * 48L * (items > 160 ? 2 : 1))
        items /= 2;
    return items;
}

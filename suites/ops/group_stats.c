/*
 * group_stats.c - what groups of equal size are against windows: an experiment that is not timed.
 *
 * Counted on the host over a few generated scenes, figures being their means:
 *
 *     points, cells, windows     in the grid; windows of the given side that hold a cell
 *     padding_bucket             tokens of 12 x 12 windows padded to 30, 60, 100 or 144, as SST
 *                                does, over cells; pairs_bucket: the same of query-key pairs
 *     padding_fullest            windows padded to the fullest, over cells
 *     keys_window, keys_group    keys a query attends to, exact windows and groups
 *     distance_group, _window    metres between two cells of a group (order x), of a window
 *     cover_R_one, _two, _any    share of pairs of cells within R that share a group, in
 *                                order x, in x or x shifted, in any of the four (last group
 *                                without its filling); _sst: a 12 x 12 window, either shift
 *     gflop_padded, _group, _window   of 8 encoder layers of 128 channels with those windows,
 *                                these groups, exact 12 x 12 windows; feed-forward unpadded
 *     saved_percent              of gflop_padded by groups
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/flatten/flatten.h"
#include "../data/pillars.h"
#include "bind.h"
#include "ops.h"

struct stats_params {
    int window, group, frames, path, frame, scenes;
};

static const char *const path_names[] = { "serpentine", "plain", NULL };
static const struct cb_param params[] = {
    { "window", CB_INT, offsetof(struct stats_params, window), 13, 1, 468, NULL, false,
      "as of flatten" },
    { "group", CB_INT, offsetof(struct stats_params, group), 144, 1, 4096, NULL, false,
      "as of flatten" },
    { "frames", CB_INT, offsetof(struct stats_params, frames), 1, 1, 3, NULL, false,
      "as of flatten" },
    { "path", CB_CHOICE, offsetof(struct stats_params, path), 0, 0, 0, path_names, false,
      "as of flatten" },
    { "frame", CB_INT, offsetof(struct stats_params, frame), 0, 0, 1000000, NULL, false,
      "number of the first generated scene" },
    { "scenes", CB_INT, offsetof(struct stats_params, scenes), 8, 1, 32, NULL, false,
      "scenes to take the mean of" },
    { 0 },
};

static const struct op_impl stats_row = {
    .name = "group_counts", .title = "counted", .origin = "definition", .role = OP_REFERENCE,
    .sm_min = 0, .sm_max = 999,
};

enum { RADII = 2, COVERS = 4, FIGURES = 12 + RADII * COVERS + 4 };
static const int radius[RADII] = { 3, 6 }; /* in cells: 0.96 m, 1.92 m */
static const char *const names[FIGURES] = {
    "points", "cells", "windows", "cells_window", "padding_bucket", "pairs_bucket",
    "padding_fullest", "keys_window", "keys_group", "distance_group", "distance_window",
    "groups", "cover_96cm_one", "cover_96cm_two", "cover_96cm_any", "cover_96cm_sst",
    "cover_192cm_one", "cover_192cm_two", "cover_192cm_any", "cover_192cm_sst", "gflop_padded",
    "gflop_group", "gflop_window", "saved_percent",
};

struct instance {
    struct stats_params q;
    double sum[FIGURES];
};

static const struct op_impl *impl_at(int i)
{
    return i == 0 ? &stats_row : NULL;
}

/* ---- windows ---- */

/* Cells of each window of side w; counts: [per row * per row], zeroed.  Returns windows a row. */
static int count_windows(const struct pillars *v, int w, int *counts)
{
    const int across = (PILLARS_SIDE + w - 1) / w;
    for (int i = 0; i < v->n; i++)
        counts[v->cell[i].y / w * across + v->cell[i].x / w]++;
    return across;
}

static int bucket(int n)
{
    return n < 30 ? 30 : n < 60 ? 60 : n < 100 ? 100 : 144;
}

static void padding(const struct pillars *v, int *counts, double *out)
{
    const int across = count_windows(v, 12, counts);
    double tokens = 0, padded = 0, exact = 0;
    int fullest = 0, windows = 0;
    for (int i = 0; i < across * across; i++) {
        const double n = counts[i], b = counts[i] ? bucket(counts[i]) : 0;
        tokens += b;
        padded += b * b;
        exact += n * n;
        windows += counts[i] > 0;
        fullest = counts[i] > fullest ? counts[i] : fullest;
    }
    out[4] = tokens / v->n;
    out[5] = padded / exact;
    out[6] = (double)windows * fullest / v->n;
    out[7] = exact / v->n;
}

/* ---- distances ---- */

static double metres(struct flatten_cell a, struct flatten_cell b)
{
    return PILLARS_METRES * hypot(a.x - b.x, a.y - b.y);
}

static double distance_in_groups(const struct pillars *v, const int32_t *slot, int slots, int group)
{
    double sum = 0;
    for (int g = 0; g < slots; g += group)
        for (int i = g; i < g + group; i++)
            for (int j = g; j < i; j++)
                sum += metres(v->cell[slot[i]], v->cell[slot[j]]);
    return slots && group > 1 ? sum / ((double)slots * (group - 1) / 2) : 0;
}

/* Pairs of a window are near each other in raster order only along x: cells are looked up. */
static double distance_in_windows(const struct pillars *v, const int *row_at, int w)
{
    double sum = 0;
    long pairs = 0;
    for (int i = 0; i < v->n; i++) {
        const struct flatten_cell c = v->cell[i];
        for (int y = c.y / w * w; y < PILLARS_SIDE && y < (c.y / w + 1) * w; y++)
            for (int x = c.x / w * w; x < PILLARS_SIDE && x < (c.x / w + 1) * w; x++)
                if (row_at[y * PILLARS_SIDE + x] > i) {
                    sum += metres(c, (struct flatten_cell){ x, y });
                    pairs++;
                }
    }
    return pairs ? sum / (double)pairs : 0;
}

/* Whether two cells share one of SST's windows, plain or shifted by half a side. */
static int in_sst_window(struct flatten_cell a, struct flatten_cell b)
{
    for (int shift = 6; shift <= 12; shift += 6)
        if ((a.x + shift) / 12 == (b.x + shift) / 12 && (a.y + shift) / 12 == (b.y + shift) / 12)
            return 1;
    return 0;
}

/* Who meets whom: bit k of the result is set if rows i and j meet in the k-th way of COVERS. */
static unsigned meet(const struct pillars *v, const int32_t *rank, int group, int i, int j)
{
    unsigned in = 0;
    for (int o = 0; o < FLATTEN_ORDERS; o++) {
        const int32_t *r = rank + (size_t)o * (size_t)v->n;
        in |= (unsigned)(r[i] / group == r[j] / group) << o;
    }
    return (in & 1) | ((in & 3) != 0) << 1 | (in != 0) << 2 |
           (unsigned)in_sst_window(v->cell[i], v->cell[j]) << 3;
}

static void coverage(const struct pillars *v, const int *row_at, const int32_t *rank, int group,
                     double *out)
{
    long pairs[RADII] = { 0 }, met[RADII][COVERS] = { { 0 } };
    const int far = radius[RADII - 1];
    for (int i = 0; i < v->n; i++)
        for (int dy = -far; dy <= far; dy++)
            for (int dx = -far; dx <= far; dx++) {
                const int x = v->cell[i].x + dx, y = v->cell[i].y + dy;
                if (x < 0 || y < 0 || x >= PILLARS_SIDE || y >= PILLARS_SIDE || (!dx && !dy))
                    continue;
                const int j = row_at[y * PILLARS_SIDE + x];
                if (j < 0)
                    continue;
                const unsigned in = meet(v, rank, group, i, j);
                for (int k = 0; k < RADII; k++)
                    if (dx * dx + dy * dy <= radius[k] * radius[k]) {
                        pairs[k]++;
                        for (int way = 0; way < COVERS; way++)
                            met[k][way] += in >> way & 1;
                    }
            }
    for (int k = 0; k < RADII; k++)
        for (int way = 0; way < COVERS; way++)
            out[12 + k * COVERS + way] = pairs[k] ? (double)met[k][way] / (double)pairs[k] : 0;
}

/* 8 layers of 128 channels: projections and feed-forward 8 C^2 a token each, attention 4 C a pair
 * of query and key. */
static void operations(double *out)
{
    const double cells = out[1], linear = 8 * 128 * 128, pair = 4 * 128, scale = 8 * 1e-9;
    double *to = out + 12 + RADII * COVERS;
    to[0] = scale * cells * (linear * (out[4] + 1) + pair * out[5] * out[7]);
    to[1] = scale * cells * (2 * linear + pair * out[8]);
    to[2] = scale * cells * (2 * linear + pair * out[7]);
    to[3] = 100 * (1 - to[1] / to[0]);
}

/* ---- a scene ---- */

struct room {
    int *counts, *row_at; /* [cells of the grid] */
    int32_t *slot, *rank; /* of the largest problem */
};

static void count_scene(const struct stats_params *q, const struct pillars *v,
                        const struct flatten_problem *p, struct room *r, double *out)
{
    const size_t cells = (size_t)PILLARS_SIDE * PILLARS_SIDE;
    const int slots = flatten_slots(p), group = flatten_group(p);
    out[0] = (double)v->points;
    out[1] = v->n;
    memset(r->counts, 0, cells * sizeof *r->counts);
    padding(v, r->counts, out);
    memset(r->counts, 0, cells * sizeof *r->counts);
    const int across = count_windows(v, q->window, r->counts);
    int windows = 0;
    for (int i = 0; i < across * across; i++)
        windows += r->counts[i] > 0;
    out[2] = windows;
    out[3] = (double)v->n / windows;
    out[8] = group;
    out[11] = (double)slots / group;
    memset(r->row_at, 0xff, cells * sizeof *r->row_at);
    for (int i = 0; i < v->n; i++)
        r->row_at[v->cell[i].y * PILLARS_SIDE + v->cell[i].x] = i;
    out[9] = distance_in_groups(v, r->slot, slots, group);
    out[10] = distance_in_windows(v, r->row_at, q->window);
    coverage(v, r->row_at, r->rank, group, out);
    operations(out);
}

static int add_scene(struct instance *in, int number)
{
    const size_t cells = (size_t)PILLARS_SIDE * PILLARS_SIDE;
    struct pillars v;
    struct room r = { 0 };
    double figure[FIGURES] = { 0 };
    if (pillars_generate(in->q.frames, (uint64_t)(in->q.frame + number), 0, &v))
        return -1;
    const struct flatten_problem p = { v.n, PILLARS_SIDE, in->q.window, in->q.group,
                                       in->q.path ? FLATTEN_PLAIN : FLATTEN_SERPENTINE };
    int status = op_result(flatten_check(&p), "group_stats", "problem");
    if (!status) {
        const size_t slots = (size_t)flatten_slots(&p) * FLATTEN_ORDERS;
        r = (struct room){ malloc(cells * sizeof(int)), malloc(cells * sizeof(int)),
                           malloc(slots * sizeof(int32_t)),
                           malloc((size_t)v.n * FLATTEN_ORDERS * sizeof(int32_t)) };
        status = r.counts && r.row_at && r.slot && r.rank ? 0 : cb_error("no memory for a scene");
    }
    if (!status) {
        const struct flatten_args a = { v.cell, r.slot, r.rank };
        status = op_result(flatten_reference(&p, &a, NULL, NULL), "group_stats", "orders");
    }
    if (!status)
        count_scene(&in->q, &v, &p, &r, figure);
    for (int i = 0; i < FIGURES; i++)
        in->sum[i] += figure[i];
    free(r.counts);
    free(r.row_at);
    free(r.slot);
    free(r.rank);
    pillars_free(&v);
    return status;
}

static int open_stats(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = NULL;
    if (!in)
        return cb_error("no memory for scenes");
    in->q = *(const struct stats_params *)given;
    for (int i = 0; i < in->q.scenes; i++)
        if (add_scene(in, i)) {
            free(in);
            return -1;
        }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "points", .dtype = "f32",
                                .shape = { (long)(in->sum[0] / in->q.scenes) } };
    snprintf(out[0].source, sizeof out[0].source, "generated");
    snprintf(out[0].gen, sizeof out[0].gen, "street %df seeds %d to %d", in->q.frames,
             in->q.frame, in->q.frame + in->q.scenes - 1);
    return 1;
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct instance *in = bound;
    for (int i = 0; i < FIGURES; i++)
        op_figure(&out[i], names[i], "", in->sum[i] / in->q.scenes);
    return FIGURES;
}

static void close_stats(void *instance)
{
    free(instance);
}

const struct cb_op op_group_stats = {
    .name = "group_stats", .title = "groups of equal size against windows", .params = params,
    .params_size = sizeof(struct stats_params), .untimed = true, .impl = impl_at,
    .open = open_stats, .inputs = inputs, .ready = op_ready_always, .bind = op_bind_self,
    .figures = figures, .unbind = op_unbind_self, .close = close_stats,
};

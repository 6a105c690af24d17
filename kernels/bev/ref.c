/* ref.c - the layers of the detector, and their definition in double on the host. */
#include <stdlib.h>
#include <string.h>

#include "bev.h"

const struct bev_map_shape bev_maps[BEV_MAPS] = {
    [BEV_CANVAS] = { BEV_IN, 1 }, [BEV_A0] = { 64, 1 },     [BEV_A1] = { 64, 1 },
    [BEV_B0] = { 128, 2 },        [BEV_B1] = { 128, 2 },    [BEV_NECK] = { 256, 1 },
    [BEV_SHARED] = { 64, 1 },     [BEV_BRANCH] = { 448, 1 }, [BEV_RESULT] = { BEV_OUT, 1 },
};

enum { CENTER_BRANCHES = 5, CENTER_OUT = 11 };
static const struct bev_map_shape center_maps[BEV_MAPS] = {
    [BEV_CANVAS] = { 2 * BEV_IN, 1 }, [BEV_A0] = { 128, 1 },     [BEV_A1] = { 128, 1 },
    [BEV_B0] = { 256, 2 },            [BEV_B1] = { 256, 2 },     [BEV_NECK] = { 512, 1 },
    [BEV_SHARED] = { 64, 1 },         [BEV_BRANCH] = { 320, 1 }, [BEV_RESULT] = { CENTER_OUT, 1 },
};

const struct bev_layer bev_layers[] = {
    { "stage 0.0", BEV_CANVAS, BEV_A0, 128, 64, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.1", BEV_A0, BEV_A1, 64, 64, 3, 1, 0, 0, 1, 1, 1 },
    { "stage 0.2", BEV_A1, BEV_A0, 64, 64, 3, 1, 0, 0, 1, 1, 1 },
    { "stage 0.3", BEV_A0, BEV_A1, 64, 64, 3, 1, 0, 0, 1, 1, 1 },
    { "stage 1.0", BEV_A1, BEV_B0, 64, 128, 3, 2, 0, 0, 1, 0, 1 },
    { "stage 1.1", BEV_B0, BEV_B1, 128, 128, 3, 1, 0, 0, 1, 1, 1 },
    { "stage 1.2", BEV_B1, BEV_B0, 128, 128, 3, 1, 0, 0, 1, 1, 1 },
    { "stage 1.3", BEV_B0, BEV_B1, 128, 128, 3, 1, 0, 0, 1, 1, 1 },
    { "neck 0", BEV_A1, BEV_NECK, 64, 128, 1, 1, 0, 0, 1, 0, 1 },
    { "neck 1", BEV_B1, BEV_NECK, 128, 512, 1, 1, 128, 1, 1, 0, 1 },
    { "shared", BEV_NECK, BEV_SHARED, 256, 64, 3, 1, 0, 0, 1, 0, 1 },
    { "branches", BEV_SHARED, BEV_BRANCH, 64, 448, 3, 1, 0, 0, 1, 0, 1 },
    { "outputs", BEV_BRANCH, BEV_RESULT, 64, BEV_BRANCHES * BEV_BRANCH_ROWS, 3, 1, 0, 0,
      BEV_BRANCHES, 0, 0 },
    { NULL },
    { "stage 0.0", BEV_CANVAS, BEV_A0, 256, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.1", BEV_A0, BEV_A1, 128, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.2", BEV_A1, BEV_A0, 128, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.3", BEV_A0, BEV_A1, 128, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.4", BEV_A1, BEV_A0, 128, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 0.5", BEV_A0, BEV_A1, 128, 128, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 1.0", BEV_A1, BEV_B0, 128, 256, 3, 2, 0, 0, 1, 0, 1 },
    { "stage 1.1", BEV_B0, BEV_B1, 256, 256, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 1.2", BEV_B1, BEV_B0, 256, 256, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 1.3", BEV_B0, BEV_B1, 256, 256, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 1.4", BEV_B1, BEV_B0, 256, 256, 3, 1, 0, 0, 1, 0, 1 },
    { "stage 1.5", BEV_B0, BEV_B1, 256, 256, 3, 1, 0, 0, 1, 0, 1 },
    { "neck 0", BEV_A1, BEV_NECK, 128, 256, 1, 1, 0, 0, 1, 0, 1 },
    { "neck 1", BEV_B1, BEV_NECK, 256, 1024, 1, 1, 256, 1, 1, 0, 1 },
    { "shared", BEV_NECK, BEV_SHARED, 512, 64, 3, 1, 0, 0, 1, 0, 1 },
    { "branches", BEV_SHARED, BEV_BRANCH, 64, 320, 3, 1, 0, 0, 1, 0, 1 },
    { "outputs", BEV_BRANCH, BEV_RESULT, 64, CENTER_BRANCHES * BEV_BRANCH_ROWS, 3, 1, 0, 0,
      CENTER_BRANCHES, 0, 0 },
    { NULL },
};

const int bev_branch_out[BEV_BRANCHES] = { 2, 1, 3, 2, 2, 1, 3 };
const int bev_branch_at[BEV_BRANCHES] = { 0, 2, 3, 6, 8, 10, 11 };
static const int center_out[CENTER_BRANCHES] = { 2, 1, 3, 2, 3 };
static const int center_at[CENTER_BRANCHES] = { 0, 2, 3, 6, 8 };

const struct bev_shape bev_shapes[BEV_NETS] = {
    [BEV_FLATFORMER] = { "flatformer", 0, BEV_LAYERS, bev_maps, 1, BEV_BRANCHES, BEV_OUT,
                         bev_branch_out, bev_branch_at },
    [BEV_CENTERPOINT] = { "centerpoint", BEV_LAYERS + 1, BEV_LAYERS + 1 + BEV_LAYERS_MAX,
                          center_maps, 2, CENTER_BRANCHES, CENTER_OUT, center_out, center_at },
};

enum { ROWS_MOST = 1024, SIDE_MOST = 2048 };

static size_t weights_of(const struct bev_layer *l)
{
    return (size_t)l->rows * (size_t)(l->kernel * l->kernel) * (size_t)l->cin;
}

size_t bev_weight_at(int layer)
{
    size_t at = 0;
    for (int i = layer - 1; i >= 0 && bev_layers[i].name; i--)
        at += weights_of(&bev_layers[i]);
    return at;
}

size_t bev_bias_at(int layer)
{
    size_t at = 0;
    for (int i = layer - 1; i >= 0 && bev_layers[i].name; i--)
        at += (size_t)bev_layers[i].rows;
    return at;
}

size_t bev_map_size(const struct bev_problem *p, enum bev_map m)
{
    const struct bev_map_shape *map = &bev_shape_of(p)->map[m];
    const size_t side = (size_t)(p->side / map->scale);
    return side * side * (size_t)map->channels;
}

double bev_flops(const struct bev_problem *p)
{
    const struct bev_shape *n = bev_shape_of(p);
    double flops = 0;
    for (int i = n->first; i < n->end; i++) {
        const struct bev_layer *l = &bev_layers[i];
        const double side = p->side / n->map[l->up ? l->from : l->to].scale;
        const double share = l->groups > 1 ? (double)n->out / l->rows : 1;
        flops += 2 * side * side * (double)weights_of(l) * share;
    }
    return flops;
}

enum op_status bev_check(const struct bev_problem *p)
{
    if ((unsigned)p->net >= BEV_NETS || p->side < 2 || p->side > SIDE_MOST || p->side % 2 ||
        p->pillars < 1 || p->pillars > p->side * p->side * bev_shape_of(p)->heights)
        return OP_EINVAL;
    return OP_OK;
}

enum op_status bev_covers(const struct bev_impl *impl, const struct bev_problem *p,
                          const char **why)
{
    if (!((impl->nets ? impl->nets : 1 << BEV_FLATFORMER) >> p->net & 1)) {
        *why = "covers the layers of another network only";
        return OP_EUNSUPPORTED;
    }
    return impl->supports ? impl->supports(p, why) : OP_OK;
}

/* ---- a layer ---- */

/* Weights [kernel * kernel][cin][rows] of [rows][kernel * kernel][cin]. */
static void widen(const struct bev_layer *l, const half_bits *w, double *to)
{
    const int k = l->kernel * l->kernel * l->cin;
    for (int r = 0; r < l->rows; r++)
        for (int i = 0; i < k; i++)
            to[(size_t)i * (size_t)l->rows + (size_t)r] = half_to_float(w[(size_t)r * (size_t)k + (size_t)i]);
}

/* Sums of all rows at cell (y, x) of the output, of a transposed layer at that of the input. */
static void sum_rows(const struct bev_layer *l, int side, const double *from, const double *w,
                     int y, int x, double sum[ROWS_MOST])
{
    const int channels = l->cin * l->groups, group = l->rows / l->groups;
    for (int dy = 0; dy < l->kernel; dy++)
        for (int dx = 0; dx < l->kernel; dx++) {
            const int iy = y * l->stride + dy - l->kernel / 2, ix = x * l->stride + dx - l->kernel / 2;
            if (iy < 0 || ix < 0 || iy >= side || ix >= side)
                continue;
            const double *v = from + ((size_t)iy * (size_t)side + (size_t)ix) * (size_t)channels;
            const double *tap = w + (size_t)(dy * l->kernel + dx) * (size_t)l->cin * (size_t)l->rows;
            for (int g = 0; g < l->groups; g++)
                for (int c = 0; c < l->cin; c++)
                    for (int r = g * group; r < (g + 1) * group; r++)
                        sum[r] += v[g * l->cin + c] * tap[(size_t)c * (size_t)l->rows + (size_t)r];
        }
}

static void store(const struct bev_shape *n, const struct bev_layer *l, int side, const double *from,
                  int y, int x, const double sum[ROWS_MOST], double *to)
{
    const int channels = n->map[l->to].channels, wide = l->up ? 2 * side : side / l->stride;
    for (int r = 0; r < l->rows; r++) {
        const int q = l->up ? r / (l->rows / 4) : 0, o = l->up ? r % (l->rows / 4) : r;
        const int oy = l->up ? 2 * y + q / 2 : y, ox = l->up ? 2 * x + q % 2 : x;
        double *cell = to + ((size_t)oy * (size_t)wide + (size_t)ox) * (size_t)channels;
        double v = l->relu && sum[r] < 0 ? 0 : sum[r];
        if (l->residual)
            v += from[((size_t)y * (size_t)side + (size_t)x) * (size_t)channels + (size_t)r];
        if (l->groups == 1)
            cell[l->at + o] = v;
        else if (r % BEV_BRANCH_ROWS < n->branch_out[r / BEV_BRANCH_ROWS])
            cell[n->branch_at[r / BEV_BRANCH_ROWS] + r % BEV_BRANCH_ROWS] = v;
    }
}

static void layer(const struct bev_problem *p, const struct bev_layer *l, const double *from,
                  const double *w, const float *b, double *to)
{
    const struct bev_shape *n = bev_shape_of(p);
    const int side = p->side / n->map[l->from].scale;
    const int cells = l->up ? side : side / l->stride;
#pragma omp parallel for schedule(dynamic, 1)
    for (int y = 0; y < cells; y++)
        for (int x = 0; x < cells; x++) {
            double sum[ROWS_MOST];
            for (int r = 0; r < l->rows; r++)
                sum[r] = b[r];
            sum_rows(l, side, from, w, y, x, sum);
            store(n, l, side, from, y, x, sum, to);
        }
}

static enum op_status scatter(const struct bev_problem *p, const struct bev_args *a, double *canvas)
{
    const int wide = p->side * bev_shape_of(p)->heights;
    memset(canvas, 0, bev_map_size(p, BEV_CANVAS) * sizeof *canvas);
    for (int i = 0; i < p->pillars; i++) {
        const struct flatten_cell c = a->cell[i];
        if (c.x < 0 || c.y < 0 || c.x >= wide || c.y >= p->side)
            return OP_EINVAL;
        double *to = canvas + ((size_t)c.y * (size_t)wide + (size_t)c.x) * BEV_IN;
        for (int k = 0; k < BEV_IN; k++)
            to[k] = half_to_float(a->x[(size_t)i * BEV_IN + (size_t)k]);
    }
    return OP_OK;
}

enum op_status bev_reference(const struct bev_problem *p, const struct bev_args *a, double *want)
{
    double *map[BEV_MAPS] = { NULL }, *w = NULL;
    enum op_status status = bev_check(p);
    if (status)
        return status;
    const struct bev_shape *n = bev_shape_of(p);
    w = malloc(bev_weight_at(n->end) * sizeof *w); /* more than any layer needs */
    if (!w)
        status = OP_ENOMEM;
    for (int m = 0; m < BEV_RESULT && !status; m++) {
        map[m] = malloc(bev_map_size(p, (enum bev_map)m) * sizeof **map);
        status = map[m] ? OP_OK : OP_ENOMEM;
    }
    map[BEV_RESULT] = want;
    if (!status)
        status = scatter(p, a, map[BEV_CANVAS]);
    for (int i = n->first; i < n->end && !status; i++) {
        const struct bev_layer *l = &bev_layers[i];
        widen(l, a->w + bev_weight_at(i), w);
        layer(p, l, map[l->from], w, a->b + bev_bias_at(i), map[l->to]);
    }
    for (int m = 0; m < BEV_RESULT; m++)
        free(map[m]);
    free(w);
    return status;
}

/* ---- the reference as an implementation ---- */

static enum op_status small(const struct bev_problem *p, const char **why)
{
    if (p->side <= 64)
        return OP_OK;
    *why = "a map of more than 64 x 64 takes minutes on the host";
    return OP_EUNSUPPORTED;
}

static enum op_status run_definition(const struct bev_problem *p, const struct bev_args *a,
                                     void *state, op_stream s)
{
    const size_t count = bev_map_size(p, BEV_RESULT);
    double *want = malloc(count * sizeof *want);
    (void)state, (void)s;
    const enum op_status status = want ? bev_reference(p, a, want) : OP_ENOMEM;
    for (size_t i = 0; !status && i < count; i++)
        a->y[i] = half_from_float((float)want[i]);
    free(want);
    return status;
}

const struct bev_impl bev_references[] = {
    { .base = { .name = "ref_bev", .title = "definition, host", .origin = "definition in double",
                .role = OP_REFERENCE },
      .nets = 1 << BEV_FLATFORMER | 1 << BEV_CENTERPOINT, .supports = small, .run = run_definition },
    { .base = { .name = NULL } },
};

/* sparse_net_case.c - see sparse_net_case.h. */
#include "sparse_net_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../data/scan.h"

enum { BATCH_MAX = 8 };

long net_out_rows(const struct net_scene *s)
{
    return s->host_maps.n[s->net.tensor[s->net.output].level];
}

long net_out_columns(const struct net_scene *s)
{
    return s->net.tensor[s->net.output].channels;
}

size_t net_out_bytes(const struct net_scene *s)
{
    return 2 * (size_t)(net_out_rows(s) * net_out_columns(s));
}

struct sparse_net_problem net_problem_of(const struct net_scene *s)
{
    return (struct sparse_net_problem){ &s->net, &s->maps, &s->host_maps, s->train };
}

struct sparse_net_args net_args_of(const struct net_case *in, int weights, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    return (struct sparse_net_args){ s->coord_on, s->x_on, in->w_on[weights], in->b_on,
                                     s->y_on,     s->g_on, s->dw_on };
}

/* ---- voxels ---- */

static int by_coord(const void *a, const void *b)
{
    const struct kmap_coord *x = a, *y = b;
    const int d[4] = { (x->b > y->b) - (x->b < y->b), (x->x > y->x) - (x->x < y->x),
                       (x->y > y->y) - (x->y < y->y), (x->z > y->z) - (x->z < y->z) };
    return d[0] ? d[0] : d[1] ? d[1] : d[2] ? d[2] : d[3];
}

/* Another scan of the same shape: bit 0 of `how` mirrors x, bit 1 y, bit 2 z.  Features stay: they
 * are not used, rows of the network's input are random. */
static void mirror(struct voxels *v, int how)
{
    for (int i = 0; i < v->n; i++) {
        struct kmap_coord *c = &v->coord[i];
        c->x = how & 1 ? v->size[0] - 1 - c->x : c->x;
        c->y = how & 2 ? v->size[1] - 1 - c->y : c->y;
        c->z = how & 4 ? v->size[2] - 1 - c->z : c->z;
    }
    if (v->sorted)
        qsort(v->coord, (size_t)v->n, sizeof *v->coord, by_coord);
}

static int one_scan(const struct net_case *in, int number, struct voxels *out)
{
    const enum scan_task task =
        in->q.network == SPARSE_NET_CENTERPOINT ? SCAN_DETECTION : SCAN_SEGMENTATION;
    const bool fixed = scan_fixed(in->q.scan);
    if (scan_voxels(in->q.scan, task, in->seed + (fixed ? 0 : (uint64_t)number), out))
        return -1;
    if (fixed && number % 8)
        mirror(out, number % 8);
    if (in->q.voxels && in->q.voxels < out->n)
        out->n = in->q.voxels;
    return 0;
}

static int load_voxels(const struct net_case *in, int set, struct voxels *out)
{
    struct voxels list[BATCH_MAX] = { 0 };
    const int batch = in->q.batch;
    int status = 0;
    for (int i = 0; i < batch && !status; i++)
        status = one_scan(in, set * batch + i, &list[i]);
    if (!status)
        status = voxels_join(list, batch, out);
    for (int i = 0; i < batch; i++)
        voxels_free(&list[i]);
    return status;
}

/* ---- scenes ---- */

static void close_scene(struct cb_device *d, struct net_scene *s)
{
    cb_free(d, s->coord_on);
    cb_free(d, s->x_on);
    cb_free(d, s->y_on);
    cb_free(d, s->g_on);
    cb_free(d, s->dw_on);
    kmap_host_net_free(&s->host_maps);
    voxels_free(&s->v);
    free(s->x);
    free(s->g);
}

static int make_maps(const struct net_case *in, struct net_scene *s)
{
    const struct voxels *v = &s->v;
    const bool detection = in->q.network == SPARSE_NET_CENTERPOINT;
    enum op_status status =
        detection ? kmap_plan_centerpoint(v->size, v->batch, v->n, &s->maps)
                  : kmap_plan_minkunet(v->size, v->batch, v->n, v->sorted, true, &s->maps);
    if (!status)
        status = kmap_host_net(&s->maps, v->coord, &s->host_maps);
    for (int i = 0; !status && i < s->maps.steps; i++)
        status = kmap_host_pairs(&s->host_maps.map[i]);
    for (int l = 0; !status && l < s->maps.levels; l++)
        s->maps.cap[l] = s->host_maps.n[l];
    if (!status)
        status = sparse_net_of((enum sparse_net_kind)in->q.network, &s->maps, v->channels, &s->net);
    return op_result(status, "sparse_net", in->q.scan);
}

static half_bits *make_rows(const struct net_case *in, uint32_t tensor, int set, float width,
                            size_t count)
{
    half_bits *rows = malloc(count * sizeof *rows);
    if (!rows)
        cb_error("no memory for %zu numbers", count);
    for (size_t i = 0; rows && i < count; i++)
        rows[i] = half_from_float(
            width * cb_random_at(CB_UNIFORM, in->seed, tensor, (uint32_t)set, i));
    return rows;
}

/* What follows from the voxels of a scene. */
static int fill_scene(const struct net_case *in, int set, struct net_scene *s)
{
    s->train = in->q.pass;
    if (make_maps(in, s))
        return -1;
    s->x = make_rows(in, NET_TENSOR_X, set, 1, (size_t)s->v.n * (size_t)s->v.channels);
    if (s->x && s->train)
        s->g = make_rows(in, NET_TENSOR_G, set, .1f, net_out_bytes(s) / sizeof *s->g);
    return s->x && (s->g || !s->train) ? 0 : -1;
}

static int open_scene(const struct net_case *in, int set, struct net_scene *s)
{
    return load_voxels(in, set, &s->v) || fill_scene(in, set, s) ? -1 : 0;
}

static int send_gradients(struct cb_device *d, struct net_scene *s)
{
    const size_t g = net_out_bytes(s), dw = sizeof(float) * s->net.weights;
    return cb_alloc(d, g, &s->g_on) || cb_upload(d, s->g_on, s->g, g) ||
                   cb_alloc(d, dw, &s->dw_on) || cb_fill(d, s->dw_on, 0, dw)
               ? -1
               : 0;
}

static int send_scene(struct cb_device *d, struct net_scene *s)
{
    const size_t coord = (size_t)s->v.n * sizeof *s->v.coord;
    const size_t x = 2 * (size_t)s->v.n * (size_t)s->v.channels;
    return cb_alloc(d, coord, &s->coord_on) || cb_upload(d, s->coord_on, s->v.coord, coord) ||
                   cb_alloc(d, x, &s->x_on) || cb_upload(d, s->x_on, s->x, x) ||
                   cb_alloc(d, net_out_bytes(s), &s->y_on) || (s->train && send_gradients(d, s))
               ? -1
               : 0;
}

/* ---- weights ---- */

/* Uniform weights of a width between two: that which keeps the variance of an average row through
 * a ReLU, with which rows that have all neighbours grow layer by layer until half overflows, and
 * that which keeps it for those rows, with which lonely ones fade.  Half of it where the sum with
 * a residual follows. */
static void make_layer(struct net_case *in, const struct sparse_layer *l, long pairs, int rows)
{
    const double fan = sqrt((double)pairs / rows * l->taps) * l->channels;
    const float width = (float)(sqrt(6 / fan) * (l->last ? .5 : 1));
    const size_t count = (size_t)l->taps * (size_t)l->channels * (size_t)l->columns;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        in->w[l->w + i] = half_from_float(
            width * cb_random_at(CB_UNIFORM, in->seed, NET_TENSOR_W, 0, l->w + i));
    for (int c = 0; c < l->columns; c++)
        in->b[l->b + (size_t)c] =
            .1f * cb_random_at(CB_UNIFORM, in->seed, NET_TENSOR_B, 0, l->b + (size_t)c);
}

static int make_weights(struct net_case *in)
{
    const struct net_scene *s = &in->scene[0];
    in->w = calloc(s->net.weights, sizeof *in->w);
    in->b = calloc(s->net.biases, sizeof *in->b);
    if (!in->w || !in->b)
        return cb_error("no memory for %zu weights", s->net.weights);
    for (int i = 0; i < s->net.layers; i++) {
        const struct sparse_layer *l = &s->net.layer[i];
        make_layer(in, l, sparse_net_pairs(&s->net, &s->host_maps, i),
                   s->host_maps.n[s->net.tensor[l->to].level]);
    }
    return 0;
}

/* ---- a case ---- */

void net_case_close(struct net_case *in)
{
    if (!in)
        return;
    for (int i = 0; i < in->scenes; i++)
        close_scene(in->device, &in->scene[i]);
    for (int i = 0; in->w_on && i < in->weight_sets; i++)
        cb_free(in->device, in->w_on[i]);
    cb_free(in->device, in->b_on);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    cb_free(in->device, in->loose);
    net_gradients_close(in);
    free(in->scene);
    free(in->w_on);
    free(in->w);
    free(in->b);
    free(in);
}

static int open_case(struct net_case *in)
{
    char why[256];
    if (!scan_available(in->q.scan, why, sizeof why))
        return cb_error("not available: %s", why);
    in->scene = calloc(1, sizeof *in->scene);
    if (!in->scene)
        return cb_error("no memory for a scan");
    in->scenes = 1;
    struct net_scene *s = &in->scene[0];
    return open_scene(in, 0, s) ||
                   cb_sha256(s->v.coord, (size_t)s->v.n * sizeof *s->v.coord, in->sha256) ||
                   make_weights(in)
               ? -1
               : 0;
}

int net_case_open(struct cb_context *c, const struct sparse_net_params *q, struct net_case **out)
{
    struct net_case *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *q;
    in->device = c->device;
    in->seed = c->seed;
    in->rotates = c->cache == CB_COLD;
    in->want_of = -1;
    if (open_case(in)) {
        net_case_close(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int more_scenes(struct net_case *in, int count)
{
    struct net_scene *more = realloc(in->scene, (size_t)count * sizeof *more);
    if (!more)
        return cb_error("no memory for %d scans", count);
    const int first = in->scenes;
    int failed = 0;
    in->scene = more;
    for (; in->scenes < count; in->scenes++)
        more[in->scenes] = (struct net_scene){ 0 };
    for (int i = first; i < count; i++)
        if (load_voxels(in, i, &more[i].v))
            return -1;
    /* a scan a thread: much of it is done by one */
#pragma omp parallel for schedule(dynamic, 1) reduction(| : failed) if (count - first > 2)
    for (int i = first; i < count; i++)
        failed |= fill_scene(in, i, &more[i]) != 0;
    return failed ? cb_error("%s: no maps or no rows of one of %d scans", in->q.scan, count) : 0;
}

int net_case_prepare(struct net_case *in, int weight_sets, int input_sets)
{
    const size_t weights = 2 * in->scene[0].net.weights;
    const size_t biases = sizeof(float) * in->scene[0].net.biases;
    if (more_scenes(in, input_sets))
        return -1;
    for (int i = 0; i < in->scenes; i++)
        if (send_scene(in->device, &in->scene[i]))
            return -1;
    in->w_on = calloc((size_t)weight_sets, sizeof *in->w_on);
    if (!in->w_on)
        return cb_error("no memory for %d sets", weight_sets);
    in->weight_sets = weight_sets;
    for (int i = 0; i < weight_sets; i++)
        if (cb_alloc(in->device, weights, &in->w_on[i]) ||
            cb_upload(in->device, in->w_on[i], in->w, weights))
            return -1;
    return cb_alloc(in->device, biases, &in->b_on) ||
                   cb_upload(in->device, in->b_on, in->b, biases) || cb_sync(in->device)
               ? -1
               : 0;
}

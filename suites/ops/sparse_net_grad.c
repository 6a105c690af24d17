/*
 * sparse_net_grad.c - gradients of a training step against their definition.
 *
 * Masks of ReLU turn rounding into jumps: a row that is 1e-6 here and 0 there has a gradient here
 * and none there.  So the reference starts from the rows that the implementation itself kept; they
 * are compared through the network's output.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "sparse_net_case.h"

/* The reference for the rows in act, or in act_on where it was made on the GPU.  A row of the suite
 * is checked before and after it was timed, and rows of one forward dataflow keep the same: the GPU
 * has as many references as its memory takes, the last that was asked for first. */
struct net_gradients {
    int ins; /* -1: not made */
    half_bits *act[SPARSE_NET_TENSORS_MAX]; /* host */
    void *act_on[SPARSE_NET_TENSORS_MAX];   /* device */
    double *dw;                             /* host */
    double *want;                           /* device */
    float *bound;
    double limit;
    struct net_gradients *next;
};

static size_t rows_count(const struct net_scene *s, int tensor)
{
    const struct sparse_tensor *t = &s->net.tensor[tensor];
    return (size_t)s->host_maps.n[t->level] * (size_t)t->channels;
}

static int open_rows(const struct net_scene *s, half_bits *act[SPARSE_NET_TENSORS_MAX])
{
    for (int t = 0; t < s->net.tensors; t++) {
        free(act[t]);
        act[t] = malloc(rows_count(s, t) * sizeof **act);
        if (!act[t])
            return cb_error("no memory for the rows of a network");
    }
    return 0;
}

int net_act_open(struct net_case *in, int ins)
{
    return open_rows(&in->scene[ins], in->act);
}

void net_gradients_close(struct net_case *in)
{
    struct net_gradients *r;
    for (int t = 0; t < SPARSE_NET_TENSORS_MAX; t++)
        free(in->act[t]);
    while ((r = in->gradients)) {
        in->gradients = r->next;
        for (int t = 0; t < SPARSE_NET_TENSORS_MAX; t++) {
            free(r->act[t]);
            cb_free(in->device, r->act_on[t]);
        }
        cb_free(in->device, r->want);
        cb_free(in->device, r->bound);
        free(r->dw);
        free(r);
    }
}

static size_t layer_count(const struct sparse_layer *l)
{
    return (size_t)l->taps * (size_t)l->channels * (size_t)l->columns;
}

int net_gradients_regions(const struct net_case *in, int ins, struct cb_region *out, int max)
{
    const struct sparse_net *net = &in->scene[ins].net;
    char *dw = in->scene[ins].dw_on;
    int n = 0;
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        char *at = dw + sizeof(float) * l->w;
        if (n && (char *)out[n - 1].data + out[n - 1].bytes == at)
            out[n - 1].bytes += sizeof(float) * layer_count(l);
        else if (n < max)
            out[n++] = (struct cb_region){ at, sizeof(float) * layer_count(l) };
    }
    return n;
}

/* Gaps to 0, as they are in the reference. */
static int clear_gaps(const struct net_case *in, int ins)
{
    const struct sparse_net *net = &in->scene[ins].net;
    for (int i = 0; i < net->layers; i++) {
        const size_t end = net->layer[i].w + layer_count(&net->layer[i]);
        const size_t next = i + 1 < net->layers ? net->layer[i + 1].w : net->weights;
        if (next > end && cb_fill(in->device, (float *)in->scene[ins].dw_on + end, 0,
                                  (next - end) * sizeof(float)))
            return -1;
    }
    return 0;
}

/* A sum over many pairs carries the errors of its terms: bounds follow the mean square of the tap
 * and that of the layer. */
static void make_bounds(const struct sparse_net *net, const double *dw, double limit, float *bound)
{
    memset(bound, 0, net->weights * sizeof *bound);
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        const size_t of_tap = (size_t)l->channels * (size_t)l->columns, n = layer_count(l);
        double all = 0;
        for (size_t e = 0; e < n; e++)
            all += dw[l->w + e] * dw[l->w + e];
        all = sqrt(all / (double)n);
        for (int d = 0; d < l->taps; d++) {
            const size_t first = l->w + (size_t)d * of_tap;
            double own = 0;
            for (size_t e = 0; e < of_tap; e++)
                own += dw[first + e] * dw[first + e];
            own = sqrt(own / (double)of_tap);
            for (size_t e = 0; e < of_tap; e++)
                bound[first + e] = (float)(8 * limit * (own + all));
        }
    }
}

/* Rows that a run kept, into act. */
static int fetch_rows(const struct net_bound *b, int set, int ins,
                      half_bits *const act[SPARSE_NET_TENSORS_MAX])
{
    const struct net_case *in = b->in;
    const struct net_scene *s = &in->scene[ins];
    for (int t = 0; t < s->net.tensors; t++) {
        const size_t bytes = rows_count(s, t) * sizeof **act;
        if (!b->impl->rows)
            memcpy(act[t], in->act[t], bytes);
        else if (cb_download(in->device, act[t], b->impl->rows(b->states.state[set], t), bytes))
            return -1;
    }
    return cb_sync(in->device);
}

static int same_rows(const struct net_scene *s, half_bits *const *a, half_bits *const *b)
{
    for (int t = 0; t < s->net.tensors; t++)
        if (memcmp(a[t], b[t], rows_count(s, t) * sizeof **a))
            return 0;
    return 1;
}

static int send(struct cb_device *d, const void *from, size_t bytes, void **to)
{
    return (!*to && cb_alloc(d, bytes, to)) || cb_upload(d, *to, from, bytes) || cb_sync(d) ? -1
                                                                                         : 0;
}

static int send_bounds(const struct net_case *in, int ins, double limit, struct net_gradients *r)
{
    const struct net_scene *s = &in->scene[ins];
    float *bound = malloc(s->net.weights * sizeof *bound);
    if (!bound)
        return cb_error("no memory for bounds");
    make_bounds(&s->net, r->dw, limit, bound);
    const int status = send(in->device, bound, s->net.weights * sizeof *bound, (void **)&r->bound);
    r->limit = limit;
    free(bound);
    return status;
}

/* Computes gradients of act unless they are those that r has. */
static int make_reference(const struct net_case *in, int ins, double limit,
                          half_bits *act[SPARSE_NET_TENSORS_MAX], struct net_gradients *r)
{
    const struct net_scene *s = &in->scene[ins];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args a = { .w = in->w, .g = s->g };
    const int known = r->ins == ins && same_rows(s, act, r->act);
    if (known && r->limit == limit)
        return 0;
    if (!known) {
        r->ins = -1;
        r->dw = r->dw ? r->dw : malloc(s->net.weights * sizeof *r->dw);
        if (!r->dw)
            return cb_error("no memory for gradients");
        if (op_result(sparse_net_ref_train(&p, &a, act, r->dw), "ref_net", "gradients"))
            return -1;
        for (int t = 0; t < s->net.tensors; t++) {
            half_bits *was = r->act[t];
            r->act[t] = act[t];
            act[t] = was;
        }
        if (send(in->device, r->dw, s->net.weights * sizeof *r->dw, (void **)&r->want))
            return -1;
        r->ins = ins;
    }
    return send_bounds(in, ins, limit, r);
}

static int reference_on_host(const struct net_bound *b, int set, int ins, double limit)
{
    const struct net_case *in = b->in;
    const struct net_scene *s = &in->scene[ins];
    half_bits *act[SPARSE_NET_TENSORS_MAX] = { 0 };
    const int status = open_rows(s, act) || fetch_rows(b, set, ins, act) ||
                       make_reference(in, ins, limit, act, in->gradients);
    for (int t = 0; t < SPARSE_NET_TENSORS_MAX; t++)
        free(act[t]);
    return status ? -1 : 0;
}

/* Another reference, before those that there are. */
static int add_reference(struct net_case *in)
{
    struct net_gradients *r = calloc(1, sizeof *r);
    if (!r)
        return cb_error("no memory for gradients");
    r->ins = -1;
    r->next = in->gradients;
    in->gradients = r;
    return 0;
}

#ifdef WITH_CUDA
static void to_front(struct net_case *in, struct net_gradients *r)
{
    struct net_gradients **at = &in->gradients;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->next = in->gradients;
    in->gradients = r;
}

/* The reference for these rows to the front; *known: there is one. */
static int find_reference(struct net_case *in, int ins, const void *const *act, bool *known)
{
    const struct net_scene *s = &in->scene[ins];
    struct net_gradients *r = in->gradients;
    *known = false;
    for (; r && !*known; r = *known ? r : r->next) {
        *known = r->ins == ins;
        for (int t = 0; *known && t < s->net.tensors; t++)
            if (cb_same(in->device, act[t], r->act_on[t], 2 * rows_count(s, t), known))
                return -1;
    }
    if (*known)
        to_front(in, r);
    return 0;
}

/* A reference to be made to the front: a new one where those that are kept leave seven eighths of
 * the memory that is free, else the one that was not asked for longest. */
static int new_reference(struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    size_t bytes = s->net.weights * (sizeof(double) + sizeof(float)), room;
    struct net_gradients *last = in->gradients;
    for (int t = 0; t < s->net.tensors; t++)
        bytes += 2 * rows_count(s, t);
    if (cb_memory_free(in->device, &room))
        return -1;
    if (!last || room / 8 > bytes)
        return add_reference(in);
    while (last->next)
        last = last->next;
    last->ins = -1;
    to_front(in, last);
    return 0;
}

/* Copies of the rows into the reference. */
static int keep_rows(const struct net_case *in, int ins, const void *const *act)
{
    const struct net_scene *s = &in->scene[ins];
    struct net_gradients *r = in->gradients;
    for (int t = 0; t < s->net.tensors; t++) {
        cb_free(in->device, r->act_on[t]);
        r->act_on[t] = NULL;
        if (cb_alloc(in->device, 2 * rows_count(s, t), &r->act_on[t]) ||
            cb_copy(in->device, r->act_on[t], act[t], 2 * rows_count(s, t)))
            return -1;
    }
    return 0;
}

static int compute_on_device(const struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args a = net_args_of(in, 0, ins);
    struct net_gradients *r = in->gradients;
    struct op_pool pool = { .device = in->device };
    const struct op_memory memory = op_pool_memory(&pool);
    const void *act[SPARSE_NET_TENSORS_MAX];
    for (int t = 0; t < s->net.tensors; t++)
        act[t] = r->act_on[t];
    const int status =
        (!r->want &&
         cb_alloc(in->device, s->net.weights * sizeof *r->want, (void **)&r->want)) ||
        op_result(sparse_net_ref_train_cuda(&p, &a, act, &memory, r->want,
                                            cb_device_stream(in->device)),
                  "reference", "gradients") ||
        cb_sync(in->device);
    op_pool_free(&pool);
    r->ins = status ? -1 : ins;
    r->limit = -1;
    return status ? -1 : 0;
}

static int bounds_on_device(const struct net_case *in, int ins, double limit)
{
    const struct sparse_net *net = &in->scene[ins].net;
    struct net_gradients *r = in->gradients;
    if (r->limit == limit)
        return 0;
    if (!r->bound && cb_alloc(in->device, net->weights * sizeof *r->bound, (void **)&r->bound))
        return -1;
    r->limit = limit;
    return op_result(sparse_net_ref_bounds_cuda(net, r->want, limit, r->bound,
                                                cb_device_stream(in->device)),
                     "reference", "bounds");
}

static int reference_on_device(const struct net_bound *b, int set, int ins, double limit)
{
    struct net_case *in = b->in;
    const void *act[SPARSE_NET_TENSORS_MAX];
    bool known;
    for (int t = 0; t < in->scene[ins].net.tensors; t++)
        act[t] = b->impl->rows(b->states.state[set], t);
    if (find_reference(in, ins, act, &known))
        return -1;
    if (!known &&
        (new_reference(in, ins) || keep_rows(in, ins, act) || compute_on_device(in, ins)))
        return -1;
    return bounds_on_device(in, ins, limit);
}
#endif

/* The reference for the rows that a run kept, the first of in->gradients. */
static int expect_gradients(const struct net_bound *b, int set, int ins, double limit)
{
    struct net_case *in = b->in;
#ifdef WITH_CUDA
    if (cb_device_info(in->device)->sm && b->impl->rows)
        return reference_on_device(b, set, ins, limit);
#endif
    if (!in->gradients && add_reference(in))
        return -1;
    return reference_on_host(b, set, ins, limit);
}

int net_gradients_check(const struct net_bound *b, int weights, int ins, double limit,
                        struct cb_accuracy *out)
{
    const struct net_case *in = b->in;
    const struct net_scene *s = &in->scene[ins];
    const struct cb_view got = { s->dw_on, CB_F32, 1, (long)s->net.weights, false };
    return expect_gradients(b, weights > ins ? weights : ins, ins, limit) || clear_gaps(in, ins) ||
                   cb_compare(in->device, &got, in->gradients->want, in->gradients->bound, out)
               ? -1
               : 0;
}

int net_gradients_run(struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args a = { .x = s->x, .w = in->w, .b = in->b, .g = s->g };
    const size_t count = net_out_bytes(s) / sizeof(half_bits);
    double *y = malloc(count * sizeof *y), *dw = malloc(s->net.weights * sizeof *dw);
    half_bits *act[SPARSE_NET_TENSORS_MAX] = { 0 };
    int status = y && dw ? open_rows(s, act) : cb_error("no memory for gradients");
    if (!status)
        status = op_result(sparse_net_ref_keep(&p, &a, y, act), "ref_net", "forward") ||
                 op_result(sparse_net_ref_train(&p, &a, act, dw), "ref_net", "gradients");
    for (size_t i = 0; !status && i < count; i++)
        ((half_bits *)s->y_on)[i] = half_from_float((float)y[i]);
    for (int i = 0; !status && i < s->net.layers; i++) {
        const struct sparse_layer *l = &s->net.layer[i];
        for (size_t e = l->w; e < l->w + layer_count(l); e++)
            ((float *)s->dw_on)[e] = (float)dw[e];
    }
    for (int t = 0; t < SPARSE_NET_TENSORS_MAX; t++)
        free(act[t]);
    free(y);
    free(dw);
    return status ? -1 : 0;
}

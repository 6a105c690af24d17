/* net.c - the layers of a model, and the order of the steps. */
#include "gnn.h"

/* ---- layers ---- */

static void add_layer(struct gnn_net *net, int in, int out, int aggregates, int with_v)
{
    struct gnn_layer *l = &net->layer[net->layers++];
    *l = (struct gnn_layer){ .in = in, .out = out, .aggregates = aggregates,
                             .product_first = aggregates && in > out, .v = -1 };
    l->w = net->weights;
    net->weights += (long)in * out;
    if (with_v) {
        l->v = net->weights;
        net->weights += (long)in * out;
    }
}

static int is_width(int n)
{
    return n >= 4 && n % 4 == 0;
}

enum op_status gnn_net_of(const struct gnn_problem *p, struct gnn_net *net)
{
    const int width[3] = { p->features, p->hidden, p->classes };
    *net = (struct gnn_net){ .nodes = p->nodes, .pass = p->pass, .rate = p->rate };
    if (p->nodes < 1 || !is_width(width[0]) || !is_width(width[1]) || !is_width(width[2]))
        return OP_EINVAL;
    if (p->hidden > GNN_WIDTH_MAX || p->classes > GNN_CLASSES_MAX)
        return OP_EUNSUPPORTED;
    for (int l = 0; l < 2; l++) {
        if (p->model == GNN_GIN) {
            add_layer(net, width[l], p->hidden, 1, 0);
            add_layer(net, p->hidden, width[l + 1], 0, 0);
        } else {
            add_layer(net, width[l], width[l + 1], 1, p->model == GNN_SAGE);
        }
    }
    for (int l = 0; l < net->layers; l++) {
        net->layer[l].b = net->weights + net->biases;
        net->biases += net->layer[l].out;
    }
    return OP_OK;
}

/* ---- sizes ---- */

int gnn_parts(int nodes)
{
    const int parts = (int)(((long)nodes + 15) / 16);
    return parts < GNN_BLOCKS_MAX ? parts : GNN_BLOCKS_MAX;
}

long gnn_parameters(const struct gnn_net *net)
{
    return net->weights + net->biases;
}

long gnn_result_size(const struct gnn_net *net)
{
    if (net->pass == GNN_FORWARD)
        return (long)net->nodes * net->layer[net->layers - 1].out;
    return GNN_GRADIENT + 2 * gnn_parameters(net);
}

long gnn_partial_size(const struct gnn_net *net)
{
    return gnn_parts(net->nodes) * (net->biases + 1);
}

static int mid_width(const struct gnn_layer *l)
{
    return l->product_first ? l->out : l->in;
}

struct gnn_sizes gnn_sizes_of(const struct gnn_net *net)
{
    const size_t nodes = (size_t)net->nodes;
    const int train = net->pass == GNN_TRAIN, last = net->layers - 1;
    struct gnn_sizes s = { 0 };
    for (int i = 0; i <= last; i++) {
        const struct gnn_layer *l = &net->layer[i];
        const size_t mid = l->aggregates ? nodes * (size_t)mid_width(l) : 0;
        s.act[i] = train || i < last ? nodes * (size_t)l->out : 0;
        s.mid[i] = mid;
        /* the first layer has no gradient of its input: only a product that came first has dmid */
        if (train && (i > 0 || l->product_first) && mid > s.gradient_mid)
            s.gradient_mid = mid;
        if (train && i > 0)
            s.gradient[i % 2] = nodes * (size_t)l->in;
    }
    s.partial = train ? (size_t)gnn_partial_size(net) : 0;
    return s;
}

/* ---- a step ---- */

struct walk {
    const struct gnn_net *net;
    const struct gnn_buffers *b;
    const struct gnn_ops *ops;
    void *context;
    enum op_status status; /* of the first step that failed: the others are left out */
};

static void *element(const struct walk *w, const void *base, long at)
{
    return (char *)base + (size_t)at * w->b->size;
}

static const void *parameter(const struct walk *w, long at)
{
    return element(w, w->b->parameter, at);
}

static void *gradient_of(const struct walk *w, long at)
{
    return element(w, w->b->result, GNN_GRADIENT + at);
}

static void product(struct walk *w, int at, int bt, int m, int n, int k, const void *a,
                    const void *b, int add, void *c)
{
    if (!w->status && w->ops->product)
        w->status = w->ops->product(w->context, at, bt, m, n, k, a, b, add, c);
}

/* Y [nodes][out] = X W, dX = dY W', dW = X' dY */
static void forward(struct walk *w, const struct gnn_layer *l, const void *x, long weight, int add,
                    void *y)
{
    product(w, 0, 0, w->net->nodes, l->out, l->in, x, parameter(w, weight), add, y);
}

static void backward(struct walk *w, const struct gnn_layer *l, const void *dy, long weight,
                     int add, void *dx)
{
    product(w, 0, 1, w->net->nodes, l->in, l->out, dy, parameter(w, weight), add, dx);
}

static void weight_gradient(struct walk *w, const struct gnn_layer *l, const void *x,
                            const void *dy, long weight)
{
    product(w, 1, 0, l->in, l->out, w->net->nodes, x, dy, 0, gradient_of(w, weight));
}

static void aggregate(struct walk *w, int layer, int is_backward, int width, const void *from,
                      void *to)
{
    const struct gnn_aggregation a = { layer, is_backward, width, from, to };
    if (!w->status && w->ops->aggregate)
        w->status = w->ops->aggregate(w->context, &a);
}

static const void *input_of(const struct walk *w, int layer)
{
    return layer ? w->b->act[layer - 1] : w->b->x;
}

/* Scores of a layer without its bias. */
static void layer_forward(struct walk *w, int i)
{
    const struct gnn_layer *l = &w->net->layer[i];
    const void *x = input_of(w, i);
    void *y = w->b->act[i], *mid = w->b->mid[i];
    if (!l->aggregates) {
        forward(w, l, x, l->w, 0, y);
    } else if (l->product_first) {
        forward(w, l, x, l->w, 0, mid);
        aggregate(w, i, 0, l->out, mid, y);
    } else {
        aggregate(w, i, 0, l->in, x, mid);
        forward(w, l, mid, l->w, 0, y);
    }
    if (l->v >= 0)
        forward(w, l, x, l->v, 1, y);
}

/* Gradients of the weights from dy, and of the input into dx unless it is NULL. */
static void layer_backward(struct walk *w, int i, const void *dy, void *dx)
{
    const struct gnn_layer *l = &w->net->layer[i];
    const void *x = input_of(w, i);
    void *dmid = w->b->gradient_mid;
    if (!l->aggregates) {
        weight_gradient(w, l, x, dy, l->w);
        if (dx)
            backward(w, l, dy, l->w, 0, dx);
    } else if (l->product_first) {
        aggregate(w, i, 1, l->out, dy, dmid);
        weight_gradient(w, l, x, dmid, l->w);
        if (dx)
            backward(w, l, dmid, l->w, 0, dx);
    } else {
        weight_gradient(w, l, w->b->mid[i], dy, l->w);
        if (dx) {
            backward(w, l, dy, l->w, 0, dmid);
            aggregate(w, i, 1, l->in, dmid, dx);
        }
    }
    if (l->v >= 0) {
        weight_gradient(w, l, x, dy, l->v);
        if (dx)
            backward(w, l, dy, l->v, 1, dx);
    }
}

static void all_backward(struct walk *w)
{
    const struct gnn_net *net = w->net;
    const int parts = gnn_parts(net->nodes), last = net->layers - 1;
    const void *dy = w->b->act[last];
    for (int i = last; i >= 0; i--) {
        const struct gnn_layer *below = i ? &net->layer[i - 1] : NULL;
        void *dx = below ? w->b->gradient[i % 2] : NULL;
        layer_backward(w, i, dy, dx);
        if (below && !w->status && w->ops->relu_back)
            w->status = w->ops->relu_back(w->context, below->out, w->b->act[i - 1], dx,
                                          element(w, w->b->partial,
                                                  parts * (below->b - net->weights)));
        dy = dx;
    }
}

enum op_status gnn_step(const struct gnn_net *net, const struct gnn_buffers *b,
                        const struct gnn_ops *ops, void *context)
{
    struct walk w = { net, b, ops, context, OP_OK };
    const int parts = gnn_parts(net->nodes), last = net->layers - 1, train = net->pass == GNN_TRAIN;
    for (int i = 0; i <= last; i++) {
        const struct gnn_layer *l = &net->layer[i];
        layer_forward(&w, i);
        if ((i < last || !train) && !w.status && ops->bias)
            w.status = ops->bias(context, l->out, i < last, parameter(&w, l->b), b->act[i]);
    }
    if (!train)
        return w.status;
    if (!w.status && ops->loss)
        w.status = ops->loss(context, net->layer[last].out, parameter(&w, net->layer[last].b),
                             b->act[last],
                             element(&w, b->partial, parts * (net->layer[last].b - net->weights)),
                             element(&w, b->partial, parts * net->biases));
    all_backward(&w);
    if (!w.status && ops->finish)
        w.status = ops->finish(context);
    return w.status;
}

/* ---- how much it is ---- */

void gnn_work(const struct gnn_net *net, long edges, double *flops, double *least, double *model)
{
    const double nodes = net->nodes, parameters = (double)gnn_parameters(net);
    const int train = net->pass == GNN_TRAIN;
    const struct gnn_sizes s = gnn_sizes_of(net);
    double between = (double)s.gradient_mid + (double)s.partial;
    *flops = 0;
    for (int i = 0; i < net->layers; i++) {
        const struct gnn_layer *l = &net->layer[i];
        const double product = 2 * nodes * l->in * l->out * (l->v >= 0 ? 2 : 1);
        const int back = train && (i > 0 || l->product_first); /* is there A' ? */
        *flops += product * (1 + train + (train && i > 0));
        if (l->aggregates)
            *flops += 2.0 * (double)edges * mid_width(l) * (1 + back);
        between += (double)s.act[i] + (double)s.mid[i] + (double)(train && i ? nodes * l->in : 0);
    }
    *least = 4 * (nodes + 1) + 8 * (double)edges + 4 * nodes * net->layer[0].in +
             4 * parameters + 4 * (double)gnn_result_size(net);
    if (train)
        *least += 4 * nodes + 4 * (nodes + 1) + 8 * (double)edges;
    *model = *least + 8 * between;
}

/* back.c - see back.h. */
#include "back.h"

/* What gives a gradient its last term: the product of a layer, the parting of a whole, or neither. */
struct term {
    int product, whole; /* layer, tensor; -1: not that */
    int terms;
};

static int producer(const struct sparse_net *net, int tensor)
{
    for (int i = 0; i < net->layers; i++)
        if (net->layer[i].to == tensor)
            return i;
    return -1;
}

/* Every step a pass; last: of every tensor. */
static void as_published(const struct sparse_net *net, struct net_back *b,
                         struct term last[SPARSE_NET_TENSORS_MAX])
{
    for (int t = 0; t < net->tensors; t++) {
        b->grad[t] = t;
        b->part[t] = NET_BACK_NONE;
        last[t] = (struct term){ -1, -1, t == net->output };
    }
    for (int i = net->layers - 1; i >= 0; i--) {
        const struct sparse_layer *l = &net->layer[i];
        struct net_back_layer *to = &b->layer[i];
        *to = (struct net_back_layer){ .mask = l->relu, .before = -1 };
        for (int t = 0; t < net->tensors && l->join >= 0; t++)
            if (net->tensor[t].member == l->join) {
                b->part[t] = last[t].terms ? NET_BACK_ADD : NET_BACK_COPY;
                last[t] = (struct term){ -1, l->join, last[t].terms + 1 };
            }
        if (l->residual >= 0) {
            to->residual = last[l->residual].terms ? NET_BACK_ADD : NET_BACK_COPY;
            last[l->residual] = (struct term){ -1, -1, last[l->residual].terms + 1 };
        }
        if (l->from == net->input)
            continue;
        to->before = last[l->from].terms ? l->from : -1;
        last[l->from] = (struct term){ i, -1, last[l->from].terms + 1 };
    }
}

/* The layer of the next term of a tensor after those of layer i, where that is a product; -1: it is
 * another pass; -2: there is none. */
static int next_product(const struct sparse_net *net, int tensor, int i)
{
    for (int k = i; k >= 0; k--) {
        const struct sparse_layer *l = &net->layer[k];
        if (k < i && ((l->join >= 0 && net->tensor[tensor].member == l->join) ||
                      l->residual == tensor))
            return -1;
        if (l->from == tensor)
            return k;
    }
    return -2;
}

/* Gradients that would be copied to those of residuals stay where they are. */
static void borrow(const struct sparse_net *net, const int *fuses, struct net_back *b)
{
    for (int i = net->layers - 1; i >= 0; i--) {
        const struct sparse_layer *l = &net->layer[i];
        if (b->layer[i].residual != NET_BACK_COPY)
            continue;
        const int next = next_product(net, l->residual, i), by = producer(net, l->residual);
        if (next >= 0 && fuses[next])
            b->layer[next].before = b->grad[l->to];
        else if (next == -2 && by >= 0 && !net->layer[by].relu)
            b->grad[l->residual] = b->grad[l->to];
        else
            continue;
        b->layer[i].residual = NET_BACK_NONE;
    }
}

/* Whether all columns of a whole are what a ReLU gave. */
static int all_relu(const struct sparse_net *net, int whole)
{
    for (int t = 0; t < net->tensors; t++) {
        const int by = net->tensor[t].member == whole ? producer(net, t) : -1;
        if (net->tensor[t].member == whole && (by < 0 || !net->layer[by].relu))
            return 0;
    }
    return 1;
}

/* Masks by the products that give the last terms. */
static void mask(const struct sparse_net *net, const int *fuses, const struct term *last,
                 struct net_back *b)
{
    for (int i = 0; i < net->layers; i++) {
        const int t = net->layer[i].to, whole = last[t].whole;
        int by = last[t].product;
        if (whole >= 0 && last[t].terms == 1 && all_relu(net, whole))
            by = last[whole].product;
        if (!b->layer[i].mask || by < 0 || !fuses[by])
            continue;
        b->layer[by].masked = 1;
        b->layer[i].mask = 0;
    }
}

void net_back_of(const struct sparse_net *net, const int *fuses, struct net_back *out)
{
    struct term last[SPARSE_NET_TENSORS_MAX];
    as_published(net, out, last);
    if (!fuses)
        return;
    borrow(net, fuses, out);
    mask(net, fuses, last, out);
}

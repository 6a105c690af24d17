/*
 * back.h - what the gradients of a network need beside products: which gradients of rows are copied,
 * added and masked by passes of their own, and which by the products that write them.  Plain C, of
 * the list of layers alone, so that a host can walk it.
 *
 * As published every step is a pass: g is masked where the layer's ReLU gave 0, then copied or added
 * to the gradient of its residual, then multiplied.  Fused:
 *
 *     mask       by the product that adds the last term of a gradient; the rows that a
 *                concatenation is parted from are masked as a whole, so that its parts are too
 *     residual   a gradient whose first term is a copy is not copied: the next product adds the
 *                rows where they are, and where there is no other term they are its memory
 *
 * which stores the same bits: what is 0 in a mask was to be 0 in the sum.
 */
#ifndef KERNELS_SPARSE_NET_BACK_H
#define KERNELS_SPARSE_NET_BACK_H

#include "sparse_net.h"

OP_BEGIN

enum net_back_pass { NET_BACK_NONE, NET_BACK_COPY, NET_BACK_ADD };

/* Of a layer, in this order; before it, where the layer joins, the gradient of the whole is parted. */
struct net_back_layer {
    int mask;                    /* 1: its gradient is masked by a pass */
    enum net_back_pass residual; /* its gradient to that of its residual */
    int before; /* tensor whose gradient the product for its input adds; -1: none */
    int masked; /* 1: that product writes 0 where the rows of its input are not above 0 */
};

struct net_back {
    struct net_back_layer layer[SPARSE_NET_LAYERS_MAX];
    enum net_back_pass part[SPARSE_NET_TENSORS_MAX]; /* of a member, how it is parted from the whole */
    int grad[SPARSE_NET_TENSORS_MAX]; /* tensor in whose memory its gradient is; else itself */
};

/* net: of sparse_net_keep.  fuses[i]: the product for the input of layer i adds and masks; NULL: none
 * does, all is as published. */
void net_back_of(const struct sparse_net *net, const int *fuses, struct net_back *out);

OP_END
#endif

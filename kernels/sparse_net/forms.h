/*
 * forms.h - what networks that run through rows of spconv share: forms of maps that a run makes,
 * and the rows that a layer has met.
 */
#ifndef KERNELS_SPARSE_NET_FORMS_H
#define KERNELS_SPARSE_NET_FORMS_H

#include "../kmap/forms.h"
#include "run.h"

OP_BEGIN

/* Takes memory for an order of so many rows, padded; does nothing where it is there already. */
enum op_status net_order_open(int rows, int taps, int splits, const struct op_memory *memory,
                              struct kmap_order_memory *o);

/* Takes memory for the pairs of a map, m on the host, on the device as `source` says. */
enum op_status net_list_open(const struct kmap *m, const struct kmap_source *source,
                             const struct op_memory *memory, struct kmap_list *l);

/* 0, 1, 2 ... up to the rows of the longest level, on the host and on the device: the map of 1x1x1
 * layers.  *host is the caller's to free, also after a failure. */
enum op_status net_same_open(const struct kmap_plan *maps, const struct op_memory *memory,
                             op_stream s, int32_t **host, int32_t **device);

enum { NET_ROWS_MAX = 12 }; /* different rows that a pass of a layer has met */

struct net_layer_row {
    const struct spconv_impl *row; /* NULL: not opened */
    void *state;
    int setting; /* that it is in */
};

/* The last layer before i on the same map; -1: none. */
int net_layer_like(const struct sparse_net *net, int i);

/* Makes the row ready in a setting of it, set up where it is new; *at: its place.  like: the rows of
 * the same pass of another layer on the same map, which are closed together with these; may be
 * NULL. */
enum op_status net_row_open(const struct spconv_impl *row, int setting,
                            const struct spconv_problem *p, const struct spconv_map *host,
                            const struct spconv_args *a, const struct op_memory *memory,
                            op_stream s, const struct net_layer_row *like,
                            struct net_layer_row open[NET_ROWS_MAX], int *at);
void net_rows_close(struct net_layer_row open[NET_ROWS_MAX]);

OP_END
#endif

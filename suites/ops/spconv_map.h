/* spconv_map.h - the map of a layer on a scan, for spconv.c. */
#ifndef SUITES_OPS_SPCONV_MAP_H
#define SUITES_OPS_SPCONV_MAP_H

#include "../../harness/bench.h"
#include "../../kernels/kmap/build.h"
#include "../../kernels/spconv/spconv.h"

enum spconv_network { SPCONV_MINKUNET_1X, SPCONV_MINKUNET_05X, SPCONV_CENTERPOINT };
enum spconv_layer { SPCONV_SAME, SPCONV_DOWN, SPCONV_UP };

struct spconv_params {
    char scan[CB_PATH_MAX];
    int network, layer, stride, batch, cin, cout, precision, pass;
};

struct spconv_layer_map {
    struct kmap_host transpose; /* owned */
    const struct kmap *forward; /* kept, or in transpose */
    struct spconv_map map;      /* host memory of the two */
};

/* The map of the layer that q names.  All maps of the network on that scan are made at the first
 * call and kept until one asks for others; what it points to lives as long.  0, or -1 after
 * cb_error. */
int spconv_map_open(const struct spconv_params *q, uint64_t seed, struct spconv_layer_map *m);
void spconv_map_close(struct spconv_layer_map *m); /* accepts { 0 } */

#endif

/*
 * head_map.h - what the head of a detector says of a street: logits far below any threshold, and
 * around objects cells that agree about them, the more so the nearer they are.
 */
#ifndef OPS_HEAD_MAP_H
#define OPS_HEAD_MAP_H

#include "../../kernels/boxes/boxes.h"

/* Fills map [side][side][out of net]; classes of objects in turn. */
void head_map_generate(enum bev_net net, int side, int objects, uint64_t seed, half_bits *map);

#endif

/* head_map.c - see head_map.h. */
#include "head_map.h"

#include <math.h>

#include "../data/build.h"

enum { REACH = 2 }; /* cells around a centre */

/* Logarithms of length, width, height in metres: vehicle, pedestrian, cyclist. */
static const float size_of[BOXES_CLASSES][3] = { { 1.5f, .7f, .5f }, { -.1f, -.1f, .6f },
                                                 { .6f, -.2f, .6f } };

static float between(uint64_t seed, int a, int b, float low, float high)
{
    return low + (high - low) * (.5f + .5f * data_value(seed, a, b));
}

/* Where nothing is. */
static void background(const struct boxes_rules *r, uint64_t seed, int cell, half_bits *v)
{
    for (int k = 0; k < BOXES_CLASSES; k++)
        v[r->heat + k] = half_from_float(between(seed, cell, k, -9, -4));
    for (int k = 0; k < 2; k++) {
        v[r->offset + k] = half_from_float(between(seed, cell, 4 + k, 0, 1));
        v[r->rotation + k] = half_from_float(between(seed, cell, 6 + k, -1, 1));
    }
    v[r->height] = half_from_float(between(seed, cell, 8, -1, 2));
    for (int k = 0; k < 3; k++)
        v[r->size + k] = half_from_float(between(seed, cell, 9 + k, -.5f, 1.5f));
    if (r->iou >= 0)
        v[r->iou] = half_from_float(between(seed, cell, 12, .2f, 1));
}

/* A cell near an object, if no other speaks louder there. */
static void near_object(const struct boxes_rules *r, uint64_t seed, int cell, int label, float dx,
                        float dy, float angle, half_bits *v)
{
    const float logit = 3.5f - 1.2f * (dx * dx + dy * dy) + between(seed, cell, 13, -.5f, .5f);
    if (logit <= half_to_float(v[r->heat + label]))
        return;
    v[r->heat + label] = half_from_float(logit);
    v[r->offset] = half_from_float(dx + between(seed, cell, 14, -.1f, .1f));
    v[r->offset + 1] = half_from_float(dy + between(seed, cell, 15, -.1f, .1f));
    v[r->rotation] = half_from_float(sinf(angle) + between(seed, cell, 16, -.1f, .1f));
    v[r->rotation + 1] = half_from_float(cosf(angle) + between(seed, cell, 17, -.1f, .1f));
    for (int k = 0; k < 3; k++)
        v[r->size + k] =
            half_from_float(size_of[label][k] + between(seed, cell, 18 + k, -.1f, .1f));
    if (r->iou >= 0)
        v[r->iou] = half_from_float(between(seed, cell, 21, .6f, 1));
}

void head_map_generate(enum bev_net net, int side, int objects, uint64_t seed, half_bits *map)
{
    const struct boxes_rules *r = &boxes_rules[net];
    const int out = bev_shapes[net].out;
    for (int i = 0; i < side * side * out; i++)
        map[i] = 0;
    for (int i = 0; i < side * side; i++)
        background(r, seed, i, map + (size_t)i * (size_t)out);
    for (int o = 0; o < objects; o++) {
        const float x = between(seed + 1, o, 0, 0, (float)side);
        const float y = between(seed + 1, o, 1, 0, (float)side);
        const float angle = between(seed + 1, o, 2, -3.14f, 3.14f);
        for (int v = (int)y - REACH; v <= (int)y + REACH; v++)
            for (int u = (int)x - REACH; u <= (int)x + REACH; u++)
                if (u >= 0 && v >= 0 && u < side && v < side)
                    near_object(r, seed + 2, v * side + u, o % BOXES_CLASSES, x - (float)u,
                                y - (float)v, angle, map + (size_t)(v * side + u) * (size_t)out);
    }
}

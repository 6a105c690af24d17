/*
 * box.h - the arithmetic of boxes: the same bits on host and device.  Every operation is rounded by
 * itself; none is contracted with the next.
 */
#ifndef KERNELS_BOXES_BOX_H
#define KERNELS_BOXES_BOX_H

#include <math.h>

#include "../common/half.h"
#include "boxes.h"

HD float box_mul(float a, float b)
{
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

HD float box_add(float a, float b)
{
#ifdef __CUDA_ARCH__
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

HD float box_sub(float a, float b)
{
    return box_add(a, -b);
}

HD float box_div(float a, float b)
{
#ifdef __CUDA_ARCH__
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}

HD float box_root(float a)
{
#ifdef __CUDA_ARCH__
    return __fsqrt_rn(a);
#else
    return sqrtf(a);
#endif
}

HD float box_min(float a, float b)
{
    return a < b ? a : b;
}

HD float box_max(float a, float b)
{
    return a < b ? b : a;
}

HD float box_clamp(float v, float low, float high)
{
    return box_min(box_max(v, low), high);
}

/* Of what is left of x by multiples of log 2, a polynomial of degree 6; x is cut to +-80. */
HD float box_exp(float x)
{
    x = box_clamp(x, -80, 80);
    const float n = rintf(box_mul(x, 1.44269504f));
    float r = box_sub(x, box_mul(n, .693359375f)); /* exact: 9 bits */
    r = box_sub(r, box_mul(n, -2.12194440e-4f));
    float p = 1.3888889e-3f;
    p = box_add(box_mul(p, r), 8.3333333e-3f);
    p = box_add(box_mul(p, r), 4.1666667e-2f);
    p = box_add(box_mul(p, r), 1.6666667e-1f);
    p = box_add(box_mul(p, r), .5f);
    p = box_add(box_mul(p, r), 1);
    p = box_add(box_mul(p, r), 1);
    return box_mul(p, half_bits_float((uint32_t)((int)n + 127) << 23));
}

HD float box_sigmoid(float x)
{
    return box_div(1, box_add(1, box_exp(-x)));
}

/* iou: of the cell, 1 where there is none. */
HD float box_score(float logit, float iou)
{
    const float q = box_clamp(iou, 0, 1);
    return box_mul(box_mul(box_sigmoid(logit), q), q);
}

/* Of a cell's channels; logits up to rules->lowest have 0. */
HD float box_score_of(const struct boxes_rules *r, const half_bits *cell, int label)
{
    const float logit = half_to_float(cell[r->heat + label]);
    if (logit <= r->lowest)
        return 0;
    return box_score(logit, r->iou < 0 ? 1 : half_to_float(cell[r->iou]));
}

HD struct boxes_box box_decode(const struct boxes_rules *r, const half_bits *cell, int column,
                               int row, int label, float score)
{
    struct boxes_box b;
    const float sine = half_to_float(cell[r->rotation]);
    const float cosine = half_to_float(cell[r->rotation + 1]);
    const float size = box_root(box_add(box_mul(sine, sine), box_mul(cosine, cosine)));
    b.x = box_add(box_mul(box_add((float)column, half_to_float(cell[r->offset])), r->cell),
                  r->origin);
    b.y = box_add(box_mul(box_add((float)row, half_to_float(cell[r->offset + 1])), r->cell),
                  r->origin);
    b.z = half_to_float(cell[r->height]);
    b.length = box_exp(half_to_float(cell[r->size]));
    b.width = box_exp(half_to_float(cell[r->size + 1]));
    b.height = box_exp(half_to_float(cell[r->size + 2]));
    b.sine = size > 0 ? box_div(sine, size) : 0;
    b.cosine = size > 0 ? box_div(cosine, size) : 1;
    b.score = score;
    b.label = label;
    return b;
}

/* ---- overlap ---- */

/* Mean of clamp(y, -h, h) for y evenly between a and b. */
HD float box_mean(float a, float b, float h)
{
    const float low = box_min(a, b), high = box_max(a, b), span = box_sub(high, low);
    const float from = box_clamp(low, -h, h), to = box_clamp(high, -h, h);
    if (!(span > 0))
        return from;
    const float below = box_sub(box_min(high, -h), box_min(low, -h));
    const float above = box_sub(box_max(high, h), box_max(low, h));
    const float middle = box_mul(box_mul(box_sub(to, from), box_add(to, from)), .5f);
    return box_div(box_add(box_mul(h, box_sub(above, below)), middle), span);
}

/* Integral of clamp(y, -hy, hy) over x along an edge, as far as |x| <= hx. */
HD float box_under(float x0, float y0, float x1, float y1, float hx, float hy)
{
    const float from = box_clamp(x0, -hx, hx), to = box_clamp(x1, -hx, hx);
    const float width = box_sub(to, from);
    if (width == 0)
        return 0;
    const float slope = box_div(box_sub(y1, y0), box_sub(x1, x0));
    const float a = box_add(y0, box_mul(box_sub(from, x0), slope));
    const float b = box_add(y0, box_mul(box_sub(to, x0), slope));
    return box_mul(width, box_mean(a, b, hy));
}

/*
 * Area that two rectangles share: around b, seen from a, the integral of y clamped to a; edges to
 * the left count.  It needs no list of corners and is continuous in all its inputs.
 */
HD float box_shared(const struct boxes_box *a, const struct boxes_box *b)
{
    const float dx = box_sub(b->x, a->x), dy = box_sub(b->y, a->y);
    const float x = box_add(box_mul(dx, a->cosine), box_mul(dy, a->sine));
    const float y = box_sub(box_mul(dy, a->cosine), box_mul(dx, a->sine));
    const float c = box_add(box_mul(a->cosine, b->cosine), box_mul(a->sine, b->sine));
    const float s = box_sub(box_mul(b->sine, a->cosine), box_mul(b->cosine, a->sine));
    const float l = box_mul(b->length, .5f), w = box_mul(b->width, .5f);
    const float ux = box_mul(c, l), uy = box_mul(s, l), vx = -box_mul(s, w), vy = box_mul(c, w);
    const float hx = box_mul(a->length, .5f), hy = box_mul(a->width, .5f);
    const float x0 = box_add(box_add(x, ux), vx), y0 = box_add(box_add(y, uy), vy);
    const float x1 = box_add(box_sub(x, ux), vx), y1 = box_add(box_sub(y, uy), vy);
    const float x2 = box_sub(box_sub(x, ux), vx), y2 = box_sub(box_sub(y, uy), vy);
    const float x3 = box_sub(box_add(x, ux), vx), y3 = box_sub(box_add(y, uy), vy);
    const float sum = box_add(box_add(box_under(x0, y0, x1, y1, hx, hy),
                                      box_under(x1, y1, x2, y2, hx, hy)),
                              box_add(box_under(x2, y2, x3, y3, hx, hy),
                                      box_under(x3, y3, x0, y0, hx, hy)));
    return box_max(-sum, 0);
}

/* Whether the circles around two rectangles are so far apart that these share nothing. */
HD int box_apart(const struct boxes_box *a, const struct boxes_box *b)
{
    const float dx = box_sub(b->x, a->x), dy = box_sub(b->y, a->y);
    const float far = box_add(box_mul(dx, dx), box_mul(dy, dy));
    const float size = box_add(
        box_add(box_mul(a->length, a->length), box_mul(a->width, a->width)),
        box_add(box_mul(b->length, b->length), box_mul(b->width, b->width)));
    return far > box_mul(size, .5f);
}

/* Whether b overlaps a, which is in front of it, by more than the limit. */
HD int box_overlaps(const struct boxes_box *a, const struct boxes_box *b, float limit)
{
    if (box_apart(a, b))
        return 0;
    const float shared = box_shared(a, b);
    const float both = box_add(box_mul(a->length, a->width), box_mul(b->length, b->width));
    return shared > box_mul(limit, box_sub(both, shared));
}

#endif

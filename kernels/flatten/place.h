/*
 * place.h - place of a cell in an order of the full grid: equivalent to flatten_key, but dense.
 *
 *     A = a1 on even window rows b1, else nW - 1 - a1         window along the row
 *     r = a2 w + (b2 on even columns a2, else w - 1 - b2)     cell inside the window
 *     place = (b1 nW + A) w^2 + (r on even b1, else w^2 - 1 - r)
 *
 * Places lie in [0, nW^2 w^2), different cells have different ones, and cells in ascending order
 * of place are in ascending order of key.  So the rank of a cell is the number of occupied places
 * before its own: no sort is needed.
 */
#ifndef KERNELS_FLATTEN_PLACE_H
#define KERNELS_FLATTEN_PLACE_H

#include <stdint.h>

#include "../common/hd.h"
#include "flatten.h"

/* What places of a problem need; a / window = a * reciprocal >> 20, exact where
 * (side + window) * window < 2^20. */
struct flatten_grid {
    int window, shift, across; /* across: windows of a row, nW */
    uint32_t reciprocal;
    int words;                 /* of a bitmap of all places */
    int serpentine;
};

HD struct flatten_grid flatten_grid_of(const struct flatten_problem *p)
{
    struct flatten_grid g;
    g.window = p->window;
    g.shift = p->window / 2;
    g.across = (p->side + p->window - 1) / p->window + 1;
    g.reciprocal = (1u << 20) / (uint32_t)p->window + 1;
    g.words = (g.across * g.across * g.window * g.window + 31) / 32;
    g.serpentine = p->path == FLATTEN_SERPENTINE;
    return g;
}

/* Whether flatten_place may be used. */
HD int flatten_grid_fits(const struct flatten_problem *p)
{
    return (p->side + p->window) * (int64_t)p->window < 1 << 20 && p->side + p->window < 2048;
}

HD uint32_t flatten_place(const struct flatten_grid *g, int order, struct flatten_cell c)
{
    const int along_y = order >> 1, shift = order & 1 ? g->shift : 0, w = g->window;
    const int a = (along_y ? c.y : c.x) + shift, b = (along_y ? c.x : c.y) + shift;
    const int a1 = (int)((uint32_t)a * g->reciprocal >> 20), a2 = a - a1 * w;
    const int b1 = (int)((uint32_t)b * g->reciprocal >> 20), b2 = b - b1 * w;
    const int back = g->serpentine & b1 & 1, up = g->serpentine & a2 & 1;
    const int across = back ? g->across - 1 - a1 : a1;
    const int inside = a2 * w + (up ? w - 1 - b2 : b2);
    return (uint32_t)((b1 * g->across + across) * w * w + (back ? w * w - 1 - inside : inside));
}

#endif

/*
 * want.h - attention of one query in one head, in double, and how far half operands may move it.
 *
 * Weights are rounded to half, e_j w_j with |e_j| <= u = 2^-11, and scores before them may be:
 * a score s off by u |s| moves its weight by as much of itself.  Errors of different keys are
 * independent, so that with spread the root of the sum of (w v (1 + |s|))^2
 *
 *     |got - want| <= 4 u (max(|want|, 2^-14) + 2 spread)
 */
#ifndef KERNELS_GROUP_ATTN_WANT_H
#define KERNELS_GROUP_ATTN_WANT_H

#include <math.h>

#include "../common/half.h"
#include "../common/hd.h"

HD double group_attn_score(int head, const half_bits *q, const half_bits *k)
{
    double sum = 0;
    for (int c = 0; c < head; c++)
        sum += (double)half_to_float(q[c]) * (double)half_to_float(k[c]);
    return sum / sqrt((double)head);
}

/* k, v: of the group's first slot; step: halves between slots.  want, bound [head]. */
HD void group_attn_row(int group, int head, size_t step, const half_bits *q, const half_bits *k,
                       const half_bits *v, int exact, double *want, float *bound)
{
    const double u = 0x1p-11;
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < group; j++) {
        const double s = group_attn_score(head, q, k + (size_t)j * step);
        most = s > most ? s : most;
    }
    for (int c = 0; c < head; c++)
        want[c] = bound[c] = 0;
    for (int j = 0; j < group; j++) {
        const double s = group_attn_score(head, q, k + (size_t)j * step), w = exp(s - most);
        sum += w;
        for (int c = 0; c < head; c++) {
            const double term = w * (double)half_to_float(v[(size_t)j * step + (size_t)c]);
            want[c] += term;
            bound[c] += (float)(term * term * (1 + fabs(s)) * (1 + fabs(s)));
        }
    }
    for (int c = 0; c < head; c++) {
        want[c] /= sum;
        const double size = fabs(want[c]) > 0x1p-14 ? fabs(want[c]) : 0x1p-14;
        if (exact) /* other keys weigh nothing in float, whatever they do in double */
            want[c] = (double)(float)want[c];
        bound[c] = exact ? 0 : (float)(4 * u * (size + 2 * sqrt((double)bound[c]) / sum));
    }
}

#endif

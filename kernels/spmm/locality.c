/* locality.c - see locality.h. */
#include "locality.h"

#include "shape.h"

enum {
    SAMPLES = 384, /* pairs of neighbouring rows */
    LONGEST = 256  /* entries looked at of a row, from its first or in its middle */
};

/* Part of a row. */
struct part {
    const int *col;
    int count;
};

/* The longest part that starts at the first column not below `from`. */
static struct part part_of(const struct spmm_matrix *a, int row, int from)
{
    int low = a->row_ptr[row], high = a->row_ptr[row + 1];
    const int end = high;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (a->col[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return (struct part){ a->col + low, (int)spmm_least(end - low, LONGEST) };
}

/* Columns in both; only as far as both reach.  *tried: of x up to there. */
static long in_both(struct part x, struct part y, long *tried)
{
    long both = 0;
    int i = 0, j = 0;
    while (i < x.count && j < y.count) {
        const int a = x.col[i], b = y.col[j];
        both += a == b;
        i += a <= b;
        j += b <= a;
    }
    /* a row that is exhausted within LONGEST holds none of the rest of x */
    *tried += y.count < LONGEST ? x.count : i;
    return both;
}

void spmm_locality_of(const struct spmm_problem *p, const struct spmm_matrix *host,
                      struct spmm_locality *out)
{
    const int samples = (int)spmm_least(p->m, SAMPLES);
    long entries = 0, steps = 0, near = 0, next = 0, both = 0, tried = 0;
    double distance = 0;
    *out = (struct spmm_locality){ 0, 0, 0, 0 };
    for (int s = 0; s < samples; s++) {
        const int row = (int)((2L * s + 1) * p->m / (2L * samples));
        const double diagonal = ((double)row + 0.5) * p->k / p->m;
        const int begin = host->row_ptr[row], length = host->row_ptr[row + 1] - begin;
        const int skip = length > LONGEST ? (length - LONGEST) / 2 : 0;
        const struct part x = { host->col + begin + skip,
                                (int)spmm_least(length - skip, LONGEST) };
        for (int i = 0; i < x.count; i++) {
            const double d = x.col[i] - diagonal;
            const int step = i ? x.col[i] - x.col[i - 1] : p->k;
            distance += d < 0 ? -d : d;
            near += step < 32;
            next += step == 1;
        }
        entries += x.count;
        steps += x.count - (x.count > 0);
        if (x.count && row + 1 < p->m)
            both += in_both(x, part_of(host, row + 1, x.col[0]), &tried);
    }
    if (entries)
        out->spread = distance / (double)entries / p->k;
    if (steps) {
        out->near = (double)near / (double)steps;
        out->next = (double)next / (double)steps;
    }
    if (tried)
        out->shared = (double)both / (double)tried;
}

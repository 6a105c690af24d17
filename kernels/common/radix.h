/* radix.h - rows by 64-bit keys, in linear time: what references sort on the host. */
#ifndef KERNELS_COMMON_RADIX_H
#define KERNELS_COMMON_RADIX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct keyed {
    uint64_t key;
    int32_t row;
};

/* Ascending by key, equal keys in the order that they have.  -1: no memory, e as it was. */
static inline int radix_sort(struct keyed *e, size_t n)
{
    enum { BITS = 11, BINS = 1 << BITS };
    struct keyed *work = malloc((n + 1) * sizeof *work), *from = e, *to = work;
    uint64_t all = 0, none = ~(uint64_t)0;
    if (!work)
        return -1;
    for (size_t i = 0; i < n; i++) {
        all |= e[i].key;
        none &= e[i].key;
    }
    for (int shift = 0; shift < 64; shift += BITS) {
        size_t count[BINS + 1] = { 0 };
        if (!((all ^ none) >> shift & (BINS - 1)))
            continue; /* these bits are the same in all keys */
        for (size_t i = 0; i < n; i++)
            count[(from[i].key >> shift & (BINS - 1)) + 1]++;
        for (int b = 0; b < BINS; b++)
            count[b + 1] += count[b];
        for (size_t i = 0; i < n; i++)
            to[count[from[i].key >> shift & (BINS - 1)]++] = from[i];
        struct keyed *const other = from;
        from = to;
        to = other;
    }
    if (from != e)
        memcpy(e, from, n * sizeof *e);
    free(work);
    return 0;
}

#endif

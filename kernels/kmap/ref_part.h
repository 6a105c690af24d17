/* ref_part.h - what the files of the host reference share. */
#ifndef KERNELS_KMAP_REF_PART_H
#define KERNELS_KMAP_REF_PART_H

#include <stdlib.h>

#include "kmap.h"

/* Places in kmap_host.memory. */
enum { COORD, TABLE, START, PADDED, PAIR_IN, PAIR_OUT, ROW, MASK, TILE, SORTED };

/* Zeroed memory that h owns, in place of what stood there; NULL: none left. */
static inline void *take(struct kmap_host *h, int slot, size_t count, size_t size)
{
    free(h->memory[slot]);
    h->memory[slot] = calloc(count + 1, size);
    return h->memory[slot];
}

#endif

/*
 * rows.cuh - a block makes KMAP_PAD rows of a table, a thread each.
 *
 *     stage  [KMAP_PAD][K] in shared memory, odd K without bank conflicts; then one stretch of
 *            the table, 16 bytes a thread
 */
#ifndef KERNELS_KMAP_ROWS_CUH
#define KERNELS_KMAP_ROWS_CUH

#include "device.h"

static __device__ __forceinline__ int padded_rows(int n)
{
    return (n + KMAP_PAD - 1) / KMAP_PAD * KMAP_PAD;
}

/* All threads of the block; rows first_row .. first_row + KMAP_PAD - 1. */
static __device__ __forceinline__ void store_rows(const int *stage, int taps, int first_row,
                                                  int32_t *table)
{
    __syncthreads();
    int4 *to = (int4 *)(table + (size_t)first_row * taps);
    for (int i = threadIdx.x; i < KMAP_PAD * taps / 4; i += KMAP_PAD)
        to[i] = ((const int4 *)stage)[i];
}

/* Grid of one block for every KMAP_PAD rows. */
static inline int row_blocks(int rows)
{
    return (rows + KMAP_PAD - 1) / KMAP_PAD;
}

static inline enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

#endif

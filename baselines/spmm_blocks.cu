/* spmm_blocks.cu - the values of A into its blocks, a thread an entry: see spmm_blocks.h. */
#include <cuda_runtime.h>

#include "spmm_blocks.h"

constexpr int BLOCK = 256;

template <class Element>
static __global__ __launch_bounds__(BLOCK) void fill(spmm_matrix a, long nnz, spmm_blocks b,
                                                     Element *values)
{
    const long e = (long)blockIdx.x * BLOCK + threadIdx.x;
    if (e < nnz)
        values[spmm_blocks_slot(&b, a.row[e], a.col[e])] = ((const Element *)a.val)[e];
}

OP_BEGIN

enum op_status spmm_blocks_fill(const struct spmm_problem *p, const struct spmm_matrix *a,
                                const struct spmm_blocks *b, void *values, op_stream s)
{
    const unsigned blocks = (unsigned)((p->nnz + BLOCK - 1) / BLOCK);
    if (p->dtype == SPMM_F16)
        fill<<<blocks, BLOCK, 0, s>>>(*a, p->nnz, *b, (unsigned short *)values);
    else
        fill<<<blocks, BLOCK, 0, s>>>(*a, p->nnz, *b, (unsigned *)values);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END

/*
 * view.cuh - one column of B and C, whatever their layout.
 *
 *              column j of B      of C       element (r, j) is base[r * stride]
 *   row-major     b + j           c + j      stride n
 *   column-major  b + j k         c + j m    stride 1
 *
 * With it a kernel for one layout and its sibling for the other share all but
 * the mapping of threads.  Strides are constants after inlining.
 */
#ifndef KERNELS_SPMM_VIEW_CUH
#define KERNELS_SPMM_VIEW_CUH

#include "spmm.h"

struct View {
    const float *b;
    float *c;
    size_t stride;
};

static __device__ __forceinline__ View row_major(const spmm_args &a, int n, int j)
{
    return { (const float *)a.b + j, (float *)a.c + j, (size_t)n };
}

static __device__ __forceinline__ View column_major(const spmm_args &a, int m, int k, int j)
{
    return { (const float *)a.b + (size_t)j * k, (float *)a.c + (size_t)j * m, 1 };
}

/* The entries of A through the read-only path. */
static __device__ __forceinline__ int row_begin(const spmm_args &a, unsigned row)
{
    return __ldg(a.a.row_ptr + row);
}

static __device__ __forceinline__ float value_at(const spmm_args &a, size_t p)
{
    return __ldg((const float *)a.a.val + p);
}

static __device__ __forceinline__ int column_at(const spmm_args &a, size_t p)
{
    return __ldg(a.a.col + p);
}

/* The row that entry p lies in: the last one that begins at or before p. */
static __device__ __forceinline__ int row_search(const spmm_args &a, int m, size_t p)
{
    int low = 0, high = m;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if ((size_t)row_begin(a, middle) <= p)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static inline enum op_status launched()
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* Kernels that add into C clear it first: part of their time. */
static inline enum op_status clear_c(const struct spmm_problem *p, const struct spmm_args *a,
                                     op_stream s)
{
    const size_t bytes = (size_t)p->m * p->n * sizeof(float);
    return cudaMemsetAsync(a->c, 0, bytes, s) == cudaSuccess ? OP_OK : OP_EDEVICE;
}

#endif

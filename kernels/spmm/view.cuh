/*
 * view.cuh - one column of B and C, whatever their layout.
 *
 *              base of B   of C    element (r, j)
 *   row-major     b           c       base[r n + j]
 *   column-major  b + j k     c + j m base[r]
 *
 * With it a kernel for one layout and its sibling for the other share all but
 * the mapping of threads.  Strides are constants after inlining.
 *
 * Index is what r * n + j is computed in.  The published kernels compute it in
 * 32 bits: two instructions an entry where 64 bits take five, which the kernels
 * notice because an entry costs three loads and one addition otherwise.  They
 * overflow from 2^31 elements on; here such problems get 64 bits.
 */
#ifndef KERNELS_SPMM_VIEW_CUH
#define KERNELS_SPMM_VIEW_CUH

#include "spmm.h"

template <class Index> struct View {
    const float *b;
    float *c;
    Index stride, first; /* element (r, j) is base[r * stride + first] */

    __device__ __forceinline__ const float *b_at(int r) const
    {
        return b + ((Index)r * stride + first);
    }
    __device__ __forceinline__ float *c_at(int r) const
    {
        return c + ((Index)r * stride + first);
    }
};

template <class Index>
static __device__ __forceinline__ View<Index> row_major(const spmm_args &a, int n, int j)
{
    return { (const float *)a.b, (float *)a.c, (Index)n, (Index)j };
}

/* Offsets inside a column are those of a row of A or B: 32 bits always do. */
static __device__ __forceinline__ View<unsigned> column_major(const spmm_args &a, int m, int k,
                                                              int j)
{
    return { (const float *)a.b + (size_t)j * k, (float *)a.c + (size_t)j * m, 1, 0 };
}

/* The entries of A through the read-only path. */
static __device__ __forceinline__ int row_begin(const spmm_args &a, unsigned row)
{
    return __ldg(a.a.row_ptr + row);
}

static __device__ __forceinline__ float value_at(const spmm_args &a, int p)
{
    return __ldg((const float *)a.a.val + p);
}

static __device__ __forceinline__ int column_at(const spmm_args &a, int p)
{
    return __ldg(a.a.col + p);
}

/* The row that entry p lies in: the last one that begins at or before p. */
static __device__ __forceinline__ int row_search(const spmm_args &a, int m, int p)
{
    int low = 0, high = m;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (row_begin(a, middle) <= p)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static inline enum op_status done(cudaError_t e)
{
    return e == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static inline enum op_status launched()
{
    return done(cudaGetLastError());
}

/* Set-up's memory; NULL: none left. */
static inline void *take(const struct op_memory *memory, size_t bytes)
{
    return memory->take(memory->context, bytes ? bytes : 16);
}

template <class T> static inline T *take_of(const struct op_memory *memory, size_t count)
{
    return (T *)take(memory, count * sizeof(T));
}

/* Calls launch with a zero of the narrowest index type that holds every offset
 * into a row-major B and C. */
template <class Launch>
static inline enum op_status launch_indexed(const struct spmm_problem *p, Launch launch)
{
    const size_t rows = p->m > p->k ? p->m : p->k;
    if (rows * p->n <= (size_t)1 << 32)
        launch((unsigned)0);
    else
        launch((size_t)0);
    return launched();
}

/* Kernels that add into C clear it first: part of their time. */
static inline enum op_status clear_c(const struct spmm_problem *p, const struct spmm_args *a,
                                     op_stream s)
{
    const size_t bytes = (size_t)p->m * p->n * sizeof(float);
    return cudaMemsetAsync(a->c, 0, bytes, s) == cudaSuccess ? OP_OK : OP_EDEVICE;
}

#endif

/*
 * linear_cublas.h - Y = X W^T + b by cuBLASLt: half operands, float sums, the bias added by the
 * product's epilogue.
 */
#ifndef BASELINES_LINEAR_CUBLAS_H
#define BASELINES_LINEAR_CUBLAS_H

#include <cublasLt.h>

#include "../kernels/op.h"

static const size_t LINEAR_WORKSPACE = (size_t)64 << 20; /* bytes */

/* A handle and its workspace. */
struct linear_library {
    cublasLtHandle_t handle;
    void *workspace;
};
enum op_status linear_library_open(const struct op_memory *memory, struct linear_library *out);
void linear_library_close(struct linear_library *l); /* accepts { 0 } */

/* A product of one shape. */
struct linear {
    const struct linear_library *library;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
};

struct linear_shape {
    int rows, outs, ins, stride; /* Y [rows][outs], rows `stride` apart; X [rows][ins], W [outs][ins] */
};

/* Times the first algorithms of the heuristic on w, b, x and y, which is overwritten, and keeps the
 * fastest; waits.  like: a product of the same shape whose choice is taken over, or NULL.  On
 * failure *out may be closed. */
enum op_status linear_open(const struct linear_library *l, const struct linear_shape *shape,
                           const struct linear *like, const void *w, const void *b, const void *x,
                           void *y, op_stream s, struct linear *out);
enum op_status linear_run(const struct linear *l, const void *w, const void *b, const void *x,
                          void *y, op_stream s);
void linear_close(struct linear *l); /* accepts { 0 } */

#endif

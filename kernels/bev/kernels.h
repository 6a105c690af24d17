/* kernels.h - set-up functions and launchers of the rows in impls.c. */
#ifndef KERNELS_BEV_KERNELS_H
#define KERNELS_BEV_KERNELS_H

#include "bev.h"

OP_BEGIN

/* own.cu */
extern bev_setup_fn bev_own_setup;
extern bev_run_fn bev_own;
/* A layer of it, but the first; map: [BEV_MAPS], of which the canvas and the result are not used.
 * Errors: cudaGetLastError.  bev_own_allow, OP_OK or OP_EDEVICE, comes before. */
void bev_own_layer(const struct bev_problem *p, const struct bev_args *a, half_bits *const *map,
                   int number, op_stream s);
enum op_status bev_own_allow(void);

/* rows_sm90.cu */
extern bev_setup_fn bev_rows_setup;
extern bev_run_fn bev_rows;
/* One of its layers, for tests to time; the first with pillars to the map and off it again. */
enum op_status bev_rows_layer(const struct bev_problem *p, const struct bev_args *a, void *state,
                              int number, op_stream s);

/* Of the baselines: bev_cudnn.c, bev_legacy_cudnn.c, bev_cublas.c. */
extern bev_setup_fn bev_cudnn_setup, bev_legacy_setup, bev_cublas_setup;
extern bev_run_fn bev_cudnn, bev_legacy, bev_cublas;
void bev_cudnn_teardown(void *state);
void bev_legacy_teardown(void *state);
void bev_cublas_teardown(void *state);
enum op_status bev_cudnn_supports(const struct bev_problem *, const char **why);
enum op_status bev_legacy_supports(const struct bev_problem *, const char **why);

/* around.cu: what vendor libraries leave to do.  All half, channels-last. */
/* Canvas from pillars; it is zeroed first. */
enum op_status bev_scatter(const struct bev_problem *p, const struct bev_args *a, half_bits *canvas,
                           op_stream s);
/* Rows of the canvas that have pillars, the others as they are; x: a->x, or NULL for zeros. */
enum op_status bev_scatter_rows(const struct bev_problem *p, const struct bev_args *a,
                                const half_bits *x, half_bits *canvas, op_stream s);
/* Rows of a convolution's product: to [high * side / stride][kernel][kernel][channels] of rows
 * y .. y + high - 1 of its output, from x [side][side][channels]. */
enum op_status bev_unfold(const struct bev_layer *l, int side, int channels, int y, int high,
                          const half_bits *x, half_bits *to, op_stream s);
/* y = max(y, 0) where relu, + x where it is not NULL; count even */
enum op_status bev_finish(size_t count, int relu, const half_bits *x, half_bits *y, op_stream s);
/* y += x */
enum op_status bev_add(size_t count, const half_bits *x, half_bits *y, op_stream s);
/* Neck [side][side][2 C] of its parts [side][side][C] and [side / 2][side / 2][4 C]. */
enum op_status bev_join(const struct bev_problem *p, const half_bits *plain, const half_bits *up,
                        half_bits *neck, op_stream s);
/* Result [cells][out] of rows [cells][branches * BEV_BRANCH_ROWS]. */
enum op_status bev_pick(const struct bev_problem *p, const half_bits *rows, half_bits *y,
                        op_stream s);
/* Weights of a layer of groups as those of one without: zeros where a row reads nothing. */
enum op_status bev_spread(const struct bev_layer *l, const half_bits *from, half_bits *to,
                          op_stream s);
/* Biases in half. */
enum op_status bev_narrow(size_t count, const float *from, half_bits *to, op_stream s);

/* judge.cu */
/* x[i] = pattern[i % period], long after kernels that depend on it programmatically may have
 * started. */
enum op_status bev_late(size_t count, int period, const half_bits *pattern, half_bits *x,
                        op_stream s);
/* got[i] = y[at[i]]; adds to *broken how many of all count of y are not finite. */
enum op_status bev_places(size_t count, const half_bits *y, int places, const uint64_t *at,
                          half_bits *got, int *broken, op_stream s);

OP_END
#endif

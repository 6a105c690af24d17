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

/* bev_cudnn.c of the baselines. */
extern bev_setup_fn bev_cudnn_setup;
extern bev_run_fn bev_cudnn;
void bev_cudnn_teardown(void *state);
enum op_status bev_cudnn_supports(const struct bev_problem *, const char **why);

/* around.cu: what vendor libraries leave to do.  All half, channels-last. */
/* Canvas from pillars; it is zeroed first. */
enum op_status bev_scatter(const struct bev_problem *p, const struct bev_args *a, half_bits *canvas,
                           op_stream s);
/* Rows of the canvas that have pillars, the others as they are; x: a->x, or NULL for zeros. */
enum op_status bev_scatter_rows(const struct bev_problem *p, const struct bev_args *a,
                                const half_bits *x, half_bits *canvas, op_stream s);
/* y += x */
enum op_status bev_add(size_t count, const half_bits *x, half_bits *y, op_stream s);
/* Neck [side][side][256] of its parts [side][side][128] and [side / 2][side / 2][512]. */
enum op_status bev_join(int side, const half_bits *plain, const half_bits *up, half_bits *neck,
                        op_stream s);
/* Result [cells][BEV_OUT] of rows [cells][56]. */
enum op_status bev_pick(size_t cells, const half_bits *rows, half_bits *y, op_stream s);
/* Biases in half. */
enum op_status bev_narrow(size_t count, const float *from, half_bits *to, op_stream s);

OP_END
#endif

/*
 * build.h - builders of kernel maps on the device: all maps of a network in one run.
 *
 *     level 0 --step--> level 1 --step--> ...      a level is a set of coordinates
 *
 * A plan lists the maps; a single map is a plan with one step.  Builders get the coordinates of
 * level 0 and write coordinates and sizes of all levels and a table for every step.
 *
 * Rows of a level are numbered by the builder.  Level 0: row r is the caller's row source[r] (the
 * identity for builders that keep it).  Whatever the numbers, tables refer to them, and
 * coord[level][row] says which voxel a row is.
 */
#ifndef KERNELS_KMAP_BUILD_H
#define KERNELS_KMAP_BUILD_H

#include <stdbool.h>

#include "kmap.h"

OP_BEGIN

enum { KMAP_LEVELS_MAX = 6, KMAP_STEPS_MAX = 16 };

struct kmap_step {
    struct kmap_shape shape; /* of the map from -> to, also for a transpose */
    int from, to;            /* levels; equal for KMAP_SAME */
    bool transpose;          /* the table of the transpose: rows of `from`, entries of `to` */
};

struct kmap_plan {
    int levels, steps;
    int n_in;                  /* rows of level 0, >= 1 */
    bool sorted;               /* level 0 ascends by (batch, x, y, z) */
    int cap[KMAP_LEVELS_MAX];  /* rows that there is room for; cap[0] = n_in */
    int size[KMAP_LEVELS_MAX][3], batch;
    struct kmap_step step[KMAP_STEPS_MAX]; /* a level is the target of a step before its source */
};

/* Device memory. */
struct kmap_args {
    const struct kmap_coord *in;                /* [n_in], unique, inside size[0] */
    struct kmap_coord *coord[KMAP_LEVELS_MAX];  /* [cap] */
    int32_t *source;                            /* [n_in] */
    int32_t *count;                             /* [KMAP_LEVELS_MAX] rows of each level; more than
                                                 * cap: it did not fit, and the rest is missing */
    int32_t *table[KMAP_STEPS_MAX];             /* [rows][K], rows = cap padded to KMAP_PAD;
                                                 * written up to the padded count */
    uint32_t *mask[KMAP_STEPS_MAX];             /* [rows] taps of a row; 0 in padding rows */
};

typedef enum op_status kmap_run_fn(const struct kmap_plan *, const struct kmap_args *, void *state,
                                   op_stream);

struct kmap_impl {
    struct op_impl base; /* first */
    /* OP_OK, or OP_EUNSUPPORTED and *why a constant text. */
    enum op_status (*supports)(const struct kmap_plan *, const char **why);
    enum op_status (*setup)(const struct kmap_plan *, const struct op_memory *, void **state);
    void (*teardown)(void *state); /* accepts NULL */
    kmap_run_fn *run;              /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct kmap_impl kmap_references[]; /* host.c: host memory */
extern const struct kmap_impl kmap_builders[];   /* impls.c: device memory */

/* Rows of the table of a step that there is room for, a multiple of KMAP_PAD; columns. */
int kmap_step_rows(const struct kmap_plan *p, int step);
int kmap_padded(int n);

/* ---- plans ---- */

/* One map; levels 1 or 2. */
enum op_status kmap_plan_single(const struct kmap_shape *s, int n_in, bool sorted,
                                struct kmap_plan *p);
/* MinkUNet: kernel 3 at strides 1, 2, 4, 8, 16, kernel 2 stride 2 between them; with the
 * transposes of these four if inverse is set. */
enum op_status kmap_plan_minkunet(const int size[3], int batch, int n_in, bool sorted, bool inverse,
                                  struct kmap_plan *p);
/* CenterPoint's encoder: kernel 3 at four levels, three strided maps, (1,3,1) stride (1,2,1). */
enum op_status kmap_plan_centerpoint(const int size[3], int batch, int n_in, struct kmap_plan *p);

/* ---- reference and comparison, on the host ---- */

struct kmap_host_net {
    struct kmap_host map[KMAP_STEPS_MAX];
    const struct kmap_coord *coord[KMAP_LEVELS_MAX]; /* level 0: the caller's */
    int n[KMAP_LEVELS_MAX];
};
enum op_status kmap_host_net(const struct kmap_plan *p, const struct kmap_coord *in,
                             struct kmap_host_net *net);
void kmap_host_net_free(struct kmap_host_net *net);

/* Downloaded results of a builder, laid out as kmap_args. */
struct kmap_result {
    const struct kmap_coord *coord[KMAP_LEVELS_MAX];
    const int32_t *source, *count, *table[KMAP_STEPS_MAX];
    const uint32_t *mask[KMAP_STEPS_MAX];
};
/* Number of entries that differ from the reference, whatever the numbering of rows; padding rows
 * and masks count.  text[size]: where the first one is.  -1: no memory. */
long kmap_compare(const struct kmap_plan *p, const struct kmap_host_net *want,
                  const struct kmap_result *got, char *text, size_t size);

OP_END
#endif

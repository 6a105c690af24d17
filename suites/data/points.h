/*
 * points.h - clouds of points in host memory, and the formats they are stored in.
 *
 *     v  [n][channels] float: x, y, z in metres, then intensity, then what the format has
 *
 *     kitti      .bin       4 x float32: x y z reflectance (0..1)             KITTI, SemanticKITTI
 *     nuscenes   .pcd.bin   5 x float32: x y z intensity (0..255) ring        one sweep
 *     waymo      .bin       5 or 6 x float32: x y z intensity elongation [time]; five are kept
 *     pcd        .pcd       v0.7, DATA ascii or binary; FIELDS must have x y z as F 4 or F 8,
 *                           intensity is kept if there is one; points that are not finite
 *                           are dropped
 * All little-endian.  Files may be gzip-compressed.
 *
 * Functions return 0, or -1 after cb_error with "NAME: ..." or, in a text, "NAME:LINE: ...".  A
 * failed call leaves *out all zero.
 */
#ifndef SUITES_DATA_POINTS_H
#define SUITES_DATA_POINTS_H

#include <stddef.h>
#include <stdint.h>

enum { POINTS_MAX = 1 << 26 }; /* a file that promises more is refused */

struct points {
    long n;
    int channels; /* 3 .. 8 */
    float *v;     /* [n][channels] */
};

enum points_format { POINTS_KITTI, POINTS_NUSCENES, POINTS_WAYMO, POINTS_PCD };

/* The name of a format, and back; -1: none of that name. */
const char *points_format_name(enum points_format f);
int points_format_of(const char *name);

/* From memory; name stands in messages.  floats: per record, given by the format, and for
 * POINTS_WAYMO 5 or 6 (0: 5 if that divides the size, else 6).  Coordinates must be finite and
 * within 10 km, others finite. */
int points_parse(const char *name, enum points_format f, const void *data, size_t size, int floats,
                 struct points *out);
int points_pcd_parse(const char *name, const char *data, size_t size, struct points *out);

/* A whole file. */
int points_load(const char *path, enum points_format f, struct points *out);

/* A folder with a key frame and sweeps of nuScenes (sweeps.c): x y z intensity ring lag. */
int points_load_sweeps(const char *folder, struct points *out);

/* Room for n points, their values unset. */
int points_new(const char *name, long n, int channels, struct points *out);
void points_free(struct points *p); /* accepts NULL and { 0 }; leaves { 0 } */

/*
 * Poses of sweeps: a line per sweep with 16 numbers, the 4 x 4 matrix row by row that takes its
 * points into the key frame (last row 0 0 0 1), then the time lag in seconds; # starts a comment.
 */
struct pose {
    double m[3][4];
    double lag_s;
};
int poses_parse(const char *name, const char *text, size_t size, struct pose **out, int *count);
/* Applies a pose to x, y, z of all points: sums in double, rounded to float. */
void points_move(struct points *p, const struct pose *pose);

#endif

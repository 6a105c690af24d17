/*
 * scan.h - the point clouds of the suites by name.
 *
 *     semantickitti_1f nuscenes_1f nuscenes_3f nuscenes_10f waymo_1f waymo_3f     generated frames
 *     street_1f street_2f street_3f     frames of street 0 (street.h), whatever the seed; as Waymo's
 *     semantickitti_000000 kitti_object_000001 nuscenes_keyframe     files NAME.bin, NAME.pcd.bin
 *                                                      where shared.h looks, in pointcloud
 *     kitti:PATH nuscenes:PATH waymo:PATH pcd:PATH                   files of the user
 *     nuscenes:FOLDER/                  key frame and sweeps with their poses (sweeps.c)
 *
 * Channels after loading: kitti and pcd x y z intensity; nuscenes x y z intensity ring lag; waymo
 * x y z tanh(intensity) elongation lag.
 *
 * Functions returning int return 0, or -1 after cb_error; a failed call leaves *out all zero.
 */
#ifndef SUITES_DATA_SCAN_H
#define SUITES_DATA_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "voxel.h"

enum scan_task {
    SCAN_SEGMENTATION, /* voxels 0.05 m (kitti, pcd) or 0.1 m (nuscenes, waymo), sorted */
    SCAN_DETECTION     /* the grid of nuscenes or waymo, shuffled; other sensors are refused */
};

/* Whether a name can be loaded here; if not, why[size] says what is missing. */
bool scan_available(const char *name, char *why, size_t size);

/* Whether a name is one cloud, the same for all seeds: files and streets. */
bool scan_fixed(const char *name);

/* seed: of a generated frame and of what is random in its voxels. */
int scan_points(const char *name, uint64_t seed, struct points *out);
int scan_voxels(const char *name, enum scan_task task, uint64_t seed, struct voxels *out);

/* "generated" or "user", and what the input was made from: generator with version and seed, or the
 * base name of the file. */
void scan_origin(const char *name, uint64_t seed, char source[16], char gen[96]);

/* The i-th generated name; NULL past the end. */
const char *scan_name(int i);

#endif

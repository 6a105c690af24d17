/*
 * lidar.h - generated LiDAR frames: a street, cast by the beams of three sensors.
 *
 *     kitti      64 beams in two blocks, 2165 azimuths, 10 Hz    x y z intensity
 *     nuscenes   32 beams, 1084 azimuths, 20 Hz                  x y z intensity ring lag
 *     waymo      64 beams, 2650 azimuths, two returns, and four  x y z intensity elongation lag
 *                short-range units, 10 Hz
 *
 * A frame is a function of (sensor, frames, seed, version) alone, for any number of threads: each
 * ray draws from hashes of its own numbers.  Several frames: the vehicle moves along the street,
 * earlier frames are scanned from where it was and moved into the key frame, points within 1 m
 * of the sensor removed from them.
 *
 * Source: the sensors' geometry and the statistics aimed at are those of real scans; see the
 * README of the suite torchsparsepp.
 */
#ifndef SUITES_DATA_LIDAR_H
#define SUITES_DATA_LIDAR_H

#include <stdint.h>

#include "points.h"

enum lidar_sensor { LIDAR_KITTI, LIDAR_NUSCENES, LIDAR_WAYMO };
enum { LIDAR_VERSION = 1, LIDAR_FRAMES_MAX = 10 };

struct lidar_spec {
    enum lidar_sensor sensor;
    int frames;    /* 1 .. LIDAR_FRAMES_MAX; nuscenes 3: two of the last ten at random */
    uint64_t seed;
};

/* 0, or -1 after cb_error. */
int lidar_generate(const struct lidar_spec *s, struct points *out);

#endif

/*
 * street.h - generated frames of a street: boxes on wavy ground under one long-range and four
 * short-range LiDAR units.  The scenes on which the statistics of pillars, windows and groups were
 * computed that the suite flatformer compares with.
 *
 *     buildings     both sides, 8 to 24 m long, nearest face 25 to 60 m from the middle
 *     vehicles      60 in five lanes            pedestrians  25, 7 to 14 m from the middle
 *     poles         60, 8 to 30 m               vegetation   250, 9 to 70 m; lets 4 of 10 rays pass
 *
 * A frame is a function of (seed, number, version) alone, for any number of threads.  Frame f is
 * scanned from f metres behind the first; all points are in the world, whose origin is the first
 * one's vehicle.
 *
 * Source: FlatFormer (arXiv 2301.08739), the specification of its synthetic scenes.
 */
#ifndef SUITES_DATA_STREET_H
#define SUITES_DATA_STREET_H

#include <stdint.h>

#include "points.h"

enum { STREET_VERSION = 1, STREET_FRAMES = 12, STREET_CHANNELS = 6 };

/* Frames first .. first + count - 1 (below STREET_FRAMES): x y z tanh(intensity) tanh(elongation)
 * frame.  0, or -1 after cb_error; then *out is { 0 }. */
int street_generate(uint64_t seed, int first, int count, struct points *out);

#endif

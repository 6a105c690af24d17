/*
 * sweeps.c - a key frame with earlier sweeps, as a folder of the user:
 *
 *     key.pcd.bin       the key frame
 *     poses.txt         a line per sweep (points.h)
 *     1.pcd.bin ...     the sweeps, in the order of the lines
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "points.h"

enum { CHANNELS = 6, SWEEPS_MAX = 100, PATH_SIZE = 700 };

/* Appends points with their lag; of a sweep (pose not NULL) those that do not lie within 1 m of
 * its sensor, moved into the key frame. */
static int append(const char *path, const struct pose *pose, struct points *out)
{
    struct points p;
    if (points_load(path, POINTS_NUSCENES, &p))
        return -1;
    float *v = data_realloc(out->v, (size_t)(out->n + p.n), CHANNELS * sizeof *v);
    if (!v) {
        points_free(&p);
        return cb_error("%s: no memory for %ld points more", path, p.n);
    }
    out->v = v;
    long kept = 0;
    for (long i = 0; i < p.n; i++) {
        const float *from = p.v + i * p.channels;
        if (pose && fabsf(from[0]) < 1 && fabsf(from[1]) < 1)
            continue;
        float *to = v + (out->n + kept++) * CHANNELS;
        memcpy(to, from, 5 * sizeof *to);
        to[5] = pose ? (float)pose->lag_s : 0;
    }
    if (pose) {
        struct points added = { kept, CHANNELS, v + out->n * CHANNELS };
        points_move(&added, pose);
    }
    out->n += kept;
    points_free(&p);
    return out->n > POINTS_MAX ? cb_error("%s: more than %d points in all", path, POINTS_MAX) : 0;
}

int points_load_sweeps(const char *folder, struct points *out)
{
    char path[PATH_SIZE], *text;
    size_t size;
    struct pose *pose = NULL;
    int count = 0;
    *out = (struct points){ .channels = CHANNELS };
    snprintf(path, sizeof path, "%s/poses.txt", folder);
    int status = data_read(path, &text, &size);
    if (!status) {
        status = poses_parse(path, text, size, &pose, &count);
        data_free(text);
    }
    if (!status && count > SWEEPS_MAX)
        status = cb_error("%s: more than %d sweeps", path, SWEEPS_MAX);
    for (int i = 0; !status && i <= count; i++) {
        if (i)
            snprintf(path, sizeof path, "%s/%d.pcd.bin", folder, i);
        else
            snprintf(path, sizeof path, "%s/key.pcd.bin", folder);
        status = append(path, i ? &pose[i - 1] : NULL, out);
    }
    data_free(pose);
    if (status)
        points_free(out);
    return status;
}

/* scan.c - point clouds by name. */
#include "scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "lidar.h"
#include "shared.h"
#include "street.h"

/* What the sensor of a cloud decides. */
static const struct sensor {
    enum points_format format;
    int channels;
    double voxel_m;                /* of segmentation */
    const struct voxel_grid *grid; /* of detection; NULL: none */
} sensors[] = {
    [LIDAR_KITTI] = { POINTS_KITTI, 4, .05, NULL },
    [LIDAR_NUSCENES] = { POINTS_NUSCENES, 6, .1, &voxel_grid_nuscenes },
    [LIDAR_WAYMO] = { POINTS_WAYMO, 6, .1, &voxel_grid_waymo },
};

static const struct generated {
    const char *name;
    enum lidar_sensor sensor;
    int frames;
    bool street;
} generated[] = {
    { "semantickitti_1f", LIDAR_KITTI, 1, false }, { "nuscenes_1f", LIDAR_NUSCENES, 1, false },
    { "nuscenes_3f", LIDAR_NUSCENES, 3, false },   { "nuscenes_10f", LIDAR_NUSCENES, 10, false },
    { "waymo_1f", LIDAR_WAYMO, 1, false },         { "waymo_3f", LIDAR_WAYMO, 3, false },
    { "street_1f", LIDAR_WAYMO, 1, true },         { "street_2f", LIDAR_WAYMO, 2, true },
    { "street_3f", LIDAR_WAYMO, 3, true },
};

static const struct known {
    const char *name, *file;
    enum lidar_sensor sensor;
} known[] = {
    { "semantickitti_000000", "semantickitti_000000.bin", LIDAR_KITTI },
    { "kitti_object_000001", "kitti_object_000001.bin", LIDAR_KITTI },
    { "nuscenes_keyframe", "nuscenes_keyframe.pcd.bin", LIDAR_NUSCENES },
};

/* What a name stands for. */
struct found {
    const struct generated *made; /* NULL: a file */
    enum lidar_sensor sensor;
    enum points_format format;
    char path[DATA_PATH];
};

const char *scan_name(int i)
{
    const int n = (int)(sizeof generated / sizeof *generated);
    return i >= 0 && i < n ? generated[i].name : NULL;
}

static int find_known(const struct known *k, struct found *f)
{
    f->sensor = k->sensor;
    f->format = sensors[k->sensor].format;
    if (data_find("pointcloud", k->file, f->path))
        return 0;
    return cb_error("%s: no file %s in $CLAIMBENCH_DATA or $CLAIMBENCH_SHARED", k->name, k->file);
}

/* format:PATH; other: 0 if name is not of that form. */
static int find_path(const char *name, struct found *f)
{
    const char *colon = strchr(name, ':');
    char word[16];
    if (!colon || colon == name || (size_t)(colon - name) >= sizeof word)
        return 0;
    memcpy(word, name, (size_t)(colon - name));
    word[colon - name] = 0;
    const int format = points_format_of(word);
    if (format < 0)
        return 0;
    f->format = (enum points_format)format;
    f->sensor = format == POINTS_NUSCENES ? LIDAR_NUSCENES
                : format == POINTS_WAYMO  ? LIDAR_WAYMO : LIDAR_KITTI;
    if (strlen(colon + 1) >= sizeof f->path)
        return cb_error("%s: too long a path", name);
    strcpy(f->path, colon + 1);
    return access(f->path, R_OK) ? cb_error("%s: cannot be read", f->path) : 1;
}

static int find(const char *name, struct found *f)
{
    *f = (struct found){ 0 };
    for (size_t i = 0; i < sizeof generated / sizeof *generated; i++)
        if (!strcmp(name, generated[i].name)) {
            f->made = &generated[i];
            f->sensor = generated[i].sensor;
            return 0;
        }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name))
            return find_known(&known[i], f);
    const int status = find_path(name, f);
    if (status)
        return status < 0 ? -1 : 0;
    return cb_error("%s: no generated scan of that name, and as a file it would have to start with "
                    "kitti:, nuscenes:, waymo: or pcd:", name);
}

bool scan_available(const char *name, char *why, size_t size)
{
    struct found f;
    const bool good = !find(name, &f);
    if (size)
        snprintf(why, size, "%s", good ? "" : cb_error_text());
    return good;
}

bool scan_fixed(const char *name)
{
    struct found f;
    return !find(name, &f) && (!f.made || f.made->street);
}

void scan_origin(const char *name, uint64_t seed, char source[16], char gen[96])
{
    struct found f;
    if (find(name, &f) || !f.made) {
        const char *slash = strrchr(f.path, '/'), *base = slash ? slash + 1 : f.path;
        data_text(source, 16, "user");
        data_text(gen, 96, *base ? base : "key frame with sweeps");
        return;
    }
    data_text(source, 16, "generated");
    if (f.made->street)
        snprintf(gen, 96, "street %d, %df seed 0", STREET_VERSION, f.made->frames);
    else
        snprintf(gen, 96, "lidar %d, %s, seed %llu", LIDAR_VERSION, name, (unsigned long long)seed);
}

/* The channels that the networks take: a lag of 0, and Waymo's intensity as trained on. */
static int widen(const char *name, enum lidar_sensor sensor, struct points *p)
{
    const int to = sensors[sensor].channels;
    struct points wide;
    if (p->channels >= to)
        return 0;
    if (points_new(name, p->n, to, &wide))
        return -1;
    for (long i = 0; i < p->n; i++) {
        float *v = wide.v + i * to;
        memset(v, 0, (size_t)to * sizeof *v);
        memcpy(v, p->v + i * p->channels, (size_t)p->channels * sizeof *v);
        if (sensor == LIDAR_WAYMO)
            v[3] = (float)tanh((double)v[3]);
    }
    points_free(p);
    *p = wide;
    return 0;
}

static int copy_points(const struct points *from, struct points *to)
{
    if (points_new("a copy", from->n, from->channels, to))
        return -1;
    memcpy(to->v, from->v, (size_t)from->n * (size_t)from->channels * sizeof *to->v);
    return 0;
}

/* The last two generated scans are kept: cases of an experiment ask for the same ones. */
static int generate_points(const struct generated *made, uint64_t seed, struct points *out)
{
    static struct kept {
        const struct generated *made;
        uint64_t seed;
        struct points p;
    } kept[2];
    static int next;
    const struct lidar_spec s = { made->sensor, made->frames, seed };
    for (int i = 0; i < 2; i++)
        if (kept[i].made == made && kept[i].seed == seed)
            return copy_points(&kept[i].p, out);
    if (lidar_generate(&s, out))
        return -1;
    struct kept *k = &kept[next];
    points_free(&k->p);
    *k = (struct kept){ 0 };
    if (copy_points(out, &k->p)) {
        cb_error_clear(); /* it is made anew the next time */
        return 0;
    }
    k->made = made;
    k->seed = seed;
    next = !next;
    return 0;
}

int scan_points(const char *name, uint64_t seed, struct points *out)
{
    struct found f;
    *out = (struct points){ 0 };
    if (find(name, &f))
        return -1;
    if (f.made && f.made->street)
        return street_generate(0, 0, f.made->frames, out);
    if (f.made)
        return generate_points(f.made, seed, out);
    const size_t end = strlen(f.path);
    if (f.format == POINTS_NUSCENES && end && f.path[end - 1] == '/')
        return points_load_sweeps(f.path, out);
    if (points_load(f.path, f.format, out))
        return -1;
    if (widen(name, f.sensor, out)) {
        points_free(out);
        return -1;
    }
    return 0;
}

int scan_voxels(const char *name, enum scan_task task, uint64_t seed, struct voxels *out)
{
    struct found f;
    struct points p;
    *out = (struct voxels){ 0 };
    if (find(name, &f))
        return -1;
    const struct sensor *s = &sensors[f.sensor];
    if (task == SCAN_DETECTION && !s->grid)
        return cb_error("%s: no detection grid for this sensor", name);
    if (scan_points(name, seed, &p))
        return -1;
    const int status = task == SCAN_DETECTION ? voxels_detect(name, &p, s->grid, seed, out)
                                              : voxels_segment(name, &p, s->voxel_m, out);
    points_free(&p);
    return status;
}

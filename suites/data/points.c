/* points.c - flat records of floats, poses, and what every cloud can do. */
#include "points.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "text.h"

static const char *const names[] = { "kitti", "nuscenes", "waymo", "pcd" };
enum { FORMATS = sizeof names / sizeof *names };

const char *points_format_name(enum points_format f)
{
    return names[f];
}

int points_format_of(const char *name)
{
    for (int i = 0; i < FORMATS; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

void points_free(struct points *p)
{
    if (!p)
        return;
    data_free(p->v);
    *p = (struct points){ 0 };
}

int points_new(const char *name, long n, int channels, struct points *out)
{
    *out = (struct points){ 0 };
    float *v = data_malloc((size_t)n * (size_t)channels, sizeof *v);
    if (!v)
        return cb_error("%s: no memory for %ld points", name, n);
    *out = (struct points){ n, channels, v };
    return 0;
}

/* ---- flat records ---- */

static const float far_m = 10000; /* beyond any sensor: a wrong format or byte order */

static bool fine(const float *v, int channels)
{
    for (int c = 0; c < channels; c++)
        if (!isfinite(v[c]) || (c < 3 && fabsf(v[c]) > far_m))
            return false;
    return true;
}

int points_parse(const char *name, enum points_format f, const void *data, size_t size, int floats,
                 struct points *out)
{
    *out = (struct points){ 0 };
    if (f == POINTS_PCD)
        return points_pcd_parse(name, data, size, out);
    if (f == POINTS_WAYMO && !floats)
        floats = size % 20 ? 6 : 5;
    if (f != POINTS_WAYMO)
        floats = f == POINTS_KITTI ? 4 : 5;
    if (floats != 4 && floats != 5 && floats != 6)
        return cb_error("%s: records of %d floats", name, floats);
    const size_t record = (size_t)floats * sizeof(float);
    const int channels = floats == 6 ? 5 : floats;
    if (!size)
        return cb_error("%s: no points", name);
    if (size % record)
        return cb_error("%s: %zu bytes are no whole number of records of %zu (%s)", name, size,
                        record, names[f]);
    if (size / record > POINTS_MAX)
        return cb_error("%s: more than %d points", name, POINTS_MAX);
    if (points_new(name, (long)(size / record), channels, out))
        return -1;
    for (long i = 0; i < out->n; i++) {
        float *v = out->v + i * channels;
        memcpy(v, (const char *)data + (size_t)i * record, (size_t)channels * sizeof *v);
        if (!fine(v, channels)) {
            points_free(out);
            return cb_error("%s: point %ld (byte %zu) is not finite or farther than 10 km: "
                            "is this %s?", name, i, (size_t)i * record, names[f]);
        }
    }
    return 0;
}

int points_load(const char *path, enum points_format f, struct points *out)
{
    char *data;
    size_t size;
    *out = (struct points){ 0 };
    if (data_read(path, &data, &size))
        return -1;
    int status = points_parse(path, f, data, size, 0, out);
    data_free(data);
    return status;
}

/* ---- poses ---- */

static int pose_line(struct text *t, struct pose *p)
{
    char word[40];
    double last[4];
    for (int i = 0; i < 17; i++) {
        double *to = i < 12 ? &p->m[i / 4][i % 4] : i < 16 ? &last[i - 12] : &p->lag_s;
        if (!text_real(t, to))
            return text_error(t, "%s is not a number (number %d of 17)", text_quote(t, word),
                              i + 1);
        if (!isfinite(*to))
            return text_error(t, "number %d of 17 is not finite", i + 1);
    }
    if (!text_at_end(t))
        return text_error(t, "more than 17 numbers");
    if (last[0] != 0 || last[1] != 0 || last[2] != 0 || last[3] != 1)
        return text_error(t, "the last row of the matrix is not 0 0 0 1");
    return 0;
}

int poses_parse(const char *name, const char *text, size_t size, struct pose **out, int *count)
{
    struct text t;
    struct pose *list = NULL;
    int n = 0, room = 0;
    *out = NULL;
    *count = 0;
    if (text_open(&t, name, text, size))
        return -1;
    while (text_line_of_data(&t)) {
        if (*t.at == '#')
            continue;
        if (n == room) {
            room = room ? 2 * room : 16;
            struct pose *more = data_realloc(list, (size_t)room, sizeof *list);
            if (!more) {
                data_free(list);
                return cb_error("%s: no memory for %d poses", name, room);
            }
            list = more;
        }
        if (pose_line(&t, &list[n++])) {
            data_free(list);
            return -1;
        }
    }
    if (!n)
        return cb_error("%s: no poses", name);
    *out = list;
    *count = n;
    return 0;
}

void points_move(struct points *p, const struct pose *pose)
{
    for (long i = 0; i < p->n; i++) {
        float *v = p->v + i * p->channels;
        const double x = (double)v[0], y = (double)v[1], z = (double)v[2];
        for (int a = 0; a < 3; a++)
            v[a] = (float)(pose->m[a][0] * x + pose->m[a][1] * y + pose->m[a][2] * z +
                           pose->m[a][3]);
    }
}

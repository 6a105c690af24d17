/*
 * test_points.c - point clouds: formats, broken files, voxels by the fixed arithmetic, generated
 * scans against the statistics of real ones; real files where they are there.
 */
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../kernels/kmap/build.h"
#include "../suites/data/alloc.h"
#include "../suites/data/lidar.h"
#include "../suites/data/scan.h"
#include "test.h"

/* ---- formats ---- */

static void try_flat(void)
{
    const float v[12] = { 1, 2, 3, .5f, -4, 5, -6, 7, 8, 9, 10, 11 };
    struct points p;
    CHECK(!points_parse("a", POINTS_KITTI, v, 32, 0, &p));
    CHECK(p.n == 2 && p.channels == 4 && p.v[4] == -4 && p.v[3] == .5f);
    points_free(&p);
    CHECK(!points_parse("a", POINTS_NUSCENES, v, 40, 0, &p) && p.n == 2 && p.channels == 5 && p.v[5] == 5);
    points_free(&p);
    CHECK(!points_parse("a", POINTS_WAYMO, v, 48, 0, &p) && p.n == 2 && p.channels == 5 && p.v[5] == -6);
    points_free(&p);
}

static void refuse(const char *what, enum points_format f, const void *data, size_t size, const char *text)
{
    struct points p;
    CHECK(points_parse("cloud", f, data, size, 0, &p) == -1 && !p.v && !p.n);
    CHECK(strstr(cb_error_text(), text));
    if (!strstr(cb_error_text(), text))
        printf("  %s: %s\n", what, cb_error_text());
}

static void try_broken_flat(void)
{
    float v[8] = { 1, 2, 3, 0, 1, 2, NAN, 0 };
    refuse("short", POINTS_KITTI, v, 31, "31 bytes are no whole number of records of 16");
    refuse("empty", POINTS_KITTI, v, 0, "no points");
    refuse("nan", POINTS_KITTI, v, 32, "point 1 (byte 16) is not finite");
    v[6] = 20000;
    refuse("far", POINTS_KITTI, v, 32, "point 1 (byte 16)");
}

static int parse_pcd(const char *head, const void *data, size_t size, struct points *p)
{
    const size_t n = strlen(head);
    char *all = malloc(n + size + 1);
    memcpy(all, head, n);
    memcpy(all + n, data, size);
    const int status = points_pcd_parse("cloud", all, n + size, p);
    free(all);
    return status;
}

#define PCD_HEAD(data) "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb intensity\nSIZE 4 4 4 4 4\n" \
                       "TYPE F F F U F\nCOUNT 1 1 1 1 1\nWIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n" \
                       "POINTS 2\nDATA " data "\n"

static void try_pcd(void)
{
    struct points p;
    CHECK(!parse_pcd(PCD_HEAD("ascii") "1 2 3 99 .5\nnan nan nan 0 0\n", "", 0, &p));
    CHECK(p.n == 1 && p.channels == 4 && p.v[2] == 3 && p.v[3] == .5f);
    points_free(&p);
    const float record[10] = { 1, 2, 3, 0, .25f, 4, 5, 6, 0, .75f };
    CHECK(!parse_pcd(PCD_HEAD("binary"), record, sizeof record, &p));
    CHECK(p.n == 2 && p.v[3] == .25f && p.v[4] == 4 && p.v[7] == .75f);
    points_free(&p);
    const double wide[3] = { 1.5, 2.5, -3.5 };
    CHECK(!parse_pcd("FIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nPOINTS 1\nDATA binary\n", wide, sizeof wide, &p));
    CHECK(p.n == 1 && p.channels == 3 && p.v[2] == -3.5f);
    points_free(&p);
}

static void try_broken_pcd(void)
{
    static const struct {
        const char *text, *reason;
    } bad[] = {
        { "", "no line DATA" },
        { "FIELDS x y\nSIZE 4 4\nTYPE F F\nPOINTS 1\nDATA ascii\n1 2\n", "cloud:1: no field 'z'" },
        { "FIELDS x y z x\nDATA ascii\n", "cloud:1: field 'x' twice" },
        { "FIELDS x y z\nSIZE 4 4\nDATA ascii\n", "cloud:2: SIZE" },
        { "FIELDS x y z\nSIZE 4 4 9\nDATA ascii\n", "cloud:2: SIZE: 9 is not in 1 .. 8" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F Q\nDATA ascii\n", "cloud:3: TYPE of field 3" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F U\nPOINTS 1\nDATA ascii\n1 2 3\n", "coordinates are not one F" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nDATA ascii\n1 2 3\n", "no POINTS" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 0\nDATA ascii\n", "no POINTS" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 99999999999\nDATA ascii\n", "cloud:4: POINTS" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 3\nHEIGHT 1\nPOINTS 2\nDATA ascii\n1 2 3\n4 5 6\n",
          "WIDTH x HEIGHT is not POINTS" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 5000000\nDATA ascii\n1 2 3\n", "do not fit" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 2\nDATA ascii\n1 2 3\n \n4 5 \n", "cloud:8: the end of the line" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3 4\n", "cloud:6: more than 3" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\nnan 2 3\n", "none of 1 points is finite" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA binary\n12345678901", "do not fit into the 11 bytes" },
        { "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA binary_compressed\n", "neither ascii nor binary" },
        { "FIELDS x y z\nFOO 1\nDATA ascii\n", "cloud:2: 'FOO' is no line" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct points p;
        CHECK(points_pcd_parse("cloud", bad[i].text, strlen(bad[i].text), &p) == -1 && !p.v);
        CHECK(strstr(cb_error_text(), bad[i].reason));
        if (!strstr(cb_error_text(), bad[i].reason))
            printf("  case %zu: %s\n", i, cb_error_text());
    }
}

/* Each allocation fails in turn; nothing is left behind. */
static void try_memory(void)
{
    const char *text = PCD_HEAD("ascii") "1 2 3 99 .5\n4 5 6 0 0\n";
    const long live = data_alloc_live();
    struct points p;
    struct voxels v;
    for (long n = 1; n < 8; n++) {
        data_alloc_fail_at(n);
        if (!points_pcd_parse("cloud", text, strlen(text), &p)) {
            voxels_segment("cloud", &p, .1, &v);
            voxels_free(&v);
        }
        points_free(&p);
        CHECK(data_alloc_live() == live);
    }
    data_alloc_fail_at(0);
}

static void try_poses(void)
{
    const char *good = "# from sweep to key frame\n0 -1 0 1  1 0 0 2  0 0 1 3  0 0 0 1  0.05\n";
    float v[3] = { 10, 20, 30 };
    struct points p = { 1, 3, v };
    struct pose *pose;
    int n;
    CHECK(!poses_parse("poses", good, strlen(good), &pose, &n) && n == 1);
    if (n == 1) {
        points_move(&p, pose);
        CHECK(v[0] == -19 && v[1] == 12 && v[2] == 33 && pose->lag_s == .05);
    }
    data_free(pose);
    static const char *const bad[][2] = {
        { "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n", "poses:1: the end of the line is not a number (number 17" },
        { "1 0 0 0 0 1 0 0 0 0 1 0 0 0 1 1 0\n", "poses:1: the last row" },
        { "\n1 0 0 x\n", "poses:2: 'x' is not a number (number 4" },
        { "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 0 0\n", "more than 17" }, { "# none\n", "no poses" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(poses_parse("poses", bad[i][0], strlen(bad[i][0]), &pose, &n) == -1);
        CHECK(strstr(cb_error_text(), bad[i][1]));
    }
}

/* ---- voxels ---- */

static void try_segment(void)
{
    /* 0.1f - 0 over 0.05 in double is just above 2: the differences are floats, the quotients doubles */
    float v[] = { 0, 0, 0, 7, .1f, .2f, .3f, 8, .101f, .21f, .31f, 9, .04f, 0, 0, 10 };
    struct points p = { 4, 4, v };
    struct voxels x;
    CHECK(!voxels_segment("a", &p, .05, &x));
    CHECK(x.n == 2 && x.sorted && x.batch == 1 && x.channels == 4);
    CHECK(x.coord[0].x == 0 && x.feature[3] == 7); /* the first of two */
    CHECK(x.coord[1].x == (int)floor((double).1f / .05) && x.coord[1].y == (int)floor((double).2f / .05) &&
          x.coord[1].z == (int)floor((double).3f / .05) && x.feature[7] == 8);
    CHECK(x.size[0] == x.coord[1].x + 1);
    struct voxels both[2] = { x, x }, joined;
    CHECK(!voxels_join(both, 2, &joined) && joined.n == 4 && joined.batch == 2 && joined.coord[2].b == 1 &&
          joined.feature[4 * 2 + 3] == 7);
    voxels_free(&joined);
    voxels_free(&x);
    v[0] = -60000;
    CHECK(voxels_segment("a", &p, .05, &x) == -1 && !x.coord);
}

static void try_detect(void)
{
    /* x forward, z up: cells of (x, -z, y); the last one is outside */
    float v[] = { 0, 0, 0, 1, .01f, .02f, .01f, 3, 5, 6, -1, 5, 0, 0, -9, 1 };
    struct points p = { 4, 4, v };
    struct voxels a, b;
    struct voxel_grid g = voxel_grid_nuscenes;
    CHECK(!voxels_detect("a", &p, &g, 1, &a));
    CHECK(a.n >= 2 && !a.sorted && a.size[1] == 41);
    bool averaged = false, far = false;
    for (int i = 0; i < a.n; i++) {
        far |= a.coord[i].x == 562 && a.coord[i].y == 20 && a.coord[i].z == 572 && a.feature[4 * i + 3] == 5;
        averaged |= a.feature[4 * i + 3] == 2;
    }
    CHECK(far);
    CHECK(averaged == (a.n == 2));
    voxels_free(&a);
    /* a cap keeps what is far; the same seed gives the same rows */
    enum { MANY = 2000 };
    float *w = calloc(MANY * 4, sizeof *w);
    for (int i = 0; i < MANY; i++) {
        w[4 * i] = .05f + .1f * (float)(i % 50);
        w[4 * i + 1] = i < MANY / 2 ? .05f + .1f * (float)(i / 50) : 41.05f + .1f * (float)((i - MANY / 2) / 50);
    }
    struct points many = { MANY, 4, w };
    g.cap = 1200;
    CHECK(!voxels_detect("a", &many, &g, 1, &a) && !voxels_detect("a", &many, &g, 1, &b));
    CHECK(a.n == 1200 && b.n == 1200 && !memcmp(a.coord, b.coord, (size_t)a.n * sizeof *a.coord));
    int beyond = 0;
    for (int i = 0; i < a.n; i++)
        beyond += a.coord[i].z >= 912;
    CHECK(beyond == MANY / 2);
    voxels_free(&b);
    CHECK(!voxels_detect("a", &many, &g, 2, &b) && memcmp(a.coord, b.coord, (size_t)a.n * sizeof *a.coord));
    voxels_free(&a);
    voxels_free(&b);
    free(w);
    CHECK(voxels_detect("a", &(struct points){ 1, 4, (float[4]){ 900, 0, 0, 0 } }, &g, 1, &a) == -1);
}

/* ---- scans: sizes of levels and neighbours ---- */

struct levels {
    int n[5];
    double pairs[5];
};

static struct levels halve(const struct voxels *v)
{
    struct levels l = { 0 };
    struct kmap_plan p;
    struct kmap_host_net net;
    CHECK(kmap_plan_minkunet(v->size, v->batch, v->n, v->sorted, false, &p) == OP_OK);
    CHECK(kmap_host_net(&p, v->coord, &net) == OP_OK);
    for (int i = 0; i < 5; i++) {
        l.n[i] = net.n[i];
        l.pairs[i] = (double)net.map[2 * i].map.pairs_total;
    }
    kmap_host_net_free(&net);
    return l;
}

static struct levels encode(const struct voxels *v)
{
    struct levels l = { 0 };
    struct kmap_plan p;
    struct kmap_host_net net;
    CHECK(kmap_plan_centerpoint(v->size, v->batch, v->n, &p) == OP_OK);
    CHECK(kmap_host_net(&p, v->coord, &net) == OP_OK);
    for (int i = 0; i < 4; i++) {
        l.n[i] = net.n[i];
        l.pairs[i] = (double)net.map[2 * i].map.pairs_total;
    }
    kmap_host_net_free(&net);
    return l;
}

/* What is known of one real scan of each sensor: voxels and mean neighbours at every level. */
static void try_bands(const char *name, enum scan_task task, const double n[5], const double neighbours[5])
{
    enum { SEEDS = 3 };
    double mean_n[5] = { 0 }, mean_nb[5] = { 0 };
    for (int s = 0; s < SEEDS; s++) {
        struct voxels v;
        CHECK(!scan_voxels(name, task, (uint64_t)s, &v));
        const struct levels l = task == SCAN_DETECTION ? encode(&v) : halve(&v);
        for (int i = 0; i < 5 && l.n[i]; i++) {
            mean_n[i] += (double)l.n[i] / SEEDS;
            mean_nb[i] += l.pairs[i] / l.n[i] / SEEDS;
        }
        voxels_free(&v);
    }
    for (int i = 0; i < 5 && n[i] > 0; i++) {
        const bool good = fabs(mean_n[i] / n[i] - 1) <= .20 && fabs(mean_nb[i] / neighbours[i] - 1) <= .25;
        CHECK(good);
        if (!good)
            printf("  %s level %d: %.0f voxels (%.0f), %.2f neighbours (%.2f)\n", name, i, mean_n[i], n[i],
                   mean_nb[i], neighbours[i]);
    }
}

static void try_generated(void)
{
    static const double kitti_n[5] = { 94594, 68867, 41983, 21458, 9505 }, kitti_nb[5] = { 3.02, 4.49, 6.32, 7.71, 8.66 };
    static const double ns_n[5] = { 17856, 12606, 7911, 4525, 2319 }, ns_nb[5] = { 2.82, 3.81, 4.83, 6.20, 7.80 };
    static const double wm_n[5] = { 114940, 114674, 58708, 21421 }, wm_nb[5] = { 6.81, 13.54, 15.66, 17.22 };
    try_bands("semantickitti_1f", SCAN_SEGMENTATION, kitti_n, kitti_nb);
    try_bands("nuscenes_1f", SCAN_SEGMENTATION, ns_n, ns_nb);
    try_bands("waymo_1f", SCAN_DETECTION, wm_n, wm_nb);
    struct voxels v;
    CHECK(!scan_voxels("nuscenes_10f", SCAN_DETECTION, 0, &v) && v.n == 60000 && v.channels == 6); /* the cap */
    voxels_free(&v);
    CHECK(!scan_voxels("waymo_3f", SCAN_DETECTION, 0, &v) && v.n == 150000);
    voxels_free(&v);
    CHECK(!scan_voxels("nuscenes_3f", SCAN_SEGMENTATION, 0, &v) && v.n > 36000 && v.n < 60000);
    voxels_free(&v);
}

/* A frame does not depend on the number of threads. */
static void try_threads(void)
{
    const struct lidar_spec s = { LIDAR_NUSCENES, 2, 5 };
    struct points a, b;
    omp_set_num_threads(1);
    CHECK(!lidar_generate(&s, &a));
    omp_set_num_threads(5);
    CHECK(!lidar_generate(&s, &b));
    CHECK(a.n == b.n && !memcmp(a.v, b.v, (size_t)a.n * (size_t)a.channels * sizeof *a.v));
    CHECK(a.n > 34688 && a.v[5] == 0 && fabsf(a.v[a.n * 6 - 1] - .05f) < 1e-6f); /* lags */
    points_free(&b);
    const struct lidar_spec other = { LIDAR_NUSCENES, 2, 6 };
    CHECK(!lidar_generate(&other, &b) && (a.n != b.n || memcmp(a.v, b.v, (size_t)a.n * 6 * sizeof *a.v)));
    points_free(&a);
    points_free(&b);
    CHECK(lidar_generate(&(struct lidar_spec){ LIDAR_KITTI, 11, 0 }, &a) == -1);
}

/* ---- real files ---- */

static void try_real(const char *name, int n, long pairs, const int levels[4])
{
    char why[256];
    struct voxels v;
    if (!scan_available(name, why, sizeof why)) {
        printf("SKIP points %s: the file is not here\n", name);
        test_skipped++;
        return;
    }
    CHECK(!scan_voxels(name, SCAN_SEGMENTATION, 0, &v));
    const struct levels l = halve(&v);
    CHECK(v.n == n && l.pairs[0] == (double)pairs);
    for (int i = 0; i < 4; i++)
        CHECK(l.n[i + 1] == levels[i]);
    voxels_free(&v);
}

static void try_names(void)
{
    struct voxels v;
    char why[256];
    CHECK(!scan_available("nosuch", why, sizeof why) && strstr(why, "no generated scan"));
    CHECK(!scan_available("kitti:/nonexistent.bin", why, sizeof why) && strstr(why, "cannot be read"));
    CHECK(scan_voxels("semantickitti_1f", SCAN_DETECTION, 0, &v) == -1 && strstr(cb_error_text(), "no detection grid"));
    for (int i = 0; scan_name(i); i++)
        CHECK(scan_available(scan_name(i), why, sizeof why));
    const float record[8] = { 1, 2, 3, .5f, 4, 5, 6, .5f };
    char path[64];
    snprintf(path, sizeof path, "kitti:/tmp/points_%ld.bin", (long)getpid());
    FILE *f = fopen(path + 6, "wb");
    CHECK(f && fwrite(record, sizeof record, 1, f) == 1 && !fclose(f));
    CHECK(!scan_voxels(path, SCAN_SEGMENTATION, 0, &v) && v.n == 2);
    voxels_free(&v);
    unlink(path + 6);
}

int main(void)
{
    try_flat();
    try_broken_flat();
    try_pcd();
    try_broken_pcd();
    try_memory();
    try_poses();
    try_segment();
    try_detect();
    try_generated();
    try_threads();
    try_names();
    try_real("semantickitti_000000", 94595, 285855, (const int[4]){ 68867, 41983, 21458, 9505 });
    try_real("kitti_object_000001", 90673, 300145, (const int[4]){ 64107, 37690, 18312, 7518 });
    try_real("nuscenes_keyframe", 17856, 50390, (const int[4]){ 12606, 7911, 4525, 2319 });
    return TEST_END();
}

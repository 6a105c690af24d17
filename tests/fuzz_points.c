/*
 * fuzz_points.c - libFuzzer target for the readers of point clouds, poses and graphs of relations.
 * `make fuzz` builds it with the sanitizers and runs it.  The first byte chooses the reader.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../suites/data/alloc.h"
#include "../suites/data/points.h"
#include "../suites/data/relations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static void check_points(int status, struct points *p)
{
    must(status == 0 ? p->n > 0 && p->channels >= 3 : status == -1 && !p->v);
    for (long i = 0; !status && i < p->n * p->channels; i++)
        must(isfinite(p->v[i]));
    points_free(p);
}

static void check_relations(int status, struct relations *r)
{
    must(status == 0 || (status == -1 && !r->src));
    for (int k = 0; !status && k < r->relations; k++)
        for (int i = r->start[k]; i < r->start[k + 1]; i++)
            must(r->src[i] >= 0 && r->src[i] < r->nodes && r->dst[i] >= 0 && r->dst[i] < r->nodes &&
                 (i == r->start[k] || r->dst[i] > r->dst[i - 1] ||
                  (r->dst[i] == r->dst[i - 1] && r->src[i] > r->src[i - 1])));
    relations_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct points p;
    struct relations r;
    struct pose *pose;
    int n;
    if (!size)
        return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 7) {
    case 0: check_points(points_pcd_parse("text", text, size - 1, &p), &p); break;
    case 1: check_points(points_parse("text", POINTS_KITTI, text, size - 1, 0, &p), &p); break;
    case 2: check_points(points_parse("text", POINTS_NUSCENES, text, size - 1, 0, &p), &p); break;
    case 3: check_points(points_parse("text", POINTS_WAYMO, text, size - 1, 0, &p), &p); break;
    case 4: check_relations(relations_ntriples_parse("text", text, size - 1, &r), &r); break;
    case 5: check_relations(relations_edges_parse("text", text, size - 1, &r), &r); break;
    default:
        if (!poses_parse("text", text, size - 1, &pose, &n))
            must(n > 0);
        data_free(pose);
    }
    must(data_alloc_live() == 0);
    return 0;
}

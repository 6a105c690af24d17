/*
 * relgen.c - seeded graphs of relations.
 *
 * Sizes of relations follow a Zipf law or a list; they add up to the edges exactly, and a relation
 * draws until it has so many different edges.  Sources and targets follow power laws, a share of
 * the targets of a relation being a few hubs of its own (types, classes, values).
 */
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "relations.h"

struct recipe {
    double nodes, edges, relations, zipf, skew, hubs, seed;
};

/* Nodes, edges and relations of real graphs; the first two lists of sizes are those of the graphs
 * as far as known, the rest of the edges falls to the other relations by the Zipf law. */
static const struct preset {
    const char *name;
    struct recipe recipe;
    int sizes[12];
} presets[] = {
    { "aifb", { 8285, 29043, 45, 1.0, 2, .3, 0 }, { 4163, 4124, 3986, 2477, 1302, 1227 } },
    { "wordnet", { 117659, 377592, 26, 1.2, 1.5, 0, 0 },
      { 89089, 89089, 74717, 21386, 12293, 12293, 9097, 9097, 8577, 8577 } },
    { "mutag", { 23644, 74227, 23, 1.0, 2, .3, 0 }, { 0 } },
    { "bgs", { 333845, 916199, 103, 1.0, 2, .3, 0 }, { 0 } },
    { "am", { 1666764, 5988321, 133, 1.0, 2, .3, 0 }, { 0 } },
    { "biokg", { 93773, 5088434, 51, 1.0, 2, .1, 0 }, { 0 } },
};
enum { PRESETS = sizeof presets / sizeof *presets };

const char *relations_preset(int i)
{
    return i >= 0 && i < PRESETS ? presets[i].name : NULL;
}

static const struct {
    const char *name;
    size_t offset;
    double low, high;
} fields[] = {
    { "nodes", offsetof(struct recipe, nodes), 1, 1 << 28 },
    { "edges", offsetof(struct recipe, edges), 1, 1e9 },
    { "relations", offsetof(struct recipe, relations), 1, 65536 },
    { "zipf", offsetof(struct recipe, zipf), 0, 4 },
    { "skew", offsetof(struct recipe, skew), 1, 8 },
    { "hubs", offsetof(struct recipe, hubs), 0, .9 },
    { "seed", offsetof(struct recipe, seed), 0, 1e15 },
};
enum { FIELDS = sizeof fields / sizeof *fields };

static int read_recipe(const char *spec, struct recipe *r)
{
    static const char head[] = "relations,";
    if (strncmp(spec, head, sizeof head - 1))
        return cb_error("gen:%s: the family is 'relations', with nodes= edges= relations=", spec);
    for (const char *p = spec + sizeof head - 1; *p;) {
        const size_t n = strcspn(p, "=,");
        int f = 0;
        while (f < FIELDS && (strlen(fields[f].name) != n || memcmp(p, fields[f].name, n)))
            f++;
        if (f == FIELDS || p[n] != '=')
            return cb_error("gen:%s: '%.*s': parameters are nodes, edges, relations, zipf, skew, "
                            "hubs, seed, each with a value", spec, (int)n, p);
        char *end;
        const double v = strtod(p + n + 1, &end);
        if (end == p + n + 1 || (*end && *end != ',') ||
            !(v >= fields[f].low && v <= fields[f].high))
            return cb_error("gen:%s: %s is not in %g .. %g", spec, fields[f].name, fields[f].low,
                            fields[f].high);
        *(double *)((char *)r + fields[f].offset) = v;
        p = *end ? end + 1 : end;
    }
    return 0;
}

/* Sizes that add up to edges: given ones first, the rest by the Zipf law, each at least 1. */
static int share_edges(const char *spec, const struct recipe *r, const int *given, long *size)
{
    const int count = (int)r->relations;
    double weight = 0;
    long left = (long)r->edges;
    int first = 0;
    while (given && first < 12 && given[first] && first < count) {
        size[first] = given[first];
        left -= given[first++];
    }
    for (int i = first; i < count; i++)
        weight += pow(i + 1, -r->zipf);
    long rest = left - (count - first);
    if (rest < 0 || (first == count && left))
        return cb_error("gen:%s: fewer edges than relations", spec);
    left = rest;
    for (int i = first; i < count; i++) {
        const long part = (long)((double)rest * pow(i + 1, -r->zipf) / weight);
        size[i] = 1 + part;
        left -= part;
    }
    for (int i = first; left > 0; i = i + 1 < count ? i + 1 : first, left--)
        size[i]++;
    for (int i = 0; i < count; i++)
        if ((double)size[i] > .5 * r->nodes * r->nodes)
            return cb_error("gen:%s: relation %d has %ld edges, over half of all there can be",
                            spec, i, size[i]);
    return 0;
}

static double unit_of(uint64_t bits)
{
    return ((double)(bits >> 11) + .5) * 0x1p-53;
}

/* The n-th edge that relation k draws, dst above src. */
static uint64_t draw_edge(const struct recipe *r, int k, uint64_t n)
{
    const uint64_t key = data_hash((uint64_t)r->seed, 900, (uint64_t)k), nodes = (uint64_t)r->nodes;
    const uint64_t home = data_hash(key, 1, 0) % nodes;
    const double s = pow(unit_of(data_hash(key, 2, n)), r->skew);
    const uint64_t src = ((uint64_t)(s * r->nodes) + home) % nodes;
    uint64_t dst = (uint64_t)(pow(unit_of(data_hash(key, 3, n)), r->skew) * r->nodes);
    if (unit_of(data_hash(key, 4, n)) < r->hubs)
        dst = data_hash(key, 5, data_hash(key, 6, n) % (1 + nodes / 2000)) % nodes;
    else
        dst = (dst + data_hash(key, 7, 0)) % nodes;
    return dst << 32 | src;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Exactly `size` different edges of relation k, sorted. */
static void draw_relation(const struct recipe *r, int k, long size, uint64_t *edge)
{
    uint64_t drawn = 0;
    for (long have = 0; have < size;) {
        for (long i = have; i < size; i++, drawn++)
            /* power laws repeat themselves: after many draws, uniform ones */
            edge[i] =
                drawn < 8 * (uint64_t)size
                    ? draw_edge(r, k, drawn)
                    : data_hash((uint64_t)r->seed, drawn, (uint64_t)k) % (uint64_t)r->nodes << 32 |
                          data_hash((uint64_t)r->seed + 1, drawn, (uint64_t)k) % (uint64_t)r->nodes;
        qsort(edge, (size_t)size, sizeof *edge, by_value);
        have = 0;
        for (long i = 0; i < size; i++)
            if (!i || edge[i] != edge[have - 1])
                edge[have++] = edge[i];
    }
}

static int fill(const char *spec, const struct recipe *r, const long *size, struct relations *out)
{
    const long edges = (long)r->edges;
    int *kind = data_malloc((size_t)edges, sizeof *kind), status = -1;
    int *src = data_malloc((size_t)edges, sizeof *src),
        *dst = data_malloc((size_t)edges, sizeof *dst);
    uint64_t *edge = data_malloc((size_t)edges, sizeof *edge);
    long *first = data_calloc((size_t)r->relations + 1, sizeof *first);
    if (!kind || !src || !dst || !edge || !first) {
        cb_error("gen:%s: no memory for %ld edges", spec, edges);
        goto done;
    }
    for (int k = 0; k < (int)r->relations; k++)
        first[k + 1] = first[k] + size[k];
#pragma omp parallel for schedule(dynamic, 1)
    for (int k = 0; k < (int)r->relations; k++) {
        draw_relation(r, k, size[k], edge + first[k]);
        for (long i = first[k]; i < first[k + 1]; i++) {
            kind[i] = k;
            src[i] = (int)(uint32_t)edge[i];
            dst[i] = (int)(edge[i] >> 32);
        }
    }
    status = relations_make(spec, (int)r->nodes, (int)r->relations, edges, kind, src, dst, out);
done:
    data_free(kind);
    data_free(src);
    data_free(dst);
    data_free(edge);
    data_free(first);
    return status;
}

int relations_generate(const char *spec, struct relations *out)
{
    struct recipe r = { 1000, 5000, 10, 1, 2, .3, 0 };
    const int *given = NULL;
    int status = -1;
    *out = (struct relations){ 0 };
    for (int i = 0; i < PRESETS; i++)
        if (!strcmp(spec, presets[i].name)) {
            r = presets[i].recipe;
            given = presets[i].sizes;
        }
    if (!given && read_recipe(spec, &r))
        return -1;
    long *size = data_calloc((size_t)r.relations, sizeof *size);
    if (!size)
        return cb_error("gen:%s: no memory", spec);
    if (!share_edges(spec, &r, given, size))
        status = fill(spec, &r, size, out);
    data_free(size);
    if (status)
        return -1;
    data_text(out->name, sizeof out->name, spec);
    data_text(out->gen, sizeof out->gen, spec);
    data_text(out->source, sizeof out->source, "generated");
    return 0;
}

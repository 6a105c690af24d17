/*
 * social.c - undirected graphs with log-normal degrees.
 *
 * Node i wants w[i] edges: exp of a normal number, scaled to the mean and capped.
 * It draws half of them, each to a node with probability w / sum of all w, and
 * every edge stands in both rows.  So a node of weight w gets w / 2 by drawing
 * and as many again by being drawn: w in all.
 *
 *   w      2    1    4        1     ...
 *   from   0 0  2    3 3 3 3  7     ...    the node of an edge end: u mod sum falls into one
 *   guide  0         3                     every so many ends: where the search begins
 *
 * Weights are integers: what is drawn depends on no rounding.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

enum { WEIGHT = 1, ROUNDING, HALF, END };

struct ends {
    const struct data_social *p;
    int *weight;  /* [nodes] */
    long *first;  /* [nodes + 1] edge ends before those of a node */
    int *guide;   /* [guides] the node of end g << shift */
    int shift;
};

static double unit(uint64_t bits) /* (0, 1) */
{
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

static uint64_t at(const struct data_social *p, int stream, int a, int b)
{
    return data_hash(p->key + (uint64_t)stream, (uint64_t)a, (uint64_t)b);
}

static int weight_of(const struct data_social *p, int i)
{
    const double pi = 3.14159265358979323846;
    const double radius = sqrt(-2 * log(unit(at(p, WEIGHT, i, 0))));
    const double normal = radius * cos(2 * pi * unit(at(p, WEIGHT, i, 1)));
    const double w = p->mean * exp(p->sigma * normal - p->sigma * p->sigma / 2);
    const int whole = (int)(fmin(w, p->cap) + unit(at(p, ROUNDING, i, 0)));
    return whole < 1 ? 1 : whole;
}

static int ends_open(struct ends *e, const char *name)
{
    const int nodes = e->p->nodes;
    e->weight = data_malloc((size_t)nodes, sizeof *e->weight);
    e->first = data_malloc((size_t)nodes + 1, sizeof *e->first);
    if (!e->weight || !e->first)
        return cb_error("%s: no memory for %d nodes", name, nodes);
#pragma omp parallel for schedule(static, 1024)
    for (int i = 0; i < nodes; i++)
        e->weight[i] = weight_of(e->p, i);
    e->first[0] = 0;
    for (int i = 0; i < nodes; i++)
        e->first[i + 1] = e->first[i] + e->weight[i];
    while (e->first[nodes] >> e->shift > nodes)
        e->shift++;
    const long guides = (e->first[nodes] >> e->shift) + 1;
    e->guide = data_malloc((size_t)guides, sizeof *e->guide);
    if (!e->guide)
        return cb_error("%s: no memory for %d nodes", name, nodes);
    for (long g = 0, i = 0; g < guides; g++) {
        while (i + 1 < nodes && e->first[i + 1] <= g << e->shift)
            i++;
        e->guide[g] = (int)i;
    }
    return 0;
}

static void ends_close(struct ends *e)
{
    data_free(e->weight);
    data_free(e->first);
    data_free(e->guide);
}

/* How many edges a node draws: half of its weight, an odd one up or down by chance; at least one,
 * so that few nodes stay alone. */
static int drawn(const struct ends *e, int i)
{
    const int half = (e->weight[i] + (int)(at(e->p, HALF, i, 0) & 1)) / 2;
    return half < 1 ? 1 : half;
}

static int other_end(const struct ends *e, int i, int draw)
{
    const long end = (long)(at(e->p, END, i, draw) % (uint64_t)e->first[e->p->nodes]);
    int j = e->guide[end >> e->shift];
    while (e->first[j + 1] <= end)
        j++;
    return j;
}

/* Counts the entries of every row; a loop is no edge. */
static void count_rows(const struct ends *e, int *count)
{
#pragma omp parallel for schedule(dynamic, 256)
    for (int i = 0; i < e->p->nodes; i++) {
        int own = 0;
        for (int k = 0; k < drawn(e, i); k++) {
            const int j = other_end(e, i, k);
            if (j == i)
                continue;
            own++;
#pragma omp atomic
            count[j]++;
        }
#pragma omp atomic
        count[i] += own;
    }
}

/* In what order a row is filled depends on the threads; it is sorted afterwards. */
static void fill_rows(const struct ends *e, const long *start, int *filled, uint64_t *key)
{
#pragma omp parallel for schedule(dynamic, 256)
    for (int i = 0; i < e->p->nodes; i++)
        for (int k = 0; k < drawn(e, i); k++) {
            const int j = other_end(e, i, k);
            int here, there;
            if (j == i)
                continue;
#pragma omp atomic capture
            here = filled[i]++;
#pragma omp atomic capture
            there = filled[j]++;
            key[start[i] + here] = data_key(j, 0);
            key[start[j] + there] = data_key(i, 0);
        }
}

int data_social(const char *name, const struct data_social *p, struct matrix *out)
{
    struct ends e = { .p = p };
    int *count = data_calloc((size_t)p->nodes, sizeof *count);
    long *start = data_malloc((size_t)p->nodes + 1, sizeof *start);
    uint64_t *key = NULL;
    int status = -1;
    if (!count || !start) {
        cb_error("%s: no memory for %d nodes", name, p->nodes);
        goto done;
    }
    if (ends_open(&e, name))
        goto done;
    count_rows(&e, count);
    start[0] = 0;
    for (int i = 0; i < p->nodes; i++)
        start[i + 1] = start[i] + count[i];
    if (start[p->nodes] > INT_MAX) {
        cb_error("%s: %ld draws, more than %d", name, start[p->nodes], INT_MAX);
        goto done;
    }
    key = data_malloc((size_t)start[p->nodes], sizeof *key);
    if (!key) {
        cb_error("%s: no memory for %ld entries", name, start[p->nodes]);
        goto done;
    }
    memset(count, 0, (size_t)p->nodes * sizeof *count);
    fill_rows(&e, start, count, key);
    status = data_csr(name, p->nodes, p->nodes, start, NULL, key, true, NULL, out);
done:
    ends_close(&e);
    data_free(count);
    data_free(start);
    data_free(key);
    return status;
}

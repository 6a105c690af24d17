/*
 * kmap_run.h - clouds of voxels, and one run of a builder of kernel maps with what it wrote.
 */
#ifndef TESTS_KMAP_RUN_H
#define TESTS_KMAP_RUN_H

#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/kmap/build.h"
#include "../suites/data/build.h"
#include "test.h"

/* ---- clouds ---- */

struct cloud {
    int n, size[3], batch;
    bool sorted;
    struct kmap_coord *coord;
};

static int by_place(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct kmap_coord)); /* only to bring equal ones together */
}

static int ascending(const void *a, const void *b)
{
    const struct kmap_coord *p = a, *q = b;
    const int d[4] = { p->b - q->b, p->x - q->x, p->y - q->y, p->z - q->z };
    return d[0] ? d[0] : d[1] ? d[1] : d[2] ? d[2] : d[3];
}

/* About n different voxels, in clumps, so that there are neighbours. */
static struct cloud random_cloud(int n, const int size[3], int batch, bool sorted, uint64_t seed)
{
    struct cloud c = { .size = { size[0], size[1], size[2] }, .batch = batch, .sorted = sorted };
    c.coord = malloc((size_t)n * sizeof *c.coord);
    for (int i = 0; i < n; i++) {
        const uint64_t clump = data_hash(seed, 1, (uint64_t)i / 9), own = data_hash(seed, 2, (uint64_t)i);
        int at[3];
        for (int a = 0; a < 3; a++) {
            at[a] = (int)(clump >> 16 * a & 0xffff) % size[a] + (int)(own >> 8 * a & 3) - 1;
            at[a] = at[a] < 0 ? 0 : at[a] >= size[a] ? size[a] - 1 : at[a];
        }
        c.coord[i] = (struct kmap_coord){ (int)(clump >> 48) % batch, at[0], at[1], at[2] };
    }
    qsort(c.coord, (size_t)n, sizeof *c.coord, by_place);
    for (int i = 0; i < n; i++)
        if (!i || by_place(&c.coord[i], &c.coord[c.n - 1]))
            c.coord[c.n++] = c.coord[i];
    if (sorted)
        qsort(c.coord, (size_t)c.n, sizeof *c.coord, ascending);
    else
        for (int i = c.n - 1; i > 0; i--) { /* shuffled */
            const int j = (int)(data_hash(seed, 3, (uint64_t)i) % (uint64_t)(i + 1));
            const struct kmap_coord t = c.coord[i];
            c.coord[i] = c.coord[j];
            c.coord[j] = t;
        }
    return c;
}

/* ---- one run of a builder ---- */

struct arena {
    struct cb_device *d;
    void *taken[256];
    int count;
};

static void *take(void *context, size_t bytes)
{
    struct arena *a = context;
    void *p = NULL;
    if (a->count == 256 || cb_alloc(a->d, bytes ? bytes : 1, &p))
        return NULL;
    cb_fill(a->d, p, 0xab, bytes);
    a->taken[a->count++] = p;
    return p;
}

static void release(struct arena *a)
{
    while (a->count)
        cb_free(a->d, a->taken[--a->count]);
}

struct run {
    struct arena arena;
    const struct kmap_plan *p;
    const struct kmap_impl *impl;
    struct kmap_args args;
    struct kmap_result got; /* host copies */
    void *host[64], *state;
    int hosts;
};

static size_t table_bytes(const struct kmap_plan *p, int step)
{
    return (size_t)kmap_step_rows(p, step) * (size_t)kmap_taps(&p->step[step].shape) * 4;
}

static bool open_run(struct run *r, struct cb_device *d, const struct kmap_plan *p,
                     const struct kmap_impl *impl, const struct kmap_coord *in)
{
    *r = (struct run){ .arena = { .d = d }, .p = p, .impl = impl };
    const struct op_memory memory = { take, &r->arena };
    struct kmap_coord *coord = take(&r->arena, (size_t)p->n_in * sizeof *coord);
    r->args.in = coord;
    r->args.source = take(&r->arena, (size_t)p->n_in * 4);
    r->args.count = take(&r->arena, KMAP_LEVELS_MAX * 4);
    for (int l = 0; l < p->levels; l++)
        r->args.coord[l] = take(&r->arena, (size_t)p->cap[l] * sizeof *coord);
    for (int i = 0; i < p->steps; i++) {
        r->args.table[i] = take(&r->arena, table_bytes(p, i));
        r->args.mask[i] = take(&r->arena, (size_t)kmap_step_rows(p, i) * 4);
    }
    return coord && !cb_upload(d, coord, in, (size_t)p->n_in * sizeof *coord) &&
           impl->setup(p, &memory, &r->state) == OP_OK;
}

static void poison(struct run *r)
{
    struct cb_device *d = r->arena.d;
    cb_fill(d, r->args.source, 0xab, (size_t)r->p->n_in * 4);
    cb_fill(d, r->args.count, 0xab, KMAP_LEVELS_MAX * 4);
    for (int l = 0; l < r->p->levels; l++)
        cb_fill(d, r->args.coord[l], 0xab, (size_t)r->p->cap[l] * sizeof(struct kmap_coord));
    for (int i = 0; i < r->p->steps; i++) {
        cb_fill(d, r->args.table[i], 0xab, table_bytes(r->p, i));
        cb_fill(d, r->args.mask[i], 0xab, (size_t)kmap_step_rows(r->p, i) * 4);
    }
}

static void *fetch(struct run *r, const void *from, size_t bytes)
{
    void *p = malloc(bytes);
    CHECK(!cb_download(r->arena.d, p, from, bytes));
    r->host[r->hosts++] = p;
    return p;
}

static void forget(struct run *r)
{
    while (r->hosts)
        free(r->host[--r->hosts]);
}

static void fetch_all(struct run *r)
{
    const struct kmap_plan *p = r->p;
    forget(r);
    r->got.source = fetch(r, r->args.source, (size_t)p->n_in * 4);
    r->got.count = fetch(r, r->args.count, KMAP_LEVELS_MAX * 4);
    for (int l = 0; l < p->levels; l++)
        r->got.coord[l] = fetch(r, r->args.coord[l], (size_t)p->cap[l] * sizeof(struct kmap_coord));
    for (int i = 0; i < p->steps; i++) {
        r->got.table[i] = fetch(r, r->args.table[i], table_bytes(p, i));
        /* the published builder leaves masks to sorting */
        r->got.mask[i] = r->impl->base.role == OP_PAPER
                             ? NULL : fetch(r, r->args.mask[i], (size_t)kmap_step_rows(p, i) * 4);
    }
}

static void close_run(struct run *r)
{
    forget(r);
    if (r->impl->teardown)
        r->impl->teardown(r->state);
    release(&r->arena);
}

static int enqueue(void *arg, int step)
{
    struct run *r = arg;
    (void)step;
    const enum op_status s = r->impl->run(r->p, &r->args, r->state, cb_device_stream(r->arena.d));
    return s == OP_OK ? 0 : cb_error("%s: %s", r->impl->base.name, op_status_name(s));
}

#endif

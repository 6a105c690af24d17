/*
 * device_host.c - the host as a device: references and host implementations run
 * through the same cases, rounds and records as kernels of a GPU.
 *
 * There is no stream, no gate and no graph; a window is two readings of
 * CLOCK_MONOTONIC_RAW.  "Flushing" reads a buffer three times the last-level cache.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device_impl.h"
#include "error.h"
#include "stats.h"

struct host {
    char *scratch;
    size_t scratch_bytes;
    volatile double sink;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void host_close(struct cb_device *d)
{
    struct host *h = d->own;
    free(h->scratch);
    free(h);
}

static int host_take(struct cb_device *d, size_t bytes, void **out)
{
    (void)d;
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *out ? 0 : cb_error("oom: no memory for %zu bytes on the host", bytes);
}

static void host_give(struct cb_device *d, void *p)
{
    (void)d;
    free(p);
}

static int host_copy(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    memcpy(to, from, bytes);
    return 0;
}

static int host_fill(struct cb_device *d, void *p, unsigned char byte, size_t bytes)
{
    (void)d;
    memset(p, byte, bytes);
    return 0;
}

static int host_memory_free(struct cb_device *d, size_t *bytes)
{
    (void)d;
    /* "available" also counts what the kernel would give back from its caches */
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    unsigned long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    *bytes = kib ? (size_t)kib * 1024
                 : (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return 0;
}

static int host_sync(struct cb_device *d)
{
    (void)d;
    return 0;
}

static int host_guards(struct cb_device *d, char *const *zone, int count, int *broken)
{
    (void)d;
    *broken = -1;
    for (int i = 0; i < count; i++)
        for (int b = 0; b < GUARD_BYTES; b++)
            if (zone[i][b] != GUARD_BYTE) {
                *broken = i;
                return 0;
            }
    return 0;
}

static int host_random(struct cb_device *d, void *p, enum cb_dtype t, enum cb_dist dist,
                       uint64_t seed, uint32_t tensor, uint32_t stream, long rows, long cols,
                       bool transposed)
{
    (void)d;
#pragma omp parallel for schedule(static)
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < cols; j++)
            cb_store(p, t, transposed ? j * rows + i : i * cols + j,
                     cb_random_at(dist, seed, tensor, stream, (uint64_t)(i * cols + j)));
    return 0;
}

static int host_compare(struct cb_device *d, const struct cb_view *v, const double *want,
                        const float *bound, struct cb_accuracy *sums)
{
    (void)d;
#pragma omp parallel
    {
        struct cb_accuracy part = { .worst = -1 };
#pragma omp for schedule(static) nowait
        for (long i = 0; i < v->rows; i++)
            for (long j = 0; j < v->cols; j++) {
                long e = i * v->cols + j;
                double got = cb_load(v->data, v->dtype, v->transposed ? j * v->rows + i : e);
                cb_accuracy_add(&part, e, got, want[e], bound ? (double)bound[e] : 0);
            }
#pragma omp critical
        cb_accuracy_join(sums, &part);
    }
    return 0;
}

static int host_same(struct cb_device *d, const void *a, const void *b, size_t bytes, bool *same)
{
    (void)d;
    *same = !memcmp(a, b, bytes);
    return 0;
}

static int host_window(struct cb_device *d, cb_enqueue_fn *work, void *arg, int first, int count,
                       bool gate, struct cb_window *out)
{
    (void)d, (void)gate;
    double start = now_us();
    for (int i = 0; i < count; i++)
        if (work(arg, first + i))
            return -1;
    *out = (struct cb_window){ .us = now_us() - start };
    return 0;
}

static int host_graph_make(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count,
                           struct cb_graph **out)
{
    (void)d, (void)work, (void)arg, (void)count;
    *out = NULL;
    return 0;
}

static int host_graph_window(struct cb_device *d, struct cb_graph *g, bool gate,
                             struct cb_window *out)
{
    (void)d, (void)g, (void)gate, (void)out;
    return cb_error("the host has no graphs");
}

static int host_graph_launch(struct cb_device *d, struct cb_graph *g)
{
    (void)d, (void)g;
    return cb_error("the host has no graphs");
}

static int host_graph_nodes(struct cb_device *d, struct cb_graph *g)
{
    (void)d, (void)g;
    return cb_error("the host has no graphs");
}

static void host_graph_free(struct cb_device *d, struct cb_graph *g)
{
    (void)d, (void)g;
}

static int host_null(struct cb_device *d)
{
    (void)d;
    return 0;
}

static int host_spin(struct cb_device *d, double us)
{
    (void)d;
    double end = now_us() + us;
    while (now_us() < end)
        ;
    return 0;
}

static int scratch(struct cb_device *d, size_t bytes)
{
    struct host *h = d->own;
    if (h->scratch_bytes >= bytes)
        return 0;
    free(h->scratch);
    h->scratch_bytes = 0;
    h->scratch = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!h->scratch)
        return cb_error("oom: no memory for a scratch buffer of %zu bytes", bytes);
    memset(h->scratch, 1, bytes);
    h->scratch_bytes = bytes;
    return 0;
}

static double read_scratch(struct host *h, size_t bytes)
{
    const double *x = (const double *)h->scratch;
    size_t n = bytes / sizeof *x;
    double sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static int host_flush(struct cb_device *d)
{
    size_t bytes = 3 * (d->info.l2 ? d->info.l2 : (size_t)32 << 20);
    if (scratch(d, bytes))
        return -1;
    struct host *h = d->own;
    h->sink = read_scratch(h, bytes);
    return 0;
}

static int host_reset_l2(struct cb_device *d)
{
    (void)d;
    return 0;
}

static int host_tick(struct cb_device *d, double *ns)
{
    (void)d;
    double least = 1e9;
    for (int i = 0; i < 100000; i++) {
        double a = now_us(), b = now_us();
        if (b > a && b - a < least)
            least = b - a;
    }
    *ns = least * 1e3;
    return 0;
}

static int ceiling(struct cb_ceiling *c, const char *id, const char *unit, double amount,
                   double *us, int n, double bytes)
{
    struct cb_interval t = cb_median_ci(us, n, 0.05);
    double scale = amount * 1e6;
    *c = (struct cb_ceiling){ id, unit, scale / t.value, scale / t.high, scale / t.low, bytes };
    return 1;
}

static int host_ceilings(struct cb_device *d, struct cb_ceiling *out)
{
    enum { TIMES = 11 };
    struct host *h = d->own;
    double us[TIMES];
    int n = 0;
    size_t bytes = (size_t)256 << 20;
    if (scratch(d, 2 * bytes))
        return -1;
    for (int i = 0; i < TIMES; i++) {
        double start = now_us();
#pragma omp parallel
        {
            size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
            size_t from = bytes / threads * me, to = bytes / threads * (me + 1);
            memcpy(h->scratch + bytes + from, h->scratch + from, to - from);
        }
        us[i] = now_us() - start;
    }
    n += ceiling(&out[n], "dram_copy", "B/s", 2.0 * (double)bytes, us, TIMES, (double)bytes);
    for (int i = 0; i < TIMES; i++) {
        double start = now_us();
        h->sink = read_scratch(h, 2 * bytes);
        us[i] = now_us() - start;
    }
    n += ceiling(&out[n], "dram_read", "B/s", 2.0 * (double)bytes, us, TIMES, 2.0 * (double)bytes);
    size_t small = (d->info.l2 ? d->info.l2 : (size_t)1 << 20) / 4;
    for (int i = 0; i < TIMES; i++) {
        h->sink = read_scratch(h, small);
        double start = now_us();
        for (int r = 0; r < 8; r++)
            h->sink = read_scratch(h, small);
        us[i] = now_us() - start;
    }
    n += ceiling(&out[n], "l2_read", "B/s", 8.0 * (double)small, us, TIMES, (double)small);
    for (int i = 0; i < TIMES; i++) {
        double start = now_us();
#pragma omp parallel
        {
            float x[64];
            for (int j = 0; j < 64; j++)
                x[j] = (float)j * 1e-3f;
            for (int r = 0; r < 200000; r++)
#pragma omp simd
                for (int j = 0; j < 64; j++)
                    x[j] = x[j] * 0.999f + 1e-3f;
#pragma omp atomic
            h->sink += (double)x[7];
        }
        us[i] = now_us() - start;
    }
    n += ceiling(&out[n], "fp32_fma", "op/s", 2.0 * 64 * 200000 * omp_get_max_threads(), us, TIMES, 0);
    return n;
}

static const struct cb_backend backend = {
    .close = host_close, .take = host_take, .give = host_give, .copy_in = host_copy,
    .copy_out = host_copy, .copy = host_copy, .fill = host_fill, .memory_free = host_memory_free, .sync = host_sync,
    .guards = host_guards, .random = host_random, .compare = host_compare, .same = host_same,
    .window = host_window, .graph_make = host_graph_make, .graph_window = host_graph_window,
    .graph_launch = host_graph_launch, .graph_nodes = host_graph_nodes,
    .graph_free = host_graph_free, .null = host_null,
    .spin = host_spin, .flush = host_flush, .reset_l2 = host_reset_l2, .tick = host_tick,
    .ceilings = host_ceilings,
};

int cb_host_open(struct cb_device *d)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return cb_error("no memory for the host device");
    d->backend = &backend;
    d->own = h;
    snprintf(d->info.name, sizeof d->info.name, "host");
    snprintf(d->info.slug, sizeof d->info.slug, "host");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (colon && !strncmp(line, "model name", 10)) {
            colon += 2;
            colon[strcspn(colon, "\n")] = 0;
            snprintf(d->info.name, sizeof d->info.name, "%.63s", colon);
            break;
        }
    }
    if (f)
        fclose(f);
    d->info.multiprocessors = omp_get_max_threads();
    d->info.memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    d->info.l2 = l3 > 0 ? (size_t)l3 : l2 > 0 ? (size_t)l2 : (size_t)8 << 20;
    /* one guest of a large machine sees the whole shared cache; its share is not knowable */
    if (d->info.l2 > (size_t)64 << 20)
        d->info.l2 = (size_t)64 << 20;
    return 0;
}

/*
 * device_cuda.c - a CUDA GPU as a device, in C against the CUDA runtime.
 *
 * One non-blocking stream; every window is queued whole behind a closed gate
 * (a kernel that spins on a flag in mapped host memory) before the device may
 * start, so that launch latency of the CPU is outside the two events.
 */
#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_impl.h"
#include "error.h"
#include "probes.h"
#include "stats.h"

#define GATE_BUDGET_NS 2000000000ull

struct cuda {
    int index;
    cudaEvent_t start, stop;
    struct probe_gate *gate;    /* mapped pinned */
    struct probe_stamp *stamps; /* mapped pinned, [2][sm_slots] */
    int sm_slots;
    unsigned ticket;
    void *scratch;
    size_t scratch_bytes;
    void *words;                /* small device buffer: flags, sums of a comparison */
    char **zones;               /* on the device, for the check of guard zones; grows */
    int zones_room;
    unsigned *sink;
    bool l2_is_plain;           /* nothing of the L2 is set aside, by us */
};
struct cb_graph {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

/* A failed call becomes an error text; memory running out is named so that the
 * case can be recorded as `oom`. */
static int failed(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return 0;
    cudaGetLastError();
    return cb_error("%s%s: %s", e == cudaErrorMemoryAllocation ? "oom: " : "", what,
                    cudaGetErrorString(e));
}
#define CU(call)                     \
    do {                             \
        if (failed((call), #call))   \
            return -1;               \
    } while (0)

static int launched(int code, const char *what)
{
    return failed((cudaError_t)code, what);
}

static void cuda_close(struct cb_device *d)
{
    struct cuda *g = d->own;
    cudaFree(g->scratch);
    cudaFree(g->words);
    cudaFree(g->zones);
    cudaFree(g->sink);
    cudaFreeHost(g->gate);
    cudaFreeHost(g->stamps);
    if (g->start)
        cudaEventDestroy(g->start);
    if (g->stop)
        cudaEventDestroy(g->stop);
    if (d->stream)
        cudaStreamDestroy(d->stream);
    free(g);
}

/* ---- memory ---- */

static int cuda_take(struct cb_device *d, size_t bytes, void **out)
{
    (void)d;
    CU(cudaMalloc(out, bytes));
    return 0;
}

static void cuda_give(struct cb_device *d, void *p)
{
    (void)d;
    cudaFree(p);
}

static int cuda_copy_in(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    CU(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, d->stream));
    CU(cudaStreamSynchronize(d->stream));
    return 0;
}

static int cuda_copy_out(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    CU(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, d->stream));
    CU(cudaStreamSynchronize(d->stream));
    return 0;
}

static int cuda_copy(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    CU(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, d->stream));
    return 0;
}

static int cuda_fill(struct cb_device *d, void *p, unsigned char byte, size_t bytes)
{
    CU(cudaMemsetAsync(p, byte, bytes, d->stream));
    return 0;
}

static int cuda_memory_free(struct cb_device *d, size_t *bytes)
{
    (void)d;
    size_t total;
    CU(cudaMemGetInfo(bytes, &total));
    return 0;
}

static int cuda_sync(struct cb_device *d)
{
    CU(cudaStreamSynchronize(d->stream));
    CU(cudaGetLastError());
    return 0;
}

/* Scratch of the harness itself, outside the guard zones; grows, is never shrunk. */
static int scratch(struct cuda *g, size_t bytes)
{
    if (g->scratch_bytes >= bytes)
        return 0;
    cudaFree(g->scratch);
    g->scratch = NULL;
    g->scratch_bytes = 0;
    CU(cudaMalloc(&g->scratch, bytes));
    CU(cudaMemset(g->scratch, 0x11, bytes));
    CU(cudaDeviceSynchronize());
    g->scratch_bytes = bytes;
    return 0;
}

/* ---- inputs and comparison ---- */

static int cuda_guards(struct cb_device *d, char *const *zone, int count, int *broken)
{
    struct cuda *g = d->own;
    const int none = 0x7fffffff;
    int first = none;
    *broken = -1;
    if (!count)
        return 0;
    if (count > g->zones_room) {
        cudaFree(g->zones);
        g->zones = NULL;
        g->zones_room = 0;
        CU(cudaMalloc((void **)&g->zones, 2 * (size_t)count * sizeof *g->zones));
        g->zones_room = 2 * count;
    }
    int status = cuda_copy_in(d, g->zones, zone, (size_t)count * sizeof *zone) ||
                 cuda_copy_in(d, g->words, &none, sizeof none) ||
                 launched(probe_guards(g->zones, count, GUARD_BYTES, GUARD_BYTE, g->words,
                                       d->stream),
                          "check of guard zones") ||
                 cuda_copy_out(d, &first, g->words, sizeof first);
    if (first != none)
        *broken = first;
    return status ? -1 : 0;
}

static int cuda_random(struct cb_device *d, void *p, enum cb_dtype t, enum cb_dist dist,
                       uint64_t seed, uint32_t tensor, uint32_t stream, long rows, long cols,
                       bool transposed)
{
    return launched(probe_random(p, t, dist, seed, tensor, stream, rows, cols, transposed,
                                 d->stream),
                    "making of inputs");
}

static int cuda_compare(struct cb_device *d, const struct cb_view *v, const double *want,
                        const float *bound, struct cb_accuracy *sums)
{
    struct cuda *g = d->own;
    static struct cb_accuracy parts[PROBE_PARTS];
    if (launched(probe_compare(v->data, v->dtype, v->rows, v->cols, v->transposed, want, bound,
                               g->words, d->stream),
                 "comparison") ||
        cuda_copy_out(d, parts, g->words, sizeof parts))
        return -1;
    for (int i = 0; i < PROBE_PARTS; i++)
        cb_accuracy_join(sums, &parts[i]);
    return 0;
}

static int cuda_same(struct cb_device *d, const void *a, const void *b, size_t bytes, bool *same)
{
    struct cuda *g = d->own;
    int differs = 0;
    if (cuda_copy_in(d, g->words, &differs, sizeof differs) ||
        launched(probe_same(a, b, bytes, g->words, d->stream), "comparison of two outputs") ||
        cuda_copy_out(d, &differs, g->words, sizeof differs))
        return -1;
    *same = !differs;
    return 0;
}

/* ---- windows ---- */

/* Mean SM clock between the two stamps: median over the SMs present in both. */
static double stamped_mhz(struct cuda *g)
{
    double mhz[1024];
    int n = 0;
    const struct probe_stamp *a = g->stamps, *b = g->stamps + g->sm_slots;
    for (int i = 0; i < g->sm_slots && n < 1024; i++)
        if (a[i].ns && b[i].ns > a[i].ns && b[i].cycles > a[i].cycles)
            mhz[n++] = 1e3 * (double)(b[i].cycles - a[i].cycles) / (double)(b[i].ns - a[i].ns);
    return n ? cb_median(mhz, n) : 0;
}

/* work enqueues what lies between the events. */
static int timed(struct cb_device *d, int (*work)(struct cb_device *, void *), void *arg, bool gate,
                 struct cb_window *out)
{
    struct cuda *g = d->own;
    float ms = 0;
    unsigned ticket = ++g->ticket;
    memset(g->stamps, 0, 2 * (size_t)g->sm_slots * sizeof *g->stamps);
    if (gate && launched(probe_gate(g->gate, ticket, GATE_BUDGET_NS, d->stream), "gate"))
        return -1;
    int status = launched(probe_stamp(g->stamps, d->info.multiprocessors, d->stream), "stamp") ||
                 failed(cudaEventRecord(g->start, d->stream), "cudaEventRecord") ||
                 work(d, arg) || failed(cudaEventRecord(g->stop, d->stream), "cudaEventRecord") ||
                 launched(probe_stamp(g->stamps + g->sm_slots, d->info.multiprocessors, d->stream),
                          "stamp");
    g->gate->open = ticket; /* also after a failure: nothing may hang behind the gate */
    if (status)
        return -1;
    CU(cudaStreamSynchronize(d->stream));
    CU(cudaGetLastError());
    CU(cudaEventElapsedTime(&ms, g->start, g->stop));
    *out = (struct cb_window){ .us = 1e3 * (double)ms,
                               .clock_mhz = stamped_mhz(g),
                               .timed_out = g->gate->timed_out == ticket };
    return 0;
}

struct steps {
    cb_enqueue_fn *work;
    void *arg;
    int first, count;
};

static int enqueue_steps(struct cb_device *d, void *arg)
{
    (void)d;
    const struct steps *s = arg;
    for (int i = 0; i < s->count; i++)
        if (s->work(s->arg, s->first + i))
            return -1;
    return 0;
}

static int cuda_window(struct cb_device *d, cb_enqueue_fn *work, void *arg, int first, int count,
                       bool gate, struct cb_window *out)
{
    struct steps s = { work, arg, first, count };
    return timed(d, enqueue_steps, &s, gate, out);
}

static void cuda_graph_free(struct cb_device *d, struct cb_graph *graph)
{
    (void)d;
    if (graph->exec)
        cudaGraphExecDestroy(graph->exec);
    if (graph->graph)
        cudaGraphDestroy(graph->graph);
    free(graph);
}

static int cuda_graph_make(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count,
                           struct cb_graph **out)
{
    struct steps s = { work, arg, 0, count };
    struct cb_graph *graph = calloc(1, sizeof *graph);
    *out = NULL;
    if (!graph)
        return cb_error("no memory for a graph");
    if (cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
        cudaGetLastError();
        free(graph);
        return 0;
    }
    int status = enqueue_steps(d, &s);
    if (cudaStreamEndCapture(d->stream, &graph->graph) != cudaSuccess || status ||
        cudaGraphInstantiate(&graph->exec, graph->graph, 0) != cudaSuccess ||
        cudaGraphUpload(graph->exec, d->stream) != cudaSuccess) {
        /* some library paths cannot be captured: the caller takes plain windows */
        cudaGetLastError();
        cb_error_clear();
        cuda_graph_free(d, graph);
        return 0;
    }
    *out = graph;
    return 0;
}

static int cuda_graph_launch(struct cb_device *d, struct cb_graph *graph)
{
    CU(cudaGraphLaunch(graph->exec, d->stream));
    return 0;
}

static int cuda_graph_nodes(struct cb_device *d, struct cb_graph *graph)
{
    size_t nodes = 0;
    (void)d;
    CU(cudaGraphGetNodes(graph->graph, NULL, &nodes));
    return (int)nodes;
}

static int enqueue_graph(struct cb_device *d, void *graph)
{
    return cuda_graph_launch(d, graph);
}

static int cuda_graph_window(struct cb_device *d, struct cb_graph *graph, bool gate,
                             struct cb_window *out)
{
    return timed(d, enqueue_graph, graph, gate, out);
}

static int cuda_mark(struct cb_device *d, int n)
{
    return launched(probe_mark(n, d->stream), "mark");
}

static int cuda_profile(struct cb_device *d, bool on)
{
    return cuda_sync(d) || launched(on ? cudaProfilerStart() : cudaProfilerStop(), "profiler") ? -1 : 0;
}

static int cuda_null(struct cb_device *d)
{
    return launched(probe_null(d->stream), "null kernel");
}

static int cuda_spin(struct cb_device *d, double us)
{
    return launched(probe_spin((unsigned long long)(us * 1e3), d->stream), "spin kernel");
}

static int cuda_flush(struct cb_device *d)
{
    struct cuda *g = d->own;
    size_t bytes = 3 * d->info.l2;
    if (scratch(g, bytes))
        return -1;
    return launched(probe_read(g->scratch, bytes, 1, g->sink, d->info.multiprocessors, d->stream),
                    "flush");
}

static int cuda_reset_l2(struct cb_device *d)
{
    struct cuda *g = d->own;
    size_t aside = 0;
    /* A device without this feature has nothing to reset.  Where nothing is set aside no line
     * persists: set once, and again only where a library has raised the limit.  On an H200 every
     * launch of a process takes 0.54 us in a graph, but 0.71 us from the eighth call of
     * cudaCtxResetPersistingL2Cache on (tests/gpu_launch.c). */
    if (cudaDeviceGetLimit(&aside, cudaLimitPersistingL2CacheSize) == cudaSuccess &&
        (aside || !g->l2_is_plain) &&
        cudaDeviceSetLimit(cudaLimitPersistingL2CacheSize, 0) == cudaSuccess) {
        cudaCtxResetPersistingL2Cache();
        g->l2_is_plain = true;
    }
    cudaGetLastError();
    return 0;
}

static int cuda_tick(struct cb_device *d, double *ns)
{
    struct cuda *g = d->own;
    unsigned long long least = 0;
    if (launched(probe_tick(g->words, d->stream), "timer tick") ||
        cuda_copy_out(d, &least, g->words, sizeof least))
        return -1;
    *ns = (double)least;
    return 0;
}

/* ---- ceilings ---- */

enum { CEILING_TIMES = 15, CEILING_WARM = 3 };

struct probing {
    enum { COPY, READ, L2, RATE, NULLS } kind;
    size_t bytes;
    int repeat;
    enum probe_rate rate;
};

static int enqueue_probe(struct cb_device *d, void *arg)
{
    const struct probing *p = arg;
    struct cuda *g = d->own;
    switch (p->kind) {
    case COPY:
        return failed(cudaMemcpyAsync((char *)g->scratch + p->bytes, g->scratch, p->bytes,
                                      cudaMemcpyDeviceToDevice, d->stream),
                      "copy");
    case READ:
    case L2:
        return launched(probe_read(g->scratch, p->bytes, p->repeat, g->sink,
                                   d->info.multiprocessors, d->stream),
                        "read");
    case RATE:
        return launched(probe_rate(p->rate, 4 * d->info.multiprocessors, p->repeat, g->sink,
                                   d->stream),
                        "rate");
    case NULLS:
        for (int i = 0; i < p->repeat; i++)
            if (cuda_null(d))
                return -1;
        return 0;
    }
    return 0;
}

static int probe_ceiling(struct cb_device *d, const char *id, const char *unit, struct probing p,
                         double amount, struct cb_ceiling *out)
{
    double us[CEILING_TIMES];
    struct cb_window w;
    for (int i = -CEILING_WARM; i < CEILING_TIMES; i++) {
        if (timed(d, enqueue_probe, &p, i > -CEILING_WARM, &w))
            return -1;
        if (i >= 0)
            us[i] = w.us;
    }
    struct cb_interval t = cb_median_ci(us, CEILING_TIMES, 0.05);
    if (!strcmp(unit, "us")) /* a time, not a rate */
        *out = (struct cb_ceiling){ id, unit, t.value / amount, t.low / amount, t.high / amount, 0 };
    else
        *out = (struct cb_ceiling){ id, unit, amount * 1e6 / t.value, amount * 1e6 / t.high,
                                    amount * 1e6 / t.low, (double)p.bytes };
    return 0;
}

static int cuda_ceilings(struct cb_device *d, struct cb_ceiling *out)
{
    struct cuda *g = d->own;
    size_t room, big = (size_t)4 << 30, l2 = d->info.l2 / 4 / 256 * 256;
    int n = 0;
    if (cuda_memory_free(d, &room))
        return -1;
    while (big > 4 * d->info.l2 && 2 * big > room / 2)
        big /= 2;
    if (scratch(g, 2 * big))
        return -1;
    const double lanes = 4.0 * d->info.multiprocessors * PROBE_RATE_THREADS * PROBE_RATE_OPS;
    const int steps = 2000;
    const struct {
        const char *id, *unit;
        struct probing p;
        double amount;
    } list[] = {
        { "dram_copy", "B/s", { .kind = COPY, .bytes = big }, 2.0 * (double)big },
        { "dram_read", "B/s", { .kind = READ, .bytes = 2 * big, .repeat = 1 }, 2.0 * (double)big },
        { "l2_read", "B/s", { .kind = L2, .bytes = l2, .repeat = 64 }, 64.0 * (double)l2 },
        { "fp32_fma", "op/s", { .kind = RATE, .repeat = steps, .rate = PROBE_FP32_FMA }, 2 * lanes * steps },
        { "fp16x2_fma", "op/s", { .kind = RATE, .repeat = steps, .rate = PROBE_FP16X2_FMA }, 4 * lanes * steps },
        { "int32_logic", "op/s", { .kind = RATE, .repeat = steps, .rate = PROBE_INT32_LOGIC }, lanes * steps },
        { "fp64_fma", "op/s", { .kind = RATE, .repeat = steps, .rate = PROBE_FP64_FMA }, 2 * lanes * steps },
        { "launch", "us", { .kind = NULLS, .repeat = 50 }, 50 },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++, n++)
        if (probe_ceiling(d, list[i].id, list[i].unit, list[i].p, list[i].amount, &out[n]))
            return -1;
    return n;
}

/* ---- opening ---- */

static const struct cb_backend backend = {
    .close = cuda_close, .take = cuda_take, .give = cuda_give, .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out, .copy = cuda_copy, .fill = cuda_fill, .memory_free = cuda_memory_free,
    .sync = cuda_sync, .guards = cuda_guards, .random = cuda_random, .compare = cuda_compare,
    .same = cuda_same, .window = cuda_window, .graph_make = cuda_graph_make,
    .graph_window = cuda_graph_window, .graph_launch = cuda_graph_launch,
    .graph_nodes = cuda_graph_nodes,
    .graph_free = cuda_graph_free, .null = cuda_null,
    .mark = cuda_mark, .profile = cuda_profile, .spin = cuda_spin, .flush = cuda_flush,
    .reset_l2 = cuda_reset_l2, .tick = cuda_tick, .ceilings = cuda_ceilings,
};

int cb_cuda_count(void)
{
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    return n;
}

static int attribute(int index, enum cudaDeviceAttr a)
{
    int v = 0;
    if (cudaDeviceGetAttribute(&v, a, index) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    return v;
}

static int describe(struct cb_device *d, int index)
{
    struct cudaDeviceProp p;
    CU(cudaGetDeviceProperties(&p, index));
    struct cb_device_info *i = &d->info;
    snprintf(i->name, sizeof i->name, "%.63s", p.name);
    cb_slug(p.name, i->slug, sizeof i->slug);
    const unsigned char *u = (const unsigned char *)p.uuid.bytes;
    char *to = i->uuid;
    to += sprintf(to, "GPU-");
    for (int b = 0; b < 16; b++)
        to += sprintf(to, "%s%02x", b == 4 || b == 6 || b == 8 || b == 10 ? "-" : "", u[b]);
    if (cudaDeviceGetPCIBusId(i->pci, sizeof i->pci, index) != cudaSuccess)
        i->pci[0] = 0;
    i->sm = 10 * p.major + p.minor;
    i->multiprocessors = p.multiProcessorCount;
    i->memory = p.totalGlobalMem;
    i->l2 = (size_t)p.l2CacheSize;
    i->memory_bus_bits = p.memoryBusWidth;
    i->clock_khz = attribute(index, cudaDevAttrClockRate);
    i->memory_clock_khz = attribute(index, cudaDevAttrMemoryClockRate);
    CU(cudaDriverGetVersion(&i->driver_cuda));
    CU(cudaRuntimeGetVersion(&i->runtime_cuda));
    return 0;
}

int cb_cuda_open(struct cb_device *d, int index)
{
    if (index >= cb_cuda_count())
        return cb_error("device cuda:%d: there are %d CUDA GPUs", index, cb_cuda_count());
    struct cuda *g = calloc(1, sizeof *g);
    if (!g)
        return cb_error("no memory for a device");
    d->backend = &backend;
    d->own = g;
    g->index = index;
    g->sm_slots = 1024;
    int status = failed(cudaInitDevice(index, cudaDeviceScheduleSpin | cudaDeviceMapHost,
                                       cudaInitDeviceFlagsAreValid), "cudaInitDevice") ||
                 failed(cudaSetDevice(index), "cudaSetDevice") || describe(d, index) ||
                 failed(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "cudaStreamCreate") ||
                 failed(cudaEventCreate(&g->start), "cudaEventCreate") ||
                 failed(cudaEventCreate(&g->stop), "cudaEventCreate") ||
                 failed(cudaHostAlloc((void **)&g->gate, sizeof *g->gate, cudaHostAllocMapped), "cudaHostAlloc") ||
                 failed(cudaHostAlloc((void **)&g->stamps, 2 * (size_t)g->sm_slots * sizeof *g->stamps,
                                      cudaHostAllocMapped), "cudaHostAlloc") ||
                 failed(cudaMalloc(&g->words, sizeof(struct cb_accuracy) * PROBE_PARTS), "cudaMalloc") ||
                 failed(cudaMalloc((void **)&g->sink, 256), "cudaMalloc");
    if (!status) {
        memset((void *)g->gate, 0, sizeof *g->gate);
        /* the first launch of each probe loads its module: never behind a closed gate */
        struct cb_window w;
        struct probing p = { .kind = NULLS, .repeat = 1 };
        g->gate->open = 1;
        status = launched(probe_gate(g->gate, 1, GATE_BUDGET_NS, d->stream), "gate") ||
                 timed(d, enqueue_probe, &p, false, &w) || cuda_spin(d, 1) || cuda_sync(d);
        g->ticket = 1;
    }
    if (status) {
        cuda_close(d);
        return -1;
    }
    return 0;
}

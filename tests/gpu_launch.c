/*
 * gpu_launch.c - a launch in a graph takes as long in the last case of a process as in the first.
 *
 * What the harness does once a case is done 24 times in a process of its own, and between these a
 * graph of null kernels is timed.  `gpu_launch times` prints the time of a null kernel after each,
 * for every part of a case by itself, so that the part which changes it is seen.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef WITH_CUDA
#include <cuda_runtime_api.h>
#endif

#include "../harness/device.h"
#include "../harness/error.h"
#include "../harness/nvml.h"
#include "../harness/stats.h"
#include "test.h"
#include "tiny.h"

enum { NO_GPU = 77, CASES = 24, NODES = 64, BUFFERS = 6, GRAPHS = 20 };

enum part {
    NOTHING = 0,
    RESET = 1,   /* of persisting lines of the L2 */
    MEMORY = 2,  /* buffers taken, filled and given back; free memory asked for */
    GRAPH = 4,   /* graphs made, launched and destroyed */
    WATCH = 8,   /* polling of the driver in a thread */
    OTHERS = 16, /* other processes on the device asked for */
    ALL = 31,
    LIMIT = 32,  /* not in a case: the share of the L2 for persisting lines set each time ... */
    LINES = 64   /* ... and all lines made normal each time */
};

static int null_step(void *device, int step)
{
    (void)step;
    return cb_null(device);
}

/* Microseconds of a null kernel in a graph; < 0: failure. */
static double null_us(struct cb_device *d)
{
    struct cb_graph *g = NULL;
    struct cb_window w = { 0 };
    double us[5];
    int status = cb_graph_make(d, null_step, d, NODES, &g) || !g || cb_graph_launch(d, g) || cb_sync(d);
    for (int i = 0; !status && i < 5; i++) {
        status = cb_graph_window(d, g, true, &w);
        us[i] = w.us / NODES;
    }
    cb_graph_free(d, g);
    return status ? -1 : cb_median(us, 5);
}

static int memory(struct cb_device *d)
{
    void *p[BUFFERS] = { NULL };
    size_t room;
    int status = cb_memory_free(d, &room);
    for (int i = 0; !status && i < BUFFERS; i++)
        status = cb_alloc(d, (size_t)48 << 20, &p[i]) || cb_fill(d, p[i], 0xA5, (size_t)48 << 20);
    status = status || cb_sync(d);
    for (int i = 0; i < BUFFERS; i++)
        cb_free(d, p[i]);
    return status;
}

static int graphs(struct cb_device *d)
{
    struct cb_graph *g[GRAPHS] = { NULL };
    int status = 0;
    for (int i = 0; !status && i < GRAPHS; i++)
        status = cb_graph_make(d, null_step, d, 16, &g[i]) || !g[i] || cb_graph_launch(d, g[i]);
    status = status || cb_sync(d);
    for (int i = 0; i < GRAPHS; i++)
        cb_graph_free(d, g[i]);
    return status;
}

static int do_parts(struct cb_device *d, struct nvml *n, int parts)
{
    struct nvml_reading reading;
#ifdef WITH_CUDA
    if (parts & LIMIT && cudaDeviceSetLimit(cudaLimitPersistingL2CacheSize, 0))
        return -1;
    if (parts & LINES && cudaCtxResetPersistingL2Cache())
        return -1;
#endif
    if (parts & RESET && cb_reset_l2(d))
        return -1;
    if (parts & MEMORY && memory(d))
        return -1;
    if (parts & GRAPH && graphs(d))
        return -1;
    if (parts & WATCH) {
        nvml_start(n, -1);
        usleep(60000);
        nvml_stop(n, &reading);
    }
    if (parts & OTHERS)
        nvml_other_processes(n, true);
    return 0;
}

/* In a process of its own.  Writes the times to fd. */
static int child(int parts, int fd)
{
    struct cb_device *d = NULL;
    double us[CASES];
    if (!cb_device_count())
        return NO_GPU;
    if (cb_device_open("cuda:0", &d)) {
        fprintf(stderr, "%s\n", cb_error_text());
        return 1;
    }
    struct nvml *n = nvml_open(cb_device_info(d)->pci);
    for (int i = 0; i < CASES; i++)
        if (do_parts(d, n, parts) || (us[i] = null_us(d)) < 0) {
            fprintf(stderr, "%s\n", cb_error_text());
            return 1;
        }
    nvml_close(n);
    cb_device_close(d);
    return write(fd, us, sizeof us) == sizeof us ? 0 : 1;
}

/* 0, -1 or NO_GPU: this process asks the driver nothing, since its children could not after that. */
static int times_of(int parts, double us[CASES])
{
    int ends[2], status = -1;
    if (pipe(ends))
        return -1;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        _exit(child(parts, ends[1]));
    }
    close(ends[1]);
    const ssize_t got = read(ends[0], us, CASES * sizeof *us);
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, &status, 0);
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == NO_GPU)
        return NO_GPU;
    return got == CASES * (ssize_t)sizeof *us && status == 0 ? 0 : -1;
}

static void print(const char *name, const double *us)
{
    printf("%-8s", name);
    for (int i = 0; i < CASES; i++)
        printf(" %.3f", us[i]);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int parts;
    } kinds[] = { { "nothing", NOTHING }, { "limit", LIMIT },   { "lines", LINES },
                  { "reset", RESET },     { "memory", MEMORY }, { "graphs", GRAPH },
                  { "watch", WATCH },     { "others", OTHERS }, { "all", ALL } };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    double us[CASES];
    if (test_tiny()) {
        SKIP("gpu_launch: only times, which a tool changes");
        return TEST_END();
    }
    const bool all = argc > 1 && !strcmp(argv[1], "times");
    for (int k = all ? 0 : KINDS - 1; k < KINDS; k++) {
        const int status = times_of(kinds[k].parts, us);
        if (status == NO_GPU) {
            SKIP("gpu_launch: no GPU");
            break;
        }
        CHECK(!status);
        if (status)
            continue;
        print(kinds[k].name, us);
        if (!all)
            CHECK(cb_median(us + CASES - 8, 8) < 1.1 * cb_median(us, 6));
    }
    return TEST_END();
}

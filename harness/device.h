/*
 * device.h - where implementations run: a CUDA GPU or the host.
 *
 * Two files implement this interface.  device_cuda.c is C against the CUDA
 * runtime and is left out of a build without CUDA; device_host.c is always
 * there, so that references, recording, tables and plots work on any machine.
 * device.c chooses.  Functions returning int return 0, or -1 with cb_error set.
 */
#ifndef HARNESS_DEVICE_H
#define HARNESS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "../kernels/op.h"
#include "check.h"

struct cb_device;

struct cb_device_info {
    char name[64];       /* "NVIDIA H200"; the CPU model for the host */
    char slug[32];       /* "h200", "host": names the folder under results/ */
    char uuid[48], pci[24]; /* "" for the host */
    int sm;              /* compute capability x 10; 0 for the host */
    int multiprocessors; /* cores of the host that may be used */
    size_t memory, l2;   /* bytes; l2: last-level cache */
    int memory_bus_bits;
    int clock_khz, memory_clock_khz;       /* maxima; 0: unknown */
    int driver_cuda, runtime_cuda;         /* 13000 for 13.0; 0 for the host */
};

/* name: "host", "cuda" (first GPU), "cuda:N" or "auto" (a GPU if there is one). */
int cb_device_open(const char *name, struct cb_device **out);
void cb_device_close(struct cb_device *d); /* accepts NULL; frees what is still allocated */
const struct cb_device_info *cb_device_info(const struct cb_device *d);
op_stream cb_device_stream(const struct cb_device *d);
/* Folder name of a product: "NVIDIA H200" -> "h200", lower case, without vendor and
 * memory size. */
void cb_slug(const char *name, char *slug, size_t size);
/* Number of CUDA GPUs; 0 where there is none or the build has no CUDA. */
int cb_device_count(void);

/* ---- memory ---- */

/* Memory on the device, 256-byte aligned, between two guard zones of a known
 * pattern.  Owned by the caller until cb_free. */
int cb_alloc(struct cb_device *d, size_t bytes, void **out);
void cb_free(struct cb_device *d, void *p); /* p may be NULL */
int cb_upload(struct cb_device *d, void *to, const void *from, size_t bytes);
int cb_download(struct cb_device *d, void *to, const void *from, size_t bytes);
int cb_copy(struct cb_device *d, void *to, const void *from, size_t bytes); /* on the device */
int cb_fill(struct cb_device *d, void *p, unsigned char byte, size_t bytes);
int cb_memory_free(struct cb_device *d, size_t *bytes);
/* Waits; reports a fault of anything enqueued before. */
int cb_sync(struct cb_device *d);
/* 0 while no guard zone has been written to; else names the allocation. */
int cb_guards_check(struct cb_device *d);
/* Writes the pattern of broken guard zones again, so that one finding is reported once. */
int cb_guards_mend(struct cb_device *d);

/* ---- inputs and comparison, on the device ---- */

/* Fills p with elements of cb_random_at, rows x cols; element (i, j) has index
 * i * cols + j and lies at j * rows + i if transposed. */
int cb_random(struct cb_device *d, void *p, enum cb_dtype t, enum cb_dist dist, uint64_t seed,
              uint32_t tensor, uint32_t stream, long rows, long cols, bool transposed);

/* A result as an implementation left it. */
struct cb_view {
    const void *data;
    enum cb_dtype dtype;
    long rows, cols;
    bool transposed; /* element (i, j) lies at j * rows + i */
};

/* Every element of got against want [rows][cols] and bound [rows][cols] (NULL:
 * equality), all on the device.  out is finished. */
int cb_compare(struct cb_device *d, const struct cb_view *got, const double *want,
               const float *bound, struct cb_accuracy *out);
/* Are two ranges equal to the bit? */
int cb_same(struct cb_device *d, const void *a, const void *b, size_t bytes, bool *same);

/* ---- timing ---- */

/* Enqueues execution number `step` of what is timed (the step chooses the operand
 * set).  0 or -1. */
typedef int cb_enqueue_fn(void *arg, int step);

struct cb_window {
    double us;        /* between the two events, all executions together */
    double clock_mhz; /* mean SM clock between two stamps around it; 0: not known */
    bool timed_out;   /* the gate gave up: the value is void */
};

/* Enqueues steps first .. first + count - 1 between two events behind a closed
 * gate (if gate; count <= CB_GATE_MAX then) and waits. */
enum { CB_GATE_MAX = 64 };
int cb_window(struct cb_device *d, cb_enqueue_fn *work, void *arg, int first, int count, bool gate,
              struct cb_window *out);

/* The same steps captured once, replayed per window.  Where nothing can be
 * captured *out is NULL and 0 is returned: use plain windows. */
struct cb_graph;
int cb_graph_make(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count,
                  struct cb_graph **out);
int cb_graph_window(struct cb_device *d, struct cb_graph *g, bool gate, struct cb_window *out);
int cb_graph_launch(struct cb_device *d, struct cb_graph *g); /* untimed: warm-up, post-check */
int cb_graph_nodes(struct cb_device *d, struct cb_graph *g);  /* launches, copies and fills in it */
void cb_graph_free(struct cb_device *d, struct cb_graph *g);  /* accepts NULL */

/* Enqueues an empty kernel (a no-op on the host): the cost of a launch. */
int cb_null(struct cb_device *d);
/* For profilers that are told to start off: what is enqueued between on and off is seen.  cb_mark
 * enqueues a kernel named mark_kernel of n >= 1 blocks, which tells what comes after it.  Nothing
 * on the host. */
int cb_profile(struct cb_device *d, bool on);
int cb_mark(struct cb_device *d, int n);
/* Enqueues a kernel that spins for us microseconds of the device's own timer. */
int cb_spin(struct cb_device *d, double us);
/* Enqueues a read of a scratch buffer three times the L2, so that nothing of a case stays in it. */
int cb_flush(struct cb_device *d);
/* Drops persisting L2 lines. */
int cb_reset_l2(struct cb_device *d);
/* Smallest step of the device's nanosecond timer, and of its event timer for an empty window. */
int cb_timer_tick_ns(struct cb_device *d, double *ns);

/* ---- ceilings ---- */

struct cb_ceiling {
    const char *id;      /* "dram_copy", "dram_read", "l2_read", "fp32_fma", ... */
    const char *unit;    /* "B/s", "op/s", "us" */
    double value, low, high; /* median and its 95 % interval */
    double bytes;        /* buffer or problem size it was measured with */
};
enum { CB_CEILINGS_MAX = 16 };
/* Measures what the harness can by itself: memory, caches, core rates.  Returns
 * the number written to out [CB_CEILINGS_MAX], or -1. */
int cb_ceilings(struct cb_device *d, struct cb_ceiling *out);

#endif

/*
 * device_impl.h - what device.c shares with the two backends; nobody else includes it.
 *
 * device.c owns the list of allocations and their guard zones; a backend owns
 * raw memory, the stream and the clock.
 */
#ifndef HARNESS_DEVICE_IMPL_H
#define HARNESS_DEVICE_IMPL_H

#include "device.h"

enum { GUARD_BYTES = 256, GUARD_BYTE = 0x5C };

struct allocation {
    char *base;   /* guard, then the caller's bytes, then up to 255 of padding, then guard */
    size_t bytes; /* the caller's */
};

struct cb_backend {
    void (*close)(struct cb_device *d);
    int (*take)(struct cb_device *d, size_t bytes, void **out);
    void (*give)(struct cb_device *d, void *p);
    int (*copy_in)(struct cb_device *d, void *to, const void *from, size_t bytes);
    int (*copy_out)(struct cb_device *d, void *to, const void *from, size_t bytes);
    int (*copy)(struct cb_device *d, void *to, const void *from, size_t bytes);
    int (*fill)(struct cb_device *d, void *p, unsigned char byte, size_t bytes);
    int (*memory_free)(struct cb_device *d, size_t *bytes);
    int (*sync)(struct cb_device *d);
    /* Index of the first zone of GUARD_BYTES that is not all GUARD_BYTE, or -1, in *broken. */
    int (*guards)(struct cb_device *d, char *const *zone, int count, int *broken);
    int (*random)(struct cb_device *d, void *p, enum cb_dtype t, enum cb_dist dist, uint64_t seed,
                  uint32_t tensor, uint32_t stream, long rows, long cols, bool transposed);
    int (*compare)(struct cb_device *d, const struct cb_view *got, const double *want,
                   const float *bound, struct cb_accuracy *sums);
    int (*same)(struct cb_device *d, const void *a, const void *b, size_t bytes, bool *same);
    int (*window)(struct cb_device *d, cb_enqueue_fn *work, void *arg, int first, int count,
                  bool gate, struct cb_window *out);
    int (*graph_make)(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count,
                      struct cb_graph **out);
    int (*graph_window)(struct cb_device *d, struct cb_graph *g, bool gate, struct cb_window *out);
    int (*graph_launch)(struct cb_device *d, struct cb_graph *g);
    int (*graph_nodes)(struct cb_device *d, struct cb_graph *g);
    void (*graph_free)(struct cb_device *d, struct cb_graph *g);
    int (*null)(struct cb_device *d);
    int (*mark)(struct cb_device *d, int n);
    int (*profile)(struct cb_device *d, bool on);
    int (*spin)(struct cb_device *d, double us);
    int (*flush)(struct cb_device *d);
    int (*reset_l2)(struct cb_device *d);
    int (*tick)(struct cb_device *d, double *ns);
    int (*ceilings)(struct cb_device *d, struct cb_ceiling *out);
};

struct cb_device {
    const struct cb_backend *backend;
    struct cb_device_info info;
    op_stream stream;
    struct allocation *list;
    int count, room;
    void *own; /* the backend's */
};

int cb_host_open(struct cb_device *d);
int cb_cuda_open(struct cb_device *d, int index); /* device_cuda.c */
int cb_cuda_count(void);

#endif

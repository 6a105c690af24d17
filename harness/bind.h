/*
 * bind.h - keeps the launching thread and host memory near the GPU, by hwloc.
 *
 * Two steps, so that references of the host keep all cores near the GPU until
 * the timing starts:
 *   cb_bind_near    this thread and its memory to the cores and the NUMA node
 *                   next to the GPU; threads started later inherit it
 *   cb_bind_launch  this thread alone to one core, for the rounds
 *   cb_bind_release back to all cores near the GPU
 * The host device is never bound.  --no-bind: do not call.
 */
#ifndef HARNESS_BIND_H
#define HARNESS_BIND_H

#include <jansson.h>
#include <stdbool.h>

struct cb_binding {
    bool gpu_found;      /* the GPU is part of the topology that hwloc sees */
    int numa_node;       /* next to the GPU; -1: not known */
    int launch_cpu;      /* CPU for launching; -1: bound to nothing */
    int poll_cpu;        /* another core, for nvml_start; -1: there is none */
    char gpu_cpuset[256]; /* "0-15": CPUs near the GPU that may be used; "" if not known */
    char allowed[256];   /* CPUs that this process may use (cgroup, affinity) */
    char text[128];      /* what is bound now: "core 2", "cpus 0-15", "none" */
};

/* Finds what is near the GPU without binding anything.  pci: bus id, NULL or ""
 * for the host.  numa_hint: cudaDevAttrHostNumaId, used where the GPU is not in
 * the topology; -1: unknown.  slot: index of the GPU among those that are
 * measured at once, so that their launching threads get different cores.  0, or
 * -1 if hwloc cannot load; what is not known is no failure. */
int cb_bind_find(const char *pci, int numa_hint, int slot, struct cb_binding *out);
int cb_bind_near(const char *pci, int numa_hint, int slot, struct cb_binding *out);
/* Where nothing was found these do nothing and return 0. */
int cb_bind_launch(struct cb_binding *b);
int cb_bind_release(struct cb_binding *b);

/* The binding of the last cb_bind_near of this process; NULL: none was made. */
const struct cb_binding *cb_bind_current(void);
/* For env.topology. */
json_t *cb_binding_json(const struct cb_binding *b);

#endif

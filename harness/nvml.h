/*
 * nvml.h - what the driver tells about a GPU: read, never set.
 *
 * NVML is loaded when it is asked for; its header is not part of every
 * toolkit.  Nothing here fails for lack of it: a field that cannot be had is
 * a missing number with NVML's code for the reason (12 library absent,
 * 13 function absent, 3 not supported, 4 no permission, ...).
 */
#ifndef HARNESS_NVML_H
#define HARNESS_NVML_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct nvml; /* one device */

/* A field that may be unavailable: value holds if code is 0. */
struct nvml_number {
    int code;
    double value;
};

/* The device of that PCI bus id ("0000:1b:00.0"), found by it and never by an
 * index.  NULL with cb_error if there is no NVML, no such device or no id;
 * all functions below accept NULL and then find everything absent. */
struct nvml *nvml_open(const char *pci_bus_id);
void nvml_close(struct nvml *n); /* stops the polling */

/* ---- while a case is measured: 20 polls a second ---- */

struct nvml_range {
    int code;  /* of the last poll that failed; 0: none did */
    int polls; /* that succeeded; 0: the rest is void */
    double min, median, max;
};

struct nvml_reading {
    int polls;
    double seconds;
    struct nvml_range sm_clock_mhz, memory_clock_mhz, temperature_c, power_w, pstate;
    struct nvml_number reasons;   /* the masks of all polls, or-ed */
    double power_cap_fraction;    /* of the polls; 0 without reasons */
    struct nvml_number energy_mj; /* of the whole time; code NVML_SHORT below a second */
};
enum { NVML_SHORT = -1 };

/* Bits of `reasons` that are no normal operation: hardware slowdown, software
 * and hardware thermal slowdown, power brake. */
enum { NVML_POWER_CAP = 0x4, NVML_THROTTLED = 0x8 | 0x20 | 0x40 | 0x80 };

/* Polls in a thread of its own, bound to that CPU (-1: not bound; it must not
 * be the one that launches).  0, or -1 if no thread can be had. */
int nvml_start(struct nvml *n, int cpu);
/* Has any poll since the last call seen one of NVML_THROTTLED?  Ask after each round. */
bool nvml_throttled(struct nvml *n);
/* Ends the polling; out is all absent if there was none. */
void nvml_stop(struct nvml *n, struct nvml_reading *out);

/* Flags of methodology 4.3 from a reading: "throttled", "power_capped". */
bool nvml_was_throttled(const struct nvml_reading *r);
bool nvml_was_power_capped(const struct nvml_reading *r);
/* The "telemetry" object of a case; null for what is absent. */
json_t *nvml_reading_json(const struct nvml_reading *r);

/* ---- once ---- */

/* All that does not change during a run, for env.gpu[]: null for what is
 * absent, with the codes under "nvml_codes".  own_context: this process has a
 * context on the device, which is then no other process. */
json_t *nvml_facts(struct nvml *n, bool own_context);
/* Compute processes on the device besides this one. */
struct nvml_number nvml_other_processes(struct nvml *n, bool own_context);
/* Driver version, "" if unknown. */
void nvml_driver(struct nvml *n, char out[80]);

#endif

/* probe.h - what is asked of a device once per run, by a child of its own. */
#ifndef SUITES_PROBE_H
#define SUITES_PROBE_H

#include <jansson.h>

/* Answers the plan { "probe": WHAT, "device" } with one event; returns the exit code.
 *   count     { "gpus" }                    how many CUDA GPUs there are
 *   identify  { "uuid", "name", "slug" }
 *   check     {}                            a small verified kernel ran, no uncorrected memory error
 *   quick     { "env", "timer" }            without ceilings
 *   full      { "env", "ceilings", "timer", "cold_unverified" } */
int probe_worker(const json_t *plan);


#endif

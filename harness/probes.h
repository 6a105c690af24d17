/*
 * probes.h - the harness's own kernels, as C launchers; all enqueue only.
 *
 * Gate, stamps and null kernel serve timing; random, compare, same and guards
 * serve the correctness gate; the rates are ceilings.  Return 0, or the CUDA
 * error code of the launch.
 */
#ifndef HARNESS_PROBES_H
#define HARNESS_PROBES_H

#include <stddef.h>
#include <stdint.h>

#include "../kernels/op.h"
#include "check.h"

OP_BEGIN

/* Written by a stamp, one per SM. */
struct probe_stamp {
    unsigned long long ns, cycles; /* %globaltimer and clock64() */
};

/* Words shared between the host and a gate (mapped pinned memory). */
struct probe_gate {
    volatile unsigned open;      /* ticket of the last gate that may pass */
    volatile unsigned timed_out; /* ticket of the last gate that gave up */
};

/* Spins until gate->open reaches ticket, at most budget_ns. */
int probe_gate(struct probe_gate *gate, unsigned ticket, unsigned long long budget_ns, op_stream s);
/* stamp [SM ids]: mapped pinned memory. */
int probe_stamp(struct probe_stamp *stamp, int blocks, op_stream s);
int probe_null(op_stream s);
int probe_mark(int blocks, op_stream s); /* kernel mark_kernel, does nothing */
int probe_spin(unsigned long long ns, op_stream s);
/* Reads bytes; writes one word so that the reads are not dropped.  repeat passes over the buffer. */
int probe_read(const void *p, size_t bytes, int repeat, unsigned *sink, int sms, op_stream s);
/* Smallest non-zero difference of 10^5 successive readings of %globaltimer, into *ns (device). */
int probe_tick(unsigned long long *ns, op_stream s);

int probe_random(void *p, int dtype, int dist, uint64_t seed, uint32_t tensor, uint32_t stream,
                 long rows, long cols, int transposed, op_stream s);
/* parts [PROBE_PARTS]: sums of the blocks, to be joined. */
enum { PROBE_PARTS = 1024 };
int probe_compare(const void *got, int dtype, long rows, long cols, int transposed,
                  const double *want, const float *bound, struct cb_accuracy *parts, op_stream s);
/* *differs (device) becomes 1 if any byte differs. */
int probe_same(const void *a, const void *b, size_t bytes, int *differs, op_stream s);
/* *broken (device) becomes the smallest index of a zone of `bytes` that is not all `byte`. */
int probe_guards(char *const *zone, int count, int bytes, int byte, int *broken, op_stream s);

/* Core rates: each thread does `steps` rounds of 64 operations of its kind on registers. */
enum probe_rate { PROBE_FP32_FMA, PROBE_INT32_LOGIC, PROBE_FP16X2_FMA, PROBE_FP64_FMA };
enum { PROBE_RATE_THREADS = 512, PROBE_RATE_OPS = 64 };
int probe_rate(enum probe_rate kind, int blocks, int steps, unsigned *sink, op_stream s);

OP_END
#endif

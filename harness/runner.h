/*
 * runner.h - a run: many cases in child processes.
 *
 * The parent plans, starts children, keeps the journal and never touches a
 * GPU.  A child holds one invocation of one experiment on one device; it gets
 * its plan as JSON on standard input and answers with one JSON object a line on
 * descriptor 3:
 *   { "event": "start", "id" }       before a case, so that a crash has a name
 *   { "event": "case", "line": {} }  a journal line
 * A case that crashes or hangs loses itself only: the rest goes on in a new
 * child.  The journal makes a run resumable: what is in it is not run again.
 */
#ifndef HARNESS_RUNNER_H
#define HARNESS_RUNNER_H

#include <jansson.h>

#include "bench.h"

enum { CB_EVENTS_FD = 3, CB_DEVICES_MAX = 64 };

struct cb_plan_item {
    const char *id, *experiment;
    const struct cb_op *op;
    const void *params;
    const struct op_impl *const *impl;
    const struct op_impl *const *baseline; /* ended by NULL, or NULL */
    int aa;
    enum cb_cache cache;
    enum cb_regime regime;
};

struct cb_run {
    const char *directory;      /* results go here: run.json, journal.jsonl, log/ */
    const char *paper;
    const char *devices[CB_DEVICES_MAX]; /* for cb_device_open, in the child */
    int device_count;
    const struct cb_policy *policy;
    uint64_t seed, order_seed;
    json_t *child_plan;         /* merged into the plan of every child: what a worker needs to
                                 * find the items again */
    const char *progress;       /* "line", "json", "none" */
    bool once;
};

/* Sums of a run by status, over cases and invocations. */
struct cb_tally {
    int done, left;             /* cases x invocations */
    int wrong, wrong_known;     /* cases with a wrong row; with one marked known wrong only */
    int crashed, timeout, oom, skipped, unsupported, quality;
    bool interrupted, wedged;
};

/* Runs what the journal does not have yet, device by device in turns.  0 if
 * every case ended with a line, whatever it says; -1 with cb_error set. */
int cb_run(const struct cb_run *run, const struct cb_plan_item *item, int count,
           struct cb_tally *tally);

/* The child's side: runs the cases that plan names among item, in its order.
 * Returns the exit code: 0 or 14. */
int cb_worker(const json_t *plan, const struct cb_plan_item *item, int count,
              const struct cb_policy *policy);

/* Starts `self worker` with this plan and collects its events until it ends or
 * the time is over.  Returns the events as an array (NULL with cb_error set).
 * For probes of the device: env, ceilings. */
json_t *cb_child_ask(const json_t *plan, double timeout_s);
/* One event of a child. 0 or -1 (the parent is gone). */
int cb_child_tell(json_t *event); /* takes over */

/* One measuring process a device: 0 and *fd holds the lock; -1 if another has it.
 * name: UUID or "host". wait: until it is free. */
int cb_device_lock(const char *name, bool wait, int *fd);

/* Installs handlers; SIGINT and SIGTERM then end the child and the run. */
void cb_signals(void);
bool cb_interrupted(void);

#endif

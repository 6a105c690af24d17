/*
 * run.h - a run from its options to its result document.
 *
 *   RUN/run.json       what the run is: made at the start, compared on resume; one of several
 *                      parts names the whole plan too, which merge goes by
 *   RUN/journal.jsonl  one line a case and invocation, as they finish
 *   RUN/log/           output of the children
 *   RUN/result.json    and samples.f64le.gz: written last
 */
#ifndef SUITES_RUN_H
#define SUITES_RUN_H

#include <jansson.h>
#include <stdbool.h>

#include "../harness/runner.h"

struct run_options {
    const char *paper, *profile;
    const char *experiment; /* pattern; NULL: all */
    const char *cases;      /* pattern of ids; NULL: all */
    const char *model, *data, *calibration; /* in the place of the experiments' own; NULL: those */
    const char *cache;      /* only this state; NULL: all */
    const char *shard;      /* "2/8": only that part of the plan; NULL: all of it */
    const char *devices;    /* "auto", "host", "cuda:1", "all", a list with commas */
    const char *out;        /* folder; NULL: runs/<utc>_<commit8>_<paper> */
    const char *resume;     /* a run folder; NULL: a new run */
    const char *progress;
    const char *argv;       /* command line, for the record */
    double eps, t_max_s, timeout_s; /* 0: as the profile says */
    int invocations, rounds_max;    /* 0: as the profile says */
    long seed;              /* 0: the default */
    bool once, dry_run, wait, no_bind, allow_mixed, serial_devices, fast_start, custom;
};

/* Exit codes, methodology 13.4. */
enum { EXIT_OK, EXIT_INTERNAL, EXIT_USAGE, EXIT_NO_DEVICE, EXIT_WRONG, EXIT_CRASH, EXIT_CLAIM,
       EXIT_QUALITY, EXIT_COMPARE, EXIT_SIGNAL = 130 };

/* Runs and writes the result; *folder (4096 bytes) is where.  Returns an exit code. */
int run_suite(const struct run_options *o, bool strict, char *folder);
/* Prints the cases that options select, without a device. Returns an exit code. */
int run_plan(const struct run_options *o);
/* The child's side. */
int run_worker(void);
/* Asks a child for env, ceilings, timer and self-test of a device: "identify", "full" or
 * "check"; NULL with cb_error set. */
json_t *run_probe(const char *device, const char *what);

/* Journals of several pieces of one run into a new folder.  invocations: keep only
 * that many of each case (a policy of its own then, recorded as custom); 0: all.
 * 0 or -1. */
int run_merge(const char *const *pieces, int count, const char *out, int invocations,
              bool allow_mixed);
/* A clean, validated, complete run into results/<gpu>/<paper>/. 0 or -1. */
int run_record(const char *folder, const char *results);
/* result.json of a run folder from run.json and its journal. 0 or -1. */
int run_finish(const char *folder, const char *status);

#endif

/*
 * bench.h - operators as the harness sees them, and the running of one case.
 *
 *   operator        a function to compute, bound to the harness by one cb_op
 *   problem         one setting of the operator's parameters
 *   implementation  one way to compute it (struct op_impl)
 *   case            a problem with the implementations compared on it, in one
 *                   cache state: what is checked, timed and recorded together
 *
 * The harness knows no operator and no paper.  For one case it calls
 *
 *   open  prepare  (ready work bind)*  expect check*  run*  expect check*  unbind*  close
 *
 * with every implementation bound before the first is timed, so that they can
 * be measured in turns on the same inputs.
 */
#ifndef HARNESS_BENCH_H
#define HARNESS_BENCH_H

#include "device.h"
#include "measure.h"

/* One parameter: where it lies in the operator's parameter struct. */
enum cb_param_type {
    CB_INT,    /* int */
    CB_REAL,   /* double */
    CB_CHOICE, /* int: index into choices */
    CB_TEXT,   /* char [CB_TEXT_MAX] */
    CB_PATH    /* char [CB_PATH_MAX]: a name, or a file of the user: its base name enters ids */
};
enum { CB_TEXT_MAX = 64, CB_PATH_MAX = 512, CB_ID_MAX = 384 };
struct cb_param {
    const char *name; /* key in JSON, column in tables */
    enum cb_param_type type;
    size_t offset;
    double fallback;  /* a number left out; a text becomes "" */
    double low, high; /* allowed range of a number; both 0: any */
    const char *const *choices; /* CB_CHOICE: ended by NULL */
    bool required;
    const char *help; /* meaning and unit */
};

/* What one execution amounts to by definition, not what is executed. */
struct cb_work {
    double flops;       /* of the mathematical operation; a multiply-add is two */
    double bytes_min;   /* every operand once, as stored */
    double bytes_model; /* what the algorithm must move, buffers between steps included */
    double weight_bytes; /* part of bytes_min that CB_COLDW rotates */
    double tensor_ops;  /* issued to tensor cores, padding included; 0: none */
    double core_ops;    /* issued to CUDA cores; 0: not counted */
    const char *peak;   /* id of the ceiling that bounds the arithmetic: "tensor_fp16", "fp32_fma" */
    enum cb_dtype accumulate;
};

/* A named figure: whatever a table can show beside time. */
struct cb_figure {
    char name[32], unit[16];
    double value, low, high; /* low = high = value where there is no interval */
};
enum { CB_FIGURES_MAX = 48 };

/* One input of a case, for the record. */
struct cb_input {
    char name[32], dtype[8], gen[96]; /* gen: "uniform", a generator with its version, a file's name */
    char source[16];                  /* "generated", "package", "user" */
    char sha256[65];                  /* of what the bytes are made from; "" where the seed says all */
    long shape[4];                    /* ended by 0 */
    int tensor_id;                    /* of the random stream; 0: none */
};
enum { CB_INPUTS_MAX = 8 };

/* A range of device memory that an execution writes. */
struct cb_region {
    void *data;
    size_t bytes;
};

struct cb_context {
    struct cb_device *device;
    const struct cb_policy *policy;
    enum cb_cache cache;
    enum cb_regime regime;
    uint64_t seed, order_seed; /* of the inputs; of the order of launches */
    bool exact;     /* inputs on which no implementation rounds, compared to the bit */
    bool first;     /* first case of this process */
    bool once;      /* no timing; instead one execution of each, for profilers: see cb_profile */
    const struct cb_watch *watch; /* NULL: nobody */
    const char *const *leave_out; /* names of rows that sit this invocation out; NULL: none */
    int aa;         /* index of an implementation that stands twice; -1: none */
};

struct cb_op {
    const char *name, *title;
    const struct cb_param *params; /* ended by a NULL name */
    size_t params_size;
    /* Not timed: run computes, figures tells the outcome.  No rounds, no cache state. */
    bool untimed;
    /* The i-th implementation in table order; NULL past the end. */
    const struct op_impl *(*impl)(int i);

    /* Host side of a problem: reads or makes what does not depend on the device.
     * Returns 0 or -1, like everything below that returns int. */
    int (*open)(struct cb_context *c, const void *params, void **instance);
    /* What was read: inputs for the record, statistics as figures.  Return the
     * number written.  NULL: none. */
    int (*inputs)(void *instance, struct cb_input *out);
    int (*statistics)(void *instance, struct cb_figure *out);
    /* OP_OK if the implementation covers the problem; else *why is a constant text. */
    enum op_status (*ready)(void *instance, const struct op_impl *i, const char **why);
    struct cb_work (*work)(void *instance, const struct op_impl *i);
    /* Bytes of one operand set on the device, by class: what CB_COLDW rotates,
     * the other inputs, the outputs.  Untimed operators: NULL. */
    void (*set_bytes)(void *instance, double *weights, double *inputs, double *outputs);
    /* Makes the inputs of all sets, once, shared by all implementations: sets of
     * weights and sets of activations, with different values.  Untimed: NULL. */
    int (*prepare)(struct cb_context *c, void *instance, int weight_sets, int input_sets);
    /* What is private to an implementation: packed forms, descriptors, tuning.
     * Its wall time is the set-up time. */
    int (*bind)(struct cb_context *c, void *instance, const struct op_impl *i, void **bound);
    /* Enqueues one execution on these operand sets. */
    int (*run)(void *bound, int weights, int inputs);
    /* The memory that run(weights, inputs) writes, up to max regions; returns the number.
     * The harness poisons it, compares it to the bit between runs. */
    int (*outputs)(void *bound, int weights, int inputs, struct cb_region *out, int max);
    /* Computes the reference of these sets; check compares with it what bound
     * last wrote there.  limit: second gate, on rel_fro. */
    int (*expect)(struct cb_context *c, void *instance, int weights, int inputs);
    int (*check)(struct cb_context *c, void *bound, int weights, int inputs,
                 struct cb_accuracy *r1, struct cb_accuracy *r2, double *limit);
    /* What a tuner or selector picked; NULL where nothing is picked. */
    const char *(*choice)(void *bound);
    /* Named figures of this implementation; returns the number.  NULL: none. */
    int (*figures)(void *bound, struct cb_figure *out);
    void (*unbind)(void *bound);   /* accepts NULL */
    void (*close)(void *instance); /* accepts NULL */
};

enum cb_status { CB_OK, CB_WRONG, CB_UNSUPPORTED, CB_CRASHED, CB_TIMEOUT, CB_SKIPPED, CB_OOM, CB_INTERRUPTED };
const char *cb_status_name(enum cb_status s); /* as in JSON: "ok", "wrong", ... */

/* One implementation's part of a case. */
struct cb_outcome {
    const struct op_impl *impl;
    int copy;                /* 2 for the second standing of an A/A control, else 1 */
    enum cb_status status;
    char reason[256];        /* for every status but CB_OK */
    char choice[64];
    double setup_us, host_us;
    struct cb_work work;
    struct cb_accuracy r1, r2;
    bool deterministic, post_check;
    bool ran_once;           /* before the measurement, as it is slow: deterministic is not known */
    bool left_out;           /* CB_OK, but not this time: see cb_context.leave_out */
    struct cb_timing timing; /* CB_OK only: what is wrong has no time */
    struct cb_figure figures[CB_FIGURES_MAX];
    int figure_count;
};

/* A case as it came out. */
struct cb_case {
    enum cb_status status;   /* of the case: CB_OK if every implementation is ok or not applicable */
    char reason[256];
    struct cb_outcome *out;  /* [count]; owned */
    int count;
    struct cb_input inputs[CB_INPUTS_MAX];
    int input_count;
    struct cb_figure statistics[CB_FIGURES_MAX];
    int statistic_count;
    struct cb_session session;
    bool cold_unverified;
    double wall_s;
    double prepare_s, bind_s, check_s; /* of it: operands; set-up of rows; references and checks */
};

/* Runs one case over impl, ended by NULL.  Returns 0 whenever out says what
 * happened; -1 if the device is lost.  out is released with cb_case_free. */
int cb_run_case(struct cb_context *c, const struct cb_op *op, const void *params,
                const struct op_impl *const *impl, struct cb_case *out);
void cb_case_free(struct cb_case *out);

#endif

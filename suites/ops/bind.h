/*
 * bind.h - what the bindings of all operators share: device memory for set-up
 * functions, errors of launchers, sets of operands.
 */
#ifndef SUITES_OPS_BIND_H
#define SUITES_OPS_BIND_H

#include "../../harness/bench.h"

/* A named figure without an interval. unit may be "". */
void op_figure(struct cb_figure *f, const char *name, const char *unit, double value);

/* Row i of `count` tables one after another, NULL behind the last.  Their entries have `size`
 * bytes, begin with a struct op_impl and end with one whose name is NULL. */
const struct op_impl *op_row_at(const void *const *table, int count, size_t size, int i);

/* Whether a row has its launcher in this build; *why is NULL, else says that it has not. */
bool op_is_built(bool has_run, const char **why);

/* Device memory that a set-up function takes; freed together. */
struct op_pool {
    struct cb_device *device;
    void **taken;
    int count, room;
    size_t bytes; /* of all that was taken */
};
/* The op_memory that takes from pool. */
struct op_memory op_pool_memory(struct op_pool *pool);
void op_pool_free(struct op_pool *pool); /* accepts { 0 } */

/* What set-up left behind for each operand set, and the memory it took. */
struct op_states {
    void **state; /* [count] */
    int count;
    struct op_pool pool;
    void (*teardown)(void *state); /* NULL: none */
};
int op_states_open(struct op_states *s, struct cb_device *d, int count, void (*teardown)(void *));
void op_states_close(struct op_states *s); /* accepts { 0 } */

/* 0 for OP_OK; else -1 with "NAME: what: reason"; memory running out starts with
 * "oom: ", so that a case knows it. */
int op_result(enum op_status s, const char *name, const char *what);

/* A row bound to its problem, with what each operand set has of its own. */
struct op_bound {
    void *in;               /* the operator's instance */
    const void *impl;       /* the operator's row, begins with a struct op_impl */
    void *args;             /* [states.count] of args_size bytes; NULL where that is 0 */
    struct op_states states;
    op_stream stream;
};

/* Fills the arguments of a set, zeroed before, and calls the row's set-up; *state, which is
 * b->states.state[set], is NULL before. */
typedef enum op_status op_set_up_fn(struct op_bound *b, int set, void *args,
                                    const struct op_memory *memory, void **state);

/* The frame of cb_op.bind: set_up (NULL: nothing to do) for each of sets sets.  0 or -1; released
 * by op_unbind. */
int op_bind(struct cb_context *c, void *instance, const struct op_impl *i, int sets,
            size_t args_size, op_set_up_fn *set_up, void (*teardown)(void *state), void **out);
void op_unbind(void *bound); /* accepts NULL; a cb_op.unbind */

/* Where weights and activations rotate, one index serves both: the larger. */
int op_set_of(int weights, int ins);

/* What cb_op.run returns for the status of a launch. */
int op_launched(const struct op_bound *b, enum op_status s);

/* A row of an operator that is not timed: its place in the operator's table of rows. */
struct op_row {
    void *in;               /* the operator's instance */
    int row;
};
/* Binds row i of a table of rows of `size` bytes that begin with a struct op_impl; freed by
 * free. */
int op_bind_row(void *instance, const struct op_impl *i, const void *table, size_t size,
                void **bound);

/* The cb_op.ready of operators whose rows run everywhere. */
enum op_status op_ready_always(void *instance, const struct op_impl *i, const char **why);
/* Where there is one row, the instance serves as its binding. */
int op_bind_self(struct cb_context *c, void *instance, const struct op_impl *i, void **bound);
void op_unbind_self(void *bound);

/* One tensor in all its operand sets: allocated when first asked for. */
struct op_sets {
    void **set; /* [count] device pointers; NULL until made */
    int count;
};
int op_sets_open(struct op_sets *s, int count);
void op_sets_close(struct cb_device *d, struct op_sets *s); /* accepts { 0 } */

#endif

/*
 * bind.h - what the bindings of all operators share: device memory for set-up
 * functions, errors of launchers, sets of operands.
 */
#ifndef SUITES_OPS_BIND_H
#define SUITES_OPS_BIND_H

#include "../../harness/bench.h"

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

/* One tensor in all its operand sets: allocated when first asked for. */
struct op_sets {
    void **set; /* [count] device pointers; NULL until made */
    int count;
};
int op_sets_open(struct op_sets *s, int count);
void op_sets_close(struct cb_device *d, struct op_sets *s); /* accepts { 0 } */

#endif

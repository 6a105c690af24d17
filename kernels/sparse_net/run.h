/* run.h - what the ways to run a network share: maps and memory for rows; and their functions. */
#ifndef KERNELS_SPARSE_NET_RUN_H
#define KERNELS_SPARSE_NET_RUN_H

#include "../spconv/own_layer.h"
#include "rows.h"
#include "sparse_net.h"

OP_BEGIN

/* Maps that a builder of kmap makes in every run, and rows of all tensors. */
struct net_memory {
    const struct kmap_impl *builder;
    void *builder_state;
    struct kmap_args maps;
    void *slot[SPARSE_NET_SLOTS_MAX];
};

/* Sets a status instead of returning NULL; does nothing where it is one already. */
void *net_take(const struct op_memory *memory, size_t bytes, enum op_status *status);

/* net: whose slots; close also after a failure. */
enum op_status net_memory_open(const struct sparse_net_impl *impl,
                               const struct sparse_net_problem *p, const struct sparse_net *net,
                               const struct sparse_net_args *a, const struct op_memory *memory,
                               struct net_memory *m);
void net_memory_close(struct net_memory *m); /* accepts { 0 } */

struct net_rows net_rows_of(const struct net_memory *m, const struct sparse_net *net, int tensor);
/* Level on which the rows of a step's table lie. */
int net_step_level(const struct kmap_plan *maps, int step);
/* How this suite's own layers on a map of at most so many rows are done, as the one with most
 * products wants it, and how their plan is cut; choice in: what is chosen already, splits 0:
 * nothing.  backward: layers from columns to channels. */
enum op_status net_own_cut(const struct sparse_net *net, int step, int rows, int backward,
                           struct own_choice *choice, struct own_cut *cut);
/* x into the rows of the input, and the rows of the output into y. */
enum op_status net_read_input(const struct net_memory *m, const struct sparse_net_problem *p,
                              const struct sparse_net *net, const struct sparse_net_args *a,
                              op_stream s);
enum op_status net_write_output(const struct net_memory *m, const struct sparse_net_problem *p,
                                const struct sparse_net *net, const struct sparse_net_args *a,
                                op_stream s);

/* own_cuda.c: own_layer.h on maps and plans that the device alone makes. */
enum op_status sparse_net_own_setup(const struct sparse_net_impl *,
                                    const struct sparse_net_problem *,
                                    const struct sparse_net_args *, const struct op_memory *,
                                    op_stream, void **state);
enum op_status sparse_net_own_run(const struct sparse_net_problem *,
                                  const struct sparse_net_args *, void *state, int parts,
                                  op_stream);
enum op_status sparse_net_own_choose(void *state, const int *flow, op_stream);
void sparse_net_own_teardown(void *state);

/* listed_cuda.c: rows of spconv, layer by layer, as published networks run. */
enum op_status sparse_net_listed_setup(const struct sparse_net_impl *,
                                       const struct sparse_net_problem *,
                                       const struct sparse_net_args *, const struct op_memory *,
                                       op_stream, void **state);
enum op_status sparse_net_listed_run(const struct sparse_net_problem *,
                                     const struct sparse_net_args *, void *state, int parts,
                                     op_stream);
enum op_status sparse_net_listed_choose(void *state, const int *flow, op_stream);
void sparse_net_listed_teardown(void *state);

/* train_cuda.c: a training step through rows of spconv. */
enum op_status sparse_net_train_setup(const struct sparse_net_impl *,
                                      const struct sparse_net_problem *,
                                      const struct sparse_net_args *, const struct op_memory *,
                                      op_stream, void **state);
enum op_status sparse_net_train_run(const struct sparse_net_problem *,
                                    const struct sparse_net_args *, void *state, int parts,
                                    op_stream);
enum op_status sparse_net_train_choose(void *state, const int *flow, op_stream);
const void *sparse_net_train_rows(const void *state, int tensor);
void sparse_net_train_teardown(void *state);

/* host.c: on the host, in float; all pointers host. */
enum op_status sparse_net_host_setup(const struct sparse_net_impl *,
                                     const struct sparse_net_problem *,
                                     const struct sparse_net_args *, const struct op_memory *,
                                     op_stream, void **state);
enum op_status sparse_net_host_run(const struct sparse_net_problem *,
                                   const struct sparse_net_args *, void *state, int parts,
                                   op_stream);
enum op_status sparse_net_host_choose(void *state, const int *flow, op_stream);
void sparse_net_host_teardown(void *state);

OP_END
#endif

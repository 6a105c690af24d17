/* host.h - implementations of host.c, for the table in impls.c. */
#ifndef KERNELS_SPMM_HOST_H
#define KERNELS_SPMM_HOST_H

#include "spmm.h"

OP_BEGIN

extern spmm_run_fn spmm_host_rb, spmm_host_eb;
extern spmm_setup_fn spmm_host_eb_setup;
void spmm_host_eb_teardown(void *state);

OP_END
#endif

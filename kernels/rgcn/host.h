/* host.h - launchers of host.c, for the table in impls.c. */
#ifndef KERNELS_RGCN_HOST_H
#define KERNELS_RGCN_HOST_H

#include "rgcn.h"

OP_BEGIN
extern rgcn_setup_fn rgcn_host_setup;
extern rgcn_run_fn rgcn_host;
void rgcn_host_teardown(void *state);
OP_END
#endif

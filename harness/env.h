/*
 * env.h - the machine, the build and the surroundings of a run, for the record.
 *
 * What is not available is null, never guessed.  Host names are hashed and
 * absolute paths left out, so that results can be published as they are.
 */
#ifndef HARNESS_ENV_H
#define HARNESS_ENV_H

#include <jansson.h>
#include <stdbool.h>

#include "device.h"

/* The "env" object; d: the device that is measured, NULL for none.  NULL with
 * cb_error only if memory runs out.  Hashes of libraries are kept for later
 * calls of the same process. */
json_t *cb_env(struct cb_device *d);
/* { "node", "gpu", "uuid" }: where one case ran; a run may go on elsewhere.  gpu and uuid are
 * null on the host. */
json_t *cb_env_machine(const struct cb_device_info *info);
/* Adds what is only known at the end of a run: host.load_end. */
int cb_env_finish(json_t *env);
/* --keep-hostname: the name itself instead of its hash; before cb_env. */
void cb_env_keep_hostname(bool keep);

/* Build stamp: version, commit ("" if unknown), and whether the tree had changes. */
const char *cb_build_version(void);
const char *cb_build_commit(void);
bool cb_build_dirty(void);

#endif
